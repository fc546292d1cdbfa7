//! What an operator may change about the clients, and what not.

use super::{Health, Settings};
use crate::kafka::properties;
use crate::options::KafkaTarget;
use crate::{LogError, Options};
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The manual of all settings.
const MANUAL: &str = include_str!("../../../../../config.default.toml");
/// A scan has its own room, whatever a subscription has.
const SCANS_OWN: [&str; 4] =
    ["fetch.max.bytes", "max.partition.fetch.bytes", "queued.max.messages.kbytes", "queued.min.messages"];

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

/// Settings of an operator whom nobody refuses anything.
pub(in crate::kafka) fn unchecked(properties: BTreeMap<String, String>) -> Settings {
    Settings {
        brokers: "a:1".to_owned(),
        topic: "journeys".to_owned(),
        properties,
        instance_id: Some("projector-1".to_owned()),
        health: Arc::new(Health::of("a:1")),
    }
}

/// What a client sets whatever the operator says is refused, or the manual says that it is passed over.
pub(in crate::kafka) fn assert_refused(who: &str, passed_over: &[&str], make: impl Fn(Settings) -> ClientConfig) {
    const OPERATORS: &str = "4711";
    let ours = make(unchecked(BTreeMap::new()));
    let all: Vec<&str> = ours.config_map().into_keys().collect();
    let changed = all.iter().map(|name| ((*name).to_owned(), OPERATORS.to_owned())).collect();
    let changed = make(unchecked(changed));
    let fixed = all.into_iter().filter(|name| changed.get(name) != Some(OPERATORS));
    let taken = |name: &&str| properties::check(&[((*name).to_owned(), OPERATORS.to_owned())].into()).is_ok();
    assert_eq!(fixed.filter(taken).collect::<Vec<_>>(), passed_over, "{who}");
    for name in passed_over {
        assert!(MANUAL.contains(name), "the manual doesn't name {name}");
    }
}

#[test]
fn what_no_operator_can_change_is_refused() {
    for i in 0..every(&unchecked(BTreeMap::new())).len() {
        let who = every(&unchecked(BTreeMap::new()))[i].0;
        let own = if who == "scanner" { &SCANS_OWN[..] } else { &[] };
        assert_refused(who, own, |settings| every(&settings)[i].1.clone());
    }
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
