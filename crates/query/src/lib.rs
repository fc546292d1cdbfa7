//! The read API: timelines, scores, follow-ups, and how far each view has come.
//!
//! It reads views and never folds the log. What a user does to a follow-up becomes an event through [`Publish`]; this crate
//! knows neither the log nor the gateway.

use axum::Router;
use domain::{Event, Micros};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use store::Store;

pub mod after;
pub mod card;
mod docs;
pub mod follow_ups;
pub mod mot;
pub mod paging;
pub mod problem;
mod reading;
pub mod sources;
pub mod status;
pub mod timeline;

pub use docs::openapi;
pub use problem::Problem;

/// Publishes an event that a user of the read API caused.
pub trait Publish: Send + Sync {
    /// Publishes, and answers once the event is durable with its position (`partition:offset`).
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<Published, Problem>>;

    /// The offset after the log's last event, of each partition; views lag behind these.
    fn ends(&self) -> BoxFuture<'_, Result<Vec<u64>, Problem>>;
}

/// Where a published event lies.
#[derive(Debug, Clone)]
pub struct Published {
    /// Position token, `partition:offset`.
    pub position: String,
    /// Whether the same event had been published before.
    pub duplicate: bool,
}

/// What changes answers besides the events: the program's version, and the standards in force. Part of every ETag.
#[must_use]
pub fn edition(mot: &domain::views::mot::Mot) -> String {
    format!("{} {:?}", env!("CARGO_PKG_VERSION"), mot.standards().all())
}

/// What the handlers share.
pub struct App {
    /// The views.
    pub store: Store,
    /// The way to the log.
    pub publish: Arc<dyn Publish>,
    /// The clock. Handlers pass its answer to the pure functions that need one.
    pub now: fn() -> Micros,
    /// Scoring by the standards in force, for explanations.
    pub mot: Arc<domain::views::mot::Mot>,
    /// See [`edition`].
    pub edition: String,
    /// How long `?after=` waits before it gives up.
    pub after_limit: Duration,
}

/// All routes of the read API.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(status::routes())
        .merge(timeline::routes())
        .merge(card::routes())
        .merge(follow_ups::routes())
        .merge(mot::routes())
        .merge(sources::routes())
        .with_state(app)
}

#[cfg(test)]
mod tests {
    use domain::views::mot::{Mot, Standards};

    #[test]
    fn other_standards_are_another_edition() {
        let text = include_str!("../../../schemas/standards/2019-01.toml");
        let only = Mot::new(Standards::parse(&[("only.toml", text)]).unwrap());
        assert_ne!(super::edition(&only), super::edition(&Mot::new(Standards::shipped())));
        assert_eq!(super::edition(&only), super::edition(&only.clone()));
    }
}
