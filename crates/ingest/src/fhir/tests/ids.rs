//! Which events are one: never those of two patients, though two servers that nobody told apart (neither is listed, and
//! neither sends `fullUrl`) both count from 1; and always those that two resources tell of one patient.

mod remembered;

use super::*;
use std::collections::BTreeMap;

/// The patient of a hospital, by its number, and by the server's id as well.
fn numbered(hospital: &str) -> Value {
    json!({"identifier": {"system": format!("http://{hospital}.example/mrn"), "value": "1"}})
}

fn both_ways(hospital: &str) -> Value {
    let mut reference = numbered(hospital);
    reference["reference"] = "Patient/1".into();
    reference
}

fn pseudonym(hospital: &str) -> String {
    known().patient(&format!("http://{hospital}.example/mrn"), "1")
}

fn with(mut resource: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

fn meta(version: u32) -> Value {
    json!({"versionId": version.to_string(), "lastUpdated": format!("2026-03-05T1{version}:30:00+09:00")})
}

fn booking(version: u32, status: &str, day: &str, patients: &[Value]) -> Value {
    let actors: Vec<Value> =
        patients.iter().map(|p| json!({"actor": with(p.clone(), json!({"type": "Patient"}))})).collect();
    json!({
        "resourceType": "Appointment", "id": "1", "status": status, "meta": meta(version),
        "created": "2026-03-01T09:00:00+09:00", "start": format!("{day}T10:00:00+09:00"), "participant": actors
    })
}

fn visit(patient: &Value) -> Value {
    json!({
        "resourceType": "Encounter", "id": "1", "status": "finished", "class": {"code": "AMB"}, "subject": patient, "meta": meta(2),
        "appointment": [{"reference": "Appointment/1"}],
        "period": {"start": "2026-03-05T10:05:00+09:00", "end": "2026-03-05T10:25:00+09:00"}
    })
}

fn referral(patient: &Value) -> Value {
    json!({
        "resourceType": "ServiceRequest", "id": "1", "status": "completed", "intent": "order", "subject": patient, "meta": meta(3),
        "authoredOn": "2026-03-05T10:10:00+09:00", "category": [{"text": "referral"}]
    })
}

fn task(patient: &Value) -> Value {
    json!({
        "resourceType": "Task", "id": "1", "status": "completed", "intent": "order", "meta": meta(2), "for": patient,
        "focus": {"reference": "ServiceRequest/1"}
    })
}

fn response(patient: &Value) -> Value {
    json!({
        "resourceType": "ClaimResponse", "id": "1", "status": "active", "use": "claim", "patient": patient, "meta": meta(1),
        "request": {"reference": "Claim/1"}, "outcome": "complete", "payment": {"amount": {"value": 45_000, "currency": "KRW"}}
    })
}

/// One of each kind, and how many events it becomes.
fn resources(patient: &Value) -> Vec<(Value, usize)> {
    let of = |kind: &str, changes: Value| {
        let plain =
            json!({"resourceType": kind, "id": "1", "status": "completed", "subject": patient, "meta": meta(1)});
        with(plain, changes)
    };
    let money = json!({"value": 1_000, "currency": "KRW"});
    vec![
        (booking(1, "booked", "2026-03-09", std::slice::from_ref(patient)), 1),
        (visit(patient), 2),
        (referral(patient), 2),
        (of("Communication", json!({"category": [{"text": "reminder"}]})), 1),
        (of("DiagnosticReport", json!({"status": "final", "basedOn": [{"reference": "ServiceRequest/2"}]})), 1),
        (of("ChargeItem", json!({"status": "billed", "priceOverride": money})), 1),
        (of("Invoice", json!({"status": "balanced", "totalGross": money})), 2),
        (of("Claim", json!({"status": "active", "patient": patient, "total": money})), 1),
        (response(patient), 1),
        (of("QuestionnaireResponse", json!({"questionnaire": "http://hospital.example/q/history"})), 1),
        (of("Consent", json!({"status": "active", "patient": patient, "category": [{"text": "research"}]})), 1),
    ]
}

/// The types of each patient's events.
fn by_patient(s: &Server) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for e in s.events() {
        let patient = e["header"]["patient_id"].as_str().unwrap_or("nobody").to_owned();
        all.entry(patient).or_default().push(e["type"].as_str().unwrap().to_owned());
    }
    all
}

fn count(s: &Server, kind: &str) -> usize {
    s.kinds().iter().filter(|k| *k == kind).count()
}

