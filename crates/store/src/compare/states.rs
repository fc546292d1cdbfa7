//! The states of patients in two generations, where they are not written down alike.

use super::join::Join;
use super::{SAMPLES, Sample};
use crate::{StoreError, Target, Tx, key_hash};
use domain::table::Value;

/// Patients of one query: what bounds the states that are held at once.
const PATIENTS: usize = 1_000;

/// How many patients have another state, or lie in another partition, and some of them.
pub(super) async fn differ(
    tx: &mut Tx,
    [a, b]: [Target<'_>; 2],
    join: &Join<'_>,
    moving: &[Value],
    same_state: &(dyn Fn(&[u8], &[u8]) -> bool + Sync),
) -> Result<(i64, Vec<Sample>), StoreError> {
    let (first, second, still) = (a.table, b.table, join.still);
    let (mut found, mut samples, mut after) = (0, Vec::new(), None::<String>);
    // Stretch by stretch along the key, so that it takes as long as the tables are, however much of them differs.
    loop {
        let from = |arg: usize| if after.is_some() { format!("a.patient_id > ${arg}") } else { "1 = 1".to_owned() };
        let lower: Vec<Value> = after.iter().map(|key| key.as_str().into()).collect();
        let last = format!(
            "SELECT a.patient_id FROM \"{first}\" a WHERE {} ORDER BY a.patient_id LIMIT 1 OFFSET {}",
            from(1),
            PATIENTS - 1
        );
        let last = tx.query(&last, &lower).await?.first().map(|r| r.text(0).to_owned());
        let next = moving.len() + 1;
        let upto = match &last {
            Some(_) => format!("a.patient_id <= ${}", next + lower.len()),
            None => "1 = 1".to_owned(),
        };
        let pairs = format!(
            "SELECT a.patient_id, a.partition, b.partition, a.state, b.state FROM \"{first}\" a JOIN \"{second}\" b \
             ON b.patient_id = a.patient_id WHERE {} AND {upto} AND {still} \
             AND (a.partition IS DISTINCT FROM b.partition OR a.state IS DISTINCT FROM b.state) ORDER BY a.patient_id",
            from(next)
        );
        let upper = last.iter().map(|key| key.as_str().into());
        let args: Vec<Value> = moving.iter().cloned().chain(lower).chain(upper).collect();
        for row in tx.query(&pairs, &args).await? {
            let same = match (row.0.get(3), row.0.get(4)) {
                (Some(Value::Bytes(a)), Some(Value::Bytes(b))) => same_state(a, b),
                (a, b) => a == b,
            };
            let columns = [("partition", row.opt_int(1) == row.opt_int(2)), ("state", same)];
            let columns: Vec<_> = columns.into_iter().filter(|(_, same)| !same).map(|(column, _)| column).collect();
            if columns.is_empty() {
                continue;
            }
            found += 1;
            if samples.len() < SAMPLES {
                samples.push(Sample { key_hash: key_hash(row.text(0).as_bytes()), what: "differs", columns });
            }
        }
        match last {
            Some(last) => after = Some(last),
            None => return Ok((found, samples)),
        }
    }
}
