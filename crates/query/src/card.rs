//! `GET /v1/patients/{id}/card`: what staff should know before the patient comes.

use crate::problem::{Id, Json};
use crate::reading::{Asking, Reading, Which};
use crate::timeline::Loaded;
use crate::{App, Problem};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use domain::Micros;
use domain::views::View;
use domain::views::timeline::{Card, card as view};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/patients/{id}/card", get(card))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(card))]
pub struct Doc;

/// For which moment.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// The card as it was then (RFC 3339): what was known and had happened by that time. Now, unless asked for.
    #[serde(default)]
    pub as_of: Option<String>,
}

/// A card, and what it reflects.
#[derive(Debug, Serialize, ToSchema)]
pub struct PatientCard {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub card: Card,
    /// Up to where the view has seen the log.
    pub position: String,
}

/// The pre-visit card: needs, next appointment, open items, missed visits and why, booking trouble, the last bad moment,
/// what was asked again, what was reviewed, consents in force, and the history. No amount of money is on it. Open items are
/// those of the follow-up queue, made of the same events.
///
/// It depends on the clock (what is overdue, which appointment is next), so it has no ETag.
#[utoipa::path(get, path = "/v1/patients/{id}/card", tag = "timeline",
    params(("id" = String, Path, description = "Pseudonym of the patient"), Which, Asked),
    responses((status = 200, body = PatientCard), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 504, body = Problem)))]
pub async fn card(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asking(which, asked): Asking<Asked>,
) -> Result<Response, Problem> {
    let bad = || Problem::bad_field("as_of", "not an RFC 3339 time with offset");
    let as_of = asked.as_of.as_deref().map(|t| Micros::parse(t).ok_or_else(bad)).transpose()?;
    let Reading { engine, position } = app.read(View::Timeline, &which).await?;
    let all = Loaded::begin(&app, &engine, &id, "").await?.assemble(&engine, &id, as_of).await?;
    // the standards of the scores that are shown now, whichever timeline was asked for
    let mot = app.mot_of(None).await?;
    let card = view::card(&all, &mot, as_of.unwrap_or_else(app.now));
    let body = PatientCard { card, position: position.to_string() };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(body)).into_response())
}
