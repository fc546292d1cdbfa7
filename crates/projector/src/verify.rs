//! Folds the log again and compares with the rows: all keys or a sample, once or for ever at a low rate.
//!
//! Keys are compared without locks, as many as fit into the memory at a time; whatever looks wrong is checked again with its
//! partition held, and only what is wrong then is reported.

mod compare;
mod strays;
mod watch;

pub use watch::watch;

use crate::patient::gathered::{Gathered, Which, beginnings, sampled};
use crate::patient::reader::Reader;
use crate::patient::{Difference, Scope};
use crate::start::begun;
use crate::{Projection, ProjectorError};
use compare::Suspicious;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};
use store::{Checkpoint, Durability, key_number};
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
}

/// Whether a sample takes a key.
fn in_sample(key: &str, sample: f64) -> bool {
    sampled(key_number(key.as_bytes()), sample)
}
