//! What a patient's facts say once corrections and retractions are applied.

use super::facts::{Fact, What};
use crate::journeys::{Item, assign};
use crate::{EventId, Micros};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An event as it stands.
pub(super) struct Ev<'a> {
    pub id: EventId,
    pub fact: &'a Fact,
    /// Its journey; empty where the event is about no patient.
    pub journey: String,
}

impl Ev<'_> {
    /// When it happened; ties are broken by id.
    pub const fn when(&self) -> (i64, EventId) {
        (self.fact.at, self.id)
    }
}

/// How many retractions of retractions are followed.
const MAX_DEPTH: usize = 8;

/// The events that hold, in order of occurrence, each with its journey.
///
/// Of several corrections the latest by (recorded_at, event id) holds, whether or not its target has come yet; a retraction
/// wins over corrections. Corrections and retractions can be retracted themselves. `as_of` leaves out what was recorded
/// after it.
pub(super) fn resolve<'a>(facts: impl Iterator<Item = (EventId, &'a Fact)>, as_of: Option<Micros>) -> Vec<Ev<'a>> {
    let mut stands: BTreeMap<EventId, &Fact> =
        facts.filter(|(_, f)| as_of.is_none_or(|t| f.recorded() <= t.0)).collect();
    if stands.values().any(|f| amends(f)) {
        amend(&mut stands);
    }
    let mut events: Vec<Ev> = stands.into_iter().map(|(id, fact)| Ev { id, fact, journey: String::new() }).collect();
    events.sort_unstable_by_key(Ev::when);
    place(&mut events);
    events
}

const fn amends(fact: &Fact) -> bool {
    matches!(fact.what, What::Corrected { .. } | What::Retracted { .. })
}

type Retractions = BTreeMap<EventId, Vec<EventId>>;

/// Whether a retraction that stands takes the event back.
fn void(retractions: &Retractions, id: EventId, depth: usize) -> bool {
    depth < MAX_DEPTH && retractions.get(&id).is_some_and(|by| by.iter().any(|r| !void(retractions, *r, depth + 1)))
}

fn amend(stands: &mut BTreeMap<EventId, &Fact>) {
    let mut retractions = Retractions::new();
    let mut corrections: Vec<(i64, EventId, EventId, &Fact)> = Vec::new();
    for (id, fact) in stands.iter() {
        match &fact.what {
            What::Retracted { target: Some(target) } => {
                retractions.entry(EventId(Uuid::from_bytes(*target))).or_default().push(*id);
            }
            What::Corrected { target: Some(target), replacement: Some(replacement) } => {
                corrections.push((fact.recorded(), *id, EventId(Uuid::from_bytes(*target)), replacement));
            }
            _ => {}
        }
    }
    corrections.sort_unstable_by_key(|c| (c.0, c.1));
    for (_, id, target, replacement) in corrections {
        if !void(&retractions, id, 0) {
            stands.insert(target, replacement);
        }
    }
    stands.retain(|id, fact| !amends(fact) && !void(&retractions, *id, 0));
}

fn place(events: &mut [Ev]) {
    let items: Vec<Item<'_, super::facts::Text>> = events
        .iter()
        .filter(|e| e.fact.patient)
        .map(|e| Item {
            event_id: e.id,
            occurred_at: Micros(e.fact.at),
            journey_id: e.fact.journey.as_deref(),
            references: &e.fact.references,
        })
        .collect();
    let placed = assign(&items);
    for (e, p) in events.iter_mut().filter(|e| e.fact.patient).zip(placed) {
        e.journey = p.journey;
    }
}
