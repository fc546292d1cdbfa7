//! Puts lines into the order of their times with bounded memory.
//!
//! Time is cut into slices of about [`SLICE_BYTES`]. A line goes into its slice's buffer; when all buffers together pass
//! [`PENDING_BYTES`], those of later slices are appended to one temporary file. A slice is sorted when its turn comes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};

/// Expected size of a slice, bytes.
pub const SLICE_BYTES: u64 = 8 << 20;
/// What all waiting slices may hold in memory, bytes.
pub const PENDING_BYTES: usize = 32 << 20;
/// Bytes before each line in a buffer: its time and its length.
const PREFIX: usize = 12;

#[derive(Default)]
struct Slice {
    buffer: Vec<u8>,
    spilled: Vec<(u64, usize)>,
}

/// The sorter.
pub struct Buckets {
    from: i64,
    width: i64,
    slices: Vec<Slice>,
    current: usize,
    pending: usize,
    spill: Option<File>,
    spilled: u64,
    limit: usize,
}

impl Buckets {
    /// Slices for times from `from` to `until` (µs, both included), for about `bytes` of lines.
    pub fn new(from: i64, until: i64, bytes: u64) -> Self {
        let count = (bytes / SLICE_BYTES + 1).clamp(1, 100_000) as i64;
        let width = (until - from) / count + 1;
        let slices = (0..count).map(|_| Slice::default()).collect();
        Self { from, width, slices, current: 0, pending: 0, spill: None, spilled: 0, limit: PENDING_BYTES }
    }

    /// The same with another limit of memory (bytes).
    #[cfg(test)]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Number of slices.
    pub const fn len(&self) -> usize {
        self.slices.len()
    }

    /// End of slice `i`, exclusive (µs).
    pub const fn end(&self, i: usize) -> i64 {
        self.from + self.width * (i as i64 + 1)
    }

    /// Adds a line at a time. A time before the slice being written goes into that one.
    ///
    /// # Errors
    /// Those of the temporary file.
    pub fn add(&mut self, at: i64, line: &str) -> io::Result<()> {
        let i = (((at - self.from).max(0) / self.width) as usize).clamp(self.current, self.slices.len() - 1);
        let buffer = &mut self.slices[i].buffer;
        buffer.extend_from_slice(&at.to_le_bytes());
        buffer.extend_from_slice(&(line.len() as u32).to_le_bytes());
        buffer.extend_from_slice(line.as_bytes());
        self.pending += line.len() + PREFIX;
        if self.pending > self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.spill {
            Some(f) => f,
            none => none.insert(tempfile::tempfile()?),
        };
        for slice in self.slices.iter_mut().skip(self.current + 1).filter(|s| !s.buffer.is_empty()) {
            file.write_all(&slice.buffer)?;
            slice.spilled.push((self.spilled, slice.buffer.len()));
            self.spilled += slice.buffer.len() as u64;
            self.pending -= slice.buffer.len();
            slice.buffer = Vec::new();
        }
        Ok(())
    }

    /// Writes the current slice in order, one line each, and goes on to the next. Lines of one time keep the order in
    /// which they were added. Returns the bytes written.
    ///
    /// # Errors
    /// Those of `out` and of the temporary file.
    pub fn flush(&mut self, out: &mut impl Write) -> io::Result<u64> {
        let Slice { buffer, spilled } = std::mem::take(&mut self.slices[self.current]);
        self.pending -= buffer.len();
        self.current += 1;
        let mut all = Vec::new();
        if let (Some(file), false) = (&mut self.spill, spilled.is_empty()) {
            for (offset, len) in spilled {
                file.seek(SeekFrom::Start(offset))?;
                let old = all.len();
                all.resize(old + len, 0);
                file.read_exact(&mut all[old..])?;
            }
            file.seek(SeekFrom::End(0))?;
            all.extend_from_slice(&buffer);
        } else {
            all = buffer;
        }
        write_sorted(&all, out)
    }
}

fn write_sorted(all: &[u8], out: &mut impl Write) -> io::Result<u64> {
    let mut index: Vec<(i64, u32, u32)> = Vec::new();
    let mut i = 0;
    while let Some((head, _)) = all.get(i..).and_then(|rest| rest.split_at_checked(PREFIX)) {
        let (time, len) = head.split_at(8);
        let time = i64::from_le_bytes(time.try_into().unwrap_or_default());
        let len = u32::from_le_bytes(len.try_into().unwrap_or_default());
        i += PREFIX;
        index.push((time, i as u32, len));
        i += len as usize;
    }
    index.sort_unstable();
    let mut bytes = 0;
    for (_, start, len) in index {
        let start = start as usize;
        out.write_all(&all[start..start + len as usize])?;
        out.write_all(b"\n")?;
        bytes += u64::from(len) + 1;
    }
    Ok(bytes)
}
