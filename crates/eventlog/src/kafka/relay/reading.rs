//! What comes out of the inbox's reader, and what doesn't any more.

use super::Member;
use crate::LogError;
use crate::kafka::batch::headers_of;
use crate::kafka::poll::sort;
use crate::relay::Incoming;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset};
use std::time::Duration;

/// How long the broker may take to say which records are gone.
const ASK: Duration = Duration::from_secs(5);

/// What an error of the reader means. A topic that was deleted may come back: no reason to end the process.
pub(super) fn sorted(error: KafkaError, inbox: &str) -> Result<(), LogError> {
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
            Err(LogError::Unavailable(format!("the topic {inbox} is gone")))
        }
        _ => sort(error),
    }
}

pub(super) fn incoming(message: &BorrowedMessage<'_>) -> Option<Incoming> {
    Some(Incoming {
        partition: u32::try_from(message.partition()).ok()?,
        offset: u64::try_from(message.offset()).ok()?,
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: headers_of(message).into_iter().map(|(name, value)| (name, Bytes::copy_from_slice(value))).collect(),
    })
}

/// Says loudly that records were deleted from the inbox before anybody took them: it stood still for longer than it keeps them.
pub(super) fn report_lost(consumer: &BaseConsumer<Member>, inbox: &str) {
    let committed = match consumer.committed(ASK) {
        Ok(committed) => committed,
        Err(error) => {
            tracing::debug!(error = %error, "how far the inbox was read is not known");
            return;
        }
    };
    for element in committed.elements() {
        let Offset::Offset(next) = element.offset() else { continue };
        // a broker that doesn't answer must not hold up the rest
        let Ok((first, _)) = consumer.fetch_watermarks(inbox, element.partition(), ASK) else { return };
        if first > next {
            let lost = u64::try_from(first - next).unwrap_or_default();
            metrics::counter!("inbox_lost_total").increment(lost);
            tracing::error!(
                log.topic = inbox,
                log.partition = element.partition(),
                records = lost,
                "the inbox has deleted records that nobody had taken"
            );
        }
    }
}
