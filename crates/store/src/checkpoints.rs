//! How far each partition of the log is in a view, moved on by compare-and-set.

use crate::{Generation, GenerationInfo, Row, State, Store, StoreError, Tx, now_ms};
use domain::table::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A step of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Partition.
    pub partition: u32,
    /// The next offset as the writer knows it.
    pub expected: u64,
    /// The next offset after this transaction.
    pub next: u64,
    /// When the log took the last record, milliseconds since 1970.
    pub appended_ms: i64,
    /// Hash of the last record (see [`record_hash`]).
    pub last_hash: i64,
}

/// What a checkpoint remembers of the last record behind it, to know its log again: never 0.
#[must_use]
pub fn record_hash(key: &[u8], value: &[u8]) -> i64 {
    let hash = xxh3_64_with_seed(value, xxh3_64(key)).cast_signed();
    if hash == 0 { 1 } else { hash }
}

/// A partition's checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Partition.
    pub partition: u32,
    /// Offset of the first record that the view has not taken.
    pub next_offset: u64,
    /// When the log took the last record that the view has taken, milliseconds since 1970; 0 before the first.
    pub appended_ms: i64,
    /// When the view took it, milliseconds since 1970.
    pub updated_at: i64,
    /// How many of its keys are parked.
    pub parked: u64,
    /// [`record_hash`] of the record before `next_offset`; 0 where none is known.
    pub last_hash: i64,
}

/// A checkpoint that a transaction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Offset of the first record that the view has not taken.
    pub next_offset: u64,
    /// [`record_hash`] of the record before it; 0 where none is known.
    pub last_hash: i64,
}

/// How far a generation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The generation.
    pub generation: GenerationInfo,
    /// Since when its view is paused, milliseconds since 1970.
    pub paused_since: Option<i64>,
    /// Its dead letters, without those that were discarded.
    pub dead_letters: u64,
    /// By partition.
    pub partitions: Vec<Checkpoint>,
}

/// The checkpoints of generation `$2` of view `$1`.
pub(crate) const OF_GENERATION: &str = "SELECT partition, next_offset, appended_ms, updated_at, parked, last_hash \
                                        FROM checkpoints WHERE view = $1 AND generation = $2 ORDER BY partition";

impl Store {
    /// The checkpoints of a generation, by partition.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn checkpoints(&self, view: &str, generation: i64) -> Result<Vec<Checkpoint>, StoreError> {
        let rows = self.engine().query(OF_GENERATION, &[view.into(), generation.into()]).await?;
        Ok(rows.iter().map(|r| checkpoint(&r.0)).collect())
    }

    /// Makes the checkpoints of these partitions that aren't there, at 0, all at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn start(&self, view: &str, generation: i64, partitions: &[u32]) -> Result<(), StoreError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let values: Vec<String> = partitions.iter().map(|p| format!("(CAST({p} AS bigint))")).collect();
        // A generation that was dropped a moment ago gets none again.
        let sql = format!(
            "INSERT INTO checkpoints (view, generation, partition, next_offset, appended_ms, updated_at, parked) \
             SELECT view, generation, p.column1, 0, 0, CAST($3 AS bigint), 0 FROM generations, (VALUES {}) AS p \
             WHERE view = $1 AND generation = $2 AND state <> 'dropped' \
             ON CONFLICT (view, generation, partition) DO NOTHING",
            values.join(", ")
        );
        self.engine().execute(&sql, &[view.into(), generation.into(), now_ms().into()]).await?;
        Ok(())
    }

    /// How far every generation that there is has come, by view and number.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn progress(&self) -> Result<Vec<Progress>, StoreError> {
        let engine = self.engine();
        let checkpoints = "SELECT view, generation, partition, next_offset, appended_ms, updated_at, parked, last_hash \
                           FROM checkpoints ORDER BY partition";
        let letters = "SELECT view, generation, count(*) FROM dead_letters WHERE discarded_ms IS NULL \
                       GROUP BY view, generation";
        let generations = self.generations(None).await?;
        let paused = engine.query("SELECT view, since_ms FROM paused", &[]).await?;
        let letters = engine.query(letters, &[]).await?;
        let checkpoints = engine.query(checkpoints, &[]).await?;
        let of = |r: &&Row, g: &GenerationInfo| r.text(0) == g.view && r.int(1) == g.number;
        let progress = |generation: GenerationInfo| Progress {
            paused_since: paused.iter().find(|r| r.text(0) == generation.view).map(|r| r.int(1)),
            dead_letters: letters.iter().find(|r| of(r, &generation)).map_or(0, |r| unsigned(r.int(2))),
            partitions: checkpoints.iter().filter(|r| of(r, &generation)).map(|r| checkpoint(&r.0[2..])).collect(),
            generation,
        };
        Ok(generations.into_iter().filter(|g| g.state != State::Dropped).map(progress).collect())
    }
}

