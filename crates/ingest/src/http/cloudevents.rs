//! CloudEvents 1.0: structured, batch and binary.
//!
//! `data` holds the event's fields. What the envelope says fills what `data.header` leaves out; where both say something,
//! they must agree, and a contradiction is refused. Only two things are taken from the header when both are given: a
//! `source.system` (the CloudEvents `source` is a URI of the sender's own making), and an `event_id` where the envelope's
//! `id` is no UUID.

use crate::numbered;
use crate::problem::Problem;
use crate::site::Pseudonyms;
use axum::http::HeaderMap;
use domain::parse::{self, FieldError};
use domain::{Event, EventId, Micros};
use serde_json::{Map, Value, json};

/// What every type of ours begins with.
const TYPE_PREFIX: &str = "org.journeylog.event.";

/// Namespace of event ids derived from `source` and `id`.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x6d0c_8a0e_6c1b_5d7c_9a53_2f5d_0f86_3b11);

/// Whether these are the headers of a CloudEvent in binary mode.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion")
}

/// Reads a structured CloudEvent.
pub(super) fn structured(text: &str, known: Option<&Pseudonyms>) -> Result<Event, Problem> {
    let value = parse::value(text.as_bytes()).map_err(Problem::of_parse)?;
    let Value::Object(mut envelope) = value else {
        return Err(Problem::invalid(vec![FieldError::new("", "must be a CloudEvent: a JSON object")]));
    };
    let data = envelope.remove("data");
    if envelope.contains_key("data_base64") {
        return Err(Problem::invalid(vec![FieldError::new("/data_base64", "is not taken: send data as JSON")]));
    }
    let content = envelope.get("datacontenttype").and_then(Value::as_str).unwrap_or("application/json");
    if !content.split(';').next().is_some_and(|c| c.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::invalid(vec![FieldError::new("/datacontenttype", "must be application/json")]));
    }
    open(&envelope, data, ("", "/data"), known)
}

/// Reads a CloudEvent in binary mode: attributes in `ce-` headers, data in the body.
pub(super) fn binary(headers: &HeaderMap, text: &str, known: Option<&Pseudonyms>) -> Result<Event, Problem> {
    let mut envelope = Map::new();
    for (name, value) in headers {
        if let Some(attribute) = name.as_str().strip_prefix("ce-") {
            let pointer = format!("/ce-{attribute}");
            let wrong = |reason| Problem::invalid(vec![FieldError::new(pointer.clone(), reason)]);
            let value = value.to_str().map_err(|_| wrong("must be ASCII, percent-encoded"))?;
            let value = percent_decoded(value).ok_or_else(|| wrong("is not percent-encoded UTF-8"))?;
            envelope.insert(attribute.to_owned(), Value::String(value));
        }
    }
    let data = parse::value(text.as_bytes()).map_err(Problem::of_parse)?;
    open(&envelope, Some(data), ("/ce-", ""), known)
}

