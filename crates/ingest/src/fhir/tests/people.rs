//! Whoever is told of is the same person, however the message names him.

use super::*;

pub(super) fn with_actor(actor: &Value) -> Value {
    let mut a = appointment(1, "booked");
    a["participant"] = json!([{"actor": actor}]);
    a
}

fn record(id: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id,
        "identifier": [
            {"system": "urn:oid:1.2.9", "value": "n-9"},
            {"system": "http://hospital.example/mrn", "value": "0000", "use": "old"},
            {"system": "http://hospital.example/mrn", "value": "0012"},
            {"system": "http://unlisted.example", "value": "u-1"}
        ]
    })
}

pub(super) async fn pseudonym_of(s: &Server, body: &Value) -> String {
    let r = s.post(body).await;
    assert!(r.status < 300, "{}", r.json);
    let all = s.events();
    let booked: Vec<_> = all.iter().filter(|e| e["type"] == "AppointmentBooked").collect();
    assert_eq!(booked.len(), 1, "{all:?}");
    booked[0]["header"]["patient_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_patient_by_every_kind_of_reference() {
    let expected = known().patient("HOSP", "0012");
    let entry = |url: &str, r: Value| json!({"fullUrl": url, "resource": r});
    let with = |url: &str, reference: &str, holder: &str| {
        json!({"resourceType": "Bundle", "type": "collection", "entry": [
            entry(holder, with_actor(&json!({"reference": reference}))), entry(url, record("p1"))
        ]})
    };
    let mut contained = with_actor(&json!({"reference": "#p1"}));
    contained["contained"] = json!([record("p1")]);
    let base = "https://ehr.example/fhir";
    let bodies = [
        with_actor(&patient()),
        with_actor(&json!({"reference": "Patient?identifier=http://hospital.example/mrn|0012"})),
        with_actor(&json!({"reference": "Patient?identifier=http%3A%2F%2Fhospital.example%2Fmrn%7C0012&_format=json"})),
        with_actor(&json!({"reference": "Patient?identifier=http://hospital.example/mrn%7C0012"})),
        contained,
        with("urn:uuid:7f", "urn:uuid:7f", "urn:uuid:80"),
        with(&format!("{base}/Patient/p1"), "Patient/p1", &format!("{base}/Appointment/a1")),
        with(
            &format!("{base}/Patient/p1"),
            &format!("{base}/Patient/p1/_history/3"),
            &format!("{base}/Appointment/a1"),
        ),
        with("urn:uuid:7f", "Patient/p1", "urn:uuid:80"),
    ];
    for body in &bodies {
        assert_eq!(pseudonym_of(&server(), body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_patient_of_another_server_is_another_one() {
    let a = json!({"fullUrl": "https://a.example/Appointment/a1", "resource": with_actor(&json!({"reference": "Patient/p1"}))});
    let b = json!({"fullUrl": "https://b.example/Patient/p1", "resource": record("p1")});
    let body = json!({"resourceType": "Bundle", "type": "collection", "entry": [a, b]});
    let found = pseudonym_of(&server(), &body).await;
    assert_eq!(found, known().patient("https://a.example", "Patient/p1"));
    let elsewhere = with_actor(&json!({"reference": "https://b.example/Patient/p1"}));
    assert_eq!(pseudonym_of(&server(), &elsewhere).await, known().patient("https://b.example", "Patient/p1"));
}

#[tokio::test]
async fn a_server_that_tells_who_its_ids_are_is_understood_before_and_after() {
    let s = server();
    let bare = with_actor(&json!({"reference": "Patient/p1"}));
    assert_eq!(pseudonym_of(&s, &bare).await, known().patient("fhir", "Patient/p1"));
    assert_eq!(s.put("/fhir/Patient/p1", &record("p1")).await.status, 201);
    assert_eq!(s.put("/fhir/Patient/p1", &record("p1")).await.status, 200);
    let all = s.events();
    let link = all.iter().find(|e| e["type"] == "PatientIdentifiersChanged").unwrap();
    assert_eq!(link["header"]["patient_id"], known().patient("main", "0012"));
    assert_eq!(link["retired"], known().patient("fhir", "Patient/p1"));
    // By that a number which turns out to be another one makes no one of two patients.
    assert_eq!(link["authority"], "main");
}

#[tokio::test]
async fn merged_records_are_told_once_by_both() {
    let s = server();
    let link = |kind: &str, number: &str| {
        let other = json!({"identifier": {"system": "http://hospital.example/mrn", "value": number}});
        json!([{"type": kind, "other": other}])
    };
    let number = |n: &str| json!([{"system": "http://hospital.example/mrn", "value": n}]);
    let meta = json!({"lastUpdated": "2026-03-02T09:00:00Z"});
    let old =
        json!({"resourceType": "Patient", "meta": meta, "identifier": number("1"), "link": link("replaced-by", "2")});
    let new =
        json!({"resourceType": "Patient", "meta": meta, "identifier": number("2"), "link": link("replaces", "1")});
    assert_eq!((s.post(&old).await.status, s.post(&new).await.status), (201, 200));
    let all = s.events();
    assert_eq!((all.len(), &all[0]["type"]), (1, &json!("PatientsMerged")));
    assert_eq!(all[0]["surviving"], s.known.patient("main", "2"));
    assert_eq!(all[0]["retired"], s.known.patient("main", "1"));
    assert_eq!(all[0]["header"]["patient_id"], all[0]["surviving"]);
}

#[tokio::test]
async fn each_patient_of_a_group_has_the_appointment() {
    let s = server();
    let of = |n: &str| json!({"actor": {"identifier": {"system": "http://hospital.example/mrn", "value": n}}});
    let mut group = appointment(1, "booked");
    group["participant"] = json!([of("1"), of("2"), of("1"), {"actor": {"reference": "Practitioner/d1"}}]);
    assert_eq!((s.post(&group).await.status, s.post(&group).await.status), (201, 200));
    let mut all: Vec<String> =
        s.events().iter().map(|e| e["header"]["patient_id"].as_str().unwrap().to_owned()).collect();
    all.sort();
    let mut expected = vec![known().patient("main", "1"), known().patient("main", "2")];
    expected.sort();
    assert_eq!(all, expected);
    // Each has an Encounter that tells the end of the same appointment.
    for (id, n, status) in [("e1", "1", 201), ("e2", "2", 201), ("e2", "2", 200)] {
        let visit = json!({
            "resourceType": "Encounter", "id": id, "status": "finished", "class": {"code": "AMB"}, "subject": of(n)["actor"],
            "appointment": [{"reference": "Appointment/a1"}], "period": {"end": "2026-03-05T10:25:00+09:00"}
        });
        assert_eq!(s.post(&visit).await.status, status, "{id}");
    }
    group["status"] = "fulfilled".into();
    group["meta"] = json!({"versionId": "2", "lastUpdated": "2026-03-05T11:00:00+09:00"});
    assert_eq!(s.post(&group).await.status, 200, "both ends were told");
    group["status"] = "entered-in-error".into();
    assert_eq!(s.post(&group).await.status, 201);
    assert_eq!(s.kinds().iter().filter(|k| *k == "EventRetracted").count(), 2);
    // An end is one whether the Patient is there or only named.
    let s = server();
    let by_id = json!({"reference": "Patient/p1"});
    let mut done = with_actor(&by_id);
    done["status"] = "fulfilled".into();
    assert_eq!(s.post(&done).await.status, 201);
    let visit = json!({
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": by_id,
        "appointment": [{"reference": "Appointment/a1"}], "period": {"end": "2026-03-05T10:25:00+09:00"}
    });
    let both =
        json!({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": record("p1")}, {"resource": visit}]});
    s.post(&both).await;
    assert_eq!(s.kinds().iter().filter(|k| *k == "ConsultEnded").count(), 1, "{:?}", s.kinds());
    // R5's subject is the participant, named once more.
    let mut r5 = with_actor(&json!({"reference": "Patient/p1"}));
    r5["subject"] = patient();
    assert_eq!(pseudonym_of(&server(), &r5).await, known().patient("main", "0012"));
}

#[tokio::test]
async fn no_event_shows_a_record_number() {
    let s = server();
    let other = json!({"identifier": {"system": "http://hospital.example/mrn", "value": "90054321"}});
    let old = json!({
        "resourceType": "Patient", "identifier": [{"system": "http://hospital.example/mrn", "value": "90012345"}],
        "link": [{"type": "replaced-by", "other": other}]
    });
    assert_eq!(s.post(&old).await.status, 201);
    // Many a server's own ids are the record numbers.
    let mut put = record("90012345");
    put["link"] = old["link"].clone();
    assert_eq!(s.put("/fhir/Patient/90012345", &put).await.status, 201);
    let all = s.events();
    assert_eq!(all.len(), 3);
    assert!(!json!(all).to_string().contains("900"), "{all:?}");
}

#[tokio::test]
async fn nobody_is_guessed() {
    let s = server();
    let cases = [
        (json!({"display": "Kim"}), "Appointment.participant[0].actor"),
        (json!({"reference": 5}), "Appointment.participant[0].actor.reference"),
        (json!({"type": "Patient", "display": "Kim"}), "Appointment.participant[0].actor"),
        (json!({"type": "Patient", "reference": "#nobody"}), "Appointment.participant[0].actor"),
        (json!({"reference": "Patient?identifier=http://hospital.example/mrn|"}), "Appointment.participant[0].actor"),
        (json!({"reference": "Patient?identifier=%ff"}), "Appointment.participant[0].actor"),
    ];
    for (actor, expression) in cases {
        let r = s.post(&with_actor(&actor)).await;
        assert_eq!(r.status, 422, "{actor}");
        let found = r.issue().1.to_owned();
        assert!(found == expression || found == "Appointment.participant.actor", "{actor}: {found}");
        assert!(!r.json.to_string().contains("Kim"));
    }
    assert_eq!(s.log.len(), 0);
    // Nobody takes part; or somebody does, who may be anybody.
    let mut alone = appointment(1, "booked");
    for (participants, reason) in [
        (json!([]), "is required"),
        (json!([{"actor": {"reference": "Practitioner/d1"}}]), "none is known to be a patient"),
        (json!([{"actor": {"identifier": {"system": "urn:x", "value": "1"}}}]), "none is known to be a patient"),
    ] {
        alone["participant"] = participants;
        let r = s.post(&alone).await;
        assert_eq!((r.status, r.issue()), (422, ("required", "Appointment.participant.actor")));
        assert!(r.json["issue"][0]["diagnostics"].as_str().unwrap().starts_with(reason), "{}", r.json);
    }
    let r = s.post(&with_actor(&json!({"type": "Patient", "reference": "#nobody"}))).await;
    assert_eq!(r.json["issue"][0]["diagnostics"], "refers to a contained resource that is not there");
}

#[tokio::test]
async fn a_member_of_staff_is_no_patient_and_has_a_pseudonym_too() {
    let s = server();
    s.post(&appointment(1, "booked")).await;
    assert_eq!(s.events()[0]["practitioner"], known().staff("fhir", "Practitioner/d1"));
    let text = s.events()[0].to_string();
    assert!(!text.contains("0012") && !text.contains("\"d1\""));
    let referral = json!({
        "resourceType": "ServiceRequest", "id": "r1", "status": "active", "intent": "order", "subject": patient(),
        "category": [{"text": "referral"}], "requester": {"display": "Dr. Kim"}, "performer": [{"display": "Dr. Lee"}]
    });
    assert_eq!(s.post(&referral).await.status, 201);
    let all = json!(s.events()).to_string();
    assert!(!all.contains("Dr.") && all.contains("\"to\":\"referral\""), "{all}");
}
