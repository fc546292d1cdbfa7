//! The last touchpoint that an alert `low_score` is about, for the pre-visit card.

use super::Mot;
use super::facts::Fact;
use super::kind::TouchKind;
use super::score::{ALERT_BELOW, assess};
use crate::EventId;
use crate::event::Event;

/// A touchpoint below the score of an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct LowScore {
    /// Its name, `kind:subject`.
    pub touchpoint_id: String,
    /// Its kind.
    pub touchpoint: TouchKind,
    /// Points, 0 to 100.
    pub score: f64,
    /// The standard applied.
    pub standard_version: Option<String>,
    /// The event with which it began.
    pub event_id: EventId,
}

impl Mot {
    /// The low touchpoint that began last, by these events of one patient as they stand.
    pub fn last_low_score<'a>(&self, events: impl Iterator<Item = &'a Event>) -> Option<LowScore> {
        let facts: Vec<(EventId, Fact)> = events.filter_map(|e| Some((e.header().event_id, Fact::of(e)?))).collect();
        let a = assess(&self.standards, facts.iter().map(|(id, fact)| (*id, fact)), None);
        let low = a.touchpoints.iter().enumerate().filter_map(|(i, t)| {
            let score = t.score.filter(|s| *s < ALERT_BELOW)?;
            Some((a.events[t.anchor].when(), std::cmp::Reverse(score), i))
        });
        let ((_, event_id), score, i) = low.max()?;
        let t = &a.touchpoints[i];
        Some(LowScore {
            touchpoint_id: a.touchpoint_id(i),
            touchpoint: t.key.0,
            score: super::explain::points(score.0),
            standard_version: t.version.clone(),
            event_id,
        })
    }
}
