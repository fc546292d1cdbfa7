//! Standards: what a hospital promises, with the day from which it holds.
//!
//! A standard is a TOML file under `schemas/standards/`. Touchpoints are scored by the standard in force when they happened
//! (D1), so a released file is never edited; a change is a new file with a later `effective_from`.

use super::touchpoint::TouchKind;
use super::value::{Milli, Value, WHOLE};
use crate::Micros;
use serde::Deserialize;

mod parse;

/// A signal of `mot-v1`, in the order of its table, and P4's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Signal {
    WaitGap,
    NoWaitEstimate,
    BookingHold,
    BookingContacts,
    HospitalChanges,
    RepeatQuestions,
    UnansweredQuestions,
    PostVisitCall,
    ReferralBooking,
    FirstContact,
    ClaimRework,
    DisputeResolution,
    OptionsExplained,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::WaitGap,
        Self::NoWaitEstimate,
        Self::BookingHold,
        Self::BookingContacts,
        Self::HospitalChanges,
        Self::RepeatQuestions,
        Self::UnansweredQuestions,
        Self::PostVisitCall,
        Self::ReferralBooking,
        Self::FirstContact,
        Self::ClaimRework,
        Self::DisputeResolution,
        Self::OptionsExplained,
    ];

    /// The name, as standards and explanations write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitGap => "wait_gap",
            Self::NoWaitEstimate => "no_wait_estimate",
            Self::BookingHold => "booking_hold",
            Self::BookingContacts => "booking_contacts",
            Self::HospitalChanges => "hospital_changes",
            Self::RepeatQuestions => "repeat_questions",
            Self::UnansweredQuestions => "unanswered_questions",
            Self::PostVisitCall => "post_visit_call",
            Self::ReferralBooking => "referral_booking",
            Self::FirstContact => "first_contact",
            Self::ClaimRework => "claim_rework",
            Self::DisputeResolution => "dispute_resolution",
            Self::OptionsExplained => "options_explained",
        }
    }

    /// The unit of its value.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::WaitGap => "min",
            Self::BookingHold => "s",
            Self::PostVisitCall => "h",
            Self::ReferralBooking | Self::DisputeResolution => "d",
            Self::NoWaitEstimate
            | Self::BookingContacts
            | Self::HospitalChanges
            | Self::RepeatQuestions
            | Self::UnansweredQuestions
            | Self::ClaimRework => "count",
            Self::FirstContact | Self::OptionsExplained => "share",
        }
    }
}

/// What a signal's value is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Utility 1 here or better, thousandths of the unit.
    pub target: Milli,
    /// Utility 0 here or worse, thousandths of the unit.
    pub fail: Milli,
    /// Weight among the touchpoint's signals, thousandths.
    pub weight: Milli,
}

impl Scale {
    /// Utility of a value in parts of [`WHOLE`], rounded half up: 1 at target, 0 at fail, linear between.
    pub(super) fn utility(&self, value: Value) -> i128 {
        let per = i128::from(value.per);
        let span = (i128::from(self.fail) - i128::from(self.target)) * per;
        let left = i128::from(self.fail) * per - i128::from(value.of) * 1000;
        let (left, span) = if span < 0 { (-left, -span) } else { (left, span) };
        (left.clamp(0, span) * WHOLE * 2 + span) / (span * 2)
    }
}

/// What shows whether a promise was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// `ChecklistCompleted` of the named checklist: items done of items in all (F13).
    Checklist,
    /// `NextStepsExplained` (P9).
    NextSteps,
    /// `QuestionnaireCompleted.history_reviewed` (F12).
    HistoryReviewed,
    /// `AftercareInstructionGiven.teach_back`.
    TeachBack,
}

/// Whether doing it is right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// To be done: utility is the share done.
    Promised,
    /// Not to be done: utility is the share left undone.
    Forbidden,
}

