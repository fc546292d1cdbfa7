//! What the MOT view keeps of an event: little, since a patient's facts are written anew with every batch that touches them.

use crate::EventId;
use crate::amendments::{self, Amendable, Amends};
use crate::event::{Dimension, Event, Header, Outcome, Party, RefKind, Role, Severity};
use crate::views::unattended;
use chrono::{Datelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

pub(super) type Text = Box<str>;

/// What one event says to the MOT view. No amount of money is among it (F17), and no free text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The type of the event.
    tag: u16,
    /// When it happened, microseconds since 1970.
    pub(super) at: i64,
    /// How much later it was recorded, microseconds.
    pub(super) lag: i64,
    /// `year * 12 + month - 1` in the event's own zone.
    pub(super) month: u32,
    /// Whether the event names a patient.
    pub(super) patient: bool,
    pub(super) journey: Option<Text>,
    pub(super) site: Option<Text>,
    pub(super) department: Option<Text>,
    #[serde(serialize_with = "write_references", deserialize_with = "read_references")]
    pub(super) references: Vec<(RefKind, Text)>,
    pub(super) what: What,
}

/// The part of a fact that differs by event. New variants go at the end: stored states hold the number of the variant.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum What {
    /// Counts for journeys, and proves that time has passed.
    Link,
    Requested {
        hold_s: Option<i32>,
        alone: bool,
    },
    Booked {
        hold_s: Option<i32>,
        alone: bool,
    },
    Rescheduled {
        by: Party,
        hold_s: Option<i32>,
    },
    Cancelled {
        by: Party,
    },
    Confirmed,
    Friction {
        hold_s: Option<i32>,
    },
    Scheduling,
    CheckedIn,
    CheckIn,
    Questionnaire {
        reviewed: Option<bool>,
    },
    WaitTold {
        minutes: i32,
    },
    RepeatQuestion,
    ConsultStarted,
    ConsultEnded {
        surgery: bool,
    },
    Service,
    Asked,
    Answered,
    Options {
        explained: bool,
    },
    NextSteps,
    Dignity {
        role: Role,
        kind: Text,
    },
    Checklist {
        name: Text,
        done: i32,
        total: i32,
    },
    Stay,
    Discharged,
    AdmissionCancelled,
    DischargeCancelled,
    Aftercare {
        teach_back: Option<bool>,
    },
    ReferralMade,
    Referral,
    ReferralBooked,
    ReferralCompleted,
    ReferralLost,
    ReferralCancelled,
    Attempt,
    Call {
        human: bool,
        first_contact: Option<bool>,
    },
    Charge,
    Bill,
    Rework {
        no: i32,
    },
    Disputed,
    DisputeResolved {
        first_contact: Option<bool>,
    },
    Complaint {
        severity: Severity,
        role: Option<Role>,
    },
    ComplaintResolved {
        first_contact: Option<bool>,
    },
    Feedback(Answer),
    Pulse(Pulse),
    Corrected {
        target: Option<[u8; 16]>,
        replacement: Option<Box<Fact>>,
    },
    Retracted {
        target: Option<[u8; 16]>,
    },
}

/// An answer to a feedback question.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub instrument: Text,
    pub role: Option<Role>,
    pub dimension: Dimension,
    /// (raw − min) / (max − min) in ten-thousandths; nothing where the scale makes no sense.
    pub score: Option<u16>,
    pub touchpoint: Option<Text>,
    /// The anonymous answer that this one repeats.
    pub linked: Option<[u8; 16]>,
}

/// An answer of a member of staff (D6), kept apart from what patients say.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pulse {
    pub instrument: Text,
    pub role: Role,
    pub score: Option<u16>,
    pub workload_percent: Option<i32>,
}

impl Fact {
    /// What the view keeps of `event`; `None` for events about nobody that have no score in them.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let h = event.header();
        let what = what(event);
        if h.patient_id.is_none()
            && !matches!(what, What::Feedback(_) | What::Pulse(_) | What::Corrected { .. } | What::Retracted { .. })
        {
            return None;
        }
        let mut references = Vec::new();
        event.each_reference(|kind, id| references.push((kind, id.into())));
        Some(Self {
            tag: amendments::tag(event.kind()),
            at: h.occurred_at.0,
            lag: h.recorded_at.0.saturating_sub(h.occurred_at.0),
            month: month(h),
            patient: h.patient_id.is_some(),
            journey: h.journey_id.as_deref().map(Into::into),
            site: h.site.as_deref().map(Into::into),
            department: h.department.as_deref().map(Into::into),
            references,
            what,
        })
    }

    /// When it was recorded, microseconds since 1970.
    pub(super) const fn recorded_at(&self) -> i64 {
        self.at.saturating_add(self.lag)
    }

    /// The reference of this kind.
    pub(super) fn reference(&self, kind: RefKind) -> Option<&str> {
        self.references.iter().find(|(k, _)| *k == kind).map(|(_, id)| &**id)
    }
}

