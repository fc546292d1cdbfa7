mod dangling;
mod entries;
mod ids;
mod large;
mod mapping;
mod mutations;
mod people;

use super::*;
use crate::publisher::Settings;
use crate::site::Pseudonyms;
use crate::testing::{MemoryLog, Mood};
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const SITE: &str = r#"
zone = "Asia/Seoul"
site = "seoul"
[authorities.main]
aliases = ["HOSP", "http://hospital.example/mrn"]
rank = 2
[authorities.national]
aliases = ["urn:oid:1.2.9"]
rank = 1
[authorities.visits]
aliases = ["http://hospital.example/visit"]
[departments]
CARD = "cardiology"
[fhir.questionnaires."http://hospital.example/q/visit"]
instrument = "visit/1"
items.kind = { dimension = "empathy", role = "doctor", min = 0, max = 10, touchpoint = "consult" }
"#;

pub(super) struct Server {
    log: Arc<MemoryLog>,
    router: Router,
    known: Pseudonyms,
}

pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    json: Value,
}

impl Reply {
    /// Code and expression of the first issue.
    fn issue(&self) -> (&str, &str) {
        let issue = &self.json["issue"][0];
        (issue["code"].as_str().unwrap(), issue["expression"][0].as_str().unwrap_or_default())
    }

    fn statuses(&self) -> Vec<&str> {
        let entries = self.json["entry"].as_array().unwrap();
        entries.iter().map(|e| e["response"]["status"].as_str().unwrap().split(' ').next().unwrap()).collect()
    }
}

fn known() -> Pseudonyms {
    Pseudonyms::new(&[1; 32], Arc::new(crate::Site::parse(SITE).unwrap())).unwrap()
}

pub(super) fn server() -> Server {
    over(MemoryLog::new(), Some(known()), 10_000)
}

/// A process of its own, with nothing remembered, over a log.
fn over(log: Arc<MemoryLog>, pseudonyms: Option<Pseudonyms>, entries: usize) -> Server {
    let limits = Limits { entries, ..Limits::of(&crate::Limits::default()) };
    let publisher = Arc::new(Publisher::new(log.clone(), Settings::default()).with_pseudonyms(pseudonyms));
    Server { router: router(Arc::new(Fhir::new(publisher, limits))), log, known: known() }
}

impl Server {
    /// Another process over the same log, which has learnt from its end as the door lets it.
    async fn restarted(&self) -> Self {
        let settings = Settings::default();
        let publisher = Arc::new(Publisher::new(self.log.clone(), settings).with_pseudonyms(Some(known())));
        let fhir = Arc::new(Fhir::new(publisher.clone(), Limits::of(&crate::Limits::default())));
        publisher.warm_with(1_000, |event| fhir.learn(event)).await.unwrap();
        Self { router: router(fhir), log: self.log.clone(), known: known() }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(headers["content-type"], "application/fhir+json");
        Reply { status, headers, json: serde_json::from_slice(&body).unwrap() }
    }

    pub(super) async fn post(&self, body: &Value) -> Reply {
        self.post_to("/fhir", body).await
    }

