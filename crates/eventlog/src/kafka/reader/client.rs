//! A client that joins no group, and the questions it answers.

use super::number;
use crate::kafka::batch::Batch;
use crate::kafka::client::{Context, Settings, failed};
use crate::kafka::member::lock;
use crate::kafka::tail::Stretch;
use crate::{LogError, Record};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a first connection is tried before it is asked why there is none.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// How long librdkafka's errors are waited for.
const HEAR: Duration = Duration::from_millis(20);
/// How many of them are taken at a time, at most.
const HEARD: usize = 100;
/// Between asking again.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long a read may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes after which a read ends early.
const READ_BYTES: usize = 16 << 20;

/// Asks one question, or reads one stretch, after the other.
pub(super) struct Client {
    pub(super) settings: Arc<Settings>,
    consumer: BaseConsumer<Context>,
    /// One read at a time: it assigns the consumer.
    turn: Mutex<()>,
}

impl Client {
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, LogError> {
        let context = Context(settings.health.clone());
        let consumer = settings.reader().create_with_context(context).map_err(failed)?;
        Ok(Self { settings, consumer, turn: Mutex::new(()) })
    }

    /// librdkafka tries again for ever, whatever the reason, and says no more than that there is no connection. So that it is asked
    /// in two goes: what can't mend itself needn't be waited for, nor should a broker see so many wrong passwords.
    fn ask(&self, limit: Duration) -> Result<Metadata, LogError> {
        let health = &self.settings.health;
        let begun = Instant::now();
        let first = limit.min(REFUSED_WITHIN);
        let ask = |limit| self.consumer.fetch_metadata(Some(&self.settings.topic), limit);
        let answer = ask(first).or_else(|error| {
            self.hear();
            match health.refused() {
                Some(refused) => Err(refused),
                None if first < limit => ask(limit.saturating_sub(begun.elapsed())).map_err(failed),
                None => Err(failed(error)),
            }
        });
        answer.inspect(|_| health.fine()).map_err(|error| {
            self.hear();
            match error {
                LogError::Unavailable(why) => {
                    health.refused().unwrap_or_else(|| health.unreachable(format!("{why}{}", health.hint())))
                }
                other => other,
            }
        })
    }

    /// Takes what librdkafka has to say about the connections from its queue, where it waits among lines of its log.
    fn hear(&self) {
        for _ in 0..HEARD {
            if self.consumer.poll(HEAR).is_none() {
                break;
            }
        }
    }

    pub(super) fn ask_partitions(&self, limit: Duration) -> Result<Option<u32>, LogError> {
        let metadata = self.ask(limit)?;
        let Some(topic) = metadata.topics().first() else { return Ok(None) };
        if let Some(code) = topic.error().map(RDKafkaErrorCode::from) {
            return match code {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
                RDKafkaErrorCode::LeaderNotAvailable => Ok(None),
                code => Err(failed(KafkaError::MetadataFetch(code))),
            };
        }
        let partitions = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
        let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
        // a topic that was made just now has no leaders yet, and one without a leader has been there before
        Ok((partitions > 0 && (led || limit.is_zero())).then_some(partitions))
    }

    /// Asks again while the brokers are restarting: what librdkafka knew of the leaders may be out of date then.
    pub(super) fn patiently<T>(&self, ask: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
        let deadline = Instant::now() + ASK_TIMEOUT;
        loop {
            match ask() {
                Err(LogError::Unavailable(why)) if Instant::now() < deadline => {
                    tracing::debug!(error = why, "a question to the log has to be asked again");
                    std::thread::sleep(ASK_EVERY);
                    if let Err(error) = self.consumer.fetch_metadata(Some(&self.settings.topic), ASK_TIMEOUT / 4) {
                        tracing::debug!(error = %error, "asking for the leaders failed");
                    }
                }
                answer => return answer,
            }
        }
    }