#[tokio::test]
async fn what_another_patients_resource_of_the_same_id_tells_is_told_too() {
    for who in [numbered, both_ways] {
        let s = server();
        for ((a, events), (b, _)) in resources(&who("a")).into_iter().zip(resources(&who("b"))) {
            let before = s.log.len();
            for (body, status) in [(&a, 201), (&b, 201), (&a, 200), (&b, 200)] {
                assert_eq!(s.post(body).await.status, status, "{body}");
            }
            assert_eq!(s.log.len() - before, 2 * events, "{a}");
        }
        let told = by_patient(&s);
        assert_eq!(told.len(), 2);
        assert_eq!(told[&pseudonym("a")], told[&pseudonym("b")]);
    }
}

#[tokio::test]
async fn an_appointment_moves_for_the_patient_who_moved_it() {
    let s = server();
    let of = |version, status: &str, day: &str, hospital: &str| booking(version, status, day, &[both_ways(hospital)]);
    // Remembered as one appointment the second would have been moved here, and moved back.
    assert_eq!(s.post(&of(1, "booked", "2026-03-09", "a")).await.status, 201);
    assert_eq!(s.post(&of(2, "booked", "2026-03-10", "b")).await.status, 201);
    assert_eq!(s.post(&of(3, "booked", "2026-03-09", "a")).await.status, 200);
    assert_eq!(s.kinds(), ["AppointmentBooked", "AppointmentBooked"]);
    let s = s.restarted().await;
    assert_eq!(s.post(&of(4, "booked", "2026-03-11", "a")).await.status, 201);
    assert_eq!(s.post(&of(4, "booked", "2026-03-10", "b")).await.status, 200);
    assert_eq!(s.post(&of(5, "cancelled", "2026-03-10", "b")).await.status, 201);
    let s = s.restarted().await;
    assert_eq!(s.post(&of(6, "booked", "2026-03-11", "a")).await.status, 200);
    assert_eq!(s.post(&of(6, "booked", "2026-03-10", "b")).await.status, 201, "booked again");
    let told = by_patient(&s);
    assert_eq!(told[&pseudonym("a")], ["AppointmentBooked", "AppointmentRescheduled"]);
    assert_eq!(told[&pseudonym("b")], ["AppointmentBooked", "AppointmentCancelled", "AppointmentBooked"]);
}

#[tokio::test]
async fn who_joins_a_group_that_moves_has_not_moved() {
    let s = server();
    let group = |version, day, hospitals: &[&str]| {
        booking(version, "booked", day, &hospitals.iter().map(|h| numbered(h)).collect::<Vec<_>>())
    };
    s.post(&group(1, "2026-03-09", &["a", "b"])).await;
    let s = s.restarted().await;
    // In another order, too.
    assert_eq!(s.post(&group(2, "2026-03-10", &["c", "b", "a"])).await.status, 201);
    let s = s.restarted().await;
    assert_eq!(s.post(&group(2, "2026-03-10", &["b", "a", "c"])).await.status, 200);
    let told = by_patient(&s);
    for hospital in ["a", "b"] {
        assert_eq!(told[&pseudonym(hospital)], ["AppointmentBooked", "AppointmentRescheduled"], "{hospital}");
    }
    assert_eq!(told[&pseudonym("c")], ["AppointmentBooked"]);
}

