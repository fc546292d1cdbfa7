//! Appending: one idempotent producer, made on the first append.

use super::client::{Health, Settings, failed, log};
use super::reader::number;
use crate::{LogError, NewRecord, Position, partition_of};
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an append waits for room in the queue before it answers that the log is busy.
const ROOM_TIMEOUT: Duration = Duration::from_millis(500);
/// Between looking for room.
const ROOM_EVERY: Duration = Duration::from_millis(2);
/// Records handed over before others get their turn on this thread.
const TURN: usize = 512;

type Client = ThreadedProducer<Deliveries>;
type Answer = Result<Position, LogError>;

pub(super) struct Producer {
    settings: Arc<Settings>,
    partitions: u32,
    client: Mutex<Option<Arc<Client>>>,
}

impl Producer {
    pub(super) fn new(settings: Arc<Settings>, partitions: u32) -> Self {
        Self { settings, partitions, client: Mutex::new(None) }
    }

    /// The client; a new one where there is none yet, or after an error from which librdkafka doesn't recover: a fatal one,
    /// always; records that nobody confirmed in time, sometimes, since a producer that meets a restarting broker at the wrong
    /// moment never finds the partitions' leaders again. Whoever was refused sends again, and views count an event once.
    fn client(&self) -> Result<Arc<Client>, LogError> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref().filter(|client| !client.context().spent()) {
            return Ok(client.clone());
        }
        let context = Deliveries { health: self.settings.health.clone(), spent: AtomicBool::new(false) };
        let client: Client = self.settings.producer().create_with_context(context).map_err(failed)?;
        let client = Arc::new(client);
        if let Some(old) = slot.replace(client.clone()) {
            // ending a client waits for its threads
            std::thread::spawn(move || drop(old));
        }
        Ok(client)
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Vec<Answer> {
        if records.is_empty() {
            return Vec::new();
        }
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => {
                let why = error.to_string();
                return records.iter().map(|_| Err(LogError::Unavailable(why.clone()))).collect();
            }
        };
        let (waiting, answers) = Waiting::new(records.len());
        let mut room = ROOM_TIMEOUT;
        for (index, record) in records.iter().enumerate() {
            if index % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            if let Err(error) = record.check() {
                waiting.answer(index, Err(error));
                continue;
            }
            while !self.send(&client, record, index, &waiting, room.is_zero()) {
                room = room.saturating_sub(ROOM_EVERY);
                tokio::time::sleep(ROOM_EVERY).await;
            }
        }
        match answers.await {
            Ok(answers) => answers,
            Err(_) => records.iter().map(|_| Err(LogError::Unavailable("the producer has ended".to_owned()))).collect(),
        }
    }

    /// Hands a record over; says no when it has to wait for room and still may.
    fn send(&self, client: &Client, record: &NewRecord, index: usize, waiting: &Arc<Waiting>, last: bool) -> bool {
        // once a record found no room, the later ones of its key must not overtake it
        if last {
            waiting.answer(index, Err(LogError::Busy("too many appends are waiting".to_owned())));
            return true;
        }
        let mut message = BaseRecord::with_opaque_to(
            self.settings.topic.as_str(),
            Box::new(Ticket { waiting: waiting.clone(), index }),
        )
        .partition(number(partition_of(&record.key, self.partitions)))
        .key(&record.key[..])
        .payload(&record.value[..]);
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                headers = headers.insert(Header { key: name, value: Some(&value[..]) });
            }
            message = message.headers(headers);
        }
        match client.send(message) {
            Ok(()) => true,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => false,
            Err((error, _)) => {
                client.context().note(&error);
                waiting.answer(index, Err(failed(error)));
                true
            }
        }
    }
}

/// An append whose records are on their way.
struct Waiting(Mutex<State>);

struct State {
    answers: Vec<Answer>,
    left: usize,
    done: Option<oneshot::Sender<Vec<Answer>>>,
}

impl Waiting {
    fn new(count: usize) -> (Arc<Self>, oneshot::Receiver<Vec<Answer>>) {
        let (done, answers) = oneshot::channel();
        let unanswered = || Ok(Position { partition: 0, offset: 0 });
        let state =
            State { answers: std::iter::repeat_with(unanswered).take(count).collect(), left: count, done: Some(done) };
        (Arc::new(Self(Mutex::new(state))), answers)
    }

    fn answer(&self, index: usize, answer: Answer) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Leads from a delivery to the append it belongs to.
pub(super) struct Ticket {
    waiting: Arc<Waiting>,
    index: usize,
}

/// Where deliveries are reported, on the producer's own thread.
pub(super) struct Deliveries {
    health: Arc<Health>,
    /// Whether the client is to be replaced.
    spent: AtomicBool,
}

impl Deliveries {
    fn spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    fn note(&self, error: &KafkaError) {
        let spent =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::MessageTimedOut));
        if spent && !self.spent.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %error, "the producer can't go on, making a new one");
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
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
        ticket.waiting.answer(ticket.index, answer);
    }
}
