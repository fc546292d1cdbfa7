//! What is answered: for each entry a status and an `OperationOutcome`, in the shape that the request asks for.

use super::bundle::{Entry, Mode, Plan};
use super::map;
use super::outcome::{self, Issue, Severity};
use crate::problem::Problem;
use crate::publisher::{Accepted, Prepared, Refusal};
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Of the extensions that an issue about an event has.
const EVENT_ID: &str = "urn:journeylog:event-id";
const POSITION: &str = "urn:journeylog:position";
const EVENT_TYPE: &str = "urn:journeylog:event-type";

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    New,
    Duplicate,
    Nothing,
    Refused,
    /// Nobody knows: to be sent again.
    Later,
}

/// Why a request can't be answered otherwise: an answer that is only an `OperationOutcome`.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    issues: Vec<Issue>,
    /// Seconds after which to send again, where that helps.
    retry_after: Option<u32>,
}

impl Failure {
    pub(super) const fn new(status: StatusCode, issues: Vec<Issue>) -> Self {
        Self { status, issues, retry_after: None }
    }

    /// The gateway has no site file.
    pub(super) fn not_set_up() -> Self {
        let reason = "FHIR is not set up here: the configuration's site.file names no site file";
        Self::new(StatusCode::NOT_FOUND, vec![Issue::new("not-supported", "", reason)])
    }

    /// To be sent again.
    pub(super) fn later(busy: bool, after_s: u32) -> Self {
        let (status, code, reason) = match busy {
            true => (StatusCode::TOO_MANY_REQUESTS, "throttled", "too much is under way; send again later"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "transient", "the log can't be reached; sending again is safe"),
        };
        Self { status, issues: vec![Issue::new(code, "", reason)], retry_after: Some(after_s) }
    }
}

/// The status of resources that are wrong: those that contradict their address were sent to the wrong one.
pub(super) fn wrong(issues: &[Issue]) -> StatusCode {
    let elsewhere = issues.first().is_some_and(|i| i.code == "invalid");
    if elsewhere { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY }
}

/// A body that can't be taken at all.
impl From<Issue> for Failure {
    fn from(issue: Issue) -> Self {
        let status = match issue.code {
            "structure" | "invalid" => StatusCode::BAD_REQUEST,
            "too-costly" => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, vec![issue])
    }
}

/// An address that can't be read.
impl From<PathRejection> for Failure {
    fn from(_: PathRejection) -> Self {
        Self::from(Issue::new("invalid", "", "the address is not UTF-8, percent-encoded"))
    }
}

/// A body that did not come as it should.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        if let Some(seconds) = problem.retry_after {
            return Self::later(true, seconds);
        }
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "too-long",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            _ => "structure",
        };
        Self::new(status, vec![Issue::new(code, "", problem.detail)])
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = body(self.status, &outcome::outcome(&self.issues));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn body(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, FHIR_JSON)], value.to_string()).into_response()
}

/// An entry with its answer.
struct Answered<'p> {
    entry: &'p Entry,
    became: Became,
    busy: bool,
    issues: Vec<Value>,
}

impl Answered<'_> {
    fn status(&self) -> StatusCode {
        match self.became {
            Became::New => StatusCode::CREATED,
            Became::Duplicate | Became::Nothing => StatusCode::OK,
            Became::Refused => self.entry.result.as_ref().err().map_or(StatusCode::UNPROCESSABLE_ENTITY, |i| wrong(i)),
            Became::Later if self.busy => StatusCode::TOO_MANY_REQUESTS,
            Became::Later => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn location(&self) -> Option<String> {
        let (name, version) = self.entry.location.as_ref().filter(|_| self.became != Became::Refused)?;
        Some(version.as_ref().map_or_else(|| name.clone(), |v| format!("{name}/_history/{v}")))
    }
}

/// Puts the publisher's answers to the entries that they are for.
fn answered<'p>(plan: &'p Plan, results: &[Result<Accepted, Refusal>]) -> Vec<Answered<'p>> {
    let one = |entry: &'p Entry| {
        let mut a = Answered { entry, became: Became::Nothing, busy: false, issues: Vec::new() };
        a.issues.extend(entry.nothing.iter().map(Issue::json));
        match &entry.result {
            Err(issues) => {
                a.became = Became::Refused;
                a.issues.extend(issues.iter().map(Issue::json));
            }
            Ok(events) => {
                for i in events.clone() {
                    let result = results.get(i).unwrap_or(&Err(Refusal::Unavailable));
                    let (became, issue) = of_event(&plan.prepared[i], result);
                    a.busy |= matches!(result, Err(Refusal::Busy));
                    a.became = worse(a.became, became);
                    a.issues.push(issue);
                }
            }
        }
        a
    };
    plan.entries.iter().map(one).collect()
}

/// What has to be said of two events of one resource.
fn worse(a: Became, b: Became) -> Became {
    let rank = |x: Became| match x {
        Became::Nothing => 0,
        Became::Duplicate => 1,
        Became::New => 2,
        Became::Refused => 3,
        Became::Later => 4,
    };
    if rank(b) > rank(a) { b } else { a }
}

