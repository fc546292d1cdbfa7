//! The schemas this build knows: those of `schemas/lock.json`, compiled in, an older one parsed when
//! it is first needed.

use crate::{lock::Lock, older::Reader};
use domain::Kind;
use std::sync::{LazyLock, OnceLock};

/// One version of one event's schema.
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// Whether this build's types are generated from it.
    pub(crate) newest: bool,
    text: String,
    reader: OnceLock<Reader>,
}

impl Entry {
    pub(crate) const fn new(id: u32, kind: Kind, text: String) -> Self {
        Self { id, kind, newest: false, text, reader: OnceLock::new() }
    }

    /// The reader of what it wrote, for a build with other types.
    pub(crate) fn reader(&self) -> &Reader {
        self.reader.get_or_init(|| match Reader::new(self.kind, &self.text) {
            Ok(reader) => reader,
            Err(e) => unreachable!("schema {} of the lock can't be read by: {e}", self.id),
        })
    }
}

struct Registry {
    /// By id; ids are small and dense.
    by_id: Vec<Option<Entry>>,
    /// Id of the newest version, by `Kind as usize`.
    newest: Vec<u32>,
    lock: Lock,
    unlocked: Vec<Kind>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let checked_in = match Lock::parse(include_str!("../../../schemas/lock.json")) {
        Ok(lock) => lock,
        Err(e) => unreachable!("the compiled-in lock does not parse: {e}"),
    };
    Registry::new(checked_in)
});

impl Registry {
    /// A schema edited since the lock was written gets the id that `schemas lock` will give it, so that a developer's
    /// build works before the lock is updated; `schemas check` and a test refuse to let that be released.
    fn new(mut lock: Lock) -> Self {
        let unlocked = lock.update(Kind::ALL.iter().map(|k| (k.as_str(), k.schema())));
        let mut by_id = Vec::new();
        let mut newest = vec![0; Kind::ALL.len()];
        let mut version = vec![0; Kind::ALL.len()];
        for e in &lock.entries {
            // An event that the catalogue no longer has can't be read any more; the check refuses to remove one.
            let Some(kind) = Kind::from_name(&e.event) else { continue };
            let (at, slot) = (e.id as usize, kind as usize);
            if by_id.len() <= at {
                by_id.resize_with(at + 1, || None);
            }
            if e.version > version[slot] {
                (version[slot], newest[slot]) = (e.version, e.id);
            }
            by_id[at] = Some(Entry::new(e.id, kind, e.schema.get().to_owned()));
        }
        for &id in &newest {
            if let Some(Some(entry)) = by_id.get_mut(id as usize) {
                entry.newest = true;
            }
        }
        Self { by_id, newest, lock, unlocked: unlocked.iter().filter_map(|n| Kind::from_name(n)).collect() }
    }
}

pub(crate) fn by_id(id: u32) -> Option<&'static Entry> {
    REGISTRY.by_id.get(usize::try_from(id).ok()?)?.as_ref()
}

pub(crate) fn newest(kind: Kind) -> &'static Entry {
    match by_id(REGISTRY.newest[kind as usize]) {
        Some(entry) => entry,
        None => unreachable!("Registry::new gives every kind an entry"),
    }
}

/// Schema id that [`crate::encode`] writes for an event type.
#[must_use]
pub fn schema_of(kind: Kind) -> u32 {
    newest(kind).id
}

/// Every released schema, in the order of ids.
#[must_use]
pub fn lock() -> &'static Lock {
    &REGISTRY.lock
}

/// Event types whose schema was edited since the lock was written. Empty in a release; a door should say so when not.
#[must_use]
pub fn unlocked() -> &'static [Kind] {
    &REGISTRY.unlocked
}
