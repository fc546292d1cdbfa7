//! Resource → events. Everything in an event comes from the resource; only the time of a change that its resource doesn't
//! tell is that of the bundle, else of the request.

mod appointment;
mod billing;
mod communication;
mod consent;
mod encounter;
mod patient;
mod questionnaire;
mod request;

use super::appointments::{Appointments, Keys, Known, Order, Version, Visit};
use super::element::When;
use super::outcome::Issue;
use super::reference::{Link, Subject};
use super::scope::Unit;
use chrono_tz::Tz;
use domain::event::{Header, Source};
use domain::{Event, Micros, PatientId};
use std::collections::HashMap;

/// Events that one resource may become.
pub(super) const MOST_EVENTS: usize = 1_000;

/// What a resource means to the journey.
pub(super) enum Mapped {
    /// These events.
    Events(Vec<Told>),
    /// None, and why.
    Nothing(&'static str),
}

/// An event, and the element that says when it happened.
pub(super) struct Told {
    pub event: Event,
    pub when: String,
}

/// The memory of appointments, and what this request will change in it once it is published.
pub(super) struct Memory<'m> {
    pub appointments: &'m Appointments,
    pub changes: HashMap<u64, Known>,
}

impl Memory<'_> {
    /// What a version is, given those of the same appointment that came before; they are one more from here on.
    fn visit(&mut self, keys: &Keys, version: Version) -> Visit {
        let mut known = keys.known(|key| self.changes.get(&key).cloned().or_else(|| self.appointments.get(key)));
        let visit = known.visit(version);
        self.changes.insert(keys.reference, known.clone());
        self.changes.insert(keys.pseudonym, known);
        visit
    }
}

/// The resource types that [`map`] makes events of, by name.
pub(super) const KINDS: [&str; 14] = [
    "Appointment",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "Communication",
    "Consent",
    "DiagnosticReport",
    "Encounter",
    "ExplanationOfBenefit",
    "Invoice",
    "Patient",
    "QuestionnaireResponse",
    "ServiceRequest",
    "Task",
];

/// What a resource means.
pub(super) fn map(unit: &Unit<'_>, memory: &mut Memory<'_>) -> Result<Mapped, Issue> {
    match unit.kind {
        "Appointment" => appointment::map(unit, memory),
        "Encounter" => encounter::map(unit),
        "ServiceRequest" => request::service_request(unit),
        "Task" => request::task(unit),
        "DiagnosticReport" => request::report(unit),
        "Communication" => communication::map(unit),
        "ChargeItem" => billing::charge_item(unit),
        "Invoice" => billing::invoice(unit),
        "Claim" => billing::claim(unit),
        "ClaimResponse" => billing::claim_response(unit),
        "ExplanationOfBenefit" => billing::explanation(unit),
        "QuestionnaireResponse" => questionnaire::map(unit),
        "Consent" => consent::map(unit),
        "Patient" => patient::map(unit),
        _ => Ok(Mapped::Nothing("resources of this type tell no step of a journey")),
    }
}

impl<'a> Unit<'a> {
    fn zone(&self) -> Tz {
        self.scope.site().zone
    }

