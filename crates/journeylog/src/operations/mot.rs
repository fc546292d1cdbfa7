//! `mot compare`: the MOT cycle's before and after (M3, D1), from two generations of the view.

use super::open_store;
use crate::settings::Settings;
use crate::views::spec;
use anyhow::Context as _;
use domain::views::View;
use domain::views::mot::Mot;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use store::views::mot::compare::{Change, Group, Journey, journeys, touchpoints};
use store::{GenerationInfo, Store};

/// What is compared.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Two generations of the view mot side by side: by touchpoint, department and journey.
    Compare {
        /// Generation that was before.
        before: i64,
        /// Generation that is after.
        after: i64,
        /// How many journeys to show.
        #[arg(long, default_value_t = 10)]
        examples: usize,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// `journeylog mot …`.
pub async fn run(settings: &Settings, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Compare { before, after, examples, json } => compare(settings, [before, after], examples, json).await,
    }
}

/// `journeylog mot compare BEFORE AFTER`.
async fn compare(settings: &Settings, pair: [i64; 2], examples: usize, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let configured = crate::views::mot(settings)?;
    let names = [named(&store, pair[0], &configured).await?, named(&store, pair[1], &configured).await?];
    let engine = store.engine();
    let by_touchpoint = touchpoints(engine, pair, Group::Touchpoint).await?;
    let by_department = touchpoints(engine, pair, Group::Department).await?;
    let (all, changed, examples) = journeys(engine, pair, examples).await?;
    let mut out = std::io::stdout().lock();
    if json {
        let body = json!({
            "before": names[0], "after": names[1],
            "touchpoints": by_touchpoint.iter().map(shown).collect::<Vec<_>>(),
            "departments": by_department.iter().map(shown).collect::<Vec<_>>(),
            "journeys": {"count": all, "changed": changed, "examples": examples.iter().map(example).collect::<Vec<_>>()},
        });
        writeln!(out, "{body}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "before: {}\nafter:  {}",
        names[0].as_str().unwrap_or_default(),
        names[1].as_str().unwrap_or_default()
    )?;
    for (title, changes) in [("touchpoint", &by_touchpoint), ("department", &by_department)] {
        writeln!(
            out,
            "\n{title:<24} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8} {:>7}",
            "count", "changed", "up", "down", "before", "after", "diff"
        )?;
        for c in changes {
            let [before, after] = [mean(c, 0), mean(c, 1)];
            let diff = before.zip(after).map(|(b, a)| a - b);
            writeln!(
                out,
                "{:<24} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8} {:>7}",
                c.name.as_deref().unwrap_or("-"),
                c.touchpoints,
                c.changed,
                c.up,
                c.down,
                points(before),
                points(after),
                diff.map_or("-".into(), |d| format!("{d:+.1}"))
            )?;
        }
    }
    writeln!(
        out,
        "\n{changed} of {all} journeys have another score{}",
        if examples.is_empty() { "" } else { ", such as" }
    )?;
    for j in &examples {
        let [b, a] = j.score.map(|s| points(s.map(hundredths)));
        writeln!(out, "  {}  {b} -> {a}  {}", j.journey_id, j.department.as_deref().unwrap_or("-"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a generation is, for the heading.
async fn named(store: &Store, number: i64, configured: &Mot) -> anyhow::Result<Value> {
    store.generation(spec(View::Mot), number).await?;
    let all = store.generations(Some(View::Mot.as_str())).await?;
    let info: &GenerationInfo = all.iter().find(|g| g.number == number).context("the generation is gone")?;
    let standards = crate::views::named(info, configured)?.unwrap_or_else(|| "the configured standards".to_owned());
    let active = if info.active { ", what readers see" } else { "" };
    Ok(json!(format!("generation {number} ({standards}{active})")))
}

#[allow(clippy::cast_precision_loss, reason = "sums of scores are far below 2^52")]
fn hundredths(v: i64) -> f64 {
    v as f64 / 100.0
}

#[allow(clippy::cast_precision_loss, reason = "counts and sums are far below 2^52")]
fn mean(c: &Change, i: usize) -> Option<f64> {
    (c.scored[i] > 0).then(|| hundredths(c.sum[i]) / c.scored[i] as f64)
}

fn points(v: Option<f64>) -> String {
    v.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"))
}

fn shown(c: &Change) -> Value {
    json!({"name": c.name, "count": c.touchpoints, "changed": c.changed, "up": c.up, "down": c.down,
        "scored_before": c.scored[0], "scored_after": c.scored[1], "mean_before": mean(c, 0), "mean_after": mean(c, 1),
        "top_box_before": c.top[0], "top_box_after": c.top[1]})
}

fn example(j: &Journey) -> Value {
    let [before, after] = j.score.map(|s| s.map(hundredths));
    json!({"journey_id": j.journey_id, "department": j.department, "before": before, "after": after})
}
