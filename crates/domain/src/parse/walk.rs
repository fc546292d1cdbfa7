//! Compares a generic value with an event's Avro schema and notes every difference.

use super::FieldError;
use crate::event::Kind;
use crate::ids::EventId;
use crate::time::{Date, Micros};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The schemas as values, read at the first refusal.
static SCHEMAS: LazyLock<HashMap<&'static str, Value>> = LazyLock::new(|| {
    Kind::ALL.iter().filter_map(|k| serde_json::from_str(k.schema()).ok().map(|schema| (k.as_str(), schema))).collect()
});

/// Types that a schema defines where it first uses them, by name.
type Named<'a> = HashMap<&'a str, &'a Value>;

/// Notes all that keeps `value` from being an event, and says which one it means to be.
pub(super) fn event(value: &Value, at: &str, errors: &mut Vec<FieldError>) -> Option<Kind> {
    let Value::Object(fields) = value else {
        errors.push(FieldError::new(at, "must be an event: a JSON object"));
        return None;
    };
    let kind = match fields.get("type") {
        None => {
            errors.push(FieldError::new(format!("{at}/type"), "is required"));
            return None;
        }
        Some(Value::String(name)) => Kind::from_name(name),
        Some(_) => {
            errors.push(FieldError::new(format!("{at}/type"), "must be a string"));
            return None;
        }
    };
    let Some(schema) = kind.and_then(|k| SCHEMAS.get(k.as_str())) else {
        errors.push(FieldError::new(format!("{at}/type"), "is not a known event type"));
        return None;
    };
    let mut named = Named::new();
    collect(schema, &mut named);
    record(schema, value, at, &named, true, errors);
    kind
}

fn collect<'a>(schema: &'a Value, named: &mut Named<'a>) {
    match schema {
        Value::Object(o) => {
            if let (Some(name), Some("enum" | "record")) = (schema["name"].as_str(), schema["type"].as_str()) {
                named.insert(name, schema);
            }
            for key in ["type", "items", "fields"] {
                if let Some(inner) = o.get(key) {
                    collect(inner, named);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|s| collect(s, named)),
        _ => {}
    }
}

fn record(schema: &Value, value: &Value, at: &str, named: &Named<'_>, is_event: bool, errors: &mut Vec<FieldError>) {
    let Value::Object(given) = value else {
        errors.push(FieldError::new(at, "must be an object"));
        return;
    };
    let fields = schema["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name_of = |f: &Value| f["name"].as_str().unwrap_or_default().to_owned();
    for f in fields {
        let name = name_of(f);
        let at = format!("{at}/{name}");
        match given.get(&name) {
            Some(v) if f["contains"] == "event" => embedded(v, &at, errors),
            Some(v) => field(&f["type"], v, &at, named, errors),
            None if f.get("default").is_some() => {}
            None => errors.push(FieldError::new(at, "is required")),
        }
    }
    let record = schema["name"].as_str().unwrap_or("this record");
    let known = |k: &str| (is_event && k == "type") || fields.iter().any(|f| f["name"] == k);
    for key in given.keys().filter(|k| !known(k)) {
        errors.push(FieldError::new(format!("{at}/{}", escape(key)), format!("is not a field of {record}")));
    }
}

fn embedded(value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(_) => {
            event(value, at, errors);
        }
        Value::String(s) => match serde_json::from_str(s) {
            Ok(inner) => {
                event(&inner, at, errors);
            }
            Err(_) => errors.push(FieldError::new(at, "must be an event: a JSON object")),
        },
        _ => errors.push(FieldError::new(at, "must be an event: a JSON object")),
    }
}

fn field(schema: &Value, value: &Value, at: &str, named: &Named<'_>, errors: &mut Vec<FieldError>) {
    let wrong = match schema {
        Value::String(name) => match name.as_str() {
            "string" => (!value.is_string()).then(|| "must be a string".to_owned()),
            "boolean" => (!value.is_boolean()).then(|| "must be true or false".to_owned()),
            "double" => (!value.is_number()).then(|| "must be a number".to_owned()),
            "int" => whole(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            "long" => whole(value, i64::MIN, i64::MAX),
            other => {
                if let Some(definition) = named.get(other.rsplit('.').next().unwrap_or(other)) {
                    field(definition, value, at, named, errors);
                }
                None
            }
        },
        Value::Array(union) => {
            if !value.is_null()
                && let Some(inner) = union.get(1)
            {
                field(inner, value, at, named, errors);
            }
            None
        }
        Value::Object(o) => match (schema["type"].as_str(), o.get("logicalType").and_then(Value::as_str)) {
            (_, Some("timestamp-micros")) => {
                parsed(value, Micros::parse, "must be an RFC 3339 time with offset, such as 2026-03-02T09:00:00+09:00")
            }
            (_, Some("date")) => parsed(value, Date::parse, "must be a day as YYYY-MM-DD"),
            (_, Some("uuid")) => parsed(value, |s| s.parse::<EventId>().ok(), "must be a UUID"),
            (Some("enum"), _) => symbol(&schema["symbols"], value),
            (Some("array"), _) => {
                items(&schema["items"], value, at, named, errors);
                None
            }
            (Some("record"), _) => {
                record(schema, value, at, named, false, errors);
                None
            }
            _ => None,
        },
        _ => None,
    };
    if let Some(reason) = wrong {
        errors.push(FieldError::new(at, reason));
    }
}

fn items(schema: &Value, value: &Value, at: &str, named: &Named<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Array(all) => {
            for (i, v) in all.iter().enumerate() {
                field(schema, v, &format!("{at}/{i}"), named, errors);
            }
        }
        _ => errors.push(FieldError::new(at, "must be an array")),
    }
}

fn whole(value: &Value, min: i64, max: i64) -> Option<String> {
    match value.as_i64() {
        Some(v) if (min..=max).contains(&v) => None,
        _ => Some(format!("must be a whole number from {min} to {max}")),
    }
}

fn parsed<T>(value: &Value, parse: impl Fn(&str) -> Option<T>, reason: &str) -> Option<String> {
    value.as_str().and_then(parse).is_none().then(|| reason.to_owned())
}

fn symbol(symbols: &Value, value: &Value) -> Option<String> {
    let symbols = symbols.as_array().map(Vec::as_slice).unwrap_or_default();
    if symbols.contains(value) {
        return None;
    }
    let mut reason = String::from("must be one of ");
    for (i, s) in symbols.iter().filter_map(Value::as_str).enumerate() {
        let _ = write!(reason, "{}{s}", if i > 0 { ", " } else { "" });
    }
    Some(reason)
}

/// A name as a part of a JSON pointer; cut where it is absurdly long.
fn escape(name: &str) -> String {
    const LONGEST: usize = 64;
    name.chars().take(LONGEST).collect::<String>().replace('~', "~0").replace('/', "~1")
}
