//! Encounter: what its status and its period say together. A visit that comes as finished tells its beginning too, and
//! each of these is one event, however many versions repeat it.

use super::{MOST_EVENTS, Mapped, NOT_A_PATIENT, Patient, Told, Unit};
use crate::fhir::appointments::ARRIVED;
use crate::fhir::element::{Element, When};
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use domain::Event;
use domain::event::{
    AdmissionCancelled, ConsultEnded, ConsultStarted, Header, Modality, PatientAdmitted, PatientCheckedIn,
    PatientDischarged, PatientTransferred,
};

/// Classes (v3-ActCode) of those who stay.
const INPATIENT: &[&str] = &["IMP", "ACUTE", "NONAC", "OBSENC", "SS"];

/// What an encounter says beside its status.
struct Visit<'u, 'a> {
    unit: &'u Unit<'a>,
    id: String,
    patient: Subject,
    inpatient: bool,
    appointment: Option<String>,
    /// By what the Appointment goes too: `Appointment/id`, where the encounter names one, else its own name.
    about: String,
    practitioner: Option<String>,
    service: Option<String>,
    department: Option<String>,
    modality: Option<Modality>,
    order: Option<String>,
    begun: Option<When>,
    ended: Option<When>,
}

/// How far an encounter has come.
#[derive(PartialEq, Eq)]
enum Stage {
    Planned,
    Arrived,
    Begun,
    Ended,
    Cancelled,
    Unknown,
}

pub(super) fn map(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let stage = match status {
        "planned" => Stage::Planned,
        "arrived" | "triaged" => Stage::Arrived,
        "in-progress" | "onleave" | "on-hold" => Stage::Begun,
        "finished" | "completed" | "discharged" | "discontinued" => Stage::Ended,
        "cancelled" => Stage::Cancelled,
        "unknown" => Stage::Unknown,
        "entered-in-error" => Stage::Ended,
        _ => return Err(Issue::unknown_code("Encounter.status")),
    };
    let Some(visit) = Visit::read(unit)? else { return Ok(NOT_A_PATIENT) };
    let events = match stage {
        Stage::Planned => return Ok(Mapped::Nothing("a planned encounter; the Appointment tells of the booking")),
        Stage::Unknown => return Ok(Mapped::Nothing("nobody knows how far it has come")),
        Stage::Cancelled if visit.inpatient => vec![visit.cancelled()?],
        Stage::Cancelled => return Ok(Mapped::Nothing("a visit that never began; the Appointment tells why")),
        Stage::Arrived => vec![visit.arrived(visit.begun.clone().map_or_else(|| unit.updated(), Ok)?)?],
        Stage::Begun | Stage::Ended => visit.events(stage == Stage::Ended)?,
    };
    match status {
        "entered-in-error" => unit.retract(events),
        _ if events.is_empty() => Ok(Mapped::Nothing("it says nothing of when anything happened")),
        _ => Ok(Mapped::Events(events)),
    }
}

impl<'u, 'a> Visit<'u, 'a> {
    fn read(unit: &'u Unit<'a>) -> Result<Option<Self>, Issue> {
        let root = &unit.root;
        let Patient::Is(patient) = unit.patient_of(&["subject"])? else { return Ok(None) };
        let class = root.code("class")?.code.unwrap_or_default();
        let link = unit.link_of(&["appointment"])?;
        let about = link.as_ref().and_then(|l| unit.linked_name(l, "Appointment")).unwrap_or_else(|| unit.name());
        let mut practitioner = None;
        for p in root.each("participant") {
            let Some(actor) = p.any(&["individual", "actor"]) else { continue };
            practitioner = unit.staff(&unit.link(&actor)?)?;
            if practitioner.is_some() {
                break;
            }
        }
        let service_type = root.code("serviceType")?;
        let order = match unit.link_of(&["basedOn"])? {
            Some(l) if super::request::is_referral(unit, &l)? == Some(false) => unit.reference(&l)?,
            _ => None,
        };
        let period = root.any(&["actualPeriod", "period"]);
        let edge = |name| period.as_ref().map_or(Ok(None), |p| p.time(name, unit.zone()));
        Ok(Some(Self {
            unit,
            id: unit.own_reference()?,
            patient,
            inpatient: INPATIENT.contains(&class),
            appointment: link.map_or(Ok(None), |l| unit.reference(&l))?,
            about,
            practitioner,
            service: service_type.name().or(root.code("type")?.name()).map(str::to_owned),
            department: unit.department(service_type.name()),
            modality: (class == "VR").then_some(Modality::Video),
            order,
            begun: edge("start")?,
            ended: edge("end")?,
        }))
    }

    fn header(&self, state: &str, when: &When) -> Result<Header, Issue> {
        self.header_about(&self.unit.name(), state, when)
    }

    /// The header of what the Appointment's own status tells too.
    fn shared(&self, state: &str, when: &When) -> Result<Header, Issue> {
        self.header_about(&self.about, state, when)
    }

    fn header_about(&self, about: &str, state: &str, when: &When) -> Result<Header, Issue> {
        let mut header = self.unit.header_about(about, state, when, &self.patient)?;
        header.department.clone_from(&self.department);
        header.modality = self.modality;
        Ok(header)
    }

    fn arrived(&self, when: When) -> Result<Told, Issue> {
        let event = PatientCheckedIn {
            header: self.shared(ARRIVED, &when)?,
            appointment_id: self.appointment.clone(),
            encounter_id: Some(self.id.clone()),
            starts_at: None,
            channel: None,
        };
        Ok(Told { event: Event::PatientCheckedIn(event), when: when.path })
    }

