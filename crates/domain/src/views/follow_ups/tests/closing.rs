use super::*;

/// The status of the item of `kind` after one more event.
fn then(s: &Story, at: f64, event: &str, body: Json, kind: ItemKind) -> (String, String) {
    let item = s.clone().at(at, event, body).item(kind);
    let (status, reason) = item.status();
    (status.to_owned(), reason.to_owned())
}

fn closed(reason: &str) -> (String, String) {
    ("closed".into(), reason.into())
}

fn open() -> (String, String) {
    ("open".into(), String::new())
}

#[test]
fn only_a_human_call_with_five_answers_closes_a_post_visit_item() {
    let k = ItemKind::PostVisit;
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}));
    let item = id(k, "e1");
    assert_eq!(then(&s, 5.0, "FollowUpCallCompleted", call(&item), k), closed("called"));
    let by_visit = json!({"encounter_id": "e1", "human": true, "outcome": "reached", "answers": five()});
    assert_eq!(then(&s, 5.0, "FollowUpCallCompleted", by_visit.clone(), k), closed("called"));
    assert_eq!(then(&s, -1.0, "FollowUpCallCompleted", by_visit, k), open(), "a call before the visit");
    let bare = json!({"human": true, "outcome": "reached", "answers": five()});
    assert_eq!(then(&s, 5.0, "FollowUpCallCompleted", bare, k), closed("called"), "the latest visit");
    for (change, value) in [
        ("human", json!(false)),
        ("channel", json!("robocall")),
        ("channel", json!("email")),
        ("channel", json!("sms")),
        ("answers", json!(["fine", "", "", "", ""])),
        ("answers", json!([])),
        ("outcome", json!("voicemail")),
    ] {
        let mut body = call(&item);
        body[change] = value;
        assert_eq!(then(&s, 5.0, "FollowUpCallCompleted", body, k), open(), "{change}");
    }
    let sms = json!({"item_id": item, "channel": "sms", "human": false, "outcome": "reached"});
    assert_eq!(then(&s, 5.0, "FollowUpCallAttempted", sms, k), open());
    let by_system = json!({"item_id": item, "closure": "resolved", "header": {"actor": {"role": "system"}}});
    assert_eq!(then(&s, 5.0, "FollowUpItemClosed", by_system, k), open());
    let by_hand = json!({"item_id": item, "closure": "not_needed"});
    assert_eq!(then(&s, 5.0, "FollowUpItemClosed", by_hand, k), closed("not_needed"));
    let other = json!({"item_id": id(k, "e2"), "closure": "not_needed"});
    assert_eq!(then(&s, 5.0, "FollowUpItemClosed", other, k), open());
}

