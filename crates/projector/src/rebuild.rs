//! Fills a generation of a view from the start of the log, beside the live one: [`rebuild`]; then brings it up to it, compares
//! the two, and lets readers see it: [`catch_up`], [`compare`], [`switch`].
//!
//! Each partition is read once and split by key into slices. A slice is folded in memory and written by COPY in one
//! transaction together with the note that it is done, so that an interrupted rebuild goes on with the slices that are left.
//! Memory is bounded by a few slices, whatever the length of the log; only a single key with more events goes beyond.

mod beside;
mod bounds;
mod fold;
mod progress;
mod sample;
mod spill;

pub use beside::{Switched, catch_up, compare, switch};
pub use bounds::bounds;
pub use progress::{Phase, Progress};
pub use sample::{Sample, sample};

use crate::retry::Retry;
use crate::{Projection, ProjectorError};
use eventlog::Log;
use fold::{Folded, Pace};
use spill::{Job, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use store::{Durability, Generation, NewDeadLetter, Slice, State, Store, StoreError};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a database with one writer is left to others after each slice: a bit more than they sleep before they look again.
const TURN_OF_OTHERS: Duration = Duration::from_millis(30);

/// Slices of the next partition that wait in files, at most: each is an open file.
const MOST_AHEAD: usize = 64;

/// Workers besides those that are asked for: with two, each waited for PostgreSQL a third of its time.
pub const SPARE_WORKERS: usize = 1;

/// Workers that one reader feeds: reading is much faster than folding.
const FED_BY_ONE: usize = 4;

/// Partitions whose records are in files at once, about: one that each reader reads, one that waits, one that is folded.
#[must_use]
pub const fn partitions_in_files(workers: usize) -> usize {
    workers.div_ceil(FED_BY_ONE) + 2
}

/// Settings of a rebuild.
#[derive(Debug, Clone)]
pub struct Options {
    /// Slices that are in hand at once, besides that of a spare worker.
    pub workers: usize,
    /// Events a second, at most; `None` for as fast as it goes.
    pub throttle: Option<NonZeroU32>,
    /// How long to keep trying when the log or the database is away.
    pub patience: Duration,
    /// What becomes of the generation when it is filled: `Following` or `Frozen`.
    pub then: State,
    /// The generation whose discarded records are discarded here too.
    pub live: Option<i64>,
}

/// Where it happens, and who watches.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The log.
    pub log: &'a Arc<dyn Log>,
    /// The store.
    pub store: &'a Store,
    /// Told how far it is.
    pub progress: &'a Arc<Progress>,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
}

/// What [`rebuild`]'s tasks share.
struct Shared<P> {
    view: Arc<P>,
    log: Arc<dyn Log>,
    generation: Generation,
    store: Store,
    discarded: BTreeSet<(u32, u64)>,
    pace: Pace,
    patience: Duration,
    progress: Arc<Progress>,
    cancel: CancellationToken,
    /// Held while a slice is written, where the database takes one writer at a time.
    turn: Mutex<()>,
}

/// Fills a generation that [`Store::begin_rebuild`] has begun, or goes on where an earlier call ended, however it did; then
/// makes the indexes and sets the checkpoints. `false` when it was cancelled before its end.
///
/// # Errors
/// When the log or the store fails for good, or longer than the options' patience; when the generation is dropped meanwhile.
pub async fn rebuild<P: Projection>(
    view: &Arc<P>,
    generation: &Generation,
    place: &Place<'_>,
    options: &Options,
) -> Result<bool, ProjectorError> {
    match whole(view, generation, place, options).await {
        // Tables that were dropped fail in many ways; this says why.
        Err(e) if !e.is_transient() => {
            place.store.generation(generation.spec(), generation.number).await?;
            Err(e)
        }
        done => done,
    }
}

async fn whole<P: Projection>(
    view: &Arc<P>,
    generation: &Generation,
    place: &Place<'_>,
    options: &Options,
) -> Result<bool, ProjectorError> {
    let &Place { log, store, progress, cancel } = place;
    let mut slices = store.slices(generation).await?;
    progress.begin(&slices);
    let all = store.generations(Some(generation.view)).await?;
    if all.iter().any(|g| g.number == generation.number && g.state == options.then) {
        // An earlier call has come to its end.
        return Ok(!cancel.is_cancelled());
    }
    bounds::has(log.as_ref(), &slices).await?;
    let discarded = match options.live {
        Some(live) => store.discarded(generation.view, live).await?,
        None => BTreeSet::new(),
    };
    let shared = Arc::new(Shared {
        view: view.clone(),
        log: log.clone(),
        generation: generation.clone(),
        store: store.clone(),
        discarded,
        pace: Pace::new(options.throttle),
        patience: options.patience,
        progress: progress.clone(),
        cancel: cancel.child_token(),
        turn: Mutex::new(()),
    });
    loop {
        let filled = fill(&shared, &slices, options.workers.max(1)).await;
        if cancel.is_cancelled() {
            return Ok(false);
        }
        filled?;
        progress.enter(Phase::Indexing);
        let index = || async move { Ok(store.build_indexes(generation, cancel.cancelled()).await?) };
        if !patiently(options.patience, cancel, index).await? {
            return Ok(false);
        }
        let checkpoints = &bounds::ends(log.as_ref(), &slices, options.patience, cancel).await?;
        let finish =
            || async move { Ok(store.finish_rebuild(generation, checkpoints, options.then, options.live).await?) };
        if patiently(options.patience, cancel, finish).await? {
            return Ok(!cancel.is_cancelled());
        }
        tracing::warn!(view.name = generation.view, "the database lost slices in a crash, folding them again");
        slices = store.slices(generation).await?;
        progress.begin(&slices);
        progress.enter(Phase::Folding);
    }
}

