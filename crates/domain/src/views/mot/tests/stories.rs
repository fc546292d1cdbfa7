//! Whole touchpoints and journeys: caps, coverage, roles, corrections, alerts.

use super::*;

fn answer(n: u128, minute: i64, role: &str, dimension: &str, raw: f64) -> Event {
    event(
        n,
        "FeedbackGiven",
        minute,
        json!({"encounter_id": "e", "instrument": "csat/1", "role": role,
        "dimension": dimension, "raw": raw, "scale_min": 0.0, "scale_max": 100.0}),
    )
}

fn consult() -> Vec<Event> {
    vec![
        event(1, "ConsultStarted", 0, json!({"encounter_id": "e"})),
        event(2, "PatientQuestionAsked", 5, json!({"encounter_id": "e", "question_id": "q"})),
        event(3, "ConsultEnded", 20, json!({"encounter_id": "e"})),
    ]
}

/// S0: the director 95, the nurse 40. Both stay visible, and no mean hides the nurse.
#[test]
fn roles_are_shown_apart() {
    let mut events = consult();
    events.extend([answer(10, 60, "doctor", "empathy", 95.0), answer(11, 60, "nurse", "empathy", 40.0)]);
    let j = explained(&events);
    let t = touchpoint(&j, TouchKind::Consult);
    let roles: Vec<(&str, f64)> = t.roles.iter().map(|r| (r.role.as_str(), r.score)).collect();
    assert_eq!(roles, [("doctor", 95.0), ("nurse", 40.0)]);
    // 0.6 · (95 + 40) / 2 + 0.4 · 50 (one open question of at most two)
    assert_eq!(t.score, Some(60.5));
    assert!(t.caps.is_empty(), "40 is not below 40");
    assert_eq!(t.coverage, 0.8, "0.6 + 0.4 · 1 / (1 + 0.5 + 0.5)");
}

/// P3: skill can't buy back empathy below the floor.
#[test]
fn empathy_below_the_floor_caps() {
    let mut events = consult();
    events.extend([
        event(4, "PatientQuestionAnswered", 9, json!({"question_id": "q"})),
        answer(10, 60, "doctor", "technical", 100.0),
        answer(11, 60, "doctor", "empathy", 39.0),
    ]);
    let j = explained(&events);
    let t = touchpoint(&j, TouchKind::Consult);
    // 0.6 · 69.5 + 0.4 · 100 = 81.7
    assert_eq!(t.score, Some(50.0));
    assert_eq!(t.caps.len(), 1);
    assert_eq!(t.caps[0].change, -31.7);
}

#[test]
fn too_little_is_insufficient_and_never_zero() {
    let j = explained(&consult()[..1]);
    let t = touchpoint(&j, TouchKind::Consult);
    assert_eq!((t.score, t.insufficient, t.coverage), (None, true, 0.0));
    assert_eq!(
        t.missing.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["unanswered_questions", "infection_control", "next_steps", "feedback"]
    );
    assert_eq!(j.score, None);
    assert!(j.parts.is_empty());
}

#[test]
fn an_answer_off_its_scale_counts_nowhere() {
    let mut events = consult();
    events.push(answer(10, 60, "doctor", "empathy", 101.0));
    assert!(touchpoint(&explained(&events), TouchKind::Consult).roles.is_empty());
}

/// Weighted mean, worst and last, with check-in 100, consult 50 and billing 0 (three reworks).
#[test]
fn a_journey_by_hand() {
    let mut events = consult();
    events.extend([
        event(20, "PatientCheckedIn", -10, json!({"encounter_id": "e"})),
        event(21, "WaitEstimated", -10, json!({"encounter_id": "e", "wait_told_min": 10})),
        event(
            30,
            "ClaimResubmitted",
            3000,
            json!({"encounter_id": "e", "claim_id": "c", "amount_minor": 1,
            "currency": "KRW", "rework_no": 3}),
        ),
    ]);
    let j = explained(&events);
    let scores: Vec<_> = j.touchpoints.iter().map(|t| (t.touchpoint, t.score)).collect();
    assert_eq!(
        scores,
        [(TouchKind::CheckIn, Some(100.0)), (TouchKind::Consult, Some(50.0)), (TouchKind::Billing, Some(0.0))]
    );
    // mean (2 · 100 + 3 · 50 + 2 · 0) / 7 = 50; 0.35 · 50 + 0.25 · 0 + 0.40 · 0
    assert_eq!(j.score, Some(17.5));
    assert_eq!(j.parts.iter().map(|p| p.contribution).collect::<Vec<_>>(), [17.5, 0.0, 0.0]);
    assert_eq!(j.alerts.iter().map(|a| a.kind).collect::<Vec<_>>(), ["low_score"]);
}

