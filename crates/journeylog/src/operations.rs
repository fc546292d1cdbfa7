//! What operators do to views while they run: each is written down in the account of operations.

use crate::settings::Settings;
use anyhow::{Context as _, bail};
use domain::views::View;
use eventlog::Log;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Ended, NewOperation, Store};

pub mod account;
pub mod backup;
pub mod control;
pub mod dead_letters;
pub mod generations;
pub mod mot;
pub mod rebuild;
pub mod refused;
pub mod replay;
pub mod status;
pub mod verify;

/// Exit code of what was asked for in a way that it isn't done.
const USAGE: u8 = 2;
/// Most characters of a reason that is kept.
const MAX_REASON: usize = 1_000;

/// Why somebody does something, as given on the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Why {
    /// Why, for the account of operations.
    #[arg(long, value_parser = reason)]
    pub reason: Option<String>,
}

/// A reason has words in it.
pub fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() { Err("say why, or leave it out where it isn't demanded") } else { Ok(text.to_owned()) }
}

/// How an operation ended, for the account.
pub struct Done {
    /// The generation, where only its course told which.
    pub generation: Option<i64>,
    /// What came of it; no patient's data.
    pub result: Value,
    pub code: ExitCode,
    /// Whether it was told to end before it was through.
    pub interrupted: bool,
}

impl Done {
    /// What came to its end, and well.
    pub const fn of(generation: Option<i64>, result: Value) -> Self {
        Self { generation, result, code: ExitCode::SUCCESS, interrupted: false }
    }
}

/// An operation was told to end before it was through; what that means for whoever gave it.
#[derive(Debug)]
pub struct Interrupted(pub String);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Opens the configured store.
pub async fn open_store(settings: &Settings, connections: u32) -> anyhow::Result<Store> {
    Store::connect(&settings.store.url, connections).await.context("store")
}

/// Opens the configured log, and makes none: a wrong path would look like an empty log.
pub async fn open_log(settings: &Settings) -> anyhow::Result<Arc<dyn Log>> {
    if let Some(file) = eventlog::file(&settings.log.url).context("log")?.filter(|file| !file.exists()) {
        bail!("log: there is no file {}", file.display());
    }
    crate::commands::open_log(settings).await
}

/// Refuses a log that a generation was not made from: readers would see another log's past.
pub async fn own_log(store: &Store, log: &dyn Log, view: View, generation: i64) -> anyhow::Result<()> {
    let checkpoints = store.checkpoints(view.as_str(), generation).await?;
    if !projector::made_from(log, &checkpoints).await.context("log")? {
        bail!(
            "generation {generation} of {} was not made from this log, or the log is an older copy than the store. Give the \
             store its own log, or begin the view anew (docs/operations/backup.md)",
            view.as_str()
        );
    }
    Ok(())
}

/// Does something and writes down who did it, why, and what came of it.
pub async fn audited(
    store: &Store,
    operation: &str,
    view: Option<View>,
    generation: Option<i64>,
    why: &Why,
    detail: Value,
    work: impl Future<Output = anyhow::Result<Done>>,
) -> anyhow::Result<ExitCode> {
    let reason: Option<String> = why.reason.as_ref().map(|r| r.chars().take(MAX_REASON).collect());
    let new = NewOperation {
        operator: &operator(),
        operation,
        view: view.map(View::as_str),
        generation,
        reason: reason.as_deref(),
        detail: detail.to_string(),
    };
    let id = store.operation_begins(&new).await.context("account of operations")?;
    match work.await {
        Ok(done) => {
            let how = if done.interrupted { Ended::Interrupted } else { Ended::Done };
            store
                .operation_ends(&id, how, done.generation, &done.result.to_string())
                .await
                .context("it is done, but the account of operations doesn't say so")?;
            Ok(done.code)
        }
        Err(e) => {
            let result = json!({"error": format!("{e:#}")}).to_string();
            // What went wrong matters more than whether it could be written down.
            let how = if e.is::<Interrupted>() { Ended::Interrupted } else { Ended::Failed };
            let _ = store.operation_ends(&id, how, None, &result).await;
            Err(e)
        }
    }
}

/// A time for people, to the second: `2 h 5 min`, `40 s`.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs_f64().ceil() as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Who is at the keyboard: JOURNEYLOG_OPERATOR, or the login name.
fn operator() -> String {
    let var = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    var("JOURNEYLOG_OPERATOR").or_else(|| var("SUDO_USER")).or_else(|| var("USER")).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_account_says_how_it_ended() {
        let store = Store::connect("sqlite::memory:", 1).await.unwrap();
        for (end, wanted) in [
            (Ok(Done::of(None, json!({}))), "done"),
            (Ok(Done { interrupted: true, ..Done::of(None, json!({"interrupted": true})) }), "interrupted"),
            (Err(anyhow::Error::from(Interrupted("interrupted".into())).context("rebuild")), "interrupted"),
            (Err(anyhow::anyhow!("the disk is full")), "failed"),
        ] {
            let _ = audited(&store, "verify", None, None, &Why::default(), json!({}), async { end }).await;
            let last = store.operations(None, 1).await.unwrap().remove(0);
            assert_eq!(last.outcome.as_deref(), Some(wanted), "{last:?}");
            // The next one is later.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
