//! Bounded waiting between attempts.

use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// First wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(3);

/// Attempts at one thing.
pub struct Retry {
    begun: Instant,
    wait: Duration,
    patience: Duration,
}

impl Retry {
    /// The first attempt has just failed, or is about to.
    pub fn new(patience: Duration) -> Self {
        Self { begun: Instant::now(), wait: FIRST, patience }
    }

    /// Waits before the next attempt; `false` when patience is at its end or the process is to stop.
    pub async fn again(&mut self, stop: &CancellationToken) -> bool {
        if self.begun.elapsed() >= self.patience {
            return false;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST);
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}
