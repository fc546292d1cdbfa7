//! Rows of keys that the log doesn't have.

use super::{Finding, Lap, Report, in_sample};
use crate::patient::gathered::{Gathered, Which, sampled};
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
        if self.cancel.is_cancelled() {
            return Ok(());
        }
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

    /// Notes the keys that have come since a partition was read: their numbers only, page by page.
    async fn catch_up(&mut self) -> Result<(), ProjectorError> {
        for (partition, from) in self.read.clone() {
            let Some(at) = self.checkpoint(partition).await? else { continue };
            let mut reader = self.reader(partition, from);
            loop {
                let page = tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => return Ok(()),
                    page = reader.page(at.next_offset) => page?,
                };
                let Some(records) = page else { break };
                self.progress.records += records.len() as u64;
                let partitions = self.scope.log.partitions();
                let own = records.iter().filter(|r| eventlog::partition_of(&r.key, partitions) == partition);
                let numbers = own.map(|r| key_number(&r.key));
                self.seen.extend(numbers.filter(|n| sampled(*n, self.how.sample)));
            }
            self.next_read = reader.due;
            self.read.insert(partition, reader.next);
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
        for ((partition, from), mut keys) in places {
            // As many times as the memory asks for.
            while !keys.is_empty() {
                let which = Which::Keys(keys.clone());
                let mut gathered = Gathered::new(self.reader(partition, from), partition, which, self.how.bytes);
                if let Some(at) = self.checkpoint(partition).await?
                    && !self.extend(&mut gathered, at.next_offset).await?
                {
                    return Ok(());
                }
                gathered.settle();
                let left = std::mem::take(&mut gathered.left);
                for key in keys.difference(&left) {
                    if self.cancel.is_cancelled() {
                        return Ok(());
                    }
                    self.held(&mut gathered, partition, key).await?;
                    gathered.forget(key);
                    self.pace(1).await;
                }
                keys = left;
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
