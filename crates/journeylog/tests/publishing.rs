//! The pages of `docs/publishing` whose commands need nothing but a server and curl, run as they stand there.
//!
//! Their blocks are those of `documented.rs`. Each page has a server of its own with the example's site file; `B` is its address
//! and `TOKEN` that of an authorised account.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::process::Command;
use support::Backends;
use support::pages::{self, blocks};

const TOKEN: &str = "a-long-random-token";

/// Runs a page's blocks; panics with what is wrong.
async fn run(name: &str) {
    let page = pages::read(&format!("docs/publishing/{name}"));
    let b = Backends::embedded();
    let at = |file: &str| b.dir.path().join(file).display().to_string();
    std::fs::write(at("key"), [7; 32]).unwrap();
    let hash = Command::new("sh").args(["-c", &format!("printf %s {TOKEN} | sha256sum")]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    std::fs::write(at("tokens"), format!("# accounts\nfront-desk {}\n", hash.split(' ').next().unwrap())).unwrap();
    let site = pages::root().join("deploy/site.example.toml").display().to_string();
    let environment = [
        ("JOURNEYLOG_SITE__FILE", site.as_str()),
        ("JOURNEYLOG_SITE__PSEUDONYM_KEY_FILE", &at("key")),
        ("JOURNEYLOG_SITE__STAFF_TOKENS_FILE", &at("tokens")),
    ];
    let mut server = b.start_with(&["all"], &environment).await;
    let blocks = blocks(&page);
    assert!(!blocks.is_empty(), "{name} has no command");
    for block in &blocks {
        assert!(!block.output.is_empty(), "{name}, line {}: says nothing of what comes of it", block.line);
        let environment = [("B", server.base.as_str()), ("TOKEN", TOKEN)];
        let came = tokio::task::block_in_place(|| pages::run(block, b.dir.path(), &environment));
        came.unwrap_or_else(|why| panic!("docs/publishing/{name}, {why}"));
    }
    assert_eq!(server.terminate(), 0, "{}", server.logged());
    let log = server.logged();
    assert!(!log.contains("00120034") && !log.contains(TOKEN), "a number or a token is in the log: {log}");
    assert!(log.contains("a pseudonym was looked up") && log.contains("front-desk"), "no audit: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_http() {
    run("http.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fhir() {
    run("fhir.md").await;
}
