//! Records of many keys, gathered by reading a whole partition.

use super::Source;
use super::reader::Reader;
use crate::ProjectorError;
use eventlog::{Log, LogError, Record};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use store::{Tx, key_number, record_hash};

/// Records that are read while a partition is held, at most: its projector waits meanwhile.
const MOST_HELD: u64 = 2_000;
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
    fn a_sample_is_a_share_of_the_keys() {
        let taken = (0..100_000_u64).filter(|n| sampled(key_number(&n.to_le_bytes()), 0.1)).count();
        assert!((9_500..10_500).contains(&taken), "{taken}");
        assert!(sampled(u64::MAX, 1.0));
    }
}
