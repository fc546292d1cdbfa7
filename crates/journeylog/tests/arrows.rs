//! Who may depend on whom (ARCHITECTURE.md).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("codec", &["domain"]),
    ("eventlog", &[]),
    ("store", &["domain"]),
    ("ingest", &["domain", "codec", "eventlog"]),
    ("projector", &["domain", "codec", "eventlog", "store"]),
    ("query", &["domain", "store"]),
    ("journeylog", &["domain", "codec", "eventlog", "store", "ingest", "projector", "query"]),
];
const KNOWN_TO: &[(&str, &[&str])] =
    &[("rdkafka", &["eventlog"]), ("sqlx", &["store", "eventlog"]), ("axum", &["ingest", "query", "journeylog"])];

#[test]
fn the_arrows_hold() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let ours = |name: &str| name.strip_prefix("journeylog-").unwrap_or(name).to_owned();
    let mut depends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let set = depends.entry(ours(package["name"].as_str().unwrap())).or_default();
        for d in package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null()) {
            set.insert(ours(d["name"].as_str().unwrap()));
        }
    }
    for (krate, allowed) in ALLOWED {
        let of_ours = depends[*krate].iter().filter(|d| depends.contains_key(*d));
        let wrong: Vec<_> = of_ours.filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{krate} must not depend on {wrong:?}");
    }
    assert_eq!(depends.len(), ALLOWED.len(), "a crate without a rule");
    for (library, knowing) in KNOWN_TO {
        let wrong: Vec<_> =
            depends.iter().filter(|(k, d)| d.contains(*library) && !knowing.contains(&k.as_str())).collect();
        assert!(wrong.is_empty(), "{library} is known to {knowing:?} alone");
    }
}
