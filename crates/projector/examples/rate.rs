//! Events per second of a view into a store, from a log in memory: `rate FILE.ndjson STORE_URL VIEW [WORKERS] [BATCH]`.
//! The store has to be fresh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{MemoryLog, Shared};
use domain::views::follow_ups::FollowUps;
use domain::views::mot::{Mot, Standards};
use domain::views::timeline::Timeline;
use journeylog_projector::{Folded, Options, Rows, run};
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let log = MemoryLog::new(12);
    let file = std::io::BufReader::new(std::fs::File::open(&args[1]).unwrap());
    let mut events = 0_u64;
    for line in file.lines() {
        log.publish(&domain::parse::event_str(&line.unwrap()).unwrap());
        events += 1;
    }
    let store = Store::connect(&args[2], 12).await.unwrap();
    let mut options = Options::default();
    if let Some(workers) = args.get(4) {
        options.workers = workers.parse().unwrap();
    }
    if let Some(batch) = args.get(5) {
        options.batch = batch.parse().unwrap();
    }
    let cancel = CancellationToken::new();
    let shared = Arc::new(Shared(log.clone()));
    let begun = Instant::now();
    let cpu = cpu_seconds();
    let view = args[3].clone();
    let (s, o, c) = (store.clone(), options.clone(), cancel.clone());
    let task = match view.as_str() {
        "timeline" => tokio::spawn(run(Rows("timeline", Timeline), shared, s, o, c)),
        "mot" => tokio::spawn(run(Folded("mot", Mot::new(Standards::shipped())), shared, s, o, c)),
        _ => tokio::spawn(run(Folded("follow_ups", FollowUps), shared, s, o, c)),
    };
    loop {
        let at = store.checkpoints(&view, 1).await.unwrap();
        if at.iter().map(|c| c.next_offset).sum::<u64>() >= events {
            break;
        }
        assert!(!task.is_finished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    println!("{view}: {events} events in {took:.2} s = {:.0}/s; own cpu {cpu:.2} s", events as f64 / took);
    cancel.cancel();
    task.await.unwrap().unwrap();
}

/// User and system time of this process so far (Linux; ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
