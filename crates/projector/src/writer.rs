//! The second half of a worker: one transaction per batch.

use crate::dispatch::MESSAGE;
use crate::prepare::{Message, Prepared};
use crate::retry::Retry;
use crate::sorted::{header, rejection, sort_all};
use crate::{Options, Projection, ProjectorError, isolate};
use domain::source::label;
use eventlog::{Position, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use store::{Advance, Durability, Generation, NewDeadLetter, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How often an idle worker looks whether the store still has what it wrote.
const IDLE_CHECK: Duration = Duration::from_secs(5);
/// From the beginning of one small transaction of a view with states to that of the next, at least: a patient's state and rows are
/// written anew with each. What is small has less than a message of a projector that is behind.
const GATHER: Duration = Duration::from_millis(100);
/// Sources that are counted each by its name, at most; the others are counted together.
const MAX_SOURCES: usize = 50;
/// Traces that one batch links to, at most.
const MAX_LINKS: usize = 16;

/// Writes the partitions of one worker.
pub struct Writer<P: Projection> {
    pub view: Arc<P>,
    pub name: &'static str,
    pub store: Store,
    pub generation: Arc<Generation>,
    pub options: Options,
    /// By partition: whether it is still read here. The dispatcher clears it before it tells the worker.
    pub owned: Arc<[AtomicBool]>,
    /// Told what has been committed.
    pub reached: mpsc::UnboundedSender<Vec<Position>>,
    pub stop: CancellationToken,
    /// The next offset of each partition, as this worker knows it.
    pub expected: BTreeMap<u32, u64>,
    /// Sources of dead letters that have been counted.
    pub sources: BTreeSet<String>,
}

type Batch<P> = Vec<Prepared<<P as Projection>::Item>>;

/// Adds what waits, as much as a transaction takes: the more there is to do, the larger it is. Gives back what isn't part of it.
fn take<I>(
    from: &mut mpsc::Receiver<Message<Prepared<I>>>,
    batch: &mut Vec<Prepared<I>>,
    rooms: &mut Vec<OwnedSemaphorePermit>,
    most: usize,
) -> Option<Message<Prepared<I>>> {
    while let Ok(message) = from.try_recv() {
        match message {
            Message::Records(more, room) if batch.len() + more.len() <= most => {
                batch.extend(more);
                rooms.push(room);
            }
            other => return Some(other),
        }
    }
    None
}

impl<P: Projection> Writer<P> {
    /// Writes until told to stop, or until it can't.
    pub async fn run(mut self, mut from: mpsc::Receiver<Message<Prepared<P::Item>>>) -> Result<(), ProjectorError> {
        let mut held = None;
        let gather = self.generation.state().map_or(Duration::ZERO, |_| GATHER);
        let mut earliest = Instant::now();
        loop {
            let message = match held.take() {
                Some(message) => message,
                None => tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Ok(()),
                    message = from.recv() => match message {
                        Some(message) => message,
                        None => return Ok(()),
                    },
                    () = tokio::time::sleep(IDLE_CHECK) => {
                        self.check().await?;
                        continue;
                    }
                },
            };
            match message {
                Message::Assign(partition, offset) => {
                    self.expected.insert(partition, offset);
                }
                Message::Revoke(partition, done) => {
                    self.expected.remove(&partition);
                    let _ = done.send(());
                }
                Message::Records(mut batch, room) => {
                    let mut rooms = vec![room];
                    held = take(&mut from, &mut batch, &mut rooms, self.options.batch);
                    let small = held.is_none() && batch.len() < MESSAGE.min(self.options.batch);
                    if small && Instant::now() < earliest {
                        tokio::select! {
                            () = self.stop.cancelled() => return Ok(()),
                            () = tokio::time::sleep_until(earliest.into()) => {}
                        }
                        held = take(&mut from, &mut batch, &mut rooms, self.options.batch);
                    }
                    earliest = Instant::now() + gather;
                    self.commit(&batch).await?;
                }
            }
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Commits a batch, however often it takes within the options' patience.
    async fn commit(&mut self, batch: &Batch<P>) -> Result<(), ProjectorError> {
        let mut retry = None;
        let mut singly = false;
        loop {
            let failed = match self.traced(batch, singly).await {
                Ok(fenced) if fenced.is_empty() => return Ok(()),
                Ok(fenced) => {
                    metrics::counter!("projector_fenced_total", "view" => self.name).increment(fenced.len() as u64);
                    tracing::warn!(view.name = self.name, partitions = ?fenced, "another projector has moved the checkpoint");
                    self.resync().await
                }
                Err(e) if e.is_refusal() && !singly => {
                    // The code alone: a message of this class may quote the value.
                    let code = e.code().unwrap_or_default();
                    tracing::warn!(view.name = self.name, error.code = %code, records = batch.len(), "the database refuses a batch, looking for the record");
                    singly = true;
                    continue;
                }
                Err(e) => Err(e.into()),
            };
            let Err(e) = failed else { continue };
            self.wait(e, &mut retry).await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// Waits after an error that may pass, and then looks where the store is: a commit that broke may have happened.
    async fn wait(&mut self, mut e: ProjectorError, retry: &mut Option<Retry>) -> Result<(), ProjectorError> {
        loop {
            match &e {
                ProjectorError::Store(s) if s.is_transient() => {
                    metrics::counter!("projector_retries_total", "view" => self.name).increment(1);
                    tracing::warn!(view.name = self.name, error = %s, "store unavailable, trying again");
                }
                _ => return Err(e),
            }
            if !retry.get_or_insert_with(|| Retry::new(self.options.patience)).again(&self.stop).await {
                return if self.stop.is_cancelled() { Ok(()) } else { Err(e) };
            }
            match self.resync().await {
                Ok(()) => return Ok(()),
                Err(again) => e = again,
            }
        }
    }

    /// Takes over the store's checkpoints: what another owner has written meanwhile is skipped here.
    async fn resync(&mut self) -> Result<(), ProjectorError> {
        let stored = self.store.checkpoints(self.name, self.generation.number).await?;
        let stored: BTreeMap<u32, u64> = stored.iter().map(|c| (c.partition, c.next_offset)).collect();
        for (partition, expected) in &mut self.expected {
            let next = stored.get(partition).copied().unwrap_or_default();
            if next < *expected {
                return Err(ProjectorError::Rewound);
            }
            *expected = next;
        }
        Ok(())
    }

    /// Looks whether the store has lost anything while there was nothing to write.
    async fn check(&mut self) -> Result<(), ProjectorError> {
        match self.resync().await {
            Err(ProjectorError::Store(e)) if e.is_transient() => Ok(()),
            done => done,
        }
    }

    /// [`Self::attempt`] in a span that links to the traces of the records, while tracing is on.
    async fn traced(&mut self, batch: &Batch<P>, singly: bool) -> Result<Vec<u32>, StoreError> {
        let Some(link) = self.options.link else { return self.attempt(batch, singly).await };
        let span = tracing::info_span!("projector.batch", view.name = self.name, records = batch.len());
        let parents = batch.iter().filter_map(|p| header(&p.record, "traceparent"));
        parents.take(MAX_LINKS).for_each(|parent| link(&span, parent));
        self.attempt(batch, singly).instrument(span).await
    }

    /// One transaction: checkpoints first, then rows, then dead letters. Answers with the partitions that belong to another
    /// owner by now; nothing of them was written. `singly`: the database has refused the batch, and what it refuses of it is
    /// to be found.
    async fn attempt(&mut self, batch: &Batch<P>, singly: bool) -> Result<Vec<u32>, StoreError> {
        let begun = Instant::now();
        let steps = self.steps(batch);
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.store.begin(Durability::FromLog).await?;
        let moved = tx.advance(self.name, self.generation.number, &steps.values().copied().collect::<Vec<_>>()).await?;
        let fenced: Vec<u32> = steps.keys().filter(|p| !moved.contains_key(p)).copied().collect();
        if moved.is_empty() {
            tx.rollback().await?;
            return Ok(fenced);
        }
        let mut parked: BTreeMap<u32, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (partition, _) in moved.iter().filter(|(_, parked)| **parked > 0) {
            parked.insert(*partition, tx.parked(&self.generation, *partition).await?);
        }
        let mine = batch.iter().filter(|p| {
            let at = p.record.position;
            moved.contains_key(&at.partition) && self.expected.get(&at.partition).is_some_and(|e| *e <= at.offset)
        });
        let (items, mut letters, records) = sort_all(mine, &mut parked);
        let rejected = if singly {
            isolate::write(&*self.view, &mut tx, &self.generation, &items).await?
        } else {
            let plain: Vec<&P::Item> = items.iter().map(|(_, item)| *item).collect();
            self.view.write(&mut tx, &self.generation, &plain).await?
        };
        letters.extend(rejected.iter().filter_map(|r| Some(rejection(items.get(r.index)?.0, r))));
        tx.bury(&self.generation, &letters).await?;
        tx.commit().await?;
        let mut reached = Vec::with_capacity(moved.len());
        for step in steps.values().filter(|s| moved.contains_key(&s.partition)) {
            self.expected.insert(step.partition, step.next);
            reached.push(Position { partition: step.partition, offset: step.next });
        }
        let _ = self.reached.send(reached);
        self.count(records, &letters, begun);
        Ok(fenced)
    }

    /// How far each partition of the batch that is still owned would move.
    fn steps(&self, batch: &Batch<P>) -> BTreeMap<u32, Advance> {
        let mut steps: BTreeMap<u32, (Advance, &Record)> = BTreeMap::new();
        for Prepared { record, .. } in batch {
            let Position { partition, offset } = record.position;
            let owned = self.owned.get(partition as usize).is_some_and(|o| o.load(Ordering::Acquire));
            let Some(expected) = self.expected.get(&partition).copied().filter(|e| owned && *e <= offset) else {
                continue;
            };
            let step = Advance { partition, expected, next: 0, appended_ms: 0, last_hash: 0 };
            let (step, last) = steps.entry(partition).or_insert((step, record));
            if step.next <= offset {
                step.next = offset + 1;
                step.appended_ms = record.appended_ms;
                *last = record;
            }
        }
        let hashed = |(step, last): (Advance, &Record)| Advance {
            last_hash: store::record_hash(&last.key, &last.value),
            ..step
        };
        steps.into_iter().map(|(partition, step)| (partition, hashed(step))).collect()
    }

    fn count(&mut self, records: u64, letters: &[NewDeadLetter], begun: Instant) {
        metrics::counter!("projector_events_total", "view" => self.name).increment(records);
        metrics::histogram!("projector_batch_seconds", "view" => self.name).record(begun.elapsed().as_secs_f64());
        for l in letters {
            let mut source = label(l.source.as_deref().unwrap_or_default()).into_owned();
            if !self.sources.contains(&source) {
                if self.sources.len() < MAX_SOURCES {
                    self.sources.insert(source.clone());
                } else {
                    source = "other".into();
                }
            }
            metrics::counter!(
                "projector_dead_letters_total", "view" => self.name, "code" => l.code, "source" => source
            )
            .increment(1);
            if !l.parked_behind {
                let key = store::key_hash(&l.key);
                tracing::warn!(
                    view.name = self.name,
                    log.partition = l.partition,
                    log.offset = l.offset,
                    key.hash = key,
                    reason = l.reason,
                    parks = l.parks,
                    "dead letter"
                );
            }
        }
    }
}
