//! JSON bytes -> [`Event`], or every wrong field with a JSON pointer.
//!
//! The usual way is straight into the struct. Only when that fails is the text read again as a generic value and compared
//! with the event's schema, to name all that is wrong at once. A reason never quotes a value: it may be personal.

mod check;
mod unique;
mod walk;

pub use check::{Limits, MOST_IDENTIFIER_BYTES, storable, validate};
pub use unique::value;

use crate::event::{Event, Kind};
use serde::Deserialize;
use std::borrow::Cow;

/// One wrong field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to it, empty for the whole document; or the name of a parameter.
    pub pointer: String,
    /// What is wrong, without quoting the value.
    pub reason: String,
}

impl FieldError {
    /// A wrong field.
    #[must_use]
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

/// Why a text is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseError {
    /// The bytes are not UTF-8.
    Utf8,
    /// The text is not JSON; the reason says where.
    Json(String),
    /// It is JSON, but these fields are wrong.
    Fields(Vec<FieldError>),
}

impl ParseError {
    /// The wrong fields; the whole document counts as one.
    #[must_use]
    pub fn into_fields(self) -> Vec<FieldError> {
        match self {
            Self::Utf8 => vec![FieldError::new("", "is not UTF-8")],
            Self::Json(reason) => vec![FieldError::new("", reason)],
            Self::Fields(fields) => fields,
        }
    }
}

/// Reads one event.
///
/// ```
/// let e = journeylog_domain::parse::event(br#"{"type":"AppointmentNoShow","header":{}}"#).unwrap_err();
/// assert!(e.into_fields().iter().any(|f| f.pointer == "/appointment_id" && f.reason == "is required"));
/// ```
///
/// # Errors
/// When the bytes are no JSON, or name no known event, or any field is missing, unknown or of the wrong type. Rules
/// between fields are those of [`validate`].
pub fn event(bytes: &[u8]) -> Result<Event, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::Utf8)?;
    event_str(text)
}

/// Reads one event from text; see [`event`].
///
/// # Errors
/// As [`event`].
pub fn event_str(text: &str) -> Result<Event, ParseError> {
    if let Some(event) = kind_of(text).and_then(|kind| fast(kind, text)) {
        return Ok(event);
    }
    let value = serde_json::from_str(text).map_err(|e| ParseError::Json(not_json(&e)))?;
    let mut errors = Vec::new();
    walk::event(&value, "", &mut errors);
    if errors.is_empty() {
        // What a generic value can't show: a field that comes twice.
        errors.push(FieldError::new("", "has a field twice"));
    }
    errors.truncate(MOST_ERRORS);
    Err(ParseError::Fields(errors))
}

/// How many wrong fields are named at most.
const MOST_ERRORS: usize = 100;

/// Reads one event from a generic value; slower than [`event`].
///
/// # Errors
/// As [`event`].
pub fn event_value(value: &serde_json::Value) -> Result<Event, ParseError> {
    let mut errors = Vec::new();
    let kind = walk::event(value, "", &mut errors);
    errors.truncate(MOST_ERRORS);
    match kind.map(|k| Event::deserialize_record(k, value)) {
        Some(Ok(event)) if errors.is_empty() => Ok(event),
        _ if errors.is_empty() => Err(ParseError::Fields(vec![FieldError::new("", "is no event")])),
        _ => Err(ParseError::Fields(errors)),
    }
}

/// Where a text stops being JSON; serde_json's own message may quote what it found.
#[must_use]
pub fn not_json(e: &serde_json::Error) -> String {
    let what = if e.is_eof() { "ends too early" } else { "is not JSON" };
    format!("{what} (line {}, column {})", e.line(), e.column())
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// The event's type. Most writers put it first, which saves a pass over the text.
fn kind_of(text: &str) -> Option<Kind> {
    let first = text.trim_ascii_start().strip_prefix('{').map(str::trim_ascii_start);
    let name = first
        .and_then(|t| t.strip_prefix("\"type\""))
        .and_then(|t| t.trim_ascii_start().strip_prefix(':'))
        .and_then(|t| t.trim_ascii_start().strip_prefix('"'))
        .and_then(|t| t.split_once('"'));
    match name {
        Some((name, _)) => Kind::from_name(name),
        None => serde_json::from_str::<Probe>(text).ok().and_then(|p| Kind::from_name(&p.kind)),
    }
}

/// Straight into the struct; `None` when anything is wrong.
fn fast(kind: Kind, text: &str) -> Option<Event> {
    let mut types = 0;
    let mut unknown = false;
    let mut json = serde_json::Deserializer::from_str(text);
    let mut note = |path: serde_ignored::Path<'_>| match path {
        serde_ignored::Path::Map { parent: serde_ignored::Path::Root, ref key } if key == "type" => types += 1,
        _ => unknown = true,
    };
    let event = Event::deserialize_record(kind, serde_ignored::Deserializer::new(&mut json, &mut note)).ok()?;
    json.end().ok()?;
    (types == 1 && !unknown).then_some(event)
}

#[cfg(test)]
mod tests;
