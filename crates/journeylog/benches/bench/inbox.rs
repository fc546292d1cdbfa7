//! The Kafka inbox against a bare loop that consumes, produces and commits the same records in transactions of the same size.

use crate::process::Process;
use crate::publish::{events, frame, kafka, produce};
use crate::{Bench, row};
use eventlog::relay::{BATCH_RECORDS, BATCH_TIME};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Records that are moved.
const RECORDS: usize = 300_000;
/// How long either may take to move them.
const LIMIT: Duration = Duration::from_secs(300);
/// Between looking how far the inbox is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const STEP: Duration = Duration::from_secs(30);

pub async fn run(bench: &Bench) {
    let frames: Vec<(String, Vec<u8>)> = events(RECORDS).iter().filter_map(|l| frame(l)).collect();
    let bytes: usize = frames.iter().map(|(_, v)| v.len()).sum();
    println!("{} records, {} bytes on average", frames.len(), bytes / frames.len());
    produce(bench, "bench-inbox-in", &frames, &[]).await;
    produce(bench, "bench-inbox-bare", &frames[..0], &[]).await;
    let count = frames.len();
    let brokers = bench.kafka.clone();
    let bare = tokio::task::spawn_blocking(move || bare(&brokers, count)).await.unwrap();
    row("bare consume-produce loop, transactions of 5,000", bare, "records/s", None);

    let log = kafka(bench, "bench-inbox-log");
    let store = format!("sqlite:{}", bench.dir.path().join("unused.db").display());
    let env = [("JOURNEYLOG_INBOX__TOPIC", "bench-inbox-in"), ("JOURNEYLOG_INBOX__REFUSED_TOPIC", "bench-inbox-no")];
    let inbox = Process::journeylog_with(bench, &log, &store, &["ingest", "inbox"], &env).await;
    let begun = Instant::now();
    let mut first = None;
    let figure = loop {
        let moved = moved(&inbox.listen).await;
        let now = Instant::now();
        if moved > 0 && first.is_none() {
            first = Some((now, moved));
        }
        if let Some((at, before)) = first.filter(|_| moved >= count) {
            break (moved - before) as f64 / now.duration_since(at).as_secs_f64();
        }
        assert!(begun.elapsed() < LIMIT, "{moved} of {count} records were moved");
        tokio::time::sleep(LOOK_EVERY).await;
    };
    row("inbox: judged, de-duplicated and moved", figure, "records/s", Some(("bare loop", bare)));
    row("inbox: peak memory", inbox.peak_mib(), "MiB", None);
}

/// Records that the inbox has dealt with.
async fn moved(listen: &str) -> usize {
    let text = reqwest::get(format!("http://{listen}/metrics")).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("inbox_records_total "));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

/// Records a second from the first commit to the last.
fn bare(brokers: &str, count: usize) -> f64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "bench-bare").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["bench-inbox-in"]).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("transactional.id", "bench-bare");
    config.set("compression.type", "lz4").set("linger.ms", "2");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    producer.init_transactions(STEP).unwrap();
    let (begun, mut first, mut done) = (Instant::now(), None, 0);
    loop {
        let mut batch: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let mut until = Instant::now() + STEP;
        while batch.len() < BATCH_RECORDS && Instant::now() < until {
            let Some(polled) = consumer.poll(until.saturating_duration_since(Instant::now())) else { continue };
            let message = polled.unwrap();
            if batch.is_empty() {
                until = Instant::now() + BATCH_TIME;
            }
            next.insert(message.partition(), message.offset() + 1);
            batch.push((message.key().unwrap().to_vec(), message.payload().unwrap().to_vec()));
        }
        producer.begin_transaction().unwrap();
        for (key, value) in &batch {
            producer.send(BaseRecord::to("bench-inbox-bare").key(key).payload(value)).map_err(|(e, _)| e).unwrap();
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset("bench-inbox-in", partition, Offset::Offset(offset)).unwrap();
        }
        producer.send_offsets_to_transaction(&offsets, &consumer.group_metadata().unwrap(), STEP).unwrap();
        producer.commit_transaction(STEP).unwrap();
        done += batch.len();
        let (at, before) = *first.get_or_insert((Instant::now(), done));
        if done >= count {
            return (done - before) as f64 / at.elapsed().as_secs_f64();
        }
        assert!(begun.elapsed() < LIMIT, "{done} of {count} records were moved");
    }
}
