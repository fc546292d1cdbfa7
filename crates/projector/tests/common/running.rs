//! Projectors of the three views over a log in memory.

use super::{MemoryLog, Shared};
use domain::views::follow_ups::FollowUps;
use domain::views::mot::{Mot, Standards};
use domain::views::timeline::Timeline;
use journeylog_projector::{Folded, Options, Projection, ProjectorError, Rows, follow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub fn timeline() -> Rows<Timeline> {
    Rows("timeline", Timeline)
}

pub fn mot() -> Folded<Mot> {
    Folded("mot", Mot::new(Standards::shipped()))
}

pub const fn follow_ups() -> Folded<FollowUps> {
    Folded("follow_ups", FollowUps)
}

/// Small batches, so that there are many.
pub fn options() -> Options {
    Options { batch: 40, in_flight: 200, workers: 3, ..Options::default() }
}

/// A projector that runs until told to stop.
pub struct Running(JoinHandle<Result<(), ProjectorError>>, CancellationToken);

impl Running {
    pub fn start<P: Projection + Clone>(view: P, log: &Arc<MemoryLog>, store: &Store, options: &Options) -> Self {
        let cancel = CancellationToken::new();
        let log = Arc::new(Shared(log.clone()));
        Self(
            tokio::spawn(follow(
                view.spec(),
                move |_| Ok(view.clone()),
                log,
                store.clone(),
                options.clone(),
                cancel.clone(),
            )),
            cancel,
        )
    }
    pub async fn stop(self) {
        self.1.cancel();
        self.0.await.unwrap().unwrap();
    }
    /// As a crash does: at once, wherever it is.
    pub async fn kill(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// Runs a projector until it has seen the whole log.
pub async fn project<P: Projection + Clone>(view: &P, log: &Arc<MemoryLog>, store: &Store) {
    let running = Running::start(view.clone(), log, store, &options());
    seen(store, view.spec().name, log).await;
    running.stop().await;
}

/// Waits until a view has seen the whole log.
pub async fn seen(store: &Store, view: &str, log: &MemoryLog) {
    seen_by(store, view, 1, log).await;
}

pub async fn seen_by(store: &Store, view: &str, generation: i64, log: &MemoryLog) {
    for _ in 0..3_000 {
        let at = store.checkpoints(view, generation).await.unwrap();
        let ends: BTreeMap<u32, u64> =
            log.ends().into_iter().enumerate().map(|(p, e)| (p.try_into().unwrap(), e)).collect();
        if at.len() == ends.len() && at.iter().all(|c| ends[&c.partition] == c.next_offset) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{view} did not come to the end of the log");
}
