//! What holds for any events.

use super::*;
use crate::table::{Row, Value as Cell};
use proptest::prelude::*;

/// Types that matter to scores, with what they need beside references.
const KINDS: &[(&str, &str)] = &[
    ("AppointmentRequested", r#"{"appointment_id": "A", "hold_s": 90}"#),
    ("AppointmentBooked", r#"{"appointment_id": "A", "starts_at": "2024-05-20T00:00:00Z", "encounter_id": "E"}"#),
    ("AppointmentBooked", r#"{"appointment_id": "A", "starts_at": "2024-05-20T00:00:00Z", "referral_id": "R"}"#),
    ("AppointmentCancelled", r#"{"appointment_id": "A", "by": "hospital"}"#),
    ("AppointmentRescheduled", r#"{"appointment_id": "A", "starts_at": "2024-05-20T00:00:00Z", "by": "hospital"}"#),
    ("BookingFrictionReported", r#"{"problem": "long_hold", "hold_s": 200}"#),
    ("PatientCheckedIn", r#"{"appointment_id": "A"}"#),
    ("WaitEstimated", r#"{"encounter_id": "E", "wait_told_min": 10}"#),
    ("RepeatQuestionReported", r#"{"asked_field": "allergies"}"#),
    ("ConsultStarted", r#"{"encounter_id": "E", "appointment_id": "A"}"#),
    ("ConsultEnded", r#"{"encounter_id": "E", "surgery_recommended": true}"#),
    ("PatientQuestionAsked", r#"{"question_id": "Q"}"#),
    ("PatientQuestionAnswered", r#"{"question_id": "Q", "encounter_id": "E"}"#),
    ("OptionsExplained", r#"{"encounter_id": "E", "options": [], "pros_and_cons": true, "decision_deferred": false}"#),
    (
        "ChecklistCompleted",
        r#"{"encounter_id": "E", "checklist": "infection_control", "items_done": 1, "items_total": 3}"#,
    ),
    ("DignityBreachReported", r#"{"role": "doctor", "kind": "blame"}"#),
    ("PatientAdmitted", r#"{"encounter_id": "E"}"#),
    ("PatientDischarged", r#"{"encounter_id": "E"}"#),
    ("AdmissionCancelled", r#"{"encounter_id": "E"}"#),
    ("DischargeCancelled", r#"{"encounter_id": "E"}"#),
    ("ReferralMade", r#"{"referral_id": "R", "to": "x", "encounter_id": "E"}"#),
    ("ReferralBooked", r#"{"referral_id": "R", "appointment_id": "A"}"#),
    ("FollowUpCallAttempted", r#"{"channel": "phone", "human": true, "outcome": "no_answer"}"#),
    (
        "FollowUpCallCompleted",
        r#"{"human": true, "outcome": "reached", "answers": [], "first_contact_resolution": true}"#,
    ),
    ("ClaimSubmitted", r#"{"claim_id": "C", "encounter_id": "E", "amount_minor": 1, "currency": "KRW"}"#),
    ("ClaimResubmitted", r#"{"claim_id": "C", "amount_minor": 1, "currency": "KRW", "rework_no": 2}"#),
    ("BillDisputed", r#"{"claim_id": "C"}"#),
    ("BillDisputeResolved", r#"{"claim_id": "C", "first_contact_resolution": false}"#),
    ("ComplaintFiled", r#"{"complaint_id": "K", "severity": "severe"}"#),
    ("ComplaintResolved", r#"{"complaint_id": "K", "first_contact_resolution": true}"#),
    (
        "FeedbackGiven",
        r#"{"instrument": "nps/1", "role": "nurse", "dimension": "empathy", "raw": 3, "scale_min": 0, "scale_max": 10}"#,
    ),
    (
        "FeedbackGiven",
        r#"{"instrument": "csat/1", "dimension": "technical", "raw": 4, "scale_min": 1, "scale_max": 5, "encounter_id": "E"}"#,
    ),
    (
        "FeedbackGiven",
        r#"{"instrument": "csat/1", "role": "biller", "dimension": "overall", "raw": 5, "scale_min": 1, "scale_max": 5, "claim_id": "C", "touchpoint": "billing"}"#,
    ),
    (
        "FeedbackLinked",
        r#"{"target_event_id": "00000000-0000-0000-0000-000000000999", "instrument": "csat/1", "role": "nurse", "dimension": "empathy", "raw": 2, "scale_min": 0, "scale_max": 3, "encounter_id": "E"}"#,
    ),
    ("ConsentGiven", r#"{"scope": "follow_up_contact", "grantee": "contact"}"#),
    ("EventRetracted", "{}"),
    ("EventCorrected", "{}"),
];

/// A kind, which of two references, a minute, how late it was recorded, and which earlier event a correction is about.
type Seed = (usize, u8, i64, i64, usize, Option<u8>);

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let journey = proptest::option::weighted(0.2, 0u8..2);
    proptest::collection::vec((0..KINDS.len(), 0u8..2, 0i64..40_000, 0i64..3000, any::<usize>(), journey), 1..40)
}

fn events(seeds: &[Seed]) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for (n, (kind, which, minute, late, about, journey)) in seeds.iter().enumerate() {
        let (kind, text) = KINDS[*kind];
        let mut payload: Value = serde_json::from_str(text).unwrap();
        for (_, v) in payload.as_object_mut().unwrap() {
            if let Some(name) = v.as_str().filter(|s| matches!(*s, "A" | "E" | "Q" | "R" | "C" | "K")) {
                *v = json!(format!("{name}{which}"));
            }
        }
        let n = n as u128 + 1;
        if kind.starts_with("Event") {
            let Some(target) = out.get(about % out.len().max(1)) else { continue };
            payload = json!({"reason": "x", "target_event_id": target.header().event_id.to_string()});
            if kind == "EventCorrected" {
                let mut other = target.clone();
                other.header_mut().occurred_at = Micros((START + minute) * crate::time::MINUTE);
                payload["replacement"] = serde_json::from_str(&other.to_json()).unwrap();
            }
        }
        let recorded = Micros((START + minute + late) * crate::time::MINUTE).to_string();
        payload["header"] = json!({"recorded_at": recorded, "journey_id": journey.map(|j| format!("j{j}"))});
        out.push(event(n, kind, *minute, payload));
    }
    out
}

fn rows(events: &[Event]) -> Vec<Vec<Row>> {
    let mut rows = Mot::new(Standards::shipped()).rows("p-1", &facts_of(events));
    for table in &mut rows {
        table.sort_by_key(|r| format!("{r:?}"));
    }
    rows
}

fn hundredths(points: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let whole = (points * 100.0).round() as i64;
    whole
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_batches_change_nothing(seeds in seeds(), shuffle in any::<u64>(), cut in 0usize..40) {
        let events = events(&seeds);
        let mut other = events.clone();
        other.extend(events.iter().take(cut).cloned());
        let mut state = shuffle | 1;
        for i in (1..other.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            other.swap(i, usize::try_from(state >> 33).unwrap() % (i + 1));
        }
        let mot = Mot::new(Standards::shipped());
        let mut facts = Facts::default();
        for batch in other.chunks(cut.max(1)) {
            let stored: Facts<Fact> = facts;
            facts = Facts::from_bytes(&stored.to_bytes()).unwrap();
            for e in batch {
                facts.add(e.header().event_id, e.content_hash(), mot.fact(e).unwrap());
            }
        }
        let mut got = mot.rows("p-1", &facts);
        for table in &mut got {
            table.sort_by_key(|r| format!("{r:?}"));
        }
        prop_assert_eq!(got, rows(&events));
    }

    #[test]
    fn keys_are_unique_and_scores_in_range(seeds in seeds()) {
        for (table, rows) in Mot::TABLES.iter().zip(rows(&events(&seeds))) {
            let mut keys: Vec<String> = rows.iter().map(|r| format!("{:?}", &r[..table.key])).collect();
            keys.sort();
            let all = keys.len();
            keys.dedup();
            prop_assert_eq!(keys.len(), all, "{}", table.name);
            for (i, (column, _)) in table.columns.iter().enumerate() {
                let most = match *column {
                    "score" | "mean" | "worst" | "last" => 10_000,
                    "coverage" => 1000,
                    _ => continue,
                };
                for r in &rows {
                    let fits = match r[i] {
                        Cell::Null => true,
                        Cell::Int(v) => (0..=most).contains(&v),
                        _ => false,
                    };
                    prop_assert!(fits);
                }
            }
        }
    }

    #[test]
    fn contributions_add_up_and_agree_with_the_rows(seeds in seeds()) {
        let events = events(&seeds);
        let facts = facts_of(&events);
        let rows = rows(&events);
        for row in &rows[2] {
            let Cell::Text(journey) = &row[1] else { panic!() };
            let j = explain(&Standards::shipped(), facts.iter(), journey, None, Micros(0)).unwrap();
            prop_assert_eq!(Cell::from(j.score.map(hundredths)), row[2].clone());
            if let Some(score) = j.score {
                prop_assert_eq!(j.parts.iter().map(|p| hundredths(p.contribution)).sum::<i64>(), hundredths(score));
            }
            for t in &j.touchpoints {
                let stored = rows[0].iter().find(|r| r[1] == Cell::from(t.touchpoint_id.as_str())).unwrap();
                prop_assert_eq!(Cell::from(t.score.map(hundredths)), stored[9].clone());
                let sum: i64 = t.contributions.iter().map(|c| hundredths(c.contribution)).sum::<i64>()
                    + t.caps.iter().map(|c| hundredths(c.change)).sum::<i64>();
                if let Some(score) = t.score {
                    prop_assert_eq!(sum, hundredths(score));
                    prop_assert!((t.contributions.iter().map(|c| c.weight).sum::<f64>() - 1.0).abs() < 1e-9);
                }
            }
        }
    }

    /// What happens to others is no business of this patient's rows.
    #[test]
    fn other_patients_change_nothing(mine in seeds(), theirs in seeds()) {
        let mot = Mot::new(Standards::shipped());
        let mut by_key = std::collections::BTreeMap::<String, Facts<Fact>>::new();
        let others = events(&theirs).into_iter().map(|mut e| {
            e.header_mut().patient_id = Some(crate::PatientId("p-2".into()));
            e.header_mut().event_id = EventId(uuid::Uuid::from_u128(e.header().event_id.0.as_u128() + 1000));
            e
        });
        for e in others.chain(events(&mine)) {
            by_key.entry(mot.key(&e)).or_default().add(e.header().event_id, e.content_hash(), mot.fact(&e).unwrap());
        }
        let mut got = by_key.get("p-1").map_or_else(|| mot.rows("p-1", &Facts::default()), |f| mot.rows("p-1", f));
        for table in &mut got {
            table.sort_by_key(|r| format!("{r:?}"));
        }
        prop_assert_eq!(got, rows(&events(&mine)));
    }
}

/// Every type of the catalogue can be taken.
#[test]
fn any_event_can_be_folded() {
    let mot = Mot::new(Standards::shipped());
    let mut by_key = std::collections::BTreeMap::<String, Facts<Fact>>::new();
    for seed in 0..3000 {
        let e = crate::testing::any_example(seed);
        if let Some(fact) = mot.fact(&e) {
            by_key.entry(mot.key(&e)).or_default().add(e.header().event_id, e.content_hash(), fact);
        }
    }
    for (key, facts) in &by_key {
        assert_eq!(mot.rows(key, facts).len(), Mot::TABLES.len());
    }
}
