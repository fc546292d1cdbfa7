//! The pre-visit card: what staff should know before a patient comes.
//!
//! A pure function of the assembled timeline and of `now`: only events that stand and had happened by then count; what is open
//! is what the follow-up queue makes of the same timeline. There is no amount of money on it, and there must never be: patients
//! are not revenue.

mod appointments;
mod history;
mod model;
mod open;
mod signs;

pub use model::*;

use super::assemble::{Assembled, Entry};
use crate::Micros;
use crate::event::Event;
use crate::time::DAY;
use crate::views::mot::Mot;
use serde::{Serialize, Serializer};

/// How many consults, stays, orders and missed visits are listed, latest first. Totals count all of them.
pub const MAX_LISTED: usize = 20;
/// How far back missed visits are listed.
pub const MISSED_WINDOW: i64 = 730 * DAY;
/// How far back booking trouble is counted.
pub const TROUBLE_WINDOW: i64 = 365 * DAY;
/// How many troubles within [`TROUBLE_WINDOW`] set the flag.
pub const TROUBLE_THRESHOLD: usize = 2;
/// Feedback below this share of its scale, in hundredths, is a bad moment: the empathy floor of `mot-v1`.
pub const LOW_FEEDBACK: f64 = 40.0;
/// How long after its start an appointment without a consult still is the next one: the patient may be in the waiting room.
pub const GRACE: i64 = crate::time::HOUR * 12;

/// A time, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
pub struct At(pub Micros);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

/// The entries that the card looks at: those that stand and had happened by `now`, in order.
struct Seen<'a>(Vec<&'a Entry>);

impl<'a> Seen<'a> {
    fn iter(&self) -> impl DoubleEndedIterator<Item = (&'a Entry, &'a Event)> + '_ {
        self.0.iter().map(|e| (*e, &e.event))
    }
}

/// The card for a visit around `now`; touchpoints are scored by `mot`.
#[must_use]
pub fn card(all: &Assembled, mot: &Mot, now: Micros) -> Card {
    let seen = Seen(all.entries.iter().filter(|e| e.counts() && e.occurred_at() <= now).collect());
    let appointments = appointments::fold(&seen);
    let next = appointments::next(&appointments, now);
    let last_visit = signs::last_visit(&seen, next);
    Card {
        patient_id: all.identity.patient_id.clone(),
        asked_for: (all.asked != all.identity.patient_id).then(|| all.asked.clone()),
        merged_from: all.identity.merged_from(),
        at: At(now),
        who: signs::who(&seen, last_visit),
        next_appointment: next.and_then(appointments::Booking::shown),
        open_items: open::items(all, &seen, &appointments, now),
        missed_visits: appointments::missed(&seen, &appointments, now),
        booking_trouble: signs::booking_trouble(&seen, now),
        last_bad_moment: signs::last_bad_moment(&seen, mot),
        reviewed: signs::reviewed(&seen, next, last_visit),
        asked_again: signs::asked_again(&seen),
        questionnaires: signs::questionnaires(&seen),
        risks: signs::risks(&seen),
        consents: signs::consents(&seen, now),
        history: history::history(&seen),
    }
}

/// A time for the card.
fn at(e: &Entry) -> At {
    At(e.occurred_at())
}

/// Latest first, at most [`MAX_LISTED`].
fn latest<T>(mut all: Vec<T>, when: impl Fn(&T) -> At) -> Vec<T> {
    all.sort_by_key(|t| std::cmp::Reverse(when(t)));
    all.truncate(MAX_LISTED);
    all
}

#[cfg(test)]
mod tests;
