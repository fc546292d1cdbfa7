//! Avro's binary encoding of the generated types, in the order of the schema that they are generated from.
//!
//! `build.rs` writes the impls for records and enums. This reads only what the same schema wrote; older versions go
//! through a reader that knows the writer's schema (`codec`). Bytes from outside never make it panic, and what it
//! allocates is in proportion to what it has read.
//!
//! [`Datum::content`] writes the same without what may differ between versions of a schema; nothing reads it.

use crate::ids::{Embedded, EventId, PatientId};
use crate::json::Json;
use crate::time::{Date, Micros};

/// A value in Avro's binary encoding.
pub trait Datum: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value off the front; `None` when the bytes are no such value.
    fn get(from: &mut Bytes<'_>) -> Option<Self>;
    /// Appends what the value says, for a hash: the same bytes after fields that may be absent, or symbols, were added to the
    /// schema, and other bytes for whatever says something else.
    fn content(&self, out: &mut Vec<u8>) {
        self.put(out);
    }
}

/// Appends a record's field to its content, unless it is absent. `id` stands for its name, and is never 0.
pub(crate) fn field<T: Datum + Json>(out: &mut Vec<u8>, id: u32, value: &T) {
    if !value.absent() {
        out.extend_from_slice(&id.to_le_bytes());
        value.content(out);
    }
}

/// Ends the content of a record.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&0_u32.to_le_bytes());
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (&b, tail) = self.0.split_first()?;
        self.0 = tail;
        Some(b)
    }

    /// A zigzag varint of at most 64 bits.
    #[inline]
    fn long(&mut self) -> Option<i64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(unzigzag(u64::from(first)));
        }
        let mut n = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let b = self.byte()?;
            let bits = u64::from(b & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            n |= bits << shift;
            if b < 0x80 {
                return Some(unzigzag(n));
            }
        }
        None
    }

    /// The index of an enum's symbol or of a union's branch.
    #[inline]
    pub(crate) fn index(&mut self) -> Option<usize> {
        usize::try_from(self.long()?).ok()
    }

    /// A string; one with U+0000, which no PostgreSQL takes, counts as malformed.
    fn str(&mut self) -> Option<&'a str> {
        let n = self.index()?;
        let bytes = self.take(n)?;
        if bytes.contains(&0) { None } else { std::str::from_utf8(bytes).ok() }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "this is how zigzag is defined")]
const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Appends a zigzag varint.
#[inline]
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "this is how zigzag varints are defined")]
pub(crate) fn put_long(v: i64, out: &mut Vec<u8>) {
    let mut n = ((v << 1) ^ (v >> 63)) as u64;
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(crate) fn put_str(s: &str, out: &mut Vec<u8>) {
    put_index(s.len(), out);
    out.extend_from_slice(s.as_bytes());
}

/// Appends a length or an index; neither comes near 2^63.
#[inline]
pub(crate) fn put_index(i: usize, out: &mut Vec<u8>) {
    put_long(i64::try_from(i).unwrap_or(i64::MAX), out);
}

impl Datum for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        match from.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Datum for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(i64::from(*self), out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        Self::try_from(from.long()?).ok()
    }
}

impl Datum for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(*self, out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        from.long()
    }
}

impl Datum for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    /// NaN and the infinities, which no JSON has, count as malformed.
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        from.take(8)?.try_into().ok().map(Self::from_le_bytes).filter(|v| v.is_finite())
    }
}

impl Datum for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_str(self, out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        from.str().map(str::to_owned)
    }
}

impl Datum for Micros {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(self.0, out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        from.long().filter(|t| Self::RANGE.contains(t)).map(Self)
    }
}

impl Datum for Date {
    fn put(&self, out: &mut Vec<u8>) {
        put_long(i64::from(self.0), out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        i32::get(from).filter(|d| Self::RANGE.contains(d)).map(Self)
    }
}

impl Datum for EventId {
    fn put(&self, out: &mut Vec<u8>) {
        put_str(self.0.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()), out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        from.str()?.parse().ok()
    }
}

impl Datum for PatientId {
    fn put(&self, out: &mut Vec<u8>) {
        put_str(&self.0, out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        String::get(from).map(Self)
    }
}

impl Datum for Embedded {
    fn put(&self, out: &mut Vec<u8>) {
        put_str(&self.0, out);
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        use serde::{Deserialize, de::IntoDeserializer, de::value::Error};
        let text: serde::de::value::StrDeserializer<'_, Error> = from.str()?.into_deserializer();
        Self::deserialize(text).ok()
    }
}

/// The union `["null", T]`.
impl<T: Datum> Datum for Option<T> {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(v) => {
                out.push(2);
                v.put(out);
            }
        }
    }
    #[inline]
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        match from.index()? {
            0 => Some(None),
            1 => T::get(from).map(Some),
            _ => None,
        }
    }
    /// An absent field is left out.
    fn content(&self, out: &mut Vec<u8>) {
        if let Some(v) = self {
            v.content(out);
        }
    }
}

impl<T: Datum> Datum for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_index(self.len(), out);
            self.iter().for_each(|v| v.put(out));
        }
        out.push(0);
    }
    fn content(&self, out: &mut Vec<u8>) {
        put_index(self.len(), out);
        self.iter().for_each(|v| v.content(out));
    }
    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let mut all = Self::new();
        loop {
            let n = from.long()?;
            if n < 0 {
                // A negative count is followed by the block's size in bytes, for readers that skip it.
                from.long()?;
            }
            let n = n.unsigned_abs();
            if n == 0 {
                return Some(all);
            }
            // Not reserved beforehand: every item takes a byte at least, so a false count soon runs out of bytes.
            for _ in 0..n {
                all.push(T::get(from)?);
            }
        }
    }
}
