//! The frame: 0x00, schema id as 4 bytes big-endian, datum.

use crate::registry;
use domain::Event;
use serde_avro_fast::de::{DeserializerConfig, DeserializerState, read::SliceRead};
use serde_avro_fast::ser::{SerializerConfig, SerializerState};
use std::io::BufRead as _;

/// Most bytes of a datum that [`decode`] looks at; ingest takes no event near this size.
pub const MAX_DATUM: usize = 16 * 1024 * 1024;

/// Nesting that a datum may have; the catalogue's deepest is 4.
const MAX_DEPTH: usize = 16;

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

/// Appends the frame of an event, written with its newest schema.
///
/// # Panics
/// Never for a value of the generated types: they and the schema come from the same `.avsc`. (A change of the generator
/// that breaks this is caught by the round trip of every event type in this crate's tests.)
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    let entry = registry::newest(event.kind());
    out.push(0);
    out.extend_from_slice(&entry.id.to_be_bytes());
    let mut config = SerializerConfig::new(entry.avro());
    let mut state = SerializerState::from_writer(out, &mut config);
    if let Err(e) = event.serialize_record(state.serializer()) {
        unreachable!("generated type and schema of {} differ: {e}", entry.kind.as_str());
    }
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
    let entry = registry::by_id(id).ok_or(DecodeError::UnknownSchema(id))?;
    let refuse = |reason| DecodeError::Datum { id, reason };
    if datum.len() > MAX_DATUM {
        return Err(refuse("larger than an event may be"));
    }
    let mut config = DeserializerConfig::new(entry.avro());
    // Every item of our arrays takes a byte at least, so no honest array has more items than the datum has bytes.
    config.max_seq_size = datum.len();
    config.allowed_depth = MAX_DEPTH;
    let mut state = DeserializerState::with_config(SliceRead::new(datum), config);
    let event = Event::deserialize_record(entry.kind, state.deserializer())
        .map_err(|_| refuse("cut short, malformed, or a value out of range"))?;
    match state.into_reader().fill_buf() {
        Ok([]) => Ok(event),
        _ => Err(refuse("bytes follow the datum")),
    }
}
