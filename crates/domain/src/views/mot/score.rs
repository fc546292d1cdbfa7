//! Scores by model `mot-v1`: of touchpoints, of roles, of journeys; and the alerts. All in integers: a score is whole hundredths
//! of a point, rounded half up once, at its end. A journey's is made of its touchpoints' scores as they are shown.

use super::facts::{Answer, Fact, Text, What};
use super::resolve::{Ev, resolve};
use super::signals::{Context, Measure, Source};
use super::standard::{Signal, Standard, Standards};
use super::touchpoint::{Key, Touch, Touches};
use super::value::WHOLE;
use crate::event::{Dimension, Role, Severity};
use crate::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// The model's name.
pub const MODEL: &str = "mot-v1";
/// Coverage below this is "insufficient", thousandths.
pub(super) const MIN_COVERAGE: i64 = 400;
/// Empathy below this caps the touchpoint, hundredths.
pub(super) const EMPATHY_FLOOR: i64 = 4000;
/// What it is capped at, hundredths.
pub(super) const EMPATHY_CAP: i64 = 5000;
/// A touchpoint below this raises an alert, hundredths.
pub(super) const ALERT_BELOW: i64 = 4000;
/// A hundredth of a point in parts of [`WHOLE`].
const HUNDREDTH: i128 = WHOLE / 10_000;

/// The answers about one role in one dimension of a touchpoint.
#[derive(Debug)]
pub(super) struct Cell {
    pub role: Option<Role>,
    pub dimension: Dimension,
    /// Mean of the answers, hundredths; nothing where there is only the signal.
    pub mean: Option<i64>,
    /// The mean in parts of [`WHOLE`]; the signal's utility where there are no answers.
    exact: i128,
    /// With P4's signal, where it applies.
    pub score: i64,
    pub answers: i64,
    pub instruments: BTreeSet<Text>,
    pub events: Vec<usize>,
}

/// What makes up a score: a signal, or the answers of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Signal(usize),
    Cell(usize),
}

/// A scored touchpoint.
pub(super) struct Scored<'a> {
    pub key: Key<'a>,
    /// Place of the event that says when and where.
    pub anchor: usize,
    /// Place of the last event.
    pub end: usize,
    /// Place of the standard in force, and its version.
    pub standard: Option<usize>,
    pub version: Option<String>,
    pub measures: Vec<Measure>,
    pub cells: Vec<Cell>,
    /// Each part with its share of the whole (thousandths, adding up to 1000) and what it adds to the score (hundredths).
    pub parts: Vec<(Part, i64, i64)>,
    /// What the parts add up to.
    pub uncapped: i64,
    /// Nothing where coverage is insufficient.
    pub score: Option<i64>,
    pub coverage: i64,
    pub capped: bool,
}

/// The weighted mean of touchpoints' scores, as a fraction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean {
    pub sum: i128,
    pub weights: i128,
}

impl Mean {
    /// In hundredths of a point, for showing.
    pub fn hundredths(self) -> i64 {
        divide(self.sum, self.weights)
    }
}

/// A scored journey.
pub(super) struct Journey {
    pub id: String,
    /// Places of the scored touchpoints.
    pub touchpoints: Vec<usize>,
    /// How many of them have a score.
    pub scored: i64,
    pub score: Option<i64>,
    pub mean: Option<Mean>,
    /// Place of the touchpoint with the lowest score.
    pub worst: Option<usize>,
    /// Place of the touchpoint that ended last.
    pub last: Option<usize>,
    pub last_event_at: i64,
    pub site: Option<Text>,
    pub department: Option<Text>,
}

/// Why somebody should look now.
pub(super) struct Alert {
    pub id: String,
    pub kind: &'static str,
    pub severity: &'static str,
    pub at: i64,
    /// Place of the touchpoint.
    pub touchpoint: Option<usize>,
    pub journey: String,
    pub role: Option<Role>,
    pub detail: Option<Text>,
    pub events: Vec<usize>,
    pub site: Option<Text>,
    pub department: Option<Text>,
}

/// Everything that is known about a patient's moments of truth.
pub(super) struct Assessment<'a> {
    pub events: Vec<Ev<'a>>,
    pub touchpoints: Vec<Scored<'a>>,
    pub journeys: Vec<Journey>,
    pub alerts: Vec<Alert>,
}

