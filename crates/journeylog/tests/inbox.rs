//! The Kafka inbox with real processes: what becomes of every record, and that nothing is lost or doubled while readers of the
//! inbox are killed, stopped and continued, and the broker restarts. `ROUNDS` and `SEED` as in `faults.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use eventlog::{Log, NewRecord, Options};
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Backends, PATIENCE, Server, caught_up, event, fold};
use tokio_util::bytes::Bytes;

const PROJECT: [&str; 4] = ["project", "timeline", "mot", "follow-ups"];

/// A system that writes to the inbox of a log, as any Kafka client would.
struct Sender {
    inbox: Arc<dyn Log>,
    topic: String,
    refused: String,
    base: String,
}

impl Sender {
    async fn new(b: &Backends) -> Self {
        let (base, _) = b.log.split_once('?').unwrap();
        let (brokers, name) = base.rsplit_once('/').unwrap();
        let (topic, refused) = (format!("{name}.inbox"), format!("{name}.refused"));
        let url = format!("{brokers}/{topic}?partitions=4&replication=1");
        let inbox = eventlog::open(&url, &Options::default()).await.unwrap();
        Self { inbox, topic, refused, base: brokers.to_owned() }
    }

    fn env(&self) -> [(&str, &str); 3] {
        [
            ("JOURNEYLOG_INBOX__TOPIC", &self.topic),
            ("JOURNEYLOG_INBOX__REFUSED_TOPIC", &self.refused),
            ("JOURNEYLOG_INBOX__WITH_ALL", "true"),
        ]
    }

    async fn send(&self, records: Vec<NewRecord>) {
        let begun = Instant::now();
        let mut left = records;
        while !left.is_empty() {
            let answers = self.inbox.append(left.clone()).await;
            left = left.into_iter().zip(answers).filter_map(|(r, a)| a.is_err().then_some(r)).collect();
            assert!(begun.elapsed() < PATIENCE, "{} records were not taken", left.len());
        }
    }

    /// What was refused: reason, and position in the inbox.
    async fn refusals(&self) -> Vec<(String, String)> {
        let log = eventlog::open(&format!("{}/{}", self.base, self.refused), &Options::default()).await.unwrap();
        let mut found = Vec::new();
        for (partition, (first, end)) in (0..).zip(log.bounds().await.unwrap()) {
            let mut at = first;
            while at < end {
                let page = log.read(partition, at, 10_000).await.unwrap();
                at = page.last().unwrap().position.offset + 1;
                found.extend(page.iter().map(|r| (header(r, "refused-reason"), header(r, "refused-position"))));
            }
        }
        found.sort();
        found
    }
}

fn header(r: &eventlog::Record, name: &str) -> String {
    let value = r.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_vec()).unwrap_or_default();
    String::from_utf8(value).unwrap()
}

fn frame(event: &Json) -> NewRecord {
    let event = domain::parse::event(event.to_string().as_bytes()).unwrap();
    let mut value = Vec::new();
    codec::encode(&event, &mut value);
    NewRecord { key: Bytes::copy_from_slice(event.key().as_bytes()), value: Bytes::from(value), headers: vec![] }
}

fn checked_in(patient: &str) -> Json {
    event("PatientCheckedIn", patient, "2026-03-09T01:40:00Z", json!({"appointment_id": "A-1"}))
}

