//! An event before it is published.

use domain::parse::{self, FieldError};
use domain::{Event, EventId, Micros};

/// An event that keeps all rules, with its content hash.
#[derive(Debug, Clone)]
pub struct Prepared {
    event: Event,
    hash: u64,
}

impl Prepared {
    /// Checks an event's rules; see [`parse::validate`].
    ///
    /// # Errors
    /// Every field that breaks a rule.
    pub fn new(event: Event, limits: &parse::Limits, now: Micros) -> Result<Self, Vec<FieldError>> {
        let json = event.to_json();
        parse::validate(&event, &json, limits, now)?;
        let hash = event.content_hash();
        Ok(Self { event, hash })
    }

    /// The event.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }

    /// Hash of its content; see [`Event::content_hash`].
    #[must_use]
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.event.header().event_id
    }
}
