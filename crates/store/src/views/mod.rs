//! Queries of each view's tables, one file per view.

pub mod follow_ups;
pub mod mot;
pub mod timeline;
