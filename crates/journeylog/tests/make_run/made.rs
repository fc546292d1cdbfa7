//! `make run` and `make run-services`, started with ports and a folder of their own, and ended.

use crate::support::pages;
use crate::support::{self, BINARY, PATIENCE};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `make run` or `make run-services`; ended, and what it left removed, when dropped.
pub struct Made {
    pub target: &'static str,
    /// The last line that it prints begins so.
    last: &'static str,
    pub listen: String,
    pub hl7: String,
    pub folder: tempfile::TempDir,
    make: Option<Child>,
}

impl Made {
    pub fn new(target: &'static str, last: &'static str) -> Self {
        let (first, hl7) = if target == "run" {
            (support::free_port(), support::free_port())
        } else {
            // Below the ports that systems give out: run-services takes the seven after the first one too.
            let first = (u16::try_from(std::process::id() % 1000).unwrap() * 10 + 20_000..32_000)
                .find(|p| (*p..*p + 9).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()))
                .unwrap();
            (first, first + 8)
        };
        let at = |port: u16| format!("127.0.0.1:{port}");
        Self { target, last, listen: at(first), hl7: at(hl7), folder: tempfile::tempdir().unwrap(), make: None }
    }

    /// `.run` of the pages.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// Starts it and waits until it has printed everything; what it printed from where it says that it is up.
    pub fn start(&mut self) -> String {
        let said = std::fs::File::create(self.folder.path().join("said")).unwrap();
        // Where the tests themselves run in the background, Ctrl-C is ignored, and a shell that begins so can't trap it.
        let mut make = Command::new("env");
        make.args([
            "--default-signal=INT",
            "make",
            "--no-print-directory",
            "-C",
            pages::root().to_str().unwrap(),
            self.target,
        ])
        .env("JOURNEYLOG_LISTEN", &self.listen)
        .env("JOURNEYLOG_HL7__LISTEN", &self.hl7)
        .env("JOURNEYLOG_RUN_DIR", self.run_dir())
        .env("JOURNEYLOG_PROGRAM", BINARY)
        // A read waits for the view as long as it takes on a busy machine.
        .env("JOURNEYLOG_QUERY__AFTER_LIMIT_MS", PATIENCE.as_millis().to_string())
        .envs([("KAFKA_HEAP", "256m"), ("PG_FSYNC", "off")])
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        // A terminal sends Ctrl-C to the whole group.
        .process_group(0);
        let servers = ["JOURNEYLOG_TEST_KAFKA", "JOURNEYLOG_TEST_POSTGRES"];
        for outer in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SAMPLE_PATIENTS", "KAFKA_TLS"].iter().chain(&servers) {
            make.env_remove(outer);
        }
        self.make = Some(make.spawn().unwrap());
        let begun = Instant::now();
        while !self.said().lines().any(|l| l.starts_with(self.last)) {
            let ended = self.make.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < 2 * PATIENCE, "{ended:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = self.said();
        said[said.find("Journeylog is up").unwrap_or_else(|| panic!("{said}"))..].to_owned()
    }

    /// Ctrl-C; panics unless everything has ended then.
    pub fn ctrl_c(&mut self) {
        self.signal("INT");
        let begun = Instant::now();
        while self.make.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "Ctrl-C doesn't end it: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.left(), Vec::<String>::new(), "processes are left: {}", self.said());
        assert!(!self.said().contains("A process ended"), "Ctrl-C is no accident: {}", self.said());
        self.make = None;
        for at in [&self.listen, &self.hl7] {
            assert!(TcpStream::connect(at).is_err(), "{at} is still taken");
        }
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.make.as_ref().unwrap().id());
        let _ = Command::new("kill").args([&format!("-{signal}"), "--", &group]).status();
    }

    /// PostgreSQL's folder, where it is elsewhere (as root).
    fn postgres_dir(&self) -> Option<String> {
        let told = std::fs::read_to_string(self.run_dir().join("services/postgres-folder")).ok()?;
        Some(told.trim().to_owned())
    }

    /// Processes that were started with one of the folders in their arguments or environment.
    fn left(&self) -> Vec<String> {
        let folders = [Some(self.run_dir().display().to_string()), self.postgres_dir()];
        let mut left = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
            let (arguments, environment) = (read("cmdline"), read("environ"));
            let text = [String::from_utf8_lossy(&arguments), String::from_utf8_lossy(&environment)].concat();
            if folders.iter().flatten().any(|f| text.contains(f)) {
                left.push(format!("{:?} {}", process.file_name(), String::from_utf8_lossy(&arguments)));
            }
        }
        left
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.make.is_some() {
            self.signal("INT");
            let begun = Instant::now();
            while matches!(self.make.as_mut().map(Child::try_wait), Some(Ok(None))) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(50));
            }
            self.signal("KILL");
        }
        // The servers are in sessions of their own: after a failure they are there still.
        let services = self.run_dir().join("services");
        let elsewhere = self.postgres_dir();
        let postgres = elsewhere.as_ref().map_or_else(|| services.join("postgres"), PathBuf::from);
        for (script, folder) in [("kafka.sh", services.join("kafka")), ("postgres.sh", postgres)] {
            if folder.exists() {
                let script = pages::root().join("tests/servers").join(script);
                let _ = Command::new(script).arg("stop").arg(folder).status();
            }
        }
        if let Some(folder) = elsewhere {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
