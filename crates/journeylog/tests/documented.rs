//! Every command of docs/operations, run as it stands there, page by page and block by block.
//!
//! A page's blocks say how they are taken by what stands after the three backticks:
//!
//! | block | |
//! |---|---|
//! | `sh` | run by bash against an embedded instance of the page's own; each command has to end with 0 |
//! | `sh exit=3` | the same; the block has to end with 3 |
//! | `sh stopped` | the instance is stopped before and started again afterwards |
//! | `sh services` | run on Kafka and PostgreSQL, where there are test servers; all such blocks of a page on one instance |
//! | `output` | what the block before it printed has these lines among its own, in this order; `…` stands for anything |
//! | `text` and all others | for reading |
//!
//! The instance holds simulated journeys and one poisoned patient. Commands find it by their environment: the program is
//! `journeylog`, configured by `JOURNEYLOG_LOG__URL` and `JOURNEYLOG_STORE__URL`, and these variables are set:
//!
//! | variable | |
//! |---|---|
//! | `B` | address of the HTTP server, as in `curl $B/v1/status` |
//! | `DIR` | a folder of the page's own |
//! | `REPO` | this repository |
//! | `PATIENT` | a patient with journeys |
//! | `DEAD_LETTER` | id of a dead letter of the timeline, which parks a patient |
//! | `GENERATION` | the newest generation of the view mot |
//! | `POSITION` | a position of the log |
//!
//! `JOURNEYLOG_TEST_PAGE=backup.md` runs one page alone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use support::pages::{self, Block, blocks, fits, missing};
use support::{Backends, Server, caught_up, event};

const PATIENT: &str = "p-demo-0001";
const POISONED: &str = "p-0000000000000bad";

/// An instance with something in it.
struct Instance {
    b: Backends,
    server: Option<Server>,
    dead_letter: String,
    position: String,
}

impl Instance {
    async fn new(b: Backends) -> Self {
        let sample = b.sample(20, 3);
        let published = b.run(&["publish", sample.to_str().unwrap(), "--json"]);
        assert_eq!(published.code, 0, "{}", published.stderr);
        let poison = eventlog::NewRecord {
            key: POISONED.into(),
            value: b"\0\0\0\0\x07nonsense".as_slice().into(),
            headers: vec![("event-type", "PatientCheckedIn".into())],
        };
        b.open_log().await.append(vec![poison]).await.remove(0).unwrap();
        let server = b.start(&["all"]).await;
        let e = event("PatientCheckedIn", POISONED, "2026-03-09T01:40:00Z", json!({"appointment_id": "A-1"}));
        let (status, answer) = server.post("/v1/events", &e).await;
        assert_eq!(status, 201, "{answer}");
        caught_up(&b, &View::ALL).await;
        let letters = b.run(&["dead-letters", "list", "--view", "timeline", "--json"]);
        let letter: Json = serde_json::from_str(letters.stdout.lines().next().unwrap()).unwrap();
        let dead_letter = letter["id"].as_str().unwrap().to_owned();
        let position = answer["position"].as_str().unwrap().to_owned();
        Self { b, server: Some(server), dead_letter, position }
    }

    /// Runs a block; what is wrong with it.
    async fn run(&mut self, block: &Block) -> Result<(), String> {
        if block.stopped {
            let mut server = self.server.take().unwrap();
            assert_eq!(server.terminate(), 0, "{}", server.logged());
        }
        let base = self.server.as_ref().map(|s| s.base.clone()).unwrap_or_default();
        let engine = self.b.engine().await;
        let newest = "SELECT max(generation) FROM generations WHERE view = 'mot' AND state <> 'dropped'";
        let generation = engine.query(newest, &[]).await.unwrap()[0].int(0);
        engine.close().await;
        let (generation, dir, repository) =
            (generation.to_string(), self.b.dir.path(), pages::root().display().to_string());
        let environment = [
            ("JOURNEYLOG_LOG__URL", self.b.log.as_str()),
            ("JOURNEYLOG_STORE__URL", &self.b.store),
            ("B", &base),
            ("DIR", dir.to_str().unwrap()),
            ("REPO", &repository),
            ("PATIENT", PATIENT),
            ("DEAD_LETTER", &self.dead_letter),
            ("GENERATION", &generation),
            ("POSITION", &self.position),
        ];
        let came = tokio::task::block_in_place(|| pages::run(block, dir, &environment));
        if block.stopped {
            self.server = Some(self.b.start(&["all"]).await);
        }
        came
    }
}

/// The pages, in the order of their names.
fn pages() -> Vec<(String, String)> {
    let dir = pages::root().join("docs/operations");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let name = |f: &Path| f.file_name().unwrap().to_str().unwrap().to_owned();
    let only = std::env::var("JOURNEYLOG_TEST_PAGE").ok();
    let wanted = |n: &String| n.ends_with(".md") && only.as_ref().is_none_or(|o| n == o);
    files
        .iter()
        .map(|f| (name(f), f))
        .filter(|(n, _)| wanted(n))
        .map(|(n, f)| (n, std::fs::read_to_string(f).unwrap()))
        .collect()
}

/// Runs the blocks of all pages that are for these backends; panics with all that is wrong.
async fn run_pages(services: bool) {
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for (name, text) in pages() {
        let blocks: Vec<Block> = blocks(&text).into_iter().filter(|b| b.services == services).collect();
        if blocks.is_empty() {
            continue;
        }
        let b = if services { Backends::services("documented").await } else { Some(Backends::embedded()) };
        let Some(b) = b else { return };
        let mut instance = Instance::new(b).await;
        for block in &blocks {
            ran += 1;
            if let Err(why) = instance.run(block).await {
                // What comes after it on the page may hang on it.
                wrong.push(format!("docs/operations/{name}, {why}"));
                break;
            }
        }
        println!("{name}: {} blocks", blocks.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 0, "no page has a command");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_operations_pages_works() {
    run_pages(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_for_kafka_and_postgresql_works() {
    run_pages(true).await;
}

#[test]
fn every_page_is_in_the_index() {
    let pages = pages();
    let Some((_, index)) = pages.iter().find(|(n, _)| n == "README.md") else { return };
    for (name, _) in pages.iter().filter(|(n, _)| n != "README.md") {
        assert!(index.contains(&format!("]({name})")), "{name} is not in docs/operations/README.md");
    }
}

#[test]
fn what_is_printed_is_compared_with_what_is_described() {
    let page = "```sh exit=3 stopped\na \\\n  b\n```\n\nprints\n\n```output\nx … z\n```\n\n```text\nno\n```\n```sh services\nc\n```\n";
    let all = blocks(page);
    assert_eq!((all.len(), all[0].line, all[0].text.as_str()), (2, 1, "a \\\n  b"));
    assert!(all[0].exit == 3 && all[0].stopped && !all[0].services && all[1].services && all[1].output.is_empty());
    assert_eq!(missing("w\nx y z\n", &all[0].output), None);
    assert_eq!(missing("w\nx y zz\n", &all[0].output), Some("x … z"));
    assert!(fits("mot is paused since 2026", "mot is paused since …") && !fits("mot is", "mot is now"));
    assert!(fits("abc", "abc") && !fits("abcd", "abc") && fits("a1b2c", "a…b…c") && !fits("a1c", "a…b…c"));
    let in_turn = ["b".to_owned(), "a".to_owned()];
    assert_eq!(missing("a\nb\n", &in_turn), Some("a"));
}
