//! Wires the roles together and supervises them: the first task that ends stops the rest and sets the exit code.

use crate::health::{self, Health};
use crate::settings::Settings;
use crate::telemetry;
use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use domain::views::View;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What runs in this process.
pub struct Roles {
    pub ingest: bool,
    pub query: bool,
    pub views: Vec<View>,
}

type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Runs the roles until a signal, or until one of them ends.
pub async fn serve(settings: &Settings, name: &'static str, roles: &Roles) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init(&settings.telemetry, name)?;
    let handle = telemetry::metrics()?;
    let cancel = CancellationToken::new();
    let log = crate::commands::open_log(settings).await?;
    let store = match roles.query || !roles.views.is_empty() {
        true => Some(open_store(settings).await?),
        false => None,
    };
    let mut tasks = Tasks::new();
    let mut router = Router::new();
    if roles.ingest || roles.query {
        router = router.merge(api(settings, roles, &log, store.as_ref()).await?);
    }
    for view in &roles.views {
        let store = store.clone().context("a projector needs a store")?;
        project(&mut tasks, *view, settings, log.clone(), store, cancel.clone())?;
    }
    let health = Health { log, store, views: roles.views.clone(), metrics: handle };
    router = router.merge(health::routes(Arc::new(health)));
    if !settings.telemetry.otlp_endpoint.is_empty() {
        router = router.layer(tower_http::trace::TraceLayer::new_for_http());
    }
    listen(&mut tasks, settings, router, cancel.clone()).await?;
    tracing::info!(role = name, listen = %settings.listen, "started");
    supervise(tasks, cancel, Duration::from_secs(settings.shutdown.drain_limit_s)).await
}

async fn listen(tasks: &mut Tasks, settings: &Settings, router: Router, cancel: CancellationToken) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(&settings.listen).await.with_context(|| format!("listen {}", settings.listen))?;
    let listener = listener.tap_io(|io| {
        let _ = io.set_nodelay(true);
    });
    tasks.spawn(async move {
        let done = axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await;
        ("http", done.context("http server"))
    });
    Ok(())
}

/// Waits for a signal or the first task to end, then lets the rest drain.
async fn supervise(mut tasks: Tasks, cancel: CancellationToken, limit: Duration) -> anyhow::Result<ExitCode> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut code = ExitCode::SUCCESS;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted, draining"),
        _ = terminate.recv() => tracing::info!("terminated, draining"),
        Some(ended) = tasks.join_next() => {
            report(ended);
            code = ExitCode::FAILURE;
        }
    }
    cancel.cancel();
    let drained = tokio::time::timeout(limit, async {
        while let Some(ended) = tasks.join_next().await {
            if !report(ended) {
                code = ExitCode::FAILURE;
            }
        }
    });
    if drained.await.is_err() {
        tracing::error!(limit_s = limit.as_secs(), "the drain took too long");
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Logs how a task ended; whether it ended well.
fn report(ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>) -> bool {
    match ended {
        Ok((task, Ok(()))) => {
            tracing::info!(task, "ended");
            true
        }
        Ok((task, Err(e))) => {
            tracing::error!(task, error = format!("{e:#}"), "failed");
            false
        }
        Err(e) => {
            tracing::error!(error = %e, "panicked");
            false
        }
    }
}
