//! The store's contract: generations, checkpoints, dead letters, on each engine there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use domain::table::{Table, Type};
use journeylog_store::{Advance, Durability, Ended, Engine, NewDeadLetter, NewOperation, State, Store, ViewSpec};

const SPEC: ViewSpec = ViewSpec {
    name: "toy",
    version: 1,
    tables: &[Table {
        name: "toys",
        columns: &[("patient_id", Type::Text), ("n", Type::Int)],
        key: 1,
        indexes: &[&["n"], &["n", "patient_id"]],
    }],
    state: true,
};

const fn step(partition: u32, expected: u64, next: u64) -> Advance {
    Advance { partition, expected, next, appended_ms: 77, last_hash: 5 }
}

#[tokio::test]
async fn several_processes_start_at_once() {
    for db in common::all().await {
        let start = || async {
            let store = Store::connect(&db.url, 2).await.unwrap();
            store.ensure_view(SPEC, "{}").await.unwrap().number
        };
        let (a, b, c, d) = tokio::join!(start(), start(), start(), start());
        assert_eq!([a, b, c, d], [1; 4]);
        let store = Store::connect(&db.url, 2).await.unwrap();
        let all = store.generations(None).await.unwrap();
        assert_eq!(
            all.iter().map(|g| (g.number, g.active, g.state)).collect::<Vec<_>>(),
            [(1, true, State::Following)]
        );
        assert!(store.generations(Some("none")).await.unwrap().is_empty());
        // The reader's view shows what is written to the active generation.
        let generation = store.ensure_view(SPEC, "{}").await.unwrap();
        let mut tx = store.begin(Durability::FromLog).await.unwrap();
        tx.upsert(generation.target(0), &[&["p".into(), 1.into()]]).await.unwrap();
        tx.upsert(generation.state().unwrap(), &[&["p".into(), 0.into(), vec![1_u8].into()]]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.engine().query("SELECT n FROM toys", &[]).await.unwrap()[0].int(0), 1);
        assert_eq!(store.engine().query("SELECT state FROM toy_state", &[]).await.unwrap()[0].bytes(0), [1]);
        for other in [ViewSpec { tables: &[], ..SPEC }, ViewSpec { version: 2, ..SPEC }] {
            assert!(store.ensure_view(other, "{}").await.unwrap_err().to_string().contains("rebuilt"));
        }
    }
}

#[tokio::test]
async fn checkpoints_are_compare_and_set() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        store.ensure_view(SPEC, "{}").await.unwrap();
        store.start("toy", 1, &[0, 3]).await.unwrap();
        let mut tx = store.begin(Durability::FromLog).await.unwrap();
        let moved = tx.advance("toy", 1, &[step(0, 0, 5), step(1, 0, 5), step(3, 0, 9)]).await.unwrap();
        assert_eq!(moved.into_keys().collect::<Vec<_>>(), [0, 3]);
        tx.commit().await.unwrap();
        let mut tx = store.begin(Durability::FromLog).await.unwrap();
        let moved = tx.advance("toy", 1, &[step(0, 0, 6), step(3, 9, 10)]).await.unwrap();
        assert_eq!(moved.into_keys().collect::<Vec<_>>(), [3]);
        tx.rollback().await.unwrap();
        store.start("toy", 1, &[3, 0, 1]).await.unwrap();
        store.pause("toy", true).await.unwrap();
        let status = store.progress().await.unwrap();
        assert_eq!(status.len(), 1);
        let g = &status[0].generation;
        assert_eq!((g.view.as_str(), g.number, g.active, status[0].dead_letters), ("toy", 1, true, 0));
        assert!(status[0].paused_since.is_some_and(|ms| ms > 0));
        let at: Vec<_> = status[0].partitions.iter().map(|p| (p.partition, p.next_offset, p.appended_ms)).collect();
        assert_eq!(at, [(0, 5, 77), (1, 0, 0), (3, 9, 77)]);
        assert!(status[0].partitions[0].updated_at > 0);
    }
}

fn letter(offset: u64, key: &[u8], parks: bool, parked_behind: bool) -> NewDeadLetter {
    NewDeadLetter {
        partition: 2,
        offset,
        event_type: None,
        source: None,
        code: "undecodable",
        reason: "not a Confluent frame".into(),
        parked_behind,
        parks,
        key: key.to_vec(),
        value: b"\x01secret".to_vec(),
        headers: vec![("traceparent".into(), b"00-1".to_vec()), ("bin".into(), vec![255, 0])],
        appended_ms: 5,
    }
}

