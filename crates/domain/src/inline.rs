//! Makes an event's schema self-contained: every named type is written out where it is first used.
//!
//! Used by `build.rs` and by the check of an edited `schemas/` folder, so that both see the same text. No I/O here.

use serde_json::Value;
use std::collections::BTreeSet;

/// Name space of everything in `schemas/`; a string that starts with it is a reference to a named type.
const NAMES: &str = "org.journeylog.";
/// Full name of the header record.
const HEADER: &str = "org.journeylog.Header";

/// The schema of `event` with the header and the types of `types.avsc` (a list) written out at their first use.
///
/// # Errors
/// When a named type is in neither; says which.
pub fn self_contained(event: &Value, types: &Value, header: &Value) -> Result<Value, String> {
    let mut out = event.clone();
    inline(&mut out, types, header, &mut BTreeSet::new())?;
    Ok(out)
}

fn inline(v: &mut Value, types: &Value, header: &Value, seen: &mut BTreeSet<String>) -> Result<(), String> {
    match v {
        Value::String(name) if name.starts_with(NAMES) && seen.insert(name.clone()) => {
            let mut definition = definition(name, types, header)?;
            inline(&mut definition, types, header, seen)?;
            *v = definition;
        }
        Value::Object(o) => {
            for key in ["type", "items", "fields"] {
                if let Some(x) = o.get_mut(key) {
                    inline(x, types, header, seen)?;
                }
            }
        }
        Value::Array(a) => {
            for x in a {
                inline(x, types, header, seen)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn definition(name: &str, types: &Value, header: &Value) -> Result<Value, String> {
    if name == HEADER {
        return Ok(header.clone());
    }
    let full = |t: &Value| Some(format!("{}.{}", t["namespace"].as_str()?, t["name"].as_str()?));
    types
        .as_array()
        .and_then(|list| list.iter().find(|t| full(t).as_deref() == Some(name)))
        .cloned()
        .ok_or_else(|| format!("type {name} is not in types.avsc"))
}
