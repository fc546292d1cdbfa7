//! The inbox on a real Kafka (`JOURNEYLOG_TEST_KAFKA=host:port`): what a transaction promises, and that a log with transactions'
//! markers in it reads as any other.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use journeylog_eventlog::relay::{Incoming, MOST_COPIED_BYTES, Outgoing, Relay, RelayOptions, open_relay};
use journeylog_eventlog::{Delivery, Log, LogError, MAX_RECORD_BYTES, NewRecord, Options, Record, Start, is_gap, open};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 2;

/// Topics of their own.
struct Bed {
    base: String,
    log: Arc<dyn Log>,
    inbox: Arc<dyn Log>,
}

impl Bed {
    async fn new(test: &str) -> Option<Self> {
        let Some(brokers) = std::env::var("JOURNEYLOG_TEST_KAFKA").ok().filter(|b| !b.is_empty()) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI has to set JOURNEYLOG_TEST_KAFKA=host:port");
            eprintln!("SKIPPED {test}: JOURNEYLOG_TEST_KAFKA=host:port isn't set");
            return None;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let base = format!("kafka://{brokers}/{test}-{now}-{}", std::process::id());
        let at = |name: &str| format!("{base}.{name}?partitions={PARTITIONS}&replication=1");
        let log = open(&at("log"), &Options::default()).await.unwrap();
        let inbox = open(&at("in"), &Options::default()).await.unwrap();
        Some(Self { base, log, inbox })
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.base.rsplit('/').next().unwrap())
    }

    /// An inbox's reader; with another name, it is another process.
    async fn relay(&self, who: &str) -> Box<dyn Relay> {
        let names = RelayOptions {
            inbox: self.topic("in"),
            refused: self.topic("no"),
            group: self.topic("group"),
            inbox_retention: Duration::from_secs(3_600),
            refused_retention: Duration::from_secs(86_400),
        };
        let mut options = Options { instance_id: Some(who.to_owned()), ..Options::default() };
        options.properties.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        open_relay(&format!("{}.log", self.base), &options, names).await.unwrap()
    }

    async fn send(&self, values: std::ops::Range<u32>) {
        let records = values.map(|n| new(&n.to_string())).collect();
        for done in self.inbox.append(records).await {
            done.unwrap();
        }
    }

    /// Waits until so many records are seen: a transaction's markers are written after its commit was answered.
    async fn shows(&self, count: u32) {
        let begun = Instant::now();
        loop {
            let mut found = 0;
            for (partition, (first, _)) in (0..).zip(self.log.bounds().await.unwrap()) {
                found += self.log.read(partition, first, 100_000).await.unwrap().len();
            }
            if found >= count as usize {
                break assert_eq!(found, count as usize);
            }
            assert!(begun.elapsed() < PATIENCE, "{found} of {count} records are seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // the markers of all partitions
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// All records of the log, by reading and by scanning.
    async fn all(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (partition, (first, end)) in (0..).zip(self.log.bounds().await.unwrap()) {
            let read = self.log.read(partition, first, 100_000).await.unwrap();
            let scanned: Vec<Vec<Record>> = self.log.scan(partition, first, end).map(Result::unwrap).collect().await;
            let offsets = |r: &[Record]| r.iter().map(|r| r.position.offset).collect::<Vec<_>>();
            assert_eq!(offsets(&read), offsets(&scanned.concat()));
            assert_eq!(read.last().map_or(first, |r| r.position.offset + 1), end, "the end is after the last record");
            all.extend(read.iter().map(|r| String::from_utf8(r.value.to_vec()).unwrap()));
        }
        all.sort_by_key(|v| v.parse::<u32>().unwrap());
        all
    }
}

fn new(value: &str) -> NewRecord {
    NewRecord {
        key: Bytes::from(format!("k{value}")),
        value: Bytes::copy_from_slice(value.as_bytes()),
        headers: vec![],
    }
}

fn moved(r: &Incoming) -> Outgoing {
    Outgoing::Log(NewRecord { key: r.key.clone().unwrap(), value: r.value.clone().unwrap(), headers: vec![] })
}

/// Takes until so many records come at once.
fn take(relay: &mut Box<dyn Relay>, count: usize) -> Vec<Incoming> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while all.len() < count {
        match relay.take(Duration::from_millis(200)) {
            // what isn't committed is taken again, more of it at once
            Ok(taken) => all = taken.records,
            Err(LogError::Unavailable(_)) => std::thread::sleep(Duration::from_millis(100)),
            Err(e) => panic!("{e}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {count} records", all.len());
    }
    all
}

struct Zero;

impl Start for Zero {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        Box::pin(async move { Ok(vec![0; partitions.len()]) })
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_and_aborted_records_are_nowhere_to_be_seen() {
    let Some(bed) = Bed::new("markers").await else { return };
    let mut relay = bed.relay("a").await;
    bed.send(0..100).await;
    // What the caller could not deal with comes again.
    take(&mut relay, 100);
    let taken = take(&mut relay, 100);
    relay.commit(taken.iter().map(moved).collect()).unwrap();
    bed.shows(100).await;
    assert_eq!(bed.all().await, numbers(0..100));
    // Aborted half-way: a record that no log takes follows good ones.
    bed.send(100..150).await;
    let taken = take(&mut relay, 50);
    let mut out: Vec<_> = taken.iter().map(moved).collect();
    out.push(Outgoing::Log(new(&"9".repeat(MAX_RECORD_BYTES + 1))));
    assert!(relay.commit(out).is_err());
    assert_eq!(bed.all().await, numbers(0..100));
    // What was not committed comes again, and nothing else.
    let taken = take(&mut relay, 50);
    assert_eq!(taken.len(), 50);
    relay.commit(taken.iter().map(moved).collect()).unwrap();
    bed.shows(150).await;
    assert_eq!(bed.all().await, numbers(0..150));
    // A record that is appended as others do, after the markers.
    bed.log.append(vec![new("150")]).await.remove(0).unwrap();
    assert_eq!(bed.all().await, numbers(0..151));
    let bounds = bed.log.bounds().await.unwrap();
    let offsets: u64 = bounds.iter().map(|(_, end)| end).sum();
    assert!(offsets > 151, "markers take up offsets: {offsets}");
    // A reader that counts in offsets comes to the end, and a new one finds nothing more to read.
    let mut reader = bed.log.subscribe(&bed.topic("reader"), Arc::new(Zero)).await.unwrap();
    let (mut next, mut count) = (vec![0; PARTITIONS as usize], 0);
    while count < 151 {
        let delivery = tokio::time::timeout(PATIENCE, reader.next(1_000)).await.expect("a delivery").unwrap();
        if let Delivery::Records(records) = delivery {
            count += records.len();
            records.iter().for_each(|r| next[r.position.partition as usize] = r.position.offset + 1);
        }
    }
    assert_eq!(next, bounds.iter().map(|b| b.1).collect::<Vec<_>>(), "no lag is left");
    reader.close().await;
    for (partition, (_, end)) in (0..).zip(&bounds) {
        assert!(is_gap(bed.log.as_ref(), partition, *end, *end).await.unwrap());
        assert!(bed.log.read(partition, *end, 10).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_reader_changes_nothing() {
    let Some(bed) = Bed::new("fenced").await else { return };
    bed.send(0..40).await;
    let mut old = bed.relay("a").await;
    let taken = take(&mut old, 40);
    // Another process under the same name, as after a restart while the old one hangs.
    let mut new = bed.relay("a").await;
    let again = take(&mut new, 40);
    new.commit(again.iter().map(moved).collect()).unwrap();
    assert!(old.commit(taken.iter().map(moved).collect()).is_err(), "the old one is fenced");
    bed.shows(40).await;
    assert_eq!(bed.all().await, numbers(0..40));
    // Readers with names of their own share the partitions, and what one has in hand when it loses them is not done twice.
    drop((old, new));
    bed.send(40..80).await;
    let mut first = bed.relay("b").await;
    let taken = take(&mut first, 40);
    let mut second = bed.relay("c").await;
    let joining = std::thread::spawn(move || {
        let begun = Instant::now();
        // joins, and waits for its share
        while begun.elapsed() < Duration::from_secs(8) {
            let taken = second.take(Duration::from_millis(200)).unwrap();
            let out = taken.records.iter().map(moved).collect();
            if !taken.records.is_empty() {
                let _ = second.commit(out);
            }
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let _ = first.commit(taken.iter().map(moved).collect());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(9) {
        let Ok(taken) = first.take(Duration::from_millis(200)) else { continue };
        if !taken.records.is_empty() {
            let out = taken.records.iter().map(moved).collect();
            let _ = first.commit(out);
        }
    }
    joining.join().unwrap();
    bed.shows(80).await;
    assert_eq!(bed.all().await, numbers(0..80));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_keep_every_byte() {
    let Some(bed) = Bed::new("refused").await else { return };
    let mut relay = bed.relay("a").await;
    let odd = NewRecord {
        key: Bytes::from_static(&[0xff, 0]),
        value: Bytes::from_static(b"\x00\x01\xfe"),
        headers: vec![("traceparent", Bytes::from_static(b"x"))],
    };
    bed.inbox.append(vec![odd.clone()]).await.remove(0).unwrap();
    let large = NewRecord { value: Bytes::from(vec![7; MAX_RECORD_BYTES - 10]), ..new("large") };
    bed.inbox.append(vec![large.clone()]).await.remove(0).unwrap();
    let taken = take(&mut relay, 2);
    let why = || vec![("refused-reason", Bytes::from_static(b"not_framed"))];
    relay.commit(taken.into_iter().map(|r| Outgoing::Refused(r, why())).collect()).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = open(&format!("{}.no", bed.base), &Options::default()).await.unwrap();
    let mut found = Vec::new();
    for partition in 0..PARTITIONS {
        found.extend(refused.read(partition, 0, 10).await.unwrap());
    }
    found.sort_by_key(|r| r.value.len());
    assert_eq!((&found[0].key, &found[0].value), (&odd.key, &odd.value));
    let names: Vec<&str> = found[0].headers.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["traceparent", "refused-reason"]);
    assert_eq!((found.len(), &found[1].value), (2, &large.value));
    assert_eq!(bed.all().await, numbers(0..0));
    // More headers than any topic takes would hold up all that comes after them.
    bed.inbox.append(vec![odd]).await.remove(0).unwrap();
    let mut heavy = take(&mut relay, 1).remove(0);
    heavy.headers.push(("h".to_owned(), Bytes::from(vec![7; MOST_COPIED_BYTES])));
    relay.commit(vec![Outgoing::Refused(heavy, why())]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_no_copy_is_named_and_the_batch_comes_again() {
    let Some(bed) = Bed::new("small").await else { return };
    let mut relay = bed.relay("a").await;
    limit(&bed, "100").await;
    bed.send(0..1).await;
    let refused = |r: Incoming| Outgoing::Refused(r, vec![("refused-detail", Bytes::from(vec![b'x'; 1_000]))]);
    let taken = take(&mut relay, 1);
    let error = relay.commit(taken.into_iter().map(refused).collect()).unwrap_err().to_string();
    assert!(error.contains(&bed.topic("no")), "{error}");
    limit(&bed, "100000").await;
    let taken = take(&mut relay, 1);
    relay.commit(taken.into_iter().map(refused).collect()).unwrap();
}

/// Sets the largest message of the topic of refused records, bytes.
async fn limit(bed: &Bed, bytes: &str) {
    let brokers = std::env::var("JOURNEYLOG_TEST_KAFKA").unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = bed.topic("no");
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", bytes);
    let done = admin.alter_configs([&change], &AdminOptions::new()).await.unwrap();
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}