#[test]
fn referrals_close_when_booked_and_when_completed_with_an_outcome() {
    let (b, c) = (ItemKind::ReferralBooking, ItemKind::ReferralCompletion);
    let s = Story::default().at(0.0, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"}));
    let r = json!({"referral_id": "r1"});
    let appointment = json!({"appointment_id": "a1", "starts_at": "2026-03-09T00:00:00Z", "referral_id": "r1"});
    assert_eq!(then(&s, 1.0, "AppointmentBooked", appointment.clone(), b), closed("booked"));
    assert_eq!(then(&s, -1.0, "ReferralBooked", r.clone(), b), closed("booked"), "clocks of two systems");
    let booked = s.clone().at(1.0, "AppointmentBooked", appointment);
    assert_eq!(booked.item(c).text("status"), "open");
    let cancelled = then(&booked, 2.0, "AppointmentCancelled", json!({"appointment_id": "a1", "by": "patient"}), b);
    assert_eq!(cancelled, ("open".into(), "booking_cancelled".into()));
    assert_eq!(then(&s, 3.0, "ReferralCompleted", r.clone(), c), ("open".into(), "outcome_missing".into()));
    let with = json!({"referral_id": "r1", "outcome_ref": "doc/1"});
    assert_eq!(then(&s, 3.0, "ReferralCompleted", with.clone(), c), closed("completed_with_outcome"));
    assert_eq!(then(&s, 3.0, "ReferralCompleted", with, b), closed("completed"));
    for k in [b, c] {
        let cancelled = ("cancelled".to_owned(), "referral_cancelled".to_owned());
        assert_eq!(then(&s, 3.0, "ReferralCancelled", r.clone(), k), cancelled);
        assert_eq!(then(&s, 3.0, "ReferralDeclined", r.clone(), k), ("open".into(), "referral_declined".into()));
    }
    let expired = s.at(30.0, "ReferralExpired", r);
    assert!((expired.item(c).due() - 30.0).abs() < 1e-6);
    assert_eq!(expired.item(b).status(), ("closed", "referral_expired"));
}

#[test]
fn orders_close_on_a_final_result() {
    let k = ItemKind::OrderResult;
    let s = Story::default().at(0.0, "OrderPlaced", json!({"order_id": "o1", "code": "CT"}));
    let result = |status: &str| json!({"order_id": "o1", "status": status, "abnormal": true});
    assert_eq!(then(&s, 1.0, "ResultReported", result("preliminary"), k), open());
    assert_eq!(s.clone().at(1.0, "ResultReported", result("preliminary")).item(k).int("clinical_risk"), 20);
    assert_eq!(then(&s, 1.0, "ResultReported", result("final"), k), closed("final_result"));
    assert_eq!(then(&s, 1.0, "ResultCorrected", result("corrected"), k), closed("final_result"));
    let gone = ("cancelled".to_owned(), "order_cancelled".to_owned());
    assert_eq!(then(&s, 1.0, "OrderCancelled", json!({"order_id": "o1"}), k), gone);
}

#[test]
fn a_recall_opens_again_on_a_no_show_and_closes_for_good_on_the_visit() {
    let k = ItemKind::Recall;
    let s = Story::default().at(0.0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-04-01"})).at(
        10.0,
        "RecallBooked",
        json!({"recall_kind": "scaling", "appointment_id": "a1", "starts_at": "2026-03-30T00:00:00Z"}),
    );
    assert_eq!(s.item(k).status(), ("closed", "booked"));
    let missed = s.clone().at(672.0, "AppointmentNoShow", json!({"appointment_id": "a1"}));
    assert_eq!(missed.item(k).status(), ("open", "no_show"));
    assert_eq!(missed.item(k).int("times_opened"), 2);
    assert!((missed.item(k).due() - 696.0).abs() < 1e-6);
    let again = missed.at(
        680.0,
        "AppointmentBooked",
        json!({"appointment_id": "a2", "starts_at": "2026-04-02T00:00:00Z", "recall_kind": "scaling"}),
    );
    assert_eq!(again.item(k).status(), ("closed", "booked"));
    let visited = again.at(744.0, "PatientCheckedIn", json!({"appointment_id": "a2"}));
    assert_eq!(visited.item(k).status(), ("closed", "visited"));
    let after = visited.clone().at(745.0, "AppointmentNoShow", json!({"appointment_id": "a2"}));
    assert_eq!(after.item(k).status(), ("closed", "visited"), "for good");
    let next = visited.at(2000.0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-10-01"}));
    assert_eq!(next.item(k).text("status"), "open", "the next recall");
    assert_eq!(then(&s, 12.0, "RecallLapsed", json!({"recall_kind": "scaling"}), k), closed("booked"));
}

#[test]
fn a_recall_that_lapsed_is_closed() {
    let k = ItemKind::Recall;
    let s = Story::default().at(0.0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-04-01"}));
    assert_eq!(then(&s, 800.0, "RecallLapsed", json!({"recall_kind": "scaling"}), k), closed("recall_lapsed"));
    assert_eq!(then(&s, 800.0, "RecallLapsed", json!({"recall_kind": "eye_test"}), k), open());
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1", "reexam_due_on": "2026-04-01"}));
    assert_eq!(then(&s, 800.0, "RecallLapsed", json!({"recall_kind": "re_exam"}), k), closed("recall_lapsed"));
}

#[test]
fn a_closure_by_hand_says_why() {
    let k = ItemKind::UnansweredQuestion;
    let s = Story::default().at(0.0, "PatientQuestionAsked", json!({"question_id": "q1"}));
    for (closure, reason) in [
        ("resolved", "resolved"),
        ("declined", "declined"),
        ("duplicate", "duplicate"),
        ("not_needed", "not_needed"),
        ("deceased", "deceased"),
        ("other", "closed_by_hand"),
    ] {
        let by_hand = json!({"item_id": id(k, "q1"), "closure": closure});
        assert_eq!(then(&s, 1.0, "FollowUpItemClosed", by_hand, k), closed(reason), "{closure}");
    }
}

#[test]
fn a_re_exam_is_booked_by_an_appointment_of_its_department_about_its_day() {
    let k = ItemKind::Recall;
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1", "reexam_due_on": "2026-04-01"}));
    let at = |day: &str, department: &str| json!({"appointment_id": "a1", "starts_at": format!("{day}T00:00:00Z"), "header": {"department": department}});
    assert_eq!(then(&s, -0.1, "AppointmentBooked", at("2026-04-02", "ortho"), k), closed("booked"), "at the desk");
    assert_eq!(then(&s, 1.0, "AppointmentBooked", at("2026-04-02", "skin"), k), open());
    assert_eq!(then(&s, 1.0, "AppointmentBooked", at("2026-03-05", "ortho"), k), open());
}

#[test]
fn a_complaint_takes_a_call_and_a_resolution() {
    for (severity, k) in [("medium", ItemKind::Complaint), ("severe", ItemKind::CriticalMot)] {
        let s = Story::default().at(0.0, "ComplaintFiled", json!({"complaint_id": "c1", "severity": severity}));
        let item = id(k, "c1");
        let called = s.clone().at(1.0, "FollowUpCallCompleted", call(&item));
        assert_eq!(called.item(k).status(), ("open", ""), "a call alone is not enough");
        assert_eq!(called.item(k).text("missing"), "resolution");
        let resolution = json!({"complaint_id": "c1"});
        assert_eq!(then(&s, 1.0, "ComplaintResolved", resolution.clone(), k), open(), "nor is a resolution");
        assert_eq!(then(&called, 2.0, "ComplaintResolved", resolution.clone(), k), closed("called_and_resolved"));
        let resolved_first = s.clone().at(0.5, "ComplaintResolved", resolution);
        assert_eq!(then(&resolved_first, 1.0, "FollowUpCallCompleted", call(&item), k), closed("called_and_resolved"));
        let by_hand = json!({"item_id": item, "closure": "resolved"});
        assert_eq!(then(&s, 1.0, "FollowUpItemClosed", by_hand.clone(), k), open());
        assert_eq!(then(&called, 2.0, "FollowUpItemClosed", by_hand, k), closed("called_and_resolved"));
        let robocall = json!({"item_id": item, "human": false, "outcome": "reached", "answers": five()});
        assert_eq!(then(&resolved_first, 2.0, "FollowUpCallCompleted", robocall, k), open());
    }
}

#[test]
fn a_no_show_closes_when_rebooked_or_declined() {
    let k = ItemKind::NoShow;
    let s = Story::default().at(0.0, "AppointmentNoShow", json!({"appointment_id": "a1"}));
    let moved = json!({"appointment_id": "a1", "starts_at": "2026-03-09T00:00:00Z", "by": "patient"});
    assert_eq!(then(&s, 1.0, "AppointmentRescheduled", moved, k), closed("rebooked"));
    let booked = json!({"appointment_id": "a2", "starts_at": "2026-03-09T00:00:00Z"});
    assert_eq!(then(&s, 1.0, "AppointmentBooked", booked.clone(), k), closed("rebooked"));
    assert_eq!(then(&s, -1.0, "AppointmentBooked", booked, k), open(), "booked before");
    let refused = json!({"item_id": id(k, "a1"), "channel": "phone", "human": true, "outcome": "refused"});
    assert_eq!(then(&s, 1.0, "FollowUpCallAttempted", refused, k), closed("declined"));
    let declined = json!({"item_id": id(k, "a1"), "closure": "declined"});
    assert_eq!(then(&s, 1.0, "FollowUpItemClosed", declined, k), closed("declined"));
}

#[test]
fn bills_questions_and_friction_close_on_their_own() {
    let charge = json!({"claim_id": "b1", "amount_minor": 1, "currency": "KRW"});
    let s = Story::default().at(0.0, "ChargePosted", charge.clone());
    let k = ItemKind::UnpaidBill;
    assert_eq!(then(&s, 1.0, "PaymentReceived", charge.clone(), k), closed("paid"));
    assert_eq!(then(&s, 1.0, "ClaimPaid", charge.clone(), k), closed("paid"));
    assert_eq!(then(&s, 1.0, "ReceiptIssued", charge, k), open());
    let s = Story::default().at(0.0, "BillDisputed", json!({"claim_id": "b1"}));
    let resolved = then(&s, 1.0, "BillDisputeResolved", json!({"claim_id": "b1"}), ItemKind::DisputedBill);
    assert_eq!(resolved, closed("dispute_resolved"));
    let s = Story::default().at(0.0, "PatientQuestionAsked", json!({"question_id": "q1"}));
    let k = ItemKind::UnansweredQuestion;
    assert_eq!(then(&s, 1.0, "PatientQuestionAnswered", json!({"question_id": "q1"}), k), closed("answered"));
    let s = Story::default().at(0.0, "BookingFrictionReported", json!({"problem": "no_slot"}));
    let k = ItemKind::BookingFriction;
    let helped = json!({"appointment_id": "a1", "starts_at": "2026-03-09T00:00:00Z", "with_help": true});
    assert_eq!(then(&s, 1.0, "AppointmentBooked", helped, k), closed("booked_with_help"));
}

#[test]
fn the_third_failed_attempt_changes_the_channel() {
    let k = ItemKind::PostVisit;
    let item = id(k, "e1");
    let try_on = |s: Story, at: f64, channel: &str, outcome: &str| {
        s.at(
            at,
            "FollowUpCallAttempted",
            json!({"item_id": item, "channel": channel, "human": true, "outcome": outcome}),
        )
    };
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}));
    let two = try_on(try_on(s.clone(), 1.0, "phone", "no_answer"), 2.0, "phone", "voicemail");
    assert_eq!(two.item(k).text("channel"), "phone");
    let three = try_on(two, 3.0, "phone", "no_answer");
    let i = three.item(k);
    assert_eq!((i.text("channel"), i.int("attempts"), i.int("failed_attempts")), ("message", 3, 3));
    assert_eq!(i.text("last_outcome"), "no_answer");
    let wrong = try_on(s.clone(), 1.0, "phone", "wrong_number").item(k);
    assert_eq!((wrong.text("channel"), wrong.int("needs_human")), ("message", 1));
    let barrier = try_on(s.clone(), 1.0, "phone", "language_barrier").item(k);
    assert_eq!((barrier.text("channel"), barrier.int("vulnerability")), ("phone", 5));
    let escalated = try_on(s.clone(), 1.0, "phone", "escalated").item(k);
    assert_eq!((escalated.int("escalated"), escalated.int("severity")), (1, 25));
    let refused = try_on(s.clone(), 1.0, "phone", "refused").item(k);
    assert_eq!(refused.status(), ("open", "refused"), "a post-visit item is not closed by a refusal");
    let later = json!({"item_id": item, "channel": "phone", "human": true, "outcome": "callback_at", "callback_at": "2026-03-03T05:00:00Z"});
    let later = s.at(1.0, "FollowUpCallAttempted", later).item(k);
    assert_eq!(later.int("act_at"), later.int("callback_at"));
    assert!((later.due() - 24.0).abs() < 1e-6, "the due time stays");
}

