//! Which bookings an item has, and which of several items a booking is for.

use super::*;

fn booked(appointment: &str, day: &str, more: &[(&str, &str)]) -> Json {
    let mut body = json!({"appointment_id": appointment, "starts_at": format!("{day}T00:00:00Z")});
    for (field, value) in more {
        body[*field] = json!(value);
    }
    body
}

fn appointment(id: &str) -> Json {
    json!({"appointment_id": id})
}

/// Status and reason of the recall with this subject.
fn recall(s: &Story, subject: &str) -> (String, String) {
    let row = s.rows().into_iter().map(Seen).find(|r| r.text("subject") == subject).unwrap();
    (row.text("status").to_owned(), row.text("status_reason").to_owned())
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

const RE_EXAM: &[(&str, &str)] = &[("recall_kind", "re_exam")];

fn two_re_exams() -> Story {
    Story::default().at(0.0, "ConsultEnded", json!({"encounter_id": "e1", "reexam_due_on": "2026-05-01"})).at(
        1.0,
        "ConsultEnded",
        json!({"encounter_id": "e2", "reexam_due_on": "2026-12-01"}),
    )
}

#[test]
fn a_booking_of_a_re_exam_is_for_the_nearest() {
    let s = two_re_exams().at(2.0, "AppointmentBooked", booked("a1", "2026-05-04", RE_EXAM));
    assert_eq!(recall(&s, "re_exam/e1"), is("closed", "booked"));
    assert_eq!(recall(&s, "re_exam/e2"), is("open", ""));
    let s = s.at(1600.0, "PatientCheckedIn", appointment("a1"));
    assert_eq!(recall(&s, "re_exam/e1"), is("closed", "visited"));
    // nearer to the first, which is done
    let s = s.at(1700.0, "AppointmentBooked", booked("a2", "2026-06-20", RE_EXAM));
    assert_eq!(recall(&s, "re_exam/e1"), is("closed", "visited"));
    assert_eq!(recall(&s, "re_exam/e2"), is("closed", "booked"));
}

#[test]
fn a_booking_of_a_re_exam_without_a_day_is_for_the_first() {
    let body = json!({"recall_kind": "re_exam", "appointment_id": "a1"});
    let s = two_re_exams().at(2.0, "RecallBooked", body);
    assert_eq!(recall(&s, "re_exam/e1"), is("closed", "booked"));
    assert_eq!(recall(&s, "re_exam/e2"), is("open", ""));
    let body = json!({"recall_kind": "re_exam", "appointment_id": "a1", "starts_at": "2026-11-01T00:00:00Z"});
    let s = two_re_exams().at(2.0, "RecallBooked", body);
    assert_eq!(recall(&s, "re_exam/e1"), is("open", ""));
    assert_eq!(recall(&s, "re_exam/e2"), is("closed", "booked"));
}

#[test]
fn one_visit_does_for_re_exams_that_are_near() {
    let s = two_re_exams().at(1.5, "ConsultEnded", json!({"encounter_id": "e3", "reexam_due_on": "2026-05-08"}));
    let s = s.at(2.0, "AppointmentBooked", booked("a1", "2026-05-04", RE_EXAM));
    assert_eq!(recall(&s, "re_exam/e1"), is("closed", "booked"));
    assert_eq!(recall(&s, "re_exam/e2"), is("open", ""));
    assert_eq!(recall(&s, "re_exam/e3"), is("closed", "booked"));
}

#[test]
fn a_booking_said_twice_is_one() {
    let k = ItemKind::ReferralBooking;
    let named = booked("a1", "2026-03-20", &[("referral_id", "r1")]);
    let (s, unnamed) = (
        Story::default().at(0.0, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"})),
        json!({"referral_id": "r1"}),
    );
    let named_first = s.clone().at(1.0, "AppointmentBooked", named.clone()).at(2.0, "ReferralBooked", unnamed.clone());
    let unnamed_first = s.at(1.0, "ReferralBooked", unnamed.clone()).at(2.0, "AppointmentBooked", named);
    for s in [named_first, unnamed_first] {
        assert_eq!(s.item(k).status(), ("closed", "booked"));
        let missed = s.at(440.0, "AppointmentNoShow", appointment("a1"));
        assert_eq!(missed.item(k).status(), ("open", "no_show"));
        let elsewhere = missed.at(450.0, "ReferralBooked", unnamed.clone());
        assert_eq!(elsewhere.item(k).status(), ("closed", "booked"));
    }
}

#[test]
fn an_item_stays_booked_while_another_booking_stands() {
    let k = ItemKind::Recall;
    let scaling: &[_] = &[("recall_kind", "scaling")];
    let cancelled = |a: &str| json!({"appointment_id": a, "by": "patient"});
    let s = Story::default()
        .at(0.0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-04-01"}))
        .at(1.0, "AppointmentBooked", booked("a1", "2026-03-20", scaling))
        .at(2.0, "AppointmentBooked", booked("a2", "2026-03-30", scaling));
    let one_left = s.clone().at(3.0, "AppointmentCancelled", cancelled("a2"));
    assert_eq!(one_left.item(k).status(), ("closed", "booked"));
    let none_left = one_left.clone().at(4.0, "AppointmentCancelled", cancelled("a1"));
    assert_eq!(none_left.item(k).status(), ("open", "booking_cancelled"));
    let visited = one_left.at(432.0, "PatientCheckedIn", appointment("a1"));
    assert_eq!(visited.item(k).status(), ("closed", "visited"));
    let past = s.at(600.0, "AppointmentCancelled", cancelled("a2"));
    assert_eq!(past.item(k).status(), ("open", "booking_cancelled"), "the time of the other one is over");
}

#[test]
fn a_missed_appointment_that_is_moved_at_once_stands() {
    let moved = json!({"appointment_id": "a1", "starts_at": "2026-03-27T00:00:00Z", "by": "patient"});
    let s = Story::default().at(0.0, "ReferralMade", json!({"referral_id": "r1", "to": "cardio"})).at(
        1.0,
        "AppointmentBooked",
        booked("a1", "2026-03-03", &[("referral_id", "r1")]),
    );
    let missed = |s: Story| s.at(24.0, "AppointmentNoShow", appointment("a1"));
    let moved = |s: Story| s.at(24.0, "AppointmentRescheduled", moved.clone());
    for s in [missed(moved(s.clone())), moved(missed(s))] {
        assert_eq!(s.item(ItemKind::NoShow).status(), ("closed", "rebooked"));
        assert_eq!(s.item(ItemKind::ReferralBooking).status(), ("closed", "booked"));
    }
}