impl Assessment<'_> {
    /// The name of a touchpoint.
    pub fn touchpoint_id(&self, i: usize) -> String {
        let (kind, subject) = self.touchpoints[i].key;
        format!("{}:{subject}", kind.as_str())
    }
}

/// Scores a patient's facts.
pub(super) fn assess<'a>(
    standards: &Standards,
    facts: impl Iterator<Item = (EventId, &'a Fact)>,
    as_of: Option<Micros>,
) -> Assessment<'a> {
    let events = resolve(facts, as_of);
    let touches = Touches::of(&events);
    let horizon = events.iter().rev().find(|e| e.fact.patient).map_or(i64::MIN, |e| e.fact.at);
    let context = Context { events: &events, touches: &touches, horizon };
    let touchpoints: Vec<Scored> =
        touches.all.iter().filter_map(|(key, touch)| score(&context, standards, *key, touch)).collect();
    let journeys = journeys(&events, &touchpoints, standards);
    let alerts = alerts(&events, &touches, &touchpoints);
    Assessment { events, touchpoints, journeys, alerts }
}

/// `numerator / denominator`, rounded half up; both not negative, the denominator not 0.
pub(super) fn divide(numerator: i128, denominator: i128) -> i64 {
    i64::try_from((numerator * 2 + denominator) / (denominator * 2)).unwrap_or(i64::MAX)
}

/// Shares a rounded total out over its parts so that they add up to it: each gets its floor, the largest remainders one more.
/// Parts are numerators over the same denominator.
pub(super) fn share_out(numerators: &[i128], denominator: i128) -> (i64, Vec<i64>) {
    let total = divide(numerators.iter().sum(), denominator);
    let mut shares: Vec<i64> = numerators.iter().map(|n| i64::try_from(n / denominator).unwrap_or(i64::MAX)).collect();
    let mut order: Vec<usize> = (0..numerators.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(numerators[*i] % denominator), *i));
    let mut left = total - shares.iter().sum::<i64>();
    for i in order {
        if left <= 0 {
            break;
        }
        shares[i] += 1;
        left -= 1;
    }
    (total, shares)
}

fn score<'a>(context: &Context<'_, 'a>, standards: &Standards, key: Key<'a>, touch: &Touch) -> Option<Scored<'a>> {
    let (anchor, end) = (touch.anchor()?, touch.end()?);
    let at = Micros(context.events[anchor].fact.at);
    let standard = standards.all().iter().rposition(|s| s.effective_from <= at);
    let measures = standard.map_or_else(Vec::new, |s| context.measure(key.0, key.1, touch, &standards.all()[s]));
    let mut cells = cells(context.events, touch);
    let applicable: i128 = measures.iter().map(|m| i128::from(m.scale.weight)).sum();
    let observed: i128 = measures.iter().filter(|m| m.value.is_ok()).map(|m| i128::from(m.scale.weight)).sum();
    let answered = i128::try_from(cells.len()).unwrap_or(0);
    let signals = if applicable == 0 { 0 } else { divide(observed * 1000, applicable) };
    let coverage = match (answered > 0, standard.is_some()) {
        (_, false) => 0,
        (false, _) => signals,
        (true, _) if applicable == 0 => 1000,
        (true, _) => 600 + divide(observed * 400, applicable),
    };
    let parts = parts(&measures, &cells, observed, answered);
    let (uncapped, parts) = parts.unwrap_or_default();
    let capped = uncapped > EMPATHY_CAP
        && cells.iter().any(|c| c.dimension == Dimension::Empathy && c.mean.is_some_and(|m| m < EMPATHY_FLOOR));
    let score = (coverage >= MIN_COVERAGE && !parts.is_empty()).then_some(if capped { EMPATHY_CAP } else { uncapped });
    explanation(&measures, &mut cells);
    let version = standard.map(|s| standards.all()[s].version.clone());
    Some(Scored { key, anchor, end, standard, version, measures, cells, parts, uncapped, score, coverage, capped })
}

