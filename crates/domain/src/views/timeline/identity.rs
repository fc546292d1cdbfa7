//! Who is who: pseudonyms that were merged, resolved when a view is read.
//!
//! A merge moves nothing and an unmerge undoes nothing: both are links with a date. Per pair of pseudonyms the latest link by
//! (occurred_at, event_id) holds, whichever way it points. A pseudonym whose number was changed more than once by one authority
//! belongs to the last of these: nobody has two numbers of one authority, and two patients are not one for a correction. What
//! holds makes groups; a group answers under the pseudonym that survived.

use crate::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// A merge or an unmerge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The event that says so.
    pub event_id: EventId,
    /// When it happened.
    pub occurred_at: Micros,
    /// The pseudonym that survives.
    pub surviving: String,
    /// The pseudonym that retires.
    pub retired: String,
    /// True for a merge, false for an unmerge.
    pub merged: bool,
    /// For a changed number, and no merge of two records: the authority of the present one, where it is told.
    pub renumbered_by: Option<String>,
}

/// The pseudonyms of one patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The pseudonym under which the patient is known now.
    pub patient_id: String,
    /// All pseudonyms of the patient, that one included.
    pub members: BTreeSet<String>,
}

impl Identity {
    /// The pseudonyms that were merged into the present one.
    #[must_use]
    pub fn merged_from(&self) -> Vec<String> {
        self.members.iter().filter(|m| **m != self.patient_id).cloned().collect()
    }
}

/// Says who `asked` is, by those of `links` that hold. Order and repetition of the links don't matter.
#[must_use]
pub fn resolve(links: &[Link], asked: &str) -> Identity {
    let mut latest: BTreeMap<(&str, &str), &Link> = BTreeMap::new();
    for l in links {
        let (a, b) = (l.surviving.as_str(), l.retired.as_str());
        let known = latest.entry((a.min(b), a.max(b))).or_insert(l);
        if (l.occurred_at, l.event_id) > (known.occurred_at, known.event_id) {
            *known = l;
        }
    }
    let mut holds: Vec<&Link> = latest.into_values().filter(|l| l.merged).collect();
    let mut now: BTreeMap<(&str, &str), (Micros, EventId)> = BTreeMap::new();
    for l in &holds {
        let Some(authority) = &l.renumbered_by else { continue };
        let last = now.entry((&l.retired, authority)).or_insert((l.occurred_at, l.event_id));
        *last = (*last).max((l.occurred_at, l.event_id));
    }
    holds.retain(|l| {
        let last = l.renumbered_by.as_deref().and_then(|authority| now.get(&(l.retired.as_str(), authority)));
        last.is_none_or(|last| *last == (l.occurred_at, l.event_id))
    });
    let members = reach(holds.iter().map(|l| (l.surviving.as_str(), l.retired.as_str())), asked);
    let inside: Vec<&Link> = holds.into_iter().filter(|l| members.contains(&l.surviving)).collect();
    let retired: BTreeSet<&str> = inside.iter().map(|l| l.retired.as_str()).collect();
    // The survivor that never retired; of several (or of none, in a circle) the one that the latest link names.
    let survivor = inside
        .iter()
        .max_by_key(|l| (!retired.contains(l.surviving.as_str()), l.occurred_at, l.event_id))
        .map_or(asked, |l| l.surviving.as_str());
    Identity { patient_id: survivor.to_owned(), members }
}

