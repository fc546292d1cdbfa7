//! Which touchpoint an event goes to.

use super::*;

/// A touchpoint begins with its first event, also when it is there by time alone.
#[test]
fn a_complaint_goes_to_what_began_last_before_it() {
    let events = [
        event(1, "ConsultStarted", 0, json!({"encounter_id": "e"})),
        event(2, "QuestionnaireStarted", 1, json!({"questionnaire": "intake"})),
        event(3, "ComplaintFiled", 2, json!({"complaint_id": "k", "severity": "severe"})),
        event(4, "PatientCheckedIn", 9, json!({"encounter_id": "e"})),
    ];
    assert_eq!(explained(&events).alerts[0].touchpoint_id.as_deref(), Some("check_in:encounter:e"));
}

/// What is explained in a consult after the admission is explained in the consult.
#[test]
fn a_consult_goes_on_beside_a_stay() {
    let options = json!({"encounter_id": "e", "options": ["a"], "pros_and_cons": true, "decision_deferred": false});
    let at = |n, kind, minute| event(n, kind, minute, json!({"encounter_id": "e"}));
    let started = at(1, "ConsultStarted", 0);
    let rest = [
        at(2, "PatientAdmitted", 8),
        event(4, "NextStepsExplained", 15, json!({"encounter_id": "e", "steps": ["scan"]})),
        event(5, "ConsultEnded", 20, json!({"encounter_id": "e", "surgery_recommended": true})),
        event(6, "PatientQuestionAsked", 30, json!({"encounter_id": "e", "question_id": "q"})),
    ];
    let explained_at = |minute| event(3, "OptionsExplained", minute, options.clone());
    let j = explained(&[std::slice::from_ref(&started), &rest, &[explained_at(10)]].concat());
    let consult = touchpoint(&j, TouchKind::Consult);
    assert_eq!(observed(consult, "options_explained"), Some((1.0, 1.0)));
    assert_eq!(observed(consult, "next_steps"), Some((1.0, 1.0)));
    assert_eq!(consult.contributions[0].event_ids.len(), 2);
    let stay = touchpoint(&j, TouchKind::Stay);
    assert_eq!(observed(stay, "unanswered_questions"), Some((1.0, 0.5)), "the consult is over");
    for others in [vec![started, explained_at(40)], vec![explained_at(10)]] {
        let j = explained(&[&others[..], &rest].concat());
        let consult = touchpoint(&j, TouchKind::Consult);
        assert_eq!(observed(consult, "options_explained"), Some((1.0, 1.0)), "on the ward, of the same encounter");
    }
}

#[test]
fn an_anonymous_answer_that_is_linked_twice_counts_once() {
    let link = |n: u128, minute, raw: f64, encounter: &str| {
        let linked = json!({"target_event_id": uuid::Uuid::from_u128(99).to_string(), "encounter_id": encounter,
            "instrument": "csat/1", "role": "nurse", "dimension": "empathy", "raw": raw, "scale_min": 0.0, "scale_max": 10.0});
        event(n, "FeedbackLinked", minute, linked)
    };
    let answer = json!({"encounter_id": "e", "instrument": "csat/1", "role": "nurse", "dimension": "empathy", "raw": 5.0,
        "scale_min": 0.0, "scale_max": 10.0});
    let mut events =
        vec![event(1, "ConsultStarted", 0, json!({"encounter_id": "e"})), event(10, "FeedbackGiven", 60, answer)];
    events.extend([link(11, 70, 10.0, "e"), link(12, 80, 10.0, "e")]);
    let nurse = |events: &[Event]| {
        let j = explained(events);
        let t = touchpoint(&j, TouchKind::Consult);
        (t.roles[0].score, t.roles[0].answers)
    };
    assert_eq!(nurse(&events), (75.0, 2), "(50 + 100) / 2");
    events.push(link(13, 90, 10.0, "another"));
    assert_eq!(nurse(&events), (50.0, 1), "the link that was recorded last holds");
}
