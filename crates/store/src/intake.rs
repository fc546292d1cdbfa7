//! What the gateways took and refused: counts by source and week.

use crate::{Durability, Store, StoreError};
use domain::table::Value;

/// A count of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeCount {
    /// The sender.
    pub source: String,
    /// How it sent, such as `http`.
    pub protocol: String,
    /// Weeks since Monday, 1969-12-29.
    pub week: i64,
    /// `accepted`, `duplicate`, `ignored` or `refused`.
    pub result: String,
    /// Why it was refused; empty otherwise.
    pub reason: String,
    /// How many.
    pub messages: i64,
}

impl Store {
    /// Adds counts to those that are there, all or none.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_intake(&self, counts: &[IntakeCount]) -> Result<(), StoreError> {
        let mut tx = self.begin(Durability::Full).await?;
        for c in counts {
            let sql = "INSERT INTO intake AS i (source, protocol, week, result, reason, messages) \
                       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source, protocol, week, result, reason) \
                       DO UPDATE SET messages = i.messages + excluded.messages";
            let args: [Value; 6] = [
                c.source.as_str().into(),
                c.protocol.as_str().into(),
                c.week.into(),
                c.result.as_str().into(),
                c.reason.as_str().into(),
                c.messages.into(),
            ];
            tx.execute(sql, &args).await?;
        }
        tx.commit().await
    }

    /// The counts of some weeks, both included, in order of source, week and the rest.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn intake(&self, from_week: i64, to_week: i64) -> Result<Vec<IntakeCount>, StoreError> {
        let sql = "SELECT source, protocol, week, result, reason, messages FROM intake WHERE week BETWEEN $1 AND $2 \
                   ORDER BY source, week, protocol, result, reason";
        let rows = self.engine().query(sql, &[from_week.into(), to_week.into()]).await?;
        let count = |r: &crate::Row| IntakeCount {
            source: r.text(0).into(),
            protocol: r.text(1).into(),
            week: r.int(2),
            result: r.text(3).into(),
            reason: r.text(4).into(),
            messages: r.int(5),
        };
        Ok(rows.iter().map(count).collect())
    }
}
