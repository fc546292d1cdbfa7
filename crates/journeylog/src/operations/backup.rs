//! `backup` and `restore` of the embedded files: a copy of each as it is at one moment, while the program runs.
//!
//! The views are copied first and the log afterwards, so that the log of a backup is never older than its views: what it has
//! more, the views take from it when they are started.

use super::status::{look, table};
use super::{Done, Why, audited, interruptible, open_store, say, tell};
use crate::settings::Settings;
use crate::signals::interrupted;
use anyhow::{Context as _, anyhow, bail, ensure};
use query::status::Samples;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use store::{Progress, Store};

/// Form of the manifest.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const VIEWS: &str = "views.db";
const LOG: &str = "log.db";
/// Ending of a file that was brought beside its place.
const BROUGHT: &str = "restored";
/// How often an unfinished backup is tried to be removed, at most: a copy that was given up may write for a moment more.
const REMOVALS: usize = 20;
/// Between two of these tries.
const BETWEEN_REMOVALS: Duration = Duration::from_millis(50);
/// Where it is said what to do instead.
const PAGE: &str = "docs/operations/backup.md";

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// The program that made it.
    version: String,
    /// When the copies were begun and had ended, RFC 3339.
    begun_at: String,
    ended_at: String,
    /// In the order in which they were copied.
    files: Vec<Copied>,
    /// By partition: the offset after the log's last event.
    log_ends: Vec<u64>,
    views: Vec<ViewAt>,
}

/// A file of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    name: String,
    bytes: u64,
    sha256: String,
}

/// How far a generation of a view is in the backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewAt {
    view: String,
    generation: i64,
    active: bool,
    state: String,
    /// By partition: the offset after the last event that it has taken.
    next_offsets: BTreeMap<u32, u64>,
}

/// The files behind the configured store and log.
fn files(settings: &Settings) -> anyhow::Result<[(PathBuf, &'static str); 2]> {
    let log = eventlog::file(&settings.log.url).context("log")?;
    match (Store::file(&settings.store.url), log) {
        (Some(views), Some(log)) => Ok([(views, VIEWS), (log, LOG)]),
        _ => bail!("only embedded files (sqlite:) are copied; for Kafka and PostgreSQL see {PAGE}"),
    }
}

/// `journeylog backup`.
pub async fn backup(settings: &Settings, dir: &Path, json: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let [(views, _), (log, _)] = files(settings)?;
    for file in [&views, &log] {
        ensure!(file.exists(), "there is no file {}", file.display());
    }
    ensure!(!dir.exists(), "{} is there already", dir.display());
    // One copies the views; the other writes down how it ended, also while a copy that was given up still runs.
    let store = open_store(settings, 2).await?;
    let cancel = interrupted()?;
    let work = interruptible(&cancel, async {
        let partial = beside(dir, "partial")?;
        if partial.exists() {
            // What an interrupted one has left.
            fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
        }
        fs::create_dir_all(&partial).with_context(|| partial.display().to_string())?;
        let made = tokio::select! {
            made = copy(&store, &log, &partial) => made,
            () = cancel.cancelled() => Err(anyhow!("there is no backup")),
        };
        let manifest = match made {
            Ok(manifest) => manifest,
            Err(e) => {
                remove(&partial).await;
                return Err(e);
            }
        };
        fs::rename(&partial, dir).with_context(|| dir.display().to_string())?;
        sync_folder_of(dir)?;
        let bytes: u64 = manifest.files.iter().map(|f| f.bytes).sum();
        let events: u64 = manifest.log_ends.iter().sum();
        if json {
            say(serde_json::to_string(&manifest)?);
        } else {
            say(format_args!("{events} events and their views in {}, {bytes} bytes", dir.display()));
        }
        Ok(Done::of(None, json!({"events": events, "bytes": bytes})))
    });
    audited(&store, "backup", None, None, why, json!({"to": dir.display().to_string()}), work).await
}

/// Removes what there is of a backup, also while a copy that was given up still writes to it.
async fn remove(partial: &Path) {
    let mut why = String::new();
    for _ in 0..REMOVALS {
        why = fs::remove_dir_all(partial).err().map_or(why, |e| format!(": {e}"));
        if !partial.exists() {
            return;
        }
        tokio::time::sleep(BETWEEN_REMOVALS).await;
    }
    tell(format_args!("journeylog: {} could not be removed and is left{why}", partial.display()));
}

/// Copies the views and then the log, and writes the manifest.
async fn copy(store: &Store, log: &Path, to: &Path) -> anyhow::Result<Manifest> {
    let begun_at = ingest::now().to_string();
    let views = store.copy(&to.join(VIEWS)).await.context("copy of the views")?;
    let log_ends = eventlog::copy(log, &to.join(LOG)).await.context("copy of the log")?;
    let mut files = Vec::new();
    for name in [VIEWS, LOG] {
        // In a thread of its own: Ctrl-C must not wait for the reading of a large file.
        let file = to.join(name);
        let (sha256, bytes) = tokio::task::spawn_blocking(move || checksum(&file, None)).await??;
        files.push(Copied { name: name.to_owned(), bytes, sha256 });
    }
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        begun_at,
        ended_at: ingest::now().to_string(),
        files,
        log_ends,
        views: views.iter().map(view_at).collect(),
    };
    let mut file = File::create(to.join(MANIFEST))?;
    file.write_all(serde_json::to_string_pretty(&manifest)?.as_bytes())?;
    file.sync_all()?;
    File::open(to)?.sync_all()?;
    Ok(manifest)
}

