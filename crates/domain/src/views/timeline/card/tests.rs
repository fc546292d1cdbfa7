use super::super::fixtures::{corrected, event, id, stored};
use super::*;
use crate::views::mot::Standards;
use crate::views::timeline::assemble::assemble;
use serde_json::{Value, json};

mod moments;
mod open;

fn at_noon(day: &str) -> Micros {
    Micros::parse(&format!("{day}T12:00:00+09:00")).unwrap()
}

fn mot() -> Mot {
    Mot::new(Standards::shipped())
}

fn of(events: &[Event], now: &str) -> Card {
    card(&assemble("p", stored(events), None).unwrap(), &mot(), at_noon(now))
}

fn json_of<T: Serialize>(t: &T) -> Value {
    serde_json::to_value(t).unwrap()
}

fn booked(n: u128, day: &str, a: &str, for_day: &str) -> Event {
    event(
        n,
        "AppointmentBooked",
        "p",
        day,
        json!({"appointment_id": a, "starts_at": format!("{for_day}T09:00:00+09:00"),
        "service": "gyn", "practitioner": "dr2"}),
    )
}

#[test]
fn the_next_appointment_is_the_earliest_that_still_stands() {
    let events = [
        booked(1, "2026-03-01", "cancelled", "2026-03-10"),
        event(2, "AppointmentCancelled", "p", "2026-03-02", json!({"appointment_id": "cancelled", "by": "patient"})),
        booked(3, "2026-03-01", "later", "2026-03-20"),
        booked(4, "2026-03-01", "moved", "2026-03-25"),
        event(
            5,
            "AppointmentRescheduled",
            "p",
            "2026-03-02",
            json!({"appointment_id": "moved", "by": "patient",
            "starts_at": "2026-03-15T09:00:00+09:00"}),
        ),
        event(6, "AppointmentConfirmed", "p", "2026-03-03", json!({"appointment_id": "moved"})),
        event(
            7,
            "ReminderSent",
            "p",
            "2026-03-04",
            json!({"appointment_id": "moved", "channel": "sms", "automated": true}),
        ),
        event(8, "PatientCheckedIn", "p", "2026-03-15", json!({"appointment_id": "moved", "encounter_id": "e"})),
        event(9, "ConsultStarted", "p", "2026-03-15T15:00:00+09:00", json!({"encounter_id": "e"})),
    ];
    let a = of(&events, "2026-03-05").next_appointment.unwrap();
    assert_eq!((a.appointment_id.as_str(), a.confirmed, a.reminders), ("moved", true, 1));
    let waiting = of(&events, "2026-03-15").next_appointment.unwrap();
    assert_eq!(
        (waiting.appointment_id.as_str(), waiting.checked_in),
        ("moved", true),
        "three hours late, still waiting"
    );
    assert_eq!(of(&events, "2026-03-16").next_appointment.unwrap().appointment_id, "later", "the consult took place");
    assert_eq!(of(&events, "2026-04-16").next_appointment, None);
}

#[test]
fn why_an_earlier_visit_was_missed_also_when_it_became_known_later() {
    let mut events = vec![
        booked(1, "2026-03-01", "a", "2026-03-10"),
        event(2, "AppointmentNoShow", "p", "2026-03-10", json!({"appointment_id": "a"})),
        booked(3, "2026-03-12", "b", "2026-03-20"),
        event(
            4,
            "AppointmentCancelled",
            "p",
            "2026-03-13",
            json!({"appointment_id": "b", "by": "hospital", "reason": "doctor ill"}),
        ),
    ];
    let m = of(&events, "2026-03-14").missed_visits;
    assert_eq!(
        (m[0].how.as_str(), m[0].reason.as_deref(), m[0].booked_again),
        ("cancelled_by_hospital", Some("doctor ill"), false)
    );
    assert_eq!((m[1].how.as_str(), m[1].reason_known, m[1].booked_again), ("no_show", false, true));
    let why = event(2, "AppointmentNoShow", "p", "2026-03-10", json!({"appointment_id": "a", "reason": "개인사정"}));
    events.push(corrected(5, &events[1], &why, "2026-03-14"));
    let m = of(&events, "2026-03-15").missed_visits;
    assert_eq!((m[1].reason.as_deref(), m[1].reason_known), (Some("개인사정"), true));
    assert_eq!(of(&events, "2029-03-15").missed_visits, [], "long ago");
}

