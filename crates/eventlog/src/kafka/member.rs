//! What a group member's callbacks note, and what its thread and the reader share.

use super::client::Health;
use crate::Position;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{ConsumerGroup, Statistics};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What thread and reader share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) closing: AtomicBool,
    /// Offsets for the assignment of a step.
    pub(super) assigned: Mutex<Option<(u64, Vec<Position>)>>,
    /// The last revocation that the reader has followed.
    pub(super) revoked: Mutex<Option<u64>>,
    /// How far the reader has come, since the last commit.
    pub(super) reported: Mutex<BTreeMap<u32, u64>>,
    pub(super) rebalances: Mutex<VecDeque<Rebalance>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn assign(&self, step: u64, positions: Vec<Position>) {
        *lock(&self.assigned) = Some((step, positions));
    }

    pub(super) fn revoke(&self, step: u64) {
        *lock(&self.revoked) = Some(step);
    }

    pub(super) fn report(&self, next: &[Position]) {
        lock(&self.reported).extend(next.iter().map(|position| (position.partition, position.offset)));
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }
}

pub(super) enum Rebalance {
    Assign(Vec<u32>),
    /// Lost partitions belong to others already.
    Revoke {
        partitions: Vec<u32>,
        lost: bool,
    },
}

/// Notes rebalances, and how the handle gets on.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    /// Another handle has taken its place.
    pub(super) retired: AtomicBool,
    pub(super) health: Arc<Health>,
    pub(super) progress: Progress,
}

/// How long a handle may do nothing about its membership, although it is its turn, until a new one takes its place.
const REJOIN_AFTER: Duration = Duration::from_secs(30);

/// Microseconds after which a broker to which no connection is made isn't tried any more: one that is away is, every second.
const UNTRIED_US: i64 = 10_000_000;

/// States of a handle that is a member, or waits for the group's other members or for the reader.
const GETS_ON: [&str; 5] = ["steady", "wait-join", "wait-sync", "wait-assign-call", "wait-unassign-call"];

/// Whether a handle gets on with its group, by librdkafka's statistics.
///
/// A broker that is shutting down says that the cluster has no brokers. librdkafka 2.12 then gives up those that it knows and plans to
/// begin again with the configured ones; but the plan is cancelled where the thread that has taken the answer comes last, and never
/// made again. Such a handle has no brokers for ever, or none that it tries (one of some fifty restarts of the only broker).
#[derive(Default)]
pub(super) struct Progress {
    /// Since when the next step has been the handle's own.
    pub(super) idle: Mutex<Option<Instant>>,
}

impl Progress {
    pub(super) fn note(&self, statistics: &Statistics) {
        let brokers = || statistics.brokers.values().filter(|broker| broker.source != "logical");
        let connected = brokers().any(|broker| broker.state == "UP");
        // one that was given up may stay in the list, where nobody tries it any more
        let tried = brokers().any(|broker| broker.state != "INIT" || broker.stateage < UNTRIED_US);
        let gets_on = |group: &ConsumerGroup| group.state == "up" && GETS_ON.contains(&group.join_state.as_str());
        let mut idle = lock(&self.idle);
        *idle = match &statistics.cgrp {
            Some(group) if !gets_on(group) && (connected || !tried) => idle.or_else(|| Some(Instant::now())),
            _ => None,
        };
    }

    pub(super) fn hangs(&self) -> bool {
        lock(&self.idle).is_some_and(|since| since.elapsed() > REJOIN_AFTER)
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.health.line(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.progress.note(&statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.shared.closing() || self.retired.load(Ordering::Relaxed) {
            // nobody reads any more: let go at once, or leaving would never end
            let done = if assign { consumer.unassign() } else { consumer.incremental_unassign(list) };
            if let Err(error) = done {
                tracing::debug!(error = %error, "letting partitions go failed");
            }
            return;
        }
        let step = if assign {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke { partitions, lost: consumer.assignment_lost() }
        };
        lock(&self.shared.rebalances).push_back(step);
    }

    fn commit_callback(&self, result: rdkafka::error::KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(error = %error, "telling the group how far the reader is failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, REJOIN_AFTER, lock};
    use rdkafka::statistics::{Broker, ConsumerGroup, Statistics};
    use std::time::Instant;

    fn statistics(state: &str, join_state: &str, (source, broker): (&str, &str)) -> Statistics {
        // `INIT 131` is one that has been so for 131 s
        let (broker, age) = broker.split_once(' ').unwrap_or((broker, "0"));
        let stateage = age.parse::<i64>().unwrap() * 1_000_000;
        let broker = Broker { source: source.to_owned(), state: broker.to_owned(), stateage, ..Broker::default() };
        let (state, join_state) = (state.to_owned(), join_state.to_owned());
        Statistics {
            brokers: [("a:1/1".to_owned(), broker)].into(),
            cgrp: Some(ConsumerGroup { state, join_state, ..ConsumerGroup::default() }),
            ..Statistics::default()
        }
    }

    #[test]
    fn a_handle_hangs_when_it_is_its_own_turn_with_a_broker_or_with_none_to_wait_for() {
        let (up, away) = (("learned", "UP"), ("learned", "TRY_CONNECT"));
        for (state, join_state, broker, idle) in [
            ("up", "init", up, true),
            ("up", "wait-incr-unassign-to-complete", up, true),
            ("wait-broker-transport", "steady", up, true),
            ("query-coord", "init", up, true),
            ("query-coord", "init", away, false),
            ("query-coord", "init", ("learned", "INIT 1"), false),
            ("query-coord", "init", ("learned", "INIT 131"), true),
            // no broker but the coordinator, whose address is another's
            ("query-coord", "init", ("logical", "TRY_CONNECT"), true),
            ("up", "steady", up, false),
            ("up", "wait-join", up, false),
            ("up", "wait-sync", up, false),
            ("up", "wait-assign-call", up, false),
            ("up", "wait-unassign-call", up, false),
        ] {
            let progress = Progress::default();
            progress.note(&statistics(state, join_state, broker));
            assert_eq!(lock(&progress.idle).is_some(), idle, "{state} {join_state} {broker:?}");
        }
    }

    #[test]
    fn only_what_goes_on_without_a_break_is_hanging() {
        let (progress, up) = (Progress::default(), ("learned", "UP"));
        let since = Instant::now().checked_sub(REJOIN_AFTER * 2).unwrap();
        *lock(&progress.idle) = Some(since);
        progress.note(&statistics("up", "init", up));
        assert!(progress.hangs());
        progress.note(&statistics("up", "wait-join", up));
        progress.note(&statistics("up", "init", up));
        assert!(!progress.hangs());
    }
}
