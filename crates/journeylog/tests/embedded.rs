//! The whole way of an event in one process on SQLite, as a hospital's system, a nurse and an ops team see it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::{Value as Json, json};
use support::{Backends, caught_up, event, fold};

#[tokio::test(flavor = "multi_thread")]
async fn a_touchpoint_is_seen_on_a_timeline_in_a_score_and_in_a_queue() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let p = "p-00000000000000aa";
    let visit = json!([
        event(
            "AppointmentBooked",
            p,
            "2026-03-02T00:00:00Z",
            json!({"appointment_id": "A-1", "starts_at": "2026-03-09T01:00:00Z", "hold_s": 30})
        ),
        event("PatientCheckedIn", p, "2026-03-09T00:55:00Z", json!({"appointment_id": "A-1", "encounter_id": "E-1"})),
        event("WaitEstimated", p, "2026-03-09T00:56:00Z", json!({"encounter_id": "E-1", "wait_told_min": 10})),
        event("ConsultStarted", p, "2026-03-09T01:20:00Z", json!({"encounter_id": "E-1", "appointment_id": "A-1"})),
        event(
            "PatientQuestionAsked",
            p,
            "2026-03-09T01:25:00Z",
            json!({"question_id": "Q-1", "encounter_id": "E-1", "topic": "risk"})
        ),
        event("ConsultEnded", p, "2026-03-09T01:40:00Z", json!({"encounter_id": "E-1"})),
    ]);
    let (status, answer) = server.post("/v1/events", &visit).await;
    assert_eq!(status, 200, "{answer}");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 6, "{answer}");
    let after = results.last().unwrap()["position"].as_str().unwrap();

    let (status, page) = server.get(&format!("/v1/patients/{p}/timeline?after={after}")).await;
    assert_eq!(status, 200, "{page}");
    let kinds: Vec<&str> = page["items"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "AppointmentBooked");
    assert_eq!(kinds.len(), 6);

    let (_, journeys) = server.get(&format!("/v1/patients/{p}/journeys?after={after}")).await;
    let journey = &journeys["items"][0];
    assert_eq!(journey["stages"].as_array().unwrap().len(), 8, "{journey}");
    let id = journey["id"].as_str().unwrap();
    let (status, whole) = server.get(&format!("/v1/journeys/{id}")).await;
    assert_eq!((status, whole["id"].as_str()), (200, Some(id)));

    let (status, mot) = server.get(&format!("/v1/journeys/{id}/mot?after={after}")).await;
    assert_eq!(status, 200, "{mot}");
    let text = mot.to_string();
    assert!(text.contains("mot-v1") && text.contains("wait"), "{text}");

    let (status, queue) = server.get(&format!("/v1/follow-ups?status=open&after={after}")).await;
    assert_eq!(status, 200, "{queue}");
    let kinds: Vec<&str> = queue["items"].as_array().unwrap().iter().map(|i| i["kind"].as_str().unwrap()).collect();
    assert!(kinds.len() >= 2, "the visit and the question want a follow-up: {kinds:?}");
    let (status, card) = server.get(&format!("/v1/patients/{p}/card")).await;
    assert_eq!(status, 200, "{card}");
    let ids = |items: &Json| -> Vec<Json> { items.as_array().unwrap().iter().map(|i| i["item_id"].clone()).collect() };
    assert_eq!(ids(&card["open_items"]), ids(&queue["items"]), "the card has what the queue has: {card}");
    let (status, _) = server.get("/v1/patients/p-nobody/timeline").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nurse_works_an_item_off() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let ended = event("ConsultEnded", "p-00000000000000ab", "2026-03-09T01:40:00Z", json!({"encounter_id": "E-9"}));
    let (_, answer) = server.post("/v1/events", &ended).await;
    let after = answer["position"].as_str().unwrap();
    let (_, queue) = server.get(&format!("/v1/follow-ups?status=open&after={after}")).await;
    let item = queue["items"][0]["item_id"].as_str().unwrap();

    let (status, lease) = server.post(&format!("/v1/follow-ups/{item}/claim"), &json!({"holder": "nurse-1"})).await;
    assert_eq!(status, 200, "{lease}");
    let token = &lease["token"];
    let (status, _) = server.post(&format!("/v1/follow-ups/{item}/claim"), &json!({"holder": "nurse-2"})).await;
    assert_eq!(status, 409);
    let call = json!({"holder": "nurse-1", "token": token, "channel": "phone", "human": true,
        "answers": ["well", "referral booked", "none", "no help needed", "invited"]});
    let (status, done) = server.post(&format!("/v1/follow-ups/{item}/complete"), &call).await;
    assert_eq!(status, 200, "{done}");
    let after = done["position"].as_str().unwrap();
    let (_, item) = server.get(&format!("/v1/follow-ups/{item}?after={after}")).await;
    assert_eq!(item["status"], "closed", "{item}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_answered_the_same_and_another_under_its_id_refused() {
    let b = Backends::embedded();
    let mut server = b.start(&["all"]).await;
    let mut e =
        event("PatientCheckedIn", "p-00000000000000ac", "2026-03-09T01:40:00Z", json!({"appointment_id": "A-1"}));
    let (first, a) = server.post("/v1/events", &e).await;
    let (second, again) = server.post("/v1/events", &e).await;
    assert_eq!((first, second), (201, 200));
    assert_eq!((a["position"].clone(), again["duplicate"].clone()), (again["position"].clone(), json!(true)));
    e["appointment_id"] = json!("A-2");
    let (status, problem) = server.post("/v1/events", &e).await;
    assert_eq!(status, 409, "{problem}");
    // The gateway's counts outlive it.
    assert_eq!(server.terminate(), 0, "{}", server.logged());
    let server = b.start(&["all"]).await;
    let (_, told) = server.get("/v1/sources").await;
    let source = &told["sources"].as_array().unwrap()[0];
    assert_eq!(source["source"], e["header"]["source"]["system"]);
    let intake = json!({"received": 3, "accepted": 1, "duplicate": 1, "ignored": 0, "refused": {"conflict": 1}});
    assert_eq!(source["weeks"].as_array().unwrap().last().unwrap()["intake"]["http"], intake, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_field_by_field() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let mut e = event(
        "WaitEstimated",
        "p-00000000000000ad",
        "2026-03-09T01:40:00Z",
        json!({"wait_told_min": "ten", "colour": 1}),
    );
    e["header"]["occurred_at"] = json!("yesterday");
    let (status, problem) = server.post("/v1/events", &e).await;
    assert!((400..500).contains(&status));
    let mut pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/colour", "/header/occurred_at", "/wait_told_min"], "{problem}");

    assert_eq!(announce(&server, 50 << 20).await, 413);
    let (status, _) = server.post_raw("/v1/events", "application/json", vec![0xff, 0xfe, b'{']).await;
    assert_eq!(status, 400);
    let (status, _) =
        server.post("/v1/events", &event("PatientTeleported", "p-1", "2026-03-09T01:40:00Z", json!({}))).await;
    assert!((400..500).contains(&status));
    let (status, _) =
        server.post("/v1/events", &event("PatientCheckedIn", "p-1", "2046-03-09T01:40:00Z", json!({}))).await;
    assert!((400..500).contains(&status));
    assert!(!server.logged().contains("p-00000000000000ad"), "patient ids stay out of the log");
}

/// Announces a body of so many bytes, sends none of it, and reads the status.
async fn announce(server: &support::Server, bytes: usize) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = server.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_of_any_length_with_one_bad_line_loses_nothing() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let lines = 20_000;
    let body: String = (0..lines)
        .map(|i| match i == lines / 2 {
            true => "{\"type\":\"PatientCheckedIn\",\"header\":{\n".to_owned(),
            false => format!(
                "{}\n",
                event("PatientCheckedIn", &format!("p-{:016x}", i % 500), "2026-03-09T01:40:00Z", json!({}))
            ),
        })
        .collect();
    let r = server
        .http
        .post(server.url("/v1/events"))
        .header("content-type", "application/x-ndjson")
        .body(body)
        .send()
        .await
        .unwrap();
    let text = r.text().await.unwrap();
    let results: Vec<Json> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let accepted = results.iter().filter(|r| r["position"].is_string()).count();
    assert_eq!(accepted, lines - 1);
    caught_up(&b, &View::ALL).await;
    let rows = b.engine().await.query("SELECT count(*) FROM timeline_entries", &[]).await.unwrap();
    assert_eq!(rows[0].int(0), lines as i64 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_description_can_be_tried_out() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let (_, doc) = server.get("/openapi.json").await;
    for (kind, media) in [("EventOrArray", "application/json"), ("CloudEvent", "application/cloudevents+json")] {
        let example = doc["components"]["schemas"][kind]["example"].to_string();
        let request = server.http.post(server.url("/v1/events")).header("content-type", media).body(example);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_parks_one_patient_and_nobody_else() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let (poisoned, other) = ("p-00000000000000b1", "p-00000000000000b2");
    let log = b.open_log().await;
    let poison =
        eventlog::NewRecord { key: poisoned.into(), value: b"\0\0\0\0\x07nonsense".as_slice().into(), headers: vec![] };
    log.append(vec![poison]).await.remove(0).unwrap();
    for p in [poisoned, other] {
        let e = event("PatientCheckedIn", p, "2026-03-09T01:40:00Z", json!({"appointment_id": "A-1"}));
        assert_eq!(server.post("/v1/events", &e).await.0, 201);
    }
    caught_up(&b, &View::ALL).await;
    assert_eq!(server.get(&format!("/v1/patients/{other}/timeline")).await.0, 200);
    assert_eq!(server.get(&format!("/v1/patients/{poisoned}/timeline")).await.0, 404);
    let out = b.run(&["dead-letters", "list", "--json"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert_eq!(out.stdout.lines().count(), 6, "the poison and what waits behind it, in three views: {}", out.stdout);
    assert!(!out.stdout.contains(poisoned), "no patient data in the listing");
    let first: Json = serde_json::from_str(out.stdout.lines().next().unwrap()).unwrap();
    let shown = b.run(&["dead-letters", "show", first["id"].as_str().unwrap()]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(!shown.stdout.contains(poisoned) && !shown.stdout.contains("nonsense"));
    let metrics = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for view in View::ALL.map(View::as_str) {
        for (code, source) in [("undecodable", "unknown"), ("parked", "test")] {
            let line = format!("projector_dead_letters_total{{view=\"{view}\",code=\"{code}\",source=\"{source}\"}} 1");
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    }
    assert_eq!(server.get("/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_equal_the_log_also_after_a_kill() {
    let b = Backends::embedded();
    let sample = b.sample(60, 7);
    let published = b.run(&["publish", sample.to_str().unwrap(), "--json"]);
    assert_eq!(published.code, 0, "{}", published.stderr);
    for after_ms in [30, 150, 400] {
        let server = b.spawn(&["all"], &[]);
        tokio::time::sleep(std::time::Duration::from_millis(after_ms)).await;
        server.kill();
    }
    let mut server = b.start(&["all"]).await;
    caught_up(&b, &View::ALL).await;
    let (engine, log) = (b.engine().await, b.open_log().await);
    for view in View::ALL {
        assert!(fold::assert_equals_log(view, &engine, log.as_ref()).await > 0, "{} is empty", view.as_str());
    }
    assert_eq!(server.terminate(), 0, "{}", server.logged());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_history_is_accounted_for_row_by_row() {
    let Some(csv) = support::shared_data("logs/sepsis.csv") else { return };
    let b = Backends::embedded();
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/mappings/sepsis.toml");
    let out = b.run(&["import", "--mapping", mapping, csv.to_str().unwrap(), "--json"]);
    assert!(out.code == 0 || out.code == 3, "{}", out.stderr);
    let summary: Json = serde_json::from_str(out.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["rows"], 15_214, "{summary}");
    let sum = ["accepted", "duplicates", "refused"].iter().map(|k| summary[k].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum, 15_214, "{summary}");
    let server = b.start(&["all"]).await;
    caught_up(&b, &View::ALL).await;
    let engine = b.engine().await;
    let rows = engine.query("SELECT count(*), count(DISTINCT patient_id) FROM timeline_entries", &[]).await.unwrap();
    assert_eq!((rows[0].int(0), rows[0].int(1)), (summary["accepted"].as_i64().unwrap(), 1050));
    let log = b.open_log().await;
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    let b = Backends::embedded();
    let server = b.start(&["all"]).await;
    let (status, doc) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    assert!(doc["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in [
        "/v1/events",
        "/v1/patients/{id}/timeline",
        "/v1/patients/{id}/journeys",
        "/v1/patients/{id}/card",
        "/v1/journeys/{id}",
        "/v1/journeys/{id}/mot",
        "/v1/mot/aggregates",
        "/v1/mot/alerts",
        "/v1/follow-ups",
        "/v1/follow-ups/{id}/claim",
        "/v1/follow-ups/{id}/release",
        "/v1/follow-ups/{id}/attempts",
        "/v1/follow-ups/{id}/complete",
        "/v1/status",
    ] {
        assert!(doc["paths"].get(path).is_some(), "{path} is not described");
    }
    let page = server.http.get(server.url("/docs/")).send().await.unwrap();
    assert!(page.status().is_success());
    let metrics = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("journeylog_view_lag_events"), "{metrics}");
    let (_, status) = server.get("/v1/status").await;
    assert_eq!(status["views"].as_array().unwrap().len(), 3, "{status}");
}
