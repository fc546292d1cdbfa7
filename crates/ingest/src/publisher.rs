//! The one way to the log: encode, de-duplicate within a window, append, answer.

mod prepared;
mod window;

use crate::site::Pseudonyms;
use bytes::Bytes;
use domain::{Event, EventId};
use eventlog::{Log, LogError, NewRecord, Position};
use metrics::{Counter, Histogram, counter, histogram};
pub use prepared::Prepared;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use window::{Claim, Window};

/// The answer for an event that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The event.
    pub event_id: EventId,
    /// Where it lies.
    pub position: Position,
    /// Whether it was there before.
    pub duplicate: bool,
}

/// Why an event is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Other content was accepted under this id.
    #[error("another event was accepted under this id")]
    Conflict,
    /// The log is full or slow: transient.
    #[error("the log is busy")]
    Busy,
    /// The log can't be reached: transient. The event may be in the log all the same; resending it is safe.
    #[error("the log is unavailable")]
    Unavailable,
    /// The log will never take it: permanent.
    #[error("the log refused it: {0}")]
    Refused(String),
}

impl Refusal {
    /// Whether the same event may be accepted later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }
}

/// Settings of a publisher.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many recent events the window of de-duplication holds (about 100 bytes each).
    pub window_events: usize,
    /// Gives the W3C `traceparent` of the current span, if there is one.
    pub traceparent: fn() -> Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window_events: 200_000, traceparent: || None }
    }
}

struct Meters {
    accepted: Counter,
    duplicate: Counter,
    conflict: Counter,
    busy: Counter,
    unavailable: Counter,
    refused: Counter,
    append: Histogram,
}

/// Publishes events; cheap to share.
///
/// Construct it after the metrics recorder is installed.
pub struct Publisher {
    log: Arc<dyn Log>,
    window: Window,
    traceparent: fn() -> Option<String>,
    meters: Meters,
    pseudonyms: Option<Pseudonyms>,
    /// When the log took nothing, if that was the last it did.
    in_vain: Mutex<Option<Instant>>,
}

/// How long an append in vain says that the log takes nothing: who sends no more because of it must not wait for ever.
const IN_VAIN: Duration = Duration::from_secs(10);

