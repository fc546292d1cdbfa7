//! ADT: visits and what is known of a patient.

use super::super::message::Part;
use super::super::rules::A04;
use super::super::wrong::Place;
use super::context::{Context, HAPPENED, Patient};
use domain::Micros;
use domain::event::{
    AdmissionCancelled, AppointmentCancelled, AppointmentRequested, DemographicsUpdated, DischargeCancelled, Event,
    Party, PatientAdmitted, PatientCheckedIn, PatientDischarged, PatientTransferred, Priority,
};
use std::borrow::Cow;

pub fn map(c: &mut Context<'_>, trigger: &str) {
    let step: fn(&mut Context<'_>, &Patient, Micros) = match trigger {
        "A01" | "A06" => admitted,
        "A02" => transferred,
        "A03" => discharged,
        "A04" => match c.sender.and_then(|s| s.a04).unwrap_or(c.rules.a04) {
            A04::CheckedIn => checked_in,
            A04::Requested => requested,
            A04::Admitted => admitted,
        },
        "A05" => requested,
        "A08" | "A31" => updated,
        "A10" => checked_in,
        "A11" => admission_cancelled,
        "A13" => discharge_cancelled,
        "A38" => request_cancelled,
        _ => return,
    };
    if c.lacks("PID", "the message has no patient") {
        return;
    }
    let patient = c.patient(c.message.first("PID"));
    let at = occurred(c, trigger);
    if let (Some(patient), Some(at)) = (patient, at) {
        step(c, &patient, at);
    }
}

/// When it happened: EVN-6; for a discharge PV1-45; else EVN-2, which is when it was recorded. Messages without them leave the
/// visit's own time (PV1-44), or the time at which they were written.
fn occurred(c: &mut Context<'_>, trigger: &str) -> Option<Micros> {
    let places: &[(&'static str, u16)] = match trigger {
        "A03" => &[("EVN", 6), ("PV1", 45), ("EVN", 2), ("MSH", 7)],
        "A01" | "A04" | "A06" | "A10" => &[("EVN", 6), ("EVN", 2), ("PV1", 44), ("MSH", 7)],
        _ => HAPPENED,
    };
    c.needed(|c| c.first_time(places), Place::field("EVN", 2), "the event needs a time")
}

/// PV1-3: where the patient is.
fn place<'a>(c: &Context<'a>) -> Part<'a> {
    c.message.field("PV1", 3)
}

/// The ward: the point of care of a place (PL), else its description, else its room.
fn ward(place: Part<'_>) -> Option<String> {
    let part = |n| place.component(n).subcomponent(1).value();
    part(1).or_else(|| part(9)).or_else(|| part(2)).map(Cow::into_owned)
}

/// What an announced visit is known by until it begins: PV1-5, the number of the announcement, else the visit's.
fn announced(c: &Context<'_>) -> Option<String> {
    c.message.field("PV1", 5).id().map(Cow::into_owned)
}

fn requested(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let id = announced(c).or_else(|| c.encounter());
    let place = place(c);
    let header = c.header(patient, at, place);
    let Some(appointment_id) = c.need(id, Place::field("PV1", 5).component(1), "the event needs PV1-5 or PV1-19")
    else {
        return;
    };
    c.push(Event::AppointmentRequested(AppointmentRequested {
        header,
        appointment_id,
        service: None,
        practitioner: c.staff(c.message.field("PV1", 7)),
        channel: None,
        urgency: urgency(c),
        self_service: None,
        hold_s: None,
        capture_s: None,
    }));
}

/// PV1-4, the kind of admission (table 0007).
fn urgency(c: &Context<'_>) -> Option<Priority> {
    match c.message.field("PV1", 4).id().as_deref() {
        Some("E") => Some(Priority::Stat),
        Some("U") => Some(Priority::Urgent),
        Some("R" | "C") => Some(Priority::Routine),
        _ => None,
    }
}

fn request_cancelled(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let id = announced(c).or_else(|| c.encounter());
    let place = place(c);
    let header = c.header(patient, at, place);
    if let Some(appointment_id) = c.need(id, Place::field("PV1", 5).component(1), "the event needs PV1-5 or PV1-19") {
        let by = Party::Other;
        c.push(Event::AppointmentCancelled(AppointmentCancelled {
            header,
            appointment_id,
            by,
            channel: None,
            reason: None,
        }));
    }
}

