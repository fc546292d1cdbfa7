//! Who the patient is, and what to watch out for.

use super::appointments::Booking;
use super::history::reference;
use super::{
    AskedAgain, At, BadMoment, BookingTrouble, Consent, LOW_FEEDBACK, Questionnaire, Reviewed, Risk, Seen,
    TROUBLE_THRESHOLD, TROUBLE_WINDOW, Trouble, Who, at, latest,
};
use crate::Micros;
use crate::event::{Dimension, Event, Party, RefKind, Role, Severity};
use crate::views::mot::Mot;
use crate::views::timeline::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Who comes.
pub fn who(seen: &Seen<'_>, last_visit: Option<Micros>) -> Who {
    let mut who = Who {
        special_requirements: Vec::new(),
        deceased: false,
        first_contact: seen.0.first().map(|e| at(e)),
        last_visit: last_visit.map(At),
        came_by: None,
        introduced_by: None,
    };
    for (_, event) in seen.iter() {
        match event {
            // An update lists what changed; needs that it doesn't speak of still stand.
            Event::DemographicsUpdated(e) => {
                if !e.special_requirements.is_empty() || e.fields.iter().any(|f| f == "special_requirements") {
                    who.special_requirements.clone_from(&e.special_requirements);
                }
                who.deceased = e.deceased.unwrap_or(who.deceased);
            }
            Event::EnquiryReceived(e) => who.came_by = who.came_by.take().or_else(|| Some(e.origin.clone())),
            Event::IntroducerRecorded(e) => {
                who.introduced_by = e.relation.clone().or_else(|| who.introduced_by.take());
            }
            _ => {}
        }
    }
    who
}

/// The last consult or stay, today's not counted.
pub fn last_visit(seen: &Seen<'_>, next: Option<&Booking<'_>>) -> Option<Micros> {
    let today = next.and_then(|b| b.encounter);
    let visit = |(entry, event): (&Entry, &Event)| match event {
        Event::ConsultStarted(_) | Event::ConsultEnded(_) | Event::PatientAdmitted(_) | Event::PatientDischarged(_) => {
            let this = reference(event, RefKind::Encounter);
            (today.is_none() || this != today).then(|| entry.occurred_at())
        }
        _ => None,
    };
    seen.iter().rev().find_map(visit)
}

/// Whether history, insurance and allergies were reviewed for this visit.
pub fn reviewed(seen: &Seen<'_>, next: Option<&Booking<'_>>, last_visit: Option<Micros>) -> Reviewed {
    let review = |(entry, event): (&Entry, &Event)| match event {
        Event::QuestionnaireCompleted(e) if e.history_reviewed == Some(true) => {
            let for_next = next.is_some_and(|b| {
                e.appointment_id.as_deref() == Some(b.id)
                    || (b.encounter.is_some() && e.encounter_id.as_deref() == b.encounter)
            });
            let done = for_next || last_visit.is_none_or(|t| entry.occurred_at() > t);
            Some(Reviewed { done, at: Some(at(entry)), event_id: Some(entry.event_id().to_string()) })
        }
        _ => None,
    };
    let mut all = seen.iter().rev().filter_map(review);
    let last = all.next();
    match last {
        Some(r) if r.done => r,
        // An earlier one may have been for the next appointment by name.
        Some(r) => all.find(|r| r.done).unwrap_or(r),
        None => Reviewed { done: false, at: None, event_id: None },
    }
}

/// Friction, and what the hospital cancelled or moved, within [`TROUBLE_WINDOW`].
pub fn booking_trouble(seen: &Seen<'_>, now: Micros) -> BookingTrouble {
    let since = now.plus(-TROUBLE_WINDOW);
    let trouble = |(entry, event): (&Entry, &Event)| {
        let problem = match event {
            Event::BookingFrictionReported(e) => e.problem.as_str(),
            Event::AppointmentCancelled(e) if e.by == Party::Hospital => "cancelled_by_hospital",
            Event::AppointmentRescheduled(e) if e.by == Party::Hospital => "rescheduled_by_hospital",
            _ => return None,
        };
        let trouble = Trouble { at: at(entry), problem: problem.to_owned(), event_id: entry.event_id().to_string() };
        (entry.occurred_at() >= since).then_some(trouble)
    };
    let times: Vec<Trouble> = seen.iter().filter_map(trouble).collect();
    BookingTrouble { flag: times.len() >= TROUBLE_THRESHOLD, count: times.len(), times: latest(times, |t| t.at) }
}

