//! ADT about identities: merged, taken apart, renumbered.

use super::super::message::{Part, Segment};
use super::super::wrong::{Code, Place};
use super::context::{Context, HAPPENED, Patient};
use domain::event::{Event, PatientIdentifiersChanged, PatientsMerged, PatientsUnmerged};
use domain::{Micros, PatientId};

/// Why a message that names nobody who retires is refused.
const MISSING: &str = "the event needs the former identifier";

pub fn map(c: &mut Context<'_>, trigger: &str) {
    let message = c.message;
    let at = c.needed(|c| c.first_time(HAPPENED), Place::field("EVN", 2), "the event needs a time");
    let Some(at) = at else { return };
    let groups: Vec<&[Segment<'_>]> = message.groups("PID").collect();
    if groups.is_empty() {
        return c.wrong(Place::segment("PID"), Code::Segment, "the message has no patient");
    }
    // Linking and unlinking name two patients in two segments alike.
    if matches!(trigger, "A24" | "A37") {
        return pair(c, trigger, &groups, at);
    }
    for group in groups {
        let patient = c.patient(group.first());
        let formers: Vec<&Segment<'_>> = group.iter().filter(|s| s.name() == "MRG").collect();
        if formers.is_empty() {
            let sequence = group.first().map_or(1, |p| p.sequence);
            c.wrong(former_place(sequence), Code::Missing, MISSING);
        }
        for mrg in formers {
            former(c, trigger, patient.as_ref(), mrg, at);
        }
    }
}

/// MRG-1 of one of the message's MRG segments.
const fn former_place(sequence: u16) -> Place {
    Place::field("MRG", 1).in_sequence(sequence).component(1)
}

/// One MRG segment: one former patient. MRG-1 lists that one's numbers; of the numbers of one authority and type all retire.
fn former(c: &mut Context<'_>, trigger: &str, patient: Option<&Patient>, mrg: &Segment<'_>, at: Micros) {
    let place = former_place(mrg.sequence);
    // The number that retires is of the authority whose other one stays.
    let all = c.identifiers(mrg.field(1), patient.map(|p| p.authority.as_str()));
    if all.is_empty() {
        return c.wrong(place, Code::Missing, MISSING);
    }
    let Some(patient) = patient else { return };
    let retired: Vec<Patient> = all.into_iter().filter(|former| former.id != patient.id).collect();
    if retired.is_empty() {
        return c.wrong(place, Code::Table, "is the patient's present identifier");
    }
    for former in retired {
        changed(c, trigger, patient, former, at);
    }
}

fn changed(c: &mut Context<'_>, trigger: &str, patient: &Patient, former: Patient, at: Micros) {
    let header = c.header(patient, at, NOWHERE);
    let (retired, authority) = (former.id, Some(former.authority).filter(|a| !a.is_empty()));
    c.push(if trigger == "A47" {
        Event::PatientIdentifiersChanged(PatientIdentifiersChanged { header, retired: Some(retired), authority })
    } else {
        Event::PatientsMerged(PatientsMerged { header, surviving: patient.id.clone(), retired, authority })
    });
}

fn pair(c: &mut Context<'_>, trigger: &str, groups: &[&[Segment<'_>]], at: Micros) {
    let segment = |n: usize| groups.get(n).and_then(|g| g.first());
    let Some(other) = segment(1) else {
        return c.wrong(Place::segment("PID").in_sequence(2), Code::Segment, "the message needs two patients");
    };
    let place = Place::field("PID", 3).in_sequence(other.sequence).component(1);
    if let Some(third) = segment(2) {
        let place = Place::segment("PID").in_sequence(third.sequence);
        return c.wrong(place, Code::Segment, "the message is about two patients, not more");
    }
    let first = c.patient(segment(0));
    let like = first.as_ref().map(|p| p.authority.clone());
    let second = c.identifier(other.field(3), like.as_deref());
    let second = c.need(second, place, "a patient needs an identifier");
    let (Some(first), Some(second)) = (first, second) else { return };
    if first.id == second.id {
        return c.wrong(place, Code::Table, "is the same patient");
    }
    let mut header = c.header(&first, at, NOWHERE);
    header.patient_id = Some(PatientId(first.id.clone()));
    let (surviving, retired, authority) = (first.id, second.id, Some(second.authority).filter(|a| !a.is_empty()));
    c.push(if trigger == "A24" {
        Event::PatientsMerged(PatientsMerged { header, surviving, retired, authority })
    } else {
        Event::PatientsUnmerged(PatientsUnmerged { header, surviving, retired, authority })
    });
}

/// An identity is nowhere.
const NOWHERE: Part<'static> = Part::new(
    "",
    super::super::message::Delimiters {
        field: b'|',
        component: b'^',
        repetition: b'~',
        escape: None,
        subcomponent: None,
    },
);
