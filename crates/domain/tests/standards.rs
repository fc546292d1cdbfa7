//! Released standards are never edited: what they were is in `schemas/standards/released.lock`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use journeylog_domain::views::mot::SHIPPED;
use std::collections::BTreeMap;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

#[test]
fn released_standards_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/standards");
    let lock = std::fs::read_to_string(folder.join("released.lock")).unwrap();
    let released: BTreeMap<&str, &str> =
        lock.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once("  ").expect("name and checksum")).collect();
    let shipped: BTreeMap<&str, &str> = SHIPPED.into();
    for (name, checksum) in &released {
        let text = shipped.get(name).unwrap_or_else(|| panic!("{name} was released and is gone"));
        let now = format!("{:016x}", xxh3_64(text.as_bytes()));
        assert_eq!(now, *checksum, "{name} was released: write a standard with a later effective_from instead");
    }
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert_eq!(files, SHIPPED.map(|(name, _)| name), "each standard is compiled in, by the day of its effect");
    let first: Vec<&str> = files.iter().take(released.len()).map(String::as_str).collect();
    assert_eq!(first, released.into_keys().collect::<Vec<_>>(), "a new standard comes after the released ones");
}