    fn cancelled(&self) -> Result<Told, Issue> {
        let when = self.unit.updated()?;
        let event = AdmissionCancelled { header: self.header("cancelled", &when)?, encounter_id: self.id.clone() };
        Ok(Told { event: Event::AdmissionCancelled(event), when: when.path })
    }

    /// What began and, when it is over, what ended.
    fn events(&self, over: bool) -> Result<Vec<Told>, Issue> {
        let mut all = Vec::new();
        if let Some(when) = self.history(&["arrived", "triaged"])? {
            all.push(self.arrived(when)?);
        }
        let begun = match (&self.begun, self.history(&["in-progress"])?) {
            // A period begins with the arrival; the history knows when the consult did.
            (Some(_), Some(when)) if !self.inpatient => Some(when),
            (Some(when), _) => Some(when.clone()),
            (None, Some(when)) => Some(when),
            // When something that is over began is not to be guessed.
            (None, None) if over => None,
            (None, None) => Some(self.unit.updated()?),
        };
        if let Some(when) = begun {
            all.push(if self.inpatient { self.admitted(when)? } else { self.started(when)? });
        }
        if self.inpatient {
            self.transfers(&mut all)?;
        }
        if over {
            let when = self.ended.clone().map_or_else(|| self.unit.updated(), Ok)?;
            all.push(if self.inpatient { self.discharged(when)? } else { self.over(when)? });
        }
        Ok(all)
    }

    /// When the encounter came to be in one of these statuses, by R4's `statusHistory`.
    fn history(&self, statuses: &[&str]) -> Result<Option<When>, Issue> {
        for e in self.unit.root.each("statusHistory") {
            if statuses.contains(&e.required("status")?)
                && let Some(period) = e.get("period")
            {
                return period.time("start", self.unit.zone());
            }
        }
        Ok(None)
    }

    fn started(&self, when: When) -> Result<Told, Issue> {
        let event = ConsultStarted {
            header: self.header("begun", &when)?,
            encounter_id: self.id.clone(),
            appointment_id: self.appointment.clone(),
            practitioner: self.practitioner.clone(),
            service: self.service.clone(),
        };
        Ok(Told { event: Event::ConsultStarted(event), when: when.path })
    }

    fn over(&self, when: When) -> Result<Told, Issue> {
        let event = ConsultEnded {
            header: self.shared("fulfilled", &when)?,
            encounter_id: self.id.clone(),
            appointment_id: self.appointment.clone(),
            practitioner: self.practitioner.clone(),
            surgery_recommended: None,
            technical_ok: None,
            reexam_due_on: None,
            high_risk: None,
        };
        Ok(Told { event: Event::ConsultEnded(event), when: when.path })
    }

    fn admitted(&self, when: When) -> Result<Told, Issue> {
        let event = PatientAdmitted {
            header: self.header("begun", &when)?,
            encounter_id: self.id.clone(),
            location: self.places()?.into_iter().next().map(|(place, _)| place),
            order_id: self.order.clone(),
        };
        Ok(Told { event: Event::PatientAdmitted(event), when: when.path })
    }

    /// Every place after the first, where it is known since when.
    fn transfers(&self, all: &mut Vec<Told>) -> Result<(), Issue> {
        // One more than there may be is refused.
        for (location, since) in self.places()?.into_iter().skip(1).take(MOST_EVENTS + 1) {
            let Some(when) = since else { continue };
            let header = self.header(&format!("moved to {location} at {}", when.at.0), &when)?;
            let event = PatientTransferred { header, encounter_id: self.id.clone(), location };
            all.push(Told { event: Event::PatientTransferred(event), when: when.path });
        }
        Ok(())
    }

    fn discharged(&self, when: When) -> Result<Told, Issue> {
        let stay = self.unit.root.any(&["hospitalization", "admission"]);
        let disposition = stay.map_or(Ok(None), |s| s.code("dischargeDisposition").map(|c| c.name()))?;
        let event = PatientDischarged {
            header: self.header("ended", &when)?,
            encounter_id: self.id.clone(),
            location: self.places()?.into_iter().next_back().map(|(place, _)| place),
            disposition: disposition.map(str::to_owned),
            high_risk: None,
        };
        Ok(Told { event: Event::PatientDischarged(event), when: when.path })
    }

    /// The places where the patient was, in order, and since when.
    fn places(&self) -> Result<Vec<(String, Option<When>)>, Issue> {
        let mut all: Vec<(String, Option<When>)> = Vec::new();
        for e in self.unit.root.each("location") {
            if matches!(e.string("status")?, Some("planned" | "reserved")) {
                continue;
            }
            let Some(place) = e.get("location").map(|l| self.place(&l)).transpose()?.flatten() else { continue };
            let since = e.get("period").map_or(Ok(None), |p| p.time("start", self.unit.zone()))?;
            if all.last().is_none_or(|(last, _)| *last != place) {
                all.push((place, since));
            }
        }
        all.sort_by_key(|(_, since)| since.as_ref().map(|w| w.at));
        Ok(all)
    }

    /// A place by the hospital's identifier, else by what it is called, else by its id.
    fn place(&self, reference: &Element<'a>) -> Result<Option<String>, Issue> {
        let link = self.unit.link(reference)?;
        let name = link.resource.as_ref().map_or(Ok(None), |r| r.string("name"))?.or(link.display);
        let known = self.unit.reference(&link)?;
        // An identifier that the site knows goes before a name, and a name before a server's own id.
        Ok(match (known, name) {
            (Some(id), Some(name)) if link.id == Some(id.as_str()) => Some(name.to_owned()),
            (Some(id), _) => Some(id),
            (None, name) => name.map(str::to_owned),
        })
    }
}
