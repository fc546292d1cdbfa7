//! Projection of a log that is already there, against writing the same rows ready-made, and against COPY of them.

use crate::process::Process;
use crate::{Bench, publish, rate, row};
use domain::table::Value;
use domain::views::View;
use std::time::{Duration, Instant};
use store::views::spec;
use store::{Durability, Generation, Store, ViewSpec};

/// Rows in one transaction of the limits, as in the projector.
const TRANSACTION: usize = 5_000;
/// Connections of the limits, as in the projector.
const WRITERS: usize = 2;

pub async fn run(bench: &Bench) {
    let lines = publish::events(bench.events);
    let file = bench.dir.path().join("events.ndjson");
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    println!("{} simulated events", lines.len());
    let kafka = format!("kafka://{}/bench-views?partitions=4&replication=1", bench.kafka);
    let sqlite = format!("sqlite:{}?partitions=4", bench.dir.path().join("views-log.db").display());
    // How often a row is written, by view; counted by PostgreSQL, and about the same on SQLite.
    let mut written = Vec::new();
    for (name, log) in [("Kafka -> PostgreSQL", kafka), ("SQLite -> SQLite", sqlite)] {
        let begun = Instant::now();
        let done = std::process::Command::new(crate::process::BINARY)
            .args(["--log", &log, "publish", file.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        row(&format!("{name}: journeylog publish"), rate(lines.len(), begun), "events/s", None);
        for (i, view) in View::ALL.into_iter().enumerate() {
            let known = written.get(i).copied();
            let times = one(bench, name, &log, view, known).await;
            if known.is_none() {
                written.push(times);
            }
        }
    }
}

/// A database of its own.
pub async fn database(bench: &Bench, name: &str) -> String {
    let admin = store::Engine::connect(&bench.postgres, 1).await.unwrap();
    admin.execute(&format!("DROP DATABASE IF EXISTS {name}"), &[]).await.unwrap();
    admin.execute(&format!("CREATE DATABASE {name}"), &[]).await.unwrap();
    let (base, query) =
        bench.postgres.split_once('?').map_or((bench.postgres.as_str(), String::new()), |(b, q)| (b, format!("?{q}")));
    format!("{}/{name}{query}", &base[..base.rfind('/').unwrap()])
}

async fn store_url(bench: &Bench, name: &str, what: &str) -> String {
    match name.ends_with("PostgreSQL") {
        true => database(bench, &format!("bench_{what}")).await,
        false => format!("sqlite:{}", bench.dir.path().join(format!("{what}.db")).display()),
    }
}

/// Measures one view; answers with how many rows were written for each that remains.
async fn one(bench: &Bench, name: &str, log: &str, view: View, written: Option<f64>) -> f64 {
    let store_at = store_url(bench, name, view.as_str()).await;
    let role = Process::journeylog(bench, log, &store_at, &["project", &view.as_str().replace('_', "-")]).await;
    let ends = eventlog::open(log, &Default::default()).await.unwrap().bounds().await.unwrap();
    let total: u64 = ends.iter().map(|b| b.1).sum();
    let store = Store::connect(&store_at, 2).await.unwrap();
    let taken = || async {
        let all = store.progress().await.unwrap();
        all.iter().flat_map(|v| &v.partitions).map(|p| p.next_offset).sum::<u64>()
    };
    // From the first commit on, so that starting and joining the group don't count.
    let mut first = 0;
    while first == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        first = taken().await;
    }
    let begun = Instant::now();
    while taken().await < total {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let projected = rate((total - first) as usize, begun);
    let peak = role.peak_mib();
    drop(role);

    let spec = spec(view);
    let (tables, generation) = rows(&store, spec).await;
    let all: usize = tables.iter().map(Vec::len).sum();
    let limit =
        ready_made(&store_url(bench, name, &format!("{}_limit", view.as_str())).await, spec, tables, total).await;
    let written = match written {
        Some(written) => written,
        None => row_writes(&store, &generation, spec).await / all as f64,
    };
    let what = format!("{name}: {} ({all} rows)", view.as_str());
    row(&what, projected, "events/s", Some(("rows that remain, ready-made", limit)));
    let what = format!("{name}: {}, each row written {written:.1} times", view.as_str());
    row(&what, projected, "events/s", Some(("as many rows as were written", limit / written)));
    row(&format!("{name}: {}, peak memory", view.as_str()), peak, "MiB", None);
    if name.ends_with("PostgreSQL") {
        let copied = copy(&store, &generation, spec.tables.len(), total).await;
        row(&format!("{name}: {}", view.as_str()), projected, "events/s", Some(("COPY of its rows with keys", copied)));
    }
    written
}

/// Rows that PostgreSQL has inserted, changed and deleted in a view's tables.
async fn row_writes(store: &Store, generation: &Generation, spec: ViewSpec) -> f64 {
    // A connection reports its counts when it ends, or after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let targets = (0..spec.tables.len()).map(|i| generation.target(i)).chain(generation.state());
    let names: Vec<String> = targets.map(|t| format!("'{}'", t.table)).collect();
    let sql = format!(
        "SELECT CAST(sum(n_tup_ins + n_tup_upd + n_tup_del) AS bigint) FROM pg_stat_user_tables WHERE relname IN ({})",
        names.join(", ")
    );
    store.engine().query(&sql, &[]).await.unwrap()[0].int(0) as f64
}

/// All rows of a view, its state included.
async fn rows(store: &Store, spec: ViewSpec) -> (Vec<Vec<Vec<Value>>>, Generation) {
    let generation = store.ensure_view(spec, "{}").await.unwrap();
    let mut tables = Vec::new();
    let targets = (0..spec.tables.len()).map(|i| generation.target(i)).chain(generation.state());
    for t in targets {
        let columns: Vec<&str> = t.columns.iter().map(|c| c.0).collect();
        let found =
            store.engine().query(&format!("SELECT {} FROM {}", columns.join(", "), t.table), &[]).await.unwrap();
        tables.push(found.into_iter().map(|r| r.0).collect());
    }
    (tables, generation)
}

/// Events a second if their rows fell from the sky: the same writes in transactions of the same size.
async fn ready_made(url: &str, spec: ViewSpec, tables: Vec<Vec<Vec<Value>>>, events: u64) -> f64 {
    let store = Store::connect(url, 4).await.unwrap();
    let generation = store.ensure_view(spec, "{}").await.unwrap();
    let mut shares: Vec<Vec<(usize, Vec<Vec<Value>>)>> = vec![Vec::new(); WRITERS];
    for (i, rows) in tables.into_iter().enumerate() {
        let each = rows.len().div_ceil(WRITERS).max(1);
        for (w, share) in rows.chunks(each).enumerate() {
            shares[w].push((i, share.to_vec()));
        }
    }
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for share in shares {
        let (store, generation) = (store.clone(), generation.clone());
        tasks.spawn(async move {
            for (i, rows) in share {
                for chunk in rows.chunks(TRANSACTION) {
                    let target = if i < spec.tables.len() { generation.target(i) } else { generation.state().unwrap() };
                    let mut tx = store.begin(Durability::FromLog).await.unwrap();
                    let refs: Vec<&[Value]> = chunk.iter().map(Vec::as_slice).collect();
                    tx.upsert(target, &refs).await.unwrap();
                    tx.commit().await.unwrap();
                }
            }
        });
    }
    while let Some(t) = tasks.join_next().await {
        t.unwrap();
    }
    events as f64 / begun.elapsed().as_secs_f64()
}

/// Events a second if COPY wrote their rows into tables with the same keys and indexes.
async fn copy(store: &Store, generation: &Generation, tables: usize, events: u64) -> f64 {
    let engine = store.engine();
    let mut took = Duration::ZERO;
    let tables = (0..tables).map(|i| generation.target(i).table.to_owned());
    for table in tables.chain(generation.state().map(|t| t.table.to_owned())) {
        let file = format!("/tmp/journeylog-bench-{}.copy", std::process::id());
        engine.execute(&format!("COPY {table} TO '{file}' (FORMAT binary)"), &[]).await.unwrap();
        engine.execute(&format!("CREATE TABLE copied_{table} (LIKE {table} INCLUDING ALL)"), &[]).await.unwrap();
        let begun = Instant::now();
        engine.execute(&format!("COPY copied_{table} FROM '{file}' (FORMAT binary)"), &[]).await.unwrap();
        took += begun.elapsed();
        let _ = std::fs::remove_file(&file);
    }
    events as f64 / took.as_secs_f64()
}
