//! NDJSON of any length in bounded memory: lines -> batches -> publisher, several batches under way, answers in order.

mod lines;
mod pipeline;

pub use pipeline::LineResult;
pub(crate) use pipeline::{Batch, Pipeline};

use crate::intake::{self, Outcome, Protocol};
use crate::numbered;
use crate::problem::Problem;
use crate::publisher::{Prepared, Publisher};
use crate::site::Pseudonyms;
use bytes::Bytes;
use domain::{Event, Micros, parse};
use futures::{FutureExt as _, Stream, StreamExt as _};
use lines::{Line, Lines};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;

/// Limits of an NDJSON stream.
#[derive(Debug, Clone, Copy)]
pub struct NdjsonLimits {
    /// Longest line, bytes; a longer one is refused and skipped.
    pub line_bytes: usize,
    /// Most lines per batch.
    pub batch_lines: usize,
    /// Most bytes of lines per batch; together with `in_flight` it bounds the memory of a stream.
    pub batch_bytes: usize,
    /// Batches under way at a time.
    pub in_flight: usize,
    /// How long a batch is tried again while the log is busy or away, before the stream is stopped.
    pub retry_for: Duration,
    /// Limits of each event.
    pub event: parse::Limits,
}

impl Default for NdjsonLimits {
    fn default() -> Self {
        Self {
            line_bytes: 262_144,
            batch_lines: 1_000,
            batch_bytes: 1 << 20,
            in_flight: 4,
            retry_for: Duration::from_secs(30),
            event: parse::Limits::default(),
        }
    }
}

/// One line as an event ready to publish.
fn prepare(
    line: &Line,
    limits: &NdjsonLimits,
    known: Option<&Pseudonyms>,
    now: Micros,
    counted: Option<Protocol>,
) -> Result<Prepared, Problem> {
    let event = match line {
        Line::TooLong => Err(Problem::too_large(format!("the line is longer than {} bytes", limits.line_bytes))),
        Line::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => numbered::event(text, known),
            Err(_) => Err(Problem::of_parse(parse::ParseError::Utf8)),
        },
    };
    checked(event, &limits.event, now, counted)
}

/// Checks an event's rules, and counts what is refused.
pub(crate) fn checked(
    event: Result<Event, Problem>,
    limits: &parse::Limits,
    now: Micros,
    counted: Option<Protocol>,
) -> Result<Prepared, Problem> {
    let refused = |source: &str, problem: Problem| {
        if let Some(protocol) = counted {
            intake::count(source, protocol, Outcome::Refused(problem.code()));
        }
        problem
    };
    let event = event.map_err(|p| refused(domain::source::UNKNOWN, p))?;
    let source = event.header().source.system.clone();
    Prepared::new(event, limits, now).map_err(|errors| refused(&source, Problem::invalid(errors)))
}

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// Its bytes could not be read.
    #[error("reading failed")]
    Read(#[source] io::Error),
    /// The log stayed busy or away; lines after the last answered one were not taken.
    #[error("the log stayed unavailable")]
    Log,
    /// Whoever wanted the answers has gone.
    #[error("nobody takes the answers any more")]
    Gone,
}