#[test]
fn repeated_booking_trouble_within_a_year_sets_the_flag() {
    let mut events = vec![
        event(1, "BookingFrictionReported", "p", "2025-01-01", json!({"problem": "no_slot"})),
        event(2, "BookingFrictionReported", "p", "2026-01-01", json!({"problem": "long_hold"})),
        event(3, "AppointmentCancelled", "p", "2026-01-02", json!({"appointment_id": "a", "by": "patient"})),
    ];
    let t = of(&events, "2026-02-01").booking_trouble;
    assert_eq!((t.flag, t.count), (false, 1));
    events.push(event(4, "AppointmentCancelled", "p", "2026-01-03", json!({"appointment_id": "b", "by": "hospital"})));
    let t = of(&events, "2026-02-01").booking_trouble;
    assert_eq!((t.flag, t.count, t.times[0].problem.as_str()), (true, 2, "cancelled_by_hospital"));
}

#[test]
fn a_move_by_the_hospital_is_booking_trouble_and_one_by_the_patient_is_not() {
    let moved = |n, day: &str, by: &str| {
        let more = json!({"appointment_id": "a", "starts_at": "2026-03-01T00:00:00Z", "by": by});
        event(n, "AppointmentRescheduled", "p", day, more)
    };
    let mut events = vec![moved(1, "2026-01-01", "hospital"), moved(2, "2026-01-02", "patient")];
    let t = of(&events, "2026-02-01").booking_trouble;
    assert_eq!((t.flag, t.count, t.times[0].problem.as_str()), (false, 1, "rescheduled_by_hospital"));
    events.push(moved(3, "2026-01-03", "hospital"));
    let t = of(&events, "2026-02-01").booking_trouble;
    assert_eq!((t.flag, t.count, &t.times[0].event_id), (true, 2, &id(3).to_string()));
}

#[test]
fn what_was_asked_again_and_whether_it_was_reviewed() {
    let mut events = vec![
        event(
            1,
            "QuestionnaireCompleted",
            "p",
            "2026-03-01",
            json!({"questionnaire": "intake/1", "history_reviewed": true}),
        ),
        event(2, "ConsultEnded", "p", "2026-03-02", json!({"encounter_id": "e"})),
        event(3, "RepeatQuestionReported", "p", "2026-03-02", json!({"asked_field": "allergies"})),
        event(4, "RepeatQuestionReported", "p", "2026-03-03", json!({"asked_field": "insurance"})),
        event(5, "RepeatQuestionReported", "p", "2026-03-04", json!({"asked_field": "allergies"})),
        booked(6, "2026-03-04", "a", "2026-03-20"),
    ];
    let c = of(&events, "2026-03-10");
    let again: Vec<_> = c.asked_again.iter().map(|a| (a.field.as_str(), a.times)).collect();
    assert_eq!(again, [("allergies", 2), ("insurance", 1)]);
    assert!(!c.reviewed.done, "before the last visit, not since");
    assert_eq!(c.reviewed.event_id, Some(id(1).to_string()));
    events.push(event(
        7,
        "QuestionnaireCompleted",
        "p",
        "2026-03-09",
        json!({"questionnaire": "pre/1", "appointment_id": "a",
        "history_reviewed": true}),
    ));
    let c = of(&events, "2026-03-10");
    assert!(c.reviewed.done);
    assert_eq!(c.questionnaires.len(), 2);
}

