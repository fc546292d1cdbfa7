//! Touchpoints: which events of a patient make one contact with the hospital.
//!
//! A touchpoint is a kind and a subject: scheduling per appointment, check-in per visit, consult and stay per encounter,
//! continuation per referral, follow-up per encounter, billing per claim. A visit is its encounter; an appointment stands for
//! the encounter that some event names beside it. An event without the reference that it would need goes to the touchpoint
//! of its kind in the same journey that began last before it, else to the one that begins next, else it is one by itself.

use super::facts::{Answer, Fact, What};
pub(super) use super::kind::Subject;
pub(super) use super::kind::TouchKind;
use super::kind::single;
use super::resolve::Ev;
use crate::Map;
use crate::event::RefKind;
use std::collections::{BTreeMap, BTreeSet};

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

/// What is known of visits before events are put anywhere.
struct Visits<'a> {
    encounter_of: Map<&'a str, &'a str>,
    /// When each stay began.
    stays: Map<&'a str, i64>,
    consults: BTreeSet<&'a str>,
    asked: Map<&'a str, &'a Fact>,
}

impl<'a> Visits<'a> {
    fn of(events: &[Ev<'a>]) -> Self {
        let mut v = Self {
            encounter_of: Map::default(),
            stays: Map::default(),
            consults: BTreeSet::new(),
            asked: Map::default(),
        };
        for e in events {
            let encounter = e.fact.reference(RefKind::Encounter);
            if let (Some(appointment), Some(encounter)) = (e.fact.reference(RefKind::Appointment), encounter) {
                v.encounter_of.entry(appointment).or_insert(encounter);
            }
            match (&e.fact.what, encounter) {
                (What::Stay | What::Discharged, Some(id)) => {
                    v.stays.entry(id).or_insert(e.fact.at);
                }
                (What::AdmissionCancelled, Some(id)) => {
                    v.stays.remove(id);
                }
                (What::ConsultStarted | What::ConsultEnded { .. }, Some(id)) => {
                    v.consults.insert(id);
                }
                (What::Asked, _) => {
                    if let Some(question) = e.fact.reference(RefKind::Question) {
                        v.asked.entry(question).or_insert(e.fact);
                    }
                }
                _ => {}
            }
        }
        v
    }

    fn visit(&self, fact: &'a Fact) -> Option<Subject<'a>> {
        let appointment = fact.reference(RefKind::Appointment);
        let encounter =
            fact.reference(RefKind::Encounter).or_else(|| appointment.and_then(|a| self.encounter_of.get(a).copied()));
        encounter
            .map(|e| Subject::Reference(RefKind::Encounter, e))
            .or_else(|| appointment.map(|a| Subject::Reference(RefKind::Appointment, a)))
    }

    /// Consult or stay: what happens during an encounter belongs to the consult until the patient is admitted.
    fn service(&self, subject: Subject<'a>, at: i64) -> Key<'a> {
        let stay = match subject {
            Subject::Reference(RefKind::Encounter, id) => {
                self.stays.get(id).is_some_and(|admitted| at >= *admitted || !self.consults.contains(id))
            }
            _ => false,
        };
        (if stay { TouchKind::Stay } else { TouchKind::Consult }, subject)
    }

    /// The kinds that an event can belong to, and its touchpoint where its references say so.
    fn home(&self, fact: &'a Fact) -> (&'static [TouchKind], Option<Key<'a>>) {
        let by = |kind, reference| fact.reference(reference).map(|id| (kind, Subject::Reference(reference, id)));
        let service = |subject: Option<Subject<'a>>| subject.map(|s| self.service(s, fact.at));
        match &fact.what {
            What::Requested { .. }
            | What::Booked { .. }
            | What::Rescheduled { .. }
            | What::Cancelled { .. }
            | What::Confirmed
            | What::Friction { .. }
            | What::Scheduling => (&[TouchKind::Scheduling], by(TouchKind::Scheduling, RefKind::Appointment)),
            What::CheckedIn
            | What::CheckIn
            | What::Questionnaire { .. }
            | What::WaitTold { .. }
            | What::RepeatQuestion => (&[TouchKind::CheckIn], self.visit(fact).map(|s| (TouchKind::CheckIn, s))),
            What::ConsultStarted | What::ConsultEnded { .. } => {
                (&[TouchKind::Consult], self.visit(fact).map(|s| (TouchKind::Consult, s)))
            }
            What::Answered => {
                let asked = fact.reference(RefKind::Question).and_then(|q| self.asked.get(q));
                let home = asked.and_then(|f| self.home(f).1).or_else(|| service(self.visit(fact)));
                (&[TouchKind::Consult, TouchKind::Stay], home)
            }
            What::Service
            | What::Asked
            | What::Options { .. }
            | What::NextSteps
            | What::Dignity { .. }
            | What::Checklist { .. }
            | What::Aftercare { .. } => (&[TouchKind::Consult, TouchKind::Stay], service(self.visit(fact))),
            What::Stay | What::Discharged | What::DischargeCancelled => {
                (&[TouchKind::Stay], service(self.visit(fact)).filter(|(k, _)| *k == TouchKind::Stay))
            }
            What::ReferralMade
            | What::Referral
            | What::ReferralBooked
            | What::ReferralCompleted
            | What::ReferralLost
            | What::ReferralCancelled => (&[TouchKind::Continuation], by(TouchKind::Continuation, RefKind::Referral)),
            What::Attempt | What::Call { .. } => (&[TouchKind::FollowUp], by(TouchKind::FollowUp, RefKind::Encounter)),
            What::Charge | What::Bill | What::Rework { .. } | What::Disputed | What::DisputeResolved { .. } => {
                (&[TouchKind::Billing], by(TouchKind::Billing, RefKind::Claim))
            }
            What::Feedback(answer) => self.answered(fact, answer),
            What::Complaint { .. } | What::ComplaintResolved { .. } => {
                let claim = by(TouchKind::Billing, RefKind::Claim);
                (&TouchKind::ALL, claim.or_else(|| service(self.visit(fact))))
            }
            What::Link
            | What::AdmissionCancelled
            | What::Pulse(_)
            | What::Corrected { .. }
            | What::Retracted { .. } => (&[], None),
        }
    }

    fn answered(&self, fact: &'a Fact, answer: &Answer) -> (&'static [TouchKind], Option<Key<'a>>) {
        let by = |kind, reference| fact.reference(reference).map(|id| (kind, Subject::Reference(reference, id)));
        let kind = answer.touchpoint.as_deref().and_then(TouchKind::from_name);
        let key = match kind {
            Some(k @ TouchKind::Scheduling) => by(k, RefKind::Appointment),
            Some(k @ (TouchKind::CheckIn | TouchKind::Consult | TouchKind::Stay)) => {
                self.visit(fact).map(|subject| (k, subject))
            }
            Some(TouchKind::Continuation) => None,
            Some(k @ TouchKind::FollowUp) => by(k, RefKind::Encounter),
            Some(k @ TouchKind::Billing) => by(k, RefKind::Claim),
            None => by(TouchKind::Billing, RefKind::Claim)
                .or_else(|| self.visit(fact).map(|subject| self.service(subject, fact.at))),
        };
        (kind.map_or(&TouchKind::ALL, single), key)
    }
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
        let homes: Vec<_> =
            events.iter().map(|e| if e.fact.patient { visits.home(e.fact) } else { (&[][..], None) }).collect();
        t.put_where(events, &homes, |w| !about(w));
        t.put_loose(events, &homes, |w| !about(w));
        t.put_where(events, &homes, |w| matches!(w, What::Feedback(_)));
        t.put_loose(events, &homes, |w| matches!(w, What::Feedback(_)));
        t.put_complaints(events, &homes);
        for touch in t.all.values_mut() {
            touch.own.sort_unstable();
            touch.answers.sort_unstable();
        }
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
