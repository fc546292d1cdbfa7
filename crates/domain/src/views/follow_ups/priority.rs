//! Priority: severity, clinical risk, time to due, vulnerability. Never revenue: nothing here sees an amount.
//!
//! The first, second and fourth are points in the row; the points for time are added at reading, when there is a clock.

use super::item::{Item, ItemKind};
use super::person::Person;
use crate::time::{DAY, HOUR};

/// Most points for clinical risk.
pub const CLINICAL_MOST: i64 = 30;
/// Most points for vulnerability.
pub const VULNERABILITY_MOST: i64 = 20;
/// Points at the due time; before it, they grow from 0 over [`TIME_WINDOW`].
pub const TIME_AT_DUE: i64 = 25;
/// How long before the due time the points begin to grow, microseconds.
pub const TIME_WINDOW: i64 = 7 * DAY;
/// Further points for being late, at most; they grow over [`LATE_WINDOW`].
pub const TIME_LATE: i64 = 15;
/// How late an item gets all of [`TIME_LATE`], microseconds.
pub const LATE_WINDOW: i64 = 72 * HOUR;

/// One reason for a priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `severity`, `clinical_risk` or `vulnerability`.
    pub part: &'static str,
    /// What it is.
    pub code: &'static str,
    /// Points.
    pub points: i64,
}

/// The part of the priority that no clock changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priority {
    /// Points for severity, 0 to 60.
    pub severity: i64,
    /// Points for clinical risk, 0 to 30.
    pub clinical: i64,
    /// Points for vulnerability, 0 to 20.
    pub vulnerability: i64,
    /// Why; the points of a part may add up to more than its most.
    pub reasons: Vec<Reason>,
}

impl Priority {
    /// The points, all parts together.
    #[must_use]
    pub const fn points(&self) -> i64 {
        self.severity + self.clinical + self.vulnerability
    }

    /// The priority of an item.
    #[must_use]
    pub fn of(item: &Item<'_>, subject: &str, person: &Person<'_>) -> Self {
        let mut reasons = Vec::new();
        let severity = sum(&mut reasons, "severity", &severity(item), i64::MAX);
        let clinical = sum(&mut reasons, "clinical_risk", &clinical(item, subject, person), CLINICAL_MOST);
        let vulnerable = vulnerability(item, subject, person);
        let vulnerability = sum(&mut reasons, "vulnerability", &vulnerable, VULNERABILITY_MOST);
        Self { severity, clinical, vulnerability, reasons }
    }
}

type Parts = Vec<(&'static str, i64)>;

fn sum(reasons: &mut Vec<Reason>, part: &'static str, parts: &Parts, most: i64) -> i64 {
    reasons.extend(parts.iter().map(|&(code, points)| Reason { part, code, points }));
    parts.iter().map(|p| p.1).sum::<i64>().min(most)
}

fn severity(item: &Item<'_>) -> Parts {
    let mut parts: Parts = item.trigger.iter().map(|t| t.severity).collect();
    if item.kind == ItemKind::BookingFriction && item.triggers > 1 {
        parts.push(("repeated_booking_trouble", 5 * i64::from(item.triggers.min(3) - 1)));
    }
    for (code, points) in [("escalated", 10), ("referral_declined", 5)] {
        if item.attention.contains(&code) {
            parts.push((code, points));
        }
    }
    parts
}

fn clinical(item: &Item<'_>, subject: &str, person: &Person<'_>) -> Parts {
    let mut parts: Parts = item.trigger.iter().filter_map(|t| t.clinical).collect();
    let encounter = item.trigger.as_ref().and_then(|t| t.encounter);
    let told = parts.iter().any(|(code, _)| *code == "high_risk_visit");
    if !told && encounter.is_some_and(|e| person.risky_visit(e)) {
        parts.push(("high_risk_visit", 25));
    }
    if item.kind == ItemKind::OrderResult && person.abnormal_order(subject) {
        parts.push(("abnormal_preliminary_result", 20));
    }
    parts
}

fn vulnerability(item: &Item<'_>, subject: &str, person: &Person<'_>) -> Parts {
    let mut parts = Parts::new();
    let encounter = item.trigger.as_ref().and_then(|t| t.encounter);
    if person.needs > 0 {
        parts.push(("special_requirements", 5 * i64::from(person.needs.min(2))));
    }
    if person.high_risk {
        parts.push(("high_risk_patient", 5));
    }
    let own_order = item.kind == ItemKind::OrderResult && person.abnormal_order(subject);
    if !own_order && encounter.is_some_and(|e| person.abnormal_visit(e)) {
        parts.push(("abnormal_result", 10));
    }
    if item.attention.contains(&"language_barrier") {
        parts.push(("language_barrier", 5));
    }
    parts
}

/// The points for time at `now`, 0 to 40: 0 until a week before `act_at`, 25 at it, 40 three days after it.
///
/// `act_at` is when somebody should act: the due time, or the time at which the patient asked to be called.
#[must_use]
pub const fn time_points(act_at: Option<i64>, now: i64) -> i64 {
    let Some(at) = act_at else { return 0 };
    let left = at.saturating_sub(now);
    if left >= TIME_WINDOW {
        0
    } else if left >= 0 {
        TIME_AT_DUE - left * TIME_AT_DUE / TIME_WINDOW
    } else if left <= -LATE_WINDOW {
        TIME_AT_DUE + TIME_LATE
    } else {
        TIME_AT_DUE + -left * TIME_LATE / LATE_WINDOW
    }
}