#[test]
fn the_last_word_on_a_consent_counts_while_it_is_valid() {
    let given = |n, day: &str, more: Value| {
        let mut all = json!({"scope": "share_records", "grantee": "family"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event(n, "ConsentGiven", "p", day, all)
    };
    let mut events = vec![given(1, "2026-01-01", json!({"valid_until": "2026-06-01T00:00:00Z"}))];
    assert_eq!(of(&events, "2026-02-01").consents.len(), 1);
    assert_eq!(of(&events, "2026-07-01").consents, []);
    events.push(event(
        2,
        "ConsentWithdrawn",
        "p",
        "2026-03-01",
        json!({"scope": "share_records", "grantee": "family"}),
    ));
    assert_eq!(of(&events, "2026-02-01").consents.len(), 1, "the card of an earlier day");
    assert_eq!(of(&events, "2026-04-01").consents, []);
    events.push(given(3, "2026-04-01", json!({"valid_from": "2026-05-01T00:00:00Z"})));
    assert_eq!(of(&events, "2026-04-02").consents, []);
    assert_eq!(of(&events, "2026-05-02").consents.len(), 1);
}

#[test]
fn stays_and_orders_end_as_their_events_say() {
    let events = [
        event(1, "PatientAdmitted", "p", "2026-03-01", json!({"encounter_id": "s", "location": "ward"})),
        event(2, "PatientTransferred", "p", "2026-03-02", json!({"encounter_id": "s", "location": "icu"})),
        event(3, "PatientDischarged", "p", "2026-03-03", json!({"encounter_id": "s", "disposition": "home"})),
        event(4, "DischargeCancelled", "p", "2026-03-04", json!({"encounter_id": "s"})),
        event(5, "PatientAdmitted", "p", "2026-03-05", json!({"encounter_id": "mistake"})),
        event(6, "AdmissionCancelled", "p", "2026-03-06", json!({"encounter_id": "mistake"})),
        event(7, "OrderPlaced", "p", "2026-03-05", json!({"order_id": "o", "code": "CBC"})),
        event(8, "SpecimenCollected", "p", "2026-03-06", json!({"order_id": "o"})),
        event(9, "ResultReported", "p", "2026-03-06", json!({"order_id": "o", "status": "final", "abnormal": true})),
    ];
    let h = of(&events, "2026-03-10").history;
    assert_eq!((h.stays_total, h.orders_total, h.consults_total), (1, 1, 0));
    assert_eq!((h.stays[0].location.as_deref(), h.stays[0].discharged_at), (Some("icu"), None));
    assert_eq!((h.orders[0].state.as_str(), h.orders[0].abnormal), ("final", Some(true)));
}

/// S0: a patient between a big hospital that blames, and a small one whose director explains.
fn two_hospitals() -> Vec<Event> {
    let big = |more: Value| with_site(more, "big-hospital");
    let small = |more: Value| with_site(more, "small-hospital");
    let mut events = vec![
        event(1, "EnquiryReceived", "p", "2026-01-02", json!({"origin": "provider"})),
        event(2, "ConsultStarted", "p", "2026-01-10", big(json!({"encounter_id": "e1", "practitioner": "dr1"}))),
        event(
            3,
            "OptionsExplained",
            "p",
            "2026-01-10T12:10:00+09:00",
            big(json!({"encounter_id": "e1", "options": ["open surgery"],
            "pros_and_cons": false, "decision_deferred": false, "risk": "organ damage by adhesion"})),
        ),
        event(
            4,
            "DignityBreachReported",
            "p",
            "2026-01-10T12:15:00+09:00",
            big(json!({"encounter_id": "e1", "role": "doctor",
            "kind": "made_to_apologise", "severity": "severe"})),
        ),
        event(
            5,
            "ConsultEnded",
            "p",
            "2026-01-10T12:20:00+09:00",
            big(json!({"encounter_id": "e1", "surgery_recommended": true})),
        ),
        event(
            10,
            "AppointmentBooked",
            "p",
            "2026-02-01",
            small(json!({"appointment_id": "a1", "starts_at": "2026-02-10T09:00:00+09:00"})),
        ),
        event(11, "AppointmentNoShow", "p", "2026-02-10", small(json!({"appointment_id": "a1", "reason": "개인사정"}))),
        event(
            12,
            "AppointmentBooked",
            "p",
            "2026-02-11",
            small(json!({"appointment_id": "a2", "starts_at": "2026-02-20T11:00:00+09:00"})),
        ),
        event(
            13,
            "PatientCheckedIn",
            "p",
            "2026-02-20T10:50:00+09:00",
            small(json!({"appointment_id": "a2", "encounter_id": "e2"})),
        ),
    ];
    let at = |m: u32| format!("2026-02-20T12:{m:02}:00+09:00");
    events.extend([
        event(20, "ConsultStarted", "p", &at(0), small(json!({"encounter_id": "e2", "practitioner": "dr2"}))),
        event(
            21,
            "PatientQuestionAsked",
            "p",
            &at(5),
            small(json!({"question_id": "q1", "encounter_id": "e2", "topic": "why remove both"})),
        ),
        event(22, "PatientQuestionAnswered", "p", &at(6), small(json!({"question_id": "q1", "encounter_id": "e2"}))),
        event(
            23,
            "OptionsExplained",
            "p",
            &at(8),
            small(json!({"encounter_id": "e2", "options": ["remove one", "remove both"],
            "pros_and_cons": true, "decision_deferred": true, "risk": "organ damage by adhesion", "risk_percent": 1.0,
            "second_opinion_of": id(3)})),
        ),
        event(
            24,
            "NextStepsExplained",
            "p",
            &at(12),
            small(json!({"encounter_id": "e2", "steps": ["shrink", "discuss again"]})),
        ),
        event(25, "ConsultEnded", "p", &at(15), small(json!({"encounter_id": "e2"}))),
    ]);
    events
}

fn with_site(mut more: Value, site: &str) -> Value {
    more["header"] = json!({"site": site});
    more
}

#[test]
fn story_of_two_hospitals_before_the_second_visit() {
    let events = two_hospitals();
    let before = of(&events, "2026-02-19");
    assert_eq!(before.who.came_by.as_deref(), Some("provider"));
    assert_eq!(before.next_appointment.unwrap().appointment_id, "a2");
    let missed = &before.missed_visits[0];
    assert_eq!(
        (missed.reason.as_deref(), missed.booked_again),
        (Some("개인사정"), true),
        "P8: don't ask her to apologise"
    );
    let bad = before.last_bad_moment.unwrap();
    assert_eq!(
        (bad.kind.as_str(), bad.what.as_deref(), bad.site.as_deref()),
        ("dignity_breach", Some("made_to_apologise"), Some("big-hospital"))
    );
    assert!(!before.reviewed.done);
    let first = &before.history.consults[0];
    assert_eq!(
        (first.surgery_recommended, first.options_explained, first.next_steps_explained),
        (Some(true), false, false)
    );
}

#[test]
fn story_of_two_hospitals_after_the_second_visit() {
    let events = two_hospitals();
    let all = assemble("p", stored(&events), None).unwrap();
    let sites: Vec<Vec<&str>> = all.journeys.iter().map(|j| j.sites.iter().map(String::as_str).collect()).collect();
    assert_eq!(sites, [vec!["big-hospital"], vec!["small-hospital"], vec!["small-hospital"]], "a1 was never kept");
    let after = card(&all, &mot(), at_noon("2026-02-21"));
    let open: Vec<_> = after.open_items.iter().map(|i| (i.kind.as_str(), i.detail.as_deref())).collect();
    assert_eq!(
        open,
        [
            ("critical_mot", Some("made_to_apologise")),
            ("post_visit", None),
            ("post_visit", None),
            ("decision", Some("remove one, remove both"))
        ],
        "the question was answered, the decision is deferred, and nobody has called since the consults"
    );
    let risk = &after.risks[0];
    assert_eq!((risk.percent, risk.second_opinion_of.as_deref()), (Some(1.0), Some(id(3).to_string().as_str())));
    let c = &after.history.consults[0];
    assert!(c.options_explained && c.decision_deferred && c.next_steps_explained);
    let text = json_of(&after).to_string();
    assert!(!text.contains("amount") && !text.contains("currency"), "F17");
    assert_eq!(json_of(&after)["risks"][0]["at"], "2026-02-20T03:08:00Z");
}

#[test]
fn special_needs_stand_until_an_update_speaks_of_them() {
    let updated = |n, day: &str, fields: &[&str], needs: &[&str]| {
        event(n, "DemographicsUpdated", "p", day, json!({"fields": fields, "special_requirements": needs}))
    };
    let mut events = vec![updated(1, "2026-01-01", &[], &["wheelchair"]), updated(2, "2026-01-02", &["phone"], &[])];
    assert_eq!(of(&events, "2026-02-01").who.special_requirements, ["wheelchair"]);
    events.push(updated(3, "2026-01-03", &["special_requirements"], &[]));
    assert_eq!(of(&events, "2026-02-01").who.special_requirements, Vec::<String>::new());
}
