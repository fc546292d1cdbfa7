//! `POST /v1/events`: one event, an array, NDJSON, and CloudEvents. `docs/publishing/http.md` is the sender's manual.

mod answer;
mod cloudevents;
mod stream;

pub(crate) use cloudevents::percent_decoded;

use crate::intake::{self, Protocol};
use crate::ndjson::{self, NdjsonLimits};
use crate::numbered;
use crate::problem::Problem;
use crate::publisher::{Accepted, Prepared, Publisher};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use domain::parse;
use futures::StreamExt;
use metrics::{Counter, counter};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Limits of the HTTP gateway.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest body of a single event or an array, bytes. NDJSON has no such limit.
    pub body_bytes: usize,
    /// How long a body that is not NDJSON may take to come.
    pub body_time: Duration,
    /// How long an NDJSON stream may send nothing while it is waited for, or leave its answers unread.
    pub stream_idle: Duration,
    /// Most events in an array.
    pub array_events: usize,
    /// Most events under way at a time, over all requests but NDJSON (which is bounded per stream).
    pub in_flight_events: usize,
    /// NDJSON streams at a time.
    pub streams: usize,
    /// Seconds in `Retry-After`.
    pub retry_after: u32,
    /// Limits of an NDJSON stream, and of each event however it comes.
    pub ndjson: NdjsonLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            body_time: Duration::from_secs(30),
            stream_idle: Duration::from_secs(60),
            array_events: 10_000,
            in_flight_events: 50_000,
            streams: 16,
            retry_after: 1,
            ndjson: NdjsonLimits { retry_for: Duration::from_secs(5), ..NdjsonLimits::default() },
        }
    }
}

/// What the HTTP handlers share.
#[derive(Debug)]
pub struct Gateway {
    publisher: Arc<Publisher>,
    limits: Limits,
    under_way: Semaphore,
    /// Bytes of bodies that are coming.
    coming: Semaphore,
    streams: Arc<Semaphore>,
    invalid: Invalid,
}

struct Invalid(Counter);

impl std::fmt::Debug for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invalid(…)")
    }
}

impl Gateway {
    /// A gateway to a publisher. Construct it after the metrics recorder is installed.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, limits: Limits) -> Self {
        let in_flight = limits.in_flight_events.max(limits.array_events).min(Semaphore::MAX_PERMITS);
        Self {
            publisher,
            under_way: Semaphore::new(in_flight),
            coming: Semaphore::new((BODIES_COMING * limits.body_bytes).min(Semaphore::MAX_PERMITS)),
            streams: Arc::new(Semaphore::new(limits.streams)),
            limits,
            invalid: Invalid(counter!("ingest_events_total", "result" => "invalid")),
        }
    }

    fn event(&self, text: &str) -> Result<domain::Event, Problem> {
        numbered::event(text, self.publisher.pseudonyms())
    }

    fn prepare(&self, event: Result<domain::Event, Problem>, now: domain::Micros) -> Result<Prepared, Problem> {
        let prepared = ndjson::checked(event, &self.limits.ndjson.event, now, Some(Protocol::Http));
        if prepared.is_err() {
            self.invalid.0.increment(1);
        }
        prepared
    }

    /// Room for some events among those under way.
    fn room(&self, events: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.under_way.try_acquire_many(events).map_err(|_| Problem::busy(self.limits.retry_after))
    }

    async fn one(&self, event: Result<Prepared, Problem>) -> Result<Accepted, Problem> {
        let event = event?;
        let _room = self.room(1)?;
        let mut answers = self.publisher.publish(std::slice::from_ref(&event)).await;
        intake::answered(Protocol::Http, std::slice::from_ref(&event), &answers);
        match answers.pop() {
            Some(Ok(accepted)) => Ok(accepted),
            Some(Err(refusal)) => Err(Problem::of_refusal(&refusal, self.limits.retry_after)),
            None => Err(Problem::unavailable(self.limits.retry_after)),
        }
    }

    /// Publishes the good events of a batch, and answers for all.
    async fn many(&self, batch: Vec<Result<Prepared, Problem>>) -> Result<Vec<Result<Accepted, Problem>>, Problem> {
        let _room = self.room(batch.len())?;
        let mut good = Vec::with_capacity(batch.len());
        let mut answers: Vec<Option<Problem>> = Vec::with_capacity(batch.len());
        for item in batch {
            match item {
                Ok(event) => {
                    good.push(event);
                    answers.push(None);
                }
                Err(problem) => answers.push(Some(problem)),
            }
        }
        let published = self.publisher.publish(&good).await;
        intake::answered(Protocol::Http, &good, &published);
        let mut published = published.into_iter();
        let retry = self.limits.retry_after;
        let answers = answers.into_iter().map(|problem| match problem {
            Some(problem) => Err(problem),
            None => {
                published.next().unwrap_or(Err(crate::Refusal::Unavailable)).map_err(|r| Problem::of_refusal(&r, retry))
            }
        });
        let answers: Vec<_> = answers.collect();
        // Nothing was taken, and nothing but the log is to blame: the whole request may simply be sent again.
        let blame = |a: &Result<Accepted, Problem>| a.as_ref().err().is_some_and(|p| p.retry_after.is_some());
        match answers.first() {
            Some(Err(first)) if answers.iter().all(blame) => Err(first.clone()),
            _ => Ok(answers),
        }
    }
}

