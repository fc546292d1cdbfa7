//! Questions about the topic, and single reads, without joining a group.

use super::batch::Batch;
use super::client::{Context, Settings, failed};
use super::member::lock;
use super::tail::{Stretch, Tails};
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

/// Asks and reads with a client that joins no group; with a new one after one that got no answer: librdkafka's may have lost all
/// its brokers for good (see [`super::member::Handle`]).
pub(super) struct Reader {
    client: Mutex<Arc<Client>>,
    tails: Tails,
}

impl Reader {
    pub(super) fn new(settings: Arc<Settings>) -> Result<Self, LogError> {
        Ok(Self { client: Mutex::new(Arc::new(Client::new(settings)?)), tails: Tails::default() })
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &Client) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || {
            let client = lock(&this.client).clone();
            let answer = work(&this, &client);
            if matches!(answer, Err(LogError::Unavailable(_))) {
                this.replace(&client);
                // ending it may wait for what it hangs on
                std::thread::spawn(move || drop(client));
            }
            answer
        })
        .await
        .map_err(|error| LogError::Unavailable(format!("a read of the log ended early: {error}")))?
    }

    /// Puts a new client in the place of this one, unless another caller has.
    fn replace(&self, old: &Arc<Client>) {
        let mut client = lock(&self.client);
        if !Arc::ptr_eq(&client, old) {
            return;
        }
        match Client::new(old.settings.clone()) {
            Ok(new) => *client = Arc::new(new),
            Err(error) => tracing::warn!(error = %error, "no new client to ask the log"),
        }
    }

    /// Partitions of the topic; nothing where there is no topic.
    pub(super) async fn partitions(self: &Arc<Self>, limit: Duration) -> Result<Option<u32>, LogError> {
        self.blocking(move |_, client| client.ask_partitions(limit)).await
    }

    /// First offset and offset after the last record of each partition.
    pub(super) async fn bounds(self: &Arc<Self>, partitions: u32) -> Result<Vec<(u64, u64)>, LogError> {
        self.blocking(move |this, client| {
            client.patiently(|| {
                let first = client.offsets(partitions, Offset::Beginning)?;
                // up to where transactions have ended
                let stable = client.offsets(partitions, Offset::End)?;
                let bounds: Vec<_> = first.into_iter().zip(stable).collect();
                let ends = this.tails.ends(&bounds, |stretches| client.last_records(stretches))?;
                Ok(bounds.iter().zip(ends).map(|((first, _), end)| (*first, end)).collect())
            })
        })
        .await
    }

    pub(super) async fn read(self: &Arc<Self>, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.blocking(move |_, client| client.read(partition, from, max)).await
    }
}

struct Client {
    settings: Arc<Settings>,
    consumer: BaseConsumer<Context>,
    /// One read at a time: it assigns the consumer.
    turn: Mutex<()>,
}

impl Client {
    fn new(settings: Arc<Settings>) -> Result<Self, LogError> {
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

    fn ask_partitions(&self, limit: Duration) -> Result<Option<u32>, LogError> {
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
    fn patiently<T>(&self, ask: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
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
    fn offsets(&self, partitions: u32, which: Offset) -> Result<Vec<u64>, LogError> {
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
    fn last_records(&self, stretches: &[Stretch]) -> Result<Vec<Option<u64>>, LogError> {
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

    fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
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

pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Reader, lock};
    use crate::kafka::client::Settings;
    use crate::options::{KafkaTarget, Options};
    use rdkafka::mocking::MockCluster;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_client_that_gets_no_answer_gives_way_to_a_new_one() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("journeys", 1, 1).unwrap();
        let (brokers, topic) = (cluster.bootstrap_servers(), "journeys".to_owned());
        let target = KafkaTarget { brokers, topic, partitions: None, replication: None };
        let settings = Arc::new(Settings::new(&target, &Options::default()).unwrap());
        let reader = Arc::new(Reader::new(settings).unwrap());
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        let first = lock(&reader.client).clone();
        cluster.broker_down(1).unwrap();
        assert!(reader.bounds(1).await.is_err());
        assert!(!Arc::ptr_eq(&first, &lock(&reader.client)));
        cluster.broker_up(1).unwrap();
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        let second = lock(&reader.client).clone();
        assert_eq!(reader.bounds(1).await.unwrap(), [(0, 0)]);
        assert!(Arc::ptr_eq(&second, &lock(&reader.client)), "one that works is kept");
    }
}
