//! What becomes of one record.

use crate::publisher::{Prepared, record_of};
use bytes::Bytes;
use codec::DecodeError;
use domain::source::label;
use domain::{EventId, Micros, parse};
use eventlog::relay::{Incoming, Outgoing};
use eventlog::{MAX_RECORD_BYTES, NewRecord};

/// Names of the headers that a refused record gets.
pub mod header {
    /// What all begin with. A sender's own headers that do so are not copied.
    pub const PREFIX: &str = "refused-";
    /// One of the codes of [`super::REASONS`].
    pub const REASON: &str = "refused-reason";
    /// The reason in words; quotes no value.
    pub const DETAIL: &str = "refused-detail";
    /// JSON pointers to the wrong fields, with spaces between; absent where no field is to blame.
    pub const POINTERS: &str = "refused-pointers";
    /// Topic, partition and offset of the record in the inbox, as in `journey.inbox:3:1042`.
    pub const POSITION: &str = "refused-position";
    /// When it was refused, RFC 3339.
    pub const AT: &str = "refused-at";
    /// The event's `source.system`, where it can be read; made safe to show.
    pub const SOURCE: &str = "refused-source";
    /// The event's id, where it can be read.
    pub const EVENT_ID: &str = "refused-event-id";
}

/// Every code of a refusal, and what it means.
pub const REASONS: [(&str, &str); 6] = [
    ("not_framed", "the value is not a Confluent frame: 0x00, schema id (4 bytes), Avro datum"),
    ("unknown_schema", "the registry has no schema with the frame's id"),
    ("not_the_schema", "the bytes after the id are not a datum of that schema"),
    ("invalid", "a field breaks a rule; refused-pointers says which"),
    ("conflict", "another event was seen under this id"),
    ("too_large", "the record is larger than the log takes"),
];

/// Most pointers and most bytes of words that a header says.
const MOST_POINTERS: usize = 20;
const MOST_DETAIL_BYTES: usize = 2_000;
/// Longest `traceparent` that is passed on, bytes.
const MOST_TRACE_BYTES: usize = 64;

/// An event that keeps all rules.
pub(super) struct Judgement {
    pub(super) source: String,
    pub(super) id: EventId,
    pub(super) hash: u64,
    pub(super) moved: NewRecord,
}

/// Why a record is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Why {
    /// One of [`REASONS`].
    pub(super) code: &'static str,
    detail: String,
    pointers: String,
    id: Option<EventId>,
}

impl Why {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), pointers: String::new(), id: None }
    }

    /// The record for the topic of refused ones.
    pub(super) fn refuse(self, topic: &str, mut record: Incoming, source: Option<String>, now: Micros) -> Outgoing {
        // nobody else's, and none of an earlier refusal: they are shown to operators
        record.headers.retain(|(name, _)| !name.starts_with(header::PREFIX));
        let position = format!("{topic}:{}:{}", record.partition, record.offset);
        let mut headers = vec![
            (header::REASON, Bytes::from_static(self.code.as_bytes())),
            (header::DETAIL, Bytes::from(self.detail)),
            (header::POSITION, Bytes::from(position)),
            (header::AT, Bytes::from(now.to_string())),
        ];
        if !self.pointers.is_empty() {
            headers.push((header::POINTERS, Bytes::from(self.pointers)));
        }
        headers.extend(source.map(|s| (header::SOURCE, Bytes::from(label(&s).into_owned()))));
        headers.extend(self.id.map(|id| (header::EVENT_ID, Bytes::from(id.to_string()))));
        Outgoing::Refused(record, headers)
    }
}

/// Judges one record by itself; its source is known where its event can be read.
pub(super) fn judge(
    record: &Incoming,
    limits: &parse::Limits,
    now: Micros,
) -> Result<Judgement, (Option<String>, Why)> {
    let Some(value) = &record.value else { return Err((None, Why::new("not_framed", "it has no value"))) };
    if value.len() > MAX_RECORD_BYTES {
        return Err((None, too_large(value.len())));
    }
    let event = codec::decode(value).map_err(|e| {
        let code = match e {
            DecodeError::Frame => "not_framed",
            DecodeError::UnknownSchema(_) => "unknown_schema",
            DecodeError::Datum { .. } => "not_the_schema",
        };
        (None, Why::new(code, e.to_string()))
    })?;
    let (source, id) = (event.header().source.system.clone(), event.header().event_id);
    let prepared = Prepared::new(event, limits, now).map_err(|errors| {
        let pointers: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).take(MOST_POINTERS).collect();
        let mut detail = String::new();
        for e in &errors {
            let line = format!("{} {}; ", e.pointer, e.reason);
            if detail.len() + line.len() > MOST_DETAIL_BYTES {
                break;
            }
            detail.push_str(&line);
        }
        let why = Why::new("invalid", detail.trim_end_matches("; "));
        (Some(source.clone()), Why { pointers: pointers.join(" "), id: Some(id), ..why })
    })?;
    // The sender's bytes: written by a schema that everybody knows, and read to the last byte.
    let moved = record_of(prepared.event(), value.clone(), trace(record));
    if moved.size() > MAX_RECORD_BYTES {
        return Err((Some(source), Why { id: Some(id), ..too_large(moved.size()) }));
    }
    Ok(Judgement { source, id, hash: prepared.hash(), moved })
}

/// The refusal of an id that stood for another event.
pub(super) fn conflict(id: EventId) -> Why {
    Why { id: Some(id), ..Why::new("conflict", "another event with this id was accepted before") }
}

fn too_large(size: usize) -> Why {
    Why::new("too_large", format!("{size} bytes are more than {MAX_RECORD_BYTES}"))
}

/// The W3C trace context, if the sender gave one.
fn trace(record: &Incoming) -> Option<Bytes> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "traceparent")?;
    let plain = |b: &u8| b.is_ascii_hexdigit() || *b == b'-';
    (value.len() <= MOST_TRACE_BYTES && value.iter().all(plain)).then(|| value.clone())
}
