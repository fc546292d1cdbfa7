//! Verifies for ever, at a low rate, beside a running projector. It never repairs.

use super::{Finding, Progress, Report, Thoroughness, verify};
use crate::patient::Scope;
use crate::{Projection, ProjectorError};
use eventlog::Log;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{GenerationInfo, Store, StoreError, ViewSpec};
use tokio_util::sync::CancellationToken;

/// Records read per second, at most: whatever is read here, a projector could have read.
const RECORDS_PER_S: u64 = 500;
/// Bytes of records held at a time.
const BYTES: usize = 4 << 20;
/// Between two laps, and before trying again after an error.
const REST: Duration = Duration::from_secs(10);
/// Records that a view may be behind the log, at most: one that has to catch up is left alone.
const MOST_BEHIND: u64 = 10_000;

/// Compares the active generation of a view with the log, `keys_per_s` keys per second, until `cancel`. Says what it finds in
/// metrics (`projector_verified_keys_total`, `projector_drift_rows`) and in the log, by the keys' hashes. What fails is
/// logged and tried again: a check must not stop what it checks.
pub async fn watch<P: Projection>(
    spec: ViewSpec,
    make: impl Fn(&GenerationInfo) -> Result<P, StoreError> + Send,
    log: Arc<dyn Log>,
    store: Store,
    keys_per_s: f64,
    cancel: CancellationToken,
) {
    let mut drift = Drift { view: spec.name, lap: BTreeMap::new(), last: BTreeMap::new(), keys: 0 };
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(REST) => {}
        }
        // Dropped anywhere: a transaction that it is in is rolled back, and it writes nothing.
        let done = tokio::select! {
            () = cancel.cancelled() => return,
            done = lap(spec, &make, &log, &store, keys_per_s, &cancel, &mut drift) => done,
        };
        if let Err(e) = done {
            tracing::warn!(view.name = spec.name, error = %e, "the continuous check has to begin again");
        }
    }
}

async fn lap<P: Projection>(
    spec: ViewSpec,
    make: &(impl Fn(&GenerationInfo) -> Result<P, StoreError> + Send),
    log: &Arc<dyn Log>,
    store: &Store,
    keys_per_s: f64,
    cancel: &CancellationToken,
    drift: &mut Drift,
) -> Result<(), ProjectorError> {
    let Some(info) = store.generations(Some(spec.name)).await?.into_iter().find(|g| g.active && g.fits(spec)) else {
        return Ok(());
    };
    if store.paused_since(spec.name).await?.is_some() {
        return Ok(());
    }
    let at = store.checkpoints(spec.name, info.number).await?;
    let ends = log.bounds().await?;
    let behind =
        |c: &store::Checkpoint| ends.get(c.partition as usize).map_or(0, |b| b.1.saturating_sub(c.next_offset));
    if at.iter().map(behind).sum::<u64>() > MOST_BEHIND {
        return Ok(());
    }
    drift.keys = 0;
    let generation = store.generation(spec, info.number).await?;
    let view = make(&info)?;
    let scope = Scope { view: &view, generation: &generation, log, store };
    let how = Thoroughness {
        bytes: BYTES,
        keys_per_s: Some(keys_per_s),
        records_per_s: Some(RECORDS_PER_S),
        ..Thoroughness::default()
    };
    verify(&scope, how, cancel, |report| match report {
        Report::Progress(p) => drift.progress(p),
        Report::Finding(f) => drift.found(f),
    })
    .await?;
    if !cancel.is_cancelled() {
        drift.end();
    }
    Ok(())
}

/// Rows that were found to differ, by table: in this lap and in the one before.
struct Drift {
    view: &'static str,
    lap: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
    keys: u64,
}

impl Drift {
    fn progress(&mut self, p: &Progress) {
        let more = p.keys.saturating_sub(self.keys);
        metrics::counter!("projector_verified_keys_total", "view" => self.view).increment(more);
        self.keys = p.keys;
    }

    fn found(&mut self, f: &Finding) {
        for d in &f.differences {
            *self.lap.entry(d.table.clone()).or_default() += d.rows() as u64;
            tracing::warn!(
                view.name = self.view,
                key.hash = f.key_hash,
                table = d.table,
                rows.missing = d.missing,
                rows.extra = d.extra,
                rows.differing = d.differing,
                "the view differs from the log"
            );
        }
        self.show();
    }

    /// A gauge: what was put right is gone from it at the end of the lap after.
    fn show(&self) {
        for table in self.lap.keys().chain(self.last.keys()) {
            let rows = self.lap.get(table).max(self.last.get(table)).copied().unwrap_or_default();
            metrics::gauge!("projector_drift_rows", "view" => self.view, "table" => table.clone()).set(rows as f64);
        }
    }

    fn end(&mut self) {
        let before = std::mem::replace(&mut self.last, std::mem::take(&mut self.lap));
        for table in before.keys().filter(|t| !self.last.contains_key(*t)) {
            metrics::gauge!("projector_drift_rows", "view" => self.view, "table" => table.clone()).set(0.0);
        }
        self.keys = 0;
        self.show();
    }
}
