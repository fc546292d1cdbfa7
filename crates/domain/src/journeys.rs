//! Journeys: which episode of care each event of a patient belongs to.
//!
//! One pure function, [`assign`], used by every view. It looks at a *set* of events: neither their order in the input nor
//! repetitions change the answer. The rule, first match wins:
//!
//! 1. [`Rule::Explicit`]: the publisher named the journey.
//! 2. [`Rule::References`]: the event shares a reference (appointment, encounter, referral, order, claim …), directly or
//!    over other events, with an event that names its journey; where several do, the earliest by (occurred_at, event_id).
//!    Where none does, the connected events are a journey of their own, and its id is the event id of the earliest.
//!    A group tied together by nothing but a question, a complaint or a follow-up item is no episode by itself: it
//!    goes, as one, where rules 3 to 5 put its earliest event.
//! 3. [`Rule::Within`]: the journey whose first and last event enclose the event; of several, the one that began last.
//! 4. [`Rule::Precedes`]: else the journey that begins next after it.
//! 5. [`Rule::Follows`]: else the journey that ended last before it.
//! 6. [`Rule::Loose`]: the patient has no journey at all: all such events are one, named after the earliest.
//!
//! First and last are taken over the events of rules 1 and 2. Ties are broken by the smaller journey id.
//! Callers pass events as they stand after corrections, and leave out retracted events and the corrections and retractions
//! themselves; a view that keeps fewer events than another may see another id for the same journey only under rules 2 and
//! 6, and both ids are event ids of that journey, by which it can be looked up.

use crate::event::RefKind;
use crate::{Event, EventId, Map, Micros};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What [`assign`] has to know of an event. `R` is `String` or `&str`.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a, R = &'a str> {
    /// Its id.
    pub event_id: EventId,
    /// When it happened.
    pub occurred_at: Micros,
    /// The journey that the publisher named.
    pub journey_id: Option<&'a str>,
    /// What links it to other events.
    pub references: &'a [(RefKind, R)],
}

/// Which rule put an event into its journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The publisher named it.
    Explicit,
    /// Tied to it by references.
    References,
    /// Happened between its first and its last event.
    Within,
    /// Happened before it, after all others had ended or before they began.
    Precedes,
    /// Happened after it, with none to follow.
    Follows,
    /// The patient has no journey that references or a name would make.
    Loose,
}

impl Rule {
    /// The name, as the read API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::References => "references",
            Self::Within => "within",
            Self::Precedes => "precedes",
            Self::Follows => "follows",
            Self::Loose => "loose",
        }
    }
}

/// Where an event belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Id of the journey.
    pub journey: String,
    /// The rule that put it there.
    pub rule: Rule,
}

/// The references of an event, for [`Item::references`].
#[must_use]
pub fn references(event: &Event) -> Vec<(RefKind, &str)> {
    let mut out = Vec::new();
    event.each_reference(|kind, id| out.push((kind, id)));
    out
}

/// Whether a reference of this kind makes an episode of care by itself.
const fn anchors(kind: RefKind) -> bool {
    match kind {
        RefKind::Appointment | RefKind::Claim | RefKind::Encounter | RefKind::Order | RefKind::Referral => true,
        RefKind::Complaint | RefKind::Item | RefKind::Question => false,
    }
}

