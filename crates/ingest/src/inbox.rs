//! The Kafka inbox: what others wrote there, Confluent-framed Avro, is judged as every other event and moved to the log, or to
//! the topic of refused records with the reason. `docs/publishing/kafka.md` is the sender's manual.
//!
//! Every record ends as a new event in the log, as a duplicate, or as a refused record; what becomes of a batch is written in
//! the same transaction as "this was read", so that none is lost and none is done twice.

mod condition;
mod judge;
mod seen;

use crate::intake::{self, Outcome, Protocol};
use condition::Turn;
use domain::parse;
use eventlog::relay::{Incoming, Outgoing, Relay};
use eventlog::{Log, LogError};
use judge::{Judgement, judge};
use metrics::counter;
use seen::{Seen, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

pub use condition::Condition;
pub use judge::{REASONS, header};

/// How long an idle inbox waits for records before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(250);
/// Pauses after a failure: the first one, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Records read at once to remember what is in the log.
const PAGE: usize = 2_000;

/// Settings of an inbox.
#[derive(Debug, Clone)]
pub struct InboxSettings {
    /// The inbox's topic.
    pub topic: String,
    /// How many recent event ids are remembered (about 50 bytes each).
    pub recent_events: usize,
    /// Limits of each event.
    pub event: parse::Limits,
}

/// An inbox.
pub struct Inbox {
    relay: Box<dyn Relay>,
    log: Arc<dyn Log>,
    settings: InboxSettings,
    seen: Seen,
    /// By partition of the log, up to where its events are remembered.
    remembered: Vec<u64>,
    condition: Arc<Condition>,
}

/// How many of a batch ended how, by source.
type Counts = BTreeMap<(String, Outcome), u64>;

impl Inbox {
    /// An inbox that moves events to `log`, which `relay` writes to. Construct it after the metrics recorder is installed.
    #[must_use]
    pub fn new(relay: Box<dyn Relay>, log: Arc<dyn Log>, settings: InboxSettings) -> Self {
        let (seen, condition) = (Seen::new(settings.recent_events), Arc::default());
        Self { relay, log, seen, settings, remembered: Vec::new(), condition }
    }

    /// How it gets on, for as long as it runs.
    #[must_use]
    pub fn condition(&self) -> Arc<Condition> {
        self.condition.clone()
    }

    /// Moves records until `cancel`, and ends between two transactions.
    ///
    /// # Errors
    /// What can't pass: topics that don't fit, or another process in this one's place.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), LogError> {
        let handle = Handle::current();
        // Its calls block, and leaving the group takes a while too.
        let ended = tokio::task::spawn_blocking(move || self.work(&handle, &cancel)).await;
        ended.map_err(|_| LogError::Configuration("the inbox panicked".to_owned()))?
    }

    fn work(&mut self, handle: &Handle, cancel: &CancellationToken) -> Result<(), LogError> {
        let mut pause = FIRST_PAUSE;
        while !cancel.is_cancelled() {
            let turn = match self.turn(handle) {
                Ok(turn) => turn,
                Err(LogError::Configuration(why)) => return Err(LogError::Configuration(why)),
                Err(error) => {
                    tracing::warn!(error = %error, "a batch of the inbox was given up, reading again");
                    Turn::Failed
                }
            };
            self.condition.seen(turn, Instant::now());
            match turn {
                // After a failure the group is joined anew, which takes turns without records: no reason to hurry again.
                Turn::Idle => {}
                Turn::Committed => pause = FIRST_PAUSE,
                Turn::Failed => {
                    handle.block_on(async {
                        tokio::select! { () = cancel.cancelled() => {}, () = tokio::time::sleep(pause) => {} }
                    });
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// One batch, if there is one.
    fn turn(&mut self, handle: &Handle) -> Result<Turn, LogError> {
        let taken = self.relay.take(WAIT)?;
        if taken.assigned {
            // Where this fails, what was taken is taken again.
            handle.block_on(self.remember())?;
        }
        if taken.records.is_empty() {
            return Ok(Turn::Idle);
        }
        let begun = Instant::now();
        let records = taken.records.len() as u64;
        let (out, counts) = self.judge_all(taken.records);
        let done = self.relay.commit(out);
        self.seen.settle(done.is_ok());
        let result = if done.is_ok() { "committed" } else { "aborted" };
        counter!("inbox_transactions_total", "result" => result).increment(1);
        done?;
        metrics::histogram!("inbox_transaction_seconds").record(begun.elapsed());
        counter!("inbox_records_total").increment(records);
        report(counts);
        Ok(Turn::Committed)
    }

    fn judge_all(&mut self, records: Vec<Incoming>) -> (Vec<Outgoing>, Counts) {
        let now = crate::now();
        let topic = self.settings.topic.as_str();
        let mut out = Vec::with_capacity(records.len());
        let mut counts = Counts::new();
        for record in records {
            let (source, outcome, outgoing) = match judge(&record, &self.settings.event, now) {
                Ok(Judgement { source, id, hash, moved }) => match self.seen.claim(id, hash) {
                    Verdict::New => (source, Outcome::Accepted, Some(Outgoing::Log(moved))),
                    Verdict::Known => (source, Outcome::Duplicate, None),
                    Verdict::Conflict => {
                        let why = judge::conflict(id);
                        (source.clone(), Outcome::Refused(why.code), Some(why.refuse(topic, record, Some(source), now)))
                    }
                },
                Err((source, why)) => {
                    let outcome = Outcome::Refused(why.code);
                    let name = source.clone().unwrap_or_else(|| domain::source::UNKNOWN.to_owned());
                    (name, outcome, Some(why.refuse(topic, record, source, now)))
                }
            };
            *counts.entry((source, outcome)).or_default() += 1;
            out.extend(outgoing);
        }
        (out, counts)
    }

    /// Remembers what the log holds and this process doesn't know: at the beginning its last events, and later what others have
    /// written since, whenever they may have moved records that are resent here.
    async fn remember(&mut self) -> Result<(), LogError> {
        let bounds = self.log.bounds().await?;
        let each = (self.settings.recent_events / bounds.len().max(1)) as u64;
        self.remembered.resize(bounds.len(), 0);
        for (partition, (first, end)) in (0..).zip(bounds) {
            let mut next = first.max(end.saturating_sub(each)).max(self.remembered[partition as usize]);
            while next < end {
                let records = self.log.read(partition, next, PAGE).await?;
                let Some(last) = records.last() else { break };
                next = last.position.offset + 1;
                for event in records.iter().filter_map(|r| codec::decode(&r.value).ok()) {
                    self.seen.remember(event.header().event_id, event.content_hash());
                }
                self.remembered[partition as usize] = next;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

fn report(counts: Counts) {
    for ((source, outcome), count) in counts {
        let result = match outcome {
            Outcome::Refused("conflict") => "conflict",
            Outcome::Refused(_) | Outcome::Ignored => "invalid",
            other => other.as_str(),
        };
        counter!("ingest_events_total", "result" => result).increment(count);
        intake::count_many(&source, Protocol::Kafka, outcome, count);
    }
}

#[cfg(test)]
mod tests;
