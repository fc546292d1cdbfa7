//! Processes under measurement.

use crate::Bench;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const BINARY: &str = env!("CARGO_BIN_EXE_journeylog");

pub struct Process {
    child: Child,
    pub listen: String,
}

pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Process {
    pub async fn journeylog(bench: &Bench, log: &str, store: &str, args: &[&str]) -> Self {
        Self::journeylog_with(bench, log, store, args, &[]).await
    }

    pub async fn journeylog_with(
        bench: &Bench,
        log: &str,
        store: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let listen = free_address();
        let errors = std::fs::File::create(bench.dir.path().join(format!("{}.log", args.join("-")))).unwrap();
        let child = Command::new(BINARY)
            .args(["--log", log, "--store", store, "--listen", &listen])
            .args(args)
            .env("JOURNEYLOG_TELEMETRY__FILTER", "warn")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        Self { child, listen }.ready("/readyz").await
    }

    pub async fn echo() -> Self {
        let listen = free_address();
        let child = Command::new(std::env::current_exe().unwrap()).args(["echo-server", &listen]).spawn().unwrap();
        Self { child, listen }.ready("/").await
    }

    async fn ready(self, path: &str) -> Self {
        for _ in 0..1200 {
            if reqwest::get(format!("http://{}{path}", self.listen)).await.is_ok_and(|r| r.status().as_u16() < 500) {
                return self;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} did not answer", self.listen);
    }

    /// Peak resident memory so far, MiB.
    pub fn peak_mib(&self) -> f64 {
        peak_mib(self.child.id())
    }
}

/// Peak resident memory of a process so far, MiB.
pub fn peak_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next());
    kib.and_then(|k| k.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
