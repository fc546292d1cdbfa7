//! `journeylog operations`: who did what to the views, when, why, and with what result.

use super::open_store;
use crate::settings::Settings;
use domain::{Micros, views::View};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use store::Operation;

/// `journeylog operations`: the latest first.
pub async fn operations(settings: &Settings, view: Option<View>, limit: usize, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let mut out = std::io::stdout().lock();
    for o in store.operations(view.map(View::as_str), limit).await? {
        let line = if json { object(&o).to_string() } else { text(&o) };
        match writeln!(out, "{line}") {
            // Whoever read the lines has enough, as `head` does.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => break,
            done => done?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn time(ms: i64) -> String {
    Micros(ms.saturating_mul(1000)).to_string()
}

fn object(o: &Operation) -> Value {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    json!({
        "id": o.id, "operator": o.operator, "operation": o.operation, "view": o.view, "generation": o.generation,
        "reason": o.reason, "detail": parsed(&o.detail), "begun_at": time(o.begun_ms), "ended_at": o.ended_ms.map(time),
        "outcome": o.outcome, "result": o.result.as_deref().map(parsed),
    })
}

fn text(o: &Operation) -> String {
    let mut line = format!("{}  {}  {}", time(o.begun_ms), o.operator, o.operation);
    if let Some(view) = &o.view {
        line.push_str(&format!(" {view}"));
    }
    if let Some(generation) = o.generation {
        line.push_str(&format!(", generation {generation}"));
    }
    // One that has no end still runs, or was killed.
    line.push_str(&format!(": {}", o.outcome.as_deref().unwrap_or("not ended")));
    if let Some(ended) = o.ended_ms {
        line.push_str(&format!(" after {:.1} s", (ended - o.begun_ms) as f64 / 1000.0));
    }
    // Figures only; --json has it all.
    if let Some(Ok(Value::Object(result))) = o.result.as_deref().map(serde_json::from_str::<Value>) {
        for (name, value) in result.iter().filter(|(_, v)| !v.is_object() && !v.is_array() && !v.is_null()) {
            line.push_str(&format!(", {name}: {value}"));
        }
    }
    if let Some(reason) = &o.reason {
        line.push_str(&format!("; reason: {reason}"));
    }
    // A row of an earlier build may hold what would look like a further line.
    let mut printed = String::with_capacity(line.len());
    for c in line.chars() {
        if c.is_control() {
            printed.extend(c.escape_default());
        } else {
            printed.push(c);
        }
    }
    printed
}
