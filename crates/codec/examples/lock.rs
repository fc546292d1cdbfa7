//! Writes `schemas/lock.json` from the schemas of this build; what `journeylog schemas lock` does, where the program does
//! not build yet. `-- --fresh` gives new ids to everything, which is allowed before the first release alone.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use domain::Kind;
use journeylog_codec::lock::Lock;

fn main() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/lock.json");
    let fresh = std::env::args().any(|a| a == "--fresh");
    let old = if fresh { String::new() } else { std::fs::read_to_string(path).unwrap_or_default() };
    let mut lock = Lock::parse(&old).unwrap();
    let changed = lock.update(Kind::ALL.iter().map(|k| (k.as_str(), k.schema())));
    std::fs::write(path, lock.to_text()).unwrap();
    println!("{} schemas, new or changed: {}", lock.entries.len(), changed.join(" "));
}
