//! `pause`, `resume`: a view's projectors rest, wherever they run. `reset`: a view is made again.

use super::{Done, Why, audited, open_store, say, step_by_step, tell};
use crate::settings::Settings;
use anyhow::Context as _;
use domain::views::View;
use eventlog::LogError;
use serde_json::json;
use std::process::ExitCode;
use store::State;

/// `journeylog pause` and `journeylog resume`.
pub async fn pause(settings: &Settings, view: View, paused: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let operation = if paused { "pause" } else { "resume" };
    audited(&store, operation, Some(view), None, why, json!({}), async {
        let changed = store.pause(view.as_str(), paused).await?;
        let now = if paused { "paused" } else { "running" };
        say(format_args!("{} {} {now}", view.as_str(), if changed { "is now" } else { "was already" }));
        Ok(Done::of(None, json!({"changed": changed})))
    })
    .await
}

/// `journeylog reset`: readers see an empty generation at once, which the running projectors fill.
pub async fn reset(settings: &Settings, view: View, yes: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let name = view.as_str();
    if !yes {
        tell(format_args!(
            "reset makes {name} again from the start of the log, in sight of its readers: until it has caught up they see a \
             part of it, and ?after= waits in vain. `journeylog rebuild` makes it again without that gap. Say --yes to go on"
        ));
        return Ok(ExitCode::from(super::USAGE));
    }
    // The account is written while what was given up may still wait for a lock.
    let store = open_store(settings, 2).await?;
    let log = super::open_log(settings).await?;
    let made_by = crate::views::configured(view, &crate::views::mot(settings)?)?;
    let work = async {
        let mut strangers = Vec::new();
        let all = store.generations(Some(name)).await?;
        for g in all.iter().filter(|g| g.state == State::Following) {
            let checkpoints = store.checkpoints(name, g.number).await?;
            match projector::made_from(log.as_ref(), &checkpoints).await {
                Err(LogError::Configuration(_)) => strangers.push(g.number),
                done => done.context("log")?,
            }
        }
        let active = all.iter().find(|g| g.active).map_or(0, |g| g.number);
        let discarded = store.discarded(name, active).await?.len();
        let (new, old) = store.restart(crate::views::spec(view), &strangers, &made_by).await?;
        say(format_args!("{name}: generation {new} is what readers see from now on, filled from the start of the log"));
        say(format_args!("generation {old} stays: `journeylog status` shows both"));
        if discarded > 0 {
            say(format_args!(
                "{discarded} records that were discarded in it are judged again; a rebuild would leave them discarded"
            ));
        }
        for number in &strangers {
            say(format_args!("generation {number} was made from another log: it shows the past and goes on no more"));
        }
        if store.paused_since(name).await?.is_some() {
            say(format_args!("{name} is paused: nothing fills it before `journeylog resume`"));
        }
        let result = json!({"before": old, "of_another_log": strangers, "discarded_before": discarded});
        Ok(Done::of(Some(new), result))
    };
    audited(&store, "reset", Some(view), None, why, json!({}), step_by_step(work)).await
}