/// The routes: `POST /v1/events`.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/v1/events", post(publish)).with_state(gateway)
}

/// The content types that are taken.
enum Format {
    Json,
    Ndjson,
    CloudEvent,
    CloudEvents,
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    const TAKEN: &str = "send application/json, application/x-ndjson, application/cloudevents+json or \
                         application/cloudevents-batch+json, in UTF-8";
    let coded =
        headers.get_all(header::CONTENT_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Problem::unsupported("content codings such as gzip are not taken: send the body as it is"));
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (kind, rest) = value.split_once(';').unwrap_or((value, ""));
    let charset =
        rest.split(';').filter_map(|p| p.trim().split_once('=')).find(|(k, _)| k.eq_ignore_ascii_case("charset"));
    if charset.is_some_and(|(_, v)| !v.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(Problem::unsupported(TAKEN));
    }
    let kind = kind.trim();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    if is("application/json") {
        Ok(Format::Json)
    } else if is("application/x-ndjson") || is("application/ndjson") || is("application/jsonl") {
        Ok(Format::Ndjson)
    } else if is("application/cloudevents+json") {
        Ok(Format::CloudEvent)
    } else if is("application/cloudevents-batch+json") {
        Ok(Format::CloudEvents)
    } else {
        Err(Problem::unsupported(TAKEN))
    }
}

