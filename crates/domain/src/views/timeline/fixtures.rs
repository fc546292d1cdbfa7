//! Events for the tests of this view, in few words.

use super::Stored;
use crate::event::{Event, Kind};
use crate::{EventId, Micros};
use serde_json::{Value, json};

/// Event id number `n`.
pub fn id(n: u128) -> EventId {
    EventId(uuid::Uuid::from_u128(n))
}

/// An event of patient `p` at `at` (RFC 3339, or `YYYY-MM-DD` for its noon in Seoul), recorded one minute later. `more`
/// holds the payload, and under `header` what else the header says.
pub fn event(n: u128, kind: &str, p: &str, at: &str, more: Value) -> Event {
    let at = if at.len() == 10 { format!("{at}T12:00:00+09:00") } else { at.to_owned() };
    let occurred = Micros::parse(&at).unwrap();
    let mut header = json!({
        "event_id": id(n), "occurred_at": occurred.to_string(), "recorded_at": occurred.plus(60_000_000).to_string(),
        "zone": "Asia/Seoul", "source": {"system": "test"}, "patient_id": p,
    });
    let mut body = more.as_object().unwrap().clone();
    if let Some(h) = body.remove("header") {
        header.as_object_mut().unwrap().extend(h.as_object().unwrap().clone());
    }
    body.insert("header".into(), header);
    Event::deserialize_record(Kind::from_name(kind).unwrap(), Value::Object(body)).unwrap()
}

/// A correction of `target` by `with`.
pub fn corrected(n: u128, target: &Event, with: &Event, at: &str) -> Event {
    let p = target.header().patient_id.clone().unwrap();
    let replacement: Value = serde_json::from_str(&with.to_json()).unwrap();
    let more = json!({"target_event_id": target.header().event_id, "reason": "mistyped", "replacement": replacement});
    event(n, "EventCorrected", p.as_str(), at, more)
}

/// A retraction of `target`.
pub fn retracted(n: u128, target: &Event, at: &str) -> Event {
    let p = target.header().patient_id.clone().unwrap();
    let more = json!({"target_event_id": target.header().event_id, "reason": "never happened"});
    event(n, "EventRetracted", p.as_str(), at, more)
}

/// The events as the store would hold them.
pub fn stored(events: &[Event]) -> Vec<Stored> {
    let one = |(i, e): (usize, &Event)| Stored {
        filed_under: e.key().into_owned(),
        partition: 0,
        offset: i as u64,
        event: e.clone(),
    };
    events.iter().enumerate().map(one).collect()
}
