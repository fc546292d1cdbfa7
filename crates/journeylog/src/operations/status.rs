//! `journeylog status`: how far each generation of each view has come.

use super::{open_store, own_log, tell};
use crate::settings::Settings;
use crate::views::{mot, other_standards};
use anyhow::{Context as _, bail};
use domain::views::View;
use eventlog::Log;
use query::status::{GenerationStatus, Samples, Status, ViewStatus};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::{State, Store};

/// Between two looks at the checkpoints: the rates are measured from one to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One look at the store and the log.
pub async fn look(samples: &Samples, store: &Store, log: &dyn Log) -> anyhow::Result<Status> {
    // The store first: what it has taken was in the log before.
    let mut progress = store.progress().await.context("store")?;
    for p in &mut progress {
        let spec = View::ALL.into_iter().map(crate::views::spec).find(|s| s.name == p.generation.view);
        // Nobody follows what was made with other tables.
        if !p.generation.active && p.generation.state == State::Following && spec.is_none_or(|s| !p.generation.fits(s))
        {
            p.generation.state = State::Frozen;
        }
    }
    let bounds = log.bounds().await.context("log")?;
    let ends: Vec<u64> = bounds.into_iter().map(|b| b.1).collect();
    Ok(query::status::of(samples, progress, &ends, Instant::now(), ingest::now().0 / 1000))
}

/// `journeylog status`: two looks, and what came out of them; with `watch`, one after the other until it is stopped.
pub async fn status(settings: &Settings, watch: bool, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(file) = Store::file(&settings.store.url).filter(|file| !file.exists()) {
        bail!("store: there is no file {}", file.display());
    }
    let store = open_store(settings, 1).await?;
    let log = super::open_log(settings).await?;
    let samples = Samples::default();
    let first = look(&samples, &store, log.as_ref()).await?;
    for view in View::ALL {
        if let Some(known) = first.views.iter().find(|v| v.view == view.as_str()) {
            own_log(&store, log.as_ref(), view, known.active.generation).await?;
        }
    }
    if let Some(why) = other_standards(&store, &mot(settings)?).await? {
        tell(why);
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let status = look(&samples, &store, log.as_ref()).await?;
        let text = if json { format!("{}\n", serde_json::to_string(&status)?) } else { table(&status) };
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read it has enough.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            done => done?,
        }
        if !watch {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// A line per generation, and one per paused view.
pub fn table(status: &Status) -> String {
    if status.views.is_empty() {
        return "no view has been made yet\n".to_owned();
    }
    let heads =
        ["VIEW", "GENERATION", "STATE", "BEHIND", "SECONDS", "EVENTS/S", "THERE IN", "PARKED", "DEAD", "POSITION"];
    let mut lines = vec![heads.map(str::to_owned)];
    for view in &status.views {
        lines.push(line(view, &view.active, true));
        lines.extend(view.others.iter().map(|g| line(view, g, false)));
    }
    let widths: Vec<usize> =
        (0..heads.len()).map(|i| lines.iter().map(|l| l[i].len()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    for view in &status.views {
        if let Some(since) = &view.paused_since {
            text.push_str(&format!("{} is paused since {since}\n", view.view));
        }
    }
    text
}

fn line(view: &ViewStatus, g: &GenerationStatus, active: bool) -> [String; 10] {
    let figure = |v: Option<f64>, places: usize| v.map_or("-".to_owned(), |v| format!("{v:.places$}"));
    let state = match (active, view.paused_since.is_some() && g.state == "following") {
        (true, false) => format!("active, {}", g.state),
        (true, true) => "active, paused".to_owned(),
        (false, false) => g.state.clone(),
        (false, true) => "paused".to_owned(),
    };
    [
        view.view.clone(),
        g.generation.to_string(),
        state,
        g.lag_events.to_string(),
        figure(g.lag_seconds, 1),
        figure(g.events_per_s, 0),
        g.eta_s.map_or("-".to_owned(), |s| super::duration(Duration::from_secs_f64(s.min(1e9)))),
        g.parked_keys.to_string(),
        g.dead_letters.to_string(),
        if g.position.is_empty() { "-".to_owned() } else { g.position.clone() },
    ]
}
