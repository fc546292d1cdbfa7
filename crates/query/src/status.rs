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
    /// Age of the newest event that it has taken while others wait, seconds: the largest of the partitions; 0 when none waits.
    /// Null where events wait in a partition of which it has taken none yet.
    lag_seconds: Option<f64>,
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
    lag_seconds: Option<f64>,
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
            let since_ms = match (lag_events, at) {
                (0, _) => Some(0),
                (_, at) => at.filter(|c| c.appended_ms > 0).map(|c| now_ms.saturating_sub(c.appended_ms).max(0)),
            };
            PartitionStatus {
                partition,
                next_offset: next,
                end_offset: *end,
                lag_events,
                lag_seconds: since_ms.map(|ms| ms as f64 / 1000.0),
                updated_at: Micros(at.map_or(0, |c| c.updated_at).saturating_mul(1000)).to_string(),
            }
        })
        .collect();
    ViewStatus {
        view: v.view,
        generation: v.generation,
        position: Position(reflected).to_string(),
        lag_events: partitions.iter().map(|p| p.lag_events).sum(),
        lag_seconds: partitions.iter().try_fold(0.0, |most, p| p.lag_seconds.map(|s| f64::max(most, s))),
        parked_keys: v.partitions.iter().map(|c| c.parked).sum(),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Checkpoint;

    #[test]
    fn the_lag_of_a_partition_of_which_nothing_was_taken_is_unknown() {
        let at = |partition, next_offset, appended_ms| Checkpoint {
            partition,
            next_offset,
            appended_ms,
            updated_at: 5,
            parked: 0,
            last_hash: 0,
        };
        let view = |partitions| store::ViewStatus { view: "toy".into(), generation: 1, partitions };
        let seconds = |v: &ViewStatus| v.partitions.iter().map(|p| p.lag_seconds).collect::<Vec<_>>();
        // All taken; some wait since 4 s; nothing taken and nothing there.
        let v = view_status(view(vec![at(0, 9, 1_000), at(1, 5, 6_000), at(2, 0, 0)]), &[9, 7, 0], 10_000);
        assert_eq!((seconds(&v), v.lag_seconds), (vec![Some(0.0), Some(4.0), Some(0.0)], Some(4.0)));
        let v = view_status(view(vec![at(0, 9, 1_000), at(1, 0, 0)]), &[9, 7, 3], 10_000);
        assert_eq!((seconds(&v), v.lag_seconds, v.lag_events), (vec![Some(0.0), None, None], None, 10));
    }
}
