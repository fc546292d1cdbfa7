//! `switch`, `rollback`, `drop`, `generations`: what becomes of the generations that there are.

use super::rebuild::{SWITCH_PATIENCE, connections};
use super::{Done, Why, audited, interruptible, open_log, open_store, own_log, say, step_by_step, tell};
use crate::settings::Settings;
use crate::signals::interrupted;
use crate::views::{made_by, mot, named, spec, with_view};
use anyhow::{Context as _, bail};
use domain::views::mot::Mot;
use domain::views::{Until, View};
use projector::rebuild::{self, Place};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{GenerationInfo, State, Store};

/// Connections of a drop.
const CONNECTIONS: u32 = 2;
/// How long a drop keeps trying while somebody works in the tables.
const DROP_PATIENCE: Duration = Duration::from_secs(20);

/// `journeylog switch`: lets readers see a generation; without a number, the newest that is followed.
pub async fn switch(settings: &Settings, view: View, number: Option<i64>, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, connections(settings)).await?;
    let all = store.generations(Some(view.as_str())).await?;
    let newest = || all.iter().rev().find(|g| g.state == State::Following && !g.active).map(|g| g.number);
    let number = number.or_else(newest).with_context(|| format!("{} has no generation to switch to", view.as_str()))?;
    point(settings, &store, "switch", view, number, why).await
}

/// `journeylog rollback`: lets readers see again what they saw before the last switch.
pub async fn rollback(settings: &Settings, view: View, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, connections(settings)).await?;
    let all = store.generations(Some(view.as_str())).await?;
    let seen = |g: &&GenerationInfo| g.state == State::Following && !g.active && g.activated_ms.is_some();
    let before = all.iter().filter(seen).max_by_key(|g| g.activated_ms);
    let number =
        before.with_context(|| format!("{} has no earlier generation that is followed", view.as_str()))?.number;
    point(settings, &store, "rollback", view, number, why).await
}

async fn point(
    settings: &Settings,
    store: &Store,
    operation: &str,
    view: View,
    number: i64,
    why: &Why,
) -> anyhow::Result<ExitCode> {
    let log = open_log(settings).await?;
    let cancel = interrupted()?;
    let work = interruptible(&cancel, async {
        let all = store.generations(Some(view.as_str())).await?;
        let info = all.iter().find(|g| g.number == number).with_context(|| format!("no generation {number}"))?;
        let generation = store.generation(spec(view), number).await?;
        own_log(store, log.as_ref(), view, number).await?;
        say_letters(store, view, number).await?;
        let done = with_view!(view, mot(settings)?, |make| {
            let projection = Arc::new(make(info)?);
            let place = Place { log: &log, store, progress: &Arc::default(), cancel: &cancel };
            // Nobody may have followed it: projectors of another version leave alone what they don't know.
            if let Some(active) = all.iter().find(|g| g.active && g.number != number)
                && info.state == State::Following
            {
                let options = settings.project(view)?;
                let caught_up = rebuild::catch_up(&projection, &generation, active.number, &place, &options).await?;
                if !caught_up || cancel.is_cancelled() {
                    bail!("readers see what they saw");
                }
            }
            rebuild::switch(&*projection, &generation, None, &place, SWITCH_PATIENCE).await
        })?;
        let (from, ms) = (done.from.unwrap_or(0), done.took.as_secs_f64() * 1e3);
        let view = view.as_str();
        if from == number {
            say(format_args!("{view}: readers see generation {number} already"));
        } else {
            say(format_args!("{view}: readers see generation {number} instead of {from}; the switch took {ms:.0} ms"));
        }
        let result = json!({"from": from, "to": number, "events_closed": done.closed, "switch_ms": ms});
        Ok(Done::of(Some(number), result))
    });
    audited(store, operation, Some(view), Some(number), why, json!({}), work).await
}

/// Says where readers will lack what they see now: a redrive is of one generation.
async fn say_letters(store: &Store, view: View, number: i64) -> anyhow::Result<()> {
    let all = store.progress().await?;
    let letters = |p: &&store::Progress| p.generation.view == view.as_str();
    let now = all.iter().filter(letters).find(|p| p.generation.active);
    let then = all.iter().filter(letters).find(|p| p.generation.number == number);
    if let (Some(now), Some(then)) = (now, then)
        && then.dead_letters > now.dead_letters
    {
        tell(format_args!(
            "generation {number} has {} dead letters, generation {} that readers see has {}: their records don't count in {number} \
             before `journeylog dead-letters redrive`, or a rebuild",
            then.dead_letters, now.generation.number, now.dead_letters
        ));
    }
    Ok(())
}

/// `journeylog drop`: removes a generation that readers don't see.
pub async fn drop(settings: &Settings, view: View, number: i64, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, CONNECTIONS).await?;
    let work = async {
        let begun = Instant::now();
        loop {
            match store.drop_generation(view.as_str(), number).await {
                Ok(()) => break,
                Err(e) if e.is_transient() && begun.elapsed() < DROP_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(e) => return Err(e.into()),
            }
        }
        say(format_args!("{}: generation {number} is gone", view.as_str()));
        Ok(Done::of(Some(number), json!({})))
    };
    audited(&store, "drop", Some(view), Some(number), why, json!({}), step_by_step(work)).await
}

/// `journeylog generations`.
pub async fn list(settings: &Settings, view: Option<View>, json: bool) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let configured = mot(settings)?;
    let time = |ms: i64| domain::Micros(ms.saturating_mul(1000)).to_string();
    let all = store.generations(view.map(View::as_str)).await?;
    if !json {
        let [a, b, c, d, e, f] = ["view", "generation", "state", "readers", "events", "begun"];
        say(format_args!("{a:12} {b:>10} {c:10} {d:8} {e:>12} {f:24} made by"));
    }
    for g in all {
        let at = store.checkpoints(&g.view, g.number).await?;
        let events: u64 = at.iter().map(|c| c.next_offset).sum();
        if json {
            let line = json!({"view": g.view, "generation": g.number, "state": g.state, "active": g.active,
                "events": events, "begun_at": time(g.created_ms), "activated_at": g.activated_ms.map(time),
                "made_by": serde_json::from_str::<serde_json::Value>(&g.options)?});
            say(&line);
            continue;
        }
        let readers = if g.active { "see it" } else { "" };
        say(format_args!(
            "{:12} {:>10} {:10} {readers:8} {events:>12} {:24} {}",
            g.view,
            g.number,
            g.state.as_str(),
            time(g.created_ms),
            made(&g, &configured)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// How a generation is made, in a word.
fn made(g: &GenerationInfo, configured: &Mot) -> String {
    let (Ok(made), Ok(standards)) = (made_by(g), named(g, configured)) else { return "another version".into() };
    match (standards, made.until) {
        (None, None) => "configuration".into(),
        (standards, until) => {
            let until = until.map(|u| match u {
                Until::Recorded(t) => format!("until {t}, as recorded"),
                Until::Occurred(t) => format!("until {t}, as it happened"),
                Until::Positions(_) => format!("until {}", json!(u)),
            });
            standards.into_iter().chain(until).collect::<Vec<_>>().join("; ")
        }
    }
}
