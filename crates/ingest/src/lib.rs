//! Takes events in: over HTTP, from HL7 v2 over MLLP, from the Kafka inbox, from NDJSON and from old CSV logs; all of them but the
//! inbox, which moves records within Kafka, end in one [`Publisher`].
//!
//! It must never say yes before the log has confirmed, never drop an input silently, never quote a value that may be
//! personal in a log line, and never import another role.

pub mod connections;
pub mod fhir;
pub mod hl7;
pub mod http;
pub mod import;
pub mod inbox;
pub mod intake;
pub mod money;
pub mod ndjson;
mod numbered;
pub mod problem;
pub mod pseudonyms;
pub mod publisher;
mod recent;
pub mod registry;
pub mod site;

pub use fhir::Fhir;
pub use http::{Gateway, Limits, openapi, router};
pub use import::{ImportError, ImportReport, Mapping, import};
pub use inbox::{Inbox, InboxSettings};
pub use ndjson::{NdjsonLimits, Progress, Refused, Summary, publish_ndjson};
pub use problem::Problem;
pub use publisher::{Accepted, Prepared, Publisher, Refusal, Settings};
pub use site::{Pseudonyms, Site};

/// The wall clock, microseconds since 1970; the only place in this crate that reads it.
#[must_use]
pub fn now() -> domain::Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    domain::Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod testing;
