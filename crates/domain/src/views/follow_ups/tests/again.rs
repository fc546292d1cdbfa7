//! What happens again: while an item is open, and after its end.

use super::*;

fn assert_due(i: &Seen, due: f64) {
    assert!((i.due() - due).abs() < 1e-6, "due after {} h, not {due}", i.due());
}

#[test]
fn a_further_breach_neither_postpones_nor_plays_down() {
    let k = ItemKind::CriticalMot;
    let breach = |severity: &str| json!({"encounter_id": "e1", "role": "nurse", "kind": "blame", "severity": severity});
    let s = Story::default().at(0.0, "DignityBreachReported", breach("severe"));
    let twice = s.at(3.9, "DignityBreachReported", breach("low")).item(k);
    assert_due(&twice, 4.0);
    assert_eq!((twice.int("severity"), twice.int("times_opened")), (45, 1));
    assert_eq!(twice.text("trigger_event_id"), id_of(0).to_string());

    let s = Story::default().at(0.0, "DignityBreachReported", breach("low"));
    let worse = s.at(3.0, "DignityBreachReported", breach("severe"));
    assert_due(&worse.item(k), 4.0);
    assert_eq!(worse.item(k).int("severity"), 45);
    let closed = worse.at(3.5, "FollowUpItemClosed", json!({"item_id": id(k, "e1"), "closure": "not_needed"}));
    let anew = closed.at(9.0, "DignityBreachReported", breach("low")).item(k);
    assert_due(&anew, 13.0);
    assert_eq!((anew.int("severity"), anew.int("times_opened")), (40, 2), "what was closed doesn't count");
}

#[test]
fn of_booking_friction_the_due_time_stays() {
    let friction = json!({"problem": "no_slot"});
    let alone = json!({"appointment_id": "a1", "starts_at": "2026-03-09T00:00:00Z"});
    let s = Story::default().at(0.0, "BookingFrictionReported", friction.clone()).at(24.0, "AppointmentBooked", alone);
    let again = s.at(48.0, "BookingFrictionReported", friction).item(ItemKind::BookingFriction);
    assert_due(&again, 24.0);
}

#[test]
fn a_date_that_the_source_names_anew_holds() {
    let made = |priority: &str, expires: &str| json!({"referral_id": "r1", "to": "cardio", "priority": priority, "expires_at": expires});
    let s = Story::default().at(0.0, "ReferralMade", made("stat", "2026-03-12T00:00:00Z"));
    let s = s.at(10.0, "ReferralMade", made("routine", "2026-03-22T00:00:00Z"));
    let completion = s.item(ItemKind::ReferralCompletion);
    assert_due(&completion, 480.0);
    assert_eq!(completion.int("clinical_risk"), 25);
    assert_due(&s.item(ItemKind::ReferralBooking), 72.0);
    let unnamed = s.at(20.0, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"}));
    assert_due(&unnamed.item(ItemKind::ReferralCompletion), 480.0);
}

#[test]
fn what_happens_again_after_its_end_opens_the_item_again() {
    let referral = json!({"referral_id": "r1", "to": "cardio"});
    let order = json!({"order_id": "o1", "code": "CT"});
    let question = json!({"question_id": "q1"});
    for (k, made, ended, body) in [
        (ItemKind::ReferralBooking, "ReferralMade", "ReferralCancelled", referral.clone()),
        (ItemKind::ReferralCompletion, "ReferralMade", "ReferralCancelled", referral),
        (ItemKind::OrderResult, "OrderPlaced", "OrderCancelled", order),
        (ItemKind::UnansweredQuestion, "PatientQuestionAsked", "PatientQuestionAnswered", question),
    ] {
        let s = Story::default().at(0.0, made, body.clone()).at(24.0, ended, body.clone());
        assert_ne!(s.item(k).text("status"), "open");
        let again = s.clone().at(48.0, made, body.clone()).item(k);
        assert_eq!((again.text("status"), again.int("times_opened")), ("open", 2), "{k:?}");
        assert_eq!(again.int("opened_at"), hours(48.0));
        let late = Story::default().at(0.0, ended, body.clone()).at(1.0, made, body.clone());
        assert_ne!(late.item(k).text("status"), "open", "clocks of two systems");
        let twice = late.at(1.0, made, body).item(k);
        assert_eq!((twice.int("times_opened"), twice.int("opened_at")), (1, hours(1.0)), "said twice of one time");
    }
}

/// A gateway tells of a changed record by the event that made it.
#[test]
fn what_has_come_to_its_outcome_is_not_asked_for_again() {
    let referral = json!({"referral_id": "r1", "to": "cardio"});
    let done = json!({"referral_id": "r1", "outcome_ref": "doc-1"});
    let s = Story::default().at(0.0, "ReferralMade", referral.clone()).at(24.0, "ReferralCompleted", done);
    let again = s.at(48.0, "ReferralMade", referral);
    for (kind, reason) in
        [(ItemKind::ReferralBooking, "completed"), (ItemKind::ReferralCompletion, "completed_with_outcome")]
    {
        assert_eq!(again.item(kind).status(), ("closed", reason));
    }
    let order = json!({"order_id": "o1", "code": "CT"});
    let result = json!({"order_id": "o1", "result_id": "x1", "status": "final"});
    let s = Story::default().at(0.0, "OrderPlaced", order.clone()).at(24.0, "ResultReported", result);
    assert_eq!(s.at(48.0, "OrderPlaced", order).item(ItemKind::OrderResult).status(), ("closed", "final_result"));
}

#[test]
fn a_referral_that_is_made_anew_keeps_its_booking() {
    let made = json!({"referral_id": "r1", "to": "cardio"});
    let booked = json!({"referral_id": "r1"});
    let s = Story::default().at(0.0, "ReferralMade", made.clone()).at(1.0, "ReferralBooked", booked);
    assert_eq!(s.at(2.0, "ReferralMade", made).item(ItemKind::ReferralBooking).status(), ("closed", "booked"));
}

#[test]
fn failed_attempts_at_the_desk_count_too() {
    let k = ItemKind::PostVisit;
    let mut s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}));
    for hour in [1.0, 2.0, 3.0] {
        let attempt = json!({"item_id": id(k, "e1"), "channel": "desk", "human": true, "outcome": "no_answer"});
        s = s.at(hour, "FollowUpCallAttempted", attempt);
    }
    let i = s.item(k);
    assert_eq!((i.int("attempts"), i.int("failed_attempts"), i.text("channel")), (3, 3, "phone"));
}
