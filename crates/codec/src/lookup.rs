//! Finding the id of a schema that somebody sends as text. Nobody sends it as we wrote it: parsers drop docs and unknown
//! attributes, spell names out or shorten them, and order keys as they like. So schemas are compared by what they mean.

use crate::lock::Entry;
use crate::registry::lock;
use crate::tree::{canonical_form, normal_form};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an Avro schema: {0}")]
pub struct NotASchema(String);

struct Forms {
    normal: HashMap<String, usize>,
    canonical: HashMap<String, usize>,
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let (mut normal, mut canonical) = (HashMap::new(), HashMap::new());
    // later entries win: where versions differ in their defaults only, the newest is meant
    for (i, e) in lock().entries.iter().enumerate() {
        let Ok(schema) = serde_json::from_str(e.schema.get()) else { continue };
        normal.insert(normal_form(&schema), i);
        canonical.insert(canonical_form(&schema), i);
    }
    Forms { normal, canonical }
});

/// The released schema that a text means: the one with the same fields, types, defaults and logical types; where there is none, the
/// newest with the same Parsing Canonical Form, which writes and reads the same bytes.
///
/// # Errors
/// When the text is no Avro schema.
pub fn find(text: &str) -> Result<Option<&'static Entry>, NotASchema> {
    let schema = parse(text)?;
    let forms = &*FORMS;
    let at = forms.normal.get(&normal_form(&schema)).or_else(|| forms.canonical.get(&canonical_form(&schema)));
    Ok(at.and_then(|i| lock().entries.get(*i)))
}

/// Reads a schema.
///
/// # Errors
/// When the text is no Avro schema; quotes nothing of it.
pub fn parse(text: &str) -> Result<Value, NotASchema> {
    let not_json = |e: serde_json::Error| NotASchema(format!("no JSON at line {}, column {}", e.line(), e.column()));
    let schema: Value = serde_json::from_str(text).map_err(not_json)?;
    apache_avro::Schema::parse(&schema).map_err(|_| NotASchema("its types or names are not Avro's".to_owned()))?;
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A schema as other parsers write it: no docs, wrapped strings, full names, other order of keys.
    fn otherwise(v: &Value) -> Value {
        match v {
            Value::String(s) if s == "string" => json!({"avro.java.string": "String", "type": "string"}),
            Value::Array(a) => a.iter().map(otherwise).collect(),
            Value::Object(o) => {
                let mut out = serde_json::Map::new();
                for (k, v) in o.iter().rev().filter(|(k, _)| !["doc", "personal", "stage", "key"].contains(&k.as_str()))
                {
                    let v = if ["type", "items", "fields"].contains(&k.as_str()) { otherwise(v) } else { v.clone() };
                    out.insert(k.clone(), v);
                }
                if let (Some(Value::String(space)), Some(Value::String(name))) = (o.get("namespace"), o.get("name")) {
                    out.insert("name".to_owned(), format!("{space}.{name}").into());
                    out.remove("namespace");
                }
                // {"type": "string", "logicalType": …} stays one object
                if o.contains_key("logicalType") {
                    out.insert("type".to_owned(), o["type"].clone());
                }
                Value::Object(out)
            }
            other => other.clone(),
        }
    }

    #[test]
    fn every_schema_is_found_however_it_is_spelt() {
        for e in &lock().entries {
            let schema: Value = serde_json::from_str(e.schema.get()).unwrap();
            let pretty = serde_json::to_string_pretty(&schema).unwrap();
            let canonical = apache_avro::Schema::parse(&schema).unwrap().canonical_form();
            for text in [e.schema.get(), &pretty, &otherwise(&schema).to_string(), &canonical] {
                assert_eq!(find(text).unwrap().map(|e| e.id), Some(e.id), "{}: {text}", e.event);
            }
        }
    }

    #[test]
    fn another_schema_is_not_found_and_nonsense_is_refused() {
        let first: Value = serde_json::from_str(lock().entries[0].schema.get()).unwrap();
        let mut more = first.clone();
        more["fields"].as_array_mut().unwrap().push(json!({"name": "x", "type": "int", "default": 0}));
        let mut renamed = first.clone();
        renamed["name"] = "Other".into();
        let mut less = first;
        less["fields"].as_array_mut().unwrap().pop();
        for other in [more, renamed, less, json!("string")] {
            assert!(find(&other.to_string()).unwrap().is_none());
        }
        for nonsense in ["", "{", "[1]", "\"who\"", r#"{"type":"record"}"#, "null"] {
            assert!(find(nonsense).is_err(), "{nonsense}");
        }
    }
}
