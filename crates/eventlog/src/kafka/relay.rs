//! The inbox in Kafka: a group member that reads it, and a transactional producer whose transactions hold the group's offsets.

mod reading;
mod topics;
mod transaction;

use super::client::{Context, ISOLATION, STATISTICS, Settings, failed};
use super::member::{Handle, PATIENCE};
use crate::LogError;
use crate::options::{KafkaTarget, Options};
use crate::relay::{BATCH_BYTES, BATCH_RECORDS, BATCH_TIME, MOST_COPIED_BYTES, Outgoing, Relay, RelayOptions, Taken};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use reading::{incoming, report_lost, sorted};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use transaction::{Failure, Transactions};

/// Room in a message beside a record, bytes: the reason of a refusal and the framing.
const REASON_BYTES: usize = 64 << 10;
/// Milliseconds after which the broker aborts a transaction that nobody ends. Readers of the log see nothing that came after the
/// beginning of an open one.
const TRANSACTION_MS: &str = "10000";
/// Bytes of one answer to the inbox's reader, as compressed on the broker.
const FETCH_BYTES: &str = "4194304";
/// KiB fetched ahead, at most.
const FETCH_QUEUE_KIB: &str = "16384";
/// Milliseconds after which a silent member's partitions go to others.
const SESSION_MS: &str = "10000";
/// Milliseconds that it may go without looking after its membership: one turn may wait 30 s each for records to be sent, for offsets
/// and for the end of a transaction, and some for what is lost.
const POLL_INTERVAL_MS: u64 = 120_000;
/// How often this one may be fenced within [`FENCED_WITHIN`] before it gives way: once may be its own transaction that timed out.
const MOST_FENCED: usize = 3;
const FENCED_WITHIN: Duration = Duration::from_secs(60);

/// An inbox.
pub(crate) struct KafkaRelay {
    settings: Settings,
    names: RelayOptions,
    /// Of the log, and of the topic of refused records.
    partitions: (u32, u32),
    /// Kafka's `transactional.id`: whoever comes back under it ends what its former life left open.
    id: String,
    clients: Option<Clients>,
    /// With the next handle.
    patience: u32,
    /// Offsets after what was taken and isn't committed.
    read: BTreeMap<u32, u64>,
    fenced: Vec<Instant>,
}

struct Clients {
    consumer: BaseConsumer<Member>,
    /// The membership as it was when the partitions came: a later one must not commit for it.
    membership: Option<ConsumerGroupMetadata>,
    transactions: Transactions,
}

/// Notes that partitions came or went.
struct Member {
    changed: AtomicBool,
    handle: Handle,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.handle.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.handle.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.handle.note(&statistics);
    }
}

impl ConsumerContext for Member {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl KafkaRelay {
    pub(crate) async fn open(log: &KafkaTarget, options: &Options, names: RelayOptions) -> Result<Self, LogError> {
        let (partitions, refused) = topics::ensure(log, options, &names).await?;
        let settings = Settings::new(log, options)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let who = options.instance_id.as_deref().unwrap_or_else(|| host.trim());
        let id = format!("{}-{who}", names.group);
        let partitions = (partitions, refused);
        Ok(Self {
            settings,
            names,
            partitions,
            id,
            clients: None,
            patience: PATIENCE,
            read: BTreeMap::new(),
            fenced: Vec::new(),
        })
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.settings.layered(
            &[
                ("queued.max.messages.kbytes", FETCH_QUEUE_KIB),
                ("fetch.max.bytes", FETCH_BYTES),
                ("fetch.queue.backoff.ms", "2"),
                ("fetch.error.backoff.ms", "50"),
                ("fetch.wait.max.ms", "100"),
                ("session.timeout.ms", SESSION_MS),
                ("heartbeat.interval.ms", "1000"),
                ("max.poll.interval.ms", &self.settings.poll_interval_ms(POLL_INTERVAL_MS)),
            ],
            &[
                ("group.id", &self.names.group),
                // all partitions are let go in a rebalance, so that what is in hand can simply be dropped
                ("partition.assignment.strategy", "range"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "false"),
                ("auto.offset.reset", "earliest"),
                ISOLATION,
                STATISTICS,
            ],
        );
        if let Some(id) = &self.settings.instance_id {
            config.set("group.instance.id", id);
        }
        config
    }

