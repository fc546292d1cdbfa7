//! `GET /v1/journeys/{id}/mot`, `/v1/mot/aggregates`, `/v1/mot/alerts` and `/v1/mot/staff`.

use crate::paging::{self, Cursor, Page};
use crate::problem::{Id, Json};
use crate::reading::{Asking, Reading, Which};
use crate::{App, Problem};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use domain::facts::Facts;
use domain::views::View;
use domain::views::mot::{Fact, JourneyExplanation, explain};
use domain::{EventId, Micros};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::Engine;
use store::views::{mot as rows, timeline};
use utoipa::{IntoParams, ToSchema};

pub mod aggregates;
mod below;

pub use below::Below;

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/journeys/{id}/mot", get(journey))
        .route("/v1/mot/aggregates", get(aggregates::aggregates))
        .route("/v1/mot/staff", get(aggregates::staff))
        .route("/v1/mot/alerts", get(alerts))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(journey, aggregates::aggregates, aggregates::staff, alerts),
    tags((name = "mot", description = "Moments of truth: scores with their reasons, by model mot-v1")))]
pub struct Doc;

/// Which state of a journey.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// The score as it was known then (RFC 3339): what was recorded later is left out.
    #[serde(default)]
    pub as_of: Option<String>,
    /// Only this patient's, where several patients have a journey of the same name.
    #[serde(default)]
    pub patient_id: Option<String>,
}

/// A journey's score with its reasons, and what it reflects.
#[derive(Debug, Serialize, ToSchema)]
pub struct JourneyMot {
    /// The pseudonym under which the patient is known now.
    pub patient_id: String,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub journey: JourneyExplanation,
    /// The time whose knowledge this is, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Up to where the view has seen the log.
    pub position: String,
}

/// A time of a query parameter: RFC 3339, or a day (its midnight UTC).
fn time(name: &str, value: Option<&str>) -> Result<Option<Micros>, Problem> {
    let bad = || Problem::bad_field(name, "not an RFC 3339 time with offset, nor a day as YYYY-MM-DD");
    let read = |t: &str| Micros::parse(t).or_else(|| domain::time::Date::parse(t).map(domain::time::Date::start));
    value.map(|t| read(t).ok_or_else(bad)).transpose()
}

/// The times of the query parameters `from` and `to`.
///
/// # Errors
/// 400 for what is no time, and where `from` is after `to`.
pub(crate) fn span(from: Option<&str>, to: Option<&str>) -> Result<(Option<Micros>, Option<Micros>), Problem> {
    let (from, to) = (time("from", from)?, time("to", to)?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::bad_field("from", "must not be after `to`"));
    }
    Ok((from, to))
}

/// Why a journey has the score that it has: by its id, the id of any of its events, or the name of one of its touchpoints
/// with `patient_id`.
///
/// Pseudonyms of a merged patient are scored together. The answer depends on the clock (`provisional`: as of `as_of`, else
/// now), so it has no ETag.
#[utoipa::path(get, path = "/v1/journeys/{id}/mot", tag = "mot",
    params(("id" = String, Path, description = "Id of the journey, or of one of its events"), Which, Asked),
    responses((status = 200, body = JourneyMot), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 504, body = Problem)))]
pub async fn journey(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asking(which, asked): Asking<Asked>,
) -> Result<Response, Problem> {
    let as_of = time("as_of", asked.as_of.as_deref())?;
    let Reading { engine, position } = app.read(View::Mot, &which).await?;
    let mot = app.mot_of(which.generation).await?;
    let id = id.parse::<EventId>().map_or(id, |e| e.to_string());
    let patient = match asked.patient_id {
        Some(p) => p,
        None => holder(&app, &engine, &id, which.after.as_deref()).await?,
    };
    let who = timeline::identity(&engine, &patient).await?;
    let mut members: BTreeSet<String> = who.members.clone();
    members.insert(patient);
    let mut facts: Vec<Facts<Fact>> = Vec::new();
    for state in rows::states(&engine, &members).await? {
        let read = Facts::from_bytes(&state);
        facts.push(read.map_err(|e| store::StoreError::Data(format!("a state of the view mot: {e}")))?);
    }
    let all = facts.iter().flat_map(Facts::iter);
    let journey = explain(mot.standards(), all, &id, as_of, as_of.unwrap_or_else(app.now));
    let journey = journey.ok_or_else(|| Problem::not_found("journey"))?;
    let body = JourneyMot {
        patient_id: who.patient_id,
        journey,
        as_of: as_of.map(|t| t.to_string()),
        position: position.to_string(),
    };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(body)).into_response())
}

/// The one patient who has the journey. Scored journeys are known here; an event's id is looked up in the timeline.
async fn holder(app: &App, engine: &Engine, id: &str, after: Option<&str>) -> Result<String, Problem> {
    let mut patients = rows::holders(engine, id).await?;
    if patients.is_empty() {
        app.wait_for(View::Timeline, after).await?;
        patients = timeline::holders(engine, id).await?;
    }
    let first = patients.pop_first().ok_or_else(|| Problem::not_found("journey"))?;
    if !patients.is_empty() {
        let same = timeline::identity(engine, &first).await?.members;
        if !patients.iter().all(|p| same.contains(p)) {
            return Err(Problem::conflict("several patients have a journey of this name; say which with patient_id"));
        }
    }
    Ok(first)
}

