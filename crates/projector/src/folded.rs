//! Views whose rows are a pure function of all that a patient's events say.

use crate::{Built, Projection, Rejected};
use domain::digests::Digests;
use domain::facts::{Added, Facts};
use domain::table::{Row, Value};
use domain::views::PatientFold;
use domain::{Event, EventId};
use eventlog::Position;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::{Generation, StoreError, Target, Tx, ViewSpec};

/// Patients folded between two chances for other tasks to run.
const YIELD_EVERY: usize = 32;

/// Makes a projection of a [`PatientFold`].
#[derive(Debug, Clone)]
pub struct Folded<F>(pub &'static str, pub F);

/// What one event says.
pub struct Item<A> {
    head: Head,
    fact: Box<A>,
}

/// Which event it was.
struct Head {
    patient: String,
    partition: u32,
    id: EventId,
    hash: u64,
}

/// A patient, what is stored of it, and which of a batch's items are its.
struct Patient<'p> {
    name: &'p str,
    state: Option<&'p [u8]>,
    indexes: &'p [usize],
}

/// What a batch writes.
struct Writes {
    /// Patients whose rows all go before any is written, each as the row of its first column.
    anew: Vec<Row>,
    /// Rows to insert, or to put in the place of those with the same key, by table.
    tables: Vec<Vec<Row>>,
    states: Vec<Row>,
    rejected: Vec<Rejected>,
}

impl Writes {
    fn new(tables: usize) -> Self {
        Self { anew: Vec::new(), tables: vec![Vec::new(); tables], states: Vec::new(), rejected: Vec::new() }
    }
}

/// The patients in order, and where the items of each are.
fn by_patient<'i>(patients: impl Iterator<Item = &'i str>) -> Vec<(&'i str, Vec<usize>)> {
    let mut known: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, patient) in patients.enumerate() {
        known.entry(patient).or_default().push(i);
    }
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_unstable_by_key(|(patient, _)| *patient);
    all
}

impl<F: PatientFold> Projection for Folded<F> {
    type Item = Item<F::Fact>;

    fn spec(&self) -> ViewSpec {
        ViewSpec { name: self.0, version: F::VERSION, tables: F::TABLES, state: true }
    }

    fn item(&self, event: Event, position: Position) -> Option<Self::Item> {
        let fact = Box::new(self.1.fact(&event)?);
        let (id, hash) = (event.header().event_id, event.content_hash());
        Some(Item { head: Head { patient: self.1.key(&event), partition: position.partition, id, hash }, fact })
    }

    fn build(&self, items: Vec<Self::Item>) -> Built {
        let (heads, mut facts): (Vec<Head>, Vec<_>) = items.into_iter().map(|i| (i.head, Some(i.fact))).unzip();
        let mut writes = Writes::new(F::TABLES.len());
        for (patient, indexes) in by_patient(heads.iter().map(|h| &*h.patient)) {
            let patient = Patient { name: patient, state: None, indexes: &indexes };
            self.fold(&patient, |i| &heads[i], |i| facts[i].take(), &mut writes);
        }
        Built { tables: writes.tables, states: writes.states, rejected: writes.rejected }
    }

    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        self.1.record_key(key)
    }

    fn same_state(&self, a: &[u8], b: &[u8]) -> bool {
        let read = Facts::<F::Fact>::from_bytes;
        matches!((read(a), read(b)), (Ok(a), Ok(b)) if a == b)
    }

    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool {
        let read = Facts::<F::Fact>::from_bytes;
        matches!((read(whole), read(part)), (Ok(w), Ok(p)) if p.iter().all(|(id, _)| w.get(id).is_some()))
    }

    async fn write(
        &self,
        tx: &mut Tx,
        generation: &Generation,
        items: &[&Self::Item],
    ) -> Result<Vec<Rejected>, StoreError> {
        let Some(state) = generation.state().filter(|_| !items.is_empty()) else { return Ok(Vec::new()) };
        let patients = by_patient(items.iter().map(|i| &*i.head.patient));
        let keys: Vec<&str> = patients.iter().map(|(patient, _)| *patient).collect();
        let rows = tx.select(state, &keys).await?;
        let stored: HashMap<&str, &[u8]> = rows.iter().map(|r| (r.text(0), r.bytes(2))).collect();
        let mut writes = Writes::new(F::TABLES.len());
        for (n, (patient, indexes)) in patients.iter().enumerate() {
            let patient = Patient { name: patient, state: stored.get(patient).copied(), indexes };
            self.fold(&patient, |i| &items[i].head, |i| Some(items[i].fact.clone()), &mut writes);
            if n % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        for (i, rows) in writes.tables.iter().enumerate() {
            let target = generation.target(i);
            tx.delete(Target { key: 1, ..target }, &refs(&writes.anew)).await?;
            tx.upsert(target, &refs(rows)).await?;
        }
        tx.upsert(state, &refs(&writes.states)).await?;
        Ok(writes.rejected)
    }
}

