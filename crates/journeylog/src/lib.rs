//! What the door adds to the services behind it.

pub mod simulate;
