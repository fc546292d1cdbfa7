//! A log that can take no more for a while says so, and nothing is lost, there twice or out of order afterwards.

use super::beds::{mock, sqlite};
use super::suite::{Bed, PARTITIONS, PATIENCE, assert_gapless, assigned, collect, from_zero, record};
use bytes::Bytes;
use futures::future::{join, join_all};
use journeylog_eventlog::{Log, LogError, MAX_RECORD_BYTES, NewRecord, Position, file, partition_of};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Another process's way to the file.
async fn connect(bed: &Bed) -> SqliteConnection {
    let path = file(&bed.url).unwrap().unwrap();
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

/// Records of one key.
fn numbered(range: Range<u32>) -> Vec<NewRecord> {
    range.map(|n| record("k", &n.to_string())).collect()
}

/// Seventy records of that key, which together are more than all the room that there is.
fn large() -> Vec<NewRecord> {
    let value = Bytes::from(vec![7; MAX_RECORD_BYTES - 1_000]);
    (0..70).map(|_| NewRecord { value: value.clone(), ..record("k", "") }).collect()
}

fn offsets(answers: Vec<Result<Position, LogError>>) -> Vec<u64> {
    answers.into_iter().map(|answer| answer.unwrap().offset).collect()
}

fn assert_busy(answers: &[Result<Position, LogError>]) {
    assert!(answers.iter().all(|answer| matches!(answer, Err(LogError::Busy(_)))), "{answers:?}");
}

/// What the log has of that key.
async fn values(log: &dyn Log) -> Vec<u32> {
    let records = log.read(partition_of(b"k", PARTITIONS), 0, 10_000).await.unwrap();
    assert_gapless(&records);
    records.iter().map(|r| std::str::from_utf8(&r.value).unwrap().parse().unwrap()).collect()
}

/// Another process writes for longer than we wait (10 s), and then for less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_holds_is_busy_and_then_goes_on() {
    let bed = sqlite().await;
    let log: &dyn Log = bed.log.as_ref();
    let (start, _) = from_zero(PARTITIONS);
    let mut reader = log.subscribe("g", start).await.unwrap();
    assigned(&mut reader).await;
    assert_eq!(offsets(log.append(numbered(0..10)).await), (0..10).collect::<Vec<_>>());
    let mut other = connect(&bed).await;
    let holding = other.begin_with("begin immediate").await.unwrap();
    assert_busy(&log.append(numbered(10..20)).await);
    assert_eq!(values(log).await, (0..10).collect::<Vec<_>>(), "what was refused isn't there, and reading goes on");
    // who was refused sends again, and others come after: all wait, and are taken in the order of the calls
    let letting_go = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        holding.rollback().await.unwrap();
    };
    let waiting = join_all((1..=10).map(|n| log.append(numbered(n * 10..n * 10 + 10))));
    let (answers, ()) = join(waiting, letting_go).await;
    assert_eq!(offsets(answers.into_iter().flatten().collect()), (10..110).collect::<Vec<_>>());
    assert_eq!(values(log).await, (0..110).collect::<Vec<_>>());
    assert_gapless(&collect(&mut reader, 110, PATIENCE).await);
    let more = tokio::time::timeout(Duration::from_millis(200), reader.next(10)).await;
    assert!(more.is_err(), "nothing comes twice: {more:?}");
}

/// As where the disk is full: SQLite rolls the whole transaction back by itself, which its driver doesn't know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_rolls_back_by_itself_goes_on_once_it_no_longer_does() {
    let bed = sqlite().await;
    assert_eq!(offsets(bed.log.append(numbered(0..1)).await), [0]);
    let mut other = connect(&bed).await;
    let full = "create trigger full before insert on records begin select raise(rollback, 'full'); end";
    sqlx::raw_sql(full).execute(&mut other).await.unwrap();
    for _ in 0..3 {
        let answers = bed.log.append(numbered(1..3)).await;
        let full = |answer: &_| matches!(answer, Err(LogError::Unavailable(why)) if why.contains("full"));
        assert!(answers.iter().all(full), "{answers:?}");
    }
    sqlx::raw_sql("drop trigger full").execute(&mut other).await.unwrap();
    assert_eq!(offsets(bed.log.append(numbered(1..3)).await), [1, 2]);
    assert_eq!(values(bed.log.as_ref()).await, [0, 1, 2]);
}

/// One append takes up all the room until something lets go: another is refused, and taken when it is sent again.
async fn fills_up(bed: &Bed, letting_go: impl Future<Output = ()>) {
    let log: &dyn Log = bed.log.as_ref();
    let refused = async {
        assert_busy(&log.append(numbered(0..10)).await);
        letting_go.await;
    };
    // polled in this order: the large one is in before the other one comes
    let (taken, ()) = join(log.append(large()), refused).await;
    assert_eq!(offsets(taken), (1..71).collect::<Vec<_>>());
    let begun = Instant::now();
    let again = loop {
        let answers = log.append(numbered(0..10)).await;
        if answers.iter().all(Result::is_ok) {
            break offsets(answers);
        }
        // the room is free a moment after the answer
        assert_busy(&answers);
        assert!(begun.elapsed() < PATIENCE, "the room stays taken");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(again, (71..81).collect::<Vec<_>>(), "what was refused isn't there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_beyond_the_room_of_a_file_are_refused() {
    let bed = sqlite().await;
    assert_eq!(offsets(bed.log.append(numbered(0..1)).await), [0]);
    let mut other = connect(&bed).await;
    let holding = other.begin_with("begin immediate").await.unwrap();
    fills_up(&bed, async { holding.rollback().await.unwrap() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_beyond_the_room_of_a_producer_are_refused() {
    let (bed, cluster) = mock().await;
    assert_eq!(offsets(bed.log.append(numbered(0..1)).await), [0]);
    cluster.broker_down(1).unwrap();
    fills_up(&bed, async { cluster.broker_up(1).unwrap() }).await;
}
