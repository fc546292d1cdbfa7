//! `ServiceRequest` and Task: referrals and orders; `DiagnosticReport`: what came of an order.

use super::{Mapped, NOT_A_PATIENT, Patient, Told, Unit, one};
use crate::fhir::element::{Code, Element, When};
use crate::fhir::outcome::Issue;
use crate::fhir::reference::{Link, Subject};
use domain::Event;
use domain::event::{
    OrderCancelled, OrderPlaced, Priority, ReferralAccepted, ReferralCancelled, ReferralCompleted, ReferralDeclined,
    ReferralMade, ResultCorrected, ResultReported, ResultStatus,
};

/// SNOMED CT: patient referral, referral to service, referral for further care, referral to physician.
const REFERRALS: &[&str] = &["3457005", "306206005", "103696004", "103697008", "308447003"];

/// Whether codes say that a request is a referral.
fn says_referral(codes: &[Code<'_>]) -> bool {
    let word = |t: &str| t.to_ascii_lowercase().contains("referral");
    codes.iter().any(|c| c.code.is_some_and(|c| REFERRALS.contains(&c) || word(c)) || c.text.is_some_and(word))
}

fn referral(request: &Element<'_>) -> Result<bool, Issue> {
    Ok(says_referral(&request.codes("category")?) || says_referral(&request.codes("code")?))
}

/// Whether a linked `ServiceRequest` is a referral; `None` where it isn't here to look at. However many link to it, it is
/// looked at once.
pub(super) fn is_referral(unit: &Unit<'_>, link: &Link<'_>) -> Result<Option<bool>, Issue> {
    let Some(request) = &link.resource else { return Ok(None) };
    let mut known = unit.scope.referrals.borrow_mut();
    known.entry(std::ptr::from_ref(request.value)).or_insert_with(|| referral(request)).clone().map(Some)
}

fn priority(unit: &Unit<'_>) -> Result<Option<Priority>, Issue> {
    Ok(match unit.root.string("priority")? {
        Some("routine") => Some(Priority::Routine),
        Some("urgent") => Some(Priority::Urgent),
        Some("asap") => Some(Priority::Asap),
        Some("stat") => Some(Priority::Stat),
        Some(_) => return Err(Issue::unknown_code(format!("{}.priority", unit.kind))),
        None => None,
    })
}

/// What requests have in common.
struct Request<'u, 'a> {
    unit: &'u Unit<'a>,
    /// `ServiceRequest/id`: a Task about it tells the same events.
    about: String,
    id: String,
    patient: Subject,
    department: Option<String>,
}

impl Request<'_, '_> {
    fn header(&self, state: &str, when: &When) -> Result<domain::event::Header, Issue> {
        let mut header = self.unit.header_about(&self.about, state, when, &self.patient)?;
        header.department.clone_from(&self.department);
        Ok(header)
    }

    fn cancelled(&self, referral: bool, reason: Option<String>) -> Result<Told, Issue> {
        let when = self.unit.updated()?;
        let (header, id) = (self.header("cancelled", &when)?, self.id.clone());
        let event = match referral {
            true => Event::ReferralCancelled(ReferralCancelled { header, referral_id: id, reason }),
            false => {
                let encounter_id = self.unit.reference_of(&["encounter"])?;
                Event::OrderCancelled(OrderCancelled { header, order_id: id, encounter_id, reason })
            }
        };
        Ok(Told { event, when: when.path })
    }

    fn completed(&self, when: &When, outcome_ref: Option<String>) -> Result<Told, Issue> {
        let event = ReferralCompleted {
            header: self.header("completed", when)?,
            referral_id: self.id.clone(),
            encounter_id: None,
            outcome_ref,
        };
        Ok(Told { event: Event::ReferralCompleted(event), when: when.path.clone() })
    }
}

pub(super) fn service_request(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    match unit.root.required("intent")? {
        "order" | "original-order" | "reflex-order" | "filler-order" | "instance-order" => {}
        "proposal" | "plan" | "directive" | "option" => return Ok(Mapped::Nothing("nobody ordered it yet")),
        _ => return Err(Issue::unknown_code("ServiceRequest.intent")),
    }
    if status == "draft" {
        return Ok(Mapped::Nothing("a draft"));
    }
    let Patient::Is(patient) = unit.patient_of(&["subject"])? else { return Ok(NOT_A_PATIENT) };
    let referral = referral(&unit.root)?;
    let department = unit.department(unit.root.code("performerType")?.code.filter(|_| referral));
    let request = Request { unit, about: unit.name(), id: unit.own_reference()?, patient, department: None };
    let mut all = vec![if referral { referred(&request, department)? } else { ordered(&request)? }];
    match status {
        "on-hold" | "active" | "unknown" => {}
        "completed" if referral => {
            // What came of it is for a Task's output or a report to say.
            let when = unit.updated()?;
            all.push(request.completed(&when, None)?);
        }
        "completed" => {}
        "revoked" => all.push(request.cancelled(referral, reason(unit)?)?),
        "entered-in-error" => return unit.retract(all),
        _ => return Err(Issue::unknown_code("ServiceRequest.status")),
    }
    Ok(Mapped::Events(all))
}

fn referred(r: &Request<'_, '_>, to: Option<String>) -> Result<Told, Issue> {
    let unit = r.unit;
    let when = unit.time_or_updated(&["authoredOn"])?;
    let performer = unit.link_of(&["performer"])?;
    let performer = match &performer {
        Some(link) => called(unit, link)?,
        None => None,
    };
    let to = match performer.or(to) {
        Some(to) => to,
        None => {
            let what = unit.root.code("code")?.name().or(unit.root.code("category")?.name());
            what.ok_or_else(|| unit.root.missing("performer"))?.to_owned()
        }
    };
    let from = match unit.link_of(&["requester"])? {
        Some(link) => called(unit, &link)?,
        None => None,
    };
    let expires = unit.root.any(&["occurrencePeriod"]).map_or(Ok(None), |p| p.time("end", unit.zone()))?;
    let event = ReferralMade {
        header: r.header("made", &when)?,
        referral_id: r.id.clone(),
        encounter_id: unit.reference_of(&["encounter"])?,
        from,
        to,
        priority: priority(unit)?,
        expires_at: expires.map(|w| w.at),
    };
    Ok(Told { event: Event::ReferralMade(event), when: when.path })
}

/// Who refers or is referred to: a person by pseudonym, anybody else by name.
fn called<'a>(unit: &Unit<'a>, link: &Link<'a>) -> Result<Option<String>, Issue> {
    if let Some(person) = unit.staff(link)? {
        return Ok(Some(person));
    }
    match link.kind {
        Some("Patient" | "RelatedPerson" | "Person") => Ok(None),
        // Nobody says what it is, and it may be somebody: only the hospital's own names of departments are none.
        None => Ok(link.display.and_then(|name| unit.scope.site().known_department(name)).map(str::to_owned)),
        _ => Ok(match link.display {
            Some(name) => Some(unit.scope.site().department(name).to_owned()),
            None => unit.reference(link)?.map(|id| unit.scope.site().department(&id).to_owned()),
        }),
    }
}

