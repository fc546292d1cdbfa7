//! The one file that names the engines.

use domain::table::Value;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed; whether to try again is [`StoreError::is_transient`].
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// What is stored is not what this version writes.
    #[error("stored data: {0}")]
    Data(String),
    /// The configuration is wrong.
    #[error("store configuration: {0}")]
    Configuration(String),
}

/// A database: PostgreSQL, or SQLite when embedded.
#[derive(Debug, Clone)]
pub enum Engine {
    /// PostgreSQL.
    Postgres(sqlx::PgPool),
    /// SQLite.
    Sqlite(sqlx::SqlitePool),
}

/// A row that was read. Columns are read by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Text; empty where null.
    #[must_use]
    pub fn text(&self, i: usize) -> &str {
        match self.0.get(i) {
            Some(Value::Text(t)) => t,
            _ => "",
        }
    }
    /// Text, or nothing where null.
    #[must_use]
    pub fn opt_text(&self, i: usize) -> Option<&str> {
        match self.0.get(i) {
            Some(Value::Text(t)) => Some(t),
            _ => None,
        }
    }
    /// Integer; 0 where null.
    #[must_use]
    pub fn int(&self, i: usize) -> i64 {
        self.opt_int(i).unwrap_or_default()
    }
    /// Integer, or nothing where null.
    #[must_use]
    pub fn opt_int(&self, i: usize) -> Option<i64> {
        match self.0.get(i) {
            Some(Value::Int(v)) => Some(*v),
            _ => None,
        }
    }
    /// Bytes; empty where null.
    #[must_use]
    pub fn bytes(&self, i: usize) -> &[u8] {
        match self.0.get(i) {
            Some(Value::Bytes(b)) => b,
            _ => &[],
        }
    }
}

impl Engine {
    /// Runs a query with `$1`, `$2` … and reads all its rows. Column types may be text, json, integers, floats, bytes and
    /// booleans (read as 0 or 1). Write SQL that both engines take.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let _ = (sql, args);
        Err(StoreError::Configuration("not built yet".into()))
    }

    /// Runs a statement and says how many rows it touched.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn execute(&self, sql: &str, args: &[Value]) -> Result<u64, StoreError> {
        let _ = (sql, args);
        Err(StoreError::Configuration("not built yet".into()))
    }
}
