//! Every event comes back from its bytes, and no bytes make the decoder panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::testing::{Fill, example, example_filled};
use domain::{Event, Kind};
use journeylog_codec::{DecodeError, decode, encode, schema_of, unlocked};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn frame(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    encode(event, &mut out);
    out
}

#[test]
fn the_lock_holds_the_schemas_of_this_build() {
    assert!(unlocked().is_empty(), "run `journeylog schemas lock`: edited since are {:?}", unlocked());
}

#[test]
fn every_type_comes_back_and_begins_with_its_id() {
    for &kind in Kind::ALL {
        for fill in [Fill::Full, Fill::Minimal] {
            let event = example_filled(kind, 1, fill);
            let bytes = frame(&event);
            assert_eq!(bytes[0], 0);
            assert_eq!(bytes[1..5], schema_of(kind).to_be_bytes());
            assert!(decode(&bytes).unwrap() == event, "{}", kind.as_str());
        }
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let good = frame(&example(Kind::ConsultEnded, 3));
    assert_eq!(decode(&[]), Err(DecodeError::Frame));
    assert_eq!(decode(&good[..4]), Err(DecodeError::Frame));
    assert_eq!(decode(&[1, 0, 0, 0, 1, 0]), Err(DecodeError::Frame));
    assert_eq!(decode(&[0, 0, 0, 0, 0, 0]), Err(DecodeError::UnknownSchema(0)));
    assert_eq!(decode(&[0, 255, 255, 255, 255, 0]), Err(DecodeError::UnknownSchema(u32::MAX)));
    for cut in 5..good.len() {
        assert!(matches!(decode(&good[..cut]), Err(DecodeError::Datum { .. })), "cut at {cut}");
    }
    let mut longer = good;
    longer.push(0);
    assert!(matches!(decode(&longer), Err(DecodeError::Datum { reason: "bytes follow the datum", .. })));
}

#[test]
fn a_huge_length_allocates_nothing() {
    let mut bytes = vec![0];
    bytes.extend(schema_of(Kind::ConsultEnded).to_be_bytes());
    bytes.extend([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]); // event_id of i64::MAX bytes
    assert!(matches!(decode(&bytes), Err(DecodeError::Datum { .. })));
}

#[test]
fn a_refusal_quotes_nothing() {
    let mut bytes = frame(&example(Kind::ConsultEnded, 3));
    let at = bytes.windows(1).position(|w| w == b"-").unwrap();
    bytes[at] = b'Q';
    let said = decode(&bytes).unwrap_err().to_string();
    assert!(!said.contains('Q'), "{said}");
}

#[test]
fn an_embedded_event_has_one_spelling_whoever_sent_it() {
    // Its text is part of the content hash. Should a dependency switch on serde_json's `preserve_order`, this fails.
    let spelt = |text: &str| {
        let e: domain::ids::Embedded = serde_json::from_str(text).unwrap();
        e.0
    };
    assert_eq!(spelt(r#"{"b": 1, "a": {"d": 2.50, "c": "x"}}"#), r#"{"a":{"c":"x","d":2.5},"b":1}"#);
    assert_eq!(spelt(r#""{\"b\":1,\"a\":2}""#), r#"{"a":2,"b":1}"#);
}

/// The record's fields, or its header's.
fn part(record: &mut serde_json::Value, header: bool) -> &mut serde_json::Map<String, serde_json::Value> {
    if header { &mut record["header"] } else { record }.as_object_mut().unwrap()
}

fn kinds() -> impl Strategy<Value = Kind> {
    (0..Kind::ALL.len()).prop_map(|i| Kind::ALL[i])
}

proptest! {
    #[test]
    fn any_event_comes_back(kind in kinds(), seed: u64) {
        let event = example(kind, seed);
        prop_assert!(decode(&frame(&event)).unwrap() == event);
    }

    #[test]
    fn any_event_comes_back_from_its_json(kind in kinds(), seed: u64) {
        let event = example(kind, seed);
        let json = event.to_json();
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value.as_object_mut().unwrap().remove("type").unwrap(), kind.as_str());
        let back = Event::deserialize_record(kind, &value).unwrap();
        prop_assert!(back == event);
        prop_assert_eq!(back.to_json(), json);
        prop_assert_eq!(decode(&frame(&event)).unwrap().content_hash(), event.content_hash());
    }

    #[test]
    fn the_content_hash_tells_events_apart_as_their_json_does(
        kind in kinds(), seed: u64, another: u64, header: bool, at: prop::sample::Index
    ) {
        // One field is what another event says of it, which may be nothing.
        let event = example(kind, seed);
        let [mut value, mut other] = [&event, &example(kind, another)].map(|e| {
            let mut json: serde_json::Value = serde_json::from_str(&e.to_json()).unwrap();
            json.as_object_mut().unwrap().remove("type");
            json
        });
        let (into, from) = (part(&mut value, header), part(&mut other, header));
        let names: BTreeSet<String> = into.keys().chain(from.keys()).cloned().collect();
        let name = at.get(&Vec::from_iter(names)).clone();
        match from.remove(&name) {
            Some(said) => into.insert(name.clone(), said),
            None => into.remove(&name),
        };
        if let Ok(mixed) = Event::deserialize_record(kind, &value) {
            let same = mixed.content_hash() == event.content_hash();
            prop_assert_eq!(same, mixed.to_json() == event.to_json(), "{}", name);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in kinds()) {
        let _ = decode(&bytes);
        let mut framed = vec![0];
        framed.extend(schema_of(kind).to_be_bytes());
        framed.extend(bytes);
        let _ = decode(&framed);
    }

    #[test]
    fn damaged_frames_never_panic(kind in kinds(), seed: u64, at: prop::sample::Index, to: u8) {
        let mut bytes = frame(&example(kind, seed));
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }
}

/// States and rows hold it: another one would make conflicts of resends, unless each view's `VERSION` is raised with it.
#[test]
fn the_content_hash_stays_what_it_is() {
    let value = serde_json::json!({"header": {
        "event_id": "0197f0a0-0000-7000-8000-000000000001", "occurred_at": "2026-03-02T09:00:00Z", "zone": "Asia/Seoul",
        "recorded_at": "2026-03-02T09:00:01Z", "source": {"system": "ehr"}, "patient_id": "p1", "modality": "video",
        "confidentiality": ["R", "V"], "actor": {"role": "doctor"}
    }, "encounter_id": "e1", "appointment_id": "a1"});
    let event = Event::deserialize_record(Kind::ConsultStarted, &value).unwrap();
    assert_eq!(event.content_hash(), 10_483_862_093_515_186_556);
    // Only what is there counts: `null` is what a field says that was added later.
    let mut nulls = value;
    for absent in ["site", "journey_id", "department"] {
        nulls["header"][absent] = serde_json::Value::Null;
    }
    assert_eq!(Event::deserialize_record(Kind::ConsultStarted, &nulls).unwrap().content_hash(), event.content_hash());
}