fn ordered(r: &Request<'_, '_>) -> Result<Told, Issue> {
    let unit = r.unit;
    let when = unit.time_or_updated(&["authoredOn"])?;
    let code = unit.root.code("code")?.name().ok_or_else(|| unit.root.missing("code"))?.to_owned();
    let due = match unit.root.get("occurrencePeriod") {
        Some(period) => period.time("end", unit.zone())?,
        None => unit.time_of(&["occurrenceDateTime"])?,
    };
    let event = OrderPlaced {
        header: r.header("made", &when)?,
        order_id: r.id.clone(),
        encounter_id: unit.reference_of(&["encounter"])?,
        code,
        due_at: due.map(|w| w.at),
        priority: priority(unit)?,
    };
    Ok(Told { event: Event::OrderPlaced(event), when: when.path })
}

fn reason(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    let code = unit.root.code("statusReason")?;
    Ok(code.text.or(code.code).map(str::to_owned))
}

/// What somebody does about a request. A Task whose request isn't here to look at is taken for a referral's: only there do
/// accepting, declining and completing mean a step.
pub(super) fn task(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let Some(link) = unit.link_of(&["focus", "basedOn"])?.filter(|l| l.kind.is_none_or(|k| k == "ServiceRequest"))
    else {
        return Ok(Mapped::Nothing("it isn't about a ServiceRequest"));
    };
    let referral = is_referral(unit, &link)?.unwrap_or(true);
    let (Some(id), Some(about)) = (unit.reference(&link)?, unit.linked_name(&link, "ServiceRequest")) else {
        return Err(Issue::new("required", link.path, "says neither which resource nor which identifier"));
    };
    // Where the request is here its own subject counts, of whom its own events are told.
    let who = match unit.onward(&link, "subject")? {
        Some(who) => who,
        None => unit.link_of(&["for"])?.ok_or_else(|| unit.root.missing("for"))?,
    };
    let Patient::Is(patient) = unit.patient_if_any(&who)? else { return Ok(NOT_A_PATIENT) };
    let request = Request { unit, about, id, patient, department: None };
    let when = unit.time_or_updated(&["lastModified"])?;
    let told = |event| Ok(one(event, &when));
    match (status, referral) {
        ("accepted" | "in-progress", true) => {
            let (header, referral_id) = (request.header("accepted", &when)?, request.id.clone());
            told(Event::ReferralAccepted(ReferralAccepted { header, referral_id, reason: None }))
        }
        ("rejected", true) => {
            let (header, referral_id) = (request.header("declined", &when)?, request.id.clone());
            told(Event::ReferralDeclined(ReferralDeclined { header, referral_id, reason: reason(unit)? }))
        }
        ("completed", true) => {
            let when = match unit.root.get("executionPeriod") {
                Some(p) => p.time("end", unit.zone())?.unwrap_or(when),
                None => when,
            };
            Ok(Mapped::Events(vec![request.completed(&when, output(unit)?)?]))
        }
        ("cancelled", _) => Ok(Mapped::Events(vec![request.cancelled(referral, reason(unit)?)?])),
        ("draft" | "requested" | "received" | "ready" | "on-hold" | "failed" | "entered-in-error", _)
        | ("accepted" | "in-progress" | "rejected" | "completed", false) => {
            Ok(Mapped::Nothing("a step in the work on a request that the journey doesn't show"))
        }
        _ => Err(Issue::unknown_code("Task.status")),
    }
}

