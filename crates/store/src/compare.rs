//! Row by row, what two generations of a view have differently.

use crate::{Checkpoint, Generation, Row, Store, StoreError, Target, Tx, checkpoints, key_hash};
use domain::table::{Type, Value};
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
    /// Dead letters of each that nobody has discarded. They are shown and count as no difference.
    pub dead_letters: [i64; 2],
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

impl Comparison {
    /// Rows that differ, over all tables.
    #[must_use]
    pub fn differences(&self) -> i64 {
        self.tables.iter().map(|t| t.only_first + t.only_second + t.differing).sum()
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
    /// Compares all rows but those of `moving`: keys whose events one of the two has not seen yet. Of states only whether they
    /// are there, since two versions of the program may write the same state in two ways.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn compare(
        mut self,
        first: &Generation,
        second: &Generation,
        moving: &[String],
    ) -> Result<Comparison, StoreError> {
        self.tx.heavy().await?;
        let moving_json = serde_json::to_string(moving).map_err(|e| StoreError::Data(e.to_string()))?;
        let mut tables = Vec::new();
        let names = first.spec().tables.iter().map(|t| t.name);
        for (name, (a, b)) in names.chain(["state"]).zip(first.targets().zip(second.targets())) {
            let join = Join::new(&self.tx, a, b, name != "state", !moving.is_empty());
            let args: &[Value] = if moving.is_empty() { &[] } else { &[Value::Text(moving_json.clone())] };
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
            if found.only_first + found.only_second + found.differing > 0 {
                found.samples = self.tx.query(&join.samples(), args).await?.iter().map(|r| join.sample(r)).collect();
            }
            tables.push(found);
        }
        let mut dead_letters = [0, 0];
        for (n, generation) in dead_letters.iter_mut().zip([first, second]) {
            let sql = "SELECT count(*) FROM dead_letters WHERE view = $1 AND generation = $2 AND discarded_ms IS NULL";
            let rows = self.tx.query(sql, &[generation.view.into(), generation.number.into()]).await?;
            *n = rows.first().map_or(0, |r| r.int(0));
        }
        self.tx.rollback().await?;
        Ok(Comparison { tables, keys_left_out: moving.len(), dead_letters })
    }
}

/// A table beside itself.
struct Join<'a> {
    first: &'a str,
    second: &'a str,
    columns: &'a [(&'static str, Type)],
    key: usize,
    /// Whether all columns count, or only the key.
    whole: bool,
    /// PostgreSQL compares a hash of the whole row, so that the join need not carry rows along.
    hashes: bool,
    /// The condition that a row's patient is not in motion.
    still: &'static str,
}

impl<'a> Join<'a> {
    fn new(tx: &Tx, first: Target<'a>, second: Target<'a>, whole: bool, moving: bool) -> Self {
        let postgres = matches!(tx, Tx::Postgres(_));
        let still = match (moving, postgres) {
            (false, _) => "1 = 1",
            (true, true) => POSTGRES_STILL,
            (true, false) => SQLITE_STILL,
        };
        let (columns, key) = (first.columns, first.key);
        Self { first: first.table, second: second.table, columns, key, whole, hashes: postgres && whole, still }
    }

    /// `FROM` both, joined by key.
    fn from(&self) -> String {
        let side = |table: &str| match self.hashes {
            true => {
                let keys: Vec<String> = self.columns[..self.key].iter().map(|c| format!("\"{}\"", c.0)).collect();
                format!("(SELECT {}, hash_record_extended(t, 0) AS h FROM \"{table}\" t)", keys.join(", "))
            }
            false => format!("\"{table}\""),
        };
        let same: Vec<_> = self.columns[..self.key].iter().map(|(c, _)| format!("a.\"{c}\" = b.\"{c}\"")).collect();
        format!("FROM {} a FULL JOIN {} b ON {}", side(self.first), side(self.second), same.join(" AND "))
    }

