//! The bounded memory of recent events: id -> content hash and position.
//!
//! Sharded, so that requests seldom meet on a lock; each lock is held for one look-up. Past the window the views still
//! count an event once (they keep ids themselves), so forgetting is safe.

use domain::EventId;
use eventlog::Position;
use std::collections::{HashMap, VecDeque, hash_map::Entry as Slot};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

const SHARDS: usize = 64;

/// What claiming an id gave.
pub(super) enum Claim {
    /// It is new: append it, then settle.
    Mine,
    /// The same content lies there.
    Known(Position),
    /// Other content lies under this id.
    Conflict,
    /// Another request is appending this id; whether with the same content is the second field.
    Wait(oneshot::Receiver<Position>, bool),
}

enum State {
    /// Being appended; almost nobody ever waits for it.
    Pending(Vec<oneshot::Sender<Position>>),
    Done(Position),
}

struct Entry {
    hash: u64,
    /// Tells this entry from an earlier one of the same id that left the window.
    serial: u32,
    state: State,
}

/// Ids are hashed under a key: an attacker could choose ids that fall together otherwise.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64_with_seed(bytes, self.0 ^ seed());
    }
}

/// One random seed per process.
fn seed() -> u64 {
    static SEED: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| uuid::Uuid::now_v7().as_u64_pair().1);
    *SEED
}

#[derive(Default)]
struct Shard {
    entries: HashMap<[u8; 16], Entry, BuildHasherDefault<IdHasher>>,
    order: VecDeque<([u8; 16], u32)>,
    serial: u32,
}

pub(super) struct Window {
    shards: Box<[Mutex<Shard>]>,
    per_shard: usize,
}

impl Window {
    pub(super) fn new(events: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, per_shard: events.div_ceil(SHARDS).max(1) }
    }

    fn shard(&self, id: EventId) -> MutexGuard<'_, Shard> {
        let bytes = id.0.as_bytes();
        let i = xxhash_rust::xxh3::xxh3_64(bytes) as usize % SHARDS;
        self.shards[i].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn claim(&self, id: EventId, hash: u64) -> Claim {
        let mut guard = self.shard(id);
        let shard = &mut *guard;
        match shard.entries.entry(id.0.into_bytes()) {
            Slot::Vacant(v) => {
                shard.serial = shard.serial.wrapping_add(1);
                let serial = shard.serial;
                v.insert(Entry { hash, serial, state: State::Pending(Vec::new()) });
                shard.order.push_back((id.0.into_bytes(), serial));
                shard.shrink(self.per_shard);
                Claim::Mine
            }
            Slot::Occupied(mut o) => {
                let same = o.get().hash == hash;
                match &mut o.get_mut().state {
                    State::Done(position) if same => Claim::Known(*position),
                    State::Done(_) => Claim::Conflict,
                    State::Pending(waiters) => {
                        let (tell, told) = oneshot::channel();
                        waiters.push(tell);
                        Claim::Wait(told, same)
                    }
                }
            }
        }
    }

    /// Ends a claim: with the position, or `None` when the append failed and the id is free again.
    pub(super) fn settle(&self, id: EventId, position: Option<Position>) {
        let mut shard = self.shard(id);
        let Some(position) = position else {
            // Dropping the senders tells the waiters.
            shard.entries.remove(id.0.as_bytes());
            return;
        };
        let Some(entry) = shard.entries.get_mut(id.0.as_bytes()) else { return };
        if let State::Pending(waiters) = std::mem::replace(&mut entry.state, State::Done(position)) {
            for tell in waiters {
                // A waiter that has gone needs no answer.
                let _ = tell.send(position);
            }
        }
    }

    /// Notes an event found in the log; the first one under an id counts.
    pub(super) fn remember(&self, id: EventId, hash: u64, position: Position) {
        if matches!(self.claim(id, hash), Claim::Mine) {
            self.settle(id, Some(position));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap().entries.len()).sum()
    }
}

impl Shard {
    /// Forgets the oldest; what is still being appended goes to the back of the line.
    fn shrink(&mut self, most: usize) {
        let mut looks = self.order.len();
        while self.order.len() > most && looks > 0 {
            looks -= 1;
            let Some((id, serial)) = self.order.pop_front() else { break };
            match self.entries.get(&id) {
                Some(e) if e.serial == serial && matches!(e.state, State::Pending(_)) => {
                    self.order.push_back((id, serial));
                }
                Some(e) if e.serial == serial => {
                    self.entries.remove(&id);
                }
                _ => {}
            }
        }
    }
}
