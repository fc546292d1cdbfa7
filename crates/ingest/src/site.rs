//! What a hospital says of itself and its senders: whose record numbers are the same, zones, departments, what its
//! triggers mean. One TOML file (`site.file` in the configuration; `deploy/site.example.toml` shows every key), checked at start
//! and shared by the protocols that aren't ours.

mod pseudonym;

pub use pseudonym::{KeyError, Pseudonyms};

use crate::hl7::{
    self,
    rules::{Hl7, Sender},
};
use chrono_tz::Tz;
use domain::{EventId, toml_error::describe};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Namespace of the ids of events that are adapted from another protocol.
const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x4f1d_0c7e_52b8_5b0e_8d6a_71c9_e3a4_90d2);

/// The id of the `index`th event of a sender's message: a resend gives the same one.
#[must_use]
pub fn event_id(sender: &str, message_id: &str, index: usize) -> EventId {
    EventId(uuid::Uuid::new_v5(&NAMESPACE, format!("{sender}\u{1f}{message_id}\u{1f}{index}").as_bytes()))
}

/// What is wrong with a site file.
#[derive(Debug, thiserror::Error)]
#[error("the site file is not valid: {0}")]
pub struct SiteError(String);

/// The site file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// IANA zone of times that come without offset, of senders that have no zone of their own.
    pub zone: Tz,
    /// The events' `site`, where a message names none.
    pub site: Option<String>,
    /// Who gives out record numbers.
    #[serde(default)]
    authorities: BTreeMap<String, Authority>,
    /// The hospital's names of departments, by the senders' codes.
    #[serde(default)]
    departments: BTreeMap<String, String>,
    /// What HL7 messages mean here.
    #[serde(default)]
    pub hl7: Hl7,
    /// Systems that send over HL7.
    #[serde(default)]
    pub senders: Vec<Sender>,
    /// What is said of FHIR's senders.
    #[serde(default)]
    pub fhir: crate::fhir::Rules,
}

/// Somebody who gives out record numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Authority {
    /// How it is called in messages: an HL7 namespace, an OID, a FHIR `system`.
    aliases: Vec<String>,
    /// Where a message has numbers of several authorities, that of the highest is the patient's.
    #[serde(default)]
    rank: i32,
}

impl Site {
    /// Reads a site file.
    ///
    /// # Errors
    /// When it has an unknown key or value, or says of one name that it is two authorities.
    pub fn parse(text: &str) -> Result<Self, SiteError> {
        let site: Self = toml::from_str(text).map_err(|e| SiteError(describe(text, e)))?;
        let mut seen = BTreeMap::new();
        for (name, authority) in &site.authorities {
            for alias in std::iter::once(name).chain(&authority.aliases) {
                if let Some(other) = seen.insert(bare(alias), name).filter(|o| *o != name) {
                    let what = format!("authorities: {alias:?} is both {other:?} and {name:?}");
                    return Err(SiteError(what));
                }
            }
        }
        hl7::rules::check(&site.hl7, &site.senders).map_err(SiteError)?;
        site.fhir.check().map_err(SiteError)?;
        Ok(site)
    }

    /// The one name of an authority, by any of the names that messages give it, and its rank; `None` where the site file
    /// doesn't know it.
    #[must_use]
    pub fn authority(&self, named: &str) -> Option<(&str, i32)> {
        let named = bare(named);
        let known =
            |(name, a): &(&String, &Authority)| bare(name) == named || a.aliases.iter().any(|o| bare(o) == named);
        self.authorities.iter().find(known).map(|(name, a)| (name.as_str(), a.rank))
    }

    /// The hospital's name of a department, by a sender's code; a code that isn't listed is the name.
    #[must_use]
    pub fn department<'a>(&'a self, code: &'a str) -> &'a str {
        self.known_department(code).unwrap_or(code)
    }

    /// The hospital's name of a department that the site file lists, by a sender's code or by that name.
    pub(crate) fn known_department(&self, code: &str) -> Option<&str> {
        let name = || self.departments.values().find(|name| *name == code);
        self.departments.get(code).or_else(name).map(String::as_str)
    }
}

/// An authority's name without what FHIR puts before an OID or a UUID that HL7 v2 writes plainly.
fn bare(name: &str) -> &str {
    let name = name.trim();
    name.strip_prefix("urn:oid:").or_else(|| name.strip_prefix("urn:uuid:")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = r#"
        zone = "Asia/Seoul"
        [authorities.main]
        aliases = ["HOSP", "1.2.3.4", "http://hospital.example/mrn"]
        rank = 1
        [authorities.national]
        aliases = ["urn:oid:1.2.9"]
        [departments]
        CARD = "cardiology"
    "#;

    #[test]
    fn an_authority_is_the_same_by_every_name() {
        let site = Site::parse(SITE).unwrap();
        for name in ["main", "HOSP", "1.2.3.4", "urn:oid:1.2.3.4", "http://hospital.example/mrn"] {
            assert_eq!(site.authority(name), Some(("main", 1)), "{name}");
        }
        assert_eq!(site.authority("1.2.9"), Some(("national", 0)));
        assert_eq!(
            (site.authority("other"), site.department("CARD"), site.department("ORTHO")),
            (None, "cardiology", "ORTHO")
        );
    }

    #[test]
    fn a_name_of_two_authorities_and_an_unknown_key_are_errors() {
        let twice = SITE.replace("1.2.9", "1.2.3.4");
        assert!(Site::parse(&twice).unwrap_err().to_string().contains("is both"));
        let e = Site::parse(&SITE.replace("rank", "rnak")).unwrap_err().to_string();
        assert!(e.contains("rnak"), "{e}");
    }
}
