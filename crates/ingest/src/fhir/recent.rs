//! What appointments lately were: a bounded memory that tells a move from a first booking, and a state that came back from
//! one that is told again.
//!
//! It is a help, no more. Ids of events are derived from the state that is told; what is forgotten here makes a move look
//! like a booking at another time, and never an event twice.

use std::collections::{HashMap, VecDeque};

/// States kept of one appointment.
const MOST_STATES: usize = 16;

/// How a version compares with others of its resource: time of the change, then number.
pub(super) type Order = (Option<i64>, Option<u64>);

/// What is kept of an appointment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
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
    /// Hash of the other details, where they are known.
    details: Option<u64>,
    changed: bool,
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

impl Known {
    /// Takes a version in. `start`: where the state has one.
    pub(super) fn visit(&mut self, order: Order, state: u64, start: Option<i64>, details: Option<u64>) -> Visit {
        let at = self.states.iter().position(|(s, _)| *s == state);
        let later = |a: Order, b: Order| match (a.0, b.0) {
            (Some(x), Some(y)) if x != y => x > y,
            _ => matches!((a.1, b.1), (Some(x), Some(y)) if x > y),
        };
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
                    self.changed = self.details.is_some() && details.is_some() && self.details != details;
                    self.details = details.or(self.details);
                }
            }
            _ => {
                self.moved = self.start.is_some() && start.is_some() && start != self.start;
                self.followed = !self.states.is_empty();
                (self.details, self.changed) = (details, false);
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

/// The appointments that changed last.
#[derive(Debug)]
pub(super) struct Recent {
    known: HashMap<u64, (Known, u64)>,
    order: VecDeque<(u64, u64)>,
    serial: u64,
    most: usize,
}

impl Recent {
    /// A memory of `most` appointments (about 200 bytes each).
    pub(super) fn new(most: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), serial: 0, most: most.max(1) }
    }

    pub(super) fn get(&self, key: u64) -> Option<Known> {
        self.known.get(&key).map(|(k, _)| k.clone())
    }

    /// Keeps what was published.
    pub(super) fn put(&mut self, key: u64, known: Known) {
        self.serial += 1;
        self.known.insert(key, (known, self.serial));
        self.order.push_back((key, self.serial));
        while self.known.len() > self.most || self.order.len() > 2 * self.most {
            let Some((key, serial)) = self.order.pop_front() else { break };
            if self.known.get(&key).is_some_and(|(_, s)| *s == serial) {
                self.known.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(k: &mut Known, t: i64, state: u64, start: i64, details: u64) -> (u16, bool, bool, bool) {
        let v = k.visit((Some(t), None), state, Some(start), Some(details));
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
        let mut k = Known::default();
        let unversioned = |k: &mut Known, state, start| k.visit((None, None), state, Some(start), Some(0));
        unversioned(&mut k, 10, 100);
        assert!(unversioned(&mut k, 11, 200).moved);
        let again = unversioned(&mut k, 10, 100);
        assert_eq!((again.round, again.moved), (0, false));
        assert!(!k.visit((None, None), 11, Some(200), Some(9)).changed, "nothing says that it is newer");
        let number = |n| (None, Some(n));
        let mut k = Known::default();
        k.visit(number(1), 10, Some(100), Some(0));
        k.visit(number(2), 11, None, None);
        assert_eq!(k.visit(number(3), 10, Some(100), Some(0)).round, 1);
        assert_eq!(k.visit(number(1), 10, Some(100), Some(0)).round, 0);
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_go() {
        let mut r = Recent::new(3);
        for n in 0..1_000 {
            r.put(n % 5, Known::default());
        }
        assert!(r.known.len() <= 3 && r.order.len() <= 6);
        assert!(r.get(4).is_some() && r.get(0).is_none());
        let mut k = Known::default();
        for state in 0..100 {
            k.visit((Some(state), None), u64::try_from(state).unwrap(), None, None);
        }
        assert_eq!(k.states.len(), MOST_STATES);
    }
}
