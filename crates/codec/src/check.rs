//! The check of `schemas/` against its lock: what a reviewer would have to look for, found by the machine.

use crate::compat::{Reader, can_read};
use crate::lock::{Lock, fingerprint};
use crate::tree::{Tree, file_name};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Classes of personal data that a field may be marked with.
pub const PERSONAL: &[&str] = &["name", "contact", "address", "free_text", "mixed"];

/// Which rule a problem breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The lock itself is damaged: an id twice, a version missing, a text that is not its fingerprint's.
    Lock,
    /// A released event is gone.
    Removed,
    /// Old and new versions can't read each other.
    Incompatible,
    /// The schema breaks a rule of the house: a field without doc, a default the generated types don't know, …
    House,
    /// All is well, but the schema differs from its newest version in the lock: `schemas lock` gives it an id.
    Unlocked,
}

impl Rule {
    /// The rule's name, as output shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Removed => "removed",
            Self::Incompatible => "incompatible",
            Self::House => "house",
            Self::Unlocked => "unlocked",
        }
    }
}

/// One thing that is wrong with the tree or its lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Name of the event.
    pub event: String,
    /// The field, as in `header.actor.role`; empty for the event as a whole.
    pub path: String,
    /// The rule it breaks.
    pub rule: Rule,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.path.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}: {} [{}]", self.event, self.path, self.reason, self.rule.as_str())
    }
}

fn problem(event: &str, path: &str, rule: Rule, reason: impl Into<String>) -> Problem {
    Problem { event: event.to_owned(), path: path.to_owned(), rule, reason: reason.into() }
}

