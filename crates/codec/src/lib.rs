//! Event <-> Confluent-framed Avro bytes (0x00, 4-byte schema id, datum), schema ids, compatibility rules.
//!
//! Pure: bytes in, values out. It must never do I/O, and never panic on bytes from outside.

pub mod check;
pub mod compat;
mod frame;
pub mod lock;
pub mod lookup;
mod older;
mod registry;
pub mod tree;

pub use frame::{DecodeError, MAX_DATUM, decode, encode};
pub use registry::{lock, schema_of, unlocked};
