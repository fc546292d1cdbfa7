//! From an event to what the queue keeps of it.

use super::contact::ContactScope;
use super::facts::{Billed, Booking, Channel, Contact, Fact, Money, Place, ReferralStep, ResultState, What};
use super::rules;
use crate::Micros;
use crate::amendments;
use crate::event::{Event, Grantee, Header, Party, Priority, ResultStatus, Role};
use crate::views::unattended;

fn place(h: &Header) -> Place {
    Place {
        site: h.site.clone(),
        department: h.department.clone(),
        zone: h.zone.clone(),
        journey: h.journey_id.clone(),
    }
}

fn urgency(p: Option<Priority>) -> u8 {
    match p {
        Some(Priority::Stat) => 3,
        Some(Priority::Asap) => 2,
        Some(Priority::Urgent) => 1,
        Some(Priority::Routine | Priority::Other) | None => 0,
    }
}

fn result(order: &str, encounter: Option<&String>, status: ResultStatus, abnormal: Option<bool>) -> What {
    let state = match status {
        ResultStatus::Final | ResultStatus::Corrected => ResultState::Final,
        ResultStatus::Cancelled => ResultState::Cancelled,
        ResultStatus::Preliminary | ResultStatus::Other => ResultState::Preliminary,
    };
    What::Result { order: order.to_owned(), encounter: encounter.cloned(), state, abnormal: abnormal == Some(true) }
}

/// Scopes whose withdrawal bars every contact about care. A consent that concerns marketing, insurers or the family says
/// nothing about that.
fn contact_consent(scope: &str, grantee: Grantee, given: bool, expired: bool) -> What {
    let about_care = matches!(grantee, Grantee::Contact | Grantee::Provider | Grantee::Other);
    let scope = match scope {
        "contact" if about_care => ContactScope::Any,
        "follow_up_contact" if about_care => ContactScope::FollowUp,
        _ => return What::Nothing,
    };
    What::ContactConsent { scope, given, expired }
}

/// HL7 table 0112 writes expired as 20 or 40 to 42.
fn is_expired(disposition: Option<&str>) -> bool {
    disposition.is_some_and(|d| {
        ["expired", "deceased", "died", "20", "40", "41", "42"].iter().any(|x| d.eq_ignore_ascii_case(x))
    })
}

/// What the queue keeps of an event.
#[must_use]
pub fn fact(event: &Event) -> Option<Fact> {
    let h = event.header();
    what(event, h).map(|what| Fact { tag: amendments::tag(event.kind()), at: h.occurred_at.0, what })
}

