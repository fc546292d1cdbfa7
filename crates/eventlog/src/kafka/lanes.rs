//! What waits to be sent, partition by partition.
//!
//! librdkafka is given one batch of a partition at a time; what is appended meanwhile makes up the next one. Given everything
//! at once, its thread would poll without rest as long as records wait behind a request that is under way (an idempotent
//! producer sends nothing more of a partition while five *records* of it are unconfirmed), which takes a core away from
//! everybody else.

use super::client::{Health, Settings, failed};
use super::producer::{Answer, Client};
use super::reader::number;
use crate::{LogError, NewRecord, Position};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext};
use rdkafka::{ClientContext, Message as _};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Records in a batch, at most.
const BATCH_RECORDS: usize = 2_000;
/// Bytes of a batch, at most, but for a single larger record; less than one request of librdkafka's.
const BATCH_BYTES: usize = 800_000;
/// How long a batch may hold up the next one: when the broker is slow or away, librdkafka gets everything, and times it out.
const PATIENCE: Duration = Duration::from_millis(250);

/// An append whose records are on their way.
pub(super) struct Waiting {
    state: Mutex<State>,
    _room: OwnedSemaphorePermit,
}

struct State {
    answers: Vec<Answer>,
    left: usize,
    done: Option<oneshot::Sender<Vec<Answer>>>,
}

impl Waiting {
    pub(super) fn new(count: usize, room: OwnedSemaphorePermit) -> (Arc<Self>, oneshot::Receiver<Vec<Answer>>) {
        let (done, answers) = oneshot::channel();
        let unanswered = || Ok(Position { partition: 0, offset: 0 });
        let state =
            State { answers: std::iter::repeat_with(unanswered).take(count).collect(), left: count, done: Some(done) };
        (Arc::new(Self { state: Mutex::new(state), _room: room }), answers)
    }

    pub(super) fn answer(&self, index: usize, answer: Answer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = state.answers.get_mut(index) {
            *slot = answer;
        }
        state.left = state.left.saturating_sub(1);
        if state.left == 0
            && let Some(done) = state.done.take()
        {
            // nobody may be waiting any more
            let _ = done.send(std::mem::take(&mut state.answers));
        }
    }
}

/// Leads from a record to the append it belongs to.
pub(super) struct Ticket {
    pub(super) waiting: Arc<Waiting>,
    pub(super) index: usize,
    pub(super) partition: u32,
}

impl Ticket {
    fn answer(&self, answer: Answer) {
        self.waiting.answer(self.index, answer);
    }
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<(NewRecord, Ticket)>,
    /// Records that librdkafka has and has not answered.
    under_way: usize,
    /// When the last batch was begun.
    since: Option<Instant>,
    /// Somebody is handing a batch over.
    sending: bool,
}

impl Lane {
    fn batch(&mut self) -> Vec<(NewRecord, Ticket)> {
        let mut bytes = 0;
        let fits = |(record, _): &&(NewRecord, Ticket)| {
            bytes += record.size();
            bytes <= BATCH_BYTES
        };
        let count = self.waiting.iter().take(BATCH_RECORDS).take_while(fits).count();
        let batch: Vec<_> = self.waiting.drain(..count.max(1).min(self.waiting.len())).collect();
        self.under_way += batch.len();
        self.sending = !batch.is_empty();
        self.since = Some(Instant::now());
        batch
    }
}

/// What waits, and where deliveries are reported (on a thread of the producer's own).
pub(super) struct Deliveries {
    topic: String,
    health: Arc<Health>,
    lanes: Vec<Mutex<Lane>>,
    client: OnceLock<Weak<Client>>,
    /// Whether the client is to be replaced.
    spent: AtomicBool,
}

impl Deliveries {
    pub(super) fn new(settings: &Settings, partitions: u32) -> Self {
        Self {
            topic: settings.topic.clone(),
            health: settings.health.clone(),
            lanes: (0..partitions).map(|_| Mutex::default()).collect(),
            client: OnceLock::new(),
            spent: AtomicBool::new(false),
        }
    }

    pub(super) fn belongs_to(&self, client: &Arc<Client>) {
        // set once, before anything is sent
        let _ = self.client.set(Arc::downgrade(client));
    }

    fn lane(&self, partition: u32) -> MutexGuard<'_, Lane> {
        self.lanes[partition as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record at the end of its lane.
    pub(super) fn queue(&self, record: NewRecord, ticket: Ticket) {
        self.lane(ticket.partition).waiting.push_back((record, ticket));
    }

    /// Hands the next batch of a partition over, unless one is under way.
    pub(super) fn pump(&self, client: &Client, partition: u32) {
        loop {
            let batch = {
                let mut lane = self.lane(partition);
                let held = lane.under_way > 0 && lane.since.is_some_and(|since| since.elapsed() < PATIENCE);
                if lane.sending || held || lane.waiting.is_empty() {
                    return;
                }
                lane.batch()
            };
            let refused = batch.into_iter().filter_map(|(r, t)| self.send(client, &r, t).err()).count();
            let mut lane = self.lane(partition);
            lane.sending = false;
            lane.under_way = lane.under_way.saturating_sub(refused);
        }
    }

    /// Hands over what waits behind batches that take too long.
    pub(super) fn look_after(&self, client: &Client) {
        for partition in (0..).take(self.lanes.len()) {
            self.pump(client, partition);
        }
    }

    /// Hands a record over; one that is not taken has been answered.
    fn send(&self, client: &Client, record: &NewRecord, ticket: Ticket) -> Result<(), ()> {
        let partition = number(ticket.partition);
        let mut message = BaseRecord::with_opaque_to(self.topic.as_str(), Box::new(ticket))
            .partition(partition)
            .key(&record.key[..])
            .payload(&record.value[..]);
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header { key: name, value: Some(&value[..]) });
            }
            message = message.headers(headers);
        }
        client.send(message).map_err(|(error, message)| {
            self.note(&error);
            message.delivery_opaque.answer(Err(failed(error)));
        })
    }

    pub(super) fn spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    fn note(&self, error: &KafkaError) {
        let spent =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::MessageTimedOut));
        if spent && !self.spent.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %error, "the producer can't go on, making a new one");
        }
    }

    /// Goes on with a partition whose batch is answered.
    fn delivered(&self, partition: u32) {
        let mut lane = self.lane(partition);
        lane.under_way = lane.under_way.saturating_sub(1);
        if lane.under_way > 0 || lane.waiting.is_empty() {
            return;
        }
        drop(lane);
        match self.client.get().and_then(Weak::upgrade) {
            Some(client) => self.pump(&client, partition),
            None => self.give_up(partition),
        }
    }

    /// The client is being dropped: nothing that waits will be sent.
    fn give_up(&self, partition: u32) {
        let waiting = std::mem::take(&mut self.lane(partition).waiting);
        for (_, ticket) in waiting {
            ticket.answer(Err(LogError::Unavailable("the producer has ended".to_owned())));
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.health.line(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error);
        self.health.error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(message) => {
                self.health.fine();
                let unknown = |_| LogError::Unavailable("appended at an unknown position".to_owned());
                u32::try_from(message.partition())
                    .and_then(|partition| Ok(Position { partition, offset: u64::try_from(message.offset())? }))
                    .map_err(unknown)
            }
            Err((error, _)) => {
                self.note(error);
                Err(failed(error.clone()))
            }
        };
        ticket.answer(answer);
        self.delivered(ticket.partition);
    }
}
