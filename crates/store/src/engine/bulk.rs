//! Many new rows on their way into a table that has no indexes yet: COPY on PostgreSQL, plain inserts on SQLite.

use super::{Engine, Pool, StoreError, Target, Tx, postgres, sqlite};
use domain::table::{Row, Type, Value};

/// Entries of each column's histogram; its sample is 300 times as many rows: enough for keys, until autovacuum looks closer as rows change.
const STATISTICS: u32 = 25;
/// Events that one transaction of a rebuild folds and writes, on PostgreSQL: what bounds its memory.
const SLICE_POSTGRES: u64 = 35_000;
/// The same on SQLite, whose live writer waits for the transaction.
const SLICE_SQLITE: u64 = 10_000;
/// What a binary COPY begins with: signature, flags, length of the extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows as the engine takes them fastest.
#[derive(Debug)]
pub struct Bulk(Form);

#[derive(Debug)]
enum Form {
    /// A binary COPY, whole.
    Copy(Vec<u8>),
    Rows(Vec<Row>),
}

impl Engine {
    /// Puts rows into the form in which [`Tx::load`] takes them. Pure work for the processor, to be done outside a transaction.
    #[must_use]
    pub fn bulk(&self, columns: &[(&'static str, Type)], rows: Vec<Row>) -> Bulk {
        Bulk(match &self.pool {
            Pool::Postgres(_) => Form::Copy(if rows.is_empty() { Vec::new() } else { copy(columns, &rows) }),
            Pool::Sqlite(..) => Form::Rows(rows),
        })
    }

    /// Events that one transaction of a rebuild should take.
    #[must_use]
    pub const fn slice_events(&self) -> u64 {
        match &self.pool {
            Pool::Postgres(_) => SLICE_POSTGRES,
            Pool::Sqlite(..) => SLICE_SQLITE,
        }
    }

    /// Whether a long transaction that writes keeps all other writers waiting.
    #[must_use]
    pub const fn one_writer(&self) -> bool {
        matches!(self.pool, Pool::Sqlite(..))
    }

    /// Bytes on disk of a table and its indexes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn disk_bytes(&self, table: &str) -> Result<u64, StoreError> {
        let sql = match &self.pool {
            Pool::Postgres(_) => "SELECT pg_total_relation_size(to_regclass($1))",
            Pool::Sqlite(..) => {
                "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND \
                 name IN (SELECT name FROM sqlite_schema WHERE tbl_name = $1)"
            }
        };
        let rows = self.query(sql, &[table.into()]).await?;
        Ok(rows.first().map_or(0, |r| u64::try_from(r.int(0)).unwrap_or_default()))
    }
}

impl Bulk {
    /// Whether there are no rows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match &self.0 {
            Form::Copy(bytes) => bytes.is_empty(),
            Form::Rows(rows) => rows.is_empty(),
        }
    }
}

impl Tx {
    /// Adds rows whose keys are known to be new.
    ///
    /// # Errors
    /// Those of the database; rows of another engine.
    pub async fn load(&mut self, target: Target<'_>, rows: &Bulk) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        match (self, &rows.0) {
            (Self::Postgres(tx), Form::Copy(bytes)) => postgres::load(tx, target, bytes).await,
            (Self::Sqlite(tx, _), Form::Rows(rows)) => sqlite::load(tx, target, rows).await,
            _ => Err(StoreError::Configuration("rows in the form of another engine".into())),
        }
    }

    /// Lets this transaction build indexes and join whole tables with more memory than usual.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn heavy(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(_) => {
                self.batch("SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL work_mem = '64MB'").await
            }
            Self::Sqlite(..) => Ok(()),
        }
    }

    /// Tells the planner what a table holds by now, where it has to be told.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn analyze(&mut self, table: &str) -> Result<(), StoreError> {
        match self {
            Self::Postgres(_) => {
                let sql = format!("SET LOCAL default_statistics_target = {STATISTICS}; ANALYZE \"{table}\"");
                self.batch(&sql).await
            }
            Self::Sqlite(..) => Ok(()),
        }
    }
}

/// The rows as a binary COPY. A value of another type than its column's counts as null, as in the other writes.
fn copy(columns: &[(&'static str, Type)], rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * columns.len() * 16);
    out.extend_from_slice(COPY_HEADER);
    let width = i16::try_from(columns.len()).unwrap_or(i16::MAX).to_be_bytes();
    for row in rows {
        out.extend_from_slice(&width);
        for (value, (_, ty)) in row.iter().zip(columns) {
            match (value, ty) {
                (Value::Text(v), Type::Text | Type::Json) => field(&mut out, v.as_bytes()),
                (Value::Int(v), Type::Int) => field(&mut out, &v.to_be_bytes()),
                (Value::Float(v), Type::Float) => field(&mut out, &v.to_be_bytes()),
                (Value::Bytes(v), Type::Bytes) => field(&mut out, v),
                _ => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    out
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // A field is a part of a record, which the log bounds to far less than 2 GiB.
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}
