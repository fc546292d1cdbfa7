//! Five stories that are always there, with stable ids and the same for every seed, told backwards from the end of the
//! window so that their open ends are still open.

mod steps;
mod stories;
mod two_hospitals;

use super::clock::Zone;
use super::dice::Dice;
use super::scribe::{Scribe, Sink};
use super::world::{Department, Site};
use domain::PatientId;
use domain::time::{DAY, MINUTE};

/// The stories reach so many days back; a shorter window squeezes them.
const SPAN: i64 = 60;

/// Writes the stories; returns how many patients they have.
pub fn write(sink: &mut Sink, from: i64) -> u64 {
    let when = When { from, until: sink.until };
    two_hospitals::tell(sink, when);
    stories::open_referral(sink, when);
    stories::billing_dispute(sink, when);
    stories::recall(sink, when);
    stories::merged_pair(sink, when)
}

/// Turns "so many days before the end, at that hour" into a time within the window.
#[derive(Clone, Copy)]
struct When {
    from: i64,
    until: i64,
}

impl When {
    /// `days` local days before the end (negative: after it), at `hour`:`minute` Seoul time.
    fn at(self, days: i64, hour: i64, minute: i64) -> i64 {
        let (today, _) = Zone::Seoul.local(self.until);
        let t = Zone::Seoul.utc(today - days, hour * 60 + minute);
        let window = self.until - self.from;
        if window >= SPAN * DAY || t > self.until {
            return t;
        }
        // Exact in 128 bits; 58 of 60 days fit with room to spare.
        self.until - (i128::from(self.until - t) * i128::from(window - MINUTE) / i128::from(SPAN * DAY)) as i64
    }
}

/// A scribe for a demonstration patient: nothing is late, and the ids are the same for every seed.
fn scribe<'a>(sink: &'a mut Sink, id: &str, n: u64, site: &'static Site, dept: &'static Department) -> Scribe<'a> {
    let mut s =
        Scribe::new(sink, Dice::new(0, u64::MAX - n), Some(PatientId(id.to_owned())), 0xde_0000 + n, site, dept);
    s.plain = true;
    s
}
