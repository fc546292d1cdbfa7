//! What each resource type becomes, in R4 and in R5.

use super::*;

/// What a resource becomes, alone, on a server of its own.
async fn events(body: &Value) -> Vec<Value> {
    let s = server();
    let r = s.post(body).await;
    assert!(r.status < 300, "{body}\n{}", r.json);
    s.events()
}

/// Its types.
async fn kinds(body: &Value) -> Vec<String> {
    events(body).await.iter().map(|e| e["type"].as_str().unwrap().to_owned()).collect()
}

fn with(mut resource: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

const AT: &str = "2026-03-05T10:30:00+09:00";

fn meta() -> Value {
    json!({"versionId": "7", "lastUpdated": AT, "security": [{"code": "R"}]})
}

fn encounter(changes: Value) -> Value {
    let e = json!({
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"}, "subject": patient(),
        "meta": meta(), "appointment": [{"reference": "Appointment/a1"}],
        "serviceType": {"coding": [{"code": "CARD"}]},
        "participant": [{"individual": {"reference": "Practitioner/d1"}}],
        "period": {"start": "2026-03-05T10:05:00+09:00", "end": "2026-03-05T10:25:00+09:00"}
    });
    with(e, changes)
}

#[tokio::test]
async fn an_outpatient_encounter_begins_and_ends() {
    let all = events(&encounter(json!({}))).await;
    assert_eq!((&all[0]["type"], &all[1]["type"]), (&json!("ConsultStarted"), &json!("ConsultEnded")));
    let begun = &all[0];
    assert_eq!(begun["header"]["occurred_at"], "2026-03-05T01:05:00Z");
    assert_eq!(begun["header"]["recorded_at"], "2026-03-05T01:30:00Z");
    assert_eq!(begun["header"]["department"], "cardiology");
    assert_eq!(begun["header"]["site"], "seoul");
    assert_eq!(begun["header"]["zone"], "Asia/Seoul");
    assert_eq!(begun["header"]["confidentiality"], json!(["R"]));
    assert_eq!(begun["header"]["source"]["message_id"], "Encounter/e1/_history/7");
    assert_eq!((&begun["encounter_id"], &begun["appointment_id"]), (&json!("e1"), &json!("a1")));
    assert_eq!(begun["practitioner"], known().staff("fhir", "Practitioner/d1"));
    assert_eq!(all[1]["header"]["occurred_at"], "2026-03-05T01:25:00Z");
    // R5.
    let r5 = json!({
        "status": "completed", "class": [{"coding": [{"code": "VR"}]}], "period": null,
        "actualPeriod": {"start": "2026-03-05T10:05:00+09:00", "end": "2026-03-05T10:25:00+09:00"},
        "participant": [{"actor": {"reference": "Practitioner/d1"}}],
        "serviceType": [{"concept": {"coding": [{"code": "CARD"}]}}]
    });
    let r5 = events(&encounter(r5)).await;
    assert_eq!(
        (&r5[0]["practitioner"], &r5[1]["header"]["occurred_at"]),
        (&begun["practitioner"], &all[1]["header"]["occurred_at"])
    );
    assert_eq!((&r5[0]["header"]["modality"], &r5[0]["header"]["department"]), (&json!("video"), &json!("cardiology")));
}

#[tokio::test]
async fn an_encounter_grows_with_its_versions() {
    let s = server();
    for (status, expected) in [
        ("planned", vec![]),
        ("arrived", vec!["PatientCheckedIn"]),
        ("in-progress", vec!["PatientCheckedIn", "ConsultStarted"]),
        ("finished", vec!["PatientCheckedIn", "ConsultStarted", "ConsultEnded"]),
        ("finished", vec!["PatientCheckedIn", "ConsultStarted", "ConsultEnded"]),
    ] {
        let history = json!([
            {"status": "arrived", "period": {"start": "2026-03-05T09:50:00+09:00"}},
            {"status": "in-progress", "period": {"start": "2026-03-05T10:06:00+09:00"}}
        ]);
        let changes = if status == "arrived" {
            json!({"period": {"start": "2026-03-05T09:50:00+09:00"}})
        } else {
            json!({"statusHistory": history})
        };
        assert!(s.post(&with(encounter(changes), json!({"status": status}))).await.status < 300);
        assert_eq!(s.kinds(), expected, "{status}");
    }
    assert_eq!(s.events()[1]["header"]["occurred_at"], "2026-03-05T01:06:00Z");
    // The Appointment tells the same arrival and the same end once more.
    assert_eq!(s.post(&appointment(3, "arrived")).await.status, 200);
    assert_eq!(s.post(&appointment(4, "fulfilled")).await.status, 200);
    assert_eq!(s.log.len(), 3);
}

#[tokio::test]
async fn an_inpatient_is_admitted_moved_and_discharged() {
    let place = |id: &str, from: &str| json!({"location": {"reference": format!("Location/{id}")}, "period": {"start": format!("2026-03-05T{from}:00+09:00")}});
    let stay = json!({
        "class": {"code": "IMP"}, "location": [place("ward1", "10:05"), place("icu", "10:10"), place("ward2", "10:20")],
        "hospitalization": {"dischargeDisposition": {"coding": [{"code": "home"}]}}
    });
    let all = events(&encounter(stay.clone())).await;
    let told: Vec<_> = all.iter().map(|e| (e["type"].as_str().unwrap(), e["location"].as_str().unwrap())).collect();
    let expected = [
        ("PatientAdmitted", "ward1"),
        ("PatientTransferred", "icu"),
        ("PatientTransferred", "ward2"),
        ("PatientDischarged", "ward2"),
    ];
    assert_eq!(told, expected);
    assert_eq!(all[3]["disposition"], "home");
    let r5 = with(
        encounter(stay),
        json!({
            "status": "discharged", "hospitalization": null, "period": null,
            "actualPeriod": {"start": "2026-03-05T10:05:00+09:00", "end": "2026-03-05T10:25:00+09:00"},
            "admission": {"dischargeDisposition": {"coding": [{"code": "home"}]}}
        }),
    );
    assert_eq!(events(&r5).await, all);
    assert_eq!(
        kinds(&encounter(json!({"class": {"code": "IMP"}, "status": "cancelled"}))).await,
        ["AdmissionCancelled"]
    );
}

#[tokio::test]
async fn what_was_entered_in_error_is_taken_back() {
    let s = server();
    s.post(&encounter(json!({}))).await;
    let before: Vec<Value> = s.events().iter().map(|e| e["header"]["event_id"].clone()).collect();
    assert_eq!(s.post(&encounter(json!({"status": "entered-in-error"}))).await.status, 201);
    assert_eq!(s.post(&encounter(json!({"status": "entered-in-error"}))).await.status, 200);
    let all = s.events();
    let targets: Vec<&Value> =
        all.iter().filter(|e| e["type"] == "EventRetracted").map(|e| &e["target_event_id"]).collect();
    assert!(targets.len() == 2 && before.iter().all(|id| targets.contains(&id)), "{all:?}");
}

fn request(changes: Value) -> Value {
    let r = json!({
        "resourceType": "ServiceRequest", "id": "s1", "status": "active", "intent": "order", "subject": patient(), "meta": meta(),
        "authoredOn": "2026-03-05T10:10:00+09:00", "priority": "urgent", "encounter": {"reference": "Encounter/e1"},
        "code": {"coding": [{"code": "24331-1"}]}, "occurrenceDateTime": "2026-03-06"
    });
    with(r, changes)
}

#[tokio::test]
async fn orders_and_referrals() {
    let order = &events(&request(json!({}))).await[0];
    assert_eq!(
        (&order["type"], &order["order_id"], &order["code"]),
        (&json!("OrderPlaced"), &json!("s1"), &json!("24331-1"))
    );
    assert_eq!((&order["encounter_id"], &order["priority"]), (&json!("e1"), &json!("urgent")));
    assert_eq!(order["due_at"], "2026-03-05T15:00:00Z");
    // R5: the code is a CodeableReference.
    let r5 = events(&request(json!({"code": {"concept": {"coding": [{"code": "24331-1"}]}}}))).await;
    assert_eq!(&r5[0], order);
    assert_eq!(kinds(&request(json!({"status": "revoked"}))).await, ["OrderPlaced", "OrderCancelled"]);
    assert_eq!(kinds(&request(json!({"intent": "plan"}))).await, Vec::<String>::new());

    let to = json!({
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
        "performer": [{"reference": "Organization/o1", "display": "CARD"}], "requester": {"reference": "Practitioner/d1"},
        "occurrenceDateTime": null, "occurrencePeriod": {"end": "2026-04-01"}
    });
    let referral = &events(&request(to.clone())).await[0];
    assert_eq!(
        (&referral["type"], &referral["referral_id"], &referral["to"]),
        (&json!("ReferralMade"), &json!("s1"), &json!("cardiology"))
    );
    assert_eq!(referral["expires_at"], "2026-03-31T15:00:00Z");
    let s = server();
    let task = |status: &str| {
        json!({
            "resourceType": "Task", "id": format!("t-{status}"), "status": status, "intent": "order", "for": patient(), "meta": meta(),
            "focus": {"reference": "ServiceRequest/s1"},
            "output": [{"type": {"text": "report"}, "valueReference": {"reference": "DocumentReference/r9"}}]
        })
    };
    for body in [request(to.clone()), task("requested"), task("accepted"), task("completed")] {
        assert!(s.post(&body).await.status < 300);
    }
    // The request tells the completion of its Task once more.
    assert_eq!(s.post(&request(with(to.clone(), json!({"status": "completed"})))).await.status, 200);
    assert_eq!(s.kinds(), ["ReferralMade", "ReferralAccepted", "ReferralCompleted"]);
    assert_eq!(s.events()[2]["outcome_ref"], "DocumentReference/r9");
    assert_eq!(kinds(&task("rejected")).await, ["ReferralDeclined"]);
    assert_eq!(kinds(&task("cancelled")).await, ["ReferralCancelled"]);
    // Where the request is here to look at, an order's Task is no referral's.
    let mut both = bundle("batch", &[request(json!({})), task("accepted"), task("cancelled")]);
    both["entry"][1]["resource"]["focus"] = json!({"reference": "ServiceRequest/s1"});
    assert_eq!(kinds(&both).await, ["OrderPlaced", "OrderCancelled"]);
}

#[tokio::test]
async fn reports_answer_orders() {
    let report = |status: &str| {
        json!({
            "resourceType": "DiagnosticReport", "id": "r1", "status": status, "subject": patient(), "issued": AT,
            "basedOn": [{"reference": "ServiceRequest/s1"}], "code": {"coding": [{"code": "24331-1"}]}, "meta": meta()
        })
    };
    let all = events(&report("final")).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["order_id"], &all[0]["status"]),
        (&json!("ResultReported"), &json!("s1"), &json!("final"))
    );
    assert_eq!(kinds(&report("corrected")).await, ["ResultCorrected"]);
    assert!(kinds(&report("registered")).await.is_empty());
    assert!(kinds(&with(report("final"), json!({"basedOn": []}))).await.is_empty());
}

