//! What is remembered of messages: who had which id, and which events an appointment has. Bounded; the oldest are forgotten.
//! What is forgotten is safe all the same: views count an event once.

use super::map::Known;
use crate::recent::Recent;
use domain::{Event, EventId, Micros};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// How far a message has come.
#[derive(Clone, Copy)]
enum State {
    /// It is being published.
    Begun,
    /// Some of its events are in the log; maybe not all.
    Logged,
    /// It was acknowledged then.
    Answered(Micros),
}

/// What is known of a message's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    New,
    /// The same message is under way, or events of it are in the log.
    Same,
    /// The same message was acknowledged then.
    Answered(Micros),
    /// Another message had this id.
    Other,
}

/// The memory.
pub struct Memory {
    /// By the id of a message's first event, the message's fingerprint and how far it has come.
    messages: Mutex<Recent<EventId, (u128, State)>>,
    appointments: Mutex<Recent<u128, Vec<EventId>>>,
}

/// Most events about one appointment that are remembered: one that moved more often is retracted in part.
const MOST_OF_ONE: usize = 50;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn appointment(patient: &str, id: &str) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(patient.as_bytes());
    hash.update(b"\x1f");
    hash.update(id.as_bytes());
    hash.digest128()
}

/// A fingerprint as a number; `None` for what is none.
fn number(fingerprint: &str) -> Option<u128> {
    u128::from_str_radix(fingerprint.strip_prefix("m-")?, 16).ok()
}

impl Memory {
    /// A memory of so many messages and appointments (about 100 bytes each).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { messages: Mutex::new(Recent::new(most)), appointments: Mutex::new(Recent::new(most)) }
    }

    /// What is known of the message whose first event has this id.
    pub fn seen(&self, first: EventId, fingerprint: &str) -> Seen {
        match lock(&self.messages).get(first) {
            None => Seen::New,
            Some((other, _)) if Some(*other) != number(fingerprint) => Seen::Other,
            Some((_, State::Answered(at))) => Seen::Answered(*at),
            Some((_, State::Begun | State::Logged)) => Seen::Same,
        }
    }

    /// Notes that a message is being published.
    pub fn begin(&self, first: EventId, fingerprint: &str) {
        let Some(number) = number(fingerprint) else { return };
        let mut messages = lock(&self.messages);
        if messages.get(first).is_none() {
            messages.insert(first, (number, State::Begun));
        }
    }

    /// Notes that it was acknowledged; answers when that was first.
    pub fn answered(&self, first: EventId, fingerprint: &str, at: Micros) -> Micros {
        let Some(number) = number(fingerprint) else { return at };
        let mut messages = lock(&self.messages);
        match messages.get_mut(first) {
            Some((_, State::Answered(before))) => return *before,
            Some((_, state)) => *state = State::Answered(at),
            None => messages.insert(first, (number, State::Answered(at))),
        }
        at
    }

    /// Forgets a message that came to nothing, so that it may come again.
    pub fn failed(&self, first: EventId) {
        let mut messages = lock(&self.messages);
        if matches!(messages.get(first), Some((_, State::Begun))) {
            messages.remove(first);
        }
    }

    /// Lets nobody ask about appointments until the answer is dropped.
    #[cfg(test)]
    pub fn hold(&self) -> impl Drop {
        lock(&self.appointments)
    }

    /// Learns from an event that is in the log.
    pub fn learn(&self, event: &Event) {
        let header = event.header();
        if let Some(number) = header.correlation_id.as_deref().and_then(number) {
            let mut messages = lock(&self.messages);
            if messages.get(header.event_id).is_none() {
                messages.insert(header.event_id, (number, State::Logged));
            }
        }
        let (Some(patient), Some(id)) = (&header.patient_id, appointment_of(event)) else { return };
        let (mut all, key) = (lock(&self.appointments), appointment(patient.as_str(), id));
        match all.get_mut(key) {
            Some(events) if events.contains(&header.event_id) || events.len() >= MOST_OF_ONE => {}
            Some(events) => events.push(header.event_id),
            None => all.insert(key, vec![header.event_id]),
        }
    }
}

