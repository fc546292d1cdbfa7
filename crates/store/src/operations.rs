//! The account of operations: who did what to the views, when, why, and with what result. Rows are added, never changed.

use crate::{Store, StoreError, now_ms};
use domain::table::Value;
use uuid::Uuid;

/// What somebody is about to do.
#[derive(Debug, Clone, Default)]
pub struct NewOperation<'a> {
    /// Who.
    pub operator: &'a str,
    /// What, such as `rebuild`.
    pub operation: &'a str,
    /// To which view, if to one.
    pub view: Option<&'a str>,
    /// To which of its generations, if that is known.
    pub generation: Option<i64>,
    /// Why, in the operator's words.
    pub reason: Option<&'a str>,
    /// How, as JSON; never a patient's data.
    pub detail: String,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did what it was asked for.
    Done,
    /// It could not.
    Failed,
    /// It was told to end before it was through.
    Interrupted,
}

impl Ended {
    /// Its name in the account.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An operation as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// Who.
    pub operator: String,
    /// What.
    pub operation: String,
    /// To which view.
    pub view: Option<String>,
    /// To which of its generations.
    pub generation: Option<i64>,
    /// Why.
    pub reason: Option<String>,
    /// How, as JSON.
    pub detail: String,
    /// When it began, milliseconds since 1970.
    pub begun_ms: i64,
    /// When it ended; nothing while it runs, or when it was killed.
    pub ended_ms: Option<i64>,
    /// `done`, `failed` or `interrupted`; nothing while it runs.
    pub outcome: Option<String>,
    /// What came of it, as JSON.
    pub result: Option<String>,
}

impl Store {
    /// Writes down that an operation begins; its id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operation_begins(&self, o: &NewOperation<'_>) -> Result<String, StoreError> {
        let id = Uuid::now_v7().to_string();
        let sql = "INSERT INTO operations (id, phase, at_ms, operator, operation, view, generation, reason, detail) \
                   VALUES ($1, 'begun', $2, $3, $4, $5, $6, $7, $8)";
        let args: [Value; 8] = [
            id.as_str().into(),
            now_ms().into(),
            o.operator.into(),
            o.operation.into(),
            o.view.into(),
            o.generation.into(),
            o.reason.into(),
            o.detail.as_str().into(),
        ];
        self.engine().execute(sql, &args).await?;
        Ok(id)
    }

    /// Writes down how an operation ended; `generation` where only its course told which.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operation_ends(
        &self,
        id: &str,
        how: Ended,
        generation: Option<i64>,
        result: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO operations (id, phase, at_ms, operator, operation, generation, detail) \
                   SELECT id, $2, $3, operator, operation, $4, $5 FROM operations WHERE id = $1 AND phase = 'begun'";
        let args: [Value; 5] = [id.into(), how.as_str().into(), now_ms().into(), generation.into(), result.into()];
        self.engine().execute(sql, &args).await?;
        Ok(())
    }

    /// The last operations, the latest first: of one view or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn operations(&self, view: Option<&str>, limit: usize) -> Result<Vec<Operation>, StoreError> {
        let sql = format!(
            "SELECT b.id, b.operator, b.operation, b.view, COALESCE(e.generation, b.generation), b.reason, b.detail, \
             b.at_ms, e.at_ms, e.phase, e.detail FROM operations b \
             LEFT JOIN operations e ON e.id = b.id AND e.phase <> 'begun' \
             WHERE b.phase = 'begun' AND ($1 = '' OR b.view = $1) ORDER BY b.at_ms DESC, b.id DESC LIMIT {limit}"
        );
        let rows = self.engine().query(&sql, &[view.unwrap_or_default().into()]).await?;
        let text = |r: &crate::Row, i| r.opt_text(i).map(str::to_owned);
        Ok(rows
            .iter()
            .map(|r| Operation {
                id: r.text(0).into(),
                operator: r.text(1).into(),
                operation: r.text(2).into(),
                view: text(r, 3),
                generation: r.opt_int(4),
                reason: text(r, 5),
                detail: r.text(6).into(),
                begun_ms: r.int(7),
                ended_ms: r.opt_int(8),
                outcome: text(r, 9),
                result: text(r, 10),
            })
            .collect())
    }
}