/// Puts envelope and data together. `attribute` and `at` are where attributes and data stand in what was sent.
fn open(
    envelope: &Map<String, Value>,
    data: Option<Value>,
    (attribute, at): (&str, &str),
    known: Option<&Pseudonyms>,
) -> Result<Event, Problem> {
    let pointer = |name: &str| if attribute.is_empty() { format!("/{name}") } else { format!("{attribute}{name}") };
    let mut errors = Vec::new();
    let mut wrong = |name: &str, reason: &str| errors.push(FieldError::new(pointer(name), reason));
    let text = |name: &str| envelope.get(name).and_then(Value::as_str);
    if text("specversion") != Some("1.0") {
        wrong("specversion", "must be 1.0");
    }
    for name in ["id", "source", "type"] {
        if text(name).is_none_or(str::is_empty) {
            wrong(name, "is required");
        }
    }
    for name in ["time", "subject", "zone"] {
        if envelope.get(name).is_some_and(|v| !v.is_string()) {
            wrong(name, "must be a string");
        }
    }
    let name = text("type").unwrap_or_default();
    let kind = name.strip_prefix(TYPE_PREFIX).and_then(domain::Kind::from_name);
    if kind.is_none() && !name.is_empty() {
        wrong("type", "must be org.journeylog.event. and the name of a known event");
    }
    let Some(Value::Object(mut event)) = data else {
        errors.push(FieldError::new(at, "must be an object with the event's fields"));
        return Err(Problem::invalid(errors));
    };
    if let (Some(kind), Some(inner)) = (kind, event.get("type"))
        && inner != kind.as_str()
    {
        wrong("type", "contradicts the type in data");
    }
    event.insert("type".into(), kind.map_or(Value::Null, |k| k.as_str().into()));
    let mut filled = Vec::new();
    if let Value::Object(header) = event.entry("header").or_insert_with(|| json!({})) {
        merge(envelope, header, &mut wrong, &mut filled);
    }
    if let Err(e) = numbered::identify(&mut event, known) {
        errors.push(FieldError::new(format!("{at}{}", e.pointer), e.reason));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    parse::event_value(&Value::Object(event)).map_err(|e| {
        let fields = e.into_fields().into_iter().map(|f| match filled.iter().find(|(p, _)| *p == f.pointer) {
            Some((_, name)) => FieldError::new(pointer(name), f.reason),
            None => FieldError::new(format!("{at}{}", f.pointer), f.reason),
        });
        Problem::invalid(fields.collect())
    })
}

/// Fills the header from the envelope; notes contradictions in `wrong`, and in `filled` which pointer came from where.
fn merge(
    envelope: &Map<String, Value>,
    header: &mut Map<String, Value>,
    wrong: &mut impl FnMut(&str, &str),
    filled: &mut Vec<(&'static str, &'static str)>,
) {
    let text = |name: &str| envelope.get(name).and_then(Value::as_str);
    let (id, source) = (text("id").unwrap_or_default(), text("source").unwrap_or_default());
    let uuid = id.parse::<EventId>().ok();
    match (header.get("event_id").and_then(Value::as_str), uuid) {
        (Some(given), Some(uuid)) if given.parse::<EventId>().is_ok_and(|g| g != uuid) => {
            wrong("id", "contradicts header.event_id in data");
        }
        (Some(_), _) => {}
        (None, _) => {
            // A repeated `source` + `id` is the same event by the CloudEvents rules.
            let derived = || EventId(uuid::Uuid::new_v5(&NAMESPACE, format!("{source}\n{id}").as_bytes()));
            header.insert("event_id".into(), uuid.unwrap_or_else(derived).to_string().into());
            filled.push(("/header/event_id", "id"));
        }
    }
    if let Some(time) = text("time") {
        let given = header.get("occurred_at").and_then(Value::as_str).and_then(Micros::parse);
        match header.get("occurred_at") {
            None => {
                header.insert("occurred_at".into(), time.into());
                filled.push(("/header/occurred_at", "time"));
            }
            Some(_) if given.is_some() && given != Micros::parse(time) => {
                wrong("time", "contradicts header.occurred_at in data");
            }
            Some(_) => {}
        }
    }
    if !header.contains_key("recorded_at")
        && let Some(occurred) = header.get("occurred_at").cloned()
    {
        header.insert("recorded_at".into(), occurred);
        filled.push(("/header/recorded_at", "time"));
    }
    for (attribute, field, at) in [("subject", "patient_id", "/header/patient_id"), ("zone", "zone", "/header/zone")] {
        match (text(attribute), header.get(field)) {
            (Some(value), None) => {
                header.insert(field.into(), value.into());
                filled.push((at, attribute));
            }
            (Some(value), Some(given)) if given != value => {
                wrong(attribute, &format!("contradicts header.{field} in data"));
            }
            _ => {}
        }
    }
    if let Value::Object(inner) = header.entry("source").or_insert_with(|| json!({})) {
        inner.entry("system").or_insert_with(|| source.into());
        if uuid.is_none() {
            inner.entry("message_id").or_insert_with(|| id.into());
        }
    }
}

/// RFC 3986 percent-decoding, as the HTTP binding of CloudEvents and searches in FHIR have it.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}
