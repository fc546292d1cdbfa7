//! HL7 times: `YYYYMMDD[HH[MM[SS[.S[S[S[S]]]]]]][+/-ZZZZ]`.

use chrono::{Duration, FixedOffset, NaiveDate, NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use domain::Micros;

/// Which zone a time without an offset is of.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    /// The offset that MSH-7 has: by the standard that of all times in the message that have none.
    pub message: Option<FixedOffset>,
    /// The sender's zone.
    pub sender: Tz,
}

/// The local time that a text says, and its offset.
fn split(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let text = text.trim();
    let (local, offset) = match text.find(['+', '-', 'Z']) {
        Some(at) => (&text[..at], Some(offset(&text[at..])?)),
        None => (text, None),
    };
    let (whole, fraction) = local.split_once('.').unwrap_or((local, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (!fraction.is_empty() && whole.len() != 14) {
        return None;
    }
    let number = |from: usize, to: usize| match whole.get(from..to) {
        Some(digits) => digits.parse::<u32>().ok(),
        None if whole.len() <= from => Some(0),
        None => None,
    };
    if !matches!(whole.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    let year = whole.get(..4)?.parse().ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, 8)?)?;
    let micros = format!("{:0<6}", fraction.get(..6.min(fraction.len()))?).parse().ok()?;
    Some((day.and_hms_micro_opt(number(8, 10)?, number(10, 12)?, number(12, 14)?, micros)?, offset))
}

fn offset(text: &str) -> Option<FixedOffset> {
    if text == "Z" {
        return FixedOffset::east_opt(0);
    }
    let (sign, digits) = (text.get(..1)?, text.get(1..)?);
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    let seconds = (hours * 60 + minutes) * 60;
    // Real offsets end at 14 hours.
    (hours <= 14 && minutes < 60).then_some(())?;
    FixedOffset::east_opt(if sign == "-" { -seconds } else { seconds })
}

/// The offset that a time names.
#[must_use]
pub fn offset_of(text: &str) -> Option<FixedOffset> {
    split(text)?.1
}

/// The point in time that a text names; `None` where it isn't a time, to the day at least.
#[must_use]
pub fn instant(text: &str, zones: Zones) -> Option<Micros> {
    let (local, offset) = split(text)?;
    let time = match offset.or(zones.message) {
        Some(offset) => offset.from_local_datetime(&local).single()?.timestamp_micros(),
        None => {
            let zone = zones.sender;
            // An hour that is left out in spring is the one after it.
            let found = zone.from_local_datetime(&local).earliest();
            found.or_else(|| zone.from_local_datetime(&(local + Duration::hours(1))).earliest())?.timestamp_micros()
        }
    };
    Micros::RANGE.contains(&time).then_some(Micros(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str, message: Option<&str>, sender: Tz) -> Option<String> {
        let message = message.map(|o| offset(o).unwrap());
        instant(text, Zones { message, sender }).map(|t| t.to_string())
    }

    #[test]
    fn the_time_s_own_offset_then_the_message_s_then_the_sender_s_zone() {
        let seoul = chrono_tz::Asia::Seoul;
        assert_eq!(at("20210817151943.4+0200", Some("+0900"), seoul).unwrap(), "2021-08-17T13:19:43.400Z");
        assert_eq!(at("20210817151943", Some("-0330"), seoul).unwrap(), "2021-08-17T18:49:43Z");
        assert_eq!(at("202108171519", None, seoul).unwrap(), "2021-08-17T06:19:00Z");
        assert_eq!(at("20210817", None, seoul).unwrap(), "2021-08-16T15:00:00Z");
        assert_eq!(at("2021081715-0800", None, seoul).unwrap(), "2021-08-17T23:00:00Z");
    }

    #[test]
    fn clocks_that_go_back_and_forth() {
        let amsterdam = chrono_tz::Europe::Amsterdam;
        assert_eq!(at("20260329023000", None, amsterdam).unwrap(), "2026-03-29T01:30:00Z");
        assert_eq!(at("20261025023000", None, amsterdam).unwrap(), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn what_is_no_time() {
        for wrong in [
            "",
            "2021",
            "202108",
            "20210230",
            "2021081725",
            "20210817151960",
            "20210817+25",
            "20210817+0260",
            "20210817+1500",
            "2021-08-17",
            "20210817151943.x",
            "2010201200+0215",
            "20210817.5",
            "오늘",
            "20210817+오늘",
        ] {
            assert_eq!(at(wrong, None, chrono_tz::UTC), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9.+\\-Z ]{0,30}|\\PC{0,20}") {
            let _ = at(&text, None, chrono_tz::Europe::Amsterdam);
        }
    }
}
