//! What the resources of one request share, and which resource each of them is.

use super::address::{base_of, made_up};
use super::element::Element;
use super::outcome::Issue;
use super::reference::{Best, identifiers};
use super::rules::Rules;
use crate::site::{Pseudonyms, Site};
use domain::Micros;
use domain::parse::MOST_IDENTIFIER_BYTES;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;

/// Confidentiality (HL7 v3), as security labels say it.
const CONFIDENTIALITY: &[&str] = &["U", "L", "M", "N", "R", "V"];

/// What the resources of one request share.
pub(super) struct Scope<'a> {
    pub pseudonyms: &'a Pseudonyms,
    /// When the request came: the time of a change whose resource tells none.
    pub received: Micros,
    /// When the bundle was made.
    pub bundled: Option<Micros>,
    /// The bundle's resources by full address, and by `Type/id`.
    pub index: HashMap<&'a str, Placed<'a>>,
    /// Nothing where two servers have one.
    pub by_id: HashMap<(&'a str, &'a str), Option<Placed<'a>>>,
    /// Pseudonyms that were asked for already.
    known: RefCell<HashMap<(Person, String, String), String>>,
    /// The identifiers to go by of resources that were looked at.
    pub best: RefCell<HashMap<*const Value, Best>>,
    /// Whether requests that were looked at are referrals, or why that can't be told.
    pub referrals: RefCell<HashMap<*const Value, Result<bool, Issue>>>,
}

/// Whose number it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Person {
    Patient,
    Staff,
}

/// A resource and where it came from.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub resource: &'a Value,
    pub full_url: Option<&'a str>,
}

/// A resource that is mapped: who sent it, and which one it is.
pub(super) struct Unit<'a> {
    pub scope: &'a Scope<'a>,
    pub root: Element<'a>,
    pub kind: &'a str,
    /// The system that it comes from.
    pub source: &'a str,
    /// Its own id on that system.
    pub id: String,
    /// Whether the id is its own, rather than its place in the bundle, an identifier or its content.
    named: bool,
    /// Whether the system gave the id out, so that other resources may refer to it later.
    assigned: bool,
    /// Confidentiality codes of its security labels.
    pub confidentiality: Vec<String>,
    pub contained: HashMap<&'a str, &'a Value>,
    pub base: Option<&'a str>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(pseudonyms: &'a Pseudonyms, received: Micros, bundled: Option<Micros>) -> Self {
        let (index, by_id) = (HashMap::new(), HashMap::new());
        let (known, best, referrals) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { pseudonyms, received, bundled, index, by_id, known, best, referrals }
    }

    /// Makes a resource of the bundle known to references.
    pub(super) fn add(&mut self, resource: &'a Value, full_url: Option<&'a str>) {
        let placed = Placed { resource, full_url };
        if let Some(url) = full_url {
            self.index.entry(url).or_insert(placed);
        }
        let field = |name| resource.get(name).and_then(Value::as_str);
        if let (Some(kind), Some(id)) = (field("resourceType"), field("id")) {
            let there = self.by_id.entry((kind, id)).or_insert(Some(placed));
            if there.is_some_and(|t| t.full_url != full_url) {
                *there = None;
            }
        }
    }

    pub(super) fn site(&self) -> &'a Site {
        self.pseudonyms.site()
    }

    pub(super) fn rules(&self) -> &'a Rules {
        &self.site().fhir
    }

    /// The unit of a resource. `id`: what the request's address says.
    pub(super) fn unit(
        &'a self,
        root: Element<'a>,
        kind: &'a str,
        full_url: Option<&'a str>,
        id: Option<&'a str>,
    ) -> Result<Unit<'a>, Issue> {
        let base = full_url.and_then(base_of);
        let meta = match root.get("meta") {
            Some(meta) => meta.string("source")?,
            None => None,
        };
        let source = self.rules().server(base, meta);
        let own = root.string("id")?.or(id);
        if own.is_some_and(|id| id.len() > MOST_IDENTIFIER_BYTES) {
            return Err(Issue::too_long(format!("{}.id", root.path), MOST_IDENTIFIER_BYTES));
        }
        let named = own.is_some();
        let assigned = named && full_url.is_none_or(|u| !u.starts_with("urn:"));
        let id = match own.or_else(|| full_url.and_then(made_up)) {
            Some(id) => id.to_owned(),
            None => match identifiers(&root)?.first().filter(|_| !is_person(kind)) {
                Some((_, value, _)) => (*value).to_owned(),
                // Nobody named it: its content does.
                None => format!("{:016x}", xxhash_rust::xxh3::xxh3_64(root.value.to_string().as_bytes())),
            },
        };
        let (confidentiality, contained) = (labels(&root)?, contained(root.value));
        Ok(Unit { scope: self, kind, source, id, named, assigned, confidentiality, contained, base, root })
    }

    /// The pseudonym of a number; hashed once for a request.
    pub(super) fn pseudonym(&self, person: Person, authority: &str, number: &str) -> String {
        let key = (person, authority.to_owned(), number.to_owned());
        let mut known = self.known.borrow_mut();
        let make = || match person {
            Person::Staff => self.pseudonyms.staff(authority, number),
            Person::Patient => self.pseudonyms.patient(authority, number),
        };
        known.entry(key).or_insert_with(make).clone()
    }
}

impl Unit<'_> {
    /// `Type/id`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    /// Whether it has an id of its own, which the next bundle has too.
    pub(super) const fn is_named(&self) -> bool {
        self.named
    }

    /// Whether others may refer to it by nothing but its id.
    pub(super) const fn is_named_by_server(&self) -> bool {
        self.assigned
    }
}

/// Whether a resource is somebody: then its identifiers are record numbers, which no event may show.
fn is_person(kind: &str) -> bool {
    matches!(kind, "Patient" | "Person" | "RelatedPerson" | "Practitioner" | "PractitionerRole")
}

/// The confidentiality codes among a resource's security labels.
fn labels(root: &Element<'_>) -> Result<Vec<String>, Issue> {
    let mut all: Vec<String> = Vec::new();
    if let Some(meta) = root.get("meta") {
        for label in meta.codes("security")? {
            let known = label.code.filter(|c| CONFIDENTIALITY.contains(c) && !all.iter().any(|a| a == c));
            all.extend(known.map(str::to_owned));
        }
    }
    Ok(all)
}

/// The resources inside a resource, by their ids.
fn contained(root: &Value) -> HashMap<&str, &Value> {
    let all = root.get("contained").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|c| Some((c.get("id")?.as_str()?, c))).collect()
}
