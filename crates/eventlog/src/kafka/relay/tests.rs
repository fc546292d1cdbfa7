//! What an operator may change about the inbox's clients, and what not.

use super::{KafkaRelay, TRANSACTION_MS};
use crate::kafka::client::Settings;
use crate::kafka::client::tests::assert_refused;
use crate::kafka::member::PATIENCE;
use crate::options::{KafkaTarget, Options};
use crate::relay::RelayOptions;
use std::collections::BTreeMap;
use std::time::Duration;

/// The time of its transactions, and room for a record with the reason of its refusal.
const PRODUCERS_OWN: [&str; 2] = ["message.max.bytes", "message.timeout.ms"];

fn relay(properties: &[(&str, &str)]) -> KafkaRelay {
    let target =
        KafkaTarget { brokers: "a:1".to_owned(), topic: "journeys".to_owned(), partitions: None, replication: None };
    let options = Options {
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        instance_id: Some("inbox-1".to_owned()),
        ..Options::default()
    };
    of(Settings::new(&target, &options).unwrap())
}

fn of(settings: Settings) -> KafkaRelay {
    KafkaRelay {
        settings,
        names: RelayOptions {
            inbox: "in".to_owned(),
            refused: "no".to_owned(),
            group: "inbox".to_owned(),
            inbox_retention: Duration::from_secs(1),
            refused_retention: Duration::from_secs(1),
        },
        partitions: (1, 1),
        id: "inbox-inbox-1".to_owned(),
        clients: None,
        patience: PATIENCE,
        read: BTreeMap::new(),
        fenced: Vec::new(),
    }
}

#[test]
fn an_operator_changes_nothing_that_makes_it_exactly_once() {
    let relay = relay(&[("delivery.timeout.ms", "900000"), ("message.max.bytes", "1000")]);
    let (producer, consumer) = (relay.producer(), relay.consumer());
    for (name, value) in [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("transactional.id", "inbox-inbox-1"),
        ("transaction.timeout.ms", TRANSACTION_MS),
        ("message.timeout.ms", TRANSACTION_MS),
    ] {
        assert_eq!(producer.get(name), Some(value), "{name}");
    }
    assert_eq!(producer.get("delivery.timeout.ms"), None);
    assert_ne!(producer.get("message.max.bytes"), Some("1000"));
    for (name, value) in [
        ("group.id", "inbox"),
        ("group.instance.id", "inbox-1"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("partition.assignment.strategy", "range"),
    ] {
        assert_eq!(consumer.get(name), Some(value), "{name}");
    }
}

#[test]
fn what_no_operator_can_change_is_refused() {
    assert_refused("inbox's producer", &PRODUCERS_OWN, |settings| of(settings).producer());
    assert_refused("inbox's consumer", &[], |settings| of(settings).consumer());
}

#[test]
fn security_reaches_both_clients() {
    let security = [("security.protocol", "SSL"), ("ssl.ca.location", "/etc/ca.pem"), ("sasl.password", "geheim")];
    let relay = relay(&security);
    for config in [relay.producer(), relay.consumer()] {
        for (name, value) in security {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }
}
