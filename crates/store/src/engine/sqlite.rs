//! SQLite: dynamic rows, and bulk writes by statements of many rows.

use super::{OnConflict, Row, StoreError, Target, names};
use domain::table::Value;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous, SqliteValueRef,
};
use sqlx::{
    Arguments as _, AssertSqlSafe, Connection as _, Decode, Executor, Row as _, Sqlite, SqlitePool, TypeInfo as _,
    ValueRef as _,
};
use std::time::{Duration, Instant};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows per statement, in falling order: few lengths, so that each table needs few prepared statements.
const CHUNKS: [usize; 4] = [256, 32, 4, 1];
/// Arguments that a statement may have (SQLITE_MAX_VARIABLE_NUMBER).
const MAX_ARGUMENTS: usize = 32_766;
/// Pages (of 4 KiB) in the write-ahead log before it is copied back: what many transactions have changed is copied once.
const WAL_PAGES: u32 = 4096;
/// Rows that a connection's thread reads ahead: waking another thread for each few costs more than reading them.
const ROWS_AHEAD: usize = 512;
/// Statements kept prepared per connection.
const STATEMENTS: usize = 256;

pub(super) async fn connect(path: &str, connections: u32) -> Result<SqlitePool, StoreError> {
    let memory = path == ":memory:";
    let options = SqliteConnectOptions::new().foreign_keys(false).busy_timeout(BUSY_TIMEOUT);
    let options = options.statement_cache_capacity(STATEMENTS).row_buffer_size(ROWS_AHEAD);
    let options = if memory {
        options.in_memory(true)
    } else {
        // NORMAL: a power cut may lose the last commits, but never breaks the file. Rows and checkpoint are lost
        // together, and the log, which is the truth, gives them again.
        let options = options.filename(path.trim_start_matches("//")).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
        options.pragma("wal_autocheckpoint", WAL_PAGES.to_string())
    };
    let pool = SqlitePoolOptions::new().max_connections(if memory { 1 } else { connections });
    // SQLite rolls back by itself where the disk is full or fails, or a statement is cancelled. Its driver doesn't know, and begins
    // nothing any more: such a connection is replaced.
    let pool = pool
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
    // An in-memory database lives in its one connection.
    let pool = if memory { pool.idle_timeout(None).max_lifetime(None) } else { pool };
    // Switching to WAL doesn't wait for another process that does the same at this moment.
    let begun = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone()).await.map_err(StoreError::from) {
            Err(e) if e.is_transient() && begun.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

pub(super) async fn query<'e>(
    on: impl Executor<'e, Database = Sqlite>,
    sql: &str,
    args: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_with(AssertSqlSafe(sql), arguments(args)?).fetch_all(on).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn execute<'e>(
    on: impl Executor<'e, Database = Sqlite>,
    sql: &str,
    args: &[Value],
) -> Result<u64, StoreError> {
    let done = sqlx::query_with(AssertSqlSafe(sql), arguments(args)?).execute(on).await?;
    Ok(done.rows_affected())
}

