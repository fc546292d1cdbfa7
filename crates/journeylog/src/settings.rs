//! Configuration: the compiled-in default, then a file, then `JOURNEYLOG_*`, then flags. Unknown keys are errors.

use anyhow::{Context as _, anyhow, ensure};
use domain::views::View;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The manual of every key.
pub const DEFAULT: &str = include_str!("../../../config.default.toml");
/// Variables of the test suites, which are no configuration.
const TEST_PREFIX: &str = "JOURNEYLOG_TEST_";
/// The key of the pseudonyms, which no configuration file holds.
const PSEUDONYM_KEY: &str = "JOURNEYLOG_PSEUDONYM_KEY";
/// Who operates, which is no configuration either.
pub const OPERATOR: &str = "JOURNEYLOG_OPERATOR";

/// See `config.default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub listen: String,
    pub log: Log,
    pub store: Store,
    pub ingest: Ingest,
    pub inbox: Inbox,
    pub site: Site,
    pub hl7: Hl7,
    pub projector: Projector,
    pub query: Query,
    pub follow_ups: FollowUps,
    pub mot: Mot,
    pub telemetry: Telemetry,
    pub shutdown: Shutdown,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub url: String,
    pub properties_file: String,
    pub instance_id: String,
    #[serde(default)]
    pub properties: HashMap<String, String>,
}

