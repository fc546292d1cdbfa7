//! `/healthz`, `/readyz` and `/metrics` of every role, and the watchdog over the views that are projected here.

mod watchdog;

use crate::operations::status::look;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use domain::views::View;
use ingest::Publisher;
use ingest::inbox::Condition;
use metrics_exporter_prometheus::PrometheusHandle;
use query::status::{Samples, Status};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Store;
use tokio_util::sync::CancellationToken;
use watchdog::Watchdog;

/// How long a dependency may take to answer before the process counts as not ready.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a process looks how far the views have come.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What health looks at.
pub struct Health {
    log: Arc<dyn eventlog::Log>,
    /// None for a role without one.
    store: Option<Store>,
    publisher: Arc<Publisher>,
    metrics: PrometheusHandle,
    samples: Arc<Samples>,
    watchdog: Mutex<Watchdog>,
    /// None where no inbox is read.
    inbox: Option<Arc<Condition>>,
}

impl Health {
    /// `views` are projected here; `samples` are shared with the read API.
    pub fn new(
        log: Arc<dyn eventlog::Log>,
        store: Option<Store>,
        publisher: Arc<Publisher>,
        views: &[View],
        samples: Arc<Samples>,
        inbox: Option<Arc<Condition>>,
        metrics: PrometheusHandle,
    ) -> Self {
        let watchdog = Mutex::new(Watchdog::new(views, Instant::now()));
        Self { log, store, publisher, metrics, samples, watchdog, inbox }
    }

    /// Looks again and again how far the views have come, so that rates are known and what stands still is noticed.
    pub async fn watch(&self, cancel: CancellationToken) {
        while let Some(store) = &self.store {
            self.look(store).await;
            tokio::select! {
                () = cancel.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(&self, store: &Store) {
        let looked = tokio::time::timeout(PATIENCE, look(&self.samples, store, self.log.as_ref())).await;
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Ok(Ok(status)) => {
                gauges(&status, watchdog.views());
                watchdog.seen(&status, Instant::now());
            }
            Ok(Err(_)) | Err(_) => watchdog.blind(Instant::now()),
        }
    }

    /// What stands still, in words.
    fn stalled(&self) -> Option<String> {
        let views = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner).reason();
        views.or_else(|| self.inbox.as_ref()?.reason())
    }
}

/// How far behind the views of this process are.
fn gauges(status: &Status, views: &[View]) {
    for view in status.views.iter().filter(|v| views.iter().any(|h| h.as_str() == v.view)) {
        for p in &view.active.partitions {
            let labels = [("view", view.view.clone()), ("partition", p.partition.to_string())];
            metrics::gauge!("journeylog_view_lag_events", &labels).set(p.lag_events as f64);
            metrics::gauge!("journeylog_view_lag_seconds", &labels).set(p.lag_seconds.unwrap_or(f64::NAN));
        }
    }
}

pub fn routes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready: the log and the store answer, the log took events when it was last given any, and neither a view that is projected here nor the inbox stands still.
async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    let not = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if !matches!(tokio::time::timeout(PATIENCE, health.log.bounds()).await, Ok(Ok(_))) {
        return not("the log does not answer");
    }
    if health.publisher.appends_in_vain() {
        return not("the log takes no events");
    }
    if let Some(store) = &health.store
        && !matches!(tokio::time::timeout(PATIENCE, store.engine().query("SELECT 1", &[])).await, Ok(Ok(_)))
    {
        return not("the store does not answer");
    }
    health.stalled().map_or_else(|| (StatusCode::OK, "ready\n".to_owned()), |why| not(&why))
}

async fn metrics(State(health): State<Arc<Health>>) -> String {
    if let Some(store) = &health.store {
        health.look(store).await;
    }
    health.metrics.render()
}
