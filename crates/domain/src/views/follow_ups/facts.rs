//! What the queue keeps of an event: ids, times, flags. Never an amount of money, a name, a number or free text.

use super::rules;
use crate::amendments::{self, Amendable, Amends};
use crate::event::{Event, Grantee, Header, ItemClosure, Outcome, Party, Priority, ResultStatus, Role, Severity};
use crate::{EventId, Micros};
use serde::{Deserialize, Serialize};

/// What one event says to the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The type of the event.
    pub tag: u16,
    /// When it happened, microseconds.
    pub at: i64,
    /// What happened.
    pub what: What,
}

/// Where a trigger happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub site: Option<String>,
    pub department: Option<String>,
    pub zone: String,
    pub journey: Option<String>,
}

/// How a referral went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferralStep {
    Completed,
    CompletedWithOutcome,
    Cancelled,
    Declined,
    Expired,
}

/// What a result says about the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResultState {
    Preliminary,
    Final,
    Cancelled,
}

/// What happened. References are the payload's own ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    Consult {
        encounter: String,
        appointment: Option<String>,
        high_risk: bool,
        /// Day of the re-exam (days since 1970), and when 14 days before it begin.
        reexam: Option<(i32, i64)>,
        place: Place,
    },
    Discharge {
        encounter: String,
        high_risk: bool,
        expired: bool,
        place: Place,
    },
    DischargeUndone {
        encounter: String,
    },
    ReferralMade {
        referral: String,
        encounter: Option<String>,
        urgency: u8,
        expires: Option<i64>,
        place: Place,
    },
    ReferralBooked {
        referral: String,
        appointment: Option<String>,
        starts: Option<i64>,
    },
    Referral {
        referral: String,
        step: ReferralStep,
    },
    Order {
        order: String,
        encounter: Option<String>,
        urgency: u8,
        due: Option<i64>,
        place: Place,
    },
    Result {
        order: String,
        encounter: Option<String>,
        state: ResultState,
        abnormal: bool,
    },
    OrderCancelled {
        order: String,
    },
    RecallDue {
        kind: String,
        on: i32,
        due: i64,
        encounter: Option<String>,
        order: Option<String>,
        place: Place,
    },
    RecallBooked {
        kind: String,
        appointment: Option<String>,
        starts: Option<i64>,
        department: Option<String>,
    },
    RecallLapsed {
        kind: String,
    },
    Booked(Booking),
    Rescheduled {
        appointment: String,
        starts: i64,
    },
    Cancelled {
        appointment: String,
        by_patient: bool,
    },
    NoShow {
        appointment: String,
        due: i64,
        place: Place,
    },
    Visit {
        appointment: String,
    },
    Breach {
        encounter: Option<String>,
        appointment: Option<String>,
        severity: Option<Severity>,
        place: Place,
    },
    Complaint {
        complaint: String,
        encounter: Option<String>,
        severity: Severity,
        place: Place,
    },
    ComplaintResolved {
        complaint: String,
    },
    Bill {
        claim: String,
        encounter: Option<String>,
        place: Place,
    },
    Paid {
        claim: String,
    },
    Disputed {
        claim: String,
        encounter: Option<String>,
        place: Place,
    },
    DisputeResolved {
        claim: String,
    },
    Asked {
        question: String,
        encounter: Option<String>,
        place: Place,
    },
    Answered {
        question: String,
    },
    Friction {
        appointment: Option<String>,
        place: Place,
    },
    Contact(Contact),
    ItemClosed {
        item: String,
        closure: ItemClosure,
        by_system: bool,
    },
    /// Whether the patient may be contacted at all.
    ContactConsent {
        given: bool,
        expired: bool,
    },
    Person {
        needs: Option<u8>,
        deceased: Option<bool>,
    },
    Corrected {
        target: EventId,
        recorded: i64,
        replacement: Option<Box<Fact>>,
    },
    Retracted {
        target: EventId,
        recorded: i64,
    },
    /// Nothing, unless a correction of it says something.
    Nothing,
}

