//! SIU: appointments.

use super::super::message::{Part, Segment, named};
use super::super::wrong::{Code, Place};
use super::context::{Context, Patient};
use domain::Micros;
use domain::event::{
    AppointmentBooked, AppointmentCancelled, AppointmentModified, AppointmentNoShow, AppointmentRescheduled, Event,
    EventRetracted, Party,
};
use std::borrow::Cow;

/// What SCH-6 says in messages whose sender never changes it: no reason.
const NO_REASONS: [&str; 8] = ["ADD", "ADDED", "UPDATE", "MODIFY", "DELETE", "NEW", "CHANGE", "NORMAL"];

/// Most bytes of notes that are taken for a reason; an event's text may have twice as many.
const MOST_NOTE_BYTES: usize = 4_096;

/// Most patients of one message: a class or a ward, not all of a hospital's.
const MOST_PATIENTS: usize = 500;

/// What an SIU message says of an appointment, whoever's it is.
struct Appointment<'a> {
    id: String,
    at: Micros,
    /// AIL-3.
    place: Part<'a>,
    starts_at: Option<Micros>,
    duration_min: Option<i32>,
    service: Option<String>,
    practitioner: Option<String>,
    by: Party,
    reason: Option<String>,
}

pub fn map(c: &mut Context<'_>, trigger: &str) {
    // S23 and S24 block and open slots, which are nobody's; S25 is a query.
    if !matches!(trigger, "S12" | "S13" | "S14" | "S15" | "S16" | "S17" | "S18" | "S19" | "S20" | "S21" | "S22" | "S26")
    {
        return;
    }
    let message = c.message;
    if let Some(further) = message.all("PID").nth(MOST_PATIENTS) {
        let place = Place::segment("PID").in_sequence(further.sequence);
        return c.wrong(place, Code::Internal, "the message has more than 500 patients");
    }
    let id = message.field("SCH", 1).id().or_else(|| message.field("SCH", 2).id()).map(Cow::into_owned);
    let id = c.need(id, Place::field("SCH", 1).component(1), "an appointment needs an id in SCH-1 or SCH-2");
    let at = c.written();
    let at = c.need(at, Place::field("MSH", 7), "a message needs its time");
    if c.lacks("PID", "the message has no patient") {
        return;
    }
    // Read once, not for each patient: there may be thousands of resources.
    let appointment = id.zip(at).map(|(id, at)| read(c, trigger, id, at));
    for group in message.groups("PID") {
        let patient = c.patient(group.first());
        let (Some(patient), Some(appointment)) = (patient, &appointment) else { continue };
        // PV1-19 of the patient: several may share an appointment.
        let visit = named(group, "PV1").and_then(|s| s.field(19).id()).map(Cow::into_owned);
        one(c, trigger, &patient, appointment, visit);
    }
}

fn read<'a>(c: &mut Context<'a>, trigger: &str, id: String, at: Micros) -> Appointment<'a> {
    let (starts_at, duration_min) = match trigger {
        "S12" | "S13" => (needed_start(c), duration(c)),
        // They take an appointment away, whenever it was to be.
        "S15" | "S16" | "S17" | "S26" => (None, None),
        _ => (start(c), duration(c)),
    };
    Appointment {
        id,
        at,
        place: c.message.field("AIL", 3),
        starts_at,
        duration_min,
        service: service(c),
        practitioner: practitioner(c),
        by: party(c),
        reason: reason(c),
    }
}

fn one(c: &mut Context<'_>, trigger: &str, patient: &Patient, a: &Appointment<'_>, visit: Option<String>) {
    match trigger {
        "S12" => booked(c, patient, a, visit),
        "S13" => rescheduled(c, patient, a),
        "S15" | "S16" => {
            let reason = a.reason.clone().or_else(|| (trigger == "S16").then(|| "discontinued".to_owned()));
            cancelled(c, patient, a, a.by, reason);
        }
        "S17" => deleted(c, patient, a),
        "S26" => {
            let header = c.header(patient, a.at, a.place);
            let (appointment_id, reason) = (a.id.clone(), a.reason.clone());
            c.push(Event::AppointmentNoShow(AppointmentNoShow { header, appointment_id, reason }));
        }
        _ => modified(c, patient, a),
    }
}

