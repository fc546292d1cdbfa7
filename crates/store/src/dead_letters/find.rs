//! Finding dead letters: lists, single ones, keys that have some, counts by source.

use super::{DeadLetter, FullDeadLetter, MAX_PAGE, SHOWN, shown};
use crate::{Store, StoreError};
use domain::table::Value;
use std::fmt::Write as _;

/// Which dead letters are meant; what is `None` doesn't matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Letters<'a> {
    /// Of this view.
    pub view: Option<&'a str>,
    /// Of this generation.
    pub generation: Option<i64>,
    /// With this code.
    pub code: Option<&'a str>,
    /// With this hash of the key.
    pub key_hash: Option<&'a str>,
    /// Those that were discarded, instead of those that are open.
    pub discarded: bool,
}

impl<'a> From<Option<&'a str>> for Letters<'a> {
    /// The open ones of a view, or of all.
    fn from(view: Option<&'a str>) -> Self {
        Self { view, ..Self::default() }
    }
}

impl Letters<'_> {
    /// The condition, with its arguments added to `args`.
    fn condition(&self, args: &mut Vec<Value>) -> String {
        let mut sql = format!("discarded_ms IS {}", if self.discarded { "NOT NULL" } else { "NULL" });
        let mut and = |column: &str, value: Option<Value>| {
            if let Some(value) = value {
                args.push(value);
                let _ = write!(sql, " AND {column} = ${}", args.len());
            }
        };
        and("view", self.view.map(Into::into));
        and("generation", self.generation.map(Into::into));
        and("reason_code", self.code.map(Into::into));
        and("key_hash", self.key_hash.map(Into::into));
        sql
    }
}

/// A key that has dead letters in a generation.
#[derive(Clone, PartialEq, Eq)]
pub struct LetterKey {
    /// The partition.
    pub partition: u32,
    /// The key, which is a patient's data.
    pub key: Vec<u8>,
    /// Its hash.
    pub key_hash: String,
}

/// How many dead letters came from a source, with a code.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LetterCount {
    /// The view.
    pub view: String,
    /// Its generation.
    pub generation: i64,
    /// The system that they came from; nothing where that is unknown.
    pub source: Option<String>,
    /// Why they are dead letters.
    pub code: String,
    /// Those that a decision is needed on.
    pub open: i64,
    /// Those that are sound and wait behind another.
    pub waiting: i64,
    /// Those that were discarded.
    pub discarded: i64,
}

impl Store {
    /// Dead letters by view, generation, partition and offset, after the letter `after` (an id from the page before), at most
    /// `limit` of them (and [`MAX_PAGE`]).
    ///
    /// # Errors
    /// When `after` is no id, and those of the database.
    pub async fn dead_letters<'a>(
        &self,
        which: impl Into<Letters<'a>>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut args: Vec<Value> = Vec::new();
        let condition = which.into().condition(&mut args);
        let mut sql = format!("SELECT {SHOWN} FROM dead_letters WHERE {condition}");
        if let Some(id) = after {
            let place = place(id).ok_or_else(|| StoreError::Data("a cursor is the id of a dead letter".into()))?;
            let n = args.len();
            args.extend(place);
            let [a, b, c, d] = [n + 1, n + 2, n + 3, n + 4];
            let _ = write!(sql, " AND (view, generation, partition, log_offset) > (${a}, ${b}, ${c}, ${d})");
        }
        let _ = write!(sql, " ORDER BY view, generation, partition, log_offset LIMIT {}", limit.min(MAX_PAGE));
        Ok(self.engine().query(&sql, &args).await?.iter().map(shown).collect())
    }

    /// One dead letter with its record.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn dead_letter(&self, id: &str) -> Result<Option<FullDeadLetter>, StoreError> {
        let sql = format!("SELECT {SHOWN}, record_key, value, headers FROM dead_letters WHERE id = $1");
        let rows = self.engine().query(&sql, &[id.into()]).await?;
        Ok(rows.first().map(|r| FullDeadLetter {
            letter: shown(r),
            key: r.bytes(16).to_vec(),
            value: r.bytes(17).to_vec(),
            headers: serde_json::from_str(r.text(18)).unwrap_or_default(),
        }))
    }

    /// The keys that have such letters in one generation of one view, by the keys' hashes, after the hash `after`; at most
    /// `limit` of them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn letter_keys(
        &self,
        which: Letters<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LetterKey>, StoreError> {
        let mut args: Vec<Value> = Vec::new();
        let mut condition = which.condition(&mut args);
        if let Some(after) = after {
            args.push(after.into());
            let _ = write!(condition, " AND key_hash > ${}", args.len());
        }
        let sql = format!(
            "SELECT DISTINCT key_hash, partition, record_key FROM dead_letters WHERE {condition} \
             ORDER BY key_hash, partition, record_key LIMIT {limit}"
        );
        let key = |r: &crate::Row| {
            let partition = u32::try_from(r.int(1)).ok()?;
            Some(LetterKey { partition, key: r.bytes(2).to_vec(), key_hash: r.text(0).into() })
        };
        Ok(self.engine().query(&sql, &args).await?.iter().filter_map(key).collect())
    }

    /// How many letters each source has, by code, in the active generations.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn letter_counts(&self, view: Option<&str>) -> Result<Vec<LetterCount>, StoreError> {
        let sql = "SELECT l.view, l.generation, l.source, l.reason_code, \
                   sum(CASE WHEN discarded_ms IS NULL AND parked_behind = 0 THEN 1 ELSE 0 END), \
                   sum(CASE WHEN discarded_ms IS NULL AND parked_behind = 1 THEN 1 ELSE 0 END), \
                   sum(CASE WHEN discarded_ms IS NULL THEN 0 ELSE 1 END) \
                   FROM dead_letters l JOIN generations g ON g.view = l.view AND g.generation = l.generation \
                   WHERE g.active = 1 AND ($1 = '' OR l.view = $1) \
                   GROUP BY l.view, l.generation, l.source, l.reason_code \
                   ORDER BY l.view, l.generation, l.source, l.reason_code";
        let rows = self.engine().query(sql, &[view.unwrap_or_default().into()]).await?;
        let count = |r: &crate::Row| LetterCount {
            view: r.text(0).into(),
            generation: r.int(1),
            source: r.opt_text(2).map(Into::into),
            code: r.text(3).into(),
            open: r.int(4),
            waiting: r.int(5),
            discarded: r.int(6),
        };
        Ok(rows.iter().map(count).collect())
    }
}

/// The place that an id names.
fn place(id: &str) -> Option<[Value; 4]> {
    let mut parts = id.rsplitn(4, '.');
    let offset: i64 = parts.next()?.parse().ok()?;
    let partition: i64 = parts.next()?.parse().ok()?;
    let generation: i64 = parts.next()?.parse().ok()?;
    Some([parts.next()?.into(), generation.into(), partition.into(), offset.into()])
}
