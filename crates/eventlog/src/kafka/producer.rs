//! Appending: one idempotent producer, made on the first append.

use super::client::{Settings, failed};
use super::lanes::{Deliveries, Ticket, Waiting};
use crate::{LogError, NewRecord, Position, partition_of};
use rdkafka::producer::{BaseProducer, NoCustomPartitioner, Producer as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes (keys, values, headers) of appends that are not answered, at most; a single larger append is taken alone.
const ROOM_BYTES: usize = 64 << 20;
/// Records of such appends, at most.
const ROOM_RECORDS: usize = 200_000;
/// How long an append waits for room before it answers that the log is busy.
const ROOM_TIMEOUT: Duration = Duration::from_millis(500);
/// Between looking after batches that nobody confirms, and whether to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who has a client besides its appends: its thread, and [`Running`].
const OWNERS: usize = 2;

pub(super) type Client = BaseProducer<Deliveries, NoCustomPartitioner>;
pub(super) type Answer = Result<Position, LogError>;

pub(super) struct Producer {
    settings: Arc<Settings>,
    partitions: u32,
    room: Arc<Semaphore>,
    running: Mutex<Option<Running>>,
}

/// A client with the thread that hears of its deliveries.
struct Running {
    client: Arc<Client>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(settings: &Settings, partitions: u32) -> Result<Self, LogError> {
        let deliveries = Deliveries::new(settings, partitions);
        let client: Client = settings.producer().create_with_context(deliveries).map_err(failed)?;
        let client = Arc::new(client);
        client.context().belongs_to(&client);
        let stop = Arc::new(AtomicBool::new(false));
        let (its_client, its_stop) = (client.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("deliveries".to_owned()).spawn(move || {
            // appends of a client that was replaced are still answered: each holds it until then
            while !its_stop.load(Ordering::Relaxed) || Arc::strong_count(&its_client) > OWNERS {
                its_client.poll(LOOK_EVERY);
                its_client.context().look_after(&its_client);
            }
        });
        let thread = thread.map_err(|e| LogError::Unavailable(format!("no thread for deliveries: {e}")))?;
        Ok(Self { client, stop, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // a panic has been reported by its hook
            let _ = thread.join();
        }
    }
}

impl Producer {
    pub(super) fn new(settings: Arc<Settings>, partitions: u32) -> Self {
        Self { settings, partitions, room: Arc::new(Semaphore::new(ROOM_BYTES)), running: Mutex::new(None) }
    }

    /// The client; a new one where there is none yet, or after an error from which librdkafka doesn't recover: a fatal one,
    /// always; records that nobody confirmed in time, sometimes, since a producer that meets a restarting broker at the wrong
    /// moment never finds the partitions' leaders again. Whoever was refused sends again, and views count an event once.
    fn client(&self) -> Result<Arc<Client>, LogError> {
        let mut slot = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = slot.as_ref().filter(|running| !running.client.context().spent()) {
            return Ok(running.client.clone());
        }
        let running = Running::start(&self.settings, self.partitions)?;
        let client = running.client.clone();
        if let Some(old) = slot.replace(running) {
            // ending a client waits for its thread
            std::thread::spawn(move || drop(old));
        }
        Ok(client)
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Vec<Answer> {
        let count = records.len();
        if records.is_empty() {
            return Vec::new();
        }
        let all = |error: &dyn Fn() -> LogError| (0..count).map(|_| Err(error())).collect();
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return all(&|| LogError::Unavailable(error.to_string())),
        };
        let cost: usize = records.iter().map(|r| r.size().max(ROOM_BYTES / ROOM_RECORDS)).sum();
        let cost = u32::try_from(cost.min(ROOM_BYTES)).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(ROOM_TIMEOUT, self.room.clone().acquire_many_owned(cost)).await;
        let Ok(Ok(room)) = room else {
            return all(&|| LogError::Busy("too many appends are waiting".to_owned()));
        };
        let (waiting, answers) = Waiting::new(count, room);
        let mut touched: Vec<u32> = Vec::with_capacity(count.min(self.partitions as usize));
        for (index, record) in records.into_iter().enumerate() {
            if let Err(error) = record.check() {
                waiting.answer(index, Err(error));
                continue;
            }
            let partition = partition_of(&record.key, self.partitions);
            client.context().queue(record, Ticket { waiting: waiting.clone(), index, partition });
            if !touched.contains(&partition) {
                touched.push(partition);
            }
        }
        drop(waiting);
        for partition in touched {
            client.context().pump(&client, partition);
        }
        let answers = answers.await;
        drop(client);
        answers.unwrap_or_else(|_| all(&|| LogError::Unavailable("the producer has ended".to_owned())))
    }
}
