//! Records that a view could not take, and the keys that wait behind them.

mod decide;
mod find;

pub use decide::{KeptLetter, OpenLetter};
pub use find::{LetterCount, LetterKey, Letters};

use crate::{Generation, Row, Store, StoreError, Target, Tx, now_ms};
use domain::table::{Type, Value};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64;

/// Most letters in one answer of [`Store::dead_letters`].
pub const MAX_PAGE: usize = 1_000;

/// A record that becomes a dead letter.
#[derive(Debug, Clone)]
pub struct NewDeadLetter {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The type of its event, if that is known.
    pub event_type: Option<String>,
    /// The system that it came from, if that is known.
    pub source: Option<String>,
    /// A short code, such as `undecodable`.
    pub code: &'static str,
    /// Why, in words; never a patient's data.
    pub reason: String,
    /// Whether it is sound itself, and waits behind another one of its key.
    pub parked_behind: bool,
    /// Whether later records of its key have to wait.
    pub parks: bool,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// When the log took it, milliseconds since 1970.
    pub appended_ms: i64,
}

/// A dead letter as it may be shown: without the patient's data.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadLetter {
    /// `view.generation.partition.offset`.
    pub id: String,
    /// The view that could not take it.
    pub view: String,
    /// The view's generation.
    pub generation: i64,
    /// Partition of the log.
    pub partition: i64,
    /// Offset in the partition.
    pub offset: i64,
    /// The event's type, if that is known.
    pub event_type: Option<String>,
    /// A short code, such as `undecodable`.
    pub code: String,
    /// Why, in words.
    pub reason: String,
    /// Whether it is sound itself, and waits behind another one of its key.
    pub parked_behind: bool,
    /// Short hash of the key: the same for records of one patient, and no way back to them.
    pub key_hash: String,
    /// Length of the value, bytes.
    pub bytes: i64,
    /// When the log took it, milliseconds since 1970.
    pub appended_ms: i64,
    /// When it became a dead letter, milliseconds since 1970.
    pub created_ms: i64,
    /// The system that it came from, if that is known.
    pub source: Option<String>,
    /// When it was discarded, milliseconds since 1970; nothing while it is open.
    pub discarded_ms: Option<i64>,
    /// Why it was discarded.
    pub discard_reason: Option<String>,
}

/// A dead letter with the record itself, which is a patient's data.
#[derive(Clone)]
pub struct FullDeadLetter {
    /// What may be shown.
    pub letter: DeadLetter,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
    /// The record's headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// The columns of [`DeadLetter`], in its order.
const SHOWN: &str = "id, view, generation, partition, log_offset, event_type, reason_code, reason, parked_behind, \
                     key_hash, length(value), appended_ms, created_ms, source, discarded_ms, discard_reason";

const LETTERS: Target<'_> = Target {
    table: "dead_letters",
    columns: &[
        ("id", Type::Text),
        ("view", Type::Text),
        ("generation", Type::Int),
        ("partition", Type::Int),
        ("log_offset", Type::Int),
        ("event_type", Type::Text),
        ("reason_code", Type::Text),
        ("reason", Type::Text),
        ("parked_behind", Type::Int),
        ("key_hash", Type::Text),
        ("record_key", Type::Bytes),
        ("value", Type::Bytes),
        ("headers", Type::Text),
        ("appended_ms", Type::Int),
        ("created_ms", Type::Int),
        ("source", Type::Text),
    ],
    key: 1,
};

const PARKED: Target<'_> = Target {
    table: "parked",
    columns: &[
        ("view", Type::Text),
        ("generation", Type::Int),
        ("partition", Type::Int),
        ("record_key", Type::Bytes),
        ("dead_letter", Type::Text),
    ],
    key: 4,
};

/// Short hash of a key, for listings and logs.
#[must_use]
pub fn key_hash(key: &[u8]) -> String {
    format!("{:010x}", key_number(key) >> 24)
}

