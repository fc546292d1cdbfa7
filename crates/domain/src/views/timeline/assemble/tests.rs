use super::super::fixtures::{corrected, event, id, retracted, stored};
use super::*;
use crate::Kind;
use proptest::prelude::*;
use serde_json::json;

fn of(events: &[Event]) -> Assembled {
    assemble("p", stored(events), None).unwrap()
}

fn kinds(a: &Assembled) -> Vec<&'static str> {
    a.entries.iter().map(|e| e.event.kind().as_str()).collect()
}

fn visit() -> Vec<Event> {
    vec![
        event(
            1,
            "AppointmentBooked",
            "p",
            "2026-03-01",
            json!({"appointment_id": "a", "starts_at": "2026-03-05T09:00:00+09:00"}),
        ),
        event(2, "PatientCheckedIn", "p", "2026-03-05", json!({"appointment_id": "a", "encounter_id": "e"})),
        event(
            3,
            "ConsultEnded",
            "p",
            "2026-03-06",
            json!({"encounter_id": "e", "header": {"site": "s1", "department": "gyn"}}),
        ),
        event(
            4,
            "ChargePosted",
            "p",
            "2026-03-07",
            json!({"claim_id": "c", "encounter_id": "e", "amount_minor": 1, "currency": "KRW"}),
        ),
    ]
}

#[test]
fn a_visit_is_one_journey_in_eight_stages_of_which_some_are_empty() {
    let a = of(&visit());
    assert_eq!(a.journeys.len(), 1);
    let j = &a.journeys[0];
    assert_eq!((j.id.clone(), j.named), (id(1).to_string(), false));
    let counts: Vec<(Stage, usize)> = j.stages.iter().map(|s| (s.stage, s.entries.len())).collect();
    assert_eq!(counts.iter().map(|(s, _)| *s).collect::<Vec<_>>(), Stage::ALL);
    assert_eq!(counts.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 1, 1, 1, 0, 0, 1, 0]);
    assert_eq!(j.stages[0].first, None);
    assert_eq!((j.first, j.last), (Some(a.entries[0].occurred_at()), Some(a.entries[3].occurred_at())));
    assert!(j.sites.contains("s1") && j.departments.contains("gyn"));
}

#[test]
fn a_correction_shows_the_new_state_and_keeps_the_original() {
    let mut events = visit();
    let right = event(2, "PatientCheckedIn", "p", "2026-02-27", json!({"appointment_id": "a", "encounter_id": "e2"}));
    events.push(corrected(9, &events[1], &right, "2026-03-20"));
    let a = of(&events);
    assert_eq!(kinds(&a)[0], "PatientCheckedIn", "the corrected time decides the order");
    let e = &a.entries[0];
    assert_eq!((e.status, e.original.as_ref(), &e.event), (Status::Corrected, Some(&events[1]), &right));
    assert_eq!(e.corrections.len(), 1);
    assert!(e.corrections[0].in_force);
    assert_eq!(a.journeys.len(), 2, "e2 is not e: the consult is no longer tied to the appointment");
    let correction = a.entries.last().unwrap();
    assert_eq!(correction.journey.journey, e.journey.journey, "a correction lies with what it is about");
}

#[test]
fn the_latest_correction_wins_and_one_that_does_not_fit_changes_nothing() {
    let booked = visit().remove(0);
    let to = |start: &str| {
        event(1, "AppointmentBooked", "p", "2026-03-01", json!({"appointment_id": "a", "starts_at": start}))
    };
    let (early, late) = (to("2026-04-01T00:00:00Z"), to("2026-05-01T00:00:00Z"));
    let other_type = event(1, "AppointmentConfirmed", "p", "2026-03-01", json!({"appointment_id": "a"}));
    let events = [
        corrected(8, &booked, &late, "2026-03-03"),
        corrected(9, &booked, &early, "2026-03-02"),
        corrected(7, &booked, &other_type, "2026-03-09"),
        booked,
    ];
    let a = of(&events);
    assert_eq!(a.entries[0].event, late);
    let shown: Vec<(EventId, bool)> = a.entries[0].corrections.iter().map(|c| (c.event_id, c.in_force)).collect();
    assert_eq!(shown, [(id(9), false), (id(8), true), (id(7), false)]);
}

