//! Appointment: booked, moved, changed, arrived, fulfilled, cancelled, not kept.

use super::{MOST_EVENTS, Mapped, Memory, Told, Unit, minutes, one};
use crate::fhir::appointments::{self, ARRIVED, REQUESTED, Version, Visit, booked_for, key};
use crate::fhir::element::{Code, When};
use crate::fhir::outcome::Issue;
use domain::Event;
use domain::event::{
    AppointmentBooked, AppointmentCancelled, AppointmentModified, AppointmentNoShow, AppointmentRequested,
    AppointmentRescheduled, ConsultEnded, Party, PatientCheckedIn, Priority,
};
use xxhash_rust::xxh3::xxh3_64;

/// What an appointment says beside its status.
#[derive(Clone)]
struct Details {
    id: String,
    patient: String,
    /// The patient in ids that an Encounter shares.
    key: String,
    /// Further patients, of a group, and their keys.
    others: Vec<(String, String)>,
    start: Option<When>,
    duration: Option<i32>,
    service: Option<String>,
    practitioner: Option<String>,
    department: Option<String>,
    referral: Option<String>,
    order: Option<String>,
    urgency: Option<Priority>,
}

pub(super) fn map(unit: &Unit<'_>, memory: &mut Memory<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let details = match details(unit)? {
        Some(details) => details,
        None => return Ok(super::NOT_A_PATIENT),
    };
    let start = details.start.as_ref().map(|s| s.at.0);
    // What the appointment is now; two statuses that mean the same to the journey are one state.
    let state = match status {
        "proposed" | "pending" | "waitlist" => REQUESTED.to_owned(),
        "booked" => booked_for(start.ok_or_else(|| unit.root.missing("start"))?),
        "arrived" | "checked-in" => ARRIVED.to_owned(),
        "fulfilled" | "cancelled" | "noshow" => status.to_owned(),
        "entered-in-error" => return retracted(unit, details),
        _ => return Err(Issue::unknown_code("Appointment.status")),
    };
    let key = key(unit.source, &unit.name());
    let mut known = memory.get(key);
    let visit = known.visit(Version {
        order: unit.order()?,
        state: xxh3_64(state.as_bytes()),
        start: start.filter(|_| status == "booked"),
        details: appointments::details(
            details.duration,
            details.practitioner.as_deref(),
            Some(details.service.as_deref()),
        ),
    });
    memory.changes.insert(key, known);
    let plain = named(&state, visit);
    of_each(details, &plain, |state, d| {
        // These an Encounter of the same patient tells too.
        let shared = matches!(status, "arrived" | "checked-in" | "fulfilled").then(|| shared(&plain, &d.key));
        told(unit, status, shared.as_deref().unwrap_or(state), visit, d)
    })
}

/// The events of each patient, the first one's under the state's own name.
fn of_each(
    mut details: Details,
    state: &str,
    tell: impl Fn(&str, Details) -> Result<Mapped, Issue>,
) -> Result<Mapped, Issue> {
    let others = std::mem::take(&mut details.others);
    let Mapped::Events(mut all) = tell(state, details.clone())? else { return tell(state, details) };
    for (patient, key) in others {
        let state = format!("{state}, {patient}");
        if let Mapped::Events(told) = tell(&state, Details { patient, key, ..details.clone() })? {
            all.extend(told);
        }
    }
    Ok(Mapped::Events(all))
}

/// The name of a state that Appointment and Encounter both tell of a patient: of a group each has an Encounter.
pub(super) fn shared(state: &str, patient: &str) -> String {
    format!("{state} of {patient}")
}

/// A state that the appointment came back to is another one.
fn named(state: &str, visit: Visit) -> String {
    match visit.round {
        0 => state.to_owned(),
        n => format!("{state}, again {n}"),
    }
}

impl Details {
    /// Part of the ids of `AppointmentModified`, which a resend finds again.
    fn hash(&self) -> u64 {
        xxh3_64(format!("{:?}", (self.duration, &self.service, &self.practitioner)).as_bytes())
    }
}

