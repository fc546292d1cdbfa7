//! Rebuilding while everything goes on, with real processes: nobody who reads notices, and a kill costs nothing.
//! `ROUNDS` sets how often rebuilds are killed at any moment, `SEED` when (make soak).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{BINARY, Backends, Server, caught_up, event, fold};

/// What readers may wait for a switch or a rollback, milliseconds.
const MAX_SWITCH_MS: f64 = 1_000.0;
/// What a single read may take: the slowest seen on a busy machine took 1.5 s.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Items that a page of the follow-ups may have. A full one would say nothing about what is missing.
const PAGE: u64 = 1_000;
/// Patients that are published for and read all the time.
const WATCHED: usize = 3;

/// The servers of a deployment: the first takes events, the last answers readers.
async fn deployment(b: &Backends) -> Vec<Server> {
    if b.store.starts_with("sqlite") {
        return vec![b.start(&["all"]).await];
    }
    vec![
        b.start(&["ingest"]).await,
        b.start(&["project", "timeline", "mot", "follow-ups"]).await,
        b.start(&["query"]).await,
    ]
}

fn patient(n: usize) -> String {
    format!("p-{:016x}", 0xee00 + n)
}

fn ward(n: usize) -> String {
    format!("ward-{n}")
}

/// What has been published of each patient: the last position, and then how many events.
type Published = Arc<[(AtomicU64, AtomicU64)]>;

/// Publishes at a steady rate until told to stop.
async fn publish(http: reqwest::Client, url: String, published: Published, stop: Arc<AtomicBool>) -> u64 {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let p = (n % WATCHED as u64) as usize;
        let at = domain::Micros(1_770_000_000_000_000 + n as i64 * 60_000_000).to_string();
        let kind = ["ConsultEnded", "ComplaintFiled"][(n / WATCHED as u64 % 2) as usize];
        let fields = match kind {
            "ConsultEnded" => json!({"encounter_id": format!("E-{n}"), "appointment_id": format!("A-{p}")}),
            _ => json!({"complaint_id": format!("C-{n}"), "severity": "severe"}),
        };
        let mut e = event(kind, &patient(p), &at, fields);
        e["header"]["department"] = json!(ward(p));
        let body = e.to_string();
        let answer = http.post(&url).header("content-type", "application/json").body(body).send().await.unwrap();
        let (status, answer) = (answer.status().as_u16(), answer.json::<Json>().await.unwrap());
        assert_eq!(status, 201, "{answer}");
        let (partition, offset) = answer["position"].as_str().unwrap().split_once(':').unwrap();
        let (partition, offset): (u64, u64) = (partition.parse().unwrap(), offset.parse().unwrap());
        published[p].0.store(partition << 48 | offset, Ordering::Release);
        published[p].1.fetch_add(1, Ordering::Release);
        n += 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    n
}

