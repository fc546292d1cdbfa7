//! The timeline as it is read: order, corrections, retractions, merges, journeys and stages, from the set of stored events.
//!
//! All of it is a pure function of that set. What was known at an earlier time is the same function of the events recorded
//! until then.

mod place;
mod stands;

use super::identity::{self, Identity, Link};
use super::rows;
use crate::amendments;
use crate::event::{Event, Stage};
use crate::journeys::{Placed, Rule};
use crate::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// An event as the store holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The key that it lies under: the pseudonym of its patient when it was published.
    pub filed_under: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The event as published.
    pub event: Event,
}

impl Stored {
    /// From a row of `timeline_entries`; `None` where `json` is no event.
    #[must_use]
    pub fn read(filed_under: String, partition: u32, offset: u64, json: &str) -> Option<Self> {
        Some(Self { filed_under, partition, offset, event: amendments::read(json)? })
    }
}

/// Whether an event still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As published.
    Normal,
    /// A later event replaced its content.
    Corrected,
    /// A later event took it back. It is shown, and counts for nothing.
    Retracted,
}

impl Status {
    /// The name, as the read API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Corrected => "corrected",
            Self::Retracted => "retracted",
        }
    }
}

/// A correction or retraction of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Amendment {
    /// The event that says so.
    pub event_id: EventId,
    /// When it was recorded.
    pub recorded_at: Micros,
    /// Why.
    pub reason: String,
    /// Whether it takes part in the state that is shown ([`amendments`]). A correction does not when a later one or a
    /// retraction overrides it, when it was itself retracted, or when its replacement isn't an event of the same type, id and
    /// patient.
    pub in_force: bool,
}

/// An event on the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The event as it holds.
    pub event: Event,
    /// The event as it was published, where that differs.
    pub original: Option<Event>,
    /// Whether it still stands.
    pub status: Status,
    /// Corrections, by (recorded_at, event_id).
    pub corrections: Vec<Amendment>,
    /// Retractions, by (recorded_at, event_id).
    pub retractions: Vec<Amendment>,
    /// The pseudonym that it was published under.
    pub filed_under: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The journey that it belongs to, and why.
    pub journey: Placed,
}

impl Entry {
    /// Its id.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        self.event.header().event_id
    }

    /// When it happened, as it holds.
    #[must_use]
    pub fn occurred_at(&self) -> Micros {
        self.event.header().occurred_at
    }

    /// Whether it counts for stages, dates and the card.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status != Status::Retracted && !amends(&self.event)
    }
}

/// A stage of a journey; empty where nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOf {
    /// Which.
    pub stage: Stage,
    /// Its first event.
    pub first: Option<Micros>,
    /// Its last event.
    pub last: Option<Micros>,
    /// Its events: indexes into [`Assembled::entries`].
    pub entries: Vec<usize>,
}

/// An episode of care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// Its id: as named by a publisher, or the event id of its earliest event.
    pub id: String,
    /// Whether a publisher named it.
    pub named: bool,
    /// Its first event; none where all were retracted.
    pub first: Option<Micros>,
    /// Its last event.
    pub last: Option<Micros>,
    /// The sites that took part.
    pub sites: BTreeSet<String>,
    /// The departments that took part.
    pub departments: BTreeSet<String>,
    /// The eight stages in order, empty ones included.
    pub stages: Vec<StageOf>,
    /// Events that are no step of the journey (complaints, consents, corrections …).
    pub other: Vec<usize>,
    /// Retracted events.
    pub retracted: Vec<usize>,
}

impl Journey {
    /// All its entries, in order.
    #[must_use]
    pub fn entries(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.stages.iter().flat_map(|s| &s.entries).copied().collect();
        all.extend(self.other.iter().chain(&self.retracted));
        all.sort_unstable();
        all
    }
}

/// A patient's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// The pseudonym that was asked for.
    pub asked: String,
    /// Who that is.
    pub identity: Identity,
    /// The events, by (occurred_at, event_id).
    pub entries: Vec<Entry>,
    /// The journeys, by (first event, id).
    pub journeys: Vec<Journey>,
}

impl Assembled {
    /// The journey with this id, or else the one that the event with this id belongs to.
    #[must_use]
    pub fn journey(&self, id: &str) -> Option<&Journey> {
        let by_id = |id: &str| self.journeys.iter().find(|j| j.id == id);
        by_id(id).or_else(|| {
            let event: EventId = id.parse().ok()?;
            by_id(&self.entries.iter().find(|e| e.event_id() == event)?.journey.journey)
        })
    }
}

