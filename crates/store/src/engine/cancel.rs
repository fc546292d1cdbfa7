//! Statements that take long, and can be ended before their end.

use super::{Engine, StoreError, Tx};
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::sync::watch;

/// How long PostgreSQL gets to obey before it is asked again: a statement that had not begun yet has not heard it.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often it is asked at most: what isn't ended after 30 s never will be.
const MOST_ASKED: usize = 300;
/// Steps of SQLite's machine between two looks at whether to stop: some milliseconds at most.
const STEPS: i32 = 10_000;
/// PostgreSQL's SQLSTATE, and SQLite's code, of what was cancelled.
const CANCELLED: [&str; 2] = ["57014", "9"];

impl Tx {
    /// Runs a statement without arguments; where `stopped` says so, the database is told to end it. `false` then, and the
    /// transaction is of no use any more.
    ///
    /// # Errors
    /// Those of the database; also that a statement was cancelled by somebody else (`statement_timeout`, an administrator), and
    /// that it doesn't end within 30 s of being told to.
    pub(crate) async fn execute_until(
        &mut self,
        engine: &Engine,
        sql: &str,
        stopped: watch::Receiver<bool>,
    ) -> Result<bool, StoreError> {
        if *stopped.borrow() {
            return Ok(false);
        }
        let done = match self {
            Self::Sqlite(tx, _) => {
                let told = stopped.clone();
                let go_on = move || !*told.borrow();
                tx.lock_handle().await?.set_progress_handler(STEPS, go_on);
                let done = self.execute(sql, &[]).await;
                if let Self::Sqlite(tx, _) = self {
                    tx.lock_handle().await?.remove_progress_handler();
                }
                done
            }
            Self::Postgres(_) => {
                let rows = self.query("SELECT pg_backend_pid()", &[]).await?;
                let server = rows.first().map_or(0, |r| r.int(0));
                let mut run = pin!(self.execute(sql, &[]));
                let mut told = stopped.clone();
                let ended = tokio::select! {
                    done = &mut run => Some(done),
                    _ = async { drop(told.wait_for(|s| *s).await) } => None,
                };
                match ended {
                    Some(done) => done,
                    None => cancelled(engine, server, run).await?,
                }
            }
        };
        match done {
            Ok(_) => Ok(true),
            // Who didn't ask for it must not take it for obedience: `statement_timeout` ends statements by the same code.
            Err(e) if *stopped.borrow() && e.code().is_some_and(|code| CANCELLED.contains(&code.as_str())) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Has PostgreSQL end the statement that `server` runs; how it ended.
async fn cancelled<T>(
    engine: &Engine,
    server: i64,
    mut run: Pin<&mut impl Future<Output = Result<T, StoreError>>>,
) -> Result<Result<T, StoreError>, StoreError> {
    for _ in 0..MOST_ASKED {
        engine.query("SELECT pg_cancel_backend(CAST($1 AS integer))", &[server.into()]).await?;
        if let Ok(done) = tokio::time::timeout(ASK_AGAIN, &mut run).await {
            return Ok(done);
        }
    }
    let why = std::io::Error::new(std::io::ErrorKind::TimedOut, "a statement that was cancelled goes on");
    Err(sqlx::Error::Io(why).into())
}
