//! What of a patient's facts stands, and the items that it opens.

use super::facts::{Fact, Place, What};
use super::item::{ItemKind, Trigger};
use super::rules;
use crate::EventId;
use crate::amendments::Amendments;
use crate::event::Severity;
use crate::facts::Facts;
use std::borrow::Cow;

/// What identifies an item of a patient.
pub type Key<'a> = (ItemKind, Cow<'a, str>);

/// The subject of every booking friction: the next booking, whichever it will be.
pub const NEXT_BOOKING: &str = "booking";
/// The kind of recall that a consult asks for.
pub const RE_EXAM: &str = "re_exam";

/// A fact as corrections and retractions leave it.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub id: EventId,
    pub at: i64,
    pub what: &'a What,
}

/// A trigger that no longer holds.
pub struct Ghost<'a> {
    pub key: Key<'a>,
    pub trigger: Trigger<'a>,
    pub reason: &'static str,
    pub at: i64,
    pub by: EventId,
}

/// What stands ([`crate::amendments`]), in order of occurrence, and the triggers that don't any more: those of what was
/// retracted, and those of earlier versions of what was corrected.
pub fn effective(facts: &Facts<Fact>) -> (Vec<Known<'_>>, Vec<Ghost<'_>>) {
    let amendments = Amendments::new(facts.iter());
    let mut known = Vec::with_capacity(facts.len());
    let mut ghosts = Vec::new();
    for (id, published) in facts.iter() {
        if matches!(published.what, What::Corrected { .. } | What::Retracted { .. }) {
            continue;
        }
        let stands = amendments.standing(id, published);
        known.extend(stands.map(|f| Known { id, at: f.at, what: &f.what }));
        let Some(now) = amendments.of(id) else { continue };
        let retraction = now.retractions.first().map(|by| (*by, "trigger_retracted"));
        let because = retraction.or_else(|| now.correction().map(|(by, _)| (by, "trigger_corrected")));
        let Some((by, reason)) = because else { continue };
        let at = facts.get(by).map_or(published.at, |f| f.at);
        let versions = std::iter::once(published).chain(now.corrections.iter().map(|(_, with)| *with));
        for version in versions.filter(|v| stands.is_none_or(|s| !std::ptr::eq(s, *v))) {
            haunt(&mut ghosts, Known { id, at: version.at, what: &version.what }, reason, at, by);
        }
    }
    known.sort_by_key(|k| (k.at, k.id));
    (known, ghosts)
}

/// What undid a discharge, if anything did.
pub fn undone<'a>(k: Known<'a>, known: &[Known<'a>]) -> Option<Known<'a>> {
    let What::Discharge { encounter, .. } = k.what else { return None };
    let undoes = |u: &Known<'_>| matches!(u.what, What::DischargeUndone { encounter: e } if e == encounter);
    known.iter().copied().find(|u| u.at >= k.at && undoes(u))
}

fn haunt<'a>(ghosts: &mut Vec<Ghost<'a>>, was: Known<'a>, reason: &'static str, at: i64, by: EventId) {
    each_trigger(was, |key, trigger| ghosts.push(Ghost { key, trigger, reason, at, by }));
}

fn severity_points(s: Severity) -> (&'static str, i64) {
    match s {
        Severity::Low => ("complaint_low", 10),
        Severity::Medium | Severity::Other => ("complaint_medium", 20),
        Severity::High => ("complaint_high", 30),
        Severity::Severe => ("complaint_severe", 40),
    }
}

fn urgency_points(urgency: u8) -> Option<(&'static str, i64)> {
    match urgency {
        3 => Some(("priority_stat", 25)),
        2 => Some(("priority_asap", 20)),
        1 => Some(("priority_urgent", 15)),
        _ => None,
    }
}

/// The subject of a recall. A re-exam belongs to the visit that asked for it.
fn recall_subject<'a>(kind: &'a str, encounter: Option<&str>) -> Cow<'a, str> {
    match encounter {
        Some(e) if kind == RE_EXAM => format!("{RE_EXAM}/{e}").into(),
        _ => kind.into(),
    }
}

