//! Reads partitions and splits them by key into slices, through files without a name.

use crate::ProjectorError;
use crate::dispatch::transient;
use crate::retry::Retry;
use bytes::{Buf as _, BufMut as _, Bytes};
use eventlog::{Log, LogError, Position, Record};
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Slice;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bytes that each file's writer collects.
const BUFFER: usize = 64 << 10;

/// A slice and, in a file, its records.
pub struct Job {
    slice: Slice,
    file: File,
}

/// Reads one partition after the other.
pub struct Reader {
    pub log: Arc<dyn Log>,
    /// The slices to be done, by partition; readers take one at a time.
    pub partitions: Arc<Mutex<BTreeMap<u32, Vec<Slice>>>>,
    pub jobs: mpsc::Sender<Job>,
    pub patience: Duration,
    pub cancel: CancellationToken,
    pub runtime: tokio::runtime::Handle,
}

impl Reader {
    /// Reads until there is no partition left, or nobody takes its slices. It runs ahead as far as `jobs` has room.
    pub fn run(self) -> Result<(), ProjectorError> {
        loop {
            let next = self.partitions.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            let Some((_, slices)) = next else { return Ok(()) };
            for bucket in self.split(&slices)? {
                if self.cancel.is_cancelled() || self.jobs.blocking_send(bucket.into_job()?).is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The slices of one partition with their records.
    fn split(&self, slices: &[Slice]) -> Result<impl Iterator<Item = Bucket> + use<>, ProjectorError> {
        let one = slices.first().copied();
        let count = one.map_or(0, |s| s.slices);
        let mut buckets: Vec<Option<Bucket>> = (0..count).map(|_| None).collect();
        for s in slices {
            buckets[s.slice as usize] = Some(Bucket::new(*s)?);
        }
        let put = |batch: Vec<Record>| {
            for record in &batch {
                if let Some(bucket) = &mut buckets[Slice::of(&record.key, count) as usize] {
                    bucket.put(record)?;
                }
            }
            Ok(())
        };
        one.map_or(Ok(()), |one| self.read(one, put))?;
        Ok(buckets.into_iter().flatten())
    }

    /// Reads a partition, however often the log has to be asked again.
    fn read(
        &self,
        s: Slice,
        mut take: impl FnMut(Vec<Record>) -> Result<(), ProjectorError>,
    ) -> Result<(), ProjectorError> {
        let mut at = s.from;
        let mut retry = None;
        'again: loop {
            let mut scan = self.log.scan(s.partition, at, s.to);
            loop {
                let next = async {
                    tokio::select! { () = self.cancel.cancelled() => None, next = scan.next() => next }
                };
                let e = match self.runtime.block_on(next) {
                    None if at >= s.to || self.cancel.is_cancelled() => return Ok(()),
                    // The checkpoint will be at `to`: a scan that ended early must not pass for the whole.
                    None => match self.runtime.block_on(eventlog::is_gap(self.log.as_ref(), s.partition, at, s.to)) {
                        Ok(true) => return Ok(()),
                        Ok(false) => LogError::Unavailable(format!("partition {} ended at {at}", s.partition)),
                        Err(e) => e,
                    },
                    Some(Ok(batch)) => {
                        retry = None;
                        at = batch.last().map_or(at, |r| r.position.offset + 1);
                        take(batch)?;
                        continue;
                    }
                    Some(Err(e)) => e,
                };
                let retry = retry.get_or_insert_with(|| Retry::new(self.patience));
                if !transient(&e) || !self.runtime.block_on(retry.again(&self.cancel)) {
                    return Err(e.into());
                }
                continue 'again;
            }
        }
    }
}

/// Records of one slice on their way to disk. The file has no name: nobody else can open it, and nothing of it is left behind,
/// however this process ends.
struct Bucket {
    slice: Slice,
    file: BufWriter<File>,
    head: Vec<u8>,
}

impl Bucket {
    fn new(slice: Slice) -> Result<Self, ProjectorError> {
        Ok(Self { slice, file: BufWriter::with_capacity(BUFFER, tempfile::tempfile()?), head: Vec::new() })
    }

    fn put(&mut self, r: &Record) -> Result<(), ProjectorError> {
        self.head.clear();
        self.head.put_u64_le(r.position.offset);
        self.head.put_i64_le(r.appended_ms);
        for length in [r.key.len(), r.value.len()] {
            self.head.put_u32_le(length_of(length));
        }
        self.file.write_all(&self.head)?;
        self.file.write_all(&r.key)?;
        Ok(self.file.write_all(&r.value)?)
    }

    fn into_job(self) -> Result<Job, ProjectorError> {
        let mut file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Job { slice: self.slice, file })
    }
}

/// A length within a record, which the log bounds to far less than 4 GiB.
fn length_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Job {
    /// The records, in the log's order.
    pub fn read(self) -> Result<(Slice, Vec<Record>), ProjectorError> {
        let Self { slice, mut file } = self;
        let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        drop(file);
        let mut rest = Bytes::from(bytes);
        let mut records = Vec::new();
        while rest.has_remaining() {
            let (offset, appended_ms) = (rest.get_u64_le(), rest.get_i64_le());
            let [key, value] = [rest.get_u32_le(), rest.get_u32_le()].map(|n| n as usize);
            let position = Position { partition: slice.partition, offset };
            let (key, value) = (rest.split_to(key), rest.split_to(value));
            records.push(Record { position, appended_ms, key, value, headers: Vec::new() });
        }
        Ok((slice, records))
    }
}