    /// `ListOffsets` for all partitions in one request per broker: its special times are librdkafka's special offsets.
    pub(super) fn offsets(&self, partitions: u32, which: Offset) -> Result<Vec<u64>, LogError> {
        let mut list = TopicPartitionList::with_capacity(partitions as usize);
        for partition in 0..partitions {
            list.add_partition_offset(&self.settings.topic, number(partition), which).map_err(failed)?;
        }
        let answer = self.consumer.offsets_for_times(list, ASK_TIMEOUT).map_err(failed)?;
        let mut offsets = vec![None; partitions as usize];
        for element in answer.elements() {
            element.error().map_err(failed)?;
            let slot = usize::try_from(element.partition()).ok().and_then(|partition| offsets.get_mut(partition));
            if let (Offset::Offset(offset), Some(slot)) = (element.offset(), slot) {
                *slot = u64::try_from(offset).ok();
            }
        }
        let missing = || LogError::Unavailable("a partition's offsets are unknown".to_owned());
        offsets.into_iter().map(|offset| offset.ok_or_else(missing)).collect()
    }

    /// The offset of the last record of each stretch, if it has any.
    pub(super) fn last_records(&self, stretches: &[Stretch]) -> Result<Vec<Option<u64>>, LogError> {
        let _turn = lock(&self.turn);
        let last = self.look_back(stretches);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(error = %error, "ending a look at the log's end failed");
        }
        last
    }

    fn look_back(&self, stretches: &[Stretch]) -> Result<Vec<Option<u64>>, LogError> {
        let mut list = TopicPartitionList::with_capacity(stretches.len());
        for (partition, from, _) in stretches {
            let from = Offset::Offset(i64::try_from(*from).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.settings.topic, number(*partition), from).map_err(failed)?;
        }
        self.consumer.assign(&list).map_err(failed)?;
        let mut last = vec![None; stretches.len()];
        let mut open: BTreeMap<i32, usize> =
            stretches.iter().enumerate().map(|(i, (partition, _, _))| (number(*partition), i)).collect();
        let deadline = Instant::now() + READ_TIMEOUT;
        while !open.is_empty() {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let (Some(i), Ok(offset)) = (open.get(&message.partition()), u64::try_from(message.offset()))
                    else {
                        continue;
                    };
                    let (i, to) = (*i, stretches[*i].2);
                    if offset < to {
                        last[i] = Some(offset);
                    }
                    if offset + 1 >= to {
                        open.remove(&message.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => match failed(error) {
                    LogError::Configuration(why) => return Err(LogError::Configuration(why)),
                    error => tracing::debug!(error = %error, "a look at the log's end has to wait"),
                },
                None => {}
            }
            if Instant::now() > deadline {
                return Err(self.settings.health.unreachable("a look at the log's end took too long"));
            }
        }
        Ok(last)
    }

    pub(super) fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let _turn = lock(&self.turn);
        let records = self.read_now(partition, from, max);
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(error = %error, "ending a read of the log failed");
        }
        records
    }

    fn read_now(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let topic = &self.settings.topic;
        let (first, end) =
            self.patiently(|| self.consumer.fetch_watermarks(topic, number(partition), ASK_TIMEOUT).map_err(failed))?;
        let from = i64::try_from(from).unwrap_or(i64::MAX).max(first);
        if from >= end {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number(partition), Offset::Offset(from)).map_err(failed)?;
        self.consumer.assign(&list).map_err(failed)?;
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut batch = Batch::default();
        while batch.len() < max && batch.size() < READ_BYTES {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    batch.push(&message);
                    if message.offset() + 1 >= end {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(at))) if at == number(partition) => break,
                Some(Err(error)) => match failed(error) {
                    LogError::Configuration(why) => return Err(LogError::Configuration(why)),
                    error => tracing::debug!(error = %error, "a read of the log has to wait"),
                },
                None => {}
            }
            if Instant::now() > deadline {
                return Err(self.settings.health.unreachable("a read took too long"));
            }
        }
        Ok(batch.take())
    }
}
