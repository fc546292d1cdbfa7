//! `dead-letters`: what a view could not take, and what becomes of it. Nothing here shows a patient's data.

use super::{Done, Why, audited, open_store};
use crate::settings::Settings;
use crate::views::{spec, with_view};
use anyhow::{Context as _, bail};
use domain::views::View;
use projector::{Decision, Difference, Redriven};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use store::{GenerationInfo, LetterKey, Letters, Store};

/// Connections to the store.
const CONNECTIONS: u32 = 2;
/// Keys of one view in one run, at most, one after the other.
const MOST_KEYS: usize = 1_000;
/// Letters that stay which are listed for each key.
const SHOWN: usize = 5;

/// `journeylog dead-letters list`.
pub async fn list(
    settings: &Settings,
    which: Letters<'_>,
    after: Option<&str>,
    limit: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let letters = store.dead_letters(which, after, limit).await?;
    let mut out = std::io::stdout().lock();
    for l in &letters {
        if json {
            writeln!(out, "{}", letter(l))?;
        } else {
            let kind = l.event_type.as_deref().unwrap_or("?");
            let waits = if l.parked_behind { "waits" } else { "" };
            let reason = l.discard_reason.as_deref().unwrap_or(&l.reason);
            writeln!(out, "{:40} {kind:24} {:12} {waits:5} {reason}", l.id, l.key_hash)?;
        }
    }
    if let Some(last) = letters.last().filter(|_| letters.len() == limit) {
        eprintln!("more: --after {}", last.id);
    }
    Ok(ExitCode::SUCCESS)
}

fn letter(l: &store::DeadLetter) -> Value {
    json!({"id": l.id, "view": l.view, "generation": l.generation, "position": format!("{}:{}", l.partition, l.offset),
        "event_type": l.event_type, "source": l.source, "code": l.code, "reason": l.reason,
        "waits_behind_another": l.parked_behind, "key_hash": l.key_hash, "bytes": l.bytes,
        "appended_at": time(l.appended_ms), "dead_since": time(l.created_ms),
        "discarded_at": l.discarded_ms.map(time), "discard_reason": l.discard_reason})
}

fn time(ms: i64) -> String {
    domain::Micros(ms.saturating_mul(1000)).to_string()
}

/// `journeylog dead-letters show`: everything but the patient's data.
pub async fn show(settings: &Settings, id: &str) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let Some(full) = store.dead_letter(id).await? else { bail!("no dead letter {id}") };
    let mut shown = letter(&full.letter);
    // The frame says which schema was meant; the datum stays in the store.
    let schema_id = full.value.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    shown["schema_id"] = json!(schema_id.filter(|_| full.value.first() == Some(&0)));
    let (known, others) = header_names(&full.headers);
    shown["headers"] = json!(known);
    shown["other_headers"] = json!(others);
    println!("{shown:#}");
    Ok(ExitCode::SUCCESS)
}

/// Which of the headers that a publisher of this program writes there are, and how many others: anybody may write a header,
/// and may have put a patient's data into its name.
fn header_names(headers: &[(String, Vec<u8>)]) -> (Vec<&str>, usize) {
    let all = headers.iter().map(|(name, _)| name.as_str());
    let (known, others): (Vec<&str>, Vec<&str>) =
        all.partition(|name| ["event-id", "event-type", "source", "traceparent"].contains(name));
    (known, others.len())
}

