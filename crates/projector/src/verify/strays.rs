//! Rows of keys that the log doesn't have.

use super::{Finding, Lap, Report, in_sample};
use crate::patient::sources::{Gathered, Which};
use crate::patient::{Difference, tables};
use crate::{Projection, ProjectorError};
use domain::table::Value;
use std::collections::{BTreeMap, HashSet};
use store::key_number;

/// Keys in one read of a table.
const PAGE: usize = 5_000;
/// Suspects that are looked into together: each time takes a pass over parts of the log.
const TOGETHER: usize = 10_000;

impl<P: Projection, R: FnMut(Report<'_>) + Send> Lap<'_, P, R> {
    /// Goes through the keys of every table; one that no record made is looked into with its partition held.
    pub(super) async fn strays(&mut self) -> Result<(), ProjectorError> {
        self.catch_up().await?;
        let mut suspects: HashSet<String> = HashSet::new();
        for (name, target) in tables(self.scope.generation) {
            let column = target.columns[0].0;
            let mut after: Option<String> = None;
            loop {
                let more = if after.is_some() { ">" } else { ">=" };
                let sql = format!(
                    "SELECT DISTINCT \"{column}\" FROM \"{}\" WHERE \"{column}\" {more} $1 ORDER BY \"{column}\" LIMIT {PAGE}",
                    target.table
                );
                let args = [Value::Text(after.take().unwrap_or_default())];
                let rows = self.scope.store.engine().query(&sql, &args).await?;
                for row in &rows {
                    let key = self.scope.view.record_key(row.text(0));
                    if in_sample(key, self.how.sample) && !self.seen.contains(&key_number(row.text(0).as_bytes())) {
                        suspects.insert(key.to_owned());
                    }
                }
                if suspects.len() >= TOGETHER {
                    self.look_into(std::mem::take(&mut suspects)).await?;
                }
                after = rows.last().filter(|_| rows.len() == PAGE).map(|r| r.text(0).to_owned());
                if after.is_none() || self.cancel.is_cancelled() {
                    break;
                }
            }
            self.keyless(&name, target.table, column).await?;
        }
        self.look_into(suspects).await
    }

    /// Notes the keys that have come since a partition was read.
    async fn catch_up(&mut self) -> Result<(), ProjectorError> {
        for (partition, from) in self.read.clone() {
            let Some(at) = self.checkpoint(partition).await? else { continue };
            let which = Which::Range { first: 0, last: u64::MAX, sample: self.how.sample };
            let mut late = Gathered::new(self.scope.log, partition, from, which, usize::MAX);
            self.progress.records += late.extend(at.next_offset).await?;
            self.seen.extend(late.keys.keys().map(|key| key_number(key)));
        }
        Ok(())
    }

    async fn look_into(&mut self, suspects: HashSet<String>) -> Result<(), ProjectorError> {
        // Of a key that no record had when its partition was read, only what came since is to be read.
        let mut places: BTreeMap<(u32, u64), HashSet<Vec<u8>>> = BTreeMap::new();
        for key in suspects {
            let partition = eventlog::partition_of(key.as_bytes(), self.scope.log.partitions());
            let known = self.seen.contains(&key_number(key.as_bytes()));
            let from = if known { 0 } else { self.read.get(&partition).copied().unwrap_or(0) };
            places.entry((partition, from)).or_default().insert(key.into_bytes());
        }
        for ((partition, from), keys) in places {
            let mut gathered = Gathered::new(self.scope.log, partition, from, Which::Keys(keys.clone()), usize::MAX);
            if let Some(at) = self.checkpoint(partition).await? {
                self.progress.records += gathered.extend(at.next_offset).await?;
            }
            for key in keys {
                self.held(&mut gathered, partition, &key).await?;
            }
        }
        Ok(())
    }

    /// Rows without a key belong to nobody.
    async fn keyless(&mut self, name: &str, table: &str, column: &str) -> Result<(), ProjectorError> {
        let engine = self.scope.store.engine();
        let rows = engine.query(&format!("SELECT count(*) FROM \"{table}\" WHERE \"{column}\" IS NULL"), &[]).await?;
        let extra = rows.first().map_or(0, |r| usize::try_from(r.int(0)).unwrap_or_default());
        if extra == 0 {
            return Ok(());
        }
        if self.how.repair {
            engine.execute(&format!("DELETE FROM \"{table}\" WHERE \"{column}\" IS NULL"), &[]).await?;
        }
        let differences = vec![Difference { table: name.into(), missing: 0, extra, differing: 0, columns: Vec::new() }];
        self.found(Finding { partition: None, key_hash: String::new(), differences, repaired: self.how.repair });
        Ok(())
    }
}
