//! Writes `schemas/lock.json` and the golden bytes of what is new in it, from the schemas of this build. The lock alone is
//! what `journeylog schemas lock` writes. `-- --fresh` gives new ids and bytes to everything, which is allowed before the
//! first release alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use domain::Kind;
use domain::testing::{Fill, example_filled};
use journeylog_codec::encode;
use journeylog_codec::lock::Lock;
use std::{fs, path::Path};

fn main() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let (lock_path, golden) = (schemas.join("lock.json"), schemas.join("golden"));
    let old = fs::read_to_string(&lock_path).unwrap_or_default();
    if std::env::args().any(|a| a == "--fresh") {
        fs::write(&lock_path, "[]\n").unwrap();
        let _ = fs::remove_dir_all(&golden);
        if old.trim() != "[]" {
            println!("emptied; run it again without --fresh, so that it is built with the empty lock");
            return;
        }
    }
    let mut lock = Lock::parse(&old).unwrap();
    let changed = lock.update(Kind::ALL.iter().map(|k| (k.as_str(), k.schema())));
    fs::write(&lock_path, lock.to_text()).unwrap();
    println!("{} schemas, {} new or changed: {}", lock.entries.len(), changed.len(), changed.join(" "));

    fs::create_dir_all(&golden).unwrap();
    for (event, entry) in lock.newest() {
        let path = golden.join(format!("{event}.v{}.json", entry.version));
        if !path.exists() {
            fs::write(&path, examples(Kind::from_name(event).unwrap())).unwrap();
            println!("wrote golden/{event}.v{}.json", entry.version);
        }
    }
}

/// A full and a minimal example: the frame as hex, and the event as JSON.
fn examples(kind: Kind) -> String {
    let one = |name: &str, fill| {
        let event = example_filled(kind, 1, fill);
        let mut frame = Vec::new();
        encode(&event, &mut frame);
        let hex: String = frame.iter().map(|b| format!("{b:02x}")).collect();
        format!("{{\"example\":\"{name}\",\"frame\":\"{hex}\",\n \"event\":{}}}", event.to_json())
    };
    format!("[\n{},\n{}\n]\n", one("full", Fill::Full), one("minimal", Fill::Minimal))
}