/// Waits until so many events are in the log.
async fn arrived(log: &dyn Log, count: usize) -> BTreeMap<String, usize> {
    let begun = Instant::now();
    loop {
        let mut ids = BTreeMap::new();
        for (_, event) in fold::events(log).await {
            *ids.entry(event.header().event_id.to_string()).or_default() += 1;
        }
        if ids.len() >= count {
            return ids;
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {count} events arrived", ids.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// One test restarts the broker: the others wait.
static BROKER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn good_records_reach_the_views_and_bad_ones_the_topic_of_refused() {
    let _broker = BROKER.lock().await;
    let Some(b) = Backends::services("inbox").await else { return };
    let sender = Sender::new(&b).await;
    let (one, two) = (checked_in("p-inbox-1"), checked_in("p-inbox-2"));
    let mut other = one.clone();
    other["appointment_id"] = "A-2".into();
    let mut wrong = checked_in("p-inbox-3");
    wrong["header"]["zone"] = "Nowhere/Nowhere".into();
    // in this order, on one partition
    let keyed = |r: NewRecord| NewRecord { key: Bytes::from_static(b"one key"), ..r };
    let nonsense = NewRecord { value: Bytes::from_static(b"{}"), ..frame(&one) };
    let records = vec![frame(&one), frame(&two), frame(&one), frame(&other), frame(&wrong), nonsense];
    sender.send(records.into_iter().map(keyed).collect()).await;
    let all = b.start_with(&["all"], &sender.env()).await;
    let log = b.open_log().await;
    let ids = arrived(log.as_ref(), 2).await;
    assert!(ids.values().all(|n| *n == 1), "{ids:?}");
    caught_up(&b, &View::ALL).await;
    let (status, page) = all.get("/v1/patients/p-inbox-1/timeline").await;
    assert_eq!(status, 200);
    assert!(page.to_string().contains(one["header"]["event_id"].as_str().unwrap()), "{page}");
    let refusals = sender.refusals().await;
    let reasons: Vec<&str> = refusals.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["conflict", "invalid", "not_framed"]);
    assert!(refusals.iter().all(|(_, at)| at.starts_with(&sender.topic)), "{refusals:?}");
    let metrics = all.http.get(all.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        r#"ingest_source_total{source="test",protocol="kafka",result="accepted",reason=""} 2"#,
        r#"ingest_source_total{source="test",protocol="kafka",result="duplicate",reason=""} 1"#,
        r#"ingest_source_total{source="test",protocol="kafka",result="refused",reason="invalid"} 1"#,
        r#"ingest_source_total{source="unknown",protocol="kafka",result="refused",reason="not_framed"} 1"#,
        "inbox_records_total 6",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let listed = b.run_with(&["refused", "list", "--json"], &sender.env());
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 3), "{}{}", listed.stdout, listed.stderr);
    let first: Json = serde_json::from_str(listed.stdout.lines().find(|l| l.contains("invalid")).unwrap()).unwrap();
    assert_eq!((&first["pointers"], &first["source"]), (&json!("/header/zone"), &json!("test")));
    let shown = b.run_with(&["refused", "show", first["at"].as_str().unwrap()], &sender.env());
    assert!(shown.code == 0 && !format!("{}{}", listed.stdout, shown.stdout).contains("p-inbox"), "{}", shown.stdout);
    let again = b.run_with(&["refused", "redrive", "--reason", "invalid"], &sender.env());
    assert_eq!(again.code, 0, "{}", again.stderr);
    wait_for_refused(&sender, 4).await;
    // No event waits: the markers of transactions are no lag.
    let (_, status) = all.get("/v1/status").await;
    for view in status["views"].as_array().unwrap() {
        assert_eq!(view["lag_events"], 0, "{status}");
    }
    // A rebuild of a log with transactions ends where the live view is.
    drop(all);
    let done = b.run(&["rebuild", "timeline", "--json"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let verified = b.run(&["verify", "timeline"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_can_commit_nothing_is_not_ready_until_it_can() {
    let _broker = BROKER.lock().await;
    let Some(b) = Backends::services("stalled").await else { return };
    let sender = Sender::new(&b).await;
    let inbox = b.start_with(&["ingest", "inbox"], &sender.env()).await;
    largest_copy(&sender, "100").await;
    sender.send(vec![NewRecord { value: Bytes::from_static(b"nonsense"), ..frame(&checked_in("p-stalled")) }]).await;
    let why = ready(&inbox, 503).await;
    assert!(why.contains("the inbox: no batch could be committed since"), "{why}");
    let metrics = inbox.http.get(inbox.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("inbox_stalled 1"), "{metrics}");
    largest_copy(&sender, "2000000").await;
    wait_for_refused(&sender, 1).await;
    ready(&inbox, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_whose_topic_is_deleted_waits_for_it() {
    let _broker = BROKER.lock().await;
    let Some(b) = Backends::services("deleted").await else { return };
    let all = b.start_with(&["all"], &Sender::new(&b).await.env()).await;
    let sender = Sender::new(&b).await;
    sender.send(vec![frame(&checked_in("p-deleted-1"))]).await;
    let log = b.open_log().await;
    arrived(log.as_ref(), 1).await;
    let deleted = admin(&sender).delete_topics(&[&sender.topic], &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let why = ready(&all, 503).await;
    assert!(why.contains("the inbox: no batch could be committed since"), "{why}");
    drop(sender);
    let sender = Sender::new(&b).await;
    sender.send(vec![frame(&checked_in("p-deleted-2"))]).await;
    arrived(log.as_ref(), 2).await;
    ready(&all, 200).await;
}

fn admin(sender: &Sender) -> AdminClient<DefaultClientContext> {
    let brokers = sender.base.strip_prefix("kafka://").unwrap();
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// Sets the largest message of the topic of refused records, bytes.
async fn largest_copy(sender: &Sender, bytes: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(&sender.refused)).set("max.message.bytes", bytes);
    let done = admin(sender).alter_configs([&change], &AdminOptions::new()).await.unwrap();
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

/// Waits until `/readyz` answers so; its words.
async fn ready(server: &Server, status: u16) -> String {
    let begun = Instant::now();
    loop {
        let answer = server.http.get(server.url("/readyz")).send().await.unwrap();
        let (now, words) = (answer.status().as_u16(), answer.text().await.unwrap());
        if now == status {
            return words;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{now} {words}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_through_kills_zombies_and_restarts() {
    let _broker = BROKER.lock().await;
    let (rounds, seed) = (number("ROUNDS", 1), number("SEED", 1));
    for round in 0..rounds {
        let Some(b) = Backends::services("inboxes").await else { return };
        one_round(&b, seed + round).await;
    }
}

/// Two readers of the inbox under names of their own; one after the other is killed, or stopped for so long that the other takes
/// its partitions, and continued.
async fn one_round(b: &Backends, seed: u64) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let sender = Sender::new(b).await;
    let start = |who: usize| {
        let name = format!("inbox-{who}");
        let env: Vec<(&str, &str)> = [&sender.env()[..], &[("JOURNEYLOG_LOG__INSTANCE_ID", name.as_str())]].concat();
        b.spawn(&["ingest", "inbox"], &env)
    };
    let _projectors = b.spawn(&PROJECT, &[]);
    let mut readers: Vec<Server> = vec![start(0), start(1)];
    let sample = std::fs::read_to_string(b.sample(60, 7)).unwrap();
    let events: Vec<Json> = sample.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let faults = [Fault::Kill, Fault::Restart, Fault::Stop, Fault::Kill, Fault::Kill];
    let mut bad = 0;
    for (i, chunk) in events.chunks(events.len().div_ceil(60)).enumerate() {
        let mut records: Vec<NewRecord> = chunk.iter().map(frame).collect();
        // A sender that resends, and one that sends nonsense.
        records.extend(chunk.iter().take(3).map(frame));
        records.push(NewRecord { value: Bytes::from_static(b"nonsense"), ..frame(&chunk[0]) });
        bad += 1;
        sender.send(records).await;
        if i % 12 == 6 {
            let who = random.random_range(0..2);
            match faults[i / 12] {
                Fault::Kill => {
                    std::mem::replace(&mut readers[who], start(who)).kill();
                }
                Fault::Stop => {
                    signal(&readers[who], "-STOP");
                    // longer than the session and the transaction live
                    tokio::time::sleep(Duration::from_secs(13)).await;
                    signal(&readers[who], "-CONT");
                }
                Fault::Restart => restart_kafka(),
            }
            println!("chunk {i}: {:?} of reader {who}", faults[i / 12]);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
    }
    let log = b.open_log().await;
    // the sample itself has lines twice
    let sent: BTreeSet<&str> = events.iter().map(|e| e["header"]["event_id"].as_str().unwrap()).collect();
    arrived(log.as_ref(), sent.len()).await;
    wait_for_refused(&sender, bad).await;
    let ids = arrived(log.as_ref(), sent.len()).await;
    assert!(ids.len() == sent.len() && sent.iter().all(|id| ids.contains_key(*id)));
    let doubled = ids.values().filter(|n| **n > 1).count();
    let positions = sender.refusals().await;
    let mut distinct = positions.clone();
    distinct.dedup();
    assert_eq!((positions.len(), distinct.len()), (bad, bad), "each bad record is refused once");
    // A record that was sent twice may be moved twice only by two processes that both have it: that never happens to one record,
    // and a resend is recognised by whoever has remembered what the log holds.
    assert_eq!(doubled, 0, "{doubled} events are in the log twice");
    caught_up(b, &View::ALL).await;
    let engine = b.engine().await;
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Stop,
    Restart,
}

async fn wait_for_refused(sender: &Sender, count: usize) {
    let begun = Instant::now();
    while sender.refusals().await.len() < count {
        assert!(begun.elapsed() < PATIENCE, "{} of {count} were refused", sender.refusals().await.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn signal(server: &Server, which: &str) {
    assert!(Command::new("kill").args([which, &server.child.id().to_string()]).status().unwrap().success());
}

/// Stops and starts the broker, same port and data.
fn restart_kafka() {
    let Ok(dir) = std::env::var("JOURNEYLOG_TEST_KAFKA_DIR") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/kafka.sh");
    assert!(Command::new(script).args(["restart", &dir]).status().unwrap().success());
}