    /// The condition that both have a row and it differs.
    fn differs(&self) -> String {
        let rest = match (self.whole, self.hashes) {
            (false, _) => "1 = 0".to_owned(),
            (true, true) => "a.h IS DISTINCT FROM b.h".to_owned(),
            (true, false) => {
                let each = self.columns[self.key..].iter();
                let each: Vec<_> = each.map(|(c, _)| format!("a.\"{c}\" IS DISTINCT FROM b.\"{c}\"")).collect();
                if each.is_empty() { "1 = 0".to_owned() } else { format!("({})", each.join(" OR ")) }
            }
        };
        format!("a.patient_id IS NOT NULL AND b.patient_id IS NOT NULL AND {rest}")
    }

    fn counts(&self) -> String {
        let (still, from, differs) = (self.still, self.from(), self.differs());
        format!(
            "SELECT count(a.patient_id), count(b.patient_id), \
             count(CASE WHEN b.patient_id IS NULL AND {still} THEN 1 END), \
             count(CASE WHEN a.patient_id IS NULL AND {still} THEN 1 END), \
             count(CASE WHEN {differs} AND {still} THEN 1 END) {from}"
        )
    }

    /// Patient, which side has the row, and which columns differ, of some rows that do.
    fn samples(&self) -> String {
        let (still, from, differs) = (self.still, self.from(), self.differs());
        let key = self.columns[..self.key].iter();
        let keys: Vec<_> = key.clone().map(|(c, _)| format!("COALESCE(a.\"{c}\", b.\"{c}\") AS \"{c}\"")).collect();
        let same = |with: &str| {
            key.clone().map(|(c, _)| format!("{with}.\"{c}\" = d.\"{c}\"")).collect::<Vec<_>>().join(" AND ")
        };
        let flags: Vec<_> = self.columns[self.key..]
            .iter()
            .map(|(c, _)| format!("CASE WHEN a.\"{c}\" IS DISTINCT FROM b.\"{c}\" THEN 1 ELSE 0 END"))
            .collect();
        let flags = if self.whole && !flags.is_empty() { flags.join(", ") } else { "0".to_owned() };
        format!(
            "WITH d AS (SELECT {} {from} WHERE (a.patient_id IS NULL OR b.patient_id IS NULL OR ({differs})) AND {still} \
             LIMIT {SAMPLES}) \
             SELECT d.patient_id, CASE WHEN b.patient_id IS NULL THEN 1 WHEN a.patient_id IS NULL THEN 2 ELSE 0 END, {flags} \
             FROM d LEFT JOIN \"{}\" a ON {} LEFT JOIN \"{}\" b ON {}",
            keys.join(", "),
            self.first,
            same("a"),
            self.second,
            same("b"),
        )
    }

    fn sample(&self, row: &Row) -> Sample {
        let what = ["differs", "only_first", "only_second"][usize::try_from(row.int(1)).unwrap_or(0).min(2)];
        let columns = self.columns[self.key..].iter().enumerate();
        let columns = columns.filter(|(i, _)| what == "differs" && row.int(i + 2) == 1).map(|(_, c)| c.0).collect();
        Sample { key_hash: key_hash(row.text(0).as_bytes()), what, columns }
    }
}

/// A fold may put `/` and an event's id, 37 characters, behind the key of a record that is about no patient.
const POSTGRES_STILL: &str = "NOT (COALESCE(a.patient_id, b.patient_id) IN (SELECT jsonb_array_elements_text($1::jsonb)) OR \
    left(COALESCE(a.patient_id, b.patient_id), -37) IN (SELECT jsonb_array_elements_text($1::jsonb)))";

/// The same for SQLite.
const SQLITE_STILL: &str = "NOT (COALESCE(a.patient_id, b.patient_id) IN (SELECT value FROM json_each($1)) OR \
    substr(COALESCE(a.patient_id, b.patient_id), 1, max(length(COALESCE(a.patient_id, b.patient_id)) - 37, 0)) IN \
    (SELECT value FROM json_each($1)))";
