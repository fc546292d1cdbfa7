//! The last bad moment.

use super::super::super::fixtures::retracted;
use super::*;

#[test]
fn low_feedback_linked_later_is_a_bad_moment() {
    let linked = |n, raw: f64| {
        event(
            n,
            "FeedbackLinked",
            "p",
            "2026-03-01",
            json!({"target_event_id": id(99), "instrument": "csat/1", "role": "nurse",
            "dimension": "empathy", "raw": raw, "scale_min": 1.0, "scale_max": 5.0, "improve": "차가운 말투"}),
        )
    };
    assert_eq!(of(&[linked(1, 3.0)], "2026-04-01").last_bad_moment, None);
    let bad = of(&[linked(1, 2.0)], "2026-04-01").last_bad_moment.unwrap();
    assert_eq!((bad.role.as_deref(), bad.detail.as_deref()), (Some("nurse"), Some("차가운 말투")));
}

/// A visit without a told wait, at which much was asked again.
fn low_check_in(day: &str) -> Vec<Event> {
    let again = |n| {
        event(
            n,
            "RepeatQuestionReported",
            "p",
            &format!("{day}T09:06:00+09:00"),
            json!({"encounter_id": "e", "asked_field": "allergies"}),
        )
    };
    vec![
        event(
            1,
            "PatientCheckedIn",
            "p",
            &format!("{day}T09:00:00+09:00"),
            json!({"encounter_id": "e", "header": {"site": "s"}}),
        ),
        again(2),
        again(3),
        event(4, "ConsultStarted", "p", &format!("{day}T10:00:00+09:00"), json!({"encounter_id": "e"})),
    ]
}

#[test]
fn a_touchpoint_with_the_score_of_an_alert_is_a_bad_moment() {
    let mut events = low_check_in("2026-03-01");
    let bad = of(&events, "2026-04-01").last_bad_moment.unwrap();
    assert_eq!((bad.kind.as_str(), bad.what.as_deref()), ("low_score", Some("check_in")));
    assert_eq!((bad.touchpoint_id.as_deref(), bad.score), (Some("check_in:encounter:e"), Some(16.67)));
    assert_eq!((bad.standard_version.as_deref(), bad.event_id), (Some("2020-03"), id(1).to_string()));
    assert_eq!((bad.site.as_deref(), bad.at), (Some("s"), At(events[0].header().occurred_at)));

    let filed = event(5, "ComplaintFiled", "p", "2026-02-01", json!({"complaint_id": "x", "severity": "high"}));
    events.push(filed);
    assert_eq!(of(&events, "2026-04-01").last_bad_moment.unwrap().kind, "low_score", "the later one");
    assert_eq!(of(&events, "2026-02-20").last_bad_moment.unwrap().kind, "complaint", "before the visit");

    // It is not low once what was wrongly reported is taken back, and was low as long as that wasn't known.
    events.extend([retracted(6, &events[1], "2026-03-02"), retracted(7, &events[2], "2026-03-02")]);
    assert_eq!(of(&events, "2026-04-01").last_bad_moment.unwrap().kind, "complaint");
    let then = at_noon("2026-03-01");
    let known_then = assemble("p", stored(&events), Some(then)).unwrap();
    assert_eq!(card(&known_then, &mot(), then).last_bad_moment.unwrap().kind, "low_score");
}

#[test]
fn the_score_is_that_of_the_standard_in_force() {
    let bad = of(&low_check_in("2019-06-01"), "2019-07-01").last_bad_moment.unwrap();
    assert_eq!(bad.standard_version.as_deref(), Some("2019-01"));
    let none = Mot::new(
        Standards::parse(&[(
            "x",
            &include_str!("../../../../../../../schemas/standards/2020-03.toml").replace("2020-03-01", "2027-01-01"),
        )])
        .unwrap(),
    );
    let all = assemble("p", stored(&low_check_in("2026-03-01")), None).unwrap();
    assert_eq!(card(&all, &none, at_noon("2026-04-01")).last_bad_moment, None, "no standard was in force");
}