    fn producer(&self) -> ClientConfig {
        let most = (MOST_COPIED_BYTES + REASON_BYTES).to_string();
        self.settings.layered(
            &[
                ("compression.type", "lz4"),
                ("linger.ms", "2"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("transactional.id", &self.id),
                ("transaction.timeout.ms", TRANSACTION_MS),
                ("message.timeout.ms", TRANSACTION_MS),
                ("message.max.bytes", &most),
            ],
        )
    }

    /// The clients; new ones at the beginning and after anything that went wrong: they begin at the group's offsets.
    fn clients(&mut self) -> Result<&mut Clients, LogError> {
        if self.clients.is_none() {
            let context = Context(self.settings.health.clone());
            let transactions = match Transactions::begin(&self.producer(), context) {
                Ok(transactions) => transactions,
                Err(failure) => return Err(self.failed(failure)),
            };
            let handle = Handle::new(self.settings.health.clone(), self.patience);
            let member = Member { changed: AtomicBool::new(false), handle };
            let consumer: BaseConsumer<Member> = self.consumer().create_with_context(member).map_err(failed)?;
            consumer.subscribe(&[&self.names.inbox]).map_err(failed)?;
            self.read.clear();
            self.clients = Some(Clients { consumer, membership: None, transactions });
        }
        self.clients.as_mut().ok_or_else(|| LogError::Unavailable("no clients".to_owned()))
    }

    /// Leaves the clients alone: ending them waits for what they may hang on.
    fn let_go(&mut self) {
        if let Some(clients) = self.clients.take() {
            clients.consumer.context().handle.retire();
            std::thread::spawn(move || drop(clients));
        }
    }

    /// What a failure of the transactions means: mostly that new clients begin again.
    fn failed(&mut self, failure: Failure) -> LogError {
        self.let_go();
        match failure {
            Failure::Fenced(why) => {
                self.fenced.retain(|at| at.elapsed() < FENCED_WITHIN);
                self.fenced.push(Instant::now());
                if self.fenced.len() < MOST_FENCED {
                    return LogError::Unavailable(why);
                }
                let id = &self.id;
                LogError::Configuration(format!(
                    "another inbox works as {id}: give each process its own log.instance_id ({why})"
                ))
            }
            Failure::Other(error) => error,
        }
    }
}

impl Relay for KafkaRelay {
    fn take(&mut self, wait: Duration) -> Result<Taken, LogError> {
        if !self.read.is_empty() {
            // nobody has committed what was taken: it must not be passed over
            self.let_go();
        }
        let handle = self.clients.as_ref().map(|clients| &clients.consumer.context().handle);
        if let Some(hanging) = handle.filter(|handle| handle.hangs()) {
            tracing::warn!(log.topic = self.names.inbox, "the membership in the inbox's group hangs, joining anew");
            self.patience = hanging.patience_after();
            self.let_go();
        }
        self.clients()?;
        let Some(clients) = &mut self.clients else { return Ok(Taken::default()) };
        let mut taken = Taken::default();
        let mut bytes = 0;
        let mut until = Instant::now() + wait;
        while taken.records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let polled = clients.consumer.poll(until.saturating_duration_since(Instant::now()));
            if clients.consumer.context().changed.swap(false, Ordering::Relaxed) {
                // what is in hand is read again from the group's offsets, here or elsewhere
                taken = Taken { assigned: true, records: Vec::new() };
                (bytes, until) = (0, Instant::now() + wait);
                self.read.clear();
                clients.membership = clients.consumer.group_metadata();
                report_lost(&clients.consumer, &self.names.inbox);
            }
            match polled {
                Some(Ok(message)) => {
                    if taken.records.is_empty() {
                        self.settings.health.fine();
                        until = until.min(Instant::now() + BATCH_TIME);
                    }
                    if let Some(record) = incoming(&message) {
                        bytes += record.size();
                        self.read.insert(record.partition, record.offset + 1);
                        taken.records.push(record);
                    }
                }
                Some(Err(error)) => {
                    if let Err(error) = sorted(error, &self.names.inbox) {
                        self.let_go();
                        return Err(error);
                    }
                }
                None => {}
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(taken)
    }

    fn commit(&mut self, out: Vec<Outgoing>) -> Result<(), LogError> {
        let read = std::mem::take(&mut self.read);
        let lost = || LogError::Unavailable("the partitions went to another process".to_owned());
        let done = match &self.clients {
            Some(Clients { consumer, membership: Some(membership), transactions }) if !consumer.assignment_lost() => {
                let to = transaction::Places {
                    log: &self.settings.topic,
                    refused: &self.names.refused,
                    inbox: &self.names.inbox,
                    partitions: self.partitions,
                };
                transactions.run(&to, out, &read, membership)
            }
            _ => Err(Failure::Other(lost())),
        };
        done.map_err(|failure| self.failed(failure))
    }
}

#[cfg(test)]
mod tests;
