//! The figures of the queue (domain.md §5) and the calendar behind them.

use crate::time::{DAY, Date, HOUR, Micros};
use chrono::{DateTime, Datelike, Days, NaiveDateTime, TimeZone, Weekday};
use chrono_tz::Tz;

/// A call after a consult is due this long after it.
pub const AFTER_CONSULT: i64 = 24 * HOUR;
/// A call after a discharge is due this long after it; after a high-risk one, as early as after a consult.
pub const AFTER_DISCHARGE: i64 = 72 * HOUR;
/// A referral should be booked this long after it was made.
pub const REFERRAL_BOOKED: i64 = 3 * DAY;
/// A referral that names no expiry should be completed this long after it was made.
pub const REFERRAL_EXPIRY: i64 = 30 * DAY;
/// A result is chased this long after it was due.
pub const RESULT_GRACE: i64 = DAY;
/// An order that names no due time counts as due this long after it was placed.
pub const RESULT_DUE: i64 = 7 * DAY;
/// A recall should be booked this many days before its day.
pub const RECALL_AHEAD_DAYS: u64 = 14;
/// Whatever the day of a recall, there is this long to book it once it is known.
pub const RECALL_LEAST: i64 = 24 * HOUR;
/// A critical moment of truth.
pub const CRITICAL: i64 = 4 * HOUR;
/// A complaint.
pub const COMPLAINT: i64 = 24 * HOUR;
/// A bill unpaid.
pub const UNPAID: i64 = 7 * DAY;
/// A bill disputed.
pub const DISPUTED: i64 = 3 * DAY;
/// A question unanswered.
pub const QUESTION: i64 = 24 * HOUR;
/// So many failed attempts on a channel change the channel.
pub const FAILED_ATTEMPTS: u32 = 3;

fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

/// A local time in a zone as a point in time; in a gap of the clocks, an hour later.
fn resolve(zone: Tz, local: NaiveDateTime) -> Micros {
    let at = zone
        .from_local_datetime(&local)
        .earliest()
        .or_else(|| zone.from_local_datetime(&(local + chrono::TimeDelta::hours(1))).earliest())
        .map_or_else(|| local.and_utc().timestamp_micros(), |t: DateTime<Tz>| t.timestamp_micros());
    Micros(at)
}

/// The local time of a point in time; an unknown zone counts as UTC.
#[must_use]
pub fn local_time(at: Micros, zone_name: &str) -> NaiveDateTime {
    at.utc().with_timezone(&zone(zone_name)).naive_local()
}

/// The same time of day on the next working day (Monday to Friday; holidays are not known), in the event's zone.
#[must_use]
pub fn next_working_day(at: Micros, zone_name: &str) -> i64 {
    let zone = zone(zone_name);
    let mut local = at.utc().with_timezone(&zone).naive_local();
    loop {
        local = match local.checked_add_days(Days::new(1)) {
            Some(next) => next,
            None => return at.0,
        };
        if !matches!(local.weekday(), Weekday::Sat | Weekday::Sun) {
            return resolve(zone, local).0;
        }
    }
}

/// The start of the day that lies [`RECALL_AHEAD_DAYS`] before `day`, in the event's zone.
#[must_use]
pub fn before_day(day: Date, zone_name: &str) -> i64 {
    let d = day.naive();
    let d = d.checked_sub_days(Days::new(RECALL_AHEAD_DAYS)).unwrap_or(d);
    resolve(zone(zone_name), d.and_time(chrono::NaiveTime::MIN)).0
}