impl Amendable for Fact {
    fn tag(&self) -> u16 {
        self.tag
    }

    fn recorded(&self) -> i64 {
        self.recorded_at()
    }

    fn amends(&self) -> Option<Amends<'_, Self>> {
        let id = |target: &Option<[u8; 16]>| target.map(|bytes| EventId(Uuid::from_bytes(bytes)));
        match &self.what {
            What::Corrected { target, replacement } => Some(Amends::Corrects(id(target)?, replacement.as_deref())),
            What::Retracted { target } => Some(Amends::Retracts(id(target)?)),
            _ => None,
        }
    }
}

/// `year * 12 + month - 1` in the zone of the event; UTC where the zone is unknown.
fn month(h: &Header) -> u32 {
    let utc = h.occurred_at.utc();
    let (year, month0) = match h.zone.parse::<Tz>() {
        Ok(zone) => {
            let local = utc.with_timezone(&zone);
            (local.year(), local.month0())
        }
        Err(_) => (utc.with_timezone(&Utc).year(), utc.month0()),
    };
    u32::try_from(year).unwrap_or(0) * 12 + month0
}

/// An answer on its scale as ten-thousandths, rounded half up. Nothing where the scale is empty or the answer lies off it.
pub(super) fn normalise(raw: f64, min: f64, max: f64) -> Option<u16> {
    let usable = raw.is_finite() && min.is_finite() && max.is_finite() && max > min && (min..=max).contains(&raw);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 to 10000 by the check above")]
    usable.then(|| ((raw - min) / (max - min) * 10_000.0).round() as u16)
}

/// The event that another one names; nothing where the name is no event id.
fn target(id: &str) -> Option<[u8; 16]> {
    id.parse::<EventId>().ok().map(|id| id.0.into_bytes())
}

