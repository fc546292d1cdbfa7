//! `[fhir]` of the site file: which servers send, and which questionnaires are feedback.

use domain::event::{Dimension, Role};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a site says of its FHIR senders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// The system of resources whose server isn't told.
    pub(super) source: String,
    /// Servers, and the base addresses under which their resources come.
    servers: BTreeMap<String, Vec<String>>,
    /// Questionnaires whose answers are feedback, by canonical address (without version).
    questionnaires: BTreeMap<String, Instrument>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { source: "fhir".into(), servers: BTreeMap::new(), questionnaires: BTreeMap::new() }
    }
}

/// A questionnaire that asks for feedback.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Instrument {
    /// Instrument and version, such as `csat/1`.
    pub instrument: String,
    /// What its items ask, by linkId; others are passed over.
    pub items: BTreeMap<String, Item>,
}

/// What an item asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    pub dimension: Dimension,
    pub role: Option<Role>,
    pub min: f64,
    pub max: f64,
    pub touchpoint: Option<String>,
}

impl Rules {
    /// Says which key contradicts another.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.source.trim().is_empty() {
            return Err("fhir.source: must not be empty".into());
        }
        let mut seen = BTreeMap::new();
        for (name, bases) in &self.servers {
            for base in bases.iter().map(|b| b.trim_end_matches('/')) {
                if let Some(other) = seen.insert(base, name) {
                    return Err(format!("fhir.servers: {base:?} is both {other:?} and {name:?}"));
                }
            }
        }
        for (url, q) in &self.questionnaires {
            if let Some((item, _)) = q.items.iter().find(|(_, i)| i.min >= i.max || !i.min.is_finite()) {
                return Err(format!("fhir.questionnaires.{url:?}.items.{item:?}: min must be less than max"));
            }
        }
        Ok(())
    }

    /// The name of the server that these addresses are of: a listed one's, else the first base itself, else
    /// [`Self::source`].
    pub(super) fn server<'a>(&'a self, base: Option<&'a str>, meta: Option<&str>) -> &'a str {
        let under = |url: &str, b: &str| {
            let rest = url.strip_prefix(b.trim_end_matches('/'));
            rest.is_some_and(|r| r.is_empty() || r.starts_with(['/', '#', '?']))
        };
        let listed = |url: &str| self.servers.iter().find(|(_, bases)| bases.iter().any(|b| under(url, b)));
        let known = base.and_then(listed).or_else(|| meta.and_then(listed));
        known.map(|(name, _)| name.as_str()).or(base).unwrap_or(&self.source)
    }

    /// The instrument of a questionnaire.
    pub(super) fn instrument(&self, canonical: &str) -> Option<&Instrument> {
        let url = canonical.split(['|', '#']).next().unwrap_or(canonical);
        self.questionnaires.get(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_one_name_by_every_base() {
        let rules: Rules = toml::from_str("[servers]\nehr = [\"https://ehr.example/fhir/\", \"urn:ehr\"]").unwrap();
        assert_eq!(rules.server(Some("https://ehr.example/fhir"), None), "ehr");
        assert_eq!(rules.server(None, Some("urn:ehr#42")), "ehr");
        assert_eq!(rules.server(Some("https://lab.example"), Some("urn:ehr")), "ehr");
        assert_eq!(rules.server(Some("https://ehr.example/fhir2"), None), "https://ehr.example/fhir2");
        assert_eq!(rules.server(None, Some("urn:other")), "fhir");
    }

    #[test]
    fn contradictions_are_named() {
        let twice: Rules = toml::from_str("[servers]\na = [\"https://x/\"]\nb = [\"https://x\"]").unwrap();
        assert!(twice.check().unwrap_err().contains("both"));
        let text = "[questionnaires.\"http://q\"]\ninstrument = \"i\"\nitems.q1 = { dimension = \"empathy\", min = 5, max = 5 }";
        assert!(toml::from_str::<Rules>(text).unwrap().check().unwrap_err().contains("q1"));
        assert!(toml::from_str::<Rules>("sauce = \"x\"").is_err());
    }
}
