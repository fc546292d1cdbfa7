//! The shape of the read models: tables and rows. The store turns these into SQL.

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// UTF-8 text.
    Text,
    /// 64-bit integer; times are microseconds since 1970, booleans 0 or 1.
    Int,
    /// 64-bit float.
    Float,
    /// JSON, as text.
    Json,
    /// Bytes.
    Bytes,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
}

/// A table of a view. Every generation of the view has its own copy of it.
#[derive(Debug)]
pub struct Table {
    /// Name, such as `timeline_entries`.
    pub name: &'static str,
    /// Columns in order: name and type.
    pub columns: &'static [(&'static str, Type)],
    /// How many of the first columns are the primary key.
    pub key: usize,
    /// Further indexes, each a list of columns.
    pub indexes: &'static [&'static [&'static str]],
}

/// A row of a table: one value per column, in the table's order.
pub type Row = Vec<Value>;

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Text(v)
    }
}
impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::Int(i64::from(v))
    }
}
impl From<crate::Micros> for Value {
    fn from(v: crate::Micros) -> Self {
        Self::Int(v.0)
    }
}
impl From<crate::EventId> for Value {
    fn from(v: crate::EventId) -> Self {
        Self::Text(v.to_string())
    }
}
impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Self::Bytes(v)
    }
}
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::Null, Into::into)
    }
}
