//! `GET /v1/follow-ups`, and what staff do to an item: claim, release, attempts, complete.
//!
//! Claims and releases change leases only. Attempts and completions become events, and the view follows from those.

use crate::paging::{self, Cursor, Page};
use crate::problem::{Id, Json, Query};
use crate::reading::{Asking, Reading, Which};
use crate::{App, Problem};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use domain::views::View;
use domain::views::follow_ups::contact::Hours;
use domain::views::follow_ups::item::ItemKind;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::views::follow_ups::{Filter, Place, leases};
use utoipa::{IntoParams, ToSchema};

mod act;
mod ask;
mod model;
mod requests;
mod unite;

pub use model::{Contact, Holder, Item, Priority, Reason};
pub use requests::{Attempt, Claim, Complete, Done, Event, Release};

/// The hospital's quiet hours for calls about care, in the patient's local time. The door may add it to the router as an
/// extension; without one, 20:00 to 08:00.
#[derive(Debug, Clone, Copy)]
pub struct QuietHours(pub Hours);

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/follow-ups", get(list))
        .route("/v1/follow-ups/{id}", get(one))
        .route("/v1/follow-ups/{id}/claim", post(claim))
        .route("/v1/follow-ups/{id}/release", post(release))
        .route("/v1/follow-ups/{id}/attempts", post(act::attempts))
        .route("/v1/follow-ups/{id}/complete", post(act::complete))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, claim, release, act::attempts, act::complete),
    tags((name = "follow-ups", description = "What staff still owe a patient")))]
pub struct Doc;

/// What a list may be asked for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// open, closed, cancelled or suppressed; open unless asked for.
    #[serde(default)]
    pub status: Option<String>,
    /// Only this department's.
    #[serde(default)]
    pub department: Option<String>,
    /// Only this site's.
    #[serde(default)]
    pub site: Option<String>,
    /// post_visit, referral_booking, referral_completion, order_result, recall, critical_mot, complaint, no_show,
    /// unpaid_bill, disputed_bill, unanswered_question or booking_friction.
    #[serde(default)]
    pub kind: Option<String>,
    /// Only what this person has claimed.
    #[serde(default)]
    pub assignee: Option<String>,
    /// true: only open items whose due time has passed; false: all others.
    #[serde(default)]
    pub overdue: Option<bool>,
    /// The last page's `next_cursor`; it keeps the time at which the first page was ordered.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most items on the page, 1 to 1000; 100 unless asked for.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Asked {
    fn filter(&self) -> Result<Filter, Problem> {
        let status = self.status.as_deref().unwrap_or("open");
        if !["open", "closed", "cancelled", "suppressed"].contains(&status) {
            return Err(Problem::bad_field("status", "must be open, closed, cancelled or suppressed"));
        }
        if self.kind.as_deref().is_some_and(|k| ItemKind::named(k).is_none()) {
            let names: Vec<&str> = ItemKind::ALL.iter().map(|k| k.as_str()).collect();
            return Err(Problem::bad_field("kind", format!("must be one of {}", names.join(", "))));
        }
        Ok(Filter {
            status: Some(status.to_owned()),
            kind: self.kind.clone(),
            site: self.site.clone(),
            department: self.department.clone(),
            assignee: self.assignee.clone(),
            overdue: self.overdue,
        })
    }
}

/// Where a page begins: the time of the first page, and the last item before this one.
#[derive(Debug, Serialize, Deserialize)]
struct Key(i64, i64, i64, String);

/// The items, highest priority first.
///
/// Priority is that of the present, then the earlier due time, then the item id. The pages of one list all use the time of
/// its first page. Items of merged pseudonyms are united, and listed under the status that they have then. A page may have
/// fewer items than `limit`, or none, where many of merged pseudonyms were left out: go on while there is a `next_cursor`.
#[utoipa::path(get, path = "/v1/follow-ups", tag = "follow-ups", params(Which, Asked),
    responses((status = 200, body = Page<Item>), (status = 400, body = Problem), (status = 504, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    quiet: Option<Extension<QuietHours>>,
    Asking(which, asked): Asking<Asked>,
) -> Result<Response, Problem> {
    let (filter, limit) = (asked.filter()?, paging::limit(asked.limit)?);
    let from: Option<Key> = Cursor(asked.cursor.clone()).key()?;
    if from.as_ref().is_some_and(|k| !domain::Micros::RANGE.contains(&k.0)) {
        return Err(Problem::bad_field("cursor", "not a cursor of this list"));
    }
    let now = from.as_ref().map_or_else(|| (app.now)().0, |k| k.0);
    let from = from.map(|Key(_, points, due_at, item_id)| Place { points, due_at, item_id });
    let Reading { engine, .. } = app.read(View::FollowUps, &which).await?;
    let (united, last) = unite::list(&engine, &filter, now, from, limit).await?;
    let last = last.map(|p| Key(now, p.points, p.due_at, p.item_id));
    let view = model::At { now, quiet: hours(quiet) };
    let items = united.into_iter().map(|u| Item::new(u, view));
    let page = Page { items: items.collect(), next_cursor: last.map(|k| Cursor::after(&k)) };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(page)).into_response())
}

