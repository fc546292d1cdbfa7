//! One row -> one event, or the reason why not. A reason never quotes the row.

use super::ImportError;
use super::mapping::{Ambiguous, FieldType, Gap, Mapping, Nth, Rule, Time, field_types};
use super::records::Records;
use crate::problem::Problem;
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeZone};
use csv::StringRecord;
use domain::parse::{self, FieldError};
use domain::{Event, Kind, Micros};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use xxhash_rust::xxh3::Xxh3;

/// Namespace of the ids of imported rows.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x2b1f_5c44_90c7_5e0e_8f0a_6a1c_27d4_b8e9);

/// A rule with its event's field types.
struct Plan<'a> {
    rule: &'a Rule,
    event: Option<(Kind, BTreeMap<String, FieldType>)>,
}

/// A row's line, and its event or the reason why not.
pub(super) type Outcome = (u64, Result<Event, Problem>);

/// The rows of a file, in order.
pub(super) struct Rows<'a, R> {
    records: Records<R>,
    mapping: &'a Mapping,
    columns: HashMap<String, usize>,
    plans: Vec<Plan<'a>>,
    /// How often an identity was seen, by its hash.
    seen: HashMap<u64, u32>,
    /// How many rows of a group a case has had, by the hash of both.
    groups: HashMap<u64, u32>,
}

/// What templates are filled from.
struct Row<'a> {
    record: &'a StringRecord,
    columns: &'a HashMap<String, usize>,
    mapping: &'a Mapping,
    /// `@line`, `@n` and `@id`.
    own: [(&'static str, String); 3],
}

impl<'a, R: Read> Rows<'a, R> {
    pub(super) fn open(file: R, mapping: &'a Mapping, line_bytes: usize) -> Result<Self, ImportError> {
        let (records, columns) = Records::open(file, mapping, line_bytes)?;
        let plan = |rule: &'a Rule| {
            let kind = rule.event.as_deref().and_then(Kind::from_name);
            Plan { rule, event: kind.map(|k| (k, field_types(k))) }
        };
        let plans = mapping.rules.iter().map(plan).collect();
        Ok(Self { records, mapping, columns, plans, seen: HashMap::new(), groups: HashMap::new() })
    }

    /// The next row: its line, and its event or a refusal; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Outcome>, ImportError> {
        let Some((line, record)) = self.records.next()? else { return Ok(None) };
        Ok(Some((line, record.and_then(|r| self.event(&r, line)))))
    }

    fn event(&mut self, record: &StringRecord, line: u64) -> Result<Event, Problem> {
        // Counted for every row, so that a rule added later doesn't change other rows' ids.
        let (id, n) = self.identify(record);
        let plan = self.plan(record)?;
        let plan = &self.plans[plan];
        let Some((kind, types)) = &plan.event else {
            return Err(refused(plan.rule.skip.as_deref().unwrap_or("skipped by the mapping")));
        };
        let own = [("@line", line.to_string()), ("@n", n.to_string()), ("@id", id.to_string())];
        let row = Row { record, columns: &self.columns, mapping: self.mapping, own };
        let occurred = time(cell(&self.columns, record, &self.mapping.time.column), self.mapping).map_err(refused)?;
        let mut event = Map::new();
        event.insert("type".into(), kind.as_str().into());
        event.insert("header".into(), row.header(plan.rule, id, occurred).map_err(refused)?);
        for (name, template) in self.mapping.fields.iter().chain(&plan.rule.fields) {
            if let Some(t) = types.get(name) {
                match row.value(template, *t).map_err(|e| invalid(&format!("/{name}"), e))? {
                    Some(v) => event.insert(name.clone(), v),
                    None => event.remove(name),
                };
            }
        }
        parse::event_value(&Value::Object(event)).map_err(Problem::of_parse)
    }

    fn identify(&mut self, record: &StringRecord) -> (uuid::Uuid, u32) {
        let mut name = self.mapping.source.clone();
        for column in &self.mapping.identity {
            name.push('\u{1f}');
            name.push_str(cell(&self.columns, record, column));
        }
        let n = self.seen.entry(xxhash_rust::xxh3::xxh3_64(name.as_bytes())).or_default();
        *n += 1;
        name.push('\u{1f}');
        name.push_str(&n.to_string());
        (uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes()), *n)
    }

    /// Which rule the row falls under.
    fn plan(&mut self, record: &StringRecord) -> Result<usize, Problem> {
        let (columns, mapping, groups) = (&self.columns, self.mapping, &mut self.groups);
        let fits = |r: &Rule| r.when.iter().all(|(column, values)| values.has(cell(columns, record, column)));
        // Rules of one group share a counter per case, which this row moves once.
        let mut counted: Option<(&str, u32)> = None;
        let mut place = |group: &'a str, case: &str| match counted {
            Some((g, n)) if g == group => n,
            _ => {
                let mut hash = Xxh3::new();
                hash.update(group.as_bytes());
                hash.update(&[0x1f]);
                hash.update(cell(columns, record, case).as_bytes());
                let n = groups.entry(hash.digest()).or_default();
                *n += 1;
                counted = Some((group, *n));
                *n
            }
        };
        for (i, Plan { rule, .. }) in self.plans.iter().enumerate().filter(|(_, p)| fits(p.rule)) {
            let n = match (&rule.group, &mapping.case) {
                (Some(group), Some(case)) => place(group, case),
                _ => 1,
            };
            if rule.nth.is_none_or(|nth| (nth == Nth::First) == (n == 1)) {
                return Ok(i);
            }
        }
        Err(refused("no rule of the mapping fits the row"))
    }
}

