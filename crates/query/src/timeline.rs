//! `GET /v1/patients/{id}/timeline`, `/v1/patients/{id}/journeys` and `/v1/journeys/{id}`.

use crate::paging::{self, Cursor};
use crate::problem::{Id, Json};
use crate::reading::{Asking, Reading, Which};
use crate::{App, Problem};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use domain::Micros;
use domain::event::Stage;
use domain::views::View;
use domain::views::timeline::{Assembled, assemble};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use store::Engine;
use store::views::timeline as rows;
use utoipa::IntoParams;

mod model;

pub use model::{Amendment, Entry, Journey, JourneyDetail, Journeys, StageSummary, Timeline};

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/patients/{id}/timeline", get(timeline))
        .route("/v1/patients/{id}/journeys", get(journeys))
        .route("/v1/journeys/{id}", get(journey))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(timeline, journeys, journey), tags((name = "timeline", description = "What happened to a patient, in order")))]
pub struct Doc;

/// What each reading of a timeline may ask for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// What was known then (RFC 3339): events recorded later are left out.
    #[serde(default)]
    pub as_of: Option<String>,
    /// Most items on the page, 1 to 1000; 100 unless asked for.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The last page's `next_cursor`.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Only this stage: choosing, scheduling, check_in, service, continuation, follow_up, billing, future_visits, or none.
    #[serde(default)]
    pub stage: Option<String>,
    /// Only the journey with this id, or with an event of this id.
    #[serde(default)]
    pub journey: Option<String>,
    /// Only this patient's, where several patients have a journey of the same name.
    #[serde(default)]
    pub patient_id: Option<String>,
}

impl Asked {
    pub(crate) fn as_of(&self) -> Result<Option<Micros>, Problem> {
        let bad = || Problem::bad_field("as_of", "not an RFC 3339 time with offset");
        self.as_of.as_deref().map(|t| Micros::parse(t).ok_or_else(bad)).transpose()
    }

    fn stage(&self) -> Result<Option<Stage>, Problem> {
        let Some(name) = self.stage.as_deref() else { return Ok(None) };
        let mut known = Stage::ALL.into_iter().chain([Stage::None]);
        let bad = || Problem::bad_field("stage", "not one of the eight stages, nor none");
        known.find(|s| s.as_str() == name).map(Some).ok_or_else(bad)
    }

    /// Refuses parameters that this path doesn't know.
    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let given = [
            ("stage", self.stage.is_some()),
            ("journey", self.journey.is_some()),
            ("patient_id", self.patient_id.is_some()),
            ("limit", self.limit.is_some()),
            ("cursor", self.cursor.is_some()),
        ];
        match given.iter().find(|(name, is)| *is && !known.contains(name)) {
            Some((name, _)) => Err(Problem::bad_field(name, "not a parameter of this path")),
            None => Ok(()),
        }
    }
}

/// A patient's stored events, read at once.
pub(crate) struct Loaded {
    related: BTreeSet<String>,
    etag: String,
}

impl Loaded {
    /// Finds out who the patient is and how much is stored, without reading the events yet. `asked` is what the ETag holds
    /// for: path and parameters.
    pub(crate) async fn begin(app: &App, engine: &Engine, patient: &str, asked: &str) -> Result<Self, Problem> {
        let related = rows::related(engine, patient).await?;
        let print = rows::fingerprint(engine, &related).await?;
        if print.is_empty() {
            return Err(Problem::not_found("patient"));
        }
        let mut hash = DefaultHasher::new();
        (&app.edition, asked, &related, print).hash(&mut hash);
        Ok(Self { related, etag: format!("W/\"{:016x}\"", hash.finish()) })
    }

    /// Reads the events and puts the timeline of `patient` together.
    pub(crate) async fn assemble(
        &self,
        engine: &Engine,
        patient: &str,
        as_of: Option<Micros>,
    ) -> Result<Assembled, Problem> {
        let stored = rows::entries(engine, &self.related).await?;
        assemble(patient, stored, as_of).ok_or_else(|| Problem::not_found("patient"))
    }

    /// 304 where the reader has this state already. The state is the patient's: what happens to others doesn't change it.
    fn unchanged(&self, headers: &HeaderMap) -> Option<Response> {
        let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
        let same = known.split(',').any(|t| t.trim() == "*" || t.trim() == self.etag);
        same.then(|| (StatusCode::NOT_MODIFIED, self.headers()).into_response())
    }

    fn headers(&self) -> [(header::HeaderName, String); 2] {
        [(header::ETAG, self.etag.clone()), (header::CACHE_CONTROL, "private, no-cache".into())]
    }
}

/// Every event of a patient, in order of occurrence.
///
/// Events of merged pseudonyms are included; a retired pseudonym answers with the survivor's timeline. Corrected events show
/// what holds now, and the original; retracted ones are marked. The order is that of (occurred_at, event_id).
#[utoipa::path(get, path = "/v1/patients/{id}/timeline", tag = "timeline", params(("id" = String, Path, description = "Pseudonym of the patient"), Which, Asked),
    responses((status = 200, body = Timeline), (status = 304, description = "As the ETag says"), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 504, body = Problem)))]
