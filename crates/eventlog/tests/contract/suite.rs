//! The cases.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use journeylog_eventlog::{
    Delivery, Log, LogError, MAX_RECORD_BYTES, NewRecord, Options, Position, Record, Start, Subscription, open,
    partition_of, topic,
};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Partitions of each log under test.
pub const PARTITIONS: u32 = 4;
/// How long a delivery may take, a rebalance included.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A fresh log.
pub struct Bed {
    pub url: String,
    pub options: Options,
    pub log: Arc<dyn Log>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Bed {
    /// Opens a log at a URL without parameters.
    pub async fn new(url: String, options: Options, keep: Box<dyn Any + Send + Sync>) -> Self {
        let url = format!("{url}?partitions={PARTITIONS}");
        let log = open(&url, &options).await.unwrap();
        Self { url, options, log, _keep: keep }
    }

    /// The name of a group that no other log has: on one broker, members of a group share it whatever they read.
    pub fn group(&self, name: &str) -> String {
        topic(&self.url).unwrap().map_or_else(|| name.to_owned(), |topic| format!("{topic}-{name}"))
    }
}

/// Offsets kept by the reader.
pub struct Kept(pub Mutex<Vec<u64>>);

impl Start for Kept {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let kept = self.0.lock().unwrap();
            Ok(partitions.iter().map(|p| kept[*p as usize]).collect())
        })
    }
}

/// A start at the beginning.
pub fn from_zero(partitions: u32) -> (Arc<dyn Start>, Arc<Kept>) {
    let kept = Arc::new(Kept(Mutex::new(vec![0; partitions as usize])));
    (kept.clone(), kept)
}

pub fn record(key: &str, value: &str) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        headers: vec![("id", Bytes::copy_from_slice(value.as_bytes())), ("empty", Bytes::new())],
    }
}

async fn append_all(log: &dyn Log, records: Vec<NewRecord>) -> Vec<Position> {
    log.append(records).await.into_iter().map(Result::unwrap).collect()
}

/// The next delivery, within patience.
pub async fn next(reader: &mut Box<dyn Subscription>, max: usize) -> Delivery {
    tokio::time::timeout(PATIENCE, reader.next(max)).await.expect("nothing was delivered").unwrap()
}

/// Reads until all partitions were assigned; answers with where they begin.
pub async fn assigned(reader: &mut Box<dyn Subscription>) -> Vec<Position> {
    let mut positions = Vec::new();
    while positions.len() < PARTITIONS as usize {
        match next(reader, 100).await {
            Delivery::Assigned(more) => positions.extend(more),
            other => panic!("expected an assignment, not {other:?}"),
        }
    }
    positions
}

/// Reads so many records.
pub async fn collect(reader: &mut Box<dyn Subscription>, count: usize, limit: Duration) -> Vec<Record> {
    let begun = Instant::now();
    let mut records = Vec::new();
    while records.len() < count {
        assert!(begun.elapsed() < limit, "{} of {count} records in {limit:?}", records.len());
        if let Delivery::Records(more) = next(reader, 1000).await {
            assert!(!more.is_empty() && more.len() <= 1000);
            records.extend(more);
        }
    }
    assert_eq!(records.len(), count);
    records
}

/// Offsets of each partition follow one another.
pub fn assert_gapless(records: &[Record]) {
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    for record in records {
        let expected = next.entry(record.position.partition).or_insert(record.position.offset);
        assert_eq!(record.position.offset, *expected, "partition {}", record.position.partition);
        *expected += 1;
    }
}

/// Every record between two offsets once and in order, whatever is appended meanwhile; a scan that nobody reads on harms nobody.
pub async fn scans_a_stretch(bed: &Bed) {
    let log = &bed.log;
    let partition = partition_of(b"k", PARTITIONS);
    let count = 10_000_u64;
    for chunk in (0..count).collect::<Vec<_>>().chunks(1000) {
        append_all(log.as_ref(), chunk.iter().map(|i| record("k", &i.to_string())).collect()).await;
    }
    for (from, to) in [(0, count), (4_097, 8_193), (7, 8), (5, 5), (count - 1, count)] {
        let mut scan = log.scan(partition, from, to);
        let mut next = from;
        while let Some(batch) = tokio::time::timeout(PATIENCE, scan.next()).await.expect("a scan stands still") {
            let batch = batch.unwrap();
            assert!(!batch.is_empty());
            for r in batch {
                assert_eq!(
                    (r.position, &r.value[..]),
                    (Position { partition, offset: next }, next.to_string().as_bytes())
                );
                assert!(r.headers.is_empty(), "a scan leaves them out");
                next += 1;
            }
            if from == 0 {
                append_all(log.as_ref(), vec![record("k", "later")]).await;
            }
        }
        assert_eq!(next, to, "from {from}");
    }
    let mut given_up = log.scan(partition, 0, count);
    given_up.next().await.unwrap().unwrap();
    drop(given_up);
    assert_eq!(log.read(partition, 3, 1).await.unwrap()[0].position.offset, 3);
}

