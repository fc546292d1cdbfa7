//! Points in time (microseconds, UTC) and calendar days.

use crate::json::Json;
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z. JSON: RFC 3339; Avro: `timestamp-micros`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

/// Microseconds in a minute.
pub const MINUTE: i64 = 60_000_000;
/// Microseconds in an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub const DAY: i64 = 24 * HOUR;
/// Microseconds in a week.
pub const WEEK: i64 = 7 * DAY;
/// From the Monday that weeks are counted from to 1970-01-01, a Thursday, microseconds.
pub const MONDAY_TO_EPOCH: i64 = 3 * DAY;

impl Micros {
    /// The earliest and latest times that RFC 3339 can write (years 0 to 9999).
    pub const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

    /// The time as chrono has it; out of [`Self::RANGE`] it is clamped.
    #[must_use]
    pub fn utc(self) -> DateTime<Utc> {
        let clamped = self.0.clamp(*Self::RANGE.start(), *Self::RANGE.end());
        DateTime::from_timestamp_micros(clamped).unwrap_or_default()
    }

    /// Reads RFC 3339, any offset.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        let t = DateTime::parse_from_rfc3339(s).ok()?.timestamp_micros();
        Self::RANGE.contains(&t).then_some(Self(t))
    }

    /// This time, `micros` later.
    #[must_use]
    pub const fn plus(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Its week, UTC: how many have passed since Monday, 1969-12-29.
    #[must_use]
    pub const fn week(self) -> i64 {
        self.0.saturating_add(MONDAY_TO_EPOCH).div_euclid(WEEK)
    }

    /// When a week begins; see [`Self::week`].
    #[must_use]
    pub const fn of_week(week: i64) -> Self {
        Self(week.saturating_mul(WEEK).saturating_sub(MONDAY_TO_EPOCH))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }
}

impl Json for Micros {
    /// The same text as `Display`, without chrono's formatter: every event is written with two times at least.
    fn write(&self, out: &mut String) {
        let t = self.0.clamp(*Self::RANGE.start(), *Self::RANGE.end());
        let (day, rest) = (t.div_euclid(DAY), t.rem_euclid(DAY));
        let (year, month, dom) = civil(day);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        let mut text = *b"\"0000-00-00T00:00:00.000000";
        digits(&mut text[1..5], year);
        digits(&mut text[6..8], month);
        digits(&mut text[9..11], dom);
        digits(&mut text[12..14], seconds / 3600);
        digits(&mut text[15..17], seconds / 60 % 60);
        digits(&mut text[18..20], seconds % 60);
        digits(&mut text[21..27], micros);
        let len = match micros {
            0 => 20,
            m if m % 1000 == 0 => 24,
            _ => 27,
        };
        out.push_str(std::str::from_utf8(&text[..len]).unwrap_or_default());
        out.push_str("Z\"");
    }
}

fn digits(place: &mut [u8], mut n: i64) {
    for p in place.iter_mut().rev() {
        *p = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Year, month and day of a day number, in the Gregorian calendar.
const fn civil(day: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01, in cycles of 400 years.
    let z = day + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, doy - (153 * mp + 2) / 5 + 1)
}

/// Avro form; JSON is written by [`Json`].
impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = Micros;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time with offset, or microseconds since 1970")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Micros, E> {
                Micros::parse(s).ok_or_else(|| E::custom("not an RFC 3339 time with offset"))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Micros, E> {
                if Micros::RANGE.contains(&v) { Ok(Micros(v)) } else { Err(E::custom("time out of range")) }
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Micros, E> {
                self.visit_i64(i64::try_from(v).map_err(|_| E::custom("time out of range"))?)
            }
        }
        // JSON and Avro are "human readable" to serde: JSON then takes a string alone (a number would be read in a wrong
        // unit unnoticed), and Avro goes by its schema. Binary formats such as postcard need the exact hint.
        if d.is_human_readable() { d.deserialize_str(V) } else { d.deserialize_i64(V) }
    }
}

/// Days since 1970-01-01. JSON: `YYYY-MM-DD`; Avro: `date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl Date {
    /// The earliest and latest days that `YYYY-MM-DD` can write (years 0 to 9999).
    pub const RANGE: std::ops::RangeInclusive<i32> = -719_528..=2_932_896;

    /// The day as chrono has it.
    #[must_use]
    pub fn naive(self) -> NaiveDate {
        let epoch = NaiveDate::default();
        let days = Days::new(u64::from(self.0.unsigned_abs()));
        if self.0 >= 0 { epoch.checked_add_days(days) } else { epoch.checked_sub_days(days) }.unwrap_or(epoch)
    }

    /// Midnight UTC of the day.
    #[must_use]
    pub const fn start(self) -> Micros {
        Micros(self.0 as i64 * DAY)
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        let day = NaiveDate::parse_from_str(s, "%Y-%m-%d").ok().filter(|d| (0..=9999).contains(&d.year()))?;
        i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok().map(Self)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.naive().fmt(f)
    }
}

impl Json for Date {
    fn write(&self, out: &mut String) {
        self.to_string().write(out);
    }
}

/// Avro form; JSON is written by [`Json`].
impl Serialize for Date {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i32(self.0)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl de::Visitor<'_> for V {
            type Value = Date;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a day as YYYY-MM-DD, or days since 1970-01-01")
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Date, E> {
                Date::parse(s).ok_or_else(|| E::custom("not a day as YYYY-MM-DD"))
            }
            fn visit_i32<E: de::Error>(self, v: i32) -> Result<Date, E> {
                self.visit_i64(i64::from(v))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Date, E> {
                i32::try_from(v)
                    .ok()
                    .filter(|d| Date::RANGE.contains(d))
                    .map(Date)
                    .ok_or_else(|| E::custom("day out of range"))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Date, E> {
                self.visit_i64(i64::try_from(v).map_err(|_| E::custom("day out of range"))?)
            }
        }
        if d.is_human_readable() { d.deserialize_str(V) } else { d.deserialize_i32(V) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_mondays() {
        let monday = Micros::parse("2026-11-16T00:00:00Z").unwrap();
        let week = monday.week();
        assert_eq!(Micros::of_week(week), monday);
        assert_eq!((monday.plus(-1).week(), monday.plus(WEEK - 1).week()), (week - 1, week));
        assert_eq!(Micros::of_week(0).to_string(), "1969-12-29T00:00:00Z");
    }

    #[test]
    fn json_is_what_display_writes() {
        let mut t = *Micros::RANGE.start();
        let mut n: u64 = 1;
        while t < *Micros::RANGE.end() {
            for t in [t, t / 1000 * 1000, t / 1_000_000 * 1_000_000, t / DAY * DAY, -t] {
                let mut json = String::new();
                Micros(t).write(&mut json);
                assert_eq!(json, format!("\"{}\"", Micros(t)));
            }
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            t += (n >> 14) as i64 % (4000 * DAY);
        }
        for t in [i64::MIN, i64::MAX, 0, -1, *Micros::RANGE.start(), *Micros::RANGE.end()] {
            let mut json = String::new();
            Micros(t).write(&mut json);
            assert_eq!(json, format!("\"{}\"", Micros(t)));
        }
    }
}
