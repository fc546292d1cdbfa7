//! The log in a Kafka topic.

mod admin;
mod batch;
mod client;
mod lanes;
mod member;
mod poll;
mod producer;
mod properties;
mod reader;
mod relay;
mod scan;
mod subscription;
mod tail;

pub(crate) use relay::KafkaRelay;

use crate::options::{KafkaTarget, Options};
use crate::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use async_trait::async_trait;
use client::Settings;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::sync::Arc;

/// A log in a topic.
pub(crate) struct KafkaLog {
    settings: Arc<Settings>,
    partitions: u32,
    producer: producer::Producer,
    reader: Arc<reader::Reader>,
}

impl KafkaLog {
    /// Connects, makes the topic where there is none, and checks it where there is one.
    pub(crate) async fn open(target: &KafkaTarget, options: &Options) -> Result<Self, LogError> {
        let settings = Arc::new(Settings::new(target, options)?);
        let reader = Arc::new(reader::Reader::new(settings.clone())?);
        let partitions = admin::ensure(&settings, &reader, target, options.connect_timeout).await?;
        Ok(Self::with(settings, reader, partitions))
    }

    /// Connects to a topic that is there, whatever its settings.
    pub(crate) async fn existing(target: &KafkaTarget, options: &Options) -> Result<Self, LogError> {
        let settings = Arc::new(Settings::new(target, options)?);
        let reader = Arc::new(reader::Reader::new(settings.clone())?);
        let missing = || LogError::Configuration(format!("there is no topic {}", target.topic));
        let partitions = reader.partitions(options.connect_timeout).await?.ok_or_else(missing)?;
        Ok(Self::with(settings, reader, partitions))
    }

    fn with(settings: Arc<Settings>, reader: Arc<reader::Reader>, partitions: u32) -> Self {
        let producer = producer::Producer::new(settings.clone(), partitions);
        Self { settings, partitions, producer, reader }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        self.producer.append(records).await
    }

    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        self.reader.bounds(self.partitions).await
    }

    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        if partition >= self.partitions || max == 0 {
            return Ok(Vec::new());
        }
        self.reader.read(partition, from, max).await
    }

    fn scan(&self, partition: u32, from: u64, to: u64) -> BoxStream<'_, Result<Vec<Record>, LogError>> {
        let scan = scan::scan(self.settings.clone(), partition, from, to);
        // What ended early (an end of the partition that moved back, a thread that is gone) must not pass for the whole.
        let step = move |(mut scan, at): (BoxStream<'static, _>, u64)| async move {
            match scan.next().await {
                Some(Ok::<Vec<Record>, _>(batch)) => {
                    let next = batch.last().map_or(at, |r| r.position.offset + 1);
                    Ok(Some((batch, (scan, next))))
                }
                Some(Err(error)) => Err(error),
                None => crate::ended(self, partition, at, to).await,
            }
        };
        stream::try_unfold((scan, from), step).boxed()
    }

    async fn subscribe(&self, group: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        let subscription =
            subscription::KafkaSubscription::join(&self.settings, group, start, self.reader.clone(), self.partitions)?;
        Ok(Box::new(subscription))
    }
}
