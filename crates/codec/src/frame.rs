//! The frame: 0x00, schema id as 4 bytes big-endian, datum.

use crate::registry::{self, Entry};
use domain::{Event, avro::Bytes};

/// Most bytes of a datum that [`decode`] looks at; ingest takes no event near this size.
pub const MAX_DATUM: usize = 4 * 1024 * 1024;

/// Why bytes are not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is not 0x00 and a 4-byte id.
    #[error("not a Confluent frame")]
    Frame,
    /// No schema has that id.
    #[error("unknown schema id {0}")]
    UnknownSchema(u32),
    /// The datum does not fit its schema. The reason never quotes the datum.
    #[error("the datum does not fit schema id {id}: {reason}")]
    Datum {
        /// Schema id.
        id: u32,
        /// What does not fit.
        reason: &'static str,
    },
}

/// Appends the frame of an event, written with its newest schema, which is the one that its type is generated from.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&registry::newest(event.kind()).id.to_be_bytes());
    event.put_datum(out);
}

/// Reads a frame, by the schema that wrote it.
///
/// # Errors
/// When it is no frame, its schema is unknown, or its datum does not fit: cut short, too long, a value out of range.
pub fn decode(frame: &[u8]) -> Result<Event, DecodeError> {
    let Some((&[0, a, b, c, d], datum)) = frame.split_first_chunk::<5>() else {
        return Err(DecodeError::Frame);
    };
    let id = u32::from_be_bytes([a, b, c, d]);
    read(registry::by_id(id).ok_or(DecodeError::UnknownSchema(id))?, datum)
}

/// Reads a datum to its last byte.
pub(crate) fn read(entry: &Entry, datum: &[u8]) -> Result<Event, DecodeError> {
    let id = entry.id;
    let refuse = |reason| DecodeError::Datum { id, reason };
    if datum.len() > MAX_DATUM {
        return Err(refuse("larger than an event may be"));
    }
    let (event, rest) = if entry.newest { newest(entry, datum) } else { resolved(entry, datum) }
        .ok_or_else(|| refuse("cut short, malformed, or a value out of range"))?;
    if rest.is_empty() { Ok(event) } else { Err(refuse("bytes follow the datum")) }
}

/// Reads what the schema of this build wrote, with the generated reader.
fn newest<'a>(entry: &Entry, datum: &'a [u8]) -> Option<(Event, &'a [u8])> {
    let mut from = Bytes(datum);
    Some((Event::get_datum(entry.kind, &mut from)?, from.0))
}

/// Reads what any known schema wrote: fields that this build has not are dropped, those that it has more get their default.
fn resolved<'a>(entry: &Entry, datum: &'a [u8]) -> Option<(Event, &'a [u8])> {
    let mut rest = datum;
    let event = entry.reader().read(&mut rest)?;
    // What the generated reader refuses (U+0000, NaN) is refused here too: an older schema is no way around it.
    let mut again = Vec::with_capacity(datum.len());
    event.put_datum(&mut again);
    Event::get_datum(entry.kind, &mut Bytes(&again))?;
    Some((event, rest))
}

#[cfg(test)]
pub(crate) mod tests;