/// The items that a fact opens.
pub fn each_trigger<'a>(k: Known<'a>, mut open: impl FnMut(Key<'a>, Trigger<'a>)) {
    let base = |place: &'a Place, encounter: Option<&'a String>, due: Option<i64>, severity| Trigger {
        id: k.id,
        at: k.at,
        due,
        names_due: false,
        day: None,
        severity,
        clinical: None,
        place,
        encounter: encounter.map(String::as_str),
        appointment: None,
        outranks: false,
    };
    let after = |delay: i64| Some(k.at.saturating_add(delay));
    let high = |risk: bool| risk.then_some(("high_risk_visit", 25));
    match k.what {
        What::Consult { encounter, appointment, high_risk, reexam, place } => {
            let t = base(place, Some(encounter), after(rules::AFTER_CONSULT), ("post_visit", 15));
            let t = Trigger { clinical: high(*high_risk), appointment: appointment.as_deref(), ..t };
            open((ItemKind::PostVisit, encounter.as_str().into()), t);
            if let Some((day, due)) = *reexam {
                let due = due.max(k.at.saturating_add(rules::RECALL_LEAST));
                let t = base(place, Some(encounter), Some(due), ("re_exam", 8));
                let t = Trigger { clinical: high(*high_risk), day: Some(day), ..t };
                open((ItemKind::Recall, recall_subject(RE_EXAM, Some(encounter))), t);
            }
        }
        What::Discharge { encounter, high_risk, place, .. } => {
            let delay = if *high_risk { rules::AFTER_CONSULT } else { rules::AFTER_DISCHARGE };
            let t = base(place, Some(encounter), after(delay), ("post_visit", 15));
            let clinical = high(*high_risk).or(Some(("after_discharge", 5)));
            open((ItemKind::PostVisit, encounter.as_str().into()), Trigger { clinical, outranks: true, ..t });
        }
        What::ReferralMade { referral, encounter, urgency, expires, place } => {
            let clinical = urgency_points(*urgency);
            let t = base(place, encounter.as_ref(), after(rules::REFERRAL_BOOKED), ("referral_booking", 10));
            open((ItemKind::ReferralBooking, referral.as_str().into()), Trigger { clinical, ..t });
            let due = expires.or_else(|| after(rules::REFERRAL_EXPIRY));
            let t = base(place, encounter.as_ref(), due, ("referral_completion", 12));
            let t = Trigger { clinical, names_due: expires.is_some(), ..t };
            open((ItemKind::ReferralCompletion, referral.as_str().into()), t);
        }
        What::Order { order, encounter, urgency, due, place } => {
            let names_due = due.is_some();
            let due = due.unwrap_or_else(|| k.at.saturating_add(rules::RESULT_DUE));
            let due = due.saturating_add(rules::RESULT_GRACE);
            let t = base(place, encounter.as_ref(), Some(due), ("order_result", 15));
            let t = Trigger { clinical: urgency_points(*urgency), names_due, ..t };
            open((ItemKind::OrderResult, order.as_str().into()), t);
        }
        What::RecallDue { kind, on, due, encounter, place, .. } => {
            let due = (*due).max(k.at.saturating_add(rules::RECALL_LEAST));
            let severity = if kind == RE_EXAM { ("re_exam", 8) } else { ("recall", 5) };
            let t = base(place, encounter.as_ref(), Some(due), severity);
            let key = (ItemKind::Recall, recall_subject(kind, encounter.as_deref()));
            open(key, Trigger { day: Some(*on), ..t });
        }
        What::Breach { encounter, appointment, severity, place } => {
            let named = encounter.as_deref().or(appointment.as_deref());
            let subject = named.map_or_else(|| Cow::Owned(k.id.to_string()), Cow::Borrowed);
            let severity = match severity {
                Some(Severity::Severe) => ("dignity_breach_severe", 45),
                _ => ("dignity_breach", 40),
            };
            let t = base(place, encounter.as_ref(), after(rules::CRITICAL), severity);
            open((ItemKind::CriticalMot, subject), Trigger { appointment: appointment.as_deref(), ..t });
        }
        What::Complaint { complaint, encounter, severity, place } => {
            let (kind, delay) = match severity {
                Severity::Severe => (ItemKind::CriticalMot, rules::CRITICAL),
                Severity::Low | Severity::Medium | Severity::High | Severity::Other => {
                    (ItemKind::Complaint, rules::COMPLAINT)
                }
            };
            let t = base(place, encounter.as_ref(), after(delay), severity_points(*severity));
            open((kind, complaint.as_str().into()), t);
        }
        What::NoShow { appointment, due, place } => {
            let t = base(place, None, Some(*due), ("no_show", 10));
            let t = Trigger { appointment: Some(appointment), ..t };
            open((ItemKind::NoShow, appointment.as_str().into()), t);
        }
        What::Bill { claim, encounter, place, .. } => {
            let t = base(place, encounter.as_ref(), after(rules::UNPAID), ("unpaid_bill", 2));
            open((ItemKind::UnpaidBill, claim.as_str().into()), t);
        }
        What::Disputed { claim, encounter, place } => {
            let t = base(place, encounter.as_ref(), after(rules::DISPUTED), ("disputed_bill", 8));
            open((ItemKind::DisputedBill, claim.as_str().into()), t);
        }
        What::Asked { question, encounter, place } => {
            let t = base(place, encounter.as_ref(), after(rules::QUESTION), ("unanswered_question", 12));
            open((ItemKind::UnansweredQuestion, question.as_str().into()), t);
        }
        What::Friction { appointment, place } => {
            let t = base(place, None, None, ("booking_friction", 5));
            let t = Trigger { appointment: appointment.as_deref(), ..t };
            open((ItemKind::BookingFriction, NEXT_BOOKING.into()), t);
        }
        _ => {}
    }
}
