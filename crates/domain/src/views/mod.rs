//! The views: for each, what it keeps of an event and which rows that makes.

pub mod follow_ups;
mod made_by;
pub mod mot;
pub mod timeline;

pub use made_by::{MadeBy, Until};

use crate::event::Event;
use crate::facts::Facts;
use crate::table::{Row, Table};
use serde::{Serialize, de::DeserializeOwned};

/// A view whose rows are a pure function of all that a patient's events say.
///
/// The projector loads the facts of the touched patients, adds the batch, and writes the rows that differ from those it wrote
/// last ([`Digests`](crate::digests::Digests)). Nothing here may depend on a clock.
pub trait PatientFold: Send + Sync + 'static {
    /// What the view keeps of one event.
    type Fact: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync;

    /// Raised when the form of a stored fact changes, or what rows mean: a generation that an earlier version made is then told
    /// apart, and has to be rebuilt.
    const VERSION: u32;

    /// The tables, in the order in which [`Self::rows`] fills them.
    const TABLES: &'static [Table];

    /// What the view keeps of `event`; `None` when the event means nothing to it.
    fn fact(&self, event: &Event) -> Option<Self::Fact>;

    /// The key under which `event` is kept and [`Self::rows`] is called: its record's key, or that with something behind it
    /// where one key would gather more than belongs together, as a site does.
    fn key(&self, event: &Event) -> String {
        event.key().into_owned()
    }

    /// The record's key of what is kept under `key`: the way back from [`Self::key`].
    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        key
    }

    /// The rows of a patient, one list per table of [`Self::TABLES`].
    fn rows(&self, patient: &str, facts: &Facts<Self::Fact>) -> Vec<Vec<Row>>;
}

/// A view that keeps one row per event and puts everything else together when it is read.
pub trait EventRows: Send + Sync + 'static {
    /// Raised when what rows mean changes, as for a [`PatientFold`].
    const VERSION: u32;

    /// The tables. Each has `patient_id, event_id` (in that order) as its key and a column `content_hash`; inserting is
    /// idempotent, and another hash under a used id is a conflict.
    const TABLES: &'static [Table];

    /// The event's content hash, and its rows, each with the index of its table in [`Self::TABLES`]. `partition` and `offset`
    /// are its place in the log.
    fn rows(&self, event: &Event, partition: u32, offset: u64) -> (u64, Vec<(usize, Row)>);
}

/// The views, by the name that commands, groups and tables use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// Every event of a patient, in order of occurrence.
    Timeline,
    /// Moments of truth: scores and alerts.
    Mot,
    /// The follow-up queue.
    FollowUps,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Timeline, Self::Mot, Self::FollowUps];

    /// The name: `timeline`, `mot` or `follow_ups`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Mot => "mot",
            Self::FollowUps => "follow_ups",
        }
    }
}

/// Whether a channel has nobody on the other end: what came over it is no human contact, whatever else the event says (F8).
#[must_use]
pub fn unattended(channel: Option<&str>) -> bool {
    matches!(channel, Some("web" | "app" | "kiosk" | "email" | "sms" | "message" | "portal" | "robocall"))
}

#[cfg(test)]
mod tests;