/// Does something that may fail for a while.
async fn patiently<T, F: Future<Output = Result<T, ProjectorError>>>(
    patience: Duration,
    cancel: &CancellationToken,
    work: impl Fn() -> F,
) -> Result<T, ProjectorError> {
    let mut retry = Retry::new(patience);
    loop {
        let e = match work().await {
            Ok(done) => return Ok(done),
            Err(e) => e,
        };
        if !e.is_transient() || !retry.again(cancel).await {
            return Err(e);
        }
        tracing::warn!(error = %e, "trying again");
    }
}

/// Folds and writes the slices that are not done. The first error ends it, as does `cancel`.
async fn fill<P: Projection>(shared: &Arc<Shared<P>>, slices: &[Slice], workers: usize) -> Result<(), ProjectorError> {
    let mut partitions: BTreeMap<u32, Vec<Slice>> = BTreeMap::new();
    for s in slices.iter().filter(|s| !s.done) {
        partitions.entry(s.partition).or_default().push(*s);
    }
    // While the slices of one partition are folded, the next one is read.
    let ahead = partitions.values().map(Vec::len).max().unwrap_or(1).clamp(1, MOST_AHEAD);
    let partitions = Arc::new(std::sync::Mutex::new(partitions));
    let (jobs, queue) = mpsc::channel::<Job>(ahead);
    let queue = Arc::new(Mutex::new(queue));
    let mut tasks: JoinSet<Result<(), ProjectorError>> = JoinSet::new();
    for _ in 0..workers.div_ceil(FED_BY_ONE) {
        let reader = Reader {
            log: shared.log.clone(),
            partitions: partitions.clone(),
            jobs: jobs.clone(),
            patience: shared.patience,
            cancel: shared.cancel.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        tasks.spawn_blocking(move || reader.run());
    }
    drop(jobs);
    for _ in 0..workers + SPARE_WORKERS {
        let (shared, queue) = (shared.clone(), queue.clone());
        tasks.spawn(async move {
            loop {
                let job = queue.lock().await.recv().await;
                match job {
                    Some(job) if !shared.cancel.is_cancelled() => one(&shared, job).await?,
                    _ => return Ok(()),
                }
            }
        });
    }
    drop(queue);
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or(Err(ProjectorError::Panicked));
        if ended.is_err() {
            shared.cancel.cancel();
        }
        result = result.and(ended);
    }
    result
}

/// Folds and writes one slice.
async fn one<P: Projection>(shared: &Arc<Shared<P>>, job: Job) -> Result<(), ProjectorError> {
    let folding = shared.clone();
    let folded = tokio::task::spawn_blocking(move || fold::fold(&folding, job)).await;
    let Some(folded) = folded.map_err(|_| ProjectorError::Panicked)?? else { return Ok(()) };
    let Some(letters) = fold::whole(shared, &folded.letters).await? else { return Ok(()) };
    let (folded, letters) = (&folded, &letters);
    patiently(shared.patience, &shared.cancel, || async move { Ok(write(shared, folded, letters).await?) }).await?;
    shared.progress.slice_done();
    Ok(())
}

/// One transaction: the note that the slice is done, its rows, its dead letters.
async fn write<P: Projection>(
    shared: &Shared<P>,
    folded: &Folded,
    letters: &[NewDeadLetter],
) -> Result<(), StoreError> {
    let turn = if shared.store.engine().one_writer() { Some(shared.turn.lock().await) } else { None };
    let mut tx = shared.store.begin(Durability::FromLog).await?;
    if !tx.slice_done(&shared.generation, &folded.slice).await? {
        tx.rollback().await?;
        // Another rebuild has written it, or there is nothing to write to any more.
        return shared.store.generation(shared.view.spec(), shared.generation.number).await.map(drop);
    }
    for (target, rows) in shared.generation.targets().zip(&folded.tables) {
        tx.load(target, rows).await?;
    }
    tx.lay(&shared.generation, letters).await?;
    tx.commit().await?;
    if turn.is_some() {
        tokio::time::sleep(TURN_OF_OTHERS).await;
    }
    Ok(())
}