fn arguments<'a>(args: impl IntoIterator<Item = &'a Value>) -> Result<SqliteArguments, StoreError> {
    let mut out = SqliteArguments::default();
    for arg in args {
        match arg {
            Value::Null => out.add(None::<i64>),
            Value::Text(v) => out.add(v.as_str()),
            Value::Int(v) => out.add(*v),
            Value::Float(v) => out.add(*v),
            Value::Bytes(v) => out.add(v.as_slice()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(out)
}

fn read(row: &SqliteRow) -> Result<Row, StoreError> {
    (0..row.len()).map(|i| value(row.try_get_raw(i)?)).collect::<Result<_, _>>().map(Row)
}

fn value(v: SqliteValueRef<'_>) -> Result<Value, StoreError> {
    if v.is_null() {
        return Ok(Value::Null);
    }
    let ty = v.type_info().into_owned();
    let wrong = |_| StoreError::Data("a column of an unknown type".into());
    Ok(match ty.name() {
        "TEXT" => Value::Text(<String as Decode<Sqlite>>::decode(v).map_err(wrong)?),
        "INTEGER" | "BOOLEAN" => Value::Int(<i64 as Decode<Sqlite>>::decode(v).map_err(wrong)?),
        "REAL" => Value::Float(<f64 as Decode<Sqlite>>::decode(v).map_err(wrong)?),
        "BLOB" => Value::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(v).map_err(wrong)?),
        other => return Err(StoreError::Data(format!("a column of type {other}"))),
    })
}

/// The rows in chunks of few different lengths, each with `width` arguments per row.
fn chunks<'r>(rows: &'r [&'r [Value]], width: usize) -> impl Iterator<Item = &'r [&'r [Value]]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let n = CHUNKS.into_iter().find(|n| *n <= rest.len() && n * width <= MAX_ARGUMENTS)?;
        let (chunk, after) = rest.split_at(n);
        rest = after;
        Some(chunk)
    })
}

/// Runs `sql(n)` over the rows in chunks of n rows of `width` arguments each.
async fn chunked(
    on: &mut SqliteConnection,
    rows: &[&[Value]],
    width: usize,
    sql: impl Fn(usize) -> String,
) -> Result<u64, StoreError> {
    let mut touched = 0;
    for chunk in chunks(rows, width) {
        let args = arguments(chunk.iter().flat_map(|r| &r[..width]))?;
        touched += sqlx::query_with(AssertSqlSafe(sql(chunk.len())), args).execute(&mut *on).await?.rows_affected();
    }
    Ok(touched)
}

/// `(?,?),(?,?)`
fn tuples(rows: usize, width: usize) -> String {
    let one = format!("({})", vec!["?"; width].join(","));
    vec![one; rows].join(",")
}

pub(super) async fn insert(
    on: &mut SqliteConnection,
    target: Target<'_>,
    rows: &[&[Value]],
    conflict: OnConflict,
) -> Result<u64, StoreError> {
    let (table, columns, width) = (target.table, names(target.columns), target.columns.len());
    let clause = conflict.clause(target);
    chunked(on, rows, width, |n| format!("INSERT INTO \"{table}\" ({columns}) VALUES {}{clause}", tuples(n, width)))
        .await
}

/// Inserts rows that are known to be new.
pub(super) async fn load(
    on: &mut SqliteConnection,
    target: Target<'_>,
    rows: &[domain::table::Row],
) -> Result<(), StoreError> {
    let (table, columns, width) = (target.table, names(target.columns), target.columns.len());
    let rows: Vec<&[Value]> = rows.iter().map(Vec::as_slice).collect();
    chunked(on, &rows, width, |n| format!("INSERT INTO \"{table}\" ({columns}) VALUES {}", tuples(n, width))).await?;
    Ok(())
}

pub(super) async fn delete(
    on: &mut SqliteConnection,
    target: Target<'_>,
    keys: &[&[Value]],
) -> Result<u64, StoreError> {
    let (table, columns) = (target.table, names(&target.columns[..target.key]));
    chunked(on, keys, target.key, |n| {
        format!("DELETE FROM \"{table}\" WHERE ({columns}) IN (VALUES {})", tuples(n, target.key))
    })
    .await
}

pub(super) async fn select(
    on: &mut SqliteConnection,
    target: Target<'_>,
    keys: &[&str],
) -> Result<Vec<Row>, StoreError> {
    let (table, list, first) = (target.table, names(target.columns), target.columns[0].0);
    let sql = format!("SELECT {list} FROM \"{table}\" WHERE \"{first}\" IN (SELECT value FROM json_each($1))");
    let keys = serde_json::to_string(keys).map_err(|e| StoreError::Data(e.to_string()))?;
    query(on, &sql, &[Value::Text(keys)]).await
}

pub(super) async fn select_keys(
    on: &mut SqliteConnection,
    target: Target<'_>,
    keys: &[&[Value]],
) -> Result<Vec<Row>, StoreError> {
    let (table, list, key) = (target.table, names(target.columns), names(&target.columns[..target.key]));
    let mut found = Vec::new();
    for chunk in chunks(keys, target.key) {
        let tuples = tuples(chunk.len(), target.key);
        let sql = format!("SELECT {list} FROM \"{table}\" WHERE ({key}) IN (VALUES {tuples})");
        let args = arguments(chunk.iter().flat_map(|r| &r[..target.key]))?;
        for row in sqlx::query_with(AssertSqlSafe(sql), args).fetch_all(&mut *on).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}
