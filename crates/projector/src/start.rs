//! Where a generation begins to read, once it is sure that the log is the one that it has read before.

use eventlog::{Log, LogError, Start};
use futures::future::BoxFuture;
use std::sync::Arc;
use store::{Checkpoint, Generation, Store, StoreError};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

const ADVICE: &str = "Give the database its own log, or begin the view anew (docs/operations/backup.md)";

type Answer<T = Vec<u64>> = Result<T, LogError>;

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
    let checkpoints = begun(store, log, generation).await?;
    let bounds = log.bounds().await?;
    let (mut offsets, mut behind) = (Vec::with_capacity(partitions.len()), 0);
    for partition in partitions {
        if *partition >= log.partitions() {
            return Err(more(log.partitions(), "when this process began"));
        }
        let checkpoint = checkpoints.iter().find(|c| c.partition == *partition);
        if let Some(checkpoint) = checkpoint {
            same_log(log, checkpoint).await?;
        }
        // a generation that was dropped a moment ago has none
        let next = checkpoint.map_or(0, |c| c.next_offset);
        behind += bounds.get(*partition as usize).map_or(0, |b| b.1).saturating_sub(next);
        offsets.push(next);
    }
    if behind > 0 {
        let (name, number) = (generation.view, generation.number);
        tracing::info!(view.name = name, view.generation = number, events = behind, "behind the log, catching up");
    }
    Ok(offsets)
}

/// The checkpoints of a generation. It has one of every partition of the log from its beginning; where partitions have been added
/// since, it is refused.
///
/// # Errors
/// Those of the store and the log.
pub async fn begun(store: &Store, log: &dyn Log, generation: &Generation) -> Answer<Vec<Checkpoint>> {
    let failed = |e: StoreError| {
        let message = format!("no checkpoints: {e}");
        if e.is_transient() { LogError::Unavailable(message) } else { LogError::Configuration(message) }
    };
    let (view, number) = (generation.view, generation.number);
    let checkpoints = store.checkpoints(view, number).await.map_err(failed)?;
    as_many(log, &checkpoints)?;
    if checkpoints.len() == log.partitions() as usize {
        return Ok(checkpoints);
    }
    let all: Vec<u32> = (0..log.partitions()).collect();
    store.start(view, number, &all).await.map_err(failed)?;
    store.checkpoints(view, number).await.map_err(failed)
}

/// Refuses a log of another number of partitions than the view was begun with.
fn as_many(log: &dyn Log, checkpoints: &[Checkpoint]) -> Answer<()> {
    // an early version made them one by one, so that some below the last may be missing
    match checkpoints.last().map(|c| c.partition + 1) {
        Some(before) if before != log.partitions() => {
            Err(more(before, &format!("when the view was begun, and has {} now", log.partitions())))
        }
        _ => Ok(()),
    }
}

fn more(before: u32, when: &str) -> LogError {
    LogError::Configuration(format!(
        "the log had {before} partitions {when}: patients' later events would be in other partitions than their earlier ones \
         (docs/operations/backup.md, \"More partitions\")"
    ))
}

/// Refuses a log that checkpoints were not made from: it has as many partitions, reaches as far, and has the record that was taken
/// last in each of them.
///
/// # Errors
/// What doesn't fit, as [`LogError::Configuration`]; those of the log.
pub async fn made_from(log: &dyn Log, checkpoints: &[Checkpoint]) -> Answer<()> {
    as_many(log, checkpoints)?;
    let bounds = log.bounds().await?;
    for checkpoint in checkpoints {
        same_log(log, checkpoint).await?;
        let (partition, next) = (checkpoint.partition, checkpoint.next_offset);
        let end = bounds.get(partition as usize).map_or(0, |b| b.1);
        if next > end {
            return Err(LogError::Configuration(format!(
                "partition {partition}: everything before offset {next} was taken, but the log ends at {end}: the database is \
                 newer than this log, which is an older copy or another log. {ADVICE}"
            )));
        }
    }
    Ok(())
}

/// Refuses a log whose record before the checkpoint is not the one that was taken.
async fn same_log(log: &dyn Log, checkpoint: &Checkpoint) -> Answer<()> {
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
        "partition {partition}: the record at offset {last} is not the one that the database took there; {why}. {ADVICE}"
    )))
}
