//! SIGTERM under load: every role ends well and in time, nothing is half done, and another process goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Backends, PATIENCE, Server, caught_up, event, fold};
use tokio::task::JoinHandle;

const PROJECT: [&str; 4] = ["project", "timeline", "mot", "follow-ups"];
/// What the issue allows a process to take.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the gateway is at the moment.
type Gateway = Arc<Mutex<String>>;

/// Publishes a sample over and over under new ids of patients until told to stop; a chunk is sent until all of it is accepted.
fn publishing(b: &Backends, gateway: Gateway) -> (JoinHandle<usize>, tokio_util::sync::CancellationToken) {
    let sample = std::fs::read_to_string(b.sample(30, 11)).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move {
        let (http, lines) = (reqwest::Client::new(), sample.lines().collect::<Vec<_>>());
        let mut sent = 0;
        for chunk in lines.chunks(40).cycle() {
            if stopped.is_cancelled() {
                break;
            }
            let begun = Instant::now();
            loop {
                let url = format!("{}/v1/events", gateway.lock().unwrap());
                let post = http.post(url).header("content-type", "application/x-ndjson").body(chunk.join("\n"));
                let text = match post.timeout(Duration::from_secs(20)).send().await {
                    Ok(answer) if answer.status().is_success() => answer.text().await.unwrap_or_default(),
                    _ => String::new(),
                };
                if text.matches("\"position\"").count() == chunk.len() {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "not accepted: {text:.300}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            sent += chunk.len();
        }
        sent
    });
    (task, stop)
}

/// Reads from a read API all the time; what fails while it is away doesn't count.
fn reading(api: Gateway) -> JoinHandle<()> {
    tokio::spawn(async move {
        let http = reqwest::Client::new();
        for path in ["/v1/follow-ups?status=open", "/v1/status", "/v1/patients/p-demo-0001/timeline"].iter().cycle() {
            let url = format!("{}{path}", api.lock().unwrap());
            let _ = http.get(url).timeout(Duration::from_secs(20)).send().await;
        }
    })
}

/// Ends a process by SIGTERM and says how long that took.
async fn terminated(mut server: Server) -> Duration {
    let begun = Instant::now();
    let (code, logged) = tokio::task::spawn_blocking(move || (server.terminate(), server.logged())).await.unwrap();
    assert_eq!(code, 0, "{logged}");
    let took = begun.elapsed();
    assert!(took < LIMIT, "{took:?}: {logged}");
    took
}

async fn equal_the_log(b: &Backends) {
    caught_up(b, &View::ALL).await;
    let (engine, log) = (b.engine().await, b.open_log().await);
    for view in View::ALL {
        let rows = fold::assert_equals_log(view, &engine, log.as_ref()).await;
        assert!(rows > 0 || view != View::Timeline, "it is empty");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_one_process_ends_in_time_under_load() {
    let b = Backends::embedded();
    let mut server = b.start(&["all"]).await;
    let at = Gateway::new(Mutex::new(server.base.clone()));
    let ((task, stop), reader) = (publishing(&b, at.clone()), reading(at.clone()));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        println!("all: {:?}", terminated(server).await);
        server = b.start(&["all"]).await;
        *at.lock().unwrap() = server.base.clone();
    }
    stop.cancel();
    assert!(task.await.unwrap() > 0);
    reader.abort();
    equal_the_log(&b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_ends_in_time_under_load() {
    let Some(b) = Backends::services("roles").await else { return };
    let (mut gateway, mut api) = (b.start(&["ingest"]).await, b.start(&["query"]).await);
    let mut projector = b.start(&PROJECT).await;
    let (at, read) = (Gateway::new(Mutex::new(gateway.base.clone())), Gateway::new(Mutex::new(api.base.clone())));
    let ((task, stop), reader) = (publishing(&b, at.clone()), reading(read.clone()));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        println!("ingest: {:?}", terminated(gateway).await);
        gateway = b.start(&["ingest"]).await;
        *at.lock().unwrap() = gateway.base.clone();
        tokio::time::sleep(Duration::from_millis(700)).await;
        println!("project: {:?}", terminated(projector).await);
        projector = b.start(&PROJECT).await;
        println!("query: {:?}", terminated(api).await);
        api = b.start(&["query"]).await;
        *read.lock().unwrap() = api.base.clone();
    }
    stop.cancel();
    assert!(task.await.unwrap() > 0);
    reader.abort();
    equal_the_log(&b).await;
    drop((gateway, projector, api));
}

/// Whether a projector has half of the partitions of each view.
async fn shares(server: &Server) -> bool {
    let text = reqwest::get(format!("{}/metrics", server.base)).await.unwrap().text().await.unwrap();
    let half = |l: &&str| l.starts_with("projector_partitions{") && l.ends_with(" 2");
    text.lines().filter(half).count() == View::ALL.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projector_takes_over_at_once() {
    let Some(b) = Backends::services("takeover").await else { return };
    let gateway = b.start(&["ingest"]).await;
    // A session that has to run out takes this long before the partitions move at all.
    let session = Duration::from_secs(90);
    let file = b.dir.path().join("session.properties");
    std::fs::write(&file, format!("session.timeout.ms={}\n", session.as_millis())).unwrap();
    let env = [("JOURNEYLOG_LOG__PROPERTIES_FILE", file.to_str().unwrap())];
    let (first, second) = (b.start_with(&PROJECT, &env).await, b.start_with(&PROJECT, &env).await);
    let (task, stop) = publishing(&b, Gateway::new(Mutex::new(gateway.base.clone())));
    // Who leaves while it joins is waited for until its session has run out: librdkafka says goodbye as a member only.
    let begun = Instant::now();
    while !(shares(&first).await && shares(&second).await) {
        assert!(begun.elapsed() < PATIENCE, "the partitions were never shared");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    terminated(first).await;
    stop.cancel();
    task.await.unwrap();
    let begun = Instant::now();
    // A patient in every partition, now that one is gone: each has to be seen soon.
    for p in 0..40 {
        let e = event("PatientCheckedIn", &format!("p-{p:016x}"), "2026-03-09T01:40:00Z", json!({}));
        assert_eq!(gateway.post("/v1/events", &e).await.0, 201);
    }
    caught_up(&b, &View::ALL).await;
    let gap = begun.elapsed();
    println!("the other one had everything after {gap:?}");
    assert!(gap < session * 2 / 3, "{gap:?}: {}", second.logged());
    equal_the_log(&b).await;
}

/// A process that stops for longer than its session, as a sleeping virtual machine does, in the middle of transactions: the
/// database ends those, so that the other one isn't held up; when it wakes up, what it writes is fenced, and it takes its share again.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_asleep_does_no_harm() {
    let Some(b) = Backends::services("asleep").await else { return };
    let gateway = b.start(&["ingest"]).await;
    let (sleeper, other) = (b.start(&PROJECT).await, b.start(&PROJECT).await);
    let signal = |which: &str| {
        let pid = sleeper.child.id().to_string();
        assert!(std::process::Command::new("kill").args([which, &pid]).status().unwrap().success());
    };
    // Some for every partition.
    let publish = async |time: &str| {
        for p in 0..40 {
            let e = event("PatientCheckedIn", &format!("p-{p:016x}"), time, json!({}));
            assert_eq!(gateway.post("/v1/events", &e).await.0, 201);
        }
    };
    publish("2026-03-09T01:40:00Z").await;
    caught_up(&b, &View::ALL).await;
    // Behind this lock, each has moved its checkpoints and waits to write rows.
    let mut lock = b.engine().await.begin(store::Durability::Full).await.unwrap();
    lock.batch("LOCK TABLE timeline_entries_g1 IN SHARE MODE").await.unwrap();
    publish("2026-03-09T01:50:00Z").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal("-STOP");
    lock.rollback().await.unwrap();
    let sleeps =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
    let (engine, begun) = (b.engine().await, Instant::now());
    while engine.query(sleeps, &[]).await.unwrap()[0].int(0) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(25), "it doesn't sleep in a transaction");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The other one has everything once the session has run out, and the transactions are ended.
    caught_up(&b, &View::ALL).await;
    signal("-CONT");
    publish("2026-03-09T02:00:00Z").await;
    equal_the_log(&b).await;
    for server in [sleeper, other] {
        terminated(server).await;
    }
    let letters = b.engine().await.query("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
    assert_eq!(letters[0].int(0), 0);
}

/// The broker answers a request to join, and hears a goodbye after it, only once every member has come: one that sleeps doesn't
/// keep others from ending.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_is_still_joining_ends_in_time() {
    let Some(b) = Backends::services("joining").await else { return };
    let file = b.dir.path().join("session.properties");
    std::fs::write(&file, "session.timeout.ms=90000\n").unwrap();
    let env = [("JOURNEYLOG_LOG__PROPERTIES_FILE", file.to_str().unwrap())];
    let sleeper = b.start_with(&PROJECT, &env).await;
    caught_up(&b, &View::ALL).await;
    let signal = |which: &str| {
        let pid = sleeper.child.id().to_string();
        assert!(std::process::Command::new("kill").args([which, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let joining = b.start_with(&PROJECT, &env).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("joining: {:?}", terminated(joining).await);
    signal("-CONT");
    terminated(sleeper).await;
}

/// The database makes a transaction wait for longer than a drain may take: it is given up, whole, and the process ends in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_waits_does_not_hold_up_the_end() {
    let mut all = vec![Backends::embedded()];
    all.extend(Backends::services("waiting").await);
    for b in all {
        let mut server = b.start(&["all"]).await;
        caught_up(&b, &View::ALL).await;
        let engine = b.engine().await;
        let mut lock = engine.begin(store::Durability::Full).await.unwrap();
        if b.store.starts_with("postgres") {
            lock.execute("LOCK TABLE timeline_entries_g1 IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
        }
        for p in 0..20 {
            let e = event("PatientCheckedIn", &format!("p-{p:016x}"), "2026-03-09T01:40:00Z", json!({}));
            assert_eq!(server.post("/v1/events", &e).await.0, 201);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let (code, logged) = tokio::task::spawn_blocking(move || (server.terminate(), server.logged())).await.unwrap();
        let took = begun.elapsed();
        println!("behind a lock: {took:?}, exit code {code}");
        assert!(took < LIMIT, "{took:?}: {logged}");
        lock.rollback().await.unwrap();
        let _again = b.start(&["all"]).await;
        equal_the_log(&b).await;
    }
}

/// What was in the write-ahead logs is in the files: whoever copies or moves them has everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_leaves_nothing_beside_the_files() {
    let b = Backends::embedded();
    for round in 0..2 {
        let mut server = b.start(&["all"]).await;
        let e = event("PatientCheckedIn", &format!("p-clean-{round}"), "2026-03-09T01:40:00Z", json!({}));
        let (status, answer) = server.post("/v1/events", &e).await;
        assert_eq!(status, 201, "{answer}");
        let after = answer["position"].as_str().unwrap();
        assert_eq!(server.get(&format!("/v1/patients/p-clean-{round}/timeline?after={after}")).await.0, 200);
        let there = |b: &Backends| -> Vec<String> {
            let files = std::fs::read_dir(b.dir.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
            let mut files: Vec<_> = files.filter(|f| f.contains(".db")).collect();
            files.sort();
            files
        };
        assert!(there(&b).iter().any(|f| f.ends_with("-wal")), "there is something to clean up");
        for file in there(&b) {
            let mode = std::fs::metadata(b.dir.path().join(&file)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{file}: patients' data are nobody else's");
        }
        assert_eq!(server.terminate(), 0, "{}", server.logged());
        assert_eq!(there(&b), ["log.db", "views.db"]);
    }
    equal_the_log(&b).await;
}

/// A terminal sends SIGINT to a script and to what it runs, and the script then sends SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_through_a_script_is_one_order() {
    let b = Backends::embedded();
    for order in ["TERM INT", "INT TERM"].iter().cycle().take(6) {
        let mut server = b.start(&["all"]).await;
        let both = format!("for s in {order}; do kill -$s {}; done", server.child.id());
        assert!(std::process::Command::new("sh").args(["-c", &both]).status().unwrap().success());
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = server.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(begun.elapsed() < LIMIT, "no drain: {}", server.logged());
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(ended, Some(0), "{order}: {}", server.logged());
    }
}
