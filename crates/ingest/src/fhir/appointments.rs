//! What appointments lately were: a bounded memory that tells a move from a first booking, and a state that came back from
//! one that is told again. At the start it is filled from the end of the log. Each patient of a group's appointment has one of
//! his own, under both of what a patient is known by: a Patient may come with some versions, and not with others.
//!
//! It is a help, no more. Ids of events are derived from the state that is told; what is forgotten here makes a move look
//! like a booking at another time, and never an event twice.

use crate::recent::Recent;
use domain::{Event, Micros};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// States kept of one appointment.
const MOST_STATES: usize = 16;

/// How a version compares with others of its resource: time of the change, then number.
pub(super) type Order = (Option<i64>, Option<u64>);

/// Hashes of what else `AppointmentModified` would tell: of duration and practitioner, and of the service. Nothing where it isn't
/// known: not every event tells all of it.
pub(super) type Details = [Option<u64>; 2];

/// What is kept of an appointment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Under whose pseudonym it was last told, as a [`key`].
    patient: u64,
    order: Order,
    /// Hashes of the states that it had, and how often it had left and come back to each.
    states: Vec<(u64, u16)>,
    /// The one that it is in, as an index; meaningless while there is none.
    now: usize,
    /// Its start.
    start: Option<i64>,
    /// Whether it had another state, or another start, before the present one.
    moved: bool,
    followed: bool,
    details: Details,
    changed: bool,
}

/// A version of an appointment, as its resource or an event of it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    pub order: Order,
    /// Hash of the state.
    pub state: u64,
    /// The start, microseconds since 1970, where the state has one.
    pub start: Option<i64>,
    pub details: Details,
}

/// What a version is, given those that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    /// How often the appointment had been in this state before it left it: 0 for the first time.
    pub round: u16,
    /// It was booked for another time before.
    pub moved: bool,
    /// It had another state before.
    pub followed: bool,
    /// The state is as it was, and its details are not.
    pub changed: bool,
}

fn later(a: Order, b: Order) -> bool {
    match (a.0, b.0) {
        (Some(x), Some(y)) if x != y => x > y,
        _ => matches!((a.1, b.1), (Some(x), Some(y)) if x > y),
    }
}

/// The [`key`]s of one appointment: by its patient's pseudonym, and by what the reference itself says of him.
pub(super) struct Keys {
    pub pseudonym: u64,
    pub reference: u64,
}

impl Keys {
    /// What goes on; not what another number's patient was told: two servers, not told apart, may both have a Patient/1.
    pub(super) fn known(&self, under: impl Fn(u64) -> Option<Known>) -> Known {
        let &Self { pseudonym, reference } = self;
        let mine = |k: &Known| pseudonym == reference || [pseudonym, reference].contains(&k.patient);
        let (this, same) = (under(pseudonym), under(reference).filter(mine));
        let known = match (this, same) {
            (Some(this), Some(same)) if later(this.order, same.order) => this,
            (this, same) => same.or(this).unwrap_or_default(),
        };
        Known { patient: pseudonym, ..known }
    }
}

impl Known {
    /// Takes a version in.
    pub(super) fn visit(&mut self, version: Version) -> Visit {
        let Version { order, state, start, details } = version;
        let at = self.states.iter().position(|(s, _)| *s == state);
        let (left, newer) = (at.is_some_and(|i| i != self.now), later(order, self.order));
        if later(self.order, order) || (left && !newer) {
            // An old version once more, or one that doesn't say that it is a new one: it changes nothing.
            return Visit { round: 0, moved: false, followed: false, changed: false };
        }
        if newer || self.states.is_empty() {
            self.order = order;
        }
        match at {
            // Other details alone, without a newer version, may be those of an old one.
            Some(i) if i == self.now => {
                if newer {
                    let differs = |(a, b): (&Option<u64>, &Option<u64>)| a.is_some() && b.is_some() && a != b;
                    self.changed = details.iter().zip(&self.details).any(differs);
                    self.tell(details);
                }
            }
            _ => {
                self.moved = self.start.is_some() && start.is_some() && start != self.start;
                self.followed = !self.states.is_empty();
                self.changed = false;
                self.tell(details);
                self.now = match at {
                    Some(i) => {
                        self.states[i].1 = self.states[i].1.saturating_add(1);
                        i
                    }
                    None => {
                        self.states.truncate(MOST_STATES - 1);
                        self.states.push((state, 0));
                        self.states.len() - 1
                    }
                };
                self.start = start.or(self.start);
            }
        }
        Visit { round: self.states[self.now].1, moved: self.moved, followed: self.followed, changed: self.changed }
    }
}

