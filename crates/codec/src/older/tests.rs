//! Each type as builds before and after this one may have it: apache-avro writes, `frame::read` reads.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::frame::{DecodeError, MAX_DATUM, read, tests::Record};
use crate::{registry::Entry, tree::file_name};
use apache_avro::{Schema, types::Value as Avro, writer::datum::GenericDatumWriter};
use domain::testing::{Fill, example, example_filled};
use domain::{Event, Kind, inline::self_contained};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, path::Path, sync::LazyLock};

/// Another version of a type's schema.
struct Other {
    entry: Entry,
    schema: Schema,
    /// Whether it lacks the fields of the event and of its header that have a default.
    fewer: bool,
}

static OTHERS: LazyLock<Vec<Other>> = LazyLock::new(|| {
    let both = |&kind: &Kind| [false, true].map(|fewer| other(kind, fewer));
    Kind::ALL.iter().flat_map(both).collect()
});

fn other(kind: Kind, fewer: bool) -> Other {
    let file = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(name);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let mut header = file("header.avsc");
    let mut event = file(&format!("events/{}", file_name(kind.as_str())));
    for (record, name) in [(&mut header, "H"), (&mut event, "E")] {
        let fields = record["fields"].as_array_mut().unwrap();
        if fewer {
            fields.retain(|f| f.get("default").is_none());
        }
        let (first, last) = strange(name);
        fields.splice(0..0, first);
        fields.extend(last);
    }
    let text = self_contained(&event, &file("types.avsc"), &header).unwrap().to_string();
    Other { schema: Schema::parse_str(&text).unwrap(), entry: Entry::new(7, kind, text), fewer }
}

/// Fields that this build has not, of each type that the catalogue knows. `Role` is written out in one of them, and named
/// only where this build looks for it.
fn strange(name: &str) -> (Vec<Value>, Vec<Value>) {
    let level = json!({"type": "enum", "name": format!("Level{name}"), "symbols": ["low", "high"], "default": "low"});
    let nested = json!({"type": "record", "name": format!("Nested{name}"), "fields": [
        {"name": "level", "type": format!("Level{name}")},
        {"name": "levels", "type": {"type": "array", "items": format!("Level{name}")}},
        {"name": "ratio", "type": "double"},
    ]});
    let one = json!({"type": "record", "name": format!("One{name}"), "fields": [
        {"name": "note", "type": ["null", "string"], "default": null},
    ]});
    let first = vec![
        json!({"name": "x_role", "type": ["null", "org.journeylog.type.Role"], "default": null}),
        json!({"name": "x_level", "type": level}),
        json!({"name": "x_nested", "type": {"type": "array", "items": nested}}),
    ];
    let last = vec![
        json!({"name": "y_one", "type": ["null", one], "default": null}),
        json!({"name": "y_ones", "type": {"type": "array", "items": format!("One{name}")}}),
        json!({"name": "y_text", "type": "string"}),
        json!({"name": "y_nested", "type": ["null", format!("Nested{name}")], "default": null}),
        json!({"name": "y_id", "type": {"type": "string", "logicalType": "uuid"}}),
        json!({"name": "y_at", "type": {"type": "long", "logicalType": "timestamp-micros"}}),
        json!({"name": "y_day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": null}),
        json!({"name": "y_flag", "type": "boolean"}),
    ];
    (first, last)
}

/// Values of the strange fields, on top of the others.
fn with_strange(record: Avro) -> Avro {
    let Avro::Record(mut fields) = record else { panic!("no record") };
    let text = |s: &str| Avro::String(s.to_owned());
    let nested = || {
        Avro::Record(vec![
            ("level".to_owned(), text("high")),
            ("levels".to_owned(), Avro::Array(vec![text("low"), text("high")])),
            ("ratio".to_owned(), Avro::Double(f64::NAN)),
        ])
    };
    let one = || Avro::Record(vec![("note".to_owned(), Avro::Union(1, Box::new(text("쪽지"))))]);
    for (name, value) in [
        ("x_role", text("nurse")),
        ("x_level", text("high")),
        ("x_nested", Avro::Array(vec![nested(), nested()])),
        ("y_one", one()),
        ("y_ones", Avro::Array(vec![one(), one()])),
        ("y_text", text("아무 말")),
        ("y_nested", nested()),
        ("y_id", text("018f0c3e-7b1a-7c3d-9e4f-5a6b7c8d9e0f")),
        ("y_at", Avro::Long(i64::MAX)),
        ("y_day", Avro::Int(i32::MIN)),
        ("y_flag", Avro::Boolean(true)),
    ] {
        fields.push((name.to_owned(), value));
    }
    Avro::Record(fields)
}

