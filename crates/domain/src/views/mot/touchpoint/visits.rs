//! What references say about which touchpoint an event belongs to.

use super::Key;
use crate::Map;
use crate::event::RefKind;
use crate::views::mot::facts::{Answer, Fact, What};
use crate::views::mot::kind::{Subject, TouchKind, single};
use crate::views::mot::resolve::Ev;

/// The consults of an encounter.
#[derive(Default)]
struct Consults {
    /// From when to when. One of which only the end is known is over as it begins.
    spans: Vec<(i64, i64)>,
    /// Began, and has not ended yet.
    started: Option<i64>,
}

impl Consults {
    fn end(&mut self, at: i64) {
        self.spans.push((self.started.take().unwrap_or(at), at));
    }

    fn under_way(&self, at: i64) -> bool {
        self.spans.iter().any(|(from, to)| (*from..=*to).contains(&at))
    }
}

/// What is known of visits before events are put anywhere.
pub(super) struct Visits<'a> {
    encounter_of: Map<&'a str, &'a str>,
    /// When each stay began.
    stays: Map<&'a str, i64>,
    consults: Map<&'a str, Consults>,
    asked: Map<&'a str, &'a Fact>,
}

impl<'a> Visits<'a> {
    pub fn of(events: &[Ev<'a>]) -> Self {
        let mut v = Self {
            encounter_of: Map::default(),
            stays: Map::default(),
            consults: Map::default(),
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
                (What::ConsultStarted, Some(id)) => v.consults.entry(id).or_default().started = Some(e.fact.at),
                (What::ConsultEnded { .. }, Some(id)) => v.consults.entry(id).or_default().end(e.fact.at),
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

    pub fn visit(&self, fact: &'a Fact) -> Option<Subject<'a>> {
        let appointment = fact.reference(RefKind::Appointment);
        let encounter =
            fact.reference(RefKind::Encounter).or_else(|| appointment.and_then(|a| self.encounter_of.get(a).copied()));
        encounter
            .map(|e| Subject::Reference(RefKind::Encounter, e))
            .or_else(|| appointment.map(|a| Subject::Reference(RefKind::Appointment, a)))
    }

    /// Whether the patient had been admitted by then; an encounter without a consult is all stay.
    fn admitted(&self, encounter: &str, at: i64) -> bool {
        self.stays.get(encounter).is_some_and(|admitted| at >= *admitted || !self.consults.contains_key(encounter))
    }

    /// Consult or stay: what happens during an encounter belongs to the consult until the patient is admitted, and from then
    /// on while a consult is under way.
    fn service(&self, subject: Subject<'a>, at: i64) -> Key<'a> {
        let stay = match subject {
            Subject::Reference(RefKind::Encounter, id) => {
                self.admitted(id, at) && !self.consults.get(id).is_some_and(|c| c.under_way(at))
            }
            _ => false,
        };
        (if stay { TouchKind::Stay } else { TouchKind::Consult }, subject)
    }

    /// The kinds that an event can belong to, and its touchpoint where its references say so.
    pub fn home(&self, fact: &'a Fact) -> (&'static [TouchKind], Option<Key<'a>>) {
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
                let encounter = fact.reference(RefKind::Encounter).filter(|id| self.admitted(id, fact.at));
                (&[TouchKind::Stay], encounter.map(|id| (TouchKind::Stay, Subject::Reference(RefKind::Encounter, id))))
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
