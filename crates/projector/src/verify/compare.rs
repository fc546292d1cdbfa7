//! Compares keys with their rows: without a lock, and what seems to differ again with its partition held.

use super::{Finding, Lap, Report};
use crate::patient::gathered::Gathered;
use crate::patient::{by_record_key, check, difference, key_of, must, tables, text_of};
use crate::{Projection, ProjectorError};
use domain::table::Row;
use std::collections::BTreeSet;
use store::{key_hash, key_number};

/// What is to be looked at with care.
pub(super) struct Suspicious {
    pub(super) letters: BTreeSet<u64>,
    pub(super) parked: BTreeSet<Vec<u8>>,
}

impl<P: Projection, R: FnMut(Report<'_>) + Send> Lap<'_, P, R> {
    /// Compares some keys; those that seem to differ again, with the partition held.
    pub(super) async fn keys(
        &mut self,
        gathered: &mut Gathered,
        partition: u32,
        keys: &[Vec<u8>],
        suspicious: &Suspicious,
    ) -> Result<(), ProjectorError> {
        if let Some(at) = self.checkpoint(partition).await? {
            if !self.extend(gathered, at.next_offset).await? {
                return Ok(());
            }
            for key in self.differing(gathered, partition, at.next_offset, keys, suspicious).await? {
                self.held(gathered, partition, &key).await?;
            }
            self.progress.keys += keys.len() as u64;
        }
        Ok(())
    }

    /// Checks a key with its partition held, and reports it if it differs. What has come meanwhile is read before, so that
    /// little is left to read while others wait.
    pub(super) async fn held(&mut self, from: &mut Gathered, partition: u32, key: &[u8]) -> Result<(), ProjectorError> {
        let differences = loop {
            let to = self.checkpoint(partition).await?.map_or(0, |at| at.next_offset);
            if !self.extend(from, to).await? {
                return Ok(());
            }
            if let Some(checked) = check(self.scope, partition, key, from, self.how.repair).await? {
                break checked.differences;
            }
            if self.how.records_per_s.is_some() {
                // At this rate it may never catch up. The next time all keys are compared, this one is among them.
                let name = self.scope.generation.view;
                tracing::info!(
                    view.name = name,
                    key.hash = key_hash(key),
                    "a key is passed over: the view goes on too fast"
                );
                return Ok(());
            }
        };
        if !differences.is_empty() {
            let repaired = self.how.repair;
            self.found(Finding { partition: Some(partition), key_hash: key_hash(key), differences, repaired });
        }
        Ok(())
    }

    pub(super) fn found(&mut self, finding: Finding) {
        self.progress.findings += 1;
        (self.report)(Report::Finding(&finding));
    }

    /// The keys that seem to differ; all that they make is noted as seen.
    async fn differing(
        &mut self,
        gathered: &Gathered,
        partition: u32,
        next: u64,
        keys: &[Vec<u8>],
        suspicious: &Suspicious,
    ) -> Result<Vec<Vec<u8>>, ProjectorError> {
        let view = self.scope.view;
        let (mut musts, mut differing) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        let partitions = self.scope.log.partitions();
        for key in keys {
            let all = gathered.keys.get(key).map(Vec::as_slice).unwrap_or_default();
            let records = &all[..all.partition_point(|r| r.position.offset < next)];
            let must = must(view, partitions, records, &suspicious.letters);
            let text = text_of(key, partition, partitions);
            if let Some(text) = text {
                self.seen.insert(key_number(key));
                wanted.insert(text.to_owned());
            }
            for row in must.rows.iter().flatten() {
                self.seen.insert(key_number(key_of(row).as_bytes()));
                wanted.insert(key_of(row).to_owned());
            }
            let sure = must.lost.is_empty()
                && !suspicious.parked.contains(key)
                && !records.iter().any(|r| suspicious.letters.contains(&r.position.offset));
            musts.push((key, text, must, sure));
            tokio::task::yield_now().await;
        }
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let mut is: Vec<Vec<Row>> = Vec::new();
        for (_, target) in tables(self.scope.generation) {
            is.push(self.scope.store.engine().select(target, &wanted).await?.into_iter().map(|r| r.0).collect());
        }
        let mut is = by_record_key(view, is);
        for (key, text, must, sure) in musts {
            let is = text.and_then(|text| is.remove(text)).unwrap_or_else(|| vec![Vec::new(); must.rows.len()]);
            let targets = tables(self.scope.generation);
            let same = targets
                .iter()
                .zip(must.rows)
                .zip(is)
                .all(|(((name, target), must), is)| difference(view, name, *target, must, is).is_none());
            if !(same && sure) {
                differing.push(key.clone());
            }
        }
        Ok(differing)
    }
}
