//! Queries of each view's tables, one file per view.

pub mod timeline;
