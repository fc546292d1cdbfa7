//! The timeline: every event of a patient, kept as it was published, one row each.
//!
//! Writing is append-only ([`rows::Timeline`]). Journeys, stages, corrections, merges, the pre-visit card, and what was
//! known at an earlier time are put together on reading, by pure functions.

pub mod rows;

pub use rows::Timeline;