fn of_event(event: &Prepared, result: &Result<Accepted, Refusal>) -> (Became, Value) {
    let kind = event.event().kind().as_str();
    let wrong = |code, reason: &str| Issue::new(code, "", format!("{kind}: {reason}")).json();
    let known = |became, position: Option<String>| {
        let words = if became == Became::New { "in the log" } else { "was in the log before" };
        let mut extension = vec![json!({"url": EVENT_ID, "valueString": event.id().to_string()})];
        extension.extend(position.map(|p| json!({"url": POSITION, "valueString": p})));
        json!({
            "extension": extension, "severity": Severity::Information, "code": "informational",
            "details": {"coding": [{"system": EVENT_TYPE, "code": kind}], "text": format!("{kind}: {words}")}
        })
    };
    match result {
        Ok(a) => {
            let became = if a.duplicate { Became::Duplicate } else { Became::New };
            (became, known(became, Some(format!("{}:{}", a.position.partition, a.position.offset))))
        }
        // The id names the state that was reached: it was told before, with other details.
        Err(Refusal::Conflict) => (Became::Duplicate, known(Became::Duplicate, None)),
        Err(Refusal::Busy | Refusal::Unavailable) => (Became::Later, wrong("transient", "not confirmed; send again")),
        Err(Refusal::Refused(_)) => (Became::Refused, wrong("too-costly", "is too large for the log")),
    }
}

/// The whole answer. `notified`: the sender is a subscription, which wants to hear no more than whether it arrived.
pub(super) fn respond(
    plan: &Plan,
    results: &[Result<Accepted, Refusal>],
    notified: bool,
    retry_after: u32,
) -> (Response, Vec<Became>) {
    let all = answered(plan, results);
    let became: Vec<Became> = all.iter().map(|a| a.became).collect();
    let lost = became.contains(&Became::Later);
    let whole = !matches!(plan.mode, Mode::Each) || notified || became.iter().all(|b| *b == Became::Later);
    if lost && whole {
        let busy = all.iter().any(|a| a.busy);
        return (Failure::later(busy, retry_after).into_response(), became);
    }
    let response = match plan.mode {
        Mode::Single => single(&all),
        _ if notified => notification(&all),
        Mode::Whole("message") => message(plan, &all),
        Mode::Whole(kind) => body(StatusCode::OK, &bundle(kind, &all)),
        Mode::Each => body(StatusCode::OK, &bundle("batch-response", &all)),
    };
    (response, became)
}

fn single(all: &[Answered<'_>]) -> Response {
    let Some(only) = all.first() else { return body(StatusCode::OK, &outcome::of(Vec::new())) };
    let mut response = body(only.status(), &outcome::of(only.issues.clone()));
    if let Some(location) = only.location().and_then(|l| HeaderValue::from_str(&format!("/fhir/{l}")).ok())
        && only.became == Became::New
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A server ends a subscription that is answered with an error. What could not be used is reported and doesn't hold up the
/// rest; only where nothing at all could be used the notification is refused.
fn notification(all: &[Answered<'_>]) -> Response {
    let refused = |a: &Answered<'_>| a.became == Became::Refused;
    let taken = |a: &Answered<'_>| matches!(a.became, Became::New | Became::Duplicate);
    let nothing = all.iter().any(refused) && !all.iter().any(taken);
    let mut issues: Vec<Value> = all.iter().flat_map(|a| a.issues.iter().cloned()).take(super::MOST_ISSUES).collect();
    if issues.is_empty() {
        issues.push(Issue::nothing("Bundle.entry", "it brings no resource").json());
    }
    let status = if nothing { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    body(status, &outcome::of(issues))
}

fn bundle(kind: &str, all: &[Answered<'_>]) -> Value {
    let entry = |a: &Answered<'_>| {
        let status = a.status();
        let words = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
        let mut response = json!({"status": words, "outcome": outcome::of(a.issues.clone())});
        if let Some(location) = a.location() {
            response["location"] = location.into();
        }
        json!({"response": response})
    };
    json!({"resourceType": "Bundle", "type": kind, "entry": all.iter().map(entry).collect::<Vec<_>>()})
}

/// A response message, which names the header of the one that it answers.
fn message(plan: &Plan, all: &[Answered<'_>]) -> Response {
    let issues = all.iter().flat_map(|a| a.issues.iter().cloned()).take(super::MOST_ISSUES).collect();
    let mut details = outcome::of(issues);
    details["id"] = "outcome".into();
    let header = json!({
        "resourceType": "MessageHeader", "eventUri": "urn:journeylog:taken", "source": {"endpoint": "urn:journeylog"},
        "response": {
            "identifier": plan.message, "code": "ok", "details": {"reference": "urn:journeylog:outcome"}
        }
    });
    let entries = json!([
        {"resource": header}, {"fullUrl": "urn:journeylog:outcome", "resource": details}
    ]);
    body(StatusCode::OK, &json!({"resourceType": "Bundle", "type": "message", "entry": entries}))
}

/// The `CapabilityStatement` that clients ask for before they send.
pub(super) fn capabilities(headers: &HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let version = if accepts.contains("fhirVersion=5.0") { "5.0.0" } else { "4.0.1" };
    let resource = |kind| json!({"type": kind, "interaction": [{"code": "create"}, {"code": "update"}]});
    let statement = json!({
        "resourceType": "CapabilityStatement", "status": "active", "date": "2026-11-22", "kind": "instance",
        "software": {"name": "Journeylog", "version": env!("CARGO_PKG_VERSION")}, "fhirVersion": version,
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Resources are taken as events of a journey; none can be read back.",
            "resource": map::KINDS.map(resource),
            "interaction": [{"code": "transaction"}, {"code": "batch"}]
        }]
    });
    body(StatusCode::OK, &statement)
}
