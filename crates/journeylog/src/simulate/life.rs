//! One patient's way through the window: how they come, which visits follow, what else happens to their records.

use super::booking::{Visit, Why};
use super::dice;
use super::dice::mix;
use super::scribe::{Scribe, Sink};
use super::world::{SITES, WEIGHTS};
use domain::PatientId;
use domain::time::{DAY, HOUR, MINUTE};

/// The pseudonym of patient `index`; the top bit of `index` marks second registrations.
pub fn pseudonym(seed: u64, index: u64) -> PatientId {
    PatientId(format!("p-{:016x}", mix(index ^ mix(seed))))
}

/// Writes all of one patient's events. `at` is the first contact within the window that begins at `from`.
pub fn live(sink: &mut Sink, seed: u64, index: u64, from: i64, at: i64) {
    let mut dice = dice(seed, index);
    let site = SITES[dice.weighted(&WEIGHTS)];
    let dept = &site.departments[dice.below(site.departments.len() as u64) as usize];
    let patient = pseudonym(seed, index);
    let mut s = Scribe::new(sink, dice, Some(patient.clone()), index, site, dept);
    let known = s.dice.percent(38);
    if dept.services.contains(&"orthodontic_adjustment") && s.dice.percent(35) {
        s.treatment = Some(s.reference("treatment"));
        s.journey = s.treatment.clone();
    }
    if known && s.dice.percent(if s.treatment.is_some() { 80 } else { 30 }) {
        s.paper_history(from, at);
    }
    if s.dice.permille(15) {
        // Registered twice: what came first lies under the other pseudonym.
        let retired = pseudonym(seed, index | 1 << 63);
        s.patient = Some(retired.clone());
        s.choose(at);
        let why = Why { first: true, lead_days: Some(1), ..Why::default() };
        let end = s.episode(at, &why, known).unwrap_or(at + DAY);
        s.patient = Some(patient);
        let noticed = end + s.dice.tail(5 * 24) * HOUR;
        s.merge(noticed, &retired);
        s.years(end + 2 * DAY, true);
    } else {
        s.years(at, known);
    }
}

impl Scribe<'_> {
    /// Visit after visit, until the window ends or there is no more reason to come.
    fn years(&mut self, at: i64, known: bool) {
        let mut known = known;
        let mut at = at;
        if !known {
            self.choose(at);
        }
        if known && self.dice.percent(30) {
            let Some((called, why)) = self.recall(at, None) else { return };
            at = self.episode(called, &why, true).unwrap_or(called);
        } else {
            let why = Why { first: !known, ..Why::default() };
            at = self.episode(at + 10 * MINUTE, &why, known).unwrap_or(at + 3 * DAY);
        }
        if self.dice.percent(12) {
            self.demographics(at + HOUR);
        }
        if self.dice.permille(8) {
            self.renumber(at + 2 * HOUR);
        }
        if self.dice.permille(30) {
            let sent = at + self.dice.tail(9) * DAY;
            self.gift(sent);
        }
        let more = self.dice.weighted(&[20, 27, 25, 16, 12]);
        for _ in 0..more {
            known = true;
            at += self.dice.tail(7 * 24) * HOUR;
            if self.over(at) {
                return;
            }
            let (called, why) = if self.dice.percent(15) {
                match self.recall(at, None) {
                    Some(booked) => booked,
                    None => return,
                }
            } else {
                (at, Why::default())
            };
            at = self.episode(called, &why, known).unwrap_or(called + 4 * DAY);
        }
    }

    /// One visit with everything around it; returns when it ended, or `None` if it did not come about.
    pub fn episode(&mut self, at: i64, why: &Why, known: bool) -> Option<i64> {
        self.journey = self.treatment.clone();
        let (mut v, booked) = self.book(at, why);
        if let Some(kind) = why.recall {
            self.recall_booked(&v, booked, kind);
        }
        let came = self.await_visit(&mut v, booked);
        if came.is_none() {
            return self.second_try(&v, known);
        }
        if self.over(v.starts) {
            return Some(v.ends.max(v.starts));
        }
        if !known && why.first {
            self.consents(v.starts - 25 * MINUTE);
        }
        let begins = self.arrive(&mut v, known);
        let end = self.consult(&mut v, begins);
        self.aftermath(&mut v);
        Some(end)
    }

    /// Two in three of those who missed their day, or cancelled, book again.
    fn second_try(&mut self, v: &Visit, known: bool) -> Option<i64> {
        let at = v.starts + self.dice.tail(40) * HOUR;
        if !self.dice.percent(66) || self.over(at) {
            return None;
        }
        self.episode(at, &Why::default(), known)
    }

    fn aftermath(&mut self, v: &mut Visit) {
        self.orders(v);
        if self.dice.percent(13) {
            self.refer(v);
        }
        if self.dept.operates && self.dice.percent(12) {
            let at = v.ends + self.dice.tail(9) * DAY;
            if !self.over(at) {
                self.stay(v, at);
            }
        }
        self.calls(v);
        self.bill(v);
        self.voice(v);
        if self.dice.permille(25) {
            let closed = v.ends + self.dice.tail(50) * HOUR;
            self.close_item(closed, v);
        }
    }

    /// Visits of years ago, loaded from paper (D8): they happened long before they were recorded.
    fn paper_history(&mut self, from: i64, recorded: i64) {
        let visits = self.dice.range(1, 3);
        for _ in 0..visits {
            let at = from - self.dice.range(200, 6 * 365) * DAY + self.dice.range(9, 17) * HOUR;
            let recorded = recorded + self.dice.range(0, HOUR);
            self.old_visit(at, recorded);
        }
    }
}
