//! One transaction after the other.

use crate::kafka::client::{Context, failed};
use crate::kafka::reader::number;
use crate::relay::{Incoming, MOST_COPIED_BYTES, Outgoing};
use crate::{LogError, NewRecord, partition_of};
use bytes::Bytes;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the beginning of a producer may take: it waits for the end of what its former life left open.
const INIT: Duration = Duration::from_secs(30);
/// How long one step of a transaction may take before it is asked for again.
const STEP: Duration = Duration::from_secs(5);
/// How long a transaction may take to be committed; then it is given up, and its outcome found out by reading again.
const COMMIT: Duration = Duration::from_secs(30);
/// Pause while the producer's queue is full.
const FULL: Duration = Duration::from_millis(1);

/// Why a transaction did not come about.
pub(super) enum Failure {
    /// Somebody else has the producer's place.
    Fenced(String),
    /// Anything else; new clients may succeed.
    Other(LogError),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => Self::Fenced(error.to_string()),
            _ => Self::Other(failed(error)),
        }
    }
}

/// Notes why a record can't be delivered, which fails its transaction: the transaction's own error doesn't say.
struct Deliveries {
    context: Context,
    failed: Mutex<Option<String>>,
}

impl Deliveries {
    fn take(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.context.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if let Err((error, message)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            // The first one: those after it were only thrown away.
            failed.get_or_insert_with(|| format!("topic {}: {error}", message.topic()));
        }
    }
}

/// Where records go.
pub(super) struct Places<'a> {
    pub(super) log: &'a str,
    pub(super) refused: &'a str,
    pub(super) inbox: &'a str,
    /// Of the log, and of the topic of refused records.
    pub(super) partitions: (u32, u32),
}

/// A transactional producer.
pub(super) struct Transactions(ThreadedProducer<Deliveries>);

impl Transactions {
    /// Fences and ends what another life of the producer left open.
    pub(super) fn begin(config: &ClientConfig, context: Context) -> Result<Self, Failure> {
        let deliveries = Deliveries { context, failed: Mutex::default() };
        let producer: ThreadedProducer<Deliveries> =
            config.create_with_context(deliveries).map_err(failed).map_err(Failure::Other)?;
        patiently(INIT, || producer.init_transactions(STEP))?;
        Ok(Self(producer))
    }

    /// Writes and commits, together with how far `read` is; or aborts.
    pub(super) fn run(
        &self,
        to: &Places<'_>,
        out: Vec<Outgoing>,
        read: &BTreeMap<u32, u64>,
        membership: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        self.0.begin_transaction()?;
        let done = self.fill(to, out, read, membership);
        let done = done.and_then(|()| patiently(COMMIT, || self.0.commit_transaction(STEP)));
        if done.is_err()
            && let Err(error) = self.0.abort_transaction(STEP)
        {
            // then the broker does it: when the next producer begins, or after the transaction's time
            tracing::debug!(error = %error, "aborting a transaction failed");
        }
        done.map_err(|failure| match (failure, self.0.context().take()) {
            (Failure::Other(LogError::Unavailable(why)), Some(undelivered)) => {
                Failure::Other(LogError::Unavailable(format!("{why}; {undelivered}")))
            }
            (failure, _) => failure,
        })
    }

    fn fill(
        &self,
        to: &Places<'_>,
        out: Vec<Outgoing>,
        read: &BTreeMap<u32, u64>,
        membership: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        for outgoing in &out {
            match outgoing {
                Outgoing::Log(record) => self.append(to, record)?,
                Outgoing::Refused(record, why) => self.refuse(to, record, why)?,
            }
        }
        let mut offsets = TopicPartitionList::with_capacity(read.len());
        for (partition, next) in read {
            let next = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            offsets.add_partition_offset(to.inbox, number(*partition), next)?;
        }
        patiently(COMMIT, || self.0.send_offsets_to_transaction(&offsets, membership, STEP))
    }

    fn append(&self, to: &Places<'_>, record: &NewRecord) -> Result<(), Failure> {
        record.check().map_err(Failure::Other)?;
        let headers = headers(record.headers.iter().map(|(name, value)| (*name, value)));
        let partition = number(partition_of(&record.key, to.partitions.0));
        let message = BaseRecord::to(to.log).partition(partition).headers(headers);
        self.send(message.key(&record.key[..]).payload(&record.value[..]))
    }

    fn refuse(&self, to: &Places<'_>, record: &Incoming, why: &[(&'static str, Bytes)]) -> Result<(), Failure> {
        let whole = record.size() <= MOST_COPIED_BYTES;
        let own = record.headers.iter().filter(|_| whole).map(|(name, value)| (name.as_str(), value));
        let headers = headers(own.chain(why.iter().map(|(name, value)| (*name, value))));
        let partition = number(record.partition % to.partitions.1.max(1));
        let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(to.refused).partition(partition).headers(headers);
        if let Some(key) = record.key.as_deref().filter(|_| whole) {
            message = message.key(key);
        }
        if let Some(value) = record.value.as_deref().filter(|_| whole) {
            message = message.payload(value);
        }
        self.send(message)
    }

    /// Hands a record over, once there is room.
    fn send(&self, mut message: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
        let deadline = Instant::now() + COMMIT;
        loop {
            match self.0.send(message) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || Instant::now() > deadline {
                        return Err(error.into());
                    }
                    message = back;
                    std::thread::sleep(FULL);
                }
            }
        }
    }
}

fn headers<'h>(all: impl Iterator<Item = (&'h str, &'h Bytes)>) -> OwnedHeaders {
    all.fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(&value[..]) }))
}

/// Does a step again while librdkafka says that this helps.
fn patiently(limit: Duration, step: impl Fn() -> Result<(), KafkaError>) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        match step() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                tracing::debug!(error = %error, "a step of a transaction has to be taken again");
            }
            Err(error) => return Err(error.into()),
        }
    }
}