impl Known for Memory {
    fn appointment(&self, patient: &str, id: &str) -> Vec<EventId> {
        lock(&self.appointments).get(appointment(patient, id)).cloned().unwrap_or_default()
    }
}

/// What came in just before about appointments, and is not in the log yet.
#[derive(Default)]
pub struct Coming(HashMap<u128, Vec<EventId>>);

impl Coming {
    /// Notes an event that is to be published.
    pub fn note(&mut self, event: &Event) {
        let header = event.header();
        let (Some(patient), Some(id)) = (&header.patient_id, appointment_of(event)) else { return };
        self.0.entry(appointment(patient.as_str(), id)).or_default().push(header.event_id);
    }
}

/// The memory, and what came in just before: a sender doesn't wait between booking and deletion.
pub struct WithRound<'a> {
    pub memory: &'a Memory,
    pub before: &'a Coming,
}

impl Known for WithRound<'_> {
    fn appointment(&self, patient: &str, id: &str) -> Vec<EventId> {
        let mut events = self.memory.appointment(patient, id);
        for e in self.before.0.get(&appointment(patient, id)).into_iter().flatten() {
            if events.len() == MOST_OF_ONE {
                break;
            }
            if !events.contains(e) {
                events.push(*e);
            }
        }
        events
    }
}

/// The appointment that an event is about, if it is one that a deleted appointment never had.
fn appointment_of(event: &Event) -> Option<&str> {
    Some(match event {
        Event::AppointmentRequested(e) => &e.appointment_id,
        Event::AppointmentBooked(e) => &e.appointment_id,
        Event::AppointmentModified(e) => &e.appointment_id,
        Event::AppointmentRescheduled(e) => &e.appointment_id,
        Event::AppointmentConfirmed(e) => &e.appointment_id,
        Event::AppointmentCancelled(e) => &e.appointment_id,
        Event::AppointmentNoShow(e) => &e.appointment_id,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> EventId {
        EventId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_message_is_told_from_another_of_its_id() {
        let m = Memory::new(3);
        let (a, b) = ("m-00000000000000000000000000000001", "m-00000000000000000000000000000002");
        assert_eq!(m.seen(id(1), a), Seen::New);
        m.begin(id(1), a);
        assert_eq!((m.seen(id(1), a), m.seen(id(1), b)), (Seen::Same, Seen::Other));
        assert_eq!(m.answered(id(1), a, Micros(5)), Micros(5));
        assert_eq!(m.answered(id(1), a, Micros(6)), Micros(5));
        assert_eq!((m.seen(id(1), a), m.seen(id(1), b)), (Seen::Answered(Micros(5)), Seen::Other));
        m.failed(id(1));
        assert_eq!(m.seen(id(1), a), Seen::Answered(Micros(5)), "what was acknowledged stays");
        m.begin(id(2), a);
        m.failed(id(2));
        assert_eq!(m.seen(id(2), b), Seen::New);
    }

    #[test]
    fn the_oldest_are_forgotten_and_failures_take_no_room() {
        let m = Memory::new(3);
        let a = "m-00000000000000000000000000000001";
        m.answered(id(1), a, Micros(1));
        for n in 10..12 {
            m.begin(id(n), a);
            m.failed(id(n));
        }
        assert_eq!(m.seen(id(1), a), Seen::Answered(Micros(1)));
        for n in 20..23 {
            m.answered(id(n), a, Micros(1));
        }
        assert_eq!((m.seen(id(1), a), m.seen(id(22), a)), (Seen::New, Seen::Answered(Micros(1))));
    }

    #[test]
    fn an_appointment_s_events_are_known() {
        let m = Memory::new(10);
        let event = crate::testing::prepared(3).event().clone();
        m.learn(&event);
        m.learn(&event);
        assert_eq!(m.appointment("p3", "a-3"), [event.header().event_id]);
        assert!(m.appointment("p4", "a-3").is_empty());
    }
}
