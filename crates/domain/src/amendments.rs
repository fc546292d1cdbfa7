//! Corrections and retractions: what stands of an event, for every view by the same rules.
//!
//! 1. A correction puts its replacement in the place of its target; a retraction takes its target back.
//! 2. A replacement is the target once more: same id, same type, and the correction's own patient ([`replacement`]). Another
//!    one is no correction: it changes nothing, and the timeline shows it as not in force.
//! 3. Of several corrections the latest by (recorded_at, event_id) holds. A retraction wins over corrections.
//! 4. Corrections and retractions are events: one that was retracted says nothing, one that was corrected says what its
//!    replacement says. This is followed [`MOST_STEPS`] deep; what lies deeper counts as published, so circles do no harm.
//! 5. What is about an event that isn't known (yet, or of this patient) changes nothing until that event comes.
//!
//! All of it is a function of the set of events, whatever order they came in. The caller says which events are one patient's:
//! those under one pseudonym, or under all that are merged now.

use crate::event::{EventCorrected, Kind};
use crate::{Event, EventId};
use std::collections::{BTreeSet, HashMap};

/// How many amendments of amendments of … are followed.
pub const MOST_STEPS: usize = 8;

/// What a view keeps of an event, as far as amending goes.
pub trait Amendable: Sized {
    /// The [`tag`] of the event's type.
    fn tag(&self) -> u16;

    /// When it was recorded, microseconds. Asked of corrections and retractions alone.
    fn recorded(&self) -> i64;

    /// What it says about another event.
    fn amends(&self) -> Option<Amends<'_, Self>>;
}

/// What one event says about another.
#[derive(Debug)]
pub enum Amends<'a, T> {
    /// This is what it should have been; nothing where that can't be a replacement.
    Corrects(EventId, Option<&'a T>),
    /// It never happened, or was filed wrongly.
    Retracts(EventId),
}

impl<T> Amends<'_, T> {
    const fn target(&self) -> EventId {
        match self {
            Self::Corrects(target, _) | Self::Retracts(target) => *target,
        }
    }
}

/// A number for a type of event, which stays the same when others are added: stored states hold it.
#[must_use]
pub fn tag(kind: Kind) -> u16 {
    let hash = xxhash_rust::xxh3::xxh3_64(kind.as_str().as_bytes());
    u16::try_from(hash & 0xffff).unwrap_or_default()
}

/// The event that a correction puts in its target's place; `None` where that isn't an event with the target's id and the
/// correction's patient. Fields of a later version are passed over, so that what is stored can be read after a step back.
#[must_use]
pub fn replacement(correction: &EventCorrected) -> Option<Event> {
    let target: EventId = correction.target_event_id.parse().ok()?;
    let event = read(&correction.replacement.0)?;
    let h = event.header();
    (h.event_id == target && h.patient_id == correction.header.patient_id).then_some(event)
}

/// Reads an event from its JSON form, as stored or as embedded in a correction.
#[must_use]
pub fn read(json: &str) -> Option<Event> {
    #[derive(serde::Deserialize)]
    struct Tag {
        r#type: String,
    }
    let kind = Kind::from_name(&serde_json::from_str::<Tag>(json).ok()?.r#type)?;
    Event::deserialize_record(kind, &mut serde_json::Deserializer::from_str(json)).ok()
}

/// What amends an event.
#[derive(Debug)]
pub struct Now<'a, T> {
    /// The corrections that fit and stand, by (recorded_at, event_id), and what each puts in the event's place.
    pub corrections: Vec<(EventId, &'a T)>,
    /// The retractions that stand, by (recorded_at, event_id).
    pub retractions: Vec<EventId>,
}

impl<'a, T> Now<'a, T> {
    /// The correction that holds: the last one, unless the event was retracted.
    #[must_use]
    pub fn correction(&self) -> Option<(EventId, &'a T)> {
        if self.retractions.is_empty() { self.corrections.last().copied() } else { None }
    }

    /// Whether the correction or retraction `id` takes part in what stands.
    #[must_use]
    pub fn in_force(&self, id: EventId) -> bool {
        self.retractions.contains(&id) || self.correction().is_some_and(|(by, _)| by == id)
    }

    fn same(&self, other: &Self) -> bool {
        let ids = |n: &Self| n.corrections.iter().map(|c| (c.0, std::ptr::from_ref(c.1))).collect::<Vec<_>>();
        self.retractions == other.retractions && ids(self) == ids(other)
    }
}

/// The corrections and retractions among the events of one patient.
#[derive(Debug)]
pub struct Amendments<'a, T> {
    /// Who speaks, or has spoken, about an event: by (recorded_at, event_id).
    about: HashMap<EventId, Vec<EventId>>,
    now: HashMap<EventId, Now<'a, T>>,
}

