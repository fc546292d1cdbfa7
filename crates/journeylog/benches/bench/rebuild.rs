//! Rebuilding each view, at several lengths of the log: against COPY of the same rows into tables without keys plus the making of
//! their keys and indexes, and against the live rate. `REBUILD_EVENTS` sets the lengths.

use crate::process::{BINARY, Process};
use crate::{Bench, rate, row, views};
use domain::views::View;
use serde_json::Value as Json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Generation, Store};

/// Lengths of the log, events, one after the other.
const EVENTS: &str = "500000,1000000,2000000,4000000";
/// Events that a simulated patient has in 60 days, about.
const EVENTS_PER_PATIENT: usize = 30;
/// The length at which COPY and the live rate are measured, if it is among them; else the first.
const COMPARED: usize = 2_000_000;
/// How often a process's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub async fn run(bench: &Bench) {
    let lengths = std::env::var("REBUILD_EVENTS").unwrap_or_else(|_| EVENTS.to_owned());
    let lengths: Vec<usize> = lengths.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let compared = *lengths.iter().find(|n| **n == COMPARED).unwrap_or(&lengths[0]);
    let log = format!("kafka://{}/bench-rebuild?partitions=4&replication=1", bench.kafka);
    let store_at = views::database(bench, "bench_rebuild").await;
    let store = Store::connect(&store_at, 4).await.unwrap();
    for view in View::ALL {
        store.ensure_view(store::views::spec(view), "{}").await.unwrap();
    }
    for (seed, length) in (1..).zip(lengths) {
        let has = events(&log).await;
        publish(&log, length.saturating_sub(has), seed);
        let has = events(&log).await;
        for view in View::ALL {
            let (done, peak) = rebuild(&log, &store_at, view);
            let folded = done["events"].as_f64().unwrap() / done["seconds"].as_f64().unwrap();
            let number = done["generation"].as_i64().unwrap();
            let name = format!("rebuild {} of {has} events", view.as_str());
            if length == compared {
                let generation = store.generation(store::views::spec(view), number).await.unwrap();
                let limit = has as f64 / copy(&store, &generation).await.as_secs_f64();
                row(&name, folded, "events/s", Some(("COPY of its rows, then keys", limit)));
            } else {
                row(&name, folded, "events/s", None);
            }
            row(&format!("{name}: {} s, peak memory", done["seconds"].as_f64().unwrap().round()), peak, "MiB", None);
            // Autovacuum may be looking at the tables.
            while let Err(e) = store.drop_generation(view.as_str(), number).await {
                assert!(e.is_transient(), "{e}");
            }
        }
        if length == compared {
            for view in View::ALL {
                let live = live(bench, &log, view, has).await;
                row(&format!("live {} of the first of {has} events", view.as_str()), live, "events/s", None);
            }
        }
    }
}

async fn events(log: &str) -> usize {
    let bounds = eventlog::open(log, &Default::default()).await.unwrap().bounds().await.unwrap();
    usize::try_from(bounds.iter().map(|b| b.1).sum::<u64>()).unwrap()
}

/// Publishes about so many events, of patients of their own.
fn publish(log: &str, count: usize, seed: u64) {
    let patients = (count / EVENTS_PER_PATIENT).max(1).to_string();
    let mut simulate = Command::new(BINARY)
        .args(["simulate", "--days", "60", "--patients", &patients, "--seed", &seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let done = Command::new(BINARY)
        .args(["--log", log, "publish", "-"])
        .stdin(simulate.stdout.take().unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(done.success() && simulate.wait().unwrap().success());
}

/// What `journeylog rebuild` says at its end, and its peak memory, MiB.
fn rebuild(log: &str, store: &str, view: View) -> (Json, f64) {
    let view = view.as_str().replace('_', "-");
    let mut child = Command::new(BINARY)
        .args(["--log", log, "--store", store, "rebuild", &view, "--json", "--no-switch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let last = std::thread::spawn(move || std::io::BufRead::lines(out).map_while(Result::ok).last());
    let mut peak = 0.0_f64;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(crate::process::peak_mib(child.id()));
        std::thread::sleep(LOOK_EVERY);
    }
    let last = last.join().unwrap().expect("rebuild said nothing");
    (serde_json::from_str(&last).unwrap(), peak)
}

/// How long COPY takes for the rows of a generation into tables without keys, and the making of the same indexes.
async fn copy(store: &Store, generation: &Generation) -> Duration {
    let engine = store.engine();
    let mut took = Duration::ZERO;
    for table in generation.targets().map(|t| t.table.to_owned()) {
        let file = format!("/tmp/journeylog-bench-{}.copy", std::process::id());
        engine.execute(&format!("COPY {table} TO '{file}' (FORMAT binary)"), &[]).await.unwrap();
        engine.execute(&format!("CREATE TABLE copied_{table} (LIKE {table})"), &[]).await.unwrap();
        let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = $1";
        let indexes = engine.query(indexes, &[table.as_str().into()]).await.unwrap();
        let begun = Instant::now();
        engine.execute(&format!("COPY copied_{table} FROM '{file}' (FORMAT binary)"), &[]).await.unwrap();
        for index in indexes {
            engine.execute(&index.text(0).replace(&table, &format!("copied_{table}")), &[]).await.unwrap();
        }
        took += begun.elapsed();
        let _ = std::fs::remove_file(&file);
        engine.execute(&format!("DROP TABLE copied_{table}"), &[]).await.unwrap();
    }
    took
}

/// Events a second of the live projector, over its first 300,000.
async fn live(bench: &Bench, log: &str, view: View, has: usize) -> f64 {
    let store_at = views::database(bench, &format!("bench_rebuild_{}", view.as_str())).await;
    let _role = Process::journeylog(bench, log, &store_at, &["project", &view.as_str().replace('_', "-")]).await;
    let store = Store::connect(&store_at, 2).await.unwrap();
    let taken = || async {
        let all = store.checkpoints(view.as_str(), 1).await.unwrap();
        usize::try_from(all.iter().map(|p| p.next_offset).sum::<u64>()).unwrap()
    };
    let mut first = 0;
    while first == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        first = taken().await;
    }
    let (begun, until) = (Instant::now(), has.min(first + 300_000));
    let mut now = first;
    while now < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
        now = taken().await;
    }
    rate(now - first, begun)
}
