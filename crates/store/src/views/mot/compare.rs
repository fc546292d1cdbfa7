//! Two generations of the view mot side by side: what another standard, or another time, makes of the same journeys.

use super::TOP_BOX;
use crate::{Engine, Row, StoreError};

/// A column by which a comparison is grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Kind of touchpoint.
    Touchpoint,
    /// Department.
    Department,
}

impl Group {
    /// Its column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Touchpoint => "touchpoint",
            Self::Department => "department",
        }
    }
}

/// Touchpoints of a group, before (in the first generation) and after (in the second). Sums are hundredths of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What they have in common; nothing where the column is empty.
    pub name: Option<String>,
    /// Touchpoints in either.
    pub touchpoints: i64,
    /// How many have another score, or have one in one generation only.
    pub changed: i64,
    /// How many of those that have a score in both have a higher one after.
    pub up: i64,
    /// How many have a lower one.
    pub down: i64,
    /// How many have a score before and after.
    pub scored: [i64; 2],
    /// Sums of the scores.
    pub sum: [i64; 2],
    /// How many have 90 points or more.
    pub top: [i64; 2],
}

/// What changed, by `group`: those with most changes first.
///
/// # Errors
/// Those of the database, also when there is no such generation.
pub async fn touchpoints(engine: &Engine, [a, b]: [i64; 2], group: Group) -> Result<Vec<Change>, StoreError> {
    let name = group.as_str();
    let sql = format!(
        "SELECT name, count(*), {changed}, {up}, {down}, count(sa), count(sb), {suma}, {sumb}, {topa}, {topb} FROM \
         (SELECT COALESCE(b.{name}, a.{name}) AS name, a.score AS sa, b.score AS sb FROM mot_touchpoints_g{a} a \
          FULL JOIN mot_touchpoints_g{b} b ON a.patient_id = b.patient_id AND a.touchpoint_id = b.touchpoint_id) q \
         GROUP BY name ORDER BY 3 DESC, 1",
        changed = count("sa IS DISTINCT FROM sb"),
        up = count("sb > sa"),
        down = count("sb < sa"),
        suma = "CAST(COALESCE(sum(sa), 0) AS bigint)",
        sumb = "CAST(COALESCE(sum(sb), 0) AS bigint)",
        topa = count(&format!("sa >= {TOP_BOX}")),
        topb = count(&format!("sb >= {TOP_BOX}")),
    );
    Ok(engine.query(&sql, &[]).await?.iter().map(change).collect())
}

fn count(condition: &str) -> String {
    format!("CAST(COALESCE(sum(CASE WHEN {condition} THEN 1 ELSE 0 END), 0) AS bigint)")
}

fn change(r: &Row) -> Change {
    Change {
        name: r.opt_text(0).map(str::to_owned),
        touchpoints: r.int(1),
        changed: r.int(2),
        up: r.int(3),
        down: r.int(4),
        scored: [r.int(5), r.int(6)],
        sum: [r.int(7), r.int(8)],
        top: [r.int(9), r.int(10)],
    }
}

/// A journey whose score is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// Its id.
    pub journey_id: String,
    /// Department of its last touchpoint, as after.
    pub department: Option<String>,
    /// Score before and after, hundredths of a point.
    pub score: [Option<i64>; 2],
}

/// How many journeys there are in either, how many have another score, and those that changed most: `examples` of them.
///
/// # Errors
/// Those of the database, also when there is no such generation.
pub async fn journeys(
    engine: &Engine,
    [a, b]: [i64; 2],
    examples: usize,
) -> Result<(i64, i64, Vec<Journey>), StoreError> {
    let both = format!(
        "(SELECT COALESCE(b.journey_id, a.journey_id) AS journey_id, COALESCE(b.department, a.department) AS department, \
          a.score AS sa, b.score AS sb FROM mot_journeys_g{a} a FULL JOIN mot_journeys_g{b} b \
          ON a.patient_id = b.patient_id AND a.journey_id = b.journey_id) q"
    );
    let sql = format!("SELECT count(*), {} FROM {both}", count("sa IS DISTINCT FROM sb"));
    let counts = engine.query(&sql, &[]).await?;
    let (all, changed) = counts.first().map_or((0, 0), |r| (r.int(0), r.int(1)));
    // One that gained or lost its score changed as much as can be.
    let sql = format!(
        "SELECT journey_id, department, sa, sb FROM {both} WHERE sa IS DISTINCT FROM sb \
         ORDER BY COALESCE(abs(sb - sa), 10000) DESC, journey_id LIMIT {examples}"
    );
    let rows = engine.query(&sql, &[]).await?;
    let journey = |r: &Row| Journey {
        journey_id: r.text(0).to_owned(),
        department: r.opt_text(1).map(str::to_owned),
        score: [r.opt_int(2), r.opt_int(3)],
    };
    Ok((all, changed, rows.iter().map(journey).collect()))
}
