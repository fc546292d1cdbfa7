//! Consent: given or withdrawn, for what and to whom.

use super::{Mapped, NOT_A_PATIENT, Patient, Unit, one};
use crate::fhir::element::Element;
use crate::fhir::outcome::Issue;
use domain::Event;
use domain::event::{ConsentGiven, ConsentWithdrawn, Grantee};

pub(super) fn map(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let root = &unit.root;
    // R4 has one provision that says permit or deny, R5 a decision and a list of exceptions to it.
    let provision = root.first("provision");
    let decision = match (root.string("decision")?, &provision) {
        (Some(decision), _) => Some(decision),
        (None, Some(p)) => p.string("type")?,
        (None, None) => None,
    };
    let permits = match decision {
        None | Some("permit") => true,
        Some("deny") => false,
        Some(_) => return Err(Issue::unknown_code("Consent.provision.type")),
    };
    let given = match unit.status()? {
        "active" | "entered-in-error" => permits,
        "inactive" | "rejected" | "not-done" => false,
        "draft" | "proposed" | "unknown" => return Ok(Mapped::Nothing("nobody consented yet")),
        _ => return Err(Issue::unknown_code("Consent.status")),
    };
    let Patient::Is(patient) = unit.patient_of(&["patient", "subject"])? else { return Ok(NOT_A_PATIENT) };
    let (scope, grantee) = (scope(unit)?, grantee(unit, provision.as_ref())?);
    let updated = unit.updated()?;
    // The date is that of the consent; a later withdrawal has none of its own.
    let decided = unit.time_of(&["dateTime", "date"])?;
    let mapped = if given {
        let when = decided.unwrap_or(updated);
        let period = root.get("period").or(provision.and_then(|p| p.get("period")));
        let edge = |name| period.as_ref().map_or(Ok(None), |p| p.time(name, unit.zone()));
        let (valid_from, valid_until) = (edge("start")?.map(|w| w.at), edge("end")?.map(|w| w.at));
        let header = unit.header(&format!("given {scope} {}", grantee.as_str()), &when, &patient)?;
        one(Event::ConsentGiven(ConsentGiven { header, scope, grantee, valid_from, valid_until }), &when)
    } else {
        let when = match unit.last_updated()? {
            Some(updated) => updated,
            None => decided.unwrap_or(updated),
        };
        let header = unit.header(&format!("withdrawn {scope} {}", grantee.as_str()), &when, &patient)?;
        one(Event::ConsentWithdrawn(ConsentWithdrawn { header, scope, grantee }), &when)
    };
    unit.unless_in_error(mapped)
}

/// R4's scope, else the category; the codes of consentscope in our words.
fn scope(unit: &Unit<'_>) -> Result<String, Issue> {
    let code = match unit.root.code("scope")?.name() {
        Some(code) => Some(code),
        None => unit.root.code("category")?.name(),
    };
    let code = code.ok_or_else(|| unit.root.missing("category"))?;
    Ok(match code {
        "patient-privacy" | "59284-0" | "INFA" | "IDSCL" => "share_records",
        other => other,
    }
    .to_owned())
}

/// Whom it concerns: the purpose says marketing or payment, else the first actor says what it is.
fn grantee<'a>(unit: &Unit<'a>, provision: Option<&Element<'a>>) -> Result<Grantee, Issue> {
    let Some(provision) = provision else { return Ok(Grantee::Provider) };
    let purposes = provision.codes("purpose")?;
    let says = |codes: &[&str]| purposes.iter().any(|p| p.code.is_some_and(|c| codes.contains(&c)));
    if says(&["HMARKT", "MARKT"]) {
        return Ok(Grantee::Marketing);
    }
    if says(&["HPAYMT", "CLMATTCH", "COVERAGE", "COVAUTH", "ELIGDTRM", "ELIGVER"]) {
        return Ok(Grantee::Insurer);
    }
    if says(&["FAMRQT", "PWATRNY", "SUPNWK"]) {
        return Ok(Grantee::Family);
    }
    let nested = provision.first("provision");
    let actor = provision.first("actor").or(nested.and_then(|n| n.first("actor")));
    let Some(actor) = actor else { return Ok(Grantee::Provider) };
    let insurer = matches!(actor.code("role")?.code, Some("PAYOR" | "UNDERWRTR" | "COVPTY"));
    let kind = match actor.get("reference") {
        Some(reference) => unit.link(&reference)?.kind,
        None => None,
    };
    Ok(match kind {
        _ if insurer => Grantee::Insurer,
        Some("RelatedPerson") => Grantee::Family,
        Some("Organization" | "Practitioner" | "PractitionerRole" | "CareTeam") | None => Grantee::Provider,
        Some(_) => Grantee::Other,
    })
}
