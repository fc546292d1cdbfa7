//! Wires the roles together and supervises them: the first task that ends stops the rest and sets the exit code.

use crate::health::{self, Health};
use crate::http;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::telemetry;
use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use domain::views::{View, follow_ups::contact::Hours};
use eventlog::Log;
use futures::FutureExt as _;
use ingest::{Gateway, Publisher};
use query::Problem;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// What runs in this process.
#[derive(Default)]
pub struct Roles {
    pub ingest: bool,
    pub hl7: bool,
    pub inbox: bool,
    pub query: bool,
    pub views: Vec<View>,
}

/// Connections to the store for reading, besides those of the projectors' writers.
const READ_CONNECTIONS: u32 = 8;

/// How long the end waits until the log and the store are closed.
const CLOSED: Duration = Duration::from_millis(500);
/// How long the end waits for the last counts of what came in.
const LAST_COUNTS: Duration = Duration::from_millis(500);

type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Runs the roles until a signal, or until one of them ends.
pub async fn serve(settings: &Settings, name: &'static str, roles: Roles) -> anyhow::Result<ExitCode> {
    let _telemetry = telemetry::init(&settings.telemetry, name)?;
    let handle = telemetry::metrics()?;
    let cancel = CancellationToken::new();
    let log = crate::commands::open_log(settings).await?;
    let store = open_store(settings, &roles).await?;
    let mut tasks = Tasks::new();
    let mut router = Router::new();
    let samples = Arc::new(query::status::Samples::default());
    let window = ingest::Settings { window_events: settings.ingest.recent_events, traceparent: telemetry::traceparent };
    // A site file that is wrong is found now, not with the first message.
    let pseudonyms = if roles.ingest { settings.site.pseudonyms()? } else { None };
    let publisher = Arc::new(Publisher::new(log.clone(), window).with_pseudonyms(pseudonyms));
    let fhir = roles
        .ingest
        .then(|| Arc::new(ingest::Fhir::new(publisher.clone(), ingest::fhir::Limits::of(&limits(settings)))));
    let hl7 = match roles.hl7 {
        true => Some(crate::hl7::receiver(settings, publisher.clone()).await?),
        false => None,
    };
    if roles.ingest || roles.hl7 {
        // One reading of the log for all that remember.
        let learn = |event: &domain::Event| {
            fhir.iter().for_each(|f| f.learn(event));
            hl7.iter().for_each(|h| h.learn(event));
        };
        let known = publisher.warm_with(settings.ingest.recent_events, learn).await.context("log")?;
        tracing::info!(events = known, "recent events remembered");
    }
    if let Some(receiver) = hl7 {
        let run = crate::hl7::listen(settings, receiver, cancel.clone()).await?;
        tasks.spawn(run.map(|()| ("hl7", Ok(()))));
    }
    if roles.ingest || roles.query {
        let store = store.as_ref().filter(|_| roles.query);
        let api = api(settings, &log, publisher.clone(), fhir, store).await?;
        router = router.merge(api.layer(axum::Extension(samples.clone())));
    }
    if roles.ingest || roles.inbox {
        router = router.merge(crate::inbox::registry(settings)?);
    }
    let mut condition = None;
    if roles.inbox {
        let inbox = crate::inbox::open(settings, log.clone()).await?;
        condition = Some(inbox.condition());
        let stop = cancel.clone();
        tasks.spawn(async move { ("inbox", inbox.run(stop).await.map_err(Into::into)) });
    }
    if let Some(store) = &store {
        if let Ok(Some(why)) = crate::views::other_standards(store, &crate::views::mot(settings)?).await {
            tracing::warn!("{why}");
        }
        project(&mut tasks, settings, &roles.views, &log, store, &cancel)?;
    }
    let all_in = CancellationToken::new();
    let counting = (roles.ingest || roles.hl7 || roles.inbox)
        .then(|| tokio::spawn(crate::intake::keep(settings.store.url.clone(), store.clone(), all_in.clone())));
    let health = Health::new(log.clone(), store.clone(), publisher, &roles.views, samples, condition, handle);
    let health = Arc::new(health);
    router = router.merge(health::routes(health.clone()));
    let watching = cancel.clone();
    // Not among the tasks: whether somebody looks must not decide whether the roles run.
    tokio::spawn(async move { health.watch(watching).await });
    let router = around(settings, router);
    listen(&mut tasks, settings, router, cancel.clone()).await?;
    tracing::info!(role = name, listen = %settings.listen, "started");
    let ended = supervise(tasks, cancel, Duration::from_secs(settings.shutdown.drain_limit_s)).await;
    all_in.cancel();
    close(counting, log.as_ref(), store.as_ref()).await;
    ended
}

/// Waits for the last counts of what came in, then closes the log and the store.
async fn close(counting: Option<JoinHandle<()>>, log: &dyn Log, store: Option<&Store>) {
    if let Some(counting) = counting {
        // What the store doesn't take in time is lost, as docs/operations/data-quality.md says.
        let _ = tokio::time::timeout(LAST_COUNTS, counting).await;
    }
    let store = async {
        if let Some(store) = store {
            store.engine().close().await;
        }
    };
    // What isn't closed in time is as after a kill: nothing is lost, and an embedded file's write-ahead log stays beside it.
    let _ = tokio::time::timeout(CLOSED, async { tokio::join!(store, log.close()) }).await;
}

