//! The generated reader and writer against serde_avro_fast, which goes by the schema's text.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use domain::Kind;
use domain::testing::{any_example, example};
use proptest::prelude::*;
use serde_avro_fast::ser::{SerializerConfig, SerializerState};

fn by_schema(event: &Event) -> Vec<u8> {
    let mut config = SerializerConfig::new(registry::newest(event.kind()).avro());
    let mut state = SerializerState::from_writer(Vec::new(), &mut config);
    event.serialize_record(state.serializer()).unwrap();
    state.into_writer()
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
        // Not the other way round: serde_avro_fast wraps an int that does not fit 32 bits.
        if let Some((event, rest)) = newest(entry, &bytes) {
            let (other, left) = theirs.expect("serde_avro_fast reads it too");
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
    assert!(newest(entry(event.kind()), &blocks) == Some((event, &[][..])));
}

/// JSON, which views keep and readers get, has neither.
#[test]
fn nan_and_infinities_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let Event::FeedbackGiven(mut e) = example(Kind::FeedbackGiven, 1) else { panic!("another type") };
        e.raw = bad;
        let event = Event::FeedbackGiven(e);
        let bytes = by_schema(&event);
        assert!(newest(entry(event.kind()), &bytes).is_none());
        assert!(resolved(entry(event.kind()), &bytes).is_none());
    }
}
