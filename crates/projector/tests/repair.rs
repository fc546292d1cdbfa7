//! Verify, replay and redrive on every store there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::{MemoryLog, Shared, event, some};
use domain::event::Kind;
use domain::table::{Table, Type};
use domain::views::follow_ups::FollowUps;
use domain::views::mot::{Mot, Standards};
use domain::views::timeline::Timeline;
use eventlog::{Log, Position};
use journeylog_projector::{
    Built, Decision, Finding, Folded, Options, Projection, Redriven, Rejected, Report, Rows, Scope, Thoroughness,
    follow, redrive, replay, verify, watch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::{Engine, Generation, Store, StoreError, Tx, ViewSpec};
use tokio_util::sync::CancellationToken;

fn timeline() -> Rows<Timeline> {
    Rows("timeline", Timeline)
}

fn mot() -> Folded<Mot> {
    Folded("mot", Mot::new(Standards::shipped()))
}

const fn follow_ups() -> Folded<FollowUps> {
    Folded("follow_ups", FollowUps)
}

/// Runs a projector until it has seen the whole log.
async fn project<P: Projection + Clone>(view: &P, log: &Arc<MemoryLog>, store: &Store) {
    let cancel = CancellationToken::new();
    let run = start(view, log, store, &cancel);
    seen(store, view.spec().name, log).await;
    cancel.cancel();
    run.await.unwrap();
}

fn start<P: Projection + Clone>(
    view: &P,
    log: &Arc<MemoryLog>,
    store: &Store,
    cancel: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let (view, log, store, cancel) = (view.clone(), log.clone(), store.clone(), cancel.clone());
    let options = Options { batch: 40, in_flight: 200, ..Options::default() };
    tokio::spawn(async move {
        follow(view.spec(), move |_| Ok(view.clone()), Arc::new(Shared(log)), store, options, cancel).await.unwrap();
    })
}

async fn seen(store: &Store, view: &str, log: &MemoryLog) {
    for _ in 0..3_000 {
        let at: BTreeMap<u32, u64> =
            store.checkpoints(view, 1).await.unwrap().iter().map(|c| (c.partition, c.next_offset)).collect();
        if (0..).zip(log.ends()).all(|(p, end)| at.get(&p) == Some(&end)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{view} did not come to the end of the log");
}

/// Verifies a view's first generation; what differs, by table.
async fn verified<P: Projection>(
    view: &P,
    log: &Arc<MemoryLog>,
    store: &Store,
    how: Thoroughness,
) -> (u64, BTreeMap<String, [usize; 3]>) {
    let generation = store.generation(view.spec(), 1).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(Shared(log.clone()));
    let scope = Scope { view, generation: &generation, log: &log, store };
    let (mut found, cancel) = (Vec::<Finding>::new(), CancellationToken::new());
    let done = verify(&scope, how, &cancel, |report| {
        if let Report::Finding(f) = report {
            found.push(f.clone());
        }
    });
    let done = done.await.unwrap();
    assert_eq!(done.findings, found.len() as u64);
    let mut tables: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for d in found.iter().flat_map(|f| &f.differences) {
        let sum = tables.entry(d.table.clone()).or_default();
        sum[0] += d.missing;
        sum[1] += d.extra;
        sum[2] += d.differing;
    }
    (done.keys, tables)
}

/// Every row of every table, states too, in the order of the keys.
async fn dump(store: &Store, spec: ViewSpec) -> Vec<Vec<String>> {
    let generation = store.generation(spec, 1).await.unwrap();
    let targets = (0..spec.tables.len()).map(|i| generation.target(i)).chain(generation.state());
    let mut all = Vec::new();
    for t in targets {
        let columns: Vec<&str> = t.columns.iter().map(|c| c.0).collect();
        let rows = store.engine().query(&format!("SELECT {} FROM {}", columns.join(", "), t.table), &[]).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|r| format!("{:?}", r.0)).collect();
        rows.sort();
        all.push(rows);
    }
    all
}

async fn execute(store: &Store, sql: &str) -> u64 {
    store.engine().execute(sql, &[]).await.unwrap()
}

const ALL: Thoroughness =
    Thoroughness { sample: 1.0, repair: false, bytes: 64 << 20, keys_per_s: None, records_per_s: None };

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
        let cancel = CancellationToken::new();
        let running = [
            start(&timeline(), &log, &store, &cancel),
            start(&mot(), &log, &store, &cancel),
            start(&follow_ups(), &log, &store, &cancel),
        ];
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
            r.await.unwrap();
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

/// A view with a fault: it panics on one kind of event of one patient, until it is mended.
#[derive(Clone)]
struct Faulty<P>(P, BTreeSet<String>);

impl<P: Projection> Projection for Faulty<P> {
    type Item = P::Item;
    fn spec(&self) -> ViewSpec {
        self.0.spec()
    }
    fn item(&self, event: domain::Event, position: Position) -> Option<P::Item> {
        assert!(!self.1.contains(&event.header().event_id.to_string()), "a fault in the fold");
        self.0.item(event, position)
    }
    fn build(&self, items: Vec<P::Item>) -> Built {
        self.0.build(items)
    }
    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        self.0.record_key(key)
    }
    fn same_state(&self, a: &[u8], b: &[u8]) -> bool {
        self.0.same_state(a, b)
    }
    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool {
        self.0.has_all(whole, part)
    }
    async fn write(&self, tx: &mut Tx, g: &Generation, items: &[&P::Item]) -> Result<Vec<Rejected>, StoreError> {
        self.0.write(tx, g, items).await
    }
}

/// Tries a view's letters again, key by key.
async fn decide<P: Projection>(view: &P, store: &Store, decision: Decision<'_>) -> Vec<Redriven> {
    let generation = store.generation(view.spec(), 1).await.unwrap();
    let which = Some(view.spec().name).into();
    let mut all = Vec::new();
    for k in store.letter_keys(which, None, 100).await.unwrap() {
        all.push(redrive(view, &generation, store, k.partition, &k.key, decision).await.unwrap());
    }
    all
}

async fn a_fault_is_mended<P: Projection + Clone>(view: &P, store: &Store) {
    let log = MemoryLog::new(2);
    let bad = [
        event("ConsultEnded", 1, 30, r#""encounter_id":"e1""#),
        event("ConsultEnded", 2, 31, r#""encounter_id":"e2""#),
    ];
    let ids = bad.iter().map(|e| e.header().event_id.to_string()).collect();
    let publish = |range: std::ops::Range<u64>| {
        for n in range {
            log.publish(&some(1_000 + n, 6));
        }
    };
    publish(0..60);
    for e in &bad {
        log.publish(e);
    }
    publish(60..130);
    let faulty = Faulty(view.clone(), ids);
    let name = view.spec().name;
    let cancel = CancellationToken::new();
    let run = start(&faulty, &log, store, &cancel);
    seen(store, name, &log).await;
    let before = dump(store, view.spec()).await;
    let letters = store.dead_letters(Some(name), None, 1_000).await.unwrap();
    assert_eq!(letters.iter().filter(|l| !l.parked_behind).count(), 2);
    assert!(letters.len() > 20 && letters.iter().all(|l| l.source.as_deref() == Some("test")));

    // With the fault, nothing goes in.
    for done in decide(&faulty, store, Decision::Redrive).await {
        assert_eq!((done.taken, done.free, done.kept.len()), (0, false, done.tried));
    }
    // A rehearsal changes nothing.
    for done in decide(view, store, Decision::Rehearse).await {
        assert!(done.taken == done.tried && done.free && !done.rows.is_empty(), "{done:?}");
    }
    assert!(dump(store, view.spec()).await == before);
    assert_eq!(store.dead_letters(Some(name), None, 1_000).await.unwrap(), letters);

    // Meanwhile the (mended) projector goes on with everybody's events.
    cancel.cancel();
    run.await.unwrap();
    let cancel = CancellationToken::new();
    let run = start(view, &log, store, &cancel);
    let publishing = async {
        for n in 0..40 {
            publish(130 + n * 5..135 + n * 5);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let ((), done) = tokio::join!(publishing, async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        decide(view, store, Decision::Redrive).await
    });
    assert!(done.iter().all(|d| d.taken == d.tried && d.free));
    assert!(decide(view, store, Decision::Redrive).await.is_empty(), "a second time there is nothing to do");
    seen(store, name, &log).await;
    cancel.cancel();
    run.await.unwrap();
    assert!(store.dead_letters(Some(name), None, 10).await.unwrap().is_empty());
    assert_eq!(store.checkpoints(name, 1).await.unwrap().iter().map(|c| c.parked).sum::<u64>(), 0);
    assert_eq!(verified(view, &log, store, ALL).await.1, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_fold_takes_in_what_was_parked() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 16).await.unwrap();
        a_fault_is_mended(&timeline(), &store).await;
        a_fault_is_mended(&mot(), &store).await;
        a_fault_is_mended(&follow_ups(), &store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_letter_is_kept_and_holds_nobody_up() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(2);
        log.publish(&event("PatientCheckedIn", 1, 1, ""));
        let first = log.put(b"p-1", b"\x07nonsense".to_vec());
        log.publish(&event("PatientCheckedIn", 1, 2, ""));
        let second = log.put(b"p-1", b"\x07nonsense too".to_vec());
        log.publish(&event("PatientCheckedIn", 1, 3, ""));
        project(&timeline(), &log, &store).await;
        let generation = store.generation(timeline().spec(), 1).await.unwrap();
        let letters = store.dead_letters(Some("timeline"), None, 10).await.unwrap();
        assert_eq!(letters.len(), 4);
        let discard = async |at: Position| {
            let id = store::letter_id(&generation, at.partition, at.offset);
            let decision = Decision::Discard { id: &id, reason: "the source sent garbage" };
            redrive(&timeline(), &generation, &store, at.partition, b"p-1", decision).await.unwrap()
        };
        let done = discard(first).await;
        assert_eq!((done.discarded, done.tried, done.taken, done.free), (true, 3, 1, false));
        let kept: Vec<_> = done.kept.iter().map(|k| (k.code.as_str(), k.parked_behind)).collect();
        assert_eq!(kept, [("undecodable", false), ("parked", true)]);
        assert!(!discard(first).await.discarded, "a second time nothing happens");
        log.publish(&event("PatientCheckedIn", 1, 4, ""));
        project(&timeline(), &log, &store).await;
        let done = discard(second).await;
        assert_eq!((done.taken, done.free), (2, true));
        log.publish(&event("PatientCheckedIn", 1, 5, ""));
        project(&timeline(), &log, &store).await;
        assert!(store.dead_letters(Some("timeline"), None, 10).await.unwrap().is_empty());
        let which = store::Letters { discarded: true, ..Default::default() };
        let discarded = store.dead_letters(which, None, 10).await.unwrap();
        assert_eq!(discarded.len(), 2);
        assert!(discarded.iter().all(|l| l.discard_reason.as_deref() == Some("the source sent garbage")));
        let rows = store.engine().query("SELECT count(*) FROM timeline_entries", &[]).await.unwrap();
        assert_eq!(rows[0].int(0), 5);
        assert_eq!(verified(&timeline(), &log, &store, ALL).await.1, BTreeMap::new());
        let counts = store.letter_counts(None).await.unwrap();
        let counts: Vec<_> = counts.iter().map(|c| (c.code.as_str(), c.open, c.waiting, c.discarded)).collect();
        assert_eq!(counts, [("undecodable", 0, 0, 2)]);
    }
}
