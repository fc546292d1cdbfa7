//! How long a rebuild will take, from a small part of the log.

use super::fold;
use crate::{Projection, ProjectorError};
use eventlog::Log;
use futures::StreamExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Durability, Store, Target};

/// Records that are tried, at most.
const RECORDS: usize = 20_000;
/// How long is read for them, at most.
const READ: Duration = Duration::from_millis(500);

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Events that were tried.
    pub events: usize,
    /// Their bytes in the log: keys and values.
    pub bytes: usize,
    /// How long they took, by one worker.
    pub took: Duration,
}

/// Reads some records of the longest partition, folds them, and writes their rows into tables that are taken back at once.
///
/// # Errors
/// Those of the log and the database.
pub async fn sample<P: Projection>(
    view: &Arc<P>,
    log: &Arc<dyn Log>,
    store: &Store,
    bounds: &[(u64, u64)],
) -> Result<Sample, ProjectorError> {
    let longest = bounds.iter().enumerate().max_by_key(|(_, (from, to))| to - from);
    let Some((partition, &(from, to))) = longest else { return Ok(Sample::default()) };
    let partition = u32::try_from(partition).unwrap_or_default();
    let begun = Instant::now();
    let mut records = Vec::new();
    let mut scan = log.scan(partition, from, to);
    while records.len() < RECORDS && begun.elapsed() < READ {
        match scan.next().await {
            Some(batch) => records.extend(batch?),
            None => break,
        }
    }
    drop(scan);
    records.truncate(RECORDS);
    let events = records.len();
    let bytes = records.iter().map(|r| r.key.len() + r.value.len()).sum();
    let (view, engine) = (view.clone(), store.engine().clone());
    let (spec, partitions) = (view.spec(), log.partitions());
    let bulks = tokio::task::spawn_blocking(move || {
        let outcomes: Vec<_> = fold::decode(&*view, partitions, &records).collect();
        let (built, _) = fold::build(&*view, &records, outcomes);
        let columns = spec.tables.iter().map(|t| t.columns).chain([store::STATE]);
        let rows = built.tables.into_iter().chain([built.states]);
        columns.zip(rows).map(|(c, rows)| (c, engine.bulk(c, rows))).collect::<Vec<_>>()
    });
    let bulks = bulks.await.map_err(|_| ProjectorError::Panicked)?;
    let mut tx = store.begin(Durability::FromLog).await?;
    for (i, (columns, rows)) in bulks.iter().enumerate() {
        let table = format!("rebuild_sample_{}_{i}", std::process::id());
        let list = columns.iter().map(|(c, t)| format!("\"{c}\" {}", store.engine().type_name(*t)));
        let list = list.collect::<Vec<_>>().join(", ");
        tx.execute(&format!("CREATE TABLE {table} ({list})"), &[]).await?;
        tx.load(Target { table: &table, columns, key: 1 }, rows).await?;
    }
    tx.rollback().await?;
    Ok(Sample { events, bytes, took: begun.elapsed() })
}