/// A row's value in a column, without white space around it.
fn cell<'r>(columns: &HashMap<String, usize>, record: &'r StringRecord, column: &str) -> &'r str {
    columns.get(column).and_then(|i| record.get(*i)).unwrap_or_default().trim()
}

impl Row<'_> {
    fn header(&self, rule: &Rule, id: uuid::Uuid, occurred: Micros) -> Result<Value, String> {
        let mut header = Map::new();
        for table in [&self.mapping.header, &rule.header] {
            self.merge(&mut header, table)?;
        }
        header.insert("event_id".into(), id.to_string().into());
        header.insert("occurred_at".into(), occurred.to_string().into());
        header.insert("zone".into(), self.mapping.zone.clone().into());
        // What an old log doesn't tell is taken as recorded at once; the moment of the import would make every import
        // another event.
        header.entry("recorded_at").or_insert_with(|| occurred.to_string().into());
        if let Value::Object(source) = header.entry("source").or_insert_with(|| Value::Object(Map::new())) {
            source.entry("system").or_insert_with(|| self.mapping.source.clone().into());
            source.entry("trigger").or_insert_with(|| "import".into());
        }
        Ok(Value::Object(header))
    }

    fn merge(&self, into: &mut Map<String, Value>, table: &toml::Table) -> Result<(), String> {
        for (name, template) in table {
            if let toml::Value::Table(inner) = template {
                if let Value::Object(nested) = into.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                    self.merge(nested, inner)?;
                }
                continue;
            }
            let t = match (name.as_str(), template) {
                ("recorded_at", _) => FieldType::Time,
                (_, toml::Value::Array(_)) => FieldType::List,
                _ => FieldType::Text,
            };
            if let Some(value) = self.value(template, t)? {
                into.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// What a template gives; `None` when a column that it names is empty.
    fn value(&self, template: &toml::Value, t: FieldType) -> Result<Option<Value>, String> {
        match template {
            toml::Value::String(s) => match self.fill(s) {
                Some(text) => convert(&text, t, self.mapping).map(Some),
                None => Ok(None),
            },
            toml::Value::Array(all) => {
                let texts = all.iter().filter_map(toml::Value::as_str).filter_map(|s| self.fill(s));
                Ok(Some(Value::Array(texts.map(Value::String).collect())))
            }
            toml::Value::Integer(n) => Ok(Some((*n).into())),
            toml::Value::Float(n) => Ok(Some((*n).into())),
            toml::Value::Boolean(b) => Ok(Some((*b).into())),
            toml::Value::Datetime(d) => Ok(Some(d.to_string().into())),
            toml::Value::Table(_) => Err("a table is not a template".into()),
        }
    }

    fn fill(&self, template: &str) -> Option<String> {
        let mut out = String::with_capacity(template.len() + 16);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            out.push_str(self.lookup(name).filter(|v| !v.is_empty())?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }

    fn lookup(&self, name: &str) -> Option<&str> {
        if let Some((_, value)) = self.own.iter().find(|(n, _)| *n == name) {
            return Some(value);
        }
        let (column, table) = name.split_once('|').map_or((name, None), |(c, t)| (c, Some(t)));
        let cell = self.columns.get(column).and_then(|i| self.record.get(*i))?.trim();
        match table {
            Some(table) => self.mapping.tables.get(table)?.get(cell).map(String::as_str),
            None => Some(cell),
        }
    }
}

/// The names in braces of a template.
pub(super) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|p| p.split_once('}')).map(|(name, _)| name)
}

