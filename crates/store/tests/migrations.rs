//! Released migrations are never edited: what they were is in `migrations/released.lock`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

#[test]
fn released_migrations_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let lock = std::fs::read_to_string(folder.join("released.lock")).unwrap();
    let released: BTreeMap<&str, &str> =
        lock.lines().filter(|l| !l.starts_with('#')).map(|l| l.split_once("  ").expect("name and checksum")).collect();
    let mut files: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    files.sort();
    for (name, checksum) in &released {
        let text = std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name} was released and is gone: {e}"));
        let now = format!("{:016x}", xxh3_64(&text));
        assert_eq!(now, *checksum, "{name} was released: write a further migration instead of editing it");
    }
    let first: Vec<&str> = files.iter().take(released.len()).map(String::as_str).collect();
    assert_eq!(first, released.into_keys().collect::<Vec<_>>(), "a new migration comes after the released ones");
    for (i, name) in (1..).zip(&files) {
        assert!(name.starts_with(&format!("{i:04}_")), "{name} is not number {i}");
    }
}
