//! What operators do to a rebuild and around it: slow it down, stop it, pause its view, drop its generation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::rebuilding::{Live, PATIENCE, begin, dump, made, options, place, publish, seen, start};
use common::running::{follow_ups, mot, timeline};
use common::{MemoryLog, Shared};
use eventlog::Log;
use journeylog_projector::rebuild::{self, Phase, Progress};
use journeylog_projector::{Projection, ProjectorError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Engine, Generation, State, Store};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_bounds_the_rate() {
    const RATE: u32 = 400;
    let store = Store::connect("sqlite::memory:", 1).await.unwrap();
    let (_, log) = made(&timeline(), 700, &store, 4).await;
    let view = Arc::new(timeline());
    let second = begin(&*view, &log, &store, 60).await;
    let begun = Instant::now();
    let running = start(&view, &second, &log, &store, Some(RATE));
    while !running.task.is_finished() {
        // Before the clock: what is folded later is not counted against an earlier time.
        let folded = running.progress.events().0;
        let allowed = begun.elapsed().as_secs_f64() * f64::from(RATE);
        assert!(folded as f64 <= allowed, "{folded} events, {allowed:.0} allowed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(running.task.await.unwrap().unwrap());
    let (folded, took) = (running.progress.events().0, begun.elapsed().as_secs_f64());
    assert!(folded > 700 && took >= folded as f64 / f64::from(RATE), "{folded} events in {took} s");
}

/// Every index of a generation's tables, as the database describes it, without the generation's number.
async fn indexes(engine: &Engine, generation: &Generation) -> Vec<String> {
    let tables: Vec<_> = generation.targets().map(|t| format!("'{}'", t.table)).collect();
    let sql = match engine.is_postgres() {
        true => "SELECT indexdef FROM pg_indexes WHERE tablename IN",
        false => "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name IN",
    };
    let rows = engine.query(&format!("{sql} ({})", tables.join(", ")), &[]).await.unwrap();
    let number = format!("_g{}", generation.number);
    let mut all: Vec<_> = rows.iter().map(|r| r.text(0).replace(&number, "")).collect();
    all.sort();
    all
}

async fn has_its_indexes<P: Projection + Clone>(view: P, store: &Store) {
    let (_, log) = made(&view, 60, store, 2).await;
    let view = Arc::new(view);
    let second = begin(&*view, &log, store, 20).await;
    assert!(start(&view, &second, &log, store, None).task.await.unwrap().unwrap());
    let first = store.generation(view.spec(), 1).await.unwrap();
    let (fresh, rebuilt) = (indexes(store.engine(), &first).await, indexes(store.engine(), &second).await);
    let wanted: usize = view.spec().tables.iter().map(|t| 1 + t.indexes.len()).sum();
    assert_eq!(fresh.len(), wanted + usize::from(view.spec().state), "{fresh:#?}");
    assert_eq!(rebuilt, fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_generation_has_the_indexes_of_a_fresh_one() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        has_its_indexes(timeline(), &store).await;
        has_its_indexes(mot(), &store).await;
        has_its_indexes(follow_ups(), &store).await;
    }
}

/// Nobody fills a generation of a paused view; what the switch can close it closes, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_view_is_switched_at_once_or_not_at_all() {
    // As long as it took to find out that nobody follows.
    const AT_ONCE: Duration = Duration::from_secs(2);
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let memory = MemoryLog::new(2);
        let log: Arc<dyn Log> = Arc::new(Shared(memory.clone()));
        let view = Arc::new(timeline());
        let mut bounds = Vec::new();
        for range in [0..50, 50..2_000, 2_000..3_200] {
            publish(&memory, range);
            bounds.push(rebuild::bounds(log.as_ref()).await.unwrap());
        }
        let live = Live::start(view.clone(), &log, &store);
        seen(&store, "timeline", 1, &memory).await;
        live.stop().await;
        let mut generations = Vec::new();
        for bounds in &bounds[..2] {
            let next = store.begin_rebuild(view.spec(), "{}", bounds, 1_000).await.unwrap();
            assert!(start(&view, &next, &log, &store, None).task.await.unwrap().unwrap());
            generations.push(next);
        }
        let [far, near] = &generations[..] else { panic!() };
        assert!(store.pause("timeline", true).await.unwrap());
        let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
        let there = place(&log, &store, &progress, &never);
        let before = store.checkpoints("timeline", far.number).await.unwrap();
        let begun = Instant::now();
        let refused = rebuild::catch_up(&view, far, 1, &there, &options()).await.unwrap_err();
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        assert!(matches!(refused, ProjectorError::Paused { generation: 2, events: 2_001.. }), "{refused}");
        assert_eq!(store.checkpoints("timeline", far.number).await.unwrap(), before, "it was filled");
        let begun = Instant::now();
        assert!(rebuild::catch_up(&view, near, 1, &there, &options()).await.unwrap());
        let switched = rebuild::switch(&*view, near, Some(1), &there, PATIENCE).await.unwrap();
        assert!(begun.elapsed() < AT_ONCE && switched.took < AT_ONCE, "{switched:?}");
        assert!((1_001..=2_000).contains(&switched.closed), "{switched:?}: try another number of events");
        let first = store.generation(view.spec(), 1).await.unwrap();
        assert!(dump(&store, &first).await == dump(&store, near).await, "readers would miss something");
    }
}