/// A promise of a standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Its name, the same in every standard that takes it up or forbids it.
    pub id: String,
    /// The touchpoint that it is about.
    pub touchpoint: TouchKind,
    /// What shows whether it was kept.
    pub evidence: Evidence,
    /// The checklist, where that is the evidence.
    pub checklist: Option<String>,
    /// Promised or forbidden.
    pub rule: Rule,
    /// Weight among the touchpoint's signals, thousandths.
    pub weight: Milli,
    /// The promise in words.
    pub text: String,
}

/// One standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standard {
    /// Its version.
    pub version: String,
    /// In force from here until the next one's.
    pub effective_from: Micros,
    scales: [Scale; 13],
    journey_weights: [Milli; 7],
    floors: [i64; 7],
    default_floor: i64,
    /// What it promises and forbids.
    pub promises: Vec<Promise>,
}

impl Standard {
    /// Target, fail and weight of a signal.
    #[must_use]
    pub const fn scale(&self, signal: Signal) -> Scale {
        self.scales[signal as usize]
    }

    /// Weight of a touchpoint in its journey's mean, thousandths.
    #[must_use]
    pub const fn journey_weight(&self, kind: TouchKind) -> Milli {
        self.journey_weights[kind as usize]
    }

    /// What an aggregate shall not lie wholly below, hundredths of a point.
    #[must_use]
    pub fn floor(&self, kind: Option<TouchKind>) -> i64 {
        kind.map_or(self.default_floor, |k| self.floors[k as usize])
    }
}

/// Why a standard can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StandardsError {
    /// The file is no TOML of the right shape; the text says where.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A value makes no sense.
    #[error("{file}: {field}: {reason}")]
    Value {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two standards share a version or a day.
    #[error("{file}: the same {what} as {other}")]
    Twice {
        /// The file.
        file: String,
        /// `version` or `effective_from`.
        what: &'static str,
        /// The other file.
        other: String,
    },
    /// There is none.
    #[error("no standards: at least one is needed")]
    None,
}

/// All standards, by the time from which they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standards {
    all: Vec<Standard>,
    /// Name and text of each.
    files: Vec<(String, String)>,
}

impl Standards {
    /// Reads standards from TOML texts with their file names.
    ///
    /// # Errors
    /// When one can't be read, has unknown keys or senseless values, or two share a version or a day.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, StandardsError> {
        let mut read: Vec<(Standard, (String, String))> = Vec::new();
        for (name, text) in files {
            let file = name.as_ref().to_owned();
            let standard = parse::parse_one(&file, text.as_ref())?;
            for (other, (path, _)) in &read {
                let what = if other.version == standard.version {
                    "version"
                } else if other.effective_from == standard.effective_from {
                    "effective_from"
                } else {
                    continue;
                };
                return Err(StandardsError::Twice { file, what, other: path.clone() });
            }
            read.push((standard, (file, text.as_ref().to_owned())));
        }
        read.sort_by_key(|(s, _)| s.effective_from);
        let (all, files): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        if all.is_empty() { Err(StandardsError::None) } else { Ok(Self { all, files }) }
    }

    /// The two that come with the program.
    #[must_use]
    #[allow(clippy::expect_used, reason = "compiled in; a test reads them")]
    pub fn shipped() -> Self {
        Self::parse(&SHIPPED).expect("the shipped standards are valid")
    }

    /// The one in force at a time; none before the first.
    #[must_use]
    pub fn at(&self, time: Micros) -> Option<&Standard> {
        self.all.iter().rev().find(|s| s.effective_from <= time)
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<&Standard> {
        self.all.last()
    }

    /// All of them, the earliest first.
    #[must_use]
    pub fn all(&self) -> &[Standard] {
        &self.all
    }

    /// Name and text of each, in that order.
    #[must_use]
    pub fn files(&self) -> &[(String, String)] {
        &self.files
    }
}

/// Names and texts of the standards that come with the program.
pub const SHIPPED: [(&str, &str); 2] = [
    ("2019-01.toml", include_str!("../../../../../schemas/standards/2019-01.toml")),
    ("2020-03.toml", include_str!("../../../../../schemas/standards/2020-03.toml")),
];