/// All that can be reached from `start` over the pairs, either way.
#[must_use]
pub fn reach<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, start: &str) -> BTreeSet<String> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (a, b) in pairs {
        next.entry(a).or_default().push(b);
        next.entry(b).or_default().push(a);
    }
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut todo = vec![start];
    while let Some(at) = todo.pop() {
        for n in next.get(at).into_iter().flatten() {
            if seen.insert((*n).to_owned()) {
                todo.push(n);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(n: u128, at: i64, surviving: &str, retired: &str, merged: bool) -> Link {
        let event_id = EventId(uuid::Uuid::from_u128(n));
        let (surviving, retired) = (surviving.into(), retired.into());
        Link { event_id, occurred_at: Micros(at), surviving, retired, merged, renumbered_by: None }
    }

    fn renumbered(n: u128, at: i64, surviving: &str, retired: &str, by: &str) -> Link {
        Link { renumbered_by: Some(by.into()), ..link(n, at, surviving, retired, true) }
    }

    fn who(links: &[Link], asked: &str) -> (String, Vec<String>) {
        let i = resolve(links, asked);
        (i.patient_id.clone(), i.merged_from())
    }

    fn strings(v: &[&str]) -> Vec<String> {
        v.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn merges_are_transitive() {
        let links = [link(1, 1, "b", "a", true), link(2, 2, "c", "b", true), link(3, 3, "y", "x", true)];
        for asked in ["a", "b", "c"] {
            assert_eq!(who(&links, asked), ("c".into(), strings(&["a", "b"])));
        }
        assert_eq!(who(&links, "z"), ("z".into(), vec![]));
    }

    #[test]
    fn the_latest_of_a_pair_wins_and_an_unmerge_leaves_the_rest() {
        let links = [
            link(3, 3, "b", "a", false),
            link(1, 1, "b", "a", true),
            link(2, 2, "c", "b", true),
            link(4, 4, "c", "d", true),
        ];
        assert_eq!(who(&links, "a"), ("a".into(), vec![]));
        assert_eq!(who(&links, "b"), ("c".into(), strings(&["b", "d"])));
    }

    #[test]
    fn merged_again_the_other_way_round() {
        let links = [link(1, 1, "b", "a", true), link(2, 2, "b", "a", false), link(3, 3, "a", "b", true)];
        assert_eq!(who(&links, "b"), ("a".into(), strings(&["b"])));
    }

    #[test]
    fn a_corrected_number_makes_no_one_of_two_patients() {
        // The server's patient s was known by a's number, which was wrong: it is b's.
        let links = [renumbered(1, 1, "a", "s", "main"), renumbered(2, 2, "b", "s", "main")];
        assert_eq!((who(&links, "a"), who(&links, "s")), (("a".into(), vec![]), ("b".into(), strings(&["s"]))));
        // Numbers of two authorities are both right, and so is what names none; a merge stays one.
        let both = [renumbered(1, 1, "a", "s", "main"), renumbered(2, 2, "n", "s", "national")];
        assert_eq!(who(&both, "a").1.len(), 2);
        let merged = [links[0].clone(), links[1].clone(), link(3, 3, "b", "a", true)];
        assert_eq!(who(&merged, "a"), ("b".into(), strings(&["a", "s"])));
    }

    #[test]
    fn a_circle_has_an_end() {
        let links = [link(1, 1, "b", "a", true), link(2, 2, "c", "b", true), link(3, 3, "a", "c", true)];
        assert_eq!(who(&links, "b"), ("a".into(), strings(&["b", "c"])));
    }

    proptest! {
        #[test]
        fn every_member_gets_the_same_answer_in_any_order(
            links in prop::collection::vec((0u128..30, 0i64..10, 0u8..6, 0u8..6, 0u8..4), 0..15).prop_map(|v| {
                v.into_iter()
                    .filter(|(_, _, a, b, _)| a != b)
                    .enumerate()
                    .map(|(i, (_, at, a, b, kind))| {
                        let (n, a, b) = (i as u128, a.to_string(), b.to_string());
                        if kind > 1 { renumbered(n, at, &a, &b, &kind.to_string()) } else { link(n, at, &a, &b, kind == 0) }
                    })
                    .collect::<Vec<_>>()
            }),
            seed in 0usize..100,
        ) {
            let mut other = links.clone();
            other.extend(links.iter().cloned());
            let n = other.len().max(1);
            other.rotate_left(seed % n);
            other.reverse();
            let id = resolve(&links, "0");
            for m in &id.members {
                prop_assert_eq!(&resolve(&other, m), &id);
            }
        }
    }
}
