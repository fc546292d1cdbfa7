//! `schemas`: the registry in the source tree, its check and its lock.

use crate::commands::REFUSED;
use crate::operations::{say, tell};
use anyhow::Context as _;
use codec::{check, lock::Lock, tree::Tree};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is done about the schemas.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Compare the tree with the lock; refuse what old readers or old data could not bear.
    Check {
        /// The registry.
        #[arg(long, default_value = "schemas")]
        dir: PathBuf,
    },
    /// Give the tree's new and changed schemas their ids, if the check passes.
    Lock {
        /// The registry.
        #[arg(long, default_value = "schemas")]
        dir: PathBuf,
    },
}

/// `journeylog schemas …`.
pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { dir } => check_tree(dir),
        Command::Lock { dir } => lock_tree(dir),
    }
}

fn tree(dir: &Path) -> anyhow::Result<(Tree, Lock)> {
    let read =
        |name: &str| std::fs::read_to_string(dir.join(name)).with_context(|| format!("{}/{name}", dir.display()));
    let mut events = Vec::new();
    for file in std::fs::read_dir(dir.join("events")).with_context(|| format!("{}/events", dir.display()))? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "avsc") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            events.push((name, std::fs::read_to_string(&path)?));
        }
    }
    let lock = if dir.join("lock.json").exists() { read("lock.json")? } else { String::new() };
    Ok((Tree::parse(&read("header.avsc")?, &read("types.avsc")?, &events)?, Lock::parse(&lock)?))
}

/// `journeylog schemas check`.
fn check_tree(dir: &Path) -> anyhow::Result<ExitCode> {
    let (tree, lock) = tree(dir)?;
    let problems = check::check(&tree, &lock);
    tell(format_args!(
        "{} schemas, {} released versions, {} problems",
        tree.events.len(),
        lock.entries.len(),
        problems.len()
    ));
    Ok(list(&problems))
}

/// Lists problems, one a line.
fn list(problems: &[check::Problem]) -> ExitCode {
    for p in problems {
        say(p);
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) }
}

/// `journeylog schemas lock`.
fn lock_tree(dir: &Path) -> anyhow::Result<ExitCode> {
    let (tree, lock) = tree(dir)?;
    let (lock, changed) = match check::update(&tree, &lock) {
        Ok(done) => done,
        Err(problems) => return Ok(list(&problems)),
    };
    std::fs::write(dir.join("lock.json"), lock.to_text())?;
    tell(format_args!("locked: {}", if changed.is_empty() { "nothing new".to_owned() } else { changed.join(", ") }));
    Ok(ExitCode::SUCCESS)
}