impl Known {
    /// What isn't said stays as it was.
    fn tell(&mut self, details: Details) {
        for (known, told) in self.details.iter_mut().zip(details) {
            *known = told.or(*known);
        }
    }
}

/// The appointments that changed last.
#[derive(Debug)]
pub(super) struct Appointments(Mutex<Recent<u64, Known>>);

impl Appointments {
    /// A memory of `most` appointments (about 200 bytes each).
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(Recent::new(most)))
    }

    fn known(&self) -> MutexGuard<'_, Recent<u64, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: u64) -> Option<Known> {
        self.known().get(key).cloned()
    }

    /// Keeps what was published.
    pub(super) fn put(&self, changes: &HashMap<u64, Known>) {
        let mut known = self.known();
        for (key, change) in changes {
            known.insert(*key, change.clone());
        }
    }

    /// Learns from an event that is in the log; those of one appointment come in the order in which they were told.
    pub(super) fn learn(&self, event: &Event) {
        let Some((key, version)) = version_of(event) else { return };
        let mut known = self.known();
        let mut appointment = known.get(key).cloned().unwrap_or(Known { patient: key, ..Known::default() });
        appointment.visit(version);
        known.insert(key, appointment);
    }
}

/// States that more than one status, or a start, is behind; any other is the status itself.
pub(super) const REQUESTED: &str = "requested";
pub(super) const ARRIVED: &str = "arrived";

/// The state of an appointment that is booked; `start` in microseconds since 1970.
pub(super) fn booked_for(start: i64) -> String {
    format!("booked for {start}")
}

/// Under what an appointment is remembered: the server, `Appointment/id` and what the patient is known by.
pub(super) fn key(source: &str, name: &str, patient: &str) -> u64 {
    xxh3_64(format!("{source}\u{1f}{name}\u{1f}{patient}").as_bytes())
}

/// What there is to tell beside the state; nothing of the service where an event has no place for it.
pub(super) fn details(duration: Option<i32>, practitioner: Option<&str>, service: Option<Option<&str>>) -> Details {
    let hash = |what: &dyn std::fmt::Debug| xxh3_64(format!("{what:?}").as_bytes());
    [Some(hash(&(duration, practitioner))), service.map(|s| hash(&s))]
}