fn money(value: f64) -> Value {
    json!({"value": value, "currency": "KRW"})
}

#[tokio::test]
async fn charges_and_bills() {
    let charge = json!({
        "resourceType": "ChargeItem", "id": "c1", "status": "billable", "subject": patient(), "context": {"reference": "Encounter/e1"},
        "code": {"coding": [{"code": "AA157"}]}, "quantity": {"value": 2}, "priceOverride": money(17_000.0),
        "enteredDate": AT, "account": [{"reference": "Account/b1"}]
    });
    let all = events(&charge).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["claim_id"], &all[0]["amount_minor"]),
        (&json!("ChargePosted"), &json!("b1"), &json!(34_000))
    );
    assert_eq!(
        (&all[0]["encounter_id"], &all[0]["service"], &all[0]["currency"]),
        (&json!("e1"), &json!("AA157"), &json!("KRW"))
    );
    let r5 = json!({"priceOverride": null, "context": null, "encounter": {"reference": "Encounter/e1"}, "totalPriceComponent": {"amount": money(34_000.0)}});
    assert_eq!(events(&with(charge.clone(), r5)).await, all);
    assert!(kinds(&with(charge.clone(), json!({"priceOverride": null}))).await.is_empty());
    assert!(kinds(&with(charge, json!({"status": "not-billable"}))).await.is_empty());

    let invoice = json!({
        "resourceType": "Invoice", "id": "i1", "status": "issued", "subject": patient(), "date": "2026-03-05T11:00:00+09:00",
        "totalGross": {"value": 120.5, "currency": "USD"}, "account": {"reference": "Account/b1"}, "meta": meta()
    });
    assert_eq!(events(&invoice).await[0]["amount_minor"], 12_050);
    let s = server();
    s.post(&invoice).await;
    assert_eq!(s.post(&with(invoice, json!({"status": "balanced"}))).await.status, 201);
    assert_eq!(s.kinds(), ["PaymentReceived", "ClaimSubmitted"]);
}

