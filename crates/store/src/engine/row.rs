//! Rows as they are read, and errors.

use domain::table::Value;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed; whether to try again is [`StoreError::is_transient`]. PostgreSQL's "detail", which quotes
    /// rows, is not part of the message.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// What is stored is not what this version writes.
    #[error("stored data: {0}")]
    Data(String),
    /// The configuration is wrong.
    #[error("store configuration: {0}")]
    Configuration(String),
}

impl StoreError {
    /// Whether trying again may help: the connection broke, the server is starting or stopping, or two transactions
    /// got in each other's way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let Self::Database(e) = self else { return false };
        match e {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => true,
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                // PostgreSQL: 08 connection, 40 serialisation and deadlock, 53 resources, 55P03 lock, 57P shutdown and start.
                // SQLite: 5 busy, 6 locked, 10 I/O, 13 full, with extended codes in the upper bits.
                let sqlite = code.parse::<u32>().is_ok_and(|c| code.len() < 5 && matches!(c & 0xff, 5 | 6 | 10 | 13));
                sqlite || ["08", "40", "53", "55P03", "57P"].iter().any(|p| code.len() == 5 && code.starts_with(p))
            }
            _ => false,
        }
    }
}

/// A row that was read. Columns are read by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// Text; empty where null.
    #[must_use]
    pub fn text(&self, i: usize) -> &str {
        self.opt_text(i).unwrap_or_default()
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
    /// Float, also of an integer; nothing where null.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn opt_float(&self, i: usize) -> Option<f64> {
        match self.0.get(i) {
            Some(Value::Float(v)) => Some(*v),
            Some(Value::Int(v)) => Some(*v as f64),
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
