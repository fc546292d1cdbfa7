//! Each signal at its target, at its fail, and between.

use super::*;

/// Value and utility of `signal` for these events, scored by it alone.
fn measured(signal: &str, kind: TouchKind, events: &[Event]) -> Option<(f64, f64)> {
    observed(touchpoint(&explained_by(&only(signal), events, None), kind), signal)
}

fn visit(told: i64, started: i64) -> Vec<Event> {
    vec![
        event(1, "PatientCheckedIn", 0, json!({"encounter_id": "e"})),
        event(2, "WaitEstimated", 0, json!({"encounter_id": "e", "wait_told_min": told})),
        event(3, "ConsultStarted", started, json!({"encounter_id": "e"})),
    ]
}

#[test]
fn wait_is_what_was_waited_beyond_what_was_told() {
    let m = |told, started| measured("wait_gap", TouchKind::CheckIn, &visit(told, started)).unwrap();
    assert_eq!(m(20, 20), (0.0, 1.0));
    assert_eq!(m(20, 10), (0.0, 1.0), "earlier than told is no better than as told");
    assert_eq!(m(20, 35), (15.0, 0.5));
    assert_eq!(m(20, 50), (30.0, 0.0));
    assert_eq!(m(20, 90), (70.0, 0.0));
    assert_eq!(measured("wait_gap", TouchKind::CheckIn, &visit(20, 35)[..2]), None, "not seen yet");
}

#[test]
fn no_wait_told() {
    let m = |events: &[Event]| measured("no_wait_estimate", TouchKind::CheckIn, events).unwrap();
    assert_eq!(m(&visit(20, 20)), (0.0, 1.0));
    assert_eq!(m(&visit(20, 20)[..1]), (1.0, 0.0));
}

fn booking(hold_s: i64, channel: &str) -> Vec<Event> {
    let booked =
        json!({"appointment_id": "a", "starts_at": "2024-05-09T00:00:00Z", "hold_s": hold_s, "channel": channel});
    vec![event(1, "AppointmentBooked", 0, booked)]
}

#[test]
fn booking_hold() {
    let m = |s| measured("booking_hold", TouchKind::Scheduling, &booking(s, "phone")).unwrap();
    assert_eq!(m(30), (30.0, 1.0));
    assert_eq!(m(5), (5.0, 1.0));
    assert_eq!(m(165), (165.0, 0.5));
    assert_eq!(m(300), (300.0, 0.0));
    assert_eq!(m(900), (900.0, 0.0));
}

#[test]
fn a_patient_who_books_alone_is_not_on_hold() {
    let booked = json!({"appointment_id": "a", "starts_at": "2024-05-09T00:00:00Z", "channel": "web"});
    let j = explained(&[event(1, "AppointmentBooked", 0, booked)]);
    let t = touchpoint(&j, TouchKind::Scheduling);
    assert!(t.missing.iter().all(|m| m.name != "booking_hold"));
    assert_eq!((t.coverage, t.score), (1.0, Some(100.0)));
}

