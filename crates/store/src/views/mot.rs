//! Reading the tables of the view `mot`: states for explanations, sums for aggregates, alerts.

pub mod compare;

use crate::{Engine, Row, StoreError};
use domain::table::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Most groups that one aggregate may have.
pub const MAX_GROUPS: usize = 10_000;

/// A score that counts into the top box: 90 points and more, in hundredths.
const TOP_BOX: i64 = 9_000;

/// What scores are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Touchpoints.
    Touchpoints,
    /// Answers by role and dimension; anonymous ones that were linked later count once.
    Roles,
    /// Answers of staff.
    Staff,
}

impl Source {
    const fn table(self) -> &'static str {
        match self {
            Self::Touchpoints => "mot_touchpoints t",
            Self::Roles => "mot_role_scores t",
            Self::Staff => "mot_staff_pulses t",
        }
    }
}

/// A column by which scores are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Column {
    Site,
    Department,
    Touchpoint,
    Month,
    Role,
    Dimension,
}

impl Column {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Department => "department",
            Self::Touchpoint => "touchpoint",
            Self::Month => "month",
            Self::Role => "role",
            Self::Dimension => "dimension",
        }
    }
}

/// Which rows are read. Times are microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Site.
    pub site: Option<String>,
    /// Department.
    pub department: Option<String>,
    /// Kind of touchpoint.
    pub touchpoint: Option<String>,
    /// Role.
    pub role: Option<String>,
    /// Dimension.
    pub dimension: Option<String>,
    /// Kind of alert.
    pub kind: Option<String>,
    /// From this time on.
    pub from: Option<i64>,
    /// Before this time.
    pub to: Option<i64>,
}

impl Filter {
    /// The conditions, each with `AND` before it, and their arguments.
    fn sql(&self) -> (String, Vec<Value>) {
        let (mut sql, mut args) = (String::new(), Vec::new());
        let texts = [
            ("site", &self.site),
            ("department", &self.department),
            ("touchpoint", &self.touchpoint),
            ("role", &self.role),
            ("dimension", &self.dimension),
            ("kind", &self.kind),
        ];
        for (column, value) in texts {
            if let Some(v) = value {
                args.push(v.as_str().into());
                let _ = write!(sql, " AND t.{column} = ${}", args.len());
            }
        }
        for (condition, value) in [(">=", self.from), ("<", self.to)] {
            if let Some(v) = value {
                args.push(v.into());
                let _ = write!(sql, " AND t.occurred_at {condition} ${}", args.len());
            }
        }
        (sql, args)
    }
}

/// Exact sums of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The values of the columns asked for, in their order; a month is `yyyymm`.
    pub by: Vec<Option<String>>,
    /// How many have a score.
    pub n: i64,
    /// Sum of the scores, hundredths.
    pub sum: i64,
    /// Sum of their squares.
    pub squares: i64,
    /// How many are in the top box.
    pub top: i64,
    /// How many have none: coverage was insufficient.
    pub without: i64,
}

/// Sums of scores by the columns, ordered by them. [`MAX_GROUPS`] + 1 groups at most.
///
/// # Errors
/// Those of the database.
pub async fn sums(engine: &Engine, source: Source, by: &[Column], filter: &Filter) -> Result<Vec<Group>, StoreError> {
    grouped(engine, source, by, filter, "").await
}

/// Like [`sums`], but only groups of at least `least` scores whose mean is below `ceiling`, in hundredths of a point; by at
/// least one column.
///
/// # Errors
/// Those of the database.
pub async fn low_sums(
    engine: &Engine,
    source: Source,
    by: &[Column],
    filter: &Filter,
    (least, ceiling): (i64, i64),
) -> Result<Vec<Group>, StoreError> {
    let having = format!(" HAVING count(t.score) >= {least} AND sum(t.score) < {ceiling} * count(t.score)");
    grouped(engine, source, by, filter, &having).await
}

async fn grouped(
    engine: &Engine,
    source: Source,
    by: &[Column],
    filter: &Filter,
    having: &str,
) -> Result<Vec<Group>, StoreError> {
    let columns: String = by.iter().map(|c| format!("t.{}, ", c.as_str())).collect();
    let (conditions, args) = filter.sql();
    let once = match source {
        Source::Roles => {
            " AND (t.anonymous = 0 OR NOT EXISTS \
              (SELECT 1 FROM mot_links l WHERE l.target_event_id = substr(t.touchpoint_id, 11)))"
        }
        Source::Touchpoints | Source::Staff => "",
    };
    let numbers: Vec<String> = (1..=by.len()).map(|n| n.to_string()).collect();
    let grouped = if by.is_empty() {
        String::new()
    } else {
        let list = numbers.join(", ");
        format!(" GROUP BY {list}{having} ORDER BY {list}")
    };
    let sql = format!(
        "SELECT {columns}count(t.score), CAST(coalesce(sum(t.score), 0) AS bigint), \
         CAST(coalesce(sum(t.score * t.score), 0) AS bigint), \
         CAST(coalesce(sum(CASE WHEN t.score >= {TOP_BOX} THEN 1 ELSE 0 END), 0) AS bigint), count(*) - count(t.score) \
         FROM {} WHERE 1 = 1{conditions}{once}{grouped} LIMIT {}",
        source.table(),
        MAX_GROUPS + 1
    );
    let rows = engine.query(&sql, &args).await?;
    Ok(rows.iter().map(|r| group(r, by.len())).collect())
}

