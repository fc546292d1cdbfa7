//! REF and RRI: referrals and the answers to them.

use super::super::message::Part;
use super::super::wrong::{Code, Place};
use super::context::{Context, Patient};
use domain::Micros;
use domain::event::{
    Event, Priority, ReferralAccepted, ReferralCancelled, ReferralDeclined, ReferralExpired, ReferralMade,
};
use std::borrow::Cow;

/// What a message says of a referral.
#[derive(Clone, Copy)]
enum Step {
    Made,
    Accepted,
    Declined,
    Cancelled,
    Expired,
}

pub fn map(c: &mut Context<'_>, kind: &str, trigger: &str) {
    let message = c.message;
    let status = message.field("RF1", 1).id();
    let step = match (kind, trigger, status.as_deref()) {
        // A new referral is one, whatever its status says.
        ("REF", "I12", _) | ("REF", "I13", None | Some("P")) => Step::Made,
        ("REF", "I14", _) => Step::Cancelled,
        ("REF", "I13", _) | ("RRI", "I12" | "I13", _) => match status.as_deref() {
            Some("A") => Step::Accepted,
            Some("R") => Step::Declined,
            Some("E") => Step::Expired,
            // An answer that nothing is decided yet.
            None | Some("P") => return,
            Some(_) => return c.wrong(Place::field("RF1", 1), Code::Table, "is no status: A, P, R or E"),
        },
        // The answer to a cancellation, which was published already; I15 asks for a status.
        _ => return,
    };
    if c.lacks("RF1", "the message has no referral") {
        return;
    }
    if c.lacks("PID", "the message has no patient") {
        return;
    }
    let patient = c.patient(message.first("PID"));
    let id = message.field("RF1", 6).id().map(Cow::into_owned);
    let id = c.need(id, Place::field("RF1", 6).component(1), "a referral needs its id");
    let at = c.written();
    let at = c.need(at, Place::field("MSH", 7), "a message needs its time");
    if let (Some(patient), Some(id), Some(at)) = (patient, id, at) {
        one(c, step, &patient, id, at);
    }
}

fn one(c: &mut Context<'_>, step: Step, patient: &Patient, referral_id: String, at: Micros) {
    let message = c.message;
    let header = c.header(patient, at, message.field("PV1", 3));
    let field = message.field("RF1", 10);
    let reason = field.component(2).value().or_else(|| field.component(1).value()).map(Cow::into_owned);
    let event = match step {
        Step::Made => {
            let to = provider(c, "RT").or_else(|| message.field("MSH", 6).id().map(Cow::into_owned));
            let to = to.or_else(|| message.field("MSH", 5).id().map(Cow::into_owned));
            let Some(to) = c.need(to, Place::segment("PRD"), "a referral needs whom it goes to (PRD-1 RT)") else {
                return;
            };
            Event::ReferralMade(ReferralMade {
                header,
                referral_id,
                encounter_id: c.encounter(),
                from: provider(c, "RP").or_else(|| message.field("MSH", 4).id().map(Cow::into_owned)),
                to,
                priority: priority(c),
                expires_at: c.time(message.field("RF1", 8), Place::field("RF1", 8)),
            })
        }
        Step::Accepted => Event::ReferralAccepted(ReferralAccepted { header, referral_id, reason: None }),
        Step::Declined => Event::ReferralDeclined(ReferralDeclined { header, referral_id, reason }),
        Step::Cancelled => Event::ReferralCancelled(ReferralCancelled { header, referral_id, reason }),
        Step::Expired => Event::ReferralExpired(ReferralExpired { header, referral_id }),
    };
    c.push(event);
}

/// RF1-2 (table 0280).
fn priority(c: &Context<'_>) -> Option<Priority> {
    Some(match &*c.message.field("RF1", 2).id()? {
        "S" => Priority::Stat,
        "A" => Priority::Asap,
        "U" => Priority::Urgent,
        "R" => Priority::Routine,
        _ => Priority::Other,
    })
}

/// A provider by role (PRD-1): the organisation (PRD-10), else the place (PRD-4), else a pseudonym of the number (PRD-7). A
/// person's name is nobody's business here.
fn provider(c: &Context<'_>, role: &str) -> Option<String> {
    let is = |p: Part<'_>| p.repetitions().any(|r| r.id().as_deref() == Some(role));
    let prd = c.message.all("PRD").find(|s| is(s.field(1)))?;
    if let Some(organisation) = prd.field(10).id() {
        return Some(organisation.into_owned());
    }
    let place = |n| prd.field(4).component(n).subcomponent(1).value();
    if let Some(place) = place(9).or_else(|| place(4)).or_else(|| place(1)) {
        return Some(c.site().department(&place).to_owned());
    }
    c.staff(prd.field(7))
}