/// Reads all the time, with and without asking for what was published last: every answer is one, none goes back, and what is asked
/// for is there.
async fn read(
    http: reqwest::Client,
    base: String,
    journeys: Vec<String>,
    published: Published,
    stop: Arc<AtomicBool>,
) -> u64 {
    let (mut reads, mut most) = (0_u64, std::collections::BTreeMap::<String, u64>::new());
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let p = reads as usize % WATCHED;
        let least = published[p].1.load(Ordering::Acquire);
        let seen = published[p].0.load(Ordering::Acquire);
        let after = format!("after={}:{}", seen >> 48, seen & 0xffff_ffff_ffff);
        let after = if reads % 2 == 0 { after.as_str() } else { "" };
        let id = patient(p);
        let paths = [
            format!("/v1/patients/{id}/timeline?limit=1&{after}"),
            format!("/v1/follow-ups?department={}&kind=critical_mot&limit={PAGE}&{after}", ward(p)),
            format!("/v1/journeys/{}/mot?{after}", journeys[p]),
        ];
        for (i, path) in paths.iter().enumerate() {
            let begun = Instant::now();
            let answer = http.get(format!("{base}{path}")).timeout(READ_LIMIT).send().await;
            let answer = answer.unwrap_or_else(|e| panic!("{path} after {:?}: {e}", begun.elapsed()));
            let status = answer.status().as_u16();
            let body: Json = answer.json().await.unwrap_or(Json::Null);
            slowest = slowest.max(begun.elapsed());
            assert_eq!(status, 200, "{path}: {body}");
            let count = match i {
                0 => body["total"].as_u64().unwrap(),
                1 => body["items"].as_array().unwrap().len() as u64,
                _ => body["touchpoints"].as_array().unwrap().len() as u64,
            };
            // Every other event is a severe complaint, and each of those an item.
            let least = [least, least / 2, 1][i];
            assert!(after.is_empty() || count >= least, "{path} has {count} of {least}");
            assert!(i != 1 || count < PAGE, "the page is full, and shows nothing any more");
            let most = most.entry(format!("{i} {id}")).or_default();
            assert!(count >= *most, "{path} went back from {most} to {count}");
            *most = count;
        }
        reads += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(most.values().all(|n| *n > 0), "{most:?}");
    println!("the slowest of {} reads took {slowest:?}", 3 * reads);
    reads
}

fn arg(view: View) -> String {
    view.as_str().replace('_', "-")
}

/// The last line of a command's JSON.
fn last(stdout: &str) -> Json {
    serde_json::from_str(stdout.lines().last().expect("a line")).unwrap()
}

