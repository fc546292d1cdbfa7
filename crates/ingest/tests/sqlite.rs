//! HTTP to the real log on SQLite: what is answered is in the file, also for the next process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use journeylog_ingest::{Gateway, Limits, Publisher, Settings, router};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

async fn server(url: &str) -> (axum::Router, Arc<dyn eventlog::Log>) {
    let log = eventlog::open(url, &eventlog::Options::default()).await.unwrap();
    let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()));
    publisher.warm(10_000).await.unwrap();
    (router(Arc::new(Gateway::new(publisher, Limits::default()))), log)
}

async fn post(router: &axum::Router, kind: &str, body: String) -> (u16, String) {
    let request = Request::post("/v1/events").header("content-type", kind).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn booking(n: u64) -> Value {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes());
    json!({
        "type": "AppointmentBooked",
        "header": {
            "event_id": id.to_string(), "occurred_at": "2026-03-02T09:00:00+09:00", "zone": "Asia/Seoul",
            "recorded_at": "2026-03-02T09:00:01+09:00", "source": {"system": "scheduling"}, "patient_id": format!("p{}", n % 10)
        },
        "appointment_id": format!("a-{n}"), "starts_at": "2026-03-05T10:00:00+09:00"
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_survives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?partitions=4", folder.path().join("log.db").display());
    let (first, _) = server(&url).await;
    let lines: String = (0..5_000).map(|n| booking(n).to_string() + "\n").collect();
    let (status, answers) = post(&first, "application/x-ndjson", lines).await;
    assert_eq!((status, answers.lines().count()), (200, 5_000));
    drop(first);

    let (second, log) = server(&url).await;
    for (n, answer) in answers.lines().enumerate().step_by(97) {
        let before: Value = serde_json::from_str(answer).unwrap();
        let (status, text) = post(&second, "application/json", booking(n as u64).to_string()).await;
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &again["position"], &again["duplicate"]),
            (200, &before["position"], &json!(true)),
            "{text}"
        );
    }
    let mut other = booking(1);
    other["service"] = "another".into();
    assert_eq!(post(&second, "application/json", other.to_string()).await.0, 409);
    let all: u64 = log.bounds().await.unwrap().iter().map(|(first, end)| end - first).sum();
    assert_eq!(all, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?partitions=4", folder.path().join("log.db").display());
    let (server, log) = server(&url).await;
    let senders = (0..32u64).map(|s| {
        let server = server.clone();
        tokio::spawn(async move {
            // Neighbours overlap by half.
            for n in s * 10..s * 10 + 20 {
                let (status, text) = post(&server, "application/json", booking(n).to_string()).await;
                assert!(status == 201 || status == 200, "{text}");
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let all: u64 = log.bounds().await.unwrap().iter().map(|(first, end)| end - first).sum();
    assert_eq!(all, 330);
}
