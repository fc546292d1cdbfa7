//! `GET /v1/status`: how far each view has come.

use crate::{App, Problem, after::Position, problem::Json};
use axum::{Router, extract::State, routing::get};
use domain::Micros;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/status", get(status))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(status), tags((name = "status", description = "How far each view has come")))]
pub struct Doc;

/// How far the views have come.
#[derive(Debug, Serialize, ToSchema)]
struct Status {
    /// By view.
    views: Vec<ViewStatus>,
}

/// How far a view has come.
#[derive(Debug, Serialize, ToSchema)]
struct ViewStatus {
    /// Name.
    view: String,
    /// The generation that readers see.
    generation: i64,
    /// Position token of what it reflects, as `?after=` takes it.
    position: String,
    /// Events of the log that it has not taken yet.
    lag_events: u64,
    /// Age of the newest event that it has taken while others wait, seconds; 0 when none waits.
    lag_seconds: f64,
    /// Keys whose events wait behind a dead letter.
    parked_keys: u64,
    /// By partition.
    partitions: Vec<PartitionStatus>,
}

/// How far a view has come in a partition.
#[derive(Debug, Serialize, ToSchema)]
struct PartitionStatus {
    /// Partition.
    partition: u32,
    /// Offset of the first event not taken.
    next_offset: u64,
    /// Offset after the log's last event.
    end_offset: u64,
    /// Events not taken.
    lag_events: u64,
    /// Seconds; see the view's.
    lag_seconds: f64,
    /// When the view last moved on, RFC 3339.
    updated_at: String,
}

/// How far each view has come
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, body = Status), (status = 503, body = Problem)))]
async fn status(State(app): State<Arc<App>>) -> Result<Json<Status>, Problem> {
    let ends = app.publish.ends().await?;
    let now_ms = (app.now)().0 / 1000;
    let views = app.store.view_status().await?;
    Ok(Json(Status { views: views.into_iter().map(|v| view_status(v, &ends, now_ms)).collect() }))
}

fn view_status(v: store::ViewStatus, ends: &[u64], now_ms: i64) -> ViewStatus {
    let reflected = v.partitions.iter().filter_map(|c| Some((c.partition, c.next_offset.checked_sub(1)?))).collect();
    let partitions: Vec<PartitionStatus> = (0u32..)
        .zip(ends)
        .map(|(partition, end)| {
            let at = v.partitions.iter().find(|c| c.partition == partition);
            let next = at.map_or(0, |c| c.next_offset);
            let lag_events = end.saturating_sub(next);
            let since_ms = at.filter(|c| lag_events > 0 && c.appended_ms > 0).map_or(0, |c| now_ms - c.appended_ms);
            PartitionStatus {
                partition,
                next_offset: next,
                end_offset: *end,
                lag_events,
                lag_seconds: since_ms.max(0) as f64 / 1000.0,
                updated_at: Micros(at.map_or(0, |c| c.updated_at).saturating_mul(1000)).to_string(),
            }
        })
        .collect();
    ViewStatus {
        view: v.view,
        generation: v.generation,
        position: Position(reflected).to_string(),
        lag_events: partitions.iter().map(|p| p.lag_events).sum(),
        lag_seconds: partitions.iter().map(|p| p.lag_seconds).fold(0.0, f64::max),
        parked_keys: v.partitions.iter().map(|c| c.parked).sum(),
        partitions,
    }
}
