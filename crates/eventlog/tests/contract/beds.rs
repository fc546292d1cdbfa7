//! Fresh logs on each backend.

use super::suite::{Bed, PARTITIONS};
use journeylog_eventlog::{Options, open};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::{SystemTime, UNIX_EPOCH};

pub async fn sqlite() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/log.db", folder.path().display());
    Bed::new(url, Options::default(), Box::new(folder)).await
}

pub type Cluster = Arc<MockCluster<'static, DefaultProducerContext>>;

/// A mock cluster of one broker, which knows no topic administration.
pub async fn mock() -> (Bed, Cluster) {
    let cluster = Arc::new(MockCluster::new(1).unwrap());
    cluster.create_topic("journeys", PARTITIONS.cast_signed(), 1).unwrap();
    let url = format!("kafka://{}/journeys", cluster.bootstrap_servers());
    let mut options = Options::default();
    options.properties.insert("session.timeout.ms".to_owned(), "3000".to_owned());
    (Bed::new(url, options, Box::new(())).await, cluster)
}

/// The real Kafka, where there is one.
pub fn brokers() -> Option<String> {
    static SAY: Once = Once::new();
    let brokers = std::env::var("JOURNEYLOG_TEST_KAFKA").ok().filter(|brokers| !brokers.is_empty());
    if brokers.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI has to set JOURNEYLOG_TEST_KAFKA=host:port");
        // past the capture of test output
        SAY.call_once(|| {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "SKIPPED real Kafka: JOURNEYLOG_TEST_KAFKA=host:port isn't set");
        });
    }
    brokers
}

fn topic() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("contract-{now}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A topic of its own on the real Kafka.
pub async fn real() -> Option<Bed> {
    let url = format!("kafka://{}/{}", brokers()?, topic());
    let mut options = Options::default();
    options.properties.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    Some(Bed::new(url, options, Box::new(())).await)
}

/// The URL of a topic on the real Kafka that somebody made with this setting.
pub async fn topic_with(setting: &str, value: &str) -> Option<String> {
    let (brokers, name) = (brokers()?, topic());
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set(setting, value);
    admin(&brokers).create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    Some(format!("kafka://{brokers}/{name}"))
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// What the real Kafka was told about a topic that came about by opening a log with these parameters, without its own
/// defaults.
pub async fn told(parameters: &str) -> Option<BTreeMap<String, String>> {
    let (brokers, name) = (brokers()?, topic());
    open(&format!("kafka://{brokers}/{name}?{parameters}"), &Options::default()).await.unwrap();
    let topic = ResourceSpecifier::Topic(&name);
    let mut answers = admin(&brokers).describe_configs([&topic], &AdminOptions::new()).await.unwrap();
    let entries = answers.remove(0).unwrap().entries;
    let told = entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    Some(told.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect())
}
