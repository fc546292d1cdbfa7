//! What a patient's facts say once corrections and retractions are applied.

use super::facts::{Fact, What};
use crate::journeys::{Item, assign};
use crate::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet};

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

/// The events that hold, in order of occurrence, each with its journey.
///
/// Of several corrections the latest by (recorded_at, event id) holds, whether or not its target has come yet; a retraction
/// wins over corrections. Corrections and retractions can be retracted themselves, by one that was recorded later.
/// `as_of` leaves out what was recorded after it.
pub(super) fn resolve<'a>(facts: impl Iterator<Item = (EventId, &'a Fact)>, as_of: Option<Micros>) -> Vec<Ev<'a>> {
    let known: BTreeMap<EventId, &Fact> = facts.filter(|(_, f)| as_of.is_none_or(|t| f.recorded() <= t.0)).collect();
    let mut amending: Vec<(i64, EventId, &Fact)> = known
        .iter()
        .filter(|(_, f)| matches!(f.what, What::Corrected { .. } | What::Retracted { .. }))
        .map(|(id, f)| (f.recorded(), *id, *f))
        .collect();
    let mut stands = known;
    if !amending.is_empty() {
        amending.sort_unstable_by_key(|a| (std::cmp::Reverse(a.0), std::cmp::Reverse(a.1)));
        amend(&mut stands, &amending);
    }
    let mut events: Vec<Ev> = stands.into_iter().map(|(id, fact)| Ev { id, fact, journey: String::new() }).collect();
    events.sort_unstable_by_key(Ev::when);
    place(&mut events);
    events
}

/// Applies corrections and retractions, the latest first.
fn amend<'a>(stands: &mut BTreeMap<EventId, &'a Fact>, amending: &[(i64, EventId, &'a Fact)]) {
    let mut void = BTreeSet::new();
    let mut corrected = BTreeMap::new();
    for (_, id, fact) in amending {
        stands.remove(id);
        if void.contains(id) {
            continue;
        }
        match &fact.what {
            What::Retracted { target: Some(target) } => {
                void.insert(EventId(uuid::Uuid::from_bytes(*target)));
            }
            What::Corrected { target: Some(target), replacement: Some(replacement) } => {
                corrected.entry(EventId(uuid::Uuid::from_bytes(*target))).or_insert(&**replacement);
            }
            _ => {}
        }
    }
    stands.extend(corrected);
    stands.retain(|id, f| !void.contains(id) && !matches!(f.what, What::Corrected { .. } | What::Retracted { .. }));
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
