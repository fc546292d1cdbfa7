//! Cursor paging in a stable order.

use crate::Problem;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

/// Most items on a page, and how many where the reader doesn't say.
pub const LIMIT: std::ops::RangeInclusive<u32> = 1..=1000;
/// See [`LIMIT`].
pub const DEFAULT_LIMIT: u32 = 100;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `?cursor=` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Where a page begins: the sort key of the last item before it, opaque to the reader.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Option<String>);

impl Cursor {
    /// A cursor after the item with this sort key.
    pub fn after<K: Serialize>(key: &K) -> String {
        let json = serde_json::to_vec(key).unwrap_or_default();
        json.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The sort key of a cursor that [`Self::after`] made.
    ///
    /// # Errors
    /// When it was not made by this list.
    pub fn key<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(hex) = &self.0 else { return Ok(None) };
        let bad = || Problem::bad_field("cursor", "not a cursor of this list");
        let bytes: Option<Vec<u8>> =
            hex.as_bytes().chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok()).collect();
        let value: Value = serde_json::from_slice(&bytes.ok_or_else(bad)?).map_err(|_| bad())?;
        // No list has sort keys deeper than an array of texts; PostgreSQL knows no text with U+0000.
        let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if parts.iter().any(|p| p.as_str().is_some_and(|t| t.contains('\0'))) {
            return Err(bad());
        }
        serde_json::from_value(value).map(Some).map_err(|_| bad())
    }
}

/// A limit within bounds.
///
/// # Errors
/// When it is out of bounds.
pub fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    let n = asked.unwrap_or(DEFAULT_LIMIT);
    if LIMIT.contains(&n) {
        Ok(n as usize)
    } else {
        Err(Problem::bad_field("limit", format!("must be {} to {}", LIMIT.start(), LIMIT.end())))
    }
}
