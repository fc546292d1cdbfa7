//! Verify and replay on every store there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::running::{Running, follow_ups, mot, options, project, seen, timeline};
use common::verified::{ALL, dump, execute, verified};
use common::{MemoryLog, Shared, event, some};
use domain::event::Kind;
use domain::table::{Table, Type};
use eventlog::{Log, Position};
use journeylog_projector::{Decision, Projection, Scope, Thoroughness, redrive, replay, verify, watch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::{Engine, Store};
use tokio_util::sync::CancellationToken;

/// Events that fill every table: answers, alerts, links, staff, follow-ups.
fn fill(log: &MemoryLog) {
    for n in 0..400 {
        log.publish(&some(n, 23));
    }
    for kind in Kind::ALL {
        for seed in 1..6 {
            log.publish(&domain::testing::example(*kind, seed));
        }
    }
}

/// One row changed, one deleted, one inserted under a key that the log has, one under a key that it doesn't have.
async fn tamper(store: &Store, table: &str, columns: &[(&str, Type)], key: usize) -> [usize; 3] {
    let (all, first) = (format!("{table}_g1"), columns[0].0);
    let count = format!("SELECT count(*) FROM {all}");
    let before = store.engine().query(&count, &[]).await.unwrap()[0].int(0);
    assert!(before >= 2, "{table} has {before} rows: too few to tamper with");
    let list = columns.iter().map(|c| format!("\"{}\"", c.0)).collect::<Vec<_>>().join(", ");
    let nth = |n: usize| {
        let keys = columns[..key].iter().map(|c| format!("\"{}\"", c.0)).collect::<Vec<_>>().join(", ");
        format!("({keys}) IN (SELECT {keys} FROM {all} ORDER BY {keys} LIMIT 1 OFFSET {n})")
    };
    // The last column that is no key; another one's state can't be read any more.
    let (changed, ty) = columns[columns.len() - 1];
    let value = match ty {
        Type::Int => format!("COALESCE(\"{changed}\", 0) + 1"),
        Type::Text | Type::Json => "'tampered'".to_owned(),
        Type::Float => "1.5".to_owned(),
        Type::Bytes if store.engine().is_postgres() => "'\\x0102'".to_owned(),
        Type::Bytes => "x'0102'".to_owned(),
    };
    let changed_rows = if columns.len() > key {
        execute(store, &format!("UPDATE {all} SET \"{changed}\" = {value} WHERE {}", nth(0))).await
    } else {
        0
    };
    let deleted =
        execute(store, &format!("DELETE FROM {all} WHERE {}", nth(usize::try_from(before - 1).unwrap()))).await;
    assert_eq!(deleted, 1);
    let copy = |name: &str, column: &str| {
        let cells: Vec<String> =
            columns.iter().map(|c| if c.0 == column { name.to_owned() } else { format!("\"{}\"", c.0) }).collect();
        format!("INSERT INTO {all} ({list}) SELECT {} FROM {all} WHERE {}", cells.join(", "), nth(0))
    };
    let mut extra = 0;
    if key > 1 && columns[1].1 == Type::Text {
        extra += execute(store, &copy("'tampered'", columns[1].0)).await;
    }
    extra += execute(store, &copy("'p-nobody'", first)).await;
    [1, usize::try_from(extra).unwrap(), usize::try_from(changed_rows).unwrap()]
}

async fn tampering_is_found_and_repaired<P: Projection + Clone>(view: &P, log: &Arc<MemoryLog>, store: &Store) {
    project(view, log, store).await;
    let spec = view.spec();
    assert_eq!(verified(view, log, store, ALL).await.1, BTreeMap::new());
    let sound = dump(store, spec).await;
    let mut wanted = BTreeMap::new();
    let state = spec.state.then(|| (format!("{}_state", spec.name), store::STATE, 1));
    let tables = spec.tables.iter().map(|t: &Table| (t.name.to_owned(), t.columns, t.key)).chain(state);
    for (name, columns, key) in tables {
        let did = tamper(store, &name, columns, key).await;
        wanted.insert(name, did);
    }
    // Little memory: many passes.
    let passes = Thoroughness { bytes: 40_000, ..ALL };
    let (keys, found) = verified(view, log, store, passes).await;
    assert_eq!(found, wanted, "{}", spec.name);
    assert!(keys > 23);
    let repairs = || async {
        let sql = "SELECT repairs FROM generations WHERE view = $1";
        store.engine().query(sql, &[spec.name.into()]).await.unwrap()[0].int(0)
    };
    assert_eq!(repairs().await, 0, "nothing was put right yet");
    let (_, found) = verified(view, log, store, Thoroughness { repair: true, ..passes }).await;
    assert_eq!(found, wanted, "{}", spec.name);
    assert!(repairs().await > 0, "readers have to be told");
    assert!(dump(store, spec).await == sound, "{} is not as it was", spec.name);
    assert_eq!(verified(view, log, store, ALL).await.1, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_tampered_with_are_found_and_repaired_in_every_table() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(4);
        fill(&log);
        tampering_is_found_and_repaired(&timeline(), &log, &store).await;
        tampering_is_found_and_repaired(&mot(), &log, &store).await;
        tampering_is_found_and_repaired(&follow_ups(), &log, &store).await;
    }
}

/// Records that are no row's: a copy in a partition that is not its key's, and keys that no row can have.
async fn what_is_no_rows_costs_no_rows<P: Projection + Clone>(view: &P, store: &Store) {
    let log = MemoryLog::new(4);
    for n in 0..200 {
        log.publish(&some(n, 23));
    }
    let copied = log.all().into_iter().next().unwrap();
    let elsewhere = (copied.position.partition + 1) % 4;
    log.put_into(elsewhere, &copied.key, copied.value.to_vec());
    for key in [b"p\0x".as_slice(), b"\xff\xfe"] {
        log.put(key, copied.value.to_vec());
    }
    project(view, &log, store).await;
    let name = view.spec().name;
    let letters = || async { store.dead_letters(Some(name), None, 10).await.unwrap() };
    let codes: BTreeSet<String> = letters().await.into_iter().map(|l| l.code).collect();
    assert_eq!(codes, BTreeSet::from(["wrong_key".to_owned(), "wrong_partition".to_owned()]));
    let sound = dump(store, view.spec()).await;
    for repair in [false, true] {
        assert_eq!(verified(view, &log, store, Thoroughness { repair, ..ALL }).await.1, BTreeMap::new());
    }
    let generation = store.generation(view.spec(), 1).await.unwrap();
    for key in store.letter_keys(Some(name).into(), None, 10).await.unwrap() {
        for decision in [Decision::Rehearse, Decision::Redrive] {
            let done = redrive(view, &generation, store, key.partition, &key.key, decision).await.unwrap();
            assert_eq!((done.tried, done.taken, done.rows.len()), (1, 0, 0));
        }
    }
    // The letters themselves are checked.
    execute(store, &format!("DELETE FROM dead_letters WHERE view = '{name}'")).await;
    let (_, found) = verified(view, &log, store, Thoroughness { repair: true, ..ALL }).await;
    assert_eq!(found, BTreeMap::from([("dead_letters".to_owned(), [3, 0, 0])]));
    assert_eq!(letters().await.len(), 3);
    assert!(dump(store, view.spec()).await == sound, "{name} is not as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_rows_cost_nobody_theirs() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        what_is_no_rows_costs_no_rows(&timeline(), &store).await;
        what_is_no_rows_costs_no_rows(&mot(), &store).await;
        what_is_no_rows_costs_no_rows(&follow_ups(), &store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_takes_its_share_and_lost_letters_are_found() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(2);
        for n in 0..600 {
            log.publish(&some(n, 200));
        }
        let poison = log.put(b"p-1", b"\x07nonsense".to_vec());
        log.publish(&event("PatientCheckedIn", 1, 10_000, ""));
        project(&timeline(), &log, &store).await;
        let (keys, found) = verified(&timeline(), &log, &store, Thoroughness { sample: 0.3, ..ALL }).await;
        assert!((30..90).contains(&keys) && found.is_empty(), "{keys} {found:?}");

        execute(&store, "DELETE FROM dead_letters WHERE parked_behind = 0").await;
        let (_, found) = verified(&timeline(), &log, &store, ALL).await;
        assert_eq!(found, BTreeMap::from([("dead_letters".into(), [1, 0, 0]), ("parked".into(), [0, 0, 1])]));
        verified(&timeline(), &log, &store, Thoroughness { repair: true, ..ALL }).await;
        assert_eq!(verified(&timeline(), &log, &store, ALL).await.1, BTreeMap::new());
        let letters = store.dead_letters(Some("timeline"), None, 10).await.unwrap();
        assert_eq!((letters.len(), letters[0].offset), (2, poison.offset.cast_signed()));

        execute(&store, "DELETE FROM dead_letters").await;
        execute(&store, "UPDATE checkpoints SET last_hash = 17 WHERE partition = 0").await;
        let generation = store.generation(timeline().spec(), 1).await.unwrap();
        let shared: Arc<dyn Log> = Arc::new(Shared(log.clone()));
        let scope = Scope { view: &timeline(), generation: &generation, log: &shared, store: &store };
        let other = verify(&scope, ALL, &CancellationToken::new(), |_| {}).await.unwrap_err();
        assert!(format!("{:?}", other).contains("another log"), "{other:?}");
    }
}

/// A check that waits until it may read on ends at once, and doesn't say that it saw everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_cancelled_ends_early_and_says_so() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(4);
        fill(&log);
        project(&timeline(), &log, &store).await;
        let generation = store.generation(timeline().spec(), 1).await.unwrap();
        let shared: Arc<dyn Log> = Arc::new(Shared(log.clone()));
        let view = timeline();
        let scope = Scope { view: &view, generation: &generation, log: &shared, store: &store };
        let cancel = CancellationToken::new();
        let slow = Thoroughness { records_per_s: Some(1), ..ALL };
        let stop = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.cancel();
        };
        let done = async {
            let limit = Duration::from_secs(10);
            tokio::time::timeout(limit, verify(&scope, slow, &cancel, |_| {})).await.unwrap().unwrap()
        };
        let (done, ()) = tokio::join!(done, stop);
        assert!(done.done < 1.0 && done.keys > 0 && done.findings == 0, "{done:?}");
    }
}

