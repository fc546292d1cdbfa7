//! Reading `timeline_entries` and `patient_links`.

use crate::{Engine, Row, StoreError};
use domain::table::Value;
use domain::views::timeline::identity::{self, Identity, Link};
use domain::{EventId, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// Most pseudonyms that one patient may have had.
pub const MAX_ALIASES: usize = 1_000;
/// Most events of one patient that are put together into a timeline.
pub const MAX_ENTRIES: usize = 200_000;

/// A stored event of a patient.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// The pseudonym that it lies under.
    pub patient_id: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The event as JSON.
    pub event: String,
}

/// How much is stored of a patient: changes with every event, and with nothing else.
pub type Fingerprint = Vec<(String, i64, i64)>;

/// A link as stored, and whether a retraction took it back.
struct LinkRow {
    filed_under: String,
    link: Link,
    retracted: bool,
}

async fn links(engine: &Engine, id: &str) -> Result<(BTreeSet<String>, Vec<LinkRow>), StoreError> {
    // One branch per index: an OR over columns is not reliably planned as such.
    const SQL: &str = "SELECT l.patient_id, l.event_id, l.occurred_at, l.surviving, l.retired, l.merged, \
        CASE WHEN EXISTS (SELECT 1 FROM timeline_entries r WHERE r.patient_id = l.patient_id \
        AND r.target_event_id = l.event_id AND r.kind = 'EventRetracted') THEN 1 ELSE 0 END FROM patient_links l WHERE l.";
    let sql = format!("{SQL}surviving = $1 UNION {SQL}retired = $1");
    let mut seen = BTreeSet::from([id.to_owned()]);
    let mut todo = vec![id.to_owned()];
    let mut all: BTreeMap<EventId, LinkRow> = BTreeMap::new();
    while let Some(next) = todo.pop() {
        for row in engine.query(&sql, &[next.into()]).await? {
            let l = link(&row)?;
            for other in [&l.link.surviving, &l.link.retired, &l.filed_under] {
                if seen.insert(other.clone()) {
                    todo.push(other.clone());
                }
            }
            all.insert(l.link.event_id, l);
        }
        if seen.len() > MAX_ALIASES {
            return Err(StoreError::Data(format!("a patient has more than {MAX_ALIASES} pseudonyms")));
        }
    }
    Ok((seen, all.into_values().collect()))
}

fn link(row: &Row) -> Result<LinkRow, StoreError> {
    let event_id = row.text(1).parse().map_err(|_| StoreError::Data("an event id that is no UUID".into()))?;
    Ok(LinkRow {
        filed_under: row.text(0).to_owned(),
        link: Link {
            event_id,
            occurred_at: Micros(row.int(2)),
            surviving: row.text(3).to_owned(),
            retired: row.text(4).to_owned(),
            merged: row.int(5) != 0,
        },
        retracted: row.int(6) != 0,
    })
}

/// All pseudonyms that any merge or unmerge, whether it still holds or not, ties to `patient`; itself included.
///
/// # Errors
/// Those of the database; more than [`MAX_ALIASES`].
pub async fn related(engine: &Engine, patient: &str) -> Result<BTreeSet<String>, StoreError> {
    Ok(links(engine, patient).await?.0)
}

/// Who `patient` is now: the surviving pseudonym and all those merged into it. For views that keep their rows by pseudonym.
///
/// # Errors
/// Those of the database; more than [`MAX_ALIASES`].
pub async fn identity(engine: &Engine, patient: &str) -> Result<Identity, StoreError> {
    let standing: Vec<Link> =
        links(engine, patient).await?.1.into_iter().filter(|l| !l.retracted).map(|l| l.link).collect();
    Ok(identity::resolve(&standing, patient))
}

/// `$1, $2 …` for these keys.
fn list(keys: &BTreeSet<String>) -> (String, Vec<Value>) {
    let marks: Vec<String> = (1..=keys.len()).map(|n| format!("${n}")).collect();
    (marks.join(", "), keys.iter().map(|k| k.as_str().into()).collect())
}

/// How much is stored of the patients.
///
/// # Errors
/// Those of the database.
pub async fn fingerprint(engine: &Engine, patients: &BTreeSet<String>) -> Result<Fingerprint, StoreError> {
    let (marks, args) = list(patients);
    let sql = format!(
        "SELECT patient_id, count(*), max(log_offset) FROM timeline_entries WHERE patient_id IN ({marks}) \
         GROUP BY patient_id ORDER BY patient_id"
    );
    let rows = engine.query(&sql, &args).await?;
    Ok(rows.iter().map(|r| (r.text(0).to_owned(), r.int(1), r.int(2))).collect())
}

/// All stored events of the patients, in no particular order.
///
/// # Errors
/// Those of the database; more than [`MAX_ENTRIES`].
pub async fn entries(engine: &Engine, patients: &BTreeSet<String>) -> Result<Vec<EntryRow>, StoreError> {
    let (marks, args) = list(patients);
    let sql = format!(
        "SELECT patient_id, partition, log_offset, event FROM timeline_entries WHERE patient_id IN ({marks}) LIMIT {}",
        MAX_ENTRIES + 1
    );
    let rows = engine.query(&sql, &args).await?;
    if rows.len() > MAX_ENTRIES {
        return Err(StoreError::Data(format!("a patient has more than {MAX_ENTRIES} events")));
    }
    let position = |v: i64| u64::try_from(v).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|r| EntryRow {
            patient_id: r.text(0).to_owned(),
            partition: u32::try_from(r.int(1)).unwrap_or_default(),
            offset: position(r.int(2)),
            event: r.text(3).to_owned(),
        })
        .collect())
}

/// The patients that have a journey of this name, or an event with this id.
///
/// # Errors
/// Those of the database.
pub async fn holders(engine: &Engine, id: &str) -> Result<BTreeSet<String>, StoreError> {
    let sql = "SELECT patient_id FROM timeline_entries WHERE journey_id = $1 \
               UNION SELECT patient_id FROM timeline_entries WHERE event_id = $1";
    let rows = engine.query(sql, &[id.into()]).await?;
    Ok(rows.iter().map(|r| r.text(0).to_owned()).collect())
}
