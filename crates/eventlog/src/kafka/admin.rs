//! The topic: made where there is none, checked where there is one.

use super::client::{Context, MESSAGE_MAX_BYTES as SENT_BYTES, Settings, failed};
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

/// `max.message.bytes` of a topic that is made here: Kafka's own default.
const MESSAGE_BYTES: usize = 1_048_588;
/// What makes "when the log took it" the broker's time.
const TIMESTAMPS: &str = "LogAppendTime";

/// Makes or checks the topic; answers with its partitions.
pub(super) async fn ensure(
    settings: &Arc<Settings>,
    reader: &Arc<Reader>,
    target: &KafkaTarget,
    limit: Duration,
) -> Result<u32, LogError> {
    let begun = Instant::now();
    if let Some(partitions) = reader.partitions(limit).await? {
        wanted(&target.topic, partitions, target.partitions)?;
        let admin = admin(settings)?;
        check(&admin, &target.topic).await?;
        return Ok(partitions);
    }
    create(&*admin(settings)?, target, limit).await?;
    // another process may have made it first, with other settings
    let partitions = appears(settings, reader, limit.saturating_sub(begun.elapsed())).await?;
    wanted(&target.topic, partitions, target.partitions)?;
    Ok(partitions)
}

/// Waits until a topic that was made is there; its partitions.
pub(super) async fn appears(settings: &Settings, reader: &Arc<Reader>, limit: Duration) -> Result<u32, LogError> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(partitions) = reader.partitions(limit).await? {
            return Ok(partitions);
        }
        if Instant::now() > deadline {
            return Err(settings.health.unreachable(format!("topic {} doesn't come up", settings.topic)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) fn admin(settings: &Settings) -> Result<Arc<AdminClient<Context>>, LogError> {
    settings.admin().create_with_context(Context(settings.health.clone())).map(Arc::new).map_err(failed)
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
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    let chosen = made_with(target.replication);
    let mut topic = NewTopic::new(&target.topic, partitions, TopicReplication::Fixed(replication));
    for (name, value) in &chosen {
        topic = topic.set(name, value);
    }
    make(admin, &topic, limit).await
}

/// Settings of a topic that is made here.
fn made_with(replication: Option<i32>) -> Vec<(&'static str, String)> {
    let mut chosen = vec![
        // the log is the truth: nothing in it ages, and nothing is compacted away
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", MESSAGE_BYTES.to_string()),
        // "when the log took it" must not hang on the senders' clocks
        ("message.timestamp.type", TIMESTAMPS.to_owned()),
    ];
    if let Some(copies) = replication {
        chosen.push(("min.insync.replicas", (copies - 1).max(1).to_string()));
    }
    chosen
}

/// Makes a topic; that another process was faster is as good.
pub(super) async fn make(admin: &AdminClient<Context>, topic: &NewTopic<'_>, limit: Duration) -> Result<(), LogError> {
    let options = AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit));
    let results = admin.create_topics([topic], &options).await.map_err(failed)?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(()),
        Some(Ok(_)) => {
            tracing::info!(log.topic = topic.name, log.partitions = topic.num_partitions, "made the topic");
            Ok(())
        }
        Some(Err((name, code))) => Err(LogError::Configuration(format!("topic {name} can't be made: {code}"))),
    }
}

/// A setting of the topic; nothing where the broker doesn't say.
pub(super) async fn setting(settings: &Settings, name: &str) -> Result<Option<String>, LogError> {
    let options = AdminOptions::new().request_timeout(Some(SETTINGS_TIMEOUT));
    let answer = admin(settings)?.describe_configs([&ResourceSpecifier::Topic(&settings.topic)], &options).await;
    let found = answer.ok().and_then(|mut answer| answer.pop()?.ok());
    Ok(found.and_then(|found| found.get(name)?.value.clone()))
}

/// Asks for the settings of a topic that somebody else made, and judges them.
async fn check(admin: &Arc<AdminClient<Context>>, topic: &str) -> Result<(), LogError> {
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
    let (asking, name) = (admin.clone(), topic.to_owned());
    let replication = tokio::task::spawn_blocking(move || replication(&asking, &name)).await.ok().flatten();
    for finding in judge(replication, |name| settings.get(name).and_then(|entry| entry.value.as_deref())) {
        match finding {
            Finding::Refuse(why) => return Err(LogError::Configuration(format!("topic {topic} {why}"))),
            Finding::Warn(why) => tracing::warn!(log.topic = topic, "the topic {why}"),
        }
    }
    Ok(())
}

/// The fewest copies that any partition has; `None` where the broker doesn't say.
fn replication(admin: &AdminClient<Context>, topic: &str) -> Option<usize> {
    let metadata = admin.inner().fetch_metadata(Some(topic), SETTINGS_TIMEOUT).ok()?;
    let partitions = metadata.topics().iter().find(|t| t.name() == topic)?.partitions();
    partitions.iter().map(|p| p.replicas().len()).min()
}

/// What is wrong with a topic's settings.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// Events would be lost, or could not be published.
    Refuse(String),
    /// The operator's to decide, and to know.
    Warn(String),
}