impl Other {
    fn write(&self, event: &Event) -> Vec<u8> {
        let Avro::Record(mut fields) = with_strange(apache_avro::to_value(Record(event)).unwrap()) else {
            unreachable!()
        };
        let header = fields.iter_mut().find(|(name, _)| name == "header").unwrap();
        header.1 = with_strange(std::mem::replace(&mut header.1, Avro::Null));
        let value = Avro::Record(fields).resolve(&self.schema).unwrap();
        GenericDatumWriter::builder(&self.schema).build().unwrap().write_value_to_vec(value).unwrap()
    }

    /// What this build has to make of it.
    fn expected(&self, event: &Event) -> Event {
        let mut json: Value = serde_json::from_str(&event.to_json()).unwrap();
        json.as_object_mut().unwrap().remove("type");
        if self.fewer {
            let schema: Value = serde_json::from_str(event.kind().schema()).unwrap();
            let drop = |schema: &Value, from: &mut Value| {
                for f in schema["fields"].as_array().unwrap().iter().filter(|f| f.get("default").is_some()) {
                    from.as_object_mut().unwrap().remove(f["name"].as_str().unwrap());
                }
            };
            let header = schema["fields"].as_array().unwrap().iter().find(|f| f["name"] == "header").unwrap();
            drop(&header["type"], &mut json["header"]);
            drop(&schema, &mut json);
        }
        Event::deserialize_record(event.kind(), &json).unwrap()
    }
}

#[test]
fn strange_fields_are_dropped_and_missing_ones_get_their_default() {
    for other in &*OTHERS {
        for fill in [Fill::Full, Fill::Minimal] {
            let event = example_filled(other.entry.kind, 1, fill);
            let read = read(&other.entry, &other.write(&event));
            assert!(read == Ok(other.expected(&event)), "{:?}, fewer {}: {read:?}", event.kind(), other.fewer);
        }
    }
}

#[test]
fn what_is_cut_short_or_too_long_is_refused() {
    for other in &*OTHERS {
        let mut bytes = other.write(&example_filled(other.entry.kind, 1, Fill::Minimal));
        for cut in 0..bytes.len() {
            assert!(read(&other.entry, &bytes[..cut]).is_err(), "{:?} cut at {cut}", other.entry.kind);
        }
        bytes.push(0);
        let longer = read(&other.entry, &bytes);
        assert_eq!(longer, Err(DecodeError::Datum { id: 7, reason: "bytes follow the datum" }));
    }
}

/// In place of any two bytes, so that it meets each string, list and union of them.
#[test]
fn a_huge_length_is_refused_and_no_more_is_allocated_than_a_datum_may_have() {
    let huge = |n: i64| {
        let mut z = ((n << 1) ^ (n >> 63)).cast_unsigned();
        let mut out = Vec::new();
        while z > 0x7f {
            out.push(z.to_le_bytes()[0] | 0x80);
            z >>= 7;
        }
        out.push(z.to_le_bytes()[0]);
        out
    };
    for other in OTHERS.iter().take(8) {
        let bytes = other.write(&example(other.entry.kind, 1));
        for n in [i64::MAX, i64::MIN, i64::from(i32::MAX), 1 << 22] {
            for at in 0..bytes.len() {
                let mut bad = bytes[..at].to_vec();
                bad.extend(huge(n));
                assert!(read(&other.entry, &bad).is_err());
                bad.extend(&bytes[at..]);
                let _ = read(&other.entry, &bad);
            }
        }
    }
    assert_eq!(apache_avro::util::max_allocation_bytes(usize::MAX), MAX_DATUM);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_bytes_make_it_panic(
        other: prop::sample::Index,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        seed: u64,
        at: prop::sample::Index,
        keep in 0..3_usize,
    ) {
        let other = other.get(&OTHERS);
        let _ = read(&other.entry, &bytes);
        // Random bytes alone seldom come far.
        let mut damaged = other.write(&example(other.entry.kind, seed));
        let at = at.index(damaged.len());
        let to = (at + keep).min(damaged.len());
        damaged.splice(at..to, bytes.iter().copied().take(keep + 1));
        let _ = read(&other.entry, &damaged);
    }
}
