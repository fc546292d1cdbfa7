//! Batches of lines on their way to the log: several at a time, answered in order.

use crate::intake::{self, Protocol};
use crate::problem::Problem;
use crate::publisher::{Accepted, Prepared, Publisher};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use std::sync::Arc;
use std::time::Duration;

/// Pauses before a batch is tried again: the first one, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The answer for one line.
#[derive(Debug, Clone)]
pub struct LineResult {
    /// Line number, from 1.
    pub line: u64,
    /// What became of it.
    pub result: Result<Accepted, Problem>,
}

/// Batches under way. Their first attempts are begun in order, so that events of one key keep their order on the log;
/// what has to be tried again after a failure of the log may come later than its successors.
pub(crate) struct Pipeline {
    publisher: Arc<Publisher>,
    under_way: FuturesOrdered<BoxFuture<'static, Vec<LineResult>>>,
    in_flight: usize,
    retry_for: Duration,
    /// As what answers are counted by source, if at all.
    counted: Option<Protocol>,
}

/// A batch: line numbers, and events or refusals.
pub(crate) type Batch = Vec<(u64, Result<Prepared, Problem>)>;

impl Pipeline {
    pub(crate) fn new(publisher: Arc<Publisher>, in_flight: usize, retry_for: Duration) -> Self {
        Self { publisher, under_way: FuturesOrdered::new(), in_flight: in_flight.max(1), retry_for, counted: None }
    }

    /// Counts answers by source ([`intake`]).
    pub(crate) fn counted(mut self, protocol: Option<Protocol>) -> Self {
        self.counted = protocol;
        self
    }

    pub(crate) fn is_full(&self) -> bool {
        self.under_way.len() >= self.in_flight
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Begins a batch; answers what is ready already.
    pub(crate) fn push(&mut self, batch: Batch) -> Option<Vec<LineResult>> {
        self.under_way.push_back(submit(self.publisher.clone(), batch, self.retry_for, self.counted).boxed());
        self.under_way.next().now_or_never().flatten()
    }

    /// Waits for the oldest batch; `None` when there is none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Vec<LineResult>> {
        self.under_way.next().await
    }
}

/// Publishes a batch, again while the log is in trouble, and answers per line.
async fn submit(
    publisher: Arc<Publisher>,
    batch: Batch,
    retry_for: Duration,
    counted: Option<Protocol>,
) -> Vec<LineResult> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut open = Vec::with_capacity(batch.len());
    let mut events = Vec::with_capacity(batch.len());
    for (line, item) in batch {
        let result = match item {
            Ok(event) => {
                open.push(answers.len());
                events.push(event);
                None
            }
            Err(problem) => Some(Err(problem)),
        };
        answers.push((line, result));
    }
    let deadline = tokio::time::Instant::now() + retry_for;
    let mut pause = FIRST_PAUSE;
    while !events.is_empty() {
        let results = publisher.publish(&events).await;
        if let Some(protocol) = counted {
            intake::answered(protocol, &events, &results);
        }
        let last_try = tokio::time::Instant::now() + pause > deadline;
        let mut again = Vec::new();
        let mut again_open = Vec::new();
        for ((i, event), result) in open.into_iter().zip(events).zip(results) {
            match result {
                Err(refusal) if refusal.is_transient() && !last_try => {
                    again.push(event);
                    again_open.push(i);
                }
                other => answers[i].1 = Some(other.map_err(|r| Problem::of_refusal(&r, 1))),
            }
        }
        (open, events) = (again_open, again);
        if !events.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    let unanswered = || Err(Problem::unavailable(1));
    answers.into_iter().map(|(line, r)| LineResult { line, result: r.unwrap_or_else(unanswered) }).collect()
}
