//! Bytes of every released schema version decode for ever to the same event, and another implementation reads the same in
//! them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use domain::{Kind, Micros, time::Date};
use journeylog_codec::lock::{Entry, Lock};
use journeylog_codec::{decode, encode, schema_of};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use std::{collections::BTreeSet, fs, path::Path};

#[derive(Deserialize)]
struct Example {
    example: String,
    frame: String,
    event: Box<RawValue>,
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/golden")
}

fn lock() -> Lock {
    Lock::parse(include_str!("../../../schemas/lock.json")).unwrap()
}

fn examples(e: &Entry) -> Vec<(Example, Vec<u8>)> {
    let path = golden().join(format!("{}.v{}.json", e.event, e.version));
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{e}: {}; run `cargo run -p journeylog-codec --example lock`", path.display()));
    let list: Vec<Example> = serde_json::from_str(&text).unwrap();
    assert_eq!(list.iter().map(|x| x.example.as_str()).collect::<Vec<_>>(), ["full", "minimal"]);
    list.into_iter()
        .map(|x| {
            let byte = |i| u8::from_str_radix(&x.frame[i..i + 2], 16).unwrap();
            let frame = (0..x.frame.len()).step_by(2).map(byte).collect();
            (x, frame)
        })
        .collect()
}

#[test]
fn golden_bytes_decode_to_what_they_always_did() {
    for e in lock().entries {
        let kind = Kind::from_name(&e.event).unwrap();
        for (example, frame) in examples(&e) {
            let event = decode(&frame).unwrap_or_else(|err| panic!("{}: {err}", e.event));
            // As text: the content hash, by which a resend is known, is over these bytes.
            assert_eq!(event.to_json(), example.event.get(), "{} v{}", e.event, e.version);
            assert_eq!(frame[1..5], e.id.to_be_bytes());
            if schema_of(kind) == e.id {
                let mut again = Vec::new();
                encode(&event, &mut again);
                assert!(again == frame, "{} v{} is written otherwise", e.event, e.version);
            }
        }
    }
}

#[test]
fn apache_avro_reads_the_same_in_them() {
    for e in lock().entries {
        let schema = apache_avro::Schema::parse_str(e.schema.get()).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        for (example, frame) in examples(&e) {
            let mut rest = &frame[5..];
            let value = reader.read_value(&mut rest).unwrap();
            assert!(rest.is_empty());
            let mut theirs = json(&value).unwrap();
            theirs["type"] = Value::String(e.event.clone());
            if let Some(replacement) = theirs.get_mut("replacement") {
                *replacement = serde_json::from_str(replacement.as_str().unwrap()).unwrap();
            }
            let ours: Value = serde_json::from_str(example.event.get()).unwrap();
            assert_eq!(theirs, ours, "{} v{}", e.event, e.version);
        }
    }
}

/// What apache-avro read, in our JSON form; `None` for what that leaves out.
fn json(value: &Avro) -> Option<Value> {
    Some(match value {
        Avro::Null => return None,
        Avro::Union(_, inner) => return json(inner),
        Avro::Array(items) if items.is_empty() => return None,
        Avro::Array(items) => items.iter().filter_map(json).collect(),
        Avro::Record(fields) => {
            Value::Object(fields.iter().filter_map(|(n, v)| Some((n.clone(), json(v)?))).collect::<Map<_, _>>())
        }
        Avro::Boolean(b) => Value::from(*b),
        Avro::Int(i) => Value::from(*i),
        Avro::Long(i) => Value::from(*i),
        Avro::Double(d) => Value::from(*d),
        Avro::String(s) | Avro::Enum(_, s) => Value::from(s.as_str()),
        Avro::Uuid(u) => Value::from(u.to_string()),
        Avro::TimestampMicros(t) => Value::from(Micros(*t).to_string()),
        Avro::Date(d) => Value::from(Date(*d).to_string()),
        other => panic!("not in the catalogue: {other:?}"),
    })
}

#[test]
fn no_golden_bytes_are_left_over() {
    let known: BTreeSet<String> = lock().entries.iter().map(|e| format!("{}.v{}.json", e.event, e.version)).collect();
    let there: BTreeSet<String> =
        fs::read_dir(golden()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, known);
}
