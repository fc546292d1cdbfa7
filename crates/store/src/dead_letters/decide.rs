//! What is decided about dead letters, inside a transaction that holds their partition's checkpoint.

use super::{LETTERS, PARKED, key_hash};
use crate::{Generation, Store, StoreError, Tx, now_ms};
use domain::table::Value;
use std::collections::BTreeSet;

/// A dead letter that is open, with its record.
#[derive(Clone)]
pub struct OpenLetter {
    /// Its id.
    pub id: String,
    /// Offset of its record.
    pub offset: u64,
    /// A short code, such as `undecodable`.
    pub code: String,
    /// Why, in words.
    pub reason: String,
    /// Whether it is sound itself, and waits behind another one of its key.
    pub parked_behind: bool,
    /// The record's value, which is a patient's data.
    pub value: Vec<u8>,
    /// The record's headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// When the log took it, milliseconds since 1970.
    pub appended_ms: i64,
}

/// Why a letter stays one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// Its id.
    pub id: String,
    /// A short code, such as `undecodable`.
    pub code: String,
    /// Why, in words; never a patient's data.
    pub reason: String,
    /// Whether it is sound itself, and waits behind another one of its key.
    pub parked_behind: bool,
}

/// `view = $1 AND generation = $2 AND partition = $3 AND key_hash = $4 AND record_key = $5`, and the arguments.
const OF_KEY: &str = "view = $1 AND generation = $2 AND partition = $3 AND key_hash = $4 AND record_key = $5";

fn of_key(generation: &Generation, partition: u32, key: &[u8]) -> [Value; 5] {
    let place = [generation.view.into(), generation.number.into(), i64::from(partition).into()];
    let [view, number, partition] = place;
    [view, number, partition, key_hash(key).into(), key.to_vec().into()]
}

/// `view = $1 AND generation = $2 AND partition = $3 AND record_key = $4`, of the table of parked keys.
fn of_parked(generation: &Generation, partition: u32, key: &[u8]) -> [Value; 4] {
    [generation.view.into(), generation.number.into(), i64::from(partition).into(), key.to_vec().into()]
}

fn offset(r: &crate::Row) -> u64 {
    u64::try_from(r.int(0)).unwrap_or_default()
}

impl Store {
    /// The offsets of all letters of a partition, discarded ones too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn letter_offsets(&self, generation: &Generation, partition: u32) -> Result<BTreeSet<u64>, StoreError> {
        let sql = "SELECT log_offset FROM dead_letters WHERE view = $1 AND generation = $2 AND partition = $3";
        let args = [generation.view.into(), generation.number.into(), i64::from(partition).into()];
        Ok(self.engine().query(sql, &args).await?.iter().map(offset).collect())
    }
}

impl Tx {
    /// The offsets of all letters of a key, discarded ones too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn letter_offsets(
        &mut self,
        generation: &Generation,
        partition: u32,
        key: &[u8],
    ) -> Result<BTreeSet<u64>, StoreError> {
        let sql = format!("SELECT log_offset FROM dead_letters WHERE {OF_KEY}");
        Ok(self.query(&sql, &of_key(generation, partition, key)).await?.iter().map(offset).collect())
    }

    /// The first `limit` open letters of a key, in the log's order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn open_letters(
        &mut self,
        generation: &Generation,
        partition: u32,
        key: &[u8],
        limit: usize,
    ) -> Result<Vec<OpenLetter>, StoreError> {
        let sql = format!(
            "SELECT log_offset, id, reason_code, reason, parked_behind, value, headers, appended_ms FROM dead_letters \
             WHERE {OF_KEY} AND discarded_ms IS NULL ORDER BY log_offset LIMIT {limit}"
        );
        let letter = |r: &crate::Row| OpenLetter {
            offset: offset(r),
            id: r.text(1).into(),
            code: r.text(2).into(),
            reason: r.text(3).into(),
            parked_behind: r.int(4) == 1,
            value: r.bytes(5).to_vec(),
            headers: serde_json::from_str(r.text(6)).unwrap_or_default(),
            appended_ms: r.int(7),
        };
        Ok(self.query(&sql, &of_key(generation, partition, key)).await?.iter().map(letter).collect())
    }

    /// Whether a key has open letters that wait behind another one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn letters_wait(
        &mut self,
        generation: &Generation,
        partition: u32,
        key: &[u8],
    ) -> Result<bool, StoreError> {
        let sql =
            format!("SELECT 1 FROM dead_letters WHERE {OF_KEY} AND discarded_ms IS NULL AND parked_behind = 1 LIMIT 1");
        Ok(!self.query(&sql, &of_key(generation, partition, key)).await?.is_empty())
    }

    /// The open letter that a parked key is said to wait behind, and whether there is that letter; `None` when the key isn't
    /// parked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn parked_behind(
        &mut self,
        generation: &Generation,
        partition: u32,
        key: &[u8],
    ) -> Result<Option<bool>, StoreError> {
        let sql = "SELECT l.id FROM parked p LEFT JOIN dead_letters l ON l.id = p.dead_letter AND l.discarded_ms IS NULL \
                   WHERE p.view = $1 AND p.generation = $2 AND p.partition = $3 AND p.record_key = $4";
        let rows = self.query(sql, &of_parked(generation, partition, key)).await?;
        Ok(rows.first().map(|r| r.opt_text(0).is_some()))
    }

    /// Makes later records of a key wait behind a letter, or wait no more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn park(
        &mut self,
        generation: &Generation,
        partition: u32,
        key: &[u8],
        behind: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut row = of_parked(generation, partition, key).to_vec();
        match behind {
            Some(id) => {
                row.push(id.into());
                self.upsert(PARKED, &[&row]).await?;
            }
            None => {
                self.delete(PARKED, &[&row]).await?;
            }
        }
        self.count_parked(generation, partition).await
    }

    /// Removes letters whose records are in the view.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_letters(&mut self, ids: &[&str]) -> Result<(), StoreError> {
        let keys: Vec<[Value; 1]> = ids.iter().map(|id| [(*id).into()]).collect();
        let keys: Vec<&[Value]> = keys.iter().map(<[Value; 1]>::as_slice).collect();
        self.delete(LETTERS, &keys).await?;
        Ok(())
    }

    /// Notes anew why a letter stays one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn keep_letter(&mut self, l: &KeptLetter) -> Result<(), StoreError> {
        let sql = "UPDATE dead_letters SET reason_code = $2, reason = $3, parked_behind = $4 WHERE id = $1";
        let (id, code, reason) = (l.id.as_str().into(), l.code.as_str().into(), l.reason.as_str().into());
        self.execute(sql, &[id, code, reason, l.parked_behind.into()]).await?;
        Ok(())
    }

    /// Discards an open letter: it is kept, with the reason, and nothing waits behind it any more. `false` when it isn't
    /// open.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn discard_letter(&mut self, id: &str, reason: &str) -> Result<bool, StoreError> {
        let sql =
            "UPDATE dead_letters SET discarded_ms = $2, discard_reason = $3 WHERE id = $1 AND discarded_ms IS NULL";
        Ok(self.execute(sql, &[id.into(), now_ms().into(), reason.into()]).await? > 0)
    }
}
