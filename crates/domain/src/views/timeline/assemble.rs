//! The timeline as it is read: order, corrections, retractions, merges, journeys and stages, from the set of stored events.
//!
//! All of it is a pure function of that set. What was known at an earlier time is the same function of the events recorded
//! until then.

use super::identity::{self, Identity, Link};
use super::rows;
use crate::event::{Event, Kind, Stage};
use crate::journeys::{self, Item, Placed, Rule};
use crate::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many corrections of corrections (or retractions of retractions) are followed.
const MAX_DEPTH: usize = 8;

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
        Some(Self { filed_under, partition, offset, event: read(json)? })
    }
}

/// Reads an event from its JSON form, as stored or as embedded in a correction. Fields of a later version are passed over,
/// so that a timeline can still be read after a step back.
#[must_use]
pub fn read(json: &str) -> Option<Event> {
    #[derive(serde::Deserialize)]
    struct Tag {
        r#type: String,
    }
    let kind = Kind::from_name(&serde_json::from_str::<Tag>(json).ok()?.r#type)?;
    Event::deserialize_record(kind, &mut serde_json::Deserializer::from_str(json)).ok()
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
    /// Whether it takes part in the state that is shown. A correction does not when a later one overrides it, when it was
    /// itself retracted, or when its replacement isn't an event of the same type and id.
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
    let book = Book::new(&stored);
    let identity = identity::resolve(&book.links(), asked);
    let mut entries: Vec<Entry> = (0..stored.len())
        .filter(|i| identity.members.contains(&stored[*i].filed_under))
        .map(|i| book.entry(i))
        .collect();
    if entries.is_empty() {
        return None;
    }
    entries.sort_by(|a, b| {
        (a.occurred_at(), a.event_id(), &a.filed_under).cmp(&(b.occurred_at(), b.event_id(), &b.filed_under))
    });
    place(&mut entries);
    let journeys = group(&entries);
    Some(Assembled { asked: asked.to_owned(), identity, entries, journeys })
}

/// The merges and unmerges among the events that stand, as corrected.
#[must_use]
pub fn links(mut stored: Vec<Stored>) -> Vec<Link> {
    tidy(&mut stored, None);
    Book::new(&stored).links()
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

/// The stored events, and what each correction and retraction is about.
struct Book<'a> {
    stored: &'a [Stored],
    about: HashMap<EventId, Vec<usize>>,
}

impl<'a> Book<'a> {
    fn new(stored: &'a [Stored]) -> Self {
        let mut about: HashMap<EventId, Vec<usize>> = HashMap::new();
        for (i, s) in stored.iter().enumerate() {
            if let Some(t) = target(&s.event) {
                about.entry(t).or_default().push(i);
            }
        }
        for amendments in about.values_mut() {
            amendments.sort_by_key(|i| (stored[*i].event.header().recorded_at, stored[*i].event.header().event_id));
        }
        Self { stored, about }
    }

    fn amendments(&self, id: EventId) -> &[usize] {
        self.about.get(&id).map_or(&[], Vec::as_slice)
    }

    fn id(&self, i: usize) -> EventId {
        self.stored[i].event.header().event_id
    }

    /// Whether a retraction that stands takes the event back.
    fn void(&self, id: EventId, depth: usize) -> bool {
        depth < MAX_DEPTH
            && self.amendments(id).iter().any(|r| {
                matches!(self.stored[*r].event, Event::EventRetracted(_)) && !self.void(self.id(*r), depth + 1)
            })
    }

    /// The correction that holds for event `i`, and what it puts in its place.
    fn correction(&self, i: usize, depth: usize) -> Option<(usize, Event)> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let original = &self.stored[i].event;
        self.amendments(self.id(i)).iter().rev().filter(|c| !self.void(self.id(**c), 0)).find_map(|c| {
            let Event::EventCorrected(e) = self.current(*c, depth + 1) else { return None };
            let event = read(&e.replacement.0)?;
            let same = event.kind() == original.kind() && event.header().event_id == original.header().event_id;
            same.then_some((*c, event))
        })
    }

    /// The event as it holds, corrections applied.
    fn current(&self, i: usize, depth: usize) -> Event {
        self.correction(i, depth).map_or_else(|| self.stored[i].event.clone(), |(_, e)| e)
    }

    /// The merges and unmerges that stand.
    fn links(&self) -> Vec<Link> {
        (0..self.stored.len())
            .filter(|i| rows::link(&self.stored[*i].event).is_some() && !self.void(self.id(*i), 0))
            .filter_map(|i| link(&self.current(i, 0)))
            .collect()
    }

    fn entry(&self, i: usize) -> Entry {
        let s = &self.stored[i];
        let void = self.void(self.id(i), 0);
        // A retraction wins over corrections: what was taken back is shown as it was published.
        let correction = if void { None } else { self.correction(i, 0) };
        let (mut corrections, mut retractions) = (Vec::new(), Vec::new());
        for a in self.amendments(self.id(i)) {
            let h = self.stored[*a].event.header();
            let amendment = |reason: &str, in_force| Amendment {
                event_id: h.event_id,
                recorded_at: h.recorded_at,
                reason: reason.to_owned(),
                in_force,
            };
            if let Event::EventCorrected(e) = &self.stored[*a].event {
                corrections.push(amendment(&e.reason, correction.as_ref().is_some_and(|(c, _)| c == a)));
            }
            if let Event::EventRetracted(e) = &self.stored[*a].event {
                retractions.push(amendment(&e.reason, !self.void(h.event_id, 0)));
            }
        }
        let (event, original) = match correction {
            Some((_, event)) => (event, Some(s.event.clone())),
            None => (s.event.clone(), None),
        };
        let status = match (void, &original) {
            (true, _) => Status::Retracted,
            (false, Some(_)) => Status::Corrected,
            (false, None) => Status::Normal,
        };
        Entry {
            event,
            original,
            status,
            corrections,
            retractions,
            filed_under: s.filed_under.clone(),
            partition: s.partition,
            offset: s.offset,
            journey: Placed { journey: String::new(), rule: Rule::Loose },
        }
    }
}

