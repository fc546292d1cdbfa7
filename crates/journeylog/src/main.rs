//! The door: command line, configuration, telemetry, wiring, shutdown.
//!
//! It must never decide what an event means or what a row holds: that is for the crates behind it.

use anyhow::Context as _;
use clap::Parser as _;
use domain::views::View;
use rustix::fs::Mode;
use std::process::ExitCode;

mod cli;
mod commands;
mod health;
mod hl7;
mod http;
mod inbox;
mod intake;
mod operations;
mod outbox;
mod schemas;
mod serve;
mod settings;
mod signals;
mod telemetry;
mod views;

use cli::{Arguments, Command, Way};
use operations::{say, tell};
use serve::{Roles, serve};
use settings::Settings;

/// How long the end of the process waits for threads that are still at something.
const LEAVE: std::time::Duration = std::time::Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Few arenas, and freed pages go back soon: jemalloc would keep those of a catching-up projector's batches for ten seconds. Large
/// pieces are treated as all others, or [`keep_freed_pages`] would not be about them.
// jemalloc looks for this symbol, which nothing else defines; the name is what is unsafe about it
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 67] = b"narenas:2,dirty_decay_ms:200,muzzy_decay_ms:0,oversize_threshold:0\0";

/// For a rebuild, whose large pieces of memory come and go: getting each anew from the kernel takes a fifth of its processor time.
#[allow(unsafe_code)]
fn keep_freed_pages() {
    let mut keep_ms = 10_000_isize;
    for name in [c"arenas.dirty_decay_ms", c"arena.0.dirty_decay_ms", c"arena.1.dirty_decay_ms"] {
        let (none, new) = (std::ptr::null_mut(), std::ptr::from_mut(&mut keep_ms).cast());
        // SAFETY: jemalloc's manual gives these names this type (ssize_t), and the value is copied.
        let failed =
            unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), none, std::ptr::null_mut(), new, size_of::<isize>()) };
        if failed != 0 {
            tracing::debug!(code = failed, "the allocator keeps its pages as it did");
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(why) = operations::operator() {
        tell(format_args!("journeylog: {why}"));
        return ExitCode::from(operations::USAGE);
    }
    // What is made here (the log, the views, backups, samples) is for the eyes of the process' own user, whatever the shell says.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match run(arguments) {
        Ok(code) => code,
        Err(e) => {
            tell(format_args!("journeylog: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The environment, but for what isn't text: there it can't be meant for us, unless its name says so.
fn environment() -> anyhow::Result<Vec<(String, String)>> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    named
        .filter(|(name, _)| name.starts_with("JOURNEYLOG_"))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(anyhow::anyhow!("{name} must be UTF-8")),
        })
        .collect()
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut settings = settings::load(arguments.config.as_deref(), environment()?.into_iter())?;
    if let Some(url) = arguments.log {
        settings.log.url = url;
    }
    if let Some(url) = arguments.store {
        settings.store.url = url;
    }
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    }
    settings.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio runtime")?;
    let code = runtime.block_on(execute(&settings, arguments.command));
    // What still waits for a dead server in a thread of its own must not hold up the end.
    runtime.shutdown_timeout(LEAVE);
    code
}

async fn execute(s: &Settings, command: Command) -> anyhow::Result<ExitCode> {
    use operations::{
        account, backup, control, dead_letters, generations, mot, rebuild, refused, replay, status, verify,
    };
    match command {
        Command::All => {
            let (hl7, inbox) = (!s.hl7.listen.is_empty(), s.inbox.with_all);
            serve(s, "all", Roles { ingest: true, hl7, inbox, query: true, views: View::ALL.to_vec() }).await
        }
        Command::Ingest { way: None } => serve(s, "ingest", Roles { ingest: true, ..Roles::default() }).await,
        Command::Ingest { way: Some(Way::Hl7) } => {
            serve(s, "ingest-hl7", Roles { hl7: true, ..Roles::default() }).await
        }
        Command::Ingest { way: Some(Way::Inbox) } => {
            serve(s, "ingest-inbox", Roles { inbox: true, ..Roles::default() }).await
        }
        Command::Query => serve(s, "query", Roles { query: true, ..Roles::default() }).await,
        Command::Project { view } => {
            let views = view.into_iter().map(Into::into).collect();
            serve(s, "project", Roles { views, ..Roles::default() }).await
        }
        Command::Publish { file, json } => commands::publish(s, &file, json).await,
        Command::Import { mapping, file, refused, json } => {
            commands::import(s, &mapping, &file, refused.as_deref(), json).await
        }
        Command::Simulate { patients, days, seed, until, output } => {
            commands::simulate(patients, days, seed, until, output.as_deref())
        }
        Command::DeadLetters { command } => dead_letters::run(s, command).await,
        Command::Refused { command } => refused::run(s, command).await,
        Command::Replay { patient, view, apply, scan, json, why } => {
            let what = replay::Replay { patient: &patient, view: view.map(Into::into), apply, scan, json };
            replay::replay(s, &what, &why).await
        }
        Command::Verify { view, generation, sample, repair, json, why } => {
            let what = verify::Verify { view: view.into(), generation, sample, repair, json };
            verify::verify(s, &what, &why).await
        }
        Command::Pause { view, why } => control::pause(s, view.into(), true, &why).await,
        Command::Resume { view, why } => control::pause(s, view.into(), false, &why).await,
        Command::Mot { command } => mot::run(s, command).await,
        Command::Reset { view, reason, yes } => {
            control::reset(s, view.into(), yes, &operations::Why { reason: Some(reason) }).await
        }
        Command::Status { watch, json } => status::status(s, watch, json).await,
        Command::Operations { view, limit, json } => {
            account::operations(s, view.map(Into::into), limit as usize, json).await
        }
        Command::Backup { dir, json, why } => backup::backup(s, &dir, json, &why).await,
        Command::Restore { dir, force, why } => backup::restore(s, &dir, force, &why).await,
        Command::Rebuild(arguments) => {
            keep_freed_pages();
            rebuild::rebuild(s, &arguments).await
        }
        Command::Switch { view, generation, why } => generations::switch(s, view.into(), generation, &why).await,
        Command::Rollback { view, why } => generations::rollback(s, view.into(), &why).await,
        Command::Drop { view, generation, why } => generations::drop(s, view.into(), generation, &why).await,
        Command::Generations { view, json } => generations::list(s, view.map(Into::into), json).await,
        Command::Openapi => {
            say(serve::openapi().to_pretty_json().context("OpenAPI")?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Schemas { command } => schemas::run(&command),
    }
}
