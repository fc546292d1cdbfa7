//! Rebuilding beside the live generation, on every store there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use async_trait::async_trait;
use common::rebuilding::{Live, PATIENCE, begin, dump, fast, made, options, place, publish, seen, start};
use common::running::{follow_ups, mot, timeline};
use common::{MemoryLog, Shared, event};
use eventlog::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use futures::stream::{self, BoxStream, StreamExt as _};
use journeylog_projector::rebuild::{self, Progress};
use journeylog_projector::{Decision, Projection, ProjectorError, redrive};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use store::{Engine, State, Store};
use tokio_util::sync::CancellationToken;

/// Rebuilt while the live projector and publishers go on, switched to, and back.
async fn beside<P: Projection + Clone>(view: P, db: &databases::Database) {
    let store = Store::connect(&db.url, 12).await.unwrap();
    let memory = MemoryLog::new(4);
    let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
    let name = view.spec().name;
    publish(&memory, 0..500);
    let live = Live::start(view.clone(), &log, &store);
    seen(&store, name, 1, &memory).await;
    let first = store.generation(view.spec(), 1).await.unwrap();
    let second = begin(&view, &log, &store, 37).await;
    assert!(store.slices(&second).await.unwrap().len() > 12);
    let publisher = tokio::spawn({
        let memory = memory.clone();
        async move {
            for n in 500..900 {
                publish(&memory, n..n + 1);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let (view, progress, never) = (Arc::new(view), Arc::new(Progress::default()), CancellationToken::new());
    assert!(rebuild::rebuild(&view, &second, &place(&log, &store, &progress, &never), &fast(Some(1))).await.unwrap());
    assert_eq!(progress.events().0, progress.events().1);
    assert!(rebuild::catch_up(&view, &second, 1, &place(&log, &store, &progress, &never), &options()).await.unwrap());
    for _ in 0..5 {
        let found =
            rebuild::compare(&*view, &first, &second, &place(&log, &store, &progress, &never)).await.unwrap().unwrap();
        assert_eq!(found.differences(), 0, "{found:?}");
        assert!(found.tables.iter().any(|t| t.rows[0] > 0 && t.rows[1] > 0));
    }
    let there =
        rebuild::switch(&*view, &second, Some(1), &place(&log, &store, &progress, &never), PATIENCE).await.unwrap();
    assert_eq!(there.from, Some(1));
    let info = store.generations(Some(name)).await.unwrap();
    assert_eq!(info.iter().map(|g| g.active).collect::<Vec<_>>(), [false, true]);
    publisher.await.unwrap();
    seen(&store, name, 1, &memory).await;
    seen(&store, name, 2, &memory).await;
    let back = rebuild::switch(&*view, &first, None, &place(&log, &store, &progress, &never), PATIENCE).await.unwrap();
    assert_eq!((back.from, back.closed), (Some(2), 0));
    live.stop().await;
    let (a, b) = (dump(&store, &first).await, dump(&store, &second).await);
    assert!(!a[view.spec().tables.len() + usize::from(view.spec().state)].is_empty(), "there are dead letters");
    assert!(a == b, "{name} differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_equals_the_live_generation() {
    for db in databases::all().await {
        beside(timeline(), &db).await;
        beside(mot(), &db).await;
        beside(follow_ups(), &db).await;
    }
}

/// PostgreSQL doesn't wait for the disk with a slice: a crash may take the last ones back, rows and note, while the rebuild lives.
#[tokio::test(flavor = "multi_thread")]
async fn slices_that_the_database_lost_are_folded_again() {
    let store = Store::connect("sqlite::memory:", 1).await.unwrap();
    let (_, log) = made(&timeline(), 300, &store, 4).await;
    let view = Arc::new(timeline());
    let second = begin(&*view, &log, &store, 10).await;
    // All but one is lost at the moment when the last slice of three partitions is written.
    let engine = store.engine();
    engine.execute("CREATE TABLE crashed (n bigint)", &[]).await.unwrap();
    let crash = "CREATE TRIGGER crash AFTER UPDATE ON rebuild_slices WHEN NOT EXISTS (SELECT 1 FROM crashed) \
                 AND NOT EXISTS (SELECT 1 FROM rebuild_slices WHERE done_ms IS NULL AND partition < 3) BEGIN \
                 INSERT INTO crashed VALUES (1); DELETE FROM timeline_entries_g2; DELETE FROM patient_links_g2; \
                 DELETE FROM dead_letters WHERE generation = 2; DELETE FROM parked WHERE generation = 2; \
                 UPDATE rebuild_slices SET done_ms = NULL WHERE partition <> NEW.partition OR slice <> NEW.slice; END";
    engine.execute(crash, &[]).await.unwrap();
    assert!(start(&view, &second, &log, &store, None).task.await.unwrap().unwrap());
    assert_eq!(engine.query("SELECT count(*) FROM crashed", &[]).await.unwrap()[0].int(0), 1);
    let first = store.generation(view.spec(), 1).await.unwrap();
    assert!(dump(&store, &first).await == dump(&store, &second).await, "something is missing");
}

/// Stopped at any moment, as often as one likes, by two processes at once: the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_goes_on_where_it_was() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let (_, log) = made(&follow_ups(), 700, &store, 4).await;
        let view = Arc::new(follow_ups());
        let second = begin(&*view, &log, &store, 10).await;
        let (mut stops, mut resumed) = (0, 0);
        let building = || async {
            store
                .generations(Some("follow_ups"))
                .await
                .unwrap()
                .iter()
                .any(|g| g.number == 2 && g.state == State::Building)
        };
        while building().await {
            let found = store.unfinished_rebuild(view.spec(), "{}").await.unwrap().expect("it is found again");
            assert_eq!(found.number, 2);
            // Connections of its own, as a process has: one that a COPY was torn out of is of no use to anybody.
            let url = db.url.clone();
            let start = || {
                let (view, second, log, url) = (view.clone(), second.clone(), log.clone(), url.clone());
                // A throttle, so that there is a middle in which to be stopped.
                let throttle = std::num::NonZeroU32::new(if stops < 24 { 400 } else { 1_000_000 });
                let (cancel, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
                let (c, p) = (cancel.clone(), progress.clone());
                let options = rebuild::Options { throttle, ..fast(Some(1)) };
                let task = tokio::spawn(async move {
                    let store = Store::connect(&url, 8).await?;
                    rebuild::rebuild(&view, &second, &place(&log, &store, &p, &c), &options).await
                });
                (task, cancel, progress)
            };
            let (a, stop, progress) = start();
            let (b, ..) = start();
            tokio::time::sleep(Duration::from_millis(if stops < 24 { 40 + stops * 29 % 120 } else { 3_000 })).await;
            resumed += u64::from(progress.resumed() > 0);
            if stops % 3 == 0 {
                stop.cancel();
                let _ = a.await.unwrap();
            } else {
                a.abort();
                let _ = a.await;
            }
            b.abort();
            let _ = b.await;
            stops += 1;
        }
        assert!(stops >= 20 && resumed > 5, "{stops} stops, {resumed} resumed");
        let first = store.generation(view.spec(), 1).await.unwrap();
        assert!(dump(&store, &first).await == dump(&store, &second).await);
    }
}

/// A record that an operator discarded stays discarded, and those behind it are folded.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_discarded_stays_discarded() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let memory = MemoryLog::new(2);
        let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
        memory.put(b"p-1", b"\x07nonsense".to_vec());
        memory.publish(&event("PatientCheckedIn", 1, 1, ""));
        let view = Arc::new(timeline());
        let live = Live::start(view.clone(), &log, &store);
        seen(&store, "timeline", 1, &memory).await;
        live.stop().await;
        let sql = "UPDATE dead_letters SET discarded_ms = 5, discard_reason = 'a test' WHERE parked_behind = 0";
        assert_eq!(store.engine().execute(sql, &[]).await.unwrap(), 1);
        let second = begin(&*view, &log, &store, 10).await;
        let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
        let first = store.generation(view.spec(), 1).await.unwrap();
        let discard = Decision::Discard { id: "timeline.1.0.9", reason: "too late" };
        let refused = redrive(&*view, &first, &store, 0, b"p-2", discard).await.unwrap_err();
        assert!(format!("{refused:?}").contains("generation 2 of timeline is being filled"), "{refused:?}");
        rebuild::rebuild(&view, &second, &place(&log, &store, &progress, &never), &fast(Some(1))).await.unwrap();
        assert!(!redrive(&*view, &first, &store, 0, b"p-2", discard).await.unwrap().discarded, "nothing is in its way");
        let rows = store.engine().query("SELECT count(*) FROM timeline_entries_g2", &[]).await.unwrap();
        assert_eq!(rows[0].int(0), 1);
        let sql = "SELECT discarded_ms, discard_reason FROM dead_letters WHERE generation = 2";
        let letters = store.engine().query(sql, &[]).await.unwrap();
        assert_eq!(letters.iter().map(|r| (r.int(0), r.text(1))).collect::<Vec<_>>(), [(5, "a test")]);
        assert_eq!(store.checkpoints("timeline", 2).await.unwrap().iter().map(|c| c.parked).sum::<u64>(), 0);
    }
}

/// A generation that nobody follows is brought up by the rebuild itself; one that can't be reached is not switched to.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_nobody_follows_catches_up() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let memory = MemoryLog::new(2);
        let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
        publish(&memory, 0..50);
        let view = Arc::new(timeline());
        let second_bounds = rebuild::bounds(log.as_ref()).await.unwrap();
        publish(&memory, 50..6_000);
        let live = Live::start(view.clone(), &log, &store);
        seen(&store, "timeline", 1, &memory).await;
        live.stop().await;
        let second = store.begin_rebuild(view.spec(), "{}", &second_bounds, 1_000).await.unwrap();
        let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
        let switch = |wait| {
            let (view, second, at) = (&view, &second, place(&log, &store, &progress, &never));
            async move { rebuild::switch(&**view, second, Some(1), &at, wait).await }
        };
        assert!(switch(Duration::ZERO).await.unwrap_err().to_string().contains("store"), "it is being built");
        rebuild::rebuild(&view, &second, &place(&log, &store, &progress, &never), &fast(Some(1))).await.unwrap();
        assert!(matches!(switch(Duration::ZERO).await, Err(ProjectorError::Behind { .. })));
        let unfinished = || async { store.unfinished_rebuild(view.spec(), "{}").await.unwrap().map(|g| g.number) };
        assert_eq!(unfinished().await, Some(2), "a rebuild that ended before the switch goes on with it");
        let (there, limits) = (place(&log, &store, &progress, &never), options());
        let begun = std::time::Instant::now();
        let (caught_up, switched) =
            tokio::join!(rebuild::catch_up(&view, &second, 1, &there, &limits), switch(PATIENCE));
        let (switched, waited) = (switched.unwrap(), begun.elapsed());
        assert!(caught_up.unwrap() && switched.closed <= 2_000);
        // It tried from the beginning, and says how long it took whoever waited for it.
        assert!(switched.took > Duration::from_secs(3) && switched.took <= waited, "{switched:?} of {waited:?}");
        assert_eq!(unfinished().await, None);
        let [a, b] = [1, 2].map(|g| store.checkpoints("timeline", g));
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| b.next_offset >= a.next_offset), "readers would go back in time");
    }
}

