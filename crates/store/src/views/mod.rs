//! Queries of each view's tables, one file per view.

pub mod follow_ups;
pub mod mot;
pub mod sources;
pub mod timeline;

use crate::ViewSpec;
use domain::views::follow_ups::FollowUps;
use domain::views::mot::Mot;
use domain::views::timeline::Timeline;
use domain::views::{EventRows as _, PatientFold as _, View};

/// What the store keeps of a view.
#[must_use]
pub const fn spec(view: View) -> ViewSpec {
    let (version, tables, state) = match view {
        View::Timeline => (Timeline::VERSION, Timeline::TABLES, false),
        View::Mot => (Mot::VERSION, Mot::TABLES, true),
        View::FollowUps => (FollowUps::VERSION, FollowUps::TABLES, true),
    };
    ViewSpec { name: view.as_str(), version, tables, state }
}
