//! FHIR R4 and R5 over HTTP: Bundles, single resources and subscription notifications. `docs/publishing/fhir.md` is the
//! sender's manual.
//!
//! No resource is kept: each is mapped to events (`map`) whose ids are derived from the resource and the state that it
//! tells, so that whatever is sent again is recognised by the publisher and the views.

mod address;
mod answer;
mod appointments;
mod bundle;
mod element;
mod map;
mod outcome;
mod reference;
mod rules;
mod scope;
mod types;

pub use rules::Rules;

use crate::http::{BODIES_COMING, read};
use crate::intake::{self, Outcome, Protocol};
use crate::problem::Problem;
use crate::publisher::Publisher;
use answer::{Became, Failure};
use appointments::Appointments;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State, rejection::PathRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bundle::{Addressed, Plan, Planner};
use bytes::Bytes;
use domain::Event;
use outcome::Issue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Issues in one `OperationOutcome` about a whole request.
const MOST_ISSUES: usize = 100;
/// Bodies larger than this are read and mapped beside the tasks that serve connections, bytes.
const LARGE_BODY: usize = 64 << 10;
/// Bodies under way at a time, as multiples of the largest: what they become takes about ten times their bytes.
const BODIES_UNDER_WAY: usize = 4;
/// Appointments whose last state is remembered; each patient of a group's counts, twice where the Patient is sent as well.
const RECENT_APPOINTMENTS: usize = 50_000;

/// Limits of the FHIR end points.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body, bytes.
    pub body_bytes: usize,
    /// How long a body may take to come.
    pub body_time: Duration,
    /// Most entries in a Bundle.
    pub entries: usize,
    /// Seconds in `Retry-After`.
    pub retry_after: u32,
    /// Limits of each event.
    pub event: domain::parse::Limits,
}

impl Limits {
    /// The gateway's limits, as far as they concern FHIR.
    #[must_use]
    pub const fn of(gateway: &crate::http::Limits) -> Self {
        Self {
            body_bytes: gateway.body_bytes,
            body_time: gateway.body_time,
            entries: gateway.array_events,
            retry_after: gateway.retry_after,
            event: gateway.ndjson.event,
        }
    }
}

/// What the FHIR handlers share.
#[derive(Debug)]
pub struct Fhir {
    publisher: Arc<Publisher>,
    limits: Limits,
    /// Bytes of bodies that are coming, and of those under way.
    coming: Semaphore,
    room: Semaphore,
    appointments: Appointments,
}

impl Fhir {
    /// End points that publish what they are sent; where the publisher has no pseudonyms they refuse everything and say what
    /// is missing.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, limits: Limits) -> Self {
        let room = Semaphore::new((BODIES_UNDER_WAY * limits.body_bytes).min(Semaphore::MAX_PERMITS));
        let coming = Semaphore::new((BODIES_COMING * limits.body_bytes).min(Semaphore::MAX_PERMITS));
        Self { publisher, limits, coming, room, appointments: Appointments::new(RECENT_APPOINTMENTS) }
    }

    /// Learns from an event that is in the log, so that an appointment that moves after a restart is known to have moved.
    /// Those of one patient come in order.
    pub fn learn(&self, event: &Event) {
        self.appointments.learn(event);
    }
}

/// The routes under `/fhir`.
pub fn router(fhir: Arc<Fhir>) -> Router {
    Router::new()
        .route("/fhir", post(send))
        .route("/fhir/", post(send))
        .route("/fhir/metadata", get(|headers: HeaderMap| async move { answer::capabilities(&headers) }))
        .route("/fhir/notifications", post(notify))
        .route("/fhir/notifications/{kind}/{id}", put(update).delete(delete))
        .route("/fhir/$process-message", post(send))
        .route("/fhir/{kind}", post(create))
        .route("/fhir/{kind}/{id}", put(update).delete(delete))
        .with_state(fhir)
}

/// What a request is about.
#[derive(Default)]
struct Request {
    kind: Option<String>,
    id: Option<String>,
    notified: bool,
}

