//! A tree of schema files, as `schemas/` holds them, and the normal form in which schemas are compared.

use domain::inline::self_contained;
use serde_json::Value;

/// The parts of a schema that matter for reading and writing, in one fixed spelling: full names, no docs, none of our own
/// attributes, keys sorted.
#[must_use]
pub fn normal_form(schema: &Value) -> String {
    normal(schema, "", false).to_string()
}

/// `name` within `namespace`.
pub(crate) fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The normal form as a value. Objects become lists of pairs, so that no feature of `serde_json` changes the order.
fn normal(schema: &Value, namespace: &str, field: bool) -> Value {
    match schema {
        Value::String(s) if PRIMITIVES.contains(&s.as_str()) => schema.clone(),
        Value::String(s) => Value::String(full_name(s, namespace)),
        Value::Array(a) => a.iter().map(|x| normal(x, namespace, false)).collect(),
        Value::Object(o) => {
            let space = if field { namespace } else { o.get("namespace").and_then(Value::as_str).unwrap_or(namespace) };
            let mut out = Vec::new();
            for key in [
                "name",
                "aliases",
                "type",
                "logicalType",
                "precision",
                "scale",
                "size",
                "fields",
                "items",
                "values",
                "symbols",
                "default",
                "order",
            ] {
                let Some(v) = o.get(key) else { continue };
                let v = match key {
                    "name" if !field => Value::String(full_name(v.as_str().unwrap_or_default(), space)),
                    "type" | "items" | "values" => normal(v, space, false),
                    "fields" => v.as_array().into_iter().flatten().map(|f| normal(f, space, true)).collect(),
                    _ => v.clone(),
                };
                out.push(Value::Array(vec![Value::String(key.to_owned()), v]));
            }
            Value::Array(out)
        }
        other => other.clone(),
    }
}

/// One event of a tree.
#[derive(Debug, Clone)]
pub struct EventSchema {
    /// Its name, as in `AppointmentBooked`.
    pub name: String,
    /// Name of its file, as in `appointment_booked.avsc`.
    pub file: String,
    /// Its schema, self-contained.
    pub schema: Value,
}

/// A parsed `schemas/` folder, by event name.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Its events.
    pub events: Vec<EventSchema>,
}

/// A file of the tree is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct TreeError {
    /// The file, as the caller named it.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

impl Tree {
    /// Reads the texts of `header.avsc`, of `types.avsc`, and of each file of `events/` (file name and text).
    ///
    /// # Errors
    /// When one is not JSON, has no name, or names a type that is not there.
    pub fn parse(header: &str, types: &str, events: &[(String, String)]) -> Result<Self, TreeError> {
        let wrong = |file: &str, reason: String| TreeError { file: file.to_owned(), reason };
        let json = |file: &str, text: &str| serde_json::from_str::<Value>(text).map_err(|e| wrong(file, e.to_string()));
        let (header, types) = (json("header.avsc", header)?, json("types.avsc", types)?);
        let mut out = Vec::with_capacity(events.len());
        for (file, text) in events {
            let schema = self_contained(&json(file, text)?, &types, &header).map_err(|e| wrong(file, e))?;
            let name = schema["name"].as_str().ok_or_else(|| wrong(file, "it has no name".to_owned()))?.to_owned();
            out.push(EventSchema { name, file: file.clone(), schema });
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { events: out })
    }

    /// Name and self-contained text of each event's schema.
    #[must_use]
    pub fn texts(&self) -> Vec<(String, String)> {
        self.events.iter().map(|e| (e.name.clone(), e.schema.to_string())).collect()
    }
}

/// The file that an event's schema is kept in: `AppointmentBooked` in `appointment_booked.avsc`.
#[must_use]
pub fn file_name(event: &str) -> String {
    let mut out = String::with_capacity(event.len() + 10);
    for (i, c) in event.chars().enumerate() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out + ".avsc"
}