#[tokio::test]
async fn what_two_resources_tell_of_one_patient_is_one() {
    for who in [numbered, both_ways] {
        let s = server();
        for (n, hospital) in [(1, "a"), (2, "b")] {
            let patient = who(hospital);
            let arrived = with(visit(&patient), json!({"status": "arrived"}));
            let eob =
                json!({"resourceType": "ExplanationOfBenefit", "claimResponse": {"reference": "ClaimResponse/1"}});
            let pairs = [
                ("PatientCheckedIn", booking(2, "arrived", "2026-03-05", std::slice::from_ref(&patient)), arrived),
                ("ReferralCompleted", referral(&patient), task(&patient)),
                ("ClaimPaid", response(&patient), with(response(&patient), eob)),
            ];
            for (kind, first, second) in pairs {
                assert_eq!((s.post(&first).await.status, s.post(&second).await.status), (201, 200), "{second}");
                assert_eq!(count(&s, kind), n, "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_task_is_about_the_patient_of_its_request() {
    // The request names the patient by number; the task by the server's id, or not at all.
    for task in [task(&json!({"reference": "Patient/1"})), with(task(&json!(null)), json!({"for": null}))] {
        let s = server();
        assert_eq!(s.post(&referral(&numbered("a"))).await.status, 201);
        let both = bundle("batch", &[referral(&numbered("a")), task.clone()]);
        assert_eq!(s.post(&both).await.statuses(), ["200", "200"], "{task}");
        assert_eq!(by_patient(&s).into_keys().collect::<Vec<_>>(), [pseudonym("a")]);
    }
    // What lies inside another resource can't be looked at from here.
    let patient = json!({"resourceType": "Patient", "id": "p", "identifier": [numbered("a")["identifier"]]});
    let request = with(referral(&json!({"reference": "#p"})), json!({"contained": [patient]}));
    let s = server();
    assert_eq!(s.post(&bundle("batch", &[request, task(&numbered("a"))])).await.statuses(), ["201", "200"]);
    assert_eq!(count(&s, "ReferralCompleted"), 1);
}

#[tokio::test]
async fn what_was_entered_in_error_is_taken_back_of_its_own_patient() {
    let s = server();
    let error = |body: &Value| with(body.clone(), json!({"status": "entered-in-error"}));
    for hospital in ["a", "b"] {
        s.post(&visit(&both_ways(hospital))).await;
        s.post(&booking(1, "booked", "2026-03-09", &[both_ways(hospital)])).await;
    }
    let bodies = [visit(&both_ways("b")), booking(1, "booked", "2026-03-09", &[both_ways("b")])];
    for body in &bodies {
        assert_eq!((s.post(&error(body)).await.status, s.post(&error(body)).await.status), (201, 200));
    }
    let (retracted, told): (Vec<_>, Vec<_>) = s.events().into_iter().partition(|e| e["type"] == "EventRetracted");
    let mut targets: Vec<_> = retracted.iter().map(|e| e["target_event_id"].clone()).collect();
    let of_b = told.iter().filter(|e| e["header"]["patient_id"] == pseudonym("b"));
    let mut expected: Vec<_> = of_b.map(|e| e["header"]["event_id"].clone()).collect();
    for ids in [&mut targets, &mut expected] {
        ids.sort_by_key(ToString::to_string);
    }
    assert_eq!((targets.len(), targets), (3, expected));
    assert!(retracted.iter().all(|e| e["header"]["patient_id"] == pseudonym("b")));
}

#[tokio::test]
async fn feedback_of_nobody_can_be_taken_back() {
    let s = server();
    let answers = json!({
        "resourceType": "QuestionnaireResponse", "id": "1", "status": "completed", "meta": meta(1),
        "questionnaire": "http://hospital.example/q/visit", "item": [{"linkId": "kind", "answer": [{"valueInteger": 9}]}]
    });
    let error = with(answers.clone(), json!({"status": "entered-in-error"}));
    for (body, status) in [(&answers, 201), (&answers, 200), (&error, 201), (&error, 200)] {
        let r = s.post(body).await;
        assert_eq!(r.status, status, "{}", r.json);
    }
    let all = s.events();
    let retracted = all.iter().find(|e| e["type"] == "EventRetracted").unwrap();
    let given = all.iter().find(|e| e["type"] == "FeedbackGiven").unwrap();
    assert_eq!(retracted["target_event_id"], given["header"]["event_id"]);
    assert!(all.iter().all(|e| e["header"].get("patient_id").is_none()));
}

#[tokio::test]
async fn a_resource_that_was_of_the_wrong_patient_is_told_of_the_right_one() {
    let s = server();
    let (wrong, right) = (visit(&numbered("a")), with(visit(&numbered("b")), json!({"meta": meta(3)})));
    assert_eq!((s.post(&wrong).await.status, s.post(&right).await.status), (201, 201));
    assert_eq!(by_patient(&s)[&pseudonym("b")], ["ConsultStarted", "ConsultEnded"]);
    assert_eq!(count(&s, "EventRetracted"), 0, "nobody said that the other never happened");
    assert_eq!(s.post(&with(wrong, json!({"status": "entered-in-error"}))).await.status, 201);
    let retracted = by_patient(&s)[&pseudonym("a")].iter().filter(|k| *k == "EventRetracted").count();
    assert_eq!(retracted, 2);
}

#[tokio::test]
async fn a_patients_place_in_a_bundle_is_nothing_to_go_by() {
    let s = server();
    let sent = |urn: &str| {
        let patient = json!({"resourceType": "Patient", "identifier": [numbered("a")["identifier"]]});
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": urn, "resource": patient, "request": {"method": "POST", "url": "Patient"}},
            {"resource": visit(&json!({"reference": urn})), "request": {"method": "PUT", "url": "Encounter/1"}}
        ]})
    };
    assert_eq!(s.post(&sent("urn:uuid:7f")).await.statuses(), ["200", "201"]);
    assert_eq!(s.post(&sent("urn:uuid:80")).await.statuses(), ["200", "200"]);
    assert_eq!(s.post(&visit(&numbered("a"))).await.status, 200);
    // Nor is whether the Patient is there.
    let by_id = visit(&json!({"reference": "Patient/1"}));
    let patient = json!({"resourceType": "Patient", "id": "1", "identifier": [numbered("b")["identifier"]]});
    assert_eq!(s.post(&by_id).await.status, 201);
    assert_eq!(s.post(&bundle("batch", &[patient, by_id])).await.statuses()[1], "200");
}
