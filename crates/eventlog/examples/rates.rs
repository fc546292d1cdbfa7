//! Rates of a log: `cargo run --release -p journeylog-eventlog --example rates -- URL [RECORDS]`.
//!
//! Prints appends per second (large batches, and one record each from 64 tasks), deliveries per second to a new reader,
//! and the time from append to delivery at a steady 5,000 records/s. Keys and values are made up.

use bytes::Bytes;
use futures::future::BoxFuture;
use journeylog_eventlog::{Delivery, Log, LogError, NewRecord, Options, Record, Start, Subscription, open};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const BATCH: usize = 1000;
const STEADY_PER_S: u32 = 5000;

/// Offsets as a store would keep them.
#[derive(Clone)]
struct Kept(Arc<Mutex<Vec<u64>>>);

impl Kept {
    fn keep(&self, records: &[Record]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if let Some(next) = kept.get_mut(record.position.partition as usize) {
                *next = record.position.offset + 1;
            }
        }
    }
}

impl Start for Kept {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Ok(partitions.iter().map(|p| kept.get(*p as usize).copied().unwrap_or(0)).collect()) })
    }
}

/// 300 bytes that compress about as Avro of events does.
fn record(i: usize) -> NewRecord {
    let mut value = format!("{i:08}").repeat(12).into_bytes();
    value.extend(
        (0..204_u32).map(|j| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(j * 40503).to_le_bytes()[2] & 0x3f),
    );
    NewRecord {
        key: Bytes::from(format!("patient-{:06}", i % 20_000)),
        value: Bytes::from(value),
        headers: vec![("id", Bytes::from(format!("{i:036}"))), ("type", Bytes::from_static(b"AppointmentBooked"))],
    }
}

fn resident_kib(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

async fn big(log: &dyn Log, count: usize) -> Result<f64, LogError> {
    let begun = Instant::now();
    // four in flight, as from several senders
    let mut at = 0;
    while at < count {
        let four = (0..4).map(|k| log.append((at + k * BATCH..at + (k + 1) * BATCH).map(record).collect()));
        for answers in futures::future::join_all(four).await {
            for answer in answers {
                answer?;
            }
        }
        at += 4 * BATCH;
    }
    Ok(at as f64 / begun.elapsed().as_secs_f64())
}

async fn small(log: &Arc<dyn Log>, count: usize) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let log = log.clone();
        tasks.spawn(async move {
            for i in 0..count / 64 {
                log.append(vec![record(task * count + i)]).await.remove(0)?;
            }
            Ok::<_, LogError>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn deliveries(reader: &mut Box<dyn Subscription>, kept: &Kept, count: usize) -> Result<f64, LogError> {
    while !matches!(reader.next(5000).await?, Delivery::Assigned(_)) {}
    let begun = Instant::now();
    let mut seen = 0;
    while seen < count {
        if let Delivery::Records(records) = reader.next(5000).await? {
            kept.keep(&records);
            seen += records.len();
        }
    }
    Ok(seen as f64 / begun.elapsed().as_secs_f64())
}

async fn latency(
    log: &Arc<dyn Log>,
    reader: &mut Box<dyn Subscription>,
    kept: &Kept,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let origin = Instant::now();
    let (writer, total) = (log.clone(), STEADY_PER_S * 5);
    let sending = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..total / 10 {
            tick.tick().await;
            let records = (0..10)
                .map(|i| NewRecord { value: origin.elapsed().as_micros().to_string().into(), ..record(i * 77) })
                .collect();
            let log = writer.clone();
            tasks.spawn(async move { log.append(records).await.into_iter().collect::<Result<Vec<_>, _>>().map(drop) });
        }
        tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()
    });
    let mut waits = Vec::new();
    while waits.len() < total as usize {
        if let Delivery::Records(records) = reader.next(5000).await? {
            kept.keep(&records);
            let now = origin.elapsed().as_micros() as f64;
            for record in records {
                waits.push((now - std::str::from_utf8(&record.value)?.parse::<f64>()?) / 1000.0);
            }
        }
    }
    sending.await??;
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().ok_or("usage: rates URL [RECORDS]")?;
    let count: usize = args.next().map_or(Ok(400_000), |n| n.parse())?;
    let log = open(&url, &Options::default()).await?;
    if count > 0 {
        println!("append, batches of {BATCH}, 4 in flight: {:.0}/s", big(log.as_ref(), count).await?);
        println!("append, one each from 64 tasks:      {:.0}/s", small(&log, count / 8).await?);
    }
    let bounds = log.bounds().await?;
    let total: u64 = bounds.iter().map(|(first, end)| end - first).sum();
    println!("resident before reading: {}", resident_kib("VmRSS"));
    let kept = Kept(Arc::new(Mutex::new(bounds.iter().map(|(first, _)| *first).collect())));
    let mut reader = log.subscribe("rates", Arc::new(kept.clone())).await?;
    println!("deliver {total}: {:.0}/s", deliveries(&mut reader, &kept, usize::try_from(total)?).await?);
    println!("resident after reading: {} (peak {})", resident_kib("VmRSS"), resident_kib("VmHWM"));
    let waits = latency(&log, &mut reader, &kept).await?;
    let at = |q: f64| waits.get((waits.len() as f64 * q) as usize).copied().unwrap_or_default();
    println!(
        "append to delivery at {STEADY_PER_S}/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0 - 1e-9)
    );
    reader.close().await;
    Ok(())
}
