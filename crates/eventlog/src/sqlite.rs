//! The log in a SQLite file, for one machine.
//!
//! One task writes, collecting what is waiting into one transaction; readers use connections of their own (WAL). Several
//! processes may append to the same file: offsets are taken inside the transaction, never remembered.

mod copy;
mod headers;
mod subscription;
mod writer;

pub(crate) use copy::copy;

use crate::options::{DEFAULT_PARTITIONS, Options, SqliteTarget};
use crate::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::sqlite::{SqliteRow, SqliteSynchronous};
use sqlx::{Connection, Row};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long to wait for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read, at most.
const READERS: u32 = 4;
/// Pages (of 4 KiB) in the write-ahead log before it is copied back.
const WAL_PAGES: u32 = 4096;
/// Page cache of each connection, in KiB.
const CACHE_KIB: u32 = 4096;
/// The most records that one read returns.
const MAX_READ: usize = 100_000;
/// Format of the file, kept in `user_version`.
const FORMAT: i64 = 1;

const CREATE: &str = "
    create table if not exists meta (name text primary key, value integer not null) without rowid;
    create table if not exists records (
        partition integer not null,
        offset integer not null,
        appended_ms integer not null,
        key blob not null,
        value blob not null,
        headers blob not null,
        primary key (partition, offset)
    ) without rowid;";

/// A log in a file.
pub(crate) struct SqliteLog {
    shared: Arc<Shared>,
    writer: writer::Writer,
}

/// What the log and its subscriptions share.
struct Shared {
    partitions: u32,
    readers: SqlitePool,
    /// The offset after the last record of each partition, as far as this process knows.
    heads: watch::Sender<Vec<u64>>,
}

impl SqliteLog {
    /// Opens the file, and makes it first where there is none.
    pub(crate) async fn open(target: &SqliteTarget, options: &Options) -> Result<Self, LogError> {
        if let Some(folder) = target.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                LogError::Configuration(format!("can't make the folder {}: {error}", folder.display()))
            })?;
        }
        let synchronous = if target.full_sync { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
        let connect = SqliteConnectOptions::new()
            .filename(&target.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", WAL_PAGES.to_string())
            .pragma("cache_size", format!("-{CACHE_KIB}"))
            .row_buffer_size(512);
        let deadline = Instant::now() + options.connect_timeout;
        let (connection, partitions) = loop {
            match prepare(&connect, target.partitions).await {
                // switching to WAL doesn't wait for another process that does the same
                Err(LogError::Busy(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                other => break other?,
            }
        };
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(connect.clone());
        let (heads, _) = watch::channel(vec![0; partitions as usize]);
        let shared = Arc::new(Shared { partitions, readers, heads });
        shared.look().await?;
        Ok(Self { writer: writer::Writer::start(connection, connect, shared.clone()), shared })
    }
}

/// Connects and makes or checks the tables.
async fn prepare(connect: &SqliteConnectOptions, wanted: Option<u32>) -> Result<(SqliteConnection, u32), LogError> {
    let mut connection = SqliteConnection::connect_with(connect).await.map_err(failed)?;
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let format: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *transaction).await.map_err(failed)?;
    let tables: i64 = sqlx::query_scalar("select count(*) from sqlite_schema where type = 'table'")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if format > FORMAT || (format == 0 && tables > 0) {
        return Err(LogError::Configuration(format!("the file is no log of format {FORMAT}")));
    }
    sqlx::raw_sql(CREATE).execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query("insert into meta values ('partitions', $1) on conflict do nothing")
        .bind(wanted.unwrap_or(DEFAULT_PARTITIONS))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let partitions: u32 = sqlx::query_scalar("select value from meta where name = 'partitions'")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != partitions) {
        return Err(LogError::Configuration(format!("the log has {partitions} partitions, not {wanted}")));
    }
    sqlx::raw_sql("pragma user_version = 1").execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok((connection, partitions))
}

impl Shared {
    /// First offset and offset after the last record of each partition.
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        let mut bounds = vec![(0, 0); self.partitions as usize];
        // one seek per partition and end, where a plain GROUP BY would go through the whole table
        let rows = sqlx::query(
            "with recursive p(i) as (select 0 union all select i + 1 from p where i + 1 < $1)
             select i, (select min(offset) from records where partition = i),
                       (select max(offset) from records where partition = i) from p",
        )
        .bind(self.partitions)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        for row in rows {
            let partition: u32 = get(&row, 0)?;
            let (first, last): (Option<i64>, Option<i64>) = (get(&row, 1)?, get(&row, 2)?);
            if let (Some(first), Some(last), Some(slot)) = (first, last, bounds.get_mut(partition as usize)) {
                *slot = (first.cast_unsigned(), last.cast_unsigned() + 1);
            }
        }
        Ok(bounds)
    }

    /// Looks for records that another process has appended.
    async fn look(&self) -> Result<(), LogError> {
        let heads: Vec<u64> = self.bounds().await?.into_iter().map(|(_, end)| end).collect();
        self.raise(heads.into_iter().enumerate());
        Ok(())
    }

    /// Tells those that wait that partitions have grown.
    fn raise(&self, grown: impl Iterator<Item = (usize, u64)>) {
        self.heads.send_if_modified(|heads| {
            let mut changed = false;
            for (partition, head) in grown {
                if let Some(known) = heads.get_mut(partition).filter(|known| **known < head) {
                    *known = head;
                    changed = true;
                }
            }
            changed
        });
    }

    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let rows = sqlx::query(
            "select offset, appended_ms, key, value, headers from records
             where partition = $1 and offset >= $2 order by offset limit $3",
        )
        .bind(partition)
        .bind(from.cast_signed())
        .bind(i64::try_from(max.min(MAX_READ)).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| record(partition, row)).collect()
    }
}

fn record(partition: u32, row: &SqliteRow) -> Result<Record, LogError> {
    let bytes = |at| Ok::<_, LogError>(Bytes::from(get::<Vec<u8>>(row, at)?));
    Ok(Record {
        position: Position { partition, offset: get::<i64>(row, 0)?.cast_unsigned() },
        appended_ms: get(row, 1)?,
        key: bytes(2)?,
        value: bytes(3)?,
        headers: headers::decode(&bytes(4)?)?,
    })
}

fn get<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
    row: &'r SqliteRow,
    at: usize,
) -> Result<T, LogError> {
    row.try_get(at).map_err(failed)
}

/// Sorts SQLite's errors.
// by value, to be handed to `map_err`
#[allow(clippy::needless_pass_by_value)]
fn failed(error: sqlx::Error) -> LogError {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        // SQLITE_BUSY, SQLITE_LOCKED
        Some(5 | 6) => LogError::Busy("another process is writing".to_owned()),
        // SQLITE_FULL
        Some(13) => LogError::Unavailable("the disk is full".to_owned()),
        // SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_NOTADB
        Some(8 | 14 | 26) => LogError::Configuration(error.to_string()),
        _ => LogError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl Log for SqliteLog {
    fn partitions(&self) -> u32 {
        self.shared.partitions
    }

    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        self.writer.append(records).await
    }

    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        self.shared.bounds().await
    }

    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.shared.read(partition, from, max).await
    }

    async fn close(&self) {
        self.shared.readers.close().await;
        // The last connection copies the write-ahead log back and removes it.
        self.writer.close().await;
    }

    async fn subscribe(&self, _group: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        Ok(Box::new(subscription::SqliteSubscription::new(self.shared.clone(), start)))
    }
}
