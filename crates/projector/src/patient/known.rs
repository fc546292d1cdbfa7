//! Records of one key, read where the timeline says that they lie.

use super::reader::PAGE;
use super::{Scope, Source};
use crate::prepare::decoded;
use crate::{Projection, ProjectorError};
use eventlog::{Log, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::Tx;

/// Records between two of a patient that are read along rather than skipped: one read costs about as much as these.
const GAP: u64 = 1_000;

/// Records of one key, found by the positions that the timeline keeps.
pub struct Known {
    log: Arc<dyn Log>,
    partition: u32,
    records: BTreeMap<u64, Record>,
    asked: BTreeSet<u64>,
    /// From where on everything was read, and up to where.
    tail: Option<(u64, u64)>,
    /// Whether each position gave the event that it is said to.
    pub sound: bool,
    /// Reads of the log.
    pub reads: usize,
}

/// What the timeline knows of a key.
struct Wanted {
    /// By offset; the event's id where it is known.
    positions: BTreeMap<u64, Option<String>>,
    /// The timeline's checkpoint: it knows nothing from here on.
    upto: u64,
    /// Whether all is in one partition.
    sound: bool,
}

impl Known {
    /// Nothing yet.
    pub fn new(log: &Arc<dyn Log>, partition: u32) -> Self {
        let (records, asked) = (BTreeMap::new(), BTreeSet::new());
        Self { log: log.clone(), partition, records, asked, tail: None, sound: true, reads: 0 }
    }

    /// Reads what there is now, so that little is left to read while the partition is held.
    pub async fn prepare<P: Projection>(&mut self, scope: &Scope<'_, P>, key: &[u8]) -> Result<(), ProjectorError> {
        let mut tx = scope.store.begin(store::Durability::FromLog).await?;
        let wanted = self.wanted(&mut tx, key).await?;
        tx.rollback().await?;
        let all = scope.store.checkpoints(scope.generation.view, scope.generation.number).await?;
        let next = all.iter().find(|c| c.partition == self.partition).map_or(0, |c| c.next_offset);
        self.read(&wanted, key, next).await
    }

    /// All records that were read.
    pub fn all(&self) -> Vec<Record> {
        self.records.values().cloned().collect()
    }

    async fn wanted(&self, tx: &mut Tx, key: &[u8]) -> Result<Wanted, ProjectorError> {
        let active = tx.generations(Some("timeline")).await?.into_iter().find(|g| g.active).map_or(0, |g| g.number);
        let upto = self.upto(tx, active).await?;
        let mut wanted = Wanted { positions: BTreeMap::new(), upto, sound: true };
        if upto == 0 {
            return Ok(wanted);
        }
        let sql = "SELECT log_offset FROM dead_letters WHERE view = 'timeline' AND generation = $1 AND partition = $2 \
                   AND key_hash = $3 AND record_key = $4";
        let args = [active.into(), i64::from(self.partition).into(), store::key_hash(key).into(), key.to_vec().into()];
        for row in tx.query(sql, &args).await? {
            wanted.positions.insert(u64::try_from(row.int(0)).unwrap_or_default(), None);
        }
        let Ok(patient) = std::str::from_utf8(key) else { return Ok(wanted) };
        let found = store::views::timeline::positions(tx, patient).await?;
        // The timeline may have gone on since.
        let end = self.upto(tx, active).await?;
        for (partition, offset, event) in found {
            wanted.sound &= partition == i64::from(self.partition) && offset < end;
            wanted.sound &= wanted.positions.insert(offset, Some(event)).is_none();
        }
        Ok(wanted)
    }

    /// How far a generation of the timeline has come.
    async fn upto(&self, tx: &mut Tx, generation: i64) -> Result<u64, ProjectorError> {
        let sql = "SELECT next_offset FROM checkpoints WHERE view = 'timeline' AND generation = $1 AND partition = $2";
        let rows = tx.query(sql, &[generation.into(), i64::from(self.partition).into()]).await?;
        Ok(rows.first().map_or(0, |r| u64::try_from(r.int(0)).unwrap_or_default()))
    }

    async fn read(&mut self, wanted: &Wanted, key: &[u8], next: u64) -> Result<(), ProjectorError> {
        let missing: Vec<u64> =
            wanted.positions.keys().copied().filter(|o| *o < next && self.asked.insert(*o)).collect();
        for run in runs(&missing) {
            self.range(run, key).await?;
        }
        let (from, to) = self.tail.unwrap_or((wanted.upto, wanted.upto));
        if to < next {
            self.range((to, next), key).await?;
        }
        self.tail = Some((from, to.max(next)));
        self.sound &= wanted.sound;
        for (offset, event) in wanted.positions.iter().filter(|(o, _)| **o < next) {
            let record = self.records.get(offset);
            let id = |r: &Record| Some(decoded(&r.value).ok()?.header().event_id.to_string());
            self.sound &= record.is_some_and(|r| event.is_none() || id(r) == *event);
        }
        Ok(())
    }

    /// Reads records `from..to`, and keeps those of the key.
    async fn range(&mut self, (mut from, to): (u64, u64), key: &[u8]) -> Result<(), ProjectorError> {
        while from < to {
            let count = usize::try_from(to - from).unwrap_or(PAGE).min(PAGE);
            let records = self.log.read(self.partition, from, count).await?;
            self.reads += 1;
            let Some(last) = records.last() else { return Ok(()) };
            from = last.position.offset + 1;
            for record in records.into_iter().filter(|r| r.key[..] == *key && r.position.offset < to) {
                self.records.insert(record.position.offset, record);
            }
        }
        Ok(())
    }
}

/// Offsets, in order, as ranges with little in between.
fn runs(offsets: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some((_, end)) if offset - *end <= GAP => *end = offset + 1,
            _ => runs.push((*offset, offset + 1)),
        }
    }
    runs
}

impl Source for Known {
    async fn records(&mut self, tx: &mut Tx, key: &[u8], next: u64) -> Result<Option<Vec<Record>>, ProjectorError> {
        let wanted = self.wanted(tx, key).await?;
        self.read(&wanted, key, next).await?;
        Ok(Some(self.records.range(..next).map(|(_, r)| r.clone()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_one_read() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[5]), [(5, 6)]);
        assert_eq!(runs(&[5, 6, 6 + GAP, 8 + 2 * GAP]), [(5, 7 + GAP), (8 + 2 * GAP, 9 + 2 * GAP)]);
    }
}
