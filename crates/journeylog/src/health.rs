//! `/healthz`, `/readyz` and `/metrics` of every role.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use domain::views::View;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

/// How long a dependency may take to answer before the process counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What health looks at.
pub struct Health {
    pub log: Arc<dyn eventlog::Log>,
    /// None for a role without one.
    pub store: Option<Store>,
    /// The views that run here.
    pub views: Vec<View>,
    pub metrics: PrometheusHandle,
}

pub fn routes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready: the log and the store answer.
async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if !matches!(tokio::time::timeout(PATIENCE, health.log.bounds()).await, Ok(Ok(_))) {
        return (StatusCode::SERVICE_UNAVAILABLE, "the log does not answer\n");
    }
    if let Some(store) = &health.store
        && !matches!(tokio::time::timeout(PATIENCE, store.engine().query("SELECT 1", &[])).await, Ok(Ok(_)))
    {
        return (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n");
    }
    (StatusCode::OK, "ready\n")
}

async fn metrics(State(health): State<Arc<Health>>) -> String {
    if let (Some(store), Ok(Ok(bounds))) = (&health.store, tokio::time::timeout(PATIENCE, health.log.bounds()).await) {
        let here = |v: &store::ViewStatus| health.views.iter().any(|h| h.as_str() == v.view);
        for view in store.view_status().await.unwrap_or_default().into_iter().filter(here) {
            for (p, (first, end)) in (0u32..).zip(&bounds) {
                let next = view.partitions.iter().find(|c| c.partition == p).map_or(0, |c| c.next_offset);
                let lag = end.saturating_sub(next.max(*first));
                metrics::gauge!("journeylog_view_lag_events", "view" => view.view.clone(), "partition" => p.to_string())
                    .set(lag as f64);
            }
        }
    }
    health.metrics.render()
}
