//! HL7 v2.3 to 2.8: messages as events, and their acknowledgements. `mllp` brings the messages in.
//!
//! A positive acknowledgement is given only after the log has confirmed. The same message (sender, receiver, MSH-10) gets its first
//! one again; another message under the same id is refused. One bad message holds up no other.

mod ack;
mod aside;
mod batch;
mod head;
mod judge;
mod map;
mod memory;
mod message;
pub mod mllp;
mod places;
mod quarantine;
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
use eventlog::{Log, NewRecord};
use head::Head;
use judge::{Conflict, conflict, count, hash, verdict};
use memory::{Coming, Memory, Seen};
use message::{MOST_SEGMENTS, Message};
use quarantine::Quarantine;
use std::ops::Range;
use std::sync::Arc;

/// Takes messages; cheap to share.
pub struct Receiver {
    publisher: Arc<Publisher>,
    pseudonyms: Pseudonyms,
    limits: parse::Limits,
    memory: Memory,
    quarantine: Option<Quarantine>,
}

/// What one round of messages gives.
#[derive(Default)]
struct Round {
    /// To be published.
    events: Vec<Prepared>,
    /// What they say of appointments.
    coming: Coming,
    /// To be kept in quarantine.
    held: Vec<NewRecord>,
}

/// A message that was looked at.
struct Taken<'a> {
    head: Head<'a>,
    outcome: Outcome<'a>,
}

enum Outcome<'a> {
    /// It is decided; the time is when it was first.
    Decided(Verdict, Micros),
    /// Its events wait to be published.
    Waits(Waiting<'a>),
    /// It came under another one's id, and waits to be kept: the place among those that do.
    Held { key: EventId, place: usize },
    /// It is an answer itself, and gets none.
    Silent,
}

/// A message whose events wait to be published.
struct Waiting<'a> {
    bytes: &'a [u8],
    first: EventId,
    fingerprint: String,
    events: Range<usize>,
    seen_before: bool,
}

