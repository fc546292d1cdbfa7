//! Ctrl-C while an operation is under way: readers see what they saw, nothing half done is left, and the account says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::Value as Json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::Durability;
use support::{BINARY, Backends, PATIENCE, Running, caught_up};

const MAPPING: &str = r#"
source = "test"
zone = "Asia/Seoul"
identity = ["patient"]
[time]
column = "time"
formats = ["%Y-%m-%d %H:%M:%S"]
[header]
patient_id = "{patient}"
[[rule]]
when = {}
event = "PatientCheckedIn"
fields = { channel = "desk" }
"#;

fn ctrl_c(child: &Running) {
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
}

/// The exit code, where the process ends in time by itself.
fn ended(child: &mut Running, limit: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < limit, "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How the last operation ended.
fn outcome(b: &Backends) -> Json {
    let last = b.run(&["operations", "--limit", "1", "--json"]).stdout;
    serde_json::from_str::<Json>(&last).unwrap()["outcome"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_rebuild_in_good_order_and_once_more_at_once() {
    let b = Backends::embedded();
    let sample = b.sample(20, 1);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let start = || {
        let child = Command::new(BINARY)
            .args(["--log", &b.log, "--store", &b.store, "rebuild", "timeline", "--json", "--no-switch"])
            .args(["--throttle", "100", "--slice-events", "50"])
            .stdout(Stdio::piped())
            .spawn();
        let mut child = Running(child.unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let filling = |l: std::io::Result<String>| {
            serde_json::from_str::<Json>(&l.unwrap()).unwrap()["slices_done"].as_u64().unwrap() > 0
        };
        assert!(lines.by_ref().any(filling), "it ended");
        // Who reads what it says stays.
        (child, lines)
    };
    let (mut child, _lines) = start();
    ctrl_c(&child);
    assert_eq!(ended(&mut child, Duration::from_secs(5)), Some(1));
    assert_eq!(outcome(&b), "interrupted");

    let engine = b.engine().await;
    let (mut child, _lines) = start();
    // The next slice waits for its turn to write, longer than anybody likes to.
    let held = engine.begin(Durability::Full).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ctrl_c(&child);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(child.0.try_wait().unwrap().is_none(), "nothing held it up");
    ctrl_c(&child);
    assert_eq!(ended(&mut child, Duration::from_secs(2)), Some(130));
    held.rollback().await.unwrap();
    let out = b.run(&["rebuild", "timeline", "--no-switch"]);
    assert!(out.code == 0 && out.stdout.contains("going on with generation 2"), "{} {}", out.stdout, out.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_nothing() {
    let b = Backends::embedded();
    assert_eq!(b.run(&["publish", b.sample(5, 1).to_str().unwrap(), "--json"]).code, 0);
    store::Store::connect(&b.store, 1).await.unwrap();
    // Somebody has the log for himself: its copy waits, the views' is there.
    let url = b.log.split('?').next().unwrap();
    let log = store::Engine::connect(url, 1).await.unwrap();
    log.query("PRAGMA journal_mode = DELETE", &[]).await.unwrap();
    log.execute("BEGIN EXCLUSIVE", &[]).await.unwrap();
    let (whole, partial) = (b.dir.path().join("monday"), b.dir.path().join("monday.partial"));
    let child =
        Command::new(BINARY).args(["--log", &b.log, "--store", &b.store, "backup", whole.to_str().unwrap()]).spawn();
    let mut child = Running(child.unwrap());
    let begun = Instant::now();
    while !partial.join("views.db").exists() {
        assert!(begun.elapsed() < PATIENCE && child.0.try_wait().unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    ctrl_c(&child);
    assert_eq!(ended(&mut child, Duration::from_secs(5)), Some(1));
    assert!(!whole.exists() && !partial.exists(), "something is left");
    log.execute("ROLLBACK", &[]).await.unwrap();
    assert_eq!(outcome(&b), "interrupted");
    assert_eq!(b.run(&["backup", whole.to_str().unwrap()]).code, 0);
}

/// What was read before is in the log and counted; a line that is only half there isn't taken.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_publishing_keeps_what_was_accepted() {
    let b = Backends::embedded();
    let lines = std::fs::read_to_string(b.sample(5, 1)).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let child = Command::new(BINARY)
        .args(["--log", &b.log, "--store", &b.store, "publish", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Running(child.unwrap());
    let mut input = child.0.stdin.take().unwrap();
    let (half, _) = lines[10].split_at(40);
    write!(input, "{}\n{half}", lines[..10].join("\n")).unwrap();
    input.flush().unwrap();
    let begun = Instant::now();
    let count = async || match b.open_log().await.bounds().await {
        Ok(bounds) => bounds.iter().map(|b| b.1).sum::<u64>(),
        Err(_) => 0,
    };
    while count().await < 10 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ctrl_c(&child);
    assert_eq!(ended(&mut child, Duration::from_secs(5)), Some(1));
    let said = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
    assert!(said.contains("10 events (10 new, 0 duplicate, 0 refused)") && said.contains("sent again"), "{said}");
    assert_eq!(count().await, 10);
}

/// Told to end while it still opens what it needs: it ends in good order all the same.
#[test]
fn a_signal_before_the_first_event_ends_publish_and_import_in_good_order() {
    for (signal, import) in [("-INT", false), ("-TERM", false), ("-INT", true)] {
        let b = Backends::embedded();
        let (sample, mapping) = (b.sample(5, 1), b.dir.path().join("m.toml"));
        std::fs::write(&mapping, MAPPING).unwrap();
        // The site file comes when the process has been told.
        let site = b.dir.path().join("site.toml");
        assert!(Command::new("mkfifo").arg(&site).status().unwrap().success());
        let mut command = Command::new(BINARY);
        command.args(["--log", &b.log, "--store", &b.store]).env("JOURNEYLOG_SITE__FILE", &site);
        command.env("JOURNEYLOG_PSEUDONYM_KEY", "for a test alone, at least 32 bytes");
        match import {
            true => command.args(["import", "--mapping"]).args([&mapping, &sample]),
            false => command.arg("publish").arg(&sample),
        };
        let mut child = Running(command.stderr(Stdio::piped()).spawn().unwrap());
        // Opened as soon as the process reads it.
        let file = std::fs::OpenOptions::new().write(true).open(&site).unwrap();
        let id = child.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        std::thread::sleep(Duration::from_millis(300));
        (&file).write_all(b"zone = \"Asia/Seoul\"").unwrap();
        drop(file);
        assert_eq!(ended(&mut child, PATIENCE), Some(1), "{signal}");
        let said = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
        assert!(said.contains("journeylog: ending;") && said.contains("interrupted"), "{said}");
    }
}

/// The file is cut off wherever Ctrl-C meets it: what is counted then is what the log has.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_importing_keeps_what_was_accepted() {
    let b = Backends::embedded();
    let dir = b.dir.path();
    let mapping = dir.join("m.toml");
    std::fs::write(&mapping, MAPPING).unwrap();
    // A pipe that gives rows as long as somebody takes them.
    let pipe = dir.join("rows.csv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let child = Command::new(BINARY)
        .args(["--log", &b.log, "--store", &b.store, "import", "--mapping"])
        .args([&mapping, &pipe])
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Running(child.unwrap());
    let feeder = std::thread::spawn(move || {
        let mut out = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
        writeln!(out, "patient,time").unwrap();
        for n in 0.. {
            if writeln!(out, "p{n},2026-03-09 10:00:00").is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    while b.open_log().await.bounds().await.map_or(0, |b| b.iter().map(|b| b.1).sum()) < 1_000 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ctrl_c(&child);
    assert_eq!(ended(&mut child, Duration::from_secs(20)), Some(1));
    feeder.join().unwrap();
    let said = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
    let has: u64 = b.open_log().await.bounds().await.unwrap().iter().map(|b| b.1).sum();
    assert!(said.contains(&format!("({has} new, 0 duplicate, 0 refused)")), "{has} in the log: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_gives_up_what_waits_and_the_account_says_so() {
    let Some(b) = Backends::services("waits").await else { return };
    assert_eq!(b.run(&["publish", b.sample(5, 1).to_str().unwrap(), "--json"]).code, 0);
    let mut server = b.start(&["project", "timeline"]).await;
    caught_up(&b, &[View::Timeline]).await;
    assert_eq!(server.terminate(), 0);
    assert_eq!(b.run(&["rebuild", "timeline"]).code, 0);
    let engine = b.engine().await;
    let patient = engine.query("SELECT patient_id FROM timeline_entries LIMIT 1", &[]).await.unwrap();
    let patient = patient[0].text(0).to_owned();
    for (lock, command) in [
        ("checkpoints", vec!["replay", "--patient", &patient, "--view", "timeline", "--apply"]),
        ("timeline_entries_g1", vec!["drop", "timeline", "1"]),
        ("checkpoints", vec!["reset", "timeline", "--yes", "--reason", "a test"]),
    ] {
        let mut held = engine.begin(Durability::Full).await.unwrap();
        held.execute(&format!("LOCK TABLE {lock} IN ACCESS EXCLUSIVE MODE"), &[]).await.unwrap();
        let child = Command::new(BINARY).args(["--log", &b.log, "--store", &b.store]).args(&command).spawn();
        let mut child = Running(child.unwrap());
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let begun = Instant::now();
        while engine.query(waits, &[]).await.unwrap()[0].int(0) == 0 {
            assert!(
                begun.elapsed() < PATIENCE && child.0.try_wait().unwrap().is_none(),
                "{command:?} waits for the lock"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ctrl_c(&child);
        assert_eq!(ended(&mut child, Duration::from_secs(5)), Some(1), "{command:?}");
        held.rollback().await.unwrap();
        assert_eq!(outcome(&b), "interrupted", "{command:?}");
    }
    assert_eq!(b.run(&["drop", "timeline", "1"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_interrupted_while_it_compares_does_not_switch() {
    let Some(b) = Backends::services("interrupted").await else { return };
    let sample = b.sample(5, 1);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let mut server = b.start(&["project", "follow-ups"]).await;
    caught_up(&b, &[View::FollowUps]).await;
    assert_eq!(server.terminate(), 0);

    let engine = b.engine().await;
    let mut held = engine.begin(Durability::Full).await.unwrap();
    held.execute("LOCK TABLE follow_up_items_g1 IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
    let rebuild = Command::new(BINARY)
        .args(["--log", &b.log, "--store", &b.store, "rebuild", "follow-ups", "--json"])
        .stdout(Stdio::piped())
        .spawn();
    let mut rebuild = Running(rebuild.unwrap());
    let mut lines = BufReader::new(rebuild.0.stdout.take().unwrap()).lines();
    let comparing = |line: std::io::Result<String>| {
        serde_json::from_str::<Json>(&line.unwrap()).is_ok_and(|l| l["phase"] == "comparing")
    };
    assert!(lines.by_ref().any(comparing), "it waits for the lock");
    ctrl_c(&rebuild);
    held.rollback().await.unwrap();

    assert_eq!(rebuild.0.wait().unwrap().code(), Some(1));
    let active = engine.query("SELECT generation FROM generations WHERE active = 1", &[]).await.unwrap();
    assert_eq!(active[0].int(0), 1, "readers see what they saw");
    let out = b.run(&["switch", "follow-ups", "2"]);
    assert_eq!(out.code, 0, "it is filled, and can be switched to: {}", out.stderr);
}
