//! What stands after corrections and retractions is the same in all views, and lies in the same journey.

use super::follow_ups::{self, FollowUps};
use super::mot::{self, Mot, Standards};
use super::timeline::{Stored, assemble};
use super::*;
use crate::table::Value;
use crate::{EventId, Kind, Micros, testing};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// How many events a history has at most.
const EVENTS: usize = 24;

fn id(n: usize) -> EventId {
    EventId(uuid::Uuid::from_u128(n as u128 + 1))
}

/// What an event of a history is made from.
#[derive(Debug, Clone)]
struct Seed {
    /// Of ten, five are amendments.
    kind: usize,
    what: u64,
    target: usize,
    other: usize,
    hour: u8,
    misfit: u8,
}

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let one = (0..Kind::ALL.len() * 2, 0u64..200, 0..EVENTS + 2, 0..EVENTS, 0u8..6, 0u8..10);
    let one =
        one.prop_map(|(kind, what, target, other, hour, misfit)| Seed { kind, what, target, other, hour, misfit });
    prop::collection::vec(one, 1..EVENTS)
}

impl Seed {
    fn kind(&self) -> Kind {
        match Kind::ALL.get(self.kind) {
            Some(Kind::EventCorrected | Kind::EventRetracted) | None if self.kind.is_multiple_of(2) => {
                Kind::EventRetracted
            }
            Some(Kind::EventCorrected | Kind::EventRetracted) | None => Kind::EventCorrected,
            Some(kind) => *kind,
        }
    }
}

/// Event number `n` as type `kind` says it, of one patient and few subjects.
fn event(n: usize, kind: Kind, seed: &Seed, target: usize, replacement: Option<&Event>) -> Event {
    let mut v: Json = serde_json::from_str(&testing::example(kind, seed.what).to_json()).unwrap();
    v.as_object_mut().unwrap().remove("type");
    let at = Micros(1_772_323_200_000_000 + i64::from(seed.hour) * crate::time::HOUR).to_string();
    for (field, value) in
        [("event_id", json!(id(n).to_string())), ("occurred_at", json!(at)), ("recorded_at", json!(at))]
    {
        v["header"][field] = value;
    }
    if kind.key_rule() != crate::event::KeyRule::Site {
        v["header"]["patient_id"] = json!("p");
    }
    for field in
        ["encounter_id", "appointment_id", "referral_id", "order_id", "claim_id", "complaint_id", "question_id"]
    {
        if v.get(field).is_some() {
            v[field] = json!(format!("{field}-{}", seed.what % 2));
        }
    }
    if matches!(kind, Kind::PatientsMerged | Kind::PatientsUnmerged | Kind::PatientIdentifiersChanged) {
        (v["surviving"], v["retired"]) = (json!("x"), json!("y"));
    }
    if matches!(kind, Kind::EventCorrected | Kind::EventRetracted) {
        v["target_event_id"] = json!(id(target).to_string());
    }
    if let Some(e) = replacement {
        v["replacement"] = serde_json::from_str(&e.to_json()).unwrap();
    }
    Event::deserialize_record(kind, v).unwrap()
}

/// A correction's replacement: mostly the target's type once more, now and then of another type, patient or id.
fn replacement(seeds: &[Seed], seed: &Seed, deep: u8) -> Event {
    let target = seeds.get(seed.target);
    let kind = target.map_or(Kind::ConsultEnded, Seed::kind);
    let kind = if seed.misfit == 0 { Kind::ComplaintFiled } else { kind };
    let like = Seed { what: seed.what + 1, target: seed.other, misfit: 9, ..seed.clone() };
    let inner = match kind {
        Kind::EventCorrected if deep > 0 => Some(replacement(seeds, &like, deep - 1)),
        Kind::EventCorrected => Some(event(seed.other, Kind::ConsultEnded, &like, 0, None)),
        _ => None,
    };
    let mut e = event(seed.target, kind, &like, seed.other, inner.as_ref());
    match seed.misfit {
        1 => e.header_mut().patient_id = Some(crate::PatientId("stranger".into())),
        2 => e.header_mut().event_id = id(seed.other),
        _ => {}
    }
    e
}

fn history(seeds: &[Seed]) -> Vec<Event> {
    let one = |(n, seed): (usize, &Seed)| {
        let kind = seed.kind();
        let with = (kind == Kind::EventCorrected).then(|| replacement(seeds, seed, 2));
        event(n, kind, seed, seed.target, with.as_ref())
    };
    seeds.iter().enumerate().map(one).collect()
}

fn facts<F: PatientFold>(fold: &F, events: &[Event]) -> Facts<F::Fact> {
    let mut facts = Facts::default();
    for e in events.iter().filter(|e| fold.key(e) == "p") {
        if let Some(fact) = fold.fact(e) {
            facts.add(e.header().event_id, e.content_hash(), fact);
        }
    }
    facts
}

fn rows<F: PatientFold>(fold: &F, events: &[Event]) -> Vec<Vec<Row>> {
    let mut rows = fold.rows("p", &facts(fold, events));
    rows.iter_mut().for_each(|table| table.sort_by_key(|r| format!("{r:?}")));
    rows
}

/// The items but those that stand for a trigger that no longer does.
fn items(events: &[Event]) -> Vec<Row> {
    let reason = follow_ups::COLUMNS.iter().position(|c| c.0 == "status_reason").unwrap();
    let gone = |v: &Value| matches!(v, Value::Text(t) if t == "trigger_retracted" || t == "trigger_corrected");
    rows(&FollowUps, events).remove(0).into_iter().filter(|r| !gone(&r[reason])).collect()
}

/// The events that count on the timeline, as they stand (what the log would be, had nobody made a mistake), each with its
/// journey.
fn standing(events: &[Event]) -> Vec<(Event, String)> {
    let stored = |(i, e): (usize, &Event)| Stored {
        filed_under: e.key().into_owned(),
        partition: 0,
        offset: i as u64,
        event: e.clone(),
    };
    let Some(a) = assemble("p", events.iter().enumerate().map(stored).collect(), None) else { return Vec::new() };
    a.entries.into_iter().filter(super::timeline::Entry::counts).map(|e| (e.event, e.journey.journey)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_views_agree_on_what_stands((seeds, order) in (seeds(), any::<prop::sample::Index>())) {
        let mut events = history(&seeds);
        events.rotate_left(order.index(seeds.len()));
        let (clean, mot) = (standing(&events), Mot::new(Standards::shipped()));
        let clean: Vec<Event> = clean.into_iter().map(|(event, _)| event).collect();
        prop_assert_eq!(rows(&mot, &events), rows(&mot, &clean));
        prop_assert_eq!(items(&events), items(&clean));
    }
    #[test]
    fn timeline_and_mot_put_an_event_into_the_same_journey(seeds in seeds()) {
        let (events, standards) = (history(&seeds), Standards::shipped());
        let facts = facts(&Mot::new(standards.clone()), &events);
        for (event, journey) in standing(&events) {
            let wanted = event.header().event_id.to_string();
            let j = mot::explain(&standards, facts.iter(), &wanted, None, Micros(0));
            prop_assert_eq!(j.map(|j| j.journey_id), Some(journey), "{}", event.kind().as_str());
        }
    }
}
