//! Real processes, real backends: what the end-to-end tests share.
#![allow(dead_code)]

pub mod fold;
pub mod mllp;
pub mod otlp;
pub mod pages;

use domain::views::View;
use serde_json::Value as Json;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_journeylog");
/// How long a process may take to answer, or a view to catch up, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A log and a store of their own for one test.
pub struct Backends {
    pub log: String,
    pub store: String,
    /// Holds the files; removed with the test.
    pub dir: tempfile::TempDir,
}

impl Backends {
    /// Two SQLite files.
    pub fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("sqlite:{}", dir.path().join(name).display());
        Self { log: format!("{}?partitions=4", at("log.db")), store: at("views.db"), dir }
    }

    /// A topic and a database of their own on the test servers; `None` (said loudly) where there are none.
    pub async fn services(test: &str) -> Option<Self> {
        let (kafka, postgres) = servers(test)?;
        let name = format!("{test}_{}", uuid::Uuid::new_v4().simple());
        let admin = store::Engine::connect(&postgres, 1).await.unwrap();
        admin.execute(&format!("CREATE DATABASE {name}"), &[]).await.unwrap();
        let store = replace_database(&postgres, &name);
        let log = format!("kafka://{kafka}/{name}?partitions=4&replication=1");
        Some(Self { log, store, dir: tempfile::tempdir().unwrap() })
    }

    /// Runs a command of the program to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, &[])
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let out = Command::new(BINARY)
            .args(["--log", &self.log, "--store", &self.store])
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Output {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// Starts a role and waits until it is ready.
    pub async fn start(&self, args: &[&str]) -> Server {
        self.start_with(args, &[]).await
    }

    pub async fn start_with(&self, args: &[&str], env: &[(&str, &str)]) -> Server {
        let server = self.spawn(args, env);
        server.ready().await;
        server
    }

    pub fn spawn(&self, args: &[&str], env: &[(&str, &str)]) -> Server {
        let listen = format!("127.0.0.1:{}", free_port());
        let log = self.dir.path().join(format!("{}.log", listen.replace(':', "-")));
        let child = Command::new(BINARY)
            .args(["--log", &self.log, "--store", &self.store, "--listen", &listen])
            .args(args)
            // A read waits for the view as long as it takes on a busy machine.
            .env("JOURNEYLOG_QUERY__AFTER_LIMIT_MS", PATIENCE.as_millis().to_string())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server { child, base: format!("http://{listen}"), log, http: reqwest::Client::new() }
    }

    /// A file of simulated journeys.
    pub fn sample(&self, patients: u32, seed: u32) -> PathBuf {
        let path = self.dir.path().join(format!("sample-{patients}-{seed}.ndjson"));
        let out =
            self.run(&["simulate", "--patients", &patients.to_string(), "--days", "60", "--seed", &seed.to_string()]);
        assert_eq!(out.code, 0, "{}", out.stderr);
        std::fs::write(&path, out.stdout).unwrap();
        path
    }

    /// The last lines of every process's log; the whole ones are copied to where they stay.
    fn keep_logs(&self) -> String {
        let kept = std::env::temp_dir().join(format!("journeylog-test-logs-{}", std::process::id()));
        std::fs::create_dir_all(&kept).unwrap();
        let mut all = format!("the processes' logs are kept in {}\n", kept.display());
        for file in std::fs::read_dir(self.dir.path()).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|e| e == "log") {
                std::fs::copy(&file, kept.join(file.file_name().unwrap())).unwrap();
                all += &format!("-- {}\n{}\n", file.display(), tail(&file));
            }
        }
        all
    }

    /// The database, for a test that looks into it or holds its locks as long as it likes.
    pub async fn engine(&self) -> store::Engine {
        let unlimited = if self.store.starts_with("postgres") {
            let and = if self.store.contains('?') { '&' } else { '?' };
            format!("{}{and}options=-c%20idle_in_transaction_session_timeout=0", self.store)
        } else {
            self.store.clone()
        };
        store::Engine::connect(&unlimited, 2).await.unwrap()
    }

    pub async fn open_log(&self) -> std::sync::Arc<dyn eventlog::Log> {
        eventlog::open(&self.log, &Default::default()).await.unwrap()
    }
}

