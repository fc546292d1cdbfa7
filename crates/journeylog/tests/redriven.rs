//! Letters that are tried again by a redrive that is killed, with real processes at work on both pairs of backends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{BINARY, Backends, Running, caught_up, event, fold};

/// Makes the database refuse rows of one department, and take them again.
fn rules(engine: &store::Engine) -> (&'static str, &'static str) {
    if engine.is_postgres() {
        (
            "ALTER TABLE timeline_entries_g1 ADD CONSTRAINT refused CHECK (department <> 'refused')",
            "ALTER TABLE timeline_entries_g1 DROP CONSTRAINT refused",
        )
    } else {
        (
            "CREATE TRIGGER refused BEFORE INSERT ON timeline_entries_g1 WHEN NEW.department = 'refused' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "DROP TRIGGER refused",
        )
    }
}

/// The database refuses some rows, patients are parked; once it takes them, a redrive that is killed at any moment brings all
/// of them in, while further events come.
async fn a_killed_redrive_loses_and_doubles_nothing(b: &Backends) {
    let server = b.start(&["all"]).await;
    caught_up(b, &View::ALL).await;
    let engine = b.engine().await;
    let execute = async |sql: &str| engine.execute(sql, &[]).await.unwrap();
    let (refuse, allow) = rules(&engine);
    execute(refuse).await;
    let send = async |from: usize, to: usize| {
        let mut body = String::new();
        for n in from..to {
            let at = format!("2026-03-09T01:{:02}:00Z", n % 60);
            let mut e = event("PatientCheckedIn", &format!("p-redrive-{}", n % 30), &at, json!({}));
            if n < 25 {
                e["header"]["department"] = "refused".into();
            }
            body += &format!("{e}\n");
        }
        let (status, answer) = server.post_raw("/v1/events", "application/x-ndjson", body).await;
        assert_eq!(status, 200, "{answer}");
    };
    send(0, 600).await;
    caught_up(b, &View::ALL).await;
    let summary = b.run(&["dead-letters", "summary", "--json"]).lines();
    let counts: Vec<_> = summary.iter().map(|s| (&s["source"], &s["code"], &s["open"], &s["waiting"])).collect();
    assert_eq!(counts.len(), 2, "{summary:?}");
    assert_eq!(counts[1], (&json!("test"), &json!("unstorable"), &json!(25), &json!(0)));
    assert_eq!(counts[0].3, &json!(25 * 19));

    let tried = b.run(&["dead-letters", "redrive", "--view", "timeline", "--json"]);
    assert_eq!(tried.lines().pop().unwrap()["taken"], 0, "{}", tried.stdout);
    assert_eq!(tried.code, 3, "all stay, and a script has to see it: {}", tried.stderr);
    assert_eq!(b.run(&["dead-letters", "rehearse", "--view", "timeline"]).code, 3);
    execute(allow).await;
    let rehearsed = b.run(&["dead-letters", "rehearse", "--view", "timeline", "--json"]);
    assert_eq!(rehearsed.lines().pop().unwrap()["taken"], 500, "{} {}", rehearsed.stdout, rehearsed.stderr);
    assert!(rehearsed.code == 0 && !rehearsed.stdout.contains("p-redrive"));
    assert_eq!(b.run(&["dead-letters", "list", "--limit", "1000", "--json"]).lines().len(), 500);

    for after_ms in [20, 60, 90, 120] {
        let redrive = Command::new(BINARY)
            .args(["--log", &b.log, "--store", &b.store, "dead-letters", "redrive", "--view", "timeline"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let redrive = Running(redrive.unwrap());
        send(600 + after_ms, 600 + after_ms + 20).await;
        tokio::time::sleep(Duration::from_millis(after_ms as u64)).await;
        drop(redrive);
    }
    let last =
        b.run(&["dead-letters", "redrive", "--view", "timeline", "--json", "--reason", "the database takes them now"]);
    assert_eq!(last.code, 0, "{}", last.stderr);
    caught_up(b, &View::ALL).await;
    let again = b.run(&["dead-letters", "redrive", "--view", "timeline"]);
    assert!(again.code == 0 && again.stdout.contains("nothing to do"), "{}", again.stdout);
    for id in [None, Some("timeline.1.0.7")] {
        let mut args = vec!["dead-letters", "redrive", "--json"];
        args.extend(id.map_or(vec!["--view", "timeline"], |id| vec![id]));
        let out = b.run(&args);
        assert!(out.code == 0 && out.stderr.contains("nothing to do"), "{} {}", out.stdout, out.stderr);
        assert_eq!(out.lines().len(), out.stdout.lines().count(), "JSON only: {}", out.stdout);
    }
    let dead = engine.query("SELECT count(*), (SELECT count(*) FROM parked) FROM dead_letters", &[]).await.unwrap();
    assert_eq!((dead[0].int(0), dead[0].int(1)), (0, 0));
    let log = b.open_log().await;
    assert!(fold::assert_equals_log(View::Timeline, &engine, log.as_ref()).await >= 680);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redrive_loses_and_doubles_nothing_embedded() {
    a_killed_redrive_loses_and_doubles_nothing(&Backends::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redrive_loses_and_doubles_nothing_on_services() {
    let Some(b) = Backends::services("redrive").await else { return };
    a_killed_redrive_loses_and_doubles_nothing(&b).await;
}