async fn nobody_notices(b: &Backends) {
    let sample = b.sample(60, 5);
    let out = b.run(&["publish", sample.to_str().unwrap()]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    let servers = deployment(b).await;
    caught_up(b, &View::ALL).await;
    let (stop, positions): (_, Published) =
        (Arc::new(AtomicBool::new(false)), (0..WATCHED).map(|_| Default::default()).collect());
    let gateway = &servers[0];
    let publishing =
        tokio::spawn(publish(gateway.http.clone(), gateway.url("/v1/events"), positions.clone(), stop.clone()));
    while positions.iter().any(|p| p.1.load(Ordering::Acquire) == 0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let api = servers.last().unwrap();
    let mut journeys = Vec::new();
    for p in 0..WATCHED {
        let at = positions[p].0.load(Ordering::Acquire);
        let after = format!("after={}:{}", at >> 48, at & 0xffff_ffff_ffff);
        let (status, page) = api.get(&format!("/v1/patients/{}/timeline?{after}", patient(p))).await;
        assert_eq!(status, 200, "{page}");
        let journey = page["items"][0]["journey_id"].as_str().unwrap().to_owned();
        // From here on every view has seen the patient.
        assert_eq!(api.get(&format!("/v1/journeys/{journey}/mot?{after}")).await.0, 200);
        assert_eq!(api.get(&format!("/v1/follow-ups?{after}")).await.0, 200);
        journeys.push(journey);
    }
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (http, base) = (api.http.clone(), api.base.clone());
            tokio::spawn(read(http, base, journeys.clone(), positions.clone(), stop.clone()))
        })
        .collect();
    for view in View::ALL {
        let out = b.run(&["rebuild", &arg(view), "--json", "--reason", "a test"]);
        assert_eq!(out.code, 0, "{} {}", out.stdout, out.stderr);
        let done = last(&out.stdout);
        assert_eq!((done["switched"].as_bool(), done["generation"].as_i64()), (Some(true), Some(2)), "{done}");
        let tables = done["comparison"]["tables"].as_array().unwrap();
        assert!(tables.iter().all(|t| t["only_first"] == 0 && t["only_second"] == 0 && t["differing"] == 0), "{done}");
        assert!(done["switch_ms"].as_f64().unwrap() < MAX_SWITCH_MS, "{done}");
        for (command, wanted) in [("rollback", 1), ("rollback", 2), ("switch", 1)] {
            let out = b.run(&[command, &arg(view)]);
            assert_eq!(out.code, 0, "{}", out.stderr);
            assert!(out.stdout.contains(&format!("see generation {wanted}")), "{}", out.stdout);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let published = publishing.await.unwrap();
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    assert!(reads > 20 && published > 20, "{reads} reads, {published} events");
    let store = store::Store::connect(&b.store, 2).await.unwrap();
    let operations = store.operations(None, 100).await.unwrap();
    assert_eq!(operations.len(), 12);
    for o in operations {
        let result: Json = serde_json::from_str(o.result.as_deref().unwrap()).unwrap();
        assert!(result["switch_ms"].as_f64().unwrap() < MAX_SWITCH_MS, "{} took {result}", o.operation);
    }
    caught_up(b, &View::ALL).await;
    let (engine, log) = (b.engine().await, b.open_log().await);
    for view in View::ALL {
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
        // And so does the generation beside it.
        assert_eq!(b.run(&["rollback", &arg(view)]).code, 0);
        caught_up(b, &[view]).await;
        fold::assert_equals_log(view, &engine, log.as_ref()).await;
        assert_eq!(b.run(&["drop", &arg(view), "1"]).code, 0);
    }
    for server in servers {
        assert!(!server.logged().contains("ERROR"), "{}", server.logged());
    }
    println!("{reads} rounds of reads and {published} events while three views were rebuilt and switched");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_rebuild_embedded() {
    nobody_notices(&Backends::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_rebuild_on_the_services() {
    let Some(b) = Backends::services("rebuild").await else { return };
    nobody_notices(&b).await;
}

/// What is not as the log says is found, shown without patient data, and not switched to.
#[tokio::test(flavor = "multi_thread")]
async fn a_difference_keeps_readers_where_they_are() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("different").await) {
        let sample = b.sample(20, 6);
        assert_eq!(b.run(&["publish", sample.to_str().unwrap()]).code, 0);
        let servers = deployment(&b).await;
        caught_up(&b, &View::ALL).await;
        let engine = b.engine().await;
        let sql = "UPDATE mot_touchpoints_g1 SET score = 1 WHERE touchpoint_id = \
                   (SELECT min(touchpoint_id) FROM mot_touchpoints_g1)";
        assert_eq!(engine.execute(sql, &[]).await.unwrap(), 1);
        let out = b.run(&["rebuild", "mot"]);
        assert_eq!(out.code, 3, "{} {}", out.stdout, out.stderr);
        assert!(out.stdout.contains("1 row differs") && out.stdout.contains("differs score"), "{}", out.stdout);
        assert!(!out.stdout.contains("p-"), "a patient in {}", out.stdout);
        let list = b.run(&["generations", "mot", "--json"]).stdout;
        let active = |list: &str| -> Vec<i64> {
            let lines = list.lines().map(|l| serde_json::from_str::<Json>(l).unwrap());
            lines.filter(|g| g["active"] == true).map(|g| g["generation"].as_i64().unwrap()).collect()
        };
        assert_eq!(active(&list), [1]);
        assert_eq!(b.run(&["switch", "mot", "2"]).code, 0);
        assert_eq!(active(&b.run(&["generations", "mot", "--json"]).stdout), [2]);
        assert_eq!(b.run(&["drop", "mot", "2"]).code, 1, "readers see it");
        assert_eq!(b.run(&["rebuild", "timeline", "--standard", sample.to_str().unwrap()]).code, 1);
        let plan = last(&b.run(&["rebuild", "follow-ups", "--plan", "--json"]).stdout);
        assert!(plan["events"].as_u64().unwrap() > 500 && plan["expected_seconds"].as_f64().unwrap() > 0.0, "{plan}");
        assert_eq!((plan["generation"].as_i64(), plan["readers_see"].as_i64()), (Some(2), Some(1)), "{plan}");
        assert_eq!(plan["switches"], true);
        let of = |more: &[&str]| last(&b.run(&[&["rebuild", "follow-ups", "--plan", "--json"], more].concat()).stdout);
        assert!(of(&["--throttle", "1"])["expected_seconds"].as_f64().unwrap() >= plan["events"].as_f64().unwrap());
        let past = of(&["--until", "0:4,1:1"]);
        assert_eq!((past["events"].as_i64(), past["switches"].as_bool()), (Some(7), Some(false)), "{past}");
        assert_eq!(b.run(&["generations", "follow-ups"]).stdout.lines().count(), 2, "a plan changes nothing");
        drop(servers);
    }
}

/// Killed wherever it is, twenty times, each view in its turn: the same generation in the end, with the rows of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rebuild_goes_on() {
    const KILLS: u64 = 20;
    let seed: u64 = std::env::var("SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let views = [("timeline", View::Timeline), ("mot", View::Mot), ("follow-ups", View::FollowUps)];
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("killed").await) {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let sample = b.sample(150, 7);
        assert_eq!(b.run(&["publish", sample.to_str().unwrap()]).code, 0);
        let servers = deployment(&b).await;
        caught_up(&b, &View::ALL).await;
        let log = b.open_log().await;
        let events: u64 = log.bounds().await.unwrap().iter().map(|p| p.1).sum();
        // So slow that each lasts for all its kills, whatever the slices that they leave.
        let throttle = (events / KILLS).to_string();
        for (n, (view, _)) in (0..KILLS).zip(views.iter().cycle()) {
            let mut child = Command::new(BINARY)
                .args(["--log", &b.log, "--store", &b.store, "rebuild", view, "--slice-events", "100"])
                .args(["--no-switch", "--throttle", &throttle])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(random.random_range(200..2_000))).await;
            assert!(child.try_wait().unwrap().is_none(), "kill {n} came too late, or {view} failed");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for (name, view) in views {
            let out = b.run(&["rebuild", name, "--json"]);
            assert_eq!(out.code, 0, "{} {}", out.stdout, out.stderr);
            let done = last(&out.stdout);
            println!("{name} after its share of {KILLS} kills: {done}");
            let infos = b.run(&["generations", name, "--json"]).stdout;
            assert!(done["resumed"].as_u64().unwrap() > 0, "nothing was left of the killed rebuilds: {done}");
            assert!(!infos.contains("\"building\""), "{infos}");
            assert_eq!((done["generation"].as_i64(), infos.lines().count()), (Some(2), 2), "{infos}");
            fold::assert_equals_log(view, &b.engine().await, log.as_ref()).await;
        }
        drop(servers);
    }
}

/// As fast as they go, killed while they fold, make indexes, catch up, compare or switch: the same command goes on or begins anew,
/// and readers see the rows of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_killed_at_any_moment_leaves_nothing_half_done() {
    const KILLS: usize = 6;
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok()).unwrap_or(1);
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("anytime").await) {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(number("SEED"));
        assert_eq!(b.run(&["publish", b.sample(150, 7).to_str().unwrap()]).code, 0);
        let servers = deployment(&b).await;
        caught_up(&b, &View::ALL).await;
        let log = b.open_log().await;
        for (name, view) in [("timeline", View::Timeline), ("mot", View::Mot), ("follow-ups", View::FollowUps)] {
            let begun = Instant::now();
            assert_eq!(b.run(&["rebuild", name, "--slice-events", "1000"]).code, 0);
            let whole = begun.elapsed();
            for round in 0..number("ROUNDS") {
                for _ in 0..KILLS {
                    let mut child = Command::new(BINARY)
                        .args(["--log", &b.log, "--store", &b.store, "rebuild", name, "--slice-events", "1000"])
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn()
                        .unwrap();
                    tokio::time::sleep(whole.mul_f64(random.random_range(0.1..1.1))).await;
                    // It may be through: then it is none to kill.
                    let _ = child.kill();
                    let ended = child.wait().unwrap();
                    assert!(ended.code().is_none_or(|code| code == 0), "{name}: {ended}");
                }
                let out = b.run(&["rebuild", name, "--json"]);
                assert_eq!(out.code, 0, "{} {}", out.stdout, out.stderr);
                let infos = b.run(&["generations", name, "--json"]).stdout;
                assert!(!infos.contains("\"building\""), "{infos}");
                fold::assert_equals_log(view, &b.engine().await, log.as_ref()).await;
                println!("{name}, round {round}: equal");
                let all: Vec<Json> = infos.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                for old in all.iter().filter(|g| g["active"] == false && g["state"] != "dropped") {
                    let out = b.run(&["drop", name, &old["generation"].to_string()]);
                    assert_eq!(out.code, 0, "{}", out.stderr);
                }
            }
        }
        drop(servers);
    }
}