/// Addresses of the test servers, Kafka and PostgreSQL; `None` (said loudly) where there are none.
pub fn servers(test: &str) -> Option<(String, String)> {
    let (kafka, postgres) = (std::env::var("JOURNEYLOG_TEST_KAFKA"), std::env::var("JOURNEYLOG_TEST_POSTGRES"));
    let (Ok(kafka), Ok(postgres)) = (kafka, postgres) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs JOURNEYLOG_TEST_KAFKA and _POSTGRES");
        skipped(&format!("{test}: JOURNEYLOG_TEST_KAFKA and _POSTGRES are not set (make test sets them)"));
        return None;
    };
    Some((kafka, postgres))
}

fn replace_database(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(b, q)| (b, Some(q)));
    let base = &base[..base.rfind('/').unwrap()];
    query.map_or_else(|| format!("{base}/{name}"), |q| format!("{base}/{name}?{q}"))
}

pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The lines of JSON among what it printed.
    pub fn lines(&self) -> Vec<Json> {
        self.stdout.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running process; killed when dropped.
pub struct Server {
    pub child: Child,
    pub base: String,
    pub log: PathBuf,
    pub http: reqwest::Client,
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub async fn ready(&self) {
        let begun = Instant::now();
        while !self.http.get(self.url("/readyz")).send().await.is_ok_and(|r| r.status().is_success()) {
            assert!(begun.elapsed() < PATIENCE, "not ready: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> (u16, Json) {
        let r = self.http.get(self.url(path)).send().await.unwrap();
        let status = r.status().as_u16();
        (status, r.json().await.unwrap_or(Json::Null))
    }

    pub async fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        self.post_raw(path, "application/json", body.to_string()).await
    }

    pub async fn post_raw(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> (u16, Json) {
        let r = self.http.post(self.url(path)).header("content-type", kind).body(body).send().await.unwrap();
        let status = r.status().as_u16();
        let text = r.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Json::String(text)))
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(&mut self) -> i32 {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < Duration::from_secs(15), "no drain: {}", self.logged());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs; killed when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until every view's checkpoint is at the end of the log.
pub async fn caught_up(backends: &Backends, views: &[View]) {
    let log = backends.open_log().await;
    let ends: Vec<u64> = log.bounds().await.unwrap().iter().map(|b| b.1).collect();
    let engine = backends.engine().await;
    let begun = Instant::now();
    for view in views {
        loop {
            let next = fold::checkpoints(&engine, *view).await;
            if ends.iter().enumerate().all(|(p, end)| *end == 0 || next.get(&(p as i64)) == Some(&(*end as i64))) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let logs = backends.keep_logs();
                panic!("{} is at {next:?}, the log ends at {ends:?}\n{logs}", view.as_str());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The last lines of a process's log.
pub fn tail(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines = log.lines().rev().take(60).collect::<Vec<_>>();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// A minimal event, as a system would publish it.
pub fn event(kind: &str, patient: &str, occurred_at: &str, fields: Json) -> Json {
    let mut e = serde_json::json!({
        "type": kind,
        "header": {
            "event_id": uuid::Uuid::now_v7().to_string(), "occurred_at": occurred_at, "recorded_at": occurred_at,
            "zone": "Asia/Seoul", "source": {"system": "test"}, "patient_id": patient, "site": "seoul",
            "department": "surgery"
        }
    });
    for (k, v) in fields.as_object().unwrap() {
        e[k] = v.clone();
    }
    e
}

/// `../shared/data` beside the project; `None` (said loudly) where it isn't.
pub fn shared_data(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(file);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{file} is not beside the project"));
    None
}

/// Says loudly that a test is skipped: cargo shows what `eprintln!` writes of failed tests alone.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {why}");
}
