//! Why a score is what it is (M5): the same computation as the rows, with everything behind it.

use super::explanation::{
    AlertNote, Cap, Contribution, JourneyExplanation, JourneyPart, Missing, RoleScore, TouchpointExplanation,
};
use super::facts::Fact;
use super::score::{Alert, Assessment, Cell, EMPATHY_CAP, EMPATHY_FLOOR, Journey, MODEL, Part, Scored, assess};
use super::score::{MIN_COVERAGE, divide, journey_parts};
use super::signals::{Measure, Source};
use super::standard::{Rule, Standards};
use super::tables::role_name;
use super::value::{Value, WHOLE};
use crate::event::{Dimension, Role};
use crate::time::DAY;
use crate::{EventId, Micros};

/// Days without an event after which a journey's score is final.
const QUIET_DAYS: i64 = 14;

/// Explains a journey of a patient, named by its id, the id of any of its events, or the name of any of its touchpoints.
/// Nothing where the facts know no such journey.
///
/// `facts` may come from several pseudonyms of one patient (merges). `as_of` leaves out what was recorded after it; `now`
/// decides only whether the score is provisional.
pub fn explain<'a>(
    standards: &Standards,
    facts: impl Iterator<Item = (EventId, &'a Fact)>,
    wanted: &str,
    as_of: Option<Micros>,
    now: Micros,
) -> Option<JourneyExplanation> {
    let a = assess(standards, facts, as_of);
    let id = find(&a, wanted)?;
    let none = Journey::empty(&id, &a);
    let journey = a.journeys.iter().find(|j| j.id == id).unwrap_or(&none);
    Some(Writer { a: &a, standards }.journey(journey, now))
}

fn find(a: &Assessment<'_>, wanted: &str) -> Option<String> {
    let event: Option<EventId> = wanted.parse().ok();
    let by_id = a.events.iter().find(|e| !e.journey.is_empty() && e.journey == wanted);
    let by_event = || a.events.iter().find(|e| Some(e.id) == event && !e.journey.is_empty());
    let by_touchpoint = || {
        let i = (0..a.touchpoints.len()).find(|i| a.touchpoint_id(*i) == wanted)?;
        a.events.get(a.touchpoints[i].anchor)
    };
    by_id.or_else(by_event).or_else(by_touchpoint).map(|e| e.journey.clone())
}

