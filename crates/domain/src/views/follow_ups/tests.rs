mod again;
mod bills;
mod bookings;
mod closing;
mod laws;
mod opening;
mod person;

use super::*;
use crate::facts::Facts;
use crate::{Event, EventId, Kind, Micros};
use serde_json::{Value as Json, json};

/// Events of one patient, as a test writes them: times are hours after Monday 2026-03-02, 09:00 in Seoul.
#[derive(Default, Clone)]
struct Story(Vec<Event>);

const HOUR_0: &str = "2026-03-02T00:00:00Z";

fn hours(h: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    Micros::parse(HOUR_0).unwrap().plus((h * 3_600_000_000.0) as i64).0
}

fn id_of(n: usize) -> EventId {
    EventId(Uuid::from_u128(n as u128 + 1))
}

fn event(id: EventId, kind: &str, at: f64, body: &Json) -> Event {
    let mut v = body.clone();
    let time = Micros(hours(at)).to_string();
    let mut header = json!({
        "event_id": id.to_string(), "occurred_at": time, "zone": "Asia/Seoul", "recorded_at": time,
        "source": {"system": "test"}, "patient_id": "p1", "site": "main", "department": "ortho"
    });
    if let Some(h) = v.as_object_mut().unwrap().remove("header") {
        header.as_object_mut().unwrap().extend(h.as_object().unwrap().clone());
    }
    v.as_object_mut().unwrap().insert("header".into(), header);
    Event::deserialize_record(Kind::from_name(kind).unwrap(), v).unwrap()
}

impl Story {
    /// Adds an event at an hour; its id is its place.
    fn at(mut self, hour: f64, kind: &str, body: Json) -> Self {
        let id = id_of(self.0.len());
        self.0.push(event(id, kind, hour, &body));
        self
    }

    fn facts(&self) -> Facts<Fact> {
        let mut facts = Facts::default();
        for e in &self.0 {
            if let Some(f) = FollowUps.fact(e) {
                facts.add(e.header().event_id, e.content_hash(), f);
            }
        }
        facts
    }

    fn rows(&self) -> Vec<Row> {
        FollowUps.rows("p1", &self.facts()).remove(0)
    }

    /// The one item of a kind.
    fn item(&self, kind: ItemKind) -> Seen {
        let mut found: Vec<Seen> =
            self.rows().into_iter().map(Seen).filter(|r| r.text("kind") == kind.as_str()).collect();
        assert_eq!(found.len(), 1, "items of kind {kind:?}");
        found.remove(0)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Seen(Row);

impl Seen {
    fn get(&self, column: &str) -> &Value {
        &self.0[COLUMNS.iter().position(|c| c.0 == column).unwrap()]
    }
    fn text(&self, column: &str) -> &str {
        if let Value::Text(t) = self.get(column) { t } else { "" }
    }
    fn int(&self, column: &str) -> i64 {
        if let Value::Int(v) = self.get(column) { *v } else { i64::MIN }
    }
    fn status(&self) -> (&str, &str) {
        (self.text("status"), self.text("status_reason"))
    }
    /// Hours from the story's start to the due time.
    fn due(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let h = (self.int("due_at") - hours(0.0)) as f64 / 3_600_000_000.0;
        h
    }
}

fn five() -> Json {
    json!(["better", "referral booked", "none", "no", "yes"])
}

fn call(item: &str) -> Json {
    json!({"item_id": item, "channel": "phone", "human": true, "outcome": "reached", "answers": five()})
}

fn id(kind: ItemKind, subject: &str) -> String {
    item_id("p1", kind, subject).to_string()
}
