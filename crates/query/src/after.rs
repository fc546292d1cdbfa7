//! `?after=<position>`: wait until a view has seen a write.

use crate::{App, Problem};
use axum::http::StatusCode;
use domain::views::View;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How soon the checkpoints are looked at again while a reader waits; later a tenth of the time that it has waited.
const POLL: Duration = Duration::from_millis(2);
/// Most positions in one token.
const MAX_POSITIONS: usize = 1024;

/// Positions in the log, at most one per partition: `partition:offset[,partition:offset…]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(pub BTreeMap<u32, u64>);

impl Position {
    /// Reads a token.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(token: &str) -> Result<Self, Problem> {
        let bad = || Problem::bad_field("after", "not a position as publishing returns it, such as 3:1042");
        let parts: Vec<&str> = token.split(',').collect();
        if parts.len() > MAX_POSITIONS {
            return Err(bad());
        }
        let mut all = BTreeMap::new();
        for part in parts {
            let (p, o) = part.split_once(':').ok_or_else(bad)?;
            let (p, o): (u32, u64) = (p.parse().map_err(|_| bad())?, o.parse().map_err(|_| bad())?);
            let e = all.entry(p).or_insert(o);
            *e = (*e).max(o);
        }
        Ok(Self(all))
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (p, o)) in self.0.iter().enumerate() {
            write!(f, "{}{p}:{o}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl App {
    /// The next offset of each partition that a view's active generation has seen.
    async fn positions(&self, view: View) -> Result<BTreeMap<u32, u64>, Problem> {
        let sql = "SELECT c.partition, c.next_offset FROM checkpoints c JOIN generations g \
                   ON g.view = c.view AND g.generation = c.generation WHERE g.active = 1 AND c.view = $1";
        let rows = self.store.engine().query(sql, &[view.as_str().into()]).await?;
        Ok(rows.iter().filter_map(|r| Some((u32::try_from(r.int(0)).ok()?, u64::try_from(r.int(1)).ok()?))).collect())
    }

    /// Refuses a position in a partition that there is not: a view that has begun with other partitions would never see it.
    ///
    /// # Errors
    /// 400 where neither the view nor the log has it.
    pub(crate) async fn must_exist(&self, wanted: &Position, seen: &[u32]) -> Result<(), Problem> {
        let Some(last) = wanted.0.keys().filter(|p| !seen.contains(p)).max() else { return Ok(()) };
        if seen.is_empty() {
            return Ok(());
        }
        // A partition of the log has no checkpoint until its projector begins. Where the log can't be asked, readers wait.
        let ends = tokio::time::timeout(self.after_limit, self.publish.ends()).await;
        match ends {
            Ok(Ok(ends)) if u32::try_from(ends.len()).is_ok_and(|n| *last >= n) => {
                Err(Problem::bad_field("after", "names a partition that the log does not have"))
            }
            _ => Ok(()),
        }
    }

    /// Waits until `view` has seen the positions of `after`, and says up to where it has seen.
    ///
    /// # Errors
    /// 400 for a token that is none, and for a partition that there is not; 504 when the view has not come so far within the
    /// limit.
    pub async fn wait_for(&self, view: View, after: Option<&str>) -> Result<Position, Problem> {
        let wanted = after.map(Position::parse).transpose()?.unwrap_or_default();
        let begun = Instant::now();
        let mut checked = false;
        loop {
            let next = self.positions(view).await?;
            if wanted.0.iter().all(|(p, o)| next.get(p).is_some_and(|n| n > o)) {
                return Ok(Position(next.into_iter().filter_map(|(p, n)| Some((p, n.checked_sub(1)?))).collect()));
            }
            if !std::mem::replace(&mut checked, true) {
                self.must_exist(&wanted, &next.keys().copied().collect::<Vec<_>>()).await?;
            }
            if begun.elapsed() >= self.after_limit {
                let mut p = Problem::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "not-yet",
                    "Not yet",
                    format!(
                        "the view {} has not seen this position within {} ms",
                        view.as_str(),
                        self.after_limit.as_millis()
                    ),
                );
                p.retry_after = Some(1);
                return Err(p);
            }
            tokio::time::sleep(POLL.max(begun.elapsed() / 10)).await;
        }
    }
}
