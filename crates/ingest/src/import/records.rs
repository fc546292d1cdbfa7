//! The records of a CSV file. One that isn't over where it should be ends the reading, instead of taking in the rest of the
//! file: nothing is lost without a word.

use super::ImportError;
use super::mapping::Mapping;
use crate::problem::Problem;
use csv::{ByteRecord, StringRecord};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read};

/// A file, handed out line by line: with a bound to what is read for one record, and with a line of its own after the last
/// one, which an open quote swallows.
struct Guarded<R> {
    file: BufReader<R>,
    /// How much may still be read for this record.
    left: usize,
    /// The line on which this record begins.
    first: Option<u64>,
    line: u64,
    given: u64,
    /// What the file had, once it is at its end.
    length: Option<u64>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.length.is_some() {
            return Ok(0);
        }
        let rest = self.file.fill_buf()?;
        let line = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |end| end + 1);
        let n = line.min(buf.len());
        if n == 0 {
            self.length = Some(self.given);
            buf[..END.len()].copy_from_slice(END);
            return Ok(END.len());
        }
        self.left = self.left.checked_sub(n).ok_or(TOO_LONG)?;
        buf[..n].copy_from_slice(&rest[..n]);
        if buf[..n].iter().any(|b| !matches!(b, b'\r' | b'\n')) {
            self.first.get_or_insert(self.line);
        }
        self.line += u64::from(buf[n - 1] == b'\n');
        self.given += n as u64;
        self.file.consume(n);
        Ok(n)
    }
}

const TOO_LONG: ErrorKind = ErrorKind::FileTooLarge;
/// What comes after the file.
const END: &[u8] = b"\n.";

/// A record's line, and the record or why it isn't one.
pub(super) type Numbered = (u64, Result<StringRecord, Problem>);

pub(super) struct Records<R> {
    reader: csv::Reader<Guarded<R>>,
    width: usize,
    line_bytes: usize,
}

impl<R: Read> Records<R> {
    /// Reads the heading: which column stands where.
    pub(super) fn open(
        file: R,
        mapping: &Mapping,
        line_bytes: usize,
    ) -> Result<(Self, HashMap<String, usize>), ImportError> {
        let file = BufReader::with_capacity(64 * 1024, file);
        let file = Guarded { file, left: 0, first: None, line: 1, given: 0, length: None };
        let mut builder = csv::ReaderBuilder::new();
        builder.delimiter(mapping.delimiter()).flexible(true).has_headers(false);
        let mut records = Self { reader: builder.from_reader(file), width: 0, line_bytes };
        let heading = records.read()?.unwrap_or_default();
        let heading = StringRecord::from_byte_record(heading).map_err(|_| ImportError::Heading)?;
        records.width = heading.len();
        let name = |h: &str| h.trim_start_matches('\u{feff}').trim().to_owned();
        let (mut columns, mut twice) = (HashMap::new(), Vec::new());
        for (i, heading) in heading.iter().enumerate() {
            if columns.insert(name(heading), i).is_some() {
                twice.push(name(heading));
            }
        }
        let wanted = mapping.columns();
        twice.retain(|c| wanted.contains(c));
        if !twice.is_empty() {
            return Err(ImportError::Twice(twice));
        }
        let missing: Vec<_> = wanted.into_iter().filter(|c| !columns.contains_key(c)).collect();
        if missing.is_empty() { Ok((records, columns)) } else { Err(ImportError::Columns(missing)) }
    }

    /// The next record with its line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Numbered>, ImportError> {
        let Some(bytes) = self.read()? else { return Ok(None) };
        let line = self.line();
        let record = match StringRecord::from_byte_record(bytes) {
            Err(_) => Err(Problem::malformed("the row is not UTF-8")),
            Ok(r) if r.len() != self.width => {
                let lines = self.reader.get_ref().line - line;
                let open = if lines > 1 { format!(", in {lines} lines: is a quote open?") } else { String::new() };
                Err(Problem::malformed(format!("the row has {} columns instead of {}{open}", r.len(), self.width)))
            }
            Ok(record) => Ok(record),
        };
        Ok(Some((line, record)))
    }

    /// Where the record begins that was read last.
    fn line(&self) -> u64 {
        self.reader.get_ref().first.unwrap_or_else(|| self.reader.position().line())
    }

    fn read(&mut self) -> Result<Option<ByteRecord>, ImportError> {
        let file = self.reader.get_mut();
        (file.left, file.first) = (self.line_bytes, None);
        let mut record = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut record);
        let file = self.reader.get_ref();
        match read {
            Err(e) if matches!(e.kind(), csv::ErrorKind::Io(e) if e.kind() == TOO_LONG) => {
                Err(ImportError::TooLong { line: self.line(), most: self.line_bytes })
            }
            Err(e) => Err(ImportError::Read(e)),
            Ok(false) => Ok(None),
            // one byte more than the line's end: the last line is read, alone or within a quote
            Ok(true) if file.length.is_some_and(|length| self.reader.position().byte() > length + 1) => {
                if record.len() == 1 && &record[0] == b"." {
                    Ok(None)
                } else {
                    Err(ImportError::OpenQuote { line: self.line() })
                }
            }
            Ok(true) => Ok(Some(record)),
        }
    }
}
