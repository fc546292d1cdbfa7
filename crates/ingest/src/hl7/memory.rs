//! What is remembered of messages: who had which id, and which events an appointment has. Bounded; the oldest are forgotten.
//! What is forgotten is safe all the same: views count an event once.

use super::map::Known;
use crate::publisher::Prepared;
use domain::{Event, EventId, Micros};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// A map of the last entries.
struct Recent<V> {
    entries: HashMap<u128, (u64, V)>,
    /// Keys in the order in which they came, with the serial number that tells an entry from a later one of its key.
    order: VecDeque<(u128, u64)>,
    serial: u64,
    most: usize,
}

impl<V> Recent<V> {
    fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), serial: 0, most: most.max(1) }
    }

    fn get_mut(&mut self, key: u128) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, v)| v)
    }

    fn insert(&mut self, key: u128, value: V) {
        self.serial += 1;
        self.entries.insert(key, (self.serial, value));
        self.order.push_back((key, self.serial));
        while self.entries.len() > self.most || self.order.len() > 2 * self.most {
            let Some((key, serial)) = self.order.pop_front() else { break };
            if self.entries.get(&key).is_some_and(|(s, _)| *s == serial) {
                self.entries.remove(&key);
            }
        }
    }

    fn remove(&mut self, key: u128) {
        self.entries.remove(&key);
    }
}

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
    messages: Mutex<Recent<(u128, State)>>,
    appointments: Mutex<Recent<Vec<EventId>>>,
    /// Messages in quarantine.
    held: Mutex<Recent<()>>,
}

/// Most events about one appointment that are remembered: one that moved more often is retracted in part.
const MOST_OF_ONE: usize = 50;

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(id: EventId) -> u128 {
    id.0.as_u128()
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
        Self {
            messages: Mutex::new(Recent::new(most)),
            appointments: Mutex::new(Recent::new(most)),
            held: Mutex::new(Recent::new(most)),
        }
    }

    /// Whether a message is in quarantine.
    pub fn is_held(&self, message: EventId) -> bool {
        lock(&self.held).get_mut(key(message)).is_some()
    }

    /// Notes that it is.
    pub fn held(&self, message: EventId) {
        lock(&self.held).insert(key(message), ());
    }

    /// What is known of the message whose first event has this id.
    pub fn seen(&self, first: EventId, fingerprint: &str) -> Seen {
        match lock(&self.messages).get_mut(key(first)) {
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
        if messages.get_mut(key(first)).is_none() {
            messages.insert(key(first), (number, State::Begun));
        }
    }

    /// Notes that it was acknowledged; answers when that was first.
    pub fn answered(&self, first: EventId, fingerprint: &str, at: Micros) -> Micros {
        let Some(number) = number(fingerprint) else { return at };
        let mut messages = lock(&self.messages);
        match messages.get_mut(key(first)) {
            Some((_, State::Answered(before))) => return *before,
            Some((_, state)) => *state = State::Answered(at),
            None => messages.insert(key(first), (number, State::Answered(at))),
        }
        at
    }

    /// Forgets a message that came to nothing, so that it may come again.
    pub fn failed(&self, first: EventId) {
        let mut messages = lock(&self.messages);
        if matches!(messages.get_mut(key(first)), Some((_, State::Begun))) {
            messages.remove(key(first));
        }
    }

    /// Learns from an event that is in the log.
    pub fn learn(&self, event: &Event) {
        let header = event.header();
        if let Some(number) = header.correlation_id.as_deref().and_then(number) {
            let (mut messages, key) = (lock(&self.messages), key(header.event_id));
            if messages.get_mut(key).is_none() {
                messages.insert(key, (number, State::Logged));
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
        lock(&self.appointments).get_mut(appointment(patient, id)).cloned().unwrap_or_default()
    }
}

/// The memory, and what came in just before and is not in the log yet: a sender doesn't wait between booking and deletion.
pub struct WithRound<'a> {
    pub memory: &'a Memory,
    pub before: &'a [Prepared],
}

impl Known for WithRound<'_> {
    fn appointment(&self, patient: &str, id: &str) -> Vec<EventId> {
        let mut events = self.memory.appointment(patient, id);
        let whose = |e: &Event| e.header().patient_id.as_ref().is_some_and(|p| p.as_str() == patient);
        for e in self.before.iter().map(Prepared::event).filter(|e| appointment_of(e) == Some(id) && whose(e)) {
            if !events.contains(&e.header().event_id) && events.len() < MOST_OF_ONE {
                events.push(e.header().event_id);
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
        for n in 100..1_000 {
            m.begin(id(n), a);
            m.failed(id(n));
        }
        assert!(lock(&m.messages).order.len() <= 6);
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