/// `journeylog dead-letters summary`: how many each source has, by code.
pub async fn summary(settings: &Settings, view: Option<View>, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let mut out = std::io::stdout().lock();
    if !json {
        let [view, source, code] = ["view", "source", "code"];
        writeln!(out, "{view:12} {source:24} {code:16} {:>9} {:>9} {:>9}", "open", "waiting", "discarded")?;
    }
    for c in store.letter_counts(view.map(View::as_str)).await? {
        if json {
            writeln!(out, "{}", serde_json::to_string(&c)?)?;
        } else {
            let source = c.source.as_deref().unwrap_or("unknown");
            let counts = format!("{:>9} {:>9} {:>9}", c.open, c.waiting, c.discarded);
            writeln!(out, "{:12} {source:24} {:16} {counts}", c.view, c.code)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

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

/// `journeylog dead-letters rehearse` and `redrive`.
pub async fn redrive(
    settings: &Settings,
    selection: &Selection,
    rehearse: bool,
    json: bool,
    why: &Why,
) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, CONNECTIONS).await?;
    let (operation, decision) =
        if rehearse { ("rehearse", Decision::Rehearse) } else { ("redrive", Decision::Redrive) };
    let detail = json!({"id": selection.id, "key": selection.key, "code": selection.code});
    let view = match &selection.id {
        Some(id) => Some(view_of(id)?),
        None => selection.view.map(Into::into),
    };
    audited(&store, operation, view, selection.generation, why, detail, async {
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
                eprintln!("{}: more keys: --view {} --after {last}", view.as_str(), view.as_str());
            }
        }
        Ok(sum.end())
    })
    .await
}

/// `journeylog dead-letters discard`.
pub async fn discard(settings: &Settings, id: &str, reason: &str, json: bool) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !reason.trim().is_empty(),
        "--reason: a discarded event is missing from the view for good; say why"
    );
    let store = open_store(settings, CONNECTIONS).await?;
    let view = view_of(id)?;
    let why = Why { reason: Some(reason.to_owned()) };
    audited(&store, "discard", Some(view), None, &why, json!({"id": id}), async {
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
        let mut end = sum.end();
        end.generation = Some(info.number);
        end.result["discarded"] = json!(done.discarded);
        Ok(end)
    })
    .await
}

/// Says something to people: beside the output where that is for a program.
fn remark(json: bool, text: std::fmt::Arguments<'_>) {
    if json {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// The view that a letter's id begins with.
fn view_of(id: &str) -> anyhow::Result<View> {
    let name = id.rsplitn(4, '.').nth(3).unwrap_or_default();
    View::ALL.into_iter().find(|v| v.as_str() == name).with_context(|| format!("{id} is no id of a dead letter"))
}

/// A generation that there is: this one, or the one that readers see.
pub async fn generation(store: &Store, view: View, number: Option<i64>) -> anyhow::Result<GenerationInfo> {
    let all = store.generations(Some(view.as_str())).await?;
    let found =
        all.into_iter().find(|g| number.map_or(g.active, |n| g.number == n && g.state != store::State::Dropped));
    found.with_context(|| match number {
        Some(n) => format!("the view {} has no generation {n}", view.as_str()),
        None => format!("the view {} has not been projected yet", view.as_str()),
    })
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
            println!(
                "{}",
                json!({"view": view.as_str(), "key_hash": done.key_hash, "rehearsal": self.rehearse,
                    "letters": done.tried, "taken": done.taken, "kept": kept, "rows": rows, "unparked": done.free,
                    "more": done.more})
            );
            return;
        }
        let verb = if self.rehearse { "would go in" } else { "went in" };
        println!("{} {}: {} of {} letters {verb}", view.as_str(), done.key_hash, done.taken, done.tried);
        for d in &done.rows {
            println!(
                "  {}: {} written, {} deleted, {} changed{}",
                d.table,
                d.missing,
                d.extra,
                d.differing,
                columns(d)
            );
        }
        for k in done.kept.iter().take(SHOWN) {
            println!("  {} stays: {}", k.id, k.reason);
        }
        if done.kept.len() > SHOWN {
            println!("  and {} more stay", done.kept.len() - SHOWN);
        }
    }

    fn end(self) -> Done {
        let result = json!({"keys": self.keys, "taken": self.taken, "kept": self.kept, "codes": self.codes});
        if self.json {
            let mut line = result.clone();
            line["done"] = json!(true);
            println!("{line}");
        } else if self.keys > 1 {
            println!("{} keys: {} letters taken, {} kept", self.keys, self.taken, self.kept);
        }
        Done { generation: None, result, code: ExitCode::SUCCESS }
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

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_unknown_headers_are_not_shown() {
        let headers = ["event-id", "x-name-김", "traceparent", "x-2"].map(|n| (n.to_owned(), vec![1]));
        assert_eq!(super::header_names(&headers), (vec!["event-id", "traceparent"], 2));
    }
}