/// The first thing that a Task put out.
fn output(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    let Some(value) = unit.root.first("output").and_then(|o| o.get("valueReference")) else { return Ok(None) };
    let link = unit.link(&value)?;
    Ok(unit.linked_name(&link, link.kind.unwrap_or("Resource")))
}

/// A report that says which order it answers.
pub(super) fn report(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let link = unit.link_of(&["basedOn"])?.filter(|l| l.kind.is_none_or(|k| k == "ServiceRequest"));
    let Some(order_id) = link.map_or(Ok(None), |l| unit.reference(&l))? else {
        return Ok(Mapped::Nothing("a report that names no order"));
    };
    let Patient::Is(patient) = unit.patient_of(&["subject"])? else { return Ok(NOT_A_PATIENT) };
    let (state, result) = match status {
        "registered" | "unknown" => return Ok(Mapped::Nothing("there is no result yet")),
        "partial" | "preliminary" | "modified" => ("preliminary", ResultStatus::Preliminary),
        "final" | "appended" => ("final", ResultStatus::Final),
        "amended" | "corrected" => ("corrected", ResultStatus::Corrected),
        "cancelled" => ("cancelled", ResultStatus::Cancelled),
        "entered-in-error" => return Ok(Mapped::Nothing("entered in error; which report it was can't be told")),
        _ => return Err(Issue::unknown_code("DiagnosticReport.status")),
    };
    let when = unit.time_or_updated(&["issued"])?;
    // Each correction is one of its own, and says when it was made.
    let state = if state == "corrected" { format!("corrected {}", when.at.0) } else { state.to_owned() };
    let header = unit.header(&state, &when, &patient)?;
    let encounter_id = unit.reference_of(&["encounter", "context"])?;
    let code = unit.root.code("code")?.name().map(str::to_owned);
    let status = result;
    let event = match result {
        ResultStatus::Corrected => {
            Event::ResultCorrected(ResultCorrected { header, order_id, encounter_id, code, status, abnormal: None })
        }
        _ => Event::ResultReported(ResultReported { header, order_id, encounter_id, code, status, abnormal: None }),
    };
    Ok(one(event, &when))
}