#[test]
fn booking_contacts() {
    let a = |n, kind, minute| {
        event(
            n,
            kind,
            minute,
            json!({"appointment_id": "a", "problem": "no_slot", "by": "patient",
        "starts_at": "2024-05-09T00:00:00Z"})
            .as_object()
            .map(|o| {
                let keep = match kind {
                    "AppointmentRequested" | "AppointmentConfirmed" => &["appointment_id"][..],
                    "BookingFrictionReported" => &["appointment_id", "problem"],
                    "AppointmentBooked" => &["appointment_id", "starts_at"],
                    _ => &["appointment_id", "starts_at", "by"],
                };
                Value::Object(
                    o.iter().filter(|(k, _)| keep.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect(),
                )
            })
            .unwrap(),
        )
    };
    let m = |events: &[Event]| measured("booking_contacts", TouchKind::Scheduling, events);
    let booked = a(9, "AppointmentBooked", 50);
    assert_eq!(m(std::slice::from_ref(&booked)), Some((1.0, 1.0)));
    assert_eq!(m(&[a(1, "AppointmentRequested", 0), booked.clone()]), Some((1.0, 1.0)));
    assert_eq!(m(&[a(1, "AppointmentRequested", 0)]), None, "not booked yet");
    let more = [a(1, "AppointmentRequested", 0), a(2, "BookingFrictionReported", 9), booked.clone()];
    assert_eq!(m(&more), Some((2.0, 0.6667)));
    let mut moved = more.to_vec();
    moved.extend([a(3, "AppointmentRescheduled", 60), a(4, "BookingFrictionReported", 70)]);
    assert_eq!(m(&moved), Some((2.0, 0.6667)), "contacts after the booking, when nothing was confirmed");
    moved.push(a(5, "AppointmentConfirmed", 80));
    assert_eq!(m(&moved), Some((4.0, 0.0)), "up to the confirmation");
}

#[test]
fn changes_by_the_hospital() {
    let moved = |n, by| {
        event(
            n,
            "AppointmentRescheduled",
            10 + i64::try_from(n).unwrap(),
            json!({"appointment_id": "a", "starts_at": "2024-05-10T00:00:00Z", "by": by}),
        )
    };
    let m = |extra: &[Event]| {
        let mut events = booking(5, "phone");
        events.extend_from_slice(extra);
        measured("hospital_changes", TouchKind::Scheduling, &events).unwrap()
    };
    assert_eq!(m(&[]), (0.0, 1.0));
    assert_eq!(m(&[moved(2, "patient")]), (0.0, 1.0));
    assert_eq!(m(&[moved(2, "hospital")]), (1.0, 0.5));
    let cancelled = event(4, "AppointmentCancelled", 60, json!({"appointment_id": "a", "by": "hospital"}));
    assert_eq!(m(&[moved(2, "hospital"), cancelled]), (2.0, 0.0));
}

#[test]
fn questions_asked_again() {
    let m = |n: u128| {
        let mut events = visit(10, 10);
        events.extend((0..n).map(|i| {
            event(10 + i, "RepeatQuestionReported", 5, json!({"encounter_id": "e", "asked_field": "allergies"}))
        }));
        measured("repeat_questions", TouchKind::CheckIn, &events).unwrap()
    };
    assert_eq!(m(0), (0.0, 1.0));
    assert_eq!(m(1), (1.0, 0.6667));
    assert_eq!(m(3), (3.0, 0.0));
    assert_eq!(m(4), (4.0, 0.0));
}

#[test]
fn questions_left_open() {
    let m = |asked: u128, answered: u128| {
        let mut events = vec![event(1, "ConsultStarted", 0, json!({"encounter_id": "e"}))];
        for i in 0..asked {
            events.push(event(
                10 + i,
                "PatientQuestionAsked",
                5,
                json!({"encounter_id": "e", "question_id": format!("q{i}")}),
            ));
        }
        for i in 0..answered {
            events.push(event(20 + i, "PatientQuestionAnswered", 9, json!({"question_id": format!("q{i}")})));
        }
        measured("unanswered_questions", TouchKind::Consult, &events)
    };
    assert_eq!(m(0, 0), None, "no question says nothing");
    assert_eq!(m(2, 2), Some((0.0, 1.0)));
    assert_eq!(m(2, 1), Some((1.0, 0.5)));
    assert_eq!(m(2, 0), Some((2.0, 0.0)));
}

#[test]
fn a_question_that_is_reported_twice_is_one() {
    let asked = |n, minute, question: &str| {
        event(n, "PatientQuestionAsked", minute, json!({"encounter_id": "e", "question_id": question}))
    };
    let m = |events: &[Event]| measured("unanswered_questions", TouchKind::Consult, events);
    assert_eq!(m(&[asked(1, 5, "q"), asked(2, 6, "q")]), Some((1.0, 0.5)));
    assert_eq!(m(&[asked(1, 5, "q"), asked(2, 6, "q"), asked(3, 7, "r")]), Some((2.0, 0.0)));
}

#[test]
fn a_human_call_after_the_visit() {
    let call = |hours: i64, human: bool, outcome: &str, channel: &str| {
        event(
            3,
            "FollowUpCallCompleted",
            hours * 60,
            json!({"encounter_id": "e", "human": human, "outcome": outcome, "channel": channel, "answers": []}),
        )
    };
    let ended = event(1, "ConsultEnded", 0, json!({"encounter_id": "e"}));
    let m = |call: Event| measured("post_visit_call", TouchKind::FollowUp, &[ended.clone(), call]);
    assert_eq!(m(call(24, true, "reached", "phone")), Some((24.0, 1.0)));
    assert_eq!(m(call(48, true, "reached", "phone")), Some((48.0, 0.5)));
    assert_eq!(m(call(72, true, "reached", "phone")), Some((72.0, 0.0)));
    assert_eq!(m(call(20, false, "reached", "phone")), None, "F8: a robot is no call");
    assert_eq!(m(call(20, true, "reached", "sms")), None);
    assert_eq!(m(call(20, true, "voicemail", "phone")), None);
    assert_eq!(m(call(80, true, "reached", "phone")), Some((80.0, 0.0)));
    assert_eq!(m(call(80, true, "no_answer", "phone")), None, "no worse than no attempt, which leaves no touchpoint");
}

#[test]
fn referral_from_made_to_booked() {
    let r = |n, kind, day: i64| event(n, kind, day * 1440, json!({"referral_id": "r"}));
    let made = event(1, "ReferralMade", 0, json!({"referral_id": "r", "to": "surgery"}));
    let m = |event: Event| measured("referral_booking", TouchKind::Continuation, &[made.clone(), event]);
    assert_eq!(m(r(2, "ReferralBooked", 3)), Some((3.0, 1.0)));
    assert_eq!(m(event(2, "ReferralBooked", 8 * 1440 + 720, json!({"referral_id": "r"}))), Some((8.5, 0.5)));
    assert_eq!(m(r(2, "ReferralBooked", 14)), Some((14.0, 0.0)));
    assert_eq!(m(r(2, "ReferralDeclined", 1)), Some((14.0, 0.0)));
    assert_eq!(m(r(2, "ReferralCancelled", 1)), None);
    assert_eq!(m(r(2, "ReferralAccepted", 5)), None, "accepted is not booked");
    assert_eq!(m(r(2, "ReferralAccepted", 20)), Some((20.0, 0.0)), "never booked, as later events prove");
}

#[test]
fn a_referral_is_booked_while_it_has_an_appointment() {
    let start = "2024-05-20T00:00:00Z";
    let a = |n, kind, day: i64, payload: Value| event(n, kind, day * 1440, payload);
    let named = |n, day, a_id: &str| {
        a(n, "AppointmentBooked", day, json!({"appointment_id": a_id, "referral_id": "r", "starts_at": start}))
    };
    let booked = |n, day, of: Value| a(n, "ReferralBooked", day, json!({"referral_id": "r", "appointment_id": of}));
    let again = |n, day| a(n, "AppointmentBooked", day, json!({"appointment_id": "a", "starts_at": start}));
    let cancelled = |n, day| a(n, "AppointmentCancelled", day, json!({"appointment_id": "a", "by": "patient"}));
    let seen = a(50, "PatientCheckedIn", 19, json!({"appointment_id": "a"}));
    let m = |events: &[Event]| {
        let made = a(1, "ReferralMade", 0, json!({"referral_id": "r", "to": "surgery"}));
        let all = [std::slice::from_ref(&made), events, std::slice::from_ref(&seen)].concat();
        measured("referral_booking", TouchKind::Continuation, &all)
    };
    assert_eq!(m(&[named(2, 1, "a")]), Some((1.0, 1.0)), "the appointment's own booking says it");
    assert_eq!(m(&[again(2, 1)]), Some((19.0, 0.0)), "of another matter");
    assert_eq!(m(&[booked(2, 1, json!("a")), cancelled(3, 2)]), Some((19.0, 0.0)));
    assert_eq!(m(&[booked(2, 1, json!("a")), cancelled(3, 2), again(4, 9)]), Some((9.0, 0.4545)));
    assert_eq!(m(&[named(2, 1, "a"), cancelled(3, 2), named(4, 9, "b")]), Some((9.0, 0.4545)));
    assert_eq!(m(&[named(2, 1, "a"), named(3, 2, "b"), cancelled(4, 3)]), Some((1.0, 1.0)), "it always had one");
    assert_eq!(m(&[booked(2, 1, Value::Null), again(3, 1), cancelled(4, 2)]), Some((1.0, 1.0)));
    assert_eq!(m(&[named(2, 1, "a"), booked(3, 1, Value::Null), cancelled(4, 2)]), Some((19.0, 0.0)));
}

fn claim(n: u128, kind: &str, day: i64, more: Value) -> Event {
    let mut payload = json!({"claim_id": "c"});
    for (k, v) in more.as_object().unwrap() {
        payload[k] = v.clone();
    }
    event(n, kind, day * 1440, payload)
}

#[test]
fn claims_sent_again_and_disputes() {
    let money = json!({"amount_minor": 5000, "currency": "KRW"});
    let again = |no: i64| json!({"amount_minor": 5000, "currency": "KRW", "rework_no": no});
    let sent = claim(1, "ClaimSubmitted", 0, money);
    let m = |name, events: &[Event]| measured(name, TouchKind::Billing, events);
    assert_eq!(m("claim_rework", std::slice::from_ref(&sent)), Some((0.0, 1.0)));
    assert_eq!(m("claim_rework", &[sent.clone(), claim(2, "ClaimResubmitted", 1, again(1))]), Some((1.0, 0.6667)));
    assert_eq!(m("claim_rework", &[sent.clone(), claim(2, "ClaimResubmitted", 1, again(3))]), Some((3.0, 0.0)));
    let disputed = claim(3, "BillDisputed", 0, json!({}));
    let solved = |day, first| claim(4, "BillDisputeResolved", day, json!({"first_contact_resolution": first}));
    assert_eq!(m("dispute_resolution", &[disputed.clone(), solved(3, true)]), Some((3.0, 1.0)));
    assert_eq!(m("dispute_resolution", &[disputed.clone(), solved(9, true)]), Some((9.0, 0.5)));
    assert_eq!(m("dispute_resolution", &[disputed.clone(), solved(15, true)]), Some((15.0, 0.0)));
    assert_eq!(m("dispute_resolution", std::slice::from_ref(&disputed)), None, "still open");
    assert_eq!(m("dispute_resolution", std::slice::from_ref(&sent)), None, "nothing disputed");
    assert_eq!(m("first_contact", &[disputed.clone(), solved(3, true)]), Some((1.0, 1.0)));
    assert_eq!(m("first_contact", &[disputed.clone(), solved(3, false)]), Some((0.0, 0.0)));
    let twice =
        [disputed, solved(3, true), claim(5, "BillDisputeResolved", 4, json!({"first_contact_resolution": false}))];
    assert_eq!(m("first_contact", &twice), Some((0.5, 0.5)));
}

#[test]
fn surgery_without_options_lowers_the_explanation() {
    let ended = event(1, "ConsultEnded", 30, json!({"encounter_id": "e", "surgery_recommended": true}));
    let options = |pros: bool, deferred: bool| {
        event(
            2,
            "OptionsExplained",
            20,
            json!({"encounter_id": "e", "options": ["a"], "pros_and_cons": pros, "decision_deferred": deferred}),
        )
    };
    let m = |events: &[Event]| measured("options_explained", TouchKind::Consult, events);
    assert_eq!(m(std::slice::from_ref(&ended)), Some((0.0, 0.0)));
    assert_eq!(m(&[ended.clone(), options(true, false)]), Some((1.0, 1.0)));
    assert_eq!(m(&[ended.clone(), options(false, true)]), Some((1.0, 1.0)));
    assert_eq!(m(&[ended.clone(), options(false, false)]), Some((0.0, 0.0)));
    let answer = json!({"encounter_id": "e", "instrument": "csat/1", "role": "doctor", "dimension": "explanation",
        "raw": 8.0, "scale_min": 0.0, "scale_max": 10.0});
    let j = explained(&[ended, event(3, "FeedbackGiven", 40, answer)]);
    let role = &touchpoint(&j, TouchKind::Consult).roles[0];
    assert_eq!((role.score, role.answers), (48.0, 1), "0.6 · 80 + 0.4 · 0");
}