    async fn post_to(&self, path: &str, body: &Value) -> Reply {
        let request = Request::post(path).header("content-type", "application/fhir+json; fhirVersion=4.0");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Reply {
        let request = Request::put(path).header("content-type", "application/fhir+json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// What lies in the log, by time.
    pub(super) fn events(&self) -> Vec<Value> {
        let all = self.log.records.lock().unwrap();
        let mut events: Vec<_> = all.iter().flatten().map(|r| codec::decode(&r.value).unwrap()).collect();
        events.sort_by_key(|e| (e.header().occurred_at, e.kind().as_str()));
        events.iter().map(|e| serde_json::from_str(&e.to_json()).unwrap()).collect()
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect()
    }
}

pub(super) fn patient() -> Value {
    json!({"identifier": {"system": "http://hospital.example/mrn", "value": "0012"}})
}

pub(super) fn appointment(version: u32, status: &str) -> Value {
    json!({
        "resourceType": "Appointment", "id": "a1", "status": status,
        "meta": {"versionId": version.to_string(), "lastUpdated": format!("2026-03-02T0{version}:00:00+09:00")},
        "created": "2026-03-01T09:00:00+09:00", "start": "2026-03-05T10:00:00+09:00", "minutesDuration": 20,
        "serviceType": [{"coding": [{"code": "CARD"}]}],
        "participant": [
            {"actor": patient(), "status": "accepted"},
            {"actor": {"reference": "Practitioner/d1"}, "status": "accepted"}
        ]
    })
}

fn bundle(kind: &str, resources: &[Value]) -> Value {
    let entry = |r: &Value| json!({"resource": r, "request": {"method": "POST", "url": r["resourceType"]}});
    json!({"resourceType": "Bundle", "type": kind, "entry": resources.iter().map(entry).collect::<Vec<_>>()})
}

#[tokio::test]
async fn versions_become_the_events_that_they_mean_and_none_twice() {
    let s = server();
    for (version, status) in [(1, "booked"), (2, "booked"), (3, "arrived"), (4, "checked-in"), (5, "fulfilled")] {
        let first = s.put("/fhir/Appointment/a1", &appointment(version, status)).await;
        let new = ["1", "3", "5"].contains(&&*version.to_string());
        assert_eq!(first.status, if new { 201 } else { 200 }, "{version} {}", first.json);
        assert_eq!(s.put("/fhir/Appointment/a1", &appointment(version, status)).await.status, 200);
    }
    assert_eq!(s.kinds(), ["AppointmentBooked", "PatientCheckedIn", "ConsultEnded"]);
    // Another process remembers nothing, and its window is the log's: still nothing is told twice.
    let publisher = Arc::new(Publisher::new(s.log.clone(), Settings::default()).with_pseudonyms(Some(known())));
    publisher.warm(1_000).await.unwrap();
    let other = Fhir::new(publisher, Limits::of(&crate::Limits::default()));
    let other = Server { router: router(Arc::new(other)), log: s.log.clone(), known: known() };
    for (version, status) in [(1, "booked"), (3, "arrived"), (5, "fulfilled")] {
        assert_eq!(other.post(&appointment(version, status)).await.status, 200);
    }
    assert_eq!(s.log.len(), 3);
}

#[tokio::test]
async fn a_move_a_change_and_a_cancellation() {
    let s = server();
    s.post(&appointment(1, "booked")).await;
    let mut moved = appointment(2, "booked");
    moved["start"] = "2026-03-06T10:00:00+09:00".into();
    assert_eq!(s.post(&moved).await.status, 201);
    assert_eq!(s.post(&moved).await.status, 200);
    let mut longer = moved.clone();
    longer["meta"] = json!({"versionId": "3", "lastUpdated": "2026-03-02T03:00:00+09:00"});
    longer["minutesDuration"] = 40.into();
    assert_eq!(s.post(&longer).await.status, 201);
    let mut off = appointment(4, "cancelled");
    off["cancelationReason"] = json!({"coding": [{"code": "prov-pers"}], "text": "ill"});
    s.post(&off).await;
    assert_eq!(
        s.kinds(),
        ["AppointmentBooked", "AppointmentRescheduled", "AppointmentModified", "AppointmentCancelled"]
    );
    let all = s.events();
    assert_eq!(all[1]["starts_at"], "2026-03-06T01:00:00Z");
    assert_eq!((all[2]["duration_min"].as_i64(), all[3]["by"].as_str()), (Some(40), Some("hospital")));
    // Booked once more after that is another booking.
    let mut again = appointment(5, "booked");
    again["start"] = moved["start"].clone();
    assert_eq!(s.post(&again).await.status, 201);
    assert_eq!(s.post(&again).await.status, 200);
}

/// Another process over the same log, which has read it.
async fn restarted(s: &Server) -> Server {
    let publisher = Arc::new(Publisher::new(s.log.clone(), Settings::default()).with_pseudonyms(Some(known())));
    let fhir = Arc::new(Fhir::new(publisher.clone(), Limits::of(&crate::Limits::default())));
    publisher.warm_with(1_000, |event| fhir.learn(event)).await.unwrap();
    Server { router: router(fhir), log: s.log.clone(), known: known() }
}

#[tokio::test]
async fn a_restart_knows_what_an_appointment_was() {
    let s = server();
    let at = |version, status: &str, id: &str, start: &str| {
        let mut a = appointment(version, status);
        (a["id"], a["start"]) = (id.into(), start.into());
        a
    };
    let (first, second) = ("2026-03-05T10:00:00+09:00", "2026-03-06T10:00:00+09:00");
    for body in [at(1, "booked", "off", first), at(2, "cancelled", "off", first), at(1, "booked", "to", first)] {
        assert_eq!(s.post(&body).await.status, 201);
    }
    assert_eq!(s.post(&at(2, "booked", "to", second)).await.status, 201);
    let later = restarted(&s).await;
    let known = [at(1, "booked", "off", first), at(2, "cancelled", "off", first), at(2, "booked", "to", second)];
    for body in &known {
        assert_eq!(later.post(body).await.status, 200, "{body}");
    }
    // Booked again after it was cancelled, and moved back: both would pass for what was told before.
    assert_eq!(later.post(&at(3, "booked", "off", first)).await.status, 201);
    assert_eq!(later.post(&at(3, "booked", "to", first)).await.status, 201);
    let kinds = s.kinds();
    assert_eq!(kinds.iter().filter(|k| *k == "AppointmentBooked").count(), 3);
    assert_eq!(kinds.iter().filter(|k| *k == "AppointmentRescheduled").count(), 2);
    let again = restarted(&s).await;
    assert_eq!(again.post(&at(3, "booked", "off", first)).await.status, 200);
    let mut longer = at(4, "booked", "off", first);
    longer["minutesDuration"] = 45.into();
    assert_eq!(again.post(&longer).await.status, 201);
    assert_eq!(again.kinds().last().unwrap(), "AppointmentModified");
}

#[tokio::test]
async fn a_later_version_is_never_told_at_the_time_of_the_first() {
    let mut moved = appointment(2, "booked");
    moved["start"] = "2026-03-06T10:00:00+09:00".into();
    // A history has the newest first; and another process knows nothing of the first version.
    let s = server();
    assert_eq!(s.post(&bundle("history", &[moved.clone(), appointment(1, "booked")])).await.statuses(), ["201", "201"]);
    let other = over(s.log.clone(), Some(known()), 10);
    other.post(&moved).await;
    for e in s.events() {
        let updated = e["starts_at"] == "2026-03-06T01:00:00Z";
        let expected = if updated { "2026-03-01T17:00:00Z" } else { "2026-03-01T00:00:00Z" };
        assert_eq!(e["header"]["occurred_at"], expected, "{e}");
    }
}

#[tokio::test]
async fn a_transaction_is_taken_whole_or_not_at_all() {
    let s = server();
    let mut wrong = appointment(1, "booked");
    wrong["id"] = "a2".into();
    wrong["start"] = "soon".into();
    let both = [appointment(1, "booked"), wrong.clone()];
    let refused = s.post(&bundle("transaction", &both)).await;
    assert_eq!((refused.status, refused.issue()), (422, ("value", "Bundle.entry[1].resource.start")));
    assert_eq!(s.log.len(), 0);
    let batch = s.post(&bundle("batch", &both)).await;
    assert_eq!((batch.status, batch.statuses()), (200, vec!["201", "422"]));
    assert_eq!(batch.json["type"], "batch-response");
    let issue = &batch.json["entry"][1]["response"]["outcome"]["issue"][0];
    assert_eq!(issue["expression"][0], "Appointment.start");
    assert!(!batch.json.to_string().contains("soon"), "no value is quoted");
    let good = s.post(&bundle("transaction", &both[..1])).await;
    assert_eq!((good.status, good.statuses()), (200, vec!["200"]));
    assert_eq!(good.json["type"], "transaction-response");
    assert_eq!(good.json["entry"][0]["response"]["location"], "Appointment/a1/_history/1");
}

#[tokio::test]
async fn a_message_is_answered_by_a_message() {
    let s = server();
    let header = json!({"resourceType": "MessageHeader", "id": "m-7", "eventCoding": {"code": "x"}});
    let r = s.post(&bundle("message", &[header, appointment(1, "booked")])).await;
    assert_eq!((r.status, &r.json["type"]), (200, &json!("message")));
    let response = &r.json["entry"][0]["resource"]["response"];
    assert_eq!((&response["identifier"], &response["code"]), (&json!("m-7"), &json!("ok")));
    assert_eq!(s.kinds(), ["AppointmentBooked"]);
    let headless = s.post(&bundle("message", &[appointment(1, "booked")])).await;
    assert_eq!((headless.status, headless.issue()), (422, ("required", "Bundle.entry[0].resource")));
}

#[tokio::test]
async fn notifications_are_not_held_up_by_what_is_wrong() {
    let s = server();
    let mut wrong = appointment(1, "booked");
    wrong["status"] = "perhaps".into();
    let status = json!({"resourceType": "SubscriptionStatus", "type": "event-notification"});
    let mut r5 = bundle("subscription-notification", &[status.clone(), appointment(1, "booked"), wrong.clone()]);
    let r = s.post_to("/fhir/notifications", &r5).await;
    assert_eq!((r.status, r.json["issue"].as_array().unwrap().len()), (200, 3));
    r5["entry"] = json!([r5["entry"][2]]);
    let r = s.post_to("/fhir/notifications", &r5).await;
    assert_eq!((r.status, r.issue()), (422, ("code-invalid", "Appointment.status")));
    // R4 backport: history, with Parameters first; a heartbeat brings nothing.
    let parameters = json!({"resourceType": "Parameters", "parameter": []});
    assert_eq!(s.post_to("/fhir/notifications", &bundle("history", &[parameters])).await.status, 200);
    assert_eq!(s.post_to("/fhir/notifications", &bundle("history", &[])).await.status, 200);
    // The state of a subscription says that it was read.
    let mut heartbeat = bundle("subscription-notification", &[status]);
    heartbeat["entry"][0]["request"] = json!({"method": "GET", "url": "https://ehr.example/Subscription/1/$status"});
    assert_eq!(s.post_to("/fhir/notifications", &heartbeat).await.status, 200);
    // R4 rest-hook: the bare resource, or an update below the end point.
    assert_eq!(s.post_to("/fhir/notifications", &appointment(2, "arrived")).await.status, 201);
    assert_eq!(s.put("/fhir/notifications/Appointment/a1", &appointment(3, "fulfilled")).await.status, 201);
    assert_eq!(s.log.len(), 3);
    let gone = Request::delete("/fhir/Appointment/a1").body(Body::empty()).unwrap();
    assert_eq!(s.send(gone).await.status, 200);
}

#[tokio::test]
async fn what_is_no_fhir_is_refused_with_an_outcome() {
    let s = server();
    let post = async |kind: &str, body: &str| {
        let request = Request::post("/fhir").header("content-type", kind).body(Body::from(body.to_owned())).unwrap();
        let r = s.send(request).await;
        assert_eq!(r.json["resourceType"], "OperationOutcome", "{}", r.json);
        (r.status, r.issue().0.to_owned(), r.issue().1.to_owned())
    };
    let ok = "application/fhir+json";
    let is = |status, code: &str, expression: &str| (status, code.to_owned(), expression.to_owned());
    assert_eq!(post("application/fhir+xml", "<x/>").await, is(415, "not-supported", ""));
    assert_eq!(post("application/fhir+json; charset=euc-kr", "{}").await, is(415, "not-supported", ""));
    assert_eq!(post(ok, "{").await, is(400, "structure", ""));
    assert_eq!(post(ok, "").await, is(400, "structure", ""));
    let twice = appointment(1, "booked").to_string().replacen('{', r#"{"participant": [], "#, 1);
    assert_eq!(post(ok, &twice).await, is(400, "structure", ""));
    assert_eq!(post(ok, "[]").await, is(400, "structure", "Resource"));
    assert_eq!(post(ok, "{}").await, is(422, "required", "Resource.resourceType"));
    assert_eq!(post(ok, r#"{"resourceType":"Apointment"}"#).await, is(422, "not-supported", "Resource.resourceType"));
    assert_eq!(post(ok, r#"{"resourceType":"Bundle"}"#).await, is(422, "required", "Bundle.type"));
    assert_eq!(post(ok, r#"{"resourceType":"Bundle","type":"x"}"#).await, is(422, "code-invalid", "Bundle.type"));
    assert_eq!(post(ok, &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).await, is(400, "structure", ""));
    let r = s.put("/fhir/Encounter/a1", &appointment(1, "booked")).await;
    assert_eq!((r.status, r.issue()), (400, ("invalid", "Resource.resourceType")));
    let r = s.put("/fhir/Appointment/a2", &appointment(1, "booked")).await;
    assert_eq!((r.status, r.issue()), (400, ("invalid", "Appointment.id")));
    let many = over(MemoryLog::new(), Some(known()), 2);
    let r = many.post(&bundle("batch", &vec![appointment(1, "booked"); 3])).await;
    assert_eq!((r.status, r.issue()), (413, ("too-costly", "Bundle.entry")));
    let nothing = over(MemoryLog::new(), None, 2).post(&appointment(1, "booked")).await;
    assert!(nothing.status == 404 && nothing.json.to_string().contains("site.file"), "{}", nothing.json);
    assert_eq!(s.log.len(), 0);
}

#[tokio::test]
async fn an_entry_says_by_its_method_what_it_wants() {
    let s = server();
    let mut all =
        bundle("batch", &[appointment(1, "booked"), appointment(1, "booked"), json!({"resourceType": "Basic"})]);
    all["entry"][0] = json!({"request": {"method": "GET", "url": "Patient/1"}});
    all["entry"][1] = json!({"request": {"method": "DELETE", "url": "Patient/1"}});
    all["entry"].as_array_mut().unwrap().push(json!({"request": {"method": "POST", "url": "Patient"}}));
    all["entry"].as_array_mut().unwrap().push(json!(7));
    assert_eq!(s.post(&all).await.statuses(), ["422", "200", "200", "422", "422"]);
    assert_eq!(s.log.len(), 0);
    // A history tells what was done elsewhere.
    let mut patched = bundle("batch", &[appointment(1, "booked")]);
    patched["entry"][0]["request"]["method"] = "PATCH".into();
    assert_eq!(s.post(&patched).await.statuses(), ["422"]);
    patched["type"] = "history".into();
    assert_eq!(s.post(&patched).await.statuses(), ["201"]);
}

#[tokio::test]
async fn after_a_restart_what_an_appointment_was_is_known_from_the_log() {
    let s = server();
    let starting = |version, start: &str| {
        let mut a = appointment(version, "booked");
        a["start"] = start.into();
        a
    };
    let (first, second) = ("2026-03-05T10:00:00+09:00", "2026-03-06T10:00:00+09:00");
    s.post(&starting(1, first)).await;
    let s = s.restarted().await;
    assert_eq!(s.post(&starting(1, first)).await.status, 200, "the same version");
    s.post(&starting(2, second)).await;
    assert_eq!(s.kinds(), ["AppointmentBooked", "AppointmentRescheduled"]);
    let s = s.restarted().await;
    assert_eq!(s.post(&starting(2, second)).await.status, 200, "the same version");
    assert_eq!(s.post(&starting(1, first)).await.status, 200, "an old version");
    // Back to where it was, which is no resend.
    s.post(&starting(3, first)).await;
    let s = s.restarted().await;
    assert_eq!(s.post(&starting(4, first)).await.status, 200, "nothing has changed");
    let mut longer = starting(5, first);
    longer["minutesDuration"] = 40.into();
    assert_eq!(s.post(&longer).await.status, 201);
    assert_eq!(s.restarted().await.post(&longer).await.status, 200);
    s.post(&appointment(6, "cancelled")).await;
    let kinds = [
        "AppointmentBooked",
        "AppointmentRescheduled",
        "AppointmentRescheduled",
        "AppointmentModified",
        "AppointmentCancelled",
    ];
    assert_eq!(s.kinds(), kinds);
}

#[tokio::test]
async fn trouble_with_the_log_is_told_and_sending_again_is_safe() {
    let s = server();
    s.log.set(Mood::Away);
    let mut other = appointment(1, "booked");
    other["id"] = "a2".into();
    let both = [appointment(1, "booked"), other];
    for body in [both[0].clone(), bundle("transaction", &both), bundle("batch", &both)] {
        let r = s.post(&body).await;
        assert_eq!((r.status, r.issue().0, r.headers["retry-after"].to_str().unwrap()), (503, "transient", "1"));
    }
    s.log.set(Mood::Busy);
    assert_eq!(s.post(&both[0]).await.status, 429);
    s.log.set(Mood::Fine);
    assert_eq!(s.post(&bundle("transaction", &both)).await.statuses(), ["201", "201"]);
    assert_eq!(s.log.len(), 2);
}

#[tokio::test]
async fn clients_learn_what_is_taken() {
    let s = server();
    let request = |accept: &str| Request::get("/fhir/metadata").header("accept", accept).body(Body::empty()).unwrap();
    assert_eq!(s.send(request("application/fhir+json")).await.json["fhirVersion"], "4.0.1");
    assert_eq!(s.send(request("application/fhir+json; fhirVersion=5.0")).await.json["fhirVersion"], "5.0.0");
}
