//! What users of the read API do to follow-ups, on its way to the log.

use domain::Event;
use eventlog::Log;
use futures::future::BoxFuture;
use ingest::{Prepared, Publisher};
use query::Problem;
use std::sync::Arc;

/// The read API's way to the log: the same publisher as the gateway's.
pub struct Outbox {
    pub publisher: Arc<Publisher>,
    pub log: Arc<dyn Log>,
}

impl query::Publish for Outbox {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<query::Published, Problem>> {
        Box::pin(async move {
            let prepared =
                Prepared::new(event, &domain::parse::Limits::default(), ingest::now()).map_err(|errors| {
                    let mut p = Problem::bad_field("", "the event would not be valid");
                    p.errors = errors;
                    p
                })?;
            match self.publisher.publish(&[prepared]).await.pop() {
                Some(Ok(a)) => Ok(query::Published {
                    position: format!("{}:{}", a.position.partition, a.position.offset),
                    duplicate: a.duplicate,
                }),
                Some(Err(ingest::Refusal::Conflict)) => {
                    Err(Problem::conflict("another event was accepted under this id"))
                }
                Some(Err(e)) => Err(Problem::unavailable(&e)),
                None => Err(Problem::conflict("nothing was published")),
            }
        })
    }

    fn ends(&self) -> BoxFuture<'_, Result<Vec<u64>, Problem>> {
        Box::pin(async move {
            let bounds = self.log.bounds().await.map_err(|e| Problem::unavailable(&e))?;
            Ok(bounds.into_iter().map(|b| b.1).collect())
        })
    }
}