/// A log that says when it is read, and never answers.
struct Stuck(Arc<MemoryLog>, tokio::sync::Notify);

#[async_trait::async_trait]
impl Log for Stuck {
    fn partitions(&self) -> u32 {
        u32::try_from(self.0.ends().len()).unwrap()
    }
    async fn append(&self, _: Vec<eventlog::NewRecord>) -> Vec<Result<Position, eventlog::LogError>> {
        Vec::new()
    }
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, eventlog::LogError> {
        Ok(self.0.ends().into_iter().map(|end| (0, end)).collect())
    }
    async fn read(&self, _: u32, _: u64, _: usize) -> Result<Vec<eventlog::Record>, eventlog::LogError> {
        self.1.notify_one();
        std::future::pending().await
    }
    async fn subscribe(
        &self,
        _: &str,
        _: Arc<dyn eventlog::Start>,
    ) -> Result<Box<dyn eventlog::Subscription>, eventlog::LogError> {
        panic!("nobody subscribes")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_continuous_check_ends_at_once_wherever_it_is() {
    let db = databases::all().await.swap_remove(0);
    let store = Store::connect(&db.url, 12).await.unwrap();
    let log = MemoryLog::new(2);
    fill(&log);
    project(&timeline(), &log, &store).await;
    let (stuck, cancel) = (Arc::new(Stuck(log, tokio::sync::Notify::new())), CancellationToken::new());
    let make = |_: &store::GenerationInfo| Ok(timeline());
    let run = watch(timeline().spec(), make, stuck.clone(), store, 1.0, cancel.clone());
    let run = tokio::spawn(run);
    tokio::time::timeout(Duration::from_secs(60), stuck.1.notified()).await.unwrap();
    cancel.cancel();
    tokio::time::timeout(Duration::from_secs(2), run).await.unwrap().unwrap();
}

/// While events come in and are projected, nothing is reported.
#[tokio::test(flavor = "multi_thread")]
async fn no_false_alarm_on_a_busy_system() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 24).await.unwrap();
        let log = MemoryLog::new(3);
        fill(&log);
        let running = [
            Running::start(timeline(), &log, &store, &options()),
            Running::start(mot(), &log, &store, &options()),
            Running::start(follow_ups(), &log, &store, &options()),
        ];
        let cancel = CancellationToken::new();
        for view in ["timeline", "mot", "follow_ups"] {
            seen(&store, view, &log).await;
        }
        let publishing = {
            let (log, cancel) = (log.clone(), cancel.clone());
            tokio::spawn(async move {
                let mut n = 400;
                while !cancel.is_cancelled() {
                    for _ in 0..2 {
                        // Many patients: folding a few again and again takes ever longer.
                        log.publish(&some(n, 211));
                        // New keys all the time, too.
                        log.publish(&some(1_000_000 + n, 1_000_000));
                        n += 1;
                    }
                    tokio::time::sleep(Duration::from_millis(15)).await;
                }
                n
            })
        };
        let small = Thoroughness { bytes: 400_000, repair: true, ..ALL };
        for _ in 0..2 {
            assert_eq!(verified(&timeline(), &log, &store, small).await.1, BTreeMap::new());
            assert_eq!(verified(&mot(), &log, &store, small).await.1, BTreeMap::new());
            assert_eq!(verified(&follow_ups(), &log, &store, small).await.1, BTreeMap::new());
        }
        cancel.cancel();
        for r in running {
            r.stop().await;
        }
        assert!(publishing.await.unwrap() > 420);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_patient_is_replayed_by_positions_and_scanned_where_they_lie() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(3);
        fill(&log);
        project(&timeline(), &log, &store).await;
        project(&mot(), &log, &store).await;
        project(&follow_ups(), &log, &store).await;
        let sound = dump(&store, follow_ups().spec()).await;
        let shared: Arc<dyn Log> = Arc::new(Shared(log.clone()));
        let generation = store.generation(follow_ups().spec(), 1).await.unwrap();
        let scope = Scope { view: &follow_ups(), generation: &generation, log: &shared, store: &store };
        let again = async |apply| replay(&scope, b"p-3", apply, false).await.unwrap();
        let clean = again(false).await;
        assert!(clean.checked.differences.is_empty() && !clean.scanned && clean.checked.records > 10, "{clean:?}");
        assert!(
            execute(&store, "UPDATE follow_up_items_g1 SET points = points + 7 WHERE patient_id = 'p-3'").await > 0
        );
        execute(&store, "UPDATE follow_up_items_g1 SET points = points + 7 WHERE patient_id = 'p-4'").await;
        let shown = again(false).await;
        assert_eq!(
            (shown.checked.differences.len(), shown.checked.differences[0].columns.clone()),
            (1, vec!["points"])
        );
        assert_eq!(again(false).await.checked, shown.checked, "looking changes nothing");
        assert_eq!(again(true).await.checked, shown.checked);
        assert!(again(false).await.checked.differences.is_empty());
        let (_, others) = verified(&follow_ups(), &log, &store, ALL).await;
        assert!(others["follow_up_items"][2] > 0, "another patient was not touched: {others:?}");
        verified(&follow_ups(), &log, &store, Thoroughness { repair: true, ..ALL }).await;
        assert!(dump(&store, follow_ups().spec()).await == sound);

        // A timeline that lost rows, or whose positions lie, costs no other view anything.
        execute(&store, "DELETE FROM timeline_entries_g1 WHERE patient_id = 'p-3'").await;
        let scanned = again(true).await;
        assert!(scanned.scanned && scanned.checked.differences.is_empty(), "{scanned:?}");
        let generation = store.generation(timeline().spec(), 1).await.unwrap();
        let scope = Scope { view: &timeline(), generation: &generation, log: &shared, store: &store };
        let fixed = replay(&scope, b"p-3", true, true).await.unwrap();
        assert!(fixed.checked.differences[0].missing > 0 && fixed.scanned);
        execute(&store, "UPDATE timeline_entries_g1 SET log_offset = log_offset + 1 WHERE patient_id = 'p-5'").await;
        let lied = replay(&scope, b"p-5", true, false).await.unwrap();
        assert!(lied.scanned && lied.checked.differences[0].columns == ["log_offset"], "{lied:?}");
        assert_eq!(verified(&timeline(), &log, &store, ALL).await.1, BTreeMap::new());
    }
}
