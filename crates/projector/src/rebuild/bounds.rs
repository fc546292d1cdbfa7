//! What of the log a rebuild folds, and the checkpoints where it ends.

use super::patiently;
use crate::ProjectorError;
use eventlog::Log;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Advance, Slice};
use tokio_util::sync::CancellationToken;

/// What there is to fold: the bounds of the log now.
///
/// # Errors
/// When the log has lost its beginning, of which no view can be rebuilt; and those of the log.
pub async fn bounds(log: &dyn Log) -> Result<Vec<(u64, u64)>, ProjectorError> {
    let bounds = log.bounds().await?;
    match bounds.iter().enumerate().find(|(_, (first, _))| *first > 0) {
        Some((p, (first, _))) => {
            Err(ProjectorError::Incomplete(format!("has lost partition {p} before offset {first}")))
        }
        None => Ok(bounds),
    }
}

/// The checkpoints of all partitions once the slices are folded.
pub(super) async fn ends(
    log: &dyn Log,
    slices: &[Slice],
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Vec<Advance>, ProjectorError> {
    let ends: BTreeMap<u32, u64> = slices.iter().map(|s| (s.partition, s.to)).collect();
    let mut checkpoints = Vec::new();
    for partition in 0..log.partitions() {
        let next = ends.get(&partition).copied().unwrap_or(0);
        checkpoints.push(patiently(patience, cancel, || checkpoint(log, partition, next)).await?);
    }
    Ok(checkpoints)
}

/// Refuses a log that has not all that is to be folded.
pub(super) async fn has(log: &dyn Log, slices: &[Slice]) -> Result<(), ProjectorError> {
    let bounds = log.bounds().await?;
    for s in slices {
        let (first, end) = bounds.get(s.partition as usize).copied().unwrap_or_default();
        if first > s.from || end < s.to {
            let (p, from, to) = (s.partition, s.from, s.to);
            let what = format!("has offsets {first} to {end} of partition {p}, not {from} to {to}: another log?");
            return Err(ProjectorError::Incomplete(what));
        }
    }
    Ok(())
}

/// The checkpoint of a partition whose records before `next` have been folded.
async fn checkpoint(log: &dyn Log, partition: u32, next: u64) -> Result<Advance, ProjectorError> {
    let last = match next.checked_sub(1) {
        Some(at) => log.read(partition, at, 1).await?.into_iter().find(|r| r.position.offset == at),
        None => None,
    };
    let (appended_ms, last_hash) = last.map_or((0, 0), |r| (r.appended_ms, store::record_hash(&r.key, &r.value)));
    Ok(Advance { partition, expected: 0, next, appended_ms, last_hash })
}
