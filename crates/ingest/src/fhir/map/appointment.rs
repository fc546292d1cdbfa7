//! Appointment: booked, moved, changed, arrived, fulfilled, cancelled, not kept.

mod details;

use super::{Mapped, Memory, NOT_A_PATIENT, Told, Unit};
use crate::fhir::appointments::{self, ARRIVED, Keys, REQUESTED, Version, Visit, booked_for, key};
use crate::fhir::element::When;
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use details::Details;
use domain::Event;
use domain::event::{
    AppointmentBooked, AppointmentCancelled, AppointmentModified, AppointmentNoShow, AppointmentRequested,
    AppointmentRescheduled, ConsultEnded, Header, Party, PatientCheckedIn,
};
use xxhash_rust::xxh3::xxh3_64;

pub(super) fn map(unit: &Unit<'_>, memory: &mut Memory<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let Some((patients, details)) = details::read(unit)? else { return Ok(NOT_A_PATIENT) };
    let start = details.start.as_ref().map(|s| s.at.0);
    // What the appointment is now; two statuses that mean the same to the journey are one state.
    let state = match status {
        "proposed" | "pending" | "waitlist" => REQUESTED.to_owned(),
        "booked" => booked_for(start.ok_or_else(|| unit.root.missing("start"))?),
        "arrived" | "checked-in" => ARRIVED.to_owned(),
        "fulfilled" | "cancelled" | "noshow" => status.to_owned(),
        "entered-in-error" => return retracted(unit, &patients, &details),
        _ => return Err(Issue::unknown_code("Appointment.status")),
    };
    let version = Version {
        order: unit.order()?,
        state: xxh3_64(state.as_bytes()),
        start: start.filter(|_| status == "booked"),
        details: appointments::details(
            details.duration,
            details.practitioner.as_deref(),
            Some(details.service.as_deref()),
        ),
    };
    let cancelled = Cancelled::read(unit)?;
    let mut all = Vec::new();
    for patient in &patients {
        let of = |patient: &str| key(unit.source, &unit.name(), patient);
        let visit = memory.visit(&Keys { pseudonym: of(&patient.id), reference: of(&patient.key) }, version);
        let told = Telling { unit, patient, state: named(&state, visit), visit, d: &details };
        all.extend(told.events(status, &cancelled)?);
    }
    Ok(Mapped::Events(all))
}

/// A state that the appointment came back to is another one.
fn named(state: &str, visit: Visit) -> String {
    match visit.round {
        0 => state.to_owned(),
        n => format!("{state}, again {n}"),
    }
}

/// What is told of one patient.
struct Telling<'t, 'a> {
    unit: &'t Unit<'a>,
    patient: &'t Subject,
    state: String,
    visit: Visit,
    d: &'t Details,
}

impl Telling<'_, '_> {
    fn header(&self, state: &str, when: &When) -> Result<Header, Issue> {
        let mut header = self.unit.header(state, when, self.patient)?;
        header.department.clone_from(&self.d.department);
        Ok(header)
    }

    fn events(&self, status: &str, cancelled: &Cancelled) -> Result<Vec<Told>, Issue> {
        let (unit, d) = (self.unit, self.d);
        let updated = unit.updated()?;
        let header = |when: &When| self.header(&self.state, when);
        let (appointment_id, reason, by) = (d.id.clone(), cancelled.reason.clone(), cancelled.by);
        let (event, when) = match status {
            "booked" => return self.booked(updated),
            "arrived" | "checked-in" => {
                let event = PatientCheckedIn {
                    header: header(&updated)?,
                    appointment_id: Some(appointment_id),
                    encounter_id: None,
                    starts_at: d.start.as_ref().map(|s| s.at),
                    channel: None,
                };
                (Event::PatientCheckedIn(event), updated)
            }
            "fulfilled" => {
                let when = planned_end(unit, d, &updated)?;
                let event = ConsultEnded {
                    header: header(&when)?,
                    // The visit that the appointment became; an Encounter that names the appointment tells the same event.
                    encounter_id: appointment_id.clone(),
                    appointment_id: Some(appointment_id),
                    practitioner: d.practitioner.clone(),
                    surgery_recommended: None,
                    technical_ok: None,
                    reexam_due_on: None,
                    high_risk: None,
                };
                (Event::ConsultEnded(event), when)
            }
            "cancelled" => {
                let when = unit.time_of(&["cancellationDate"])?.unwrap_or(updated);
                let event = AppointmentCancelled { header: header(&when)?, appointment_id, by, channel: None, reason };
                (Event::AppointmentCancelled(event), when)
            }
            "noshow" => {
                let when = planned_end(unit, d, &updated)?;
                let event = AppointmentNoShow { header: header(&when)?, appointment_id, reason };
                (Event::AppointmentNoShow(event), when)
            }
            _ => {
                let when = unit.time_of(&["created"])?.unwrap_or(updated);
                (self.requested(header(&when)?), when)
            }
        };
        Ok(vec![Told { event, when: when.path }])
    }

