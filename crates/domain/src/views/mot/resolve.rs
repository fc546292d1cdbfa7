//! What a patient's facts say once corrections and retractions are applied.

use super::facts::{Fact, What};
use crate::amendments::Amendments;
use crate::journeys::{Item, assign};
use crate::{EventId, Micros};
use std::collections::BTreeMap;

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

/// The events that stand ([`crate::amendments`]), in order of occurrence, each with its journey. `as_of` leaves out what was
/// recorded after it.
pub(super) fn resolve<'a>(facts: impl Iterator<Item = (EventId, &'a Fact)>, as_of: Option<Micros>) -> Vec<Ev<'a>> {
    let known: BTreeMap<EventId, &Fact> = facts.filter(|(_, f)| as_of.is_none_or(|t| f.recorded_at() <= t.0)).collect();
    let amendments = Amendments::new(known.iter().map(|(id, f)| (*id, *f)));
    let mut events: Vec<Ev> = known
        .into_iter()
        .filter(|(_, fact)| !matches!(fact.what, What::Corrected { .. } | What::Retracted { .. }))
        .filter_map(|(id, fact)| Some(Ev { id, fact: amendments.standing(id, fact)?, journey: String::new() }))
        .collect();
    events.sort_unstable_by_key(Ev::when);
    place(&mut events);
    events
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