impl Log {
    /// Options of the log; reads `properties_file`, whose properties win.
    pub fn options(&self) -> anyhow::Result<eventlog::Options> {
        let mut properties: BTreeMap<String, String> = self.properties.clone().into_iter().collect();
        if !self.properties_file.is_empty() {
            let name = &self.properties_file;
            let text = std::fs::read_to_string(name).with_context(|| format!("log.properties_file {name}"))?;
            for (n, line) in (1..).zip(text.lines().map(str::trim)) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                // The line itself stays unsaid: it may hold a password.
                let (key, value) = line.split_once('=').with_context(|| format!("{name}, line {n}: no name=value"))?;
                properties.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        let instance_id = Some(self.instance_id.clone()).filter(|id| !id.is_empty());
        Ok(eventlog::Options { properties, instance_id, ..Default::default() })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub max_body_bytes: usize,
    pub max_line_bytes: usize,
    pub max_batch_events: usize,
    pub max_clock_skew_s: u32,
    pub recent_events: usize,
    pub max_in_flight_events: usize,
}

impl Ingest {
    /// `limits` with what is configured of them.
    pub fn ndjson(&self, mut limits: ingest::NdjsonLimits) -> ingest::NdjsonLimits {
        limits.line_bytes = self.max_line_bytes;
        limits.event.clock_skew = i64::from(self.max_clock_skew_s) * 1_000_000;
        limits
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    pub topic: String,
    pub refused_topic: String,
    pub with_all: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    pub file: String,
    pub pseudonym_key_file: String,
    pub staff_tokens_file: String,
}

impl Site {
    /// The site's rules and the key of the pseudonyms, where a site file is named; the key is needed then.
    pub fn pseudonyms(&self) -> anyhow::Result<Option<ingest::Pseudonyms>> {
        if self.file.is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("site.file {}", self.file))?;
        let site = ingest::Site::parse(&text).with_context(|| format!("site.file {}", self.file))?;
        let name = &self.pseudonym_key_file;
        let key = match name.is_empty() {
            true => std::env::var(PSEUDONYM_KEY)
                .with_context(|| format!("a site file needs site.pseudonym_key_file or {PSEUDONYM_KEY}"))?
                .into_bytes(),
            false => std::fs::read(name).with_context(|| format!("site.pseudonym_key_file {name}"))?,
        };
        Ok(Some(ingest::Pseudonyms::new(&key, std::sync::Arc::new(site))?))
    }

    /// The accounts that may look pseudonyms up, where a file names them.
    pub fn staff(&self) -> anyhow::Result<Option<ingest::pseudonyms::Staff>> {
        let name = &self.staff_tokens_file;
        if name.is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(name).with_context(|| format!("site.staff_tokens_file {name}"))?;
        let staff = ingest::pseudonyms::Staff::parse(&text);
        staff.map(Some).with_context(|| format!("site.staff_tokens_file {name}"))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hl7 {
    pub listen: String,
    pub tls_certificate_file: String,
    pub tls_key_file: String,
    pub quarantine: String,
    pub max_block_bytes: usize,
    pub max_connections: usize,
    pub max_in_flight: usize,
    pub idle_s: u64,
    pub block_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projector {
    pub group: String,
    pub workers: usize,
    pub batch_records: usize,
    pub verify_keys_per_s: f64,
}

/// Refuses a value that is out of its range, by its name.
fn within<T: PartialOrd + Display>(name: &str, value: T, range: RangeInclusive<T>) -> anyhow::Result<()> {
    ensure!(range.contains(&value), "{name} is {value}, and must be from {} to {}", range.start(), range.end());
    Ok(())
}

/// The same for all paths of one file, whether there is one yet or not.
fn resolved(file: &Path) -> std::io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    file.canonicalize().or_else(|e| match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => Err(e),
    })
}

impl Settings {
    /// Refuses what nobody can mean.
    pub fn check(&self) -> anyhow::Result<()> {
        // each connection would have one of its own
        ensure!(!self.store.url.contains(":memory:"), "store.url names a database in memory, and must name a file");
        within("ingest.max_in_flight_events", self.ingest.max_in_flight_events, 1..=10_000_000)?;
        within("projector.workers", self.projector.workers, 1..=256)?;
        within("projector.batch_records", self.projector.batch_records, 1..=1_000_000)?;
        within("projector.verify_keys_per_s", self.projector.verify_keys_per_s, 0.0..=1e6)?;
        within("shutdown.drain_limit_s", self.shutdown.drain_limit_s, 0..=86_400)?;
        if let (Ok(Some(log)), Some(store)) = (eventlog::file(&self.log.url), store::Store::file(&self.store.url))
            && let (Ok(log), Ok(store)) = (resolved(&log), resolved(&store))
        {
            ensure!(log != store, "log.url and store.url name one file, {}: each needs its own", log.display());
        }
        Ok(())
    }

    /// How a view is projected.
    pub fn project(&self, view: View) -> anyhow::Result<projector::Options> {
        let prefix = match (self.projector.group.as_str(), eventlog::topic(&self.log.url)?) {
            // Members of one group hold up each other's rebalances, even where they read other topics.
            ("", Some(topic)) => format!("journeylog-{topic}"),
            ("", None) => "journeylog".to_owned(),
            (prefix, _) => prefix.to_owned(),
        };
        Ok(projector::Options {
            group: format!("{prefix}-{}", view.as_str()),
            workers: self.projector.workers,
            batch: self.projector.batch_records,
            link: crate::telemetry::link(&self.telemetry),
            ..Default::default()
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    pub after_limit_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowUps {
    pub quiet_hours: [u32; 2],
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mot {
    pub standards_dir: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub filter: String,
    pub format: LogFormat,
    pub otlp_endpoint: String,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    pub drain_limit_s: u64,
}

/// Reads the settings.
pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> anyhow::Result<Settings> {
    let env: config::Map<String, String> =
        env.filter(|(k, _)| !k.starts_with(TEST_PREFIX) && k != OPERATOR && k != PSEUDONYM_KEY).collect();
    let mut builder = config::Config::builder().add_source(config::File::from_str(DEFAULT, config::FileFormat::Toml));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("configuration {}", path.display()))?;
        // What `config` says of a file that is no TOML holds a line of it.
        let parsed = toml::from_str::<toml::Table>(&text);
        parsed.map_err(|e| anyhow!("configuration {}: {}", path.display(), domain::toml_error::describe(&text, e)))?;
        builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
    }
    let env = config::Environment::with_prefix("JOURNEYLOG")
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true)
        .source(Some(env));
    builder
        .add_source(env)
        .build()
        .and_then(config::Config::try_deserialize)
        .context("configuration (see config.default.toml)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_default_is_complete() {
        let s = load(None, env(&[])).unwrap();
        assert_eq!(s.listen, "127.0.0.1:8080");
        assert_eq!(s.projector.batch_records, 5000);
    }

    #[test]
    fn installations_on_one_cluster_have_groups_of_their_own() {
        let group = |pairs: &[(&str, &str)]| load(None, env(pairs)).unwrap().project(View::Mot).unwrap().group;
        let url = ("JOURNEYLOG_LOG__URL", "kafka://k:9092/journeys");
        assert_eq!(group(&[url]), "journeylog-journeys-mot");
        assert_eq!(group(&[url, ("JOURNEYLOG_PROJECTOR__GROUP", "staging")]), "staging-mot");
    }

    #[test]
    fn the_example_of_a_site_is_one() {
        ingest::Site::parse(include_str!("../../../deploy/site.example.toml")).unwrap();
    }

    #[test]
    fn what_nobody_can_mean_is_refused_by_name() {
        load(None, env(&[])).unwrap().check().unwrap();
        for (name, wrong) in [
            ("ingest.max_in_flight_events", "0"),
            ("projector.workers", "0"),
            ("projector.workers", "100000"),
            ("projector.batch_records", "0"),
            ("projector.verify_keys_per_s", "-1"),
            ("projector.verify_keys_per_s", "nan"),
            ("projector.verify_keys_per_s", "inf"),
            ("shutdown.drain_limit_s", "1000000000000000000"),
        ] {
            let variable = format!("JOURNEYLOG_{}", name.to_uppercase().replace('.', "__"));
            let e = load(None, env(&[(&variable, wrong)])).unwrap().check().unwrap_err().to_string();
            assert!(e.contains(name) && e.contains("must be from"), "{e}");
        }
    }

    #[test]
    fn a_log_and_a_store_in_one_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one.db").display().to_string();
        std::os::unix::fs::symlink(&file, dir.path().join("other.db")).unwrap();
        let check = |store: &str| {
            let (log, store) =
                (format!("sqlite:{file}?partitions=4"), format!("sqlite:{}/{store}", dir.path().display()));
            load(None, env(&[("JOURNEYLOG_LOG__URL", &log), ("JOURNEYLOG_STORE__URL", &store)])).unwrap().check()
        };
        let refused = |store| check(store).unwrap_err().to_string().contains("one.db: each needs its own");
        assert!(refused("one.db") && refused("./one.db"));
        check("two.db").unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(refused("one.db") && refused("other.db"));
    }

    /// Somebody takes the events for the configuration, the mapping, …
    #[test]
    fn a_file_that_is_no_toml_is_refused_without_its_text() {
        let events = "# \n{\"patient_id\":\"p-17\"}\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), events).unwrap();
        for e in [
            format!("{:#}", load(Some(file.path()), env(&[])).unwrap_err()),
            ingest::Mapping::parse(events).unwrap_err().to_string(),
            ingest::Site::parse(events).unwrap_err().to_string(),
            domain::views::mot::Standards::parse(&[("x.toml", events)]).unwrap_err().to_string(),
        ] {
            assert!(e.contains("line 2") && !e.contains("p-17"), "{e}");
        }
    }

    #[test]
    fn a_site_needs_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("site.toml"), "zone = \"Asia/Seoul\"").unwrap();
        std::fs::write(at("key"), [7; 32]).unwrap();
        let mut site =
            Site { file: at("site.toml"), pseudonym_key_file: String::new(), staff_tokens_file: String::new() };
        let e = format!("{:#}", site.pseudonyms().unwrap_err());
        assert!(e.contains("JOURNEYLOG_PSEUDONYM_KEY"), "{e}");
        site.pseudonym_key_file = at("key");
        assert!(site.pseudonyms().unwrap().is_some());
        std::fs::write(at("key"), [7; 31]).unwrap();
        assert!(site.pseudonyms().is_err());
        std::fs::write(at("site.toml"), "zone = \"Asia/Soul\"").unwrap();
        let e = format!("{:#}", site.pseudonyms().unwrap_err());
        assert!(e.contains("zone"), "{e}");
    }

    #[test]
    fn the_environment_wins_and_unknown_keys_are_errors() {
        let s = load(
            None,
            env(&[
                ("JOURNEYLOG_LISTEN", "127.0.0.1:9"),
                ("JOURNEYLOG_LOG__URL", "sqlite:x"),
                ("JOURNEYLOG_TEST_KAFKA", "x"),
                ("HOME", "x"),
            ]),
        )
        .unwrap();
        assert_eq!((s.listen.as_str(), s.log.url.as_str()), ("127.0.0.1:9", "sqlite:x"));
        assert!(load(None, env(&[("JOURNEYLOG_LISTNE", "127.0.0.1:9")])).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[projector]\nworkres = 3\n").unwrap();
        let e = format!("{:#}", load(Some(file.path()), env(&[])).unwrap_err());
        assert!(e.contains("workres"), "{e}");
    }
    #[test]
    fn properties_of_kafka_come_through_and_passwords_from_a_file() {
        let (file, secrets) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(secrets.path(), "# SASL\nsasl.password = a=b\n\n").unwrap();
        let text = format!(
            "[log]\ninstance_id = \"p-1\"\nproperties_file = \"{}\"\n[log.properties]\n\"sasl.mechanisms\" = \"PLAIN\"\n",
            secrets.path().display()
        );
        std::fs::write(file.path(), text).unwrap();
        let options = load(Some(file.path()), env(&[])).unwrap().log.options().unwrap();
        assert_eq!(
            (options.properties["sasl.mechanisms"].as_str(), options.instance_id.as_deref()),
            ("PLAIN", Some("p-1"))
        );
        assert_eq!(options.properties["sasl.password"], "a=b");
        std::fs::write(secrets.path(), "hunter2\n").unwrap();
        let e = load(Some(file.path()), env(&[])).unwrap().log.options().unwrap_err().to_string();
        assert!(e.contains("line 1") && !e.contains("hunter2"), "{e}");
    }
}
