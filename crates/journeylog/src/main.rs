//! The door: command line, configuration, telemetry, wiring, shutdown.

use anyhow::Context as _;
use clap::Parser as _;
use domain::views::View;
use std::process::ExitCode;

mod cli;
mod commands;
mod health;
mod hl7;
mod http;
mod inbox;
mod intake;
mod operations;
mod serve;
mod settings;
mod telemetry;
mod views;

use cli::{Arguments, Command, DeadLetters, MotCommand, Refused, Schemas, Way};

/// How long the end of the process waits for threads that are still at something.
const LEAVE: std::time::Duration = std::time::Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Few arenas, and freed pages go back soon: jemalloc would keep those of a catching-up projector's batches for ten seconds.
// jemalloc looks for this symbol, which nothing else defines; the name is what is unsafe about it
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 46] = b"narenas:2,dirty_decay_ms:200,muzzy_decay_ms:0\0";

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
    match run(arguments) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("journeylog: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut settings = settings::load(arguments.config.as_deref(), std::env::vars())?;
    if let Some(url) = arguments.log {
        settings.log.url = url;
    }
    if let Some(url) = arguments.store {
        settings.store.url = url;
    }
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio runtime")?;
    let all = View::ALL.to_vec();
    let code = match arguments.command {
        Command::All => {
            let hl7 = !settings.hl7.listen.is_empty();
            let roles = serve::Roles { ingest: true, hl7, inbox: settings.inbox.with_all, query: true, views: all };
            runtime.block_on(serve::serve(&settings, "all", &roles))
        }
        Command::Ingest { way: None } => {
            let roles = serve::Roles { ingest: true, ..Default::default() };
            runtime.block_on(serve::serve(&settings, "ingest", &roles))
        }
        Command::Ingest { way: Some(Way::Hl7) } => {
            let roles = serve::Roles { hl7: true, ..Default::default() };
            runtime.block_on(serve::serve(&settings, "ingest-hl7", &roles))
        }
        Command::Ingest { way: Some(Way::Inbox) } => {
            let roles = serve::Roles { inbox: true, ..Default::default() };
            runtime.block_on(serve::serve(&settings, "ingest-inbox", &roles))
        }
        Command::Query => {
            let roles = serve::Roles { query: true, ..Default::default() };
            runtime.block_on(serve::serve(&settings, "query", &roles))
        }
        Command::Project { view } => {
            let views = view.into_iter().map(Into::into).collect();
            let roles = serve::Roles { views, ..Default::default() };
            runtime.block_on(serve::serve(&settings, "project", &roles))
        }
        Command::Publish { file, json } => runtime.block_on(commands::publish(&settings, &file, json)),
        Command::Import { mapping, file, refused, json } => {
            runtime.block_on(commands::import(&settings, &mapping, &file, refused.as_deref(), json))
        }
        Command::Simulate { patients, days, seed, until, output } => {
            commands::simulate(patients, days, seed, until.as_deref(), output.as_deref())
        }
        Command::DeadLetters { command } => runtime.block_on(dead_letters(&settings, command)),
        Command::Refused { command } => runtime.block_on(async {
            use operations::refused;
            match command {
                Refused::List { reason, limit, after, json } => {
                    refused::list(&settings, reason.as_deref(), after.as_deref(), limit as usize, json).await
                }
                Refused::Show { at } => refused::show(&settings, &at).await,
                Refused::Redrive { reason, at } => refused::redrive(&settings, reason.as_deref(), &at).await,
            }
        }),
        Command::Replay { patient, view, apply, scan, json, why } => {
            let what = operations::replay::Replay { patient: &patient, view: view.map(Into::into), apply, scan, json };
            runtime.block_on(operations::replay::replay(&settings, &what, &why))
        }
        Command::Verify { view, generation, sample, repair, json, why } => {
            let what = operations::verify::Verify { view: view.into(), generation, sample, repair, json };
            runtime.block_on(operations::verify::verify(&settings, &what, &why))
        }
        Command::Pause { view, why } => {
            runtime.block_on(operations::control::pause(&settings, view.into(), true, &why))
        }
        Command::Resume { view, why } => {
            runtime.block_on(operations::control::pause(&settings, view.into(), false, &why))
        }
        Command::Mot { command: MotCommand::Compare { before, after, examples, json } } => {
            runtime.block_on(operations::mot::compare(&settings, [before, after], examples, json))
        }
        Command::Reset { view, reason, yes } => {
            let why = operations::Why { reason: Some(reason) };
            runtime.block_on(operations::control::reset(&settings, view.into(), yes, &why))
        }
        Command::Status { watch, json } => runtime.block_on(operations::status::status(&settings, watch, json)),
        Command::Operations { view, limit, json } => {
            runtime.block_on(operations::account::operations(&settings, view.map(Into::into), limit as usize, json))
        }
        Command::Backup { dir, json, why } => runtime.block_on(operations::backup::backup(&settings, &dir, json, &why)),
        Command::Restore { dir, force, why } => {
            runtime.block_on(operations::backup::restore(&settings, &dir, force, &why))
        }
        Command::Rebuild(arguments) => {
            keep_freed_pages();
            runtime.block_on(operations::rebuild::rebuild(&settings, &arguments))
        }
        Command::Switch { view, generation, why } => {
            runtime.block_on(operations::generations::switch(&settings, view.into(), generation, &why))
        }
        Command::Rollback { view, why } => {
            runtime.block_on(operations::generations::rollback(&settings, view.into(), &why))
        }
        Command::Drop { view, generation, why } => {
            runtime.block_on(operations::generations::drop(&settings, view.into(), generation, &why))
        }
        Command::Generations { view, json } => {
            runtime.block_on(operations::generations::list(&settings, view.map(Into::into), json))
        }
        Command::Openapi => {
            println!("{}", serve::openapi().to_pretty_json().context("OpenAPI")?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Schemas { command } => match command {
            Schemas::Check { dir } => commands::schemas_check(&dir),
            Schemas::Lock { dir } => commands::schemas_lock(&dir),
        },
    };
    // What still waits for a dead server in a thread of its own must not hold up the end.
    runtime.shutdown_timeout(LEAVE);
    code
}

async fn dead_letters(settings: &settings::Settings, command: DeadLetters) -> anyhow::Result<ExitCode> {
    use operations::dead_letters as letters;
    match command {
        DeadLetters::List { view, limit, after, discarded, json } => {
            let view = view.map(|v| View::from(v).as_str());
            let which = store::Letters { view, discarded, ..Default::default() };
            letters::list(settings, which, after.as_deref(), limit as usize, json).await
        }
        DeadLetters::Show { id } => letters::show(settings, &id).await,
        DeadLetters::Summary { view, json } => letters::summary(settings, view.map(Into::into), json).await,
        DeadLetters::Rehearse { selection, json, why } => {
            letters::redrive(settings, &selection, true, json, &why).await
        }
        DeadLetters::Redrive { selection, json, why } => {
            letters::redrive(settings, &selection, false, json, &why).await
        }
        DeadLetters::Discard { id, reason, json } => letters::discard(settings, &id, &reason, json).await,
    }
}