/// A log whose scans end early without saying so, in turn before and in the middle of the records, and whose reads fail at times.
struct Fickle(Arc<MemoryLog>, AtomicUsize);

#[async_trait]
impl Log for Fickle {
    fn partitions(&self) -> u32 {
        u32::try_from(self.0.ends().len()).unwrap()
    }
    async fn append(&self, _: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        Vec::new()
    }
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        Shared(self.0.clone()).bounds().await
    }
    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Err(LogError::Unavailable("fickle".into()));
        }
        Shared(self.0.clone()).read(partition, from, max).await
    }
    fn scan(&self, partition: u32, from: u64, to: u64) -> BoxStream<'_, Result<Vec<Record>, LogError>> {
        let some = usize::try_from((to - from).min(40)).unwrap();
        let part = async move {
            if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                return Ok(Vec::new());
            }
            Shared(self.0.clone()).read(partition, from, some).await
        };
        stream::once(part).filter(|r| std::future::ready(!matches!(r, Ok(r) if r.is_empty()))).boxed()
    }
    async fn subscribe(&self, group: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        Shared(self.0.clone()).subscribe(group, start).await
    }
}

/// What a scan leaves out is asked for again, and a switch outlives a log that is away for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_ends_early_is_not_the_whole() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let memory = MemoryLog::new(2);
        let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
        let fickle: Arc<dyn Log> = Arc::new(Fickle(memory.clone(), AtomicUsize::new(0)));
        publish(&memory, 0..300);
        let view = Arc::new(timeline());
        let bounds = rebuild::bounds(log.as_ref()).await.unwrap();
        publish(&memory, 300..400);
        let live = Live::start(view.clone(), &log, &store);
        seen(&store, "timeline", 1, &memory).await;
        live.stop().await;
        let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
        let there = place(&fickle, &store, &progress, &never);
        // In one slice, and in several.
        for (number, slice) in [(2, 1_000_000), (3, 50)] {
            let next = store.begin_rebuild(view.spec(), "{}", &bounds, slice).await.unwrap();
            assert_eq!(next.number, number);
            assert!(rebuild::rebuild(&view, &next, &there, &fast(Some(1))).await.unwrap());
            let switched = rebuild::switch(&*view, &next, None, &there, PATIENCE).await.unwrap();
            if number == 2 {
                assert!(switched.closed > 100, "{switched:?}");
            }
            let first = store.generation(view.spec(), 1).await.unwrap();
            let (a, b) = (dump(&store, &first).await, dump(&store, &next).await);
            assert!(a[0].len() > 300 && a == b, "generation {number}");
        }
    }
}

/// Who works in the tables of a generation is not waited for without limit: others wait behind the one who waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_does_not_wait_for_ever() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        if store.engine().one_writer() {
            continue;
        }
        let view = timeline();
        store.ensure_view(view.spec(), "{}").await.unwrap();
        let second = store.add_generation(view.spec(), State::Following, "{}").await.unwrap();
        let mut reader = store.begin(store::Durability::FromLog).await.unwrap();
        reader.query(&format!("SELECT count(*) FROM {}", second.target(0).table), &[]).await.unwrap();
        let dropped = tokio::time::timeout(Duration::from_secs(5), store.drop_generation("timeline", 2)).await;
        let refused = dropped.expect("it waits").unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        reader.rollback().await.unwrap();
        store.drop_generation("timeline", 2).await.unwrap();
    }
}
