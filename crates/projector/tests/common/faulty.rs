//! A view with a fault, as a version of the program might have one.

use domain::Event;
use eventlog::Position;
use journeylog_projector::{Built, Projection, Rejected};
use std::sync::Arc;
use store::{Generation, StoreError, Tx, ViewSpec};

/// Changes what is built.
pub type Fault = fn(&mut Built);

/// Does as `view` does, but for its faults.
#[derive(Clone)]
pub struct Faulty<P> {
    pub view: P,
    /// Sees each event before it is taken, and may panic.
    pub item: Arc<dyn Fn(&Event) + Send + Sync>,
    pub build: Fault,
    /// Told how many items each transaction writes.
    pub written: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<P> Faulty<P> {
    /// Without a fault.
    pub fn new(view: P) -> Self {
        Self { view, item: Arc::new(|_| {}), build: |_| {}, written: Arc::new(|_| {}) }
    }
}

impl<P: Projection> Projection for Faulty<P> {
    type Item = P::Item;
    fn spec(&self) -> ViewSpec {
        self.view.spec()
    }
    fn item(&self, event: Event, position: Position) -> Option<P::Item> {
        (self.item)(&event);
        self.view.item(event, position)
    }
    fn build(&self, items: Vec<P::Item>) -> Built {
        let mut built = self.view.build(items);
        (self.build)(&mut built);
        built
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
        (self.written)(items.len());
        self.view.write(tx, g, items).await
    }
}
