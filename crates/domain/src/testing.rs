//! Example events for tests and benchmarks: made from the schemas, deterministic, and drawn from small pools of patients
//! and references, so that the events of a set relate to each other.

use crate::event::{Event, Kind};
use crate::ids::EventId;
use crate::time::{DAY, HOUR, MINUTE, Micros};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Which optional fields an example has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// All of them.
    Full,
    /// None of them.
    Minimal,
    /// About half, by the seed.
    Some,
}

/// How many patients there are: `patient-0`…
pub const PATIENTS: u64 = 6;
/// How many identifiers each kind of reference has per patient.
const REFERENCES: u64 = 3;
/// 2024-03-04T00:00:00Z, a Monday; occurrences lie within 60 days of it.
const EPOCH: Micros = Micros(1_709_510_400_000_000);

static SCHEMAS: LazyLock<Vec<Value>> =
    LazyLock::new(|| Kind::ALL.iter().map(|k| serde_json::from_str(k.schema()).unwrap_or_default()).collect());

/// An event of that type. The same arguments give the same event; another seed gives another event id.
#[must_use]
pub fn example(kind: Kind, seed: u64) -> Event {
    example_filled(kind, seed, Fill::Some)
}

/// An event of any type. Corrections and retractions aim at `any_example` of one of the eight seeds before `seed`.
#[must_use]
pub fn any_example(seed: u64) -> Event {
    example(kind_of(seed), seed)
}

/// An event of that type with all, none or some of its optional fields.
///
/// # Panics
/// When the generator knows a schema's type less well than `build.rs`; a test of this crate builds every type.
#[must_use]
pub fn example_filled(kind: Kind, seed: u64, fill: Fill) -> Event {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
    let patient = rng.below(PATIENTS);
    let mut maker = Maker { occurred: EPOCH.plus(rng.signed(60 * DAY)), id: event_id(kind, seed), rng, patient, fill };
    if matches!(kind, Kind::EventCorrected | Kind::EventRetracted) {
        maker.patient = any_target(seed).1;
    }
    let mut names = Map::new();
    let mut value = maker.value(&SCHEMAS[kind as usize], "", &mut names);
    maker.relate(kind, seed, &mut value);
    match Event::deserialize_record(kind, value) {
        Ok(event) => event,
        Err(e) => unreachable!("an example of {} does not fit its type: {e}", kind.as_str()),
    }
}

/// The id that [`example`] gives.
#[must_use]
pub fn event_id(kind: Kind, seed: u64) -> EventId {
    let mut rng = Rng(seed.rotate_left(17) ^ kind as u64);
    EventId(
        uuid::Builder::from_random_bytes((u128::from(rng.next()) << 64 | u128::from(rng.next())).to_be_bytes())
            .into_uuid(),
    )
}

/// The type of [`any_example`].
fn kind_of(seed: u64) -> Kind {
    Kind::ALL[usize::try_from(Rng(seed).below(Kind::ALL.len() as u64)).unwrap_or(0)]
}

/// Seed and patient of the event that a correction under `seed` aims at; never itself a correction or retraction.
fn any_target(seed: u64) -> (u64, u64) {
    let mut at = seed.wrapping_sub(1 + Rng(seed ^ 0xc0).below(8));
    while matches!(kind_of(at), Kind::EventCorrected | Kind::EventRetracted) {
        at = at.wrapping_sub(1);
    }
    let kind = kind_of(at);
    let mut rng = Rng(at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (kind as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
    (at, rng.below(PATIENTS))
}

/// splitmix64: enough for examples, and no dependency.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    /// From `-span` to `span`.
    fn signed(&mut self, span: i64) -> i64 {
        i64::try_from(self.below(2 * span.unsigned_abs())).unwrap_or(0) - span
    }
    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.below(list.len() as u64)).unwrap_or(0)]
    }
}

const TEXTS: &[&str] = &[
    "kind and quick",
    "설명이 부족했습니다",
    "said \"wait\", then nothing\n(second line)",
    "back\\slash\tand tab",
    "친절해요 🙂",
    "x",
    "",
];

struct Maker {
    rng: Rng,
    occurred: Micros,
    id: EventId,
    patient: u64,
    fill: Fill,
}

impl Maker {
    fn value(&mut self, schema: &Value, field: &str, names: &mut Map<String, Value>) -> Value {
        match schema {
            Value::Array(union) => {
                let present = match self.fill {
                    Fill::Full => true,
                    Fill::Minimal => false,
                    Fill::Some => self.rng.below(2) == 0,
                };
                // A name is defined where it first stands, taken or not.
                let value = self.value(&union[1], field, names);
                if present || field == "patient_id" { value } else { Value::Null }
            }
            Value::String(name) => match names.get(name.rsplit('.').next().unwrap_or(name)).cloned() {
                Some(definition) => self.value(&definition, field, names),
                None => self.plain(name, field),
            },
            Value::Object(o) => {
                if let Some(name) = o.get("name").and_then(Value::as_str) {
                    names.insert(name.to_owned(), schema.clone());
                }
                match (o["type"].as_str().unwrap_or_default(), o.get("logicalType").and_then(Value::as_str)) {
                    ("record", _) => self.record(schema, names),
                    ("enum", _) => {
                        let symbols = schema["symbols"].as_array().map_or(&[][..], Vec::as_slice);
                        symbols[usize::try_from(self.rng.below(symbols.len() as u64)).unwrap_or(0)].clone()
                    }
                    ("array", _) => {
                        let n = if self.fill == Fill::Minimal { 0 } else { 1 + self.rng.below(5) };
                        (0..n).map(|_| self.value(&o["items"], field, names)).collect()
                    }
                    (_, Some("uuid")) => json!(self.id),
                    (_, Some("timestamp-micros")) => json!(self.time(field).to_string()),
                    (_, Some("date")) => {
                        let days = self.occurred.0 / DAY + 1 + i64::try_from(self.rng.below(180)).unwrap_or(0);
                        json!(crate::time::Date(i32::try_from(days).unwrap_or(0)).to_string())
                    }
                    (plain, _) => self.plain(plain, field),
                }
            }
            _ => Value::Null,
        }
    }

