//! Hands on the wheel: status, pause, reset, the account of operations, and the watchdog.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Backends, PATIENCE, Server, caught_up, event, fold};

/// One look by the command line.
fn status(b: &Backends) -> Json {
    let out = b.run(&["status", "--json"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    serde_json::from_str(&out.stdout).unwrap()
}

fn view<'j>(status: &'j Json, name: &str) -> &'j Json {
    status["views"].as_array().unwrap().iter().find(|v| v["view"] == name).unwrap()
}

/// One look after the other by the command line, which is stopped with the end of the reading.
fn watch(b: &Backends) -> impl Iterator<Item = Json> {
    let mut child = Command::new(support::BINARY)
        .args(["--log", &b.log, "--store", &b.store, "status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reaped = Reaped(child);
    lines.map(move |line| {
        let _ = &reaped;
        serde_json::from_str(&line.unwrap()).unwrap()
    })
}

/// A process that ends with its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn check_in(server: &Server, patient: u32) {
    let e = event(
        "PatientCheckedIn",
        &format!("p-{patient:016x}"),
        "2026-03-09T01:40:00Z",
        json!({"appointment_id": "A-1"}),
    );
    assert_eq!(server.post("/v1/events", &e).await.0, 201);
}

async fn both(test: &str) -> Vec<Backends> {
    let mut all = vec![Backends::embedded()];
    all.extend(Backends::services(test).await);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_view_rests_and_says_so_and_goes_on() {
    for b in both("pausing").await {
        let server = b.start(&["all"]).await;
        check_in(&server, 1).await;
        caught_up(&b, &View::ALL).await;
        assert_eq!(b.run(&["pause", "mot", "--reason", "index maintenance"]).code, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        for p in 2..30 {
            check_in(&server, p).await;
        }
        caught_up(&b, &[View::Timeline, View::FollowUps]).await;
        let from_api = server.get("/v1/status").await.1;
        for status in [status(&b), from_api] {
            let mot = view(&status, "mot");
            assert_eq!((mot["lag_events"].as_u64(), mot["eta_s"].clone()), (Some(28), Json::Null), "{mot}");
            assert!(mot["paused_since"].is_string() && mot["generation"] == 1 && mot["state"] == "following", "{mot}");
            let timeline = view(&status, "timeline");
            assert_eq!(timeline["lag_events"], 0, "{timeline}");
            assert_eq!((timeline["eta_s"].as_f64(), timeline["paused_since"].clone()), (Some(0.0), Json::Null));
        }
        let table = b.run(&["status"]).stdout;
        assert!(table.lines().any(|l| l.starts_with("mot") && l.contains("active, paused")), "{table}");
        assert!(table.contains("mot is paused since 20"), "{table}");
        let mut watching = watch(&b);
        let lag = |status: &Json| view(status, "mot")["lag_events"].as_u64().unwrap();
        assert_eq!(lag(&watching.next().unwrap()), 28);
        assert_eq!(b.run(&["resume", "mot"]).code, 0);
        caught_up(&b, &View::ALL).await;
        assert!(watching.take(20).any(|status| lag(&status) == 0), "it goes on looking");
        let (engine, log) = (b.engine().await, b.open_log().await);
        fold::assert_equals_log(View::Mot, &engine, log.as_ref()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_view_is_filled_again_and_the_account_says_who_did_it() {
    for b in both("resetting").await {
        let server = b.start(&["all"]).await;
        for p in 0..10 {
            check_in(&server, p).await;
        }
        caught_up(&b, &View::ALL).await;
        let warned = b.run(&["reset", "timeline", "--reason", "a test"]);
        assert_eq!(warned.code, 2, "{}", warned.stderr);
        assert!(warned.stderr.contains("rebuild") && warned.stderr.contains("--yes"), "{}", warned.stderr);
        assert!(b.run(&["operations"]).stdout.is_empty(), "nothing was done");
        assert_eq!(b.run(&["reset", "timeline", "--yes"]).code, 2, "there has to be a reason");

        let done = b.run(&["reset", "timeline", "--yes", "--reason", "rows were edited by hand"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        caught_up(&b, &View::ALL).await;
        check_in(&server, 11).await;
        caught_up(&b, &View::ALL).await;
        let (engine, log) = (b.engine().await, b.open_log().await);
        assert_eq!(fold::assert_equals_log(View::Timeline, &engine, log.as_ref()).await, 11);
        let status = status(&b);
        let timeline = view(&status, "timeline");
        assert_eq!(
            (timeline["generation"].as_i64(), timeline["lag_events"].as_u64()),
            (Some(2), Some(0)),
            "{timeline}"
        );
        // The old one stays, and stays up to date.
        let begun = Instant::now();
        loop {
            let rows = engine.query("SELECT count(*) FROM timeline_entries_g1", &[]).await.unwrap();
            if rows[0].int(0) == 11 {
                break;
            }
            assert!(begun.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(timeline["others"][0]["generation"], 1, "{timeline}");

        let out = b.run(&["operations", "--json", "--view", "timeline"]);
        let operation: Json = serde_json::from_str(out.stdout.trim()).unwrap();
        assert_eq!(operation["operation"], "reset");
        assert_eq!((&operation["outcome"], &operation["generation"]), (&json!("done"), &json!(2)), "{operation}");
        assert_eq!(
            (&operation["reason"], &operation["result"]["before"]),
            (&json!("rows were edited by hand"), &json!(1))
        );
        assert!(b.run(&["operations", "--view", "mot"]).stdout.is_empty());
    }
}

/// The account has a line for each operation, whatever somebody calls himself and whatever an earlier build has taken.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_adds_lines_to_the_account() {
    let b = Backends::embedded();
    let forged = "x\n2026-11-23T06:00:00.000Z  grace  drop timeline: done\u{1b}[A";
    let refused = b.run_with(&["pause", "mot"], &[("JOURNEYLOG_OPERATOR", forged)]);
    assert!(refused.code == 2 && refused.stderr.contains("JOURNEYLOG_OPERATOR must be"), "{}", refused.stderr);
    assert_eq!(b.run(&["operations"]).stdout, "", "nothing was done");
    // a login name is nobody's choice for this
    let done = b.run_with(&["resume", "mot"], &[("SUDO_USER", forged), ("USER", "kim")]);
    let account = b.run(&["operations"]).stdout;
    assert!(done.code == 0 && account.lines().count() == 1 && account.contains("  kim  "), "{account}");
    let store = store::Store::connect(&b.store, 1).await.unwrap();
    let (operation, detail) = ("pause", "{}".to_owned());
    let new =
        store::NewOperation { operator: forged, operation, view: None, generation: None, reason: Some(forged), detail };
    store.operation_begins(&new).await.unwrap();
    let out = b.run(&["operations"]).stdout;
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains("reason: x\\n2026") && !out.contains('\u{1b}'), "{out}");
}

/// A reset judges discarded records again, and says so; who goes to a generation with more letters is told what it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_discarded_records_is_said() {
    for b in both("discarded").await {
        let server = b.start(&["all"]).await;
        caught_up(&b, &View::ALL).await;
        let poison = eventlog::NewRecord {
            key: format!("p-{:016x}", 0xbad).into(),
            value: b"\0\0\0\0\x07nonsense".as_slice().into(),
            headers: vec![],
        };
        b.open_log().await.append(vec![poison]).await.remove(0).unwrap();
        check_in(&server, 0xbad).await;
        caught_up(&b, &View::ALL).await;
        let letters = b.run(&["dead-letters", "list", "--view", "timeline", "--json"]).stdout;
        let letters: Vec<Json> = letters.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let first = letters.iter().find(|l| l["waits_behind_another"] == false).unwrap();
        assert_eq!(letters.len(), 2, "{letters:?}");
        let out = b.run(&["dead-letters", "discard", first["id"].as_str().unwrap(), "--reason", "a test"]);
        assert_eq!(out.code, 0, "{}", out.stderr);

        let reset = b.run(&["reset", "timeline", "--yes", "--reason", "a test"]);
        assert_eq!(reset.code, 0, "{}", reset.stderr);
        let said = "1 records that were discarded in it are judged again; a rebuild would leave them discarded";
        assert!(reset.stdout.contains(said), "{}", reset.stdout);
        caught_up(&b, &View::ALL).await;
        let said =
            "generation 2 has 2 dead letters, generation 1 that readers see has 0: their records don't count in 2";
        for (command, to, told) in [
            (vec!["rollback"], 1, false),
            (vec!["switch"], 2, true),
            (vec!["rollback"], 1, false),
            (vec!["rollback"], 2, true),
        ] {
            let out = b.run(&[&command[..], &["timeline"]].concat());
            assert!(out.stdout.contains(&format!("readers see generation {to} ")), "{} {}", out.stdout, out.stderr);
            assert_eq!(out.stderr.contains(said), told, "{command:?} to {to}: {}", out.stderr);
            assert!(told || !out.stderr.contains("dead letters"), "{}", out.stderr);
        }
    }
}

/// What `/readyz` says once it is as wanted.
async fn readiness(server: &Server, ready: bool) -> String {
    let begun = Instant::now();
    loop {
        let answer = server.http.get(server.url("/readyz")).send().await.unwrap();
        let is = answer.status().is_success();
        let text = answer.text().await.unwrap();
        if is == ready {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "readiness: {text}\n{}", server.logged());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn gauge(server: &Server, name: &str, view: &str) -> f64 {
    let text = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|l| l.starts_with(&format!("{name}{{view=\"{view}\"")));
    line.unwrap_or_else(|| panic!("no {name} of {view}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Somebody else holds the database's lock: the views can't be written. On PostgreSQL one table of one view is locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_stands_still_is_reported_and_a_paused_one_is_not() {
    for b in both("standing").await {
        let postgres = b.store.starts_with("postgres");
        let server = b.start(&["all"]).await;
        caught_up(&b, &View::ALL).await;
        assert_eq!(b.run(&["pause", "mot"]).code, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let engine = b.engine().await;
        let mut lock = engine.begin(store::Durability::Full).await.unwrap();
        if postgres {
            lock.execute("LOCK TABLE timeline_entries_g1 IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
        }
        check_in(&server, 1).await;
        let locked = Instant::now();
        let why = readiness(&server, false).await;
        assert!(locked.elapsed() > Duration::from_secs(28), "too early: {why}");
        assert!(why.contains("timeline: generation 1 has not moved since 20"), "{why}");
        assert!(!why.contains("mot"), "{why}");
        assert_eq!(why.contains("follow_ups"), !postgres, "{why}");
        assert_eq!(gauge(&server, "projector_stalled", "timeline").await, 1.0);
        assert_eq!(gauge(&server, "projector_stalled", "mot").await, 0.0);
        assert!(server.logged().contains("the view stands still"), "{}", server.logged());
        lock.rollback().await.unwrap();
        readiness(&server, true).await;
        assert_eq!(gauge(&server, "projector_stalled", "timeline").await, 0.0);
        caught_up(&b, &[View::Timeline, View::FollowUps]).await;
        assert_eq!(view(&status(&b), "mot")["lag_events"], 1);
    }
}
