//! When patients first turn up: in waves, by the hour of the week.

use super::clock::{Zone, contact_weight};
use domain::time::HOUR;

/// First contacts in order of time, without holding them in memory: patient `i` of `n` comes when the share `i/n` of the
/// window's weight has gone by.
pub struct Arrivals {
    hour: i64,
    until: i64,
    before: u64,
    total: u64,
    next: u64,
    patients: u64,
}

impl Arrivals {
    /// `patients` over the window from `from` to `until` (µs).
    pub fn new(from: i64, until: i64, patients: u64) -> Self {
        let mut arrivals = Self { hour: from, until, before: 0, total: 0, next: 0, patients };
        arrivals.total = (0..).map(|i| from + i * HOUR).take_while(|t| *t < until).map(weight).sum();
        arrivals
    }

    /// The next patient and the time, if it lies before `end`.
    pub fn next_before(&mut self, end: i64) -> Option<(u64, i64)> {
        while self.next < self.patients && self.hour < end.min(self.until) {
            // In units of 1/(2·patients) of the total weight, so that everything stays exact.
            let mark = u128::from(2 * self.next + 1) * u128::from(self.total);
            let per = 2 * u128::from(self.patients);
            let (start, width) = (u128::from(self.before) * per, u128::from(weight(self.hour)) * per);
            if mark >= start + width {
                self.before += weight(self.hour);
                self.hour += HOUR;
                continue;
            }
            let at = self.hour + ((mark - start) * HOUR as u128 / width) as i64;
            if at >= end.min(self.until) {
                return None;
            }
            self.next += 1;
            return Some((self.next - 1, at));
        }
        None
    }
}

/// Most patients live by Seoul's clock; the third site's own mornings are found when they book.
fn weight(hour: i64) -> u64 {
    contact_weight(Zone::Seoul, hour)
}
