//! What items are about, and where they stand.

use crate::views::follow_ups::contact::Purpose;

/// What an item is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ItemKind {
    PostVisit,
    ReferralBooking,
    ReferralCompletion,
    OrderResult,
    Recall,
    CriticalMot,
    Complaint,
    NoShow,
    UnpaidBill,
    DisputedBill,
    UnansweredQuestion,
    BookingFriction,
}

impl ItemKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::PostVisit,
        Self::ReferralBooking,
        Self::ReferralCompletion,
        Self::OrderResult,
        Self::Recall,
        Self::CriticalMot,
        Self::Complaint,
        Self::NoShow,
        Self::UnpaidBill,
        Self::DisputedBill,
        Self::UnansweredQuestion,
        Self::BookingFriction,
    ];

    /// The name, as the read API writes it. It goes into the item ids, so it never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PostVisit => "post_visit",
            Self::ReferralBooking => "referral_booking",
            Self::ReferralCompletion => "referral_completion",
            Self::OrderResult => "order_result",
            Self::Recall => "recall",
            Self::CriticalMot => "critical_mot",
            Self::Complaint => "complaint",
            Self::NoShow => "no_show",
            Self::UnpaidBill => "unpaid_bill",
            Self::DisputedBill => "disputed_bill",
            Self::UnansweredQuestion => "unanswered_question",
            Self::BookingFriction => "booking_friction",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == name)
    }

    /// What contacting the patient about it is for.
    #[must_use]
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::UnpaidBill | Self::DisputedBill => Purpose::Billing,
            Self::Recall | Self::NoShow | Self::BookingFriction => Purpose::Reminder,
            Self::PostVisit
            | Self::ReferralBooking
            | Self::ReferralCompletion
            | Self::OrderResult
            | Self::CriticalMot
            | Self::Complaint
            | Self::UnansweredQuestion => Purpose::Care,
        }
    }

    /// Whether only a human may do it (F8); the others may be prepared by automated messages.
    #[must_use]
    pub const fn needs_human(self) -> bool {
        matches!(self, Self::PostVisit | Self::CriticalMot | Self::Complaint)
    }

    /// Whether a patient who declines (refuses the offer) ends it.
    pub(super) const fn can_be_declined(self) -> bool {
        matches!(self, Self::NoShow | Self::Recall | Self::BookingFriction)
    }

    /// Whether the latest trigger counts, not the earliest due time of what is open.
    pub(super) const fn goes_by_the_latest(self) -> bool {
        matches!(self, Self::UnpaidBill)
    }

    /// Whether its trigger comes before anything that comes of it, whatever the clocks of two systems say.
    pub(in crate::views::follow_ups) const fn is_made_first(self) -> bool {
        matches!(self, Self::ReferralBooking | Self::ReferralCompletion | Self::OrderResult | Self::UnansweredQuestion)
    }

    /// Whether it takes both a call and a resolution.
    pub(super) const fn needs_call_and_resolution(self) -> bool {
        matches!(self, Self::CriticalMot | Self::Complaint)
    }
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Status {
    Open,
    Closed,
    Cancelled,
    Suppressed,
}

impl Status {
    /// The name, as the read API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Suppressed => "suppressed",
        }
    }
}