impl Journey {
    /// A journey in which nothing is scored.
    fn empty(id: &str, a: &Assessment<'_>) -> Self {
        let last = a.events.iter().filter(|e| e.journey == id).map(|e| e.fact.at).max();
        Self {
            id: id.to_owned(),
            touchpoints: Vec::new(),
            scored: 0,
            score: None,
            mean: None,
            worst: None,
            last: None,
            last_event_at: last.unwrap_or_default(),
            site: None,
            department: None,
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn points(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn thousandths(n: i64) -> f64 {
    n as f64 / 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn ten_thousandths(n: i64) -> f64 {
    n as f64 / 10_000.0
}

struct Writer<'w, 'a> {
    a: &'w Assessment<'a>,
    standards: &'w Standards,
}

impl Writer<'_, '_> {
    fn ids(&self, places: &[usize]) -> Vec<String> {
        places.iter().map(|i| self.a.events[*i].id.to_string()).collect()
    }

    fn journey(&self, j: &Journey, now: Micros) -> JourneyExplanation {
        JourneyExplanation {
            journey_id: j.id.clone(),
            model: MODEL,
            score: j.score.map(points),
            provisional: now.0 < j.last_event_at.saturating_add(QUIET_DAYS * DAY),
            last_event_at: Micros(j.last_event_at).to_string(),
            parts: self.parts(j),
            touchpoints: j.touchpoints.iter().map(|i| self.touchpoint(*i)).collect(),
            alerts: self.a.alerts.iter().filter(|x| x.journey == j.id).map(|x| self.alert(x)).collect(),
        }
    }

    fn parts(&self, j: &Journey) -> Vec<JourneyPart> {
        let (Some(mean), Some(worst), Some(last)) = (j.mean, j.worst, j.last) else { return Vec::new() };
        let score = |i: usize| self.a.touchpoints[i].score.unwrap_or_default();
        let (_, added) = journey_parts(mean, score(worst), score(last));
        let part = |i: usize, part, value, weight, touchpoint: Option<usize>| JourneyPart {
            part,
            value: points(value),
            weight,
            contribution: points(added[i]),
            touchpoint_id: touchpoint.map(|t| self.a.touchpoint_id(t)),
        };
        vec![
            part(0, "weighted_mean", mean.hundredths(), 0.35, None),
            part(1, "worst", score(worst), 0.25, Some(worst)),
            part(2, "last", score(last), 0.40, Some(last)),
        ]
    }

    fn alert(&self, x: &Alert) -> AlertNote {
        AlertNote {
            alert_id: x.id.clone(),
            kind: x.kind,
            severity: x.severity,
            occurred_at: Micros(x.at).to_string(),
            touchpoint_id: x.touchpoint.map(|t| self.a.touchpoint_id(t)),
            event_ids: self.ids(&x.events),
        }
    }

    fn touchpoint(&self, i: usize) -> TouchpointExplanation {
        let t = &self.a.touchpoints[i];
        let anchor = self.a.events[t.anchor].fact;
        let mut caps = Vec::new();
        if t.capped {
            caps.push(Cap {
                reason: format!(
                    "empathy below {} caps the touchpoint at {}",
                    points(EMPATHY_FLOOR),
                    points(EMPATHY_CAP)
                ),
                change: points(EMPATHY_CAP - t.uncapped),
            });
        }
        TouchpointExplanation {
            touchpoint_id: self.a.touchpoint_id(i),
            touchpoint: t.key.0,
            subject: t.key.1.to_string(),
            occurred_at: Micros(anchor.at).to_string(),
            ended_at: Micros(self.a.events[t.end].fact.at).to_string(),
            site: anchor.site.as_deref().map(Into::into),
            department: anchor.department.as_deref().map(Into::into),
            standard_version: t.version.clone(),
            score: t.score.map(points),
            insufficient: t.coverage < MIN_COVERAGE || t.score.is_none(),
            coverage: thousandths(t.coverage),
            contributions: t.parts.iter().map(|p| self.contribution(t, *p)).collect(),
            caps,
            missing: self.missing(t),
            roles: t.cells.iter().map(|c| self.role(c)).collect(),
        }
    }

    fn name(&self, t: &Scored<'_>, m: &Measure) -> (&'static str, String, &'static str) {
        match m.source {
            Source::Signal(s) => ("signal", s.as_str().to_owned(), s.unit()),
            Source::Promise(p) => {
                let promise = t.standard.and_then(|s| self.standards.all()[s].promises.get(p));
                let name = promise.map_or_else(String::new, |p| match p.rule {
                    Rule::Promised => p.id.clone(),
                    Rule::Forbidden => format!("not:{}", p.id),
                });
                ("promise", name, "share")
            }
        }
    }

    fn contribution(&self, t: &Scored<'_>, (part, share, added): (Part, i64, i64)) -> Contribution {
        let (weight, contribution) = (thousandths(share), points(added));
        match part {
            Part::Signal(i) => {
                let m = &t.measures[i];
                let (source, name, unit) = self.name(t, m);
                let value = m.value.unwrap_or(Value::count(0));
                Contribution {
                    source,
                    name,
                    value: thousandths(value.milli()),
                    unit,
                    target: thousandths(m.scale.target),
                    fail: thousandths(m.scale.fail),
                    utility: ten_thousandths(divide(m.scale.utility(value) * 10_000, WHOLE)),
                    weight,
                    contribution,
                    event_ids: self.ids(&m.events),
                }
            }
            Part::Cell(i) => {
                let c = &t.cells[i];
                let mean = c.mean.unwrap_or_default();
                Contribution {
                    source: "feedback",
                    name: format!("{}/{}", role_name(c.role), Dimension::as_str(c.dimension)),
                    value: points(mean),
                    unit: "points",
                    target: 100.0,
                    fail: 0.0,
                    utility: ten_thousandths(mean),
                    weight,
                    contribution,
                    event_ids: self.ids(&c.events),
                }
            }
        }
    }

    fn missing(&self, t: &Scored<'_>) -> Vec<Missing> {
        let mut out: Vec<Missing> = t
            .measures
            .iter()
            .filter_map(|m| Some(Missing { name: self.name(t, m).1, reason: m.value.err()?.to_owned() }))
            .collect();
        if !t.cells.iter().any(|c| c.answers > 0) {
            out.push(Missing { name: "feedback".into(), reason: "nobody was asked, or nobody answered".into() });
        }
        if t.standard.is_none() {
            out.push(Missing { name: "standard".into(), reason: "none was in force when this happened".into() });
        }
        out
    }

    fn role(&self, c: &Cell) -> RoleScore {
        RoleScore {
            role: c.role.map_or("unspecified", Role::as_str).to_owned(),
            dimension: c.dimension.as_str().to_owned(),
            score: points(c.score),
            answers: c.answers,
            instruments: c.instruments.iter().map(ToString::to_string).collect(),
            event_ids: self.ids(&c.events),
        }
    }
}
