//! What a log's URL says, and the options beside it.

use crate::LogError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Partitions of a new log when nothing else is said.
pub const DEFAULT_PARTITIONS: u32 = 12;

/// The most partitions a log may have.
const MAX_PARTITIONS: u32 = 1024;

/// Options of [`crate::open`] that a URL is no place for.
#[derive(Clone)]
pub struct Options {
    /// librdkafka properties, passed through as they are (`security.protocol`, `sasl.mechanism`, `ssl.ca.location`…).
    /// They win over our own choices; those that correctness hangs on (acks, idempotence, offsets) are refused.
    pub properties: BTreeMap<String, String>,
    /// Kafka's `group.instance.id`, unique among the members of a group: a member that comes back under the same id
    /// within the session time-out keeps its partitions, without a rebalance.
    pub instance_id: Option<String>,
    /// How long opening may take until the log counts as dead.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { properties: BTreeMap::new(), instance_id: None, connect_timeout: Duration::from_secs(10) }
    }
}

/// Names only: the properties may hold passwords.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("properties", &self.properties.keys())
            .field("instance_id", &self.instance_id)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file.
    Sqlite(SqliteTarget),
    /// A topic.
    Kafka(KafkaTarget),
}

/// A log in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqliteTarget {
    pub path: PathBuf,
    pub partitions: Option<u32>,
    /// Whether every commit reaches the disk before it is answered.
    pub full_sync: bool,
}

/// A log in a Kafka topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KafkaTarget {
    /// `host:port[,host:port]`.
    pub brokers: String,
    pub topic: String,
    pub partitions: Option<u32>,
    pub replication: Option<i32>,
}

/// Reads a log's URL.
///
/// # Errors
/// `Configuration`, saying what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Target, LogError> {
    let bad = |why: &str| LogError::Configuration(format!("the log's url: {why}"));
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let mut query = parameters(query)?;
    let partitions = number(&mut query, "partitions")?;
    if partitions.is_some_and(|n| n == 0 || n > MAX_PARTITIONS) {
        return Err(bad(&format!("partitions must be 1 to {MAX_PARTITIONS}")));
    }
    let target = if let Some(path) = rest.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path == ":memory:" {
            return Err(bad("sqlite needs the path of a file"));
        }
        let full_sync = match query.remove("synchronous") {
            None | Some("full") => true,
            Some("normal") => false,
            Some(_) => return Err(bad("synchronous is full or normal")),
        };
        Target::Sqlite(SqliteTarget { path: path.into(), partitions, full_sync })
    } else if let Some(rest) = rest.strip_prefix("kafka://") {
        let (brokers, topic) = rest.split_once('/').ok_or_else(|| bad("kafka://host:port/topic"))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) {
            return Err(bad("a topic has 1 to 249 letters, digits, '.', '_' or '-'"));
        }
        if brokers.is_empty() || brokers.split(',').any(str::is_empty) {
            return Err(bad("kafka needs host:port[,host:port]"));
        }
        let replication = number(&mut query, "replication")?
            .map(|n| {
                i32::try_from(n).ok().filter(|n| (1..=64).contains(n)).ok_or_else(|| bad("replication is 1 to 64"))
            })
            .transpose()?;
        Target::Kafka(KafkaTarget { brokers: brokers.to_owned(), topic: topic.to_owned(), partitions, replication })
    } else {
        return Err(bad("it begins with sqlite: or kafka://"));
    };
    match query.keys().next() {
        None => Ok(target),
        Some(name) => Err(bad(&format!("unknown parameter {name}"))),
    }
}

fn parameters(query: &str) -> Result<BTreeMap<&str, &str>, LogError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or(pair);
            pair.split_once('=')
                .ok_or_else(|| LogError::Configuration(format!("the log's url: parameter {name} has no value")))
        })
        .collect()
}

fn number(query: &mut BTreeMap<&str, &str>, name: &str) -> Result<Option<u32>, LogError> {
    query
        .remove(name)
        .map(|text| text.parse().map_err(|_| LogError::Configuration(format!("the log's url: {name} is a number"))))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::{KafkaTarget, Options, SqliteTarget, Target, parse};

    #[test]
    fn urls_are_read() {
        let sqlite = |path: &str, partitions, full_sync| {
            Target::Sqlite(SqliteTarget { path: path.into(), partitions, full_sync })
        };
        assert_eq!(parse("sqlite:/a/b.db?partitions=4").unwrap(), sqlite("/a/b.db", Some(4), true));
        assert_eq!(parse("sqlite:b.db?synchronous=normal").unwrap(), sqlite("b.db", None, false));
        assert_eq!(parse("sqlite:///a/b.db").unwrap(), sqlite("/a/b.db", None, true));
        assert_eq!(
            parse("kafka://a:1,b:2/journeys?replication=3&partitions=6").unwrap(),
            Target::Kafka(KafkaTarget {
                brokers: "a:1,b:2".to_owned(),
                topic: "journeys".to_owned(),
                partitions: Some(6),
                replication: Some(3)
            })
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for url in [
            "",
            "postgres://x",
            "sqlite:",
            "sqlite:x?partitions=0",
            "sqlite:x?partitions=a",
            "sqlite:x?a=b",
            "sqlite:x?a",
            "sqlite:x?synchronous=off",
            "kafka://",
            "kafka://h:1",
            "kafka://h:1/",
            "kafka:///t",
            "kafka://h:1,/t",
            "kafka://h:1/t t",
            "kafka://h:1/t?replication=0",
            "kafka://h:1/t?synchronous=full",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut options = Options::default();
        options.properties.insert("sasl.password".to_owned(), "geheim".to_owned());
        assert!(!format!("{options:?}").contains("geheim"));
    }
}
