//! Local clocks of the sites, and when a hospital is busy.
//!
//! The two zones are computed here rather than looked up, so that a new release of the zone database can't change the
//! output of an old seed.

use super::dice::{Dice, mix};
use domain::time::{DAY, HOUR, MINUTE};

/// A site's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// UTC+9, no summer time.
    Seoul,
    /// UTC+1, and UTC+2 from the last Sunday of March to the last Sunday of October, 01:00 UTC.
    Amsterdam,
}

impl Zone {
    /// The IANA name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seoul => "Asia/Seoul",
            Self::Amsterdam => "Europe/Amsterdam",
        }
    }

    /// What local clocks are ahead of UTC at that UTC time; both in microseconds.
    pub fn offset(self, utc: i64) -> i64 {
        match self {
            Self::Seoul => 9 * HOUR,
            Self::Amsterdam if summer(utc) => 2 * HOUR,
            Self::Amsterdam => HOUR,
        }
    }

    /// Local day number (days since 1970-01-01) and minute of the day.
    pub fn local(self, utc: i64) -> (i64, i64) {
        let t = utc + self.offset(utc);
        (t.div_euclid(DAY), t.rem_euclid(DAY) / MINUTE)
    }

    /// UTC of a local day and minute. An hour that the clocks skip or repeat is read by the day's offset at noon.
    pub fn utc(self, day: i64, minute: i64) -> i64 {
        let noon = day * DAY + 12 * HOUR;
        day * DAY + minute * MINUTE - self.offset(noon - 2 * HOUR)
    }
}

fn summer(utc: i64) -> bool {
    let day = utc.div_euclid(DAY);
    let year = year_of(day);
    let sunday = |month: i64| {
        let last = days_from_civil(year, month, 31);
        last - weekday(last)
    };
    (sunday(3) * DAY + HOUR..sunday(10) * DAY + HOUR).contains(&utc)
}

/// 0 for Sunday … 6 for Saturday.
pub const fn weekday(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// Year of a day number.
pub fn year_of(day: i64) -> i64 {
    let guess = 1970 + day.div_euclid(365);
    (0..).map(|back| guess - back).find(|y| days_from_civil(*y, 1, 1) <= day).unwrap_or(1970)
}

/// Day number of a date of the Gregorian calendar.
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// How busy the hours 8 to 17 are, percent of the mean: a morning wave, a dip at lunch, a smaller afternoon wave.
const HOURS: [u32; 10] = [55, 120, 150, 130, 45, 70, 130, 120, 100, 80];
/// How busy the days are, Sunday first.
const WEEKDAYS: [i64; 7] = [0, 125, 108, 100, 98, 107, 62];

/// Load of a site at a UTC time, percent of a usual hour: weekday, hour, a slow season and the luck of the day.
pub fn load(zone: Zone, salt: u64, utc: i64) -> i64 {
    let (day, minute) = zone.local(utc);
    let hour = HOURS[(minute / 60 - 8).clamp(0, 9) as usize];
    let luck = 80 + (mix(salt ^ day as u64) % 41) as i64;
    // A season of a quarter of a year, 90 to 110 %, as a triangle.
    let season = 90 + ((day.rem_euclid(92) - 46).abs() * 20) / 46;
    WEEKDAYS[weekday(day) as usize].max(50) * i64::from(hour) / 100 * luck / 100 * season / 100
}

/// Share of first contacts (calls, web forms, walk-ins) that fall into an hour of the week: the web works at night too.
pub fn contact_weight(zone: Zone, utc: i64) -> u64 {
    let (day, minute) = zone.local(utc);
    let hour = minute / 60;
    let busy = (WEEKDAYS[weekday(day) as usize] * i64::from(HOURS[(hour - 8).clamp(0, 9) as usize]) / 100) as u64;
    match hour {
        8..=17 => busy + 6,
        18..=22 => 14,
        _ => 3,
    }
}

/// A bookable start on the first working day after that of `from`, by the hour profile, in steps of 10 min.
pub fn slot(zone: Zone, from: i64, dice: &mut Dice) -> i64 {
    let mut day = zone.local(from).0 + 1;
    while weekday(day) == 0 || (weekday(day) == 6 && dice.percent(50)) {
        day += 1;
    }
    let hour = 8 + dice.weighted(&HOURS) as i64;
    zone.utc(day, hour * 60 + dice.range(0, 5) * 10)
}

/// The first time at or after `t` within office hours (08:30 to 18:00, no Sundays): when people answer telephones.
pub fn office(zone: Zone, t: i64) -> i64 {
    let (mut day, minute) = zone.local(t);
    if weekday(day) != 0 && (510..1080).contains(&minute) {
        return t;
    }
    if minute >= 1080 || weekday(day) == 0 {
        day += 1;
    }
    if weekday(day) == 0 {
        day += 1;
    }
    // Keep some of the odd minutes and seconds, so that not everything begins at half past eight.
    zone.utc(day, 510) + t.rem_euclid(3 * HOUR)
}
