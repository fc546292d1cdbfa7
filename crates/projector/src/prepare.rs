//! The first half of a worker: decodes records while the second half writes the ones before.

use crate::Projection;
use domain::parse::MOST_IDENTIFIER_BYTES;
use eventlog::Record;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Records decoded between two chances for other tasks to run.
const YIELD_EVERY: usize = 128;

/// The reason of a record whose value made the decoder panic.
const PANICKED: &str = "decoding it panicked";

/// What the dispatcher tells a worker, and, once decoded, its first half the second.
pub enum Message<R> {
    /// From here on the partition is read here, from this offset.
    Assign(u32, u64),
    /// The partition is no longer read here; answered once nothing of it is being written.
    Revoke(u32, oneshot::Sender<()>),
    /// Records, and the room they take until they are committed.
    Records(Vec<R>, OwnedSemaphorePermit),
}

/// A record and what became of it.
pub struct Prepared<I> {
    pub record: Record,
    pub outcome: Outcome<I>,
}

/// What a record is to the view.
pub enum Outcome<I> {
    /// Something to write.
    Item(I),
    /// An event that the view does not use.
    Unused,
    /// No event.
    Poison { code: &'static str, reason: String, parks: bool },
}

impl<I> Outcome<I> {
    /// The same, with what is to be written left where it is.
    pub fn as_ref(&self) -> Outcome<&I> {
        match self {
            Self::Item(item) => Outcome::Item(item),
            Self::Unused => Outcome::Unused,
            Self::Poison { code, reason, parks } => Outcome::Poison { code, reason: reason.clone(), parks: *parks },
        }
    }
}

/// Decodes until the dispatcher or the writer is gone.
pub async fn prepare<P: Projection>(
    view: Arc<P>,
    partitions: u32,
    mut from: mpsc::Receiver<Message<Record>>,
    to: mpsc::Sender<Message<Prepared<P::Item>>>,
) {
    while let Some(message) = from.recv().await {
        let decoded = match message {
            Message::Assign(partition, offset) => Message::Assign(partition, offset),
            Message::Revoke(partition, done) => Message::Revoke(partition, done),
            Message::Records(records, room) => {
                let mut out = Vec::with_capacity(records.len());
                for (i, record) in records.into_iter().enumerate() {
                    let outcome = outcome(&*view, &record, partitions);
                    out.push(Prepared { record, outcome });
                    if i % YIELD_EVERY == YIELD_EVERY - 1 {
                        tokio::task::yield_now().await;
                    }
                }
                Message::Records(out, room)
            }
        };
        if to.send(decoded).await.is_err() {
            return;
        }
    }
}

/// The event of a record's value, or why there is none. Schemas are matched by code that others wrote, which may panic.
pub fn decoded(value: &[u8]) -> Result<domain::Event, String> {
    match catch_unwind(|| codec::decode(value)) {
        Ok(event) => event.map_err(|e| e.to_string()),
        Err(_) => Err(PANICKED.into()),
    }
}

fn poison<I>(code: &'static str, reason: String, parks: bool) -> Outcome<I> {
    Outcome::Poison { code, reason, parks }
}

/// Decodes a record of a log with so many partitions, and says what it is to the view. A panic must park one patient, not stop the
/// service.
pub fn outcome<P: Projection>(view: &P, record: &Record, partitions: u32) -> Outcome<P::Item> {
    let decoding = Cell::new(true);
    // One net for both: an event is large, and moved at each.
    catch_unwind(AssertUnwindSafe(|| judged(view, record, partitions, &decoding))).unwrap_or_else(|_| {
        match decoding.get() {
            true => poison("undecodable", PANICKED.into(), true),
            false => poison("unfoldable", "taking the event panicked".into(), true),
        }
    })
}

fn judged<P: Projection>(view: &P, record: &Record, partitions: u32, decoding: &Cell<bool>) -> Outcome<P::Item> {
    if record.key.is_empty() {
        return poison("no_key", "the record has no key".into(), false);
    }
    if record.key.len() > MOST_IDENTIFIER_BYTES {
        // Every event of this key ends here, so nothing has to wait.
        return poison("unstorable", "the record's key is longer than an index takes".into(), false);
    }
    if eventlog::partition_of(&record.key, partitions) != record.position.partition {
        // Each partition's owner writes the rows of its keys; this one's are another's.
        return poison(
            "wrong_partition",
            "the record's partition is not its key's: is its producer's partitioner murmur2?".into(),
            false,
        );
    }
    let event = match codec::decode(&record.value) {
        Ok(event) => event,
        Err(e) => return poison("undecodable", e.to_string(), true),
    };
    decoding.set(false);
    if event.key().as_bytes() != record.key {
        // Its rows are another key's, and perhaps another partition's: two owners would write them.
        return poison("wrong_key", "the record's key is not its event's".into(), false);
    }
    if !domain::parse::storable(&event) {
        return poison("unstorable", "an identifier is longer than an index takes, or has U+0000".into(), true);
    }
    view.item(event, record.position).map_or(Outcome::Unused, Outcome::Item)
}