/// As after an upgrade with other rows: nobody has followed the generation that was built beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_brings_up_what_nobody_followed() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("unfollowed").await) {
        assert_eq!(b.run(&["publish", b.sample(5, 8).to_str().unwrap()]).code, 0);
        let unmade = b.run(&["rebuild", "mot", "--plan"]);
        assert_eq!(unmade.code, 0, "{}", unmade.stderr);
        assert_eq!(b.run(&["generations", "--json"]).stdout, "", "a plan makes no view");
        let servers = deployment(&b).await;
        caught_up(&b, &View::ALL).await;
        assert_eq!(b.run(&["rebuild", "follow-ups", "--no-switch"]).code, 0);
        let engine = b.engine().await;
        let sql = "UPDATE generations SET state = $1 WHERE view = 'follow_ups' AND generation = 2";
        assert_eq!(engine.execute(sql, &["frozen".into()]).await.unwrap(), 1);
        // Until its projector has noticed.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(b.run(&["publish", b.sample(150, 9).to_str().unwrap()]).code, 0);
        caught_up(&b, &View::ALL).await;
        for server in servers {
            drop(server);
        }
        assert_eq!(engine.execute(sql, &["following".into()]).await.unwrap(), 1);
        let store = store::Store::connect(&b.store, 2).await.unwrap();
        let mut reached = Vec::new();
        for g in [1, 2] {
            let at = store.checkpoints("follow_ups", g).await.unwrap();
            reached.push(at.iter().map(|c| c.next_offset).sum::<u64>());
        }
        assert!(reached[0] > reached[1] + 2_000, "{reached:?} are not far enough apart");
        let out = b.run(&["switch", "follow-ups", "2"]);
        assert_eq!(out.code, 0, "{}", out.stderr);
        fold::assert_equals_log(View::FollowUps, &engine, b.open_log().await.as_ref()).await;
    }
}

