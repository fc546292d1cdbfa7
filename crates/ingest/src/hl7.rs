//! HL7 v2.3 to 2.8: messages as events, and their acknowledgements. `mllp` brings the messages in.
//!
//! A positive acknowledgement is given only after the log has confirmed. The same message (sender, receiver, MSH-10) gets its first
//! one again; another message under the same id is refused. One bad message holds up no other.

mod ack;
mod batch;
mod head;
mod map;
mod memory;
mod message;
pub mod mllp;
mod places;
pub mod rules;
mod text;
mod time;
pub mod tls;
mod wrong;

pub use mllp::{Block, Frames};
pub use text::Charset;
pub use wrong::{Code, Place, Verdict, Wrong};

use crate::intake;
use crate::publisher::{Accepted, Prepared, Publisher, Refusal};
use crate::site::{self, Pseudonyms};
use batch::Unit;
use domain::{Event, EventId, Micros, parse};
use eventlog::LogError;
use head::Head;
use memory::{Memory, Seen};
use message::{MOST_SEGMENTS, Message};
use std::ops::Range;
use std::sync::Arc;

/// Takes messages; cheap to share.
pub struct Receiver {
    publisher: Arc<Publisher>,
    pseudonyms: Pseudonyms,
    limits: parse::Limits,
    memory: Memory,
}

/// A message that was looked at.
struct Taken<'a> {
    head: Head<'a>,
    outcome: Outcome,
}

enum Outcome {
    /// It is decided; the time is when it was first.
    Decided(Verdict, Micros),
    /// Its events wait to be published.
    Waits { first: EventId, fingerprint: String, events: Range<usize>, seen_before: bool },
    /// It is an answer itself, and gets none.
    Silent,
}

impl Receiver {
    /// A receiver that publishes, and remembers the last `recent` messages.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, pseudonyms: Pseudonyms, limits: parse::Limits, recent: usize) -> Self {
        Self { publisher, pseudonyms, limits, memory: Memory::new(recent) }
    }

    /// Learns from the end of the log, so that a restart forgets little; see [`Publisher::warm`].
    ///
    /// # Errors
    /// Those of the log.
    pub async fn warm(&self, max: usize) -> Result<usize, LogError> {
        self.publisher.warm_with(max, |event| self.memory.learn(event)).await
    }

    /// Takes blocks as they came in and answers them, in order: what is to be sent back, a block each. All of their events
    /// are published at once, in order.
    pub async fn receive(&self, blocks: &[Block]) -> Vec<Vec<u8>> {
        let now = crate::now();
        let mut events = Vec::with_capacity(blocks.len());
        let units: Vec<Unit<'_>> =
            blocks.iter().map(|b| batch::unit(b, |message| self.take(message, now, &mut events))).collect();
        let answers = match events.is_empty() {
            true => Vec::new(),
            false => self.publisher.publish(&events).await,
        };
        let at = crate::now();
        let mut out = Vec::with_capacity(units.len());
        for unit in units {
            unit.answers(at, |taken| self.answer(taken, &events, &answers, at), &mut out);
        }
        out
    }

    /// Looks at one message, and puts its events to those that are to be published.
    fn take<'a>(&self, bytes: &'a [u8], now: Micros, events: &mut Vec<Prepared>) -> Option<Taken<'a>> {
        let head = Head::of(bytes)?;
        let outcome = if head.is_answer() {
            count(&head, intake::Outcome::Ignored);
            Outcome::Silent
        } else if let Some(wrong) = head.refusal(&self.pseudonyms.site().hl7.processing) {
            count(&head, intake::Outcome::Refused("unsupported"));
            Outcome::Decided(Verdict::Rejected(wrong), now)
        } else {
            self.content(&head, bytes, now, events)
        };
        Some(Taken { head, outcome })
    }

    fn content(&self, head: &Head<'_>, bytes: &[u8], now: Micros, events: &mut Vec<Prepared>) -> Outcome {
        let fingerprint = self.pseudonyms.fingerprint(&hash(bytes));
        let first = site::event_id(&map::key(head), &String::from_utf8_lossy(head.control_id()), 0);
        let seen = self.memory.seen(first, &fingerprint);
        match seen {
            Seen::Answered(at) => {
                count(head, intake::Outcome::Duplicate);
                return Outcome::Decided(Verdict::Accepted, at);
            }
            Seen::Other => {
                count(head, intake::Outcome::Refused("conflict"));
                // The one that was accepted; neither message is quoted.
                tracing::warn!(event.id = %first, "another message came under the id of one that was accepted");
                return Outcome::Decided(conflict(), now);
            }
            Seen::New | Seen::Same => {}
        }
        match self.events(head, bytes, &fingerprint, now) {
            Ok(mapped) if mapped.is_empty() => {
                count(head, intake::Outcome::Ignored);
                let at = self.memory.answered(first, &fingerprint, now);
                Outcome::Decided(Verdict::Accepted, at)
            }
            Ok(mapped) => {
                self.memory.begin(first, &fingerprint);
                let start = events.len();
                events.extend(mapped);
                Outcome::Waits { first, fingerprint, events: start..events.len(), seen_before: seen == Seen::Same }
            }
            Err(wrongs) => {
                count(head, intake::Outcome::Refused("invalid"));
                for wrong in &wrongs {
                    let (p, code) = (wrong.place, wrong.code.number());
                    tracing::debug!(segment = p.segment, field = p.field, code, reason = %wrong.reason, "message refused");
                }
                Outcome::Decided(Verdict::Error(wrongs), now)
            }
        }
    }

    fn events(
        &self,
        head: &Head<'_>,
        bytes: &[u8],
        fingerprint: &str,
        now: Micros,
    ) -> Result<Vec<Prepared>, Vec<Wrong>> {
        let site = self.pseudonyms.site();
        let sender = rules::of(&site.senders, head.component(3, 1), head.component(4, 1));
        let charset = |e| {
            let (code, reason) = match e {
                text::TextError::Unknown => (Code::Table, "the character set is not known"),
                text::TextError::Invalid => (Code::DataType, "the message is not in that character set"),
            };
            vec![Wrong::new(Place::field("MSH", 18), code, reason)]
        };
        let text = text::decode(bytes, head.component(18, 1), sender.and_then(|s| s.charset)).map_err(charset)?;
        let too_many = || {
            let reason = format!("the message has more than {MOST_SEGMENTS} segments");
            vec![Wrong::new(Place::segment("MSH"), Code::Internal, reason)]
        };
        let message = Message::new(&text, head.delimiters).ok_or_else(too_many)?;
        let events = map::events(head, &message, &self.pseudonyms, &self.memory, fingerprint)?;
        let prepare = |event: Event| {
            Prepared::new(event, &self.limits, now).map_err(|errors| places::of(&errors, head, &message))
        };
        events.into_iter().map(prepare).collect()
    }

    /// What becomes of a message, now that its events are answered for.
    fn answer(
        &self,
        taken: &Taken<'_>,
        events: &[Prepared],
        answers: &[Result<Accepted, Refusal>],
        at: Micros,
    ) -> Option<Vec<u8>> {
        let (verdict, at) = match &taken.outcome {
            Outcome::Silent => return None,
            Outcome::Decided(verdict, at) => (verdict.clone(), *at),
            Outcome::Waits { first, fingerprint, events: range, seen_before } => {
                let (events, answers) = (&events[range.clone()], answers.get(range.clone()).unwrap_or_default());
                let (verdict, outcome) = verdict(answers, events.len(), *seen_before);
                if let Some(outcome) = outcome {
                    count(&taken.head, outcome);
                }
                match verdict {
                    Verdict::Accepted => {
                        events.iter().for_each(|e| self.memory.learn(e.event()));
                        (verdict, self.memory.answered(*first, fingerprint, at))
                    }
                    _ => {
                        self.memory.failed(*first);
                        (verdict, at)
                    }
                }
            }
        };
        ack::answer(&taken.head, &verdict, at)
    }
}