/// An item.
#[utoipa::path(get, path = "/v1/follow-ups/{id}", tag = "follow-ups",
    params(("id" = String, Path, description = "Id of the item"), Which),
    responses((status = 200, body = Item), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 504, body = Problem)))]
pub async fn one(
    State(app): State<Arc<App>>,
    quiet: Option<Extension<QuietHours>>,
    Id(id): Id,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let Reading { engine, .. } = app.read(View::FollowUps, &which).await?;
    let mut item = unite::one(&engine, &id).await?;
    let now = (app.now)().0;
    unite::leased(&engine, &mut [&mut item], now).await?;
    let body = Item::new(item, model::At { now, quiet: hours(quiet) });
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(body)).into_response())
}

impl App {
    /// The database with the leases and the items.
    const fn engine(&self) -> &store::Engine {
        self.store.engine()
    }
}

fn hours(quiet: Option<Extension<QuietHours>>) -> Hours {
    quiet.map_or_else(Hours::usual, |Extension(QuietHours(h))| h)
}

/// What a claim gives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Claimed {
    /// The item.
    pub item_id: String,
    /// Who holds it.
    pub holder: String,
    /// Fencing token: every later request about the item names it. It only grows.
    pub token: i64,
    /// Until when; a claim with holder and token renews it.
    pub expires_at: String,
}

/// Claims an open item for 15 minutes; with `token`, renews the claim (the heartbeat).
#[utoipa::path(post, path = "/v1/follow-ups/{id}/claim", tag = "follow-ups",
    params(("id" = String, Path, description = "Id of the item")), request_body = Claim,
    responses((status = 200, body = Claimed), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Somebody else holds it, the token is stale, or the item is not open")))]
pub async fn claim(State(app): State<Arc<App>>, Id(id): Id, Json(body): Json<Claim>) -> Result<Json<Claimed>, Problem> {
    requests::check_holder(&body.holder)?;
    let item = unite::one(app.engine(), &id).await?;
    ask::must_be_open(&item.row)?;
    let (engine, now) = (app.engine(), (app.now)().0);
    let lease = match body.token {
        Some(token) => ask::renewed(engine, &item, &body.holder, token, now).await?,
        None => match leases::claim(engine, &item.ids, &body.holder, now).await? {
            leases::Asked::Given(lease) => lease,
            leases::Asked::Held(lease) => {
                return Err(ask::claimed(format!("{} holds this item; that claim has not run out", lease.holder)));
            }
            leases::Asked::Stale => return Err(ask::stale()),
        },
    };
    let expires_at = domain::Micros(lease.expires_at).to_string();
    Ok(Json(Claimed { item_id: item.row.item_id, holder: lease.holder, token: lease.token, expires_at }))
}

/// Gives an item back.
#[utoipa::path(post, path = "/v1/follow-ups/{id}/release", tag = "follow-ups",
    params(("id" = String, Path, description = "Id of the item")), request_body = Release,
    responses((status = 204, description = "Released"), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The token is stale")))]
pub async fn release(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Json(body): Json<Release>,
) -> Result<StatusCode, Problem> {
    requests::check_holder(&body.holder)?;
    let item = unite::one(app.engine(), &id).await?;
    let released = leases::release(app.engine(), &item.ids, &body.holder, body.token, (app.now)().0).await?;
    if released { Ok(StatusCode::NO_CONTENT) } else { Err(ask::stale()) }
}

/// The request's `Idempotency-Key`.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::bad_field("Idempotency-Key", "must be 1 to 255 visible ASCII characters")),
    }
}

#[cfg(test)]
mod tests;
