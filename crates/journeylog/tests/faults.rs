//! Exactly once, proven: projectors killed and moved, broker and database restarted, while publishing goes on. The views must
//! equal the pure fold of the log. `ROUNDS` and `SEED` set how many rounds and which (make soak).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use rand::{RngExt as _, SeedableRng as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Backends, PATIENCE, Server, caught_up, fold, tail};

type Random = rand_chacha::ChaCha8Rng;
const PROJECT: [&str; 4] = ["project", "timeline", "mot", "follow-ups"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_through_kills_moves_and_restarts() {
    let (rounds, seed) = (number("ROUNDS", 2), number("SEED", 1));
    for round in 0..rounds {
        let Some(b) = Backends::services("faults").await else { return };
        let begun = Instant::now();
        let rows = one_round(&b, seed + round, round).await;
        println!(
            "round {} of {rounds}, seed {}: {rows} rows equal, {:.1} s",
            round + 1,
            seed + round,
            begun.elapsed().as_secs_f32()
        );
    }
}

/// Publishes a sample while things break, and counts the rows that equal the log's fold. Nothing is mended by hand: whatever the
/// test did not kill itself must go on by itself.
async fn one_round(b: &Backends, seed: u64, round: u64) -> usize {
    let (begun, mut random) = (Instant::now(), Random::seed_from_u64(seed));
    // These two are never killed.
    let mut kept = [b.start(&["ingest"]).await, b.start(&["query"]).await];
    let (http, read) = (kept[1].http.clone(), kept[1].url("/v1/follow-ups?status=open&limit=1"));
    let sample = std::fs::read_to_string(b.sample(60, u32::try_from(seed % 1000).unwrap())).unwrap();
    let publishing = tokio::spawn(publish(
        kept[0].http.clone(),
        kept[0].url("/v1/events"),
        kept[0].log.clone(),
        sample,
        random.random(),
    ));
    let mut projectors: Vec<Server> = vec![b.spawn(&PROJECT, &[])];
    let (mut broken, mut reading) = (0, Vec::new());
    while !publishing.is_finished() || broken < 4 {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..1500))).await;
        assert_running(kept.iter_mut().chain(&mut projectors));
        // The first four happen in every round, the rest as drawn.
        let fault = match broken {
            0 => 0,
            1 => 4,
            2 => 8 + round % 2,
            3 => 9 - round % 2,
            _ => random.random_range(0..10),
        };
        match fault {
            // A second one takes over partitions, or one dies with whatever it had half done.
            0..=3 if projectors.len() < 2 => projectors.push(b.spawn(&PROJECT, &[])),
            8 | 9 => {
                all_up(&projectors).await;
                match fault {
                    8 => restart("JOURNEYLOG_TEST_KAFKA_DIR", "kafka.sh"),
                    _ => restart("JOURNEYLOG_TEST_POSTGRES_DIR", "postgres.sh"),
                }
                let (http, read) = (http.clone(), read.clone());
                reading.push(tokio::spawn(async move { answers(&http, &read).await }));
            }
            _ => {
                let victim = random.random_range(0..projectors.len());
                projectors.swap_remove(victim).kill();
                if projectors.is_empty() {
                    projectors.push(b.spawn(&PROJECT, &[]));
                }
            }
        }
        println!("{:6.1} s: fault {fault}", begun.elapsed().as_secs_f32());
        broken += 1;
    }
    publishing.await.unwrap();
    for again in reading {
        assert!(again.await.unwrap(), "the read API does not answer after a restart: {}", tail(&kept[1].log));
    }
    assert_running(kept.iter_mut().chain(&mut projectors));
    caught_up(b, &View::ALL).await;
    let rows = equal_rows(b).await;
    assert!(answers(&http, &read).await, "{}", tail(&kept[1].log));
    assert_running(kept.iter_mut().chain(&mut projectors));
    rows
}

/// The views equal the log's fold, and no event was dead: how many rows they have.
async fn equal_rows(b: &Backends) -> usize {
    let (engine, log) = (b.engine().await, b.open_log().await);
    let mut rows = 0;
    for view in View::ALL {
        rows += fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
    let dead = engine.query("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
    assert_eq!(dead[0].int(0), 0, "nothing was wrong with the events");
    rows
}

/// Fails where a process has ended that nobody killed. A projector's patience is 120 s, and a restart takes seconds.
fn assert_running<'s>(servers: impl Iterator<Item = &'s mut Server>) {
    for server in servers {
        let ended = server.child.try_wait().unwrap();
        assert!(ended.is_none(), "a process has ended by itself: {ended:?}\n{}", tail(&server.log));
    }
}

/// Waits until each has come up. One that can't reach its servers while it starts may end; once it is up it must not.
async fn all_up(servers: &[Server]) {
    for server in servers {
        let up = answers(&server.http, &server.url("/healthz")).await;
        assert!(up, "a process does not come up: {}", tail(&server.log));
    }
}

/// Whether a GET succeeds within [`PATIENCE`], however often it is tried.
async fn answers(http: &reqwest::Client, url: &str) -> bool {
    let asking = async {
        while !http.get(url).send().await.is_ok_and(|r| r.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.is_ok()
}

/// Posts the lines in chunks, each until every event of it is accepted: a source that resends what it is unsure of.
async fn publish(http: reqwest::Client, url: String, log: PathBuf, lines: String, seed: u64) {
    let mut random = Random::seed_from_u64(seed);
    let lines: Vec<&str> = lines.lines().collect();
    for chunk in lines.chunks(100) {
        let begun = Instant::now();
        loop {
            let sent = http
                .post(&url)
                .header("content-type", "application/x-ndjson")
                .body(chunk.join("\n"))
                .timeout(PATIENCE)
                .send()
                .await;
            let text = match sent {
                Ok(answer) if answer.status().is_success() => answer.text().await.unwrap_or_default(),
                _ => String::new(),
            };
            if text.matches("\"position\"").count() == chunk.len() {
                break;
            }
            assert!(begun.elapsed() <= PATIENCE, "not accepted: {text:.300}\n{}", tail(&log));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
    }
}

/// Stops and starts a test server, same port and data.
fn restart(dir: &str, script: &str) {
    let Ok(dir) = std::env::var(dir) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers").join(script);
    let done = Command::new(script).args(["restart", &dir]).status().unwrap();
    assert!(done.success());
}