fn group(r: &Row, by: usize) -> Group {
    let name = |i: usize| match r.0.get(i) {
        Some(Value::Text(t)) => Some(t.clone()),
        Some(Value::Int(n)) => Some(n.to_string()),
        _ => None,
    };
    Group {
        by: (0..by).map(name).collect(),
        n: r.int(by),
        sum: r.int(by + 1),
        squares: r.int(by + 2),
        top: r.int(by + 3),
        without: r.int(by + 4),
    }
}

/// The patients that have a scored journey of this name.
///
/// # Errors
/// Those of the database.
pub async fn holders(engine: &Engine, journey: &str) -> Result<BTreeSet<String>, StoreError> {
    let sql = "SELECT patient_id FROM mot_journeys WHERE journey_id = $1 LIMIT 1000";
    Ok(engine.query(sql, &[journey.into()]).await?.iter().map(|r| r.text(0).to_owned()).collect())
}

/// What the view keeps of these patients, as the fold wrote it.
///
/// # Errors
/// Those of the database.
pub async fn states(engine: &Engine, patients: &BTreeSet<String>) -> Result<Vec<Vec<u8>>, StoreError> {
    let marks: Vec<String> = (1..=patients.len()).map(|n| format!("${n}")).collect();
    let args: Vec<Value> = patients.iter().map(|p| p.as_str().into()).collect();
    let sql = format!("SELECT state FROM mot_state WHERE patient_id IN ({}) ORDER BY patient_id", marks.join(", "));
    Ok(engine.query(&sql, &args).await?.iter().map(|r| r.bytes(0).to_vec()).collect())
}

/// An alert, as stored.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct AlertRow {
    pub patient_id: String,
    pub alert_id: String,
    pub kind: String,
    pub severity: String,
    /// Microseconds since 1970.
    pub occurred_at: i64,
    pub touchpoint_id: Option<String>,
    pub journey_id: Option<String>,
    pub role: Option<String>,
    pub detail: Option<String>,
    /// JSON array.
    pub event_ids: String,
    pub site: Option<String>,
    pub department: Option<String>,
}

/// Alerts, the latest first, after the one with this time, patient and id.
///
/// # Errors
/// Those of the database.
pub async fn alerts(
    engine: &Engine,
    filter: &Filter,
    after: Option<&(i64, String, String)>,
    limit: usize,
) -> Result<Vec<AlertRow>, StoreError> {
    let (mut conditions, mut args) = filter.sql();
    if let Some((at, patient, alert)) = after {
        let n = args.len();
        args.extend([(*at).into(), patient.as_str().into(), alert.as_str().into()]);
        let (a, p, i) = (n + 1, n + 2, n + 3);
        let _ = write!(
            conditions,
            " AND (t.occurred_at < ${a} OR (t.occurred_at = ${a} AND (t.patient_id > ${p} \
             OR (t.patient_id = ${p} AND t.alert_id > ${i}))))"
        );
    }
    let sql = format!(
        "SELECT t.patient_id, t.alert_id, t.kind, t.severity, t.occurred_at, t.touchpoint_id, t.journey_id, t.role, \
         t.detail, t.event_ids, t.site, t.department FROM mot_alerts t WHERE 1 = 1{conditions} \
         ORDER BY t.occurred_at DESC, t.patient_id, t.alert_id LIMIT {limit}"
    );
    let rows = engine.query(&sql, &args).await?;
    Ok(rows.iter().map(alert).collect())
}

fn alert(r: &Row) -> AlertRow {
    let text = |i| r.opt_text(i).map(str::to_owned);
    AlertRow {
        patient_id: r.text(0).to_owned(),
        alert_id: r.text(1).to_owned(),
        kind: r.text(2).to_owned(),
        severity: r.text(3).to_owned(),
        occurred_at: r.int(4),
        touchpoint_id: text(5),
        journey_id: text(6),
        role: text(7),
        detail: text(8),
        event_ids: r.text(9).to_owned(),
        site: text(10),
        department: text(11),
    }
}
