//! What is still open: the items of the follow-up queue, made of the same events by the queue's own fold, so that card and queue
//! say the same; and what the card alone knows of: decisions put off, and appointments asked for that have no time yet.

use super::appointments::{Booking, State};
use super::{At, OpenItem, Seen};
use crate::event::{Event, RefKind};
use crate::facts::Facts;
use crate::table::{Row, Value};
use crate::views::PatientFold;
use crate::views::follow_ups::item::{ItemKind, Status};
use crate::views::follow_ups::{COLUMNS, FollowUps, facts::Fact, priority};
use crate::views::timeline::{Assembled, Entry};
use crate::{EventId, Map, Micros};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Open items in the order of the queue; those that the card alone has come last.
pub fn items(
    all: &Assembled,
    seen: &Seen<'_>,
    appointments: &BTreeMap<&str, Booking<'_>>,
    now: Micros,
) -> Vec<OpenItem> {
    let entries: Map<EventId, &Entry> = all.entries.iter().map(|e| (e.event_id(), e)).collect();
    let states = states(seen);
    let mut out: Vec<(i64, OpenItem)> =
        queue(all).iter().filter_map(|row| of_queue(Columns(row), &entries, &states, now)).collect();
    out.extend(decisions(seen).chain(requested(appointments)).map(|item| (0, item)));
    out.sort_by_cached_key(|(points, i)| {
        (i.item_id.is_none(), Reverse(*points), i.due_at.is_none(), i.due_at, i.item_id.clone(), i.since)
    });
    out.into_iter().map(|(_, item)| item).collect()
}

/// The queue's rows of the patient, those of merged pseudonyms united.
fn queue(all: &Assembled) -> Vec<Row> {
    let mut facts: BTreeMap<&str, Facts<Fact>> = BTreeMap::new();
    for e in &all.entries {
        let published = e.original.as_ref().unwrap_or(&e.event);
        if let Some(fact) = FollowUps.fact(published) {
            // no hash: of two events under one id the timeline has one
            facts.entry(&e.filed_under).or_default().add(e.event_id(), 0, fact);
        }
    }
    let merged = all.identity.merged_from();
    let names = std::iter::once(&all.identity.patient_id).chain(&merged);
    let members: Vec<_> = names.map(|n| (n.clone(), facts.remove(n.as_str()).unwrap_or_default())).collect();
    FollowUps.united(&members)
}

/// A row of the queue, by the names of its columns.
#[derive(Clone, Copy)]
struct Columns<'r>(&'r Row);

impl<'r> Columns<'r> {
    fn get(self, name: &str) -> Option<&'r Value> {
        self.0.get(COLUMNS.iter().position(|c| c.0 == name)?)
    }

    fn text(self, name: &str) -> Option<&'r str> {
        if let Some(Value::Text(t)) = self.get(name) { Some(t) } else { None }
    }

    fn int(self, name: &str) -> Option<i64> {
        if let Some(Value::Int(n)) = self.get(name) { Some(*n) } else { None }
    }
}

type States<'a> = BTreeMap<(RefKind, &'a str), &'static str>;

/// An item of the queue that is open, or that nobody may call about; with its priority.
fn of_queue(
    row: Columns<'_>,
    entries: &Map<EventId, &Entry>,
    states: &States<'_>,
    now: Micros,
) -> Option<(i64, OpenItem)> {
    let status = row.text("status")?;
    let open = status == Status::Open.as_str();
    if !open && status != Status::Suppressed.as_str() {
        return None;
    }
    let (kind, subject, event_id) = (row.text("kind")?, row.text("subject")?, row.text("trigger_event_id")?);
    let entry = entries.get(&event_id.parse().ok()?)?;
    let about = match ItemKind::named(kind)? {
        ItemKind::ReferralBooking | ItemKind::ReferralCompletion => Some(RefKind::Referral),
        ItemKind::OrderResult => Some(RefKind::Order),
        _ => None,
    };
    let due_at = row.int("due_at").map(|t| At(Micros(t)));
    let time = if open { priority::time_points(row.int("act_at"), now.0) } else { 0 };
    let item = OpenItem {
        item_id: row.text("item_id").map(str::to_owned),
        kind: kind.to_owned(),
        status: status.to_owned(),
        state: about.and_then(|k| states.get(&(k, subject))).map(|s| (*s).to_owned()),
        subject: Some(subject.to_owned()),
        detail: detail(&entry.event),
        since: At(Micros(row.int("opened_at")?)),
        due_at,
        overdue: open && due_at.is_some_and(|d| d.0 < now),
        event_id: event_id.to_owned(),
        journey_id: entry.journey.journey.clone(),
    };
    Some((row.int("points")? + time, item))
}

