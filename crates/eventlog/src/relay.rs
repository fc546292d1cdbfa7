//! An inbox: a topic that others write to, whose records are moved to the log, or to a topic of refused ones, exactly once.
//!
//! What becomes of a record is the caller's to say. What it writes for a batch and how far it has read are one transaction.

use crate::options::{self, Target};
use crate::{Log, LogError, NewRecord, Options, kafka};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Most records in one transaction.
pub const BATCH_RECORDS: usize = 5_000;
/// Most bytes of records in one transaction, but for a single larger one.
pub const BATCH_BYTES: usize = 4 << 20;
/// How long further records are waited for once there is one: each transaction costs a marker in every partition it touches.
pub const BATCH_TIME: Duration = Duration::from_millis(50);
/// The largest record, bytes of key, value and headers, that is copied to the topic of refused ones. Of a larger one only the
/// reason goes there: an inbox that an operator has set so takes more than any log.
pub const MOST_COPIED_BYTES: usize = 8 << 20;

/// The topics of an inbox, and who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayOptions {
    /// Topic that others write to; made where there is none, with as many partitions as the log.
    pub inbox: String,
    /// Topic of what was refused; made where there is none.
    pub refused: String,
    /// Consumer group; it holds how far the inbox was read.
    pub group: String,
    /// How long the inbox keeps records, where its topic is made.
    pub inbox_retention: Duration,
    /// How long refused records are kept, where their topic is made.
    pub refused_retention: Duration,
}

/// A record as somebody wrote it.
#[derive(Clone)]
pub struct Incoming {
    /// Partition of the inbox.
    pub partition: u32,
    /// Offset in it.
    pub offset: u64,
    /// Key; none is not the same as an empty one.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers; none where a name is not UTF-8.
    pub headers: Vec<(String, Bytes)>,
}

impl Incoming {
    /// Size in bytes: key, value and headers.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers
    }
}

/// Without key, value and headers: they are about a patient.
impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// What is written.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A record for the log.
    Log(NewRecord),
    /// A record for the topic of refused ones, as it came, with these headers after its own.
    Refused(Incoming, Vec<(&'static str, Bytes)>),
}

/// What was read.
#[derive(Debug, Default)]
pub struct Taken {
    /// Others may have moved records since the last time: partitions have changed hands, or a transaction's end is unknown.
    pub assigned: bool,
    /// Records, in order within each partition. None after a wait without any.
    pub records: Vec<Incoming>,
}

/// A reader of the inbox that writes elsewhere. Its calls block.
pub trait Relay: Send {
    /// Waits up to `wait` for records, and takes at most [`BATCH_RECORDS`], [`BATCH_BYTES`] and [`BATCH_TIME`] of them. What was
    /// taken before and not committed is taken again.
    ///
    /// # Errors
    /// `Unavailable`: later again. `Configuration`: never.
    fn take(&mut self, wait: Duration) -> Result<Taken, LogError>;

    /// Writes, and notes all that was taken as read, in one transaction.
    ///
    /// # Errors
    /// It didn't come about, and the records will be taken again, here or by whoever has the partitions now. `Configuration` when
    /// another process has taken this one's place for good.
    fn commit(&mut self, out: Vec<Outgoing>) -> Result<(), LogError>;
}

/// Opens a topic beside the log at a URL, as it is: to look at refused records, and to send some to the inbox again.
///
/// # Errors
/// As [`open_relay`]; `Configuration` where there is no such topic.
pub async fn open_topic(url: &str, topic: &str, options: &Options) -> Result<Arc<dyn Log>, LogError> {
    match options::parse(url)? {
        Target::Kafka(log) => {
            let target = options::KafkaTarget { topic: topic.to_owned(), ..log };
            Ok(Arc::new(kafka::KafkaLog::existing(&target, options).await?))
        }
        Target::Sqlite(_) => Err(LogError::Configuration("an inbox needs a log in Kafka".to_owned())),
    }
}

/// Opens the inbox beside the log at a URL (`kafka://…`), and makes its topics where there are none.
///
/// # Errors
/// `Configuration` for a log that isn't in Kafka, or topics that can't work; `Unavailable` when Kafka can't be reached in
/// [`Options::connect_timeout`].
pub async fn open_relay(url: &str, options: &Options, relay: RelayOptions) -> Result<Box<dyn Relay>, LogError> {
    match options::parse(url)? {
        Target::Kafka(log) => Ok(Box::new(kafka::KafkaRelay::open(&log, options, relay).await?)),
        Target::Sqlite(_) => Err(LogError::Configuration("an inbox needs a log in Kafka".to_owned())),
    }
}
