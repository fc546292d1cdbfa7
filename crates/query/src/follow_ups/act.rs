//! Attempts and completions: checked against the lease, then published.

use super::requests::{Attempt, Complete, Done, Event as Shown};
use super::{idempotency_key, unite};
use crate::problem::{Id, Json};
use crate::{App, Problem};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use domain::event::{
    Actor, FollowUpCallAttempted, FollowUpCallCompleted, FollowUpItemClosed, Header, ItemClosure, Modality, Role,
    Source,
};
use domain::views::follow_ups::item::ItemKind;
use domain::{Event, EventId, Micros, PatientId};
use serde::Serialize;
use std::sync::Arc;
use store::views::follow_ups::{ItemRow, leases};
use uuid::Uuid;

/// Namespace of the ids of events that are published once however often they are asked for.
const REQUESTS: Uuid = Uuid::from_u128(0x3b0c_8c52_77f4_5f0a_9a64_51f2_7f0d_c2e9);

/// 409 for a token that no longer holds.
pub fn stale() -> Problem {
    Problem::new(StatusCode::CONFLICT, "stale-token", "Stale token", "the claim has run out or is somebody else's now")
}

/// 409 unless the item is open.
pub fn must_be_open(row: &ItemRow) -> Result<(), Problem> {
    if row.status == "open" {
        return Ok(());
    }
    let detail = format!("the item is {}", row.status);
    Err(Problem::new(StatusCode::CONFLICT, "not-open", "Not open", detail))
}

/// What a request is remembered under.
struct Key {
    text: String,
    kind: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Under an `Idempotency-Key`.
    ByKey,
    /// An attempt under a token. The same again is a further attempt once this one is answered.
    Attempt,
    /// A completion under a token. Another one waits until this one is answered; the same again never is another one.
    Completion,
}

impl Key {
    /// The `Idempotency-Key`, or without one what tells the request apart. No header has a U+001F.
    fn new(given: Option<String>, kind: Asked, otherwise: impl FnOnce() -> String) -> Self {
        match given {
            Some(text) => Self { text, kind: Asked::ByKey },
            None => Self { text: format!("\u{1f}{}", otherwise()), kind },
        }
    }
}

/// A request on its way: what it is about, who asks, when it counts as asked.
struct Ask<'a> {
    app: &'a App,
    row: &'a ItemRow,
    holder: &'a str,
    token: i64,
    key: Key,
    at: Micros,
}

/// How a request begins.
enum Begun<'a> {
    /// It was answered before.
    Answered(Done),
    /// It is to be carried out.
    Go(Ask<'a>),
}

impl<'a> Ask<'a> {
    /// Checks the lease, unless a retry of the same request had passed that before.
    async fn begin<T: Serialize>(
        app: &'a App,
        row: &'a ItemRow,
        (holder, token): (&'a str, i64),
        key: Key,
        body: &T,
    ) -> Result<Begun<'a>, Problem> {
        let now = (app.now)();
        let mut ask = Self { app, row, holder, token, key, at: now };
        let (engine, id) = (app.engine(), &row.item_id);
        let print = fingerprint(body);
        let (key, kind) = (&ask.key.text, ask.key.kind);
        let before = leases::request(engine, id, key).await?;
        if kind == Asked::ByKey
            && let Some(known) = before
        {
            ask.at = Micros(known.at);
            return match known.answer {
                _ if known.fingerprint != print => Err(reused()),
                Some(answer) => Ok(Begun::Answered(read(&answer)?)),
                None => Ok(Begun::Go(ask)),
            };
        }
        must_be_open(row)?;
        leases::renew(engine, id, holder, token, now.0).await?.ok_or_else(stale)?;
        // Of requests that run side by side none knows another one's answer: they are one, or exclude each other.
        let further = |b: &leases::Request| kind == Asked::Attempt || b.fingerprint != print;
        let done = before.filter(|b| b.answer.is_some() && further(b)).map(|b| b.at);
        let at = done.map_or(now.0, |done| now.0.max(done + 1));
        let known = leases::remember(engine, id, key, &print, at, done).await?;
        if known.fingerprint != print {
            return Err(if kind == Asked::ByKey { reused() } else { under_way() });
        }
        if let Some(answer) = known.answer {
            return Ok(Begun::Answered(read(&answer)?));
        }
        ask.at = Micros(known.at);
        Ok(Begun::Go(ask))
    }

