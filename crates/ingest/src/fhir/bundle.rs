//! Bundles and single resources: what each becomes, and what is answered for each.

use super::address::asked_for;
use super::appointments::{Appointments, Known};
use super::element::Element;
use super::map::{self, Mapped, Memory, Told};
use super::outcome::Issue;
use super::scope::Scope;
use super::{Limits, types};
use crate::publisher::Prepared;
use crate::site::Pseudonyms;
use domain::Micros;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;

/// How a request is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One resource.
    Single,
    /// All entries or none; the answer is a Bundle of this type.
    Whole(&'static str),
    /// Each entry by itself.
    Each,
}

/// What a request becomes, before anything of it is published.
pub(super) struct Plan {
    pub mode: Mode,
    pub entries: Vec<Entry>,
    pub prepared: Vec<Prepared>,
    /// What the memory of appointments will hold once it is published.
    pub changes: HashMap<u64, Known>,
    /// The id of a message's header.
    pub message: Option<String>,
}

/// What an entry becomes.
pub(super) struct Entry {
    /// `Type/id`, and the version.
    pub location: Option<(String, Option<String>)>,
    pub source: String,
    pub result: Result<Range<usize>, Vec<Issue>>,
    /// Why it is no event.
    pub nothing: Option<Issue>,
}

impl Entry {
    fn refused(source: &str, issues: Vec<Issue>) -> Self {
        let (location, source) = (None, source.to_owned());
        Self { location, source, result: Err(issues), nothing: None }
    }

    fn nothing(source: &str, issue: Issue) -> Self {
        Self { location: None, source: source.to_owned(), result: Ok(0..0), nothing: Some(issue) }
    }
}

/// What the request's address says of a single resource.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addressed<'a> {
    pub kind: Option<&'a str>,
    pub id: Option<&'a str>,
}

/// What a request is planned with.
pub(super) struct Planner<'p> {
    pub pseudonyms: &'p Pseudonyms,
    pub appointments: &'p Appointments,
    pub limits: &'p Limits,
    pub now: Micros,
}

