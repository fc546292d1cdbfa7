//! Reads one standard from TOML: unknown keys are refused, and every complaint names its field.

use super::{Evidence, Milli, Promise, Rule, Scale, Signal, Standard, StandardsError, TouchKind};
use crate::Micros;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    effective_from: String,
    #[serde(rename = "title")]
    _title: String,
    signals: BTreeMap<String, SignalFile>,
    journey_weights: BTreeMap<String, f64>,
    floors: BTreeMap<String, f64>,
    #[serde(default)]
    promises: Vec<PromiseFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalFile {
    target: f64,
    fail: f64,
    weight: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromiseFile {
    id: String,
    touchpoint: String,
    evidence: Evidence,
    checklist: Option<String>,
    rule: Rule,
    weight: f64,
    text: String,
}

/// Reads one file's values and says which one is wrong.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn wrong(&self, field: &str, reason: &'static str) -> StandardsError {
        StandardsError::Value { file: self.0.to_owned(), field: field.to_owned(), reason }
    }

    /// A number with at most three decimals, in thousandths.
    fn milli(&self, field: &str, value: f64, max: f64) -> Result<Milli, StandardsError> {
        if !(0.0..=max).contains(&value) {
            return Err(self.wrong(field, "out of range"));
        }
        let scaled = (value * 1000.0).round();
        if (scaled - value * 1000.0).abs() > 1e-6 {
            return Err(self.wrong(field, "more than three decimals"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 1e9")]
        Ok(scaled as i64)
    }

    fn scale(&self, name: &str, s: &SignalFile) -> Result<Scale, StandardsError> {
        let field = |part: &str| format!("signals.{name}.{part}");
        let scale = Scale {
            target: self.milli(&field("target"), s.target, 1e6)?,
            fail: self.milli(&field("fail"), s.fail, 1e6)?,
            weight: self.milli(&field("weight"), s.weight, 100.0)?,
        };
        if scale.target == scale.fail {
            return Err(self.wrong(&field("fail"), "must differ from target"));
        }
        Ok(scale)
    }

    fn kind(&self, field: &str, name: &str) -> Result<TouchKind, StandardsError> {
        TouchKind::from_name(name).ok_or_else(|| self.wrong(field, "no such touchpoint"))
    }

    fn promise(&self, i: usize, p: PromiseFile) -> Result<Promise, StandardsError> {
        let field = |part: &str| format!("promises[{i}].{part}");
        if (p.evidence == Evidence::Checklist) != p.checklist.is_some() {
            return Err(self.wrong(&field("checklist"), "goes with evidence = \"checklist\", and only with it"));
        }
        Ok(Promise {
            touchpoint: self.kind(&field("touchpoint"), &p.touchpoint)?,
            weight: self.milli(&field("weight"), p.weight, 100.0)?,
            id: p.id,
            evidence: p.evidence,
            checklist: p.checklist,
            rule: p.rule,
            text: p.text,
        })
    }
}

pub(super) fn parse_one(name: &str, text: &str) -> Result<Standard, StandardsError> {
    let file: File = toml::from_str(text)
        .map_err(|e| StandardsError::Syntax { file: name.to_owned(), reason: crate::toml_error::describe(text, e) })?;
    let r = Reader(name);
    let effective_from = Micros::parse(&file.effective_from)
        .ok_or_else(|| r.wrong("effective_from", "must be a time with offset, such as 2020-03-01T00:00:00+09:00"))?;
    if let Some(unknown) = file.signals.keys().find(|k| Signal::ALL.iter().all(|s| s.as_str() != *k)) {
        return Err(r.wrong(&format!("signals.{unknown}"), "no such signal"));
    }
    let mut scales = [Scale { target: 0, fail: 1, weight: 0 }; 13];
    for signal in Signal::ALL {
        let name = signal.as_str();
        let s = file.signals.get(name).ok_or_else(|| r.wrong(&format!("signals.{name}"), "missing"))?;
        scales[signal as usize] = r.scale(name, s)?;
    }
    let mut journey_weights = [0; 7];
    for (kind, weight) in &file.journey_weights {
        let field = format!("journey_weights.{kind}");
        journey_weights[r.kind(&field, kind)? as usize] = r.milli(&field, *weight, 100.0)?;
    }
    if let Some(kind) = TouchKind::ALL.iter().find(|k| journey_weights[**k as usize] == 0) {
        return Err(r.wrong(&format!("journey_weights.{}", kind.as_str()), "missing or zero"));
    }
    let default = file.floors.get("default").ok_or_else(|| r.wrong("floors.default", "missing"))?;
    let default_floor = r.milli("floors.default", *default, 100.0)? / 10;
    let mut floors = [default_floor; 7];
    for (kind, floor) in file.floors.iter().filter(|(k, _)| *k != "default") {
        let field = format!("floors.{kind}");
        floors[r.kind(&field, kind)? as usize] = r.milli(&field, *floor, 100.0)? / 10;
    }
    let promises: Vec<Promise> =
        file.promises.into_iter().enumerate().map(|(i, p)| r.promise(i, p)).collect::<Result<_, _>>()?;
    for (i, p) in promises.iter().enumerate() {
        if promises[..i].iter().any(|q| q.id == p.id) {
            return Err(r.wrong(&format!("promises[{i}].id"), "used twice"));
        }
    }
    Ok(Standard { version: file.version, effective_from, scales, journey_weights, floors, default_floor, promises })
}
