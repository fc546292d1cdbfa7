//! This module alone names the engines; `engine/postgres.rs` and `engine/sqlite.rs` are its two hands, `engine/tx.rs` its transactions.
//!
//! Everything above it writes SQL that both engines take: `$1` arguments, `bigint`, `text`, `ON CONFLICT`, `json` as text.

mod bulk;
mod cancel;
mod copies;
mod postgres;
mod row;
mod sqlite;
mod tx;

pub use bulk::Bulk;
pub use copies::nobody_has;
pub use row::{Row, StoreError};
pub use tx::Tx;

use crate::Generation;
use domain::table::{Type, Value};
use sqlx::{PgPool, SqlitePool};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Connections of a pool, unless the URL's owner says otherwise.
pub const DEFAULT_CONNECTIONS: u32 = 12;

/// A database. Cloning shares the pool.
#[derive(Debug, Clone)]
pub struct Engine {
    pool: Pool,
    /// By SQL view, the table that is read instead of it.
    pinned: Option<Arc<BTreeMap<String, String>>>,
}

/// PostgreSQL, or SQLite when embedded.
#[derive(Debug, Clone)]
enum Pool {
    /// PostgreSQL.
    Postgres(PgPool),
    /// SQLite. It takes one writer at a time, so writers of this process queue up fairly at a mutex instead of polling
    /// the file's lock.
    Sqlite(SqlitePool, Arc<Mutex<()>>),
}

/// How a transaction treats the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk when `commit` returns: for what no log can bring back (leases).
    Full,
    /// `commit` doesn't wait for the disk. For what is made from the log: rows and checkpoint are lost together or not at
    /// all, and the projector reads the lost records again.
    FromLog,
}

/// The columns of a table for bulk writes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The table's name as it is in the database, with its generation.
    pub table: &'a str,
    /// Columns in order.
    pub columns: &'a [(&'static str, Type)],
    /// How many of the first columns are the key.
    pub key: usize,
}