#[test]
fn a_retracted_event_is_shown_and_counts_for_nothing() {
    let mut events = visit();
    events.push(retracted(9, &events[0], "2026-03-20"));
    let right = event(
        1,
        "AppointmentBooked",
        "p",
        "2026-03-01",
        json!({"appointment_id": "x", "starts_at": "2026-03-05T09:00:00Z"}),
    );
    events.push(corrected(8, &events[0], &right, "2026-03-21"));
    let a = of(&events);
    assert_eq!(a.entries[0].status, Status::Retracted, "a retraction wins over corrections");
    assert_eq!(a.journeys.len(), 1);
    let j = &a.journeys[0];
    assert_eq!(j.id, id(2).to_string(), "the journey begins with its first event that stands");
    assert!(j.stages[1].entries.is_empty());
    assert_eq!(j.retracted, [0]);
    assert_eq!(a.journey(&id(1).to_string()).map(|j| j.id.clone()), Some(j.id.clone()), "the old id still finds it");
}

#[test]
fn a_retracted_retraction_or_correction_is_void() {
    let mut events = visit();
    events.push(retracted(9, &events[0], "2026-03-20"));
    events.push(retracted(10, &events[4], "2026-03-21"));
    let right = event(2, "PatientCheckedIn", "p", "2026-02-27", json!({"appointment_id": "z"}));
    events.push(corrected(11, &events[1], &right, "2026-03-20"));
    events.push(retracted(12, &events[6], "2026-03-21"));
    let a = of(&events);
    assert_eq!(a.entries[0].status, Status::Normal);
    assert_eq!(a.entries[0].retractions.iter().map(|r| r.in_force).collect::<Vec<_>>(), [false]);
    assert_eq!(a.entries[1].status, Status::Normal);
    assert!(!a.entries[1].corrections[0].in_force);
}

#[test]
fn what_amends_an_unknown_event_moves_no_other() {
    let named = |n, kind, at, more: &str, j: &str| {
        event(n, kind, "p", at, json!({"encounter_id": more, "header": {"journey_id": j}}))
    };
    let mut events = vec![
        named(1, "ConsultEnded", "2026-03-01", "e1", "J1"),
        event(2, "DignityBreachReported", "p", "2026-03-02", json!({"role": "nurse", "kind": "blame"})),
        named(3, "ConsultStarted", "2026-03-03", "e2", "J2"),
    ];
    let journey = |a: &Assembled, n: usize| a.entries[n].journey.journey.clone();
    assert_eq!(journey(&of(&events), 1), "J2");
    let stray = json!({"target_event_id": id(99), "reason": "r", "header": {"journey_id": "J1"}});
    events.push(event(4, "EventRetracted", "p", "2026-03-04", stray));
    let a = of(&events);
    assert_eq!((journey(&a, 1), journey(&a, 3)), ("J2".into(), "J1".into()), "it would stretch J1 until then");

    let alone = of(&[
        event(4, "EventRetracted", "p", "2026-03-01", json!({"target_event_id": id(99), "reason": "r"})),
        events[1].clone(),
    ]);
    assert_eq!((journey(&alone, 0), journey(&alone, 1)), (id(2).to_string(), id(2).to_string()), "it names none");
}

#[test]
fn amendments_in_a_circle_end() {
    let a = event(1, "EventRetracted", "p", "2026-03-01", json!({"target_event_id": id(2), "reason": "r"}));
    let b = event(2, "EventRetracted", "p", "2026-03-02", json!({"target_event_id": id(1), "reason": "r"}));
    assert_eq!(of(&[a, b]).entries.len(), 2);
}

#[test]
fn what_was_known_at_an_earlier_time() {
    let mut events = visit();
    let right = event(2, "PatientCheckedIn", "p", "2026-03-05", json!({"appointment_id": "a", "encounter_id": "e9"}));
    events.push(corrected(9, &events[1], &right, "2026-03-20"));
    let at = |t: &str| assemble("p", stored(&events), Micros::parse(t));
    assert_eq!(at("2026-02-01T00:00:00Z"), None);
    let before = at("2026-03-10T00:00:00Z").unwrap();
    assert_eq!((before.entries.len(), before.entries[1].status), (4, Status::Normal));
    let after = at("2026-03-21T00:00:00Z").unwrap();
    assert_eq!((after.entries.len(), after.entries[1].status), (5, Status::Corrected));
}

