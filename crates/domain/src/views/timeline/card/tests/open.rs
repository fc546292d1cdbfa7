//! What is open: the same as in the queue, and what the card alone has.

use super::super::super::fixtures::retracted;
use super::*;
use crate::facts::Facts;
use crate::table::Value as Cell;
use crate::views::PatientFold as _;
use crate::views::follow_ups::item::ItemKind;
use crate::views::follow_ups::{COLUMNS, FollowUps};

/// Kind, state and whether it is overdue of what is open, by kind.
fn open(events: &[Event], now: &str) -> Vec<(String, String, bool)> {
    let one = |i: OpenItem| (i.kind, i.state.unwrap_or_default(), i.overdue);
    let mut all: Vec<_> = of(events, now).open_items.into_iter().map(one).collect();
    all.sort();
    all
}

fn item(kind: &str, state: &str, overdue: bool) -> (String, String, bool) {
    (kind.to_owned(), state.to_owned(), overdue)
}

fn asked(n: u128, day: &str) -> Event {
    event(n, "PatientQuestionAsked", "p", day, json!({"question_id": "q", "encounter_id": "e", "question": "왜요?"}))
}

#[test]
fn items_stay_open_until_they_are_closed() {
    let at = |n, kind: &str, day: &str, more: Value| event(n, kind, "p", &format!("2026-03-{day}"), more);
    let mut events = vec![
        asked(1, "2026-03-01"),
        at(2, "ReferralMade", "02", json!({"referral_id": "r", "to": "surgery", "expires_at": "2026-04-01T00:00:00Z"})),
        at(3, "OrderPlaced", "03", json!({"order_id": "o", "code": "US", "due_at": "2026-03-06T00:00:00Z"})),
        at(4, "BillDisputed", "04", json!({"claim_id": "c", "reason": "twice"})),
        at(5, "ComplaintFiled", "05", json!({"complaint_id": "x", "severity": "medium"})),
        at(6, "RecallDue", "05", json!({"recall_kind": "scaling", "due_on": "2026-09-05"})),
        at(7, "AppointmentRequested", "05", json!({"appointment_id": "a"})),
        at(8, "ReferralAccepted", "05", json!({"referral_id": "r"})),
        at(9, "SpecimenCollected", "05", json!({"order_id": "o"})),
    ];
    let early = open(&events, "2026-03-06");
    assert_eq!(
        early,
        [
            item("booking", "requested", false),
            item("complaint", "", false),
            item("disputed_bill", "", false),
            item("order_result", "collected", false),
            item("recall", "", false),
            item("referral_booking", "accepted", true),
            item("referral_completion", "accepted", false),
            item("unanswered_question", "", true),
        ]
    );
    assert_eq!(of(&events, "2026-03-06").open_items.last().unwrap().kind, "booking", "the card's own come last");
    events.extend([
        at(10, "PatientQuestionAnswered", "08", json!({"question_id": "q"})),
        at(11, "ReferralBooked", "08", json!({"referral_id": "r"})),
        at(12, "ResultReported", "08", json!({"order_id": "o", "status": "preliminary"})),
        at(13, "BillDisputeResolved", "08", json!({"claim_id": "c"})),
        at(14, "RecallBooked", "08", json!({"recall_kind": "scaling"})),
        booked(15, "2026-03-08", "a", "2026-03-20"),
    ]);
    assert_eq!(
        open(&events, "2026-03-09"),
        [
            item("complaint", "", true),
            item("order_result", "preliminary", true),
            item("referral_completion", "booked", false),
        ]
    );
}

#[test]
fn what_the_queue_has_and_the_card_once_had_not() {
    let visit = json!({"encounter_id": "e"});
    let bill = json!({"claim_id": "c", "amount_minor": 120_000, "currency": "KRW"});
    let events = [
        event(1, "ConsultEnded", "p", "2026-03-01", visit),
        event(
            2,
            "ComplaintFiled",
            "p",
            "2026-03-01",
            json!({"complaint_id": "x", "severity": "severe", "topic": "pain"}),
        ),
        event(3, "ChargePosted", "p", "2026-03-01", bill),
        event(4, "BookingFrictionReported", "p", "2026-03-02", json!({"problem": "long_hold"})),
        booked(5, "2026-03-02", "a", "2026-03-03"),
        event(6, "AppointmentNoShow", "p", "2026-03-03", json!({"appointment_id": "a", "reason": "개인사정"})),
    ];
    let c = of(&events, "2026-03-09");
    let mut shown: Vec<_> = c.open_items.iter().map(|i| (i.kind.as_str(), i.detail.as_deref())).collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            ("booking_friction", Some("long_hold")),
            ("critical_mot", Some("pain")),
            ("no_show", Some("개인사정")),
            ("post_visit", None),
            ("unpaid_bill", None),
        ]
    );
    assert_eq!(c.open_items[0].kind, "critical_mot", "the most pressing first");
    let text = json_of(&c).to_string();
    assert!(!text.contains("120000") && !text.contains("KRW"), "F17");
}

