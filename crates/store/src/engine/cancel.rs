//! Statements that take long, and can be ended before their end.

use super::{Engine, StoreError, Tx};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// How long PostgreSQL gets to obey before it is asked again: a statement that had not begun yet has not heard it.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Steps of SQLite's machine between two looks at whether to stop: some milliseconds at most.
const STEPS: i32 = 10_000;
/// PostgreSQL's SQLSTATE, and SQLite's code, of what was cancelled.
const CANCELLED: [&str; 2] = ["57014", "9"];

impl Tx {
    /// Runs a statement without arguments; where `stopped` says so, the database is told to end it. `false` then, and the
    /// transaction is of no use any more.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn execute_until(
        &mut self,
        engine: &Engine,
        sql: &str,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<bool, StoreError> {
        if *stopped.borrow() {
            return Ok(false);
        }
        let done = match self {
            Self::Sqlite(tx, _) => {
                let go_on = move || !*stopped.borrow();
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
                let ended = tokio::select! {
                    done = &mut run => Some(done),
                    _ = async { drop(stopped.wait_for(|s| *s).await) } => None,
                };
                match ended {
                    Some(done) => done,
                    None => loop {
                        engine.query("SELECT pg_cancel_backend(CAST($1 AS integer))", &[server.into()]).await?;
                        if let Ok(done) = tokio::time::timeout(ASK_AGAIN, &mut run).await {
                            break done;
                        }
                    },
                }
            }
        };
        match done {
            Ok(_) => Ok(true),
            Err(e) if e.code().is_some_and(|code| CANCELLED.contains(&code.as_str())) => {
                if let Self::Sqlite(..) = self {
                    // SQLite has rolled back already, which its driver doesn't know: a connection that comes back to the pool
                    // has to have something to roll back. Where a transaction is left, there is.
                    let _ = self.batch("BEGIN").await;
                }
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }
}