fn merge(n: u128, kind: &str, at: &str) -> Event {
    event(n, kind, "p", at, json!({"surviving": "p", "retired": "q"}))
}

#[test]
fn merged_patients_share_a_timeline_until_they_are_parted() {
    let mut events = visit();
    events.push(event(20, "ConsultEnded", "q", "2026-01-01", json!({"encounter_id": "old"})));
    events.push(merge(21, "PatientsMerged", "2026-03-10"));
    for asked in ["p", "q"] {
        let a = assemble(asked, stored(&events), None).unwrap();
        assert_eq!((a.identity.patient_id.as_str(), a.identity.merged_from()), ("p", vec!["q".to_owned()]));
        assert_eq!((a.asked.as_str(), a.entries.len(), a.entries[0].filed_under.as_str()), (asked, 6, "q"));
        assert_eq!(a.journeys.len(), 2);
    }
    let known = assemble("q", stored(&events), Micros::parse("2026-03-09T00:00:00Z")).unwrap();
    assert_eq!((known.identity.patient_id.as_str(), known.entries.len()), ("q", 1), "not known before it was recorded");

    events.push(merge(22, "PatientsUnmerged", "2026-03-11"));
    assert_eq!(assemble("q", stored(&events), None).unwrap().entries.len(), 1);
    events.push(retracted(23, &events[6], "2026-03-12"));
    assert_eq!(assemble("q", stored(&events), None).unwrap().entries.len(), 7 + 1, "the unmerge was a mistake");
}

#[test]
fn what_a_stranger_says_about_an_event_changes_nothing() {
    let mut events = visit();
    events.push(merge(21, "PatientsMerged", "2026-03-10"));
    let target = json!({"target_event_id": events[0].header().event_id, "reason": "r"});
    events.push(event(22, "EventRetracted", "q", "2026-03-11", target));
    assert_eq!(of(&events).entries[0].status, Status::Retracted, "while the two are one patient");
    events.push(merge(23, "PatientsUnmerged", "2026-03-12"));
    let parted = of(&events);
    assert_eq!((parted.entries[0].status, parted.entries[0].retractions.len()), (Status::Normal, 0));
    let mut of_another = events[1].clone();
    of_another.header_mut().patient_id = Some(crate::PatientId("q".into()));
    events.push(corrected(24, &events[1], &of_another, "2026-03-13"));
    let shown = &of(&events).entries[1];
    assert_eq!((shown.status, shown.corrections.len()), (Status::Normal, 1), "shown, and not in force");
}

#[test]
fn events_of_no_patient_are_no_timeline() {
    let pulse = event(
        1,
        "StaffPulseAnswered",
        "p",
        "2026-03-01",
        json!({"instrument": "x", "role": "nurse", "raw": 1.0,
        "scale_min": 1.0, "scale_max": 5.0, "header": {"patient_id": null, "site": "p"}}),
    );
    assert_eq!(assemble("p", stored(&[pulse]), None), None);
}

#[test]
fn a_corrected_merge_is_the_one_that_holds() {
    let mut events = visit();
    for q in ["q", "r"] {
        events.push(event(if q == "q" { 20 } else { 21 }, "ConsultEnded", q, "2026-01-01", json!({"encounter_id": q})));
    }
    let wrong = merge(22, "PatientsMerged", "2026-03-10");
    let right = event(22, "PatientsMerged", "p", "2026-03-10", json!({"surviving": "p", "retired": "r"}));
    events.push(corrected(23, &wrong, &right, "2026-03-11"));
    events.push(wrong);
    assert_eq!(assemble("p", stored(&events), None).unwrap().identity.merged_from(), ["r"]);
    assert_eq!(assemble("q", stored(&events), None).unwrap().identity.merged_from(), Vec::<String>::new());
    assert_eq!(links(stored(&events)).len(), 1);
}

