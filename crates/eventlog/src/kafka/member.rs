//! What a group member's callbacks note, and what its thread and the reader share.

use super::client::Health;
use crate::Position;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Notes rebalances.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    /// Another handle has taken its place.
    pub(super) retired: AtomicBool,
    pub(super) health: Arc<Health>,
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.health.line(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.health.error(&error, reason);
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
