//! Append to and read from a partitioned log: Kafka, or SQLite when embedded.
//!
//! It knows bytes, not events. It must never interpret a value, and never say that something is appended before it is
//! durable. [`open`] chooses the backend by the URL's scheme.

mod kafka;
mod murmur;
mod options;
pub mod relay;
mod sqlite;

pub use murmur::partition_of;
pub use options::{DEFAULT_PARTITIONS, Options};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use std::sync::Arc;

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Partition, from 0.
    pub partition: u32,
    /// Offset in the partition, from 0.
    pub offset: u64,
}

/// A record to append.
#[derive(Clone)]
pub struct NewRecord {
    /// Key; records of one key keep their order.
    pub key: Bytes,
    /// Value.
    pub value: Bytes,
    /// Headers: event id, type, trace context.
    pub headers: Vec<(&'static str, Bytes)>,
}

/// A record of the log.
#[derive(Clone)]
pub struct Record {
    /// Where it lies.
    pub position: Position,
    /// When the log took it, milliseconds since 1970.
    pub appended_ms: i64,
    /// Key; empty where there is none.
    pub key: Bytes,
    /// Value; empty where there is none.
    pub value: Bytes,
    /// Headers.
    pub headers: Vec<(String, Bytes)>,
}

/// Without key, value and headers: they are about a patient.
impl std::fmt::Debug for NewRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRecord").field("bytes", &self.size()).finish_non_exhaustive()
    }
}

/// Without key, value and headers: they are about a patient.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("position", &self.position).finish_non_exhaustive()
    }
}

/// The largest record that a log takes, in bytes of key, value and headers together. Every backend has the same, and it
/// lies under Kafka's default `message.max.bytes`, so that no log takes what another would refuse.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// Records in one batch of [`Log::scan`], where it is made of reads.
const SCAN_RECORDS: usize = 4_096;

impl NewRecord {
    /// Size in bytes: key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.len() + headers
    }

    /// Refuses what is larger than [`MAX_RECORD_BYTES`].
    fn check(&self) -> Result<(), LogError> {
        let size = self.size();
        if size > MAX_RECORD_BYTES {
            return Err(LogError::Refused(format!("{size} bytes are more than {MAX_RECORD_BYTES}")));
        }
        Ok(())
    }
}

/// Why the log could not do it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log is full or slow: try again after a while.
    #[error("the log is busy: {0}")]
    Busy(String),
    /// The log can't be reached, or broke: transient.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// The record will never be taken: permanent.
    #[error("the log refused the record: {0}")]
    Refused(String),
    /// The log is not as configured (partitions, settings): permanent.
    #[error("the log is not as configured: {0}")]
    Configuration(String),
}

/// A partitioned log.
#[async_trait]
pub trait Log: Send + Sync {
    /// How many partitions it has.
    fn partitions(&self) -> u32;

    /// Appends the records, and answers for each once it is durable. Records of one key keep their order.
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>>;

    /// The first offset, and the offset after the last record, of each partition.
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError>;

    /// Reads up to `max` records of a partition from an offset; empty at the end.
    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError>;

    /// Reads the records of a partition from offset `from` up to, but not with, offset `to`, in order and in batches, faster than
    /// [`Log::read`] again and again; without their headers, which hardly any reader looks at. An error ends it; what came before
    /// it stays good. Without an error it ends only when there is nothing more before `to`: `Unavailable` where it could not come
    /// so far.
    fn scan(&self, partition: u32, from: u64, to: u64) -> BoxStream<'_, Result<Vec<Record>, LogError>> {
        let step = move |at: u64| async move {
            if at >= to {
                return Ok(None);
            }
            let max = usize::try_from(to - at).unwrap_or(SCAN_RECORDS).min(SCAN_RECORDS);
            let mut records = self.read(partition, at, max).await?;
            records.retain(|r| r.position.offset < to);
            records.iter_mut().for_each(|r| r.headers.clear());
            let Some(last) = records.last() else { return ended(self, partition, at, to).await };
            let next = last.position.offset + 1;
            Ok(Some((records, next)))
        };
        stream::try_unfold(from, step).boxed()
    }

    /// Lets go of what it holds: connections come back and are closed, and a file has all of it afterwards, so that nothing is left
    /// beside it. Nothing can be read or appended any more.
    async fn close(&self) {}

    /// Joins a group of readers, among which the partitions are spread. Where to begin is asked of `start` whenever a
    /// partition is assigned, since the reader's own store knows it, not the log.
    async fn subscribe(&self, group: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError>;
}

/// Says from which offset each of some partitions is to be read.
pub trait Start: Send + Sync {
    /// The offsets, one per partition.
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>>;
}

/// What a subscription delivers.
#[derive(Debug)]
pub enum Delivery {
    /// These partitions are now read here, from these offsets.
    Assigned(Vec<Position>),
    /// These partitions are no longer read here.
    Revoked(Vec<u32>),
    /// Records, in order within each partition; never empty.
    Records(Vec<Record>),
}

