//! View tables, checkpoints, dead letters, generations, migrations: PostgreSQL and SQLite behind one interface.
//!
//! Rows, dead letters and checkpoint of a batch go in one transaction, or not at all. It must never know an event.

pub mod engine;
pub mod views;

pub use engine::{Durability, Engine, Row, StoreError, Target, Tx};
