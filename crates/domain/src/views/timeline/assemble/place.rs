//! Which journey each entry is shown in.

use super::{Entry, amends, target};
use crate::EventId;
use crate::amendments::MOST_STEPS;
use crate::journeys::{self, Item, Placed, Rule};
use std::collections::{BTreeMap, HashMap};

/// Places each entry: those that count by [`journeys::assign`]; a retracted one where it would have been, without moving the
/// others; a correction or retraction with what it is about, and where that isn't known, as a retracted one.
pub(super) fn place(entries: &mut [Entry]) {
    let ids: BTreeMap<EventId, usize> = entries.iter().enumerate().map(|(i, e)| (e.event_id(), i)).collect();
    let about = |i: usize| target(&entries[i].event).and_then(|t| ids.get(&t).copied());
    let all = || 0..entries.len();
    let standing: Vec<usize> = all().filter(|i| entries[*i].counts()).collect();
    let retracted: Vec<usize> = all().filter(|i| !amends(&entries[*i].event) && !entries[*i].counts()).collect();
    let about_nothing: Vec<usize> = all().filter(|i| amends(&entries[*i].event) && about(*i).is_none()).collect();
    let mut placed: BTreeMap<usize, Placed> = standing.iter().copied().zip(assign(entries, &standing)).collect();
    let aside = [retracted, about_nothing].map(|others| beside(entries, &standing, &placed, &others));
    placed.extend(aside.into_iter().flatten());
    let with_target: Vec<(usize, usize)> = (0..entries.len()).filter_map(|i| Some((i, about(i)?))).collect();
    for (i, mut at) in with_target {
        for _ in 0..MOST_STEPS {
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

/// Where `others` would be if they stood too. What stands keeps its place.
fn beside(
    entries: &[Entry],
    standing: &[usize],
    placed: &BTreeMap<usize, Placed>,
    others: &[usize],
) -> Vec<(usize, Placed)> {
    if others.is_empty() {
        return Vec::new();
    }
    let together = [standing, others].concat();
    let with_others = assign(entries, &together);
    let mut now: HashMap<&str, &str> = HashMap::new();
    for (i, was) in standing.iter().zip(&with_others) {
        now.entry(&was.journey).or_insert(&placed[i].journey);
    }
    let place = |(i, was): (&usize, &Placed)| {
        let is = now.get(was.journey.as_str()).filter(|_| was.rule != Rule::Explicit);
        (*i, Placed { journey: is.map_or_else(|| was.journey.clone(), |is| (*is).to_owned()), rule: was.rule })
    };
    others.iter().zip(&with_others[standing.len()..]).map(place).collect()
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
