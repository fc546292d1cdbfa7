//! Whether a reader's schema can read what was written with another: Avro's resolution rules for the subset of Avro that
//! the catalogue uses, and stricter where the reader is a generated struct.
//!
//! apache-avro's own check is not used: it lets a date be read as a timestamp and a string as bytes, and it refuses
//! schemas that differ only in where a named type is first written out (a field added before its old first use).

use crate::tree::full_name;
use serde_json::Value;
use std::collections::BTreeMap;

/// Nesting at which the comparison stops; the catalogue's deepest is 4.
const MAX_DEPTH: usize = 32;

/// Why data of one schema can't be read with another, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field, as in `header.actor.role`; empty for the record itself.
    pub path: String,
    /// What is wrong, in words.
    pub reason: String,
}

/// How strict the reader is about enums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Any Avro reader: an unknown symbol becomes the enum's default.
    Avro,
    /// This program: a generated enum knows its symbols and no others, and a field of another name is another field.
    Generated,
}

/// All the reasons why `reader` can't read what `writer` wrote; none means that it always can. Both self-contained.
#[must_use]
pub fn can_read(reader: &Value, writer: &Value, kind: Reader) -> Vec<Mismatch> {
    let mut check = Check { reader: names(reader), writer: names(writer), kind, found: Vec::new() };
    check.types(reader, writer, "", 0);
    check.found
}

/// The named types of a schema, by full name: borrowed, since each holds all that is defined within it.
fn names(schema: &Value) -> BTreeMap<String, &Value> {
    let mut out = BTreeMap::new();
    collect(schema, "", &mut out);
    out
}

fn collect<'a>(schema: &'a Value, namespace: &str, out: &mut BTreeMap<String, &'a Value>) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|b| collect(b, namespace, out)),
        Value::Object(o) => {
            let namespace = schema["namespace"].as_str().unwrap_or(namespace);
            if let (Some("record" | "enum" | "fixed"), Some(name)) = (schema["type"].as_str(), schema["name"].as_str())
            {
                out.insert(full_name(name, namespace), schema);
                // A short name within the name space may be used as well.
                out.entry(name.to_owned()).or_insert(schema);
            }
            for f in o.get("fields").and_then(Value::as_array).into_iter().flatten() {
                collect(&f["type"], namespace, out);
            }
            for key in ["items", "type"] {
                if let Some(inner @ (Value::Object(_) | Value::Array(_))) = o.get(key) {
                    collect(inner, namespace, out);
                }
            }
        }
        _ => {}
    }
}

struct Check<'a> {
    reader: BTreeMap<String, &'a Value>,
    writer: BTreeMap<String, &'a Value>,
    kind: Reader,
    found: Vec<Mismatch>,
}

impl<'a> Check<'a> {
    fn refuse(&mut self, path: &str, reason: String) {
        self.found.push(Mismatch { path: path.to_owned(), reason });
    }

    fn types(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return self.refuse(path, "nested too deep to compare".to_owned());
        }
        let reader = resolve(reader, &self.reader);
        let writer = resolve(writer, &self.writer);
        match (reader, writer) {
            (_, Value::Array(branches)) => {
                for branch in branches {
                    self.branch(reader, branch, path, depth);
                }
            }
            (Value::Array(_), _) => self.branch(reader, writer, path, depth),
            _ => self.plain(reader, writer, path, depth),
        }
    }

    /// A writer's branch has to fit one of the reader's, or the reader itself.
    fn branch(&mut self, reader: &'a Value, branch: &'a Value, path: &str, depth: usize) {
        let Value::Array(candidates) = reader else {
            return self.types(reader, branch, path, depth + 1);
        };
        let before = self.found.len();
        let mut closest: Option<Vec<Mismatch>> = None;
        for candidate in candidates {
            self.types(candidate, branch, path, depth + 1);
            let found = self.found.split_off(before);
            if found.is_empty() {
                return;
            }
            // A mismatch deeper down says more than "another type".
            if found.iter().all(|m| m.path != path) || closest.is_none() {
                closest = Some(found);
            }
        }
        self.found.extend(closest.unwrap_or_default());
    }

    fn plain(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        let (r, w) = (type_name(reader), type_name(writer));
        let promoted = matches!(
            (w.as_str(), r.as_str()),
            ("int", "long" | "float" | "double") | ("long", "float" | "double") | ("float", "double")
        );
        if r != w && !promoted {
            return self.refuse(path, format!("{w} can't be read as {r}"));
        }
        match reader["type"].as_str() {
            Some("record") => self.records(reader, writer, path, depth),
            Some("enum") => self.enums(reader, writer, path),
            Some("array") => self.types(&reader["items"], &writer["items"], path, depth + 1),
            Some("map") => self.types(&reader["values"], &writer["values"], path, depth + 1),
            Some("fixed") if reader["size"] != writer["size"] => self.refuse(path, "another size".to_owned()),
            _ => {}
        }
    }

    fn records(&mut self, reader: &'a Value, writer: &'a Value, path: &str, depth: usize) {
        if reader["name"] != writer["name"] {
            return self.refuse(path, format!("record {} can't be read as {}", writer["name"], reader["name"]));
        }
        let written = fields(writer);
        for f in fields(reader) {
            let name = f["name"].as_str().unwrap_or_default();
            let at = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match written.iter().find(|w| w["name"] == f["name"]) {
                Some(w) => self.types(&f["type"], &w["type"], &at, depth + 1),
                None if f.get("default").is_none() => {
                    self.refuse(&at, "the writer has no such field, and it has no default".to_owned())
                }
                None => {}
            }
        }
    }

    fn enums(&mut self, reader: &Value, writer: &Value, path: &str) {
        if reader["name"] != writer["name"] {
            return self.refuse(path, format!("enum {} can't be read as {}", writer["name"], reader["name"]));
        }
        if self.kind == Reader::Avro && reader["default"].is_string() {
            return;
        }
        let known = reader["symbols"].as_array().map_or(&[][..], Vec::as_slice);
        let missing: Vec<&str> = writer["symbols"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|s| !known.contains(s))
            .filter_map(Value::as_str)
            .collect();
        if !missing.is_empty() {
            self.refuse(path, format!("the reader does not know {}", missing.join(", ")));
        }
    }
}

fn fields(record: &Value) -> &[Value] {
    record["fields"].as_array().map_or(&[], Vec::as_slice)
}

/// The definition behind a name; `{"type": X}` without more is X. A primitive's name stands for itself.
fn resolve<'a>(schema: &'a Value, names: &BTreeMap<String, &'a Value>) -> &'a Value {
    match schema {
        Value::String(name) => names.get(name).copied().unwrap_or(schema),
        Value::Object(o) if o.get("type").is_some_and(|t| !t.is_string()) => resolve(&o["type"], names),
        Value::Object(o) => o["type"].as_str().and_then(|t| names.get(t)).copied().unwrap_or(schema),
        other => other,
    }
}

/// The type with its logical type, as in `long (timestamp-micros)`: another logical type is another meaning.
fn type_name(schema: &Value) -> String {
    let plain = schema.as_str().or_else(|| schema["type"].as_str()).unwrap_or("a union");
    match schema["logicalType"].as_str() {
        Some(logical) => format!("{plain} ({logical})"),
        None => plain.to_owned(),
    }
}
