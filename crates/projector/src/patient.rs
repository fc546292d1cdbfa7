//! One key of the log in one generation: what its rows must be by the log, what they are, and how they differ.
//!
//! A check holds the checkpoint of the key's partition, so that no projector writes the partition meanwhile: what it finds is
//! no matter of timing.

pub mod gathered;
pub mod known;
pub mod reader;

use crate::folded::compare;
use crate::prepare::{Outcome, outcome};
use crate::sorted::{letter, rejection};
use crate::{Projection, ProjectorError};
use domain::table::{Row, Value};
use eventlog::{Log, Record};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::{Durability, Generation, NewDeadLetter, Store, StoreError, Target, Tx};

/// A generation of a view, and the log that it is made from.
pub struct Scope<'a, P> {
    /// How the generation is made.
    pub view: &'a P,
    /// The generation.
    pub generation: &'a Generation,
    /// The log.
    pub log: &'a Arc<dyn Log>,
    /// The store.
    pub store: &'a Store,
}

/// How the rows of some keys differ in one table from what they must be; without any of their data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table, without its generation; `dead_letters` for records that are neither rows, nor unused, nor letters; `parked`
    /// for a key that waits for nothing, or doesn't wait where it must.
    pub table: String,
    /// Rows that must be and are not.
    pub missing: usize,
    /// Rows that are and must not be.
    pub extra: usize,
    /// Rows that are not as they must be.
    pub differing: usize,
    /// Columns that differ in those.
    pub columns: Vec<&'static str>,
}

impl Difference {
    fn of(table: &str, missing: usize, extra: usize, differing: usize) -> Self {
        Self { table: table.into(), missing, extra, differing, columns: Vec::new() }
    }

    /// How many rows it is about.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.missing + self.extra + self.differing
    }
}

/// What a check saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records of the key that the view has taken.
    pub records: usize,
    /// Rows that must be.
    pub rows: usize,
    /// What differs; empty when nothing does.
    pub differences: Vec<Difference>,
}

/// Where the records of a key come from.
pub trait Source {
    /// All records of `key` below `next`, in order; asked while the partition is held. Nothing where that is so far ahead of
    /// what has been read that reading it would take too long.
    async fn records(&mut self, tx: &mut Tx, key: &[u8], next: u64) -> Result<Option<Vec<Record>>, ProjectorError>;
}

/// What the rows of a key must be.
pub struct Must {
    /// One list per table, the state's last.
    pub rows: Vec<Vec<Row>>,
    /// Records that the view can't take, and that are no letters yet.
    pub lost: Vec<NewDeadLetter>,
}