/// Somebody has reset the view meanwhile: what the generation was compared with is not what readers see.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_does_not_take_the_place_of_another_than_it_was_compared_with() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let (_, log) = made(&timeline(), 50, &store, 2).await;
        let view = Arc::new(timeline());
        let second = begin(&*view, &log, &store, 50).await;
        assert!(start(&view, &second, &log, &store, None).task.await.unwrap().unwrap());
        assert_eq!(store.restart(view.spec(), &[], "{}").await.unwrap(), (3, 1));
        let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
        let there = place(&log, &store, &progress, &never);
        let refused = rebuild::switch(&*view, &second, Some(1), &there, PATIENCE).await.unwrap_err();
        assert!(format!("{refused:?}").contains("readers see generation 3 of timeline by now"), "{refused:?}");
        let active =
            async || store.generations(Some("timeline")).await.unwrap().iter().find(|g| g.active).unwrap().number;
        assert_eq!(active().await, 3);
        // Who says so by hand is heard; and a switch whose answer was lost has been done.
        for instead_of in [None, Some(1)] {
            rebuild::switch(&*view, &second, instead_of, &there, PATIENCE).await.unwrap();
            assert_eq!(active().await, 2);
        }
    }
}

/// PostgreSQL is told to end the index that it is at; the next run makes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_making_of_indexes_is_interrupted_and_made_up_for() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        if store.engine().one_writer() {
            continue;
        }
        let (_, log) = made(&timeline(), 200, &store, 2).await;
        let view = Arc::new(timeline());
        let second = begin(&*view, &log, &store, 50).await;
        // Rows go in beside it, an index has to wait.
        let mut held = store.begin(store::Durability::FromLog).await.unwrap();
        for table in second.targets() {
            held.execute(&format!("LOCK TABLE \"{}\" IN ROW EXCLUSIVE MODE", table.table), &[]).await.unwrap();
        }
        let making = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                      AND query LIKE 'CREATE%INDEX%'";
        let waiting = async || store.engine().query(making, &[]).await.unwrap()[0].int(0);
        let running = start(&view, &second, &log, &store, None);
        let begun = Instant::now();
        while running.progress.phase() != Phase::Indexing || waiting().await < 2 {
            assert!(begun.elapsed() < PATIENCE && !running.task.is_finished());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.cancel.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(5), running.task).await.expect("it waits for the index");
        assert!(!ended.unwrap().unwrap());
        assert_eq!(waiting().await, 0, "the server goes on making it");
        held.rollback().await.unwrap();
        assert!(start(&view, &second, &log, &store, None).task.await.unwrap().unwrap());
        let first = store.generation(view.spec(), 1).await.unwrap();
        assert_eq!(indexes(store.engine(), &second).await, indexes(store.engine(), &first).await);
        assert!(dump(&store, &first).await == dump(&store, &second).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_generation_ends_its_rebuild_with_the_reason() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let (_, log) = made(&timeline(), 600, &store, 4).await;
        let view = Arc::new(timeline());
        let second = begin(&*view, &log, &store, 20).await;
        let running = start(&view, &second, &log, &store, Some(300));
        while running.progress.slices().0 == 0 {
            assert!(!running.task.is_finished());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let begun = Instant::now();
        while let Err(e) = store.drop_generation("timeline", 2).await {
            assert!(e.is_transient() && begun.elapsed() < PATIENCE, "{e}");
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), running.task).await.expect("it goes on");
        let why = format!("{:?}", ended.unwrap().unwrap_err());
        assert!(why.contains("the view timeline has no generation 2"), "{why}");
        // Also where nothing but the end was missing.
        let why = store.finish_rebuild(&second, &[], State::Following, Some(1)).await.unwrap_err();
        assert!(why.to_string().contains("has no generation 2"), "{why}");
        let state = store.generations(Some("timeline")).await.unwrap().pop().unwrap().state;
        assert_eq!(state, State::Dropped);
    }
}
