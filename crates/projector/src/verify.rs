//! Folds the log again and compares with the rows: all keys or a sample, once or for ever at a low rate.
//!
//! Keys are compared without locks, as many as fit into the memory at a time; whatever looks wrong is checked again with its
//! partition held, and only what is wrong then is reported.

mod strays;
mod watch;

pub use watch::watch;

use crate::patient::gathered::{Gathered, Which, beginnings, sampled};
use crate::patient::reader::Reader;
use crate::patient::{Difference, Scope, by_record_key, check, difference, key_of, must, tables, text_of};
use crate::start::begun;
use crate::{Projection, ProjectorError};
use domain::table::Row;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};
use store::{Checkpoint, Durability, key_hash, key_number};
use tokio_util::sync::CancellationToken;

/// Keys that are compared together.
const TOGETHER: usize = 100;

/// How thoroughly to verify.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thoroughness {
    /// Share of the keys, above 0, up to 1.
    pub sample: f64,
    /// Whether to put right what is wrong.
    pub repair: bool,
    /// Bytes of records that are held at a time, at most. Less memory takes more passes over the log.
    pub bytes: usize,
    /// Keys per second, at most.
    pub keys_per_s: Option<f64>,
    /// Records read from the log per second, at most.
    pub records_per_s: Option<u64>,
}

impl Default for Thoroughness {
    fn default() -> Self {
        Self { sample: 1.0, repair: false, bytes: 64 << 20, keys_per_s: None, records_per_s: None }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Share of the work, 0 to 1.
    pub done: f64,
    /// Records read, each as often as it was.
    pub records: u64,
    /// Keys compared.
    pub keys: u64,
    /// Keys with differences.
    pub findings: u64,
}

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Partition of its records; nothing for rows without a key.
    pub partition: Option<u32>,
    /// Hash of the key.
    pub key_hash: String,
    /// How it differs.
    pub differences: Vec<Difference>,
    /// Whether it was put right.
    pub repaired: bool,
}

