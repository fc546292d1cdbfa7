//! The command line: what each command takes, and its help. Commands of several kinds (`dead-letters`, `refused`, `mot`, `schemas`) are
//! where they are carried out.

use crate::{operations, schemas};
use clap::{Parser, Subcommand, ValueEnum};
use domain::{Micros, views::View};
use std::path::PathBuf;

/// Patient journeys as events: publish touchpoints, project views, read them.
///
/// Exit codes: 0 done; 1 failed or interrupted; 2 wrong usage; 3 done, but some input was refused or a check found problems; 130 ended at
/// once by Ctrl-C, 143 by SIGTERM.
#[derive(Parser)]
#[command(version, propagate_version = true)]
pub struct Arguments {
    /// Configuration file (TOML); see config.default.toml.
    #[arg(long, global = true)]
    pub config: Option<PathBuf>,
    /// Log: `sqlite:FILE` or `kafka://host:port/topic`.
    #[arg(long, global = true)]
    pub log: Option<String>,
    /// View store: `sqlite:FILE` or `postgres://user@host/database`.
    #[arg(long, global = true)]
    pub store: Option<String>,
    /// Address of the HTTP server.
    #[arg(long, global = true)]
    pub listen: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run every role in one process.
    All,
    /// Run the gateway: POST /v1/events; or another way in alone.
    Ingest {
        #[command(subcommand)]
        way: Option<Way>,
    },
    /// Run the projector of a view.
    Project {
        /// The view.
        #[arg(required = true)]
        view: Vec<ViewName>,
    },
    /// Run the read API.
    Query,
    /// Publish events from NDJSON, straight to the log.
    Publish {
        /// File, or - for standard input.
        file: PathBuf,
        /// One line of JSON per second and at the end, instead of a bar.
        #[arg(long)]
        json: bool,
    },
    /// Load old history from a CSV event log (docs/guides/import.md).
    Import {
        /// Mapping file.
        #[arg(long)]
        mapping: PathBuf,
        /// Event log.
        file: PathBuf,
        /// Where to write the refused rows, one JSON object a line [default: standard error].
        #[arg(long)]
        refused: Option<PathBuf>,
        /// One line of JSON per second and at the end, instead of a bar.
        #[arg(long)]
        json: bool,
    },
    /// Write believable journeys as NDJSON, the same for the same arguments (docs/simulator.md).
    Simulate {
        /// How many patients, besides the demonstration patients.
        #[arg(long, default_value_t = 100)]
        patients: u64,
        /// Length of the window, days.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// Seed of all draws.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// End of the window, RFC 3339 [default: 2026-11-01T00:00:00Z].
        #[arg(long, value_parser = time)]
        until: Option<Micros>,
        /// File [default: standard output].
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Look at what a view could not take, and decide what becomes of it; shows no patient data.
    DeadLetters {
        #[command(subcommand)]
        command: operations::dead_letters::Command,
    },
    /// Look at what the Kafka inbox refused, and send it there again; shows no patient data.
    Refused {
        #[command(subcommand)]
        command: operations::refused::Command,
    },
    /// Fold one patient again from the log; shows what would change.
    Replay {
        /// The patient's pseudonym (or a site, for what its staff answered).
        #[arg(long)]
        patient: String,
        /// In one view only.
        #[arg(long)]
        view: Option<ViewName>,
        /// Change it.
        #[arg(long)]
        apply: bool,
        /// Read the whole partition, instead of relying on the positions that the timeline keeps.
        #[arg(long)]
        scan: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Fold the log again and compare with the rows; exit code 3 where they differ.
    Verify {
        /// The view.
        view: ViewName,
        /// Another generation than the one that readers see.
        #[arg(long)]
        generation: Option<i64>,
        /// Share of the patients, such as 1%.
        #[arg(long, default_value = "100%", value_parser = operations::verify::share)]
        sample: f64,
        /// Put right what differs.
        #[arg(long)]
        repair: bool,
        /// JSON lines: progress, what differs, and a sum at the end.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Let a view's projectors rest, wherever they run; they obey within a second.
    Pause {
        /// The view.
        view: ViewName,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Let a paused view go on.
    Resume {
        /// The view.
        view: ViewName,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Fill a further generation of a view from the start of the log, compare it with the live one, and let readers see it
    /// (docs/operations/rebuild.md). Interrupted, it goes on where it was.
    Rebuild(operations::rebuild::Arguments),
    /// Let readers see another generation of a view.
    Switch {
        /// The view.
        view: ViewName,
        /// Its number [default: the newest that is kept up to date].
        generation: Option<i64>,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Let readers see again the generation that they saw before the last switch.
    Rollback {
        /// The view.
        view: ViewName,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Remove a generation that readers don't see.
    Drop {
        /// The view.
        view: ViewName,
        /// Its number.
        generation: i64,
        #[command(flatten)]
        why: operations::Why,
    },
    /// List the generations of the views.
    Generations {
        /// Of one view only.
        view: Option<ViewName>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Compare what is scored.
    Mot {
        #[command(subcommand)]
        command: operations::mot::Command,
    },
    /// Make a view again from the start of the log, in sight of its readers; `rebuild` does it beside them.
    Reset {
        /// The view.
        view: ViewName,
        /// Why, for the account of operations.
        #[arg(long, value_parser = operations::reason)]
        reason: String,
        /// Go on: readers see a part of the view until it has caught up.
        #[arg(long)]
        yes: bool,
    },
    /// Show how far each generation of each view has come, how fast it goes on and when it will be there.
    Status {
        /// Once a second until it is stopped.
        #[arg(long)]
        watch: bool,
        /// One JSON object a look, as GET /v1/status answers.
        #[arg(long)]
        json: bool,
    },
    /// List who did what to the views, when, why and with what result, the latest first.
    Operations {
        /// To one view only.
        #[arg(long)]
        view: Option<ViewName>,
        /// Most to list.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Copy the embedded log and views while they are in use (docs/operations/backup.md).
    Backup {
        /// The folder to make.
        dir: PathBuf,
        /// Print the manifest, one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Put a backup's files in place of the configured ones, while no process has them open.
    Restore {
        /// The backup's folder.
        dir: PathBuf,
        /// Put files that are there aside, under another name.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        why: operations::Why,
    },
    /// Print the API's description (OpenAPI 3.1).
    Openapi,
    /// Check or extend the schema registry in schemas/.
    Schemas {
        #[command(subcommand)]
        command: schemas::Command,
    },
}

fn time(text: &str) -> Result<Micros, &'static str> {
    Micros::parse(text).ok_or("not an RFC 3339 time with offset")
}

#[derive(Subcommand)]
pub enum Way {
    /// Take HL7 v2 over MLLP on hl7.listen (docs/publishing/hl7.md).
    Hl7,
    /// Move what others write to a Kafka topic into the log (docs/publishing/kafka.md).
    Inbox,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ViewName {
    Timeline,
    Mot,
    FollowUps,
}

impl From<ViewName> for View {
    fn from(v: ViewName) -> Self {
        match v {
            ViewName::Timeline => Self::Timeline,
            ViewName::Mot => Self::Mot,
            ViewName::FollowUps => Self::FollowUps,
        }
    }
}

#[cfg(test)]
mod tests;
