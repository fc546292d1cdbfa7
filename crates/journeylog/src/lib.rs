//! What the door adds to the services behind it: the generator of sample journeys.
//!
//! It must never make a record that a hospital could take for a real patient's, and the same seed always makes the same events.

pub mod simulate;
