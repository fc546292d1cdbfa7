//! One suite, run against every backend: what a [`Log`] promises. SQLite and librdkafka's mock cluster always;
//! a real Kafka where `JOURNEYLOG_TEST_KAFKA=host:port` names one (tests/servers/kafka.sh), which CI must have.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::arc_with_non_send_sync, reason = "the mock cluster stays on its thread")]

mod contract {
    pub mod beds;
    mod busy;
    pub mod group;
    pub mod suite;
}

use contract::beds::{mock, real, sqlite};
use contract::group;
use contract::suite;
use journeylog_eventlog::{Delivery, Log, LogError, Options, Record, open};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A case on a thread of its own: a mock cluster can't be moved.
macro_rules! alone {
    ($case:expr) => {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on($case);
        })
    };
}

/// Each case on a log of its own. On Kafka they run side by side in one test, since they mostly wait for the group.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::suite::$name(&super::sqlite().await).await; })+ }
        kafka_cases!(mock_cases, kafka_cases, suite, $($name),+);
    };
}

macro_rules! kafka_cases {
    ($mock:ident, $kafka:ident, $cases:ident, $($name:ident),+ $(,)?) => {
        #[test]
        fn $mock() {
            all(vec![$((stringify!($name), alone!(async { $cases::$name(&mock().await.0).await })),)+]);
        }

        #[test]
        fn $kafka() {
            if contract::beds::brokers().is_none() {
                return;
            }
            all(vec![$((stringify!($name), alone!(async {
                if let Some(bed) = real().await { $cases::$name(&bed).await }
            })),)+]);
        }
    };
}