    /// `status`, which every resource here must have.
    fn status(&self) -> Result<&'a str, Issue> {
        self.root.required("status")
    }

    /// When this version was made: `meta.lastUpdated`, else when the bundle was, else when the request came.
    fn updated(&self) -> Result<When, Issue> {
        if let Some(when) = self.last_updated()? {
            return Ok(when);
        }
        Ok(match self.scope.bundled {
            Some(at) => When { at, path: "Bundle.timestamp".into() },
            None => When { at: self.scope.received, path: format!("{}.meta.lastUpdated", self.kind) },
        })
    }

    fn last_updated(&self) -> Result<Option<When>, Issue> {
        self.root.get("meta").map_or(Ok(None), |m| m.time("lastUpdated", self.zone()))
    }

    fn version(&self) -> Result<Option<&'a str>, Issue> {
        self.root.get("meta").map_or(Ok(None), |m| m.string("versionId"))
    }

    /// Whether this is the first version, or doesn't say that it is another one.
    fn is_first(&self) -> Result<bool, Issue> {
        let (updated, number) = self.order()?;
        Ok(number.map_or(updated.is_none() && self.version()?.is_none(), |n| n <= 1))
    }

    /// How this version compares with others.
    fn order(&self) -> Result<Order, Issue> {
        let number = self.version()?.and_then(|v| v.parse().ok());
        Ok((self.last_updated()?.map(|w| w.at.0), number))
    }

    /// The time under the first of these names that is there.
    fn time_of(&self, names: &[&str]) -> Result<Option<When>, Issue> {
        self.root.any(names).map(|e| e.when(self.zone())).transpose()
    }

    /// The same; where none is there, when this version was made.
    fn time_or_updated(&self, names: &[&str]) -> Result<When, Issue> {
        self.time_of(names)?.map_or_else(|| self.updated(), Ok)
    }

    /// The link under the first of these names that is there.
    fn link_of(&self, names: &[&str]) -> Result<Option<Link<'a>>, Issue> {
        names.iter().find_map(|n| self.root.first(n)).map(|e| self.link(&e)).transpose()
    }

    /// What the resource under the first of these names is called.
    fn reference_of(&self, names: &[&str]) -> Result<Option<String>, Issue> {
        let link = self.link_of(names)?;
        link.map_or(Ok(None), |l| self.reference(&l))
    }

    /// The patient under the first of these names, which must be there.
    fn patient_of(&self, names: &[&str]) -> Result<Patient, Issue> {
        let named = names.first().copied().unwrap_or("subject");
        self.patient_if_any(&self.link_of(names)?.ok_or_else(|| self.root.missing(named))?)
    }

    /// The patient that a link is to, if it is to one.
    fn patient_if_any(&self, link: &Link<'a>) -> Result<Patient, Issue> {
        match link.kind {
            None | Some("Patient") => self.patient(link).map(Patient::Is),
            Some(_) => Ok(Patient::Other),
        }
    }

    /// The header of an event of this resource. `state`: what it has become by it.
    fn header(&self, state: &str, when: &When, patient: &Subject) -> Result<Header, Issue> {
        self.header_about(&self.name(), state, when, patient)
    }

    /// The header of an event that another resource may tell as well: `about` names the one that both go by.
    fn header_about(&self, about: &str, state: &str, when: &When, patient: &Subject) -> Result<Header, Issue> {
        let nameless = self.nameless_header(&format!("{about}#{state} of {}", patient.key), when)?;
        Ok(Header { patient_id: Some(PatientId(patient.id.clone())), ..nameless })
    }

    /// The header of an event that no patient is named in. `told` is all that its id is made of beside the server.
    fn nameless_header(&self, told: &str, when: &When) -> Result<Header, Issue> {
        // A server's own id of a patient may well be the record number.
        let name = if self.kind == "Patient" { format!("Patient/{}", self.bare_pseudonym()) } else { self.name() };
        let message = match self.version()? {
            Some(version) => format!("{name}/_history/{version}"),
            None => name,
        };
        let site = self.scope.site();
        Ok(Header {
            event_id: crate::site::event_id(self.source, told, 0),
            occurred_at: when.at,
            zone: site.zone.name().to_owned(),
            recorded_at: self.last_updated()?.map_or(self.scope.bundled.unwrap_or(when.at), |w| w.at),
            source: Source {
                system: self.source.to_owned(),
                facility: None,
                message_id: Some(message),
                trigger: Some(self.kind.to_owned()),
            },
            actor: None,
            patient_id: None,
            journey_id: None,
            site: site.site.clone(),
            department: None,
            modality: None,
            causation_id: None,
            correlation_id: None,
            confidentiality: self.confidentiality.clone(),
        })
    }

    /// The hospital's name of the department that a code means.
    fn department(&self, code: Option<&str>) -> Option<String> {
        code.map(|c| self.scope.site().department(c).to_owned())
    }

    /// What this resource tells; where it was entered in error that never happened.
    fn unless_in_error(&self, mapped: Mapped) -> Result<Mapped, Issue> {
        match mapped {
            Mapped::Events(told) if matches!(self.root.string("status"), Ok(Some("entered-in-error"))) => {
                self.retract(told)
            }
            mapped => Ok(mapped),
        }
    }

    /// Takes back events that were told of this resource.
    fn retract(&self, told: Vec<Told>) -> Result<Mapped, Issue> {
        let when = self.updated()?;
        let mut all = Vec::with_capacity(told.len());
        for t in told {
            let h = t.event.header();
            // Whom it was told of is in the id that is retracted.
            let nameless = self.nameless_header(&format!("{}#retracted {}", self.name(), h.event_id), &when)?;
            let header = Header { patient_id: h.patient_id.clone(), ..nameless };
            let (target_event_id, reason) = (h.event_id.to_string(), "entered in error".to_owned());
            let event = Event::EventRetracted(domain::event::EventRetracted { header, target_event_id, reason });
            all.push(Told { event, when: when.path.clone() });
        }
        Ok(match all.is_empty() {
            true => Mapped::Nothing("entered in error, and it had told nothing"),
            false => Mapped::Events(all),
        })
    }
}

/// Whom a resource is about.
enum Patient {
    /// A patient.
    Is(Subject),
    /// A group, a device, a place.
    Other,
}

/// Why a resource about somebody else than a patient tells nothing.
const NOT_A_PATIENT: Mapped = Mapped::Nothing("it isn't about one patient");

/// One event.
fn one(event: Event, when: &When) -> Mapped {
    Mapped::Events(vec![Told { event, when: when.path.clone() }])
}

/// Minutes from one time to another.
fn minutes(from: Micros, to: Micros) -> Option<i32> {
    let minutes = to.0.saturating_sub(from.0) / domain::time::MINUTE;
    i32::try_from(minutes).ok().filter(|m| *m >= 0)
}
