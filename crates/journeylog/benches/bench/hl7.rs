//! HL7 over MLLP with an acknowledgement after the log has confirmed, against a bare producer of as many records.
//!
//! Each connection sends one message and waits for its answer, as senders do.

use crate::process::{Process, free_address};
use crate::publish::{self, FSYNC};
use crate::{Bench, rate, row};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections of the load; and of the one whose latency is told.
const MANY: usize = 32;
/// Messages under way on each connection of senders that don't wait.
const PIPELINED: usize = 16;
const KEY: &str = "0123456789abcdef0123456789abcdef";
const SITE: &str = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"HOSP\"]\nrank = 1\n";

/// The `n`th message: a step of one of 50,000 visits, 700 bytes.
fn message(n: usize) -> Vec<u8> {
    let (patient, trigger) = (n % 50_000, ["A01", "A02", "A03"][n / 50_000 % 3]);
    format!(
        "\x0bMSH|^~\\&|ADT|HOSP|JL|HOSP|20260302090000+0900||ADT^{trigger}|b{n}|P|2.5\r\
         EVN||20260302090000+0900||||20260302085930+0900\r\
         PID|1||{patient}^^^HOSP^MR~900101-1{patient:06}^^^NATIONAL^NI||Kim^Minsu||19900101|M|||1 Road^^Seoul^^04524^KR||010-1234-5678\r\
         PD1||||77^Lee^Jiwon\rNK1|1|Kim^Younghee|SPO\r\
         PV1|1|I|W1^201^3^HOSP|R|||77^Lee^Jiwon|||SUR|||||||||V-{patient}|||||||||||||||||01||||||||20260302085930+0900\r\
         DG1|1||K35.8^Acute appendicitis^I10\rIN1|1|NHI^National Health Insurance|NHIS\r\x1c\r"
    )
    .into_bytes()
}