/// How far each referral and order has come.
fn states<'a>(seen: &Seen<'a>) -> States<'a> {
    let step = |(_, event): (&Entry, &'a Event)| match event {
        Event::ReferralAccepted(e) => Some(((RefKind::Referral, &*e.referral_id), "accepted")),
        Event::ReferralBooked(e) => Some(((RefKind::Referral, &*e.referral_id), "booked")),
        Event::ReferralCompleted(e) => Some(((RefKind::Referral, &*e.referral_id), "completed")),
        Event::AppointmentBooked(e) => Some(((RefKind::Referral, e.referral_id.as_deref()?), "booked")),
        Event::SpecimenCollected(e) => Some(((RefKind::Order, &*e.order_id), "collected")),
        Event::ResultReported(e) => Some(((RefKind::Order, &*e.order_id), e.status.as_str())),
        _ => None,
    };
    seen.iter().filter_map(step).collect()
}

/// What an item is about, as the event that opened it says.
fn detail(event: &Event) -> Option<String> {
    match event {
        Event::PatientQuestionAsked(e) => e.question.clone().or_else(|| e.topic.clone()),
        Event::ReferralMade(e) => Some(e.to.clone()),
        Event::OrderPlaced(e) => Some(e.code.clone()),
        Event::RecallDue(e) => Some(e.recall_kind.clone()),
        Event::ComplaintFiled(e) => e.topic.clone(),
        Event::DignityBreachReported(e) => Some(e.kind.clone()),
        Event::BillDisputed(e) => e.reason.clone(),
        Event::AppointmentNoShow(e) => e.reason.clone(),
        Event::BookingFrictionReported(e) => Some(e.problem.clone()),
        _ => None,
    }
}

/// An item that the card alone has.
fn own(kind: &str, state: &str, subject: &str, detail: Option<String>, entry: &Entry) -> OpenItem {
    OpenItem {
        item_id: None,
        kind: kind.to_owned(),
        status: Status::Open.as_str().to_owned(),
        state: Some(state.to_owned()),
        subject: Some(subject.to_owned()),
        detail,
        since: super::at(entry),
        due_at: None,
        overdue: false,
        event_id: entry.event_id().to_string(),
        journey_id: entry.journey.journey.clone(),
    }
}

/// Decisions put off, by journey, until options are explained anew.
fn decisions(seen: &Seen<'_>) -> impl Iterator<Item = OpenItem> {
    let mut open: BTreeMap<&str, OpenItem> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        let journey = entry.journey.journey.as_str();
        match event {
            Event::OptionsExplained(e) if e.decision_deferred => {
                open.insert(journey, own("decision", "deferred", journey, Some(e.options.join(", ")), entry));
            }
            Event::OptionsExplained(_) => open.clear(),
            _ => {}
        }
    }
    open.into_values()
}

/// Appointments that were asked for and have no time yet.
fn requested<'b>(appointments: &'b BTreeMap<&str, Booking<'_>>) -> impl Iterator<Item = OpenItem> + 'b {
    appointments.values().filter(|b| b.state == State::Requested).filter_map(|b| match &b.opened.event {
        Event::AppointmentRequested(e) => Some(own("booking", "requested", b.id, e.service.clone(), b.opened)),
        _ => None,
    })
}