/// Which alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsAsked {
    /// Only this site's.
    #[serde(default)]
    pub site: Option<String>,
    /// Only this department's.
    #[serde(default)]
    pub department: Option<String>,
    /// Only this kind: low_score, dignity_breach, severe_complaint or below_standard.
    #[serde(default)]
    pub kind: Option<String>,
    /// From this time on: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub from: Option<String>,
    /// Before this time: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub to: Option<String>,
    /// Most items on the page, 1 to 1000; 100 unless asked for.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The last page's `next_cursor`.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// An alert: somebody should look now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    /// Its id, the same after a rebuild.
    pub alert_id: String,
    /// The pseudonym that its events lie under; null of below_standard, which is about a group.
    pub patient_id: Option<String>,
    /// low_score, dignity_breach, severe_complaint or below_standard.
    pub kind: String,
    /// high or critical.
    pub severity: String,
    /// When it happened; of below_standard the beginning of the month, UTC.
    pub occurred_at: String,
    /// The touchpoint.
    pub touchpoint_id: Option<String>,
    /// The journey; see `/v1/journeys/{id}/mot`.
    pub journey_id: Option<String>,
    /// The role that it is about.
    pub role: Option<String>,
    /// Kind of breach, such as made_to_apologise.
    pub detail: Option<String>,
    /// The events behind it; none are named of below_standard.
    pub event_ids: Vec<String>,
    /// Site.
    pub site: Option<String>,
    /// Department.
    pub department: Option<String>,
    /// The group and its figures, of below_standard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Below>,
}

/// The kinds of alerts.
const KINDS: [&str; 4] = ["low_score", "dignity_breach", "severe_complaint", below::KIND];

/// Where an alert stands in the list: time (the latest first), patient (groups have none and come first), id.
type Place = (i64, String, String);

fn in_order(a: &Place, b: &Place) -> Ordering {
    b.0.cmp(&a.0).then_with(|| (&a.1, &a.2).cmp(&(&b.1, &b.2)))
}

impl From<rows::AlertRow> for Alert {
    fn from(r: rows::AlertRow) -> Self {
        Self {
            event_ids: serde_json::from_str(&r.event_ids).unwrap_or_default(),
            occurred_at: Micros(r.occurred_at).to_string(),
            alert_id: r.alert_id,
            patient_id: Some(r.patient_id),
            kind: r.kind,
            severity: r.severity,
            touchpoint_id: r.touchpoint_id,
            journey_id: r.journey_id,
            role: r.role,
            detail: r.detail,
            site: r.site,
            department: r.department,
            group: None,
        }
    }
}

/// What somebody should look at now, the latest first.
///
/// Touchpoints below 40, dignity breaches, severe complaints; and below_standard: the scores of one month, site, department
/// and kind of touchpoint (or of one role in one dimension there), at least 10, whose 95 % interval lies wholly below the
/// floor of the standard in force at the month's end. Its time is the beginning of the month: it comes after what happened in
/// that month, and its figures move while scores are added.
#[utoipa::path(get, path = "/v1/mot/alerts", tag = "mot", params(Which, AlertsAsked),
    responses((status = 200, body = Page<Alert>), (status = 400, body = Problem), (status = 504, body = Problem)))]
pub async fn alerts(
    State(app): State<Arc<App>>,
    Asking(which, asked): Asking<AlertsAsked>,
) -> Result<Json<Page<Alert>>, Problem> {
    let limit = paging::limit(asked.limit)?;
    if asked.kind.as_deref().is_some_and(|k| !KINDS.contains(&k)) {
        return Err(Problem::bad_field("kind", format!("not one of {}", KINDS.join(", "))));
    }
    let (from, to) = span(asked.from.as_deref(), asked.to.as_deref())?;
    let filter = rows::Filter {
        from: from.map(|t| t.0),
        to: to.map(|t| t.0),
        site: asked.site,
        department: asked.department,
        kind: asked.kind,
        ..rows::Filter::default()
    };
    let key: Option<Place> = Cursor(asked.cursor).key()?;
    let Reading { engine, .. } = app.read(View::Mot, &which).await?;
    let mut page: Vec<(Place, Alert)> = Vec::new();
    if filter.kind.as_deref() != Some(below::KIND) {
        let stored = rows::alerts(&engine, &filter, key.as_ref(), limit + 1).await?;
        let place = |r: &rows::AlertRow| (r.occurred_at, r.patient_id.clone(), r.alert_id.clone());
        page.extend(stored.into_iter().map(|r| (place(&r), r.into())));
    }
    if filter.kind.as_deref().is_none_or(|k| k == below::KIND) {
        // Groups are put among the stored alerts: none after the last one that may come onto the page, none before the cursor.
        let first = page.get(limit).map_or(i64::MIN, |(place, _)| place.0).max(filter.from.unwrap_or(i64::MIN));
        let before = filter.to.map_or(i64::MAX, |to| to.saturating_sub(1));
        let last = before.min(key.as_ref().map_or(i64::MAX, |k| k.0)).min((app.now)().0);
        let groups = below::alerts(&app, &engine, which.generation, &filter, first..=last).await?;
        let after = |place: &Place| key.as_ref().is_none_or(|k| in_order(k, place).is_lt());
        page.extend(groups.into_iter().filter(|(place, _)| after(place)));
        page.sort_by(|a, b| in_order(&a.0, &b.0));
    }
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|(place, _)| Cursor::after(place));
    Ok(Json(Page { items: page.into_iter().map(|(_, alert)| alert).collect(), next_cursor }))
}