#[tokio::test]
async fn dead_letters_park_and_are_listed_without_patient_data() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let generation = store.ensure_view(SPEC, "{}").await.unwrap();
        store.start("toy", 1, &[2]).await.unwrap();
        let letters = [
            letter(7, b"patient-1", true, false),
            letter(8, b"patient-1", true, true),
            letter(9, b"patient-2", false, false),
            letter(10, b"", false, false),
        ];
        let mut tx = store.begin(Durability::FromLog).await.unwrap();
        assert_eq!(tx.advance("toy", 1, &[step(2, 0, 11)]).await.unwrap()[&2], 0);
        tx.bury(&generation, &letters).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin(Durability::FromLog).await.unwrap();
        assert_eq!(tx.advance("toy", 1, &[step(2, 11, 12)]).await.unwrap()[&2], 1);
        let parked = tx.parked(&generation, 2).await.unwrap();
        assert_eq!(parked.into_iter().collect::<Vec<_>>(), [b"patient-1".to_vec()]);
        drop(tx);
        let page = store.dead_letters(Some("toy"), None, 3).await.unwrap();
        assert_eq!(page.iter().map(|l| l.offset).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(page[0].key_hash, page[1].key_hash);
        assert!(!page[0].parked_behind && page[1].parked_behind);
        let shown = serde_json::to_string(&page).unwrap();
        assert!(!shown.contains("patient-1") && !shown.contains("secret"));
        let rest = store.dead_letters(None, Some(&page[2].id), 3).await.unwrap();
        assert_eq!(rest.iter().map(|l| l.offset).collect::<Vec<_>>(), [10]);
        assert!(store.dead_letters(Some("mot"), None, 9).await.unwrap().is_empty());
        let full = store.dead_letter(&page[0].id).await.unwrap().unwrap();
        assert_eq!(
            (full.key, full.value, full.headers),
            (letters[0].key.clone(), letters[0].value.clone(), letters[0].headers.clone())
        );
        assert!(store.dead_letter("toy.1.2.99").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn operations_are_written_down_with_their_result() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 2).await.unwrap();
        let new = NewOperation {
            operator: "kim",
            operation: "pause",
            view: Some("toy"),
            reason: Some("disk is full"),
            detail: "{}".into(),
            ..NewOperation::default()
        };
        let first = store.operation_begins(&new).await.unwrap();
        let second = store.operation_begins(&NewOperation { view: None, ..new }).await.unwrap();
        store.operation_ends(&first, Ended::Done, Some(2), r#"{"changed":true}"#).await.unwrap();
        let all = store.operations(None, 10).await.unwrap();
        assert_eq!(all.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(), [second.as_str(), first.as_str()]);
        assert_eq!((all[0].outcome.as_deref(), all[0].ended_ms), (None, None), "it still runs");
        assert_eq!((all[1].outcome.as_deref(), all[1].generation), (Some("done"), Some(2)));
        assert_eq!(
            (all[1].reason.as_deref(), all[1].result.as_deref()),
            (Some("disk is full"), Some(r#"{"changed":true}"#))
        );
        assert_eq!(store.operations(Some("toy"), 10).await.unwrap().len(), 1);
    }
}

/// An index that is being made is given up at once, not made to its end first.
#[tokio::test(flavor = "multi_thread")]
async fn the_making_of_an_index_is_given_up() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let g = store.add_generation(SPEC, State::Building, "{}").await.unwrap();
        let fill = "INSERT INTO toys_g1 (patient_id, n) \
                    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600000) \
                    SELECT CAST((CAST(i AS bigint) * 7919) % 600011 AS text) || 'x', i FROM n";
        store.engine().execute(fill, &[]).await.unwrap();
        let soon = tokio::time::sleep(std::time::Duration::from_millis(30));
        assert!(!store.build_indexes(&g, soon).await.unwrap());
        let sql = match store.engine().is_postgres() {
            true => "SELECT count(*) FROM pg_indexes WHERE tablename = 'toys_g1'",
            false => "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'toys_g1'",
        };
        assert_eq!(store.engine().query(sql, &[]).await.unwrap()[0].int(0), 0, "it was made to its end");
        assert!(store.build_indexes(&g, std::future::pending()).await.unwrap());
        assert!(store.engine().query(sql, &[]).await.unwrap()[0].int(0) > 0);
    }
}