/// The link that a merge or unmerge makes.
#[must_use]
pub fn link(event: &Event) -> Option<Link> {
    let (surviving, retired, merged) = rows::link(event)?;
    let h = event.header();
    Some(Link {
        event_id: h.event_id,
        occurred_at: h.occurred_at,
        surviving: surviving.to_owned(),
        retired: retired.to_owned(),
        merged,
    })
}

/// Places each entry: those that count by [`journeys::assign`]; a retracted one where it would have been, without moving the
/// others; a correction or retraction with what it is about.
fn place(entries: &mut [Entry]) {
    let ids: BTreeMap<EventId, usize> = entries.iter().enumerate().map(|(i, e)| (e.event_id(), i)).collect();
    let about = |i: usize| target(&entries[i].event).and_then(|t| ids.get(&t).copied());
    let of_its_own: Vec<usize> = (0..entries.len()).filter(|i| about(*i).is_none()).collect();
    let standing: Vec<usize> = of_its_own.iter().copied().filter(|i| entries[*i].status != Status::Retracted).collect();
    let mut placed: BTreeMap<usize, Placed> = standing.iter().copied().zip(assign(entries, &standing)).collect();
    if standing.len() < of_its_own.len() {
        let as_published: Vec<(usize, Placed)> = of_its_own.iter().copied().zip(assign(entries, &of_its_own)).collect();
        let mut now: HashMap<&str, &str> = HashMap::new();
        for (i, was) in &as_published {
            if let Some(is) = placed.get(i) {
                now.entry(&was.journey).or_insert(&is.journey);
            }
        }
        let mut retracted = Vec::new();
        for (i, was) in as_published.iter().filter(|(i, _)| !placed.contains_key(i)) {
            let named = was.rule == Rule::Explicit;
            let journey =
                if named { &was.journey } else { *now.get(was.journey.as_str()).unwrap_or(&was.journey.as_str()) };
            retracted.push((*i, Placed { journey: journey.to_owned(), rule: was.rule }));
        }
        placed.extend(retracted);
    }
    let with_target: Vec<(usize, usize)> = (0..entries.len()).filter_map(|i| Some((i, about(i)?))).collect();
    for (i, mut at) in with_target {
        for _ in 0..MAX_DEPTH {
            at = about(at).unwrap_or(at);
        }
        if let Some(p) = placed.get(&at) {
            let p = Placed { journey: p.journey.clone(), rule: Rule::References };
            placed.insert(i, p);
        }
    }
    for (i, e) in entries.iter_mut().enumerate() {
        // Amendments that are about each other in a circle have no place but their own.
        let own = || Placed { journey: e.event_id().to_string(), rule: Rule::Loose };
        e.journey = placed.remove(&i).unwrap_or_else(own);
    }
}

fn assign(entries: &[Entry], which: &[usize]) -> Vec<Placed> {
    let references: Vec<_> = which.iter().map(|i| journeys::references(&entries[*i].event)).collect();
    let items: Vec<Item<'_, &str>> = which
        .iter()
        .zip(&references)
        .map(|(i, references)| {
            let h = entries[*i].event.header();
            Item { event_id: h.event_id, occurred_at: h.occurred_at, journey_id: h.journey_id.as_deref(), references }
        })
        .collect();
    journeys::assign(&items)
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
