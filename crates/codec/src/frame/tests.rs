//! The generated reader and writer against apache-avro, which goes by the schema's text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use apache_avro::{Schema, writer::datum::GenericDatumWriter};
use domain::Kind;
use domain::testing::{any_example, example};
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use std::sync::LazyLock;

pub(crate) struct Record<'a>(pub(crate) &'a Event);

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_record(s)
    }
}

static SCHEMAS: LazyLock<Vec<Schema>> =
    LazyLock::new(|| Kind::ALL.iter().map(|k| Schema::parse_str(k.schema()).unwrap()).collect());

fn by_schema(event: &Event) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(&SCHEMAS[event.kind() as usize]).build().unwrap();
    writer.write_ser_to_vec(&Record(event)).unwrap()
}

fn entry(kind: Kind) -> &'static Entry {
    registry::newest(kind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_write_the_same_bytes_and_read_the_same_event(seed: u64) {
        let event = any_example(seed);
        let bytes = by_schema(&event);
        let mut generated = Vec::new();
        event.put_datum(&mut generated);
        prop_assert!(generated == bytes);
        let entry = entry(event.kind());
        prop_assert!(newest(entry, &bytes) == Some((event.clone(), &[][..])));
        prop_assert!(resolved(entry, &bytes) == Some((event, &[][..])));
    }

    #[test]
    fn the_generated_reader_is_no_laxer(seed: u64, at: prop::sample::Index, to: u8) {
        let event = any_example(seed);
        let mut bytes = by_schema(&event);
        let at = at.index(bytes.len());
        bytes[at] = to;
        let entry = entry(event.kind());
        let theirs = resolved(entry, &bytes);
        // Not the other way round: apache-avro drops the bits of a varint beyond the 64th.
        if let Some((event, rest)) = newest(entry, &bytes) {
            let (other, left) = theirs.expect("apache-avro reads it too");
            // NaN differs from itself; its JSON does not.
            prop_assert!(event.to_json() == other.to_json() && rest == left);
        }
    }
}

#[test]
fn arrays_in_several_blocks_and_with_sizes_are_read() {
    let Event::DemographicsUpdated(mut e) = example(Kind::DemographicsUpdated, 1) else { panic!("another type") };
    (e.fields, e.special_requirements) = (vec!["a".to_owned(), "b".to_owned()], Vec::new());
    let event = Event::DemographicsUpdated(e);
    let bytes = by_schema(&event);
    let at = bytes.windows(6).position(|w| w == [4, 2, b'a', 2, b'b', 0]).unwrap();
    let mut blocks = bytes[..at].to_vec();
    blocks.extend([2, 2, b'a', 1, 4, 2, b'b', 0]); // one item; then -1 items in 2 bytes
    blocks.extend(&bytes[at + 6..]);
    assert!(newest(entry(event.kind()), &blocks) == Some((event.clone(), &[][..])));
    assert!(resolved(entry(event.kind()), &blocks) == Some((event, &[][..])));
}

/// JSON, which views keep and readers get, has neither NaN nor infinities; PostgreSQL has no U+0000.
#[test]
fn what_views_can_not_keep_is_refused() {
    let Event::FeedbackGiven(good) = example(Kind::FeedbackGiven, 1) else { panic!("another type") };
    let refused = |event: Event| {
        let bytes = by_schema(&event);
        newest(entry(event.kind()), &bytes).is_none() && resolved(entry(event.kind()), &bytes).is_none()
    };
    assert!(!refused(Event::FeedbackGiven(good.clone())));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut e = good.clone();
        e.raw = bad;
        assert!(refused(Event::FeedbackGiven(e)), "{bad}");
    }
    let mut e = good;
    e.header.zone = "Asia\0Seoul".to_owned();
    assert!(refused(Event::FeedbackGiven(e)));
}