/// Scheduling, stay, continuation and follow-up weigh 1.5, check-in 2.
#[test]
fn the_weights_of_the_other_touchpoints_in_a_journey_by_hand() {
    let day = 1440;
    let one = |n, kind, minute, mut payload: Value| {
        payload["header"] = json!({"journey_id": "j"});
        event(n, kind, minute, payload)
    };
    let call = json!({"encounter_id": "e", "human": true, "outcome": "reached", "duration_s": 60, "answers": []});
    let events = [
        // 0.5, one contact, no change: 83.33
        one(
            1,
            "AppointmentBooked",
            0,
            json!({"appointment_id": "a", "starts_at": "2024-05-09T00:00:00Z", "hold_s": 165, "channel": "phone"}),
        ),
        // 60 min longer than told, told, nothing asked again: (1.5 · 0 + 1 + 1) / 3.5 = 57.14
        one(2, "PatientCheckedIn", day, json!({"encounter_id": "e"})),
        one(3, "WaitEstimated", day, json!({"encounter_id": "e", "wait_told_min": 0})),
        one(4, "ConsultStarted", day + 60, json!({"encounter_id": "e"})),
        one(5, "ConsultEnded", day + 60, json!({"encounter_id": "e"})),
        // called after 60 h: 25
        one(6, "FollowUpCallCompleted", day + 61 * 60, call),
        // one of two questions: 50
        one(7, "PatientAdmitted", 5 * day, json!({"encounter_id": "s"})),
        one(8, "PatientQuestionAsked", 5 * day + 1, json!({"encounter_id": "s", "question_id": "q"})),
        // booked at once: 100
        one(9, "ReferralMade", 6 * day, json!({"referral_id": "r", "to": "x"})),
        one(10, "ReferralBooked", 6 * day, json!({"referral_id": "r"})),
    ];
    let j = explained(&events);
    let score = |kind| touchpoint(&j, kind).score;
    assert_eq!(score(TouchKind::Scheduling), Some(83.33));
    assert_eq!(score(TouchKind::CheckIn), Some(57.14));
    assert_eq!(score(TouchKind::FollowUp), Some(25.0));
    assert_eq!(score(TouchKind::Stay), Some(50.0));
    assert_eq!(score(TouchKind::Continuation), Some(100.0));
    assert_eq!(score(TouchKind::Consult), None, "too little was observed");
    // (1.5 · (83.33 + 25 + 50 + 100) + 2 · 57.14) / 8
    assert_eq!((j.parts[0].part, j.parts[0].value), ("weighted_mean", 62.72));
}

/// Two of three: 66.67, not 66.60 or 66.70. What comes of thirds is rounded when it is a score, and not before.
#[test]
fn a_score_is_rounded_half_up_once() {
    let dispute = |n: u128, kind, yes: Option<bool>| {
        let payload = json!({"claim_id": "c", "first_contact_resolution": yes});
        event(n, kind, i64::try_from(n).unwrap(), payload)
    };
    let resolved = |n, yes| dispute(n, "BillDisputeResolved", Some(yes));
    let events = [dispute(1, "BillDisputed", None), resolved(2, true), resolved(3, true), resolved(4, false)];
    let j = explained_by(&only("first_contact"), &events, None);
    let billing = touchpoint(&j, TouchKind::Billing);
    assert_eq!((billing.score, observed(billing, "first_contact")), (Some(66.67), Some((0.667, 0.6667))));

    let asked = |n, done: i64, total: i64| {
        let list =
            json!({"encounter_id": "e", "checklist": "infection_control", "items_done": done, "items_total": total});
        event(n, "ChecklistCompleted", 10, list)
    };
    let mut events = consult();
    events.extend([asked(10, 2, 3), event(11, "NextStepsExplained", 12, json!({"encounter_id": "e", "steps": []}))]);
    let j = explained(&events);
    // weights 1, 0.5 and 0.5: (0.5 + 0.5 · 2/3 + 0.5 · 1) / 2 = 2/3
    assert_eq!(touchpoint(&j, TouchKind::Consult).score, Some(66.67));
}

/// 0.35 · 28.6143 (200.30 by weights of 7) is 10.015 and becomes 10.02; of a mean rounded to 28.61 it would be 10.01.
#[test]
fn a_mean_is_not_rounded_before_the_journey_is() {
    let mean = score::Mean { sum: 20_030, weights: 7 };
    assert_eq!((mean.hundredths(), score::journey_parts(mean, 0, 0)), (2861, (1002, vec![1002, 0, 0])));
}

#[test]
fn provisional_until_fourteen_quiet_days() {
    let facts = facts_of(&consult());
    let at = |days: i64| {
        let now = Micros((START + 20) * crate::time::MINUTE + days * crate::time::DAY);
        let id = uuid::Uuid::from_u128(1).to_string();
        explain(&Standards::shipped(), facts.iter(), &id, None, now).unwrap().provisional
    };
    assert!(at(13));
    assert!(!at(14));
}

fn corrected(n: u128, minute: i64, target: u128, replacement: &Event) -> Event {
    let replacement: Value = serde_json::from_str(&replacement.to_json()).unwrap();
    event(
        n,
        "EventCorrected",
        minute,
        json!({"target_event_id": uuid::Uuid::from_u128(target).to_string(),
        "reason": "typing error", "replacement": replacement}),
    )
}