/// What `records` of one key, in order, make; those that are dead letters don't count.
pub fn must<P: Projection>(view: &P, partitions: u32, records: &[Record], letters: &BTreeSet<u64>) -> Must {
    let (mut items, mut of, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for record in records.iter().filter(|r| !letters.contains(&r.position.offset)) {
        match outcome(view, record, partitions) {
            Outcome::Item(item) => {
                items.push(item);
                of.push(record);
            }
            Outcome::Unused => {}
            Outcome::Poison { code, reason, parks } => lost.push(letter(record, code, reason, parks)),
        }
    }
    let built = view.build(items);
    lost.extend(built.rejected.iter().filter_map(|r| Some(rejection(of.get(r.index)?, r))));
    let mut rows = built.tables;
    rows.extend(view.spec().state.then_some(built.states));
    Must { rows, lost }
}

/// The tables of a generation, the state's last, each with its name in the view.
pub fn tables(generation: &Generation) -> Vec<(String, Target<'_>)> {
    let spec = generation.spec();
    let rows = spec.tables.iter().enumerate().map(|(i, t)| (t.name.to_owned(), generation.target(i)));
    rows.chain(generation.state().map(|t| (format!("{}_state", spec.name), t))).collect()
}

/// The name that rows have for a record's key; nothing where no row of this partition can be its: no text that a store takes, or
/// a key of another partition, whose rows that one's records make.
pub fn text_of(key: &[u8], partition: u32, partitions: u32) -> Option<&str> {
    let text = std::str::from_utf8(key).ok().filter(|text| !text.contains('\0'))?;
    (eventlog::partition_of(key, partitions) == partition).then_some(text)
}

/// The first column of a row, by which a view keeps it.
pub fn key_of(row: &[Value]) -> &str {
    match row.first() {
        Some(Value::Text(key)) => key,
        _ => "",
    }
}

/// How rows differ from what they must be.
pub fn difference<P: Projection>(
    view: &P,
    table: &str,
    target: Target<'_>,
    mut must: Vec<Row>,
    mut is: Vec<Row>,
) -> Option<Difference> {
    let by_key = |a: &Row, b: &Row| compare(&a[..target.key], &b[..target.key]);
    must.sort_by(by_key);
    is.sort_by(by_key);
    let mut found = Difference::of(table, 0, 0, 0);
    let mut columns = BTreeSet::new();
    let mut there = is.into_iter().peekable();
    for row in must {
        while there.next_if(|r| by_key(r, &row) == Ordering::Less).is_some() {
            found.extra += 1;
        }
        let Some(same) = there.next_if(|r| by_key(r, &row) == Ordering::Equal) else {
            found.missing += 1;
            continue;
        };
        let differs = |(a, b): (&Value, &Value)| match (a, b) {
            // What states say counts, not how it is written down.
            (Value::Bytes(a), Value::Bytes(b)) => a != b && !view.same_state(a, b),
            _ => a != b,
        };
        let names = (0..row.len()).filter(|i| differs((&row[*i], &same[*i]))).collect::<Vec<_>>();
        if !names.is_empty() {
            found.differing += 1;
            columns.extend(names);
        }
    }
    found.extra += there.count();
    found.columns = columns.into_iter().map(|i| target.columns[i].0).collect();
    (found.rows() > 0).then_some(found)
}

/// The rows by which `key` is kept, and those that must be.
async fn keys_of<P: Projection>(
    view: &P,
    generation: &Generation,
    tx: &mut Tx,
    key: &str,
    must: &[Vec<Row>],
) -> Result<BTreeSet<String>, StoreError> {
    let mut keys: BTreeSet<String> = must.iter().flatten().map(|r| key_of(r).to_owned()).collect();
    keys.insert(key.to_owned());
    // A view may keep a record's key with something behind it ('/' is followed by '0').
    for (_, target) in tables(generation) {
        let column = target.columns[0].0;
        let sql = format!(
            "SELECT DISTINCT \"{column}\" FROM \"{}\" WHERE \"{column}\" >= $1 AND \"{column}\" < $2",
            target.table
        );
        let found = tx.query(&sql, &[format!("{key}/").into(), format!("{key}0").into()]).await?;
        let own = found.iter().map(|r| r.text(0)).filter(|k| view.record_key(k) == key);
        keys.extend(own.map(str::to_owned));
    }
    Ok(keys)
}

/// The rows of some keys, one list per table.
pub async fn rows(tx: &mut Tx, generation: &Generation, keys: &BTreeSet<String>) -> Result<Vec<Vec<Row>>, StoreError> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for (_, target) in tables(generation) {
        all.push(tx.select(target, &keys).await?.into_iter().map(|r| r.0).collect());
    }
    Ok(all)
}

/// The rows of a record's key as they are, whatever they must be.
pub async fn rows_of<P: Projection>(
    view: &P,
    generation: &Generation,
    tx: &mut Tx,
    key: Option<&str>,
) -> Result<Vec<Vec<Row>>, StoreError> {
    let keys = match key {
        Some(key) => keys_of(view, generation, tx, key, &[]).await?,
        None => BTreeSet::new(),
    };
    rows(tx, generation, &keys).await
}

