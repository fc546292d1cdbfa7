//! Kinds of touchpoints, and what a touchpoint is about.

use crate::EventId;
use crate::event::RefKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kind of touchpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum TouchKind {
    Scheduling,
    CheckIn,
    Consult,
    Stay,
    Continuation,
    FollowUp,
    Billing,
}

impl TouchKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Scheduling, Self::CheckIn, Self::Consult, Self::Stay, Self::Continuation, Self::FollowUp, Self::Billing];

    /// The name, as rows and answers write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduling => "scheduling",
            Self::CheckIn => "check_in",
            Self::Consult => "consult",
            Self::Stay => "stay",
            Self::Continuation => "continuation",
            Self::FollowUp => "follow_up",
            Self::Billing => "billing",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == name)
    }
}

/// What a touchpoint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject<'a> {
    Reference(RefKind, &'a str),
    Event(EventId),
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(kind, id) => write!(f, "{}:{id}", kind.as_str()),
            Self::Event(id) => write!(f, "event:{id}"),
        }
    }
}

/// A kind as a list of one.
pub(super) const fn single(kind: TouchKind) -> &'static [TouchKind] {
    match kind {
        TouchKind::Scheduling => &[TouchKind::Scheduling],
        TouchKind::CheckIn => &[TouchKind::CheckIn],
        TouchKind::Consult => &[TouchKind::Consult],
        TouchKind::Stay => &[TouchKind::Stay],
        TouchKind::Continuation => &[TouchKind::Continuation],
        TouchKind::FollowUp => &[TouchKind::FollowUp],
        TouchKind::Billing => &[TouchKind::Billing],
    }
}
