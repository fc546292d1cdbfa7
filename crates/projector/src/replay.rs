//! One patient, put right in milliseconds: by the positions that the timeline keeps, or by reading the whole partition.

use crate::patient::gathered::{Gathered, Which, beginnings};
use crate::patient::known::Known;
use crate::patient::reader::Reader;
use crate::patient::{Checked, Scope, check, must, rows_of, text_of};
use crate::start::begun;
use crate::{Projection, ProjectorError};
use domain::table::Value;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use store::Durability;

/// What a replay of one key did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// What it saw, and changed if asked to.
    pub checked: Checked,
    /// Whether the whole partition was read.
    pub scanned: bool,
    /// Reads of the log, where it was not.
    pub reads: usize,
    /// How long it took.
    pub took: Duration,
}

/// Folds one key again and compares; puts its rows right if `apply`. `scan` reads the whole partition; without it that is
/// done only where the timeline's positions can't be trusted: where one does not give its event, or where the view knows
/// events that the timeline does not. A row that the timeline itself has lost takes a scan.
///
/// # Errors
/// Those of the store and the log; when the log no longer has its beginning, for a scan.
pub async fn replay<P: Projection>(
    scope: &Scope<'_, P>,
    key: &[u8],
    apply: bool,
    scan: bool,
) -> Result<Replayed, ProjectorError> {
    let since = Instant::now();
    begun(scope.store, scope.log.as_ref(), scope.generation).await?;
    let partition = eventlog::partition_of(key, scope.log.partitions());
    let mut reads = 0;
    if !scan {
        let mut known = Known::new(scope.log, partition);
        known.prepare(scope, key).await?;
        let trusted = known.sound && knows_all(scope, &known.all(), key).await?;
        if trusted {
            let mut checked = check(scope, partition, key, &mut known, false).await?;
            // Nothing is changed before it is known, with the partition held, that the positions are right.
            let right = known.sound && knows_all(scope, &known.all(), key).await?;
            if right {
                if apply && checked.as_ref().is_some_and(|c| !c.differences.is_empty()) {
                    checked = check(scope, partition, key, &mut known, true).await?;
                }
                if let Some(checked) = checked.filter(|_| known.sound) {
                    return Ok(Replayed { checked, scanned: false, reads: known.reads, took: since.elapsed() });
                }
            }
        }
        reads = known.reads;
    }
    beginnings(scope.log).await?;
    let keys = Which::Keys(HashSet::from([key.to_vec()]));
    let mut gathered = Gathered::new(Reader::new(scope.log, partition, 0), partition, keys, usize::MAX);
    let checked = loop {
        let all = scope.store.checkpoints(scope.generation.view, scope.generation.number).await?;
        if let Some(c) = all.iter().find(|c| c.partition == partition) {
            gathered.extend(c.next_offset).await?;
            gathered.same_log(c.next_offset, c.last_hash)?;
        }
        // Once more where the view has gone on too far meanwhile: what is left to read becomes less each time.
        if let Some(checked) = check(scope, partition, key, &mut gathered, apply).await? {
            break checked;
        }
    };
    Ok(Replayed { checked, scanned: true, reads, took: since.elapsed() })
}

/// Whether the records have every event that the stored states know: a timeline that lost a row must not cost other views
/// theirs.
async fn knows_all<P: Projection>(
    scope: &Scope<'_, P>,
    records: &[eventlog::Record],
    key: &[u8],
) -> Result<bool, ProjectorError> {
    if !scope.view.spec().state {
        return Ok(true);
    }
    let state = |row: &domain::table::Row| match row.get(2) {
        Some(Value::Bytes(state)) => state.clone(),
        _ => Vec::new(),
    };
    let partitions = scope.log.partitions();
    let partition = eventlog::partition_of(key, partitions);
    let mut tx = scope.store.begin(Durability::FromLog).await?;
    let text = text_of(key, partition, partitions);
    let is = rows_of(scope.view, scope.generation, &mut tx, text).await?.pop().unwrap_or_default();
    let letters = tx.letter_offsets(scope.generation, partition, key).await?;
    tx.rollback().await?;
    let must = must(scope.view, partitions, records, &letters).rows.pop().unwrap_or_default();
    let has = |is: &domain::table::Row| {
        must.iter().find(|m| m[0] == is[0]).is_some_and(|m| scope.view.has_all(&state(m), &state(is)))
    };
    Ok(is.iter().all(has))
}
