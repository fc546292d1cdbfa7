//! Rows that somebody has changed by hand are found and repaired, once and all the time, with real processes at work on both
//! pairs of backends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::{Value as Json, json};
use std::time::Duration;
use support::{Backends, Server, caught_up, event, fold};

const PATIENT: &str = "p-demo-0001";

async fn execute(engine: &store::Engine, sql: &str) -> u64 {
    engine.execute(sql, &[]).await.unwrap()
}

/// Publishes check-ins of new patients until told to stop; how many.
fn publishing(server: &Server) -> (tokio::task::JoinHandle<u64>, tokio_util::sync::CancellationToken) {
    let cancel = tokio_util::sync::CancellationToken::new();
    let (http, url, stop) = (server.http.clone(), server.url("/v1/events"), cancel.clone());
    let task = tokio::spawn(async move {
        let mut n = 0;
        while !stop.is_cancelled() {
            let e = event("PatientCheckedIn", &format!("p-busy-{n}"), "2026-03-09T01:40:00Z", json!({}));
            let sent = http.post(&url).header("content-type", "application/json").body(e.to_string()).send().await;
            assert_eq!(sent.unwrap().status().as_u16(), 201);
            n += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        n
    });
    (task, cancel)
}

async fn tampered_rows_are_found_and_repaired(b: &Backends) {
    let sample = b.sample(40, 5);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let server = b.start(&["all"]).await;
    caught_up(b, &View::ALL).await;
    let (busy, cancel) = publishing(&server);
    let views = [("timeline", View::Timeline), ("mot", View::Mot), ("follow-ups", View::FollowUps)];
    for (view, _) in views {
        let out = b.run(&["verify", view, "--json"]);
        assert_eq!(out.code, 0, "{view}: {} {}", out.stdout, out.stderr);
        assert!(out.lines().last().unwrap()["keys"].as_u64().unwrap() >= 40, "{}", out.stdout);
    }
    let engine = b.engine().await;
    let one = |table: &str, key: &str| format!("({key}) IN (SELECT {key} FROM {table} ORDER BY {key} LIMIT 1)");
    let entry = one("timeline_entries_g1", "patient_id, event_id");
    let done = [
        execute(&engine, &format!("UPDATE timeline_entries_g1 SET department = 'x' WHERE {entry}")).await,
        execute(
            &engine,
            &format!("DELETE FROM mot_journeys_g1 WHERE {}", one("mot_journeys_g1", "patient_id, journey_id")),
        )
        .await,
        execute(&engine, &format!("UPDATE mot_state_g1 SET state = NULL WHERE {}", one("mot_state_g1", "patient_id")))
            .await,
        execute(&engine, "INSERT INTO follow_up_items_g1 (patient_id, item_id) VALUES ('p-nobody', 'i')").await,
    ];
    assert_eq!(done, [1; 4]);
    for (view, tables) in [
        ("timeline", json!({"timeline_entries": {"missing": 0, "extra": 0, "differing": 1}})),
        (
            "mot",
            json!({"mot_journeys": {"missing": 1, "extra": 0, "differing": 0},
                "mot_state": {"missing": 0, "extra": 0, "differing": 1}}),
        ),
        ("follow-ups", json!({"follow_up_items": {"missing": 0, "extra": 1, "differing": 0}})),
    ] {
        for (repair, code) in [(false, 3), (true, 3), (false, 0)] {
            let mut args = vec!["verify", view, "--json", "--reason", "somebody was in the database"];
            args.extend(repair.then_some("--repair"));
            let out = b.run(&args);
            assert_eq!(out.code, code, "{view}: {} {}", out.stdout, out.stderr);
            let sum = out.lines().pop().unwrap();
            assert_eq!(sum["tables"], if code == 3 { tables.clone() } else { json!({}) }, "{}", out.stdout);
            assert!(!out.stdout.contains("p-"), "no patient in the report: {}", out.stdout);
        }
    }
    cancel.cancel();
    assert!(busy.await.unwrap() > 0);
    caught_up(b, &View::ALL).await;
    let log = b.open_log().await;
    for (_, view) in views {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
    one_patient(b, &engine).await;
    let account = engine.query("SELECT detail, reason FROM operations", &[]).await.unwrap();
    assert!(account.len() > 20 && account.iter().all(|r| !r.text(0).contains("p-")));
}

/// One patient, with the time that it takes.
async fn one_patient(b: &Backends, engine: &store::Engine) {
    let sql = format!("UPDATE mot_touchpoints_g1 SET score = 1 WHERE patient_id = '{PATIENT}'");
    assert!(execute(engine, &sql).await > 0);
    let replay = |apply: bool| {
        let mut args = vec!["replay", "--patient", PATIENT, "--json"];
        args.extend(apply.then_some("--apply"));
        let out = b.run(&args);
        assert!(!out.stdout.contains(PATIENT) && !out.stderr.contains(PATIENT), "{} {}", out.stdout, out.stderr);
        (out.code, out.lines())
    };
    let (code, shown) = replay(false);
    assert_eq!(code, 3, "{shown:?}");
    let mot = shown.iter().find(|l| l["view"] == "mot" && l["differences"] != json!([])).unwrap();
    assert_eq!((&mot["differences"][0]["table"], &mot["scanned"]), (&json!("mot_touchpoints"), &json!(false)));
    for l in shown.iter().filter(|l| l["ms"].is_number()) {
        println!("measured: {} {} events in {} ms, scanned {}", l["view"], l["events"], l["ms"], l["scanned"]);
    }
    assert_eq!(replay(true).0, 0);
    let (code, clean) = replay(false);
    assert!(code == 0 && clean.iter().all(|l| l["differences"] == json!([])), "{clean:?}");
    // The positions are the timeline's own: where it has lost rows another view knows, and it is read whole as well.
    assert!(execute(engine, &format!("DELETE FROM timeline_entries_g1 WHERE patient_id = '{PATIENT}'")).await > 0);
    let (code, shown) = replay(false);
    let whole = |l: &&Json| l["view"] == "timeline" && l["scanned"] == true;
    let lost: Vec<&Json> = shown.iter().filter(whole).flat_map(|l| l["differences"].as_array().unwrap()).collect();
    assert!(code == 3 && lost.iter().any(|d| d["table"] == "timeline_entries" && d["missing"] != 0), "{shown:?}");
    assert_eq!(replay(true).0, 0);
    let (code, clean) = replay(false);
    assert!(code == 0 && clean.iter().all(|l| l["scanned"] != true), "{clean:?}");
    assert!(clean.iter().any(|l| l["view"] == "timeline" && l["events"] != 0), "{clean:?}");
    let out = b.run(&["replay", "--patient", PATIENT, "--view", "timeline", "--scan"]);
    assert!(out.code == 0 && out.stdout.contains("whole partition read: nothing differs"), "{}", out.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_rows_are_found_and_repaired_embedded() {
    tampered_rows_are_found_and_repaired(&Backends::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_rows_are_found_and_repaired_on_services() {
    let Some(b) = Backends::services("tampered").await else { return };
    tampered_rows_are_found_and_repaired(&b).await;
}

/// The continuous check of every view goes through patients that are published for all the time, and finds nothing.
async fn a_busy_system_raises_no_alarm(b: &Backends) {
    /// Patients that are checked of each view: more than one lap.
    const CHECKED: f64 = 1_000.0;
    let sample = b.sample(20, 8);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let server = b.start_with(&["all"], &[("JOURNEYLOG_PROJECTOR__VERIFY_KEYS_PER_S", "1000")]).await;
    caught_up(b, &View::ALL).await;
    let (busy, cancel) = publishing(&server);
    let begun = std::time::Instant::now();
    loop {
        let text = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let drift: Vec<_> = text.lines().filter(|l| l.starts_with("projector_drift_rows{")).collect();
        assert!(drift.iter().all(|l| l.ends_with(" 0")), "{drift:?}");
        let checked = |view: &View| {
            let name = format!("projector_verified_keys_total{{view=\"{}\"}} ", view.as_str());
            text.lines().find_map(|l| l.strip_prefix(&name)).map_or(0.0, |n| n.parse::<f64>().unwrap())
        };
        if View::ALL.iter().all(|v| checked(v) >= CHECKED) {
            break;
        }
        let so_far: Vec<f64> = View::ALL.iter().map(checked).collect();
        assert!(begun.elapsed() < support::PATIENCE && !busy.is_finished(), "{so_far:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    cancel.cancel();
    let published = busy.await.unwrap();
    println!("no alarm in {:?}, {published} events published meanwhile", begun.elapsed());
    assert!(published > 100);
    assert!(!server.logged().contains("the view differs from the log"), "{}", server.logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_system_raises_no_alarm_embedded() {
    a_busy_system_raises_no_alarm(&Backends::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_system_raises_no_alarm_on_services() {
    let Some(b) = Backends::services("busy").await else { return };
    a_busy_system_raises_no_alarm(&b).await;
}

/// Beside the projector, all the time: metrics and a line in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_projector_notices_what_was_changed_by_hand() {
    let b = Backends::embedded();
    let sample = b.sample(10, 5);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let server = b.start_with(&["all"], &[("JOURNEYLOG_PROJECTOR__VERIFY_KEYS_PER_S", "1000")]).await;
    caught_up(&b, &View::ALL).await;
    let engine = b.engine().await;
    assert!(execute(&engine, "UPDATE follow_up_items_g1 SET points = points + 1").await > 0);
    let begun = std::time::Instant::now();
    let metric = "projector_drift_rows{view=\"follow_ups\",table=\"follow_up_items\"}";
    loop {
        let text = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
        if text.contains(metric) && text.contains("projector_verified_keys_total{view=\"timeline\"}") {
            break;
        }
        assert!(begun.elapsed() < support::PATIENCE, "{text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let logged = server.logged();
    assert!(logged.contains("the view differs from the log") && !logged.contains(PATIENT), "{logged}");
    assert_eq!(b.run(&["verify", "follow-ups"]).code, 3, "it is not repaired by itself");
}
