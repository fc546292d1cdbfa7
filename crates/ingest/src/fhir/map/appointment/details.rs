//! What an appointment says beside its status, and of whom.

use super::super::request::is_referral;
use super::super::{MOST_EVENTS, Unit, minutes};
use crate::fhir::element::When;
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use domain::event::Priority;
use xxhash_rust::xxh3::xxh3_64;

/// What an appointment says beside its status.
pub(super) struct Details {
    pub id: String,
    pub start: Option<When>,
    /// Minutes.
    pub duration: Option<i32>,
    pub service: Option<String>,
    pub practitioner: Option<String>,
    pub department: Option<String>,
    pub referral: Option<String>,
    pub order: Option<String>,
    pub urgency: Option<Priority>,
}

impl Details {
    /// Part of the ids of `AppointmentModified`, which a resend finds again.
    pub(super) fn hash(&self) -> u64 {
        xxh3_64(format!("{:?}", (self.duration, &self.service, &self.practitioner)).as_bytes())
    }
}

/// Who takes part in an appointment.
struct Participants {
    /// At least one.
    patients: Vec<Subject>,
    practitioner: Option<String>,
}

/// The patients, and what is said of all of them; nothing where it is about a group that isn't here.
pub(super) fn read(unit: &Unit<'_>) -> Result<Option<(Vec<Subject>, Details)>, Issue> {
    let root = &unit.root;
    let Some(Participants { patients, practitioner }) = participants(unit)? else { return Ok(None) };
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
        match is_referral(unit, &link)? {
            Some(false) => order = id,
            _ => referral = id,
        }
    }
    // R4 has a number here that says nothing by itself.
    let urgency = root.get("priority").filter(|p| p.value.is_object()).map(|p| p.as_code()).transpose()?;
    let details = Details {
        id: unit.own_reference()?,
        start,
        duration,
        service: service.map(str::to_owned),
        practitioner,
        department: unit.department(department),
        referral,
        order,
        urgency: urgency.and_then(|c| c.code).and_then(act_priority),
    };
    Ok(Some((patients, details)))
}

fn participants(unit: &Unit<'_>) -> Result<Option<Participants>, Issue> {
    let (mut subject, mut patients, mut other, mut practitioner) = (None, Vec::<Subject>::new(), false, None);
    // R5 has a subject beside the participants.
    let all = unit.root.each("participant");
    let actors = all.iter().filter_map(|p| Some((false, p.get("actor")?)));
    let mut others = false;
    for (about, e) in unit.root.each("subject").into_iter().map(|s| (true, s)).chain(actors) {
        others |= !about;
        let link = unit.link(&e)?;
        // Nobody may say what it is, but only patients have such numbers.
        let is_patient = link.kind == Some("Patient") || link.kind.is_none() && unit.is_record_number(&link);
        match link.kind {
            _ if is_patient && about => subject = Some(unit.patient(&link)?),
            _ if is_patient => {
                let patient = unit.patient(&link)?;
                if !patients.iter().any(|p| p.is(&patient)) && patients.len() <= MOST_EVENTS {
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
    match patients.is_empty() {
        true if other => Ok(None),
        true => Err(nobody(unit, others)),
        false => Ok(Some(Participants { patients, practitioner })),
    }
}

/// No patient takes part. `others`: somebody does.
fn nobody(unit: &Unit<'_>, others: bool) -> Issue {
    let missing = unit.root.missing("participant.actor");
    let reason = "none is known to be a patient: give a reference Patient/…, the type Patient, or an identifier whose system \
                  is an authority of the site file";
    if others { Issue { diagnostics: reason.to_owned(), ..missing } } else { missing }
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