fn checked_in(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header_in_person(patient, at, place);
    c.push(Event::PatientCheckedIn(PatientCheckedIn {
        header,
        appointment_id: announced(c),
        encounter_id: c.encounter(),
        starts_at: None,
        channel: None,
    }));
}

fn admitted(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header_in_person(patient, at, place);
    if let Some(encounter_id) = c.needed_encounter() {
        let location = ward(place);
        c.push(Event::PatientAdmitted(PatientAdmitted { header, encounter_id, location, order_id: None }));
    }
}

fn transferred(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header_in_person(patient, at, place);
    let encounter_id = c.needed_encounter();
    let location = c.need(ward(place), Place::field("PV1", 3).component(1), "a transfer needs the new place");
    if let (Some(encounter_id), Some(location)) = (encounter_id, location) {
        c.push(Event::PatientTransferred(PatientTransferred { header, encounter_id, location }));
    }
}

fn discharged(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header_in_person(patient, at, place);
    if let Some(encounter_id) = c.needed_encounter() {
        let (location, disposition) = (ward(place), disposition(c));
        c.push(Event::PatientDischarged(PatientDischarged {
            header,
            encounter_id,
            location,
            disposition,
            high_risk: None,
        }));
    }
}

/// PV1-36 in the events' words: by the site file, else by table 0112; what neither knows as it was sent. Nobody may be called
/// who has died, so PID-30 says so too where PV1-36 says nothing.
fn disposition(c: &Context<'_>) -> Option<String> {
    let Some(code) = c.message.field("PV1", 36).id() else {
        return (deceased(c) == Some(true)).then(|| "expired".to_owned());
    };
    if let Some(own) = c.rules.dispositions.get(&*code) {
        return Some(own.clone());
    }
    Some(match &*code {
        "01" | "1" | "06" | "6" | "08" | "8" | "50" | "81" | "86" => "home".to_owned(),
        "02" | "2" | "03" | "3" | "04" | "4" | "05" | "5" | "43" | "51" | "61" | "62" | "63" | "64" | "65" | "66"
        | "70" => "transfer".to_owned(),
        "07" | "7" => "against_advice".to_owned(),
        "20" | "40" | "41" | "42" => "expired".to_owned(),
        _ => code.into_owned(),
    })
}

/// PID-30.
fn deceased(c: &Context<'_>) -> Option<bool> {
    match c.message.field("PID", 30).id()?.to_ascii_uppercase().as_str() {
        "Y" | "YES" => Some(true),
        "N" | "NO" => Some(false),
        _ => None,
    }
}

fn admission_cancelled(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header(patient, at, place);
    if let Some(encounter_id) = c.needed_encounter() {
        c.push(Event::AdmissionCancelled(AdmissionCancelled { header, encounter_id }));
    }
}

fn discharge_cancelled(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header(patient, at, place);
    if let Some(encounter_id) = c.needed_encounter() {
        c.push(Event::DischargeCancelled(DischargeCancelled { header, encounter_id }));
    }
}

/// A message says what holds now, not what changed: `fields` stays empty but for what it states expressly.
fn updated(c: &mut Context<'_>, patient: &Patient, at: Micros) {
    let place = place(c);
    let header = c.header(patient, at, place);
    let mut special_requirements: Vec<String> = Vec::new();
    let (mut stated, mut other) = (false, false);
    for code in c.message.field("PV1", 15).repetitions().filter_map(Part::id) {
        stated = true;
        // Table 0009, ambulatory status.
        let need = match &*code {
            "A1" => "walking_aid",
            "A2" => "wheelchair",
            "A4" => "disoriented",
            "A5" => "vision_impaired",
            "A6" => "hearing_impaired",
            "A7" => "speech_impaired",
            "A8" => "interpreter",
            "B1" => "oxygen",
            "A0" => continue,
            _ => {
                other = true;
                continue;
            }
        };
        special_requirements.push(need.to_owned());
    }
    // "No functional limitations" takes back what was said before; a code that means nothing here doesn't.
    let none = stated && !other && special_requirements.is_empty();
    let fields = if none { vec!["special_requirements".to_owned()] } else { Vec::new() };
    let deceased = deceased(c);
    c.push(Event::DemographicsUpdated(DemographicsUpdated { header, fields, special_requirements, deceased }));
}
