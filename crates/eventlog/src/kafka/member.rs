//! What a group member's callbacks note, and what its thread and the reader share.

use super::client::Health;
use crate::Position;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(super) handle: Handle,
}

/// Statistics in a row, one every 5 s, in which a handle does nothing about its membership, although it is its turn, until a new one
/// takes its place. Where that one never gets on either, it is given twice as many, and so on.
pub(super) const PATIENCE: u32 = 6;
/// The most of them: 16 minutes.
const MOST_PATIENCE: u32 = 192;

/// Microseconds after which a broker to which no connection is made isn't tried any more: one that is away is, every second.
const UNTRIED_US: i64 = 10_000_000;

/// States of a handle that is a member, or waits for the group's other members or for the reader.
const GETS_ON: [&str; 5] = ["steady", "wait-join", "wait-sync", "wait-assign-call", "wait-unassign-call"];

/// A client of librdkafka in a group, and whether it gets on with it, by librdkafka's statistics.
///
/// A broker that is shutting down says that the cluster has no brokers. librdkafka 2.12 then gives up those that it knows and plans to
/// begin again with the configured ones; but the plan is cancelled where the thread that has taken the answer comes last, and never
/// made again. Such a handle has no brokers for ever, or none that it tries (one of some fifty restarts of the only broker).
pub(super) struct Handle {
    health: Arc<Health>,
    patience: u32,
    /// Statistics in a row in which the next step was its own.
    pub(super) idle: AtomicU32,
    /// It has been a member.
    got_on: AtomicBool,
    /// Another one has taken its place: what it says counts no more.
    retired: AtomicBool,
}

impl Handle {
    pub(super) fn new(health: Arc<Health>, patience: u32) -> Self {
        let (idle, got_on, retired) = (AtomicU32::new(0), AtomicBool::new(false), AtomicBool::new(false));
        Self { health, patience, idle, got_on, retired }
    }

    pub(super) fn note(&self, statistics: &Statistics) {
        let Some(group) = &statistics.cgrp else { return };
        let brokers = || statistics.brokers.values().filter(|broker| broker.source != "logical");
        let connected = brokers().any(|broker| broker.state == "UP");
        // one that was given up may stay in the list, where nobody tries it any more
        let tried = brokers().any(|broker| broker.state != "INIT" || broker.stateage < UNTRIED_US);
        let gets_on = group.state == "up" && GETS_ON.contains(&group.join_state.as_str());
        self.got_on.fetch_or(gets_on, Ordering::Relaxed);
        if !gets_on && (connected || !tried) {
            self.idle.fetch_add(1, Ordering::Relaxed);
        } else {
            self.idle.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn hangs(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > self.patience
    }

    /// Patience with the one that takes its place.
    pub(super) fn patience_after(&self) -> u32 {
        if self.got_on.load(Ordering::Relaxed) { PATIENCE } else { (self.patience * 2).min(MOST_PATIENCE) }
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    fn retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        if !self.retired() {
            self.health.line(level, fac, message);
        }
    }

    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        if !self.retired() {
            self.health.error(error, reason);
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.handle.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.handle.error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.handle.note(&statistics);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.shared.closing() || self.handle.retired() {
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
    use super::{Handle, Health, MOST_PATIENCE, PATIENCE};
    use rdkafka::statistics::{Broker, ConsumerGroup, Statistics};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    fn handle(patience: u32) -> Handle {
        Handle::new(Arc::new(Health::of("a:1")), patience)
    }

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
            let handle = handle(PATIENCE);
            handle.note(&statistics(state, join_state, broker));
            assert_eq!(handle.idle.load(Ordering::Relaxed) > 0, idle, "{state} {join_state} {broker:?}");
        }
    }

    #[test]
    fn only_what_goes_on_without_a_break_is_hanging() {
        let (handle, up) = (handle(PATIENCE), ("learned", "UP"));
        for _ in 0..PATIENCE {
            handle.note(&statistics("up", "init", up));
        }
        assert!(!handle.hangs());
        handle.note(&statistics("up", "init", up));
        assert!(handle.hangs());
        handle.note(&statistics("up", "wait-join", up));
        handle.note(&statistics("up", "init", up));
        assert!(!handle.hangs());
    }

    #[test]
    fn patience_grows_while_no_handle_gets_on() {
        let first = handle(PATIENCE);
        assert_eq!(first.patience_after(), 2 * PATIENCE);
        assert_eq!(handle(MOST_PATIENCE).patience_after(), MOST_PATIENCE);
        first.note(&statistics("up", "steady", ("learned", "UP")));
        assert_eq!(first.patience_after(), PATIENCE);
    }
}
