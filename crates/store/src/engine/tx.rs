//! Transactions.

use super::{OnConflict, Row, StoreError, Target, postgres, sqlite};
use domain::table::Value;
use sqlx::{Postgres, Sqlite, Transaction};
use tokio::sync::OwnedMutexGuard;

/// Milliseconds that [`Tx::stop_the_world`] and what follows wait for each lock.
const LOCK_WAIT_MS: u32 = 400;

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(Transaction<'static, Postgres>),
    /// On SQLite, with the turn to write where it may write.
    Sqlite(Transaction<'static, Sqlite>, Option<OwnedMutexGuard<()>>),
}

impl Tx {
    /// As [`crate::Engine::query`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(tx) => postgres::query(&mut **tx, sql, args).await,
            Self::Sqlite(tx, _) => sqlite::query(&mut **tx, sql, args).await,
        }
    }

    /// As [`crate::Engine::execute`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(tx) => postgres::execute(&mut **tx, sql, args).await,
            Self::Sqlite(tx, _) => sqlite::execute(&mut **tx, sql, args).await,
        }
    }

    /// Reads the rows of `target` with one of `keys` in its first column: those columns, in the table's order.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn select(&mut self, target: Target<'_>, keys: &[&str]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(tx) => postgres::select(tx, target, keys).await,
            Self::Sqlite(tx, _) => sqlite::select(tx, target, keys).await,
        }
    }

    /// Reads the rows of `target` with these keys (as many values as the key has columns): its columns, in any order of
    /// rows.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn select_keys(&mut self, target: Target<'_>, keys: &[&[Value]]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Postgres(tx) => postgres::select_keys(tx, target, keys).await,
            Self::Sqlite(tx, _) => sqlite::select_keys(tx, target, keys).await,
        }
    }

    /// Inserts the rows, or puts them in the place of those with the same key. No two rows may have the same key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn upsert(&mut self, target: Target<'_>, rows: &[&[Value]]) -> Result<u64, StoreError> {
        self.insert(target, rows, OnConflict::Update).await
    }

    /// Inserts the rows whose key is new, and says how many were. Rows may repeat a key; the first one stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn insert_ignore(&mut self, target: Target<'_>, rows: &[&[Value]]) -> Result<u64, StoreError> {
        self.insert(target, rows, OnConflict::Nothing).await
    }

    async fn insert(&mut self, target: Target<'_>, rows: &[&[Value]], on: OnConflict) -> Result<u64, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Postgres(tx) => postgres::insert(tx, target, rows, on).await,
            Self::Sqlite(tx, _) => sqlite::insert(tx, target, rows, on).await,
        }
    }

    /// Deletes the rows with these keys (as many values as the key has columns), and says how many there were.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete(&mut self, target: Target<'_>, keys: &[&[Value]]) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Postgres(tx) => postgres::delete(tx, target, keys).await,
            Self::Sqlite(tx, _) => sqlite::delete(tx, target, keys).await,
        }
    }

    /// Runs several statements without arguments.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)?,
            Self::Sqlite(tx, _) => sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    /// Marks a place that [`Tx::undo`] goes back to. One at a time.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.batch("SAVEPOINT part").await
    }

    /// Forgets the savepoint; what was written since stays.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn release(&mut self) -> Result<(), StoreError> {
        self.batch("RELEASE SAVEPOINT part").await
    }

    /// Takes back what was written since the savepoint, and forgets it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn undo(&mut self) -> Result<(), StoreError> {
        self.batch("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await
    }

    /// Has PostgreSQL compress the large values of a column by LZ4, where it was built with it: a state is written anew with each
    /// batch, and the default method took two fifths of the server's processor time.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn compress_lightly(&mut self, table: &str, column: &str) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.batch(&format!(
                "DO $$ BEGIN ALTER TABLE \"{table}\" ALTER COLUMN \"{column}\" SET COMPRESSION lz4; \
                 EXCEPTION WHEN feature_not_supported OR syntax_error THEN NULL; END $$"
            ))
            .await?;
        }
        Ok(())
    }

    /// What a SELECT ends with to lock its rows. SQLite needs nothing: BEGIN IMMEDIATE holds the only lock there is.
    pub(crate) const fn for_update(&self) -> &'static str {
        match self {
            Self::Postgres(_) => " FOR UPDATE",
            Self::Sqlite(..) => "",
        }
    }

    /// Waits until no other process changes tables, and keeps others from doing so until the transaction ends.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn lock_schema(&mut self) -> Result<(), StoreError> {
        // SQLite: BEGIN IMMEDIATE holds the only lock there is.
        if let Self::Postgres(_) = self {
            self.query("SELECT pg_advisory_xact_lock(7310591)", &[]).await?;
        }
        Ok(())
    }

    /// Keeps every projector from moving on, and every other process from changing tables, until the transaction ends. What it
    /// doesn't get in time (`LOCK_WAIT_MS`) it gives up, since those who wait behind it wait as well: a transient error.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn stop_the_world(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.wait_briefly().await?;
            self.lock_schema().await?;
            // The whole table, since rows locked one by one could meet a projector that locks them in another order.
            self.batch("LOCK TABLE checkpoints IN EXCLUSIVE MODE").await?;
        }
        Ok(())
    }

    /// From here on the transaction gives up a lock that it doesn't get in time (`LOCK_WAIT_MS`): those who wait behind it wait as well.
    pub(crate) async fn wait_briefly(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            self.batch(&format!("SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")).await?;
        }
        Ok(())
    }

    /// Makes it so.
    ///
    /// # Errors
    /// Those of the database; whether it was committed is then unknown, and the checkpoint says which.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.commit().await?,
            Self::Sqlite(tx, _turn) => tx.commit().await?,
        }
        Ok(())
    }

    /// Takes it back now, instead of when the connection is used next.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.rollback().await?,
            Self::Sqlite(tx, _turn) => tx.rollback().await?,
        }
        Ok(())
    }
}