fn retracted(n: u128, minute: i64, target: u128) -> Event {
    event(
        n,
        "EventRetracted",
        minute,
        json!({"target_event_id": uuid::Uuid::from_u128(target).to_string(), "reason": "wrong patient"}),
    )
}

#[test]
fn corrections_rescore_and_the_past_can_be_asked() {
    let mut events = consult();
    events.push(answer(10, 60, "doctor", "empathy", 90.0));
    events.push(corrected(11, 100, 10, &answer(10, 60, "doctor", "empathy", 60.0)));
    events.push(corrected(12, 90, 10, &answer(10, 60, "doctor", "empathy", 10.0)));
    events.push(retracted(13, 200, 10));
    let roles = |minute: i64| {
        let as_of = Some(Micros((START + minute) * crate::time::MINUTE));
        let j = explained_by(&Standards::shipped(), &events, as_of);
        touchpoint(&j, TouchKind::Consult).roles.iter().map(|r| r.score).collect::<Vec<_>>()
    };
    assert_eq!(roles(50), [0.0; 0]);
    assert_eq!(roles(60), [90.0]);
    assert_eq!(roles(90), [10.0]);
    assert_eq!(roles(150), [60.0], "the latest recorded holds");
    assert_eq!(roles(200), [0.0; 0], "a retraction wins");
    events.push(retracted(14, 300, 13));
    let j = explained(&events);
    assert_eq!(touchpoint(&j, TouchKind::Consult).roles[0].score, 60.0, "a retraction can be taken back");
}

#[test]
fn breaches_and_severe_complaints_raise_alerts() {
    let mut events = consult();
    events.push(event(10, "DignityBreachReported", 10, json!({"role": "doctor", "kind": "made_to_apologise"})));
    events.push(event(
        11,
        "ComplaintFiled",
        500,
        json!({"complaint_id": "k", "severity": "severe", "encounter_id": "e"}),
    ));
    events.push(event(
        12,
        "ComplaintFiled",
        500,
        json!({"complaint_id": "l", "severity": "medium", "encounter_id": "e"}),
    ));
    let j = explained(&events);
    let alerts: Vec<_> = j.alerts.iter().map(|a| (a.kind, a.severity, a.touchpoint_id.as_deref())).collect();
    assert_eq!(
        alerts,
        [
            ("dignity_breach", "critical", Some("consult:encounter:e")),
            ("severe_complaint", "critical", Some("consult:encounter:e"))
        ]
    );
    let rows = Mot::new(Standards::shipped()).rows("p-1", &facts_of(&events));
    assert_eq!(rows[3].len(), 2);
    assert_eq!(rows[3][0][8], crate::table::Value::from("made_to_apologise"));
}

/// P10: an answer without a patient counts for the roles, and once it is linked it is told apart.
#[test]
fn anonymous_answers_and_pulses_have_rows_of_their_own() {
    let alone = json!({"header": {"patient_id": null}, "instrument": "nps/1", "role": "nurse", "dimension": "empathy",
        "raw": 9, "scale_min": 0, "scale_max": 10});
    let facts = facts_of(&[event(1, "FeedbackGiven", 0, alone)]);
    let rows = Mot::new(Standards::shipped()).rows("key", &facts);
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0]);
    assert_eq!(rows[1][0][10], crate::table::Value::Int(9000));
    let pulse = json!({"header": {"patient_id": null}, "instrument": "pulse/1", "role": "nurse", "raw": 2.0,
        "scale_min": 1.0, "scale_max": 5.0, "workload_percent": 130});
    let rows = Mot::new(Standards::shipped()).rows("s-1", &facts_of(&[event(1, "StaffPulseAnswered", 0, pulse)]));
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1]);
    let linked = json!({"target_event_id": uuid::Uuid::from_u128(1).to_string(), "encounter_id": "e", "instrument": "nps/1",
        "role": "nurse", "dimension": "empathy", "raw": 9, "scale_min": 0, "scale_max": 10});
    let rows = Mot::new(Standards::shipped()).rows("p-1", &facts_of(&[event(2, "FeedbackLinked", 0, linked)]));
    assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0, 1, 0]);
}

#[test]
fn rows_fit_their_tables_and_the_month_is_local() {
    let mut events = consult();
    events.push(answer(10, 60, "doctor", "empathy", 10.0));
    let rows = Mot::new(Standards::shipped()).rows("p-1", &facts_of(&events));
    for (table, rows) in Mot::TABLES.iter().zip(&rows) {
        assert!(rows.iter().all(|r| r.len() == table.columns.len()), "{}", table.name);
    }
    let late = event(1, "ConsultStarted", -60, json!({"encounter_id": "e"}));
    let rows = Mot::new(Standards::shipped()).rows("p-1", &facts_of(&[late]));
    assert_eq!(rows[0][0][8], crate::table::Value::Int(202_405), "23:00 UTC on 30 April is May in Seoul");
}
