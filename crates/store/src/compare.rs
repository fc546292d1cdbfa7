//! Row by row, what two generations of a view have differently.

mod join;
mod letters;
mod states;

use crate::{Checkpoint, Generation, Store, StoreError, Tx, checkpoints};
use domain::table::Value;
use join::Join;
use serde::Serialize;

/// Most rows that are told apart by key, per table.
const SAMPLES: usize = 5;

/// Two generations as they are at one moment, however long it is looked at.
pub struct Snapshot {
    tx: Tx,
    /// The checkpoints of each.
    pub checkpoints: [Vec<Checkpoint>; 2],
}

/// What two generations have differently.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// By table.
    pub tables: Vec<TableDifference>,
    /// Keys that were left out, since only one of the generations has seen their latest events.
    pub keys_left_out: usize,
    /// Dead letters that nobody has discarded, up to where both generations have come: the same records, for the same reasons?
    pub dead_letters: TableDifference,
}

/// What a table has differently in two generations.
#[derive(Debug, Clone, Serialize)]
pub struct TableDifference {
    /// The table, without its generation.
    pub table: &'static str,
    /// Rows in each, all of them.
    pub rows: [i64; 2],
    /// Rows that only the first has.
    pub only_first: i64,
    /// Rows that only the second has.
    pub only_second: i64,
    /// Rows that differ in more than their key.
    pub differing: i64,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// A row that differs, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Short hash of the patient's key, as dead letters show it.
    pub key_hash: String,
    /// `only_first`, `only_second` or `differs`.
    pub what: &'static str,
    /// The columns that differ.
    pub columns: Vec<&'static str>,
}

/// What a query's column of sides says: 1 only the first, 2 only the second, else both.
fn what(side: i64) -> &'static str {
    match side {
        1 => "only_first",
        2 => "only_second",
        _ => "differs",
    }
}

impl Comparison {
    /// What differs: rows of all tables, and dead letters.
    #[must_use]
    pub fn differences(&self) -> i64 {
        self.tables.iter().map(TableDifference::differences).sum::<i64>() + self.dead_letters.differences()
    }
}

impl TableDifference {
    /// Rows that only one of the two has, or that differ.
    #[must_use]
    pub const fn differences(&self) -> i64 {
        self.only_first + self.only_second + self.differing
    }
}

impl Store {
    /// Looks at two generations of a view at one moment.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn snapshot(&self, view: &str, generations: [i64; 2]) -> Result<Snapshot, StoreError> {
        let mut tx = self.engine().snapshot().await?;
        let first = tx.checkpoints(view, generations[0]).await?;
        let second = tx.checkpoints(view, generations[1]).await?;
        Ok(Snapshot { tx, checkpoints: [first, second] })
    }
}

impl Tx {
    /// As [`Store::checkpoints`], in this transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn checkpoints(&mut self, view: &str, generation: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let rows = self.query(checkpoints::OF_GENERATION, &[view.into(), generation.into()]).await?;
        Ok(rows.iter().map(|r| checkpoints::checkpoint(&r.0)).collect())
    }
}

impl Snapshot {
    /// Compares all rows but those of `moving`: keys whose events one of the two has not seen yet. States differ where `same_state`
    /// says so, since two versions of the program may write the same one in two ways.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn compare(
        mut self,
        first: &Generation,
        second: &Generation,
        moving: &[String],
        same_state: &(dyn Fn(&[u8], &[u8]) -> bool + Sync),
    ) -> Result<Comparison, StoreError> {
        self.tx.heavy().await?;
        let moving_json = serde_json::to_string(moving).map_err(|e| StoreError::Data(e.to_string()))?;
        let args: &[Value] = if moving.is_empty() { &[] } else { &[Value::Text(moving_json)] };
        let mut tables = Vec::new();
        let names = first.spec().tables.iter().map(|t| t.name);
        for (name, (a, b)) in names.chain(["state"]).zip(first.targets().zip(second.targets())) {
            let mut join = Join::new(&self.tx, a, b, !moving.is_empty());
            let rows = self.tx.query(&join.counts(), args).await?;
            let count = |i| rows.first().map_or(0, |r| r.int(i));
            let mut found = TableDifference {
                table: name,
                rows: [count(0), count(1)],
                only_first: count(2),
                only_second: count(3),
                differing: count(4),
                samples: Vec::new(),
            };
            if name == "state" && found.differing > 0 {
                (found.differing, found.samples) =
                    states::differ(&mut self.tx, [a, b], &join, args, same_state).await?;
                join.by_key_alone();
            }
            if found.differences() > 0 {
                found.samples.extend(self.tx.query(&join.samples(), args).await?.iter().map(|r| join.sample(r)));
                found.samples.truncate(SAMPLES);
            }
            tables.push(found);
        }
        let dead_letters = letters::compare(&mut self.tx, first, second).await?;
        self.tx.rollback().await?;
        Ok(Comparison { tables, keys_left_out: moving.len(), dead_letters })
    }
}
