//! What the comparison of two generations sees, on every store there is: faults of a fold, dead letters, states.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::MemoryLog;
use common::faulty::{Fault, Faulty};
use common::rebuilding::{begin, made, place, start};
use common::running::mot;
use domain::table::Value;
use eventlog::Log;
use journeylog_projector::Projection;
use journeylog_projector::rebuild::{self, Progress};
use std::sync::Arc;
use store::{Comparison, Engine, Generation, Store, TableDifference};
use tokio_util::sync::CancellationToken;

async fn compared<P: Projection>(view: &P, of: [&Generation; 2], store: &Store, log: &Arc<dyn Log>) -> Comparison {
    let (progress, never) = (Arc::new(Progress::default()), CancellationToken::new());
    rebuild::compare(view, of[0], of[1], &place(log, store, &progress, &never)).await.unwrap().unwrap()
}

fn counts(t: &TableDifference) -> [i64; 3] {
    [t.only_first, t.only_second, t.differing]
}

/// A log, and two generations of mot with all of it.
async fn rebuilt(store: &Store) -> (Arc<MemoryLog>, Arc<dyn Log>, [Generation; 2]) {
    let view = Arc::new(mot());
    let (memory, log) = made(&*view, 300, store, 2).await;
    let second = begin(&*view, &log, store, 50).await;
    assert!(start(&view, &second, &log, store, None).task.await.unwrap().unwrap());
    let first = store.generation(view.spec(), 1).await.unwrap();
    (memory, log, [first, second])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_a_fold_is_seen_by_the_comparison() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let sound = mot();
        let (_, log) = made(&sound, 300, &store, 1).await;
        let first = store.generation(sound.spec(), 1).await.unwrap();
        let faults: [(Fault, [i64; 3], &[&str]); 4] = [
            (|b| drop(b.tables[0].pop()), [1, 0, 0], &[]),
            (|b| b.tables[0][0][5] = "elsewhere".into(), [0, 0, 1], &["site"]),
            (|b| b.tables[0][0][9] = Value::Null, [0, 0, 1], &["score"]),
            (|b| b.tables[0][0][1] = "t-of-nobody".into(), [1, 1, 0], &[]),
        ];
        for (fault, wanted, columns) in faults {
            let faulty = Arc::new(Faulty { build: fault, ..Faulty::new(sound.clone()) });
            let generation = begin(&*faulty, &log, &store, 1_000_000).await;
            assert!(start(&faulty, &generation, &log, &store, None).task.await.unwrap().unwrap());
            let found = compared(&*faulty, [&first, &generation], &store, &log).await;
            let t = &found.tables[0];
            assert_eq!(counts(t), wanted, "{found:?}");
            assert_eq!(found.differences(), wanted.iter().sum::<i64>());
            assert_eq!(t.samples.len() as i64, found.differences());
            assert!(t.samples[0].columns == columns || columns.is_empty(), "{:?}", t.samples);
            assert!(!format!("{:?}", t.samples).contains("p-"), "no patient in it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_compared_too() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let (memory, log, both) = rebuilt(&store).await;
        let execute = async |sql: &str| store.engine().execute(sql, &[]).await.unwrap();
        let compared = async || compared(&mot(), [&both[0], &both[1]], &store, &log).await;
        let found = compared().await;
        assert!(found.differences() == 0 && found.dead_letters.rows[0] > 4, "{found:?}");
        assert_eq!(found.dead_letters.rows[0], found.dead_letters.rows[1]);

        // Three letters of which one generation has none, one that it has for another reason, one that it has given up.
        let some = |g: i64, skip: usize, n: usize| {
            format!(
                "id IN (SELECT id FROM dead_letters WHERE generation = {g} AND parked_behind = 1 \
                 ORDER BY partition, log_offset LIMIT {n} OFFSET {skip})"
            )
        };
        assert_eq!(execute(&format!("DELETE FROM dead_letters WHERE {}", some(2, 0, 3))).await, 3);
        assert_eq!(execute(&format!("UPDATE dead_letters SET reason_code = 'x' WHERE {}", some(2, 0, 1))).await, 1);
        assert_eq!(execute(&format!("UPDATE dead_letters SET discarded_ms = 1 WHERE {}", some(1, 4, 1))).await, 1);
        let found = compared().await;
        assert_eq!((counts(&found.dead_letters), found.differences()), ([3, 1, 1], 5), "{found:?}");
        assert_eq!(found.dead_letters.samples.len(), 5);
        let differing = found.dead_letters.samples.iter().find(|s| s.what == "differs").unwrap();
        assert!(differing.columns == ["reason_code"] && differing.key_hash.len() > 8, "{differing:?}");
        // What only one has met yet is no difference.
        let last =
            "SELECT partition, log_offset FROM dead_letters WHERE generation = 2 ORDER BY log_offset DESC LIMIT 1";
        let last = &store.engine().query(last, &[]).await.unwrap()[0];
        let (partition, offset) = (last.int(0), last.int(1));
        let place = format!("generation = 2 AND partition = {partition}");
        execute(&format!("DELETE FROM dead_letters WHERE {place} AND log_offset = {offset}")).await;
        assert_eq!(counts(&compared().await.dead_letters), [4, 1, 1]);
        let end = memory.ends()[usize::try_from(partition).unwrap()];
        execute(&format!("UPDATE checkpoints SET next_offset = {offset} WHERE {place}")).await;
        assert_eq!(counts(&compared().await.dead_letters), [3, 1, 1]);
        execute(&format!("UPDATE checkpoints SET next_offset = {end} WHERE {place}")).await;
    }
}

/// The rows of a fold are what its states say, so that these have to be the same too.
#[tokio::test(flavor = "multi_thread")]
async fn states_are_compared_too() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 8).await.unwrap();
        let (_, log, both) = rebuilt(&store).await;
        let execute = async |sql: &str| store.engine().execute(sql, &[]).await.unwrap();
        let compared = async || compared(&mot(), [&both[0], &both[1]], &store, &log).await;
        execute("DELETE FROM dead_letters").await;
        // Another one, and many more than are looked at in one go.
        let swap = "UPDATE mot_state_g2 SET state = (SELECT state FROM mot_state_g1 WHERE patient_id = 'p-2') \
                    WHERE patient_id = 'p-1'";
        assert_eq!(execute(swap).await, 1);
        let found = compared().await;
        let states = found.tables.last().unwrap();
        assert_eq!((states.table, counts(states), found.differences()), ("state", [0, 0, 1], 1), "{found:?}");
        assert_eq!(states.samples[0].columns, ["state"]);
        for (g, of) in [(1, "p-1"), (2, "p-2")] {
            let many = format!(
                "INSERT INTO mot_state_g{g} (patient_id, partition, state) \
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                 SELECT 'q-' || CAST(i AS text), 0, \
                 (SELECT state FROM mot_state_g1 WHERE patient_id = '{of}') FROM n"
            );
            assert_eq!(execute(&many).await, 2_500);
        }
        execute("DELETE FROM mot_state_g1 WHERE patient_id = 'q-9'").await;
        let found = compared().await;
        assert_eq!(counts(found.tables.last().unwrap()), [0, 1, 2_500], "{found:?}");
        assert_eq!(found.tables.last().unwrap().samples.len(), 5);
        let by = async |same: bool, moving: &[String]| {
            let snapshot = store.snapshot("mot", [1, 2]).await.unwrap();
            let found = snapshot.compare(&both[0], &both[1], moving, &|_, _| same).await.unwrap();
            counts(found.tables.last().unwrap())
        };
        assert_eq!(by(true, &[]).await, [0, 1, 0], "written in another way, they say the same");
        assert_eq!(by(false, &["q-7".into(), "q-9".into(), "p-1".into()]).await, [0, 0, 2_498]);
    }
}
