//! Speed of the ways from an Avro datum to an event and back: `cargo bench -p journeylog-codec --bench avro`.
//! ADR 0001 has the figures. Fixed work on one thread. `-- decode 50` measures those names alone, in 50 rounds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use domain::testing::any_example;
use domain::{Event, Kind};
use journeylog_codec::{decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{cell::Cell, hint::black_box, time::Instant};

const EVENTS: u64 = 20_000;

thread_local!(static KIND: Cell<Kind> = const { Cell::new(Kind::ConsultEnded) });

/// An event whose type is told beforehand, for readers that take no seed.
struct Told(Event);

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Event::deserialize_record(KIND.get(), d).map(Self)
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_record(s)
    }
}

/// Nanoseconds that this thread has had a core; without Linux, since the program began.
fn now(start: Instant) -> u64 {
    let on_core = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    on_core
        .and_then(|s| s.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| u64::try_from(start.elapsed().as_nanos()).unwrap())
}

/// Time per item: the best of `rounds` (second argument of the command line, 7), since others may use the machine.
fn measure<T>(name: &str, items: &[T], mut work: impl FnMut(&T)) {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    if args.next().is_some_and(|filter| !name.contains(&filter)) {
        return;
    }
    let rounds = args.next().map_or(7, |r| r.parse().unwrap());
    let mut best = f64::MAX;
    let start = Instant::now();
    for _ in 0..rounds {
        let before = now(start);
        items.iter().for_each(&mut work);
        best = best.min((now(start) - before) as f64 / 1e9);
    }
    let per = best / items.len() as f64;
    println!("{name:<46} {:>7.2} us   {:>9.0} events/s", per * 1e6, 1.0 / per);
}

fn main() {
    let events: Vec<Told> = (0..EVENTS).map(|seed| Told(any_example(seed))).collect();
    let frames: Vec<(Kind, Vec<u8>)> = events
        .iter()
        .map(|Told(event)| {
            let mut out = Vec::new();
            encode(event, &mut out);
            (event.kind(), out)
        })
        .collect();
    let bytes: usize = frames.iter().map(|(_, f)| f.len()).sum();
    let json: usize = events.iter().map(|e| e.0.to_json().len()).sum();
    println!("{EVENTS} events, mean {} bytes framed, {} bytes JSON", bytes / frames.len(), json / frames.len());

    let schemas: Vec<_> = Kind::ALL.iter().map(|k| apache_avro::Schema::parse_str(k.schema()).unwrap()).collect();
    let readers: Vec<_> = schemas.iter().map(|s| GenericDatumReader::builder(s).build().unwrap()).collect();
    let writers: Vec<_> = schemas.iter().map(|s| GenericDatumWriter::builder(s).build().unwrap()).collect();
    let mut out = Vec::with_capacity(4096);

    measure("encode: apache-avro, to_value + write_value", &events, |e| {
        out.clear();
        let value = apache_avro::to_value(e).unwrap();
        let value = value.resolve(&schemas[e.0.kind() as usize]).unwrap();
        writers[e.0.kind() as usize].write_value_ref(&mut out, &value).unwrap();
        black_box(&out);
    });
    measure("encode: apache-avro, write_ser", &events, |e| {
        out.clear();
        writers[e.0.kind() as usize].write_ser(&mut out, e).unwrap();
        black_box(&out);
    });
    measure("encode: generated (codec::encode)", &events, |e| {
        out.clear();
        encode(&e.0, &mut out);
        black_box(&out);
    });
    measure("decode: apache-avro, read_value + from_value", &frames, |(kind, f)| {
        KIND.set(*kind);
        let value = readers[*kind as usize].read_value(&mut &f[5..]).unwrap();
        black_box(apache_avro::from_value::<Told>(&value).unwrap());
    });
    measure("decode: apache-avro, read_deser", &frames, |(kind, f)| {
        KIND.set(*kind);
        black_box(readers[*kind as usize].read_deser::<Told>(&mut &f[5..]).unwrap());
    });
    measure("decode: generated (codec::decode)", &frames, |(_, f)| {
        black_box(decode(f).unwrap());
    });
    measure("to_json", &events, |e| {
        black_box(e.0.to_json());
    });
    measure("decode + to_json", &frames, |(_, f)| {
        black_box(decode(f).unwrap().to_json());
    });
    measure("decode + content_hash", &frames, |(_, f)| {
        black_box(decode(f).unwrap().content_hash());
    });
}
