//! `QuestionnaireResponse`: feedback where the site file says so, else a questionnaire of the visit.

use super::{MOST_EVENTS, Mapped, NOT_A_PATIENT, Patient, Told, Unit, one};
use crate::fhir::element::{Element, When};
use crate::fhir::outcome::Issue;
use crate::fhir::rules::Instrument;
use domain::Event;
use domain::event::{FeedbackGiven, QuestionnaireCompleted, QuestionnaireStarted};

/// Items inside items that are looked at.
const DEEPEST: usize = 16;

pub(super) fn map(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let done = match status {
        "completed" | "amended" | "entered-in-error" => true,
        "in-progress" => false,
        "stopped" => return Ok(Mapped::Nothing("given up before its end")),
        _ => return Err(Issue::unknown_code("QuestionnaireResponse.status")),
    };
    let canonical = unit.root.string("questionnaire")?;
    let instrument = canonical.and_then(|c| unit.scope.site().fhir.instrument(c));
    let (encounter, appointment) = links(unit)?;
    let when = unit.time_or_updated(&["authored"])?;
    let mapped = match instrument {
        Some(_) if !done => return Ok(Mapped::Nothing("feedback that isn't finished")),
        Some(instrument) => feedback(unit, instrument, &when, (encounter, appointment))?,
        None => {
            let Patient::Is(patient) = unit.patient_of(&["subject", "source"])? else { return Ok(NOT_A_PATIENT) };
            let questionnaire = canonical.unwrap_or("unnamed").to_owned();
            let header = unit.header(if done { "completed" } else { "started" }, &when, &patient)?;
            let (encounter_id, appointment_id) = (encounter, appointment);
            let event = if done {
                Event::QuestionnaireCompleted(QuestionnaireCompleted {
                    header,
                    appointment_id,
                    encounter_id,
                    questionnaire,
                    reused_fields: None,
                    asked_fields: None,
                    history_reviewed: None,
                })
            } else {
                Event::QuestionnaireStarted(QuestionnaireStarted {
                    header,
                    appointment_id,
                    encounter_id,
                    questionnaire,
                })
            };
            one(event, &when)
        }
    };
    unit.unless_in_error(mapped)
}

/// The encounter and the appointment that it belongs to.
fn links(unit: &Unit<'_>) -> Result<(Option<String>, Option<String>), Issue> {
    let encounter = unit.reference_of(&["encounter"])?;
    for name in ["partOf", "basedOn"] {
        for e in unit.root.each(name) {
            let link = unit.link(&e)?;
            if link.kind == Some("Appointment") {
                return Ok((encounter, unit.reference(&link)?));
            }
        }
    }
    Ok((encounter, None))
}

/// One event for each item that the instrument knows.
fn feedback(
    unit: &Unit<'_>,
    instrument: &Instrument,
    when: &When,
    (encounter, appointment): (Option<String>, Option<String>),
) -> Result<Mapped, Issue> {
    // Without a subject it is anonymous.
    let patient = match unit.link_of(&["subject", "source"])? {
        Some(link) if matches!(link.kind, None | Some("Patient")) => Some(unit.patient(&link)?),
        _ => None,
    };
    let mut answers = Vec::new();
    items(&unit.root, 0, &mut answers)?;
    let mut all = Vec::new();
    for item in answers {
        let id = item.required("linkId")?;
        let Some(rule) = instrument.items.get(id) else { continue };
        let Some(raw) = item.first("answer").map(|a| number(&a)).transpose()?.flatten() else { continue };
        let state = format!("answered {id}");
        let header = match &patient {
            Some(patient) => unit.header(&state, when, patient)?,
            None => unit.nameless_header(&format!("{}#{state}", unit.name()), when)?,
        };
        let event = FeedbackGiven {
            header,
            instrument: instrument.instrument.clone(),
            role: rule.role,
            dimension: rule.dimension,
            raw,
            scale_min: rule.min,
            scale_max: rule.max,
            encounter_id: encounter.clone(),
            appointment_id: appointment.clone(),
            claim_id: None,
            touchpoint: rule.touchpoint.clone(),
            good: None,
            improve: None,
        };
        all.push(Told { event: Event::FeedbackGiven(event), when: when.path.clone() });
        // One more than there may be is refused.
        if all.len() > MOST_EVENTS {
            break;
        }
    }
    Ok(match all.is_empty() {
        true => Mapped::Nothing("none of its answers is one that the site file knows"),
        false => Mapped::Events(all),
    })
}

/// Items, and those inside of items and answers.
fn items<'a>(of: &Element<'a>, depth: usize, out: &mut Vec<Element<'a>>) -> Result<(), Issue> {
    if depth > DEEPEST {
        return Err(of.wrong(format!("has items more than {DEEPEST} deep")));
    }
    for item in of.each("item") {
        items(&item, depth + 1, out)?;
        for answer in item.each("answer") {
            items(&answer, depth + 1, out)?;
        }
        out.push(item);
    }
    Ok(())
}

/// An answer as a number: itself, or that of a code such as `7`.
fn number(answer: &Element<'_>) -> Result<Option<f64>, Issue> {
    for name in ["valueInteger", "valueDecimal"] {
        if let Some(n) = answer.number(name)? {
            return Ok(Some(n));
        }
    }
    if let Some(q) = answer.get("valueQuantity") {
        return q.number("value");
    }
    let code = answer.code("valueCoding")?.code;
    Ok(code.and_then(|c| c.parse().ok()).filter(|n: &f64| n.is_finite()))
}
