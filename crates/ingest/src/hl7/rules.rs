//! What a site file says about HL7: `[hl7]` for all senders, `[[senders]]` for single ones (`deploy/site.example.toml`).

use super::text::Charset;
use chrono_tz::Tz;
use domain::event::Grantee;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;

/// What ADT^A04 (register a patient) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum A04 {
    /// The patient is here.
    CheckedIn,
    /// A visit is asked for, as with A05.
    Requested,
    /// The patient stays, as with A01.
    Admitted,
}

/// What a consent type (CON-2) is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The event's `scope`, such as `share_records` or `advertising`.
    pub scope: String,
    /// Whom it concerns.
    pub grantee: Grantee,
}

/// `[hl7]`: holds for senders that say nothing else.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hl7 {
    /// What ADT^A04 means.
    pub a04: A04,
    /// Processing ids (MSH-11) that are taken: P production, D debugging, T training.
    pub processing: Vec<String>,
    /// ISO 4217 code of amounts that name no currency.
    #[serde(deserialize_with = "currency")]
    pub currency: Option<String>,
    /// Codes of SCH-6 that say that the patient wanted the change.
    pub by_patient: Vec<String>,
    /// Codes of SCH-6 that say that the hospital wanted it.
    pub by_hospital: Vec<String>,
    /// The events' `disposition` by PV1-36, before HL7's own table 0112.
    pub dispositions: BTreeMap<String, String>,
    /// Consents by CON-2.
    pub consents: BTreeMap<String, Consent>,
}

impl Default for Hl7 {
    fn default() -> Self {
        let list = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        Self {
            a04: A04::CheckedIn,
            processing: list(&["P", "D", "T"]),
            currency: None,
            by_patient: list(&["PAT", "PATIENT"]),
            by_hospital: list(&["PROV", "PROVIDER", "HOSP", "HOSPITAL"]),
            dispositions: BTreeMap::new(),
            consents: BTreeMap::new(),
        }
    }
}

fn currency<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let code = String::deserialize(d)?;
    let known = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    if known { Ok(Some(code)) } else { Err(de::Error::custom("not an ISO 4217 code, such as KRW")) }
}

/// One of `[[senders]]`: a system that sends over HL7.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// The first component of MSH-3.
    pub application: String,
    /// The first component of MSH-4; without it, whatever that is.
    pub facility: Option<String>,
    /// IANA zone of times that come without offset.
    pub zone: Option<Tz>,
    /// Character set of messages whose MSH-18 is empty.
    pub charset: Option<Charset>,
    /// Whose the record numbers are that name no authority.
    pub authority: Option<String>,
    /// What ADT^A04 means from there.
    pub a04: Option<A04>,
    /// ISO 4217 code of amounts that name no currency.
    #[serde(default, deserialize_with = "currency")]
    pub currency: Option<String>,
}

/// Two rules of a site file contradict each other.
pub(crate) fn check(rules: &Hl7, senders: &[Sender]) -> Result<(), String> {
    for (i, a) in senders.iter().enumerate() {
        if a.application.trim().is_empty() {
            return Err("senders: an application is empty".into());
        }
        if senders[..i].iter().any(|b| (&b.application, &b.facility) == (&a.application, &a.facility)) {
            return Err(format!("senders: {:?} is there twice", a.application));
        }
    }
    if let Some(code) = rules.by_patient.iter().find(|c| rules.by_hospital.contains(c)) {
        return Err(format!("hl7: {code:?} is in by_patient and in by_hospital"));
    }
    Ok(())
}

/// The rules of one sender.
pub(crate) fn of<'a>(senders: &'a [Sender], application: &str, facility: &str) -> Option<&'a Sender> {
    let named = |s: &&Sender| s.application == application;
    let exact = senders.iter().filter(named).find(|s| s.facility.as_deref() == Some(facility));
    exact.or_else(|| senders.iter().filter(named).find(|s| s.facility.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        hl7: Hl7,
        #[serde(default)]
        senders: Vec<Sender>,
    }

    #[test]
    fn the_sender_with_its_facility_then_the_one_without() {
        let file: File = toml::from_str(
            "[[senders]]\napplication = \"LAB\"\nzone = \"Asia/Seoul\"\n[[senders]]\napplication = \"LAB\"\nfacility = \"B\"\n\
             charset = \"EUC-KR\"\na04 = \"requested\"\n[hl7]\ncurrency = \"KRW\"",
        )
        .unwrap();
        assert_eq!(of(&file.senders, "LAB", "A").unwrap().zone, Some(chrono_tz::Asia::Seoul));
        assert_eq!(of(&file.senders, "LAB", "B").unwrap().a04, Some(A04::Requested));
        assert!(of(&file.senders, "RIS", "B").is_none());
        assert_eq!(file.hl7.currency.as_deref(), Some("KRW"));
        assert_eq!(check(&file.hl7, &file.senders), Ok(()));
    }

    #[test]
    fn what_contradicts_itself_or_is_unknown_is_told() {
        let read = |text: &str| toml::from_str::<File>(text).map_err(|e| e.to_string());
        for (text, what) in [
            ("[[senders]]\napplication = \"A\"\ncharset = \"KLINGON\"", "character set"),
            ("[[senders]]\napplication = \"A\"\ncharset = \"UTF-16\"", "character set"),
            ("[[senders]]\napplication = \"A\"\nzone = \"Moon/Sea\"", "zone"),
            ("[hl7]\na04 = \"nothing\"", "a04"),
            ("[hl7]\ncurrency = \"won\"", "4217"),
            ("[hl7]\nretries = 1", "retries"),
        ] {
            let e = read(text).err().unwrap();
            assert!(e.contains(what), "{e}");
        }
        let twice = read("[[senders]]\napplication = \"A\"\n[[senders]]\napplication = \"A\"").unwrap();
        assert!(check(&twice.hl7, &twice.senders).unwrap_err().contains("twice"));
        let both = read("[hl7]\nby_patient = [\"X\"]\nby_hospital = [\"X\"]").unwrap();
        assert!(check(&both.hl7, &both.senders).unwrap_err().contains("by_patient"));
    }
}