#[tokio::test]
async fn claims_and_what_the_payer_says() {
    let claim = json!({
        "resourceType": "Claim", "id": "k1", "status": "active", "use": "claim", "patient": patient(), "created": AT,
        "item": [{"encounter": [{"reference": "Encounter/e1"}], "net": money(50_000.0)}, {"net": money(1_000.0)}]
    });
    let all = events(&claim).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["claim_id"], &all[0]["amount_minor"]),
        (&json!("ClaimSubmitted"), &json!("k1"), &json!(51_000))
    );
    assert_eq!(all[0]["encounter_id"], "e1");
    let again = json!({"id": "k2", "related": [{"claim": {"reference": "Claim/k1"}, "relationship": {"coding": [{"code": "prior"}]}}]});
    let again = events(&with(claim.clone(), again)).await;
    assert_eq!((&again[0]["type"], &again[0]["claim_id"]), (&json!("ClaimResubmitted"), &json!("k1")));
    assert!(kinds(&with(claim, json!({"use": "preauthorization"}))).await.is_empty());

    let response = json!({
        "resourceType": "ClaimResponse", "id": "x1", "status": "active", "use": "claim", "patient": patient(), "created": AT,
        "request": {"reference": "Claim/k1"}, "outcome": "complete",
        "payment": {"amount": money(45_000.0), "adjustment": money(-6_000.0), "adjustmentReason": {"coding": [{"code": "45"}]}}
    });
    let paid = events(&response).await;
    let told: Vec<_> =
        paid.iter().map(|e| (e["type"].as_str().unwrap(), e["amount_minor"].as_i64().unwrap())).collect();
    assert_eq!(told, [("ClaimAdjusted", -6_000), ("ClaimPaid", 45_000)]);
    assert_eq!((&paid[0]["adjustment_code"], &paid[1]["claim_id"]), (&json!("45"), &json!("k1")));
    let error = json!({"outcome": "error", "error": [{"code": {"coding": [{"code": "a001"}]}}]});
    let denied = events(&with(response.clone(), error)).await;
    assert_eq!((&denied[0]["type"], &denied[0]["adjustment_code"]), (&json!("ClaimDenied"), &json!("a001")));
    let r5 = json!({"decision": {"coding": [{"code": "denied"}]}});
    assert_eq!(kinds(&with(response.clone(), r5)).await, ["ClaimDenied"]);
    assert!(kinds(&with(response.clone(), json!({"outcome": "queued"}))).await.is_empty());
    // The explanation of benefit says the same as the response that it names.
    let s = server();
    s.post(&response).await;
    let eob = json!({"resourceType": "ExplanationOfBenefit", "id": "y1", "claim": {"reference": "Claim/k1"}, "claimResponse": {"reference": "ClaimResponse/x1"}});
    assert_eq!(s.post(&with(response, eob)).await.status, 200);
}

