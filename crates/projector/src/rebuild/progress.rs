//! How far a rebuild is, for whoever watches it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use store::Slice;

/// What a rebuild is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading, folding and writing.
    Folding,
    /// Making keys and indexes.
    Indexing,
    /// Waiting until the generation has come as far as the live one.
    CatchingUp,
    /// Comparing it with the live one.
    Comparing,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Folding, Self::Indexing, Self::CatchingUp, Self::Comparing];

    /// Its name: `folding`, `indexing`, `catching up` or `comparing`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Folding => "folding",
            Self::Indexing => "indexing",
            Self::CatchingUp => "catching up",
            Self::Comparing => "comparing",
        }
    }
}

/// Counters that the rebuild moves and others read.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    events: AtomicU64,
    total: AtomicU64,
    resumed: AtomicU64,
    slices: AtomicU64,
    slices_done: AtomicU64,
    behind: AtomicU64,
}

/// What a slice has of its partition's events, about; all of them together have all.
fn share(s: &Slice) -> u64 {
    let (events, slices) = (s.to - s.from, u64::from(s.slices.max(1)));
    events / slices + u64::from(u64::from(s.slice) < events % slices)
}

impl Progress {
    pub(super) fn begin(&self, slices: &[Slice]) {
        let done: u64 = slices.iter().filter(|s| s.done).map(share).sum();
        self.total.store(slices.iter().map(share).sum(), Relaxed);
        self.resumed.store(done, Relaxed);
        self.events.store(done, Relaxed);
        self.slices.store(slices.len() as u64, Relaxed);
        self.slices_done.store(slices.iter().filter(|s| s.done).count() as u64, Relaxed);
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn folded(&self, events: u64) {
        self.events.fetch_add(events, Relaxed);
    }

    pub(super) fn slice_done(&self) {
        self.slices_done.fetch_add(1, Relaxed);
    }

    pub(super) fn fell_behind(&self, events: u64) {
        self.behind.store(events, Relaxed);
    }

    /// What is being done.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Relaxed)) % Phase::ALL.len()]
    }

    /// Events folded, those of earlier runs too, and all there are.
    #[must_use]
    pub fn events(&self) -> (u64, u64) {
        let total = self.total.load(Relaxed);
        (self.events.load(Relaxed).min(total), total)
    }

    /// Events that earlier runs have folded.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.resumed.load(Relaxed)
    }

    /// Slices whose rows are in the store, and all there are.
    #[must_use]
    pub fn slices(&self) -> (u64, u64) {
        (self.slices_done.load(Relaxed), self.slices.load(Relaxed))
    }

    /// Events that the generation lacks of what the live one has, while catching up.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.behind.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slices_of_a_partition_have_all_of_its_events() {
        let slice = |slice| Slice { partition: 0, slice, slices: 7, from: 3, to: 103, done: slice == 1 };
        let progress = Progress::default();
        progress.begin(&(0..7).map(slice).collect::<Vec<_>>());
        assert_eq!((progress.events(), progress.slices()), ((15, 100), (1, 7)));
    }
}