impl Receiver {
    /// A receiver that publishes, and remembers the last `recent` messages.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, pseudonyms: Pseudonyms, limits: parse::Limits, recent: usize) -> Self {
        Self { publisher, pseudonyms, limits, memory: Memory::new(recent), quarantine: None }
    }

    /// The same, which keeps messages that come under another one's id in a log of their own, as they came, and remembers the
    /// last `recent` of these. They may hold names.
    #[must_use]
    pub fn with_quarantine(self, log: Arc<dyn Log>, recent: usize) -> Self {
        Self { quarantine: Some(Quarantine::new(log, recent)), ..self }
    }

    /// Learns from an event that is in the log, so that a restart forgets little; see [`Publisher::warm_with`].
    pub fn learn(&self, event: &Event) {
        self.memory.learn(event);
    }

    /// Takes blocks as they came in and answers them, in order: what is to be sent back, a block each. All of their events
    /// are published at once, in order.
    pub async fn receive(&self, blocks: &[Block]) -> Vec<Vec<u8>> {
        let now = crate::now();
        let mut round = Round::default();
        let mut units: Vec<Unit<'_>> = aside::read(blocks, || {
            blocks.iter().map(|b| batch::unit(b, |message| self.take(message, now, &mut round))).collect()
        });
        let answers = match round.events.is_empty() {
            true => Vec::new(),
            false => self.publisher.publish(&round.events).await,
        };
        let at = crate::now();
        for taken in units.iter_mut().flat_map(Unit::messages) {
            self.settle(taken, &answers, &mut round, at);
        }
        let kept = match &self.quarantine {
            Some(quarantine) => quarantine.keep(round.held).await,
            None => Vec::new(),
        };
        let mut out = Vec::with_capacity(units.len());
        for unit in units {
            unit.answers(at, |taken| self.answer(taken, &kept, at), &mut out);
        }
        out
    }

    /// Looks at one message, and puts its events to those that are to be published.
    fn take<'a>(&self, bytes: &'a [u8], now: Micros, round: &mut Round) -> Option<Taken<'a>> {
        let head = Head::of(bytes)?;
        let outcome = if head.is_answer() {
            count(&head, intake::Outcome::Ignored);
            Outcome::Silent
        } else if let Some(wrong) = head.refusal(&self.pseudonyms.site().hl7.processing) {
            count(&head, intake::Outcome::Refused("unsupported"));
            Outcome::Decided(Verdict::Rejected(wrong), now)
        } else {
            self.content(&head, bytes, now, round)
        };
        Some(Taken { head, outcome })
    }

    fn content<'a>(&self, head: &Head<'_>, bytes: &'a [u8], now: Micros, round: &mut Round) -> Outcome<'a> {
        let fingerprint = self.pseudonyms.fingerprint(&hash(bytes));
        let first = site::event_id(&map::key(head), &map::text(head.control_id()), 0);
        let seen = self.memory.seen(first, &fingerprint);
        match seen {
            Seen::Answered(at) => {
                count(head, intake::Outcome::Duplicate);
                return Outcome::Decided(Verdict::Accepted, at);
            }
            Seen::Other => return self.conflict(head, bytes, first, &fingerprint, now, round),
            Seen::New | Seen::Same => {}
        }
        match self.events(head, bytes, &fingerprint, now, &round.coming) {
            Ok(mapped) if mapped.is_empty() => {
                count(head, intake::Outcome::Ignored);
                let at = self.memory.answered(first, &fingerprint, now);
                Outcome::Decided(Verdict::Accepted, at)
            }
            Ok(mapped) => {
                self.memory.begin(first, &fingerprint);
                mapped.iter().for_each(|e| round.coming.note(e.event()));
                let start = round.events.len();
                round.events.extend(mapped);
                let events = start..round.events.len();
                Outcome::Waits(Waiting { bytes, first, fingerprint, events, seen_before: seen == Seen::Same })
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

    /// Another message has this id: the event `accepted` is of it.
    fn conflict<'a>(
        &self,
        head: &Head<'_>,
        bytes: &[u8],
        accepted: EventId,
        fingerprint: &str,
        now: Micros,
        round: &mut Round,
    ) -> Outcome<'a> {
        let key = Quarantine::key(fingerprint, accepted);
        if self.quarantine.as_ref().is_none_or(|q| q.has(key)) {
            count(head, intake::Outcome::Refused("conflict"));
            return Outcome::Decided(conflict(), now);
        }
        // Neither message is quoted.
        tracing::warn!(event.id = %accepted, "another message came under the id of one that was accepted");
        round.held.push(quarantine::record(bytes, accepted, now));
        Outcome::Held { key, place: round.held.len() - 1 }
    }

    fn events(
        &self,
        head: &Head<'_>,
        bytes: &[u8],
        fingerprint: &str,
        now: Micros,
        before: &Coming,
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
        let known = memory::WithRound { memory: &self.memory, before };
        let events = map::events(head, &message, &self.pseudonyms, &known, fingerprint)?;
        let prepare = |event: Event| {
            Prepared::new(event, &self.limits, now).map_err(|errors| places::of(&errors, head, &message))
        };
        events.into_iter().map(prepare).collect()
    }

    /// Decides what becomes of a message, now that its events are answered for.
    fn settle(&self, taken: &mut Taken<'_>, answers: &[Result<Accepted, Refusal>], round: &mut Round, at: Micros) {
        let Outcome::Waits(waiting) = &taken.outcome else { return };
        let Waiting { bytes, first, fingerprint, events, seen_before } = waiting;
        let judged = verdict(answers.get(events.clone()).unwrap_or_default(), events.len(), *seen_before);
        taken.outcome = match judged {
            Ok((verdict, outcome)) => {
                if let Some(outcome) = outcome {
                    count(&taken.head, outcome);
                }
                if verdict == Verdict::Accepted {
                    round.events[events.clone()].iter().for_each(|e| self.memory.learn(e.event()));
                    Outcome::Decided(verdict, self.memory.answered(*first, fingerprint, at))
                } else {
                    self.memory.failed(*first);
                    Outcome::Decided(verdict, at)
                }
            }
            // Nothing was known of the other one when this came: it came in the same moment, or by another way.
            Err(Conflict(n)) => {
                self.memory.failed(*first);
                let accepted = round.events[events.start + n].id();
                self.conflict(&taken.head, bytes, accepted, fingerprint, at, round)
            }
        };
    }

    /// What is sent back for a message; nothing where no answer is due.
    fn answer(&self, taken: &Taken<'_>, kept: &[bool], at: Micros) -> Option<Vec<u8>> {
        let (verdict, at) = match &taken.outcome {
            Outcome::Silent => return None,
            Outcome::Decided(verdict, at) => (verdict.clone(), *at),
            Outcome::Held { key, place } if kept.get(*place) == Some(&true) => {
                self.quarantine.iter().for_each(|q| q.holds(*key));
                count(&taken.head, intake::Outcome::Refused("conflict"));
                (conflict(), at)
            }
            Outcome::Held { .. } | Outcome::Waits(_) => {
                let reason = "not taken; send it again as it is";
                (Verdict::Rejected(Wrong::new(Place::segment("MSH"), Code::Internal, reason)), at)
            }
        };
        ack::answer(&taken.head, &verdict, at)
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
