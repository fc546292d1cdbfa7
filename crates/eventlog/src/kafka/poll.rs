//! The thread that looks after a group member: it polls, hands records over, and walks through rebalances.
//!
//! librdkafka calls back about a rebalance while being polled. The callback only notes it; this thread then tells the
//! reader, goes on polling (so that the membership stays alive), and completes the step once the reader has answered.
//! So a revocation is complete only when the reader has let the partitions go, and offsets come from the reader's store.

mod steps;

use super::batch::Batch;
use super::client::{Health, failed};
use super::member::{Handle, Member, PATIENCE, Rebalance, Shared, lock};
use super::reader::number;
use crate::{LogError, Position, Record};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Records of one batch, at most.
const BATCH_RECORDS: usize = 2048;
/// Bytes after which a batch is handed over.
const BATCH_BYTES: usize = 512 << 10;
/// Batches that may wait for the reader.
pub(super) const BATCHES: usize = 4;
/// How long a poll waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// How long a poll waits in a rebalance, or while the reader is slow.
const BRISK: Duration = Duration::from_millis(5);
/// Between looking whether the reader has room again.
const ROOM_EVERY: Duration = Duration::from_millis(1);
/// How long to wait for a slow reader without polling. After that the partitions are paused, so that polling can go on:
/// not at once, since pausing throws away what was fetched ahead.
const STALL: Duration = Duration::from_secs(3);
/// How often the group is told how far the reader has come.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What the thread tells the reader.
pub(super) enum Event {
    /// Partitions to be read here: where from?
    Assign {
        step: u64,
        partitions: Vec<u32>,
    },
    /// Partitions to let go.
    Revoke {
        step: u64,
        partitions: Vec<u32>,
    },
    Records(Vec<Record>),
    /// The last event.
    Failed(LogError),
}

/// Makes a member of the group.
pub(super) type Join = Box<dyn Fn(Handle) -> Result<BaseConsumer<Member>, LogError> + Send>;

/// The thread's state.
pub(super) struct Poller {
    pub(super) topic: String,
    join: Join,
    consumer: BaseConsumer<Member>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) shared: Arc<Shared>,
    pub(super) health: Arc<Health>,
    active: BTreeSet<u32>,
    batch: Batch,
    outbox: VecDeque<Event>,
    step: u64,
    /// The step that the reader was told of, and what it is.
    current: Option<Rebalance>,
    paused: bool,
    committed: Instant,
}

/// The thread is to end.
enum End {
    Closed,
    Failed(LogError),
}

impl Poller {
    pub(super) fn new(
        topic: String,
        join: Join,
        events: mpsc::Sender<Event>,
        shared: Arc<Shared>,
        health: Arc<Health>,
    ) -> Result<Self, LogError> {
        Ok(Self {
            topic,
            consumer: join(Handle::new(health.clone(), PATIENCE))?,
            join,
            events,
            shared,
            health,
            active: BTreeSet::new(),
            batch: Batch::default(),
            outbox: VecDeque::new(),
            step: 0,
            current: None,
            paused: false,
            committed: Instant::now(),
        })
    }

    /// Runs until the reader leaves, or something can't be mended.
    pub(super) fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        self.shared.closing.store(true, Ordering::Relaxed);
        if let End::Failed(error) = end {
            tracing::error!(error = %error, log.topic = self.topic, "reading the log failed");
            // the reader takes what is waiting first
            let _ = self.events.blocking_send(Event::Failed(error));
        }
        self.commit();
        // dropping the consumer leaves the group
    }

    fn turn(&mut self) -> Result<(), End> {
        if self.shared.closing() || self.events.is_closed() {
            return Err(End::Closed);
        }
        // librdkafka joins no group again while a commit is under way, and keeps one for a coordinator that is away
        if self.committed.elapsed() > COMMIT_EVERY && !self.health.is_down() {
            self.commit();
        }
        if self.consumer.context().handle.hangs() {
            self.join_anew()?;
        }
        self.fill()?;
        if self.batch.len() > 0 {
            let records = self.batch.take();
            self.outbox.push_back(Event::Records(records));
        }
        self.rebalance()?;
        self.hand_over()
    }

    /// Collects what there is; waits only for the first record.
    fn fill(&mut self) -> Result<(), End> {
        let mut wait = if self.current.is_some() || self.paused { BRISK } else { IDLE };
        while self.batch.len() < BATCH_RECORDS && self.batch.size() < BATCH_BYTES {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    // what was fetched before a partition was let go is another member's now
                    if u32::try_from(message.partition()).is_ok_and(|partition| self.active.contains(&partition)) {
                        self.batch.push(&message);
                    }
                }
                Some(Err(error)) => {
                    sort(error).map_err(End::Failed)?;
                    break;
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        if self.batch.len() > 0 {
            self.health.fine();
        }
        Ok(())
    }

    fn list(&self, positions: &[Position]) -> Result<TopicPartitionList, LogError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            let offset = Offset::Offset(i64::try_from(position.offset).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, number(position.partition), offset).map_err(failed)?;
        }
        Ok(list)
    }

    /// Hands over what is waiting. While the reader is slow, it waits without polling, and in the end with polling but
    /// paused.
    fn hand_over(&mut self) -> Result<(), End> {
        let begun = Instant::now();
        while let Some(event) = self.outbox.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Closed(_)) => return Err(End::Closed),
                Err(TrySendError::Full(event)) => {
                    self.outbox.push_front(event);
                    if self.shared.closing() {
                        return Err(End::Closed);
                    }
                    if self.paused {
                        return Ok(());
                    }
                    if begun.elapsed() > STALL {
                        self.pause(true);
                        return Ok(());
                    }
                    std::thread::sleep(ROOM_EVERY);
                }
            }
        }
        if self.paused {
            self.pause(false);
        }
        Ok(())
    }

    fn pause(&mut self, pause: bool) {
        let all = self.consumer.assignment();
        let done = all.and_then(|all| if pause { self.consumer.pause(&all) } else { self.consumer.resume(&all) });
        if let Err(error) = done {
            tracing::warn!(error = %error, "pausing or resuming partitions failed");
        }
        self.paused = pause;
    }

    /// Tells the group how far the reader is, without waiting: only lag charts look at it.
    fn commit(&mut self) {
        self.committed = Instant::now();
        let reported = std::mem::take(&mut *lock(&self.shared.reported));
        let positions: Vec<Position> = reported
            .into_iter()
            .map(|(partition, offset)| Position { partition, offset })
            .filter(|position| self.active.contains(&position.partition))
            .collect();
        if positions.is_empty() {
            return;
        }
        let done =
            self.list(&positions).and_then(|list| self.consumer.commit(&list, CommitMode::Async).map_err(failed));
        if let Err(error) = done {
            tracing::debug!(error = %error, "telling the group how far the reader is failed");
        }
    }
}

/// Transient errors mend themselves inside librdkafka; others end the membership.
pub(super) fn sort(error: KafkaError) -> Result<(), LogError> {
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    let gone = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
    match failed(error) {
        LogError::Configuration(_) if gone => {
            Err(LogError::Configuration("the log no longer has the offset to read".to_owned()))
        }
        LogError::Configuration(why) => Err(LogError::Configuration(why)),
        error if fatal => Err(error),
        error => {
            tracing::debug!(error = %error, "reading the log has to wait");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
