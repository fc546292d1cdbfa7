//! Settings of librdkafka's clients, and what they tell us.

mod health;

pub(super) use health::{Context, Health};

use super::properties;
use crate::LogError;
use crate::options::{KafkaTarget, Options};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest message for librdkafka: our records with room for their framing. Brokers take 1,048,588 by default.
pub(super) const MESSAGE_MAX_BYTES: usize = crate::MAX_RECORD_BYTES + 40_000;

/// Records waiting to be sent, at most; more than the producer's own room.
const SEND_QUEUE_RECORDS: &str = "300000";
/// KiB waiting to be sent, at most; more than the producer's own room.
const SEND_QUEUE_KIB: &str = "131072";
/// Milliseconds that librdkafka waits for the rest of a batch: it is just being handed over (see [`super::lanes`]), and its
/// thread does not sleep for less than a millisecond.
const LINGER_MS: &str = "0.05";
/// Milliseconds until an append that nobody confirms is given up; longer than the restart of a broker.
const SEND_TIMEOUT_MS: &str = "30000";

/// KiB fetched ahead by a subscription, at most.
const FETCH_QUEUE_KIB: &str = "4096";
/// Records fetched ahead, after which fetching rests.
const FETCH_QUEUE_RECORDS: &str = "20000";
/// Bytes of one answer, all partitions together, as compressed on the broker.
const FETCH_BYTES: &str = "1048576";
/// Bytes of one partition in an answer, as compressed on the broker.
const FETCH_PARTITION_BYTES: &str = "262144";
/// Milliseconds after which a full queue is looked at again: librdkafka's second would stall a small queue.
const FETCH_REST_MS: &str = "2";
/// KiB that a scan fetches ahead, at most.
const SCAN_QUEUE_KIB: &str = "16384";
/// Records that a scan fetches ahead, after which fetching rests.
const SCAN_QUEUE_RECORDS: &str = "50000";
/// Bytes of one answer to a scan, as compressed on the broker.
const SCAN_BYTES: &str = "4194304";
/// Milliseconds after which a silent member's partitions go to others.
const SESSION_MS: &str = "10000";
/// Milliseconds between heartbeats, by which a member also learns of a rebalance.
const HEARTBEAT_MS: &str = "1000";
/// Milliseconds between statistics, by which a hanging membership is noticed.
pub(super) const STATISTICS: (&str, &str) = ("statistics.interval.ms", "5000");
/// Milliseconds that a member may go without looking after its membership, which is for seconds at most. For so long the broker also
/// waits in a rebalance for members that are gone.
const POLL_INTERVAL_MS: u64 = 45_000;

/// What the inbox moves here is there once its transaction has ended: what was aborted is moved again.
pub(super) const ISOLATION: (&str, &str) = ("isolation.level", "read_committed");

/// What all clients of a log have in common.
pub(super) struct Settings {
    brokers: String,
    pub(super) topic: String,
    properties: BTreeMap<String, String>,
    pub(super) instance_id: Option<String>,
    pub(super) health: Arc<Health>,
}

impl Settings {
    /// # Errors
    /// `Configuration` for properties that aren't the operator's to set.
    pub(super) fn new(target: &KafkaTarget, options: &Options) -> Result<Self, LogError> {
        properties::check(&options.properties)?;
        Ok(Self {
            brokers: target.brokers.clone(),
            topic: target.topic.clone(),
            properties: options.properties.clone(),
            instance_id: options.instance_id.clone(),
            health: Arc::new(Health::of(&target.brokers)),
        })
    }

    /// Ours, then the operator's, then what correctness hangs on.
    pub(super) fn layered(&self, ours: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let common = [
            ("bootstrap.servers", self.brokers.as_str()),
            ("client.id", "journeylog"),
            ("socket.nagle.disable", "true"),
            ("socket.keepalive.enable", "true"),
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
            ("retry.backoff.ms", "50"),
            ("message.max.bytes", &MESSAGE_MAX_BYTES.to_string()),
            ("allow.auto.create.topics", "false"),
            ("topic.metadata.propagation.max.ms", "10000"),
            ("enable.metrics.push", "false"),
        ];
        let mut config = ClientConfig::new();
        // lost connections are among these, and the only hint at a wrong security.protocol
        config.set_log_level(RDKafkaLogLevel::Info);
        let operators = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in common.iter().chain(ours).copied().chain(operators).chain(fixed.iter().copied()) {
            properties::set(&mut config, name, value);
        }
        config
    }

