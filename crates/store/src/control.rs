//! What operators decide about a view: pausing it.

use crate::{Store, StoreError, now_ms};

impl Store {
    /// Since when a view is paused, milliseconds since 1970; `None` while it isn't.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn paused_since(&self, view: &str) -> Result<Option<i64>, StoreError> {
        let rows = self.engine().query("SELECT since_ms FROM paused WHERE view = $1", &[view.into()]).await?;
        Ok(rows.first().map(|r| r.int(0)))
    }

    /// Pauses a view, or lets it go on; whether that changed anything. Projectors obey within a second.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn pause(&self, view: &str, paused: bool) -> Result<bool, StoreError> {
        let done = if paused {
            let sql = "INSERT INTO paused (view, since_ms) VALUES ($1, $2) ON CONFLICT (view) DO NOTHING";
            self.engine().execute(sql, &[view.into(), now_ms().into()]).await?
        } else {
            self.engine().execute("DELETE FROM paused WHERE view = $1", &[view.into()]).await?
        };
        Ok(done > 0)
    }
}
