//! `make bench`: what the system does, as ratios to limits measured in the same run.
//!
//! Usage: `bench [publish|inbox|views|latency|rebuild|hl7|fhir …]` with JOURNEYLOG_TEST_KAFKA and JOURNEYLOG_TEST_POSTGRES set (tests/bench.sh does).
//! Everything runs for 25 s before anything is measured. `EVENTS` (default 200000) sets how many events are projected, `SECONDS` (default 8) how long each load lasts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fhir;
mod hl7;
mod http;
mod inbox;
mod latency;
mod process;
mod publish;
mod rebuild;
mod views;

use std::time::{Duration, Instant};

/// How long everything runs before anything is measured: a broker that was just started compiles its code for a while, on
/// the cores that are to be measured.
const WARM: Duration = Duration::from_secs(25);

/// Where things are, and how much of them.
pub struct Bench {
    pub kafka: String,
    pub postgres: String,
    pub events: usize,
    pub seconds: Duration,
    pub dir: tempfile::TempDir,
}

/// One line of the report.
pub fn row(what: &str, figure: f64, unit: &str, limit: Option<(&str, f64)>) {
    match limit {
        Some((name, at)) => println!("{what:58} {figure:>12.0} {unit:10} {:>6.2} × {name} ({at:.0})", figure / at),
        None => println!("{what:58} {figure:>12.0} {unit}"),
    }
}

/// Things a second since `begun`.
pub fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

/// Publishes and projects for a while.
async fn warm(bench: &Bench) {
    let log = format!("kafka://{}/bench-warm?partitions=4&replication=1", bench.kafka);
    let all = process::Process::journeylog(bench, &log, &views::database(bench, "bench_warm").await, &["all"]).await;
    let events = std::sync::Arc::new(publish::events(400_000));
    http::load(&all.listen, "/v1/events", 64, WARM, events).await;
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if arguments.first().is_some_and(|a| a == "echo-server") {
        return http::echo_server(&arguments[1]);
    }
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let need = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: use make bench"));
    let bench = Bench {
        kafka: need("JOURNEYLOG_TEST_KAFKA"),
        postgres: need("JOURNEYLOG_TEST_POSTGRES"),
        events: usize::try_from(number("EVENTS", 200_000)).unwrap(),
        seconds: Duration::from_secs(number("SECONDS", 8)),
        dir: tempfile::tempdir().unwrap(),
    };
    if arguments.is_empty() {
        arguments = ["publish", "inbox", "views", "latency", "rebuild", "hl7", "fhir"].map(str::to_owned).to_vec();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(warm(&bench));
    for a in arguments {
        println!("\n== {a}");
        match a.as_str() {
            "publish" => runtime.block_on(publish::run(&bench)),
            "inbox" => runtime.block_on(inbox::run(&bench)),
            "views" => runtime.block_on(views::run(&bench)),
            "rebuild" => runtime.block_on(rebuild::run(&bench)),
            "latency" => runtime.block_on(latency::run(&bench)),
            "hl7" => runtime.block_on(hl7::run(&bench)),
            "fhir" => runtime.block_on(fhir::run(&bench)),
            other => panic!("no part {other}"),
        }
    }
}
