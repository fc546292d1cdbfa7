//! What an operator may change about the clients, and what not.

use super::Settings;
use crate::options::KafkaTarget;
use crate::{LogError, Options};
use rdkafka::config::ClientConfig;

fn settings(properties: &[(&str, &str)], instance_id: Option<&str>) -> Settings {
    given(properties, instance_id).unwrap()
}

fn given(properties: &[(&str, &str)], instance_id: Option<&str>) -> Result<Settings, LogError> {
    let target = KafkaTarget {
        brokers: "a:1,b:2".to_owned(),
        topic: "journeys".to_owned(),
        partitions: None,
        replication: None,
    };
    let options = Options {
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        instance_id: instance_id.map(str::to_owned),
        ..Options::default()
    };
    Settings::new(&target, &options)
}

/// Every client that there is beside the inbox's.
fn every(settings: &Settings) -> [(&'static str, ClientConfig); 5] {
    [
        ("producer", settings.producer()),
        ("reader", settings.reader()),
        ("scanner", settings.scanner()),
        ("consumer", settings.consumer("views")),
        ("admin", settings.admin()),
    ]
}

fn assert_has(who: &str, config: &ClientConfig, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(config.get(name), Some(*value), "{name} of the {who}");
    }
}

/// An event is confirmed once all replicas in sync have it, and is there once.
const DURABLE: [(&str, &str); 2] = [("acks", "all"), ("enable.idempotence", "true")];

/// Where a reader goes on is its own store's to say, and nothing of an aborted transaction is read.
const READING: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
];

#[test]
fn our_own_choices() {
    let settings = settings(&[], None);
    let producer = settings.producer();
    assert_has("producer", &producer, &DURABLE);
    assert_has("producer", &producer, &[("compression.type", "lz4"), ("message.timeout.ms", "30000")]);
    let consumer = settings.consumer("views");
    assert_has("consumer", &consumer, &READING);
    assert_has(
        "consumer",
        &consumer,
        &[
            ("group.id", "views"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            ("enable.partition.eof", "false"),
        ],
    );
    for (who, config) in [("reader", settings.reader()), ("scanner", settings.scanner())] {
        assert_has(who, &config, &READING);
        assert_has(who, &config, &[("group.id", "journeylog-reader"), ("enable.partition.eof", "true")]);
    }
    for (who, config) in every(&settings) {
        assert_has(who, &config, &[("bootstrap.servers", "a:1,b:2"), ("allow.auto.create.topics", "false")]);
    }
}

#[test]
fn what_correctness_hangs_on_is_not_the_operators_to_change() {
    for property in ["acks", "request.required.acks", "enable.auto.commit", "group.instance.id"] {
        let refused = given(&[("linger.ms", "20"), (property, "1")], None).err();
        assert!(matches!(&refused, Some(LogError::Configuration(why)) if why.contains(property)), "{refused:?}");
    }
}

#[test]
fn the_rest_is() {
    let changed = [("compression.type", "zstd"), ("linger.ms", "20"), ("message.timeout.ms", "2000")];
    assert_has("producer", &settings(&changed, None).producer(), &changed);
    let changed = [("session.timeout.ms", "45000"), ("queued.min.messages", "7")];
    assert_has("consumer", &settings(&changed, None).consumer("views"), &changed);
}

/// Under librdkafka's other name too, in the place of our own choice, not beside it.
#[test]
fn by_any_name() {
    let changed = [("compression.codec", "zstd"), ("queue.buffering.max.ms", "20"), ("delivery.timeout.ms", "2000")];
    let producer = settings(&changed, None).producer();
    assert_has("producer", &producer, &changed);
    for ours in ["compression.type", "linger.ms", "message.timeout.ms"] {
        assert_eq!(producer.get(ours), None, "{ours}");
    }
    // a scan has its own room, whatever a subscription has
    let scanner = settings(&[("fetch.message.max.bytes", "7")], None).scanner();
    assert_eq!(scanner.get("fetch.message.max.bytes"), None);
    assert_has("scanner", &scanner, &[("max.partition.fetch.bytes", "4194304")]);
}

/// One client without them could not connect, or would talk in the clear.
#[test]
fn security_reaches_every_client() {
    let security = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", "journeylog"),
        ("sasl.password", "geheim"),
        ("ssl.ca.location", "/etc/ca.pem"),
        ("ssl.certificate.location", "/etc/client.pem"),
        ("ssl.key.location", "/etc/client.key"),
        ("ssl.endpoint.identification.algorithm", "https"),
    ];
    for (who, config) in every(&settings(&security, None)) {
        assert_has(who, &config, &security);
    }
}

/// A second client under one name would put the first out of the group.
#[test]
fn the_name_of_a_member_is_the_consumers_alone() {
    for (who, config) in every(&settings(&[], Some("projector-1"))) {
        let wanted = (who == "consumer").then_some("projector-1");
        assert_eq!(config.get("group.instance.id"), wanted, "{who}");
    }
    assert_eq!(settings(&[], None).consumer("views").get("group.instance.id"), None);
}
