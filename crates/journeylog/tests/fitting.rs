//! A store and a log that don't fit together are told apart and refused; an older store catches up. Backup and restore.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use eventlog::NewRecord;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value as Json, json};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Backends, Output, PATIENCE, Server, caught_up, event, fold};

/// The same store with another log of the same kind.
fn with_log(b: &Backends, name: &str) -> Backends {
    let log = match b.log.split_once('?') {
        Some((url, query)) => format!("{}{name}?{query}", url.trim_end_matches(".db")),
        None => panic!("{}", b.log),
    };
    Backends { log, store: b.store.clone(), dir: tempfile::tempdir().unwrap() }
}

/// Publishes check-ins of patients, straight to the log.
async fn publish(b: &Backends, patients: std::ops::Range<u32>) {
    let lines: Vec<String> = patients
        .map(|p| event("PatientCheckedIn", &format!("p-{p:016x}"), "2026-03-09T01:40:00Z", json!({})).to_string())
        .collect();
    let file = b.dir.path().join("events.ndjson");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let out = b.run(&["publish", file.to_str().unwrap(), "--json"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
}

/// Copies the first `count` records of each partition of a log to another one.
async fn copy_records(from: &Backends, to: &Backends, count: usize) {
    let (from, to) = (from.open_log().await, to.open_log().await);
    for partition in 0..from.partitions() {
        for r in from.read(partition, 0, count).await.unwrap().into_iter().take(count) {
            let record = NewRecord { key: r.key, value: r.value, headers: vec![] };
            to.append(vec![record]).await.remove(0).unwrap();
        }
    }
}

#[test]
fn a_store_in_the_logs_file_and_settings_out_of_range_are_refused() {
    let mut b = Backends::embedded();
    let out = b.run_with(&["status"], &[("JOURNEYLOG_PROJECTOR__WORKERS", "0")]);
    assert!(
        out.code == 1 && out.stderr.contains("projector.workers is 0, and must be from 1 to 256"),
        "{}",
        out.stderr
    );
    b.store = b.log.split('?').next().unwrap().to_owned();
    let out = b.run(&["status"]);
    assert!(out.code == 1 && out.stderr.contains("log.url and store.url name one file"), "{}", out.stderr);
}

/// Waits until a projector has ended by itself; its exit code and log.
async fn ended(mut server: Server) -> (i32, String) {
    let begun = Instant::now();
    loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            return (status.code().unwrap_or(-1), server.logged());
        }
        assert!(begun.elapsed() < PATIENCE, "it goes on: {}", server.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_database_in_memory_and_variables_that_are_no_text_are_refused() {
    let mut b = Backends::embedded();
    b.store = "sqlite::memory:".to_owned();
    let out = b.run(&["status"]);
    assert!(out.code == 1 && out.stderr.contains("store.url names a database in memory"), "{}", out.stderr);
    // other programs' variables are none of ours
    for (name, code, why) in
        [("JOURNEYLOG_LISTEN", 1, "JOURNEYLOG_LISTEN must be UTF-8"), ("LISTEN", 0, ""), ("USER", 0, "")]
    {
        let mut command = std::process::Command::new(support::BINARY);
        command.args(["simulate", "--patients", "1", "--days", "1"]).env(name, OsStr::from_bytes(b"\xff"));
        let out = command.output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(code) && told.contains(why), "{name}: {told}");
    }
}

async fn equal_the_log(b: &Backends) {
    caught_up(b, &View::ALL).await;
    let (engine, log) = (b.engine().await, b.open_log().await);
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
}

const PROJECT: [&str; 4] = ["project", "timeline", "mot", "follow-ups"];

#[tokio::test(flavor = "multi_thread")]
async fn another_log_under_the_same_store_is_refused_with_the_reason() {
    let mut all = vec![Backends::embedded()];
    all.extend(Backends::services("fitting").await);
    for b in all {
        let earlier = with_log(&b, "earlier");
        publish(&earlier, 1_000..1_080).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        publish(&b, 0..60).await;
        let mut server = b.start(&PROJECT).await;
        caught_up(&b, &View::ALL).await;
        assert_eq!(server.terminate(), 0);
        let before = fold::stored(View::Timeline, &b.engine().await).await;

        // An older copy of the log: the database is newer.
        let older = with_log(&b, "older");
        copy_records(&b, &older, 5).await;
        let (code, logged) = ended(older.spawn(&PROJECT, &[])).await;
        assert_eq!(code, 1, "{logged}");
        assert!(logged.contains("the database is newer than this log"), "{logged}");
        // The same copy, gone on by itself until it is longer.
        publish(&older, 2_000..2_080).await;
        let (code, logged) = ended(older.spawn(&PROJECT, &[])).await;
        assert_eq!(code, 1, "{logged}");
        assert!(logged.contains("an older copy that has gone on since"), "{logged}");
        // A log that has nothing to do with it.
        let (code, logged) = ended(earlier.spawn(&PROJECT, &[])).await;
        assert_eq!(code, 1, "{logged}");
        assert!(logged.contains("is not the one that the database took there; this is another log"), "{logged}");
        // Nor may an operator make readers see one of them.
        let out = b.run(&["rebuild", "follow-ups", "--no-switch"]);
        assert_eq!(out.code, 0, "{}", out.stderr);
        for log in [&older, &earlier] {
            for args in [&["rebuild", "follow-ups", "--accept-differences"][..], &["switch", "follow-ups", "2"]] {
                let out = log.run(args);
                assert_eq!(out.code, 1, "{args:?}: {}", out.stdout);
                assert!(out.stderr.contains("of follow_ups doesn't fit this log"), "{}", out.stderr);
            }
            // Nor does it count as being behind by nothing.
            let out = log.run(&["status"]);
            assert_eq!(out.code, 1, "{}", out.stdout);
            assert!(out.stderr.contains("of timeline doesn't fit this log"), "{}", out.stderr);
        }
        if let Some(file) = eventlog::file(&with_log(&b, "nowhere").log).unwrap() {
            let out = with_log(&b, "nowhere").run(&["status"]);
            assert_eq!(out.code, 1, "{}", out.stdout);
            assert!(out.stderr.contains("log: there is no file"), "{}", out.stderr);
            assert!(!file.exists(), "an operator's question made a log");
            let mut wrong = with_log(&b, "");
            wrong.store = wrong.store.replace("views.db", "nowhere.db");
            let out = wrong.run(&["status"]);
            assert_eq!(out.code, 1, "{}", out.stdout);
            assert!(out.stderr.contains("store: there is no file"), "{}", out.stderr);
            assert!(!b.dir.path().join("nowhere.db").exists(), "nor a store");
        }
        assert_eq!(b.run(&["drop", "follow-ups", "2"]).code, 0);
        assert_eq!(b.run(&["drop", "follow-ups", "3"]).code, 1, "a refused rebuild leaves nothing");
        assert_eq!(fold::stored(View::Timeline, &b.engine().await).await, before, "nothing was written");

        // Its own log, which is newer than the database.
        publish(&b, 60..90).await;
        let mut server = b.start(&PROJECT).await;
        equal_the_log(&b).await;
        assert!(server.logged().contains("behind the log, catching up"), "{}", server.logged());
        assert_eq!(server.terminate(), 0);

        // Over to the other log on purpose: what was made from the first one shows the past, and holds nobody up.
        for view in ["timeline", "mot", "follow-ups"] {
            let out = earlier.run(&["reset", view, "--yes", "--reason", "the first log is lost"]);
            assert_eq!(out.code, 0, "{}", out.stderr);
            assert!(out.stdout.contains("generation 1 was made from another log"), "{}", out.stdout);
        }
        let mut server = earlier.start(&PROJECT).await;
        equal_the_log(&earlier).await;
        let states = "SELECT count(*) FROM generations WHERE generation = 1 AND state = 'frozen'";
        assert_eq!(b.engine().await.query(states, &[]).await.unwrap()[0].int(0), 3);
        assert_eq!(server.terminate(), 0, "{}", server.logged());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_to_a_topic_are_refused_before_a_view_is_touched() {
    let Some(b) = Backends::services("grown").await else { return };
    let grown = Backends {
        log: b.log.split('?').next().unwrap().to_owned(),
        store: b.store.clone(),
        dir: tempfile::tempdir().unwrap(),
    };
    publish(&b, 0..60).await;
    let properties = b.dir.path().join("properties");
    std::fs::write(&properties, "topic.metadata.refresh.interval.ms=500\n").unwrap();
    let running = [("JOURNEYLOG_LOG__PROPERTIES_FILE", properties.to_str().unwrap())];
    let server = grown.start_with(&PROJECT, &running).await;
    caught_up(&b, &View::ALL).await;
    let before = fold::stored(View::Timeline, &b.engine().await).await;
    let checkpoints = fold::checkpoints(&b.engine().await, View::Timeline).await;

    let (brokers, topic) = grown.log.strip_prefix("kafka://").unwrap().split_once('/').unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let more = NewPartitions::new(topic, checkpoints.len() + 3);
    admin.create_partitions([&more], &AdminOptions::new()).await.unwrap().remove(0).unwrap();

    let why = format!("the log had {} partitions when the view was begun", checkpoints.len());
    let (code, logged) = ended(server).await;
    assert!(code == 1 && logged.contains("partitions when this process began"), "the running one: {code} {logged}");
    let (code, logged) = ended(grown.spawn(&PROJECT, &[])).await;
    assert!(code == 1 && logged.contains(&why), "the next one: {code} {logged}");
    let patient = format!("p-{:016x}", 7);
    for args in [
        &["status"][..],
        &["verify", "timeline", "--repair"],
        &["replay", "--patient", &patient, "--apply"],
        &["rebuild", "timeline", "--accept-differences"],
    ] {
        let out = grown.run(args);
        assert!(out.code == 1 && out.stderr.contains(&why), "{args:?}: {}", out.stderr);
    }
    assert_eq!(fold::stored(View::Timeline, &b.engine().await).await, before, "nothing was written");
    assert_eq!(fold::checkpoints(&b.engine().await, View::Timeline).await, checkpoints);
}

fn restore(b: &Backends, dir: &Path, more: &[&str]) -> Output {
    b.run(&[&["restore", dir.to_str().unwrap()], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_running_program_is_restored_and_catches_up() {
    let b = Backends::embedded();
    let mut server = b.start(&["all"]).await;
    let copies = tempfile::tempdir().unwrap();
    let dir = copies.path().join("first");
    let sample = b.sample(20, 5);
    // While it is being published.
    let publishing = {
        let (log, store) = (b.log.clone(), b.store.clone());
        std::thread::spawn(move || {
            let args = ["--log", &log, "--store", &store, "publish", sample.to_str().unwrap(), "--json"];
            assert!(std::process::Command::new(support::BINARY).args(args).output().unwrap().status.success());
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let out = b.run(&["backup", dir.to_str().unwrap(), "--json", "--reason", "before the upgrade"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    publishing.join().unwrap();
    let manifest: Json = serde_json::from_str(&std::fs::read_to_string(dir.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Json>(&out.stdout).unwrap(), manifest);
    let events = |m: &Json| m["log_ends"].as_array().unwrap().iter().map(|e| e.as_u64().unwrap()).sum::<u64>();
    for view in manifest["views"].as_array().unwrap() {
        for (partition, next) in view["next_offsets"].as_object().unwrap() {
            let end = manifest["log_ends"][partition.parse::<usize>().unwrap()].as_u64().unwrap();
            assert!(next.as_u64().unwrap() <= end, "the views of a backup are never newer than its log: {manifest}");
        }
    }
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(b.run(&["backup", dir.to_str().unwrap()]).code, 1, "it is there already");

    let refused = restore(&b, &dir, &["--force"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("has") && refused.stderr.contains("open"),
        "{}",
        refused.stderr
    );
    caught_up(&b, &View::ALL).await;
    publish(&b, 0..50).await;
    caught_up(&b, &View::ALL).await;
    assert_eq!(server.terminate(), 0);
    let refused = restore(&b, &dir, &[]);
    assert!(refused.code == 1 && refused.stderr.contains("--force"), "{}", refused.stderr);

    // A damaged copy is noticed before anything is touched.
    let bad = copies.path().join("bad");
    std::fs::create_dir(&bad).unwrap();
    for name in ["views.db", "log.db", "manifest.json"] {
        std::fs::copy(dir.join(name), bad.join(name)).unwrap();
    }
    let mut bytes = std::fs::read(bad.join("log.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(bad.join("log.db"), bytes).unwrap();
    let refused = restore(&b, &bad, &["--force"]);
    assert!(refused.code == 1 && refused.stderr.contains("nothing was restored"), "{}", refused.stderr);
    let left = std::fs::read_dir(b.dir.path()).unwrap().map(|f| f.unwrap().path());
    assert!(
        left.into_iter().all(|p| p.extension().is_none_or(|e| e != "restored")),
        "nothing is left beside the files"
    );
    let log = b.open_log().await;
    let before: u64 = log.bounds().await.unwrap().iter().map(|b| b.1).sum();
    assert!(before > events(&manifest));
    drop(log);
    tokio::time::sleep(Duration::from_millis(200)).await;

    let done = restore(&b, &dir, &["--force", "--reason", "a drill"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stdout.contains("is kept as") && done.stdout.contains("timeline"), "{}", done.stdout);
    let log = b.open_log().await;
    assert_eq!(log.bounds().await.unwrap().iter().map(|b| b.1).sum::<u64>(), events(&manifest));
    let operations = b.run(&["operations", "--json"]).stdout;
    let operations: Vec<Json> = operations.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&operations[0]["operation"], &operations[0]["reason"]), (&json!("restore"), &json!("a drill")));
    // The copy was made while its own operation ran.
    assert_eq!((&operations[1]["operation"], &operations[1]["outcome"]), (&json!("backup"), &Json::Null));
    let _server = b.start(&["all"]).await;
    equal_the_log(&b).await;

    // The views of the newer state over the older log: refused.
    let views = std::fs::read_dir(b.dir.path()).unwrap().map(|f| f.unwrap().path());
    let newer = views.into_iter().find(|p| p.to_str().unwrap().contains("views.db.before-")).unwrap();
    let newer = Backends {
        log: b.log.clone(),
        store: format!("sqlite:{}", newer.display()),
        dir: tempfile::tempdir().unwrap(),
    };
    let (code, logged) = ended(newer.spawn(&PROJECT, &[])).await;
    assert!(code == 1 && logged.contains("the database is newer than this log"), "{code} {logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_not_copied() {
    let Some(b) = Backends::services("copied").await else { return };
    let dir = b.dir.path().join("copy");
    for command in ["backup", "restore"] {
        let out = b.run(&[command, dir.to_str().unwrap()]);
        assert!(out.code == 1 && out.stderr.contains("docs/operations/backup.md"), "{}", out.stderr);
    }
    assert!(!dir.exists());
}