/// All that is wrong with a tree and its lock, by event and path; none means that it may be released.
///
/// Compatibility is full and transitive: every released version of an event can read what the tree writes, and the tree can
/// read what every released version wrote.
#[must_use]
pub fn check(tree: &Tree, lock: &Lock) -> Vec<Problem> {
    let mut found = sound(lock);
    let newest = lock.newest();
    let present: BTreeSet<&str> = tree.events.iter().map(|e| e.name.as_str()).collect();
    for event in newest.keys().filter(|n| !present.contains(**n)) {
        found.push(problem(event, "", Rule::Removed, "it was released, so the log has such events: keep its schema"));
    }
    let mut seen = BTreeSet::new();
    for event in &tree.events {
        let name = event.name.as_str();
        if !seen.insert(name) {
            found.push(problem(name, "", Rule::House, "two files define it"));
        }
        if event.file != file_name(name) {
            found.push(problem(name, "", Rule::House, format!("its file should be {}", file_name(name))));
        }
        let versions: Vec<(u32, Value)> = lock
            .entries
            .iter()
            .filter(|e| e.event == name)
            .filter_map(|e| Some((e.version, serde_json::from_str(e.schema.get()).ok()?)))
            .collect();
        house(name, &event.schema, &versions, &mut found);
        for (version, old) in &versions {
            both_ways(name, &event.schema, *version, old, &mut found);
        }
        match newest.get(name) {
            Some(e) if e.fingerprint == fingerprint(&event.schema.to_string()) => {}
            Some(e) => found.push(problem(
                name,
                "",
                Rule::Unlocked,
                format!("it differs from version {} of the lock", e.version),
            )),
            None => found.push(problem(name, "", Rule::Unlocked, "it is new: the lock has no id for it")),
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A lock that also holds the tree, and the names of the events that got an id.
///
/// # Errors
/// Everything [`check`] finds but [`Rule::Unlocked`]: such a tree gets no ids.
pub fn update(tree: &Tree, lock: &Lock) -> Result<(Lock, Vec<String>), Vec<Problem>> {
    let found: Vec<Problem> = check(tree, lock).into_iter().filter(|p| p.rule != Rule::Unlocked).collect();
    if !found.is_empty() {
        return Err(found);
    }
    let mut lock = lock.clone();
    let texts = tree.texts();
    let changed = lock.update(texts.iter().map(|(n, t)| (n.as_str(), t.as_str())));
    Ok((lock, changed))
}

/// What is wrong with the lock itself.
fn sound(lock: &Lock) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    let mut versions: BTreeMap<&str, u32> = BTreeMap::new();
    for e in &lock.entries {
        let mut wrong = |reason: String| found.push(problem(&e.event, "", Rule::Lock, reason));
        if e.id == 0 || !ids.insert(e.id) {
            wrong(format!("id {} is used twice, or 0", e.id));
        }
        let last = versions.entry(&e.event).or_insert(0);
        if e.version != *last + 1 {
            wrong(format!("version {} follows version {last}", e.version));
        }
        *last = e.version;
        if fingerprint(e.schema.get()) != e.fingerprint {
            wrong(format!("the text of version {} was edited: a released schema never is", e.version));
        }
        let named = serde_json::from_str::<Value>(e.schema.get()).is_ok_and(|v| v["name"] == e.event.as_str());
        if !named {
            wrong(format!("the schema with id {} is another event's", e.id));
        }
    }
    found
}

fn both_ways(name: &str, new: &Value, version: u32, old: &Value, found: &mut Vec<Problem>) {
    for m in can_read(new, old, Reader::Generated) {
        let reason = format!("data of version {version} can't be read any more: {}", m.reason);
        found.push(problem(name, &m.path, Rule::Incompatible, reason));
    }
    for m in can_read(old, new, Reader::Avro) {
        let reason = format!("readers of version {version} can't read new data: {}", m.reason);
        found.push(problem(name, &m.path, Rule::Incompatible, reason));
    }
}

/// The rules of the house for one event. Fields that version 1 lacks have to be nullable with default null, or lists with
/// an empty default: those are the defaults that the generated types fill in for data without the field.
fn house(name: &str, schema: &Value, versions: &[(u32, Value)], found: &mut Vec<Problem>) {
    let mut wrong = |path: &str, reason: String| found.push(problem(name, path, Rule::House, reason));
    if schema["stage"].as_str().is_none_or(|s| s != "none" && domain::event::Stage::ALL.iter().all(|x| x.as_str() != s))
    {
        wrong("", "stage is not one of the eight, or none".to_owned());
    }
    if schema["key"].as_str().is_none_or(|k| !["patient", "patient_or_event", "site", "target"].contains(&k)) {
        wrong("", "key is not patient, patient_or_event, site or target".to_owned());
    }
    if schema["fields"][0]["type"]["name"] != "Header" {
        wrong("", "the first field is not the header".to_owned());
    }
    let first = versions.first().map(|(_, v)| paths(v));
    walk(schema, "", &mut |path, field| {
        if field["doc"].as_str().is_none_or(|d| d.trim().is_empty()) {
            wrong(path, "it has no doc".to_owned());
        }
        if field.get("personal").is_some_and(|p| p.as_str().is_none_or(|p| !PERSONAL.contains(&p))) {
            wrong(path, format!("personal names no class; there are {}", PERSONAL.join(", ")));
        }
        let t = &field["type"];
        let nullable = t.as_array().is_some_and(|u| u.len() == 2 && u[0] == "null");
        if t.is_array() && !nullable {
            wrong(path, "the generated types know no union but [null, T]".to_owned());
        }
        match field.get("default") {
            Some(Value::Null) if nullable => {}
            Some(Value::Array(d)) if t["type"] == "array" && d.is_empty() => {}
            Some(_) => wrong(path, "the generated types know no default but null and the empty list".to_owned()),
            None if nullable => wrong(path, "it is nullable and has no default".to_owned()),
            None => {}
        }
    });
    if let Some(first) = first {
        let mut added = Vec::new();
        walk(schema, "", &mut |path, field| {
            if !first.contains(path) && field.get("default").is_none() {
                added.push(path.to_owned());
            }
        });
        for path in added {
            let parent_is_new = path.rsplit_once('.').is_some_and(|(parent, _)| !first.contains(parent));
            if !parent_is_new {
                wrong(&path, "a field added after version 1 has to have a default".to_owned());
            }
        }
    }
}

fn paths(schema: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    walk(schema, "", &mut |path, _| {
        out.insert(path.to_owned());
    });
    out
}

/// Calls `f` with the path and the definition of every field, nested records included.
fn walk(schema: &Value, path: &str, f: &mut dyn FnMut(&str, &Value)) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|b| walk(b, path, f)),
        Value::Object(o) => {
            for field in o.get("fields").and_then(Value::as_array).into_iter().flatten() {
                let name = field["name"].as_str().unwrap_or_default();
                let at = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                f(&at, field);
                walk(&field["type"], &at, f);
            }
            for key in ["items", "type"] {
                if let Some(inner @ (Value::Object(_) | Value::Array(_))) = o.get(key) {
                    walk(inner, path, f);
                }
            }
        }
        _ => {}
    }
}
