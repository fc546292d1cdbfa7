//! The one task that writes: group commit.

use super::{Shared, failed, headers};
use crate::{LogError, NewRecord, Position, partition_of};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Connection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Appends that may wait for the writer.
const QUEUE_REQUESTS: usize = 8192;
/// Bytes that may wait for the writer.
const QUEUE_BYTES: u32 = 64 << 20;
/// Records after which a transaction takes no further append in.
const GROUP_RECORDS: usize = 8192;
/// Rows per statement, largest first: few texts, so that all stay prepared.
const ROWS: [usize; 4] = [256, 32, 4, 1];

/// A record with its partition and encoded headers.
struct Row {
    partition: u32,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<u8>,
}

struct Request {
    rows: Vec<Row>,
    answer: oneshot::Sender<Result<Vec<Position>, Arc<LogError>>>,
    _room: OwnedSemaphorePermit,
}

/// The way to the writing task, which ends when this is dropped.
pub(super) struct Writer {
    queue: mpsc::Sender<Request>,
    room: Arc<Semaphore>,
    partitions: u32,
    end: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(connection: SqliteConnection, connect: SqliteConnectOptions, shared: Arc<Shared>) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
        let partitions = shared.partitions;
        let end = Arc::new(Notify::new());
        let task = Mutex::new(Some(tokio::spawn(run(connection, connect, requests, shared, end.clone()))));
        Self { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)), partitions, end, task }
    }

    /// Ends the writing task once it has written what waits.
    pub(super) async fn close(&self) {
        self.end.notify_one();
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            // A panic was reported by its hook.
            let _ = task.await;
        }
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        let mut bytes = 0;
        let mut rows = Vec::with_capacity(records.len());
        let mut answers: Vec<Result<Position, LogError>> = Vec::with_capacity(records.len());
        for record in &records {
            match self.row(record) {
                Ok(row) => {
                    bytes += record.size();
                    rows.push(row);
                    answers.push(Ok(Position { partition: 0, offset: 0 }));
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        if rows.is_empty() {
            return answers;
        }
        let outcome = self.send(rows, bytes).await;
        let good = answers.iter_mut().filter(|answer| answer.is_ok());
        match outcome {
            Ok(positions) => good.zip(positions).for_each(|(answer, position)| *answer = Ok(position)),
            Err(error) => good.for_each(|answer| *answer = Err(copy(&error))),
        }
        answers
    }

    fn row(&self, record: &NewRecord) -> Result<Row, LogError> {
        record.check()?;
        Ok(Row {
            partition: partition_of(&record.key, self.partitions),
            key: record.key.to_vec(),
            value: record.value.to_vec(),
            headers: headers::encode(&record.headers)?,
        })
    }

    async fn send(&self, rows: Vec<Row>, bytes: usize) -> Result<Vec<Position>, Arc<LogError>> {
        let busy = || Arc::new(LogError::Busy("too many appends are waiting".to_owned()));
        let gone = || Arc::new(LogError::Unavailable("the writer has ended".to_owned()));
        // one append may be larger than all the room there is: then it waits its turn alone
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES);
        let room = self.room.clone().try_acquire_many_owned(permits).map_err(|_| busy())?;
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Request { rows, answer, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => busy(),
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answered.await.map_err(|_| gone())?
    }
}

async fn run(
    mut connection: SqliteConnection,
    connect: SqliteConnectOptions,
    mut requests: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    end: Arc<Notify>,
) {
    loop {
        let first = tokio::select! {
            biased;
            first = requests.recv() => first,
            () = end.notified() => {
                requests.close();
                requests.recv().await
            }
        };
        let Some(first) = first else { break };
        let mut group = vec![first];
        let mut size = group[0].rows.len();
        while size < GROUP_RECORDS {
            let Ok(next) = requests.try_recv() else { break };
            size += next.rows.len();
            group.push(next);
        }
        let (waiting, rows): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|request| ((request.answer, request.rows.len(), request._room), request.rows))
            .unzip();
        match write(&mut connection, &connect, rows.into_iter().flatten().collect()).await {
            Ok((positions, heads)) => {
                let mut positions = positions.into_iter();
                shared.raise(heads.into_iter().map(|(partition, head)| (partition as usize, head)));
                for (answer, count, _room) in waiting {
                    // nobody may be waiting any more
                    let _ = answer.send(Ok(positions.by_ref().take(count).collect()));
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "append to the log failed");
                let error = Arc::new(error);
                for (answer, _, _room) in waiting {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(error = %error, "closing the log failed");
    }
}

/// Writes rows in one transaction; answers with their positions and the new heads.
async fn write(
    connection: &mut SqliteConnection,
    connect: &SqliteConnectOptions,
    rows: Vec<Row>,
) -> Result<(Vec<Position>, BTreeMap<u32, u64>), LogError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    if connection.is_in_transaction() {
        // SQLite rolls back by itself where the disk is full or fails. Its driver doesn't know, and begins nothing any more.
        *connection = SqliteConnection::connect_with(connect).await.map_err(failed)?;
    }
    let mut transaction = connection.begin_with("begin immediate").await.map_err(failed)?;
    let mut heads = heads(&mut transaction, &rows).await?;
    let mut positions = Vec::with_capacity(rows.len());
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    for size in ROWS {
        while left >= size {
            left -= size;
            let mut values = SqliteArguments::default();
            for row in rows.by_ref().take(size) {
                let head = heads.entry(row.partition).or_default();
                positions.push(Position { partition: row.partition, offset: *head });
                bind(&mut values, row, *head, now).map_err(sqlx::Error::Encode).map_err(failed)?;
                *head += 1;
            }
            sqlx::query_with(AssertSqlSafe(insert(size)), values).execute(&mut *transaction).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)?;
    Ok((positions, heads))
}

fn insert(rows: usize) -> String {
    let mut text = "insert into records (partition, offset, appended_ms, key, value, headers) values ".to_owned();
    for row in 0..rows {
        text.push_str(if row == 0 { "(?, ?, ?, ?, ?, ?)" } else { ", (?, ?, ?, ?, ?, ?)" });
    }
    text
}

fn bind(values: &mut SqliteArguments, row: Row, offset: u64, now: i64) -> Result<(), sqlx::error::BoxDynError> {
    values.add(row.partition)?;
    values.add(offset.cast_signed())?;
    values.add(now)?;
    values.add(row.key)?;
    values.add(row.value)?;
    values.add(row.headers)
}

/// Where the partitions of these rows end. Asked in the transaction, since another process may have written.
async fn heads(connection: &mut SqliteConnection, rows: &[Row]) -> Result<BTreeMap<u32, u64>, LogError> {
    let mut heads: BTreeMap<u32, u64> = rows.iter().map(|row| (row.partition, 0)).collect();
    let wanted: Vec<String> = heads.keys().map(u32::to_string).collect();
    let found: Vec<(u32, i64)> = sqlx::query_as(
        "select j.value, coalesce((select max(offset) + 1 from records where partition = j.value), 0) from json_each(?) j",
    )
    .bind(format!("[{}]", wanted.join(",")))
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    heads.extend(found.into_iter().map(|(partition, head)| (partition, head.cast_unsigned())));
    Ok(heads)
}

/// One failed transaction answers many.
fn copy(error: &LogError) -> LogError {
    match error {
        LogError::Busy(why) => LogError::Busy(why.clone()),
        LogError::Unavailable(why) => LogError::Unavailable(why.clone()),
        LogError::Refused(why) => LogError::Refused(why.clone()),
        LogError::Configuration(why) => LogError::Configuration(why.clone()),
    }
}
