//! What a check of a view finds, and what its tables hold.

use super::{MemoryLog, Shared};
use eventlog::Log;
use journeylog_projector::{Finding, Projection, Report, Scope, Thoroughness, verify};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Store, ViewSpec};
use tokio_util::sync::CancellationToken;

/// Everything, as fast as it goes.
pub const ALL: Thoroughness =
    Thoroughness { sample: 1.0, repair: false, bytes: 64 << 20, keys_per_s: None, records_per_s: None };

/// Verifies a view's first generation; what differs, by table.
pub async fn verified<P: Projection>(
    view: &P,
    log: &Arc<MemoryLog>,
    store: &Store,
    how: Thoroughness,
) -> (u64, BTreeMap<String, [usize; 3]>) {
    let generation = store.generation(view.spec(), 1).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(Shared(log.clone()));
    let scope = Scope { view, generation: &generation, log: &log, store };
    let (mut found, cancel) = (Vec::<Finding>::new(), CancellationToken::new());
    let done = verify(&scope, how, &cancel, |report| {
        if let Report::Finding(f) = report {
            found.push(f.clone());
        }
    });
    let done = done.await.unwrap();
    assert_eq!(done.findings, found.len() as u64);
    let mut tables: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for d in found.iter().flat_map(|f| &f.differences) {
        let sum = tables.entry(d.table.clone()).or_default();
        sum[0] += d.missing;
        sum[1] += d.extra;
        sum[2] += d.differing;
    }
    (done.keys, tables)
}

/// Every row of every table, states too, in the order of the keys.
pub async fn dump(store: &Store, spec: ViewSpec) -> Vec<Vec<String>> {
    let generation = store.generation(spec, 1).await.unwrap();
    let targets = (0..spec.tables.len()).map(|i| generation.target(i)).chain(generation.state());
    let mut all = Vec::new();
    for t in targets {
        let columns: Vec<&str> = t.columns.iter().map(|c| c.0).collect();
        let rows = store.engine().query(&format!("SELECT {} FROM {}", columns.join(", "), t.table), &[]).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|r| format!("{:?}", r.0)).collect();
        rows.sort();
        all.push(rows);
    }
    all
}

pub async fn execute(store: &Store, sql: &str) -> u64 {
    store.engine().execute(sql, &[]).await.unwrap()
}
