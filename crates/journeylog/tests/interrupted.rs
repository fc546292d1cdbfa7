//! Ctrl-C while an operation is under way: readers see what they saw.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::Value as Json;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use store::Durability;
use support::{BINARY, Backends, caught_up};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_interrupted_while_it_compares_does_not_switch() {
    let Some(b) = Backends::services("interrupted").await else { return };
    let sample = b.sample(5, 1);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let mut server = b.start(&["project", "follow-ups"]).await;
    caught_up(&b, &[View::FollowUps]).await;
    assert_eq!(server.terminate(), 0);

    let engine = b.engine().await;
    let mut held = engine.begin(Durability::Full).await.unwrap();
    held.execute("LOCK TABLE follow_up_items_g1 IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
    let mut rebuild = Command::new(BINARY)
        .args(["--log", &b.log, "--store", &b.store, "rebuild", "follow-ups", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(rebuild.stdout.take().unwrap()).lines();
    let comparing = |line: std::io::Result<String>| {
        serde_json::from_str::<Json>(&line.unwrap()).is_ok_and(|l| l["phase"] == "comparing")
    };
    assert!(lines.by_ref().any(comparing), "it waits for the lock");
    assert!(Command::new("kill").args(["-INT", &rebuild.id().to_string()]).status().unwrap().success());
    held.rollback().await.unwrap();

    assert_eq!(rebuild.wait().unwrap().code(), Some(1));
    let active = engine.query("SELECT generation FROM generations WHERE active = 1", &[]).await.unwrap();
    assert_eq!(active[0].int(0), 1, "readers see what they saw");
    let out = b.run(&["switch", "follow-ups", "2"]);
    assert_eq!(out.code, 0, "it is filled, and can be switched to: {}", out.stderr);
}
