//! Reading `follow_up_items`; who works on what is in [`leases`].

pub mod leases;

use crate::{Engine, Row, StoreError};
use domain::table::Value;
use domain::views::follow_ups::priority::{LATE_WINDOW, TIME_AT_DUE, TIME_LATE, TIME_WINDOW};
use domain::views::follow_ups::{COLUMNS, ITEMS};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Most keys in one `IN` list.
const MAX_KEYS: usize = 1_000;

/// A stored item. Times are microseconds since 1970.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns of `follow_up_items`
pub struct ItemRow {
    pub patient_id: String,
    pub item_id: String,
    pub kind: String,
    pub subject: String,
    pub status: String,
    pub status_reason: Option<String>,
    pub site: Option<String>,
    pub department: Option<String>,
    pub zone: String,
    pub journey_id: String,
    pub encounter_id: Option<String>,
    pub appointment_id: Option<String>,
    pub trigger_event_id: String,
    pub opened_at: i64,
    pub due_at: Option<i64>,
    pub act_at: Option<i64>,
    pub closed_at: Option<i64>,
    pub closed_by: Option<String>,
    pub times_opened: i64,
    pub severity: i64,
    pub clinical_risk: i64,
    pub vulnerability: i64,
    pub points: i64,
    pub reasons: String,
    pub channel: String,
    pub attempts: i64,
    pub failed_attempts: i64,
    pub last_outcome: Option<String>,
    pub last_attempt_at: Option<i64>,
    pub callback_at: Option<i64>,
    pub needs_human: bool,
    pub escalated: bool,
    pub missing: Option<String>,
}

impl From<&Row> for ItemRow {
    /// Reads a row whose first columns are those of the table.
    fn from(r: &Row) -> Self {
        let mut next = 0..COLUMNS.len();
        let mut i = || next.next().unwrap_or_default();
        let text = |i: usize| r.text(i).to_owned();
        let opt = |i: usize| r.opt_text(i).map(str::to_owned);
        // in the order of `COLUMNS`; a test holds it
        Self {
            patient_id: text(i()),
            item_id: text(i()),
            kind: text(i()),
            subject: text(i()),
            status: text(i()),
            status_reason: opt(i()),
            site: opt(i()),
            department: opt(i()),
            zone: text(i()),
            journey_id: text(i()),
            encounter_id: opt(i()),
            appointment_id: opt(i()),
            trigger_event_id: text(i()),
            opened_at: r.int(i()),
            due_at: r.opt_int(i()),
            act_at: r.opt_int(i()),
            closed_at: r.opt_int(i()),
            closed_by: opt(i()),
            times_opened: r.int(i()),
            severity: r.int(i()),
            clinical_risk: r.int(i()),
            vulnerability: r.int(i()),
            points: r.int(i()),
            reasons: text(i()),
            channel: text(i()),
            attempts: r.int(i()),
            failed_attempts: r.int(i()),
            last_outcome: opt(i()),
            last_attempt_at: r.opt_int(i()),
            callback_at: r.opt_int(i()),
            needs_human: r.int(i()) != 0,
            escalated: r.int(i()) != 0,
            missing: opt(i()),
        }
    }
}

/// Which items are asked for; what is absent doesn't matter.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Filter {
    pub status: Option<String>,
    pub kind: Option<String>,
    pub site: Option<String>,
    pub department: Option<String>,
    /// Holder of a lease that has not run out.
    pub assignee: Option<String>,
    /// Whether the due time has passed.
    pub overdue: Option<bool>,
}

/// Where an item stands in the list: points at that time (more first), due time (earlier first; none last), item id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Place {
    pub points: i64,
    pub due_at: i64,
    pub item_id: String,
}

static NAMES: LazyLock<String> = LazyLock::new(|| COLUMNS.iter().map(|(c, _)| *c).collect::<Vec<_>>().join(", "));

/// [`domain::views::follow_ups::priority::time_points`] in SQL, `$1` being the present; a test holds them together.
fn time_points() -> String {
    let most = TIME_AT_DUE + TIME_LATE;
    format!(
        "CASE WHEN status <> 'open' OR act_at IS NULL THEN 0 WHEN act_at - $1 >= {TIME_WINDOW} THEN 0 \
         WHEN act_at - $1 >= 0 THEN {TIME_AT_DUE} - (act_at - $1) * {TIME_AT_DUE} / {TIME_WINDOW} \
         WHEN act_at - $1 <= -{LATE_WINDOW} THEN {most} \
         ELSE {TIME_AT_DUE} + ($1 - act_at) * {TIME_LATE} / {LATE_WINDOW} END"
    )
}