/// Send a Bundle or a resource
///
/// Bundles of type transaction and message are taken whole or not at all; of any other type (batch, collection, document,
/// history, searchset, subscription-notification) each entry by itself. What is answered as taken is durable.
#[utoipa::path(
    post, path = "/fhir", tag = "fhir",
    request_body(content = Object, content_type = "application/fhir+json", description = "A Bundle or a resource, R4 or R5"),
    responses(
        (status = 200, description = "The answer to a Bundle, or an OperationOutcome for a resource that brought nothing new", body = Object, content_type = "application/fhir+json"),
        (status = 201, description = "The resource's events are in the log", body = Object, content_type = "application/fhir+json"),
        (status = 400, description = "Not JSON, or not FHIR", body = Object, content_type = "application/fhir+json"),
        (status = 404, description = "FHIR is not set up: there is no site file", body = Object, content_type = "application/fhir+json"),
        (status = 413, description = "The body is too large", body = Object, content_type = "application/fhir+json"),
        (status = 415, description = "Not application/fhir+json", body = Object, content_type = "application/fhir+json"),
        (status = 422, description = "An OperationOutcome with the FHIRPath of what is wrong; nothing was published", body = Object, content_type = "application/fhir+json"),
        (status = 429, description = "Too much is under way; see Retry-After", body = Object, content_type = "application/fhir+json"),
        (status = 503, description = "The log can't be reached; see Retry-After", body = Object, content_type = "application/fhir+json")
    )
)]
async fn send(State(fhir): State<Arc<Fhir>>, headers: HeaderMap, body: Body) -> Response {
    handle(fhir, Request::default(), &headers, body).await
}

/// Send a resource to its type
#[utoipa::path(
    post, path = "/fhir/{kind}", tag = "fhir",
    params(("kind" = String, Path, description = "The resource type")),
    request_body(content = Object, content_type = "application/fhir+json"),
    responses((status = "default", description = "As `POST /fhir`", body = Object, content_type = "application/fhir+json"))
)]
async fn create(
    State(fhir): State<Arc<Fhir>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Path(kind) = path?;
    Ok(handle(fhir, Request { kind: Some(kind), ..Request::default() }, &headers, body).await)
}

/// Send a version of a resource
#[utoipa::path(
    put, path = "/fhir/{kind}/{id}", tag = "fhir",
    params(("kind" = String, Path, description = "The resource type"), ("id" = String, Path, description = "Its id")),
    request_body(content = Object, content_type = "application/fhir+json"),
    responses((status = "default", description = "As `POST /fhir`", body = Object, content_type = "application/fhir+json"))
)]
async fn update(
    State(fhir): State<Arc<Fhir>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Path((kind, id)) = path?;
    Ok(handle(fhir, Request { kind: Some(kind), id: Some(id), notified: false }, &headers, body).await)
}

/// A deletion tells no step of a journey.
async fn delete() -> Failure {
    let reason = "a deletion; what never happened is told by the status entered-in-error";
    Failure::new(StatusCode::OK, vec![Issue::nothing("", reason)])
}

/// Take a subscription's notification
///
/// R5 and R4-backport notification Bundles, and the bare resource of an R4 rest-hook. A notification is answered with 200
/// where anything of it could be used; what could not is in the OperationOutcome.
#[utoipa::path(
    post, path = "/fhir/notifications", tag = "fhir",
    request_body(content = Object, content_type = "application/fhir+json"),
    responses((status = "default", description = "An OperationOutcome; statuses as of `POST /fhir`", body = Object, content_type = "application/fhir+json"))
)]
async fn notify(State(fhir): State<Arc<Fhir>>, headers: HeaderMap, body: Body) -> Response {
    handle(fhir, Request { notified: true, ..Request::default() }, &headers, body).await
}

async fn handle(fhir: Arc<Fhir>, request: Request, headers: &HeaderMap, body: Body) -> Response {
    taken(&fhir, request, headers, body).await.unwrap_or_else(IntoResponse::into_response)
}