#[allow(clippy::too_many_lines, reason = "one line per event of the catalogue")]
fn what(event: &Event) -> What {
    match event {
        Event::AppointmentRequested(e) => What::Requested {
            hold_s: e.hold_s,
            alone: e.self_service.unwrap_or_else(|| unattended(e.channel.as_deref())),
        },
        Event::AppointmentBooked(e) => {
            What::Booked { hold_s: e.hold_s, alone: e.self_service.unwrap_or_else(|| unattended(e.channel.as_deref())) }
        }
        Event::AppointmentRescheduled(e) => What::Rescheduled { by: e.by, hold_s: e.hold_s },
        Event::AppointmentCancelled(e) => What::Cancelled { by: e.by },
        Event::AppointmentConfirmed(_) => What::Confirmed,
        Event::BookingFrictionReported(e) => What::Friction { hold_s: e.hold_s },
        Event::AppointmentModified(_) | Event::AppointmentNoShow(_) | Event::ReminderSent(_) => What::Scheduling,
        Event::PatientCheckedIn(_) => What::CheckedIn,
        Event::QuestionnaireStarted(_) => What::CheckIn,
        Event::QuestionnaireCompleted(e) => What::Questionnaire { reviewed: e.history_reviewed },
        Event::WaitEstimated(e) => What::WaitTold { minutes: e.wait_told_min },
        Event::RepeatQuestionReported(_) => What::RepeatQuestion,
        Event::ConsultStarted(_) => What::ConsultStarted,
        Event::ConsultEnded(e) => What::ConsultEnded { surgery: e.surgery_recommended == Some(true) },
        Event::NoteRecorded(_) => What::Service,
        Event::PatientQuestionAsked(_) => What::Asked,
        Event::PatientQuestionAnswered(_) => What::Answered,
        Event::OptionsExplained(e) => What::Options { explained: e.pros_and_cons || e.decision_deferred },
        Event::NextStepsExplained(_) => What::NextSteps,
        Event::DignityBreachReported(e) => What::Dignity { role: e.role, kind: e.kind.as_str().into() },
        Event::ChecklistCompleted(e) => {
            What::Checklist { name: e.checklist.as_str().into(), done: e.items_done, total: e.items_total }
        }
        Event::PatientAdmitted(_) | Event::PatientTransferred(_) => What::Stay,
        Event::PatientDischarged(_) => What::Discharged,
        Event::AdmissionCancelled(_) => What::AdmissionCancelled,
        Event::DischargeCancelled(_) => What::DischargeCancelled,
        Event::AftercareInstructionGiven(e) => What::Aftercare { teach_back: e.teach_back },
        Event::ReferralMade(_) => What::ReferralMade,
        Event::ReferralAccepted(_) => What::Referral,
        Event::ReferralBooked(_) => What::ReferralBooked,
        Event::ReferralCompleted(_) => What::ReferralCompleted,
        Event::ReferralDeclined(_) | Event::ReferralExpired(_) => What::ReferralLost,
        Event::ReferralCancelled(_) => What::ReferralCancelled,
        Event::FollowUpCallAttempted(_) => What::Attempt,
        Event::FollowUpCallCompleted(e) => What::Call {
            human: e.human && e.outcome == Outcome::Reached && !unattended(e.channel.as_deref()),
            first_contact: e.first_contact_resolution,
        },
        Event::ChargePosted(_) => What::Charge,
        Event::ClaimSubmitted(_)
        | Event::ClaimAdjusted(_)
        | Event::ClaimPaid(_)
        | Event::ClaimDenied(_)
        | Event::PaymentReceived(_)
        | Event::ReceiptIssued(_) => What::Bill,
        Event::ClaimResubmitted(e) => What::Rework { no: e.rework_no },
        Event::BillDisputed(_) => What::Disputed,
        Event::BillDisputeResolved(e) => What::DisputeResolved { first_contact: e.first_contact_resolution },
        Event::ComplaintFiled(e) => What::Complaint { severity: e.severity, role: e.role },
        Event::ComplaintResolved(e) => What::ComplaintResolved { first_contact: e.first_contact_resolution },
        Event::FeedbackGiven(e) => What::Feedback(Answer {
            instrument: e.instrument.as_str().into(),
            role: e.role,
            dimension: e.dimension,
            score: normalise(e.raw, e.scale_min, e.scale_max),
            touchpoint: e.touchpoint.as_deref().map(Into::into),
            linked: None,
        }),
        Event::FeedbackLinked(e) => What::Feedback(Answer {
            instrument: e.instrument.as_str().into(),
            role: e.role,
            dimension: e.dimension,
            score: normalise(e.raw, e.scale_min, e.scale_max),
            touchpoint: e.touchpoint.as_deref().map(Into::into),
            linked: target(&e.target_event_id),
        }),
        Event::StaffPulseAnswered(e) => What::Pulse(Pulse {
            instrument: e.instrument.as_str().into(),
            role: e.role,
            score: normalise(e.raw, e.scale_min, e.scale_max),
            workload_percent: e.workload_percent,
        }),
        Event::EventCorrected(e) => What::Corrected {
            target: target(&e.target_event_id),
            replacement: amendments::replacement(e).and_then(|e| Fact::of(&e)).map(Box::new),
        },
        Event::EventRetracted(e) => What::Retracted { target: target(&e.target_event_id) },
        Event::CampaignGiftSent(_)
        | Event::ComplimentReceived(_)
        | Event::ConsentExpired(_)
        | Event::ConsentGiven(_)
        | Event::ConsentWithdrawn(_)
        | Event::DemographicsUpdated(_)
        | Event::EnquiryReceived(_)
        | Event::FollowUpItemClosed(_)
        | Event::IntroducerRecorded(_)
        | Event::OrderCancelled(_)
        | Event::OrderPlaced(_)
        | Event::PatientIdentifiersChanged(_)
        | Event::PatientsMerged(_)
        | Event::PatientsUnmerged(_)
        | Event::RecallBooked(_)
        | Event::RecallDue(_)
        | Event::RecallLapsed(_)
        | Event::ResultCorrected(_)
        | Event::ResultReported(_)
        | Event::SpecimenCollected(_)
        | Event::StaffProposalMade(_) => What::Link,
    }
}

/// Numbers of the reference kinds in stored states. They outlive a new kind, which the generated enum's own order wouldn't.
const KINDS: [RefKind; 8] = [
    RefKind::Appointment,
    RefKind::Claim,
    RefKind::Complaint,
    RefKind::Encounter,
    RefKind::Item,
    RefKind::Order,
    RefKind::Question,
    RefKind::Referral,
];

fn write_references<S: Serializer>(refs: &[(RefKind, Text)], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(refs.iter().map(|(kind, id)| (KINDS.iter().position(|k| k == kind).unwrap_or(255), id)))
}

fn read_references<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(RefKind, Text)>, D::Error> {
    Vec::<(usize, Text)>::deserialize(d)?
        .into_iter()
        .map(|(n, id)| KINDS.get(n).map(|k| (*k, id)).ok_or_else(|| serde::de::Error::custom("unknown reference kind")))
        .collect()
}
