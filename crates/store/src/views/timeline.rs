//! Reading `timeline_entries` and `patient_links`.

use crate::{Engine, StoreError, Tx};
use domain::table::Value;
use domain::views::timeline::identity::{self, Identity};
use domain::views::timeline::{Stored, assemble};
use std::collections::BTreeSet;

/// Most pseudonyms that one patient may have had.
pub const MAX_ALIASES: usize = 1_000;
/// Most events of one patient that are put together into a timeline.
pub const MAX_ENTRIES: usize = 200_000;

/// By pseudonym how many events are stored and the last one's offset, which generation readers see, and how often the view was
/// put right: changes with every event, with another generation, with every repair, and with nothing else.
pub type Fingerprint = Vec<(String, [i64; 4])>;

/// All pseudonyms that any merge or unmerge, whether it still holds or not, ties to `patient`; itself included.
///
/// # Errors
/// Those of the database; more than [`MAX_ALIASES`].
pub async fn related(engine: &Engine, patient: &str) -> Result<BTreeSet<String>, StoreError> {
    // One branch per index: an OR over columns is not reliably planned as such.
    let sql = "SELECT patient_id, surviving, retired FROM patient_links WHERE surviving = $1 \
               UNION SELECT patient_id, surviving, retired FROM patient_links WHERE retired = $1";
    let mut seen = BTreeSet::from([patient.to_owned()]);
    let mut todo = vec![patient.to_owned()];
    while let Some(next) = todo.pop() {
        for row in engine.query(sql, &[next.into()]).await? {
            let others = [row.text(0), row.text(1), row.text(2)].map(str::to_owned);
            todo.extend(others.into_iter().filter(|o| seen.insert(o.clone())));
        }
        if seen.len() > MAX_ALIASES {
            return Err(StoreError::Data(format!("a patient has more than {MAX_ALIASES} pseudonyms")));
        }
    }
    Ok(seen)
}

/// Who `patient` is now: the surviving pseudonym and all those merged into it. For views that keep their rows by pseudonym.
///
/// # Errors
/// Those of the database; more than [`MAX_ALIASES`].
pub async fn identity(engine: &Engine, patient: &str) -> Result<Identity, StoreError> {
    let related = related(engine, patient).await?;
    if related.len() == 1 {
        return Ok(identity::resolve(&[], patient));
    }
    let kinds = "AND kind IN ('PatientsMerged', 'PatientsUnmerged', 'PatientIdentifiersChanged', 'EventCorrected', \
                 'EventRetracted')";
    let links = assemble::links(read(engine, &related, kinds).await?);
    Ok(identity::resolve(&links, patient))
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
        "SELECT patient_id, count(*), max(log_offset), \
         (SELECT max(generation) FROM generations WHERE view = 'timeline' AND active = 1), \
         (SELECT CAST(sum(repairs) AS bigint) FROM generations WHERE view = 'timeline') \
         FROM timeline_entries WHERE patient_id IN ({marks}) \
         GROUP BY patient_id ORDER BY patient_id"
    );
    let rows = engine.query(&sql, &args).await?;
    Ok(rows.iter().map(|r| (r.text(0).to_owned(), [1, 2, 3, 4].map(|n| r.int(n)))).collect())
}

/// All stored events of the patients, in no particular order.
///
/// # Errors
/// Those of the database; more than [`MAX_ENTRIES`]; an event that can't be read.
pub async fn entries(engine: &Engine, patients: &BTreeSet<String>) -> Result<Vec<Stored>, StoreError> {
    read(engine, patients, "").await
}

async fn read(engine: &Engine, patients: &BTreeSet<String>, which: &str) -> Result<Vec<Stored>, StoreError> {
    let (marks, args) = list(patients);
    let sql = format!(
        "SELECT patient_id, partition, log_offset, event FROM timeline_entries WHERE patient_id IN ({marks}) {which} \
         LIMIT {}",
        MAX_ENTRIES + 1
    );
    let rows = engine.query(&sql, &args).await?;
    if rows.len() > MAX_ENTRIES {
        return Err(StoreError::Data(format!("a patient has more than {MAX_ENTRIES} events")));
    }
    rows.iter()
        .map(|r| {
            let partition = u32::try_from(r.int(1)).unwrap_or_default();
            let offset = u64::try_from(r.int(2)).unwrap_or_default();
            Stored::read(r.text(0).to_owned(), partition, offset, r.text(3))
                .ok_or_else(|| StoreError::Data(format!("the event at {partition}:{offset} can't be read")))
        })
        .collect()
}

/// Where the log has the events of a patient: partition, offset and id of each.
///
/// # Errors
/// Those of the database.
pub async fn positions(tx: &mut Tx, patient: &str) -> Result<Vec<(i64, u64, String)>, StoreError> {
    let sql = "SELECT partition, log_offset, event_id FROM timeline_entries WHERE patient_id = $1";
    let rows = tx.query(sql, &[patient.into()]).await?;
    let offset = |r: &crate::Row| u64::try_from(r.int(1)).unwrap_or(u64::MAX);
    Ok(rows.iter().map(|r| (r.int(0), offset(r), r.text(2).to_owned())).collect())
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