fn convert(text: &str, t: FieldType, mapping: &Mapping) -> Result<Value, String> {
    match t {
        FieldType::Text => Ok(text.into()),
        FieldType::List => Ok(Value::Array(vec![text.into()])),
        FieldType::Whole => text.parse::<i64>().map(Value::from).map_err(|_| "is not a whole number".into()),
        FieldType::Number => {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
            number.map(Value::from).ok_or_else(|| "is not a number".into())
        }
        FieldType::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Ok(true.into()),
            "false" | "f" | "no" | "n" | "0" => Ok(false.into()),
            _ => Err("is neither true nor false".into()),
        },
        FieldType::Time => time(text, mapping).map(|t| t.to_string().into()),
    }
}

/// A time of the source.
fn time(text: &str, mapping: &Mapping) -> Result<Micros, String> {
    let rules = &mapping.time;
    if text.is_empty() {
        return Err("the time is missing".into());
    }
    for format in &rules.formats {
        if format == "rfc3339" {
            if let Some(t) = Micros::parse(text) {
                return Ok(t);
            }
        } else if let Ok(t) = DateTime::parse_from_str(text, format) {
            return Ok(Micros(t.timestamp_micros()));
        } else {
            let day = || NaiveDate::parse_from_str(text, format).ok().and_then(|d| d.and_hms_opt(0, 0, 0));
            if let Some(local) = NaiveDateTime::parse_from_str(text, format).ok().or_else(day) {
                return in_zone(local, mapping.tz(), rules);
            }
        }
    }
    Err("the time fits none of the formats".into())
}

fn in_zone(local: NaiveDateTime, zone: chrono_tz::Tz, rules: &Time) -> Result<Micros, String> {
    let micros = |t: DateTime<chrono_tz::Tz>| Micros(t.timestamp_micros());
    match zone.from_local_datetime(&local) {
        LocalResult::Single(t) => Ok(micros(t)),
        LocalResult::Ambiguous(first, second) => match rules.ambiguous {
            Ambiguous::Earliest => Ok(micros(first)),
            Ambiguous::Latest => Ok(micros(second)),
            Ambiguous::Refuse => Err("the clocks showed this time twice".into()),
        },
        LocalResult::None => {
            let before = local.checked_sub_signed(chrono::TimeDelta::hours(3));
            let earlier = before.and_then(|b| zone.from_local_datetime(&b).earliest());
            match (rules.gap, earlier) {
                (Gap::Forward, Some(t)) => Ok(micros(t).plus(3 * domain::time::HOUR)),
                _ => Err("the clocks skipped this time".into()),
            }
        }
    }
}

fn refused(reason: impl Into<String>) -> Problem {
    Problem::malformed(reason)
}

fn invalid(at: &str, reason: String) -> Problem {
    Problem::invalid(vec![FieldError::new(at, reason)])
}