impl Tx {
    /// Moves checkpoints on, compare-and-set, and locks them until the transaction ends. Answers with the partitions
    /// that moved, and how many parked keys each has; one that is missing belongs to another owner by now (or its
    /// checkpoint never was made), and nothing of it may be written.
    ///
    /// This comes first in a transaction, so that all it reads afterwards is its own to change.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn advance(
        &mut self,
        view: &str,
        generation: i64,
        steps: &[Advance],
    ) -> Result<BTreeMap<u32, u64>, StoreError> {
        if steps.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut args: Vec<Value> = vec![view.into(), generation.into(), now_ms().into()];
        let mut values = String::new();
        for s in steps {
            let n = args.len();
            let comma = if values.is_empty() { "" } else { ", " };
            let _ = write!(values, "{comma}(${}, ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4, n + 5);
            args.extend([
                int(s.partition.into())?,
                int(s.expected)?,
                int(s.next)?,
                s.appended_ms.into(),
                s.last_hash.into(),
            ]);
        }
        let sql = format!(
            "UPDATE checkpoints SET next_offset = s.column3, appended_ms = s.column4, updated_at = $3, \
             last_hash = s.column5 \
             FROM (VALUES {values}) AS s \
             WHERE view = $1 AND generation = $2 AND partition = s.column1 AND next_offset = s.column2 \
             RETURNING partition, parked"
        );
        let rows = self.query(&sql, &args).await?;
        Ok(rows.iter().filter_map(|r| Some((u32::try_from(r.int(0)).ok()?, unsigned(r.int(1))))).collect())
    }

    /// Holds a checkpoint until the transaction ends, so that nothing of its partition is written meanwhile; `None` where
    /// the generation has none for it.
    ///
    /// This comes first in a transaction, so that all it reads afterwards is up to date.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold(&mut self, generation: &Generation, partition: u32) -> Result<Option<Held>, StoreError> {
        let sql = format!(
            "SELECT next_offset, last_hash FROM checkpoints WHERE view = $1 AND generation = $2 AND partition = $3{}",
            self.for_update()
        );
        let args = [generation.view.into(), generation.number.into(), i64::from(partition).into()];
        let rows = self.query(&sql, &args).await?;
        Ok(rows.first().map(|r| Held { next_offset: unsigned(r.int(0)), last_hash: r.int(1) }))
    }
}

fn int(v: u64) -> Result<Value, StoreError> {
    i64::try_from(v).map(Value::Int).map_err(|_| StoreError::Data("an offset above 2^63".into()))
}

fn unsigned(v: i64) -> u64 {
    u64::try_from(v).unwrap_or_default()
}

pub(crate) fn checkpoint(r: &[Value]) -> Checkpoint {
    let int = |i: usize| if let Some(Value::Int(v)) = r.get(i) { *v } else { 0 };
    Checkpoint {
        partition: u32::try_from(int(0)).unwrap_or_default(),
        next_offset: unsigned(int(1)),
        appended_ms: int(2),
        updated_at: int(3),
        parked: unsigned(int(4)),
        last_hash: int(5),
    }
}