/// Whoever read the progress has enough, as `head` does: the rebuild goes on to its end all the same.
#[test]
fn a_rebuild_goes_on_where_nobody_reads_its_progress() {
    let b = Backends::embedded();
    let sample = b.sample(3, 1);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    // Longer than from one line to the next.
    let throttle = std::fs::read_to_string(&sample).unwrap().lines().count() / 3;
    let mut child = Command::new(BINARY)
        .args(["--log", &b.log, "--store", &b.store, "rebuild", "timeline", "--json", "--no-switch"])
        .args(["--throttle", &throttle.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let begun = Instant::now();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !said.contains("panicked"), "{said}");
    assert!(begun.elapsed() > Duration::from_secs(1), "it had no progress to show");
    let last = b.run(&["operations", "--limit", "1", "--json"]).stdout;
    assert_eq!(serde_json::from_str::<Json>(&last).unwrap()["outcome"], "done");
}

/// Whoever read them has enough: neither what is printed nor what is told beside it must make a command panic.
#[test]
fn nobody_has_to_read_what_a_command_says() {
    let b = Backends::embedded();
    let sample = b.sample(3, 1);
    for (args, code) in
        [(vec!["openapi"], 0), (vec!["publish", sample.to_str().unwrap()], 0), (vec!["publish", "no-file"], 1)]
    {
        let mut child = Command::new(BINARY)
            .args(["--log", &b.log, "--store", &b.store])
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
    }
}
