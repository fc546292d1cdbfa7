//! Reads a partition page by page, at a limited rate where somebody else needs the log more.

use crate::ProjectorError;
use eventlog::{Log, LogError, Record};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records in one read.
pub(super) const PAGE: usize = 5_000;

/// A place in a partition, and how fast to go on from it.
pub struct Reader {
    log: Arc<dyn Log>,
    partition: u32,
    /// Everything below has been read.
    pub next: u64,
    /// Records per second, at most.
    rate: Option<u64>,
    /// When the next page may be read: what was read is waited for before the next read, never after the last.
    pub due: Instant,
}

impl Reader {
    /// Begins at `from`, as fast as it can.
    pub fn new(log: &Arc<dyn Log>, partition: u32, from: u64) -> Self {
        Self { log: log.clone(), partition, next: from, rate: None, due: Instant::now() }
    }

    /// Reads `rate` records per second, at most, and none before `due`.
    pub const fn paced(mut self, rate: Option<u64>, due: Instant) -> Self {
        (self.rate, self.due) = (rate, due);
        self
    }

    /// The next records up to `to`, as soon as they may be read; nothing once it has come there. Dropped on the way, it has
    /// read nothing.
    pub async fn page(&mut self, to: u64) -> Result<Option<Vec<Record>>, ProjectorError> {
        if self.next < to {
            tokio::time::sleep_until(self.due.into()).await;
        }
        self.page_now(to).await
    }

    /// The same without waiting.
    pub async fn page_now(&mut self, to: u64) -> Result<Option<Vec<Record>>, ProjectorError> {
        if self.next >= to {
            return Ok(None);
        }
        let wanted = usize::try_from(to - self.next).unwrap_or(PAGE).min(PAGE);
        let records = self.log.read(self.partition, self.next, wanted).await?;
        let Some(last) = records.last() else {
            let end = self.log.bounds().await?.get(self.partition as usize).map_or(0, |b| b.1);
            if end < to {
                return Err(shorter(self.partition, end, to));
            }
            self.next = to;
            return Ok(None);
        };
        self.next = last.position.offset + 1;
        if let Some(rate) = self.rate {
            let took = Duration::from_secs_f64(records.len() as f64 / rate.max(1) as f64);
            self.due = self.due.max(Instant::now()) + took;
        }
        Ok(Some(records))
    }
}

fn shorter(partition: u32, end: u64, to: u64) -> ProjectorError {
    let why = format!("partition {partition} of the log ends at {end}, before the view's {to}: another log?");
    LogError::Configuration(why).into()
}
