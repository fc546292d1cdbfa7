//! Hand-computed examples of the model; what holds for any events is in `properties`.

use super::*;
use crate::{EventId, Kind, Micros};
use serde_json::{Value, json};

mod places;
mod properties;
mod signals;
mod standards;
mod statistics;
mod stories;

/// 2024-05-01T00:00:00Z, in minutes since 1970.
const START: i64 = 28_575_360;

/// Event number `n` of the given type, `minute` minutes after [`START`].
fn event(n: u128, kind: &str, minute: i64, payload: Value) -> Event {
    let at = Micros((START + minute) * crate::time::MINUTE).to_string();
    let mut all = json!({"header": {
        "event_id": uuid::Uuid::from_u128(n).to_string(), "occurred_at": at, "zone": "Asia/Seoul", "recorded_at": at,
        "source": {"system": "test"}, "patient_id": "p-1", "site": "s-1", "department": "gyn",
    }});
    for (k, v) in payload.as_object().unwrap() {
        if k == "header" {
            for (k, v) in v.as_object().unwrap() {
                all["header"][k] = v.clone();
            }
        } else {
            all[k] = v.clone();
        }
    }
    Event::deserialize_record(Kind::from_name(kind).unwrap(), all).unwrap()
}

fn facts_of(events: &[Event]) -> Facts<Fact> {
    let mot = Mot::new(Standards::shipped());
    let mut facts = Facts::default();
    for e in events {
        if let Some(fact) = mot.fact(e) {
            facts.add(e.header().event_id, e.content_hash(), fact);
        }
    }
    facts
}

fn explained_by(standards: &Standards, events: &[Event], as_of: Option<Micros>) -> JourneyExplanation {
    let facts = facts_of(events);
    let id = events[0].header().event_id.to_string();
    explain(standards, facts.iter(), &id, as_of, Micros(0)).unwrap()
}

fn explained(events: &[Event]) -> JourneyExplanation {
    explained_by(&Standards::shipped(), events, None)
}

fn touchpoint(j: &JourneyExplanation, kind: TouchKind) -> &TouchpointExplanation {
    j.touchpoints.iter().find(|t| t.touchpoint == kind).unwrap()
}

/// Value and utility of a signal, as observed.
fn observed(t: &TouchpointExplanation, name: &str) -> Option<(f64, f64)> {
    t.contributions.iter().find(|c| c.name == name).map(|c| (c.value, c.utility))
}

/// A standard that has only one weight, for tests of one signal.
fn only(signal: &str) -> Standards {
    let text = Signal::ALL.iter().fold(SHIPPED[0].1.to_owned(), |text, s| {
        let weight = if s.as_str() == signal { 1 } else { 0 };
        text.lines()
            .map(|l| {
                if l.starts_with(&format!("{} ", s.as_str())) || l.starts_with(&format!("{}=", s.as_str())) {
                    l.replace("weight = 1 ", &format!("weight = {weight} "))
                } else {
                    l.to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join("\n")
    });
    let promises = text.find("[[promises]]").unwrap();
    Standards::parse(&[("only.toml", &text[..promises])]).unwrap()
}
