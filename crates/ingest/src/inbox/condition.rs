//! Whether an inbox gets on. One that fails batch after batch, as when the broker takes no copies of refused records, stands still:
//! nothing is lost by that, and nothing comes in.

use domain::Micros;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long batches may fail, one after the other, before the inbox counts as standing still.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// How long after its last failure an inbox is taken to have nothing to do: its partitions may be another process's by now.
/// Longer than the failures of one batch are apart: joining the group, beginning a transaction and giving it up.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was nothing to do.
    Idle,
    /// A batch was committed.
    Committed,
    /// A batch was not committed, or could not be read.
    Failed,
}

/// How an inbox gets on, shared with whoever asks.
#[derive(Debug, Default)]
pub struct Condition(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Failures without a commit between them: the first, by both clocks, and the last.
    failing: Option<(Micros, Instant, Instant)>,
    stalled: Option<String>,
}

impl Condition {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands still, in words; `None` while it gets on.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.state().stalled.clone()
    }

    /// Takes note of a turn, and tells once when the inbox stands still or moves again.
    pub(super) fn seen(&self, turn: Turn, now: Instant) {
        let mut state = self.state();
        state.failing = match (turn, state.failing) {
            (Turn::Committed, _) => None,
            (Turn::Failed, Some((since, first, _))) => Some((since, first, now)),
            (Turn::Failed, None) => Some((crate::now(), now, now)),
            (Turn::Idle, failing) => failing.filter(|(.., last)| now.duration_since(*last) < FORGIVEN_AFTER),
        };
        let long = state.failing.filter(|(_, first, last)| last.duration_since(*first) >= STALLED_AFTER);
        let stalled = long.map(|(since, ..)| format!("the inbox: no batch could be committed since {since}"));
        match (&state.stalled, &stalled) {
            (None, Some(why)) => tracing::error!(why, "the inbox stands still"),
            (Some(_), None) => tracing::info!("the inbox moves again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        metrics::gauge!("inbox_stalled").set(f64::from(u8::from(stalled.is_some())));
        state.stalled = stalled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_that_fails_again_and_again_stands_still_until_it_commits_or_has_nothing_to_do() {
        let (c, begin) = (Condition::default(), Instant::now());
        let at = |turn, s| {
            c.seen(turn, begin + Duration::from_secs(s));
            c.reason().is_some()
        };
        assert!(!at(Turn::Failed, 0));
        assert!(!at(Turn::Failed, 29) && !at(Turn::Idle, 35), "the last failure counts, not the time since");
        assert!(at(Turn::Failed, 36));
        assert!(at(Turn::Idle, 37), "a turn without records is no progress");
        assert!(!at(Turn::Committed, 38) && !at(Turn::Failed, 39));
        assert!(at(Turn::Failed, 80) && at(Turn::Idle, 199) && !at(Turn::Idle, 200));
        assert!(!at(Turn::Failed, 201), "it begins anew");
    }
}
