//! What becomes of a record: something to write, nothing, or a dead letter.

use crate::Rejected;
use crate::prepare::{Outcome, Prepared, decoded};
use eventlog::Record;
use std::collections::{BTreeMap, BTreeSet};
use store::NewDeadLetter;

/// Why a record waits whose key is parked.
pub const BEHIND: &str = "waits behind an earlier record of its key";
/// Longest name of a source, bytes.
const MAX_SOURCE_BYTES: usize = 64;

/// Sorts records into what is to be written and what is a dead letter already; also how many there are.
pub fn sort_all<'b, I: 'b>(
    records: impl Iterator<Item = &'b Prepared<I>>,
    parked: &mut BTreeMap<u32, BTreeSet<Vec<u8>>>,
) -> (Vec<(&'b Record, &'b I)>, Vec<NewDeadLetter>, u64) {
    let (mut items, mut letters, mut count) = (Vec::new(), Vec::new(), 0);
    for prepared in records {
        count += 1;
        match sort_one(&prepared.record, prepared.outcome.as_ref(), parked) {
            Sorted::Item(item) => items.push((&prepared.record, item)),
            Sorted::Letter(letter) => letters.push(letter),
            Sorted::Unused => {}
        }
    }
    (items, letters, count)
}

/// What is done with a record.
pub enum Sorted<I> {
    /// To be written.
    Item(I),
    /// A dead letter.
    Letter(NewDeadLetter),
    /// Nothing.
    Unused,
}

/// Sorts one record, whose key may be parked; notes the key when the record parks it.
pub fn sort_one<I>(record: &Record, outcome: Outcome<I>, parked: &mut BTreeMap<u32, BTreeSet<Vec<u8>>>) -> Sorted<I> {
    let waits = parked.get(&record.position.partition).is_some_and(|keys| keys.contains(&record.key[..]));
    match outcome {
        _ if waits => Sorted::Letter(behind(record)),
        Outcome::Item(item) => Sorted::Item(item),
        Outcome::Unused => Sorted::Unused,
        Outcome::Poison { code, reason, parks } => {
            if parks {
                parked.entry(record.position.partition).or_default().insert(record.key.to_vec());
            }
            Sorted::Letter(letter(record, code, reason, parks))
        }
    }
}

/// The dead letter of a record whose key is parked.
pub fn behind(record: &Record) -> NewDeadLetter {
    NewDeadLetter { parked_behind: true, ..letter(record, "parked", BEHIND.to_owned(), true) }
}

/// The dead letter of an item that the view could not take.
pub fn rejection(record: &Record, r: &Rejected) -> NewDeadLetter {
    if r.behind { behind(record) } else { letter(record, r.code, r.reason.to_owned(), r.parks) }
}

/// A record as a dead letter.
pub fn letter(record: &Record, code: &'static str, reason: String, parks: bool) -> NewDeadLetter {
    NewDeadLetter {
        partition: record.position.partition,
        offset: record.position.offset,
        // Anybody may write headers: only the name of a type is shown later on.
        event_type: header(record, "event-type").filter(|t| domain::Kind::from_name(t).is_some()).map(str::to_owned),
        source: source(record),
        code,
        reason,
        parked_behind: false,
        parks,
        key: record.key.to_vec(),
        value: record.value.to_vec(),
        headers: record.headers.iter().map(|(name, value)| (name.clone(), value.to_vec())).collect(),
        appended_ms: record.appended_ms,
    }
}

/// The system that a record came from: by its event, or, where that can't be read, by the publisher's header.
fn source(record: &Record) -> Option<String> {
    let event = decoded(&record.value);
    let system = match &event {
        Ok(event) => event.header().source.system.as_str(),
        Err(_) => header(record, "source")?,
    };
    // Anybody may write headers: what is no name is not shown later on.
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    (!system.is_empty() && system.len() <= MAX_SOURCE_BYTES && system.chars().all(name)).then(|| system.to_owned())
}

/// A header's value, where it is text.
pub fn header<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let value = &record.headers.iter().find(|(n, _)| n == name)?.1;
    std::str::from_utf8(value).ok()
}
