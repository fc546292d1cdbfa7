//! The Kafka inbox and the registry of schemas, wired.

use crate::settings::Settings;
use anyhow::Context as _;
use axum::Router;
use eventlog::Log;
use eventlog::relay::{RelayOptions, open_relay};
use ingest::{Inbox, InboxSettings};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a new inbox keeps records. They are taken in milliseconds; this is for when nobody takes them.
const INBOX_RETENTION: Duration = DAY.saturating_mul(7);
/// How long a new topic of refused records keeps them: they hold what senders sent, patients' data too.
const REFUSED_RETENTION: Duration = DAY.saturating_mul(30);
/// Consumer groups of the readers of inboxes begin so; the topic follows.
const GROUP: &str = "journeylog";

/// The inbox beside a log.
pub async fn open(settings: &Settings, log: Arc<dyn Log>) -> anyhow::Result<Inbox> {
    let names = RelayOptions {
        inbox: settings.inbox.topic.clone(),
        refused: settings.inbox.refused_topic.clone(),
        group: format!("{GROUP}-{}", settings.inbox.topic),
        inbox_retention: INBOX_RETENTION,
        refused_retention: REFUSED_RETENTION,
    };
    let relay = open_relay(&settings.log.url, &settings.log.options()?, names).await.context("inbox")?;
    let event = settings.ingest.ndjson(ingest::NdjsonLimits::default()).event;
    let inbox =
        InboxSettings { topic: settings.inbox.topic.clone(), recent_events: settings.ingest.recent_events, event };
    Ok(Inbox::new(relay, log, inbox))
}

/// The registry's routes; its subjects are those of the inbox and of the log.
pub fn registry(settings: &Settings) -> anyhow::Result<Router> {
    let log = eventlog::topic(&settings.log.url).context("log")?;
    Ok(ingest::registry::router([Some(settings.inbox.topic.clone()), log].into_iter().flatten().collect()))
}