pub async fn timeline(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asking(which, asked): Asking<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked.only(&["stage", "journey", "limit", "cursor"])?;
    let (as_of, stage, limit) = (asked.as_of()?, asked.stage()?, paging::limit(asked.limit)?);
    let from: Option<(i64, String, String)> = Cursor(asked.cursor.clone()).key()?;
    let Reading { engine, position } = app.read(View::Timeline, &which).await?;
    let loaded = Loaded::begin(&app, &engine, &id, &uri.to_string()).await?;
    if let Some(r) = loaded.unchanged(&headers) {
        return Ok(r);
    }
    let all = loaded.assemble(&engine, &id, as_of).await?;
    let journey = asked.journey.as_deref().map(|j| all.journey(j).map_or(j, |j| &j.id));
    let wanted = |e: &&domain::views::timeline::Entry| {
        stage.is_none_or(|s| e.event.kind().stage() == s) && journey.is_none_or(|j| e.journey.journey == j)
    };
    let total = all.entries.iter().filter(wanted).count();
    let key = |e: &domain::views::timeline::Entry| (e.occurred_at().0, e.event_id().to_string(), e.filed_under.clone());
    let after = |e: &&domain::views::timeline::Entry| from.as_ref().is_none_or(|f| key(e) > *f);
    let mut page: Vec<_> = all.entries.iter().filter(wanted).filter(after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|e| Cursor::after(&key(e)));
    let items = page.into_iter().map(|e| Entry::new(e, &all)).collect();
    let body = Timeline { who: model::Who::new(&all, as_of, &position), total, items, next_cursor };
    Ok((loaded.headers(), Json(body)).into_response())
}

/// A patient's journeys, in order of their first event, each with its eight stages.
#[utoipa::path(get, path = "/v1/patients/{id}/journeys", tag = "timeline", params(("id" = String, Path, description = "Pseudonym of the patient"), Which, Asked),
    responses((status = 200, body = Journeys), (status = 304, description = "As the ETag says"), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 504, body = Problem)))]
pub async fn journeys(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asking(which, asked): Asking<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked.only(&["limit", "cursor"])?;
    let (as_of, limit) = (asked.as_of()?, paging::limit(asked.limit)?);
    let from: Option<(Option<i64>, String)> = Cursor(asked.cursor.clone()).key()?;
    let Reading { engine, position } = app.read(View::Timeline, &which).await?;
    let loaded = Loaded::begin(&app, &engine, &id, &uri.to_string()).await?;
    if let Some(r) = loaded.unchanged(&headers) {
        return Ok(r);
    }
    let all = loaded.assemble(&engine, &id, as_of).await?;
    let key = |j: &domain::views::timeline::Journey| (j.first.map(|t| t.0), j.id.clone());
    let after = |j: &&domain::views::timeline::Journey| from.as_ref().is_none_or(|f| key(j) > *f);
    let mut page: Vec<_> = all.journeys.iter().filter(after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|j| Cursor::after(&key(j)));
    let items = page.into_iter().map(|j| Journey::new(j, &all)).collect();
    let total = all.journeys.len();
    let body = Journeys { who: model::Who::new(&all, as_of, &position), total, items, next_cursor };
    Ok((loaded.headers(), Json(body)).into_response())
}

/// A journey with all its events: by its id, or by the id of any of its events.
#[utoipa::path(get, path = "/v1/journeys/{id}", tag = "timeline", params(("id" = String, Path, description = "Id of the journey, or of one of its events"), Which, Asked),
    responses((status = 200, body = JourneyDetail), (status = 304, description = "As the ETag says"), (status = 400, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem), (status = 504, body = Problem)))]
pub async fn journey(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asking(which, asked): Asking<Asked>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asked.only(&["patient_id"])?;
    let as_of = asked.as_of()?;
    let Reading { engine, position } = app.read(View::Timeline, &which).await?;
    let patient = match &asked.patient_id {
        Some(p) => p.clone(),
        None => holder(&engine, &id).await?,
    };
    let loaded = Loaded::begin(&app, &engine, &patient, &uri.to_string()).await?;
    if let Some(r) = loaded.unchanged(&headers) {
        return Ok(r);
    }
    let all = loaded.assemble(&engine, &patient, as_of).await?;
    let found = all.journey(&id).ok_or_else(|| Problem::not_found("journey"))?;
    let entries = found.entries().into_iter().map(|i| Entry::new(&all.entries[i], &all)).collect();
    let who = model::Who::new(&all, as_of, &position);
    let body = JourneyDetail { who, journey: Journey::new(found, &all), entries };
    Ok((loaded.headers(), Json(body)).into_response())
}

/// The one patient who has the journey.
async fn holder(engine: &Engine, id: &str) -> Result<String, Problem> {
    // Event ids may be written in capitals; they are stored as in RFC 9562.
    let id = id.parse::<domain::EventId>().map_or_else(|_| id.to_owned(), |e| e.to_string());
    let mut patients = rows::holders(engine, &id).await?;
    let first = patients.pop_first().ok_or_else(|| Problem::not_found("journey"))?;
    if !patients.is_empty() {
        let same = rows::identity(engine, &first).await?.members;
        if !patients.is_subset(&same) {
            return Err(Problem::conflict("several patients have a journey of this name; say which with patient_id"));
        }
    }
    Ok(first)
}
