//! What the timeline's entries say of the systems that they came from, by week of recording.

use crate::{Engine, StoreError};
use domain::Micros;
use domain::time::{DAY, HOUR, MINUTE, MONDAY_TO_EPOCH, WEEK};

/// Longer than anything takes.
const EVER: i64 = 1 << 62;
/// Most rows of one answer.
pub const MAX_ROWS: usize = 10_000;

/// A source in a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceWeek {
    /// `source.system`.
    pub source: String,
    /// Weeks since Monday, 1969-12-29.
    pub week: i64,
    /// Events recorded in that week, corrections and retractions not counted.
    pub events: i64,
    /// Those of them that were corrected or retracted since, whenever that was.
    pub amended: i64,
    /// Those whose `source.trigger` is `manual_entry`.
    pub manual: i64,
    /// Those of the manual ones that were corrected or retracted since.
    pub manual_amended: i64,
    /// How many were recorded within a minute of happening, within an hour, within a day, and later.
    pub late: [i64; 4],
    /// The longest time between happening and recording, microseconds.
    pub latest: i64,
    /// The longest time in which nothing was recorded, up to an event of this week, microseconds; 0 where nothing before was asked for.
    pub gap: i64,
}

/// What was recorded in some weeks, both included, by source and week.
///
/// # Errors
/// Those of the database.
pub async fn weeks(engine: &Engine, from_week: i64, to_week: i64) -> Result<Vec<SourceWeek>, StoreError> {
    let (from, to) = (Micros::of_week(from_week).0, Micros::of_week(to_week + 1).0);
    let sum = |what: &str| format!("CAST(sum(CASE WHEN {what} THEN 1 ELSE 0 END) AS bigint)");
    let within = |after: i64, to: i64| sum(&format!("late > {after} AND late <= {to}"));
    let sql = format!(
        "SELECT source_system, (recorded_at + {MONDAY_TO_EPOCH}) / {WEEK}, count(*), {}, {}, {}, {}, {}, {}, {}, max(late), \
         COALESCE(max(recorded_at - previous), 0) FROM (\
         SELECT e.source_system, e.recorded_at, e.recorded_at - e.occurred_at AS late, a.target_event_id AS amended, \
         CASE WHEN e.event LIKE '%\"trigger\":\"manual_entry\"%' THEN 1 ELSE 0 END AS said, \
         lag(e.recorded_at) OVER (PARTITION BY e.source_system ORDER BY e.recorded_at) AS previous \
         FROM timeline_entries e LEFT JOIN (SELECT DISTINCT target_event_id FROM timeline_entries \
         WHERE kind IN ('EventCorrected', 'EventRetracted')) a ON a.target_event_id = e.event_id \
         WHERE e.recorded_at >= $1 AND e.recorded_at < $2 AND e.kind NOT IN ('EventCorrected', 'EventRetracted')) q \
         GROUP BY 1, 2 ORDER BY 1, 2 LIMIT {MAX_ROWS}",
        sum("amended IS NOT NULL"),
        sum("said = 1"),
        sum("said = 1 AND amended IS NOT NULL"),
        within(-EVER, MINUTE),
        within(MINUTE, HOUR),
        within(HOUR, DAY),
        within(DAY, EVER),
    );
    let rows = engine.query(&sql, &[from.into(), to.into()]).await?;
    let week = |r: &crate::Row| SourceWeek {
        source: r.text(0).into(),
        week: r.int(1),
        events: r.int(2),
        amended: r.int(3),
        manual: r.int(4),
        manual_amended: r.int(5),
        late: [r.int(6), r.int(7), r.int(8), r.int(9)],
        latest: r.int(10),
        gap: r.int(11),
    };
    Ok(rows.iter().map(week).collect())
}
