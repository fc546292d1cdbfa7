//! The contract of both engines: the same statements, the same rows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use domain::table::{Type, Value};
use journeylog_store::{Durability, Engine, Target};

const COLUMNS: &[(&str, Type)] = &[
    ("k", Type::Text),
    ("n", Type::Int),
    ("t", Type::Text),
    ("f", Type::Float),
    ("b", Type::Bytes),
    ("j", Type::Json),
];
const TARGET: Target<'_> = Target { table: "t1", columns: COLUMNS, key: 2 };

async fn table(engine: &Engine) {
    let columns: Vec<_> = COLUMNS.iter().map(|(c, t)| format!("{c} {}", engine.type_name(*t))).collect();
    engine.execute(&format!("CREATE TABLE t1 ({}, PRIMARY KEY (k, n))", columns.join(", ")), &[]).await.unwrap();
}

fn row(k: &str, n: i64, t: Option<&str>) -> Vec<Value> {
    let f = if n % 2 == 0 { Value::Float(0.5) } else { Value::Null };
    vec![k.into(), n.into(), t.into(), f, Value::Bytes(vec![0, 255]), "{\"a\": 1}".into()]
}

fn refs(rows: &[Vec<Value>]) -> Vec<&[Value]> {
    rows.iter().map(Vec::as_slice).collect()
}

#[tokio::test]
async fn values_come_back_as_they_were() {
    for db in common::all().await {
        let engine = Engine::connect(&db.url, 4).await.unwrap();
        table(&engine).await;
        for r in [row("a", 1, None), row("a", 2, Some("x")), row("ㄱ", 3, None)] {
            let done = engine.execute("INSERT INTO t1 VALUES ($1, $2, $3, $4, $5, $6)", &r).await.unwrap();
            assert_eq!(done, 1);
            let back = engine.query("SELECT * FROM t1 WHERE k = $1 AND n = $2", &r[..2]).await.unwrap();
            assert_eq!(back.len(), 1);
            assert_eq!(back[0].0, r);
        }
        let sums = "SELECT SUM(n), COUNT(*), MAX(n) > 2, AVG(n), CAST($1 AS bigint) IS NULL FROM t1";
        let sums = engine.query(sums, &[Value::Null]).await.unwrap();
        let v = &sums[0];
        assert_eq!((v.int(0), v.int(1), v.int(2), v.opt_float(3), v.int(4)), (6, 3, 1, Some(2.0), 1));
        let none = engine.query("SELECT k FROM t1 WHERE t = $1", &[Value::Null]).await.unwrap();
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn bulk_writes() {
    for db in common::all().await {
        let engine = Engine::connect(&db.url, 4).await.unwrap();
        table(&engine).await;
        let rows: Vec<_> = (0..1000).map(|n| row("a", n, (n % 3 == 0).then_some("x"))).collect();
        let mut tx = engine.begin(Durability::FromLog).await.unwrap();
        assert_eq!(tx.upsert(TARGET, &refs(&rows)).await.unwrap(), 1000);
        assert_eq!(tx.insert_ignore(TARGET, &refs(&rows[..10])).await.unwrap(), 0);
        let twice = [row("b", 1, Some("first")), row("b", 1, Some("second"))];
        assert_eq!(tx.insert_ignore(TARGET, &refs(&twice)).await.unwrap(), 1);
        let keys: Vec<_> = (500..1000).map(|n| row("a", n, None)[..2].to_vec()).collect();
        assert_eq!(tx.delete(TARGET, &refs(&keys)).await.unwrap(), 500);
        tx.upsert(TARGET, &refs(&[row("a", 1, Some("new"))])).await.unwrap();
        let found = tx.select(TARGET, &["b", "nobody"]).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, twice[0]);
        let by_key = tx.select_keys(TARGET, &refs(&rows[5..10])).await.unwrap();
        assert_eq!(by_key.len(), 5);
        tx.commit().await.unwrap();
        let back = engine.query("SELECT * FROM t1 WHERE k = 'a' ORDER BY n", &[]).await.unwrap();
        assert_eq!(back.len(), 500);
        assert_eq!(back[1].text(2), "new");
        assert_eq!(back[499].0, rows[499]);
        // Neither a dropped nor a rolled back transaction leaves anything behind.
        let mut tx = engine.begin(Durability::Full).await.unwrap();
        tx.execute("DELETE FROM t1", &[]).await.unwrap();
        drop(tx);
        let mut tx = engine.begin(Durability::FromLog).await.unwrap();
        tx.execute("DELETE FROM t1", &[]).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(engine.query("SELECT count(*) FROM t1", &[]).await.unwrap()[0].int(0), 501);
    }
}

#[tokio::test]
async fn errors_are_sorted() {
    for db in common::all().await {
        let engine = Engine::connect(&db.url, 4).await.unwrap();
        let wrong = engine.query("SELECT nothing FROM nowhere", &[]).await.unwrap_err();
        assert!(!wrong.is_transient());
    }
    let nobody = Engine::connect("postgres://nobody@127.0.0.1:1/none", 1).await.unwrap_err();
    assert!(nobody.is_transient());
    assert!(!Engine::connect("mysql://x", 1).await.unwrap_err().is_transient());
}

/// SQLite rolls back by itself when the disk is full, which its driver doesn't know.
#[tokio::test]
async fn what_a_full_disk_refused_is_taken_once_there_is_room() {
    let db = common::sqlite();
    let engine = Engine::connect(&db.url, 1).await.unwrap();
    table(&engine).await;
    // of this connection alone
    let limit = engine.query("PRAGMA max_page_count = 16", &[]).await.unwrap();
    assert_eq!(limit[0].int(0), 16);
    let mut tx = engine.begin(Durability::Full).await.unwrap();
    let large = row("a", 1, Some(&"x".repeat(100_000)));
    let full = tx.upsert(TARGET, &refs(std::slice::from_ref(&large))).await.unwrap_err();
    assert!(full.is_full() && full.is_transient(), "{full}");
    drop(tx);
    let mut tx = engine.begin(Durability::Full).await.unwrap();
    tx.upsert(TARGET, &refs(&[large])).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(engine.query("SELECT count(*) FROM t1", &[]).await.unwrap()[0].int(0), 1);
}
