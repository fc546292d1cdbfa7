//! Reads the log and hands its records to the workers.

use crate::prepare::{Message, prepare};
use crate::retry::Retry;
use crate::start::FromStore;
use crate::writer::Writer;
use crate::{Options, Projection, ProjectorError};
use eventlog::{Delivery, Log, LogError, Position, Record, Subscription};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::{Generation, Store};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Messages that wait for each half of a worker, at most; their records are bounded by [`Options::in_flight`].
const QUEUE: usize = 64;
/// Records in one message, at most: the first of many can be written while the last are decoded.
pub const MESSAGE: usize = 512;
/// Pause before reading again from an earlier checkpoint.
const REWIND_PAUSE: Duration = Duration::from_millis(200);

/// Projects the log into a generation of a view until `cancel`: reads from where the store is, writes, and so on. When
/// cancelled it finishes the running transactions and leaves the group.
///
/// # Errors
/// When the log or the store fails for good, or longer than the options' patience.
pub async fn run<P: Projection>(
    view: P,
    generation: Generation,
    log: Arc<dyn Log>,
    store: Store,
    options: Options,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let (view, generation) = (Arc::new(view), Arc::new(generation));
    loop {
        let session = Session::begin(view.clone(), &log, &store, &generation, &options, &cancel).await?;
        let Some(session) = session else { return Ok(()) };
        match session.run().await {
            Err(ProjectorError::Rewound) => {
                tracing::warn!(view.name = generation.view, "the store went back, reading again from its checkpoints");
                tokio::time::sleep(REWIND_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// One membership in the group, with its workers.
struct Session {
    subscription: Box<dyn Subscription>,
    tasks: JoinSet<Result<(), ProjectorError>>,
    workers: Vec<mpsc::Sender<Message<Record>>>,
    owned: Arc<[AtomicBool]>,
    room: Arc<Semaphore>,
    reached: mpsc::UnboundedReceiver<Vec<Position>>,
    options: Options,
    stop: CancellationToken,
    retry: Option<Retry>,
    /// How many partitions this process has.
    partitions: metrics::Gauge,
}

/// The workers are gone; why is known to their tasks.
struct Gone;

impl Session {
    async fn begin<P: Projection>(
        view: Arc<P>,
        log: &Arc<dyn Log>,
        store: &Store,
        generation: &Arc<Generation>,
        options: &Options,
        cancel: &CancellationToken,
    ) -> Result<Option<Self>, ProjectorError> {
        let (store_of, log_of, of) = (store.clone(), log.clone(), generation.clone());
        let start = Arc::new(FromStore { store: store_of, log: log_of, generation: of, asked: Mutex::default() });
        let mut retry = Retry::new(options.patience);
        let group = format!("{}-g{}", options.group, generation.number);
        let subscription = loop {
            match log.subscribe(&group, start.clone()).await {
                Ok(subscription) => break subscription,
                Err(e) if transient(&e) && retry.again(cancel).await => {}
                Err(_) if cancel.is_cancelled() => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        };
        let owned: Arc<[AtomicBool]> = (0..log.partitions()).map(|_| AtomicBool::new(false)).collect();
        let stop = cancel.child_token();
        let (told, reached) = mpsc::unbounded_channel();
        let (mut tasks, mut workers) = (JoinSet::new(), Vec::new());
        for _ in 0..options.workers.max(1) {
            let (to_prepare, from_dispatch) = mpsc::channel(QUEUE);
            let (to_write, from_prepare) = mpsc::channel(QUEUE);
            let writer = Writer {
                view: view.clone(),
                name: generation.view,
                store: store.clone(),
                generation: generation.clone(),
                options: options.clone(),
                owned: owned.clone(),
                reached: told.clone(),
                stop: stop.clone(),
                expected: BTreeMap::new(),
                sources: BTreeSet::new(),
            };
            let (view, partitions) = (view.clone(), log.partitions());
            tasks.spawn(async move {
                prepare(view, partitions, from_dispatch, to_write).await;
                Ok(())
            });
            tasks.spawn(writer.run(from_prepare));
            workers.push(to_prepare);
        }
        let room = Arc::new(Semaphore::new(options.in_flight_bytes));
        let options = options.clone();
        let labels = [("view", generation.view.to_owned()), ("generation", generation.number.to_string())];
        let partitions = metrics::gauge!("projector_partitions", &labels);
        Ok(Some(Self { subscription, tasks, workers, owned, room, reached, options, stop, retry: None, partitions }))
    }

    /// Reads and hands out until cancelled, or until a worker ends.
    async fn run(mut self) -> Result<(), ProjectorError> {
        let result = loop {
            let delivery = tokio::select! {
                biased;
                () = self.stop.cancelled() => break Ok(()),
                Some(ended) = self.tasks.join_next() => break Self::outcome(ended),
                Some(reached) = self.reached.recv() => {
                    self.subscription.report(&reached);
                    continue;
                }
                delivery = self.subscription.next(self.options.batch) => delivery,
            };
            match delivery {
                Ok(delivery) => {
                    self.retry = None;
                    if self.hand_out(delivery).await.is_err() {
                        break Ok(());
                    }
                }
                Err(e) => {
                    if let Err(e) = self.log_failed(e).await {
                        break Err(e);
                    }
                }
            }
        };
        self.end(result).await
    }

    /// Waits, or gives up.
    async fn log_failed(&mut self, e: LogError) -> Result<(), ProjectorError> {
        if !transient(&e) {
            return Err(e.into());
        }
        tracing::warn!(error = %e, "log unavailable, trying again");
        let retry = self.retry.get_or_insert_with(|| Retry::new(self.options.patience));
        if retry.again(&self.stop).await || self.stop.is_cancelled() { Ok(()) } else { Err(e.into()) }
    }

    async fn hand_out(&mut self, delivery: Delivery) -> Result<(), Gone> {
        match delivery {
            Delivery::Assigned(positions) => {
                for Position { partition, offset } in positions {
                    self.own(partition, true);
                    self.worker(partition).send(Message::Assign(partition, offset)).await.map_err(|_| Gone)?;
                }
            }
            Delivery::Revoked(partitions) => self.revoke(partitions).await?,
            Delivery::Records(records) => {
                let mut by_worker: Vec<Vec<Record>> = self.workers.iter().map(|_| Vec::new()).collect();
                let n = by_worker.len();
                for record in records {
                    by_worker[record.position.partition as usize % n].push(record);
                }
                // Turn by turn, so that no worker waits until another one has all of its records.
                let mut queues: Vec<_> = by_worker.into_iter().map(Vec::into_iter).collect();
                while queues.iter().any(|q| q.len() > 0) {
                    for (worker, queue) in queues.iter_mut().enumerate() {
                        let records: Vec<Record> = queue.by_ref().take(MESSAGE).collect();
                        if !records.is_empty() {
                            self.send(worker, records).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends records once there is room for them.
    async fn send(&mut self, worker: usize, records: Vec<Record>) -> Result<(), Gone> {
        let all = self.options.in_flight_bytes;
        let least = all / self.options.in_flight.max(1);
        let cost: usize = records.iter().map(|r| size(r).max(least)).sum();
        let cost = u32::try_from(cost.min(all)).unwrap_or(u32::MAX);
        let room = tokio::select! {
            () = self.stop.cancelled() => return Err(Gone),
            () = self.workers[worker].closed() => return Err(Gone),
            room = self.room.clone().acquire_many_owned(cost) => room.map_err(|_| Gone)?,
        };
        self.workers[worker].send(Message::Records(records, room)).await.map_err(|_| Gone)
    }

    /// Lets partitions go: what is queued of them is dropped, and a running transaction is waited for, so that the next owner
    /// rarely meets one.
    async fn revoke(&mut self, partitions: Vec<u32>) -> Result<(), Gone> {
        let mut waiting = Vec::new();
        for partition in &partitions {
            self.own(*partition, false);
        }
        for partition in partitions {
            let (done, wait) = oneshot::channel();
            self.worker(partition).send(Message::Revoke(partition, done)).await.map_err(|_| Gone)?;
            waiting.push(wait);
        }
        for wait in waiting {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Gone),
                done = wait => done.map_err(|_| Gone)?,
            }
        }
        Ok(())
    }

    fn own(&self, partition: u32, owned: bool) {
        if let Some(o) = self.owned.get(partition as usize) {
            o.store(owned, Ordering::Release);
        }
        let count = self.owned.iter().filter(|o| o.load(Ordering::Acquire)).count();
        self.partitions.set(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn worker(&self, partition: u32) -> &mpsc::Sender<Message<Record>> {
        &self.workers[partition as usize % self.workers.len()]
    }

    /// What an ended task means while none was asked to end.
    fn outcome(ended: Result<Result<(), ProjectorError>, tokio::task::JoinError>) -> Result<(), ProjectorError> {
        ended.unwrap_or(Err(ProjectorError::Panicked))
    }

    /// Stops the workers after their running transactions, reports what was reached, and leaves the group. The first error
    /// is the result.
    async fn end(mut self, mut result: Result<(), ProjectorError>) -> Result<(), ProjectorError> {
        self.stop.cancel();
        self.partitions.set(0);
        self.workers.clear();
        self.room.close();
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(Self::outcome(ended));
        }
        while let Ok(reached) = self.reached.try_recv() {
            self.subscription.report(&reached);
        }
        self.subscription.close().await;
        result
    }
}

/// What a record takes up while it is in flight, bytes.
fn size(r: &Record) -> usize {
    r.key.len() + r.value.len() + r.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
}

/// The one place where the log's errors are sorted.
pub const fn transient(e: &LogError) -> bool {
    match e {
        LogError::Busy(_) | LogError::Unavailable(_) => true,
        LogError::Refused(_) | LogError::Configuration(_) => false,
    }
}