    fn header(&self, nth: u8, channel: Option<&str>) -> Header {
        let (row, key) = (self.row, &self.key.text);
        let name = match self.key.kind {
            Asked::ByKey => format!("{}\u{1f}{key}\u{1f}{nth}", row.item_id),
            Asked::Attempt | Asked::Completion => format!("{}\u{1f}{key}\u{1f}{}\u{1f}{nth}", row.item_id, self.at.0),
        };
        Header {
            event_id: EventId(Uuid::new_v5(&REQUESTS, name.as_bytes())),
            // the second event of a request happened after the first
            occurred_at: self.at.plus(i64::from(nth)),
            zone: if row.zone.is_empty() { "UTC".into() } else { row.zone.clone() },
            recorded_at: self.at.plus(i64::from(nth)),
            source: Source {
                system: "journeylog".into(),
                facility: None,
                message_id: None,
                trigger: Some("follow_up_queue".into()),
            },
            actor: Some(Actor { id: Some(self.holder.to_owned()), role: Role::CallAgent }),
            patient_id: Some(PatientId(row.patient_id.clone())),
            // where no publisher named the journey, the references lead to it
            journey_id: (row.journey_id != row.trigger_event_id).then(|| row.journey_id.clone()),
            site: row.site.clone(),
            department: row.department.clone(),
            modality: channel.map(modality),
            causation_id: Some(row.trigger_event_id.clone()),
            correlation_id: None,
            confidentiality: Vec::new(),
        }
    }

    /// Publishes, and keeps the answer for a retry.
    async fn publish(self, events: Vec<Event>, gives_back: bool) -> Result<Json<Done>, Problem> {
        let mut shown = Vec::new();
        for event in events {
            let (event_id, kind) = (event.header().event_id.to_string(), event.kind().as_str().to_owned());
            let published = self.app.publish.publish(event).await?;
            shown.push(Shown { event_id, r#type: kind, position: published.position });
        }
        let Some(last) = shown.last().cloned() else { return Err(Problem::conflict("there is nothing to publish")) };
        let done =
            Done { item_id: self.row.item_id.clone(), event_id: last.event_id, position: last.position, events: shown };
        let engine = self.app.engine();
        // In this order: who finds the answer and wants something else finds the token stale, too.
        if gives_back {
            let now = (self.app.now)().0;
            leases::release(engine, &self.row.item_id, self.holder, self.token, now).await?;
        }
        let answer = serde_json::to_string(&done).unwrap_or_default();
        leases::answer(engine, &self.row.item_id, &self.key.text, self.at.0, &answer).await?;
        Ok(Json(done))
    }
}

fn fingerprint<T: Serialize>(body: &T) -> String {
    // the same for every version of this program, unlike a hash of the standard library
    let json = serde_json::to_vec(body).unwrap_or_default();
    Uuid::new_v5(&REQUESTS, &json).to_string()
}

fn reused() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "key-reused",
        "Key reused",
        "another request was made under this Idempotency-Key",
    )
}

fn under_way() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "under-way",
        "Under way",
        "another completion is under way under this token, or ended without an answer: send that one again, or give the item back \
         and claim it anew",
    )
}

fn read(answer: &str) -> Result<Done, Problem> {
    serde_json::from_str(answer).map_err(|_| store::StoreError::Data("a remembered answer can't be read".into()).into())
}

fn modality(channel: &str) -> Modality {
    match channel {
        "phone" | "robocall" => Modality::Phone,
        "video" => Modality::Video,
        "web" => Modality::Web,
        "sms" | "email" | "kakao" | "message" | "chat" => Modality::Message,
        "letter" | "post" => Modality::Post,
        "desk" => Modality::InPerson,
        _ => Modality::Other,
    }
}

fn purpose(row: &ItemRow) -> Option<String> {
    ItemKind::named(&row.kind).map(|k| k.purpose().as_str().to_owned())
}

