//! What the gateway promises of long inputs and of traces.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use eventlog::{Log, Record};
use serde_json::json;
use std::io::{BufWriter, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{BINARY, Backends, event};

/// The most memory that publishing may take, however long the input is.
const MOST_MEMORY_KIB: u64 = 150 << 10;

/// A million lines where CI runs (and with `JOURNEYLOG_TEST_MILLION=1`); else 200,000, which a debug build takes in seconds
/// and which would break the bound too, were they gathered: they are 60 MB of text.
fn lines() -> u64 {
    let wanted = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    if wanted("CI", "true") || wanted("JOURNEYLOG_TEST_MILLION", "1") { 1_000_000 } else { 200_000 }
}

/// The most memory that a process has had so far; `None` once it has gone.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// Every record, in pages.
async fn each(log: &dyn Log, mut f: impl FnMut(&Record)) {
    for (partition, (mut next, end)) in (0..).zip(log.bounds().await.unwrap()) {
        while next < end {
            let page = log.read(partition, next, 10_000).await.unwrap();
            page.iter().for_each(&mut f);
            next = page.last().unwrap().position.offset + 1;
        }
    }
}

fn header(record: &Record, name: &str) -> Option<String> {
    let value = record.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_vec());
    value.map(|v| String::from_utf8(v).unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_with_a_bad_one_take_little_memory() {
    let (b, lines) = (Backends::embedded(), lines());
    let bad = lines / 2;
    let mut child = Command::new(BINARY)
        .args(["--log", &b.log, "publish", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (pid, input) = (child.id(), child.stdin.take().unwrap());
    let sender = std::thread::spawn(move || {
        let mut input = BufWriter::with_capacity(1 << 16, input);
        for i in 0..lines {
            if i + 1 == bad {
                writeln!(input, "{{\"type\":\"PatientCheckedIn\",\"header\":{{").unwrap();
            } else {
                writeln!(
                    input,
                    r#"{{"type":"PatientCheckedIn","header":{{"event_id":"01936f3c-7a00-7000-8000-{i:012}","occurred_at":"2026-03-09T01:40:00Z","recorded_at":"2026-03-09T01:40:01Z","zone":"Asia/Seoul","source":{{"system":"test"}},"patient_id":"p-{:06}","site":"seoul","department":"surgery"}}}}"#,
                    i % 50_000
                )
                .unwrap();
            }
        }
        input.flush().unwrap();
    });
    let sampler = std::thread::spawn(move || {
        let mut peak = 0;
        // the mark only rises, so the last look before the end has it; a process that has ended has none
        while let Some(now) = peak_kib(pid) {
            peak = now;
            std::thread::sleep(Duration::from_millis(10));
        }
        peak
    });
    let out = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    sender.join().unwrap();
    let (peak, said) = (sampler.join().unwrap(), String::from_utf8(out.stderr).unwrap());
    assert_eq!(out.status.code(), Some(3), "{said}");

    let refused: Vec<&str> = said.lines().filter(|l| l.starts_with("line ")).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let reason = refused[0].strip_prefix(&format!("line {bad}: ")).unwrap_or_else(|| panic!("{refused:?}"));
    assert!(reason.starts_with("ends too early"), "{reason}");
    let summary: serde_json::Value =
        serde_json::from_str(String::from_utf8(out.stdout).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((&summary["accepted"], &summary["refused"]), (&json!(lines - 1), &json!(1)), "{summary}");

    let mut seen = vec![0_u8; usize::try_from(lines).unwrap()];
    each(b.open_log().await.as_ref(), |r| {
        let id = header(r, "event-id").unwrap();
        seen[id.rsplit('-').next().unwrap().parse::<usize>().unwrap()] += 1;
    })
    .await;
    let missing: Vec<usize> = (0..seen.len()).filter(|i| seen[*i] != 1).collect();
    assert_eq!(missing, [usize::try_from(bad - 1).unwrap()], "all others are on the log, once");
    eprintln!("{lines} lines: at most {} MiB", peak >> 10);
    assert!((1..MOST_MEMORY_KIB).contains(&peak), "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_s_trace_goes_on_in_the_records() {
    let b = Backends::embedded();
    // nobody has to listen there for spans to be made
    let server = b.start_with(&["ingest"], &[("JOURNEYLOG_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:9")]).await;
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let publish = async |kind: &str, patient: &str, parent: Option<String>| {
        let e = event("PatientCheckedIn", patient, "2026-03-09T01:40:00Z", json!({}));
        let post = server.http.post(server.url("/v1/events")).header("content-type", kind).body(format!("{e}\n"));
        let post = if let Some(parent) = parent { post.header("traceparent", parent) } else { post };
        let answer = post.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        answer.text().await.unwrap();
    };
    publish("application/json", "p-one", Some(format!("00-{trace}-{span}-01"))).await;
    publish("application/x-ndjson", "p-stream", Some(format!("00-{trace}-{span}-01"))).await;
    publish("application/json", "p-unsampled", Some(format!("00-{trace}-{span}-00"))).await;
    publish("application/json", "p-none", None).await;
    publish("application/json", "p-nonsense", Some(format!("00-{}-{span}-01", "0".repeat(32)))).await;
    let mut found = std::collections::BTreeMap::new();
    each(b.open_log().await.as_ref(), |r| {
        found.insert(String::from_utf8(r.key.to_vec()).unwrap(), header(r, "traceparent").unwrap_or_default());
    })
    .await;
    for (patient, continued, flags) in [
        ("p-one", true, "01"),
        ("p-stream", true, "01"),
        ("p-unsampled", true, "00"),
        ("p-none", false, "01"),
        ("p-nonsense", false, "01"),
    ] {
        let parts: Vec<&str> = found[patient].split('-').collect();
        assert_eq!((parts.len(), parts[0], parts[3]), (4, "00", flags), "{patient}: {found:?}");
        assert_eq!(parts[1] == trace, continued, "{patient}: {found:?}");
        assert_ne!(parts[2], span, "a span of its own");
        assert!(parts[1].bytes().any(|b| b != b'0'), "{patient}: {found:?}");
    }
}
