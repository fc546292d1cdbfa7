//! The three views, as the roles take them.

use crate::settings::Settings;
use anyhow::Context as _;
use domain::views::mot::{Mot, Standards};
use domain::views::{MadeBy, View};
use eventlog::Log;
use projector::{Limited, Options, ProjectorError};
use std::sync::Arc;
pub use store::views::spec;
use store::{GenerationInfo, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How a generation is made.
pub fn made_by(generation: &GenerationInfo) -> Result<MadeBy, StoreError> {
    let unread = |e| StoreError::Data(format!("options of generation {}: {e}", generation.number));
    serde_json::from_str(&generation.options).map_err(unread)
}

/// How a generation of a view is made by the configuration, as it is kept with one.
pub fn configured(view: View, mot: &Mot) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&MadeBy::configured(view, mot))?)
}

/// Names of the standards by which a generation is made, where those are others than the configured ones.
pub fn named(generation: &GenerationInfo, configured: &Mot) -> Result<Option<String>, StoreError> {
    if mot_of(generation, configured)?.standards().all() == configured.standards().all() {
        return Ok(None);
    }
    let files = made_by(generation)?.standards.unwrap_or_default();
    Ok(Some(files.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")))
}

/// Says where readers see scores by other standards than the configured ones.
pub async fn other_standards(store: &Store, configured: &Mot) -> anyhow::Result<Option<String>> {
    let all = store.generations(Some(View::Mot.as_str())).await?;
    let Some(active) = all.iter().find(|g| g.active) else { return Ok(None) };
    let number = active.number;
    Ok(named(active, configured)?.map(|_| {
        format!(
            "generation {number} of mot is made by other standards than the configured ones: `journeylog rebuild mot --accept-differences` takes these up"
        )
    }))
}

/// Scoring as a generation does.
pub fn mot_of(generation: &GenerationInfo, configured: &Mot) -> Result<Mot, StoreError> {
    let unread = |e| StoreError::Data(format!("standards of generation {}: {e}", generation.number));
    made_by(generation)?.mot(configured).map_err(unread)
}

/// A view that ends where its generation does.
pub fn limited<P>(generation: &GenerationInfo, view: P) -> Result<Limited<P>, StoreError> {
    Ok(Limited { view, until: made_by(generation)?.until })
}

/// Runs `$body` with `$make`, which gives the projection of a generation of `$view`.
macro_rules! with_view {
    ($view:expr, $mot:expr, |$make:ident| $body:expr) => {{
        use $crate::views::limited;
        let mot: domain::views::mot::Mot = $mot;
        match $view {
            domain::views::View::Timeline => {
                let $make = |g: &store::GenerationInfo| {
                    limited(g, projector::Rows("timeline", domain::views::timeline::Timeline))
                };
                $body
            }
            domain::views::View::Mot => {
                let $make = move |g: &store::GenerationInfo| {
                    limited(g, projector::Folded("mot", $crate::views::mot_of(g, &mot)?))
                };
                $body
            }
            domain::views::View::FollowUps => {
                let $make = |g: &store::GenerationInfo| {
                    limited(g, projector::Folded("follow_ups", domain::views::follow_ups::FollowUps))
                };
                $body
            }
        }
    }};
}

pub(crate) use with_view;

/// Compares a view with the log for ever, `keys_per_s` keys per second.
pub async fn watch(view: View, mot: Mot, log: Arc<dyn Log>, store: Store, keys_per_s: f64, cancel: CancellationToken) {
    with_view!(view, mot, |make| projector::watch(spec(view), make, log, store, keys_per_s, cancel).await);
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
    with_view!(view, mot, |make| projector::follow(spec(view), make, log, store, options, cancel).await)
}

/// Scoring by the configured standards.
pub fn mot(settings: &Settings) -> anyhow::Result<Mot> {
    let dir = &settings.mot.standards_dir;
    if dir.is_empty() {
        return Ok(Mot::new(Standards::shipped()));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("mot.standards_dir {dir}"))? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            files.push((entry.file_name().to_string_lossy().into_owned(), text));
        }
    }
    Ok(Mot::new(Standards::parse(&files).with_context(|| format!("mot.standards_dir {dir}"))?))
}
