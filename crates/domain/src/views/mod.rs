//! The views: for each, what it keeps of an event and which rows that makes.

use crate::event::Event;
use crate::facts::Facts;
use crate::table::{Row, Table};
use serde::{Serialize, de::DeserializeOwned};

/// A view whose rows are a pure function of all that a patient's events say.
///
/// The projector loads the facts of the touched patients, adds the batch, and writes the difference between
/// `rows(before)` and `rows(after)`. Nothing here may depend on a clock.
pub trait PatientFold: Send + Sync + 'static {
    /// What the view keeps of one event.
    type Fact: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync;

    /// The tables, in the order in which [`Self::rows`] fills them.
    const TABLES: &'static [Table];

    /// What the view keeps of `event`; `None` when the event means nothing to it.
    fn fact(&self, event: &Event) -> Option<Self::Fact>;

    /// The rows of a patient, one list per table of [`Self::TABLES`].
    fn rows(&self, patient: &str, facts: &Facts<Self::Fact>) -> Vec<Vec<Row>>;
}
