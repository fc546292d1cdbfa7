//! From the records of a slice to rows that can be copied.

use super::spill::Job;
use super::{Shared, patiently};
use crate::prepare::{Outcome, outcome};
use crate::sorted::{Sorted, behind, letter, rejection, sort_one};
use crate::{Built, Projection, ProjectorError};
use eventlog::Record;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use store::{Bulk, Engine, Generation, NewDeadLetter, Slice};
use tokio_util::sync::CancellationToken;

/// Records between two looks at the clock and at whether to stop.
const STEP: usize = 256;
/// Records that are read at once, at most, for the headers of some of them.
const READ: u64 = 8_192;
/// Longest sleep of a throttled rebuild before it looks again whether to stop.
const NAP: Duration = Duration::from_millis(100);

/// Rows of a slice, ready to be written, by table.
pub struct Folded {
    pub slice: Slice,
    pub tables: Vec<Bulk>,
    pub letters: Vec<NewDeadLetter>,
}

/// Keeps all workers together under a rate.
pub struct Pace {
    rate: Option<NonZeroU32>,
    begun: Instant,
    taken: AtomicU64,
}

impl Pace {
    pub fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, begun: Instant::now(), taken: AtomicU64::new(0) }
    }

    /// Waits until so many more events are due; `false` when cancelled.
    fn take(&self, events: usize, cancel: &CancellationToken) -> bool {
        let taken = self.taken.fetch_add(events as u64, Relaxed) + events as u64;
        if let Some(rate) = self.rate {
            let due = Duration::from_micros(taken.saturating_mul(1_000_000) / u64::from(rate.get()));
            while let Some(early) = due.checked_sub(self.begun.elapsed()).filter(|e| !e.is_zero()) {
                if cancel.is_cancelled() {
                    return false;
                }
                std::thread::sleep(early.min(NAP));
            }
        }
        !cancel.is_cancelled()
    }
}

/// Folds a slice; nothing when cancelled.
pub fn fold<P: Projection>(shared: &Shared<P>, job: Job) -> Result<Option<Folded>, ProjectorError> {
    let (slice, mut records) = job.read()?;
    records.retain(|r| !shared.discarded.contains(&(slice.partition, r.position.offset)));
    let mut outcomes = Vec::with_capacity(records.len());
    for step in records.chunks(STEP) {
        if !shared.pace.take(step.len(), &shared.cancel) {
            return Ok(None);
        }
        outcomes.extend(decode(&*shared.view, shared.log.partitions(), step));
        shared.progress.folded(step.len() as u64);
    }
    let (built, letters) = build(&*shared.view, &records, outcomes);
    drop(records);
    Ok(Some(Folded { slice, tables: encode(shared.store.engine(), &shared.generation, built), letters }))
}

/// What each record is to the view.
pub fn decode<P: Projection>(view: &P, partitions: u32, records: &[Record]) -> impl Iterator<Item = Outcome<P::Item>> {
    records.iter().map(move |r| outcome(view, r, partitions))
}

/// The rows of a slice, and the records that become dead letters, as the live projector would have them: what comes after a
/// record that parks its key waits behind it. The letters have what the records have; see [`whole`].
pub fn build<P: Projection>(
    view: &P,
    records: &[Record],
    outcomes: Vec<Outcome<P::Item>>,
) -> (Built, Vec<NewDeadLetter>) {
    let (mut items, mut of, mut unused, mut letters) =
        (Vec::with_capacity(records.len()), Vec::new(), Vec::new(), Vec::new());
    let mut parked = BTreeMap::new();
    for (record, outcome) in records.iter().zip(outcomes) {
        match sort_one(record, outcome, &mut parked) {
            Sorted::Item(item) => {
                items.push(item);
                of.push(record);
            }
            Sorted::Letter(letter) => letters.push(letter),
            Sorted::Unused => unused.push(record),
        }
    }
    let built = view.build(items);
    let mut stopped: HashMap<&[u8], u64> = HashMap::new();
    for r in &built.rejected {
        let Some(record) = of.get(r.index) else { continue };
        letters.push(rejection(record, r));
        if r.parks && !r.behind {
            stopped.insert(&record.key, record.position.offset);
        }
    }
    let waits = |r: &&Record| stopped.get(&r.key[..]).is_some_and(|at| *at < r.position.offset);
    letters.extend(unused.into_iter().filter(waits).map(behind));
    letters.sort_by_key(|l| l.offset);
    (built, letters)
}

/// The letters with what a scan leaves out: the records' headers. Nothing when cancelled.
pub async fn whole<P>(
    shared: &Shared<P>,
    letters: &[NewDeadLetter],
) -> Result<Option<Vec<NewDeadLetter>>, ProjectorError> {
    let mut all: Vec<NewDeadLetter> = Vec::with_capacity(letters.len());
    while let Some(first) = letters.get(all.len()) {
        if shared.cancel.is_cancelled() {
            return Ok(None);
        }
        // A read costs as much for one record as for hundreds, and every slice has letters all over its partition.
        let near = letters[all.len()..].iter().take_while(|l| l.offset - first.offset < READ).last();
        let most = usize::try_from(near.map_or(0, |l| l.offset - first.offset)).unwrap_or_default() + 1;
        let read = || async move { Ok(shared.log.read(first.partition, first.offset, most).await?) };
        let records = patiently(shared.patience, &shared.cancel, read).await?;
        let end = records.last().map_or(first.offset, |r| r.position.offset).max(first.offset);
        for l in letters[all.len()..].iter().take_while(|l| l.offset <= end) {
            let with_headers = records.binary_search_by_key(&l.offset, |r| r.position.offset).map(|i| {
                let whole = letter(&records[i], l.code, l.reason.clone(), l.parks);
                NewDeadLetter { parked_behind: l.parked_behind, ..whole }
            });
            // A record that is gone by now stays without.
            all.push(with_headers.unwrap_or_else(|_| l.clone()));
        }
    }
    Ok(Some(all))
}

/// The rows in the form that the database takes fastest, table by table, so that few of them are there twice.
pub fn encode(engine: &Engine, generation: &Generation, built: Built) -> Vec<Bulk> {
    let rows = built.tables.into_iter().chain([built.states]);
    generation.targets().zip(rows).map(|(target, rows)| engine.bulk(target.columns, rows)).collect()
}