    fn requested(&self, header: Header) -> Event {
        Event::AppointmentRequested(AppointmentRequested {
            header,
            appointment_id: self.d.id.clone(),
            service: self.d.service.clone(),
            practitioner: self.d.practitioner.clone(),
            channel: None,
            urgency: self.d.urgency,
            self_service: None,
            hold_s: None,
            capture_s: None,
        })
    }

    fn booked(&self, updated: When) -> Result<Vec<Told>, Issue> {
        let (unit, d, visit) = (self.unit, self.d, self.visit);
        let starts = d.start.as_ref().ok_or_else(|| unit.root.missing("start"))?.at;
        // The first time it was booked when it was created; later than that, when it was changed. Whether it was booked before
        // is not remembered for ever: a later version never counts as the first, or two bookings at one time would contradict.
        let first = !visit.followed && unit.is_first()?;
        let created = unit.time_of(&["created"])?.filter(|_| first);
        let when = created.unwrap_or_else(|| updated.clone());
        let header = self.header(&self.state, &when)?;
        let event = if visit.moved {
            Event::AppointmentRescheduled(AppointmentRescheduled {
                header,
                appointment_id: d.id.clone(),
                starts_at: starts,
                duration_min: d.duration,
                practitioner: d.practitioner.clone(),
                channel: None,
                by: Party::Other,
                hold_s: None,
                reason: None,
            })
        } else {
            Event::AppointmentBooked(AppointmentBooked {
                header,
                appointment_id: d.id.clone(),
                starts_at: starts,
                duration_min: d.duration,
                service: d.service.clone(),
                practitioner: d.practitioner.clone(),
                channel: None,
                encounter_id: None,
                referral_id: d.referral.clone(),
                order_id: d.order.clone(),
                self_service: None,
                with_help: None,
                hold_s: None,
                capture_s: None,
                urgency: d.urgency,
                recall_kind: None,
            })
        };
        let mut all = vec![Told { event, when: when.path }];
        if visit.changed {
            let state = format!("{}, changed to {:016x}", self.state, d.hash());
            let event = Event::AppointmentModified(AppointmentModified {
                header: self.header(&state, &updated)?,
                appointment_id: d.id.clone(),
                starts_at: Some(starts),
                duration_min: d.duration,
                service: d.service.clone(),
                practitioner: d.practitioner.clone(),
                by: None,
                reason: None,
            });
            all.push(Told { event, when: updated.path });
        }
        Ok(all)
    }
}

/// The booking of what was entered in error never took place.
fn retracted(unit: &Unit<'_>, patients: &[Subject], d: &Details) -> Result<Mapped, Issue> {
    let Some(start) = &d.start else { return unit.retract(Vec::new()) };
    let visit = Visit { round: 0, moved: false, followed: false, changed: false };
    let mut all = Vec::new();
    for patient in patients {
        let told = Telling { unit, patient, state: booked_for(start.at.0), visit, d };
        all.extend(told.booked(unit.updated()?)?);
    }
    unit.retract(all)
}

/// When a version that closes an appointment doesn't say when it was made, the appointment's planned end.
fn planned_end(unit: &Unit<'_>, d: &Details, updated: &When) -> Result<When, Issue> {
    if unit.last_updated()?.is_some() {
        return Ok(updated.clone());
    }
    let planned = unit.time_of(&["end"])?.or_else(|| d.start.clone());
    Ok(planned.filter(|p| p.at <= unit.scope.received).unwrap_or_else(|| updated.clone()))
}

/// Why an appointment was cancelled, and by whom: the same for each of its patients.
struct Cancelled {
    reason: Option<String>,
    by: Party,
}

impl Cancelled {
    fn read(unit: &Unit<'_>) -> Result<Self, Issue> {
        // R4 writes cancelationReason, R5 cancellationReason.
        let mut codes = unit.root.codes("cancelationReason")?;
        codes.extend(unit.root.codes("cancellationReason")?);
        let words = codes.iter().rev().find_map(|c| c.text).or_else(|| codes.iter().find_map(|c| c.code));
        let by = codes.iter().filter_map(|c| c.code).find_map(party).unwrap_or(Party::Other);
        Ok(Self { reason: words.map(str::to_owned), by })
    }
}

/// Codes of appointment-cancellation-reason say who: pat-… the patient, prov-… and what the hospital lacked the hospital.
fn party(code: &str) -> Option<Party> {
    match code.split('-').next().unwrap_or(code) {
        "pat" => Some(Party::Patient),
        "prov" | "maint" | "meds" => Some(Party::Hospital),
        _ => None,
    }
}
