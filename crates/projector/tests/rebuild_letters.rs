//! The headers of dead letters, which a rebuild reads once more: thousands of them, from a log that is slow or away at times.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use async_trait::async_trait;
use common::{MemoryLog, Shared, event};
use domain::views::timeline::Timeline;
use eventlog::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use futures::stream::{self, BoxStream, StreamExt as _};
use journeylog_projector::rebuild::{self, Place, Progress};
use journeylog_projector::{Projection, ProjectorError, Rows};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use store::{Engine, Generation, State, Store};
use tokio_util::sync::CancellationToken;

/// How long a slow read takes.
const SLOW: Duration = Duration::from_millis(50);

/// A log whose scans are as they should be; reads are counted, take their time, and give no more than `most`.
struct Counting {
    memory: Arc<MemoryLog>,
    reads: AtomicUsize,
    most: usize,
    takes: Duration,
    /// The read that fails.
    fails: usize,
}

#[async_trait]
impl Log for Counting {
    fn partitions(&self) -> u32 {
        u32::try_from(self.memory.ends().len()).unwrap()
    }
    async fn append(&self, _: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        Vec::new()
    }
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        Shared(self.memory.clone()).bounds().await
    }
    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        tokio::time::sleep(self.takes).await;
        if self.reads.fetch_add(1, Relaxed) + 1 == self.fails {
            return Err(LogError::Unavailable("away for a moment".into()));
        }
        Shared(self.memory.clone()).read(partition, from, max.min(self.most)).await
    }
    fn scan(&self, partition: u32, from: u64, to: u64) -> BoxStream<'_, Result<Vec<Record>, LogError>> {
        let all = async move {
            let mut records =
                Shared(self.memory.clone()).read(partition, from, usize::try_from(to - from).unwrap()).await?;
            records.iter_mut().for_each(|r| r.headers.clear());
            Ok(records)
        };
        stream::once(all).boxed()
    }
    async fn subscribe(&self, group: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        Shared(self.memory.clone()).subscribe(group, start).await
    }
}

/// One event for each patient, and behind it what is none, `letters` in all.
fn poisoned(patients: u64, letters: u64) -> Arc<MemoryLog> {
    let memory = MemoryLog::new(1);
    for p in 0..patients {
        memory.publish(&event("PatientCheckedIn", p, p, ""));
    }
    for n in 0..letters {
        memory.put(format!("p-{}", n % patients).as_bytes(), b"\x07nonsense".to_vec());
    }
    memory
}

async fn begin(log: &dyn Log, store: &Store, slice: u64) -> (Arc<Rows<Timeline>>, Generation) {
    let view = Arc::new(Rows("timeline", Timeline));
    store.ensure_view(view.spec(), "{}").await.unwrap();
    let bounds = rebuild::bounds(log).await.unwrap();
    let generation = store.begin_rebuild(view.spec(), "{}", &bounds, slice).await.unwrap();
    (view, generation)
}

async fn run(
    log: Arc<Counting>,
    store: &Store,
    slice: u64,
    patience: Duration,
    cancel: CancellationToken,
) -> Result<bool, ProjectorError> {
    let (view, generation) = begin(log.as_ref(), store, slice).await;
    let (log, progress): (Arc<dyn Log>, _) = (log, Arc::new(Progress::default()));
    let place = Place { log: &log, store, progress: &progress, cancel: &cancel };
    let options = rebuild::Options { workers: 1, throttle: None, patience, then: State::Following, live: None };
    rebuild::rebuild(&view, &generation, &place, &options).await
}

/// How many letters there are, and how many of them have headers.
async fn letters(store: &Store) -> (i64, i64) {
    let sql = "SELECT count(*), sum(CASE WHEN headers LIKE '%event-type%' THEN 1 ELSE 0 END) FROM dead_letters";
    let row = store.engine().query(sql, &[]).await.unwrap().remove(0);
    (row.int(0), row.int(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_letters_in_every_slice_are_a_few_reads() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let (most, takes, fails) = (usize::MAX, Duration::ZERO, 0);
        let log = Arc::new(Counting { memory: poisoned(20, 4_000), reads: AtomicUsize::new(0), most, takes, fails });
        let never = CancellationToken::new();
        assert!(run(log.clone(), &store, 1_000, Duration::from_secs(5), never).await.unwrap());
        assert_eq!(letters(&store).await, (4_000, 4_000));
        // One for each of five slices, and one for the checkpoint.
        assert!(log.reads.load(Relaxed) <= 6, "{:?}", log.reads);
    }
}

/// The log is away once, later than the rebuild would wait for it: it had answered till then.
#[tokio::test(flavor = "multi_thread")]
async fn patience_is_for_a_log_that_is_away_not_for_how_long_reading_takes() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let log = Counting { memory: poisoned(5, 40), reads: AtomicUsize::new(0), most: 1, takes: SLOW, fails: 30 };
        let never = CancellationToken::new();
        assert!(run(Arc::new(log), &store, 1_000, 10 * SLOW, never).await.unwrap());
        assert_eq!(letters(&store).await, (40, 40));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_it_does_not_wait_for_the_letters() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let log = Counting { memory: poisoned(5, 200), reads: AtomicUsize::new(0), most: 1, takes: SLOW, fails: 0 };
        let cancel = CancellationToken::new();
        let (stop, log) = (cancel.clone(), Arc::new(log));
        let reading = log.clone();
        tokio::spawn(async move {
            while reading.reads.load(Relaxed) < 10 {
                tokio::time::sleep(SLOW / 5).await;
            }
            stop.cancel();
        });
        let begun = Instant::now();
        assert!(!run(log.clone(), &store, 1_000, Duration::from_secs(5), cancel).await.unwrap());
        assert!(log.reads.load(Relaxed) < 20, "{:?} reads, {:?}", log.reads, begun.elapsed());
        assert_eq!(letters(&store).await.0, 0);
    }
}
