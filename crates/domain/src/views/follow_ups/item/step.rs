//! What happens to an item.

use crate::EventId;
use crate::event::ItemClosure;
use crate::views::follow_ups::facts::{Contact, Place};

/// What opens an item.
#[derive(Debug, Clone)]
pub struct Trigger<'a> {
    pub id: EventId,
    pub at: i64,
    pub due: Option<i64>,
    /// Whether the source named the due time itself: what it names last holds, since it may name a later one.
    pub names_due: bool,
    /// Day of the recall, days since 1970.
    pub day: Option<i32>,
    /// Points for severity, with their reason.
    pub severity: (&'static str, i64),
    /// Points for the clinical risk that the trigger itself tells, with the reason.
    pub clinical: Option<(&'static str, i64)>,
    pub place: &'a Place,
    pub encounter: Option<&'a str>,
    pub appointment: Option<&'a str>,
    /// A discharge goes before a consult of the same visit.
    pub outranks: bool,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Act<'a> {
    Open(Trigger<'a>),
    Close(&'static str),
    /// The matter itself is done, for good.
    Finish(&'static str),
    /// The matter itself is gone, for good.
    Cancel(&'static str),
    Booked {
        appointment: Option<&'a str>,
        starts: Option<i64>,
    },
    /// A booking, which may have been missed, was put on another time.
    Moved {
        appointment: Option<&'a str>,
        starts: Option<i64>,
    },
    /// A booking was cancelled or missed.
    Unbooked {
        appointment: &'a str,
        missed: bool,
        due: i64,
    },
    Visit {
        appointment: &'a str,
    },
    Resolution,
    Contact(&'a Contact),
    Hand {
        closure: ItemClosure,
        by_system: bool,
    },
    /// Somebody has to look at it.
    Attention(&'static str),
    /// Brings the due time forward.
    DueBy(i64),
}

/// A step of an item, in order of `(at, rank, id)`.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    pub at: i64,
    pub id: EventId,
    pub act: Act<'a>,
}

impl Step<'_> {
    /// What happens at the same time takes effect in this order.
    pub const fn rank(&self) -> u8 {
        match self.act {
            Act::Open(_) => 0,
            Act::Booked { .. } => 1,
            Act::Unbooked { missed: true, .. } => 2,
            Act::Moved { .. } => 3,
            Act::Unbooked { missed: false, .. } => 4,
            Act::Visit { .. } => 5,
            Act::Contact(_) => 6,
            Act::DueBy(_) | Act::Attention(_) => 7,
            Act::Resolution | Act::Close(_) | Act::Finish(_) | Act::Hand { .. } => 8,
            Act::Cancel(_) => 9,
        }
    }
}