/// A booking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booking {
    pub appointment: String,
    pub starts: i64,
    pub referral: Option<String>,
    pub recall: Option<String>,
    pub department: Option<String>,
    pub with_help: bool,
}

/// An attempt to reach the patient, or a completed call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub item: Option<String>,
    pub encounter: Option<String>,
    pub channel: Channel,
    pub human: bool,
    pub outcome: Outcome,
    pub callback: Option<i64>,
    /// For a completed call: how many of the five answers were given. The answers themselves are not kept.
    pub answers: Option<u8>,
}

/// The ways to reach a patient, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    Phone,
    Message,
    Letter,
    Other,
}

impl Channel {
    fn of(name: Option<&str>) -> Self {
        match name.unwrap_or("phone") {
            "phone" | "robocall" | "call" | "mobile" | "voice" | "video" => Self::Phone,
            "sms" | "email" | "message" | "kakao" | "chat" | "app" | "web" | "push" => Self::Message,
            "letter" | "post" | "mail" => Self::Letter,
            _ => Self::Other,
        }
    }
}

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
    if about_care && matches!(scope, "follow_up_contact" | "contact") {
        What::ContactConsent { given, expired }
    } else {
        What::Nothing
    }
}

/// HL7 table 0112 writes expired as 20 or 40 to 42.
fn is_expired(disposition: Option<&str>) -> bool {
    disposition.is_some_and(|d| {
        ["expired", "deceased", "died", "20", "40", "41", "42"].iter().any(|x| d.eq_ignore_ascii_case(x))
    })
}

impl Amendable for Fact {
    fn tag(&self) -> u16 {
        self.tag
    }

    fn recorded(&self) -> i64 {
        match self.what {
            What::Corrected { recorded, .. } | What::Retracted { recorded, .. } => recorded,
            _ => self.at,
        }
    }

    fn amends(&self) -> Option<Amends<'_, Self>> {
        match &self.what {
            What::Corrected { target, replacement, .. } => Some(Amends::Corrects(*target, replacement.as_deref())),
            What::Retracted { target, .. } => Some(Amends::Retracts(*target)),
            _ => None,
        }
    }
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
        Event::ChargePosted(e) => bill(&e.claim_id, e.encounter_id.as_ref(), h),
        Event::ClaimSubmitted(e) => bill(&e.claim_id, e.encounter_id.as_ref(), h),
        Event::ClaimResubmitted(e) => bill(&e.claim_id, e.encounter_id.as_ref(), h),
        Event::ClaimDenied(e) => bill(&e.claim_id, e.encounter_id.as_ref(), h),
        Event::ClaimPaid(e) => What::Paid { claim: e.claim_id.clone() },
        Event::PaymentReceived(e) => What::Paid { claim: e.claim_id.clone() },
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
            human: e.human && e.channel != "robocall",
            outcome: e.outcome,
            callback: micros(e.callback_at),
            answers: None,
        }),
        Event::FollowUpCallCompleted(e) => What::Contact(Contact {
            item: e.item_id.clone(),
            encounter: e.encounter_id.clone(),
            channel: Channel::of(e.channel.as_deref()),
            human: e.human && e.channel.as_deref() != Some("robocall"),
            outcome: e.outcome,
            callback: None,
            answers: Some(e.answers.iter().take(5).map(|a| u8::from(!a.trim().is_empty())).sum()),
        }),
        Event::FollowUpItemClosed(e) => What::ItemClosed {
            item: e.item_id.clone(),
            closure: e.closure,
            by_system: h.actor.as_ref().is_some_and(|a| a.role == Role::System),
        },
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
        | Event::ClaimAdjusted(_)
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

fn bill(claim: &str, encounter: Option<&String>, h: &Header) -> What {
    What::Bill { claim: claim.to_owned(), encounter: encounter.cloned(), place: place(h) }
}