#[tokio::test]
async fn reminders_and_calls() {
    let communication = json!({
        "resourceType": "Communication", "id": "m1", "status": "completed", "subject": patient(), "sent": AT,
        "category": [{"coding": [{"code": "reminder"}]}], "medium": [{"coding": [{"code": "SMSWRIT"}]}],
        "about": [{"reference": "Appointment/a1"}], "sender": {"reference": "Device/robot"}
    });
    let all = events(&communication).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["channel"], &all[0]["automated"]),
        (&json!("ReminderSent"), &json!("sms"), &json!(true))
    );
    assert_eq!(all[0]["appointment_id"], "a1");
    let call = json!({
        "category": null, "medium": [{"coding": [{"code": "PHONE"}]}], "sender": {"reference": "Practitioner/n1"},
        "encounter": {"reference": "Encounter/e1"},
        "payload": [{"contentString": "better"}, {"contentCodeableConcept": {"text": "booked", "coding": [{"code": "B"}]}}]
    });
    let call = with(communication, call);
    let all = events(&call).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["human"], &all[0]["encounter_id"]),
        (&json!("FollowUpCallCompleted"), &json!(true), &json!("e1"))
    );
    assert_eq!(all[0]["answers"], json!(["better", "booked"]));
    let unknown = events(&with(call.clone(), json!({"sender": null}))).await;
    assert_eq!(unknown[0]["human"], false, "nobody said that it was a human");
    let missed = json!({"status": "not-done", "statusReason": {"text": "No answer"}});
    let missed = events(&with(call.clone(), missed)).await;
    assert_eq!((&missed[0]["type"], &missed[0]["outcome"]), (&json!("FollowUpCallAttempted"), &json!("no_answer")));
    assert!(kinds(&with(call.clone(), json!({"sender": patient(), "medium": null}))).await.is_empty());
    assert!(kinds(&with(call, json!({"status": "in-progress"}))).await.is_empty());
}