#[test]
fn death_closes_and_no_consent_suppresses_with_the_reason() {
    let k = ItemKind::PostVisit;
    let s = Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}));
    assert_eq!(
        then(&s, 1.0, "DemographicsUpdated", json!({"fields": ["deceased"], "deceased": true}), k),
        closed("deceased")
    );
    let died = json!({"channel": "phone", "human": true, "outcome": "deceased"});
    let dead = s.clone().at(1.0, "FollowUpCallAttempted", died);
    assert_eq!(dead.item(k).status(), ("closed", "deceased"));
    assert_eq!(
        then(&dead, 2.0, "DemographicsUpdated", json!({"fields": ["deceased"], "deceased": false}), k).0,
        "open"
    );
    let expired = json!({"encounter_id": "e1", "disposition": "expired"});
    assert_eq!(then(&s, 1.0, "PatientDischarged", expired, k), closed("deceased"));
    let scope = |grantee: &str| json!({"scope": "follow_up_contact", "grantee": grantee});
    let stopped = s.clone().at(1.0, "ConsentWithdrawn", scope("contact"));
    assert_eq!(stopped.item(k).status(), ("suppressed", "consent_withdrawn"));
    assert_eq!(then(&stopped, 2.0, "ConsentGiven", scope("contact"), k), open());
    assert_eq!(then(&s, 1.0, "ConsentWithdrawn", scope("marketing"), k), open());
    let hand = json!({"item_id": id(k, "e1"), "closure": "do_not_contact"});
    assert_eq!(then(&s, 1.0, "FollowUpItemClosed", hand, k), ("suppressed".into(), "do_not_contact".into()));
}
