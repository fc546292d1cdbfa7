//! Where the records of a key come from: a read of the whole partition, or the positions that the timeline keeps.

use super::{Scope, Source};
use crate::{Projection, ProjectorError};
use eventlog::{Log, LogError, Record};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Tx, key_number, record_hash};

/// Records in one read.
const PAGE: usize = 5_000;
/// Records between two of a patient that are read along rather than skipped: one read costs about as much as these.
const GAP: u64 = 1_000;

/// Which keys are gathered.
pub enum Which {
    /// Those whose number is in a range, and which the sample takes.
    Range { first: u64, last: u64, sample: f64 },
    /// These.
    Keys(HashSet<Vec<u8>>),
}

impl Which {
    fn takes(&self, key: &[u8]) -> bool {
        match self {
            Self::Range { first, last, sample } => {
                let number = key_number(key);
                (*first..=*last).contains(&number) && sampled(number, *sample)
            }
            Self::Keys(keys) => keys.contains(key),
        }
    }
}

/// Whether a key of this number is in a sample.
pub fn sampled(number: u64, sample: f64) -> bool {
    // The lower half, since ranges go by the upper one.
    sample >= 1.0 || f64::from(number as u32) < sample * f64::from(u32::MAX)
}

/// Records of many keys of one partition, gathered by reading all of it.
pub struct Gathered {
    log: Arc<dyn Log>,
    partition: u32,
    /// Everything below has been read.
    pub next: u64,
    which: Which,
    /// The keys' records, in order.
    pub keys: HashMap<Vec<u8>, Vec<Record>>,
    bytes: usize,
    most_bytes: usize,
    /// Offset and hash of the last record that was read.
    last: Option<(u64, i64)>,
    /// Records per second, at most.
    rate: Option<u64>,
    /// Whether the range stays as it is, whatever comes.
    settled: bool,
}

impl Gathered {
    /// Nothing yet. A range that takes more than `most_bytes` of records ends up smaller than asked for.
    pub fn new(log: &Arc<dyn Log>, partition: u32, from: u64, which: Which, most_bytes: usize) -> Self {
        let log = log.clone();
        Self {
            log,
            partition,
            next: from,
            which,
            keys: HashMap::new(),
            bytes: 0,
            most_bytes,
            last: None,
            rate: None,
            settled: false,
        }
    }

    /// Reads so many records per second, at most.
    pub fn paced(mut self, rate: Option<u64>) -> Self {
        self.rate = rate;
        self
    }

    /// Keeps the range from now on: what comes later adds to the memory, and takes no key away that is being compared.
    pub const fn settle(&mut self) {
        self.settled = true;
    }

    /// The last number of the range that it has gathered.
    pub fn end(&self) -> u64 {
        if let Which::Range { last, .. } = self.which { last } else { u64::MAX }
    }

    /// Reads on up to `to`; how many records that were.
    pub async fn extend(&mut self, to: u64) -> Result<u64, ProjectorError> {
        let (mut count, begun) = (0_u64, Instant::now());
        while self.next < to {
            let wanted = usize::try_from(to - self.next).unwrap_or(PAGE).min(PAGE);
            let records = self.log.read(self.partition, self.next, wanted).await?;
            let Some(end) = records.last().map(|r| r.position.offset + 1) else {
                let end = self.log.bounds().await?.get(self.partition as usize).map_or(0, |b| b.1);
                if end < to {
                    return Err(shorter(self.partition, end, to));
                }
                self.next = to;
                break;
            };
            count += records.len() as u64;
            for record in &records {
                self.take(record);
            }
            self.last = records.last().map(|r| (r.position.offset, record_hash(&r.key, &r.value)));
            self.next = end;
            self.shrink();
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(count as f64 / rate.max(1) as f64);
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            }
        }
        Ok(count)
    }

    /// Fails when the record before `next` isn't the one that the checkpoint remembers.
    pub fn same_log(&self, next: u64, hash: i64) -> Result<(), ProjectorError> {
        match self.last {
            Some((at, is)) if at + 1 == next && hash != 0 && is != hash => Err(other_log(self.partition, at)),
            _ => Ok(()),
        }
    }

    fn take(&mut self, record: &Record) {
        if !self.which.takes(&record.key) {
            return;
        }
        // A copy: the log's bytes hold a whole read together.
        let copy = Record {
            key: bytes_of(&record.key),
            value: bytes_of(&record.value),
            headers: record.headers.iter().map(|(n, v)| (n.clone(), bytes_of(v))).collect(),
            ..*record
        };
        self.bytes += copy.key.len() + copy.value.len() + RECORD_BYTES;
        self.keys.entry(record.key.to_vec()).or_default().push(copy);
    }

    /// Lets the upper half of the range go while there is too much.
    fn shrink(&mut self) {
        while !self.settled && self.bytes > self.most_bytes && self.keys.len() > 1 {
            let Which::Range { first, last, .. } = &mut self.which else { return };
            if first == last {
                return;
            }
            *last = *first + (*last - *first) / 2;
            let last = *last;
            self.keys.retain(|key, _| key_number(key) <= last);
            let size = |r: &Record| r.key.len() + r.value.len() + RECORD_BYTES;
            self.bytes = self.keys.values().flatten().map(size).sum();
        }
    }
}

/// What a record takes besides its key and value, about.
const RECORD_BYTES: usize = 400;

fn bytes_of(bytes: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

impl Source for Gathered {
    async fn records(&mut self, _: &mut Tx, key: &[u8], next: u64) -> Result<Vec<Record>, ProjectorError> {
        self.extend(next).await?;
        let all = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        Ok(all.iter().filter(|r| r.position.offset < next).cloned().collect())
    }
}

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
            let id = |r: &Record| Some(codec::decode(&r.value).ok()?.header().event_id.to_string());
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
    async fn records(&mut self, tx: &mut Tx, key: &[u8], next: u64) -> Result<Vec<Record>, ProjectorError> {
        let wanted = self.wanted(tx, key).await?;
        self.read(&wanted, key, next).await?;
        Ok(self.records.range(..next).map(|(_, r)| r.clone()).collect())
    }
}

fn shorter(partition: u32, end: u64, to: u64) -> ProjectorError {
    let why = format!("partition {partition} of the log ends at {end}, before the view's {to}: another log?");
    LogError::Configuration(why).into()
}

fn other_log(partition: u32, at: u64) -> ProjectorError {
    let why = format!("the record at {partition}:{at} is not the one that the view has taken: another log?");
    LogError::Configuration(why).into()
}

/// The first offset of each partition, where the log still begins at its beginning.
///
/// # Errors
/// When records are gone: then the log can't say what the rows must be.
pub async fn beginnings(log: &Arc<dyn Log>) -> Result<(), ProjectorError> {
    let bounds = log.bounds().await?;
    match bounds.iter().position(|(first, _)| *first > 0) {
        Some(p) => {
            let why = format!("partition {p} of the log begins at {}: what was before is gone", bounds[p].0);
            Err(LogError::Configuration(why).into())
        }
        None => Ok(()),
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

    #[test]
    fn a_sample_is_a_share_of_the_keys() {
        let taken = (0..100_000_u64).filter(|n| sampled(key_number(&n.to_le_bytes()), 0.1)).count();
        assert!((9_500..10_500).contains(&taken), "{taken}");
        assert!(sampled(u64::MAX, 1.0));
    }
}
