//! `schemas/lock.json`: the id of every released version of every event's schema.
//!
//! The lock is the registry: checked in, reviewed like code, compiled in. An id, once given, stays with its text for ever.

use crate::tree::normal_form;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// One released version of one event's schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Schema id, as it stands in the frame; from 1.
    pub id: u32,
    /// Name of the event.
    pub event: String,
    /// Version of the event's schema; from 1, without gaps.
    pub version: u32,
    /// xxh3-64 of the schema's normal form (see [`normal_form`]), 16 hex digits: what matters for reading and writing,
    /// without docs and our own attributes.
    pub fingerprint: String,
    /// The schema, self-contained.
    pub schema: Box<RawValue>,
}

/// The whole lock, in the order of ids.
#[derive(Debug, Clone, Default)]
pub struct Lock {
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// The lock is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("the schema lock is not readable: {0}")]
pub struct LockError(#[from] serde_json::Error);

impl Lock {
    /// Reads the lock; an empty text is an empty lock.
    ///
    /// # Errors
    /// When it is not a JSON list of entries.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { entries: serde_json::from_str(text)? })
    }

    /// The lock as text: one entry a line, so that a diff shows what was added.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines: Vec<String> = self.entries.iter().map(|e| serde_json::to_string(e).unwrap_or_default()).collect();
        format!("[\n{}\n]\n", lines.join(",\n"))
    }

    /// The newest version of each event, by name.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<&str, &Entry> {
        let mut out: BTreeMap<&str, &Entry> = BTreeMap::new();
        for e in &self.entries {
            let slot = out.entry(&e.event).or_insert(e);
            if e.version > slot.version {
                *slot = e;
            }
        }
        out
    }

    /// Gives the next ids to events that are new or whose schema differs from their newest version (by fingerprint: a new
    /// wording of a doc is no new version), in the order of names. Returns the names of those events.
    pub fn update<'a>(&mut self, schemas: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
        let mut next = self.entries.iter().map(|e| e.id).max().unwrap_or(0) + 1;
        let mut changed = Vec::new();
        let mut schemas: Vec<_> = schemas.collect();
        schemas.sort_unstable();
        for (event, text) in schemas {
            let fingerprint = fingerprint(text);
            let newest = self.newest().get(event).map(|e| (e.version, e.fingerprint == fingerprint));
            let version = match newest {
                Some((_, true)) => continue,
                Some((version, false)) => version + 1,
                None => 1,
            };
            let Ok(schema) = RawValue::from_string(text.to_owned()) else { continue };
            self.entries.push(Entry { id: next, event: event.to_owned(), version, fingerprint, schema });
            changed.push(event.to_owned());
            next += 1;
        }
        changed
    }
}

/// xxh3-64 of a schema's normal form, 16 hex digits.
#[must_use]
pub fn fingerprint(schema: &str) -> String {
    let form = serde_json::from_str(schema).map(|v| normal_form(&v)).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(form.as_bytes()))
}
