//! What the queue keeps of an event: ids, times, flags, and what a bill comes to. Never a name, a number or free text.

use super::contact::ContactScope;
use crate::EventId;
use crate::amendments::{Amendable, Amends};
use crate::event::{ItemClosure, Outcome, Severity};
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

/// An amount. It only tells whether a bill is paid: no item holds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// In minor units of the currency.
    pub minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// What a bill asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Billed {
    /// This much more.
    Charged(Money),
    /// This much in all.
    Claimed(Money),
    /// The event doesn't say.
    Unknown,
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
        billed: Billed,
        place: Place,
    },
    /// The bill is greater by this; smaller, where that is negative.
    Adjusted {
        claim: String,
        by: Money,
    },
    Paid {
        claim: String,
        amount: Money,
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
        scope: ContactScope,
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
    /// The way that a channel's name means; a call where there is none.
    pub fn of(name: Option<&str>) -> Self {
        match name.unwrap_or("phone") {
            "phone" | "robocall" | "call" | "mobile" | "voice" | "video" => Self::Phone,
            "sms" | "email" | "message" | "kakao" | "chat" | "app" | "web" | "push" => Self::Message,
            "letter" | "post" | "mail" => Self::Letter,
            _ => Self::Other,
        }
    }
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
