//! The topic: made where there is none, checked where there is one.

use super::client::{Context, Settings, failed};
use super::reader::Reader;
use crate::LogError;
use crate::options::{DEFAULT_PARTITIONS, KafkaTarget};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a question about the topic's settings may take: not every broker answers it.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(3);
/// Between looking whether a new topic is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Makes or checks the topic; answers with its partitions.
pub(super) async fn ensure(
    settings: &Arc<Settings>,
    reader: &Arc<Reader>,
    target: &KafkaTarget,
    limit: Duration,
) -> Result<u32, LogError> {
    let deadline = Instant::now() + limit;
    if let Some(partitions) = reader.partitions(limit).await? {
        wanted(&target.topic, partitions, target.partitions)?;
        let admin = admin(settings)?;
        check(&admin, &target.topic).await?;
        return Ok(partitions);
    }
    create(&admin(settings)?, target, limit).await?;
    loop {
        // another process may have made it first, with other settings
        if let Some(partitions) = reader.partitions(limit).await? {
            wanted(&target.topic, partitions, target.partitions)?;
            return Ok(partitions);
        }
        if Instant::now() > deadline {
            return Err(settings.health.unreachable(format!("topic {} doesn't come up", target.topic)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn admin(settings: &Settings) -> Result<AdminClient<Context>, LogError> {
    settings.admin().create_with_context(Context(settings.health.clone())).map_err(failed)
}

fn wanted(topic: &str, found: u32, wanted: Option<u32>) -> Result<(), LogError> {
    match wanted {
        Some(wanted) if wanted != found => {
            Err(LogError::Configuration(format!("topic {topic} has {found} partitions, not {wanted}")))
        }
        _ => Ok(()),
    }
}

async fn create(admin: &AdminClient<Context>, target: &KafkaTarget, limit: Duration) -> Result<(), LogError> {
    let partitions = target.partitions.unwrap_or(DEFAULT_PARTITIONS);
    // -1: what the brokers have as their default
    let replication = target.replication.unwrap_or(-1);
    let in_sync = (replication - 1).max(1).to_string();
    let mut topic = NewTopic::new(
        &target.topic,
        i32::try_from(partitions).unwrap_or(i32::MAX),
        TopicReplication::Fixed(replication),
    )
    // the log is the truth: nothing in it ages, and nothing is compacted away
    .set("cleanup.policy", "delete")
    .set("retention.ms", "-1")
    .set("retention.bytes", "-1")
    .set("max.message.bytes", "1048588")
    // "when the log took it" must not hang on the senders' clocks
    .set("message.timestamp.type", "LogAppendTime");
    if target.replication.is_some() {
        topic = topic.set("min.insync.replicas", &in_sync);
    }
    let options = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
    let results = admin.create_topics([&topic], &options).await.map_err(failed)?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
        Some(Ok(_)) => {
            tracing::info!(log.topic = target.topic, log.partitions = partitions, "made the topic");
            Ok(())
        }
        Some(Err((name, code))) => Err(LogError::Configuration(format!("topic {name} can't be made: {code}"))),
    }
}

/// Compaction would delete all but the last event of a patient; a limited retention is the operator's to decide.
async fn check(admin: &AdminClient<Context>, topic: &str) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(SETTINGS_TIMEOUT));
    let answer = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
    let settings = match answer.map(|mut answer| answer.pop()) {
        Ok(Some(Ok(settings))) => settings,
        Ok(Some(Err(code))) => {
            tracing::warn!(log.topic = topic, error = %code, "the topic's settings can't be checked");
            return Ok(());
        }
        Ok(None) => return Ok(()),
        Err(error) => {
            tracing::debug!(log.topic = topic, error = %error, "the topic's settings can't be checked");
            return Ok(());
        }
    };
    let value = |name| settings.get(name).and_then(|entry| entry.value.as_deref());
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        return Err(LogError::Configuration(format!("topic {topic} is compacted, which deletes events")));
    }
    for (name, forever) in [("retention.ms", "-1"), ("retention.bytes", "-1")] {
        if let Some(limit) = value(name).filter(|limit| *limit != forever) {
            tracing::warn!(log.topic = topic, setting = name, limit, "the topic forgets events");
        }
    }
    Ok(())
}
