//! Trying dead letters again, and giving them up.

use super::{generation, view_of};
use crate::commands::REFUSED;
use crate::operations::{Done, Why, audited, open_store, say, step_by_step, tell};
use crate::settings::Settings;
use crate::views::{spec, with_view};
use anyhow::bail;
use domain::views::View;
use projector::{Decision, Difference, Redriven};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use store::{GenerationInfo, LetterKey, Letters, Store};

/// Connections to the store.
const CONNECTIONS: u32 = 2;
/// Keys of one view in one run, at most, one after the other.
const MOST_KEYS: usize = 1_000;
/// Letters that stay which are listed for each key.
const SHOWN: usize = 5;

/// What is to be tried again.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Selection {
    /// A letter; with it goes whatever else of its key waits.
    #[arg(conflicts_with_all = ["key", "view", "code", "generation"])]
    pub id: Option<String>,
    /// Hash of a key, as `list` shows it.
    #[arg(long)]
    pub key: Option<String>,
    /// Of one view only.
    #[arg(long)]
    pub view: Option<crate::cli::ViewName>,
    /// Keys that have a letter with this code only.
    #[arg(long)]
    pub code: Option<String>,
    /// Another generation than the one that readers see.
    #[arg(long, requires = "view")]
    pub generation: Option<i64>,
    /// Only keys whose hash is above this one: to go on after a run that had too many.
    #[arg(long)]
    pub after: Option<String>,
}

/// How it is tried again.
#[derive(Debug, Clone, clap::Args)]
pub struct Again {
    #[command(flatten)]
    selection: Selection,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    why: Why,
}

/// `journeylog dead-letters rehearse` and `redrive`.
pub(super) async fn redrive(settings: &Settings, again: &Again, rehearse: bool) -> anyhow::Result<ExitCode> {
    let Again { selection, json, why } = again;
    let json = *json;
    let store = open_store(settings, CONNECTIONS).await?;
    let (operation, decision) =
        if rehearse { ("rehearse", Decision::Rehearse) } else { ("redrive", Decision::Redrive) };
    let detail = json!({"id": selection.id, "key": selection.key, "code": selection.code});
    let view = match &selection.id {
        Some(id) => Some(view_of(id)?),
        None => selection.view.map(Into::into),
    };
    let work = async {
        let mut sum = Sum { json, rehearse, ..Sum::default() };
        for (view, info, keys) in chosen(&store, selection, view, json).await? {
            for key in &keys {
                // A key with more letters than one transaction takes goes on until nothing more goes in.
                loop {
                    let done = one(settings, &store, view, &info, key, decision).await?;
                    sum.add(view, &done);
                    if rehearse || !done.more || done.taken == 0 {
                        break;
                    }
                }
            }
            if keys.len() == MOST_KEYS {
                let last = keys.last().map(|k| k.key_hash.as_str()).unwrap_or_default();
                tell(format_args!("{}: more keys: --view {} --after {last}", view.as_str(), view.as_str()));
            }
        }
        Ok(sum.end())
    };
    audited(&store, operation, view, selection.generation, why, detail, step_by_step(work)).await
}

/// `journeylog dead-letters discard`.
pub(super) async fn discard(settings: &Settings, id: &str, reason: &str, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, CONNECTIONS).await?;
    let view = view_of(id)?;
    let why = Why { reason: Some(reason.to_owned()) };
    let work = async {
        let Some(full) = store.dead_letter(id).await? else { bail!("no dead letter {id}") };
        let info = generation(&store, view, Some(full.letter.generation)).await?;
        let key = LetterKey {
            partition: u32::try_from(full.letter.partition)?,
            key: full.key,
            key_hash: full.letter.key_hash.clone(),
        };
        let done = one(settings, &store, view, &info, &key, Decision::Discard { id, reason }).await?;
        if !done.discarded {
            let reason = full.letter.discard_reason.unwrap_or_default();
            remark(json, format_args!("{id} was discarded before: {reason}"));
        }
        let mut sum = Sum { json, ..Sum::default() };
        if done.discarded {
            sum.add(view, &done);
        }
        // What was asked for is done, whatever else of the key stays.
        let mut end = Done { generation: Some(info.number), code: ExitCode::SUCCESS, ..sum.end() };
        end.result["discarded"] = json!(done.discarded);
        Ok(end)
    };
    audited(&store, "discard", Some(view), None, &why, json!({"id": id}), step_by_step(work)).await
}

/// Says something to people: beside the output where that is for a program.
fn remark(json: bool, text: std::fmt::Arguments<'_>) {
    if json {
        tell(text);
    } else {
        say(text);
    }
}

type Chosen = (View, GenerationInfo, Vec<LetterKey>);