impl Publisher {
    /// A publisher to a log.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, settings: Settings) -> Self {
        let of = |result: &'static str| counter!("ingest_events_total", "result" => result);
        let meters = Meters {
            accepted: of("accepted"),
            duplicate: of("duplicate"),
            conflict: of("conflict"),
            busy: of("busy"),
            unavailable: of("unavailable"),
            refused: of("refused"),
            append: histogram!("ingest_append_seconds"),
        };
        let window = Window::new(settings.window_events);
        Self { log, window, traceparent: settings.traceparent, meters, pseudonyms: None, in_vain: Mutex::default() }
    }

    /// The same, for senders who name patients by record numbers.
    #[must_use]
    pub fn with_pseudonyms(mut self, pseudonyms: Option<Pseudonyms>) -> Self {
        self.pseudonyms = pseudonyms;
        self
    }

    /// What makes pseudonyms of record numbers, where that is set up.
    #[must_use]
    pub const fn pseudonyms(&self) -> Option<&Pseudonyms> {
        self.pseudonyms.as_ref()
    }

    /// Fills the window from the end of the log, so that a restart forgets little. At most `max` records are read, spread
    /// evenly over the partitions; returns how many are now known. Call it before taking events.
    ///
    /// # Errors
    /// Those of the log; the window then is only partly warm, which is safe.
    pub async fn warm(&self, max: usize) -> Result<usize, LogError> {
        self.warm_with(max, |_| ()).await
    }

    /// The same, and shows each event to `learn`: those of one patient in order.
    ///
    /// # Errors
    /// As [`Publisher::warm`].
    pub async fn warm_with(&self, max: usize, mut learn: impl FnMut(&Event) + Send) -> Result<usize, LogError> {
        const PAGE: usize = 2_000;
        let bounds = self.log.bounds().await?;
        let each = (max / bounds.len().max(1)) as u64;
        let mut known = 0;
        for (partition, (first, end)) in (0..).zip(bounds) {
            let mut next = first.max(end.saturating_sub(each));
            while next < end {
                let records = self.log.read(partition, next, PAGE).await?;
                let Some(last) = records.last() else { break };
                next = last.position.offset + 1;
                for record in &records {
                    if let Ok(event) = codec::decode(&record.value) {
                        self.window.remember(event.header().event_id, event.content_hash(), record.position);
                        learn(&event);
                        known += 1;
                    }
                }
            }
        }
        Ok(known)
    }

    /// Publishes events and answers for each, in order. Those accepted are durable when it returns.
    ///
    /// Dropping the future leaves it open whether its events are in the log; sending them again is safe.
    pub async fn publish(&self, events: &[Prepared]) -> Vec<Result<Accepted, Refusal>> {
        let mut answers: Vec<Option<Result<Accepted, Refusal>>> = vec![None; events.len()];
        let mut mine = Claims { window: &self.window, open: Vec::with_capacity(events.len()) };
        let mut places = Vec::with_capacity(events.len());
        let mut records = Vec::with_capacity(events.len());
        let mut waiting = Vec::new();
        let trace = (self.traceparent)().map(Bytes::from);
        for (i, e) in events.iter().enumerate() {
            match self.window.claim(e.id(), e.hash()) {
                Claim::Mine => {
                    mine.open.push(e.id());
                    places.push(i);
                    records.push(record(e.event(), trace.clone()));
                }
                Claim::Known(position) => answers[i] = Some(Ok(known(e, position))),
                Claim::Conflict => answers[i] = Some(Err(Refusal::Conflict)),
                Claim::Wait(first, same) => waiting.push((i, first, same)),
            }
        }
        if !records.is_empty() {
            let results = self.append(records).await;
            for ((i, result), e) in places.iter().zip(results).zip(places.iter().map(|i| &events[*i])) {
                self.window.settle(e.id(), result.as_ref().ok().copied());
                answers[*i] = Some(result.map(|position| Accepted { event_id: e.id(), position, duplicate: false }));
            }
            mine.open.clear();
        }
        for (i, first, same) in waiting {
            answers[i] = Some(after(&events[i], first, same).await);
        }
        let answers: Vec<_> = answers.into_iter().map(|a| a.unwrap_or(Err(Refusal::Unavailable))).collect();
        self.count(&answers);
        answers
    }

    /// Whether the log took nothing the last time, a moment ago, though it may well answer questions.
    #[must_use]
    pub fn appends_in_vain(&self) -> bool {
        self.in_vain.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < IN_VAIN)
    }

    /// One answer per record, whatever the log does.
    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, Refusal>> {
        let sent = records.len();
        let begun = Instant::now();
        let results = self.log.append(records).await;
        self.meters.append.record(begun.elapsed());
        let mut failed: Option<(usize, String)> = None;
        let mut results: Vec<_> = results
            .into_iter()
            .map(|r| {
                r.map_err(|e| {
                    failed = Some((failed.take().map_or(1, |(n, _)| n + 1), e.to_string()));
                    match e {
                        LogError::Busy(_) => Refusal::Busy,
                        LogError::Unavailable(_) | LogError::Configuration(_) => Refusal::Unavailable,
                        LogError::Refused(reason) => Refusal::Refused(reason),
                    }
                })
            })
            .collect();
        results.resize(sent, Err(Refusal::Unavailable));
        let in_vain = results.iter().all(|r| matches!(r, Err(Refusal::Unavailable))).then(Instant::now);
        *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner) = in_vain;
        if let Some((count, error)) = failed {
            tracing::warn!(events.sent = sent, events.failed = count, error, "append to the log failed");
        }
        results
    }

    fn count(&self, answers: &[Result<Accepted, Refusal>]) {
        let m = &self.meters;
        let mut new = 0;
        for answer in answers {
            match answer {
                Ok(a) if !a.duplicate => new += 1,
                Ok(_) => m.duplicate.increment(1),
                Err(Refusal::Conflict) => m.conflict.increment(1),
                Err(Refusal::Busy) => m.busy.increment(1),
                Err(Refusal::Unavailable) => m.unavailable.increment(1),
                Err(Refusal::Refused(_)) => m.refused.increment(1),
            }
        }
        m.accepted.increment(new);
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

/// Claims on ids whose append is under way; given up when the future is dropped.
struct Claims<'a> {
    window: &'a Window,
    open: Vec<EventId>,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for id in &self.open {
            self.window.settle(*id, None);
        }
    }
}

const fn known(e: &Prepared, position: Position) -> Accepted {
    Accepted { event_id: e.id(), position, duplicate: true }
}

/// The answer for an event whose id another request is just publishing. When that one fails, nothing is known about the
/// log's state but that it is in trouble.
async fn after(e: &Prepared, first: oneshot::Receiver<Position>, same: bool) -> Result<Accepted, Refusal> {
    match first.await {
        Ok(position) if same => Ok(known(e, position)),
        Ok(_) => Err(Refusal::Conflict),
        Err(_) => Err(Refusal::Unavailable),
    }
}

fn record(event: &Event, trace: Option<Bytes>) -> NewRecord {
    let mut value = Vec::with_capacity(384);
    codec::encode(event, &mut value);
    record_of(event, Bytes::from(value), trace)
}

/// The record of an event that is encoded already.
pub(crate) fn record_of(event: &Event, value: Bytes, trace: Option<Bytes>) -> NewRecord {
    let mut id = uuid::Uuid::encode_buffer();
    let id = event.header().event_id.0.hyphenated().encode_lower(&mut id);
    let mut headers = Vec::with_capacity(4);
    headers.push(("event-id", Bytes::copy_from_slice(id.as_bytes())));
    headers.push(("event-type", Bytes::from_static(event.kind().as_str().as_bytes())));
    headers.push(("source", Bytes::copy_from_slice(event.header().source.system.as_bytes())));
    if let Some(trace) = trace {
        headers.push(("traceparent", trace));
    }
    NewRecord { key: Bytes::copy_from_slice(event.key().as_bytes()), value, headers }
}

#[cfg(test)]
mod tests;