/// Judges a topic's settings. Compaction would delete all but the last event of a patient; a limited retention is the
/// operator's to decide, and so is how much is lost with a broker.
fn judge<'a>(replication: Option<usize>, value: impl Fn(&str) -> Option<&'a str>) -> Vec<Finding> {
    let number = |name| value(name).and_then(|v| v.parse::<usize>().ok());
    let mut found = Vec::new();
    if value("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        found.push(Finding::Refuse("is compacted, which deletes events".to_owned()));
    }
    if let Some(most) = number("max.message.bytes").filter(|most| *most < SENT_BYTES) {
        found.push(Finding::Refuse(format!(
            "takes messages of {most} bytes, and {SENT_BYTES} are sent: set its max.message.bytes to {MESSAGE_BYTES}"
        )));
    }
    for (name, forever) in [("retention.ms", "-1"), ("retention.bytes", "-1")] {
        if let Some(limit) = value(name).filter(|limit| *limit != forever) {
            found.push(Finding::Warn(format!("forgets events: {name} is {limit}, not {forever}")));
        }
    }
    if let Some(source) = value("message.timestamp.type").filter(|source| *source != TIMESTAMPS) {
        let why = format!("hangs on the senders' clocks: message.timestamp.type is {source}, not {TIMESTAMPS}");
        found.push(Finding::Warn(why));
    }
    match (replication, number("min.insync.replicas")) {
        (Some(copies), Some(needed)) if needed > copies => found.push(Finding::Refuse(format!(
            "takes no event: min.insync.replicas is {needed}, and its partitions have {copies} replicas"
        ))),
        (Some(copies), Some(needed)) if copies > 1 && needed == copies => found.push(Finding::Warn(format!(
            "takes no event while any broker is away: min.insync.replicas is {needed} of {copies} replicas"
        ))),
        (Some(copies), Some(1)) if copies > 1 => found.push(Finding::Warn(format!(
            "confirms events that one broker alone has: min.insync.replicas is 1 of {copies} replicas"
        ))),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Finding, judge, made_with};

    /// Judges a good topic of three replicas with some settings changed.
    fn with(replication: usize, changed: &[(&str, &'static str)]) -> Vec<Finding> {
        judge(Some(replication), |name| {
            let changed = changed.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            changed.or(match name {
                "cleanup.policy" => Some("delete"),
                "retention.ms" | "retention.bytes" => Some("-1"),
                "max.message.bytes" => Some("1048588"),
                "message.timestamp.type" => Some("LogAppendTime"),
                "min.insync.replicas" => Some("2"),
                _ => None,
            })
        })
    }

    fn refused(found: &[Finding], words: &str) -> bool {
        matches!(found, [Finding::Refuse(why)] if why.contains(words))
    }

    fn warned(found: &[Finding], words: &str) -> bool {
        matches!(found, [Finding::Warn(why)] if why.contains(words))
    }

    #[test]
    fn what_loses_events_is_refused_and_the_operators_choices_are_named() {
        assert_eq!(with(3, &[]), []);
        assert_eq!(judge(None, |_| None), [], "what a broker doesn't say is not judged");
        assert!(refused(&with(3, &[("cleanup.policy", "compact,delete")]), "compacted"));
        assert!(refused(&with(3, &[("max.message.bytes", "1000000")]), "max.message.bytes to 1048588"));
        assert!(refused(&with(3, &[("min.insync.replicas", "4")]), "min.insync.replicas is 4"));
        assert!(warned(&with(3, &[("min.insync.replicas", "3")]), "any broker is away"));
        assert!(warned(&with(3, &[("min.insync.replicas", "1")]), "one broker alone"));
        assert_eq!(with(1, &[("min.insync.replicas", "1")]), [], "one broker is what there is");
        assert!(warned(&with(3, &[("retention.ms", "604800000")]), "604800000"));
        assert!(warned(&with(3, &[("message.timestamp.type", "CreateTime")]), "LogAppendTime"));
    }

    /// The broker's own defaults would delete events after a week, and may confirm what one broker alone has.
    #[test]
    fn what_is_made_here_is_found_good() {
        for (replication, in_sync) in [(None, None), (Some(1), Some("1")), (Some(2), Some("1")), (Some(3), Some("2"))] {
            let made = made_with(replication);
            let value = |name: &str| made.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
            assert_eq!(value("cleanup.policy"), Some("delete"));
            assert_eq!((value("retention.ms"), value("retention.bytes")), (Some("-1"), Some("-1")));
            assert_eq!(value("message.timestamp.type"), Some("LogAppendTime"));
            assert_eq!(value("max.message.bytes"), Some("1048588"));
            assert_eq!(value("min.insync.replicas"), in_sync, "of {replication:?}");
            // with two copies one has to be enough, which is warned about: nothing else outlives a broker that goes
            if replication != Some(2) {
                assert_eq!(judge(replication.and_then(|n| usize::try_from(n).ok()), value), []);
            }
        }
    }
}