/// The last dignity breach, high or severe complaint, feedback below [`LOW_FEEDBACK`], or touchpoint with the score of an
/// alert. Of what one event began and said, what it said is shown.
pub fn last_bad_moment(seen: &Seen<'_>, mot: &Mot) -> Option<BadMoment> {
    let low_score = mot.last_low_score(seen.iter().map(|(_, event)| event));
    let resolved: BTreeSet<&str> = seen
        .iter()
        .filter_map(|(_, e)| if let Event::ComplaintResolved(e) = e { Some(e.complaint_id.as_str()) } else { None })
        .collect();
    let bad = |(entry, event): (&Entry, &Event)| {
        let text = |t: &str| Some(t.to_owned());
        let moment = |kind: &str, what, role: Option<Role>| BadMoment {
            at: at(entry),
            kind: kind.to_owned(),
            what,
            role: role.map(|r| r.as_str().to_owned()),
            severity: None,
            detail: None,
            resolved: None,
            touchpoint_id: None,
            score: None,
            standard_version: None,
            site: event.header().site.clone(),
            event_id: entry.event_id().to_string(),
            journey_id: entry.journey.journey.clone(),
        };
        let severity = |s: Severity| Some(s.as_str().to_owned());
        match event {
            Event::DignityBreachReported(e) => Some(BadMoment {
                severity: e.severity.and_then(severity),
                detail: e.detail.clone(),
                ..moment("dignity_breach", text(&e.kind), Some(e.role))
            }),
            Event::ComplaintFiled(e) if matches!(e.severity, Severity::High | Severity::Severe) => Some(BadMoment {
                severity: severity(e.severity),
                detail: e.detail.clone(),
                resolved: Some(resolved.contains(e.complaint_id.as_str())),
                ..moment("complaint", e.topic.clone(), e.role)
            }),
            Event::FeedbackGiven(e) if low(e.raw, e.scale_min, e.scale_max) => {
                Some(BadMoment { detail: e.improve.clone(), ..moment("low_feedback", about(e.dimension), e.role) })
            }
            Event::FeedbackLinked(e) if low(e.raw, e.scale_min, e.scale_max) => {
                Some(BadMoment { detail: e.improve.clone(), ..moment("low_feedback", about(e.dimension), e.role) })
            }
            _ => low_score.as_ref().filter(|l| l.event_id == entry.event_id()).map(|l| BadMoment {
                touchpoint_id: Some(l.touchpoint_id.clone()),
                score: Some(l.score),
                standard_version: l.standard_version.clone(),
                ..moment("low_score", text(l.touchpoint.as_str()), None)
            }),
        }
    };
    seen.iter().rev().find_map(bad)
}

fn about(dimension: Dimension) -> Option<String> {
    Some(dimension.as_str().to_owned())
}

fn low(raw: f64, min: f64, max: f64) -> bool {
    max > min && (raw - min) / (max - min) * 100.0 < LOW_FEEDBACK
}

/// What the patient was asked again, the most often asked first.
pub fn asked_again(seen: &Seen<'_>) -> Vec<AskedAgain> {
    let mut all: BTreeMap<&str, AskedAgain> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        if let Event::RepeatQuestionReported(e) = event {
            let new =
                || AskedAgain { field: e.asked_field.clone(), times: 0, last_at: at(entry), event_ids: Vec::new() };
            let a = all.entry(&e.asked_field).or_insert_with(new);
            a.times += 1;
            a.last_at = at(entry);
            a.event_ids.push(entry.event_id().to_string());
        }
    }
    let mut out: Vec<AskedAgain> = all.into_values().collect();
    out.sort_by(|a, b| (b.times, b.last_at, &a.field).cmp(&(a.times, a.last_at, &b.field)));
    out
}

/// Questionnaires that were completed, latest first.
pub fn questionnaires(seen: &Seen<'_>) -> Vec<Questionnaire> {
    let one = |(entry, event): (&Entry, &Event)| match event {
        Event::QuestionnaireCompleted(e) => Some(Questionnaire {
            questionnaire: e.questionnaire.clone(),
            at: at(entry),
            history_reviewed: e.history_reviewed,
            event_id: entry.event_id().to_string(),
        }),
        _ => None,
    };
    latest(seen.iter().filter_map(one).collect(), |q| q.at)
}

/// Risks that the patient was told, latest first.
pub fn risks(seen: &Seen<'_>) -> Vec<Risk> {
    let one = |(entry, event): (&Entry, &Event)| match event {
        Event::OptionsExplained(e) => Some(Risk {
            at: at(entry),
            risk: e.risk.clone()?,
            percent: e.risk_percent,
            pros_and_cons: e.pros_and_cons,
            site: e.header.site.clone(),
            second_opinion_of: e.second_opinion_of.clone(),
            event_id: entry.event_id().to_string(),
        }),
        _ => None,
    };
    latest(seen.iter().filter_map(one).collect(), |r| r.at)
}

/// Consents in force at `now`: per scope and grantee the last word counts.
pub fn consents(seen: &Seen<'_>, now: Micros) -> Vec<Consent> {
    let mut all = BTreeMap::new();
    for (entry, event) in seen.iter() {
        match event {
            Event::ConsentGiven(e) => {
                let consent = Consent {
                    scope: e.scope.clone(),
                    grantee: e.grantee.as_str().to_owned(),
                    since: e.valid_from.map_or_else(|| at(entry), At),
                    until: e.valid_until.map(At),
                    event_id: entry.event_id().to_string(),
                };
                all.insert((&e.scope, e.grantee), consent);
            }
            Event::ConsentWithdrawn(e) => {
                all.remove(&(&e.scope, e.grantee));
            }
            Event::ConsentExpired(e) => {
                all.remove(&(&e.scope, e.grantee));
            }
            _ => {}
        }
    }
    let in_force = |c: &Consent| c.since.0 <= now && c.until.is_none_or(|t| now < t.0);
    all.into_values().filter(in_force).collect()
}