/// A statement that PostgreSQL ends by itself is not one that was told to: the generation would be finished without its key.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_takes_too_long_is_an_error() {
    let Some(db) = common::postgres().await else { return };
    let store = Store::connect(&db.url, 2).await.unwrap();
    let g = store.add_generation(SPEC, State::Building, "{}").await.unwrap();
    let fill = "INSERT INTO toys_g1 (patient_id, n) \
                SELECT CAST((CAST(i AS bigint) * 7919) % 600011 AS text) || 'x', i FROM generate_series(1, 600000) i";
    store.engine().execute(fill, &[]).await.unwrap();
    // On both of the pool's connections.
    let limit = async |limit: &str| {
        let (mut a, mut b) =
            (store.begin(Durability::FromLog).await.unwrap(), store.begin(Durability::FromLog).await.unwrap());
        for tx in [&mut a, &mut b] {
            tx.execute(&format!("SET statement_timeout = '{limit}'"), &[]).await.unwrap();
        }
        a.commit().await.unwrap();
        b.commit().await.unwrap();
    };
    limit("50 ms").await;
    let ended = store.build_indexes(&g, std::future::pending()).await;
    assert_eq!(ended.as_ref().map_err(|e| e.code()), Err(Some("57014".to_owned())), "{ended:?}");
    limit("0").await;
    assert!(store.build_indexes(&g, std::future::pending()).await.unwrap());
    let sql = "SELECT count(*) FROM pg_indexes WHERE tablename = 'toys_g1'";
    assert_eq!(store.engine().query(sql, &[]).await.unwrap()[0].int(0), 3);
}

/// A process that sleeps in the middle of a transaction doesn't hold up the others for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_sleeps_is_ended() {
    let Some(db) = common::postgres().await else { return };
    let limit = async |store: &Store| {
        store.engine().query("SHOW idle_in_transaction_session_timeout", &[]).await.unwrap()[0].text(0).to_owned()
    };
    let store = Store::connect(&db.url, 2).await.unwrap();
    assert_eq!(limit(&store).await, "30s");
    // The operator's own limit stays.
    let sleeper = format!("{}?options=-c%20idle_in_transaction_session_timeout=300", db.url);
    let sleeper = Store::connect(&sleeper, 1).await.unwrap();
    assert_eq!(limit(&sleeper).await, "300ms");

    store.ensure_view(SPEC, "{}").await.unwrap();
    store.start("toy", 1, &[0]).await.unwrap();
    let mut asleep = sleeper.begin(Durability::FromLog).await.unwrap();
    assert_eq!(asleep.advance("toy", 1, &[step(0, 0, 5)]).await.unwrap().len(), 1);
    // Waits until the sleeper's transaction is gone.
    let mut tx = store.begin(Durability::FromLog).await.unwrap();
    assert_eq!(tx.advance("toy", 1, &[step(0, 0, 3)]).await.unwrap().len(), 1);
    tx.commit().await.unwrap();
    let woken = asleep.advance("toy", 1, &[step(0, 5, 7)]).await.unwrap_err();
    assert!(woken.is_transient(), "{woken:?}");
    assert_eq!(store.checkpoints("toy", 1).await.unwrap()[0].next_offset, 3);
}

/// What a plan says a rebuild takes on disk: a table with its indexes.
#[tokio::test]
async fn the_disk_that_a_table_takes_is_known() {
    const BYTES: u64 = 2_000_000;
    for db in common::all().await {
        let store = Store::connect(&db.url, 4).await.unwrap();
        let g = store.add_generation(SPEC, State::Building, "{}").await.unwrap();
        assert!(store.engine().disk_bytes("toys_g1").await.unwrap() < 20_000);
        assert_eq!(store.engine().disk_bytes("nothing").await.unwrap(), 0);
        let fill = format!(
            "INSERT INTO toys_g1 (patient_id, n) \
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             SELECT CAST(10000 + i AS text) || '{}', i FROM n",
            BYTES / 200,
            "x".repeat(195)
        );
        store.engine().execute(&fill, &[]).await.unwrap();
        let rows = store.engine().disk_bytes("toys_g1").await.unwrap();
        assert!((BYTES..2 * BYTES).contains(&rows), "{rows}");
        assert!(store.build_indexes(&g, std::future::pending()).await.unwrap());
        let with_index = store.engine().disk_bytes("toys_g1").await.unwrap();
        // Two of its three indexes hold the long text too.
        assert!((rows + 2 * BYTES..5 * rows).contains(&with_index), "{rows} {with_index}");
    }
}