#[tokio::test]
async fn questionnaires_and_feedback() {
    let response = json!({
        "resourceType": "QuestionnaireResponse", "id": "q1", "status": "completed", "subject": patient(), "authored": AT,
        "questionnaire": "http://hospital.example/q/visit|3", "encounter": {"reference": "Encounter/e1"},
        "item": [{"linkId": "group", "item": [{"linkId": "kind", "answer": [{"valueInteger": 9}]}, {"linkId": "other", "answer": [{"valueString": "x"}]}]}]
    });
    let all = events(&response).await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["type"], &all[0]["instrument"], &all[0]["raw"]),
        (&json!("FeedbackGiven"), &json!("visit/1"), &json!(9.0))
    );
    assert_eq!(
        (&all[0]["role"], &all[0]["dimension"], &all[0]["touchpoint"]),
        (&json!("doctor"), &json!("empathy"), &json!("consult"))
    );
    let anonymous = events(&with(response.clone(), json!({"subject": null}))).await;
    assert!(anonymous[0]["header"].get("patient_id").is_none());
    let off = server()
        .post(&with(response.clone(), json!({"item": [{"linkId": "kind", "answer": [{"valueInteger": 11}]}]})))
        .await;
    assert_eq!((off.status, off.issue()), (422, ("value", "QuestionnaireResponse")));
    let history = with(response, json!({"questionnaire": "http://hospital.example/q/history"}));
    assert_eq!(kinds(&history).await, ["QuestionnaireCompleted"]);
    assert_eq!(kinds(&with(history, json!({"status": "in-progress"}))).await, ["QuestionnaireStarted"]);
}

#[tokio::test]
async fn consents() {
    let consent = json!({
        "resourceType": "Consent", "id": "n1", "status": "active", "patient": patient(), "dateTime": "2026-03-05", "meta": meta(),
        "scope": {"coding": [{"code": "patient-privacy"}]}, "category": [{"coding": [{"code": "59284-0"}]}],
        "provision": {"type": "permit", "period": {"start": "2026-03-05", "end": "2027-03-05"}, "actor": [{"role": {"coding": [{"code": "PRCP"}]}, "reference": {"reference": "RelatedPerson/f1"}}]}
    });
    let all = events(&consent).await;
    assert_eq!(
        (&all[0]["type"], &all[0]["scope"], &all[0]["grantee"]),
        (&json!("ConsentGiven"), &json!("share_records"), &json!("family"))
    );
    assert_eq!(
        (&all[0]["valid_until"], &all[0]["header"]["occurred_at"]),
        (&json!("2027-03-04T15:00:00Z"), &json!("2026-03-04T15:00:00Z"))
    );
    let s = server();
    s.post(&consent).await;
    assert_eq!(s.post(&with(consent.clone(), json!({"status": "inactive"}))).await.status, 201);
    assert_eq!(s.kinds(), ["ConsentGiven", "ConsentWithdrawn"]);
    let marketing = json!({
        "patient": null, "subject": patient(), "dateTime": null, "date": "2026-03-05", "scope": null, "decision": "deny",
        "category": [{"coding": [{"code": "advertising"}]}], "provision": [{"purpose": [{"code": "HMARKT"}]}]
    });
    let r5 = events(&with(consent, marketing)).await;
    assert_eq!(
        (&r5[0]["type"], &r5[0]["scope"], &r5[0]["grantee"]),
        (&json!("ConsentWithdrawn"), &json!("advertising"), &json!("marketing"))
    );
}

