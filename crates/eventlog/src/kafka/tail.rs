//! Where the records of a partition end. A transaction ends with a marker, which takes up an offset and is no record, and what
//! an aborted one wrote is never read: the broker's end may lie behind both. Everything that compares "how far is the reader"
//! with "how far is the log" means records, so that the end is looked for.

use crate::LogError;
use std::sync::{Mutex, PoisonError};

/// How many offsets before the broker's end are looked at, one after the other, until there is a record: nearly always the first
/// does, and only long aborted transactions need the others.
const DEPTHS: [u64; 4] = [2, 64, 4_096, u64::MAX];

/// A part of a partition: the partition, and the offsets from … up to, but not with.
pub(super) type Stretch = (u32, u64, u64);

/// By partition, the broker's end as it was last seen and the end of the records before it.
#[derive(Default)]
pub(super) struct Tails(Mutex<Vec<(u64, u64)>>);

impl Tails {
    /// The offset after the last record of each partition. `bounds` are the broker's; `last` says the offset of the last record of
    /// each of some stretches, if it has any.
    pub(super) fn ends(
        &self,
        bounds: &[(u64, u64)],
        last: impl Fn(&[Stretch]) -> Result<Vec<Option<u64>>, LogError>,
    ) -> Result<Vec<u64>, LogError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.resize(bounds.len(), (0, 0));
        let mut ends: Vec<Option<u64>> = Vec::with_capacity(bounds.len());
        for ((first, stable), (seen, end)) in bounds.iter().zip(&known) {
            ends.push(if stable == seen && end >= first { Some(*end) } else { (first == stable).then_some(*stable) });
        }
        for depth in DEPTHS {
            let open: Vec<usize> = (0..ends.len()).filter(|p| ends[*p].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let stretches: Vec<Stretch> = open
                .iter()
                .map(|&p| {
                    let ((first, stable), (_, end)) = (bounds[p], known[p]);
                    let floor = if end <= stable { first.max(end) } else { first };
                    (u32::try_from(p).unwrap_or(u32::MAX), floor.max(stable.saturating_sub(depth)), stable)
                })
                .collect();
            for ((p, found), (_, from, _)) in open.into_iter().zip(last(&stretches)?).zip(&stretches) {
                let floor = if known[p].1 <= bounds[p].1 { bounds[p].0.max(known[p].1) } else { bounds[p].0 };
                // nothing as far back as an earlier look, or the beginning: it ends there
                ends[p] = found.map(|offset| offset + 1).or_else(|| (*from <= floor).then_some(floor));
            }
        }
        let ends: Vec<u64> = ends.into_iter().zip(bounds).map(|(end, (_, stable))| end.unwrap_or(*stable)).collect();
        let seen = bounds.iter().map(|(_, stable)| *stable).zip(ends.iter().copied()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A partition's offsets: `r` a record, anything else none.
    fn ends(tails: &Tails, first: u64, log: &str, looks: &Cell<usize>) -> u64 {
        let at = |o: u64| log.as_bytes().get(usize::try_from(o).unwrap()) == Some(&b'r');
        let last = |stretches: &[Stretch]| {
            looks.set(looks.get() + stretches.len());
            Ok(stretches.iter().map(|(_, from, to)| (*from..*to).rev().find(|o| at(*o))).collect())
        };
        tails.ends(&[(first, log.len() as u64)], last).unwrap()[0]
    }

    #[test]
    fn markers_and_aborted_records_are_no_records() {
        let looks = Cell::new(0);
        let end = |log: &str| ends(&Tails::default(), 0, log, &looks);
        assert_eq!((end(""), end("r"), end("rr"), end("rrm"), end("rmm")), (0, 1, 2, 2, 1));
        assert_eq!(end(&format!("rr{}m", "a".repeat(10_000))), 2);
        assert_eq!(end(&format!("{}m", "a".repeat(100))), 0, "nothing but an aborted transaction");
    }

    #[test]
    fn what_was_seen_is_not_looked_for_again() {
        let (tails, looks) = (Tails::default(), Cell::new(0));
        assert_eq!(ends(&tails, 0, "rrrm", &looks), 3);
        assert_eq!((ends(&tails, 0, "rrrm", &looks), looks.get()), (3, 1));
        assert_eq!((ends(&tails, 0, "rrrmaam", &looks), looks.get()), (3, 3));
        assert_eq!(ends(&tails, 0, "rrrmaamrm", &looks), 8);
        // deleted from the front, and another log under the same name
        assert_eq!(ends(&tails, 9, "rrrmaamrm", &looks), 9);
        assert_eq!(ends(&tails, 0, "rm", &looks), 1);
    }
}