/// Runs the projectors of some views.
fn project(
    tasks: &mut Tasks,
    settings: &Settings,
    views: &[View],
    log: &Arc<dyn Log>,
    store: &Store,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    for view in views {
        let (mot, rate) = (crate::views::mot(settings)?, settings.projector.verify_keys_per_s);
        let made_by = crate::views::configured(*view, &mot)?;
        let options = projector::Options { made_by, ..settings.project(*view)? };
        if rate > 0.0 {
            let watch = crate::views::watch(*view, mot.clone(), log.clone(), store.clone(), rate, cancel.clone());
            // Not among the tasks: neither its end nor its panic must end what it checks.
            tokio::spawn(watch);
        }
        let run = crate::views::project(*view, mot, log.clone(), store.clone(), options, cancel.clone());
        let name = view.as_str();
        tasks.spawn(async move { (name, run.await.map_err(Into::into)) });
    }
    Ok(())
}

/// What holds for every route: problems for paths that aren't there, and traces.
fn around(settings: &Settings, router: Router) -> Router {
    let router = router.fallback(|| async { Problem::not_found("path") }).method_not_allowed_fallback(|| async {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "the path has other methods",
        )
    });
    if settings.telemetry.otlp_endpoint.is_empty() {
        return router;
    }
    router.layer(tower_http::trace::TraceLayer::new_for_http().make_span_with(telemetry::request_span))
}

/// Opens the store where these roles use it, with as many connections as they use at once.
async fn open_store(settings: &Settings, roles: &Roles) -> anyhow::Result<Option<Store>> {
    if !roles.query && roles.views.is_empty() {
        return Ok(None);
    }
    // Two generations of a view may have to be kept up to date at once.
    let writers = u32::try_from(2 * roles.views.len() * settings.projector.workers).unwrap_or(u32::MAX);
    let readers = if roles.query { READ_CONNECTIONS } else { 2 };
    let store = Store::connect(&settings.store.url, writers.saturating_add(readers)).await.context("store")?;
    Ok(Some(store))
}

/// The gateway, where there is a `fhir`, and the read API, where there is a `store`, described in one document.
async fn api(
    settings: &Settings,
    log: &Arc<dyn Log>,
    publisher: Arc<Publisher>,
    fhir: Option<Arc<ingest::Fhir>>,
    store: Option<&Store>,
) -> anyhow::Result<Router> {
    let mut router = Router::new();
    if let Some(fhir) = fhir {
        router = router.merge(ingest::router(Arc::new(Gateway::new(publisher.clone(), limits(settings)))));
        let pseudonyms = publisher.pseudonyms().cloned();
        router = router.merge(ingest::pseudonyms::router(pseudonyms, settings.site.staff()?));
        router = router.merge(ingest::fhir::router(fhir));
    }
    if let Some(store) = store {
        let mot = crate::views::mot(settings)?;
        for view in View::ALL {
            let made_by = crate::views::configured(view, &mot)?;
            store.ensure_view(crate::views::spec(view), &made_by).await.context("store")?;
        }
        let [from, until] = settings.follow_ups.quiet_hours;
        anyhow::ensure!(from < 24 && until < 24, "follow_ups.quiet_hours: hours are 0 to 23");
        let quiet = query::follow_ups::QuietHours(Hours::between(from, until));
        let reading = query::router(Arc::new(query::App {
            store: store.clone(),
            publish: Arc::new(Outbox { publisher, log: log.clone() }),
            now: ingest::now,
            edition: query::edition(&mot),
            mot: Arc::new(mot),
            after_limit: Duration::from_millis(settings.query.after_limit_ms),
        }));
        router = router.merge(reading.layer(axum::Extension(quiet)));
    }
    // Whoever opens the bare address in a browser finds what is here.
    let router = router.route("/", axum::routing::get(|| async { axum::response::Redirect::to("/docs") }));
    Ok(router.merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", openapi())))
}

/// The description of the whole API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut doc = query::openapi();
    for part in [ingest::openapi(), ingest::fhir::openapi(), ingest::pseudonyms::openapi()] {
        doc.merge(part);
    }
    doc
}

fn limits(settings: &Settings) -> ingest::Limits {
    let i = &settings.ingest;
    let limits = ingest::Limits::default();
    ingest::Limits {
        body_bytes: i.max_body_bytes,
        array_events: i.max_batch_events,
        in_flight_events: i.max_in_flight_events,
        ndjson: i.ndjson(limits.ndjson),
        ..limits
    }
}

async fn listen(
    tasks: &mut Tasks,
    settings: &Settings,
    router: Router,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let listener =
        tokio::net::TcpListener::bind(&settings.listen).await.with_context(|| format!("listen {}", settings.listen))?;
    let limits = http::Limits::within(Duration::from_secs(settings.shutdown.drain_limit_s));
    tasks.spawn(async move {
        http::serve(listener, router, limits, cancel).await;
        ("http", Ok(()))
    });
    Ok(())
}

/// Waits for a signal or the first task to end, then lets the rest drain.
async fn supervise(mut tasks: Tasks, cancel: CancellationToken, limit: Duration) -> anyhow::Result<ExitCode> {
    let (mut signals, mut code) = (Signals::new()?, ExitCode::SUCCESS);
    tokio::select! {
        () = signals.first() => tracing::info!("told to end, draining; a second Ctrl-C ends at once"),
        Some(ended) = tasks.join_next() => {
            report(ended);
            code = ExitCode::FAILURE;
        }
    }
    cancel.cancel();
    signals.next_ends();
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
        // The panic was logged by its hook; its message stays out of the log.
        Err(_) => false,
    }
}
