//! What the tables of a folded view hold, and what they must.

use super::MemoryLog;
use domain::facts::Facts;
use domain::table::{Row, Table, Value};
use domain::views::PatientFold;
use std::collections::BTreeMap;
use store::Store;

/// The rows of a table, in the order of its key.
pub async fn dump(store: &Store, table: &Table) -> Vec<Row> {
    let columns: Vec<_> = table.columns.iter().map(|(c, _)| format!("\"{c}\"")).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), table.name, columns[..table.key].join(", "));
    store.engine().query(&sql, &[]).await.unwrap().into_iter().map(|r| r.0).collect()
}

fn sorted(mut rows: Vec<Row>, key: usize) -> Vec<Row> {
    let text = |r: &Row| {
        r[..key].iter().map(|v| if let Value::Text(t) = v { t.clone() } else { format!("{v:?}") }).collect::<Vec<_>>()
    };
    rows.sort_by_key(text);
    rows
}

/// What a fold makes of the whole log.
pub fn folded<F: PatientFold>(fold: &F, log: &MemoryLog) -> Vec<Vec<Row>> {
    let mut patients: BTreeMap<String, Facts<F::Fact>> = BTreeMap::new();
    for r in log.all() {
        let e = codec::decode(&r.value).unwrap();
        if let Some(fact) = fold.fact(&e) {
            patients.entry(e.key().into_owned()).or_default().add(e.header().event_id, e.content_hash(), fact);
        }
    }
    let mut tables: Vec<Vec<Row>> = F::TABLES.iter().map(|_| Vec::new()).collect();
    for (patient, facts) in &patients {
        for (i, rows) in fold.rows(patient, facts).into_iter().enumerate() {
            tables[i].extend(rows);
        }
    }
    tables.into_iter().zip(F::TABLES).map(|(rows, t)| sorted(rows, t.key)).collect()
}

pub async fn equals_the_fold<F: PatientFold>(fold: &F, store: &Store, log: &MemoryLog) {
    let wanted = folded(fold, log);
    assert!(wanted.iter().any(|t| !t.is_empty()));
    for (table, rows) in F::TABLES.iter().zip(wanted) {
        assert!(dump(store, table).await == rows, "{} differs", table.name);
    }
}
