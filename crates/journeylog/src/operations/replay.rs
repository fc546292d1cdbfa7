//! `replay`: one patient, folded again from the log.

use super::dead_letters::{columns, generation};
use super::{Done, Why, audited, open_store, step_by_step, tell};
use crate::settings::Settings;
use crate::views::{spec, with_view};
use domain::views::View;
use eventlog::Log;
use projector::{Replayed, Scope};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use store::{Store, key_hash};

/// Connections to the store.
const CONNECTIONS: u32 = 2;

/// What to replay, and how.
pub struct Replay<'a> {
    /// Whom; not echoed.
    pub patient: &'a str,
    /// In one view, or in all.
    pub view: Option<View>,
    /// Whether to change what differs.
    pub apply: bool,
    /// Whether to read the whole partition.
    pub scan: bool,
    /// Whether to print JSON lines.
    pub json: bool,
}

/// `journeylog replay`.
pub async fn replay(settings: &Settings, what: &Replay<'_>, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, CONNECTIONS).await?;
    let log = super::open_log(settings).await?;
    let detail = json!({"key_hash": key_hash(what.patient.as_bytes()), "apply": what.apply, "scan": what.scan});
    let work = async {
        let (mut differs, mut unknown, mut scanned, mut results) = (false, true, false, Vec::new());
        let names = pseudonyms(&store, what.patient).await?;
        if names.len() > 1 {
            let others: Vec<String> =
                names.iter().filter(|n| *n != what.patient).map(|n| key_hash(n.as_bytes())).collect();
            say(what.json, &json!({"merged": others}), || {
                format!(
                    "merged with {} other pseudonyms, each replayed on its own: {}",
                    others.len(),
                    others.join(", ")
                )
            });
        }
        for view in View::ALL.into_iter().filter(|v| what.view.is_none_or(|view| view == *v)) {
            for name in &names {
                let Some(done) = one(settings, &store, &log, view, name.as_bytes(), what).await? else { continue };
                differs |= !done.checked.differences.is_empty();
                scanned |= done.scanned;
                unknown &= done.checked.records == 0 && done.checked.differences.is_empty();
                results.push(show(view, name, &done, what));
            }
        }
        if scanned && !what.scan && what.view.is_none() {
            // The positions are the timeline's own: where another view knew of more events, it may have lost some.
            let whole = Replay { scan: true, ..*what };
            for name in &names {
                let Some(done) = one(settings, &store, &log, View::Timeline, name.as_bytes(), &whole).await? else {
                    continue;
                };
                differs |= !done.checked.differences.is_empty();
                results.push(show(View::Timeline, name, &done, &whole));
            }
        }
        if unknown {
            tell("the log has no event of this patient that the views have taken");
        }
        // What was found and is not changed is a finding; what was put right is done.
        let code = if differs && !what.apply { ExitCode::from(crate::commands::REFUSED) } else { ExitCode::SUCCESS };
        Ok(Done { code, ..Done::of(None, json!(results)) })
    };
    audited(&store, "replay", what.view, None, why, detail, step_by_step(work)).await
}

/// The patient, and all pseudonyms that merges tie to them.
async fn pseudonyms(store: &Store, patient: &str) -> anyhow::Result<Vec<String>> {
    if store.generations(Some("timeline")).await?.iter().any(|g| g.active) {
        let mut names = store::views::timeline::related(store.engine(), patient).await?;
        names.remove(patient);
        return Ok(std::iter::once(patient.to_owned()).chain(names).collect());
    }
    Ok(vec![patient.to_owned()])
}

/// Replays one key in a view; nothing where the view has not been projected.
async fn one(
    settings: &Settings,
    store: &Store,
    log: &Arc<dyn Log>,
    view: View,
    key: &[u8],
    what: &Replay<'_>,
) -> anyhow::Result<Option<Replayed>> {
    if what.view.is_none() && !store.generations(Some(view.as_str())).await?.iter().any(|g| g.active) {
        return Ok(None);
    }
    let info = generation(store, view, None).await?;
    let generation = store.generation(spec(view), info.number).await?;
    let mot = crate::views::mot(settings)?;
    Ok(Some(with_view!(view, mot, |make| {
        let view = make(&info)?;
        let scope = Scope { view: &view, generation: &generation, log, store };
        projector::replay(&scope, key, what.apply, what.scan).await?
    })))
}

/// Prints what a replay of one key in one view saw; the same for the account.
fn show(view: View, name: &str, done: &Replayed, what: &Replay<'_>) -> Value {
    let hash = key_hash(name.as_bytes());
    let tables = super::verify::tables(&done.checked.differences);
    let applied = what.apply && !done.checked.differences.is_empty();
    let ms = done.took.as_micros() as f64 / 1000.0;
    let line = json!({"view": view.as_str(), "key_hash": hash, "events": done.checked.records, "rows": done.checked.rows,
        "differences": tables, "applied": applied, "scanned": done.scanned, "ms": ms});
    say(what.json, &line, || {
        let how = if done.scanned { "whole partition read" } else { "by positions" };
        let mut text = format!(
            "{} {hash}: {} events, {} rows, {ms:.1} ms, {how}: {}",
            view.as_str(),
            done.checked.records,
            done.checked.rows,
            match (done.checked.differences.is_empty(), applied) {
                (true, _) => "nothing differs",
                (false, true) => "changed",
                (false, false) => "would change (--apply does it)",
            }
        );
        for d in &done.checked.differences {
            let (missing, extra, differing) = (d.missing, d.extra, d.differing);
            text += &format!("\n  {}: {missing} written, {extra} deleted, {differing} changed{}", d.table, columns(d));
        }
        text
    });
    line
}

fn say(json: bool, line: &Value, text: impl FnOnce() -> String) {
    if json {
        super::say(line);
    } else {
        super::say(format_args!("{}", text()));
    }
}