/// 0.6 feedback + 0.4 signals; where one of them is missing, the other is the whole.
#[allow(clippy::type_complexity, reason = "the score, and its parts as Scored holds them")]
fn parts(measures: &[Measure], cells: &[Cell], observed: i128, answered: i128) -> Option<(i64, Vec<(Part, i64, i64)>)> {
    let (for_cells, for_signals) = match (answered > 0, observed > 0) {
        (true, true) => (6, 4),
        (true, false) => (10, 0),
        (false, true) => (0, 10),
        (false, false) => return None,
    };
    let (all_cells, all_signals) = (answered.max(1), observed.max(1));
    let whole = 10 * all_cells * all_signals;
    let mut parts = Vec::new();
    let mut weights = Vec::new();
    let mut numerators = Vec::new();
    for (i, cell) in cells.iter().enumerate() {
        let weight = for_cells * all_signals;
        parts.push(Part::Cell(i));
        weights.push(weight * 1000);
        numerators.push(weight * cell.exact);
    }
    for (i, m) in measures.iter().enumerate().filter(|_| for_signals > 0) {
        let Ok(value) = m.value else { continue };
        let weight = for_signals * all_cells * i128::from(m.scale.weight);
        parts.push(Part::Signal(i));
        weights.push(weight * 1000);
        numerators.push(weight * m.scale.utility(value));
    }
    let (score, added) = share_out(&numerators, whole * HUNDREDTH);
    let (_, shares) = share_out(&weights, whole);
    Some((score, parts.into_iter().zip(shares).zip(added).map(|((p, s), a)| (p, s, a)).collect()))
}

/// The answers by role and dimension (P1, P3); an answer off its scale counts nowhere.
fn cells(events: &[Ev<'_>], touch: &Touch) -> Vec<Cell> {
    type Answers<'a> = Vec<(usize, i64, &'a Answer)>;
    let mut by: BTreeMap<(Option<Role>, Dimension), Answers<'_>> = BTreeMap::new();
    for &i in &touch.answers {
        if let What::Feedback(a @ Answer { score: Some(score), .. }) = &events[i].fact.what {
            by.entry((a.role, a.dimension)).or_default().push((i, i64::from(*score), a));
        }
    }
    by.into_iter()
        .map(|((role, dimension), answers)| {
            let sum: i128 = answers.iter().map(|a| i128::from(a.1)).sum();
            let n = answers.len() as i128;
            let mean = divide(sum, n);
            Cell {
                role,
                dimension,
                mean: Some(mean),
                exact: (sum * HUNDREDTH * 2 + n) / (n * 2),
                score: mean,
                answers: i64::try_from(answers.len()).unwrap_or(i64::MAX),
                instruments: answers.iter().map(|a| a.2.instrument.clone()).collect(),
                events: answers.iter().map(|a| a.0).collect(),
            }
        })
        .collect()
}

/// P4: the signal belongs to the doctor's explanation, as 0.4 of its score beside the answers, else as the whole of it.
fn explanation(measures: &[Measure], cells: &mut Vec<Cell>) {
    let Some(m) = measures.iter().find(|m| m.source == Source::Signal(Signal::OptionsExplained)) else { return };
    let Ok(value) = m.value else { return };
    let utility = m.scale.utility(value);
    let of_doctor = |c: &&mut Cell| c.role == Some(Role::Doctor) && c.dimension == Dimension::Explanation;
    if let Some(cell) = cells.iter_mut().find(of_doctor) {
        cell.score = divide(cell.exact * 6 + utility * 4, 10 * HUNDREDTH);
        cell.events.extend(&m.events);
    } else {
        cells.push(Cell {
            role: Some(Role::Doctor),
            dimension: Dimension::Explanation,
            mean: None,
            exact: utility,
            score: divide(utility, HUNDREDTH),
            answers: 0,
            instruments: BTreeSet::new(),
            events: m.events.clone(),
        });
    }
}