/// A member of a group of readers.
#[async_trait]
pub trait Subscription: Send + Sync {
    /// Waits for the next delivery, of at most `max` records. Cancel-safe.
    async fn next(&mut self, max: usize) -> Result<Delivery, LogError>;

    /// Tells the group how far the reader's store has come (for lag charts only).
    fn report(&mut self, next: &[Position]);

    /// Leaves the group.
    async fn close(self: Box<Self>);
}

/// Whether no record lies in `[from, to)` of a partition although the log reaches from `from` to `to`: offsets may have gaps, at
/// the end too.
///
/// # Errors
/// Those of the log.
pub async fn is_gap<L: Log + ?Sized>(log: &L, partition: u32, from: u64, to: u64) -> Result<bool, LogError> {
    // In this order: what the read doesn't find isn't missing because the log had not come so far.
    let (first, end) = log.bounds().await?.get(partition as usize).copied().unwrap_or_default();
    if from < first || end < to {
        return Ok(false);
    }
    Ok(log.read(partition, from, 1).await?.first().is_none_or(|r| r.position.offset >= to))
}

/// The end of a scan that has come to `at` and found nothing more before `to`.
async fn ended<L: Log + ?Sized, T>(log: &L, partition: u32, at: u64, to: u64) -> Result<Option<T>, LogError> {
    if at >= to || is_gap(log, partition, at, to).await? {
        return Ok(None);
    }
    Err(LogError::Unavailable(format!("a scan of partition {partition} ended at offset {at}, before {to}")))
}

/// Opens the log at a URL, and makes it first where there is none.
///
/// - `sqlite:/path/file.db?partitions=12&synchronous=full`: a file. `synchronous` is `full` (the default: a record that
///   was answered survives a power cut) or `normal` (it survives a crash of the process, not always a power cut).
/// - `kafka://host:port[,host:port]/topic?partitions=12&replication=3`: a topic.
///
/// # Errors
/// `Configuration` for a URL that isn't understood, or a log that exists with other partitions or settings;
/// `Unavailable` when the log can't be reached in [`Options::connect_timeout`].
pub async fn open(url: &str, options: &Options) -> Result<Arc<dyn Log>, LogError> {
    match options::parse(url)? {
        options::Target::Sqlite(file) => Ok(Arc::new(sqlite::SqliteLog::open(&file, options).await?)),
        options::Target::Kafka(topic) => Ok(Arc::new(kafka::KafkaLog::open(&topic, options).await?)),
    }
}

/// The file of a log by its URL; `None` for one that isn't in a file.
///
/// # Errors
/// `Configuration` for a URL that isn't understood.
pub fn file(url: &str) -> Result<Option<std::path::PathBuf>, LogError> {
    Ok(match options::parse(url)? {
        options::Target::Sqlite(file) => Some(file.path),
        options::Target::Kafka(_) => None,
    })
}

/// The topic of a log by its URL; `None` for one that isn't in Kafka.
///
/// # Errors
/// `Configuration` for a URL that isn't understood.
pub fn topic(url: &str) -> Result<Option<String>, LogError> {
    Ok(match options::parse(url)? {
        options::Target::Kafka(target) => Some(target.topic),
        options::Target::Sqlite(_) => None,
    })
}

/// Copies a log in a file as it is at one moment, while it is read and written, to a file that there isn't yet. Answers with
/// the offset after the copy's last record of each partition. Only once the caller has synced the file it is sure to be on
/// disk.
///
/// # Errors
/// `Configuration` when it is no log, or the file exists; `Unavailable` when the disk is full or fails.
pub async fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<Vec<u64>, LogError> {
    sqlite::copy(from, to).await
}

/// The positions to begin at, once it is sure that the log has them: a reader that is ahead of the log read another one,
/// and one that is behind its first record would skip what was deleted.
fn checked(partitions: &[u32], next: &[u64], bounds: &[(u64, u64)]) -> Result<Vec<Position>, LogError> {
    if next.len() != partitions.len() {
        return Err(LogError::Configuration(format!("{} offsets for {} partitions", next.len(), partitions.len())));
    }
    std::iter::zip(partitions, next)
        .map(|(&partition, &offset)| {
            let (first, end) = bounds.get(partition as usize).copied().unwrap_or_default();
            if offset > end {
                return Err(LogError::Configuration(format!(
                    "partition {partition}: the reader's database has taken everything before offset {offset}, but the log \
                     ends at {end}: the database is newer than this log, which is an older copy or another log"
                )));
            }
            if offset < first {
                return Err(LogError::Configuration(format!(
                    "partition {partition}: the reader's database goes on at offset {offset}, but the log begins at {first}: \
                     the database is so old that the log has deleted what it needs, or this is another log"
                )));
            }
            Ok(Position { partition, offset })
        })
        .collect()
}