pub async fn appends_and_reads(bed: &Bed) {
    let log = &bed.log;
    assert_eq!(log.partitions(), PARTITIONS);
    assert_eq!(log.bounds().await.unwrap(), vec![(0, 0); PARTITIONS as usize]);
    assert!(log.append(Vec::new()).await.is_empty());
    let positions = append_all(log.as_ref(), vec![record("a", "1"), record("a", "2")]).await;
    let partition = partition_of(b"a", PARTITIONS);
    assert_eq!(positions, [Position { partition, offset: 0 }, Position { partition, offset: 1 }]);
    let records = log.read(partition, 0, 10).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(&records[0].key[..], b"a");
    assert_eq!(&records[1].value[..], b"2");
    assert_eq!(records[1].position, positions[1]);
    let headers = vec![("id".to_owned(), Bytes::from_static(b"2")), ("empty".to_owned(), Bytes::new())];
    assert_eq!(records[1].headers, headers);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(i64::try_from(now).unwrap() - records[0].appended_ms < 60_000);
    assert_eq!(log.read(partition, 1, 10).await.unwrap().len(), 1);
    assert_eq!(log.read(partition, 0, 1).await.unwrap().len(), 1);
    assert_eq!(log.read(partition, 2, 10).await.unwrap().len(), 0);
    assert_eq!(log.read((partition + 1) % PARTITIONS, 0, 10).await.unwrap().len(), 0);
    let mut bounds = vec![(0, 0); PARTITIONS as usize];
    bounds[partition as usize] = (0, 2);
    assert_eq!(log.bounds().await.unwrap(), bounds);
}

pub async fn keeps_the_order_of_a_key(bed: &Bed) {
    let mut tasks = Vec::new();
    for key in 0..8 {
        let log = bed.log.clone();
        tasks.push(tokio::spawn(async move {
            for i in 0..20 {
                let records = (0..3).map(|j| record(&key.to_string(), &format!("{}", i * 3 + j))).collect();
                append_all(log.as_ref(), records).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut seen: BTreeMap<Bytes, u32> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        for record in bed.log.read(partition, 0, 1000).await.unwrap() {
            let expected = seen.entry(record.key.clone()).or_default();
            assert_eq!(std::str::from_utf8(&record.value).unwrap(), expected.to_string());
            *expected += 1;
        }
    }
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [60; 8]);
}

pub async fn answers_in_order_with_one_oversized(bed: &Bed) {
    let huge = NewRecord { value: Bytes::from(vec![7; MAX_RECORD_BYTES]), ..record("k", "") };
    let answers = bed.log.append(vec![record("k", "1"), huge, record("k", "2")]).await;
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0].as_ref().unwrap().offset, 0);
    assert!(matches!(answers[1], Err(LogError::Refused(_))), "{answers:?}");
    assert_eq!(answers[2].as_ref().unwrap().offset, 1);
    let large = NewRecord { value: Bytes::from(vec![7; MAX_RECORD_BYTES - 100]), ..record("k", "") };
    let position = append_all(bed.log.as_ref(), vec![large]).await[0];
    let read = bed.log.read(position.partition, position.offset, 1).await.unwrap();
    assert_eq!(read[0].value.len(), MAX_RECORD_BYTES - 100);
}

pub async fn takes_empty_keys_and_values(bed: &Bed) {
    let empty = NewRecord { key: Bytes::new(), value: Bytes::new(), headers: Vec::new() };
    let position = append_all(bed.log.as_ref(), vec![empty]).await[0];
    assert_eq!(position.partition, partition_of(b"", PARTITIONS));
    let read = bed.log.read(position.partition, position.offset, 1).await.unwrap();
    assert!(read[0].key.is_empty() && read[0].value.is_empty() && read[0].headers.is_empty());
}

pub async fn takes_big_batches(bed: &Bed) {
    let records: Vec<NewRecord> = (0..20_000).map(|i| record(&format!("k{}", i % 500), &i.to_string())).collect();
    let positions = append_all(bed.log.as_ref(), records.clone()).await;
    let mut offsets = vec![0; PARTITIONS as usize];
    for (position, record) in positions.iter().zip(&records) {
        assert_eq!(position.partition, partition_of(&record.key, PARTITIONS));
        let expected = &mut offsets[position.partition as usize];
        assert_eq!(position.offset, *expected);
        *expected += 1;
    }
    let (start, _) = from_zero(PARTITIONS);
    let mut reader = bed.log.subscribe(&bed.group("big"), start).await.unwrap();
    assigned(&mut reader).await;
    assert_gapless(&collect(&mut reader, 20_000, PATIENCE).await);
    reader.close().await;
}

pub async fn takes_many_small_appends(bed: &Bed) {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..500 {
        let log = bed.log.clone();
        tasks.spawn(async move { append_all(log.as_ref(), vec![record(&format!("k{i}"), "v")]).await[0] });
    }
    let positions = tasks.join_all().await;
    let distinct: std::collections::BTreeSet<_> = positions.iter().collect();
    assert_eq!(distinct.len(), 500);
    let ends: u64 = bed.log.bounds().await.unwrap().iter().map(|(_, end)| end).sum();
    assert_eq!(ends, 500);
}

pub async fn wakes_those_who_wait(bed: &Bed) {
    let (start, _) = from_zero(PARTITIONS);
    let mut reader = bed.log.subscribe(&bed.group("tail"), start).await.unwrap();
    assigned(&mut reader).await;
    let mut slowest = Duration::ZERO;
    for i in 0..20 {
        append_all(bed.log.as_ref(), vec![record(&format!("k{i}"), "v")]).await;
        let begun = Instant::now();
        let records = collect(&mut reader, 1, PATIENCE).await;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(records[0].key, format!("k{i}"));
    }
    assert!(slowest < Duration::from_secs(2), "the tail woke after {slowest:?}");
    reader.close().await;
}

pub async fn subscribes_from_the_readers_own_offset(bed: &Bed) {
    append_all(bed.log.as_ref(), (0..100).map(|i| record(&format!("k{i}"), "v")).collect()).await;
    let ends: Vec<u64> = bed.log.bounds().await.unwrap().iter().map(|(_, end)| *end).collect();
    let half: Vec<u64> = ends.iter().map(|end| end / 2).collect();
    let (start, kept) = from_zero(PARTITIONS);
    // the group's own commits say something else, and don't count
    for wanted in [half, vec![0; PARTITIONS as usize], ends.clone()] {
        kept.0.lock().unwrap().clone_from(&wanted);
        let mut reader = bed.log.subscribe(&bed.group("own"), start.clone()).await.unwrap();
        let mut begun = assigned(&mut reader).await;
        begun.sort_unstable();
        let expected: Vec<Position> =
            (0..).zip(&wanted).map(|(partition, offset)| Position { partition, offset: *offset }).collect();
        assert_eq!(begun, expected);
        let left: u64 = ends.iter().zip(&wanted).map(|(end, from)| end - from).sum();
        let records = collect(&mut reader, usize::try_from(left).unwrap(), PATIENCE).await;
        assert_gapless(&records);
        for record in &records {
            assert!(record.position.offset >= wanted[record.position.partition as usize]);
        }
        let done: Vec<Position> =
            (0..).zip(&ends).map(|(partition, offset)| Position { partition, offset: *offset }).collect();
        reader.report(&done);
        reader.close().await;
    }
}

pub async fn refuses_offsets_it_does_not_have(bed: &Bed) {
    let (start, kept) = from_zero(PARTITIONS);
    kept.0.lock().unwrap()[1] = 7;
    let mut reader = bed.log.subscribe(&bed.group("ahead"), start).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, reader.next(10)).await.unwrap().unwrap_err();
    assert!(matches!(error, LogError::Configuration(_)), "{error}");
    reader.close().await;
}

