//! Alerts about groups: the scores of a month whose interval lies wholly below the standard.
//!
//! They are reckoned when they are read. A group stands in the list at the beginning of its month, so that its place doesn't
//! move while scores are added, and a page reckons only the months that begin within the time which it covers.

use super::aggregates::exact;
use super::{Alert, Place};
use crate::{App, Problem};
use domain::Micros;
use domain::time::{DAY, Date};
use domain::views::mot::stats::{MIN_N, Summary, summarise};
use domain::views::mot::{Mot, TouchKind};
use serde::Serialize;
use std::ops::RangeInclusive;
use store::Engine;
use store::views::mot::{Column, Filter, Group, MAX_GROUPS, Source, low_sums};
use utoipa::ToSchema;

/// Kind of these alerts.
pub(super) const KIND: &str = "below_standard";

/// What scores are grouped by; touchpoints have no role and dimension.
const BY: [Column; 6] =
    [Column::Month, Column::Site, Column::Department, Column::Touchpoint, Column::Role, Column::Dimension];
/// How many of them touchpoints have.
const OF_TOUCHPOINTS: usize = 4;

/// The scores of a group in one month.
#[derive(Debug, Serialize, ToSchema)]
pub struct Below {
    /// The month, `yyyymm`, local to the events.
    pub month: String,
    /// Kind of touchpoint; null where answers name none.
    pub touchpoint: Option<String>,
    /// Dimension of the answers, where the alert names a role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension: Option<String>,
    /// How many scores.
    pub n: i64,
    /// Mean, points.
    pub mean: f64,
    /// 95 % interval of the mean (Student's t): low and high, points.
    pub interval: [f64; 2],
    /// What it lies wholly below, points.
    pub floor: f64,
    /// The standard whose floor it is: the one in force at the month's end, or now.
    pub standard_version: String,
}

/// The alerts about months that begin `within` (UTC), in no particular order.
///
/// # Errors
/// Those of the database; 400 where there are too many groups.
pub(super) async fn alerts(
    app: &App,
    engine: &Engine,
    generation: Option<i64>,
    filter: &Filter,
    within: RangeInclusive<i64>,
) -> Result<Vec<(Place, Alert)>, Problem> {
    let begun = begins(month_of(Micros(*within.end())));
    if begun.is_none_or(|t| !within.contains(&t.0)) {
        return Ok(Vec::new());
    }
    let mot = app.mot_of(generation).await?;
    // Months are local to the event: a day before and after holds all of each.
    let filter = Filter {
        kind: None,
        from: Some(within.start().saturating_sub(DAY)),
        to: Some(within.end().saturating_add(32 * DAY)),
        ..filter.clone()
    };
    let mut out = Vec::new();
    for (source, by) in [(Source::Touchpoints, &BY[..OF_TOUCHPOINTS]), (Source::Roles, &BY[..])] {
        let groups = low_sums(engine, source, by, &filter, (MIN_N, highest_floor(&mot))).await?;
        if groups.len() > MAX_GROUPS {
            return Err(Problem::bad_field("from", format!("more than {MAX_GROUPS} groups: narrow it down")));
        }
        let alerts = groups.iter().filter_map(|g| alert(g, &mot, (app.now)()));
        out.extend(alerts.filter(|(place, _)| within.contains(&place.0)));
    }
    Ok(out)
}

/// The alert about a group whose interval lies wholly below the floor.
#[allow(clippy::cast_precision_loss, reason = "at most 10000")]
fn alert(g: &Group, mot: &Mot, now: Micros) -> Option<(Place, Alert)> {
    let of = |c: Column| BY.iter().position(|b| *b == c).and_then(|i| g.by.get(i)?.clone());
    let month = of(Column::Month)?;
    let number: i64 = month.parse().ok()?;
    let begun = begins(number)?;
    let ended = begins(if number % 100 == 12 { number + 89 } else { number + 1 })?.plus(-1);
    let standard = mot.standards().at(ended.min(now))?;
    let touchpoint = of(Column::Touchpoint);
    let floor = standard.floor(touchpoint.as_deref().and_then(TouchKind::from_name)) as f64 / 100.0;
    let Summary { mean, interval, .. } = summarise(exact(g), 0.0)?;
    if interval.high >= floor {
        return None;
    }
    let alert_id = format!("{KIND}:{}", serde_json::to_string(&g.by).ok()?);
    let alert = Alert {
        alert_id: alert_id.clone(),
        patient_id: None,
        kind: KIND.to_owned(),
        severity: "high".to_owned(),
        occurred_at: begun.to_string(),
        touchpoint_id: None,
        journey_id: None,
        role: of(Column::Role),
        detail: None,
        event_ids: Vec::new(),
        site: of(Column::Site),
        department: of(Column::Department),
        group: Some(Below {
            month,
            touchpoint,
            dimension: of(Column::Dimension),
            n: g.n,
            mean,
            interval: [interval.low, interval.high],
            floor,
            standard_version: standard.version.clone(),
        }),
    };
    Some(((begun.0, String::new(), alert_id), alert))
}

/// The highest floor that any standard has, hundredths of a point: no mean above it is below the standard.
fn highest_floor(mot: &Mot) -> i64 {
    let kinds = || TouchKind::ALL.into_iter().map(Some).chain([None]);
    mot.standards().all().iter().flat_map(|s| kinds().map(move |k| s.floor(k))).max().unwrap_or_default()
}

/// The month of a time, UTC, as `yyyymm`.
fn month_of(time: Micros) -> i64 {
    time.utc().format("%Y%m").to_string().parse().unwrap_or_default()
}

/// When a month `yyyymm` begins, UTC.
fn begins(month: i64) -> Option<Micros> {
    Date::parse(&format!("{:04}-{:02}-01", month / 100, month % 100)).map(Date::start)
}
