//! Appointments: what became of each.

use super::{Appointment, At, MAX_LISTED, MISSED_WINDOW, Missed, Seen};
use crate::Micros;
use crate::event::{Event, Party, RefKind};
use crate::views::timeline::Entry;
use std::collections::BTreeMap;

/// How an appointment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Asked for, no time yet.
    Requested,
    /// Booked.
    Booked,
    /// Cancelled, or the patient did not come.
    Off,
    /// The consult took place.
    Attended,
}

/// An appointment as its events leave it.
#[derive(Debug, Clone)]
pub struct Booking<'a> {
    /// Its id.
    pub id: &'a str,
    /// How it stands.
    pub state: State,
    /// When it was asked for or booked first.
    pub opened: &'a Entry,
    /// Its start.
    pub starts_at: Option<Micros>,
    /// The visit that it became.
    pub encounter: Option<&'a str>,
    service: Option<&'a str>,
    practitioner: Option<&'a str>,
    site: Option<&'a str>,
    department: Option<&'a str>,
    confirmed: bool,
    reminders: usize,
    checked_in: bool,
}

impl<'a> Booking<'a> {
    const fn new(id: &'a str, opened: &'a Entry) -> Self {
        Self {
            id,
            state: State::Requested,
            opened,
            starts_at: None,
            encounter: None,
            service: None,
            practitioner: None,
            site: None,
            department: None,
            confirmed: false,
            reminders: 0,
            checked_in: false,
        }
    }

    /// As the card shows it.
    pub fn shown(&self) -> Option<Appointment> {
        let text = |t: Option<&str>| t.map(str::to_owned);
        Some(Appointment {
            appointment_id: self.id.to_owned(),
            starts_at: At(self.starts_at?),
            service: text(self.service),
            practitioner: text(self.practitioner),
            site: text(self.site),
            department: text(self.department),
            confirmed: self.confirmed,
            reminders: self.reminders,
            checked_in: self.checked_in,
        })
    }

    fn book(&mut self, starts_at: Option<Micros>) {
        self.state = State::Booked;
        self.starts_at = starts_at.or(self.starts_at);
    }
}

/// Each appointment as its events, in order, leave it.
pub fn fold<'a>(seen: &Seen<'a>) -> BTreeMap<&'a str, Booking<'a>> {
    let mut all: BTreeMap<&str, Booking<'_>> = BTreeMap::new();
    let mut of_encounter: BTreeMap<&str, &str> = BTreeMap::new();
    for (entry, event) in seen.iter() {
        let (mut appointment, mut encounter) = (None, None);
        event.each_reference(|kind, id| match kind {
            RefKind::Appointment => appointment = Some(id),
            RefKind::Encounter => encounter = Some(id),
            _ => {}
        });
        if let (Some(a), Some(e)) = (appointment, encounter) {
            of_encounter.insert(e, a);
        }
        let Some(id) = appointment.or_else(|| of_encounter.get(encounter?).copied()) else { continue };
        let b = all.entry(id).or_insert_with(|| Booking::new(id, entry));
        b.encounter = encounter.or(b.encounter);
        let h = event.header();
        b.site = b.site.or(h.site.as_deref());
        b.department = b.department.or(h.department.as_deref());
        apply(b, event);
    }
    all
}

fn apply<'a>(b: &mut Booking<'a>, event: &'a Event) {
    match event {
        Event::AppointmentRequested(e) => {
            b.service = e.service.as_deref().or(b.service);
            b.practitioner = e.practitioner.as_deref().or(b.practitioner);
        }
        Event::AppointmentBooked(e) => {
            b.book(Some(e.starts_at));
            b.service = e.service.as_deref().or(b.service);
            b.practitioner = e.practitioner.as_deref().or(b.practitioner);
        }
        Event::AppointmentRescheduled(e) => {
            b.book(Some(e.starts_at));
            b.practitioner = e.practitioner.as_deref().or(b.practitioner);
            b.confirmed = false;
        }
        Event::AppointmentModified(e) => {
            b.starts_at = e.starts_at.or(b.starts_at);
            b.service = e.service.as_deref().or(b.service);
            b.practitioner = e.practitioner.as_deref().or(b.practitioner);
        }
        Event::RecallBooked(e) => b.book(e.starts_at),
        Event::ReferralBooked(e) => b.book(e.starts_at),
        Event::AppointmentConfirmed(_) => b.confirmed = true,
        Event::ReminderSent(_) => b.reminders += 1,
        Event::PatientCheckedIn(_) => b.checked_in = true,
        Event::AppointmentCancelled(_) | Event::AppointmentNoShow(_) => b.state = State::Off,
        Event::ConsultStarted(_) | Event::ConsultEnded(_) | Event::PatientAdmitted(_) => b.state = State::Attended,
        _ => {}
    }
}

/// The next appointment, or the one under way.
pub fn next<'b, 'a>(all: &'b BTreeMap<&'a str, Booking<'a>>, now: Micros) -> Option<&'b Booking<'a>> {
    let to_come = |b: &&Booking<'_>| b.starts_at.is_some_and(|t| t >= now.plus(-super::GRACE));
    all.values().filter(|b| b.state == State::Booked).filter(to_come).min_by_key(|b| (b.starts_at, b.id))
}

/// Visits that did not take place, latest first.
pub fn missed(seen: &Seen<'_>, all: &BTreeMap<&str, Booking<'_>>, now: Micros) -> Vec<Missed> {
    let mut booked_later = false;
    let mut out = Vec::new();
    for (entry, event) in seen.iter().rev() {
        let (id, how, reason) = match event {
            Event::AppointmentBooked(_) | Event::AppointmentRescheduled(_) | Event::RecallBooked(_) => {
                booked_later = true;
                continue;
            }
            Event::AppointmentNoShow(e) => (&e.appointment_id, "no_show", e.reason.clone()),
            Event::AppointmentCancelled(e) => {
                let how = match e.by {
                    Party::Patient => "cancelled_by_patient",
                    Party::Hospital => "cancelled_by_hospital",
                    Party::Other => "cancelled",
                };
                (&e.appointment_id, how, e.reason.clone())
            }
            _ => continue,
        };
        if out.len() == MAX_LISTED || entry.occurred_at() < now.plus(-MISSED_WINDOW) {
            break;
        }
        out.push(Missed {
            appointment_id: id.clone(),
            how: how.to_owned(),
            at: super::at(entry),
            starts_at: all.get(id.as_str()).and_then(|b| b.starts_at).map(At),
            reason_known: reason.is_some(),
            reason,
            booked_again: booked_later,
            event_id: entry.event_id().to_string(),
        });
    }
    out
}
