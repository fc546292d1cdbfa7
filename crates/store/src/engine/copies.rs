//! Copies of an embedded store, while it is being written, and whether a file is in use.

use super::{Engine, Pool, StoreError};
use crate::{Progress, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};
use sqlx::{Connection as _, Row as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait until the last process has let a file go: one that ends needs a moment.
const LET_GO: Duration = Duration::from_secs(2);

impl Store {
    /// The file of an embedded store, by its URL; `None` for a store on a server.
    #[must_use]
    pub fn file(url: &str) -> Option<PathBuf> {
        url.strip_prefix("sqlite:").filter(|p| *p != ":memory:").map(|p| p.trim_start_matches("//").into())
    }

    /// Writes an embedded store as it is at one moment to a file that there isn't yet, and says how far its generations have
    /// come in it. Nothing is on disk for sure before the caller has synced the file.
    ///
    /// # Errors
    /// When the store is on a server or the file exists; and those of the database.
    pub async fn copy(&self, to: &Path) -> Result<Vec<Progress>, StoreError> {
        let Pool::Sqlite(pool, _) = &self.engine().pool else {
            return Err(StoreError::Configuration("only an embedded store is a file".into()));
        };
        let text = to.to_str().ok_or_else(|| StoreError::Configuration("the copy's path is not UTF-8".into()))?;
        sqlx::query("VACUUM INTO $1").bind(text).execute(pool).await?;
        let options = SqliteConnectOptions::new().filename(to).read_only(true).immutable(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let copy = Self { engine: Engine::on(Pool::Sqlite(pool, Arc::default())) };
        let progress = copy.progress().await;
        copy.engine.close().await;
        progress
    }
}

/// Whether no other process has a SQLite file open. What its write-ahead log holds is in the file itself afterwards.
///
/// # Errors
/// When it is no SQLite file, and those of the disk.
pub async fn nobody_has(file: &Path) -> Result<bool, StoreError> {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(LET_GO);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    // Leaving the write-ahead log needs the file for oneself, even if nobody reads or writes at this moment.
    let left = sqlx::query("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await;
    let alone = match left {
        Ok(row) => row.try_get::<String, _>(0)? == "delete",
        Err(e) => match StoreError::from(e) {
            e if e.is_transient() => false,
            e => return Err(e),
        },
    };
    connection.close().await?;
    Ok(alone)
}