/// Reads lines from `chunks`, publishes them, counts them as `counted`, and hands every answer to `out`, in order. `out` says `false` to stop.
pub(crate) async fn run<S, O, F>(
    mut chunks: S,
    publisher: Arc<Publisher>,
    limits: NdjsonLimits,
    counted: Option<Protocol>,
    mut out: O,
) -> Result<(), Stopped>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
    O: FnMut(Vec<LineResult>) -> F + Send,
    F: Future<Output = bool> + Send,
{
    let mut lines = Lines::default();
    let mut pipeline = Pipeline::new(publisher.clone(), limits.in_flight, limits.retry_for).counted(counted);
    let mut broken = None;
    let mut end = false;
    loop {
        let mut batch = Batch::new();
        let mut bytes = 0;
        let now = crate::now();
        while batch.len() < limits.batch_lines && bytes < limits.batch_bytes {
            if let Some((number, line)) = lines.next(limits.line_bytes, end && broken.is_none()) {
                bytes += if let Line::Text(t) = &line { t.len() } else { 0 };
                batch.push((number, prepare(&line, &limits, publisher.pseudonyms(), now, counted)));
            } else if end {
                break;
            } else {
                // What is here goes out at once; only with nothing in hand is it worth waiting for more.
                let chunk = if batch.is_empty() {
                    tokio::select! {
                        biased;
                        Some(answers) = pipeline.next(), if !pipeline.is_empty() => {
                            answer(answers, &mut out).await?;
                            continue;
                        }
                        chunk = chunks.next() => chunk,
                    }
                } else {
                    match chunks.next().now_or_never() {
                        Some(chunk) => chunk,
                        None => break,
                    }
                };
                match chunk {
                    Some(Ok(chunk)) => lines.push(&chunk),
                    Some(Err(e)) => {
                        // The last, unfinished line may be cut short: it is not taken.
                        broken = Some(e);
                        end = true;
                    }
                    None => end = true,
                }
            }
        }
        if batch.is_empty() && end {
            break;
        }
        while pipeline.is_full() {
            if let Some(answers) = pipeline.next().await {
                answer(answers, &mut out).await?;
            }
        }
        if let Some(answers) = pipeline.push(batch) {
            answer(answers, &mut out).await?;
        }
    }
    while let Some(answers) = pipeline.next().await {
        answer(answers, &mut out).await?;
    }
    broken.map_or(Ok(()), |e| Err(Stopped::Read(e)))
}

async fn answer<O, F>(answers: Vec<LineResult>, out: &mut O) -> Result<(), Stopped>
where
    O: FnMut(Vec<LineResult>) -> F,
    F: Future<Output = bool>,
{
    let stop = answers.iter().any(|a| matches!(&a.result, Err(p) if p.retry_after.is_some()));
    if !out(answers).await {
        return Err(Stopped::Gone);
    }
    if stop { Err(Stopped::Log) } else { Ok(()) }
}

/// How far a publication has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines answered, blank ones not counted.
    pub lines: u64,
    /// New events in the log.
    pub accepted: u64,
    /// Events that were there before.
    pub duplicates: u64,
    /// Lines refused.
    pub refused: u64,
}

impl Progress {
    pub(crate) fn count(&mut self, answer: &LineResult) {
        self.lines += 1;
        match &answer.result {
            Ok(a) if a.duplicate => self.duplicates += 1,
            Ok(_) => self.accepted += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// A refused line.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Line number, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

impl Refused {
    pub(crate) fn new(line: u64, problem: &Problem) -> Self {
        let fields: Vec<_> = problem.errors.iter().map(|e| format!("{} {}", e.pointer, e.reason)).collect();
        let reason = if fields.is_empty() { problem.detail.clone() } else { fields.join("; ") };
        Self { line, reason: reason.trim_start().to_owned() }
    }
}

/// What came of a publication.
#[derive(Debug, Default)]
pub struct Summary {
    /// The counts.
    pub counts: Progress,
    /// The first [`Summary::MOST_REFUSED`] refused lines.
    pub refused: Vec<Refused>,
}

impl Summary {
    /// How many refused lines are listed; all are counted, and all go to the callback.
    pub const MOST_REFUSED: usize = 10_000;
}

/// Publishes NDJSON. `progress` is called after each batch with the counts so far and the batch's refused lines.
///
/// # Errors
/// When reading fails, or the log stays unavailable for longer than [`NdjsonLimits::retry_for`]. What was accepted
/// until then is durable, and publishing the same input again is safe.
pub async fn publish_ndjson<R: AsyncRead + Unpin + Send>(
    reader: R,
    publisher: Arc<Publisher>,
    limits: NdjsonLimits,
    mut progress: impl FnMut(&Progress, &[Refused]) + Send,
) -> Result<Summary, Stopped> {
    let chunks = tokio_util::io::ReaderStream::with_capacity(reader, limits.batch_bytes.clamp(4_096, 1 << 20));
    let mut summary = Summary::default();
    let out = |answers: Vec<LineResult>| {
        let before = summary.refused.len();
        let mut refused = Vec::new();
        for a in &answers {
            summary.counts.count(a);
            if let Err(p) = &a.result {
                refused.push(Refused::new(a.line, p));
            }
        }
        progress(&summary.counts, &refused);
        refused.truncate(Summary::MOST_REFUSED.saturating_sub(before));
        summary.refused.append(&mut refused);
        std::future::ready(true)
    };
    run(chunks, publisher, limits, None, out).await?;
    Ok(summary)
}

#[cfg(test)]
mod tests;