fn booked(c: &mut Context<'_>, patient: &Patient, a: &Appointment<'_>, visit: Option<String>) {
    let header = c.header(patient, a.at, a.place);
    let Some(starts_at) = a.starts_at else { return };
    c.push(Event::AppointmentBooked(AppointmentBooked {
        header,
        appointment_id: a.id.clone(),
        starts_at,
        duration_min: a.duration_min,
        service: a.service.clone(),
        practitioner: a.practitioner.clone(),
        channel: None,
        encounter_id: visit,
        referral_id: None,
        order_id: None,
        self_service: None,
        with_help: None,
        hold_s: None,
        capture_s: None,
        urgency: None,
        recall_kind: None,
    }));
}

fn rescheduled(c: &mut Context<'_>, patient: &Patient, a: &Appointment<'_>) {
    let header = c.header(patient, a.at, a.place);
    let Some(starts_at) = a.starts_at else { return };
    c.push(Event::AppointmentRescheduled(AppointmentRescheduled {
        header,
        appointment_id: a.id.clone(),
        starts_at,
        duration_min: a.duration_min,
        practitioner: a.practitioner.clone(),
        channel: None,
        by: a.by,
        hold_s: None,
        reason: a.reason.clone(),
    }));
}

fn modified(c: &mut Context<'_>, patient: &Patient, a: &Appointment<'_>) {
    let header = c.header(patient, a.at, a.place);
    c.push(Event::AppointmentModified(AppointmentModified {
        header,
        appointment_id: a.id.clone(),
        starts_at: a.starts_at,
        duration_min: a.duration_min,
        service: a.service.clone(),
        practitioner: a.practitioner.clone(),
        by: Some(a.by).filter(|by| *by != Party::Other),
        reason: a.reason.clone(),
    }));
}

fn cancelled(c: &mut Context<'_>, patient: &Patient, a: &Appointment<'_>, by: Party, reason: Option<String>) {
    let header = c.header(patient, a.at, a.place);
    let (appointment_id, channel) = (a.id.clone(), None);
    c.push(Event::AppointmentCancelled(AppointmentCancelled { header, appointment_id, by, channel, reason }));
}

/// An appointment that never was: what was published about it is taken back. Where nothing of it is known any more, it is
/// cancelled, by nobody in particular.
fn deleted(c: &mut Context<'_>, patient: &Patient, a: &Appointment<'_>) {
    let why = a.reason.clone().unwrap_or_else(|| "the appointment was deleted".to_owned());
    let known = c.known.appointment(&patient.id, &a.id);
    if known.is_empty() {
        return cancelled(c, patient, a, Party::Other, Some(why));
    }
    for target in known {
        let header = c.header(patient, a.at, a.place);
        let (target_event_id, reason) = (target.to_string(), why.clone());
        c.push(Event::EventRetracted(EventRetracted { header, target_event_id, reason }));
    }
}

/// The start: TQ1-7, else SCH-11.4, else AIS-4, else AIP-6; in messages that put it elsewhere, AIL-6 or AIG-8.
fn start(c: &mut Context<'_>) -> Option<Micros> {
    let message = c.message;
    if message.field("TQ1", 7).present().is_some() {
        return c.time(message.field("TQ1", 7), Place::field("TQ1", 7));
    }
    let quantity = message.field("SCH", 11).component(4);
    if quantity.present().is_some() {
        return c.time(quantity, Place::field("SCH", 11).component(4));
    }
    c.first_time(&[("AIS", 4), ("AIP", 6), ("AIL", 6), ("AIG", 8)])
}

fn needed_start(c: &mut Context<'_>) -> Option<Micros> {
    c.needed(start, Place::field("TQ1", 7), "an appointment needs its start")
}

