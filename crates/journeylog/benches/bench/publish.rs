//! Publishing over HTTP against a bare echo and a bare producer of the same bytes.

use crate::process::Process;
use crate::{Bench, http, rate, row};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections of the single-event load, and of the batched one.
const SINGLE: usize = 64;
const BATCHED: usize = 8;
/// Events in one POST of the batched load.
const BATCH: usize = 100;

/// Simulated events as JSON, each with an id of its own.
pub fn events(count: usize) -> Vec<Vec<u8>> {
    let patients = (count / 25).max(50).to_string();
    let out = std::process::Command::new(crate::process::BINARY)
        .args(["simulate", "--patients", &patients, "--days", "60", "--seed", "11"])
        .output()
        .unwrap();
    assert!(out.status.success(), "simulate: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).take(count).map(<[u8]>::to_vec).collect()
}

pub async fn run(bench: &Bench) {
    let lines = events(600_000);
    println!("{} events, {} bytes on average", lines.len(), lines.iter().map(Vec::len).sum::<usize>() / lines.len());
    let single: Arc<Vec<Vec<u8>>> = Arc::new(lines.clone());
    let batches: Arc<Vec<Vec<u8>>> =
        Arc::new(lines.chunks(BATCH).map(|c| [b"[", c.join(&b","[..]).as_slice(), b"]"].concat()).collect());

    let echo = Process::echo().await;
    let bare = http::load(&echo.listen, "/", SINGLE, bench.seconds, single.clone()).await;
    drop(echo);
    row("bare axum echo, 64 connections", bare, "events/s", None);

    let frames: Vec<(String, Vec<u8>)> = lines.iter().filter_map(|l| frame(l)).collect();
    let producer = produce(bench, "bench-bare", &frames, &[]).await;
    row("bare rdkafka producer, acks=all, idempotent, lz4", producer, "events/s", None);
    let synced = produce(bench, "bench-fsync", &frames[..frames.len() / 10], FSYNC).await;
    row("  the same with an fsync per write on the broker", synced, "events/s", None);

    topic(bench, "bench-publish-fsync", FSYNC).await;
    topic(bench, "bench-publish-batched-fsync", FSYNC).await;
    for (name, log, batched) in [
        ("Kafka", kafka(bench, "bench-publish"), kafka(bench, "bench-publish-batched")),
        ("Kafka, fsync", kafka(bench, "bench-publish-fsync"), kafka(bench, "bench-publish-batched-fsync")),
        ("SQLite", sqlite(bench, "publish"), sqlite(bench, "publish-batched")),
    ] {
        let store = format!("sqlite:{}", bench.dir.path().join("unused.db").display());
        let gateway = Process::journeylog(bench, &log, &store, &["ingest"]).await;
        let one = http::load(&gateway.listen, "/v1/events", SINGLE, bench.seconds, single.clone()).await;
        row(&format!("{name}: one event per POST, 64 connections"), one, "events/s", Some(("echo", bare)));
        row(&format!("{name}: gateway, peak memory"), gateway.peak_mib(), "MiB", None);
        drop(gateway);
        // A fresh topic and process: the batched load sends the same events again.
        let gateway = Process::journeylog(bench, &batched, &store, &["ingest"]).await;
        let many =
            http::load(&gateway.listen, "/v1/events", BATCHED, bench.seconds, batches.clone()).await * BATCH as f64;
        let limit = if name.ends_with("fsync") { synced } else { producer };
        row(&format!("{name}: 100 events per POST, 8 connections"), many, "events/s", Some(("bare producer", limit)));
        row(&format!("{name}: gateway, peak memory"), gateway.peak_mib(), "MiB", None);
    }
}

/// Makes the broker sync every write to the disk.
pub const FSYNC: &[(&str, &str)] = &[("flush.messages", "1")];

pub fn kafka(bench: &Bench, topic: &str) -> String {
    format!("kafka://{}/{topic}?partitions=4&replication=1", bench.kafka)
}

pub fn sqlite(bench: &Bench, name: &str) -> String {
    format!("sqlite:{}?partitions=4", bench.dir.path().join(format!("{name}.db")).display())
}

pub fn frame(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let event = domain::parse::event(line).ok()?;
    let mut out = Vec::new();
    codec::encode(&event, &mut out);
    Some((event.key().into_owned(), out))
}

pub async fn topic(bench: &Bench, name: &str, settings: &[(&str, &str)]) {
    let admin: rdkafka::admin::AdminClient<_> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", &bench.kafka).create().unwrap();
    let mut spec = rdkafka::admin::NewTopic::new(name, 4, rdkafka::admin::TopicReplication::Fixed(1));
    for (k, v) in settings {
        spec = spec.set(k, v);
    }
    admin.create_topics(&[spec], &rdkafka::admin::AdminOptions::new()).await.unwrap();
}

/// Records a second of a producer that does nothing else.
pub async fn produce(bench: &Bench, name: &str, frames: &[(String, Vec<u8>)], settings: &[(&str, &str)]) -> f64 {
    topic(bench, name, settings).await;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &bench.kafka);
    config.set("acks", "all").set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "5");
    config.set("queue.buffering.max.kbytes", "262144");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    let begun = Instant::now();
    for (key, value) in frames {
        let mut record = BaseRecord::to(name).key(key).payload(value);
        while let Err((_, again)) = producer.send(record) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            record = again;
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    rate(frames.len(), begun)
}
