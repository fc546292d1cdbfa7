//! Where a generation begins to read, once it is sure that the log is the one that it has read before.

use eventlog::{Log, LogError, Start};
use futures::future::BoxFuture;
use std::sync::Arc;
use store::{Checkpoint, Generation, Store, StoreError};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

type Answer = Result<Vec<u64>, LogError>;

/// Tells the log where the store is. The log itself refuses a place that it doesn't have.
pub struct FromStore {
    pub store: Store,
    pub log: Arc<dyn Log>,
    pub generation: Arc<Generation>,
    /// The question that is being answered: whoever asked may stop waiting and ask again, as often as batches are committed.
    pub asked: Mutex<Option<(Vec<u32>, JoinHandle<Answer>)>>,
}

impl Start for FromStore {
    fn offsets<'a>(&'a self, partitions: &'a [u32]) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let mut asked = self.asked.lock().await;
            if asked.as_ref().is_none_or(|(of, _)| of != partitions) {
                let (store, log, generation) = (self.store.clone(), self.log.clone(), self.generation.clone());
                let of = partitions.to_vec();
                let answering = tokio::spawn(async move { look(&store, log.as_ref(), &generation, &of).await });
                *asked = Some((partitions.to_vec(), answering));
            }
            let Some((_, answering)) = asked.as_mut() else { return Ok(Vec::new()) };
            let answer = answering.await;
            *asked = None;
            answer.map_err(|_| LogError::Unavailable("the start was not found out".to_owned()))?
        })
    }
}

/// The next offsets of these partitions.
async fn look(store: &Store, log: &dyn Log, generation: &Generation, partitions: &[u32]) -> Answer {
    let failed = |e: StoreError| {
        let message = format!("no start offsets: {e}");
        if e.is_transient() { LogError::Unavailable(message) } else { LogError::Configuration(message) }
    };
    let offsets = store.start(generation.view, generation.number, partitions).await.map_err(failed)?;
    let checkpoints = store.checkpoints(generation.view, generation.number).await.map_err(failed)?;
    let bounds = log.bounds().await?;
    let mut behind = 0;
    for (partition, offset) in std::iter::zip(partitions, &offsets) {
        let end = bounds.get(*partition as usize).map_or(0, |b| b.1);
        behind += end.saturating_sub(*offset);
        if let Some(checkpoint) = checkpoints.iter().find(|c| c.partition == *partition && c.next_offset == *offset) {
            same_log(log, checkpoint).await?;
        }
    }
    if behind > 0 {
        let (name, number) = (generation.view, generation.number);
        tracing::info!(view.name = name, view.generation = number, events = behind, "behind the log, catching up");
    }
    Ok(offsets)
}

/// Whether checkpoints were made from this log: it reaches as far, and has the record that was taken last in each partition.
///
/// # Errors
/// When the log can't be read.
pub async fn made_from(log: &dyn Log, checkpoints: &[Checkpoint]) -> Result<bool, LogError> {
    let bounds = log.bounds().await?;
    for checkpoint in checkpoints {
        let end = bounds.get(checkpoint.partition as usize).map_or(0, |b| b.1);
        match same_log(log, checkpoint).await {
            Err(LogError::Configuration(_)) => return Ok(false),
            done => done?,
        }
        if checkpoint.next_offset > end {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses a log whose record before the checkpoint is not the one that was taken.
async fn same_log(log: &dyn Log, checkpoint: &Checkpoint) -> Result<(), LogError> {
    let partition = checkpoint.partition;
    let Some(last) = checkpoint.next_offset.checked_sub(1).filter(|_| checkpoint.last_hash != 0) else {
        return Ok(());
    };
    let there = log.read(partition, last, 1).await?;
    // What was deleted, or is not there yet, says nothing; the log refuses an offset beyond its end.
    let Some(record) = there.first().filter(|r| r.position.offset == last) else { return Ok(()) };
    if store::record_hash(&record.key, &record.value) == checkpoint.last_hash {
        return Ok(());
    }
    let why = if record.appended_ms > checkpoint.appended_ms {
        "the log took it later than the database's: this is another log, or an older copy that has gone on since, and the \
         database is newer than that copy"
    } else {
        "this is another log"
    };
    Err(LogError::Configuration(format!(
        "partition {partition}: the record at offset {last} is not the one that the database took there; {why}. Give the \
         database its own log, or begin the view anew (docs/operations/backup.md)"
    )))
}
