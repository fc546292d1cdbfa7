//! HL7 v2 over MLLP with the real program: acknowledged means in the log, whatever happens to the listener.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::mllp::{Sender, Site, frame, msa, visit};
use support::{Backends, PATIENCE, caught_up, fold, shared_data};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

/// How long a sender waits for an answer before it sends again.
const SENDER_PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_on_the_timeline_once() {
    let b = Backends::embedded();
    let site = Site::of(&b);
    let server = site.start(&b, &["all"], &[]).await;
    let mut io = Sender::open(&site.listen).await.unwrap();
    let first = io.send(&visit("A01", "m1", "12"), SENDER_PATIENCE).await.unwrap();
    assert_eq!(msa(&first), ("AA".into(), "m1".into()));
    // The same again, over another connection and after a restart: the same answer.
    let mut other = Sender::open(&site.listen).await.unwrap();
    assert_eq!(other.send(&visit("A01", "m1", "12"), SENDER_PATIENCE).await.unwrap(), first);
    let refused = other.send(&visit("A01", "m1", "13"), SENDER_PATIENCE).await.unwrap();
    assert_eq!(msa(&refused), ("AE".into(), "m1".into()));
    let quarantine = format!("sqlite:{}", b.dir.path().join("quarantine.db").display());
    let kept = eventlog::open(&quarantine, &Default::default()).await.unwrap();
    let bounds = kept.bounds().await.unwrap();
    assert_eq!(bounds.iter().map(|(first, end)| end - first).sum::<u64>(), 1, "it is kept");
    drop(kept);
    server.kill();
    let server = site.start(&b, &["all"], &[]).await;
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A01", "m1", "12"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    assert_eq!(msa(&io.send(&visit("A01", "m1", "13"), SENDER_PATIENCE).await.unwrap()).0, "AE");
    assert_eq!(msa(&io.send(&visit("A03", "m2", "12"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    caught_up(&b, &View::ALL).await;
    let (status, page) = server.get(&format!("/v1/patients/{}/timeline", Site::patient("12"))).await;
    let text = page.to_string();
    let kinds: Vec<_> = page["items"].as_array().unwrap().iter().map(|i| i["type"].as_str().unwrap()).collect();
    assert_eq!((status, kinds.as_slice()), (200, ["PatientAdmitted", "PatientDischarged"].as_slice()), "{text}");
    assert!(!text.contains("Minsu"), "{text}");
    let logged = server.logged();
    assert!(!logged.contains("Minsu") && !logged.contains("V-12"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_site_file_it_does_not_start_and_says_which_key() {
    let b = Backends::embedded();
    let out = std::process::Command::new(support::BINARY)
        .args(["--log", &b.log, "--store", &b.store, "--listen", "127.0.0.1:0", "ingest", "hl7"])
        .env("JOURNEYLOG_HL7__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("site.file"), "{said}");
    let out = b.run(&["ingest", "hl7"]);
    assert!(out.code == 1 && out.stderr.contains("hl7.listen"), "{}", out.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_senders_and_half_blocks_hold_nobody_up() {
    let b = Backends::embedded();
    let site = Site::of(&b);
    let limits =
        [("JOURNEYLOG_HL7__IDLE_S", "1"), ("JOURNEYLOG_HL7__BLOCK_S", "1"), ("JOURNEYLOG_HL7__MAX_CONNECTIONS", "20")];
    let _server = site.start(&b, &["ingest", "hl7"], &limits).await;
    let mut held = Vec::new();
    for n in 0..19 {
        let mut io = Sender::open(&site.listen).await.unwrap();
        if n % 2 == 0 {
            io.0.write_all(&frame(&visit("A01", "half", "1"))[..40]).await.unwrap();
        }
        held.push(io);
    }
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A01", "m1", "1"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    for mut silent in held {
        assert_eq!(silent.answer(PATIENCE).await, None, "its connection is closed, without an answer");
    }
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A02", "m2", "1"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    let log = b.open_log().await;
    assert_eq!(fold::events(log.as_ref()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_log_away_nothing_is_acknowledged() {
    let b = Backends::embedded();
    let site = Site::of(&b);
    let _server = site.start(&b, &["ingest", "hl7"], &[]).await;
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A01", "m1", "1"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    // Somebody else has the log's file to himself.
    let file = b.log.split('?').next().unwrap();
    let holder = store::Engine::connect(file, 1).await.unwrap();
    let held = holder.begin(store::Durability::Full).await.unwrap();
    match io.send(&visit("A02", "m2", "1"), Duration::from_secs(60)).await {
        Some(answer) => assert_eq!(msa(&answer).0, "AR", "{answer}"),
        None => println!("no answer at all"),
    }
    held.rollback().await.unwrap();
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A02", "m2", "1"), SENDER_PATIENCE).await.unwrap()).0, "AA");
    let log = b.open_log().await;
    let ids: BTreeSet<_> = fold::events(log.as_ref()).await.iter().map(|(_, e)| e.header().event_id).collect();
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_tls_takes_no_plain_text() {
    let b = Backends::embedded();
    let site = Site::of(&b);
    let at = |name: &str| b.dir.path().join(name).display().to_string();
    let (key, certificate) = (at("key.pem"), at("certificate.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout", &key, "-out", &certificate])
        .output();
    if !made.is_ok_and(|o| o.status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "openssl is needed");
        return eprintln!("SKIPPED: there is no openssl to make a certificate with");
    }
    let tls = [("JOURNEYLOG_HL7__TLS_CERTIFICATE_FILE", certificate.as_str()), ("JOURNEYLOG_HL7__TLS_KEY_FILE", &key)];
    let _server = site.start(&b, &["ingest", "hl7"], &tls).await;
    let mut plain = Sender::open(&site.listen).await.unwrap();
    let answer = plain.send(&visit("A01", "m1", "1"), SENDER_PATIENCE).await;
    assert_eq!(answer, None);
    // A client that isn't ours, which trusts that certificate alone.
    let mut client = std::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &certificate, "-connect", &site.listen])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    std::io::Write::write_all(&mut input, &frame(&visit("A01", "m2", "1"))).unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\x1c\r") && std::io::Read::read(&mut output, &mut byte).unwrap() == 1 {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    });
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(msa(&answer), ("AA".into(), "m2".into()));
    let log = b.open_log().await;
    assert_eq!(fold::events(log.as_ref()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_messages_are_acknowledged_as_the_standard_says() {
    let Some(folder) = shared_data("hl7v2") else { return };
    let b = Backends::embedded();
    let site = Site::of(&b);
    let server = site.start(&b, &["all"], &[]).await;
    let mut io = Sender::open(&site.listen).await.unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        // Many of them share an id: what they are is what they would be from senders that count.
        let id = text.lines().next().unwrap().split('|').nth(9).unwrap();
        let own = format!("F{}", codes.values().sum::<usize>());
        let text = text.replacen(&format!("|{id}|"), &format!("|{own}|"), 1);
        // Those that want no answer get none.
        let patience = if text.contains("|NE|NE") { Duration::from_secs(1) } else { SENDER_PATIENCE };
        let answer = io.send(&text, patience).await.map(|a| msa(&a));
        if let Some((_, echoed)) = &answer {
            assert_eq!(*echoed, own, "{}", path.display());
        }
        *codes.entry(answer.map_or("none".into(), |a| a.0)).or_default() += 1;
    }
    let expected = BTreeMap::from([("AA".to_owned(), files.len() - 2), ("CA".to_owned(), 1), ("none".to_owned(), 1)]);
    assert_eq!(codes, expected);
    caught_up(&b, &View::ALL).await;
    let (engine, log) = (b.engine().await, b.open_log().await);
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
    let dead = engine.query("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
    assert_eq!(dead[0].int(0), 0);
    let metrics = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("protocol=\"hl7\""), "{metrics}");
}

#[test]
fn the_documented_example_does_what_it_says() {
    let page = include_str!("../../../docs/publishing/hl7.md");
    let block = |kind: &str| page.split(&format!("```{kind}\n")).nth(1).unwrap().split("\n```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = std::path::Path::new(support::BINARY).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let mut bash = std::process::Command::new("bash");
    let out = bash
        .args(["-euo", "pipefail", "-c", block("sh")])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let logged = std::fs::read_to_string(folder.path().join("journeylog.log")).unwrap_or_default();
    assert!(out.status.success(), "{said}\n{wrong}\n{logged}");
    let mut lines = said.lines();
    for described in block("output").lines() {
        let mut parts = described.split('…');
        let fits = lines.next().is_some_and(|line| {
            let rest = line.strip_prefix(parts.next().unwrap());
            parts.try_fold(rest.unwrap_or("\0"), |rest, part| rest.find(part).map(|at| &rest[at + part.len()..]))
                == Some("")
        });
        assert!(fits, "{described}\n{said}");
    }
}

/// Sends messages in order, each again until it is acknowledged, until it is told to stop; several are under way at a time.
async fn sender(listen: String, n: usize, acknowledged: Arc<AtomicUsize>, stop: CancellationToken) -> Vec<String> {
    const UNDER_WAY: usize = 8;
    let message = |i: usize| {
        let id = format!("s{n}-{i}");
        let text = visit(["A01", "A02", "A03"][i % 3], &id, &format!("{n}-{}", i / 3));
        (id, text)
    };
    let mut done = Vec::new();
    let mut begun = Instant::now();
    let mut io: Option<Sender> = None;
    while !stop.is_cancelled() {
        assert!(begun.elapsed() < PATIENCE, "sender {n}: nothing more is acknowledged after {}", done.len());
        let Some(open) = io.as_mut() else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            io = Sender::open(&listen).await;
            continue;
        };
        let batch: Vec<_> = (done.len()..done.len() + UNDER_WAY).map(message).collect();
        let bytes: Vec<u8> = batch.iter().flat_map(|(_, text)| frame(text)).collect();
        if open.0.write_all(&bytes).await.is_err() {
            io = None;
            continue;
        }
        for (id, _) in batch {
            match open.answer(SENDER_PATIENCE).await.map(|a| msa(&a)) {
                Some((code, answered)) if code == "AA" && answered == id => {
                    done.push(id);
                    begun = Instant::now();
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                other => {
                    assert!(other.as_ref().is_none_or(|(code, _)| code == "AR"), "sender {n}, {id}: {other:?}");
                    io = None;
                    break;
                }
            }
        }
    }
    done
}

/// Kills the listener at random while senders send; what was acknowledged must be in the log, and in the views once.
async fn killed(b: &Backends, role: &[&str], projectors: &[&str], seed: u64) {
    const SENDERS: usize = 4;
    const KILLS: usize = 8;
    let site = Site::of(b);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let (acknowledged, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut listener = site.start(b, role, &[]).await;
    let projecting = if projectors.is_empty() { None } else { Some(b.spawn(projectors, &[])) };
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..SENDERS {
        senders.spawn(sender(site.listen.clone(), n, acknowledged.clone(), stop.clone()));
    }
    for kill in 1..=KILLS {
        // At any moment, but not before it does something.
        let (before, begun) = (acknowledged.load(Ordering::Relaxed), Instant::now());
        while acknowledged.load(Ordering::Relaxed) == before {
            assert!(begun.elapsed() < PATIENCE, "{}", listener.logged());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        listener.kill();
        println!("kill {kill} at {} acknowledged", acknowledged.load(Ordering::Relaxed));
        listener = site.start(b, role, &[]).await;
    }
    stop.cancel();
    let ids: Vec<String> = senders.join_all().await.into_iter().flatten().collect();
    assert!(!ids.is_empty());
    let log = b.open_log().await;
    let mut logged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = fold::events(log.as_ref()).await;
    for (_, event) in &all {
        let h = event.header();
        logged.entry(h.source.message_id.clone().unwrap()).or_default().insert(h.event_id.to_string());
    }
    let missing: Vec<_> = ids.iter().filter(|id| !logged.contains_key(*id)).collect();
    assert!(missing.is_empty(), "acknowledged, but not in the log: {missing:?}");
    assert!(logged.values().all(|events| events.len() == 1), "a message became several events");
    println!("{} messages acknowledged, {} records of {} messages", ids.len(), all.len(), logged.len());
    caught_up(b, &View::ALL).await;
    let engine = b.engine().await;
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
    }
    let rows = engine.query("SELECT count(*), count(DISTINCT event_id) FROM timeline_entries", &[]).await.unwrap();
    // What was in the log but not acknowledged when the senders stopped is there too.
    assert_eq!((rows[0].int(0), rows[0].int(1)), (logged.len() as i64, logged.len() as i64), "each once");
    drop((listener, projecting));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_loses_and_doubles_nothing() {
    killed(&Backends::embedded(), &["all"], &[], 1).await;
    if let Some(b) = Backends::services("hl7").await {
        killed(&b, &["ingest", "hl7"], &["project", "timeline", "mot", "follow-ups"], 2).await;
    }
}
