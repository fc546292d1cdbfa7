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
        match store.ensure_view(spec, &options.made_by).await {
            Ok(_) => break,
            Err(e) if e.is_transient() && retry.again(&cancel).await => {}
            Err(_) if cancel.is_cancelled() => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
    let mut all =
        Following { spec, make, log, store, options, cancel, running: BTreeMap::new(), tasks: JoinSet::new() };
    let result = all.run().await;
    all.end(result).await
}

/// What is followed.
struct Following<M> {
    spec: ViewSpec,
    make: M,
    log: Arc<dyn Log>,
    store: Store,
    options: Options,
    cancel: CancellationToken,
    running: BTreeMap<i64, CancellationToken>,
    tasks: JoinSet<(i64, Result<(), ProjectorError>)>,
}

impl<P: Projection, M: Fn(&GenerationInfo) -> Result<P, StoreError>> Following<M> {
    async fn run(&mut self) -> Result<(), ProjectorError> {
        loop {
            match wanted(&self.store, self.spec).await {
                Ok(wanted) => self.take_up(&wanted).await?,
                // The projections say themselves when the store stays away.
                Err(e) if e.is_transient() => {}
                Err(e) => return Err(e.into()),
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    let (number, done) = ended.map_err(|_| ProjectorError::Panicked)?;
                    if let Err(e) = done {
                        if !self.is_gone(number).await {
                            return Err(e);
                        }
                        // Its tables were dropped under it.
                        tracing::info!(view.name = self.spec.name, view.generation = number, "no longer followed");
                    }
                    self.running.remove(&number);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Lets go of what is no longer wanted, and begins to follow what is new.
    async fn take_up(&mut self, wanted: &[GenerationInfo]) -> Result<(), ProjectorError> {
        for (number, stop) in &self.running {
            if wanted.iter().all(|g| g.number != *number) {
                stop.cancel();
            }
        }
        for info in wanted {
            let number = info.number;
            if self.running.contains_key(&number) {
                continue;
            }
            let generation = match self.store.generation(self.spec, number).await {
                Ok(generation) => generation,
                Err(e) if e.is_transient() => continue,
                // Dropped since it was listed.
                Err(_) if self.is_gone(number).await => continue,
                Err(e) => return Err(e.into()),
            };
            let view = (self.make)(info)?;
            tracing::info!(view.name = self.spec.name, view.generation = number, "following");
            let stop = self.cancel.child_token();
            self.running.insert(number, stop.clone());
            let (log, store, options) = (self.log.clone(), self.store.clone(), self.options.clone());
            self.tasks.spawn(async move { (number, run(view, generation, log, store, options, stop).await) });
        }
        Ok(())
    }

    /// Whether a generation is none to follow any more.
    async fn is_gone(&self, number: i64) -> bool {
        wanted(&self.store, self.spec).await.is_ok_and(|w| w.iter().all(|g| g.number != number))
    }

    /// Stops what runs; the first error is the result.
    async fn end(mut self, mut result: Result<(), ProjectorError>) -> Result<(), ProjectorError> {
        self.running.values().for_each(CancellationToken::cancel);
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(ended.map_or(Err(ProjectorError::Panicked), |(_, done)| done));
        }
        result
    }
}

/// The generations to follow now: none while the view is paused.
async fn wanted(store: &Store, spec: ViewSpec) -> Result<Vec<GenerationInfo>, StoreError> {
    if store.paused_since(spec.name).await?.is_some() {
        return Ok(Vec::new());
    }
    let all = store.generations(Some(spec.name)).await?;
    Ok(all.into_iter().filter(|g| g.state == State::Following && (g.active || g.fits(spec))).collect())
}
