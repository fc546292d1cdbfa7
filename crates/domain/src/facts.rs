//! The state of one key (a patient) in a view: the set of what its events say.
//!
//! A set doesn't care about order or repetition, and rows are a pure function of it; that is the whole reason why a fold
//! ends with the same rows whatever order, duplication or batch split the events arrive in.

use crate::EventId;
use crate::digests::Digests;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, btree_map::Entry};

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
        made.write(&mut out);
        out
    }

    /// Reads what [`Self::to_bytes`] or [`Self::to_bytes_with`] wrote.
    ///
    /// # Errors
    /// When the bytes were written by a fold of another shape.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        Ok(Self::from_bytes_with_digests(bytes)?.0)
    }

    /// The same with the digests, where there are any.
    ///
    /// # Errors
    /// When the bytes were written by a fold of another shape.
    pub fn from_bytes_with_digests(bytes: &[u8]) -> Result<(Self, Option<Digests>), postcard::Error> {
        let bytes = bytes.strip_prefix(&SHAPE).ok_or(postcard::Error::DeserializeBadEncoding)?;
        let (facts, rest) = postcard::take_from_bytes(bytes)?;
        Ok((facts, Digests::read(rest)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn states_without_digests_and_with_broken_ones_are_read() {
        let mut facts = Facts::<u8>::default();
        facts.add(EventId(uuid::Uuid::from_u128(7)), 1, 42);
        let rows = |key: &str| vec![vec![key.into(), 1.into()]];
        let made = Digests::of(&[rows("a"), rows("b")], [1, 1]);
        let bytes = facts.to_bytes_with(&made);
        assert_eq!(Facts::from_bytes_with_digests(&bytes), Ok((facts.clone(), Some(made))));
        assert_eq!(Facts::from_bytes(&bytes), Ok(facts.clone()));
        assert_eq!(Facts::from_bytes_with_digests(&facts.to_bytes()), Ok((facts.clone(), None)));
        for end in facts.to_bytes().len()..bytes.len() {
            let whole = (end - facts.to_bytes().len()) % 16 == 1;
            assert_eq!(Facts::<u8>::from_bytes_with_digests(&bytes[..end]).unwrap().1.is_some(), whole, "{end}");
        }
    }
}
