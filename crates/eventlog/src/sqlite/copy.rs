//! Copies of a log in a file, while it is being written.

use super::failed;
use crate::LogError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row as _};
use std::path::Path;
use std::time::Duration;

/// How long to wait for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the log as it is at one moment to a file that there isn't yet; answers with the offset after the last record of each
/// partition. Nothing is on disk for sure before the caller has synced the file.
pub(crate) async fn copy(path: &Path, to: &Path) -> Result<Vec<u64>, LogError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let to_text = to.to_str().ok_or_else(|| LogError::Configuration("the copy's path is not UTF-8".to_owned()))?;
    sqlx::query("vacuum into $1").bind(to_text).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    ends(to).await
}

/// Where the partitions of a copy end; nothing is written to it.
async fn ends(path: &Path) -> Result<Vec<u64>, LogError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let rows = sqlx::query(
        "with recursive p(i) as (select 0 union all select i + 1 from p
             where i + 1 < (select value from meta where name = 'partitions'))
         select coalesce((select max(offset) + 1 from records where partition = i), 0) from p order by i",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    rows.iter().map(|row| row.try_get::<i64, _>(0).map(i64::cast_unsigned).map_err(failed)).collect()
}
