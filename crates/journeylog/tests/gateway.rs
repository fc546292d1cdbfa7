//! What is promised of long inputs and of traces.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use eventlog::{Log, Record};
use serde_json::{Value as Json, json};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::otlp::{Collector, Span};
use support::{BINARY, Backends, PATIENCE, event};

/// The most memory that `journeylog publish` may take, however long the input is.
const MOST_MEMORY_KIB: u64 = 150 << 10;
/// The same of a gateway: it takes some 80 MiB, and would have 60 more by the smaller input, were that gathered.
const MOST_MEMORY_OF_A_GATEWAY_KIB: u64 = 128 << 10;

/// Trace and span of a sender.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A million lines where CI runs (and with `JOURNEYLOG_TEST_MILLION=1`, as by `make test`); else 200,000, which a debug build
/// takes in seconds and which would break the bound too, were they gathered: they are 60 MB of text.
fn lines() -> u64 {
    let wanted = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    if wanted("CI", "true") || wanted("JOURNEYLOG_TEST_MILLION", "1") { 1_000_000 } else { 200_000 }
}

/// Events, a line each; the line with the number `bad` breaks off.
fn write_lines(mut to: impl Write, lines: u64, bad: u64) {
    for i in 0..lines {
        if i + 1 == bad {
            writeln!(to, "{{\"type\":\"PatientCheckedIn\",\"header\":{{").unwrap();
        } else {
            writeln!(
                to,
                r#"{{"type":"PatientCheckedIn","header":{{"event_id":"01936f3c-7a00-7000-8000-{i:012}","occurred_at":"2026-03-09T01:40:00Z","recorded_at":"2026-03-09T01:40:01Z","zone":"Asia/Seoul","source":{{"system":"test"}},"patient_id":"p-{:06}","site":"seoul","department":"surgery"}}}}"#,
                i % 50_000
            )
            .unwrap();
        }
    }
    to.flush().unwrap();
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

/// Each of the lines is on the log, once, but for the bad one.
async fn assert_on_the_log(b: &Backends, lines: u64, bad: u64) {
    let mut seen = vec![0_u8; usize::try_from(lines).unwrap()];
    each(b.open_log().await.as_ref(), |r| {
        let id = header(r, "event-id").unwrap();
        seen[id.rsplit('-').next().unwrap().parse::<usize>().unwrap()] += 1;
    })
    .await;
    let missing: Vec<usize> = (0..seen.len()).filter(|i| seen[*i] != 1).collect();
    assert_eq!(missing, [usize::try_from(bad - 1).unwrap()], "all others are on the log, once");
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
    let sender = std::thread::spawn(move || write_lines(BufWriter::with_capacity(1 << 16, input), lines, bad));
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
    let summary: Json = serde_json::from_str(String::from_utf8(out.stdout).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((&summary["accepted"], &summary["refused"]), (&json!(lines - 1), &json!(1)), "{summary}");

    assert_on_the_log(&b, lines, bad).await;
    eprintln!("{lines} lines: at most {} MiB", peak >> 10);
    assert!((1..MOST_MEMORY_KIB).contains(&peak), "{peak} KiB");
}

/// HTTP's chunked coding, in which each write is a chunk.
struct Chunked(TcpStream);

impl Write for Chunked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write!(self.0, "{:x}\r\n", bytes.len())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Posts the lines as they are made, which reqwest can't do with the features that we take.
fn post_lines(mut to: TcpStream, lines: u64, bad: u64) {
    let head = "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    to.write_all(head.as_bytes()).unwrap();
    let mut body = BufWriter::with_capacity(1 << 16, Chunked(to));
    write_lines(&mut body, lines, bad);
    body.get_mut().0.write_all(b"0\r\n\r\n").unwrap();
}

/// Reads the answers, which are one for each line in order: how many say that it was accepted, and what the others say.
fn read_answers(from: TcpStream) -> (u64, Vec<Json>) {
    let (mut accepted, mut others) = (0, Vec::new());
    let mut said = BufReader::new(from).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("HTTP/1.1 200 OK"));
    // What doesn't begin with a brace is of the head, or the size of a chunk: no chunk ends within an answer.
    for (number, line) in (1_u64..).zip(said.filter(|l| l.starts_with('{'))) {
        assert!(line.starts_with(&format!("{{\"line\":{number},")), "not about line {number}: {line}");
        if line.ends_with("\"duplicate\":false}") {
            accepted += 1;
        } else {
            others.push(serde_json::from_str(&line).unwrap());
        }
    }
    (accepted, others)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_with_a_bad_one_over_http_take_little_memory() {
    let (b, lines) = (Backends::embedded(), lines());
    let bad = lines / 2;
    let server = b.start(&["ingest"]).await;
    let to = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).unwrap();
    to.set_read_timeout(Some(PATIENCE)).unwrap();
    to.set_write_timeout(Some(PATIENCE)).unwrap();
    let from = to.try_clone().unwrap();
    let sender = std::thread::spawn(move || post_lines(to, lines, bad));
    let (accepted, others) = tokio::task::spawn_blocking(move || read_answers(from)).await.unwrap();
    sender.join().unwrap();
    let peak = peak_kib(server.child.id()).unwrap();

    assert_eq!((accepted, others.len()), (lines - 1, 1), "{others:?}");
    assert_eq!((&others[0]["line"], &others[0]["problem"]["status"]), (&json!(bad), &json!(400)), "{others:?}");
    assert!(others[0]["problem"]["detail"].as_str().unwrap().starts_with("ends too early"), "{others:?}");
    assert_on_the_log(&b, lines, bad).await;
    eprintln!("{lines} lines over HTTP: at most {} MiB", peak >> 10);
    assert!(peak < MOST_MEMORY_OF_A_GATEWAY_KIB, "{peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_log_takes_no_events_is_not_ready() {
    let b = Backends::embedded();
    let server = b.start(&["ingest"]).await;
    let file = store::Engine::connect(b.log.split('?').next().unwrap(), 1).await.unwrap();
    // as a full disk or too few replicas: it answers questions, and takes nothing
    file.execute("CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(FAIL, 'full'); END", &[])
        .await
        .unwrap();
    let check_in = event("PatientCheckedIn", "p-00000000000000a1", "2026-03-09T01:40:00Z", json!({}));
    assert_eq!(server.post("/v1/events", &check_in).await.0, 503);
    let ready = server.http.get(server.url("/readyz")).send().await.unwrap();
    assert_eq!((ready.status().as_u16(), ready.text().await.unwrap().as_str()), (503, "the log takes no events\n"));
    file.execute("DROP TRIGGER full", &[]).await.unwrap();
    assert_eq!(server.post("/v1/events", &check_in).await.0, 201);
    assert_eq!(server.http.get(server.url("/readyz")).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_s_trace_goes_on_in_the_records() {
    let b = Backends::embedded();
    // nobody has to listen there for spans to be made
    let server = b.start_with(&["ingest"], &[("JOURNEYLOG_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:9")]).await;
    let (trace, span) = (TRACE, SPAN);
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

/// Sends an event with a trace to the first of the processes, and follows it to the commit of each view.
async fn assert_followed(b: &Backends, processes: &[&[&str]]) {
    let collector = Collector::start().await;
    let env = [
        ("JOURNEYLOG_TELEMETRY__OTLP_ENDPOINT", collector.endpoint.as_str()),
        // milliseconds; spans would be sent every 5 s else
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ];
    let mut servers = Vec::new();
    for roles in processes {
        servers.push(b.start_with(roles, &env).await);
    }
    let gateway = &servers[0];
    let e = event("PatientCheckedIn", "p-traced", "2026-03-09T01:40:00Z", json!({}));
    let post = gateway.http.post(gateway.url("/v1/events")).header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    let answer = post.json(&e).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201, "{}", answer.text().await.unwrap());

    let request = collector.find("the request", |s| s.name == "http" && s.trace == TRACE).await;
    assert_eq!(request.parent, SPAN, "{request:?}");
    let published = (request.trace, request.id);
    for view in View::ALL.map(View::as_str) {
        let of_view = |s: &Span| s.name == "projector.batch" && s.view == view;
        let batch = collector.find(view, |s| of_view(s) && s.links.contains(&published)).await;
        // A batch has events of many requests: it can't be the child of one.
        assert!(batch.parent.is_empty() && batch.trace != TRACE, "{batch:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_request_to_the_commits_of_the_views() {
    assert_followed(&Backends::embedded(), &[&["all"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_over_kafka_to_the_commits_of_the_views() {
    let Some(b) = Backends::services("traces").await else { return };
    assert_followed(&b, &[&["ingest"], &["project", "timeline", "mot", "follow-ups"]]).await;
}