fn details(unit: &Unit<'_>) -> Result<Option<Details>, Issue> {
    let root = &unit.root;
    let (mut subject, mut patients, mut other, mut practitioner) = (None, Vec::new(), false, None);
    // R5 has a subject beside the participants.
    let participants = root.each("participant");
    let actors = participants.iter().filter_map(|p| Some((false, p.get("actor")?)));
    for (about, e) in root.each("subject").into_iter().map(|s| (true, s)).chain(actors) {
        let link = unit.link(&e)?;
        // Nobody may say what it is, but only patients have such numbers.
        let is_patient = link.kind == Some("Patient") || link.kind.is_none() && unit.is_record_number(&link);
        match link.kind {
            _ if is_patient && about => subject = Some((unit.patient(&link)?, unit.patient_key(&link)?)),
            _ if is_patient => {
                let patient = (unit.patient(&link)?, unit.patient_key(&link)?);
                if !patients.contains(&patient) && patients.len() <= MOST_EVENTS {
                    patients.push(patient);
                }
            }
            Some("Group") => other = true,
            Some("Practitioner" | "PractitionerRole") if practitioner.is_none() => practitioner = unit.staff(&link)?,
            _ => {}
        }
    }
    // The subject may be named in another way than as a participant: it is the same patient, unless there are several.
    if let Some(subject) = subject
        && patients.len() < 2
    {
        patients = vec![subject];
    }
    let mut patients = patients.into_iter();
    let Some((patient, key)) = patients.next() else {
        return if other { Ok(None) } else { Err(unit.root.missing("participant.actor")) };
    };
    let zone = unit.zone();
    let start = root.time("start", zone)?;
    let end = root.time("end", zone)?;
    let span = || minutes(start.as_ref()?.at, end.as_ref()?.at);
    let duration = root.whole("minutesDuration")?.or_else(span);
    let service = root.code("serviceType")?.name().or(root.code("appointmentType")?.name());
    let department = root.code("specialty")?.code.or(root.code("serviceType")?.code);
    let (mut referral, mut order) = (None, None);
    if let Some(link) = unit.link_of(&["basedOn"])?.filter(|l| l.kind.is_none_or(|k| k == "ServiceRequest")) {
        let id = unit.reference(&link)?;
        match super::request::is_referral(&link)? {
            Some(false) => order = id,
            _ => referral = id,
        }
    }
    // R4 has a number here that says nothing by itself.
    let urgency = root.get("priority").filter(|p| p.value.is_object()).map(|p| p.as_code()).transpose()?;
    Ok(Some(Details {
        id: unit.own_reference()?,
        patient,
        key,
        others: patients.collect(),
        start,
        duration,
        service: service.map(str::to_owned),
        practitioner,
        department: unit.department(department),
        referral,
        order,
        urgency: urgency.and_then(|c| c.code).and_then(act_priority),
    }))
}

/// HL7 v3 `ActPriority`.
fn act_priority(code: &str) -> Option<Priority> {
    Some(match code {
        "R" => Priority::Routine,
        "UR" | "EM" => Priority::Urgent,
        "A" => Priority::Asap,
        "S" => Priority::Stat,
        _ => return None,
    })
}

fn told(unit: &Unit<'_>, status: &str, state: &str, visit: Visit, d: Details) -> Result<Mapped, Issue> {
    let updated = unit.updated()?;
    let header = |when: &When| -> Result<_, Issue> {
        let mut header = unit.header(state, when, &d.patient)?;
        header.department.clone_from(&d.department);
        Ok(header)
    };
    let (appointment_id, reason) = (d.id.clone(), reason(unit)?);
    match status {
        "booked" => booked(unit, state, visit, d),
        "arrived" | "checked-in" => {
            let event = PatientCheckedIn {
                header: header(&updated)?,
                appointment_id: Some(appointment_id),
                encounter_id: None,
                starts_at: d.start.map(|s| s.at),
                channel: None,
            };
            Ok(one(Event::PatientCheckedIn(event), &updated))
        }
        "fulfilled" => {
            let when = planned_end(unit, &d, &updated)?;
            let event = ConsultEnded {
                header: header(&when)?,
                // The visit that the appointment became; an Encounter that names the appointment tells the same event.
                encounter_id: appointment_id.clone(),
                appointment_id: Some(appointment_id),
                practitioner: d.practitioner,
                surgery_recommended: None,
                technical_ok: None,
                reexam_due_on: None,
                high_risk: None,
            };
            Ok(one(Event::ConsultEnded(event), &when))
        }
        "cancelled" => {
            let when = unit.time_of(&["cancellationDate"])?.unwrap_or(updated);
            let by = cancelled_by(unit)?;
            let event = AppointmentCancelled { header: header(&when)?, appointment_id, by, channel: None, reason };
            Ok(one(Event::AppointmentCancelled(event), &when))
        }
        "noshow" => {
            let when = planned_end(unit, &d, &updated)?;
            let event = AppointmentNoShow { header: header(&when)?, appointment_id, reason };
            Ok(one(Event::AppointmentNoShow(event), &when))
        }
        _ => {
            let when = unit.time_of(&["created"])?.unwrap_or(updated);
            let event = AppointmentRequested {
                header: header(&when)?,
                appointment_id,
                service: d.service,
                practitioner: d.practitioner,
                channel: None,
                urgency: d.urgency,
                self_service: None,
                hold_s: None,
                capture_s: None,
            };
            Ok(one(Event::AppointmentRequested(event), &when))
        }
    }
}

