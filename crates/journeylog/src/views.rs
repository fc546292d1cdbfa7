//! The three views, as the roles take them.

use crate::settings::Settings;
use anyhow::Context as _;
use domain::views::mot::{Mot, Standards};
use domain::views::{EventRows as _, PatientFold as _, View, follow_ups::FollowUps, timeline::Timeline};
use eventlog::Log;
use projector::{Folded, Options, ProjectorError, Rows};
use std::sync::Arc;
use store::{Store, ViewSpec};
use tokio_util::sync::CancellationToken;

/// What the store keeps of each view.
pub fn specs() -> [ViewSpec; 3] {
    View::ALL.map(|view| {
        let (tables, state) = match view {
            View::Timeline => (Timeline::TABLES, false),
            View::Mot => (Mot::TABLES, true),
            View::FollowUps => (FollowUps::TABLES, true),
        };
        ViewSpec { name: view.as_str(), tables, state }
    })
}

/// Runs the projector of a view until it is cancelled.
pub async fn project(
    view: View,
    mot: Mot,
    log: Arc<dyn Log>,
    store: Store,
    options: Options,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let name = view.as_str();
    match view {
        View::Timeline => projector::run(Rows(name, Timeline), log, store, options, cancel).await,
        View::Mot => projector::run(Folded(name, mot), log, store, options, cancel).await,
        View::FollowUps => projector::run(Folded(name, FollowUps), log, store, options, cancel).await,
    }
}

/// Scoring by the configured standards.
pub fn mot(settings: &Settings) -> anyhow::Result<Mot> {
    let dir = &settings.mot.standards_dir;
    if dir.is_empty() {
        return Ok(Mot::new(Standards::shipped()));
    }
    let mut files = Vec::new();
    for file in std::fs::read_dir(dir).with_context(|| format!("mot.standards_dir {dir}"))? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            files.push((path.display().to_string(), text));
        }
    }
    Ok(Mot::new(Standards::parse(&files).context("mot.standards_dir")?))
}
