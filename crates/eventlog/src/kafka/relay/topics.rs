//! The topics of an inbox: made where there are none, checked where there are.

use super::REASON_BYTES;
use crate::LogError;
use crate::kafka::admin;
use crate::kafka::client::Settings;
use crate::kafka::reader::Reader;
use crate::options::{KafkaTarget, Options};
use crate::relay::{MOST_COPIED_BYTES, RelayOptions};
use rdkafka::admin::{NewTopic, TopicReplication};
use std::sync::Arc;
use std::time::Duration;

/// Partitions of the log and of the topic of refused records.
pub(super) async fn ensure(log: &KafkaTarget, options: &Options, names: &RelayOptions) -> Result<(u32, u32), LogError> {
    let all = [&log.topic, &names.inbox, &names.refused];
    if all[0] == all[1] || all[1] == all[2] || all[0] == all[2] {
        return Err(LogError::Configuration("log, inbox and refused records need a topic each".to_owned()));
    }
    let limit = options.connect_timeout;
    let settings = Arc::new(Settings::new(log, options)?);
    let partitions = Arc::new(Reader::new(settings)?).partitions(limit).await?;
    let missing = || LogError::Configuration(format!("there is no topic {}", log.topic));
    let partitions = partitions.ok_or_else(missing)?;
    one(log, options, &names.inbox, partitions, names.inbox_retention, None).await?;
    let most = MOST_COPIED_BYTES + REASON_BYTES;
    let refused = one(log, options, &names.refused, partitions, names.refused_retention, Some(most)).await?;
    Ok((partitions, refused))
}

/// Makes or finds a topic; answers with its partitions.
async fn one(
    log: &KafkaTarget,
    options: &Options,
    topic: &str,
    partitions: u32,
    retention: Duration,
    message_bytes: Option<usize>,
) -> Result<u32, LogError> {
    let limit = options.connect_timeout;
    let settings = Arc::new(Settings::new(&KafkaTarget { topic: topic.to_owned(), ..log.clone() }, options)?);
    let reader = Arc::new(Reader::new(settings.clone())?);
    if let Some(partitions) = reader.partitions(limit).await? {
        let found = admin::setting(&settings, "max.message.bytes").await?.and_then(|v| v.parse::<usize>().ok());
        if let (Some(needed), Some(found)) = (message_bytes, found)
            && found < needed
        {
            let why = format!("topic {topic} takes messages of {found} bytes: set its max.message.bytes to {needed}");
            return Err(LogError::Configuration(why));
        }
        return Ok(partitions);
    }
    let (retention, bytes) = (retention.as_millis().to_string(), message_bytes.unwrap_or(0).to_string());
    let count = i32::try_from(partitions).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(log.replication.unwrap_or(-1));
    let mut new =
        NewTopic::new(topic, count, replication).set("cleanup.policy", "delete").set("retention.ms", &retention);
    if message_bytes.is_some() {
        new = new.set("max.message.bytes", &bytes);
    }
    admin::make(&*admin::admin(&settings)?, &new, limit).await?;
    admin::appears(&settings, &reader, limit).await
}
