//! A map of the entries that came last: bounded, the oldest are forgotten.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last `most` entries.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// Keys in the order in which they came, with the serial number that tells an entry from a later one of its key.
    order: VecDeque<(K, u64)>,
    serial: u64,
    most: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), serial: 0, most: most.max(1) }
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.entries.get(&key).map(|(_, v)| v)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|(_, v)| v)
    }

    /// Puts an entry in the place of the one of its key, if there is one; it is the newest then.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.serial += 1;
        self.entries.insert(key, (self.serial, value));
        self.order.push_back((key, self.serial));
        // Entries that were removed or replaced leave their place in the order behind.
        while self.entries.len() > self.most || self.order.len() > 2 * self.most {
            let Some((key, serial)) = self.order.pop_front() else { break };
            if self.entries.get(&key).is_some_and(|(s, _)| *s == serial) {
                self.entries.remove(&key);
            }
        }
    }

    pub(crate) fn remove(&mut self, key: K) {
        self.entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_the_oldest_go() {
        let mut r = Recent::new(3);
        for n in 0..1_000 {
            r.insert(n % 5, n);
        }
        assert_eq!((r.get(4), r.get(0), r.entries.len()), (Some(&999), None, 3));
        for n in 0..1_000 {
            r.insert(n, n);
            r.remove(n);
        }
        assert!(r.entries.is_empty() && r.order.len() <= 6);
        r.insert(7, 1);
        r.insert(7, 2);
        assert_eq!(r.get(7), Some(&2));
    }
}