/// The version of an appointment that an event was made of, and the appointment's key; nothing where it was made of none.
fn version_of(event: &Event) -> Option<(u64, Version)> {
    let header = event.header();
    if header.source.trigger.as_deref() != Some("Appointment") {
        return None;
    }
    let (message, patient) = (header.source.message_id.as_deref()?, header.patient_id.as_ref()?);
    let (name, number) = message.split_once("/_history/").map_or((message, None), |(name, n)| (name, n.parse().ok()));
    let booked = |start: Micros, details| (booked_for(start.0), Some(start.0), details);
    let simply = |state: &str| (state.to_owned(), None, Details::default());
    let (state, start, details) = match event {
        Event::AppointmentRequested(_) => simply(REQUESTED),
        Event::AppointmentBooked(e) => {
            booked(e.starts_at, details(e.duration_min, e.practitioner.as_deref(), Some(e.service.as_deref())))
        }
        Event::AppointmentRescheduled(e) => {
            booked(e.starts_at, details(e.duration_min, e.practitioner.as_deref(), None))
        }
        Event::AppointmentModified(e) => {
            booked(e.starts_at?, details(e.duration_min, e.practitioner.as_deref(), Some(e.service.as_deref())))
        }
        Event::PatientCheckedIn(_) => simply(ARRIVED),
        Event::ConsultEnded(_) => simply("fulfilled"),
        Event::AppointmentCancelled(_) => simply("cancelled"),
        Event::AppointmentNoShow(_) => simply("noshow"),
        _ => return None,
    };
    let order = (Some(header.recorded_at.0), number);
    let key = key(&header.source.system, name, patient.as_str());
    Some((key, Version { order, state: xxh3_64(state.as_bytes()), start, details }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(k: &mut Known, t: i64, state: u64, start: i64, details: u64) -> (u16, bool, bool, bool) {
        let v = k.visit(Version { order: (Some(t), None), state, start: Some(start), details: [Some(details), None] });
        (v.round, v.moved, v.followed, v.changed)
    }

    #[test]
    fn a_move_a_return_and_a_resend_are_told_apart() {
        let mut k = Known::default();
        let first = (0, false, false, false);
        assert_eq!(visit(&mut k, 1, 10, 100, 0), first);
        assert_eq!(visit(&mut k, 1, 10, 100, 0), first, "the same version again");
        assert_eq!(visit(&mut k, 2, 10, 100, 7), (0, false, false, true), "other details");
        assert_eq!(visit(&mut k, 2, 10, 100, 7), (0, false, false, true), "again");
        assert_eq!(visit(&mut k, 3, 11, 200, 7), (0, true, true, false), "moved");
        assert_eq!(visit(&mut k, 3, 11, 200, 7), (0, true, true, false), "again");
        assert_eq!(visit(&mut k, 1, 10, 100, 0), first, "an old version");
        assert_eq!(visit(&mut k, 4, 10, 100, 7), (1, true, true, false), "moved back");
        assert_eq!(visit(&mut k, 4, 10, 100, 7), (1, true, true, false), "again");
    }

    #[test]
    fn without_versions_a_known_state_is_a_resend() {
        let version = |order, state, start| Version { order, state, start, details: [Some(0); 2] };
        let mut k = Known::default();
        let unversioned = |k: &mut Known, state, start| k.visit(version((None, None), state, Some(start)));
        unversioned(&mut k, 10, 100);
        assert!(unversioned(&mut k, 11, 200).moved);
        let again = unversioned(&mut k, 10, 100);
        assert_eq!((again.round, again.moved), (0, false));
        let other = Version { details: [Some(9); 2], ..version((None, None), 11, Some(200)) };
        assert!(!k.visit(other).changed, "nothing says that it is newer");
        let number = |n| (None, Some(n));
        let mut k = Known::default();
        k.visit(version(number(1), 10, Some(100)));
        k.visit(version(number(2), 11, None));
        assert_eq!(k.visit(version(number(3), 10, Some(100))).round, 1);
        assert_eq!(k.visit(version(number(1), 10, Some(100))).round, 0);
    }

    #[test]
    fn details_that_are_not_known_have_not_changed() {
        let at = |t, state, details| Version { order: (Some(t), None), state, start: Some(100), details };
        let mut k = Known::default();
        k.visit(at(1, 10, [None, None]));
        assert!(!k.visit(at(2, 10, [Some(5), Some(7)])).changed);
        assert!(k.visit(at(3, 10, [Some(5), Some(8)])).changed);
        k.visit(at(4, 11, [Some(6), None]));
        assert!(!k.visit(at(5, 11, [Some(6), Some(8)])).changed, "the service is known from before");
        assert!(k.visit(at(6, 11, [Some(6), Some(9)])).changed);
    }

    #[test]
    fn the_states_of_one_are_bounded() {
        let mut k = Known::default();
        for state in 0..100 {
            let order = (Some(state), None);
            k.visit(Version { order, state: u64::try_from(state).unwrap(), start: None, details: [None; 2] });
        }
        assert_eq!(k.states.len(), MOST_STATES);
    }
}