#[tokio::test]
async fn a_reader_may_ask_for_a_generation() {
    for db in common::all().await {
        let store = Store::connect(&db.url, 2).await.unwrap();
        let first = store.ensure_view(SPEC, "{}").await.unwrap();
        let second = store.add_generation(SPEC, State::Frozen, "{}").await.unwrap();
        for (g, n) in [(&first, 1), (&second, 2)] {
            let mut tx = store.begin(Durability::FromLog).await.unwrap();
            tx.upsert(g.target(0), &[&["toys".into(), n.into()]]).await.unwrap();
            tx.commit().await.unwrap();
        }
        // A longer name is another one.
        let sql = "SELECT toys.n, 'toys_x' FROM toys WHERE patient_id = $1";
        for (engine, n) in [(store.engine().clone(), 1), (store.engine().reading(&second), 2)] {
            let rows = engine.query(sql, &["toys".into()]).await.unwrap();
            assert_eq!((rows[0].int(0), rows[0].text(1)), (n, "toys_x"));
        }
    }
}

/// A store of before generations had their tables listed: the timeline goes on, and what is dropped is gone.
#[tokio::test]
async fn an_older_store_is_taken_over() {
    const OLD: [(i64, &str, &str); 2] = [
        (1, "spine", include_str!("../migrations/0001_spine.sql")),
        (2, "follow_up_requests", include_str!("../migrations/0002_follow_up_requests.sql")),
    ];
    for db in common::all().await {
        let engine = Engine::connect(&db.url, 2).await.unwrap();
        let mut tx = engine.begin(Durability::Full).await.unwrap();
        let sql = "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
                   applied_ms bigint NOT NULL)";
        tx.execute(sql, &[]).await.unwrap();
        for (version, name, text) in OLD {
            tx.batch(text).await.unwrap();
            let checksum = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
            let args = [version.into(), name.into(), checksum.into(), 0.into()];
            tx.execute("INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)", &args).await.unwrap();
        }
        tx.execute("CREATE TABLE patient_links_g1 (patient_id text)", &[]).await.unwrap();
        let sql =
            "INSERT INTO generations (view, generation, active, shape, created_ms) VALUES ('timeline', 1, 0, 'x', 0)";
        tx.execute(sql, &[]).await.unwrap();
        tx.commit().await.unwrap();
        let store = Store::connect(&db.url, 2).await.unwrap();
        let shape = store.engine().query("SELECT shape FROM generations", &[]).await.unwrap();
        assert_eq!(shape[0].text(0), "x.1");
        store.drop_generation("timeline", 1).await.unwrap();
        assert!(store.engine().query("SELECT * FROM patient_links_g1", &[]).await.is_err(), "its table is left");
        // What is dropped gets no checkpoints again.
        store.start("timeline", 1, &[0]).await.unwrap();
        assert!(store.checkpoints("timeline", 1).await.unwrap().is_empty());
    }
}

/// States are written anew with each batch: PostgreSQL's default compression took two fifths of its processor time.
#[tokio::test]
async fn states_are_compressed_lightly() {
    let Some(db) = common::postgres().await else { return };
    let store = Store::connect(&db.url, 2).await.unwrap();
    store.ensure_view(SPEC, "{}").await.unwrap();
    let sql = "SELECT CAST(attcompression AS text) FROM pg_attribute \
               WHERE attrelid = to_regclass('toy_state_g1') AND attname = 'state'";
    let lz4 = "SELECT name FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)";
    let known = !store.engine().query(lz4, &[]).await.unwrap().is_empty();
    assert_eq!(store.engine().query(sql, &[]).await.unwrap()[0].text(0), if known { "l" } else { "" });
}
