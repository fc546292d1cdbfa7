//! The timeline: every event of a patient, kept as it was published, one row each.
//!
//! Writing is append-only ([`rows`]). Who is who ([`identity`]), order, journeys, stages, corrections ([`assemble`](mod@assemble)) and the
//! pre-visit card ([`card`](mod@card)) are put together on reading, by pure functions.

pub mod assemble;
pub mod card;
pub mod identity;
pub mod rows;

#[cfg(test)]
mod fixtures;

pub use assemble::{Assembled, Entry, Journey, Status, Stored, assemble};
pub use card::{Card, card};
pub use rows::Timeline;
