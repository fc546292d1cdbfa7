//! A table of one generation beside the same of another: the SQL that finds and counts what differs.

use super::{SAMPLES, Sample, what};
use crate::{Row, Target, Tx, key_hash};
use domain::table::Type;

/// A table beside itself.
pub(super) struct Join<'a> {
    first: &'a str,
    second: &'a str,
    columns: &'a [(&'static str, Type)],
    key: usize,
    /// Whether all columns count, or only the key.
    whole: bool,
    /// PostgreSQL compares a hash of the whole row, so that the join need not carry rows along.
    hashes: bool,
    /// The condition that a row's patient is not in motion; `$1` are those who are.
    pub(super) still: &'static str,
}

impl<'a> Join<'a> {
    pub(super) fn new(tx: &Tx, first: Target<'a>, second: Target<'a>, moving: bool) -> Self {
        let postgres = matches!(tx, Tx::Postgres(_));
        let still = match (moving, postgres) {
            (false, _) => "1 = 1",
            (true, true) => POSTGRES_STILL,
            (true, false) => SQLITE_STILL,
        };
        let (columns, key) = (first.columns, first.key);
        Self { first: first.table, second: second.table, columns, key, whole: true, hashes: postgres, still }
    }

    /// From here on only the keys count.
    pub(super) const fn by_key_alone(&mut self) {
        (self.whole, self.hashes) = (false, false);
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

    pub(super) fn counts(&self) -> String {
        let (still, from, differs) = (self.still, self.from(), self.differs());
        format!(
            "SELECT count(a.patient_id), count(b.patient_id), \
             count(CASE WHEN b.patient_id IS NULL AND {still} THEN 1 END), \
             count(CASE WHEN a.patient_id IS NULL AND {still} THEN 1 END), \
             count(CASE WHEN {differs} AND {still} THEN 1 END) {from}"
        )
    }

    /// Patient, which side has the row, and which columns differ, of some rows that do.
    pub(super) fn samples(&self) -> String {
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

    pub(super) fn sample(&self, row: &Row) -> Sample {
        let what = what(row.int(1));
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