/// What is reported on the way.
#[derive(Debug)]
pub enum Report<'a> {
    /// Every now and then.
    Progress(&'a Progress),
    /// A key that differs.
    Finding(&'a Finding),
}

/// Compares a generation with the log, up to where its checkpoints are. Once cancelled, it ends early, well and with a share
/// that is less than the whole.
///
/// # Errors
/// Those of the store and the log; when the log no longer has its beginning, or is another one.
pub async fn verify<P: Projection>(
    scope: &Scope<'_, P>,
    how: Thoroughness,
    cancel: &CancellationToken,
    report: impl FnMut(Report<'_>) + Send,
) -> Result<Progress, ProjectorError> {
    beginnings(scope.log).await?;
    begun(scope.store, scope.log.as_ref(), scope.generation).await?;
    let mut lap = Lap {
        scope,
        how,
        cancel,
        report,
        progress: Progress::default(),
        seen: HashSet::new(),
        read: BTreeMap::new(),
        next_key: Instant::now(),
        next_read: Instant::now(),
    };
    let partitions = scope.log.partitions();
    for partition in 0..partitions {
        lap.partition(partition, partitions as usize).await?;
    }
    if !cancel.is_cancelled() {
        lap.strays().await?;
    }
    if !cancel.is_cancelled() {
        lap.progress.done = 1.0;
    }
    Ok(lap.progress)
}

/// One verification.
struct Lap<'a, P, R> {
    scope: &'a Scope<'a, P>,
    how: Thoroughness,
    cancel: &'a CancellationToken,
    report: R,
    progress: Progress,
    /// Numbers of all keys that records and rows of them lie under: 8 bytes each, besides the set's own.
    seen: HashSet<u64>,
    /// By partition: records below this have been read for `seen`.
    read: BTreeMap<u32, u64>,
    /// When the next key may be compared.
    next_key: Instant,
    /// When the next records may be read.
    next_read: Instant,
}

impl<P: Projection, R: FnMut(Report<'_>) + Send> Lap<'_, P, R> {
    async fn checkpoint(&self, partition: u32) -> Result<Option<Checkpoint>, ProjectorError> {
        let all = self.scope.store.checkpoints(self.scope.generation.view, self.scope.generation.number).await?;
        Ok(all.into_iter().find(|c| c.partition == partition))
    }

    /// All keys of a partition, in as many passes as the memory asks for.
    async fn partition(&mut self, partition: u32, partitions: usize) -> Result<(), ProjectorError> {
        let mut first = 0;
        loop {
            let Some(at) = self.checkpoint(partition).await? else { return Ok(()) };
            let which = Which::Range { first, last: u64::MAX, sample: self.how.sample };
            let mut gathered = Gathered::new(self.reader(partition, 0), partition, which, self.how.bytes);
            if !self.extend(&mut gathered, at.next_offset).await? {
                return Ok(());
            }
            gathered.same_log(at.next_offset, at.last_hash)?;
            let end = gathered.settle();
            let read = self.read.entry(partition).or_insert(gathered.next());
            *read = (*read).min(gathered.next());
            let suspects = self.suspicious(partition).await?;
            let keys: Vec<Vec<u8>> = gathered.keys.keys().cloned().collect();
            for together in keys.chunks(self.together()) {
                if self.cancel.is_cancelled() {
                    return Ok(());
                }
                self.keys(&mut gathered, partition, together, &suspects).await?;
                for key in together {
                    gathered.forget(key);
                }
                let share = end as f64 / u64::MAX as f64;
                self.progress.done = (f64::from(partition) + share) / partitions as f64 * 0.95;
                (self.report)(Report::Progress(&self.progress));
                self.pace(together.len()).await;
            }
            match end.checked_add(1) {
                Some(next) => first = next,
                None => return Ok(()),
            }
        }
    }

    fn reader(&self, partition: u32, from: u64) -> Reader {
        Reader::new(self.scope.log, partition, from).paced(self.how.records_per_s, self.next_read)
    }

    /// Reads on; `false` where it was cancelled on the way.
    async fn extend(&mut self, gathered: &mut Gathered, to: u64) -> Result<bool, ProjectorError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Ok(false),
            count = gathered.extend(to) => {
                self.progress.records += count?;
                self.next_read = gathered.due();
                Ok(true)
            }
        }
    }

    fn together(&self) -> usize {
        if self.how.keys_per_s.is_some() { 1 } else { TOGETHER }
    }

    /// Waits until the next key may be compared.
    async fn pace(&mut self, keys: usize) {
        let Some(rate) = self.how.keys_per_s else { return };
        self.next_key = self.next_key.max(Instant::now()) + Duration::from_secs_f64(keys as f64 / rate.max(1e-6));
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = tokio::time::sleep_until(self.next_key.into()) => {}
        }
    }

    /// What is to be looked at with care: offsets of letters, and parked keys.
    async fn suspicious(&self, partition: u32) -> Result<Suspicious, ProjectorError> {
        let letters = self.scope.store.letter_offsets(self.scope.generation, partition).await?;
        let mut tx = self.scope.store.begin(Durability::FromLog).await?;
        let parked = tx.parked(self.scope.generation, partition).await?;
        tx.rollback().await?;
        Ok(Suspicious { letters, parked })
    }

    /// Compares some keys; those that seem to differ again, with the partition held.
    async fn keys(
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
    async fn held(&mut self, from: &mut Gathered, partition: u32, key: &[u8]) -> Result<(), ProjectorError> {
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

    fn found(&mut self, finding: Finding) {
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

/// What is to be looked at with care.
struct Suspicious {
    letters: BTreeSet<u64>,
    parked: BTreeSet<Vec<u8>>,
}

/// Whether a sample takes a key.
fn in_sample(key: &str, sample: f64) -> bool {
    sampled(key_number(key.as_bytes()), sample)
}
