//! What came in, by source: a metric for charts, and a tally by week for the figures on data quality.
//!
//! Count each input once, when its sender gets the final answer: not what it is told to send again. Construct nothing and
//! count nothing before the metrics recorder is installed.

use crate::publisher::{Accepted, Prepared, Refusal};
use domain::Micros;
use domain::source::label;
use metrics::{Counter, counter};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Sources that are told apart, at most; what comes from further ones is counted as [`OTHER`].
const MOST_SOURCES: usize = 1_000;
/// The sources beyond [`MOST_SOURCES`].
const OTHER: &str = "other";

/// How an input came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `POST /v1/events`.
    Http,
    /// The Kafka inbox.
    Kafka,
    /// HL7 v2 over MLLP.
    Hl7,
    /// FHIR.
    Fhir,
}

impl Protocol {
    /// The name, as metrics show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Kafka => "kafka",
            Self::Hl7 => "hl7",
            Self::Fhir => "fhir",
        }
    }
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It is a new event in the log.
    Accepted,
    /// Its event was in the log before.
    Duplicate,
    /// It was refused for good; the reason is one of a few short codes, never text from the input.
    Refused(&'static str),
    /// It was understood, and carries no journey event.
    Ignored,
}

impl Outcome {
    /// The name, as metrics show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Refused(_) => "refused",
            Self::Ignored => "ignored",
        }
    }

    /// The code of a refusal, else empty.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason,
            _ => "",
        }
    }
}

/// How many inputs of a source ended one way in a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The source, as [`count`] was told, made safe.
    pub source: String,
    /// How they came.
    pub protocol: Protocol,
    /// Week of the answer: weeks since Monday, 1969-12-29.
    pub week: i64,
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

struct Slot {
    protocol: Protocol,
    outcome: Outcome,
    counter: Counter,
    week: i64,
    count: u64,
}

#[derive(Default)]
struct Tally {
    sources: HashMap<String, Vec<Slot>>,
    /// Counts of weeks that are over.
    over: Vec<Count>,
}

static TALLY: LazyLock<Mutex<Tally>> = LazyLock::new(Mutex::default);

/// Counts one input. `source` is the event's `header.source.system` or the sender as the protocol names it, [`domain::source::UNKNOWN`]
/// where it can't be known.
pub fn count(source: &str, protocol: Protocol, outcome: Outcome) {
    count_many(source, protocol, outcome, 1);
}

/// Counts inputs of one source that ended alike.
pub fn count_many(source: &str, protocol: Protocol, outcome: Outcome, count: u64) {
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    tally.add(source, protocol, outcome, count, crate::now());
}

/// Counts the publisher's answers for events; not those after which the sender sends again.
pub fn answered(protocol: Protocol, events: &[Prepared], answers: &[Result<Accepted, Refusal>]) {
    let now = crate::now();
    let mut tally = TALLY.lock().unwrap_or_else(PoisonError::into_inner);
    for (event, answer) in events.iter().zip(answers) {
        let outcome = match answer {
            Ok(a) if a.duplicate => Outcome::Duplicate,
            Ok(_) => Outcome::Accepted,
            Err(Refusal::Conflict) => Outcome::Refused("conflict"),
            Err(Refusal::Refused(_)) => Outcome::Refused("too_large"),
            Err(Refusal::Busy | Refusal::Unavailable) => continue,
        };
        tally.add(&event.event().header().source.system, protocol, outcome, 1, now);
    }
}

/// Takes what was counted since the last call, and begins anew; the metric goes on.
#[must_use]
pub fn drain() -> Vec<Count> {
    TALLY.lock().unwrap_or_else(PoisonError::into_inner).drain()
}

impl Tally {
    fn add(&mut self, source: &str, protocol: Protocol, outcome: Outcome, count: u64, now: Micros) {
        let week = now.week();
        let name = &*label(source);
        let full = self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(name);
        let name = if full { OTHER } else { name };
        // Twice looked up for a new source only.
        if !self.sources.contains_key(name) {
            self.sources.insert(name.to_owned(), Vec::new());
        }
        let Some(slots) = self.sources.get_mut(name) else { return };
        let known = slots.iter().position(|s| s.protocol == protocol && s.outcome == outcome);
        let at = known.unwrap_or_else(|| {
            slots.push(Slot { protocol, outcome, counter: metric(name, protocol, outcome), week, count: 0 });
            slots.len() - 1
        });
        let slot = &mut slots[at];
        slot.counter.increment(count);
        if slot.week != week {
            self.over.extend(slot.take(name));
            slot.week = week;
        }
        slot.count += count;
    }

    fn drain(&mut self) -> Vec<Count> {
        let mut counts = std::mem::take(&mut self.over);
        for (source, slots) in &mut self.sources {
            counts.extend(slots.iter_mut().filter_map(|s| s.take(source)));
        }
        counts
    }
}

impl Slot {
    fn take(&mut self, source: &str) -> Option<Count> {
        let Self { protocol, outcome, week, .. } = *self;
        let count = std::mem::take(&mut self.count);
        (count > 0).then(|| Count { source: source.to_owned(), protocol, week, outcome, count })
    }
}

fn metric(source: &str, protocol: Protocol, outcome: Outcome) -> Counter {
    counter!(
        "ingest_source_total", "source" => source.to_owned(), "protocol" => protocol.as_str(),
        "result" => outcome.as_str(), "reason" => outcome.reason()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Micros {
        Micros(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
    }

    #[test]
    fn a_count_belongs_to_its_week_and_is_drained_once() {
        let mut t = Tally::default();
        let (sunday, monday) = (at("2027-01-03T23:59:59Z"), at("2027-01-04T00:00:00Z"));
        for (now, outcome) in [
            (sunday, Outcome::Accepted),
            (sunday, Outcome::Accepted),
            (monday, Outcome::Accepted),
            (monday, Outcome::Refused("invalid")),
        ] {
            t.add("emr", Protocol::Http, outcome, 1, now);
        }
        let mut counts: Vec<_> = t.drain().into_iter().map(|c| (c.week, c.outcome, c.count)).collect();
        counts.sort();
        assert_eq!(
            counts,
            [(2974, Outcome::Accepted, 2), (2975, Outcome::Accepted, 1), (2975, Outcome::Refused("invalid"), 1)]
        );
        assert_eq!(t.drain(), []);
        t.add("emr", Protocol::Hl7, Outcome::Ignored, 1, monday);
        assert_eq!(t.drain()[0].protocol, Protocol::Hl7);
    }

    #[test]
    fn names_are_labels_and_their_number_is_bounded() {
        let mut t = Tally::default();
        t.add("ward 1", Protocol::Kafka, Outcome::Accepted, 1, Micros(0));
        assert_eq!(t.drain()[0].source, "ward_1");
        for n in 0..2 * MOST_SOURCES {
            t.add(&format!("s{n}"), Protocol::Kafka, Outcome::Accepted, 1, Micros(0));
        }
        let counts = t.drain();
        assert!(counts.len() <= MOST_SOURCES + 1, "{}", counts.len());
        assert_eq!(counts.iter().map(|c| c.count).sum::<u64>(), 2 * MOST_SOURCES as u64);
        assert!(counts.iter().any(|c| c.source == OTHER && c.count > 1));
    }
}