/// Puts the timeline of `asked` together from the events of all pseudonyms that any link ties to it, as recorded until `as_of`
/// (all of them where it is none). `None` where nothing is known of the patient.
#[must_use]
pub fn assemble(asked: &str, mut stored: Vec<Stored>, as_of: Option<Micros>) -> Option<Assembled> {
    tidy(&mut stored, as_of);
    let identity = identity::resolve(&stands::links(&stored), asked);
    // What a stranger says about a patient's events changes nothing, though the two were one for a while.
    stored.retain(|s| identity.members.contains(&s.filed_under));
    let mut entries = stands::entries(&stored);
    if entries.is_empty() {
        return None;
    }
    entries.sort_by(|a, b| {
        (a.occurred_at(), a.event_id(), &a.filed_under).cmp(&(b.occurred_at(), b.event_id(), &b.filed_under))
    });
    place::place(&mut entries);
    let journeys = group(&entries);
    Some(Assembled { asked: asked.to_owned(), identity, entries, journeys })
}

/// The merges and unmerges among the events that stand, as corrected.
#[must_use]
pub fn links(mut stored: Vec<Stored>) -> Vec<Link> {
    tidy(&mut stored, None);
    stands::links(&stored)
}

/// Leaves what was known of patients, each event once: where two events share an id under one key, the store keeps the first.
fn tidy(stored: &mut Vec<Stored>, as_of: Option<Micros>) {
    stored.retain(|s| {
        let h = s.event.header();
        h.patient_id.is_some() && as_of.is_none_or(|t| h.recorded_at <= t)
    });
    stored.sort_by(|a, b| {
        let key = |s: &Stored| (s.event.header().event_id, s.partition, s.offset);
        (&a.filed_under, key(a)).cmp(&(&b.filed_under, key(b)))
    });
    stored.dedup_by(|a, b| a.filed_under == b.filed_under && a.event.header().event_id == b.event.header().event_id);
}

/// Whether the event speaks of another event alone.
const fn amends(event: &Event) -> bool {
    matches!(event, Event::EventCorrected(_) | Event::EventRetracted(_))
}

fn target(event: &Event) -> Option<EventId> {
    if amends(event) { rows::target(event)?.parse().ok() } else { None }
}

/// The link that a merge or unmerge makes.
#[must_use]
pub fn link(event: &Event) -> Option<Link> {
    let (surviving, retired, merged) = rows::link(event)?;
    let h = event.header();
    let renumbered_by = match event {
        Event::PatientIdentifiersChanged(e) => e.authority.clone(),
        _ => None,
    };
    Some(Link {
        event_id: h.event_id,
        occurred_at: h.occurred_at,
        surviving: surviving.to_owned(),
        retired: retired.to_owned(),
        merged,
        renumbered_by,
    })
}

fn group(entries: &[Entry]) -> Vec<Journey> {
    let mut of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, e) in entries.iter().enumerate() {
        of.entry(&e.journey.journey).or_default().push(i);
    }
    let mut out: Vec<Journey> = of.into_iter().map(|(id, members)| journey(id, &members, entries)).collect();
    out.sort_by(|a, b| (a.first, &a.id).cmp(&(b.first, &b.id)));
    out
}

/// A journey's dates are those of the events that make it; an event that merely falls in or follows doesn't stretch it.
fn journey(id: &str, members: &[usize], entries: &[Entry]) -> Journey {
    let mut j = Journey {
        id: id.to_owned(),
        named: members.iter().any(|i| entries[*i].journey.rule == Rule::Explicit),
        first: None,
        last: None,
        sites: BTreeSet::new(),
        departments: BTreeSet::new(),
        stages: Stage::ALL
            .iter()
            .map(|s| StageOf { stage: *s, first: None, last: None, entries: Vec::new() })
            .collect(),
        other: Vec::new(),
        retracted: Vec::new(),
    };
    for i in members {
        let e = &entries[*i];
        if e.status == Status::Retracted {
            j.retracted.push(*i);
            continue;
        }
        let at = Some(e.occurred_at());
        if e.counts() {
            j.sites.extend(e.event.header().site.clone());
            j.departments.extend(e.event.header().department.clone());
            if matches!(e.journey.rule, Rule::Explicit | Rule::References | Rule::Loose) {
                j.first = j.first.or(at);
                j.last = j.last.max(at);
            }
        }
        match j.stages.iter_mut().find(|s| s.stage == e.event.kind().stage()) {
            Some(s) => {
                s.first = s.first.or(at);
                s.last = s.last.max(at);
                s.entries.push(*i);
            }
            None => j.other.push(*i),
        }
    }
    j
}

#[cfg(test)]
mod tests;
