use super::*;

fn opens(kind: ItemKind, event: &str, body: Json, due: f64) -> Seen {
    let s = Story::default().at(0.0, event, body);
    let i = s.item(kind);
    assert_eq!(i.text("status"), "open", "{event}");
    assert!((i.due() - due).abs() < 1e-6, "{event}: due after {} h, not {due}", i.due());
    assert_eq!(i.text("trigger_event_id"), id_of(0).to_string());
    assert_eq!((i.text("site"), i.text("department")), ("main", "ortho"));
    i
}

#[test]
fn every_trigger_opens_its_item_with_its_due_time() {
    opens(ItemKind::PostVisit, "ConsultEnded", json!({"encounter_id": "e1"}), 24.0);
    opens(ItemKind::PostVisit, "PatientDischarged", json!({"encounter_id": "e1"}), 72.0);
    opens(ItemKind::PostVisit, "PatientDischarged", json!({"encounter_id": "e1", "high_risk": true}), 24.0);
    let referral = json!({"referral_id": "r1", "to": "cardio", "expires_at": "2026-03-22T00:00:00Z"});
    opens(ItemKind::ReferralBooking, "ReferralMade", referral.clone(), 72.0);
    opens(ItemKind::ReferralCompletion, "ReferralMade", referral, 480.0);
    opens(ItemKind::ReferralCompletion, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"}), 720.0);
    let order = json!({"order_id": "o1", "code": "CT", "due_at": "2026-03-03T00:00:00Z"});
    opens(ItemKind::OrderResult, "OrderPlaced", order, 48.0);
    opens(
        ItemKind::CriticalMot,
        "DignityBreachReported",
        json!({"encounter_id": "e1", "role": "doctor", "kind": "blame"}),
        4.0,
    );
    opens(ItemKind::CriticalMot, "ComplaintFiled", json!({"complaint_id": "c1", "severity": "severe"}), 4.0);
    opens(ItemKind::Complaint, "ComplaintFiled", json!({"complaint_id": "c1", "severity": "high"}), 24.0);
    let charge = json!({"claim_id": "b1", "amount_minor": 5000, "currency": "KRW"});
    opens(ItemKind::UnpaidBill, "ChargePosted", charge, 168.0);
    opens(ItemKind::DisputedBill, "BillDisputed", json!({"claim_id": "b1"}), 72.0);
    opens(ItemKind::UnansweredQuestion, "PatientQuestionAsked", json!({"question_id": "q1"}), 24.0);
}

#[test]
fn a_recall_is_due_14_days_before_its_day_but_never_at_once() {
    // 2026-04-01 00:00 in Seoul, less 14 days, is 2026-03-17T15:00Z
    opens(ItemKind::Recall, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-04-01"}), 375.0);
    opens(ItemKind::Recall, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-03-05"}), 24.0);
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1", "reexam_due_on": "2026-04-01"}));
    let s = s.at(2.0, "RecallDue", json!({"recall_kind": "re_exam", "due_on": "2026-04-01", "encounter_id": "e1"}));
    assert!((s.item(ItemKind::Recall).due() - 375.0).abs() < 1e-6, "one item for both ways to say it");
}

#[test]
fn a_no_show_is_due_on_the_next_working_day_of_the_zone() {
    opens(ItemKind::NoShow, "AppointmentNoShow", json!({"appointment_id": "a1"}), 24.0);
    // Friday 2026-03-06, 23:00 in Seoul is still Friday there: Monday 23:00
    let s = Story::default().at(110.0, "AppointmentNoShow", json!({"appointment_id": "a1"}));
    assert!((s.item(ItemKind::NoShow).due() - 182.0).abs() < 1e-6);
}

#[test]
fn booking_friction_is_due_before_the_next_booking() {
    let s = Story::default().at(0.0, "BookingFrictionReported", json!({"problem": "long_hold"}));
    assert_eq!(s.item(ItemKind::BookingFriction).get("due_at"), &Value::Null);
    let referred = s.clone().at(1.0, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"}));
    assert!((referred.item(ItemKind::BookingFriction).due() - 73.0).abs() < 1e-6);
    let alone = s.at(5.0, "AppointmentBooked", json!({"appointment_id": "a1", "starts_at": "2026-03-09T00:00:00Z"}));
    let i = alone.item(ItemKind::BookingFriction);
    assert_eq!(i.text("status"), "open", "booked without help: missed");
    assert!((i.due() - 5.0).abs() < 1e-6);
    let twice = alone.at(6.0, "BookingFrictionReported", json!({"problem": "no_slot"}));
    assert!(twice.item(ItemKind::BookingFriction).text("reasons").contains("repeated_booking_trouble"));
}

#[test]
fn one_open_item_per_kind_and_subject() {
    let s = Story::default()
        .at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}))
        .at(1.0, "ConsultEnded", json!({"encounter_id": "e1"}))
        .at(50.0, "PatientDischarged", json!({"encounter_id": "e1"}));
    let i = s.item(ItemKind::PostVisit);
    assert!((i.due() - 122.0).abs() < 1e-6, "the discharge counts");
    let s = s.at(60.0, "DischargeCancelled", json!({"encounter_id": "e1"}));
    assert!((s.item(ItemKind::PostVisit).due() - 24.0).abs() < 1e-6, "without it the first consult does");
}

#[test]
fn a_cancelled_discharge_cancels_its_item() {
    let s = Story::default().at(0.0, "PatientDischarged", json!({"encounter_id": "e1"})).at(
        1.0,
        "DischargeCancelled",
        json!({"encounter_id": "e1"}),
    );
    assert_eq!(s.item(ItemKind::PostVisit).status(), ("cancelled", "discharge_cancelled"));
    // A correction of the discharge doesn't change why its item is gone.
    let new = event(id_of(0), "PatientDischarged", 0.5, &json!({"encounter_id": "e1", "location": "W2"}));
    let body = json!({"target_event_id": id_of(0).to_string(), "reason": "typo", "replacement": new.to_json()});
    let corrected = s.at(2.0, "EventCorrected", body);
    assert_eq!(corrected.item(ItemKind::PostVisit).status(), ("cancelled", "discharge_cancelled"));
}

#[test]
fn a_retracted_trigger_cancels_and_a_corrected_one_recomputes() {
    let filed = json!({"complaint_id": "c1", "severity": "low"});
    let s = Story::default().at(0.0, "ComplaintFiled", filed);
    let gone = s.clone().at(1.0, "EventRetracted", json!({"target_event_id": id_of(0).to_string(), "reason": "error"}));
    let i = gone.item(ItemKind::Complaint);
    assert_eq!(i.status(), ("cancelled", "trigger_retracted"));
    assert_eq!(i.text("item_id"), s.item(ItemKind::Complaint).text("item_id"));
    let back = gone.at(2.0, "EventRetracted", json!({"target_event_id": id_of(1).to_string(), "reason": "not so"}));
    assert_eq!(back.item(ItemKind::Complaint).text("status"), "open", "a retracted retraction says nothing");

    let correct = |s: Story, at: f64, severity: &str| {
        let new = event(id_of(0), "ComplaintFiled", 0.0, &json!({"complaint_id": "c1", "severity": severity}));
        let body = json!({"target_event_id": id_of(0).to_string(), "reason": "typo", "replacement": new.to_json()});
        s.at(at, "EventCorrected", body)
    };
    let high = correct(s.clone(), 1.0, "high");
    assert_eq!(high.item(ItemKind::Complaint).int("severity"), 30);
    let severe = correct(high, 2.0, "severe");
    assert_eq!(severe.item(ItemKind::Complaint).status(), ("cancelled", "trigger_corrected"));
    assert!((severe.item(ItemKind::CriticalMot).due() - 4.0).abs() < 1e-6);
    let retracted =
        severe.at(3.0, "EventRetracted", json!({"target_event_id": id_of(0).to_string(), "reason": "error"}));
    assert!(retracted.rows().into_iter().map(Seen).all(|i| i.status() == ("cancelled", "trigger_retracted")));
}

#[test]
fn priority_lists_its_reasons_and_knows_no_money() {
    let s = Story::default()
        .at(
            -1.0,
            "DemographicsUpdated",
            json!({"fields": ["special_requirements"], "special_requirements": ["wheelchair"]}),
        )
        .at(0.0, "ConsultEnded", json!({"encounter_id": "e1", "high_risk": true}))
        .at(
            0.5,
            "ResultReported",
            json!({"order_id": "o9", "encounter_id": "e1", "status": "final", "abnormal": true}),
        );
    let i = s.item(ItemKind::PostVisit);
    assert_eq!((i.int("severity"), i.int("clinical_risk"), i.int("vulnerability"), i.int("points")), (15, 25, 20, 60));
    let reasons: Json = serde_json::from_str(i.text("reasons")).unwrap();
    assert_eq!(reasons.as_array().unwrap().len(), 5);

    let charge = |amount: i64| {
        let body = json!({"claim_id": "b1", "amount_minor": amount, "currency": "KRW", "service": "implant"});
        let partly = json!({"claim_id": "b1", "amount_minor": amount - 1, "currency": "KRW"});
        Story::default().at(0.0, "ChargePosted", body).at(1.0, "PaymentReceived", partly).rows()
    };
    let (small, large) = (charge(10), charge(987_654_321));
    assert_eq!(small, large, "no amount is in an item");
    assert!(!format!("{large:?}").contains("98765432") && !format!("{large:?}").contains("KRW"));
}

/// The one reason of a part of the priority, and its points.
fn reason(i: &Seen, part: &str) -> Option<(String, i64)> {
    let reasons: Vec<Json> = serde_json::from_str(i.text("reasons")).unwrap();
    let mut of_part = reasons.iter().filter(|r| r["part"] == part);
    let found = of_part.next().map(|r| (r["reason"].as_str().unwrap().to_owned(), r["points"].as_i64().unwrap()));
    assert_eq!(of_part.next(), None);
    found
}

#[test]
fn the_urgency_of_an_order_or_a_referral_counts() {
    for (urgency, points) in [("stat", 25), ("asap", 20), ("urgent", 15), ("routine", 0)] {
        let wanted = (points > 0).then(|| (format!("priority_{urgency}"), points));
        let order = json!({"order_id": "o1", "code": "CT", "priority": urgency});
        let referral = json!({"referral_id": "r1", "to": "cardio", "priority": urgency});
        let s = Story::default().at(0.0, "OrderPlaced", order).at(0.0, "ReferralMade", referral);
        for kind in [ItemKind::OrderResult, ItemKind::ReferralBooking, ItemKind::ReferralCompletion] {
            let i = s.item(kind);
            assert_eq!((reason(&i, "clinical_risk"), i.int("clinical_risk")), (wanted.clone(), points), "{kind:?}");
        }
    }
}

#[test]
fn severity_counts() {
    let of = |event, kind, body| {
        let i = Story::default().at(0.0, event, body).item(kind);
        let (why, points) = reason(&i, "severity").unwrap();
        assert_eq!(i.int("severity"), points);
        (why, points)
    };
    for (severity, wanted) in [("severe", ("dignity_breach_severe", 45)), ("high", ("dignity_breach", 40))] {
        let breach = json!({"encounter_id": "e1", "role": "doctor", "kind": "blame", "severity": severity});
        let (why, points) = of("DignityBreachReported", ItemKind::CriticalMot, breach);
        assert_eq!((why.as_str(), points), wanted);
    }
    for (severity, points) in [("low", 10), ("medium", 20), ("high", 30), ("severe", 40)] {
        let kind = if severity == "severe" { ItemKind::CriticalMot } else { ItemKind::Complaint };
        let filed = json!({"complaint_id": "c1", "severity": severity});
        assert_eq!(of("ComplaintFiled", kind, filed), (format!("complaint_{severity}"), points));
    }
}

#[test]
fn the_time_part_grows_towards_the_due_time_and_after_it() {
    use crate::time::{DAY, HOUR};
    use priority::time_points;
    let due = Some(0);
    assert_eq!(time_points(None, 0), 0);
    assert_eq!(time_points(due, -8 * DAY), 0);
    assert_eq!(time_points(due, -84 * HOUR), 13);
    assert_eq!(time_points(due, 0), 25);
    assert_eq!(time_points(due, 36 * HOUR), 32);
    assert_eq!(time_points(due, 30 * DAY), 40);
}

#[test]
fn advertising_at_night_takes_a_separate_consent() {
    use chrono::NaiveTime;
    use contact::*;
    let t = |h, m| NaiveTime::from_hms_opt(h, m, 0).unwrap();
    let quiet = Hours::between(20, 8);
    let ads = Consents { advertising: true, ..Consents::default() };
    assert_eq!(
        may_contact(Purpose::Advertising, t(12, 0), Consents::default(), quiet),
        Err(Barred::NoAdvertisingConsent)
    );
    assert_eq!(may_contact(Purpose::Advertising, t(20, 59), ads, quiet), Ok(()));
    assert_eq!(may_contact(Purpose::Advertising, t(21, 0), ads, quiet), Err(Barred::AdvertisingAtNight));
    assert_eq!(may_contact(Purpose::Advertising, t(7, 59), ads, quiet), Err(Barred::AdvertisingAtNight));
    assert_eq!(may_contact(Purpose::Advertising, t(8, 0), ads, quiet), Ok(()));
    assert_eq!(may_contact(Purpose::Advertising, t(23, 0), Consents { night: true, ..ads }, quiet), Ok(()));
    assert_eq!(may_contact(Purpose::Care, t(20, 30), ads, quiet), Err(Barred::QuietHours));
    assert_eq!(may_contact(Purpose::Care, t(19, 0), Consents::default(), quiet), Ok(()));
    let barred = Consents { contact: false, ..ads };
    assert_eq!(may_contact(Purpose::Care, t(12, 0), barred, quiet), Err(Barred::DoNotContact));
    assert_eq!(Purpose::named("gift"), Purpose::Advertising, "an unknown purpose is the strictest");
}
