//! What operators do to views while they run: each is written down in the account of operations.

use crate::settings::{OPERATOR, Settings};
use anyhow::{Context as _, bail};
use domain::views::View;
use eventlog::{Log, LogError};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Ended, NewOperation, Store};
use tokio_util::sync::CancellationToken;

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
pub const USAGE: u8 = 2;
/// Most characters of a reason that is kept.
const MAX_REASON: usize = 1_000;

/// Why somebody does something, as given on the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Why {
    /// Why, for the account of operations.
    #[arg(long, value_parser = reason)]
    pub reason: Option<String>,
}

/// A reason has words in it, on one line.
pub fn reason(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("say why, or leave it out where it isn't demanded");
    }
    if text.contains(char::is_control) {
        return Err("a reason is one line, without control characters");
    }
    Ok(text.to_owned())
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

/// An operation that `cancel` may end before it is through: an error then says what that means, or what it ran into on its way out,
/// and is no failure of its own.
pub async fn interruptible(
    cancel: &CancellationToken,
    work: impl Future<Output = anyhow::Result<Done>>,
) -> anyhow::Result<Done> {
    match work.await {
        Err(e) if cancel.is_cancelled() => {
            let what = format!("interrupted: {e:#}");
            tell(format_args!("journeylog: {what}"));
            let done = Done::of(None, json!({"error": what}));
            Ok(Done { code: ExitCode::FAILURE, interrupted: true, ..done })
        }
        ended => ended,
    }
}

/// An operation of steps that are each whole: Ctrl-C gives up the one under way.
pub async fn step_by_step(work: impl Future<Output = anyhow::Result<Done>>) -> anyhow::Result<Done> {
    let cancel = crate::signals::interrupted()?;
    let work = async {
        tokio::select! {
            biased;
            done = work => done,
            () = cancel.cancelled() => bail!("what is done stays; what was under way is rolled back, or was just done: look before you do it again"),
        }
    };
    interruptible(&cancel, work).await
}

/// Writes a line to whoever reads; where nobody does any more, the operation goes on all the same.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The same to standard error.
pub fn tell(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

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
    match projector::made_from(log, &checkpoints).await {
        Err(misfit @ LogError::Configuration(_)) => {
            let name = view.as_str();
            Err(misfit).context(format!("generation {generation} of {name} doesn't fit this log"))
        }
        done => done.context("log"),
    }
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
        operator: &operator().map_err(anyhow::Error::msg)?,
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
                .with_context(|| format!("it is {}, but the account of operations doesn't say so", how.as_str()))?;
            Ok(done.code)
        }
        Err(e) => {
            let result = json!({"error": format!("{e:#}")}).to_string();
            // What went wrong matters more than whether it could be written down.
            let _ = store.operation_ends(&id, Ended::Failed, None, &result).await;
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
pub fn operator() -> Result<String, String> {
    for name in [OPERATOR, "SUDO_USER", "USER"] {
        match std::env::var(name) {
            Err(std::env::VarError::NotPresent) => {}
            Ok(who) if who.is_empty() => {}
            Ok(who) if !who.contains(char::is_control) => return Ok(who),
            _ if name == OPERATOR => return Err(format!("{name} must be UTF-8 without control characters")),
            _ => {}
        }
    }
    Ok("unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_account_says_how_it_ended() {
        let store = Store::connect("sqlite::memory:", 1).await.unwrap();
        let failed = || Err(anyhow::anyhow!("the log went away").context("rebuild"));
        for (told, end, wanted) in [
            (false, Ok(Done::of(None, json!({}))), "done"),
            // It was through before it looked.
            (true, Ok(Done::of(None, json!({}))), "done"),
            (true, Ok(Done { interrupted: true, ..Done::of(None, json!({"interrupted": true})) }), "interrupted"),
            (true, failed(), "interrupted"),
            (false, failed(), "failed"),
        ] {
            let cancel = CancellationToken::new();
            let work = interruptible(&cancel, async {
                if told {
                    cancel.cancel();
                }
                end
            });
            let _ = audited(&store, "verify", None, None, &Why::default(), json!({}), work).await;
            let last = store.operations(None, 1).await.unwrap().remove(0);
            assert_eq!(last.outcome.as_deref(), Some(wanted), "{last:?}");
            // The next one is later.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
