//! A filled generation beside the live one: it catches up, is compared, and readers are switched to it.

use super::{Phase, Place, patiently};
use crate::patient::text_of;
use crate::prepare::{Prepared, outcome};
use crate::retry::Retry;
use crate::sorted::{rejection, sort_all};
use crate::{Options, Projection, ProjectorError, run};
use eventlog::{Log, LogError, Record};
use futures::StreamExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Advance, Checkpoint, Comparison, Durability, Generation, State, Store, StoreError, Tx};

/// Events that the switch itself folds, at most: readers' writes wait for it.
const MAX_GAP: u64 = 2_000;
/// Events that only one of two generations has seen, above which most of their keys would be left out of a comparison.
const MAX_MOVING: u64 = 100_000;
/// How often it is looked how far the generations are.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how long without progress nobody seems to follow the generation.
const NOBODY_FOLLOWS: Duration = Duration::from_secs(3);
/// Records of one read while the last gap is closed.
const READ: usize = 1_000;
/// How long the log may take inside the switch, for what came since it was read before: readers' writes wait for it.
const READ_LOCKED: Duration = Duration::from_secs(1);

/// By partition `from` and `to`, and all records of `[from, to)`.
type Read = BTreeMap<u32, (u64, u64, Vec<Record>)>;

/// What [`switch`] did.
#[derive(Debug, Clone, Copy)]
pub struct Switched {
    /// What readers saw before.
    pub from: Option<i64>,
    /// Events that the generation lacked, and was given in the same transaction.
    pub closed: u64,
    /// How long it took from the first attempt on, with all the waiting.
    pub took: Duration,
}

/// What `new` lacks of `old`: `[from, to)` by partition.
fn gaps(old: &[Checkpoint], new: &[Checkpoint]) -> BTreeMap<u32, (u64, u64)> {
    let reached: BTreeMap<u32, u64> = new.iter().map(|c| (c.partition, c.next_offset)).collect();
    let gap = |c: &Checkpoint| (c.partition, (reached.get(&c.partition).copied().unwrap_or(0), c.next_offset));
    old.iter().map(gap).filter(|(_, (from, to))| from < to).collect()
}

fn events(gaps: &BTreeMap<u32, (u64, u64)>) -> u64 {
    gaps.values().map(|(from, to)| to - from).sum()
}

