//! The domain: events, ids, parsing, and the folds that make the views.
//!
//! Everything here is pure: values in, values out. It must never read a clock, draw a random number, log, or do I/O;
//! time and ids come in as arguments, and a fold gives the same rows for the same events in whatever order they come.

pub mod amendments;
pub mod avro;
pub mod digests;
pub mod event;
pub mod facts;
pub mod ids;
pub mod inline;
pub mod journeys;
pub mod json;
pub mod parse;
pub mod source;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod toml_error;
pub mod views;

/// A map in a fold: made anew for each patient, with few entries, so that the hash costs more than the map.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

pub use event::{Event, Header, Kind};
pub use ids::{EventId, PatientId};
pub use time::Micros;