/// What the log's answers for a message's events mean for the message, and how it counts; nothing is counted that is to be
/// sent again. `seen_before`: the same message has events in the log.
fn verdict(answers: &[Result<Accepted, Refusal>], all: usize, seen_before: bool) -> (Verdict, Option<intake::Outcome>) {
    let internal = |reason: &'static str| Wrong::new(Place::segment("MSH"), Code::Internal, reason);
    let mut duplicates = 0;
    for answer in answers {
        match answer {
            Ok(accepted) => duplicates += usize::from(accepted.duplicate),
            // The same message, which meant something else when it first came: the site's rules have changed since.
            Err(Refusal::Conflict) if seen_before => duplicates += 1,
            Err(Refusal::Conflict) => return (conflict(), Some(intake::Outcome::Refused("conflict"))),
            Err(Refusal::Refused(_)) => {
                let verdict = Verdict::Error(vec![internal("the log refuses the event")]);
                return (verdict, Some(intake::Outcome::Refused("too_large")));
            }
            Err(Refusal::Busy | Refusal::Unavailable) => {
                return (Verdict::Rejected(internal("not taken: the log is away; send it again as it is")), None);
            }
        }
    }
    if answers.len() < all {
        return (Verdict::Rejected(internal("not taken; send it again as it is")), None);
    }
    let outcome = if duplicates == all { intake::Outcome::Duplicate } else { intake::Outcome::Accepted };
    (Verdict::Accepted, Some(outcome))
}

/// Counts a message.
fn count(head: &Head<'_>, outcome: intake::Outcome) {
    let named = [3, 4].into_iter().map(|n| head.component(n, 1)).find(|name| !name.is_empty());
    intake::count(named.unwrap_or(intake::UNKNOWN), intake::Protocol::Hl7, outcome);
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

fn conflict() -> Verdict {
    Verdict::Error(vec![Wrong::new(
        Place::field("MSH", 10),
        Code::Duplicate,
        "another message was accepted under this id",
    )])
}

/// A hash of a message, whatever its segments end with.
fn hash(bytes: &[u8]) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for segment in bytes.split(|b| matches!(b, b'\r' | b'\n')).filter(|s| !s.is_empty()) {
        hash.update(segment);
        hash.update(b"\r");
    }
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests;