/// Says for each item, in the input's order, which journey it belongs to. Time: O(n log n) in events and references.
///
/// ```
/// use journeylog_domain::{EventId, Micros, event::RefKind, journeys::{Item, Rule, assign}};
/// let id = |n| EventId(uuid::Uuid::from_u128(n));
/// let visit = [(RefKind::Appointment, "a1"), (RefKind::Encounter, "e1")];
/// let items = [
///     Item { event_id: id(1), occurred_at: Micros(10), journey_id: None, references: &visit[..1] },
///     Item { event_id: id(2), occurred_at: Micros(20), journey_id: None, references: &visit },
///     Item { event_id: id(3), occurred_at: Micros(15), journey_id: None, references: &[] },
/// ];
/// let placed = assign(&items);
/// assert!(placed.iter().all(|p| p.journey == id(1).to_string()));
/// assert_eq!(placed[2].rule, Rule::Within);
/// ```
#[must_use]
pub fn assign<R: AsRef<str>>(items: &[Item<'_, R>]) -> Vec<Placed> {
    let groups = groups(items);
    let mut placed: Vec<Option<Placed>> = vec![None; items.len()];
    let mut loose: Map<usize, Vec<usize>> = Map::default();
    for (i, item) in items.iter().enumerate() {
        let root = groups.root[i];
        placed[i] = match (item.journey_id, &groups.names[root]) {
            (Some(name), _) => Some(Placed { journey: name.to_owned(), rule: Rule::Explicit }),
            (None, Some(name)) => Some(Placed { journey: name.clone(), rule: Rule::References }),
            (None, None) => {
                loose.entry(root).or_default().push(i);
                None
            }
        };
    }
    if !loose.is_empty() {
        place_loose(items, &groups, &loose, &mut placed);
    }
    let nowhere = || Placed { journey: String::new(), rule: Rule::Loose };
    placed.into_iter().map(|p| p.unwrap_or_else(nowhere)).collect()
}

/// By item: the first one of its group; by that one: when the group begins, and the journey that references make of it.
struct Groups {
    root: Vec<usize>,
    earliest: Vec<(Micros, EventId)>,
    names: Vec<Option<String>>,
}

/// Union-find over shared references, and over repetitions of an event.
fn groups<R: AsRef<str>>(items: &[Item<'_, R>]) -> Groups {
    let mut parent: Vec<usize> = (0..items.len()).collect();
    let mut by_reference: Map<(RefKind, &str), usize> = Map::default();
    let mut by_id: Map<EventId, usize> = Map::with_capacity_and_hasher(items.len(), Default::default());
    for (i, item) in items.iter().enumerate() {
        union(&mut parent, *by_id.entry(item.event_id).or_insert(i), i);
        for (kind, id) in item.references {
            union(&mut parent, *by_reference.entry((*kind, id.as_ref())).or_insert(i), i);
        }
    }
    let root: Vec<usize> = (0..items.len()).map(|i| find(&mut parent, i)).collect();
    let mut earliest: Vec<_> = items.iter().map(|item| (item.occurred_at, item.event_id)).collect();
    let mut named: Vec<Option<(Micros, EventId, &str)>> = vec![None; items.len()];
    let mut anchored = vec![false; items.len()];
    for (item, root) in items.iter().zip(&root) {
        let at = (item.occurred_at, item.event_id);
        earliest[*root] = earliest[*root].min(at);
        anchored[*root] |= item.references.iter().any(|(kind, _)| anchors(*kind));
        if let Some(name) = item.journey_id {
            let this = (at.0, at.1, name);
            named[*root] = Some(named[*root].map_or(this, |n| n.min(this)));
        }
    }
    let name = |i: usize| match named[i] {
        Some((_, _, name)) => Some(name.to_owned()),
        None => (anchored[i] && root[i] == i).then(|| earliest[i].1.to_string()),
    };
    let names = (0..items.len()).map(name).collect();
    Groups { root, earliest, names }
}

fn find(parent: &mut [usize], mut i: usize) -> usize {
    while parent[i] != i {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    i
}

fn union(parent: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(parent, a), find(parent, b));
    if a < b {
        parent[b] = a;
    } else {
        parent[a] = b;
    }
}

/// First and last event of a journey.
struct Extent {
    first: Micros,
    last: Micros,
    journey: String,
}

fn extents<R>(items: &[Item<'_, R>], placed: &[Option<Placed>]) -> Vec<Extent> {
    let mut of: Map<&str, (Micros, Micros)> = Map::default();
    for (item, p) in items.iter().zip(placed).filter_map(|(i, p)| Some((i, p.as_ref()?))) {
        let e = of.entry(&p.journey).or_insert((item.occurred_at, item.occurred_at));
        *e = (e.0.min(item.occurred_at), e.1.max(item.occurred_at));
    }
    let mut out: Vec<Extent> =
        of.into_iter().map(|(j, (first, last))| Extent { first, last, journey: j.to_owned() }).collect();
    out.sort_by(|a, b| (a.first, &a.journey).cmp(&(b.first, &b.journey)));
    out
}

/// Rules 3 to 6: one sweep over journeys and loose groups in order of time.
fn place_loose<R>(
    items: &[Item<'_, R>],
    groups: &Groups,
    loose: &Map<usize, Vec<usize>>,
    placed: &mut [Option<Placed>],
) {
    let extents = extents(items, placed);
    let mut order: Vec<(Micros, EventId, usize)> =
        loose.keys().map(|root| (groups.earliest[*root].0, groups.earliest[*root].1, *root)).collect();
    order.sort_unstable();
    let ended_last = extents.iter().max_by_key(|e| (e.last, Reverse(&e.journey)));
    let mut begun = 0;
    let mut open: BinaryHeap<(Micros, Reverse<usize>)> = BinaryHeap::new();
    for (t, _, root) in &order {
        while begun < extents.len() && extents[begun].first <= *t {
            open.push((extents[begun].first, Reverse(begun)));
            begun += 1;
        }
        while open.peek().is_some_and(|(_, Reverse(e))| extents[*e].last < *t) {
            open.pop();
        }
        let within = open.peek().map(|(_, Reverse(e))| (&extents[*e], Rule::Within));
        let (journey, rule) = within
            .or_else(|| extents.get(begun).map(|e| (e, Rule::Precedes)))
            .or_else(|| ended_last.map(|e| (e, Rule::Follows)))
            .map_or_else(|| (order[0].1.to_string(), Rule::Loose), |(e, rule)| (e.journey.clone(), rule));
        for i in &loose[root] {
            placed[*i] = Some(Placed { journey: journey.clone(), rule });
        }
    }
}

#[cfg(test)]
mod tests;