    pub(super) fn producer(&self) -> ClientConfig {
        self.layered(
            &[
                ("compression.type", "lz4"),
                ("linger.ms", LINGER_MS),
                ("queue.buffering.max.messages", SEND_QUEUE_RECORDS),
                ("queue.buffering.max.kbytes", SEND_QUEUE_KIB),
                ("message.timeout.ms", SEND_TIMEOUT_MS),
            ],
            &[("acks", "all"), ("enable.idempotence", "true")],
        )
    }

    /// A client for questions and single reads, which joins no group.
    pub(super) fn reader(&self) -> ClientConfig {
        self.layered(
            &[
                ("queued.max.messages.kbytes", "1024"),
                ("queued.min.messages", "1000"),
                ("fetch.max.bytes", FETCH_BYTES),
                ("max.partition.fetch.bytes", FETCH_BYTES),
                ("fetch.queue.backoff.ms", FETCH_REST_MS),
                ("fetch.wait.max.ms", "50"),
            ],
            &[
                ("group.id", "journeylog-reader"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("auto.offset.reset", "error"),
                ISOLATION,
            ],
        )
    }

    /// A client that reads a long stretch of one partition, and joins no group.
    pub(super) fn scanner(&self) -> ClientConfig {
        let mut config = self.reader();
        for (name, value) in [
            ("queued.max.messages.kbytes", SCAN_QUEUE_KIB),
            ("queued.min.messages", SCAN_QUEUE_RECORDS),
            ("fetch.max.bytes", SCAN_BYTES),
            ("max.partition.fetch.bytes", SCAN_BYTES),
        ] {
            properties::set(&mut config, name, value);
        }
        config
    }

    /// So many milliseconds, or the operator's session where that is longer: librdkafka wants no less.
    pub(super) fn poll_interval_ms(&self, ours: u64) -> String {
        let session = self.properties.get("session.timeout.ms").and_then(|ms| ms.parse().ok());
        session.unwrap_or(0).max(ours).to_string()
    }

    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.layered(
            &[
                ("queued.max.messages.kbytes", FETCH_QUEUE_KIB),
                ("queued.min.messages", FETCH_QUEUE_RECORDS),
                ("fetch.max.bytes", FETCH_BYTES),
                ("max.partition.fetch.bytes", FETCH_PARTITION_BYTES),
                ("fetch.queue.backoff.ms", FETCH_REST_MS),
                ("fetch.error.backoff.ms", "50"),
                ("fetch.min.bytes", "1"),
                ("fetch.wait.max.ms", "100"),
                ("session.timeout.ms", SESSION_MS),
                ("heartbeat.interval.ms", HEARTBEAT_MS),
                ("max.poll.interval.ms", &self.poll_interval_ms(POLL_INTERVAL_MS)),
            ],
            &[
                ("group.id", group),
                ("partition.assignment.strategy", "cooperative-sticky"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "false"),
                // where to begin is the reader's to say: an offset that is gone must never be skipped silently
                ("auto.offset.reset", "error"),
                ISOLATION,
                STATISTICS,
            ],
        );
        if let Some(id) = &self.instance_id {
            config.set("group.instance.id", id);
        }
        config
    }

    /// The settings of a client without special needs.
    pub(super) fn admin(&self) -> ClientConfig {
        self.layered(&[], &[])
    }
}

/// Sorts librdkafka's errors.
// by value, to be handed to `map_err`
#[allow(clippy::needless_pass_by_value)]
pub(super) fn failed(error: KafkaError) -> LogError {
    use RDKafkaErrorCode as Code;
    // the text of such an error holds the value, which may be a password
    if let KafkaError::ClientConfig(_, _, name, _) = &error {
        return LogError::Configuration(format!("kafka's property {name} is unknown, or its value is wrong"));
    }
    if let KafkaError::ClientCreation(why) = &error {
        return LogError::Configuration(why.clone());
    }
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => LogError::Busy("too many appends are waiting".to_owned()),
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord | Code::PolicyViolation) => {
            LogError::Refused(error.to_string())
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::UnknownPartition
            | Code::FencedInstanceId
            | Code::AutoOffsetReset
            | Code::OffsetOutOfRange,
        ) => LogError::Configuration(error.to_string()),
        _ => LogError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests;
