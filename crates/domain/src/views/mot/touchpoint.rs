//! Touchpoints: which events of a patient make one contact with the hospital.
//!
//! A touchpoint is a kind and a subject: scheduling per appointment, check-in per visit, consult and stay per encounter,
//! continuation per referral, follow-up per encounter, billing per claim. A visit is its encounter; an appointment stands for
//! the encounter that some event names beside it. An event without the reference that it would need goes to the touchpoint
//! of its kind in the same journey that began last before it, else to the one that begins next, else it is one by itself.

mod visits;

use super::facts::{Answer, What};
pub(super) use super::kind::Subject;
pub(super) use super::kind::TouchKind;
use super::resolve::Ev;
use crate::event::RefKind;
use crate::{EventId, Map};
use std::collections::BTreeMap;
use visits::Visits;

pub(super) type Key<'a> = (TouchKind, Subject<'a>);

/// The events of a touchpoint, as places in the patient's events.
#[derive(Debug, Default)]
pub(super) struct Touch {
    /// What happened, in order of occurrence.
    pub own: Vec<usize>,
    /// What was answered about it.
    pub answers: Vec<usize>,
    /// Complaints about it, and how they ended.
    pub complaints: Vec<usize>,
}

impl Touch {
    /// The event that says when, where and in which journey: the first of its own, else the first answer.
    pub fn anchor(&self) -> Option<usize> {
        self.own.first().or(self.answers.first()).copied()
    }

    /// The last thing that happened.
    pub fn end(&self) -> Option<usize> {
        self.own.last().or(self.answers.first()).copied()
    }
}

/// A patient's touchpoints, with what measuring them needs of the other events.
pub(super) struct Touches<'a> {
    pub all: BTreeMap<Key<'a>, Touch>,
    /// When and how a visit began: the first `ConsultStarted`.
    pub started: Map<Subject<'a>, usize>,
    /// Ends of consults and stays by encounter, in order of occurrence.
    pub ended: Map<Subject<'a>, Vec<usize>>,
    /// Where each event went.
    pub home: Vec<Option<Key<'a>>>,
}

/// Where touchpoints lie in time, for events that say too little.
struct Places<'e, 'a>(Vec<(i64, Key<'a>, &'e str)>);