fn journeys(events: &[Ev<'_>], touchpoints: &[Scored<'_>], standards: &Standards) -> Vec<Journey> {
    let mut by: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, t) in touchpoints.iter().enumerate() {
        by.entry(&events[t.anchor].journey).or_default().push(i);
    }
    let mut last_events: BTreeMap<&str, i64> = BTreeMap::new();
    for e in events {
        last_events.entry(&e.journey).and_modify(|at| *at = e.fact.at.max(*at)).or_insert(e.fact.at);
    }
    by.into_iter()
        .map(|(id, mut places)| {
            places.sort_by_key(|i| (events[touchpoints[*i].anchor].when(), *i));
            let scored: Vec<(usize, i64)> =
                places.iter().filter_map(|i| touchpoints[*i].score.map(|s| (*i, s))).collect();
            let worst = scored.iter().min_by_key(|(_, s)| *s).copied();
            let last = scored.iter().max_by_key(|(i, _)| (events[touchpoints[*i].end].when(), *i)).copied();
            let mean = weighted_mean(&scored, touchpoints, standards);
            let score = match (mean, worst, last) {
                (Some(m), Some((_, w)), Some((_, l))) => Some(journey_parts(m, w, l).0),
                _ => None,
            };
            let place = |f: fn(&Fact) -> &Option<Text>| {
                places.iter().find_map(|i| f(events[touchpoints[*i].anchor].fact).clone())
            };
            Journey {
                id: id.to_owned(),
                scored: i64::try_from(scored.len()).unwrap_or(i64::MAX),
                score,
                mean,
                worst: worst.map(|w| w.0),
                last: last.map(|l| l.0),
                last_event_at: last_events.get(id).copied().unwrap_or_default(),
                site: place(|f| &f.site),
                department: place(|f| &f.department),
                touchpoints: places,
            }
        })
        .collect()
}

/// 0.35 · weighted mean + 0.25 · worst + 0.40 · last (F10), and what each of them adds.
pub(super) fn journey_parts(mean: Mean, worst: i64, last: i64) -> (i64, Vec<i64>) {
    let of = |share: i128, score: i64| share * i128::from(score) * mean.weights;
    share_out(&[35 * mean.sum, of(25, worst), of(40, last)], 100 * mean.weights)
}

fn weighted_mean(scored: &[(usize, i64)], touchpoints: &[Scored<'_>], standards: &Standards) -> Option<Mean> {
    let (mut sum, mut weights) = (0i128, 0i128);
    for (i, score) in scored {
        let t = &touchpoints[*i];
        let standard: Option<&Standard> = t.standard.map(|s| &standards.all()[s]);
        let weight = standard.map_or(0, |s| i128::from(s.journey_weight(t.key.0)));
        sum += weight * i128::from(*score);
        weights += weight;
    }
    (weights > 0).then_some(Mean { sum, weights })
}

/// Touchpoints below 40, dignity breaches (P7), severe complaints.
fn alerts(events: &[Ev<'_>], touches: &Touches<'_>, touchpoints: &[Scored<'_>]) -> Vec<Alert> {
    let mut out = Vec::new();
    for (i, t) in touchpoints.iter().enumerate() {
        if t.score.is_some_and(|s| s < ALERT_BELOW) {
            let behind: BTreeSet<usize> = (t.measures.iter().filter(|m| m.value.is_ok()).flat_map(|m| &m.events))
                .chain(t.cells.iter().flat_map(|c| &c.events))
                .copied()
                .collect();
            let anchor = &events[t.anchor];
            out.push(Alert {
                id: format!("low_score:{}:{}", t.key.0.as_str(), t.key.1),
                kind: "low_score",
                severity: "high",
                at: anchor.fact.at,
                touchpoint: Some(i),
                journey: anchor.journey.clone(),
                role: None,
                detail: None,
                events: behind.into_iter().collect(),
                site: anchor.fact.site.clone(),
                department: anchor.fact.department.clone(),
            });
        }
    }
    for (i, e) in events.iter().enumerate() {
        let (kind, role, detail) = match &e.fact.what {
            What::Dignity { role, kind } => ("dignity_breach", Some(*role), Some(kind.clone())),
            What::Complaint { severity: Severity::Severe, role } => ("severe_complaint", *role, None),
            _ => continue,
        };
        let touchpoint = touches.home[i].and_then(|key| touchpoints.iter().position(|t| t.key == key));
        let anchor = touchpoint.map(|t| events[touchpoints[t].anchor].fact);
        out.push(Alert {
            id: format!("{kind}:{}", e.id),
            kind,
            severity: "critical",
            at: e.fact.at,
            touchpoint,
            journey: e.journey.clone(),
            role,
            detail,
            events: vec![i],
            site: e.fact.site.clone().or_else(|| anchor.and_then(|f| f.site.clone())),
            department: e.fact.department.clone().or_else(|| anchor.and_then(|f| f.department.clone())),
        });
    }
    out
}
