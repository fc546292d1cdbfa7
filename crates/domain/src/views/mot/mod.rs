//! Moments of truth: scores of touchpoints and journeys by model `mot-v1`, and alerts.
//!
//! State per patient is the set of [`Fact`]s. Rows, explanations and "what was known then" are one pure function of it
//! (`score::assess`). What the model says is in `docs/mot.md`. No amount of money is kept (F17).

mod explain;
mod explanation;
mod facts;
mod kind;
mod low;
mod resolve;
mod score;
mod signals;
mod standard;
pub mod stats;
mod tables;
mod touchpoint;
mod value;

pub use explain::explain;
pub use explanation::{
    AlertNote, Cap, Contribution, JourneyExplanation, JourneyPart, Missing, RoleScore, TouchpointExplanation,
};
pub use facts::Fact;
pub use kind::TouchKind;
pub use low::LowScore;
pub use score::MODEL;
pub use standard::{Evidence, Promise, Rule, SHIPPED, Scale, Signal, Standard, Standards, StandardsError};

use crate::Event;
use crate::facts::Facts;
use crate::table::{Row, Table};
use crate::views::PatientFold;

/// The view: the standards by which it scores.
#[derive(Debug, Clone)]
pub struct Mot {
    standards: Standards,
}

impl Mot {
    /// Scores by these standards.
    #[must_use]
    pub const fn new(standards: Standards) -> Self {
        Self { standards }
    }

    /// The standards by which it scores.
    #[must_use]
    pub const fn standards(&self) -> &Standards {
        &self.standards
    }
}

impl PatientFold for Mot {
    type Fact = Fact;

    const VERSION: u32 = 3;

    const TABLES: &'static [Table] = &tables::TABLES;

    fn fact(&self, event: &Event) -> Option<Fact> {
        Fact::of(event)
    }

    /// Answers of staff lie under their site on the log. Each is kept by itself, with its corrections: a site's would be one
    /// heap that grows for ever.
    fn key(&self, event: &Event) -> String {
        let key = event.key();
        if event.header().patient_id.is_some() {
            return key.into_owned();
        }
        let own = event.header().event_id.to_string();
        let about = match event {
            Event::EventCorrected(e) => &e.target_event_id,
            Event::EventRetracted(e) => &e.target_event_id,
            _ => &own,
        };
        if *key == **about { key.into_owned() } else { format!("{key}/{about}") }
    }

    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        match key.rsplit_once('/') {
            Some((site, event)) if event.parse::<crate::EventId>().is_ok() => site,
            _ => key,
        }
    }

    fn rows(&self, patient: &str, facts: &Facts<Fact>) -> Vec<Vec<Row>> {
        tables::rows(patient, &score::assess(&self.standards, facts.iter(), None))
    }
}

#[cfg(test)]
mod tests;
