//! `dead-letters`: what a view could not take, and what becomes of it. Nothing here shows a patient's data.

mod redrive;

pub use redrive::{Again, columns};

use super::open_store;
use crate::cli::ViewName;
use crate::operations::{say, tell};
use crate::settings::Settings;
use anyhow::{Context as _, bail};
use domain::views::View;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use store::{GenerationInfo, Letters, Store};

/// What is done about dead letters.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List them, oldest first.
    List {
        /// Of one view only.
        #[arg(long)]
        view: Option<ViewName>,
        /// Most to list.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// Only those after this id.
        #[arg(long)]
        after: Option<String>,
        /// Those that were discarded, instead.
        #[arg(long)]
        discarded: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one.
    Show {
        /// Its id.
        id: String,
    },
    /// Count them by source and code.
    Summary {
        /// Of one view only.
        #[arg(long)]
        view: Option<ViewName>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show what a redrive would change; changes nothing.
    Rehearse(Again),
    /// Fold them with the present code, in order per patient; what still fails stays.
    Redrive(Again),
    /// Give one up; what waited behind it goes in.
    Discard {
        /// Its id.
        id: String,
        /// Why; kept with it.
        #[arg(long, value_parser = super::reason)]
        reason: String,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// `journeylog dead-letters …`.
pub async fn run(settings: &Settings, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { view, limit, after, discarded, json } => {
            let view = view.map(|v| View::from(v).as_str());
            let which = Letters { view, discarded, ..Default::default() };
            list(settings, which, after.as_deref(), limit as usize, json).await
        }
        Command::Show { id } => show(settings, &id).await,
        Command::Summary { view, json } => summary(settings, view.map(Into::into), json).await,
        Command::Rehearse(again) => redrive::redrive(settings, &again, true).await,
        Command::Redrive(again) => redrive::redrive(settings, &again, false).await,
        Command::Discard { id, reason, json } => redrive::discard(settings, &id, &reason, json).await,
    }
}

/// `journeylog dead-letters list`.
async fn list(
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
        tell(format_args!("more: --after {}", last.id));
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
async fn show(settings: &Settings, id: &str) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let Some(full) = store.dead_letter(id).await? else { bail!("no dead letter {id}") };
    let mut shown = letter(&full.letter);
    // The frame says which schema was meant; the datum stays in the store.
    let schema_id = full.value.get(1..5).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    shown["schema_id"] = json!(schema_id.filter(|_| full.value.first() == Some(&0)));
    let (known, others) = header_names(&full.headers);
    shown["headers"] = json!(known);
    shown["other_headers"] = json!(others);
    say(format_args!("{shown:#}"));
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
async fn summary(settings: &Settings, view: Option<View>, json: bool) -> anyhow::Result<ExitCode> {
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

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_unknown_headers_are_not_shown() {
        let headers = ["event-id", "x-name-김", "traceparent", "x-2"].map(|n| (n.to_owned(), vec![1]));
        assert_eq!(super::header_names(&headers), (vec!["event-id", "traceparent"], 2));
    }
}
