//! A tree of schema files, as `schemas/` holds them, and the normal form in which schemas are compared.

use domain::inline::self_contained;
use serde_json::{Map, Value};

/// The parts of a schema that matter for reading and writing, in one fixed spelling: full names, no docs, none of our own
/// attributes, keys sorted.
#[must_use]
pub fn normal_form(schema: &Value) -> String {
    Spelling { kept: NORMAL, pairs: true }.schema(schema, "").to_string()
}

/// What Avro's Parsing Canonical Form keeps, in our spelling: schemas with the same write and read the same bytes.
#[must_use]
pub fn canonical_form(schema: &Value) -> String {
    Spelling { kept: &["name", "type", "size", "fields", "items", "values", "symbols"], pairs: true }
        .schema(schema, "")
        .to_string()
}

/// A schema with the parts of [`normal_form`], as a schema.
#[must_use]
pub fn respelt(schema: &Value) -> Value {
    Spelling { kept: NORMAL, pairs: false }.schema(schema, "")
}

const NORMAL: &[&str] = &[
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
];

/// `name` within `namespace`.
pub(crate) fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

const KINDS: [&str; 5] = ["record", "enum", "fixed", "array", "map"];
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// How a schema is spelt.
struct Spelling {
    /// Attributes that are kept, in this order.
    kept: &'static [&'static str],
    /// Objects become lists of pairs, so that no feature of `serde_json` changes the order.
    pairs: bool,
}

impl Spelling {
    fn schema(&self, schema: &Value, namespace: &str) -> Value {
        match schema {
            Value::String(s) if PRIMITIVES.contains(&s.as_str()) => schema.clone(),
            // the fingerprints of the lock were made with these taken for names, which does no harm there
            Value::String(s) if !self.pairs && KINDS.contains(&s.as_str()) => schema.clone(),
            Value::String(s) => Value::String(full_name(s, namespace)),
            Value::Array(a) => a.iter().map(|x| self.schema(x, namespace)).collect(),
            Value::Object(o) => {
                let space = namespace_of(o).unwrap_or(namespace);
                let mut attributes = self.attributes(o, space, false);
                match &mut attributes[..] {
                    // {"type": T} without more is T
                    [("type", only)] => only.take(),
                    _ => self.object(attributes),
                }
            }
            other => other.clone(),
        }
    }

    fn attributes(&self, of: &Map<String, Value>, space: &str, field: bool) -> Vec<(&'static str, Value)> {
        let attribute = |key: &&'static str| {
            let v = of.get(*key)?;
            let v = match *key {
                "name" if !field => Value::String(full_name(v.as_str().unwrap_or_default(), space)),
                "type" | "items" | "values" => self.schema(v, space),
                "fields" => v.as_array().into_iter().flatten().map(|f| self.field(f, space)).collect(),
                // said or not, it is the same
                "order" if v == "ascending" => return None,
                _ => v.clone(),
            };
            Some((*key, v))
        };
        self.kept.iter().filter_map(attribute).collect()
    }

    fn field(&self, field: &Value, space: &str) -> Value {
        field.as_object().map_or_else(|| field.clone(), |o| self.object(self.attributes(o, space, true)))
    }

    fn object(&self, attributes: Vec<(&'static str, Value)>) -> Value {
        if self.pairs {
            attributes.into_iter().map(|(k, v)| Value::Array(vec![k.into(), v])).collect()
        } else {
            Value::Object(attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
        }
    }
}

/// The name space that a definition opens: that of a name with dots, else its own.
fn namespace_of(definition: &Map<String, Value>) -> Option<&str> {
    let dotted =
        definition.get("name").and_then(Value::as_str).and_then(|n| n.rsplit_once('.')).map(|(space, _)| space);
    dotted.or_else(|| definition.get("namespace").and_then(Value::as_str))
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
