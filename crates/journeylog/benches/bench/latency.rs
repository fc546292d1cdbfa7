//! From the moment a POST leaves to the moment a timeline shows its event, at a steady rate.

use crate::http::Connection;
use crate::process::Process;
use crate::{Bench, publish, row};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Events a second besides the probes, and how they are sent.
const RATE: usize = 5_000;
const BATCH: usize = 50;
const SENDERS: usize = 4;
/// Time between probes.
const PROBE_EVERY: Duration = Duration::from_millis(25);

pub async fn run(bench: &Bench) {
    let seconds = bench.seconds.as_secs() as usize + 4;
    let lines = Arc::new(publish::events(RATE * seconds + 1000));
    assert!(lines.len() >= RATE * seconds, "{} simulated events are too few", lines.len());
    for (name, log, store) in [
        (
            "Kafka + PostgreSQL",
            format!("kafka://{}/bench-latency?partitions=4&replication=1", bench.kafka),
            crate::views::database(bench, "bench_latency").await,
        ),
        (
            "SQLite, one process",
            format!("sqlite:{}?partitions=4", bench.dir.path().join("latency.db").display()),
            format!("sqlite:{}", bench.dir.path().join("latency-views.db").display()),
        ),
    ] {
        let mut roles = Vec::new();
        let commands: &[&[&str]] = match name.starts_with("Kafka") {
            true => {
                &[&["ingest"], &["query"], &["project", "timeline"], &["project", "mot"], &["project", "follow-ups"]]
            }
            false => &[&["all"]],
        };
        for c in commands {
            roles.push(Process::journeylog(bench, &log, &store, c).await);
        }
        let (write, read) = (roles[0].listen.clone(), roles[1.min(roles.len() - 1)].listen.clone());
        let sent = Arc::new(AtomicUsize::new(0));
        let mut load = tokio::task::JoinSet::new();
        for first in 0..SENDERS {
            load.spawn(steady(write.clone(), lines.clone(), first, sent.clone()));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (before, begun) = (sent.load(Ordering::Relaxed), Instant::now());
        let mut took = probe(&write, &read, bench.seconds).await;
        let rate = crate::rate(sent.load(Ordering::Relaxed) - before, begun);
        if let Some(ended) = load.try_join_next() {
            panic!("the load ended before the probes: {ended:?}");
        }
        load.shutdown().await;
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!(
            "{name}: publish to readable at {rate:.0} events/s: p50 {:.1} ms, p99 {:.1} ms ({} probes)",
            at(0.5),
            at(0.99),
            took.len()
        );
        for (role, c) in roles.iter().zip(commands) {
            row(&format!("  {}, peak memory", c.join(" ")), role.peak_mib(), "MiB", None);
        }
    }
}

/// Sends every so many-th batch on time; a batch that is late doesn't hold up those of other senders.
async fn steady(address: String, lines: Arc<Vec<Vec<u8>>>, first: usize, sent: Arc<AtomicUsize>) {
    let mut connection = Connection::open(&address).await;
    let every = Duration::from_secs_f64(BATCH as f64 / RATE as f64);
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every * first as u32, every * SENDERS as u32);
    for batch in lines.chunks(BATCH).skip(first).step_by(SENDERS) {
        tick.tick().await;
        let body = [b"[", batch.join(&b","[..]).as_slice(), b"]"].concat();
        let status = connection.post("/v1/events", &body).await;
        assert_eq!(status, 200, "a batch of the load was refused");
        sent.fetch_add(batch.len(), Ordering::Relaxed);
    }
}

async fn probe(write: &str, read: &str, lasts: Duration) -> Vec<Duration> {
    let (mut writer, mut reader) = (Connection::open(write).await, Connection::open(read).await);
    let (mut took, begun) = (Vec::new(), Instant::now());
    let mut tick = tokio::time::interval(PROBE_EVERY);
    while begun.elapsed() < lasts {
        tick.tick().await;
        let (patient, id) = (format!("p-{}", &uuid::Uuid::new_v4().simple().to_string()[..16]), uuid::Uuid::now_v7());
        let body = format!(
            "{{\"type\":\"PatientCheckedIn\",\"header\":{{\"event_id\":\"{id}\",\"occurred_at\":\"2026-01-05T09:00:00Z\",\
             \"recorded_at\":\"2026-01-05T09:00:00Z\",\"zone\":\"Asia/Seoul\",\"source\":{{\"system\":\"bench\"}},\"patient_id\":\"{patient}\"}}}}"
        );
        let sent = Instant::now();
        let (status, answer) = writer.post_read("/v1/events", body.as_bytes()).await;
        assert_eq!(status, 201);
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let at = answer["position"].as_str().unwrap();
        let (status, _) = reader.get(&format!("/v1/patients/{patient}/timeline?after={at}")).await;
        assert_eq!(status, 200);
        took.push(sent.elapsed());
    }
    took
}
