//! Commands that do one thing and end.

use crate::operations::tell;
use crate::settings::Settings;
use crate::signals::interrupted;
use anyhow::{Context as _, bail};
use eventlog::Log;
use ingest::{Mapping, NdjsonLimits, Progress, Publisher, Refused};
use journeylog::simulate::DEFAULT_UNTIL;
use serde_json::json;
use std::io::{IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Done, but some input was refused, or a check found problems.
pub const REFUSED: u8 = 3;
/// How often plain and JSON progress is written.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Opens the configured log.
pub async fn open_log(settings: &Settings) -> anyhow::Result<Arc<dyn Log>> {
    if let Some(kind) = codec::unlocked().first() {
        bail!("the schema of {} has no id yet: run `journeylog schemas lock`", kind.as_str());
    }
    eventlog::open(&settings.log.url, &settings.log.options()?).await.context("log")
}

/// A publisher that knows the last events of the log, as the gateway does: sending a file again adds nothing.
async fn open_publisher(settings: &Settings) -> anyhow::Result<Arc<Publisher>> {
    let window = ingest::Settings { window_events: settings.ingest.recent_events, ..Default::default() };
    let publisher = Publisher::new(open_log(settings).await?, window);
    let publisher = publisher.with_pseudonyms(settings.site.pseudonyms()?);
    publisher.warm(settings.ingest.recent_events).await.context("log")?;
    Ok(Arc::new(publisher))
}

/// `journeylog publish`.
pub async fn publish(settings: &Settings, file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let cancel = interrupted()?;
    let open = async {
        let publisher = open_publisher(settings).await?;
        let reader: Box<dyn AsyncRead + Unpin + Send> = if file == Path::new("-") {
            Box::new(tokio::io::stdin())
        } else {
            Box::new(tokio::fs::File::open(file).await.with_context(|| format!("open {}", file.display()))?)
        };
        Ok((publisher, reader))
    };
    let (publisher, reader) = unless_told(&cancel, "publish", file, open).await?;
    let mut meter = Meter::new(json, size_of(file)?);
    let reader = meter.bar.wrap_async_read(reader);
    let reader = Interruptible::new(reader, &cancel);
    let limits = settings.ingest.ndjson(NdjsonLimits::default());
    let done = ingest::publish_ndjson(reader, publisher, limits, |counts, refused| meter.show(counts, refused)).await;
    let summary = done.with_context(|| meter.stopped("publish", file, &cancel))?;
    Ok(meter.end(&summary.counts))
}

/// `journeylog import`.
pub async fn import(
    settings: &Settings,
    mapping: &Path,
    file: &Path,
    refused: Option<&Path>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let cancel = interrupted()?;
    let text = std::fs::read_to_string(mapping).with_context(|| format!("mapping {}", mapping.display()))?;
    let mapping = Mapping::parse(&text).with_context(|| format!("mapping {}", mapping.display()))?;
    let mut list = match refused {
        Some(path) => Some(std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?),
        None => None,
    };
    let open = async {
        let publisher = open_publisher(settings).await?;
        let input = tokio::fs::File::open(file).await.with_context(|| format!("open {}", file.display()))?;
        Ok((publisher, input.into_std().await))
    };
    let (publisher, input) = unless_told(&cancel, "import", file, open).await?;
    let mut meter = Meter::new(json, size_of(file)?);
    let input = meter.bar.wrap_read(input);
    let input = Interruptible::new(input, &cancel);
    let limits = settings.ingest.ndjson(NdjsonLimits::default());
    let mut listed = Ok(());
    let done = ingest::import(input, &mapping, publisher, limits, |counts, rows| {
        if let Some(out) = &mut list {
            for r in rows {
                let written = writeln!(out, "{}", json!({"line": r.line, "reason": r.reason}));
                listed = std::mem::replace(&mut listed, Ok(())).and(written);
            }
            meter.show(counts, &[]);
        } else {
            meter.show(counts, rows);
        }
    });
    let report = done.await.with_context(|| meter.stopped("import", file, &cancel))?;
    listed.context("the list of refused rows is not complete")?;
    Ok(meter.end(&report.counts))
}

/// What is done before the first event is read, which with a large log takes a while.
async fn unless_told<T>(
    cancel: &CancellationToken,
    what: &str,
    file: &Path,
    open: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => bail!("{what} {}: interrupted before the first event", file.display()),
        opened = open => opened,
    }
}