/// Where a key lies among all keys, evenly spread.
#[must_use]
pub fn key_number(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl Tx {
    /// Keeps dead letters, and parks the keys of those that ask for it. Their partitions' checkpoints must have been
    /// advanced in this transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn bury(&mut self, generation: &Generation, letters: &[NewDeadLetter]) -> Result<(), StoreError> {
        for partition in self.lay(generation, letters).await? {
            self.count_parked(generation, partition).await?;
        }
        Ok(())
    }

    /// Keeps dead letters of a generation that has no checkpoints yet, and parks the keys of those that ask for it. Answers with
    /// the partitions in which keys are parked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn lay(
        &mut self,
        generation: &Generation,
        letters: &[NewDeadLetter],
    ) -> Result<BTreeSet<u32>, StoreError> {
        if letters.is_empty() {
            return Ok(BTreeSet::new());
        }
        let now = now_ms();
        let rows: Vec<Vec<Value>> = letters.iter().map(|l| letter_row(generation, l, now)).collect();
        self.upsert(LETTERS, &refs(&rows)).await?;
        let mut parked: BTreeMap<(u32, &[u8]), Vec<Value>> = BTreeMap::new();
        for (l, row) in letters.iter().zip(&rows).filter(|(l, _)| l.parks) {
            let key = vec![row[1].clone(), row[2].clone(), row[3].clone(), row[10].clone(), row[0].clone()];
            parked.entry((l.partition, l.key.as_slice())).or_insert(key);
        }
        let rows: Vec<Vec<Value>> = parked.values().cloned().collect();
        self.insert_ignore(PARKED, &refs(&rows)).await?;
        Ok(parked.keys().map(|(p, _)| *p).collect())
    }

    /// Copies the discarded letters of another generation, as far as this one's checkpoints go.
    pub(crate) async fn copy_discarded(&mut self, generation: &Generation, from: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO dead_letters (id, view, generation, partition, log_offset, event_type, reason_code, reason, \
                   parked_behind, key_hash, record_key, value, headers, appended_ms, created_ms, source, discarded_ms, \
                   discard_reason) \
                   SELECT l.view || '.' || CAST($2 AS text) || '.' || CAST(l.partition AS text) || '.' || \
                   CAST(l.log_offset AS text), l.view, c.generation, l.partition, l.log_offset, l.event_type, l.reason_code, \
                   l.reason, l.parked_behind, l.key_hash, l.record_key, l.value, l.headers, l.appended_ms, l.created_ms, \
                   l.source, l.discarded_ms, l.discard_reason FROM dead_letters l \
                   JOIN checkpoints c ON c.view = l.view AND c.partition = l.partition AND c.next_offset > l.log_offset \
                   WHERE l.view = $1 AND c.generation = $2 AND l.generation = $3 AND l.discarded_ms IS NOT NULL \
                   ON CONFLICT (id) DO UPDATE SET discarded_ms = excluded.discarded_ms, \
                   discard_reason = excluded.discard_reason";
        self.execute(sql, &[generation.view.into(), generation.number.into(), from.into()]).await?;
        Ok(())
    }

    /// Brings a checkpoint's number of parked keys up to date.
    async fn count_parked(&mut self, generation: &Generation, partition: u32) -> Result<(), StoreError> {
        let sql = "UPDATE checkpoints SET parked = (SELECT count(*) FROM parked WHERE view = $1 AND generation = $2 \
                   AND partition = $3) WHERE view = $1 AND generation = $2 AND partition = $3";
        self.execute(sql, &[generation.view.into(), generation.number.into(), i64::from(partition).into()]).await?;
        Ok(())
    }

    /// The parked keys of a partition.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn parked(&mut self, generation: &Generation, partition: u32) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let sql = "SELECT record_key FROM parked WHERE view = $1 AND generation = $2 AND partition = $3";
        let args = [generation.view.into(), generation.number.into(), i64::from(partition).into()];
        Ok(self.query(sql, &args).await?.iter().map(|r| r.bytes(0).to_vec()).collect())
    }
}

impl Store {
    /// Where the records lie that were discarded in a generation: nothing is made of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn discarded(&self, view: &str, generation: i64) -> Result<BTreeSet<(u32, u64)>, StoreError> {
        let sql = "SELECT partition, log_offset FROM dead_letters \
                   WHERE view = $1 AND generation = $2 AND discarded_ms IS NOT NULL";
        let rows = self.engine().query(sql, &[view.into(), generation.into()]).await?;
        Ok(rows.iter().filter_map(|r| Some((u32::try_from(r.int(0)).ok()?, u64::try_from(r.int(1)).ok()?))).collect())
    }
}

/// The id of the letter of a record.
#[must_use]
pub fn letter_id(generation: &Generation, partition: u32, offset: u64) -> String {
    format!("{}.{}.{partition}.{offset}", generation.view, generation.number)
}

fn letter_row(generation: &Generation, l: &NewDeadLetter, now: i64) -> Vec<Value> {
    let offset = i64::try_from(l.offset).unwrap_or(i64::MAX);
    vec![
        letter_id(generation, l.partition, l.offset).into(),
        generation.view.into(),
        generation.number.into(),
        i64::from(l.partition).into(),
        offset.into(),
        l.event_type.clone().into(),
        l.code.into(),
        l.reason.clone().into(),
        l.parked_behind.into(),
        key_hash(&l.key).into(),
        l.key.clone().into(),
        l.value.clone().into(),
        serde_json::to_string(&l.headers).unwrap_or_default().into(),
        l.appended_ms.into(),
        now.into(),
        l.source.clone().into(),
    ]
}

fn shown(r: &Row) -> DeadLetter {
    DeadLetter {
        id: r.text(0).into(),
        view: r.text(1).into(),
        generation: r.int(2),
        partition: r.int(3),
        offset: r.int(4),
        event_type: r.opt_text(5).map(Into::into),
        code: r.text(6).into(),
        reason: r.text(7).into(),
        parked_behind: r.int(8) == 1,
        key_hash: r.text(9).into(),
        bytes: r.int(10),
        appended_ms: r.int(11),
        created_ms: r.int(12),
        source: r.opt_text(13).map(Into::into),
        discarded_ms: r.opt_int(14),
        discard_reason: r.opt_text(15).map(Into::into),
    }
}

/// Rows as the bulk writes take them.
fn refs(rows: &[Vec<Value>]) -> Vec<&[Value]> {
    rows.iter().map(Vec::as_slice).collect()
}