#[test]
fn what_nobody_may_call_about_is_shown_until_the_patient_has_died() {
    let mut events = vec![
        asked(1, "2026-03-01"),
        event(2, "ConsentWithdrawn", "p", "2026-03-02", json!({"scope": "contact", "grantee": "provider"})),
    ];
    let items = of(&events, "2026-03-09").open_items;
    assert_eq!((items[0].status.as_str(), items[0].overdue), ("suppressed", false));
    events.push(event(3, "DemographicsUpdated", "p", "2026-03-03", json!({"fields": [], "deceased": true})));
    assert_eq!(of(&events, "2026-03-09").open_items, []);
}

#[test]
fn an_earlier_card_has_what_was_open_then() {
    let mut events = vec![asked(1, "2026-03-01")];
    events.push(retracted(2, &events[0], "2026-03-05"));
    let then = at_noon("2026-03-03");
    let all = assemble("p", stored(&events), Some(then)).unwrap();
    assert_eq!(card(&all, &mot(), then).open_items[0].kind, "unanswered_question");
    assert_eq!(of(&events, "2026-03-09").open_items, []);
}

#[test]
fn items_of_merged_pseudonyms_are_united() {
    let visit = |n, p: &str| event(n, "ConsultEnded", p, "2026-03-01", json!({"encounter_id": "e"}));
    let asked = event(3, "PatientQuestionAsked", "old", "2026-03-01", json!({"question_id": "q", "encounter_id": "e"}));
    let merge = event(4, "PatientsMerged", "p", "2026-03-02", json!({"surviving": "p", "retired": "old"}));
    let items = of(&[visit(1, "p"), visit(2, "old"), asked, merge], "2026-03-09").open_items;
    let mut ids: Vec<_> = items.into_iter().filter_map(|i| i.item_id).collect();
    ids.sort();
    let queued = |p, kind, subject| crate::views::follow_ups::item_id(p, kind, subject).to_string();
    let mut wanted = vec![queued("p", ItemKind::PostVisit, "e"), queued("old", ItemKind::UnansweredQuestion, "q")];
    wanted.sort();
    assert_eq!(ids, wanted, "one visit under two names, and what the other one asked");
}

/// The open items of the queue's own rows: id, kind and due time.
fn queued(events: &[Event]) -> Vec<(String, String, Option<i64>)> {
    let mut facts = Facts::default();
    for e in events {
        if let Some(fact) = FollowUps.fact(e) {
            facts.add(e.header().event_id, e.content_hash(), fact);
        }
    }
    let place = |name: &str| COLUMNS.iter().position(|c| c.0 == name).unwrap();
    let text = |row: &[Cell], name: &str| match &row[place(name)] {
        Cell::Text(t) => t.clone(),
        other => panic!("{other:?}"),
    };
    let one = |row: Vec<Cell>| {
        let due = if let Cell::Int(t) = row[place("due_at")] { Some(t) } else { None };
        (text(&row, "status") == "open").then(|| (text(&row, "item_id"), text(&row, "kind"), due))
    };
    let mut all: Vec<_> = FollowUps.rows("patient-0", &facts).remove(0).into_iter().filter_map(one).collect();
    all.sort();
    all
}

#[test]
fn card_and_queue_say_the_same_of_any_events() {
    let mut seen = std::collections::BTreeSet::new();
    for from in (0..6_000u64).step_by(150) {
        let mine = |e: &Event| e.header().patient_id.as_ref().is_some_and(|p| p.as_str() == "patient-0");
        let linked = |e: &Event| crate::views::timeline::assemble::link(e).is_some();
        let events: Vec<Event> =
            (from..from + 150).map(crate::testing::any_example).filter(|e| mine(e) && !linked(e)).collect();
        let Some(all) = assemble("patient-0", stored(&events), None) else { continue };
        let mut items: Vec<_> = (card(&all, &mot(), at_noon("2026-03-01")).open_items.into_iter())
            .filter(|i| i.status == "open")
            .filter_map(|i| Some((i.item_id?, i.kind, i.due_at.map(|d| d.0.0))))
            .collect();
        items.sort();
        assert_eq!(items, queued(&events), "from {from}");
        seen.extend(items.into_iter().map(|i| i.1));
    }
    assert!(seen.len() > 8, "{seen:?}");
}
