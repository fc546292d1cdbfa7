//! Limits of a projector, and why it ends.

use crate::dispatch::transient;
use eventlog::LogError;
use std::time::Duration;
use store::StoreError;

/// Settings of a projector, each with its unit.
#[derive(Clone)]
pub struct Options {
    /// Consumer group, one per view.
    pub group: String,
    /// Workers. Each takes the partitions whose number leaves its own when divided by `workers`, and writes over a
    /// connection of its own.
    pub workers: usize,
    /// Records per transaction, at most.
    pub batch: usize,
    /// Records that were read and are not yet committed, at most, over all workers. This bounds the memory: a timeline that catches
    /// up takes 111 MiB with 8,000 and 127 MiB with 11,000.
    pub in_flight: usize,
    /// Bytes (keys, values, headers) of such records, at most; a single larger record is taken alone.
    pub in_flight_bytes: usize,
    /// How long to keep trying when the log or the database is away, before ending with an error.
    pub patience: Duration,
    /// How a first generation is made; kept with it.
    pub made_by: String,
    /// Called for each batch and `traceparent` header of its records, to link the batch's span to where the events came
    /// from; `None` while tracing is off.
    pub link: Option<fn(&tracing::Span, &str)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group: "journeylog".into(),
            workers: 2,
            batch: 5_000,
            in_flight: 8_000,
            in_flight_bytes: 16 << 20,
            patience: Duration::from_secs(120),
            made_by: "{}".into(),
            link: None,
        }
    }
}

/// Why a projector ended.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The store failed for good, or for longer than the options' patience.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The log failed for good, or for longer than the options' patience.
    #[error("the log failed")]
    Log(#[from] LogError),
    /// The log has no longer, or not yet, what a rebuild is to fold.
    #[error("the log {0}")]
    Incomplete(String),
    /// A file that a rebuild keeps records in failed.
    #[error("a temporary file failed")]
    Disk(#[from] std::io::Error),
    /// Readers would go back in time, and waiting didn't help.
    #[error("generation {generation} is {events} events behind the one that readers see, and doesn't come closer")]
    Behind {
        /// The generation.
        generation: i64,
        /// How many events it lacks.
        events: u64,
    },
    /// The same, and nobody may fill the generation.
    #[error(
        "the view is paused, and generation {generation} is {events} events behind the one that readers see: resume it first"
    )]
    Paused {
        /// The generation.
        generation: i64,
        /// How many events it lacks.
        events: u64,
    },
    /// A worker panicked.
    #[error("a worker of the projector panicked")]
    Panicked,
    /// The store's checkpoint lies before what this process has written: the database lost commits in a crash, or was
    /// restored. The loop answers by reading again from the checkpoint.
    #[error("the store went back to an earlier checkpoint")]
    Rewound,
}

impl ProjectorError {
    /// Whether the same may succeed a little later.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Store(e) => e.is_transient(),
            Self::Log(e) => transient(e),
            _ => false,
        }
    }
}
