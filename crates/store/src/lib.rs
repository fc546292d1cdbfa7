//! View tables, checkpoints, dead letters, generations, migrations: PostgreSQL and SQLite behind one interface.
//!
//! Rows, dead letters and checkpoint of a batch go in one transaction, or not at all. It must never know an event.

mod checkpoints;
mod compare;
mod control;
mod dead_letters;
pub mod engine;
mod generations;
mod intake;
mod migrations;
mod operations;
pub mod views;

pub use checkpoints::{Advance, Checkpoint, Held, Progress, record_hash};
pub use compare::{Comparison, Sample, Snapshot, TableDifference};
pub use dead_letters::{
    DeadLetter, FullDeadLetter, KeptLetter, LetterCount, LetterKey, Letters, MAX_PAGE, NewDeadLetter, OpenLetter,
    key_hash, key_number, letter_id,
};
pub use engine::{Bulk, DEFAULT_CONNECTIONS, Durability, Engine, Row, StoreError, Target, Tx, nobody_has};
pub use generations::{Generation, GenerationInfo, STATE, Slice, State, ViewSpec, slices_of};
pub use intake::IntakeCount;
pub use operations::{Ended, NewOperation, Operation};

/// A database with the fixed tables in place. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Engine,
}

impl Store {
    /// Opens a database by its URL (see [`Engine::connect`]) and brings its fixed tables up to date.
    ///
    /// # Errors
    /// When it can't be reached, or was made by a newer version.
    pub async fn connect(url: &str, connections: u32) -> Result<Self, StoreError> {
        let engine = Engine::connect(url, connections).await?;
        migrations::run(&engine).await?;
        Ok(Self { engine })
    }

    /// The engine, for queries.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Begins a transaction; see [`Engine::begin`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self, durability: Durability) -> Result<Tx, StoreError> {
        self.engine.begin(durability).await
    }
}

/// Milliseconds since 1970, for the columns that say when something was written.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