pub async fn run(bench: &Bench) {
    let lines = publish::events(200_000);
    let frames: Vec<(String, Vec<u8>)> = lines.iter().filter_map(|l| publish::frame(l)).collect();
    let bare = publish::produce(bench, "bench-hl7-bare", &frames, &[]).await;
    row("bare rdkafka producer, acks=all, idempotent, lz4", bare, "events/s", None);
    let synced = publish::produce(bench, "bench-hl7-fsync-bare", &frames[..frames.len() / 10], FSYNC).await;
    row("  the same with an fsync per write on the broker", synced, "events/s", None);
    let one_by_one = each_waits(bench, &frames, 1).await;
    row("bare producer, each of 1 waits for its record", one_by_one, "events/s", None);
    let many_wait = each_waits(bench, &frames, MANY).await;
    row(&format!("bare producer, each of {MANY} waits for its record"), many_wait, "events/s", None);
    publish::topic(bench, "bench-hl7-fsync", FSYNC).await;
    for (name, log) in [
        ("Kafka", publish::kafka(bench, "bench-hl7")),
        ("Kafka, fsync", publish::kafka(bench, "bench-hl7-fsync")),
        ("SQLite", publish::sqlite(bench, "hl7")),
    ] {
        let next = Arc::new(AtomicUsize::new(0));
        let listener = Listener::start(bench, &log).await;
        let (single, took) = load(&listener.at, 1, 1, bench.seconds, &next).await;
        row(&format!("{name}: 1 connection"), single, "messages/s", Some(("1 waiting producer", one_by_one)));
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!("  acknowledged after p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
        let (many, took) = load(&listener.at, MANY, 1, bench.seconds, &next).await;
        let limit = Some(("32 waiting producers", many_wait));
        row(&format!("{name}: {MANY} connections"), many, "messages/s", limit);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!("  acknowledged after p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
        let (piped, _) = load(&listener.at, MANY, PIPELINED, bench.seconds, &next).await;
        let limit = if name.ends_with("fsync") { synced } else { bare };
        let what = format!("{name}: {MANY} connections, {PIPELINED} messages under way on each");
        row(&what, piped, "messages/s", Some(("bare producer", limit)));
        row(&format!("{name}: listener, peak memory"), listener.process.peak_mib(), "MiB", None);
    }
}

/// `journeylog ingest hl7`.
struct Listener {
    process: Process,
    at: String,
}

impl Listener {
    async fn start(bench: &Bench, log: &str) -> Self {
        let (at, site) = (free_address(), bench.dir.path().join("site.toml"));
        std::fs::write(&site, SITE).unwrap();
        let store = format!("sqlite:{}", bench.dir.path().join("unused.db").display());
        let site = site.display().to_string();
        let environment = [
            ("JOURNEYLOG_HL7__LISTEN", at.as_str()),
            ("JOURNEYLOG_SITE__FILE", &site),
            ("JOURNEYLOG_PSEUDONYM_KEY", KEY),
            ("JOURNEYLOG_HL7__QUARANTINE", ""),
        ];
        let process = Process::journeylog_with(bench, log, &store, &["ingest", "hl7"], &environment).await;
        Self { process, at }
    }
}

/// Messages a second over so many connections, and how long each took, sorted. Every answer must be AA.
async fn load(
    at: &str,
    connections: usize,
    under_way: usize,
    lasts: Duration,
    next: &Arc<AtomicUsize>,
) -> (f64, Vec<Duration>) {
    let (begun, mut tasks) = (Instant::now(), tokio::task::JoinSet::new());
    for _ in 0..connections {
        let (at, next) = (at.to_owned(), next.clone());
        tasks.spawn(async move {
            let mut io = TcpStream::connect(&at).await.unwrap();
            io.set_nodelay(true).unwrap();
            let (mut took, mut answer, mut chunk) = (Vec::new(), Vec::new(), [0; 16_384]);
            while begun.elapsed() < lasts {
                let first = next.fetch_add(under_way, Ordering::Relaxed);
                let bytes: Vec<u8> = (first..first + under_way).flat_map(message).collect();
                let sent = Instant::now();
                io.write_all(&bytes).await.unwrap();
                answer.clear();
                while answer.iter().filter(|b| **b == 0x1c).count() < under_way {
                    let n = io.read(&mut chunk).await.unwrap();
                    assert!(n > 0, "the listener closed the connection");
                    answer.extend_from_slice(&chunk[..n]);
                }
                took.push(sent.elapsed());
                let good = answer.windows(7).filter(|w| w == b"MSA|AA|").count();
                assert_eq!(good, under_way, "{}", String::from_utf8_lossy(&answer));
            }
            took
        });
    }
    let mut all = Vec::new();
    while let Some(took) = tasks.join_next().await {
        all.extend(took.unwrap());
    }
    let messages = rate(all.len() * under_way, begun);
    all.sort_unstable();
    (messages, all)
}

/// Records a second where each of some tasks sends one and waits until it is confirmed.
async fn each_waits(bench: &Bench, frames: &[(String, Vec<u8>)], tasks: usize) -> f64 {
    let topic = format!("bench-hl7-waits-{tasks}");
    publish::topic(bench, &topic, &[]).await;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &bench.kafka).set("acks", "all").set("enable.idempotence", "true");
    let producer: FutureProducer = config.set("linger.ms", "0").create().unwrap();
    let (frames, done) = (Arc::new(frames.to_vec()), Arc::new(AtomicUsize::new(0)));
    let (begun, mut running) = (Instant::now(), tokio::task::JoinSet::new());
    for n in 0..tasks {
        let (producer, frames, topic, done) = (producer.clone(), frames.clone(), topic.clone(), done.clone());
        let lasts = bench.seconds;
        running.spawn(async move {
            for (key, value) in frames.iter().skip(n).step_by(tasks).take_while(|_| begun.elapsed() < lasts) {
                let record = FutureRecord::to(&topic).key(key).payload(value);
                producer.send(record, Duration::from_secs(30)).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while let Some(t) = running.join_next().await {
        t.unwrap();
    }
    rate(done.load(Ordering::Relaxed), begun)
}