/// The items that match, highest priority at `now` first, then by due time and id; those after `after`, `limit` at most.
///
/// What a merge makes of an item's status is known only once its patient's pseudonyms are united. So items of whoever takes
/// part in a merge or an unmerge come whatever their rows say of status, due time and lease, and the caller sorts them out.
///
/// # Errors
/// Those of the database.
pub async fn list(
    engine: &Engine,
    filter: &Filter,
    now: i64,
    after: Option<&Place>,
    limit: usize,
) -> Result<Vec<(ItemRow, Place)>, StoreError> {
    let linked = if has_links(engine).await? { LINKED } else { "" };
    let mut args: Vec<Value> = vec![now.into()];
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut arg = |v: Value| {
        args.push(v);
        format!("${}", args.len())
    };
    let mut own = Vec::new();
    if let Some(status) = &filter.status {
        own.push(format!("status = {}", arg(status.as_str().into())));
    }
    match filter.overdue {
        Some(true) => own.push("status = 'open' AND due_at < $1".into()),
        Some(false) => own.push("NOT (status = 'open' AND due_at IS NOT NULL AND due_at < $1)".into()),
        None => {}
    }
    if let Some(holder) = &filter.assignee {
        let holder = arg(holder.as_str().into());
        let leased = format!("SELECT item_id FROM follow_up_leases WHERE holder = {holder} AND expires_at > $1");
        own.push(format!("item_id IN ({leased})"));
    }
    if !own.is_empty() {
        conditions.push(format!("({}{linked})", own.join(" AND ")));
    }
    let equal = [("kind", &filter.kind), ("site", &filter.site), ("department", &filter.department)];
    for (column, value) in equal {
        if let Some(v) = value {
            conditions.push(format!("{column} = {}", arg(v.as_str().into())));
        }
    }
    let mut rest = String::new();
    if let Some(p) = after {
        let (points, due, id) = (arg(p.points.into()), arg(p.due_at.into()), arg(p.item_id.as_str().into()));
        rest = format!(
            "WHERE at_now < {points} OR (at_now = {points} AND \
             (due > {due} OR (due = {due} AND item_id > {id})))"
        );
    }
    let sql = format!(
        "SELECT {names}, at_now, due FROM (SELECT {names}, points + {time} AS at_now, \
         COALESCE(due_at, {never}) AS due FROM {table} WHERE {conditions}) q {rest} \
         ORDER BY at_now DESC, due, item_id LIMIT {limit}",
        names = *NAMES,
        time = time_points(),
        never = i64::MAX,
        table = ITEMS.name,
        conditions = conditions.join(" AND "),
    );
    let rows = engine.query(&sql, &args).await?;
    let n = COLUMNS.len();
    let place = |r: &Row| Place { points: r.int(n), due_at: r.int(n + 1), item_id: r.text(1).to_owned() };
    Ok(rows.iter().map(|r| (ItemRow::from(r), place(r))).collect())
}

/// An item by its id.
///
/// # Errors
/// Those of the database.
pub async fn find(engine: &Engine, item_id: &str) -> Result<Option<ItemRow>, StoreError> {
    let sql = format!("SELECT {} FROM {} WHERE item_id = $1", *NAMES, ITEMS.name);
    Ok(engine.query(&sql, &[item_id.into()]).await?.first().map(ItemRow::from))
}

/// Or the patient takes part in any merge or unmerge.
const LINKED: &str = " OR patient_id IN (SELECT surviving FROM patient_links UNION SELECT retired FROM patient_links)";

/// Whether merges are known: not where no timeline has been projected here yet.
async fn has_links(engine: &Engine) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM generations WHERE view = 'timeline' AND active = 1";
    Ok(!engine.query(sql, &[]).await?.is_empty())
}

/// Those of the patients who take part in any merge or unmerge. Empty where no timeline has been projected here yet.
///
/// # Errors
/// Those of the database.
pub async fn linked(engine: &Engine, patients: &BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
    if patients.is_empty() || !has_links(engine).await? {
        return Ok(BTreeSet::new());
    }
    let all: Vec<&String> = patients.iter().collect();
    let mut found = BTreeSet::new();
    for keys in all.chunks(MAX_KEYS) {
        let (marks, args) = list_of(keys);
        let sql = format!(
            "SELECT surviving FROM patient_links WHERE surviving IN ({marks}) \
             UNION SELECT retired FROM patient_links WHERE retired IN ({marks})"
        );
        found.extend(engine.query(&sql, &args).await?.iter().map(|r| r.text(0).to_owned()));
    }
    Ok(found)
}

/// What the view keeps of each of the patients: pseudonym and state.
///
/// # Errors
/// Those of the database.
pub async fn states(engine: &Engine, patients: &[&String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    for keys in patients.chunks(MAX_KEYS) {
        let (marks, args) = list_of(keys);
        let sql = format!("SELECT patient_id, state FROM follow_ups_state WHERE patient_id IN ({marks})");
        found.extend(engine.query(&sql, &args).await?.iter().map(|r| (r.text(0).to_owned(), r.bytes(1).to_vec())));
    }
    Ok(found)
}

/// `$1, $2 …` for these keys.
fn list_of(keys: &[&String]) -> (String, Vec<Value>) {
    let marks: Vec<String> = (1..=keys.len()).map(|n| format!("${n}")).collect();
    (marks.join(", "), keys.iter().map(|k| k.as_str().into()).collect())
}