async fn taken(fhir: &Arc<Fhir>, request: Request, headers: &HeaderMap, body: Body) -> Result<Response, Failure> {
    if fhir.publisher.pseudonyms().is_none() {
        return Err(Failure::not_set_up());
    }
    if !is_fhir_json(headers) {
        let reason = "send application/fhir+json, in UTF-8 and without a content coding";
        let issue = Issue::new("not-supported", "", reason);
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, vec![issue]));
    }
    let Limits { body_bytes, body_time, retry_after, .. } = fhir.limits;
    let slow = |_| Problem::too_slow(format!("the body did not come within {body_time:?}"));
    let text = tokio::time::timeout(body_time, read(headers, body, body_bytes, &fhir.coming)).await.map_err(slow)??;
    let permits = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let _room = fhir.room.try_acquire_many(permits).map_err(|_| Failure::later(true, retry_after))?;
    let notified = request.notified;
    let plan = if text.len() > LARGE_BODY {
        let fhir = fhir.clone();
        let planned = tokio::task::spawn_blocking(move || plan(&fhir, &request, &text)).await;
        planned.unwrap_or_else(|_| Err(Failure::later(false, retry_after)))?
    } else {
        plan(fhir, &request, &text)?
    };
    if let Some(issues) = plan.hindrance() {
        count(&plan, &vec![Became::Refused; plan.entries.len()]);
        return Err(Failure::new(answer::wrong(&issues), issues));
    }
    let results = fhir.publisher.publish(&plan.prepared).await;
    let (response, became) = answer::respond(&plan, &results, notified, retry_after);
    if !became.contains(&Became::Later) {
        fhir.appointments.put(&plan.changes);
    }
    count(&plan, &became);
    Ok(response)
}

/// What a body becomes, or the answer that says why not.
fn plan(fhir: &Fhir, request: &Request, text: &Bytes) -> Result<Plan, Failure> {
    let pseudonyms = fhir.publisher.pseudonyms().ok_or_else(Failure::not_set_up)?;
    let refused = |code| intake::count(&pseudonyms.site().fhir.source, Protocol::Fhir, Outcome::Refused(code));
    let text = text.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(text);
    let value = domain::parse::value(text).map_err(|e| {
        refused("malformed");
        let reason = format!("the body {}", e.into_fields().first().map_or("is not JSON", |f| &*f.reason));
        Failure::from(Issue::new("structure", "", reason))
    })?;
    let planner = Planner { pseudonyms, appointments: &fhir.appointments, limits: &fhir.limits, now: crate::now() };
    let at = Addressed { kind: request.kind.as_deref(), id: request.id.as_deref() };
    planner.plan(&value, at).map_err(|issue| {
        refused(issue.code);
        Failure::from(issue)
    })
}

/// Counts each entry once its sender has the final answer.
fn count(plan: &Plan, became: &[Became]) {
    for (entry, became) in plan.entries.iter().zip(became) {
        let outcome = match became {
            Became::New => Outcome::Accepted,
            Became::Duplicate => Outcome::Duplicate,
            Became::Nothing => Outcome::Ignored,
            Became::Refused => {
                let first = entry.result.as_ref().err().and_then(|issues| issues.first());
                Outcome::Refused(first.map_or("too_large", |i| i.code))
            }
            Became::Later => continue,
        };
        intake::count(&entry.source, Protocol::Fhir, outcome);
    }
}

/// Whether the body says that it is FHIR's JSON, or plain JSON, in UTF-8.
fn is_fhir_json(headers: &HeaderMap) -> bool {
    let coded =
        headers.get_all(header::CONTENT_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.filter_map(|p| p.split_once('=')).find(|(k, _)| k.eq_ignore_ascii_case("charset"));
    let utf8 = charset.is_none_or(|(_, v)| v.trim_matches('"').eq_ignore_ascii_case("utf-8"));
    !coded && utf8 && matches!(kind.as_str(), "application/fhir+json" | "application/json" | "application/json+fhir")
}

/// The OpenAPI description of these routes, to be merged with others.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    use utoipa::OpenApi as _;
    #[derive(utoipa::OpenApi)]
    #[openapi(paths(send, create, update, notify), tags((name = "fhir", description = "FHIR R4 and R5")))]
    struct Doc;
    Doc::openapi()
}

#[cfg(test)]
mod tests;
