//! Attempts and completions.

use super::ask::{Ask, Asked, Begun, Key};
use super::requests::{Attempt, Complete, Done};
use super::{idempotency_key, unite};
use crate::problem::{Id, Json};
use crate::{App, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use domain::Event;
use domain::event::{FollowUpCallAttempted, FollowUpCallCompleted, FollowUpItemClosed, ItemClosure};
use domain::views::follow_ups::item::ItemKind;
use std::sync::Arc;
use store::views::follow_ups::ItemRow;

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
    let key = Key::new(idempotency_key(&headers)?, Asked::Attempt, body.token, &body);
    let item = unite::one(app.engine(), &id).await?;
    let ask = match Ask::begin(&app, &item, (&body.holder, body.token), key).await? {
        Begun::Answered(done) => return Ok(Json(done)),
        Begun::Go(ask) => ask,
    };
    let row = &ask.row;
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
        (status = 409, body = Problem, description = "The token is stale, the item is not open, another completion is under way, or the key was used for another request")))]
pub async fn complete(
    State(app): State<Arc<App>>,
    Id(id): Id,
    headers: HeaderMap,
    Json(body): Json<Complete>,
) -> Result<Json<Done>, Problem> {
    let key = Key::new(idempotency_key(&headers)?, Asked::Completion, body.token, &body);
    let item = unite::one(app.engine(), &id).await?;
    let checked = body.check(&item.row.kind)?;
    let ask = match Ask::begin(&app, &item, (&body.holder, body.token), key).await? {
        Begun::Answered(done) => return Ok(Json(done)),
        Begun::Go(ask) => ask,
    };
    let row = &ask.row;
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
    let gives_back = closes(&item.row, checked.call.is_some(), checked.closure);
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