impl Engine {
    /// Opens a database by its URL: `postgres://user@host:port/database`, `sqlite:path` (made where missing) or
    /// `sqlite::memory:` (one connection, for tests).
    ///
    /// # Errors
    /// When the URL has another scheme, or the database can't be reached.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::on(Pool::Postgres(postgres::connect(url, connections).await?)));
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Ok(Self::on(Pool::Sqlite(sqlite::connect(path, connections).await?, Arc::default())));
        }
        Err(StoreError::Configuration("a store's URL begins with postgres:// or sqlite:".into()))
    }

    const fn on(pool: Pool) -> Self {
        Self { pool, pinned: None }
    }

    /// The same database, in which queries read this generation where they name a table of its view; the active one of every
    /// other view. Transactions are not concerned.
    #[must_use]
    pub fn reading(&self, generation: &Generation) -> Self {
        Self { pool: self.pool.clone(), pinned: Some(Arc::new(generation.names())) }
    }

    /// `sql` with the tables of a pinned generation in place of the SQL views.
    fn names<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        let Some(pinned) = &self.pinned else { return Cow::Borrowed(sql) };
        let mut out = String::with_capacity(sql.len() + 16);
        let mut rest = sql;
        while let Some(start) = rest.find(is_name) {
            let (before, name) = rest.split_at(start);
            let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            out.push_str(before);
            out.push_str(pinned.get(name).map_or(name, String::as_str));
            rest = after;
        }
        out.push_str(rest);
        Cow::Owned(out)
    }

    /// Whether it is PostgreSQL.
    #[must_use]
    pub const fn is_postgres(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Runs a query with `$1`, `$2` … and reads all its rows. Column types may be text, json, integers, numerics, floats,
    /// bytes and booleans (read as 0 or 1). Write SQL that both engines take. An argument that may be null and isn't compared
    /// with a column needs a type: `CAST($1 AS bigint) IS NULL`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let sql = &self.names(sql);
        match &self.pool {
            Pool::Postgres(pool) => postgres::query(pool, sql, args).await,
            Pool::Sqlite(pool, _) => sqlite::query(pool, sql, args).await,
        }
    }

    /// As [`Tx::select`], of what is committed.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn select(&self, target: Target<'_>, keys: &[&str]) -> Result<Vec<Row>, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => postgres::select(&mut *pool.acquire().await?, target, keys).await,
            Pool::Sqlite(pool, _) => sqlite::select(&mut *pool.acquire().await?, target, keys).await,
        }
    }

    /// Runs a statement and says how many rows it touched. It is a transaction of its own, durable when this returns. A
    /// statement with `RETURNING` goes through a [`Tx`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&self, sql: &str, args: &[Value]) -> Result<u64, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => postgres::execute(pool, sql, args).await,
            Pool::Sqlite(pool, write) => {
                let _turn = write.lock().await;
                sqlite::execute(pool, sql, args).await
            }
        }
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self, durability: Durability) -> Result<Tx, StoreError> {
        Ok(match &self.pool {
            Pool::Postgres(pool) => Tx::Postgres(match durability {
                Durability::Full => pool.begin().await?,
                Durability::FromLog => pool.begin_with("BEGIN; SET LOCAL synchronous_commit TO off").await?,
            }),
            Pool::Sqlite(pool, write) => {
                let turn = write.clone().lock_owned().await;
                // IMMEDIATE: a transaction that read first and then wanted to write could not wait for its turn.
                Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, Some(turn))
            }
        })
    }

    /// Begins a transaction that only reads, and sees the database as it is at its first statement, however long it lasts, also
    /// between two statements: nobody waits for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn snapshot(&self) -> Result<Tx, StoreError> {
        Ok(match &self.pool {
            Pool::Postgres(pool) => Tx::Postgres(
                pool.begin_with(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                     SET LOCAL idle_in_transaction_session_timeout = 0",
                )
                .await?,
            ),
            Pool::Sqlite(pool, _) => Tx::Sqlite(pool.begin_with("BEGIN").await?, None),
        })
    }

    /// The column type that `ty` has in this engine's DDL.
    #[must_use]
    pub const fn type_name(&self, ty: Type) -> &'static str {
        match (ty, &self.pool) {
            // JSON is kept as text: it is made by this program, read back whole, and must come back byte for byte.
            // "C": both engines compare and sort bytes, so that cursors and pages are the same on both.
            (Type::Text | Type::Json, Pool::Postgres(_)) => "text COLLATE \"C\"",
            (Type::Text | Type::Json, Pool::Sqlite(..)) => "text",
            (Type::Int, _) => "bigint",
            (Type::Float, _) => "double precision",
            (Type::Bytes, Pool::Postgres(_)) => "bytea",
            (Type::Bytes, Pool::Sqlite(..)) => "blob",
        }
    }

    /// Closes the pool once its connections have come back.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Postgres(pool) => pool.close().await,
            Pool::Sqlite(pool, _) => pool.close().await,
        }
    }
}

/// What an insert does where the key exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnConflict {
    Update,
    Nothing,
}

impl OnConflict {
    /// The clause for `target`.
    fn clause(self, target: Target<'_>) -> String {
        let key = names(&target.columns[..target.key]);
        let rest = &target.columns[target.key..];
        if self == Self::Nothing || rest.is_empty() {
            return format!(" ON CONFLICT ({key}) DO NOTHING");
        }
        let set: Vec<_> = rest.iter().map(|(c, _)| format!("\"{c}\" = excluded.\"{c}\"")).collect();
        format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "))
    }
}

/// Column names as a list.
fn names(columns: &[(&str, Type)]) -> String {
    let quoted: Vec<_> = columns.iter().map(|(c, _)| format!("\"{c}\"")).collect();
    quoted.join(", ")
}

/// Whether a character may be part of a table's name.
const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