/// Waits for all cases, then fails with the names of those that failed.
fn all(cases: Vec<(&'static str, std::thread::JoinHandle<()>)>) {
    let failed: Vec<_> = cases.into_iter().filter_map(|(name, case)| case.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

cases!(
    appends_and_reads,
    scans_a_stretch,
    keeps_the_order_of_a_key,
    answers_in_order_with_one_oversized,
    takes_empty_keys_and_values,
    takes_big_batches,
    takes_many_small_appends,
    wakes_those_who_wait,
    subscribes_from_the_readers_own_offset,
    refuses_offsets_it_does_not_have,
    respects_the_readers_limit,
    survives_a_reader_that_stops_waiting,
    refuses_other_partitions,
);

/// Two logs on one file stand for two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_sqlite_file() {
    let bed = sqlite().await;
    let other: Arc<dyn Log> = open(&bed.url, &Options::default()).await.unwrap();
    let (start, _) = suite::from_zero(suite::PARTITIONS);
    let mut reader = bed.log.subscribe("g", start).await.unwrap();
    suite::assigned(&mut reader).await;
    let mut tasks = Vec::new();
    for (name, log) in [("a", bed.log.clone()), ("b", other)] {
        tasks.push(tokio::spawn(async move {
            for i in 0..50 {
                let records = (0..7).map(|j| suite::record(name, &format!("{i}-{j}"))).collect();
                for answer in log.append(records).await {
                    answer.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let records = suite::collect(&mut reader, 700, Duration::from_secs(20)).await;
    suite::assert_gapless(&records);
}

#[tokio::test]
async fn a_sqlite_log_outlives_its_process() {
    let bed = sqlite().await;
    bed.log.append(vec![suite::record("k", "v")]).await.remove(0).unwrap();
    let again = open(&bed.url, &Options::default()).await.unwrap();
    let ends: u64 = again.bounds().await.unwrap().iter().map(|(_, end)| end).sum();
    assert_eq!(ends, 1);
}

#[tokio::test]
async fn other_files_are_not_logs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "no database, though long enough to be one".repeat(200)).unwrap();
    let error = open(&format!("sqlite:{}", path.display()), &Options::default()).await.err().unwrap();
    assert!(matches!(error, LogError::Configuration(_)), "{error}");
}

// what only a group of several members can show
kafka_cases!(
    mock_groups,
    kafka_groups,
    group,
    two_members_share_and_hand_over,
    a_slow_reader_is_waited_for,
    a_start_that_fails_is_asked_again,
    a_member_that_vanishes_is_replaced,
);

// The mock cluster's groups wait for a session to run out also where a member has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_leaves_in_the_middle_of_an_assignment() {
    if let Some(bed) = real().await {
        group::a_member_leaves_in_the_middle_of_an_assignment(&bed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_leaves_in_the_middle_of_a_revocation() {
    if let Some(bed) = real().await {
        group::a_member_leaves_in_the_middle_of_a_revocation(&bed).await;
    }
}

// The mock cluster knows no names of members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_comes_back_under_its_name() {
    if let Some(bed) = real().await {
        group::a_member_comes_back_under_its_name(&bed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stumbles_loses_nothing() {
    let (bed, cluster) = mock().await;
    let (start, _) = suite::from_zero(suite::PARTITIONS);
    let mut reader = bed.log.subscribe("g", start).await.unwrap();
    suite::assigned(&mut reader).await;
    let transport = RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT;
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    let full = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.request_errors(RDKafkaApiKey::Produce, &[transport, moved, full, transport]);
    cluster.request_errors(RDKafkaApiKey::Fetch, &[transport, moved, transport]);
    let records = (0..50).map(|i| suite::record(&format!("k{i}"), "v")).collect();
    for answer in bed.log.append(records).await {
        answer.unwrap();
    }
    // The mock cluster doesn't know a batch again that it took before its answer got lost; Kafka does.
    let (begun, mut records) = (Instant::now(), Vec::new());
    while records.iter().map(|r: &Record| r.key.clone()).collect::<BTreeSet<_>>().len() < 50 {
        assert!(begun.elapsed() < suite::PATIENCE, "{} records", records.len());
        if let Delivery::Records(more) = suite::next(&mut reader, 1000).await {
            records.extend(more);
        }
    }
    suite::assert_gapless(&records);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_and_comes_back_is_found_again() {
    let (bed, cluster) = mock().await;
    let (start, _) = suite::from_zero(suite::PARTITIONS);
    let mut reader = bed.log.subscribe("g", start).await.unwrap();
    suite::assigned(&mut reader).await;
    cluster.broker_down(1).unwrap();
    let log = bed.log.clone();
    let append =
        tokio::spawn(async move { log.append((0..50).map(|i| suite::record(&format!("k{i}"), "v")).collect()).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!append.is_finished(), "nothing may be answered while the broker is away");
    cluster.broker_up(1).unwrap();
    for answer in append.await.unwrap() {
        answer.unwrap();
    }
    suite::assert_gapless(&suite::collect(&mut reader, 50, suite::PATIENCE).await);
    reader.close().await;
}

/// A broker that restarts while the producer asks for its id, and loses its leaders meanwhile: a producer whose appends
/// timed out is replaced, whatever became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_work_again_after_some_have_timed_out() {
    let (bed, cluster) = mock().await;
    let mut options = bed.options.clone();
    options.properties.insert("message.timeout.ms".to_owned(), "2000".to_owned());
    let log = open(&bed.url, &options).await.unwrap();
    let loading = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[loading]);
    let (first, records) = (log.clone(), || (0..50).map(|i| suite::record(&format!("k{i}"), "v")).collect());
    let first = tokio::spawn(async move { first.append(records()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for partition in 0..suite::PARTITIONS {
        cluster.partition_leader("journeys", partition.cast_signed(), None).unwrap();
    }
    cluster.broker_down(1).unwrap();
    for answer in first.await.unwrap() {
        assert!(matches!(answer, Err(LogError::Unavailable(_))), "{answer:?}");
    }
    cluster.broker_up(1).unwrap();
    for partition in 0..suite::PARTITIONS {
        cluster.partition_leader("journeys", partition.cast_signed(), Some(1)).unwrap();
    }
    let begun = Instant::now();
    while log.append(records()).await.iter().any(Result::is_err) {
        assert!(begun.elapsed() < suite::PATIENCE, "appends never worked again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_broker_is_a_clear_error() {
    let options = Options { connect_timeout: Duration::from_secs(1), ..Options::default() };
    let error = open("kafka://127.0.0.1:1/topic", &options).await.err().unwrap();
    assert!(matches!(&error, LogError::Unavailable(why) if why.contains("127.0.0.1:1")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_properties_are_refused_without_their_value() {
    let (bed, _cluster) = mock().await;
    let mut options = bed.options.clone();
    options.properties.insert("sasl.pasword".to_owned(), "geheim".to_owned());
    let error = open(&bed.url, &options).await.err().unwrap();
    let LogError::Configuration(why) = error else { panic!("{error}") };
    assert!(why.contains("sasl.pasword") && !why.contains("geheim"), "{why}");
}

/// Said to the broker one by one, whatever its own defaults are: they would delete events after a week.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_keeps_every_event() {
    let mut wanted = BTreeMap::from([
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-1"),
    ]);
    let Some(told) = contract::beds::told("partitions=1").await else { return };
    assert!(told.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted.clone()), "{told:?}");
    wanted.insert("min.insync.replicas", "1");
    let Some(told) = contract::beds::told("partitions=1&replication=1").await else { return };
    assert!(told.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted), "{told:?}");
}

/// A topic that somebody else made, and what is said about it: compaction would lose all but the last event of a patient;
/// what the topic can't take or confirm would fail with the first large record, or with all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_lose_events_or_take_none_are_refused() {
    for (setting, value, words) in [
        ("cleanup.policy", "compact", "compacted"),
        ("max.message.bytes", "1000000", "set its max.message.bytes to 1048588"),
        ("min.insync.replicas", "2", "min.insync.replicas is 2, and its partitions have 1 replica"),
    ] {
        let Some(url) = contract::beds::topic_with(setting, value).await else { return };
        let error = open(&url, &Options::default()).await.err().unwrap();
        assert!(matches!(&error, LogError::Configuration(why) if why.contains(words)), "{setting}: {error}");
    }
    for (setting, value) in [("message.timestamp.type", "CreateTime"), ("retention.ms", "604800000")] {
        let Some(url) = contract::beds::topic_with(setting, value).await else { return };
        assert!(
            open(&url, &Options::default()).await.is_ok(),
            "{setting} is the operator's to decide; a warning says so"
        );
    }
}
