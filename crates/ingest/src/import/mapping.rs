//! The mapping file: which columns say what, and which rows become which event.

use domain::{Kind, toml_error::describe};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Placeholders that are no columns.
const OWN: [&str; 3] = ["@line", "@n", "@id"];
/// What comes of the identity, the time's column and the zone.
const SET_BY_THE_IMPORT: [&str; 3] = ["event_id", "occurred_at", "zone"];

/// What is wrong with a mapping file.
#[derive(Debug, thiserror::Error)]
#[error("the mapping file is not valid: {0}")]
pub struct MappingError(String);

/// How one CSV event log becomes events; the file's format is in `docs/guides/import.md`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Name of the source, part of every event's id: changing it makes new events.
    pub(super) source: String,
    #[serde(default = "comma")]
    pub(super) delimiter: char,
    /// IANA zone of times without offset, and of the events.
    pub(super) zone: String,
    pub(super) time: Time,
    /// Columns that tell one row from another; rows equal in all of them are counted.
    pub(super) identity: Vec<String>,
    /// Column of the case, within which `nth` counts.
    pub(super) case: Option<String>,
    #[serde(default)]
    pub(super) header: toml::Table,
    /// Fields that every event gets whose type has them.
    #[serde(default)]
    pub(super) fields: toml::Table,
    #[serde(default)]
    pub(super) tables: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(rename = "rule")]
    pub(super) rules: Vec<Rule>,
}

const fn comma() -> char {
    ','
}

/// When a row happened.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Time {
    pub(super) column: String,
    /// `rfc3339`, or chrono's format; the first that fits is taken.
    pub(super) formats: Vec<String>,
    #[serde(default)]
    pub(super) ambiguous: Ambiguous,
    #[serde(default)]
    pub(super) gap: Gap,
}

/// What a time means that the clocks showed twice, in autumn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ambiguous {
    #[default]
    Earliest,
    Latest,
    Refuse,
}

/// What a time means that the clocks skipped, in spring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gap {
    /// The source's clock had not been put forward yet: read it by the offset before the gap.
    Forward,
    #[default]
    Refuse,
}

/// One or several values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOf {
    One(String),
    Any(Vec<String>),
}

impl OneOf {
    pub(super) fn has(&self, value: &str) -> bool {
        match self {
            Self::One(v) => v == value,
            Self::Any(all) => all.iter().any(|v| v == value),
        }
    }
}

/// Which of a case's rows of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Nth {
    First,
    Later,
}