#[tokio::test]
async fn numbers_of_visits_that_the_site_knows_tie_what_several_protocols_tell() {
    let number =
        json!([{"system": "urn:x", "value": "n"}, {"system": "http://hospital.example/visit", "value": "V-100"}]);
    let visit = encounter(json!({"identifier": number}));
    let charge = json!({
        "resourceType": "ChargeItem", "id": "c1", "status": "billed", "subject": patient(), "context": {"reference": "Encounter/e1"},
        "priceOverride": money(1.0), "enteredDate": AT
    });
    let all = events(&bundle("batch", &[visit, charge.clone()])).await;
    assert!(all.iter().all(|e| e["encounter_id"] == "V-100"), "{all:?}");
    let logical = json!({"context": {"identifier": {"system": "http://hospital.example/visit", "value": "V-100"}}});
    assert_eq!(events(&with(charge, logical)).await[0]["encounter_id"], "V-100");
}

#[tokio::test]
async fn every_wrong_code_is_named() {
    let wrong = [
        (appointment(1, "x"), "Appointment.status"),
        (encounter(json!({"status": "x"})), "Encounter.status"),
        (request(json!({"intent": "x"})), "ServiceRequest.intent"),
        (request(json!({"priority": "x"})), "ServiceRequest.priority"),
        (json!({"resourceType": "Consent", "status": "x"}), "Consent.status"),
        (json!({"resourceType": "Claim", "status": "x"}), "Claim.status"),
        (json!({"resourceType": "Communication", "status": "x"}), "Communication.status"),
        (json!({"resourceType": "QuestionnaireResponse", "status": "x"}), "QuestionnaireResponse.status"),
    ];
    for (body, expression) in wrong {
        let r = server().post(&body).await;
        assert_eq!((r.status, r.issue()), (422, ("code-invalid", expression)), "{}", r.json);
    }
    let future = encounter(json!({"period": {"start": "2999-01-01T00:00:00Z", "end": "2999-01-01T01:00:00Z"}}));
    let r = server().post(&future).await;
    assert_eq!((r.status, r.issue()), (422, ("value", "Encounter.period.start")));
    for (name, wrong) in [("period", json!(7)), ("class", json!({"coding": 4})), ("subject", json!([]))] {
        let r = server().post(&encounter(json!({name: wrong}))).await;
        assert!(r.status == 422 && r.issue().1.starts_with("Encounter"), "{name}: {} {}", r.status, r.json);
    }
    assert_eq!(kinds(&json!({"resourceType": "Observation", "status": 7})).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_huge_is_refused_and_takes_no_time() {
    let begun = std::time::Instant::now();
    let s = server();
    let other = json!({"type": "replaces", "other": {"reference": "Patient/p2"}});
    let places: Vec<Value> = (0..5_000)
        .map(|n| json!({"location": {"reference": "#l"}, "period": {"start": format!("2026-03-05T10:05:00.{n:04}+09:00")}}))
        .collect();
    let labels: Vec<Value> = (0..50_000).map(|n| json!({"code": format!("c{n}")})).collect();
    let contained: Vec<Value> =
        (0..20_000).map(|n| json!({"resourceType": "Location", "id": format!("l{n}")})).collect();
    let identifiers: Vec<Value> = (0..50_000).map(|n| json!({"system": "s", "value": n.to_string()})).collect();
    let links: Vec<Value> = (0..20_000).map(|_| other.clone()).collect();
    let stay =
        json!({"class": {"code": "IMP"}, "location": places, "contained": contained, "meta": {"security": labels}});
    let people = json!({"resourceType": "Patient", "id": "p1", "identifier": identifiers, "link": links});
    assert!(s.post(&encounter(stay)).await.status < 300);
    let r = s.post(&people).await;
    assert_eq!((r.status, r.issue()), (422, ("too-costly", "Patient")));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
