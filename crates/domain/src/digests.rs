//! Which rows were last written of a key, in few bytes: kept behind the facts in the key's state.

use crate::table::{Row, Value};
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Begins the digests behind the facts.
const BEGINNING: u8 = 1;
/// Of a row: 8 bytes for its key, 8 for the whole.
const PAIR_BYTES: usize = 16;

/// A digest of each row's key, and of the whole row. With them a batch knows what it changes without making the rows from before
/// once more. A chance of 2⁻⁶⁴ a row that a change isn't seen is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests(Vec<(u64, u64)>);

impl Digests {
    /// Of rows, one list per table, each table with so many columns as its key.
    #[must_use]
    pub fn of(tables: &[Vec<Row>], keys: impl IntoIterator<Item = usize>) -> Self {
        let mut bytes = Vec::new();
        let mut all = Vec::with_capacity(tables.iter().map(Vec::len).sum());
        for (table, (rows, columns)) in tables.iter().zip(keys).enumerate() {
            for row in rows {
                bytes.clear();
                bytes.push(u8::try_from(table).unwrap_or(u8::MAX));
                let (key, others) = row.split_at(columns.min(row.len()));
                key.iter().for_each(|v| write(v, &mut bytes));
                let key = xxh3_64(&bytes);
                others.iter().for_each(|v| write(v, &mut bytes));
                all.push((key, xxh3_64(&bytes)));
            }
        }
        Self(all)
    }

    /// Adds them to the bytes of a state.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve_exact(1 + self.0.len() * PAIR_BYTES);
        out.push(BEGINNING);
        for (key, row) in &self.0 {
            out.extend(key.to_le_bytes());
            out.extend(row.to_le_bytes());
        }
    }

    /// Reads what [`Self::write`] wrote; nothing where there is none, or something else.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.strip_prefix(&[BEGINNING])?.as_chunks::<PAIR_BYTES>();
        let pair = |p: &[u8; PAIR_BYTES]| {
            let both = u128::from_le_bytes(*p);
            #[expect(clippy::cast_possible_truncation, reason = "the halves of a pair")]
            (both as u64, (both >> 64) as u64)
        };
        rest.is_empty().then(|| Self(pairs.iter().map(pair).collect()))
    }

    /// Whether each row, in the order in which `now` has them, differs from what it was; nothing where a row is gone.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Option<Vec<bool>> {
        let mut before: HashMap<u64, u64> = self.0.iter().copied().collect();
        let changed = now.0.iter().map(|(key, row)| before.remove(key) != Some(*row)).collect();
        before.is_empty().then_some(changed)
    }
}

/// A value as bytes, such that no two lists of values are the same bytes.
fn write(value: &Value, out: &mut Vec<u8>) {
    let mut long = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Null => out.push(0),
        Value::Text(v) => long(1, v.as_bytes()),
        Value::Int(v) => {
            out.push(2);
            out.extend(v.to_le_bytes());
        }
        Value::Float(v) => {
            out.push(3);
            out.extend(v.to_bits().to_le_bytes());
        }
        Value::Bytes(v) => long(4, v),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(key: &str, value: i64) -> Row {
        vec![key.into(), value.into()]
    }

    /// Two tables with a key of one column.
    fn digests(first: &[Row], second: &[Row]) -> Digests {
        Digests::of(&[first.to_vec(), second.to_vec()], [1, 1])
    }

    #[test]
    fn digests_tell_which_rows_are_new_or_changed() {
        let before = digests(&[row("a", 1), row("b", 2)], &[row("a", 3)]);
        assert_eq!(before.changed(&before), Some(vec![false, false, false]));
        let after = digests(&[row("a", 1), row("b", 9), row("c", 2)], &[row("a", 3)]);
        assert_eq!(before.changed(&after), Some(vec![false, true, true, false]));
        assert_eq!(Digests::default().changed(&before), Some(vec![true, true, true]));
    }

    #[test]
    fn a_row_that_is_gone_has_to_be_looked_for() {
        let before = digests(&[row("a", 1), row("b", 2)], &[]);
        assert_eq!(before.changed(&digests(&[row("b", 2)], &[])), None);
        // The same key in another table is another row.
        assert_eq!(before.changed(&digests(&[row("a", 1)], &[row("b", 2)])), None);
    }

    #[test]
    fn values_that_read_alike_have_digests_of_their_own() {
        let of = |values: Row| Digests::of(&[vec![values]], [1]);
        let all = [
            vec!["ab".into(), "c".into()],
            vec!["a".into(), "bc".into()],
            vec!["ab".into(), Value::Bytes(b"c".to_vec())],
            vec!["ab".into(), Value::Null],
            vec!["ab".into(), 0.into()],
            vec!["ab".into(), Value::Float(0.0)],
            vec!["ab".into()],
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(of(a.clone()) == of(b.clone()), i == j, "{i} {j}");
            }
        }
    }
}
