//! A body to `POST /v1/events` in each of its formats: no panic; an answer that is JSON; the same body again is a duplicate.
#![no_main]

#[path = "../nowhere.rs"]
mod nowhere;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use ingest::{Gateway, Pseudonyms, Publisher, Settings, Site};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use tower::ServiceExt as _;

/// Content types; the first byte chooses one, and whether the event is in binary mode.
const TYPES: [&str; 4] =
    ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json", "application/x-ndjson"];
const SITE: &str = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]\nrank = 1\n";

fn router() -> Router {
    let site = Arc::new(Site::parse(SITE).expect("a valid site"));
    let pseudonyms = Pseudonyms::new(&[7; 32], site).expect("a key that is long enough");
    let settings = Settings { window_events: 20_000, ..Default::default() };
    let publisher = Publisher::new(Arc::new(nowhere::Nowhere), settings).with_pseudonyms(Some(pseudonyms));
    let limits = ingest::Limits { array_events: 1_000, ..Default::default() };
    ingest::router(Arc::new(Gateway::new(Arc::new(publisher), limits)))
}

static ROUTER: LazyLock<Router> = LazyLock::new(router);
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

async fn send(chosen: u8, bytes: &[u8]) -> u16 {
    let mut request = Request::post("/v1/events").header("content-type", TYPES[usize::from(chosen % 4)]);
    if chosen & 4 != 0 {
        let kind = if chosen & 8 != 0 { "AppointmentBooked" } else { "PatientCheckedIn" };
        request = request.header("ce-specversion", "1.0").header("ce-id", format!("%4{:x}", chosen >> 4)).header("ce-source", "fuzz");
        request = request.header("ce-type", format!("org.journeylog.event.{kind}"));
    }
    let request = request.body(Body::from(bytes.to_vec())).expect("a request");
    let answer = ROUTER.clone().oneshot(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
    for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        serde_json::from_slice::<serde_json::Value>(line).expect("JSON");
    }
    status
}

fuzz_target!(|bytes: &[u8]| {
    let Some((chosen, body)) = bytes.split_first() else { return };
    let status = RUNTIME.block_on(send(*chosen, body));
    assert!(matches!(status, 200 | 201 | 207 | 400 | 409 | 413 | 422), "{status}");
    let again = RUNTIME.block_on(send(*chosen, body));
    assert!(again == status || (status, again) == (201, 200), "{status}, then {again}");
});