impl<'a, T: Amendable> Amendments<'a, T> {
    /// Of the events of one patient. Where two have one id, the first counts.
    pub fn new(events: impl Iterator<Item = (EventId, &'a T)> + Clone) -> Self {
        let mut by_target: HashMap<EventId, BTreeSet<EventId>> = HashMap::new();
        for (id, event) in events.clone() {
            let mut said = event.amends().map(|a| (id, a));
            while let Some((by, amends)) = said.take() {
                let target = amends.target();
                by_target.entry(target).or_default().insert(by);
                // a correction of an amendment may make it speak about another event
                if let Amends::Corrects(_, Some(with)) = amends {
                    said = with.amends().map(|a| (target, a));
                }
            }
        }
        let mut all = Self { about: HashMap::new(), now: HashMap::new() };
        if by_target.is_empty() {
            return all;
        }
        let mut known: HashMap<EventId, &'a T> = HashMap::new();
        for (id, event) in events {
            known.entry(id).or_insert(event);
        }
        for (target, by) in by_target {
            let mut by: Vec<_> = by.into_iter().filter_map(|id| Some((known.get(&id)?.recorded(), id))).collect();
            by.sort_unstable();
            all.about.insert(target, by.into_iter().map(|(_, id)| id).collect());
        }
        all.settle(&known);
        all
    }

    /// Each round follows amendments of amendments one step deeper. Most patients need two.
    fn settle(&mut self, known: &HashMap<EventId, &'a T>) {
        for _ in 0..MOST_STEPS {
            let next: HashMap<EventId, Now<'a, T>> = self
                .about
                .iter()
                .filter_map(|(target, by)| Some((*target, self.judge(*target, known.get(target)?, by, known))))
                .collect();
            let settled = next.iter().all(|(id, n)| self.now.get(id).is_some_and(|old| old.same(n)));
            self.now = next;
            if settled {
                return;
            }
        }
    }

    /// What stands of `target`, if that is what stands of those who speak about it.
    fn judge(&self, target: EventId, event: &T, by: &[EventId], known: &HashMap<EventId, &'a T>) -> Now<'a, T> {
        let mut now = Now { corrections: Vec::new(), retractions: Vec::new() };
        for id in by {
            let Some(said) = known.get(id).and_then(|published| self.standing(*id, published)) else { continue };
            match said.amends() {
                Some(Amends::Retracts(t)) if t == target => now.retractions.push(*id),
                Some(Amends::Corrects(t, Some(with))) if t == target && with.tag() == event.tag() => {
                    now.corrections.push((*id, with));
                }
                _ => {}
            }
        }
        now
    }

    /// What amends the event; `None` where nobody speaks about it, or it isn't known.
    #[must_use]
    pub fn of(&self, id: EventId) -> Option<&Now<'a, T>> {
        self.now.get(&id)
    }

    /// The events that correct or retract this one, or once did, in force or not, by (recorded_at, event_id).
    #[must_use]
    pub fn about(&self, id: EventId) -> &[EventId] {
        self.about.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The event as it stands; `None` where it was retracted.
    #[must_use]
    pub fn standing(&self, id: EventId, published: &'a T) -> Option<&'a T> {
        match self.of(id) {
            Some(now) if !now.retractions.is_empty() => None,
            Some(now) => Some(now.correction().map_or(published, |(_, with)| with)),
            None => Some(published),
        }
    }
}

#[cfg(test)]
mod tests;