/// What becomes of the rows that fit; the first fitting rule counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Column -> value or values; all must fit.
    pub(super) when: BTreeMap<String, OneOf>,
    /// Rows of a case that are counted together.
    pub(super) group: Option<String>,
    pub(super) nth: Option<Nth>,
    pub(super) event: Option<String>,
    /// Why such rows make no event.
    pub(super) skip: Option<String>,
    #[serde(default)]
    pub(super) fields: toml::Table,
    #[serde(default)]
    pub(super) header: toml::Table,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// When it is no TOML, has unknown keys, or names events, fields, tables or a zone that there are not.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let mapping: Self = toml::from_str(text).map_err(|e| MappingError(describe(text, e)))?;
        mapping.check().map_err(MappingError)?;
        Ok(mapping)
    }

    pub(super) fn delimiter(&self) -> u8 {
        u8::try_from(self.delimiter).unwrap_or(b',')
    }

    /// The zone of the source.
    pub(super) fn tz(&self) -> chrono_tz::Tz {
        self.zone.parse().unwrap_or(chrono_tz::UTC)
    }

    fn check(&self) -> Result<(), String> {
        if self.zone.parse::<chrono_tz::Tz>().is_err() {
            return Err("zone is not a known IANA time zone".into());
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\r' | '\n') {
            return Err("delimiter must be one ASCII character, and neither a quote nor the end of a line".into());
        }
        if self.source.trim().is_empty() {
            return Err("source must not be empty".into());
        }
        if self.time.formats.is_empty() || self.identity.is_empty() || self.rules.is_empty() {
            return Err("time.formats, identity and rule must not be empty".into());
        }
        for f in &self.time.formats {
            let mut items = chrono::format::StrftimeItems::new(f);
            if f != "rfc3339" && items.any(|i| matches!(i, chrono::format::Item::Error)) {
                return Err(format!("time.formats: {f:?} is no time format"));
            }
        }
        self.rules
            .iter()
            .enumerate()
            .try_for_each(|(i, r)| self.check_rule(r).map_err(|e| format!("rule {}: {e}", i + 1)))?;
        for table in self.templates() {
            each_template(table, &mut check_template)?;
        }
        for headers in self.rules.iter().map(|r| &r.header).chain([&self.header]) {
            check_header(headers)?;
        }
        for placeholder in self.placeholders() {
            match placeholder.split_once('|') {
                Some((_, table)) if !self.tables.contains_key(table) => {
                    return Err(format!("there is no [tables.{table}]"));
                }
                None if placeholder.starts_with('@') && !OWN.contains(&placeholder.as_str()) => {
                    return Err(format!("{{{placeholder}}} is none of {{@id}}, {{@n}} and {{@line}}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_rule(&self, rule: &Rule) -> Result<(), String> {
        if rule.nth.is_some() && (rule.group.is_none() || self.case.is_none()) {
            return Err("nth needs a group, and case at the top".into());
        }
        let name = match (&rule.event, &rule.skip) {
            (Some(name), None) => name,
            (None, Some(_)) => return Ok(()),
            _ => return Err("needs either event or skip".into()),
        };
        let kind = Kind::from_name(name).ok_or_else(|| format!("{name} is not a known event"))?;
        let known = field_types(kind);
        match rule.fields.keys().find(|f| !known.contains_key(f.as_str())) {
            Some(f) => Err(format!("{name} has no field {f}")),
            None => Ok(()),
        }
    }

    fn templates(&self) -> impl Iterator<Item = &toml::Table> {
        self.rules.iter().flat_map(|r| [&r.header, &r.fields]).chain([&self.header, &self.fields])
    }

    /// What stands in braces in all templates.
    fn placeholders(&self) -> Vec<String> {
        let mut found = Vec::new();
        for table in self.templates() {
            let _: Result<(), ()> = each_template(table, &mut |_, template| {
                found.extend(super::row::placeholders(template).map(str::to_owned));
                Ok(())
            });
        }
        found
    }

    /// Every column that the mapping names.
    pub(super) fn columns(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self.identity.iter().cloned().collect();
        all.insert(self.time.column.clone());
        all.extend(self.case.clone());
        all.extend(self.rules.iter().flat_map(|r| r.when.keys().cloned()));
        for p in self.placeholders() {
            let column = p.split_once('|').map_or(p.as_str(), |(c, _)| c);
            if !column.starts_with('@') {
                all.insert(column.to_owned());
            }
        }
        all
    }
}

fn each_template<E>(table: &toml::Table, f: &mut impl FnMut(&str, &str) -> Result<(), E>) -> Result<(), E> {
    for (name, value) in table {
        match value {
            toml::Value::String(s) => f(name, s)?,
            toml::Value::Table(t) => each_template(t, f)?,
            toml::Value::Array(a) => a.iter().filter_map(toml::Value::as_str).try_for_each(|s| f(name, s))?,
            _ => {}
        }
    }
    Ok(())
}

fn check_template(name: &str, template: &str) -> Result<(), String> {
    let mut open = false;
    for c in template.chars().filter(|c| matches!(c, '{' | '}')) {
        if open == (c == '{') {
            return Err(format!("{name}: the braces of a template must come in pairs"));
        }
        open = !open;
    }
    if open { Err(format!("{name}: the braces of a template must come in pairs")) } else { Ok(()) }
}

fn check_header(header: &toml::Table) -> Result<(), String> {
    let schema: Value = Kind::ALL.first().and_then(|k| serde_json::from_str(k.schema()).ok()).unwrap_or_default();
    let fields = schema["fields"].as_array().into_iter().flatten().find(|f| f["name"] == "header");
    let known: Vec<_> = fields.into_iter().flat_map(|f| f["type"]["fields"].as_array()).flatten().collect();
    for name in header.keys() {
        if SET_BY_THE_IMPORT.contains(&name.as_str()) {
            return Err(format!("header.{name} is set by the import"));
        }
        if !known.iter().any(|f| f["name"] == name.as_str()) {
            return Err(format!("the header has no field {name}"));
        }
    }
    Ok(())
}

/// What a template's text becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldType {
    Text,
    Whole,
    Number,
    Bool,
    Time,
    List,
}

/// The payload fields of an event by name, without the header.
pub(super) fn field_types(kind: Kind) -> BTreeMap<String, FieldType> {
    let schema: Value = serde_json::from_str(kind.schema()).unwrap_or_default();
    let fields = schema["fields"].as_array().cloned().unwrap_or_default();
    fields
        .iter()
        .filter(|f| f["name"] != "header")
        .map(|f| (f["name"].as_str().unwrap_or_default().to_owned(), field_type(&f["type"])))
        .collect()
}

fn field_type(t: &Value) -> FieldType {
    match t {
        Value::Array(union) => union.get(1).map_or(FieldType::Text, field_type),
        Value::Object(_) if t["logicalType"] == "timestamp-micros" => FieldType::Time,
        Value::Object(_) if t["logicalType"] == "date" => FieldType::Text,
        Value::Object(_) if t["type"] == "array" => FieldType::List,
        Value::String(s) => match s.as_str() {
            "int" | "long" => FieldType::Whole,
            "double" => FieldType::Number,
            "boolean" => FieldType::Bool,
            _ => FieldType::Text,
        },
        _ => FieldType::Text,
    }
}
