//! The operator's librdkafka properties: none that the program sets itself, and each under one of its names.

use crate::LogError;
use rdkafka::config::ClientConfig;
use std::collections::BTreeMap;

/// librdkafka's two names of one property. Given both, it takes whichever it is told last, and a client's properties are in no order.
const ALIASES: [(&str, &str); 9] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("retries", "message.send.max.retries"),
];

const STORE: &str = "the store says where a reader goes on";
const INBOX: &str = "the inbox's transactions hang on it";
const MEMBERS: &str = "the hand-over of partitions hangs on it";

/// What the program sets itself, and why, or where else it is set.
const OWNED: [(&str, &str); 18] = [
    ("bootstrap.servers", "log.url names the brokers"),
    ("group.id", "projector.group names the groups"),
    ("group.instance.id", "log.instance_id sets it, for those clients that may have it"),
    ("group.protocol", MEMBERS),
    ("statistics.interval.ms", "a membership that hangs is noticed by it"),
    ("partition.assignment.strategy", MEMBERS),
    ("acks", "an event is confirmed once all replicas in sync have it"),
    ("enable.idempotence", "an event that is sent again must not be there twice"),
    ("delivery.report.only.error", "each append waits for its confirmation"),
    ("transactional.id", INBOX),
    ("transaction.timeout.ms", INBOX),
    ("isolation.level", "what a transaction aborted must not be read"),
    ("enable.auto.commit", STORE),
    ("auto.commit.enable", STORE),
    ("enable.auto.offset.store", STORE),
    ("auto.offset.reset", STORE),
    ("enable.partition.eof", "readers find the end of the log by it"),
    ("allow.auto.create.topics", "a topic made by the broker would not keep every event"),
];

/// Before a topic's property librdkafka also takes this: one more name of each.
const TOPIC: &str = "topic.";
/// Properties whose own names begin so.
const BEGIN_SO: [&str; 2] = ["topic.metadata.", "topic.blacklist"];

/// The other name of a property.
fn other(name: &str) -> Option<&'static str> {
    ALIASES.iter().find_map(|(alias, usual)| {
        if *alias == name {
            return Some(*usual);
        }
        (*usual == name).then_some(*alias)
    })
}

/// Sets a property, in the place of what it was set to under either name.
pub(super) fn set(config: &mut ClientConfig, name: &str, value: &str) {
    if let Some(other) = other(name) {
        config.remove(other);
    }
    config.set(name, value);
}

/// Refuses what isn't the operator's to set, and what is said twice.
///
/// # Errors
/// `Configuration`, which names the property, not its value.
pub(super) fn check(properties: &BTreeMap<String, String>) -> Result<(), LogError> {
    for (name, value) in properties {
        if let Some(plain) = name.strip_prefix(TOPIC).filter(|_| !BEGIN_SO.iter().any(|own| name.starts_with(own))) {
            return Err(LogError::Configuration(format!(
                "kafka's property {name} can't be set: its name here is {plain}"
            )));
        }
        let other = other(name);
        if let Some((owned, why)) = OWNED.iter().find(|(owned, _)| owned == name || Some(*owned) == other) {
            let also = if owned == name { String::new() } else { format!(" (another name of {owned})") };
            return Err(LogError::Configuration(format!("kafka's property {name}{also} can't be set: {why}")));
        }
        if let Some(other) = other.filter(|other| properties.get(*other).is_some_and(|said| said != value)) {
            let why = format!("kafka's properties {name} and {other} are the same one, and have two values");
            return Err(LogError::Configuration(why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ALIASES, OWNED, check, set};
    use crate::LogError;
    use rdkafka::config::ClientConfig;
    use std::collections::BTreeMap;

    fn said(properties: &[(&str, &str)]) -> Result<(), String> {
        let all: BTreeMap<_, _> = properties.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        check(&all).map_err(|error| match error {
            LogError::Configuration(why) => why,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn what_the_program_sets_is_refused_under_every_name() {
        for (name, why) in OWNED {
            let error = said(&[("linger.ms", "5"), (name, "geheim")]).unwrap_err();
            assert!(error.contains(name) && error.contains(why) && !error.contains("geheim"), "{error}");
        }
        for (alias, name) in [("request.required.acks", "acks"), ("metadata.broker.list", "bootstrap.servers")] {
            let error = said(&[(alias, "1")]).unwrap_err();
            assert!(error.contains(alias) && error.contains(name), "{error}");
        }
        assert!(said(&[("group.instance.id", "a")]).unwrap_err().contains("log.instance_id"));
    }

    #[test]
    fn a_name_with_topic_before_it_is_refused() {
        let error = said(&[("topic.acks", "geheim")]).unwrap_err();
        assert!(error.contains("topic.acks") && error.contains("is acks") && !error.contains("geheim"), "{error}");
        assert_eq!(said(&[("topic.metadata.refresh.interval.ms", "5000"), ("topic.blacklist", "^x")]), Ok(()));
    }

    #[test]
    fn one_property_has_one_value() {
        assert_eq!(said(&[("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "PLAIN"), ("linger.ms", "5")]), Ok(()));
        let error = said(&[("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "GSSAPI")]).unwrap_err();
        assert!(error.contains("sasl.mechanism and sasl.mechanisms") && !error.contains("GSSAPI"), "{error}");
        for (alias, name) in ALIASES {
            for (first, then) in [(alias, name), (name, alias)] {
                let mut config = ClientConfig::new();
                set(&mut config, first, "1");
                set(&mut config, then, "2");
                assert_eq!((config.get(first), config.get(then)), (None, Some("2")));
            }
        }
    }

    /// The manual names these ways to connect.
    #[test]
    fn tls_and_sasl_are_built_in() {
        let features = ClientConfig::new().create_native_config().unwrap().get("builtin.features").unwrap();
        for feature in ["ssl", "sasl_plain", "sasl_scram"] {
            assert!(features.split(',').any(|f| f == feature), "{feature} is not among {features}");
        }
    }

    /// Asked of librdkafka: what is set by one name is what it has under the other.
    #[test]
    fn aliases_are_librdkafkas() {
        for (alias, name) in ALIASES {
            let value = match name {
                "compression.type" => "gzip",
                "sasl.mechanisms" => "PLAIN",
                _ => "4321",
            };
            // acks has a range of its own
            let value = if name == "acks" { "1" } else { value };
            let mut config = ClientConfig::new();
            config.set(alias, value);
            assert_eq!(config.create_native_config().unwrap().get(name).unwrap(), value, "{alias}");
        }
    }
}