fn booked(unit: &Unit<'_>, state: &str, visit: Visit, d: Details) -> Result<Mapped, Issue> {
    let updated = unit.updated()?;
    let starts = d.start.as_ref().ok_or_else(|| unit.root.missing("start"))?.at;
    // The first time it was booked when it was created; later than that, when it was changed. Whether it was booked before is
    // not remembered for ever: a later version never counts as the first, or two bookings at one time would contradict.
    let first = !visit.followed && unit.is_first()?;
    let created = unit.time_of(&["created"])?.filter(|_| first);
    let when = created.unwrap_or_else(|| updated.clone());
    let mut header = unit.header(state, &when, &d.patient)?;
    header.department.clone_from(&d.department);
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
        let state = format!("{state}, changed to {:016x}", d.hash());
        let mut header = unit.header(&state, &updated, &d.patient)?;
        header.department.clone_from(&d.department);
        let event = Event::AppointmentModified(AppointmentModified {
            header,
            appointment_id: d.id,
            starts_at: Some(starts),
            duration_min: d.duration,
            service: d.service,
            practitioner: d.practitioner,
            by: None,
            reason: None,
        });
        all.push(Told { event, when: updated.path });
    }
    Ok(Mapped::Events(all))
}

/// The booking of what was entered in error never took place.
fn retracted(unit: &Unit<'_>, d: Details) -> Result<Mapped, Issue> {
    let Some(start) = &d.start else { return unit.retract(Vec::new()) };
    let state = booked_for(start.at.0);
    let visit = Visit { round: 0, moved: false, followed: false, changed: false };
    match of_each(d, &state, |state, d| booked(unit, state, visit, d))? {
        Mapped::Events(told) => unit.retract(told),
        nothing => Ok(nothing),
    }
}

/// When a version that closes an appointment doesn't say when it was made, the appointment's planned end.
fn planned_end(unit: &Unit<'_>, d: &Details, updated: &When) -> Result<When, Issue> {
    if unit.last_updated()?.is_some() {
        return Ok(updated.clone());
    }
    let planned = unit.time_of(&["end"])?.or_else(|| d.start.clone());
    Ok(planned.filter(|p| p.at <= unit.scope.received).unwrap_or_else(|| updated.clone()))
}

/// R4 writes `cancelationReason`, R5 `cancellationReason`.
fn cancellation<'a>(unit: &Unit<'a>) -> Result<Vec<Code<'a>>, Issue> {
    let mut codes = unit.root.codes("cancelationReason")?;
    codes.extend(unit.root.codes("cancellationReason")?);
    Ok(codes)
}

fn reason(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    let codes = cancellation(unit)?;
    let words = codes.iter().rev().find_map(|c| c.text).or_else(|| codes.iter().find_map(|c| c.code));
    Ok(words.map(str::to_owned))
}

/// Codes of appointment-cancellation-reason say who: pat-… the patient, prov-… and what the hospital lacked the hospital.
fn cancelled_by(unit: &Unit<'_>) -> Result<Party, Issue> {
    let codes = cancellation(unit)?;
    let of = |code: &str| match code.split('-').next().unwrap_or(code) {
        "pat" => Some(Party::Patient),
        "prov" | "maint" | "meds" => Some(Party::Hospital),
        _ => None,
    };
    Ok(codes.iter().filter_map(|c| c.code).find_map(of).unwrap_or(Party::Other))
}