impl<'e, 'a> Places<'e, 'a> {
    fn of(all: &BTreeMap<Key<'a>, Touch>, events: &'e [Ev<'a>]) -> Self {
        let mut places: Vec<_> = all
            .iter()
            .filter_map(|(key, touch)| touch.anchor().map(|i| (events[i].fact.at, *key, &*events[i].journey)))
            .collect();
        places.sort();
        Self(places)
    }

    fn nearest(&self, e: &Ev<'a>, kinds: &[TouchKind]) -> Option<Key<'a>> {
        let fits = |(_, key, journey): &&(i64, Key<'a>, &str)| kinds.contains(&key.0) && **journey == e.journey;
        let before = self.0.iter().rev().filter(|p| p.0 <= e.fact.at).find(fits);
        before.or_else(|| self.0.iter().filter(|p| p.0 > e.fact.at).find(fits)).map(|p| p.1)
    }
}

impl<'a> Touches<'a> {
    /// Puts the events (in order of occurrence) into touchpoints.
    pub fn of(events: &[Ev<'a>]) -> Self {
        let visits = Visits::of(events);
        let mut t = Self {
            all: BTreeMap::new(),
            started: Map::default(),
            ended: Map::default(),
            home: vec![None; events.len()],
        };
        let holding = links(events);
        let counts = |e: &Ev<'_>| e.fact.patient && linked(e).is_none_or(|answer| holding[answer].1 == e.id);
        let homes: Vec<_> =
            events.iter().map(|e| if counts(e) { visits.home(e.fact) } else { (&[][..], None) }).collect();
        t.put_where(events, &homes, |w| !about(w));
        t.put_loose(events, &homes, |w| !about(w));
        t.put_where(events, &homes, |w| matches!(w, What::Feedback(_)));
        t.put_loose(events, &homes, |w| matches!(w, What::Feedback(_)));
        t.put_complaints(events, &homes);
        t.note_visits(events, &visits);
        t
    }

    fn put(&mut self, i: usize, key: Key<'a>, answer: bool) {
        let touch = self.all.entry(key).or_default();
        if answer { &mut touch.answers } else { &mut touch.own }.push(i);
        self.home[i] = Some(key);
    }

    fn put_where(&mut self, events: &[Ev<'a>], homes: &[Home<'a>], pick: impl Fn(&What) -> bool) {
        for (i, e) in events.iter().enumerate() {
            if let (true, Some(key)) = (pick(&e.fact.what), homes[i].1) {
                self.put(i, key, about(&e.fact.what));
            }
        }
    }

    fn put_loose(&mut self, events: &[Ev<'a>], homes: &[Home<'a>], pick: impl Fn(&What) -> bool) {
        let loose: Vec<usize> = (0..events.len())
            .filter(|i| !homes[*i].0.is_empty() && homes[*i].1.is_none() && pick(&events[*i].fact.what))
            .collect();
        if loose.is_empty() {
            return;
        }
        let places = Places::of(&self.all, events);
        for i in loose {
            let e = &events[i];
            let kinds = homes[i].0;
            let visit = || {
                let (_, subject) = places.nearest(e, &[TouchKind::Consult, TouchKind::Stay])?;
                (kinds == [TouchKind::FollowUp]).then_some((TouchKind::FollowUp, subject))
            };
            let alone = || (if kinds.len() == 1 { kinds[0] } else { TouchKind::Consult }, Subject::Event(e.id));
            let key = places.nearest(e, kinds).or_else(visit).unwrap_or_else(alone);
            self.put(i, key, about(&e.fact.what));
        }
        for touch in self.all.values_mut() {
            touch.own.sort_unstable();
            touch.answers.sort_unstable();
        }
    }

    /// A complaint makes no touchpoint; its resolution goes where the complaint went.
    fn put_complaints(&mut self, events: &[Ev<'a>], homes: &[Home<'a>]) {
        let complaints: Vec<usize> = (0..events.len())
            .filter(|i| matches!(events[*i].fact.what, What::Complaint { .. } | What::ComplaintResolved { .. }))
            .collect();
        if complaints.is_empty() {
            return;
        }
        let places = Places::of(&self.all, events);
        let filed: Map<&str, usize> = complaints
            .iter()
            .rev()
            .filter(|i| matches!(events[**i].fact.what, What::Complaint { .. }))
            .filter_map(|i| events[*i].fact.reference(RefKind::Complaint).map(|id| (id, *i)))
            .collect();
        for i in complaints {
            let id = events[i].fact.reference(RefKind::Complaint);
            let source = id.and_then(|id| filed.get(id)).copied().unwrap_or(i);
            let key = homes[source]
                .1
                .filter(|key| self.all.contains_key(key))
                .or_else(|| places.nearest(&events[source], &TouchKind::ALL));
            if let Some(touch) = key.and_then(|key| self.all.get_mut(&key)) {
                touch.complaints.push(i);
                self.home[i] = key;
            }
        }
    }

    fn note_visits(&mut self, events: &[Ev<'a>], visits: &Visits<'a>) {
        for (i, e) in events.iter().enumerate() {
            let Some(subject) = visits.visit(e.fact) else { continue };
            match e.fact.what {
                What::ConsultStarted => {
                    self.started.entry(subject).or_insert(i);
                }
                What::ConsultEnded { .. } | What::Discharged => self.ended.entry(subject).or_default().push(i),
                What::DischargeCancelled => {
                    if let Some(ends) = self.ended.get_mut(&subject) {
                        ends.retain(|end| !matches!(events[*end].fact.what, What::Discharged));
                    }
                }
                _ => {}
            }
        }
    }
}

type Home<'a> = (&'static [TouchKind], Option<Key<'a>>);

/// Whether an event is about a touchpoint rather than a part of it.
const fn about(what: &What) -> bool {
    matches!(what, What::Feedback(_) | What::Complaint { .. } | What::ComplaintResolved { .. })
}

/// The anonymous answer that an event repeats.
const fn linked<'e>(e: &'e Ev<'_>) -> Option<&'e [u8; 16]> {
    match &e.fact.what {
        What::Feedback(Answer { linked, .. }) => linked.as_ref(),
        _ => None,
    }
}

/// Of each linked answer the link that holds: the latest by (recorded_at, event_id), as with corrections.
fn links<'e>(events: &'e [Ev<'_>]) -> Map<&'e [u8; 16], (i64, EventId)> {
    let mut holding = Map::default();
    for (e, answer) in events.iter().filter_map(|e| Some((e, linked(e)?))) {
        let this = (e.fact.recorded_at(), e.id);
        holding.entry(answer).and_modify(|h| *h = this.max(*h)).or_insert(this);
    }
    holding
}
