//! Dead letters tried again with the present code: in the log's order, one key at a time, in one transaction.
//!
//! The transaction holds the checkpoint of the key's partition. A projector reads which keys are parked only after it has
//! moved that checkpoint, so that no record is taken twice and none passes one that waits.

use crate::patient::{Difference, difference, rows_of, tables, text_of};
use crate::prepare::{Outcome, outcome};
use crate::sorted::BEHIND;
use crate::{Projection, ProjectorError, Rejected, isolate};
use eventlog::{Position, Record};
use std::collections::BTreeMap;
use store::{Durability, Generation, KeptLetter, OpenLetter, Store, StoreError, Tx, key_hash};

/// Records of one key in one transaction, at most; what is left waits, and goes in the same way after.
pub const MOST_RECORDS: usize = 5_000;

/// What to do with the letters of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Look what a redrive would do; nothing is changed.
    Rehearse,
    /// Take in what can be taken in.
    Redrive,
    /// Discard one letter, and take in what waited behind it.
    Discard {
        /// The letter.
        id: &'a str,
        /// Why; kept with it.
        reason: &'a str,
    },
}

/// What came, or would come, of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Hash of the key.
    pub key_hash: String,
    /// Letters that there were.
    pub tried: usize,
    /// Letters whose records are in the view now, or mean nothing to it.
    pub taken: usize,
    /// Letters that stay, and why.
    pub kept: Vec<KeptLetter>,
    /// What changes of the rows: `missing` are written, `extra` deleted.
    pub rows: Vec<Difference>,
    /// Whether later records of the key go in again.
    pub free: bool,
    /// Whether there are more letters than one transaction takes.
    pub more: bool,
    /// Whether the letter to discard was open.
    pub discarded: bool,
}

/// Tries the open letters of a key again.
///
/// # Errors
/// Those of the store; then nothing is changed.
pub async fn redrive<P: Projection>(
    view: &P,
    generation: &Generation,
    store: &Store,
    partition: u32,
    key: &[u8],
    decision: Decision<'_>,
) -> Result<Redriven, ProjectorError> {
    let mut tx = store.begin(Durability::Full).await?;
    if matches!(decision, Decision::Discard { .. }) {
        tx.no_rebuild(generation.view).await?;
    }
    tx.hold(generation, partition).await?;
    let mut done = Redriven { key_hash: key_hash(key), ..Redriven::default() };
    if let Decision::Discard { id, reason } = decision {
        done.discarded = tx.discard_letter(id, reason).await?;
        if !done.discarded {
            tx.rollback().await?;
            return Ok(done);
        }
    }
    let mut letters = tx.open_letters(generation, partition, key, MOST_RECORDS + 1).await?;
    done.more = letters.len() > MOST_RECORDS;
    letters.truncate(MOST_RECORDS);
    done.tried = letters.len();
    let partitions = tx.checkpoints(generation.view, generation.number).await?.len();
    let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
    let text = text_of(key, partition, partitions);
    let before = rows_of(view, generation, &mut tx, text).await?;
    let records: Vec<Record> = letters.iter().map(|l| record(partition, key, l)).collect();
    let mut kept = sort(view, partitions, &records);
    let at: Vec<usize> = (0..records.len()).filter(|i| kept.outcomes[*i].is_some()).collect();
    let items: Vec<(&Record, &P::Item)> =
        at.iter().filter_map(|i| Some((&records[*i], kept.outcomes[*i].as_ref()?))).collect();
    for r in isolate::write(view, &mut tx, generation, &items).await? {
        kept.why.insert(at[r.index], r.into());
    }
    let waits = hold_back(&mut kept.why, letters.len());
    done.kept = keep(&mut tx, &letters, &kept.why).await?;
    let gone: Vec<&str> =
        letters.iter().enumerate().filter(|(i, _)| !kept.why.contains_key(i)).map(|(_, l)| l.id.as_str()).collect();
    done.taken = gone.len();
    tx.remove_letters(&gone).await?;
    let holder = match waits {
        Some(i) => Some(letters[i].id.clone()),
        None if done.more => tx.open_letters(generation, partition, key, 1).await?.pop().map(|l| l.id),
        None => None,
    };
    done.free = holder.is_none();
    tx.park(generation, partition, key, holder.as_deref()).await?;
    let after = rows_of(view, generation, &mut tx, text).await?;
    for (((name, target), before), after) in tables(generation).into_iter().zip(before).zip(after) {
        done.rows.extend(difference(view, &name, target, after, before));
    }
    if decision == Decision::Rehearse {
        tx.rollback().await?;
    } else {
        tx.commit().await?;
    }
    Ok(done)
}

/// Writes down why letters stay, where that is another reason than before.
async fn keep(tx: &mut Tx, letters: &[OpenLetter], why: &BTreeMap<usize, Why>) -> Result<Vec<KeptLetter>, StoreError> {
    let mut kept = Vec::with_capacity(why.len());
    for (i, why) in why {
        let letter = &letters[*i];
        let now = KeptLetter {
            id: letter.id.clone(),
            code: why.code.into(),
            reason: why.reason.clone(),
            parked_behind: why.behind,
        };
        let was = (letter.code.as_str(), letter.reason.as_str(), letter.parked_behind);
        if was != (now.code.as_str(), now.reason.as_str(), now.parked_behind) {
            tx.keep_letter(&now).await?;
        }
        kept.push(now);
    }
    Ok(kept)
}

/// Why a record stays a letter.
struct Why {
    code: &'static str,
    reason: String,
    parks: bool,
    behind: bool,
}

impl From<Rejected> for Why {
    fn from(r: Rejected) -> Self {
        if r.behind {
            return Self::behind();
        }
        Self { code: r.code, reason: r.reason.to_owned(), parks: r.parks, behind: false }
    }
}

impl Why {
    /// As the writer says it.
    fn behind() -> Self {
        Self { code: "parked", reason: BEHIND.to_owned(), parks: false, behind: true }
    }
}

/// What became of records.
struct Sorted<I> {
    /// What is to be written of each.
    outcomes: Vec<Option<I>>,
    /// Those that stay letters.
    why: BTreeMap<usize, Why>,
}

/// What each record is to the view; nothing is written of those behind one that parks.
fn sort<P: Projection>(view: &P, partitions: u32, records: &[Record]) -> Sorted<P::Item> {
    let (mut outcomes, mut why) = (Vec::with_capacity(records.len()), BTreeMap::new());
    let mut holds = false;
    for (i, record) in records.iter().enumerate() {
        let item = if holds {
            why.insert(i, Why::behind());
            None
        } else {
            match outcome(view, record, partitions) {
                Outcome::Item(item) => Some(item),
                Outcome::Unused => None,
                Outcome::Poison { code, reason, parks } => {
                    holds = parks;
                    why.insert(i, Why { code, reason, parks, behind: false });
                    None
                }
            }
        };
        outcomes.push(item);
    }
    Sorted { outcomes, why }
}

/// Whatever comes after the first that parks waits behind it: that one's index.
fn hold_back(why: &mut BTreeMap<usize, Why>, count: usize) -> Option<usize> {
    let first = *why.iter().find(|(_, w)| w.parks)?.0;
    for i in first + 1..count {
        why.insert(i, Why::behind());
    }
    Some(first)
}

fn record(partition: u32, key: &[u8], letter: &OpenLetter) -> Record {
    Record {
        position: Position { partition, offset: letter.offset },
        appended_ms: letter.appended_ms,
        key: key.to_vec().into(),
        value: letter.value.clone().into(),
        headers: letter.headers.iter().map(|(n, v)| (n.clone(), v.clone().into())).collect(),
    }
}