/// Compares the rows of one key with what the log says, and, if asked, puts them right in the same transaction. Nothing
/// where the view has gone on too far since `source` read the log.
///
/// # Errors
/// Those of the store and the log.
pub async fn check<P: Projection>(
    scope: &Scope<'_, P>,
    partition: u32,
    key: &[u8],
    source: &mut impl Source,
    repair: bool,
) -> Result<Option<Checked>, ProjectorError> {
    let generation = scope.generation;
    let mut tx = scope.store.begin(if repair { Durability::Full } else { Durability::FromLog }).await?;
    let next = tx.hold(generation, partition).await?.map_or(0, |held| held.next_offset);
    let Some(records) = source.records(&mut tx, key, next).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    let letters = tx.letter_offsets(generation, partition, key).await?;
    let must = must(scope.view, scope.log.partitions(), &records, &letters);
    let mut checked =
        Checked { records: records.len(), rows: must.rows.iter().map(Vec::len).sum(), differences: Vec::new() };
    let keys = match text_of(key, partition, scope.log.partitions()) {
        Some(text) => keys_of(scope.view, generation, &mut tx, text, &must.rows).await?,
        None => BTreeSet::new(),
    };
    let is = rows(&mut tx, generation, &keys).await?;
    for (((name, target), must), is) in tables(generation).into_iter().zip(must.rows).zip(is) {
        let found = difference(scope.view, &name, target, must.clone(), is);
        // A state says which rows were written last, and is written with them.
        let stale = !checked.differences.is_empty() && generation.state().is_some_and(|s| s.table == target.table);
        let wrong = found.is_some() || stale;
        checked.differences.extend(found);
        if repair && wrong {
            // All of them, so that no twin and nothing that a key can't name stays.
            let first: Vec<[Value; 1]> = keys.iter().map(|k| [k.as_str().into()]).collect();
            let first: Vec<&[Value]> = first.iter().map(<[Value; 1]>::as_slice).collect();
            tx.delete(Target { key: 1, ..target }, &first).await?;
            tx.upsert(target, &must.iter().map(Vec::as_slice).collect::<Vec<_>>()).await?;
        }
    }
    if !must.lost.is_empty() {
        checked.differences.push(Difference::of("dead_letters", must.lost.len(), 0, 0));
        if repair {
            tx.bury(generation, &must.lost).await?;
        }
    }
    checked.differences.extend(waiting(&mut tx, generation, partition, key, repair).await?);
    if repair && !checked.differences.is_empty() {
        tx.repaired(generation).await?;
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(Some(checked))
}

/// Whether a key waits where it must, and only there.
async fn waiting(
    tx: &mut Tx,
    generation: &Generation,
    partition: u32,
    key: &[u8],
    repair: bool,
) -> Result<Option<Difference>, StoreError> {
    let parked = tx.parked_behind(generation, partition, key).await?;
    let wait = tx.letters_wait(generation, partition, key).await?;
    let found = match (parked, wait) {
        (Some(true), _) | (None, false) => return Ok(None),
        (Some(false), false) => Difference::of("parked", 0, 1, 0),
        (Some(false), true) => Difference::of("parked", 0, 0, 1),
        (None, true) => Difference::of("parked", 1, 0, 0),
    };
    if repair {
        let first = tx.open_letters(generation, partition, key, 1).await?;
        tx.park(generation, partition, key, first.first().filter(|_| wait).map(|l| l.id.as_str())).await?;
    }
    Ok(Some(found))
}

/// Rows by the record's key that they belong to.
pub fn by_record_key<P: Projection>(view: &P, tables: Vec<Vec<Row>>) -> BTreeMap<String, Vec<Vec<Row>>> {
    let (count, mut out) = (tables.len(), BTreeMap::<String, Vec<Vec<Row>>>::new());
    for (t, rows) in tables.into_iter().enumerate() {
        for row in rows {
            let key = view.record_key(key_of(&row)).to_owned();
            out.entry(key).or_insert_with(|| vec![Vec::new(); count])[t].push(row);
        }
    }
    out
}