/// The duration, minutes: AIS-7 in the units of AIS-8, else SCH-9 in those of SCH-10. Part of a minute counts as one.
fn duration(c: &mut Context<'_>) -> Option<i32> {
    let message = c.message;
    let ais = message.all("AIS").find(|s| s.field(7).present().is_some());
    let (segment, fields): (Option<&Segment<'_>>, [u16; 2]) = match ais {
        Some(s) => (Some(s), [7, 8]),
        None => (message.first("SCH"), [9, 10]),
    };
    let segment = segment?;
    let place = |n: u16| Place::field(if ais.is_some() { "AIS" } else { "SCH" }, n).in_sequence(segment.sequence);
    let number = c.natural(segment.field(usize::from(fields[0])), place(fields[0]))?;
    let units = segment.field(usize::from(fields[1]));
    let seconds = match units.id().map(|u| u.to_ascii_lowercase()).as_deref() {
        Some("s" | "sec" | "secs" | "second" | "seconds") => 1.0,
        // Without units they are minutes: nobody counts an appointment in anything else unsaid.
        None | Some("min" | "mins" | "m" | "mn" | "minute" | "minutes" | "분") => 60.0,
        Some("h" | "hr" | "hrs" | "hour" | "hours" | "시간") => 3_600.0,
        Some("d" | "day" | "days" | "일") => 86_400.0,
        Some(_) => {
            c.wrong(place(fields[1]), Code::Table, "is no unit of time: s, min, h or d");
            return None;
        }
    };
    let minutes = (number * seconds / 60.0).ceil();
    if minutes > f64::from(i32::MAX) {
        c.wrong(place(fields[0]), Code::DataType, "is too long");
        return None;
    }
    Some(minutes as i32)
}

/// The first service: AIS-3.
fn service(c: &Context<'_>) -> Option<String> {
    let ais = c.message.field("AIS", 3);
    ais.id().or_else(|| ais.component(2).value()).map(Cow::into_owned)
}

/// The first practitioner with a number: AIP-3.
fn practitioner(c: &Context<'_>) -> Option<String> {
    c.message.all("AIP").find_map(|s| c.staff(s.field(3)))
}

/// Who wanted a change, by SCH-6.
fn party(c: &Context<'_>) -> Party {
    let Some(code) = c.message.field("SCH", 6).id() else { return Party::Other };
    let among = |all: &[String]| all.iter().any(|k| k.eq_ignore_ascii_case(&code));
    if among(&c.rules.by_patient) {
        Party::Patient
    } else if among(&c.rules.by_hospital) {
        Party::Hospital
    } else {
        Party::Other
    }
}

/// Why: SCH-6, unless it only repeats (or contradicts) the trigger; else the notes below SCH.
fn reason(c: &Context<'_>) -> Option<String> {
    let field = c.message.field("SCH", 6);
    let text = field.component(2).value().or_else(|| field.component(1).value());
    let says = text.filter(|t| !NO_REASONS.iter().any(|n| n.eq_ignore_ascii_case(t)));
    if let Some(says) = says {
        return Some(says.into_owned());
    }
    let below = c.message.groups("SCH").next()?;
    let mut notes = String::new();
    for note in below.iter().take_while(|s| matches!(s.name(), "SCH" | "TQ1" | "NTE")).filter(|s| s.name() == "NTE") {
        // Some senders forget NTE-2, a code of one letter, and put the text there.
        let text = note.field(3).present().or_else(|| note.field(2).present().filter(|t| t.raw().len() > 2));
        for part in text.into_iter().flat_map(Part::repetitions).filter_map(Part::value) {
            if !notes.is_empty() {
                notes.push(' ');
            }
            notes.push_str(&part);
            if notes.len() > MOST_NOTE_BYTES {
                notes.truncate(notes.floor_char_boundary(MOST_NOTE_BYTES));
                return Some(notes);
            }
        }
    }
    Some(notes).filter(|n| !n.is_empty())
}
