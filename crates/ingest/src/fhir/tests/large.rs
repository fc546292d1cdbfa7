//! What is large takes time and memory by its size, not by how often something in it is referred to.

use super::*;
use crate::fhir::element::READ;

const AT: &str = "2026-03-05T10:30:00+09:00";

fn codings(n: usize) -> Vec<Value> {
    (0..n).map(|n| json!({"code": format!("c{n}")})).collect()
}

/// Codings that a body made the mapping read. The body is small enough to be mapped by this very thread.
async fn read(s: &Server, body: &Value) -> (Reply, usize) {
    assert!(body.to_string().len() < LARGE_BODY);
    READ.set(0);
    (s.post(body).await, READ.get())
}

#[tokio::test]
async fn a_request_is_read_once_however_many_are_about_it() {
    let request = json!({
        "resourceType": "ServiceRequest", "id": "s1", "status": "active", "intent": "order", "subject": patient(),
        "code": {"coding": [{"code": "x"}]}, "category": {"coding": codings(100)}
    });
    let about = |kind: &str, n: usize| {
        json!({
            "resourceType": kind, "id": format!("{kind}{n}"), "status": "cancelled", "class": {"code": "IMP"}, "for": patient(),
            "subject": patient(), "participant": [{"actor": patient()}], "basedOn": [{"reference": "ServiceRequest/s1"}]
        })
    };
    let mut all = vec![request];
    all.extend((0..30).flat_map(|n| ["Task", "Encounter", "Appointment"].map(|kind| about(kind, n))));
    let mut body = bundle("batch", &all);
    let (r, n) = read(&server(), &body).await;
    assert!(r.statuses().iter().all(|s| s.starts_with("20")));
    // Once for itself, once for the others.
    assert_eq!(n, 2 * 101);
    // And where it can't be read.
    body["entry"][0]["resource"]["category"]["coding"][99] = json!({"code": 7});
    let (r, n) = read(&server(), &body).await;
    assert!(r.statuses().iter().all(|s| *s == "422"));
    assert_eq!(n, 2 * 100);
}

#[tokio::test]
async fn why_a_groups_appointment_is_cancelled_is_read_once() {
    let mut group = appointment(1, "cancelled");
    let of = |n| json!({"actor": {"identifier": {"system": "http://hospital.example/mrn", "value": format!("{n}")}}});
    group["participant"] = (0..50).map(of).collect();
    group["cancelationReason"] = json!({"coding": codings(100), "text": "flu"});
    let s = server();
    let (r, n) = read(&s, &group).await;
    assert_eq!((r.status, n), (201, 100));
    assert!(s.log.len() == 50 && s.events().iter().all(|e| e["reason"] == "flu" && e["by"] == "other"));
}

#[tokio::test]
async fn who_many_refer_to_is_read_once() {
    let numbers: Vec<Value> = (0..50).map(|n| json!({"system": "urn:s", "value": n.to_string()})).collect();
    let somebody = json!({"resourceType": "Patient", "id": "p", "identifier": numbers});
    let link = json!({"type": "replaces", "other": {"reference": "Patient/p"}});
    let other = json!({"resourceType": "Patient", "id": "q", "link": vec![link; 100]});
    let (r, n) = read(&server(), &bundle("batch", &[somebody, other])).await;
    assert_eq!((r.statuses(), n), (vec!["201", "201"], 50));
}

#[tokio::test]
async fn what_each_of_many_events_would_repeat_is_no_longer_than_they_take() {
    let place = |n: usize| json!({"location": {"display": format!("{n}"), "type": "Location"}});
    let stay = |id: usize, number: usize| {
        json!({
            "resourceType": "Encounter", "id": "x".repeat(id), "class": {"code": "IMP"}, "status": "finished",
            "subject": {"identifier": {"system": "http://hospital.example/mrn", "value": "9".repeat(number)}},
            "location": [place(1), place(2)], "period": {"start": AT}
        })
    };
    let s = server();
    assert_eq!(s.post(&stay(512, 8_192)).await.status, 201);
    let r = s.post(&stay(513, 4)).await;
    assert_eq!((r.status, r.issue()), (422, ("too-long", "Encounter.id")));
    assert_eq!(r.json["issue"][0]["diagnostics"], "is longer than 512 bytes");
    let r = s.post(&stay(3, 8_193)).await;
    assert_eq!((r.status, r.issue()), (422, ("too-long", "Encounter.subject.identifier.value")));
    let mut nameless = stay(3, 4);
    nameless.as_object_mut().unwrap().remove("id");
    let r = s.put(&format!("/fhir/Encounter/{}", "x".repeat(513)), &nameless).await;
    assert_eq!((r.status, r.issue()), (422, ("too-long", "Encounter.id")));
    // By its id here nobody refers to it, either.
    let charge = json!({
        "resourceType": "ChargeItem", "id": "c", "status": "billed", "subject": patient(), "enteredDate": AT,
        "priceOverride": {"value": 1, "currency": "KRW"}, "context": {"reference": "urn:uuid:7f"}
    });
    let both = json!([{"fullUrl": "urn:uuid:7f", "resource": stay(9_000, 4)}, {"resource": charge}]);
    let r = s.post(&json!({"resourceType": "Bundle", "type": "batch", "entry": both})).await;
    assert_eq!(r.statuses(), ["422", "201"]);
}