/// Records an attempt to reach the patient, as the event FollowUpCallAttempted. It renews the claim.
#[utoipa::path(post, path = "/v1/follow-ups/{id}/attempts", tag = "follow-ups",
    params(("id" = String, Path, description = "Id of the item"),
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key publishes once")),
    request_body = Attempt,
    responses((status = 200, body = Done), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The token is stale, the item is not open, or the key was used for another request")))]
pub async fn attempts(
    State(app): State<Arc<App>>,
    Id(id): Id,
    headers: HeaderMap,
    Json(body): Json<Attempt>,
) -> Result<Json<Done>, Problem> {
    let (outcome, callback_at) = body.check()?;
    let key =
        Key::new(idempotency_key(&headers)?, Asked::Attempt, || format!("{}\u{1f}{}", body.token, fingerprint(&body)));
    let item = unite::one(app.engine(), &id).await?;
    let row = &item.row;
    let ask = match Ask::begin(&app, row, (&body.holder, body.token), key, &body).await? {
        Begun::Answered(done) => return Ok(Json(done)),
        Begun::Go(ask) => ask,
    };
    let event = Event::FollowUpCallAttempted(FollowUpCallAttempted {
        header: ask.header(0, Some(&body.channel)),
        item_id: Some(row.item_id.clone()),
        encounter_id: row.encounter_id.clone(),
        channel: body.channel.clone(),
        human: body.human,
        outcome,
        callback_at,
        purpose: body.purpose.clone().or_else(|| purpose(row)),
    });
    ask.publish(vec![event], false).await
}

/// Completes: a call with its answers (FollowUpCallCompleted), a resolution (FollowUpItemClosed), or both.
///
/// Whether that closes the item is the view's to say: a complaint takes both, a post-visit item a human call with five
/// answers. The claim is given back when it does.
#[utoipa::path(post, path = "/v1/follow-ups/{id}/complete", tag = "follow-ups",
    params(("id" = String, Path, description = "Id of the item"),
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key publishes once")),
    request_body = Complete,
    responses((status = 200, body = Done), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The token is stale, the item is not open, or the key was used for another request")))]
pub async fn complete(
    State(app): State<Arc<App>>,
    Id(id): Id,
    headers: HeaderMap,
    Json(body): Json<Complete>,
) -> Result<Json<Done>, Problem> {
    let key = Key::new(idempotency_key(&headers)?, Asked::Completion, || body.token.to_string());
    let item = unite::one(app.engine(), &id).await?;
    let row = &item.row;
    let checked = body.check(&row.kind)?;
    let ask = match Ask::begin(&app, row, (&body.holder, body.token), key, &body).await? {
        Begun::Answered(done) => return Ok(Json(done)),
        Begun::Go(ask) => ask,
    };
    let channel = body.channel.clone().unwrap_or_else(|| "phone".into());
    let mut events = Vec::new();
    if let Some(outcome) = checked.call {
        events.push(Event::FollowUpCallCompleted(FollowUpCallCompleted {
            header: ask.header(0, Some(&channel)),
            item_id: Some(row.item_id.clone()),
            encounter_id: row.encounter_id.clone(),
            channel: Some(channel),
            human: body.human.unwrap_or(true),
            outcome,
            answers: body.answers.clone().unwrap_or_default(),
            duration_s: body.duration_s,
            first_contact_resolution: body.first_contact_resolution,
            purpose: purpose(row),
        }));
    }
    if let Some(closure) = checked.closure {
        events.push(Event::FollowUpItemClosed(FollowUpItemClosed {
            header: ask.header(1, None),
            item_id: row.item_id.clone(),
            closure,
            note: body.note.clone(),
        }));
    }
    let gives_back = closes(row, checked.call.is_some(), checked.closure);
    ask.publish(events, gives_back).await
}

/// Whether the item will be closed by this.
fn closes(row: &ItemRow, call: bool, closure: Option<ItemClosure>) -> bool {
    match (row.missing.as_deref(), closure) {
        (missing, None) => call && (row.kind == ItemKind::PostVisit.as_str() || missing == Some("call")),
        (Some("resolution") | None, Some(_)) => true,
        (Some(_), Some(ItemClosure::Resolved)) => call,
        (Some(_), Some(_)) => true,
    }
}
