//! The state of one key (a patient) in a view: the set of what its events say.
//!
//! A set doesn't care about order or repetition, and rows are a pure function of it; that is the whole reason why a fold
//! ends with the same rows whatever order, duplication or batch split the events arrive in.

use crate::EventId;
use crate::table::{Row, Value};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap, btree_map::Entry};
use xxhash_rust::xxh3::xxh3_64;

/// What adding an event to a key's facts did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was new.
    New,
    /// The same event was there.
    Duplicate,
    /// Another event was there under its id; the first one stays.
    Conflict,
}

/// The facts of one key, by event id. Each in a box: they are large, and are moved about as they are gathered and sorted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts<F>(BTreeMap<EventIdBytes, (u64, Box<F>)>);

type EventIdBytes = [u8; 16];

/// Begins the bytes of a state, and counts up when a view keeps something else of an event in a way that old bytes can't be
/// read as. A state without it begins with the number of its facts, which is never 0.
const SHAPE: [u8; 2] = [0, 1];
/// Begins the digests behind the facts.
const DIGESTS: u8 = 1;
/// What a fact takes up as bytes, about.
const FACT_BYTES: usize = 128;

impl<F> Default for Facts<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<F> Facts<F> {
    /// Adds what event `id`, whose encoded content hashes to `hash`, says.
    pub fn add(&mut self, id: EventId, hash: u64, fact: impl Into<Box<F>>) -> Added {
        match self.0.entry(id.0.into_bytes()) {
            Entry::Vacant(v) => {
                v.insert((hash, fact.into()));
                Added::New
            }
            Entry::Occupied(o) if o.get().0 == hash => Added::Duplicate,
            Entry::Occupied(_) => Added::Conflict,
        }
    }

    /// Takes in the facts of another key (of a patient that was merged into this one); where both have an event, the one
    /// that is here stays.
    pub fn absorb(&mut self, other: Self) {
        for (id, fact) in other.0 {
            self.0.entry(id).or_insert(fact);
        }
    }

    /// The facts, by event id.
    pub fn iter(&self) -> impl Iterator<Item = (EventId, &F)> + Clone {
        self.0.iter().map(|(id, (_, f))| (EventId(uuid::Uuid::from_bytes(*id)), &**f))
    }

    /// The fact of one event.
    #[must_use]
    pub fn get(&self, id: EventId) -> Option<&F> {
        self.0.get(id.0.as_bytes()).map(|(_, f)| &**f)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<F: Serialize + DeserializeOwned> Facts<F> {
    /// The facts as bytes, to be kept by the store.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SHAPE.len() + self.len() * FACT_BYTES);
        out.extend(SHAPE);
        postcard::to_extend(self, out).unwrap_or_default()
    }

    /// The facts as bytes, with the digests of the rows that were made of them.
    #[must_use]
    pub fn to_bytes_with(&self, made: &Digests) -> Vec<u8> {
        let mut out = self.to_bytes();
        out.reserve_exact(1 + made.0.len() * 16);
        out.push(DIGESTS);
        for (key, row) in &made.0 {
            out.extend(key.to_le_bytes());
            out.extend(row.to_le_bytes());
        }
        out
    }

    /// Reads what [`Self::to_bytes`] or [`Self::to_bytes_with`] wrote.
    ///
    /// # Errors
    /// When the bytes were written by a fold of another shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        Ok(Self::with_digests(bytes)?.0)
    }

    /// The same with the digests, where there are any.
    ///
    /// # Errors
    /// When the bytes were written by a fold of another shape.
    pub fn with_digests(bytes: &[u8]) -> Result<(Self, Option<Digests>), postcard::Error> {
        let bytes = bytes.strip_prefix(&SHAPE).ok_or(postcard::Error::DeserializeBadEncoding)?;
        let (facts, rest) = postcard::take_from_bytes(bytes)?;
        Ok((facts, Digests::read(rest)))
    }
}

/// Which rows were last written of a key: a digest of each one's key, and of the whole row. With them a batch knows what it
/// changes without making the rows from before once more. A chance of 2⁻⁶⁴ a row that a change isn't seen is taken.
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

    fn read(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.strip_prefix(&[DIGESTS])?.as_chunks::<16>();
        let pair = |p: &[u8; 16]| {
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

    #[test]
    fn states_without_digests_and_with_broken_ones_are_read() {
        let mut facts = Facts::<u8>::default();
        facts.add(EventId(uuid::Uuid::from_u128(7)), 1, 42);
        let made = digests(&[row("a", 1)], &[row("b", 2)]);
        let bytes = facts.to_bytes_with(&made);
        assert_eq!(Facts::with_digests(&bytes), Ok((facts.clone(), Some(made))));
        assert_eq!(Facts::from_bytes(&bytes), Ok(facts.clone()));
        assert_eq!(Facts::with_digests(&facts.to_bytes()), Ok((facts.clone(), None)));
        for end in facts.to_bytes().len()..bytes.len() {
            let whole = (end - facts.to_bytes().len()) % 16 == 1;
            assert_eq!(Facts::<u8>::with_digests(&bytes[..end]).unwrap().1.is_some(), whole, "{end}");
        }
    }
}