/// Publish events
///
/// One event, an array of events, NDJSON (streamed, of any length), or CloudEvents 1.0 (structured, batch or binary). What
/// is answered as accepted is durable.
#[utoipa::path(
    post, path = "/v1/events", tag = "events",
    params(("Prefer" = Option<String>, Header, description = "`return=minimal`: an NDJSON stream answers refused lines and a summary only")),
    request_body(
        description = "Events in the schema's field names, with `type`; times RFC 3339 with offset",
        content(
            (doc::EventOrArray = "application/json"),
            (String = "application/x-ndjson"),
            (doc::CloudEvent = "application/cloudevents+json"),
            (Vec<doc::CloudEvent> = "application/cloudevents-batch+json")
        )
    ),
    responses(
        (status = 201, description = "The event is in the log", body = doc::Accepted),
        (status = 200, description = "The event was there before; or every event of an array was taken; or the answers of an NDJSON stream, one line each", body = doc::BatchAnswer),
        (status = 207, description = "Some events of an array were refused; the others are in the log", body = doc::BatchAnswer),
        (status = 400, description = "Not JSON, or not UTF-8", body = doc::Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = doc::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another event has this id", body = doc::Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large or too many", body = doc::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Unsupported content type or coding", body = doc::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong; `errors` has a JSON pointer to each", body = doc::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too much is under way; see Retry-After", body = doc::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log can't be reached; see Retry-After", body = doc::Problem, content_type = "application/problem+json")
    )
)]
async fn publish(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, body: Body) -> Response {
    match handle(&gateway, &headers, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn handle(gateway: &Arc<Gateway>, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let binary = cloudevents::is_binary(headers);
    let format = format(headers)?;
    if matches!(format, Format::Ndjson) {
        return stream::respond(gateway, headers, body).await;
    }
    let Limits { body_bytes, body_time, .. } = gateway.limits;
    let slow = |_| Problem::too_slow(format!("the body did not come within {body_time:?}"));
    let body =
        tokio::time::timeout(body_time, read(headers, body, body_bytes, &gateway.coming)).await.map_err(slow)??;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (now, known) = (crate::now(), gateway.publisher.pseudonyms());
    match format {
        Format::Json if binary => {
            let event = cloudevents::binary(headers, text, known);
            single(gateway.one(gateway.prepare(event, now)).await)
        }
        Format::Json if text.trim_ascii_start().starts_with('[') => {
            array(gateway, text, |item| gateway.prepare(gateway.event(item), now)).await
        }
        Format::CloudEvents => {
            array(gateway, text, |item| gateway.prepare(cloudevents::structured(item, known), now)).await
        }
        Format::CloudEvent => single(gateway.one(gateway.prepare(cloudevents::structured(text, known), now)).await),
        Format::Json | Format::Ndjson => single(gateway.one(gateway.prepare(gateway.event(text), now)).await),
    }
}

fn single(result: Result<Accepted, Problem>) -> Result<Response, Problem> {
    let accepted = result?;
    let status = if accepted.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let mut json = String::with_capacity(112);
    answer::accepted(&mut json, &accepted);
    Ok((status, [(header::CONTENT_TYPE, answer::JSON)], json).into_response())
}

async fn array(
    gateway: &Gateway,
    text: &str,
    prepare: impl Fn(&str) -> Result<Prepared, Problem>,
) -> Result<Response, Problem> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => Problem::malformed("the body must be an array of events"),
        _ => Problem::malformed(parse::not_json(&e)),
    })?;
    if items.len() > gateway.limits.array_events {
        let limit = gateway.limits.array_events;
        return Err(Problem::too_large(format!("more than {limit} events in an array; send NDJSON for more")));
    }
    let one = |(i, item): (usize, &&RawValue)| prepare(item.get()).map_err(|p| p.under(&format!("/{i}")));
    let answers = gateway.many(items.iter().enumerate().map(one).collect()).await?;
    Ok(answer::batch(&answers))
}

/// Bodies of the largest size for which there is room while they come, over all connections of an end point.
pub(crate) const BODIES_COMING: usize = 32;
/// Seconds in `Retry-After` where there is no room for a body.
const RETRY_AFTER: u32 = 1;

/// The whole body, refused as soon as it is known to be too large. What has come of it takes its bytes of `room` until all has.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize, room: &Semaphore) -> Result<Bytes, Problem> {
    let too_large = || Problem::too_large(format!("the body is larger than {limit} bytes; send NDJSON for more"));
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    let full = |_| {
        let detail = "too many bodies are coming at once; send again later".to_owned();
        Problem { detail, ..Problem::busy(RETRY_AFTER) }
    };
    let take = |n: usize| room.try_acquire_many(u32::try_from(n).unwrap_or(u32::MAX)).map_err(full);
    let broken = |_| Problem::malformed("the body ended before its end");
    let mut chunks = body.into_data_stream();
    let Some(first) = chunks.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    let mut held = take(first.len().min(limit))?;
    // A small body comes as one chunk and isn't copied.
    let Some(second) = chunks.next().await.transpose().map_err(broken)? else {
        return if first.len() > limit { Err(too_large()) } else { Ok(first) };
    };
    let mut all = BytesMut::with_capacity(announced.unwrap_or(first.len() + second.len()));
    all.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if all.len() + chunk.len() > limit {
            return Err(too_large());
        }
        held.merge(take(chunk.len())?);
        all.extend_from_slice(&chunk);
        next = chunks.next().await.transpose().map_err(broken)?;
    }
    Ok(all.freeze())
}

/// The OpenAPI description of these routes, to be merged with others.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    use utoipa::OpenApi as _;
    #[derive(utoipa::OpenApi)]
    #[openapi(paths(publish), tags((name = "events", description = "Publishing events")))]
    struct Doc;
    Doc::openapi()
}

pub(crate) mod doc;

#[cfg(test)]
mod tests;
