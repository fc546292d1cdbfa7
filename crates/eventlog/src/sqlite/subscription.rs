//! Reading along a file: one process has all the partitions.

use super::Shared;
use crate::{Delivery, LogError, Position, Record, Start, Subscription};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often to look for records that another process has appended.
const POLL: Duration = Duration::from_millis(50);

pub(super) struct SqliteSubscription {
    shared: Arc<Shared>,
    start: Arc<dyn Start>,
    heads: watch::Receiver<Vec<u64>>,
    /// Next offset of each partition; empty until assigned.
    next: Vec<u64>,
    /// Partition to read first, so that none starves.
    turn: usize,
    /// Read, not yet delivered: whoever waits may stop waiting.
    ready: Vec<Record>,
}

impl SqliteSubscription {
    pub(super) fn new(shared: Arc<Shared>, start: Arc<dyn Start>) -> Self {
        let heads = shared.heads.subscribe();
        Self { shared, start, heads, next: Vec::new(), turn: 0, ready: Vec::new() }
    }

    async fn assign(&mut self) -> Result<Delivery, LogError> {
        let partitions: Vec<u32> = (0..self.shared.partitions).collect();
        let next = self.start.offsets(&partitions).await?;
        let bounds = self.shared.bounds().await?;
        let positions = crate::checked(&partitions, &next, &bounds)?;
        self.next = next;
        Ok(Delivery::Assigned(positions))
    }

    /// Reads what there is, the room shared out among the partitions that have something.
    async fn fill(&mut self, max: usize) -> Result<(), LogError> {
        let behind: Vec<(usize, u64)> = {
            let heads = self.heads.borrow_and_update();
            let count = self.next.len();
            (0..count)
                .map(|i| (i + self.turn) % count)
                .filter_map(|i| Some((i, heads.get(i)?.saturating_sub(*self.next.get(i)?))))
                .filter(|(_, lag)| *lag > 0)
                .collect()
        };
        self.turn = self.turn.wrapping_add(1) % self.next.len().max(1);
        for (done, (i, _)) in behind.iter().enumerate() {
            let share = max.saturating_sub(self.ready.len()) / (behind.len() - done);
            if share == 0 {
                continue;
            }
            let from = self.next[*i];
            let partition = u32::try_from(*i).unwrap_or(u32::MAX);
            let records = self.shared.read(partition, from, share).await?;
            if let Some(last) = records.last() {
                self.next[*i] = last.position.offset + 1;
            }
            self.ready.extend(records);
        }
        Ok(())
    }
}

#[async_trait]
impl Subscription for SqliteSubscription {
    async fn next(&mut self, max: usize) -> Result<Delivery, LogError> {
        if self.next.is_empty() {
            return self.assign().await;
        }
        loop {
            if self.ready.is_empty() {
                self.fill(max.max(1)).await?;
            }
            if !self.ready.is_empty() {
                if self.ready.len() > max {
                    let rest = self.ready.split_off(max.max(1));
                    return Ok(Delivery::Records(std::mem::replace(&mut self.ready, rest)));
                }
                return Ok(Delivery::Records(std::mem::take(&mut self.ready)));
            }
            if let Ok(Err(_)) | Err(_) = tokio::time::timeout(POLL, self.heads.changed()).await {
                self.shared.look().await?;
            }
        }
    }

    fn report(&mut self, _next: &[Position]) {}

    async fn close(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use super::POLL;
    use crate::{Delivery, LogError, NewRecord, Options, Start, open};
    use bytes::Bytes;
    use futures::future::{BoxFuture, join};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    struct Zero;

    impl Start for Zero {
        fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Result<Vec<u64>, LogError>> {
            Box::pin(async move { Ok(vec![0; partitions.len()]) })
        }
    }

    /// Each append begins when a wait does: looking every so often would find none of them before [`POLL`] is over. The
    /// fastest of many says so on a busy machine too.
    #[tokio::test]
    async fn an_append_wakes_the_reader_before_it_looks() {
        let folder = tempfile::tempdir().unwrap();
        // how long the disk takes is not the question
        let url = format!("sqlite:{}/log.db?synchronous=normal", folder.path().display());
        let log = open(&url, &Options::default()).await.unwrap();
        let mut reader = log.subscribe("g", Arc::new(Zero)).await.unwrap();
        assert!(matches!(reader.next(1).await.unwrap(), Delivery::Assigned(_)));
        let record = NewRecord { key: Bytes::from_static(b"k"), value: Bytes::new(), headers: Vec::new() };
        let mut fastest = Duration::MAX;
        for _ in 0..20 {
            let begun = Instant::now();
            // polled first, so that it waits before anything is appended
            let woken = async { (reader.next(1).await.unwrap(), begun.elapsed()) };
            let ((delivery, took), appended) = join(woken, log.append(vec![record.clone()])).await;
            assert!(matches!(delivery, Delivery::Records(records) if records.len() == 1));
            assert!(appended.iter().all(Result::is_ok), "{appended:?}");
            fastest = fastest.min(took);
        }
        assert!(fastest < POLL / 2, "the fastest of 20 took {fastest:?}");
    }
}
