//! Reading a long stretch of one partition: a consumer and a thread of its own, which hands over batches while the next are
//! fetched.

use super::batch::Batch;
use super::client::{Context, Settings, failed};
use super::reader::number;
use crate::{LogError, Record};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Records of one batch, at most.
const BATCH_RECORDS: usize = 4_096;
/// Bytes after which a batch is handed over.
const BATCH_BYTES: usize = 2 << 20;
/// Batches that wait to be taken.
const AHEAD: usize = 2;
/// How long a poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long the log may stay silent where there are records.
const SILENCE: Duration = Duration::from_secs(30);

type Answer = Result<Vec<Record>, LogError>;

pub(super) fn scan(settings: Arc<Settings>, partition: u32, from: u64, to: u64) -> BoxStream<'static, Answer> {
    if from >= to {
        return stream::empty().boxed();
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    let reading = std::thread::Builder::new().name("journeylog-scan".to_owned()).spawn(move || {
        if let Err(error) = read(&settings, partition, from, to, &sender) {
            // Nobody may be listening any more.
            let _ = sender.blocking_send(Err(error));
        }
    });
    match reading {
        Ok(_) => stream::unfold(receiver, |mut r| async move { r.recv().await.map(|batch| (batch, r)) }).boxed(),
        Err(error) => {
            let none = LogError::Unavailable(format!("no thread to read the log: {error}"));
            std::future::ready(Err(none)).into_stream().boxed()
        }
    }
}

/// Reads until `to`, or until nobody listens any more.
fn read(
    settings: &Arc<Settings>,
    partition: u32,
    from: u64,
    to: u64,
    sender: &mpsc::Sender<Answer>,
) -> Result<(), LogError> {
    let context = Context(settings.health.clone());
    let consumer: BaseConsumer<Context> = settings.scanner().create_with_context(context).map_err(failed)?;
    let offset = |o: u64| i64::try_from(o).unwrap_or(i64::MAX);
    let (from, to) = (offset(from), offset(to));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topic, number(partition), Offset::Offset(from)).map_err(failed)?;
    consumer.assign(&list).map_err(failed)?;
    let mut batch = Batch::default();
    let mut silent: Option<Instant> = None;
    loop {
        // No look at the clock while records come.
        let mut waits = false;
        let done = match consumer.poll(POLL) {
            Some(Ok(message)) if message.offset() >= to => true,
            Some(Ok(message)) => {
                silent = None;
                batch.push_bare(&message);
                message.offset() + 1 >= to
            }
            Some(Err(KafkaError::PartitionEOF(at))) if at == number(partition) => true,
            Some(Err(error)) => match failed(error) {
                LogError::Configuration(why) => return Err(LogError::Configuration(why)),
                error => {
                    tracing::debug!(error = %error, "a scan of the log has to wait");
                    waits = true;
                    false
                }
            },
            None => {
                waits = true;
                false
            }
        };
        if waits && silent.get_or_insert_with(Instant::now).elapsed() > SILENCE {
            return Err(settings.health.unreachable("a scan heard nothing for too long"));
        }
        let full = batch.len() >= BATCH_RECORDS || batch.size() >= BATCH_BYTES;
        let unheard = (done || full) && batch.len() > 0 && sender.blocking_send(Ok(batch.take())).is_err();
        if done || unheard || sender.is_closed() {
            return Ok(());
        }
    }
}
