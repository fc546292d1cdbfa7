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
    /// The database's code of the error: PostgreSQL's SQLSTATE, or SQLite's extended code.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        match self {
            Self::Database(sqlx::Error::Database(db)) => db.code().map(Into::into),
            _ => None,
        }
    }

    /// Whether the database refuses the data itself. Trying again is of no use; without the row at fault it works.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        // PostgreSQL: 21 a row twice in a statement, 22 data, 23 constraints, 54 limits such as an index entry's.
        // SQLite: 18 too big, 19 constraint, 20 mismatch.
        self.code().is_some_and(|code| match sqlite(&code) {
            Some(primary) => matches!(primary, 18..=20),
            None => ["21", "22", "23", "54"].iter().any(|class| code.starts_with(class)),
        })
    }

    /// Whether the database's disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.code().is_some_and(|code| code == "53100" || sqlite(&code) == Some(13))
    }

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
                // PostgreSQL: 08 connection, 25006 a server that has just become a standby, 25P03 a transaction that slept,
                // 40 serialisation and deadlock, 53 resources, 55P03 lock, 57P shutdown and start. SQLite: 5 busy, 6 locked,
                // 7 memory, 10 I/O, 13 full.
                match sqlite(&code) {
                    Some(primary) => matches!(primary, 5 | 6 | 7 | 10 | 13),
                    None => ["08", "25006", "25P03", "40", "53", "55P03", "57P"].iter().any(|p| code.starts_with(p)),
                }
            }
            _ => false,
        }
    }
}

/// SQLite's primary code of an error, whose extended one has more in the upper bits; nothing for an SQLSTATE, which has five
/// characters.
fn sqlite(code: &str) -> Option<u32> {
    (code.len() < 5).then(|| code.parse::<u32>().ok()).flatten().map(|c| c & 0xff)
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