/// The keys of a selection, by view.
async fn chosen(store: &Store, selection: &Selection, view: Option<View>, json: bool) -> anyhow::Result<Vec<Chosen>> {
    if let Some(id) = &selection.id {
        let Some(full) = store.dead_letter(id).await? else {
            remark(json, format_args!("there is no dead letter {id} (any more): nothing to do"));
            return Ok(Vec::new());
        };
        if full.letter.discarded_ms.is_some() {
            remark(json, format_args!("{id} was discarded: nothing to do"));
            return Ok(Vec::new());
        }
        let view = view_of(id)?;
        let info = generation(store, view, Some(full.letter.generation)).await?;
        let partition = u32::try_from(full.letter.partition)?;
        return Ok(vec![(view, info, vec![LetterKey { partition, key: full.key, key_hash: full.letter.key_hash }])]);
    }
    let mut all = Vec::new();
    for v in View::ALL.into_iter().filter(|v| view.is_none_or(|view| view == *v)) {
        let generations = store.generations(Some(v.as_str())).await?;
        if selection.generation.is_none() && !generations.iter().any(|g| g.active) {
            continue;
        }
        let info = generation(store, v, selection.generation).await?;
        let which = Letters {
            view: Some(v.as_str()),
            generation: Some(info.number),
            code: selection.code.as_deref(),
            key_hash: selection.key.as_deref(),
            discarded: false,
        };
        let keys = store.letter_keys(which, selection.after.as_deref(), MOST_KEYS).await?;
        all.push((v, info, keys));
    }
    if all.iter().all(|(_, _, keys)| keys.is_empty()) {
        remark(json, format_args!("no such dead letters: nothing to do"));
    }
    Ok(all)
}

/// Decides about the letters of one key.
async fn one(
    settings: &Settings,
    store: &Store,
    view: View,
    info: &GenerationInfo,
    key: &LetterKey,
    decision: Decision<'_>,
) -> anyhow::Result<Redriven> {
    let generation = store.generation(spec(view), info.number).await?;
    let mot = crate::views::mot(settings)?;
    Ok(with_view!(view, mot, |make| {
        let view = make(info)?;
        projector::redrive(&view, &generation, store, key.partition, &key.key, decision).await?
    }))
}

/// What came of a run.
#[derive(Default)]
struct Sum {
    json: bool,
    rehearse: bool,
    keys: u64,
    taken: usize,
    kept: usize,
    codes: BTreeMap<String, usize>,
}

impl Sum {
    fn add(&mut self, view: View, done: &Redriven) {
        self.keys += 1;
        self.taken += done.taken;
        self.kept += done.kept.len();
        for k in &done.kept {
            *self.codes.entry(k.code.clone()).or_default() += 1;
        }
        let rows: Vec<Value> = done.rows.iter().map(changes).collect();
        let kept = done
            .kept
            .iter()
            .map(|k| json!({"id": k.id, "code": k.code, "reason": k.reason, "waits_behind_another": k.parked_behind}));
        if self.json {
            let kept: Vec<Value> = kept.collect();
            say(format_args!(
                "{}",
                json!({"view": view.as_str(), "key_hash": done.key_hash, "rehearsal": self.rehearse,
                    "letters": done.tried, "taken": done.taken, "kept": kept, "rows": rows, "unparked": done.free,
                    "more": done.more})
            ));
            return;
        }
        let verb = if self.rehearse { "would go in" } else { "went in" };
        say(format_args!("{} {}: {} of {} letters {verb}", view.as_str(), done.key_hash, done.taken, done.tried));
        for d in &done.rows {
            say(format_args!(
                "  {}: {} written, {} deleted, {} changed{}",
                d.table,
                d.missing,
                d.extra,
                d.differing,
                columns(d)
            ));
        }
        for k in done.kept.iter().take(SHOWN) {
            say(format_args!("  {} stays: {}", k.id, k.reason));
        }
        if done.kept.len() > SHOWN {
            say(format_args!("  and {} more stay", done.kept.len() - SHOWN));
        }
    }

    fn end(self) -> Done {
        let result = json!({"keys": self.keys, "taken": self.taken, "kept": self.kept, "codes": self.codes});
        if self.json {
            let mut line = result.clone();
            line["done"] = json!(true);
            say(&line);
        } else if self.keys > 1 {
            say(format_args!("{} keys: {} letters taken, {} kept", self.keys, self.taken, self.kept));
        }
        // A script has to see that somebody must look.
        let code = if self.kept > 0 { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS };
        Done { code, ..Done::of(None, result) }
    }
}

/// A difference of rows, as changes.
fn changes(d: &Difference) -> Value {
    json!({"table": d.table, "written": d.missing, "deleted": d.extra, "changed": d.differing, "columns": d.columns})
}

/// ` (column, column)`, or nothing.
pub fn columns(d: &Difference) -> String {
    if d.columns.is_empty() { String::new() } else { format!(" ({})", d.columns.join(", ")) }
}