impl<F: PatientFold> Folded<F> {
    /// Adds a patient's items to its facts, and notes what changes. `fact` is asked once for each.
    fn fold<'h>(
        &self,
        &Patient { name, state, indexes }: &Patient<'_>,
        head: impl Fn(usize) -> &'h Head,
        mut fact: impl FnMut(usize) -> Option<Box<F::Fact>>,
        writes: &mut Writes,
    ) {
        let stored = state.map(Facts::<F::Fact>::from_bytes_with_digests).transpose();
        let Ok(stored) = stored else {
            return reject_all(indexes, "state", "the patient's state can't be read", writes);
        };
        let (mut facts, made) = stored.unwrap_or_else(|| (Facts::default(), Some(Digests::default())));
        let mut changed = false;
        for &i in indexes {
            changed |= fact(i).is_some_and(|fact| add(&mut facts, head(i), fact, i, writes));
        }
        if !changed {
            return;
        }
        let after = match self.rows(name, &facts) {
            Some(rows) => rows,
            None => {
                // Rare enough to read the state again instead of keeping a copy of each.
                let before = state.and_then(|s| Facts::from_bytes(s).ok()).unwrap_or_default();
                let all = std::mem::replace(&mut facts, before);
                match self.fold_singly(name, &mut facts, &all, indexes, &head, writes) {
                    Some(rows) => rows,
                    None => return,
                }
            }
        };
        let now = Digests::of(&after, F::TABLES.iter().map(|t| t.key));
        // Where a row goes, or an earlier version wrote the state, all are written anew.
        let mut changed = made.and_then(|made| made.changed(&now)).map(Vec::into_iter);
        if changed.is_none() {
            writes.anew.push(vec![name.into()]);
        }
        for (rows, table) in after.into_iter().zip(&mut writes.tables) {
            table.extend(rows.into_iter().filter(|_| changed.as_mut().is_none_or(|c| c.next() == Some(true))));
        }
        let partition = indexes.first().map_or(0, |i| head(*i).partition);
        writes.states.push(vec![name.into(), i64::from(partition).into(), facts.to_bytes_with(&now).into()]);
    }

    /// One item after the other, until one makes the fold panic: it becomes a dead letter, the ones after it wait behind it,
    /// the ones before it count. The rows of those, if there are any. `all` has what they say.
    fn fold_singly<'h>(
        &self,
        patient: &str,
        facts: &mut Facts<F::Fact>,
        all: &Facts<F::Fact>,
        indexes: &[usize],
        head: impl Fn(usize) -> &'h Head,
        writes: &mut Writes,
    ) -> Option<Vec<Vec<Row>>> {
        let mut rows = None;
        writes.rejected.retain(|r| !indexes.contains(&r.index));
        for (n, i) in indexes.iter().enumerate() {
            let mut with = facts.clone();
            let Some(fact) = all.get(head(*i).id) else { continue };
            if !add(&mut with, head(*i), Box::new(fact.clone()), *i, writes) {
                continue;
            }
            let Some(made) = self.rows(patient, &with) else {
                reject_all(&indexes[n..], "unfoldable", "folding the event panicked", writes);
                break;
            };
            *facts = with;
            rows = Some(made);
        }
        rows
    }

    /// The patient's rows; `None` when the fold panicked, which must park one patient and not stop the service.
    fn rows(&self, patient: &str, facts: &Facts<F::Fact>) -> Option<Vec<Vec<Row>>> {
        if facts.is_empty() {
            return Some(F::TABLES.iter().map(|_| Vec::new()).collect());
        }
        catch_unwind(AssertUnwindSafe(|| self.1.rows(patient, facts))).ok()
    }
}

/// Adds an item; whether it was new.
fn add<A>(facts: &mut Facts<A>, head: &Head, fact: Box<A>, index: usize, writes: &mut Writes) -> bool {
    match facts.add(head.id, head.hash, fact) {
        Added::New => true,
        Added::Duplicate => false,
        Added::Conflict => {
            writes.rejected.push(Rejected::conflict(index));
            false
        }
    }
}

/// The first becomes the dead letter that the others wait behind.
fn reject_all(indexes: &[usize], code: &'static str, reason: &'static str, writes: &mut Writes) {
    for (n, index) in indexes.iter().enumerate() {
        writes.rejected.push(Rejected { index: *index, code, reason, parks: true, behind: n > 0 });
    }
}

/// Some order of keys.
pub(crate) fn compare(a: &[Value], b: &[Value]) -> Ordering {
    let rank = |v: &Value| match v {
        Value::Null => 0,
        Value::Text(_) => 1,
        Value::Int(_) => 2,
        Value::Float(_) => 3,
        Value::Bytes(_) => 4,
    };
    a.iter()
        .zip(b)
        .map(|(a, b)| match (a, b) {
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            _ => rank(a).cmp(&rank(b)),
        })
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn refs(rows: &[Row]) -> Vec<&[Value]> {
    rows.iter().map(Vec::as_slice).collect()
}