/// A few dozen events over few references, with corrections, retractions and merges among them.
fn any_history() -> impl Strategy<Value = Vec<Event>> {
    let one = (0u8..9, 0u128..25, 1u32..28, 1u32..28, 0u8..4);
    prop::collection::vec(one, 1..30).prop_map(|all| {
        let mut events: Vec<Event> = Vec::new();
        for (i, (what, about, day, other_day, r)) in all.into_iter().enumerate() {
            let n = 100 + i as u128;
            let (at, p) = (format!("2026-03-{day:02}"), if r == 3 { "q" } else { "p" });
            let consult = |n, at: &str| event(n, "ConsultEnded", p, at, json!({"encounter_id": r.to_string()}));
            let target = events.get(about as usize).cloned();
            events.push(match (what, target) {
                (0, Some(t)) => retracted(n, &t, &at),
                (1 | 2, Some(t)) if t.kind() == Kind::ConsultEnded => {
                    let with = consult(about + 100, &format!("2026-03-{other_day:02}"));
                    corrected(n, &t, &with, &at)
                }
                (3, _) => merge(n, "PatientsMerged", &at),
                (4, _) => merge(n, "PatientsUnmerged", &at),
                (5, _) => event(n, "ConsentGiven", p, &at, json!({"scope": "share", "grantee": "family"})),
                (6, _) => event(n, "ComplaintFiled", p, &at, json!({"complaint_id": r.to_string(), "severity": "low"})),
                _ => consult(n, &at),
            });
        }
        events
    })
}

proptest! {
    #[test]
    fn order_duplication_and_batches_change_nothing(events in any_history(), seed in any::<u64>()) {
        let rows = stored(&events);
        let mut other = rows.clone();
        other.extend(rows.iter().step_by(2).cloned());
        // A resend lies at another offset; only the first copy is kept by the store, and here.
        let mut x = seed | 1;
        for i in (1..other.len()).rev() {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            other.swap(i, (x >> 33) as usize % (i + 1));
        }
        for asked in ["p", "q"] {
            prop_assert!(assemble(asked, rows.clone(), None) == assemble(asked, other.clone(), None));
        }
    }

    #[test]
    fn each_event_is_shown_once_and_lies_in_one_journey(events in any_history()) {
        let Some(a) = assemble("p", stored(&events), None) else { return Ok(()) };
        let mut seen: Vec<usize> = a.journeys.iter().flat_map(Journey::entries).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..a.entries.len()).collect::<Vec<_>>());
        for e in &a.entries {
            prop_assert!(a.journey(&e.event_id().to_string()).is_some());
            prop_assert_eq!(e.original.is_some(), e.corrections.iter().any(|c| c.in_force));
        }
        let shown = events.iter().filter(|e| a.identity.members.contains(&*e.key())).count();
        prop_assert_eq!(shown, a.entries.len());
    }
}

/// Events of every type, through the rows that the store keeps, in any order, number and batches.
fn from_rows(events: &[Event]) -> Vec<Stored> {
    use crate::table::Value;
    use crate::views::EventRows as _;
    let mut kept: BTreeMap<(String, String), Stored> = BTreeMap::new();
    for e in events {
        let (_, rows) = super::super::Timeline.rows(e, 0, 0);
        let [Value::Text(patient), Value::Text(event), ..] = rows[0].1.as_slice() else { panic!("text keys") };
        let Some(Value::Text(json)) = rows[0].1.last() else { panic!("the event comes last") };
        let stored = Stored::read(patient.clone(), 0, 0, json).unwrap();
        assert!(stored.event == *e, "{} comes back as it was published", e.kind().as_str());
        kept.entry((patient.clone(), event.clone())).or_insert(stored);
    }
    kept.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_type_of_event_survives_and_any_order_gives_the_same(from in 0u64..10_000, n in 1u64..120, seed in any::<u64>()) {
        let events: Vec<Event> = (from..from + n).map(crate::testing::any_example).collect();
        let mut other = events.clone();
        other.extend(events.iter().step_by(3).cloned());
        let len = other.len();
        other.rotate_left(usize::try_from(seed % len as u64).unwrap());
        other.reverse();
        let (rows, other) = (from_rows(&events), from_rows(&other));
        let mot = crate::views::mot::Mot::new(crate::views::mot::Standards::shipped());
        for asked in 0..crate::testing::PATIENTS {
            let asked = format!("patient-{asked}");
            let a = assemble(&asked, rows.clone(), None);
            prop_assert!(a == assemble(&asked, other.clone(), None));
            if let Some(a) = a {
                let _ = super::super::card(&a, &mot, crate::Micros(1_712_000_000_000_000));
            }
        }
    }
}
