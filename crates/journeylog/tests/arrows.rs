//! Who may depend on whom (ARCHITECTURE.md), and on what of others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use serde_json::Value as Json;
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

/// What a program under Apache-2.0 may be linked with, without further ado. There are no exceptions.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// Large, or with types that cross crates: once is enough.
const ONCE: &[&str] = &[
    "axum",
    "chrono",
    "http",
    "hyper",
    "libsqlite3-sys",
    "metrics",
    "opentelemetry",
    "rdkafka",
    "rdkafka-sys",
    "rustls",
    "serde",
    "serde_json",
    "sqlx",
    "tokio",
    "tracing",
    "uuid",
];

fn metadata(args: &[&str]) -> Json {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Whether one may choose licences of the list: alternatives in each part that has to be kept.
fn may_be_used(licence: &str) -> bool {
    let alternatives = |part: &str| {
        let part = part.trim_matches(['(', ')']).replace('/', " OR ");
        part.split(" OR ").any(|l| LICENCES.contains(&l.trim()))
    };
    licence.split(" AND ").all(alternatives)
}

#[test]
fn what_others_wrote_may_be_used_and_is_there_once() {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(rustc.stdout).unwrap();
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).unwrap();
    let all = metadata(&["--filter-platform", host]);
    let used: BTreeSet<&str> =
        all["resolve"]["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for p in all["packages"].as_array().unwrap().iter().filter(|p| used.contains(p["id"].as_str().unwrap())) {
        let (name, licence) = (p["name"].as_str().unwrap(), p["license"].as_str().unwrap_or("none"));
        versions.entry(name).or_default().push(p["version"].as_str().unwrap());
        if !may_be_used(licence) {
            wrong.push(format!("{name}: {licence}"));
        }
    }
    assert!(versions.len() > 200, "cargo told of few packages: {}", versions.len());
    assert_eq!(wrong, [""; 0], "licences that nobody looked at");
    for name in ONCE {
        assert_eq!(versions.get(name).map(Vec::len), Some(1), "{name}: {:?}", versions.get(name));
    }
    assert!(
        !may_be_used("GPL-3.0-only OR LGPL-3.0-only") && !may_be_used("MIT AND GPL-3.0-only") && !may_be_used("none")
    );
}

#[test]
fn the_arrows_hold() {
    let metadata = metadata(&["--no-deps"]);
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
