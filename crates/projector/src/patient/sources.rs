//! Where the records of a key come from: a read of the whole partition, or the positions that the timeline keeps.

use super::reader::{PAGE, Reader};
use super::{Scope, Source};
use crate::prepare::decoded;
use crate::{Projection, ProjectorError};
use eventlog::{Log, LogError, Record};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use store::{Tx, key_number, record_hash};

/// Records that are read while a partition is held, at most: its projector waits meanwhile.
const MOST_HELD: u64 = 2_000;
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
    reader: Reader,
    partition: u32,
    which: Which,
    /// The keys' records, in order.
    pub keys: HashMap<Vec<u8>, Vec<Record>>,
    /// Keys that were asked for, and let go for want of memory.
    pub left: HashSet<Vec<u8>>,
    bytes: usize,
    most_bytes: usize,
    /// Offset and hash of the last record that was read.
    last: Option<(u64, i64)>,
    /// Whether the keys stay as they are, whatever comes.
    settled: bool,
}

impl Gathered {
    /// Nothing yet. Where the records take more than `most_bytes`, it ends up with fewer keys than asked for.
    pub fn new(reader: Reader, partition: u32, which: Which, most_bytes: usize) -> Self {
        let (keys, left) = (HashMap::new(), HashSet::new());
        Self { reader, partition, which, keys, left, bytes: 0, most_bytes, last: None, settled: false }
    }

    /// Everything below has been read.
    pub const fn next(&self) -> u64 {
        self.reader.next
    }

    /// When the log may be read again, at the reader's rate.
    pub const fn due(&self) -> Instant {
        self.reader.due
    }

    /// Keeps to the keys that it has from now on, as they are being compared: others that come take no memory, and none is
    /// let go. Says the last number of the range that it has gathered.
    pub fn settle(&mut self) -> u64 {
        self.settled = true;
        let Which::Range { last, .. } = self.which else { return u64::MAX };
        self.which = Which::Keys(self.keys.keys().cloned().collect());
        last
    }

    /// Lets a key go that has been compared.
    pub fn forget(&mut self, key: &[u8]) {
        self.keys.remove(key);
        if let Which::Keys(keys) = &mut self.which {
            keys.remove(key);
        }
    }

    /// Reads on up to `to`, at the reader's rate; how many records that were.
    pub async fn extend(&mut self, to: u64) -> Result<u64, ProjectorError> {
        let mut count = 0;
        while let Some(records) = self.reader.page(to).await? {
            count += records.len() as u64;
            self.add(&records);
        }
        Ok(count)
    }

    /// Reads the rest up to `to` at once, where that is little; whether it was.
    async fn rest(&mut self, to: u64) -> Result<bool, ProjectorError> {
        if to.saturating_sub(self.next()) > MOST_HELD {
            return Ok(false);
        }
        while let Some(records) = self.reader.page_now(to).await? {
            self.add(&records);
        }
        Ok(true)
    }

    fn add(&mut self, records: &[Record]) {
        for record in records {
            self.take(record);
        }
        self.last = records.last().map(|r| (r.position.offset, record_hash(&r.key, &r.value)));
        self.shrink();
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

    /// Lets the upper half of the range, or half of the keys, go while there is too much.
    fn shrink(&mut self) {
        while !self.settled && self.bytes > self.most_bytes && self.keys.len() > 1 {
            match &mut self.which {
                Which::Range { first, last, .. } => {
                    if first == last {
                        return;
                    }
                    *last = *first + (*last - *first) / 2;
                    let last = *last;
                    self.keys.retain(|key, _| key_number(key) <= last);
                }
                Which::Keys(wanted) => {
                    let half: Vec<Vec<u8>> = self.keys.keys().take(self.keys.len() / 2).cloned().collect();
                    for key in half {
                        wanted.remove(&key);
                        self.keys.remove(&key);
                        self.left.insert(key);
                    }
                }
            }
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
    async fn records(&mut self, _: &mut Tx, key: &[u8], next: u64) -> Result<Option<Vec<Record>>, ProjectorError> {
        if !self.rest(next).await? {
            return Ok(None);
        }
        let all = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        Ok(Some(all.iter().filter(|r| r.position.offset < next).cloned().collect()))
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
    use async_trait::async_trait;
    use eventlog::{NewRecord, Position, Start, Subscription};
    use std::time::Duration;

    /// A partition without end.
    struct Endless;

    #[async_trait]
    impl Log for Endless {
        fn partitions(&self) -> u32 {
            1
        }
        async fn append(&self, _: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
            Vec::new()
        }
        async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
            Ok(vec![(0, u64::MAX)])
        }
        async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
            let record = |offset: u64| Record {
                position: Position { partition, offset },
                appended_ms: 1,
                key: format!("p-{}", offset % 10).into(),
                value: bytes::Bytes::from_static(b"value"),
                headers: Vec::new(),
            };
            Ok((from..from + max as u64).map(record).collect())
        }
        async fn subscribe(&self, _: &str, _: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
            Err(LogError::Configuration("nobody subscribes".into()))
        }
    }

    /// Ten records per second, of some keys.
    fn slow(which: Which, most_bytes: usize) -> Gathered {
        let log: Arc<dyn Log> = Arc::new(Endless);
        Gathered::new(Reader::new(&log, 0, 0).paced(Some(10), Instant::now()), 0, which, most_bytes)
    }

    #[tokio::test]
    async fn what_is_read_while_others_wait_is_little_and_not_paced() {
        let begun = Instant::now();
        let mut gathered = slow(Which::Range { first: 0, last: u64::MAX, sample: 1.0 }, usize::MAX);
        assert_eq!(gathered.extend(100).await.ok(), Some(100));
        assert!(!gathered.rest(101 + MOST_HELD).await.unwrap_or(true), "too much");
        assert!(gathered.rest(100 + MOST_HELD).await.unwrap_or_default());
        assert_eq!(gathered.next(), 100 + MOST_HELD);
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing was waited for");
        let more = tokio::time::timeout(Duration::from_millis(200), gathered.extend(101 + MOST_HELD));
        assert!(more.await.is_err(), "now it is");
        assert_eq!(gathered.next(), 100 + MOST_HELD);
    }

    #[tokio::test]
    async fn memory_is_kept_to_and_keys_that_were_let_go_are_named() {
        let asked: HashSet<Vec<u8>> = (0..10).map(|n| format!("p-{n}").into_bytes()).collect();
        let most = 250 * (RECORD_BYTES + 8);
        let mut gathered = slow(Which::Keys(asked.clone()), most);
        assert_eq!(gathered.extend(1_000).await.ok(), Some(1_000));
        assert!(gathered.bytes <= most && !gathered.keys.is_empty());
        let has: HashSet<Vec<u8>> = gathered.keys.keys().cloned().collect();
        assert!(has.is_disjoint(&gathered.left) && &has | &gathered.left == asked);
        let mut gathered = slow(Which::Range { first: 0, last: u64::MAX, sample: 1.0 }, usize::MAX);
        assert_eq!(gathered.extend(5).await.ok(), Some(5));
        assert_eq!(gathered.settle(), u64::MAX);
        gathered.forget(b"p-4");
        assert!(gathered.rest(100).await.unwrap_or_default());
        assert_eq!(gathered.keys.len(), 4, "keys that came later, and those that are done, take no memory");
        assert!(gathered.keys.values().all(|records| records.len() == 10));
    }

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
