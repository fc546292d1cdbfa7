//! One suite, run against every backend: what a [`Log`] promises.

mod contract {
    pub mod suite;
}

use contract::suite::{self, Bed};
use journeylog_eventlog::{Log, LogError, Options, open};
use std::sync::Arc;
use std::time::Duration;

/// Each case on a log of its own.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::suite::$name(&super::sqlite().await).await; })+ }
    };
}

cases!(
    appends_and_reads,
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

async fn sqlite() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/log.db", folder.path().display());
    Bed::new(url, Options::default(), Box::new(folder)).await
}

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
