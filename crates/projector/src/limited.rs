//! A view as of a time or a position.

use crate::{Built, Projection, Rejected};
use domain::Event;
use domain::views::Until;
use eventlog::Position;
use store::{Generation, StoreError, Tx, ViewSpec};

/// A projection that takes in only what belongs to the past that is asked for.
#[derive(Debug, Clone)]
pub struct Limited<P> {
    /// The view.
    pub view: P,
    /// Its end; nothing: it takes in everything.
    pub until: Option<Until>,
}

impl<P: Projection> Projection for Limited<P> {
    type Item = P::Item;

    fn spec(&self) -> ViewSpec {
        self.view.spec()
    }

    fn item(&self, event: Event, position: Position) -> Option<P::Item> {
        match &self.until {
            Some(until) if !until.takes(&event, position.partition, position.offset) => None,
            _ => self.view.item(event, position),
        }
    }

    fn build(&self, items: Vec<P::Item>) -> Built {
        self.view.build(items)
    }

    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        self.view.record_key(key)
    }

    fn same_state(&self, a: &[u8], b: &[u8]) -> bool {
        self.view.same_state(a, b)
    }

    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool {
        self.view.has_all(whole, part)
    }

    async fn write(&self, tx: &mut Tx, g: &Generation, items: &[&P::Item]) -> Result<Vec<Rejected>, StoreError> {
        self.view.write(tx, g, items).await
    }
}
