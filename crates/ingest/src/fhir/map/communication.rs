//! Communication: reminders, and calls to the patient.

use super::{Mapped, NOT_A_PATIENT, Patient, Unit, one};
use crate::fhir::element::{Code, When};
use crate::fhir::outcome::Issue;
use crate::fhir::reference::Subject;
use domain::Event;
use domain::event::{Actor, FollowUpCallAttempted, FollowUpCallCompleted, Outcome, ReminderSent, Role};

/// Answers that a follow-up call carries.
const MOST_ANSWERS: usize = 5;

pub(super) fn map(unit: &Unit<'_>) -> Result<Mapped, Issue> {
    let status = unit.status()?;
    let done = match status {
        "completed" => true,
        "not-done" | "stopped" => false,
        "entered-in-error" => true,
        "preparation" | "in-progress" | "on-hold" | "unknown" => return Ok(Mapped::Nothing("nobody was reached yet")),
        _ => return Err(Issue::unknown_code("Communication.status")),
    };
    let root = &unit.root;
    let sender = unit.link_of(&["sender"])?;
    if matches!(sender.as_ref().and_then(|s| s.kind), Some("Patient" | "RelatedPerson")) {
        return Ok(Mapped::Nothing("from the patient; a complaint or a question has no code of its own here"));
    }
    let mut codes = root.codes("category")?;
    codes.extend(root.codes("topic")?);
    codes.extend(root.codes("reasonCode")?);
    codes.extend(root.codes("reason")?);
    let medium = channel(&root.codes("medium")?);
    let Patient::Is(patient) = unit.patient_of(&["subject", "recipient"])? else { return Ok(NOT_A_PATIENT) };
    let when = unit.time_or_updated(&["sent", "received"])?;
    let call = Call {
        unit,
        patient,
        when,
        // A call counts as a human's only where the sender is said to be one.
        human: matches!(sender.as_ref().and_then(|s| s.kind), Some("Practitioner" | "PractitionerRole")),
        actor: match &sender {
            Some(link) => unit.staff(link)?.map(|id| Actor { id: Some(id), role: Role::Other }),
            None => None,
        },
        encounter: unit.reference_of(&["encounter"])?,
        appointment: appointment(unit)?,
    };
    let mapped = if says(&codes, &["reminder"]) {
        if done {
            call.reminder(medium.unwrap_or("other"))?
        } else {
            return Ok(Mapped::Nothing("a reminder not sent"));
        }
    } else if medium == Some("phone") {
        if done { call.completed()? } else { call.attempted()? }
    } else {
        return Ok(Mapped::Nothing("neither a reminder nor a call, by its category, reason and medium"));
    };
    unit.unless_in_error(mapped)
}

/// Whether a code or its words have one of these in them.
fn says(codes: &[Code<'_>], words: &[&str]) -> bool {
    let has = |t: &str| {
        let t = t.to_ascii_lowercase();
        words.iter().any(|w| t.contains(w))
    };
    codes.iter().any(|c| c.code.is_some_and(has) || c.text.is_some_and(has))
}

/// The first medium that we have a word for (v3-ParticipationMode and what people write).
fn channel(codes: &[Code<'_>]) -> Option<&'static str> {
    let words: &[(&str, &[&str])] = &[
        ("sms", &["sms", "text"]),
        ("email", &["email", "e-mail", "mailwrit"]),
        ("phone", &["phone", "telephone", "call", "voice"]),
        ("letter", &["letter", "post", "faxwrit", "written"]),
        ("web", &["portal", "web", "app", "online"]),
        ("desk", &["physical", "face", "person"]),
    ];
    words.iter().find(|(_, w)| says(codes, w)).map(|(channel, _)| *channel)
}

/// The appointment that it is about.
fn appointment(unit: &Unit<'_>) -> Result<Option<String>, Issue> {
    for name in ["about", "basedOn", "partOf", "reasonReference"] {
        for e in unit.root.each(name) {
            let link = unit.link(&e)?;
            if link.kind == Some("Appointment") {
                return unit.reference(&link);
            }
        }
    }
    Ok(None)
}

struct Call<'u, 'a> {
    unit: &'u Unit<'a>,
    patient: Subject,
    when: When,
    human: bool,
    actor: Option<Actor>,
    encounter: Option<String>,
    appointment: Option<String>,
}

impl Call<'_, '_> {
    fn header(&self, state: &str) -> Result<domain::event::Header, Issue> {
        let mut header = self.unit.header(state, &self.when, &self.patient)?;
        header.actor.clone_from(&self.actor);
        Ok(header)
    }

    fn reminder(&self, channel: &str) -> Result<Mapped, Issue> {
        let event = ReminderSent {
            header: self.header("sent")?,
            appointment_id: self.appointment.clone(),
            channel: channel.to_owned(),
            automated: !self.human,
            days_ahead: None,
            instructions: None,
            purpose: None,
        };
        Ok(one(Event::ReminderSent(event), &self.when))
    }

    fn completed(&self) -> Result<Mapped, Issue> {
        let mut answers = Vec::new();
        for payload in self.unit.root.each("payload").into_iter().take(MOST_ANSWERS) {
            let text = payload.string("contentString")?.or(payload.code("contentCodeableConcept")?.words());
            answers.push(text.unwrap_or_default().to_owned());
        }
        let event = FollowUpCallCompleted {
            header: self.header("completed")?,
            item_id: None,
            encounter_id: self.encounter.clone(),
            channel: Some("phone".into()),
            human: self.human,
            outcome: Outcome::Reached,
            answers,
            duration_s: None,
            first_contact_resolution: None,
            purpose: None,
        };
        Ok(one(Event::FollowUpCallCompleted(event), &self.when))
    }

    fn attempted(&self) -> Result<Mapped, Issue> {
        let event = FollowUpCallAttempted {
            header: self.header("attempted")?,
            item_id: None,
            encounter_id: self.encounter.clone(),
            channel: "phone".into(),
            human: self.human,
            outcome: outcome(&self.unit.root.codes("statusReason")?),
            callback_at: None,
            purpose: None,
        };
        Ok(one(Event::FollowUpCallAttempted(event), &self.when))
    }
}

/// Why a call was not done: communication-not-done-reason, and what people write.
fn outcome(codes: &[Code<'_>]) -> Outcome {
    let words: &[(Outcome, &[&str])] = &[
        (Outcome::Voicemail, &["voicemail", "voice mail", "answering machine"]),
        (Outcome::WrongNumber, &["wrong number", "wrong-number", "invalid-phone-number", "invalid phone"]),
        (Outcome::NoAnswer, &["no answer", "no-answer", "recipient-unavailable", "unavailable", "not reached"]),
        (Outcome::Refused, &["patient-objection", "objection", "refused", "declined", "family-objection"]),
        (Outcome::LanguageBarrier, &["language"]),
        (Outcome::Deceased, &["deceased", "died"]),
    ];
    words.iter().find(|(_, w)| says(codes, w)).map_or(Outcome::Other, |(o, _)| *o)
}
