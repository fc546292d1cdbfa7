//! Entries that say two things, or are no resource to take; addresses that can't be read.

use super::*;

#[tokio::test]
async fn an_entry_may_not_contradict_its_address() {
    let entry = |method: &str, url: &str, resource: Value| json!({"resource": resource, "request": {"method": method, "url": url}});
    let sent = |kind: &str, entry: Value| json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
    let base = "https://ehr.example/fhir";
    for (method, url, what) in [
        ("PUT", "Appointment/a2", "id"),
        ("PUT", "Encounter/a1", "type"),
        ("PUT", "a1", "type"),
        ("PUT", "Encounter?identifier=x|1", "type"),
        ("PUT", &format!("{base}/Appointment/a2"), "id"),
        ("POST", "Patient", "type"),
        ("POST", &format!("{base}/Patient"), "type"),
    ] {
        let s = server();
        let entry = entry(method, url, appointment(1, "booked"));
        let batch = s.post(&sent("batch", entry.clone())).await;
        assert_eq!((batch.status, batch.statuses()), (200, vec!["400"]), "{method} {url}");
        let whole = s.post(&sent("transaction", entry)).await;
        assert_eq!((whole.status, whole.issue()), (400, ("invalid", "Bundle.entry[0].request.url")), "{method} {url}");
        let reason = format!("names another {what} than the resource has");
        assert_eq!(whole.json["issue"][0]["diagnostics"], reason, "{method} {url}");
        assert_eq!(s.log.len(), 0);
    }
    for (method, url) in [
        ("PUT", "Appointment/a1"),
        ("PUT", "/Appointment/a1"),
        ("PUT", &format!("{base}/Appointment/a1")),
        ("PUT", "Appointment?identifier=http://x.example/Encounter|1"),
        ("POST", "Appointment"),
        ("POST", "Appointment?_format=json"),
        ("POST", "$process-message"),
    ] {
        let r = server().post(&sent("transaction", entry(method, url, appointment(1, "booked")))).await;
        assert_eq!((r.status, r.statuses()), (200, vec!["201"]), "{method} {url} {}", r.json);
    }
    // The address names what doesn't name itself.
    let mut nameless = appointment(1, "booked");
    nameless.as_object_mut().unwrap().remove("id");
    for url in ["Appointment/a7", &format!("{base}/Appointment/a7/_history/1")] {
        let s = server();
        assert_eq!(s.post(&sent("batch", entry("PUT", url, nameless.clone()))).await.statuses(), ["201"]);
        assert_eq!(s.events()[0]["appointment_id"], "a7", "{url}");
    }
    // What is wrong with the resource itself is told first where it comes first.
    let both =
        json!([entry("POST", "Appointment", appointment(1, "x")), entry("POST", "Patient", appointment(1, "booked"))]);
    let r = server().post(&json!({"resourceType": "Bundle", "type": "transaction", "entry": both})).await;
    assert_eq!((r.status, r.issue()), (422, ("code-invalid", "Bundle.entry[0].resource.status")));
}

#[tokio::test]
async fn a_bundle_inside_a_bundle_is_refused() {
    let s = server();
    let inner = bundle("transaction", &[appointment(1, "booked")]);
    let all = [inner, appointment(2, "booked")];
    let whole = s.post(&bundle("transaction", &all)).await;
    assert_eq!((whole.status, whole.issue()), (422, ("not-supported", "Bundle.entry[0].resource")));
    assert_eq!(s.log.len(), 0);
    let each = s.post(&bundle("batch", &all)).await;
    assert_eq!(each.statuses(), ["422", "201"]);
    assert_eq!(each.json["entry"][0]["response"]["outcome"]["issue"][0]["expression"][0], "Bundle.entry[0].resource");
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_answered_as_fhir() {
    let s = server();
    let put = |path: &str| Request::put(path.to_owned()).header("content-type", "application/fhir+json");
    let post = |path: &str| Request::post(path.to_owned()).header("content-type", "application/fhir+json");
    for request in [put("/fhir/Appointment/%ff"), put("/fhir/notifications/Appointment/%ff"), post("/fhir/%ff")] {
        let r = s.send(request.body(Body::from(appointment(1, "booked").to_string())).unwrap()).await;
        assert_eq!((r.status, r.issue()), (400, ("invalid", "")), "{}", r.json);
    }
}
