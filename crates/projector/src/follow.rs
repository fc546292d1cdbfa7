//! Keeps every generation of a view that is to be kept up to date at the end of the log.

use crate::dispatch::run;
use crate::retry::Retry;
use crate::{Options, Projection, ProjectorError};
use eventlog::Log;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{GenerationInfo, State, Store, StoreError, ViewSpec};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often a process looks which generations there are, and whether the view is paused.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// Projects the log into the view's generations until `cancel`. What operators decide (pause, resume, a further generation, a
/// dropped one) is obeyed within a second. `make` gives the projection that a generation is made by.
///
/// # Errors
/// When the log or the store fails for good, or longer than the options' patience.
pub async fn follow<P: Projection>(
    spec: ViewSpec,
    make: impl Fn(&GenerationInfo) -> Result<P, StoreError>,
    log: Arc<dyn Log>,
    store: Store,
    options: Options,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let mut retry = Retry::new(options.patience);
    loop {
        match store.ensure_view(spec).await {
            Ok(_) => break,
            Err(e) if e.is_transient() && retry.again(&cancel).await => {}
            Err(_) if cancel.is_cancelled() => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    let mut running: BTreeMap<i64, CancellationToken> = BTreeMap::new();
    let mut tasks: JoinSet<(i64, Result<(), ProjectorError>)> = JoinSet::new();
    let result = loop {
        match wanted(&store, spec).await {
            Ok(wanted) => {
                for (number, stop) in &running {
                    if wanted.iter().all(|g| g.number != *number) {
                        stop.cancel();
                    }
                }
                for info in wanted {
                    if running.contains_key(&info.number) {
                        continue;
                    }
                    let generation = match store.generation(spec, info.number).await {
                        Ok(generation) => generation,
                        Err(e) if e.is_transient() => continue,
                        // Dropped since it was listed.
                        Err(_) if is_gone(&store, spec, info.number).await => continue,
                        Err(e) => return end(running, tasks, Err(e.into())).await,
                    };
                    let view = match make(&info) {
                        Ok(view) => view,
                        Err(e) => return end(running, tasks, Err(e.into())).await,
                    };
                    tracing::info!(view.name = spec.name, view.generation = info.number, "following");
                    let stop = cancel.child_token();
                    let (log, store, options) = (log.clone(), store.clone(), options.clone());
                    running.insert(info.number, stop.clone());
                    tasks.spawn(async move {
                        let number = generation.number;
                        (number, run(view, generation, log, store, options, stop).await)
                    });
                }
            }
            // The projections say themselves when the store stays away.
            Err(e) if e.is_transient() => {}
            Err(e) => break Err(e.into()),
        }
        tokio::select! {
            () = cancel.cancelled() => break Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok((number, Ok(()))) => {
                    running.remove(&number);
                }
                Ok((number, Err(e))) => {
                    if !is_gone(&store, spec, number).await {
                        break Err(e);
                    }
                    // Its tables were dropped under it.
                    tracing::info!(view.name = spec.name, view.generation = number, "no longer followed");
                    running.remove(&number);
                }
                Err(_) => break Err(ProjectorError::Panicked),
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    };
    end(running, tasks, result).await
}

/// The generations to follow now: none while the view is paused.
async fn wanted(store: &Store, spec: ViewSpec) -> Result<Vec<GenerationInfo>, StoreError> {
    if store.paused_since(spec.name).await?.is_some() {
        return Ok(Vec::new());
    }
    let all = store.generations(Some(spec.name)).await?;
    Ok(all.into_iter().filter(|g| g.state == State::Following && (g.active || g.fits(spec))).collect())
}

/// Whether a generation is none to follow any more.
async fn is_gone(store: &Store, spec: ViewSpec, number: i64) -> bool {
    wanted(store, spec).await.is_ok_and(|w| w.iter().all(|g| g.number != number))
}

/// Stops what runs; the first error is the result.
async fn end(
    running: BTreeMap<i64, CancellationToken>,
    mut tasks: JoinSet<(i64, Result<(), ProjectorError>)>,
    mut result: Result<(), ProjectorError>,
) -> Result<(), ProjectorError> {
    running.values().for_each(CancellationToken::cancel);
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_or(Err(ProjectorError::Panicked), |(_, done)| done));
    }
    result
}