/// Waits until a generation has come about as far as the generation `live`. Where no projector follows it, this does, unless
/// the view is paused. `false` when cancelled before.
///
/// # Errors
/// When the log or the store fails for good, or longer than the options' patience; when the view is paused and the switch
/// couldn't close the gap.
pub async fn catch_up<P: Projection>(
    view: &Arc<P>,
    generation: &Generation,
    live: i64,
    place: &Place<'_>,
    options: &Options,
) -> Result<bool, ProjectorError> {
    let &Place { log, store, progress, cancel } = place;
    progress.enter(Phase::CatchingUp);
    let stop = cancel.child_token();
    let mut own = None;
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    let result = loop {
        let looked = patiently(options.patience, cancel, || async move {
            let old = store.checkpoints(generation.view, live).await?;
            let behind = events(&gaps(&old, &store.checkpoints(generation.view, generation.number).await?));
            Ok((behind, store.paused_since(generation.view).await?.is_some()))
        });
        let (behind, paused) = match looked.await {
            Ok(looked) => looked,
            Err(e) => break Err(e),
        };
        progress.fell_behind(behind);
        // One that moves may lack more by the time of the switch.
        if behind <= if paused { MAX_GAP } else { MAX_GAP / 2 } {
            break Ok(true);
        }
        if paused {
            break Err(ProjectorError::Paused { generation: generation.number, events: behind });
        }
        if behind < least {
            (least, moved) = (behind, Instant::now());
        }
        if own.is_none() && moved.elapsed() > NOBODY_FOLLOWS {
            let (log, store, options) = (log.clone(), store.clone(), options.clone());
            own = Some(tokio::spawn(run(view.clone(), generation.clone(), log, store, options, stop.clone())));
        }
        if own.as_ref().is_some_and(tokio::task::JoinHandle::is_finished) {
            break Ok(false);
        }
        tokio::select! {
            () = cancel.cancelled() => break Ok(false),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    stop.cancel();
    match own {
        Some(own) => own.await.unwrap_or(Err(ProjectorError::Panicked)).and(result),
        None => result,
    }
}

/// Compares two generations as they are at one moment: rows, states and dead letters. Keys whose events only one of them has
/// seen are left out; nothing is compared where those are too many events.
///
/// # Errors
/// Those of the log and the database.
pub async fn compare<P: Projection>(
    view: &P,
    first: &Generation,
    second: &Generation,
    place: &Place<'_>,
) -> Result<Option<Comparison>, ProjectorError> {
    let &Place { log, store, progress, .. } = place;
    progress.enter(Phase::Comparing);
    let snapshot = store.snapshot(first.view, [first.number, second.number]).await?;
    let [a, b] = &snapshot.checkpoints;
    let mut moving = BTreeSet::new();
    let apart = [gaps(a, b), gaps(b, a)];
    if apart.iter().map(events).sum::<u64>() > MAX_MOVING {
        return Ok(None);
    }
    for (partition, (from, to)) in apart.into_iter().flatten() {
        let mut scan = log.scan(partition, from, to);
        while let Some(batch) = scan.next().await {
            let batch = batch?;
            moving.extend(batch.iter().filter_map(|r| text_of(&r.key, partition, log.partitions())).map(str::to_owned));
        }
    }
    let moving: Vec<String> = moving.into_iter().collect();
    Ok(Some(snapshot.compare(first, second, &moving, &|a, b| view.same_state(a, b)).await?))
}

/// Lets readers see a generation that is followed, in one transaction. What it lacks of what they see now is folded in the
/// same transaction, so that no reader ever goes back in time. Tries again while locks are held or the gap is too wide.
/// `instead_of` is what it was compared with: where readers see another one by now, they go on seeing that.
///
/// # Errors
/// When the generation isn't followed, or stays too far behind for longer than `patience`; when readers see another one than
/// `instead_of`; and those of log and database.
pub async fn switch<P: Projection>(
    view: &P,
    generation: &Generation,
    instead_of: Option<i64>,
    place: &Place<'_>,
    patience: Duration,
) -> Result<Switched, ProjectorError> {
    let &Place { log, store, cancel, .. } = place;
    let (begun, mut retry) = (Instant::now(), Retry::new(patience));
    loop {
        let e = match attempt(view, generation, instead_of, log.as_ref(), store).await {
            Ok((from, closed)) => return Ok(Switched { from, closed, took: begun.elapsed() }),
            Err(e) => e,
        };
        let passes = e.is_transient() || matches!(e, ProjectorError::Behind { .. });
        if !passes || !retry.again(cancel).await {
            return Err(e);
        }
    }
}

/// What readers saw before, and how many events were folded.
async fn attempt<P: Projection>(
    view: &P,
    generation: &Generation,
    instead_of: Option<i64>,
    log: &dyn Log,
    store: &Store,
) -> Result<(Option<i64>, u64), ProjectorError> {
    let number = generation.number;
    let known = before(generation, log, store).await?;
    let mut tx = store.begin(Durability::Full).await?;
    tx.stop_the_world().await?;
    let all = tx.generations(Some(generation.view)).await?;
    let state = all.iter().find(|g| g.number == number).map(|g| g.state);
    if state != Some(State::Following) {
        let is = state.map_or("missing", State::as_str);
        let why = format!("generation {number} of {} is {is}: readers can see one that is followed", generation.view);
        return Err(StoreError::Configuration(why).into());
    }
    let active = all.iter().find(|g| g.active).map(|g| g.number);
    if let (Some(old), Some(now)) = (instead_of, active)
        && now != old
        && now != number
    {
        let why = format!("readers see generation {now} of {} by now, and no longer {old}", generation.view);
        return Err(StoreError::Configuration(why).into());
    }
    let mut closed = 0;
    if let Some(active) = active.filter(|a| *a != number) {
        let old = tx.checkpoints(generation.view, active).await?;
        let gaps = gaps(&old, &tx.checkpoints(generation.view, number).await?);
        closed = events(&gaps);
        if closed > MAX_GAP {
            tx.rollback().await?;
            return Err(ProjectorError::Behind { generation: number, events: closed });
        }
        let missing = lacking(known, log, &gaps);
        let late = |_| LogError::Unavailable("the log took too long to answer while the switch held its locks".into());
        let records = tokio::time::timeout(READ_LOCKED, missing).await.map_err(late)??;
        close(view, log.partitions(), &mut tx, generation, &gaps, records).await?;
    }
    if active != Some(number) {
        tx.point(store.engine(), generation).await?;
    }
    tx.commit().await?;
    Ok((active, closed))
}

/// Reads what a generation lacks before anybody has to wait for the switch.
async fn before(generation: &Generation, log: &dyn Log, store: &Store) -> Result<Read, ProjectorError> {
    let (view, number) = (generation.view, generation.number);
    let active = store.generations(Some(view)).await?.iter().find(|g| g.active).map(|g| g.number);
    let Some(active) = active.filter(|a| *a != number) else { return Ok(Read::new()) };
    let gaps = gaps(&store.checkpoints(view, active).await?, &store.checkpoints(view, number).await?);
    if events(&gaps) > MAX_GAP {
        // Too many now; the transaction says whether they still are.
        return Ok(Read::new());
    }
    let mut read = Read::new();
    for (partition, (from, to)) in gaps {
        read.insert(partition, (from, to, stretch(log, partition, from, to).await?));
    }
    Ok(read)
}

/// The records of `gaps`: those known, and what came since from the log.
async fn lacking(
    mut known: Read,
    log: &dyn Log,
    gaps: &BTreeMap<u32, (u64, u64)>,
) -> Result<BTreeMap<u32, Vec<Record>>, LogError> {
    let mut all = BTreeMap::new();
    for (&partition, &(from, to)) in gaps {
        let (first, end, mut records) = known.remove(&partition).unwrap_or((from, from, Vec::new()));
        let end = if first <= from && end >= from { end } else { from };
        records.retain(|r| r.position.offset >= from && r.position.offset < end.min(to));
        records.extend(stretch(log, partition, end, to).await?);
        all.insert(partition, records);
    }
    Ok(all)
}

/// Folds what a generation lacks, as its projector would.
async fn close<P: Projection>(
    view: &P,
    partitions: u32,
    tx: &mut Tx,
    generation: &Generation,
    gaps: &BTreeMap<u32, (u64, u64)>,
    mut records: BTreeMap<u32, Vec<Record>>,
) -> Result<(), ProjectorError> {
    let (mut prepared, mut steps) = (Vec::new(), Vec::new());
    for (&partition, &(from, to)) in gaps {
        let mut step = Advance { partition, expected: from, next: to, appended_ms: 0, last_hash: 0 };
        for record in records.remove(&partition).unwrap_or_default() {
            step.appended_ms = record.appended_ms;
            step.last_hash = store::record_hash(&record.key, &record.value);
            prepared.push(Prepared { outcome: outcome(view, &record, partitions), record });
        }
        steps.push(step);
    }
    let moved = tx.advance(generation.view, generation.number, &steps).await?;
    if moved.len() != steps.len() {
        return Err(StoreError::Data("a checkpoint moved while it was locked, or is missing".into()).into());
    }
    let mut parked: BTreeMap<u32, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for (partition, _) in moved.iter().filter(|(_, parked)| **parked > 0) {
        parked.insert(*partition, tx.parked(generation, *partition).await?);
    }
    let (items, mut letters, _) = sort_all(prepared.iter(), &mut parked);
    let plain: Vec<&P::Item> = items.iter().map(|(_, item)| *item).collect();
    let rejected = view.write(tx, generation, &plain).await?;
    letters.extend(rejected.iter().filter_map(|r| Some(rejection(items.get(r.index)?.0, r))));
    Ok(tx.bury(generation, &letters).await?)
}

/// The records of a short stretch.
async fn stretch(log: &dyn Log, partition: u32, from: u64, to: u64) -> Result<Vec<Record>, LogError> {
    let (mut all, mut at) = (Vec::new(), from);
    while at < to {
        let max = usize::try_from(to - at).unwrap_or(READ).min(READ);
        let records = log.read(partition, at, max).await?;
        let Some(last) = records.last() else {
            if eventlog::is_gap(log, partition, at, to).await? {
                break;
            }
            return Err(LogError::Unavailable(format!("partition {partition} ended at {at}, before {to}")));
        };
        at = last.position.offset + 1;
        all.extend(records.into_iter().filter(|r| r.position.offset < to));
    }
    Ok(all)
}
