//! When a patient may be contacted, and for what.
//!
//! Korea bars advertising from 21:00 to 08:00 without a separate consent (Act on Promotion of Information and
//! Communications Network Utilization, Art. 50(3)), and at any time without consent to advertising (Art. 50(1)). Calls about
//! care are not advertising; they keep the hospital's own quiet hours.

use chrono::NaiveTime;
use serde::{Deserialize, Serialize};

/// What a contact is for. The rules go by purpose, not by channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A post-visit call, a result, a complaint, a referral.
    Care,
    /// A reminder of an appointment, or a recall.
    Reminder,
    /// A bill.
    Billing,
    /// Advertising, campaigns included.
    Advertising,
}

impl Purpose {
    /// The name, as events write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Care => "care",
            Self::Reminder => "reminder",
            Self::Billing => "billing",
            Self::Advertising => "advertising",
        }
    }

    /// The purpose that an event names; an unknown one counts as advertising, which is the strictest.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "care" | "follow_up" | "post_visit" | "result" | "complaint" => Self::Care,
            "appointment" | "reminder" | "recall" => Self::Reminder,
            "billing" | "bill" => Self::Billing,
            _ => Self::Advertising,
        }
    }
}

/// A span of local time, which may pass midnight. `until` is not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Start.
    pub from: NaiveTime,
    /// End.
    pub until: NaiveTime,
}

impl Hours {
    /// From hour to hour, on the hour.
    #[must_use]
    pub fn between(from: u32, until: u32) -> Self {
        let at = |h| NaiveTime::from_hms_opt(h, 0, 0).unwrap_or(NaiveTime::MIN);
        Self { from: at(from), until: at(until) }
    }

    /// The quiet hours of a hospital that names none: 20:00 to 08:00.
    #[must_use]
    pub fn usual() -> Self {
        Self::between(20, 8)
    }

    /// Whether a time lies in it.
    #[must_use]
    pub fn contains(&self, t: NaiveTime) -> bool {
        if self.from <= self.until { (self.from..self.until).contains(&t) } else { t >= self.from || t < self.until }
    }
}

/// What a consent to contact is about. Each scope is given and withdrawn by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContactScope {
    /// `contact`: every contact.
    Any,
    /// `follow_up_contact`.
    FollowUp,
}

/// What the patient has consented to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consents {
    /// To be contacted at all; true unless it was withdrawn.
    pub contact: bool,
    /// To advertising; false unless it was given.
    pub advertising: bool,
    /// To advertising at night; false unless it was given.
    pub night: bool,
}

impl Default for Consents {
    fn default() -> Self {
        Self { contact: true, advertising: false, night: false }
    }
}

/// Why a contact is not allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barred {
    /// The patient is not to be contacted: by their own word, or without consent to it.
    DoNotContact,
    /// There is no consent to advertising.
    NoAdvertisingConsent,
    /// Advertising from 21:00 to 08:00 takes a separate consent.
    AdvertisingAtNight,
    /// The hospital's quiet hours.
    QuietHours,
    /// The patient has died.
    Deceased,
    /// There is nothing to contact the patient about: the item is closed or cancelled.
    NotOpen,
}

impl Barred {
    /// The name, as the read API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoNotContact => "do_not_contact",
            Self::NoAdvertisingConsent => "no_advertising_consent",
            Self::AdvertisingAtNight => "advertising_at_night",
            Self::QuietHours => "quiet_hours",
            Self::Deceased => "deceased",
            Self::NotOpen => "not_open",
        }
    }
}

/// Whether a contact for `purpose` is allowed at a local time of the patient's. `quiet` are the hospital's quiet hours.
///
/// # Errors
/// Why it is not.
pub fn may_contact(purpose: Purpose, local: NaiveTime, consents: Consents, quiet: Hours) -> Result<(), Barred> {
    if !consents.contact {
        return Err(Barred::DoNotContact);
    }
    if purpose == Purpose::Advertising {
        if !consents.advertising {
            return Err(Barred::NoAdvertisingConsent);
        }
        let night = Hours::between(21, 8).contains(local);
        return if night && !consents.night { Err(Barred::AdvertisingAtNight) } else { Ok(()) };
    }
    if quiet.contains(local) { Err(Barred::QuietHours) } else { Ok(()) }
}
