//! The ids that were seen lately, with what they stood for. For one thread: the inbox's.

use domain::EventId;
use std::collections::{HashMap, VecDeque};

/// What an id turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not seen yet; it is now.
    New,
    /// The same event was seen.
    Known,
    /// Another event was seen under this id.
    Conflict,
}

/// A bounded memory of ids.
pub(super) struct Seen {
    most: usize,
    hashes: HashMap<EventId, u64>,
    order: VecDeque<EventId>,
    /// Ids of the batch under way, the last of `order`.
    open: usize,
}

impl Seen {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), hashes: HashMap::new(), order: VecDeque::new(), open: 0 }
    }

    /// Judges an id of the batch under way.
    pub(super) fn claim(&mut self, id: EventId, hash: u64) -> Verdict {
        match self.hashes.get(&id) {
            Some(known) if *known == hash => Verdict::Known,
            Some(_) => Verdict::Conflict,
            None => {
                self.hashes.insert(id, hash);
                self.order.push_back(id);
                self.open += 1;
                Verdict::New
            }
        }
    }

    /// Ends the batch: what was new in it is kept, or was never seen.
    pub(super) fn settle(&mut self, keep: bool) {
        let open = std::mem::take(&mut self.open);
        if !keep {
            for id in self.order.drain(self.order.len() - open..) {
                self.hashes.remove(&id);
            }
        }
        while self.order.len() > self.most {
            if let Some(id) = self.order.pop_front() {
                self.hashes.remove(&id);
            }
        }
    }

    /// Notes an event that is in the log; the first one under an id counts.
    pub(super) fn remember(&mut self, id: EventId, hash: u64) {
        self.claim(id, hash);
        self.settle(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> EventId {
        EventId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn an_aborted_batch_was_never_seen_and_the_memory_is_bounded() {
        let mut s = Seen::new(3);
        assert_eq!(
            (s.claim(id(1), 1), s.claim(id(1), 1), s.claim(id(1), 2)),
            (Verdict::New, Verdict::Known, Verdict::Conflict)
        );
        s.settle(false);
        assert_eq!(s.claim(id(1), 2), Verdict::New);
        s.settle(true);
        for n in 2..=4 {
            assert_eq!(s.claim(id(n), 1), Verdict::New);
        }
        assert_eq!(s.claim(id(1), 2), Verdict::Known, "a batch may be larger than the memory");
        s.settle(true);
        assert_eq!((s.hashes.len(), s.order.len()), (3, 3));
        assert_eq!(s.claim(id(1), 2), Verdict::New);
    }
}