impl Planner<'_> {
    /// What a body becomes.
    ///
    /// # Errors
    /// Why it can't be taken at all.
    pub(super) fn plan(&self, body: &Value, at: Addressed<'_>) -> Result<Plan, Issue> {
        let (root, kind) = Element::resource(body, "Resource")?;
        if at.kind.is_some_and(|k| k != kind) {
            return Err(Issue::new("invalid", "Resource.resourceType", "is not the type in the address"));
        }
        if kind == "Bundle" {
            return self.bundle(&root);
        }
        if let (Some(id), Some(own)) = (at.id, root.string("id")?)
            && id != own
        {
            return Err(Issue::new("invalid", format!("{}.id", root.path), "is not the id in the address"));
        }
        let scope = Scope::new(self.pseudonyms, self.now, None);
        let mut plan = Plan::new(Mode::Single);
        let mut memory = Memory { appointments: self.appointments, changes: HashMap::new() };
        let entry = self.resource(&scope, &mut plan.prepared, &mut memory, (root, kind), (None, at.id));
        plan.entries.push(entry);
        plan.changes = memory.changes;
        Ok(plan)
    }

    fn bundle(&self, root: &Element<'_>) -> Result<Plan, Issue> {
        let mode = match root.required("type")? {
            "transaction" => Mode::Whole("transaction-response"),
            "message" => Mode::Whole("message"),
            "batch" | "collection" | "document" | "history" | "searchset" | "subscription-notification" => Mode::Each,
            "transaction-response" | "batch-response" => {
                return Err(Issue::new("not-supported", "Bundle.type", "is an answer, not a request"));
            }
            _ => return Err(Issue::unknown_code("Bundle.type")),
        };
        let entries = root.each("entry");
        if entries.len() > self.limits.entries {
            let reason = format!("has more than {} entries", self.limits.entries);
            return Err(Issue::new("too-costly", "Bundle.entry", reason));
        }
        let site = self.pseudonyms.site();
        let mut scope = Scope::new(self.pseudonyms, self.now, root.time("timestamp", site.zone)?.map(|w| w.at));
        for e in &entries {
            if let Some(resource) = e.value.get("resource") {
                scope.add(resource, e.value.get("fullUrl").and_then(Value::as_str));
            }
        }
        // What a history tells was done elsewhere, by whatever method: the entry has what came of it.
        let past = matches!(root.string("type")?, Some("history" | "subscription-notification"));
        let mut plan = Plan::new(mode);
        if mode == Mode::Whole("message") {
            plan.message = Some(header_of(&entries)?);
        }
        let mut memory = Memory { appointments: self.appointments, changes: HashMap::new() };
        for e in &entries {
            let entry = self.entry(&scope, &mut plan.prepared, &mut memory, e, past);
            plan.entries.push(entry);
        }
        plan.changes = memory.changes;
        Ok(plan)
    }

    fn entry<'a>(
        &self,
        scope: &Scope<'a>,
        prepared: &mut Vec<Prepared>,
        memory: &mut Memory<'_>,
        e: &Element<'a>,
        past: bool,
    ) -> Entry {
        let source = &self.pseudonyms.site().fhir.source;
        let read = || -> Result<_, Issue> {
            let full_url = e.string("fullUrl")?;
            let request = match e.get("request") {
                Some(r) => (r.string("method")?, r.string("url")?, r.path),
                None => (None, None, e.path.clone()),
            };
            Ok((full_url, request))
        };
        let (full_url, (method, url, path)) = match read() {
            Ok(read) => read,
            Err(issue) => return Entry::refused(source, vec![issue]),
        };
        match method {
            None | Some("POST" | "PUT") => {}
            Some("DELETE") => {
                let reason = "a deletion; what never happened is told by the status entered-in-error";
                return Entry::nothing(source, Issue::nothing(path, reason));
            }
            // PATCH; GET of a subscription's state.
            Some(_) if past => {}
            Some(_) => {
                let reason = "only POST, PUT and DELETE are taken: there is nothing to read here";
                return Entry::refused(source, vec![Issue::new("not-supported", format!("{path}.method"), reason)]);
            }
        }
        let Some(resource) = e.get("resource") else {
            return Entry::refused(source, vec![e.missing("resource")]);
        };
        let typed = match Element::resource(resource.value, &resource.path) {
            Ok(typed) => typed,
            Err(issue) => return Entry::refused(source, vec![issue]),
        };
        if typed.1 == "Bundle" {
            let reason = "is a bundle inside a bundle: send it by itself";
            return Entry::refused(source, vec![Issue::new("not-supported", resource.path, reason)]);
        }
        let id = match url.filter(|_| matches!(method, Some("POST" | "PUT"))) {
            Some(url) => addressed(&typed, url, &path),
            None => Ok(None),
        };
        match id {
            // POST leaves the id to whoever keeps the resource.
            Ok(id) => self.resource(scope, prepared, memory, typed, (full_url, id.filter(|_| method == Some("PUT")))),
            Err(issue) => Entry::refused(source, vec![issue]),
        }
    }

    fn resource<'a>(
        &self,
        scope: &Scope<'a>,
        prepared: &mut Vec<Prepared>,
        memory: &mut Memory<'_>,
        (root, kind): (Element<'a>, &'a str),
        (full_url, id): (Option<&'a str>, Option<&'a str>),
    ) -> Entry {
        let default = &self.pseudonyms.site().fhir.source;
        if !types::known(kind) {
            let reason = "is no resource type of FHIR R4 or R5";
            return Entry::refused(
                default,
                vec![Issue::new("not-supported", format!("{}.resourceType", root.path), reason)],
            );
        }
        let path = root.path.clone();
        let unit = match scope.unit(root, kind, full_url, id) {
            Ok(unit) => unit,
            Err(issue) => return Entry::refused(default, vec![issue]),
        };
        let source = unit.source.to_owned();
        let version = unit.root.value.get("meta").and_then(|m| m.get("versionId")?.as_str()).map(str::to_owned);
        let location = Some((unit.name(), version));
        let (result, nothing) = match map::map(&unit, memory) {
            Ok(Mapped::Nothing(reason)) => (Ok(0..0), Some(Issue::nothing(path, reason))),
            Ok(Mapped::Events(told)) if told.len() > map::MOST_EVENTS => {
                let reason = format!("would become more than {} events", map::MOST_EVENTS);
                (Err(vec![Issue::new("too-costly", path, reason)]), None)
            }
            Ok(Mapped::Events(told)) => (self.prepare(told, &path, prepared), None),
            Err(issue) => (Err(vec![issue]), None),
        };
        Entry { location, source, result, nothing }
    }

    /// Checks a resource's events; none of them is kept where one is wrong.
    fn prepare(&self, told: Vec<Told>, resource: &str, out: &mut Vec<Prepared>) -> Result<Range<usize>, Vec<Issue>> {
        let begin = out.len();
        let mut issues = Vec::new();
        for Told { event, when } in told {
            let kind = event.kind().as_str();
            match Prepared::new(event, &self.limits.event, self.now) {
                Ok(event) => out.push(event),
                Err(fields) => issues.extend(fields.iter().map(|f| Issue::of_field(f, kind, resource, &when))),
            }
        }
        if issues.is_empty() {
            return Ok(begin..out.len());
        }
        out.truncate(begin);
        Err(issues)
    }
}

impl Plan {
    fn new(mode: Mode) -> Self {
        Self { mode, entries: Vec::new(), prepared: Vec::new(), changes: HashMap::new(), message: None }
    }

    /// All that is wrong, where that keeps everything else from being taken.
    pub(super) fn hindrance(&self) -> Option<Vec<Issue>> {
        if !matches!(self.mode, Mode::Whole(_)) {
            return None;
        }
        let wrong = self.entries.iter().enumerate().filter_map(|(i, e)| Some((i, e.result.as_ref().err()?)));
        let issues: Vec<Issue> = wrong
            .flat_map(|(i, issues)| issues.iter().map(move |issue| (i, issue)))
            .take(super::MOST_ISSUES)
            .map(|(i, issue)| issue.clone().within(i))
            .collect();
        (!issues.is_empty()).then_some(issues)
    }
}

/// The id in a request's address, which names the resource where it doesn't itself; it may not contradict it.
fn addressed<'a>((root, kind): &(Element<'a>, &str), url: &'a str, request: &str) -> Result<Option<&'a str>, Issue> {
    let contradicts = |what| {
        let reason = format!("names another {what} than the resource has");
        Err(Issue::new("invalid", format!("{request}.url"), reason))
    };
    let (asked, id) = asked_for(url);
    match (asked, id, root.string("id")?) {
        (Some(asked), ..) if asked != *kind => contradicts("type"),
        (_, Some(id), Some(own)) if id != own => contradicts("id"),
        _ => Ok(id),
    }
}

/// The id of a message's header, which must be its first entry.
fn header_of(entries: &[Element<'_>]) -> Result<String, Issue> {
    let first = entries.first().and_then(|e| e.get("resource"));
    let header = first.filter(|r| r.value.get("resourceType").and_then(Value::as_str) == Some("MessageHeader"));
    let missing = || Issue::new("required", "Bundle.entry[0].resource", "must be a MessageHeader");
    Ok(header.ok_or_else(missing)?.string("id")?.unwrap_or_default().to_owned())
}