    fn record(&mut self, schema: &Value, names: &mut Map<String, Value>) -> Value {
        let fields = schema["fields"].as_array().map_or(&[][..], Vec::as_slice);
        let mut out = Map::new();
        for f in fields {
            let name = f["name"].as_str().unwrap_or_default();
            let mut value = self.value(&f["type"], name, names);
            if f["reference"] == true && value.is_string() {
                value =
                    json!(format!("{}-{}-{}", name.trim_end_matches("_id"), self.patient, self.rng.below(REFERENCES)));
            }
            if !value.is_null() {
                out.insert(name.to_owned(), value);
            }
        }
        Value::Object(out)
    }

    fn time(&mut self, field: &str) -> Micros {
        match field {
            "occurred_at" => self.occurred,
            "recorded_at" => self.occurred.plus(i64::try_from(self.rng.below(3 * HOUR.unsigned_abs())).unwrap_or(0)),
            _ => self.occurred.plus(self.rng.signed(20 * DAY) / MINUTE * MINUTE),
        }
    }

    fn plain(&mut self, t: &str, field: &str) -> Value {
        match (t, field) {
            ("boolean", _) => json!(self.rng.below(2) == 0),
            ("double", "scale_min") => json!(0.0),
            ("double", "scale_max") => json!(10.0),
            ("double", "raw") => json!(f64::from(u32::try_from(self.rng.below(21)).unwrap_or(0)) / 2.0),
            ("double", _) => json!(f64::from(u32::try_from(self.rng.below(1001)).unwrap_or(0)) / 10.0),
            ("int", "items_total") => json!(10),
            ("int", "items_done" | "rework_no" | "days_ahead") => json!(1 + self.rng.below(9)),
            ("int", _) => json!(self.rng.below(200)),
            ("long", _) => json!(self.rng.below(5_000_000)),
            ("string", _) => json!(self.string(field)),
            _ => Value::Null,
        }
    }

    fn string(&mut self, field: &str) -> String {
        let pick: &[&str] = match field {
            "patient_id" => return format!("patient-{}", self.patient),
            "surviving" | "retired" => return format!("patient-{}", self.rng.below(PATIENTS)),
            "journey_id" => return format!("journey-{}-{}", self.patient, self.rng.below(2)),
            "causation_id" | "correlation_id" | "target_event_id" | "message_id" => {
                return event_id(Kind::AppointmentBooked, self.rng.below(100)).to_string();
            }
            "zone" => &["Asia/Seoul", "Europe/Amsterdam", "America/New_York"],
            "currency" => &["KRW", "EUR"],
            "site" => &["seoul", "busan"],
            "department" => &["orthopaedics", "dental", "radiology"],
            "system" => &["scheduling", "emr", "crm"],
            "trigger" => &["manual_entry", "S12"],
            "instrument" => &["hira_pes/2023", "nps/1", "csat/1"],
            "touchpoint" => &["scheduling", "check_in", "consult", "stay", "continuation", "follow_up", "billing"],
            "channel" => &["web", "phone", "desk", "email", "sms", "robocall", "letter"],
            "recall_kind" => &["scaling", "re_exam"],
            "confidentiality" => &["R", "V", "N"],
            "scope" => &["share_records", "follow_up_contact", "night_contact", "advertising"],
            "purpose" => &["care", "recall"],
            "disposition" => &["home", "transfer", "expired"],
            "asked_field" => &["allergies", "insurance"],
            _ => TEXTS,
        };
        self.rng.pick(pick).to_owned()
    }

    /// Makes corrections and retractions aim at an event that exists.
    fn relate(&mut self, kind: Kind, seed: u64, value: &mut Value) {
        if !matches!(kind, Kind::EventCorrected | Kind::EventRetracted) {
            return;
        }
        let (at, _) = any_target(seed);
        let target = kind_of(at);
        value["target_event_id"] = json!(event_id(target, at).to_string());
        if kind == Kind::EventCorrected {
            let mut replacement = any_example(at);
            let header = replacement.header_mut();
            header.occurred_at = header.occurred_at.plus(self.rng.signed(2 * DAY));
            value["replacement"] = serde_json::from_str(&replacement.to_json()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_examples_and_a_seed_always_gives_the_same() {
        for &kind in Kind::ALL {
            for fill in [Fill::Full, Fill::Minimal, Fill::Some] {
                let event = example_filled(kind, 7, fill);
                assert_eq!(event.kind(), kind);
                assert_eq!(event, example_filled(kind, 7, fill));
                assert_ne!(event.header().event_id, example_filled(kind, 8, fill).header().event_id);
            }
        }
    }

    #[test]
    fn corrections_aim_at_an_event_of_the_same_patient() {
        let corrected = |seed| match example_filled(Kind::EventCorrected, seed, Fill::Full) {
            Event::EventCorrected(e) => e,
            other => panic!("{other:?}"),
        };
        for seed in 100..200 {
            let e = corrected(seed);
            let (at, _) = any_target(seed);
            let target = any_example(at);
            assert_eq!(e.target_event_id, target.header().event_id.to_string());
            assert_eq!(e.header.patient_id, target.header().patient_id, "seed {seed} {}", target.kind().as_str());
        }
    }
}
