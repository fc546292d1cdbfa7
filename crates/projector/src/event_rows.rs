//! Views that keep one row per event.

use crate::{Built, Projection, Rejected};
use domain::Event;
use domain::table::{Row, Type, Value};
use domain::views::EventRows;
use eventlog::Position;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use store::{Generation, StoreError, Target, Tx, ViewSpec};

/// Makes a projection of an [`EventRows`].
#[derive(Debug, Clone)]
pub struct Rows<V>(pub &'static str, pub V);

/// The rows of one event.
pub struct Item {
    hash: i64,
    rows: Vec<(usize, Row)>,
}

impl Item {
    fn row(&self, table: usize) -> Option<&[Value]> {
        self.rows.iter().find(|(t, _)| *t == table).map(|(_, r)| r.as_slice())
    }
}

impl<V: EventRows> Projection for Rows<V> {
    type Item = Item;

    fn spec(&self) -> ViewSpec {
        ViewSpec { name: self.0, version: V::VERSION, tables: V::TABLES, state: false }
    }

    fn item(&self, event: Event, position: Position) -> Option<Item> {
        let (hash, rows) = self.1.rows(&event, position.partition, position.offset);
        (!rows.is_empty()).then(|| Item { hash: hash.cast_signed(), rows })
    }

    fn build(&self, items: Vec<Item>) -> Built {
        let mut built = Built { tables: V::TABLES.iter().map(|_| Vec::new()).collect(), ..Built::default() };
        let mut seen: HashMap<Vec<&str>, i64> = HashMap::with_capacity(items.len());
        let mut first = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let key = item.row(0).map(|row| row[..V::TABLES[0].key].iter().map(text).collect());
            first.push(match key.map(|key| seen.entry(key)) {
                Some(Entry::Vacant(place)) => {
                    place.insert(item.hash);
                    true
                }
                Some(Entry::Occupied(hash)) if *hash.get() != item.hash => {
                    built.rejected.push(Rejected::conflict(i));
                    false
                }
                _ => false,
            });
        }
        drop(seen);
        for (table, row) in items.into_iter().zip(first).filter(|(_, first)| *first).flat_map(|(item, _)| item.rows) {
            built.tables[table].push(row);
        }
        built
    }

    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        key
    }

    fn same_state(&self, a: &[u8], b: &[u8]) -> bool {
        a == b
    }

    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool {
        whole == part
    }

    async fn write(&self, tx: &mut Tx, generation: &Generation, items: &[&Item]) -> Result<Vec<Rejected>, StoreError> {
        let mut conflicts = HashSet::new();
        for table in 0..V::TABLES.len() {
            let with: Vec<(usize, &[Value])> = items
                .iter()
                .enumerate()
                .filter(|(i, _)| !conflicts.contains(i))
                .flat_map(|(i, item)| item.rows.iter().filter(|r| r.0 == table).map(move |(_, r)| (i, r.as_slice())))
                .collect();
            let rows: Vec<&[Value]> = with.iter().map(|(_, r)| *r).collect();
            let new = tx.insert_ignore(generation.target(table), &rows).await?;
            if table == 0 && usize::try_from(new) != Ok(rows.len()) {
                conflicts.extend(differing(tx, generation.target(0), items).await?);
            }
        }
        let mut conflicts: Vec<_> = conflicts.into_iter().collect();
        conflicts.sort_unstable();
        Ok(conflicts.into_iter().map(Rejected::conflict).collect())
    }
}

/// The items under whose id there is a row with another content hash.
async fn differing(tx: &mut Tx, target: Target<'_>, items: &[&Item]) -> Result<Vec<usize>, StoreError> {
    let columns: Vec<(&'static str, Type)> =
        target.columns[..target.key].iter().copied().chain([("content_hash", Type::Int)]).collect();
    let key = target.key;
    let mut seen = HashSet::new();
    let name = |row: &[Value]| row[..key].iter().map(|v| text(v).to_owned()).collect::<Vec<_>>();
    let keys: Vec<&[Value]> =
        items.iter().filter_map(|i| i.row(0)).filter(|r| seen.insert(name(r))).map(|r| &r[..key]).collect();
    let rows = tx.select_keys(Target { columns: &columns, ..target }, &keys).await?;
    let stored: HashMap<Vec<String>, i64> = rows.iter().map(|r| (name(&r.0), r.int(key))).collect();
    let differs = |i: &Item| i.row(0).and_then(|r| stored.get(&name(r))).is_some_and(|h| *h != i.hash);
    Ok(items.iter().enumerate().filter(|(_, i)| differs(i)).map(|(n, _)| n).collect())
}

/// A part of a key, which is text (see [`EventRows::TABLES`]).
fn text(v: &Value) -> &str {
    match v {
        Value::Text(t) => t,
        _ => "",
    }
}
