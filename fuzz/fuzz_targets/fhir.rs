//! A body to `POST /fhir`: no panic; an answer that is FHIR; the same body again brings nothing new.
#![no_main]

#[path = "../nowhere.rs"]
mod nowhere;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use ingest::{Fhir, Pseudonyms, Publisher, Settings, Site};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use tower::ServiceExt as _;

const SITE: &str = r#"
zone = "Asia/Seoul"
[authorities.main]
aliases = ["HOSP", "http://hospital.example/mrn"]
rank = 1
[fhir.questionnaires."http://hospital.example/q"]
instrument = "q/1"
items.a = { dimension = "empathy", min = 0, max = 10 }
"#;
/// Entries of a bundle; each is two events at most, or as many as a patient's links or a stay's places.
const ENTRIES: usize = 50;

fn router() -> Router {
    let site = Arc::new(Site::parse(SITE).expect("a valid site"));
    let pseudonyms = Pseudonyms::new(&[7; 32], site).expect("a key that is long enough");
    let settings = Settings { window_events: 20_000, ..Default::default() };
    let publisher = Publisher::new(Arc::new(nowhere::Nowhere), settings).with_pseudonyms(Some(pseudonyms));
    let limits = ingest::fhir::Limits::of(&ingest::Limits::default());
    ingest::fhir::router(Arc::new(Fhir::new(Arc::new(publisher), ingest::fhir::Limits { entries: ENTRIES, ..limits })))
}

static ROUTER: LazyLock<Router> = LazyLock::new(router);
static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// Status, and the answer.
async fn send(bytes: &[u8]) -> (u16, serde_json::Value) {
    let request = Request::post("/fhir").header("content-type", "application/fhir+json");
    let request = request.body(Body::from(bytes.to_vec())).expect("a request");
    let answer = ROUTER.clone().oneshot(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

fuzz_target!(|bytes: &[u8]| {
    let (status, answer) = RUNTIME.block_on(send(bytes));
    assert!(matches!(status, 200 | 201 | 400 | 413 | 422), "{status} {answer}");
    assert!(matches!(answer["resourceType"].as_str(), Some("Bundle" | "OperationOutcome")), "{answer}");
    let (again, answer) = RUNTIME.block_on(send(bytes));
    assert!(again == status || (status, again) == (201, 200), "{status}, then {again}: {answer}");
    assert!(again != 201 && !answer.to_string().contains("201 Created"), "new once more: {answer}");
});
