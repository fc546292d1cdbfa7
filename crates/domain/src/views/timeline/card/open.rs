//! What is still open, as far as the timeline knows it. The follow-up queue has its own rules, deadlines and leases; the card
//! only tells staff what the patient may ask about.

use super::appointments::{Booking, State};
use super::{At, OpenItem, Seen, history};
use crate::Micros;
use crate::event::{Event, RefKind};
use crate::views::timeline::Entry;
use std::collections::BTreeMap;

type Items<'a> = BTreeMap<(&'static str, &'a str), OpenItem>;

/// Open items, the overdue and the earliest due first.
pub fn items(seen: &Seen<'_>, appointments: &BTreeMap<&str, Booking<'_>>, now: Micros) -> Vec<OpenItem> {
    let mut open: Items<'_> = BTreeMap::new();
    let closed = closed(seen);
    for (entry, event) in seen.iter() {
        opening(&mut open, entry, event);
        closing(&mut open, event);
    }
    // Questions, complaints, referrals and orders stay closed however their events are dated: sources are late.
    open.retain(|key, _| !closed.contains_key(key));
    for b in appointments.values().filter(|b| b.state == State::Requested) {
        if let Event::AppointmentRequested(e) = &b.opened.event {
            add(&mut open, "booking", b.id, b.opened, "requested", e.service.clone(), None);
        }
    }
    let mut out: Vec<OpenItem> = open.into_values().collect();
    for i in &mut out {
        i.overdue = i.due_at.is_some_and(|d| d.0 < now);
    }
    out.sort_by(|a, b| {
        (a.due_at.is_none(), a.due_at, a.since, &a.event_id).cmp(&(b.due_at.is_none(), b.due_at, b.since, &b.event_id))
    });
    out
}

fn add<'a>(
    open: &mut Items<'a>,
    kind: &'static str,
    subject: &'a str,
    entry: &Entry,
    state: &str,
    detail: Option<String>,
    due: Option<Micros>,
) {
    let item = OpenItem {
        kind: kind.to_owned(),
        state: state.to_owned(),
        subject: (!subject.is_empty()).then(|| subject.to_owned()),
        detail,
        since: super::at(entry),
        due_at: due.map(At),
        overdue: false,
        event_id: entry.event_id().to_string(),
        journey_id: entry.journey.journey.clone(),
    };
    open.insert((kind, subject), item);
}

fn opening<'a>(open: &mut Items<'a>, entry: &'a Entry, event: &'a Event) {
    let journey = entry.journey.journey.as_str();
    match event {
        Event::PatientQuestionAsked(e) => {
            let what = e.question.clone().or_else(|| e.topic.clone());
            add(open, "question", &e.question_id, entry, "unanswered", what, None);
        }
        Event::OptionsExplained(e) if e.decision_deferred => {
            add(open, "decision", journey, entry, "deferred", Some(e.options.join(", ")), None);
        }
        Event::ReferralMade(e) => {
            add(open, "referral", &e.referral_id, entry, "made", Some(e.to.clone()), e.expires_at)
        }
        Event::OrderPlaced(e) => add(open, "order", &e.order_id, entry, "placed", Some(e.code.clone()), e.due_at),
        Event::ConsultEnded(e) if e.reexam_due_on.is_some() => {
            add(open, "re_exam", journey, entry, "due", None, e.reexam_due_on.map(crate::time::Date::start));
        }
        Event::RecallDue(e) => {
            add(open, "recall", &e.recall_kind, entry, "due", Some(e.recall_kind.clone()), Some(e.due_on.start()));
        }
        Event::ComplaintFiled(e) => {
            add(open, "complaint", &e.complaint_id, entry, e.severity.as_str(), e.topic.clone(), None);
        }
        Event::BillDisputed(e) => add(open, "disputed_bill", &e.claim_id, entry, "disputed", e.reason.clone(), None),
        _ => {}
    }
    let mut state = |kind, subject: &'a str, state: &str| {
        if let Some(i) = open.get_mut(&(kind, subject)) {
            state.clone_into(&mut i.state);
        }
    };
    match event {
        Event::ReferralAccepted(e) => state("referral", &e.referral_id, "accepted"),
        Event::ReferralBooked(e) => state("referral", &e.referral_id, "booked"),
        Event::SpecimenCollected(e) => state("order", &e.order_id, "collected"),
        Event::ResultReported(e) => state("order", &e.order_id, e.status.as_str()),
        _ => {}
    }
}

/// What an event closes of what was opened before it: these may be opened again.
fn closing<'a>(open: &mut Items<'a>, event: &'a Event) {
    match event {
        Event::BillDisputeResolved(e) => {
            open.remove(&("disputed_bill", e.claim_id.as_str()));
        }
        Event::RecallBooked(e) => {
            open.remove(&("recall", e.recall_kind.as_str()));
        }
        Event::RecallLapsed(e) => {
            open.remove(&("recall", e.recall_kind.as_str()));
        }
        // The re-exam is what the next booking is for; a decision is taken up again when options are explained anew.
        Event::AppointmentBooked(e) => {
            open.retain(|(kind, _), _| *kind != "re_exam");
            if let Some(kind) = &e.recall_kind {
                open.remove(&("recall", kind.as_str()));
            }
        }
        Event::OptionsExplained(e) if !e.decision_deferred => open.retain(|(kind, _), _| *kind != "decision"),
        _ => {}
    }
}

/// What is closed for good.
fn closed<'a>(seen: &Seen<'a>) -> BTreeMap<(&'static str, &'a str), ()> {
    use crate::event::ResultStatus::{Cancelled, Corrected, Final};
    let mut out = BTreeMap::new();
    for (_, event) in seen.iter() {
        let (kind, of) = match event {
            Event::PatientQuestionAnswered(_) => ("question", RefKind::Question),
            Event::ComplaintResolved(_) => ("complaint", RefKind::Complaint),
            Event::ReferralCompleted(_)
            | Event::ReferralCancelled(_)
            | Event::ReferralDeclined(_)
            | Event::ReferralExpired(_) => ("referral", RefKind::Referral),
            Event::OrderCancelled(_) | Event::ResultCorrected(_) => ("order", RefKind::Order),
            Event::ResultReported(e) if matches!(e.status, Final | Corrected | Cancelled) => ("order", RefKind::Order),
            _ => continue,
        };
        if let Some(id) = history::reference(event, of) {
            out.insert((kind, id), ());
        }
    }
    out
}