#[allow(clippy::too_many_lines)] // one arm per event of the catalogue
fn what(event: &Event, h: &Header) -> Option<What> {
    let micros = |t: Option<Micros>| t.map(|t| t.0);
    Some(match event {
        Event::ConsultEnded(e) => What::Consult {
            encounter: e.encounter_id.clone(),
            appointment: e.appointment_id.clone(),
            high_risk: e.high_risk == Some(true),
            reexam: e.reexam_due_on.map(|d| (d.0, rules::before_day(d, &h.zone))),
            place: place(h),
        },
        Event::PatientDischarged(e) => What::Discharge {
            encounter: e.encounter_id.clone(),
            high_risk: e.high_risk == Some(true),
            expired: is_expired(e.disposition.as_deref()),
            place: place(h),
        },
        Event::DischargeCancelled(e) => What::DischargeUndone { encounter: e.encounter_id.clone() },
        Event::AdmissionCancelled(e) => What::DischargeUndone { encounter: e.encounter_id.clone() },
        Event::ReferralMade(e) => What::ReferralMade {
            referral: e.referral_id.clone(),
            encounter: e.encounter_id.clone(),
            urgency: urgency(e.priority),
            expires: micros(e.expires_at),
            place: place(h),
        },
        Event::ReferralBooked(e) => What::ReferralBooked {
            referral: e.referral_id.clone(),
            appointment: e.appointment_id.clone(),
            starts: micros(e.starts_at),
        },
        Event::ReferralCompleted(e) => What::Referral {
            referral: e.referral_id.clone(),
            step: match e.outcome_ref.as_deref().map(str::trim) {
                None | Some("") => ReferralStep::Completed,
                Some(_) => ReferralStep::CompletedWithOutcome,
            },
        },
        Event::ReferralCancelled(e) => referral(&e.referral_id, ReferralStep::Cancelled),
        Event::ReferralDeclined(e) => referral(&e.referral_id, ReferralStep::Declined),
        Event::ReferralExpired(e) => referral(&e.referral_id, ReferralStep::Expired),
        Event::OrderPlaced(e) => What::Order {
            order: e.order_id.clone(),
            encounter: e.encounter_id.clone(),
            urgency: urgency(e.priority),
            due: micros(e.due_at),
            place: place(h),
        },
        Event::OrderCancelled(e) => What::OrderCancelled { order: e.order_id.clone() },
        Event::ResultReported(e) => result(&e.order_id, e.encounter_id.as_ref(), e.status, e.abnormal),
        Event::ResultCorrected(e) => result(&e.order_id, e.encounter_id.as_ref(), e.status, e.abnormal),
        Event::RecallDue(e) => What::RecallDue {
            kind: e.recall_kind.clone(),
            on: e.due_on.0,
            due: rules::before_day(e.due_on, &h.zone),
            encounter: e.encounter_id.clone(),
            order: e.order_id.clone(),
            place: place(h),
        },
        Event::RecallBooked(e) => What::RecallBooked {
            kind: e.recall_kind.clone(),
            appointment: e.appointment_id.clone(),
            starts: micros(e.starts_at),
            department: h.department.clone(),
        },
        Event::RecallLapsed(e) => What::RecallLapsed { kind: e.recall_kind.clone() },
        Event::AppointmentBooked(e) => What::Booked(Booking {
            appointment: e.appointment_id.clone(),
            starts: e.starts_at.0,
            referral: e.referral_id.clone(),
            recall: e.recall_kind.clone(),
            department: h.department.clone(),
            with_help: e.with_help == Some(true),
        }),
        Event::AppointmentRescheduled(e) => {
            What::Rescheduled { appointment: e.appointment_id.clone(), starts: e.starts_at.0 }
        }
        Event::AppointmentCancelled(e) => {
            What::Cancelled { appointment: e.appointment_id.clone(), by_patient: e.by == Party::Patient }
        }
        Event::AppointmentNoShow(e) => What::NoShow {
            appointment: e.appointment_id.clone(),
            due: rules::next_working_day(h.occurred_at, &h.zone),
            place: place(h),
        },
        Event::PatientCheckedIn(e) => visit(e.appointment_id.as_ref()),
        Event::ConsultStarted(e) => visit(e.appointment_id.as_ref()),
        Event::DignityBreachReported(e) => What::Breach {
            encounter: e.encounter_id.clone(),
            appointment: e.appointment_id.clone(),
            severity: e.severity,
            place: place(h),
        },
        Event::ComplaintFiled(e) => What::Complaint {
            complaint: e.complaint_id.clone(),
            encounter: e.encounter_id.clone(),
            severity: e.severity,
            place: place(h),
        },
        Event::ComplaintResolved(e) => What::ComplaintResolved { complaint: e.complaint_id.clone() },
        Event::ChargePosted(e) => {
            let billed = Billed::Charged(money(e.amount_minor, &e.currency));
            bill(&e.claim_id, e.encounter_id.as_ref(), billed, h)
        }
        Event::ClaimSubmitted(e) => {
            let billed = Billed::Claimed(money(e.amount_minor, &e.currency));
            bill(&e.claim_id, e.encounter_id.as_ref(), billed, h)
        }
        Event::ClaimResubmitted(e) => {
            let billed = Billed::Claimed(money(e.amount_minor, &e.currency));
            bill(&e.claim_id, e.encounter_id.as_ref(), billed, h)
        }
        Event::ClaimDenied(e) => bill(&e.claim_id, e.encounter_id.as_ref(), Billed::Unknown, h),
        // what a payer leaves to the patient (group code PR of a CARC) is owed as before
        Event::ClaimAdjusted(e) if e.adjustment_code.as_ref().is_some_and(|c| c.starts_with("PR")) => What::Nothing,
        Event::ClaimAdjusted(e) => What::Adjusted { claim: e.claim_id.clone(), by: money(e.amount_minor, &e.currency) },
        Event::ClaimPaid(e) => What::Paid { claim: e.claim_id.clone(), amount: money(e.amount_minor, &e.currency) },
        Event::PaymentReceived(e) => {
            What::Paid { claim: e.claim_id.clone(), amount: money(e.amount_minor, &e.currency) }
        }
        Event::BillDisputed(e) => {
            What::Disputed { claim: e.claim_id.clone(), encounter: e.encounter_id.clone(), place: place(h) }
        }
        Event::BillDisputeResolved(e) => What::DisputeResolved { claim: e.claim_id.clone() },
        Event::PatientQuestionAsked(e) => {
            What::Asked { question: e.question_id.clone(), encounter: e.encounter_id.clone(), place: place(h) }
        }
        Event::PatientQuestionAnswered(e) => What::Answered { question: e.question_id.clone() },
        Event::BookingFrictionReported(e) => What::Friction { appointment: e.appointment_id.clone(), place: place(h) },
        Event::FollowUpCallAttempted(e) => What::Contact(Contact {
            item: e.item_id.clone(),
            encounter: e.encounter_id.clone(),
            channel: Channel::of(Some(&e.channel)),
            human: e.human && !unattended(Some(&e.channel)),
            outcome: e.outcome,
            callback: micros(e.callback_at),
            answers: None,
        }),
        Event::FollowUpCallCompleted(e) => What::Contact(Contact {
            item: e.item_id.clone(),
            encounter: e.encounter_id.clone(),
            channel: Channel::of(e.channel.as_deref()),
            human: e.human && !unattended(e.channel.as_deref()),
            outcome: e.outcome,
            callback: None,
            answers: Some(e.answers.iter().take(5).map(|a| u8::from(!a.trim().is_empty())).sum()),
        }),
        Event::FollowUpItemClosed(e) => What::ItemClosed {
            item: e.item_id.clone(),
            closure: e.closure,
            by_system: h.actor.as_ref().is_some_and(|a| a.role == Role::System),
        },
        // one that has run out by the time it is told gives nothing
        Event::ConsentGiven(e) if e.valid_until.is_some_and(|until| until <= h.occurred_at) => What::Nothing,
        Event::ConsentGiven(e) => contact_consent(&e.scope, e.grantee, true, false),
        Event::ConsentWithdrawn(e) => contact_consent(&e.scope, e.grantee, false, false),
        Event::ConsentExpired(e) => contact_consent(&e.scope, e.grantee, false, true),
        Event::DemographicsUpdated(e) => {
            let told = !e.special_requirements.is_empty() || e.fields.iter().any(|f| f == "special_requirements");
            let needs = told.then(|| u8::try_from(e.special_requirements.len()).unwrap_or(u8::MAX));
            match (needs, e.deceased) {
                (None, None) => What::Nothing,
                (needs, deceased) => What::Person { needs, deceased },
            }
        }
        Event::EventCorrected(e) => What::Corrected {
            target: e.target_event_id.parse().ok()?,
            recorded: h.recorded_at.0,
            replacement: amendments::replacement(e).and_then(|e| fact(&e)).map(Box::new),
        },
        Event::EventRetracted(e) => {
            What::Retracted { target: e.target_event_id.parse().ok()?, recorded: h.recorded_at.0 }
        }
        Event::EnquiryReceived(_)
        | Event::IntroducerRecorded(_)
        | Event::CampaignGiftSent(_)
        | Event::AppointmentRequested(_)
        | Event::AppointmentModified(_)
        | Event::ReminderSent(_)
        | Event::AppointmentConfirmed(_)
        | Event::QuestionnaireStarted(_)
        | Event::QuestionnaireCompleted(_)
        | Event::WaitEstimated(_)
        | Event::RepeatQuestionReported(_)
        | Event::NoteRecorded(_)
        | Event::OptionsExplained(_)
        | Event::NextStepsExplained(_)
        | Event::ChecklistCompleted(_)
        | Event::SpecimenCollected(_)
        | Event::ReferralAccepted(_)
        | Event::PatientAdmitted(_)
        | Event::PatientTransferred(_)
        | Event::AftercareInstructionGiven(_)
        | Event::ReceiptIssued(_)
        | Event::FeedbackGiven(_)
        | Event::ComplimentReceived(_)
        | Event::StaffPulseAnswered(_)
        | Event::StaffProposalMade(_)
        | Event::PatientsMerged(_)
        | Event::PatientsUnmerged(_)
        | Event::PatientIdentifiersChanged(_)
        | Event::FeedbackLinked(_) => return None,
    })
}

fn visit(appointment: Option<&String>) -> What {
    appointment.map_or(What::Nothing, |a| What::Visit { appointment: a.clone() })
}

fn referral(id: &str, step: ReferralStep) -> What {
    What::Referral { referral: id.to_owned(), step }
}

fn money(minor: i64, currency: &str) -> Money {
    Money { minor, currency: currency.to_owned() }
}

fn bill(claim: &str, encounter: Option<&String>, billed: Billed, h: &Header) -> What {
    What::Bill { claim: claim.to_owned(), encounter: encounter.cloned(), billed, place: place(h) }
}
