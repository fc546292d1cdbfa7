//! The one loop that reads the log, folds events and writes a view: [`run`].
//!
//! Every record ends as rows, as a recognised duplicate, as an event that the view does not use, or as a dead letter. It must
//! never acknowledge to the log what the store has not committed, and never write a partition whose checkpoint another
//! owner has moved.

mod dispatch;
mod event_rows;
mod folded;
mod follow;
mod isolate;
mod limited;
mod options;
mod patient;
mod prepare;
pub mod rebuild;
mod redrive;
mod replay;
mod retry;
mod sorted;
mod start;
mod verify;
mod writer;

pub use dispatch::run;
pub use event_rows::Rows;
pub use folded::Folded;
pub use follow::follow;
pub use limited::Limited;
pub use options::{Options, ProjectorError};
pub use patient::{Checked, Difference, Scope};
pub use redrive::{Decision, Redriven, redrive};
pub use replay::{Replayed, replay};
pub use start::made_from;
pub use verify::{Finding, Progress, Report, Thoroughness, verify, watch};

use domain::Event;
use domain::table::Row;
use eventlog::Position;
use std::future::Future;
use std::sync::Arc;
use store::{Generation, StoreError, Tx, ViewSpec};

/// How a view takes events: what it keeps of each, and how it writes a batch of that.
///
/// [`Folded`] makes one of a `PatientFold`, [`Rows`] of an `EventRows`.
pub trait Projection: Send + Sync + 'static {
    /// What is kept of an event until it is written.
    type Item: Send + Sync;

    /// The view's name and tables.
    fn spec(&self) -> ViewSpec;

    /// What the view keeps of an event; `None` when the event means nothing to it. Pure.
    fn item(&self, event: Event, position: Position) -> Option<Self::Item>;

    /// What items make from nothing: all there is of their keys, in the log's order. Pure.
    fn build(&self, items: Vec<Self::Item>) -> Built;

    /// The key of the log's records whose rows lie under `key`.
    fn record_key<'k>(&self, key: &'k str) -> &'k str;

    /// Whether two states say the same, however they are written down.
    fn same_state(&self, a: &[u8], b: &[u8]) -> bool;

    /// Whether a state knows every event that another one knows; `false` where either can't be read.
    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool;

    /// Writes items, in the log's order, and says which it could not take.
    ///
    /// # Errors
    /// Those of the database. Then the transaction is rolled back and tried again; where the database refuses the data, with
    /// fewer items.
    fn write(
        &self,
        tx: &mut Tx,
        generation: &Generation,
        items: &[&Self::Item],
    ) -> impl Future<Output = Result<Vec<Rejected>, StoreError>> + Send;
}

impl<P: Projection> Projection for Arc<P> {
    type Item = P::Item;

    fn spec(&self) -> ViewSpec {
        (**self).spec()
    }

    fn item(&self, event: Event, position: Position) -> Option<Self::Item> {
        (**self).item(event, position)
    }

    fn build(&self, items: Vec<Self::Item>) -> Built {
        (**self).build(items)
    }

    fn record_key<'k>(&self, key: &'k str) -> &'k str {
        (**self).record_key(key)
    }

    fn same_state(&self, a: &[u8], b: &[u8]) -> bool {
        (**self).same_state(a, b)
    }

    fn has_all(&self, whole: &[u8], part: &[u8]) -> bool {
        (**self).has_all(whole, part)
    }

    fn write(
        &self,
        tx: &mut Tx,
        generation: &Generation,
        items: &[&Self::Item],
    ) -> impl Future<Output = Result<Vec<Rejected>, StoreError>> + Send {
        (**self).write(tx, generation, items)
    }
}

/// What a generation holds of some keys.
#[derive(Debug, Default)]
pub struct Built {
    /// Rows, one list per table of the view.
    pub tables: Vec<Vec<Row>>,
    /// Rows of the state table, where the view has one.
    pub states: Vec<Row>,
    /// Items that the view could not take.
    pub rejected: Vec<Rejected>,
}

/// An item that a view could not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the batch.
    pub index: usize,
    /// A short code.
    pub code: &'static str,
    /// Why, in words; never a patient's data.
    pub reason: &'static str,
    /// Whether later records of its key have to wait behind it.
    pub parks: bool,
    /// Whether it is sound itself and waits behind another.
    pub behind: bool,
}

impl Rejected {
    /// The database refuses what the view makes of this event.
    const fn unstorable(index: usize) -> Self {
        let reason = "the database refuses the view's rows with this event";
        Self { index, code: "unstorable", reason, parks: true, behind: false }
    }

    /// Another event lies under this event's id.
    const fn conflict(index: usize) -> Self {
        let reason = "another event was taken under this event id";
        Self { index, code: "conflict", reason, parks: false, behind: false }
    }
}
