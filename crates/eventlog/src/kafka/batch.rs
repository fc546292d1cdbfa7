//! Records copied out of librdkafka, all bytes of a batch in one piece.

use crate::{Position, Record};
use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use std::panic::{AssertUnwindSafe, catch_unwind};

struct Entry {
    position: Position,
    appended_ms: i64,
    key: usize,
    value: usize,
    headers: Vec<(String, usize)>,
}

/// Collects records.
#[derive(Default)]
pub(super) struct Batch {
    bytes: BytesMut,
    entries: Vec<Entry>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of keys, values and header values.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        self.add(message, headers_of(message));
    }

    /// The same without headers.
    pub(super) fn push_bare(&mut self, message: &BorrowedMessage<'_>) {
        self.add(message, Vec::new());
    }

    fn add(&mut self, message: &BorrowedMessage<'_>, headers: Vec<(String, &[u8])>) {
        let (Ok(partition), Ok(offset)) = (u32::try_from(message.partition()), u64::try_from(message.offset())) else {
            return;
        };
        let key = message.key().unwrap_or_default();
        let value = message.payload().unwrap_or_default();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let headers = headers
            .into_iter()
            .map(|(name, value)| {
                self.bytes.extend_from_slice(value);
                (name, value.len())
            })
            .collect();
        self.entries.push(Entry {
            position: Position { partition, offset },
            appended_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: key.len(),
            value: value.len(),
            headers,
        });
    }

    /// The records, and an empty batch.
    pub(super) fn take(&mut self) -> Vec<Record> {
        let mut bytes = self.bytes.split().freeze();
        let mut next = |length| -> Bytes { bytes.split_to(length) };
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| Record {
                position: entry.position,
                appended_ms: entry.appended_ms,
                key: next(entry.key),
                value: next(entry.value),
                headers: entry.headers.into_iter().map(|(name, length)| (name, next(length))).collect(),
            })
            .collect()
    }
}

/// The headers. rdkafka panics on a name that isn't UTF-8, and anybody may have put one on the topic: such a record goes on
/// without headers, to be judged by its value.
pub(super) fn headers_of<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(String, &'a [u8])> {
    catch_unwind(AssertUnwindSafe(|| headers(message))).unwrap_or_default()
}

fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(String, &'a [u8])> {
    let Some(headers) = message.headers() else { return Vec::new() };
    headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default())).collect()
}
