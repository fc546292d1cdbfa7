//! The reader's side of a group membership.

use super::client::{Settings, failed};
use super::member::{Member, Shared};
use super::poll::{BATCHES, Event, Poller};
use super::reader::Reader;
use crate::{Delivery, LogError, Position, Record, Start, Subscription, checked};
use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long leaving the group may take. The broker hears no goodbye before it has answered a request to join, and that may have to
/// wait for another member; who can't wait lets its session run out.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(6);

pub(super) struct KafkaSubscription {
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    ended: oneshot::Receiver<()>,
    start: Arc<dyn Start>,
    reader: Arc<Reader>,
    partitions: u32,
    /// Records that were handed over but not delivered yet.
    ready: VecDeque<Record>,
    /// An event that came while records were being collected.
    held: Option<Event>,
    /// A revocation that was delivered; the next call shows that the reader has followed it.
    revoked: Option<u64>,
}

impl KafkaSubscription {
    pub(super) fn join(
        settings: &Arc<Settings>,
        group: &str,
        start: Arc<dyn Start>,
        reader: Arc<Reader>,
        partitions: u32,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::default());
        let (of, group, its) = (settings.clone(), group.to_owned(), shared.clone());
        let join = Box::new(move |handle| {
            let member = Member { shared: its.clone(), handle };
            let consumer: BaseConsumer<Member> = of.consumer(&group).create_with_context(member).map_err(failed)?;
            consumer.subscribe(&[&of.topic]).map_err(failed)?;
            Ok(consumer)
        });
        let (sender, events) = mpsc::channel(BATCHES);
        let poller = Poller::new(settings.topic.clone(), join, sender, shared.clone(), settings.health.clone())?;
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("journeylog-poll".to_owned())
            .spawn(move || {
                poller.run();
                // nobody may be waiting for the end
                let _ = end.send(());
            })
            .map_err(|error| LogError::Unavailable(format!("no thread to read the log: {error}")))?;
        Ok(Self { shared, events, ended, start, reader, partitions, ready: VecDeque::new(), held: None, revoked: None })
    }

    /// Asks the reader's store where to begin.
    async fn begin(&self, partitions: &[u32]) -> Result<Vec<Position>, LogError> {
        let next = self.start.offsets(partitions).await?;
        let bounds = self.reader.bounds(self.partitions).await?;
        checked(partitions, &next, &bounds)
    }

    /// Collects records that have been handed over, up to `max`, without waiting.
    fn collect(&mut self, max: usize) {
        while self.ready.len() < max && self.held.is_none() {
            match self.events.try_recv() {
                Ok(Event::Records(records)) => self.ready.extend(records),
                Ok(event) => self.held = Some(event),
                Err(_) => break,
            }
        }
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self, max: usize) -> Result<Delivery, LogError> {
        let max = max.max(1);
        if let Some(step) = self.revoked.take() {
            self.shared.revoke(step);
        }
        loop {
            if self.held.is_none() {
                self.collect(max);
            }
            if !self.ready.is_empty() {
                let count = self.ready.len().min(max);
                return Ok(Delivery::Records(self.ready.drain(..count).collect()));
            }
            match self.held.take() {
                // a rebalance may give this member nothing, or take nothing from it
                Some(Event::Assign { step, partitions }) if partitions.is_empty() => {
                    self.shared.assign(step, Vec::new());
                }
                Some(Event::Revoke { step, partitions }) if partitions.is_empty() => self.shared.revoke(step),
                Some(Event::Assign { step, partitions }) => {
                    // asked again when this call is given up half-way, or the store can't answer
                    self.held = Some(Event::Assign { step, partitions: partitions.clone() });
                    let positions = self.begin(&partitions).await?;
                    self.held = None;
                    self.shared.assign(step, positions.clone());
                    return Ok(Delivery::Assigned(positions));
                }
                Some(Event::Revoke { step, partitions }) => {
                    self.revoked = Some(step);
                    return Ok(Delivery::Revoked(partitions));
                }
                Some(Event::Records(records)) => self.ready.extend(records),
                Some(Event::Failed(error)) => return Err(error),
                None => match self.events.recv().await {
                    Some(event) => self.held = Some(event),
                    None => return Err(LogError::Unavailable("the subscription has ended".to_owned())),
                },
            }
        }
    }

    fn report(&mut self, next: &[Position]) {
        self.shared.report(next);
    }

    async fn close(mut self: Box<Self>) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.events.close();
        if tokio::time::timeout(LEAVE_TIMEOUT, &mut self.ended).await.is_err() {
            tracing::warn!("leaving the reader group takes long, its session will run out");
        }
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}
