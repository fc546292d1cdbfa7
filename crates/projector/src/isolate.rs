//! Finds the records that a database refuses, so that each of them alone becomes a dead letter.

use crate::{Projection, Rejected};
use eventlog::Record;
use std::collections::HashSet;
use store::{Generation, StoreError, Tx};

/// As [`Projection::write`]; a part that the database refuses is taken back and halved, until the one record at fault is
/// known. It parks its key; what else of that key is in the batch waits behind it.
///
/// # Errors
/// Those of the database that are no refusal of data.
pub async fn write<P: Projection>(
    view: &P,
    tx: &mut Tx,
    generation: &Generation,
    items: &[(&Record, &P::Item)],
) -> Result<Vec<Rejected>, StoreError> {
    let mut rejected = Vec::new();
    let mut parked: HashSet<&[u8]> = HashSet::new();
    // The part to be written next is the last.
    let mut parts: Vec<Vec<usize>> = vec![(0..items.len()).collect()];
    while let Some(part) = parts.pop() {
        let (behind, mut part): (Vec<usize>, Vec<usize>) =
            part.into_iter().partition(|i| parked.contains(&items[*i].0.key[..]));
        rejected.extend(behind.into_iter().map(|i| Rejected { behind: true, ..Rejected::unstorable(i) }));
        if part.is_empty() {
            continue;
        }
        let plain: Vec<&P::Item> = part.iter().map(|i| items[*i].1).collect();
        tx.savepoint().await?;
        let found = match view.write(tx, generation, &plain).await {
            Ok(found) => {
                tx.release().await?;
                found.into_iter().map(|r| Rejected { index: part[r.index], ..r }).collect()
            }
            Err(e) if e.is_refusal() => {
                tx.undo().await?;
                if let [one] = part[..] {
                    vec![Rejected::unstorable(one)]
                } else {
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                    continue;
                }
            }
            Err(e) => return Err(e),
        };
        parked.extend(found.iter().filter(|r| r.parks).map(|r| &items[r.index].0.key[..]));
        rejected.extend(found);
    }
    Ok(rejected)
}
