//! A record's value as the inbox and the projectors read it: no panic, bounded memory; what is read means the same after it was
//! written again. The first two bytes choose a schema, so that few inputs end at an unknown id.
#![no_main]

use libfuzzer_sys::fuzz_target;

fn judge(frame: &[u8]) {
    let Ok(event) = codec::decode(frame) else { return };
    let mut again = Vec::new();
    codec::encode(&event, &mut again);
    let back = codec::decode(&again);
    assert!(back.is_ok_and(|b| b.content_hash() == event.content_hash()), "written again it is something else");
    let json = event.to_json();
    let _ = domain::parse::validate(&event, &json, &domain::parse::Limits::default(), domain::Micros(i64::MAX / 2));
}

fuzz_target!(|bytes: &[u8]| {
    judge(bytes);
    let Some((choice, datum)) = bytes.split_first_chunk::<2>() else { return };
    let entries = &codec::lock().entries;
    let id = entries[usize::from(u16::from_le_bytes(*choice)) % entries.len()].id;
    let mut frame = vec![0];
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(datum);
    judge(&frame);
});
