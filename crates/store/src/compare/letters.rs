//! The dead letters of two generations.

use super::{SAMPLES, Sample, TableDifference, what};
use crate::{Generation, StoreError, Tx};
use domain::table::Value;

/// Open letters of the generations `$2` and `$3`, up to where both have come: a later one is still to be met by the other.
const BOTH: &str = "WITH reached AS (SELECT partition, min(next_offset) AS next_offset FROM checkpoints \
    WHERE view = $1 AND generation IN ($2, $3) GROUP BY partition HAVING count(*) = 2), \
    open AS (SELECT l.generation, l.partition, l.log_offset, l.key_hash, l.reason_code, l.parked_behind \
    FROM dead_letters l JOIN reached r ON r.partition = l.partition AND l.log_offset < r.next_offset \
    WHERE l.view = $1 AND l.generation IN ($2, $3) AND l.discarded_ms IS NULL), \
    pairs AS (SELECT COALESCE(a.key_hash, b.key_hash) AS key_hash, COALESCE(a.partition, b.partition) AS partition, \
    COALESCE(a.log_offset, b.log_offset) AS log_offset, \
    CASE WHEN b.log_offset IS NULL THEN 1 WHEN a.log_offset IS NULL THEN 2 ELSE 0 END AS side, \
    CASE WHEN a.reason_code <> b.reason_code THEN 1 ELSE 0 END AS code, \
    CASE WHEN a.parked_behind <> b.parked_behind THEN 1 ELSE 0 END AS waits \
    FROM (SELECT * FROM open WHERE generation = $2) a FULL JOIN (SELECT * FROM open WHERE generation = $3) b \
    ON b.partition = a.partition AND b.log_offset = a.log_offset)";

/// Whether the same records are dead letters in both, for the same reasons.
pub(super) async fn compare(
    tx: &mut Tx,
    first: &Generation,
    second: &Generation,
) -> Result<TableDifference, StoreError> {
    let args: [Value; 3] = [first.view.into(), first.number.into(), second.number.into()];
    let counts = format!(
        "{BOTH} SELECT count(CASE WHEN side <> 2 THEN 1 END), count(CASE WHEN side <> 1 THEN 1 END), \
         count(CASE WHEN side = 1 THEN 1 END), count(CASE WHEN side = 2 THEN 1 END), \
         count(CASE WHEN side = 0 AND code + waits > 0 THEN 1 END) FROM pairs"
    );
    let rows = tx.query(&counts, &args).await?;
    let count = |i| rows.first().map_or(0, |r| r.int(i));
    let mut found = TableDifference {
        table: "dead_letters",
        rows: [count(0), count(1)],
        only_first: count(2),
        only_second: count(3),
        differing: count(4),
        samples: Vec::new(),
    };
    if found.differences() > 0 {
        let some = format!(
            "{BOTH} SELECT key_hash, side, code, waits FROM pairs WHERE side + code + waits > 0 \
             ORDER BY partition, log_offset LIMIT {SAMPLES}"
        );
        for r in tx.query(&some, &args).await? {
            let columns = [(2, "reason_code"), (3, "parked_behind")].into_iter().filter(|(i, _)| r.int(*i) == 1);
            found.samples.push(Sample {
                key_hash: r.text(0).into(),
                what: what(r.int(1)),
                columns: columns.map(|c| c.1).collect(),
            });
        }
    }
    Ok(found)
}