/// Input that fails once the process is told to end: what was read before is still published.
struct Interruptible<R> {
    input: R,
    cancel: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<R> Interruptible<R> {
    fn new(input: R, cancel: &CancellationToken) -> Self {
        Self { input, cancel: cancel.clone(), cancelled: Box::pin(cancel.clone().cancelled_owned()) }
    }

    fn interrupted() -> std::io::Error {
        std::io::Error::other("interrupted")
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Interruptible<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<std::io::Result<()>> {
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(Self::interrupted()));
        }
        Pin::new(&mut self.input).poll_read(cx, buf)
    }
}

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_cancelled() { Err(Self::interrupted()) } else { self.input.read(buf) }
    }
}

/// Size of a file, bytes; nothing for standard input and for pipes.
fn size_of(file: &Path) -> anyhow::Result<Option<u64>> {
    if file == Path::new("-") {
        return Ok(None);
    }
    let meta = std::fs::metadata(file).with_context(|| format!("open {}", file.display()))?;
    Ok(meta.is_file().then_some(meta.len()))
}

/// Shows progress: a bar on a terminal, plain lines elsewhere, JSON lines on request. Refused lines go to standard error.
struct Meter {
    bar: indicatif::ProgressBar,
    json: bool,
    begun: Instant,
    shown: Instant,
    counts: Progress,
}

impl Meter {
    fn new(json: bool, bytes: Option<u64>) -> Self {
        let bar = match bytes {
            _ if json || !std::io::stderr().is_terminal() => indicatif::ProgressBar::hidden(),
            Some(bytes) => indicatif::ProgressBar::new(bytes),
            None => indicatif::ProgressBar::new_spinner(),
        };
        bar.set_length(bytes.unwrap_or(0));
        let style = indicatif::ProgressStyle::with_template("{bar:30} {percent}% {msg}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
        Self { bar, json, begun: Instant::now(), shown: Instant::now(), counts: Progress::default() }
    }

    fn rate(&self) -> f64 {
        self.counts.lines as f64 / self.begun.elapsed().as_secs_f64().max(0.001)
    }

    fn last(&self) -> String {
        let c = &self.counts;
        format!(
            "{} events ({} new, {} duplicate, {} refused), {:.0}/s",
            c.lines,
            c.accepted,
            c.duplicates,
            c.refused,
            self.rate()
        )
    }

    /// What is to be known where it ended before its end.
    fn stopped(&self, what: &str, file: &Path, cancel: &CancellationToken) -> String {
        let again = if cancel.is_cancelled() {
            "; what was accepted is in the log, the rest goes when it is sent again"
        } else {
            ""
        };
        format!("{what} {}: {}{again}", file.display(), self.last())
    }

    fn show(&mut self, counts: &Progress, refused: &[Refused]) {
        self.counts = *counts;
        for r in refused {
            self.bar.suspend(|| tell(format_args!("line {}: {}", r.line, r.reason)));
        }
        self.bar.set_message(self.last());
        if self.shown.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.shown = Instant::now();
        if self.json {
            self.line(false);
        } else if !std::io::stderr().is_terminal() {
            match self.bar.length().filter(|length| *length > 0) {
                Some(length) => {
                    let percent = self.bar.position().saturating_mul(100) / length;
                    tell(format_args!("{percent}% {}, {:.0?} left", self.last(), self.bar.eta()));
                }
                None => tell(format_args!("{}", self.last())),
            }
        }
    }

    fn line(&self, done: bool) {
        let c = &self.counts;
        let line = json!({"rows": c.lines, "accepted": c.accepted, "duplicates": c.duplicates, "refused": c.refused,
            "rate": self.rate().round(), "bytes": self.bar.position(), "total_bytes": self.bar.length(), "done": done});
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    fn end(mut self, counts: &Progress) -> ExitCode {
        self.counts = *counts;
        self.bar.finish_and_clear();
        if self.json {
            self.line(true);
        } else {
            tell(format_args!("{}", self.last()));
        }
        if counts.refused > 0 { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS }
    }
}

/// `journeylog simulate`.
pub fn simulate(
    patients: u64,
    days: u32,
    seed: u64,
    until: Option<domain::Micros>,
    output: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let until = until.unwrap_or(DEFAULT_UNTIL);
    let options = journeylog::simulate::Options { patients, days, seed, until };
    let out: Box<dyn std::io::Write> = match output {
        Some(path) => Box::new(std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut out = std::io::BufWriter::with_capacity(1 << 20, out);
    let summary = match journeylog::simulate::run(&options, &mut out).and_then(|s| out.flush().map(|()| s)) {
        Ok(summary) => summary,
        // Whoever read the lines has enough, as `head` does.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(e) => return Err(e).context("simulate"),
    };
    tell(format_args!(
        "{} events of {} patients, {} lines sent twice",
        summary.events, summary.patients, summary.resent
    ));
    Ok(ExitCode::SUCCESS)
}
