//! Staff as internal customers (D6) and the rounds of a day that no patient is part of.

use super::clock::{load, weekday};
use super::phrases;
use super::scribe::{Scribe, Sink, Src};
use super::world::SITES;
use super::{Dice, dice};
use domain::Event;
use domain::event::{Modality, Role, StaffProposalMade, StaffPulseAnswered};
use domain::time::DAY;

/// Streams of the dice from here on are the staff's.
const STREAM: u64 = 1 << 62;

/// Writes pulses and proposals, day by day.
pub struct Rounds {
    day: i64,
    from: i64,
    until: i64,
}

impl Rounds {
    /// Rounds between two times (µs).
    pub const fn new(from: i64, until: i64) -> Self {
        Self { day: from.div_euclid(DAY), from, until }
    }

    /// Writes those of the days that begin before `end`. The larger the run, the more of the staff answer: one in twenty
    /// of them on a day at least.
    pub fn write_before(&mut self, end: i64, sink: &mut Sink, seed: u64, patients: u64) {
        while self.day * DAY < end && self.day * DAY < self.until {
            for (i, site) in SITES.into_iter().enumerate() {
                let mut dice = dice(seed, STREAM | (self.day as u64) << 2 | i as u64);
                let answers = (site.staff * patients / 80_000).clamp(u64::from(patients > 0), site.staff);
                for n in 0..answers {
                    round(sink, &mut dice, (i, self.day), n, self.from);
                }
            }
            self.day += 1;
        }
    }
}

fn round(sink: &mut Sink, dice: &mut Dice, (i, day): (usize, i64), n: u64, from: i64) {
    let site = SITES[i];
    let at = site.zone.utc(day, dice.range(16 * 60, 20 * 60));
    if weekday(day) == 0 || at < from {
        return;
    }
    let dept = &site.departments[dice.below(site.departments.len() as u64) as usize];
    let own = Dice::new(dice.word(), n);
    let mut s = Scribe::new(sink, own, None, (day as u64) << 8 | n, site, dept);
    let role =
        s.dice.pick(&[Role::Nurse, Role::Nurse, Role::Receptionist, Role::Doctor, Role::Technician, Role::Biller]);
    let busy = load(site.zone, site.code.as_bytes()[0].into(), site.zone.utc(day, 11 * 60));
    if s.dice.percent(6) {
        let header = s.head(at, Src::Staff, role, Modality::Web);
        let proposal_id = s.reference("prop");
        let touchpoint = s.dice.pick(&["check_in", "scheduling", "consult", "billing"]).to_owned();
        let summary = s.say(&phrases::PROPOSAL);
        s.put(Event::StaffProposalMade(StaffProposalMade {
            header,
            proposal_id,
            role: Some(role),
            touchpoint: Some(touchpoint),
            summary,
        }));
        return;
    }
    let header = s.head(at, Src::Staff, role, Modality::Web);
    let raw = s.dice.bell(8 - busy / 50, 4).clamp(0, 10);
    s.put(Event::StaffPulseAnswered(StaffPulseAnswered {
        header,
        instrument: "pulse/1".to_owned(),
        role,
        raw: raw as f64,
        scale_min: 0.0,
        scale_max: 10.0,
        workload_percent: Some((busy * 3 / 4 + 10) as i32),
    }));
}