pub async fn respects_the_readers_limit(bed: &Bed) {
    append_all(bed.log.as_ref(), (0..100).map(|i| record(&format!("k{i}"), "v")).collect()).await;
    let (start, _) = from_zero(PARTITIONS);
    let mut reader = bed.log.subscribe(&bed.group("limit"), start).await.unwrap();
    assigned(&mut reader).await;
    let mut records = Vec::new();
    for max in [1, 3, 7].into_iter().cycle() {
        if records.len() == 100 {
            break;
        }
        let Delivery::Records(more) = next(&mut reader, max).await else { panic!("no records") };
        assert!(!more.is_empty() && more.len() <= max);
        records.extend(more);
    }
    assert_gapless(&records);
    reader.close().await;
}

/// `next` is dropped before it ends, again and again: nothing may be lost.
pub async fn survives_a_reader_that_stops_waiting(bed: &Bed) {
    let (start, _) = from_zero(PARTITIONS);
    let mut reader = bed.log.subscribe(&bed.group("impatient"), start).await.unwrap();
    assigned(&mut reader).await;
    let log = bed.log.clone();
    let writer = tokio::spawn(async move {
        for i in 0..300 {
            append_all(log.as_ref(), vec![record(&format!("k{i}"), "v")]).await;
        }
    });
    let mut records = Vec::new();
    let begun = Instant::now();
    for wait in (0..40).cycle() {
        if records.len() == 300 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE);
        if let Ok(delivery) = tokio::time::timeout(Duration::from_micros(100 * wait), reader.next(10)).await
            && let Delivery::Records(more) = delivery.unwrap()
        {
            records.extend(more);
        }
    }
    writer.await.unwrap();
    assert_gapless(&records);
    reader.close().await;
}

pub async fn refuses_other_partitions(bed: &Bed) {
    let url = bed.url.replace(&format!("partitions={PARTITIONS}"), "partitions=5");
    let error = open(&url, &bed.options).await.err().unwrap();
    assert!(matches!(error, LogError::Configuration(_)), "{error}");
    let url = bed.url.split('?').next().unwrap();
    assert_eq!(open(url, &bed.options).await.unwrap().partitions(), PARTITIONS);
}