fn view_at(p: &Progress) -> ViewAt {
    ViewAt {
        view: p.generation.view.clone(),
        generation: p.generation.number,
        active: p.generation.active,
        state: p.generation.state.as_str().to_owned(),
        next_offsets: p.partitions.iter().map(|c| (c.partition, c.next_offset)).collect(),
    }
}

/// `journeylog restore`.
pub async fn restore(settings: &Settings, dir: &Path, force: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let targets = files(settings)?;
    let manifest = manifest(dir)?;
    for (target, _) in &targets {
        if !target.exists() {
            continue;
        }
        ensure!(store::nobody_has(target).await?, "a process has {} open: stop it first", target.display());
        ensure!(force, "{} is there already; --force puts it aside and the backup in its place", target.display());
    }
    // Both are whole beside their places before either of them moves there.
    for (target, name) in &targets {
        if let Err(e) = bring(&manifest, &dir.join(name), name, target) {
            for (target, _) in &targets {
                let _ = fs::remove_file(beside(target, BROUGHT)?);
            }
            return Err(e);
        }
    }
    let aside = format!("before-{}", ingest::now().0 / 1_000_000);
    for (target, _) in &targets {
        put(target, &aside)?;
    }
    let store = open_store(settings, 1).await?;
    let detail = json!({"from": dir.display().to_string(), "made_at": manifest.begun_at});
    audited(&store, "restore", None, None, why, detail, async {
        let log = crate::commands::open_log(settings).await?;
        let status = look(&Samples::default(), &store, log.as_ref()).await?;
        let behind: u64 = status.views.iter().map(|v| v.active.lag_events).sum();
        say(format_args!("restored what was there at {}", manifest.begun_at));
        say(table(&status).trim_end());
        if behind > 0 {
            say(format_args!("the views catch up from the log as soon as projectors run"));
        }
        Ok(Done::of(None, json!({"behind": behind})))
    })
    .await
}

/// Copies a file of a backup beside its place, if it is what the manifest says.
fn bring(manifest: &Manifest, file: &Path, name: &str, target: &Path) -> anyhow::Result<()> {
    let expected = manifest.files.iter().find(|f| f.name == name).context("the manifest lacks a file")?;
    if let Some(folder) = target.parent().filter(|f| !f.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let (sha256, bytes) = checksum(file, Some(&beside(target, BROUGHT)?))?;
    ensure!(
        (sha256.as_str(), bytes) == (expected.sha256.as_str(), expected.bytes),
        "{} is not as the manifest says ({bytes} bytes, SHA-256 {sha256}): nothing was restored",
        file.display()
    );
    Ok(())
}

/// Puts a file that was brought in its place, and the one that is there aside.
fn put(target: &Path, aside: &str) -> anyhow::Result<()> {
    if target.exists() {
        let old = beside(target, aside)?;
        fs::rename(target, &old).with_context(|| target.display().to_string())?;
        say(format_args!("{} is kept as {}", target.display(), old.display()));
    }
    // What belonged to the file that was there must not be taken for a part of this one.
    for suffix in ["-wal", "-shm", "-journal"] {
        let left = PathBuf::from(format!("{}{suffix}", target.display()));
        if left.exists() {
            fs::remove_file(&left).with_context(|| left.display().to_string())?;
        }
    }
    fs::rename(beside(target, BROUGHT)?, target).with_context(|| target.display().to_string())?;
    sync_folder_of(target)
}

/// Reads a backup's manifest.
fn manifest(dir: &Path) -> anyhow::Result<Manifest> {
    let path = dir.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("no backup: {}", path.display()))?;
    let manifest: Manifest = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(manifest.format == FORMAT, "the backup has form {}, this version reads {FORMAT}", manifest.format);
    Ok(manifest)
}

/// SHA-256 and length of a file, which is copied meanwhile if so asked for. What was read or written is on disk afterwards.
fn checksum(file: &Path, copy: Option<&Path>) -> anyhow::Result<(String, u64)> {
    let mut from = File::open(file).with_context(|| file.display().to_string())?;
    let mut to = copy.map(|to| File::create(to).with_context(|| to.display().to_string())).transpose()?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = from.read(&mut buffer).with_context(|| file.display().to_string())?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
        if let Some(to) = &mut to {
            to.write_all(&buffer[..n])?;
        }
    }
    to.as_ref().unwrap_or(&from).sync_all()?;
    let digits: Vec<String> = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((digits.concat(), bytes))
}

/// `path.suffix`, in the same folder.
fn beside(path: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
    Ok(path.with_file_name(format!("{}.{suffix}", name.to_string_lossy())))
}

/// Makes sure that a new name survives a power cut.
fn sync_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).with_context(|| folder.display().to_string())
}
