//! What tests of rebuilds share: a log with all that can happen to it, a live projector, and all that a generation holds.

use super::{MemoryLog, Shared, event, some};
use eventlog::{Log, partition_of};
use journeylog_projector::rebuild::{self, Place, Progress};
use journeylog_projector::{Options, Projection, ProjectorError, follow};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use store::{Generation, State, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn options() -> Options {
    Options { batch: 40, in_flight: 200, workers: 2, ..Options::default() }
}

pub fn place<'a>(
    log: &'a Arc<dyn Log>,
    store: &'a Store,
    progress: &'a Arc<Progress>,
    cancel: &'a CancellationToken,
) -> Place<'a> {
    Place { log, store, progress, cancel }
}

pub fn fast(live: Option<i64>) -> rebuild::Options {
    rebuild::Options { workers: 2, throttle: None, patience: PATIENCE, then: State::Following, live }
}

/// A log with all that can happen to it: events sent again, other contents under used ids, poison, strangers' keys.
pub fn publish(log: &MemoryLog, range: std::ops::Range<u64>) {
    for n in range {
        log.publish(&some(n, 23));
        if n % 5 == 0 {
            log.publish(&some(n / 2, 23));
        }
        if n % 50 == 7 {
            let other = r#""complaint_id":"c","severity":"low""#;
            log.publish(&event("ComplaintFiled", n % 23, n / 3, other));
        }
        match n {
            120 => drop(log.put(b"p-5", b"\x07nonsense".to_vec())),
            130 => drop(log.put(b"", b"\x07".to_vec())),
            140 => {
                let mut stranger = Vec::new();
                codec::encode(&event("PatientCheckedIn", 2, 9_000, ""), &mut stranger);
                log.put(b"p-3", stranger);
            }
            150 => {
                let (misled, partitions) =
                    (event("PatientCheckedIn", 2, 9_001, ""), u32::try_from(log.ends().len()).unwrap());
                let (key, mut value) = (misled.key().as_bytes().to_vec(), Vec::new());
                codec::encode(&misled, &mut value);
                log.put_into((partition_of(&key, partitions) + 1) % partitions, &key, value);
            }
            _ => {}
        }
    }
}

/// The live projector of a view.
pub struct Live(JoinHandle<Result<(), ProjectorError>>, CancellationToken);

impl Live {
    pub fn start<P: Projection + Clone>(view: P, log: &Arc<dyn Log>, store: &Store) -> Self {
        let cancel = CancellationToken::new();
        let spec = view.spec();
        let make = move |_: &store::GenerationInfo| Ok(view.clone());
        Self(tokio::spawn(follow(spec, make, log.clone(), store.clone(), options(), cancel.clone())), cancel)
    }
    pub async fn stop(self) {
        self.1.cancel();
        self.0.await.unwrap().unwrap();
    }
}

pub async fn seen(store: &Store, view: &str, generation: i64, log: &MemoryLog) {
    for _ in 0..1_000 {
        let at = store.checkpoints(view, generation).await.unwrap();
        if at.iter().map(|c| c.next_offset).eq(log.ends()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("generation {generation} of {view} did not come to the end of the log");
}

/// All rows of a generation, its dead letters and parked keys.
pub async fn dump(store: &Store, g: &Generation) -> Vec<Vec<store::Row>> {
    let mut all = Vec::new();
    for t in g.targets() {
        let columns: Vec<_> = t.columns.iter().map(|c| format!("\"{}\"", c.0)).collect();
        let sql = format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), t.table, columns[..t.key].join(", "));
        all.push(store.engine().query(&sql, &[]).await.unwrap());
    }
    for sql in [
        "SELECT partition, log_offset, reason_code, reason, parked_behind, event_type, record_key, headers, appended_ms \
         FROM dead_letters WHERE view = $1 AND generation = $2 ORDER BY partition, log_offset",
        "SELECT partition, record_key FROM parked WHERE view = $1 AND generation = $2 ORDER BY partition, record_key",
        "SELECT partition, next_offset, parked, last_hash, appended_ms FROM checkpoints \
         WHERE view = $1 AND generation = $2 ORDER BY partition",
    ] {
        all.push(store.engine().query(sql, &[g.view.into(), g.number.into()]).await.unwrap());
    }
    all
}

pub async fn begin<P: Projection>(view: &P, log: &Arc<dyn Log>, store: &Store, slice: u64) -> Generation {
    let bounds = rebuild::bounds(log.as_ref()).await.unwrap();
    store.begin_rebuild(view.spec(), "{}", &bounds, slice).await.unwrap()
}

/// A log of so many events, of which generation 1 of a view in this store has all; its projector rests.
pub async fn made<P: Projection + Clone>(
    view: &P,
    events: u64,
    store: &Store,
    partitions: usize,
) -> (Arc<MemoryLog>, Arc<dyn Log>) {
    let memory = MemoryLog::new(partitions);
    let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
    publish(&memory, 0..events);
    let live = Live::start(view.clone(), &log, store);
    seen(store, view.spec().name, 1, &memory).await;
    live.stop().await;
    (memory, log)
}

/// A rebuild that runs.
pub struct Running {
    pub task: JoinHandle<Result<bool, ProjectorError>>,
    pub progress: Arc<Progress>,
    pub cancel: CancellationToken,
}

/// Starts to fill a generation, of so many events a second where a rate is given; generation 1 is the live one.
pub fn start<P: Projection>(
    view: &Arc<P>,
    generation: &Generation,
    log: &Arc<dyn Log>,
    store: &Store,
    rate: Option<u32>,
) -> Running {
    let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
    let (view, generation, log, store) = (view.clone(), generation.clone(), log.clone(), store.clone());
    let (told, stop) = (progress.clone(), cancel.clone());
    let options = rebuild::Options { throttle: rate.and_then(NonZeroU32::new), ..fast(Some(1)) };
    let run = async move { rebuild::rebuild(&view, &generation, &place(&log, &store, &told, &stop), &options).await };
    Running { task: tokio::spawn(run), progress, cancel }
}
