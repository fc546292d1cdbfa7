//! Logs, traces and metrics. Traces are off unless an OTLP end point is configured.

use crate::operations::tell;
use crate::settings::{LogFormat, Telemetry};
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How often the samples of histograms are summed up; unscraped ones would pile up otherwise.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Upper bounds of the latency histograms, seconds.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Keeps the exporters alive; dropping it flushes them.
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(e) = provider.shutdown()
        {
            tell(format_args!("traces were not flushed: {e}"));
        }
    }
}

/// Sets up logs and traces for the process. The filter is for what is logged; traces have every span from INFO on.
pub fn init(settings: &Telemetry, role: &'static str) -> anyhow::Result<Guard> {
    let filter = EnvFilter::try_new(&settings.filter).context("telemetry.filter")?;
    let provider =
        if settings.otlp_endpoint.is_empty() { None } else { Some(provider(&settings.otlp_endpoint, role)?) };
    let tracer = |p: &SdkTracerProvider| tracing_opentelemetry::layer().with_tracer(p.tracer("journeylog"));
    let traces = provider.as_ref().map(|p| tracer(p).with_filter(LevelFilter::INFO));
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let lines = match settings.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(traces).with(lines.with_filter(filter)).try_init().context("telemetry")?;
    // The message of a panic may quote the data that it was about; the place is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    Ok(Guard(provider))
}

fn provider(endpoint: &str, role: &'static str) -> anyhow::Result<SdkTracerProvider> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .context("telemetry.otlp_endpoint")?;
    let resource = Resource::builder().with_service_name(format!("journeylog-{role}")).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Sets up metrics for the process and keeps them small, on the runtime that it is called on; the handle renders them.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("metrics")?;
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

/// The span of a request, within the trace that the sender began (W3C `traceparent` and `tracestate`), if it did. It names
/// the route, never the path: that has a patient's pseudonym in it.
pub fn request_span(request: &axum::extract::Request) -> tracing::Span {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let route = request.extensions().get::<axum::extract::MatchedPath>().map_or("", axum::extract::MatchedPath::as_str);
    let span =
        tracing::info_span!("http", otel.kind = "server", http.request.method = %request.method(), http.route = route);
    let sent = |name: &str| Some((name.to_owned(), request.headers().get(name)?.to_str().ok()?.to_owned()));
    let context = remote(["traceparent", "tracestate"].into_iter().filter_map(sent).collect());
    if context.span().span_context().is_valid()
        && let Err(error) = span.set_parent(context)
    {
        tracing::debug!(%error, "the sender's trace is not continued");
    }
    span
}

/// The context that W3C headers name.
fn remote(headers: HashMap<String, String>) -> opentelemetry::Context {
    use opentelemetry::propagation::TextMapPropagator as _;
    TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &headers)
}

/// The W3C `traceparent` of the current span, if it is traced.
pub fn traceparent() -> Option<String> {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let context = tracing::Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// How a batch's span is linked to the spans that published its events; nothing while traces are off.
pub fn link(settings: &Telemetry) -> Option<fn(&tracing::Span, &str)> {
    fn link(span: &tracing::Span, traceparent: &str) {
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;
        let context = remote(HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]));
        span.add_link(context.span().span_context().clone());
    }
    if settings.otlp_endpoint.is_empty() { None } else { Some(link) }
}
