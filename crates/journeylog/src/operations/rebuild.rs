//! `rebuild`: a further generation of a view, filled from the start of the log beside the live one, compared and switched to.

mod arguments;
mod meter;
mod plan;

pub use arguments::Arguments;

use super::{Done, audited, interruptible, open_store, own_log, say};
use crate::commands::REFUSED;
use crate::settings::Settings;
use crate::signals::interrupted;
use crate::views::{configured, mot, spec, with_view};
use anyhow::{Context as _, bail};
use domain::views::{Until, View};
use eventlog::Log;
use meter::Meter;
use projector::Projection;
use projector::rebuild::{self, Place, Progress};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Comparison, Generation, GenerationInfo, State, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How long a rebuild keeps trying while the log or the store is away.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a switch keeps trying for its locks, and for the generation to come close enough.
pub const SWITCH_PATIENCE: Duration = Duration::from_secs(20);
/// Connections besides the workers'.
const CONNECTIONS: usize = 4;

/// What a rebuild works with.
struct Job<'a> {
    arguments: &'a Arguments,
    settings: &'a Settings,
    view: View,
    store: Store,
    log: Arc<dyn Log>,
    /// What readers see; nothing where this version can't read its tables.
    active: Option<GenerationInfo>,
    options: String,
    until: Option<Until>,
}

/// `journeylog rebuild`.
pub async fn rebuild(settings: &Settings, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let view: View = arguments.view.into();
    let mot = mot(settings)?;
    let made = arguments.made_by(&mot)?;
    let options = serde_json::to_string(&made)?;
    let log = super::open_log(settings).await?;
    let store = open_store(settings, connections(settings)).await?;
    let find = async || anyhow::Ok(store.generations(Some(view.as_str())).await?.into_iter().find(|g| g.active));
    let mut active = find().await?;
    if active.is_none() && !arguments.plan {
        store.ensure_view(spec(view), &configured(view, &mot)?).await?;
        active = find().await?;
    }
    let job = Job { arguments, settings, view, store, log, active, options, until: made.until };
    with_view!(view, mot, |make| job.run(make).await)
}

impl Job<'_> {
    async fn run<P: Projection>(
        &self,
        make: impl Fn(&GenerationInfo) -> Result<P, StoreError>,
    ) -> anyhow::Result<ExitCode> {
        let planned = GenerationInfo::planned(spec(self.view), &self.options);
        let projection = Arc::new(make(&planned)?);
        if self.arguments.plan {
            return plan::plan(self, &projection).await;
        }
        let detail = json!({"throttle": self.arguments.throttle, "no_switch": self.arguments.no_switch,
            "accept_differences": self.arguments.accept_differences, "until": self.arguments.until,
            "standards": self.arguments.standard.iter().map(|p| p.display().to_string()).collect::<Vec<_>>()});
        let (store, why, cancel) = (&self.store, &self.arguments.why, interrupted()?);
        let work = interruptible(&cancel, self.build(&projection, &cancel));
        audited(store, "rebuild", Some(self.view), None, why, detail, work).await
    }

    async fn build<P: Projection>(&self, projection: &Arc<P>, cancel: &CancellationToken) -> anyhow::Result<Done> {
        if let Some(active) = &self.active {
            own_log(&self.store, self.log.as_ref(), self.view, active.number).await?;
        }
        let generation = self.begin().await?;
        let number = generation.number;
        let progress = Arc::new(Progress::default());
        let meter = Meter::start(self.view, number, self.arguments.json, progress.clone());
        let begun = Instant::now();
        let options = rebuild::Options {
            workers: self.settings.projector.workers,
            throttle: self.arguments.throttle,
            patience: PATIENCE,
            then: if self.until.is_some() { State::Frozen } else { State::Following },
            live: self.active.as_ref().map(|g| g.number),
        };
        let place = Place { log: &self.log, store: &self.store, progress: &progress, cancel };
        let filled = rebuild::rebuild(projection, &generation, &place, &options).await?;
        if !filled {
            bail!("the same command goes on with generation {number} where it was");
        }
        let filled = begun.elapsed();
        if self.until.is_some() {
            meter.end().await;
            self.say_filled(number, &progress, filled);
            self.say(format!("it never moves; read it with ?generation={number}"));
            let result = json!({"events": progress.events().1, "resumed": progress.resumed(),
                "seconds": filled.as_secs_f64(), "switched": false});
            self.say_last(number, &result);
            return Ok(Done::of(Some(number), result));
        }
        let difference = self.beside(projection, &generation, &place).await?;
        meter.end().await;
        let differs = difference.as_ref().is_none_or(|c| c.differences() > 0);
        let expected = self.arguments.accept_differences || !self.arguments.standard.is_empty();
        let mut result = json!({"events": progress.events().1, "resumed": progress.resumed(), "seconds": filled.as_secs_f64(),
            "comparison": difference, "switched": false});
        self.say_filled(number, &progress, filled);
        self.say_difference(number, difference.as_ref());
        let mut code = ExitCode::SUCCESS;
        if differs && !expected {
            code = ExitCode::from(REFUSED);
        }
        if !self.arguments.no_switch && (!differs || expected) {
            let live = self.active.as_ref().map(|g| g.number);
            let done = rebuild::switch(&**projection, &generation, live, &place, SWITCH_PATIENCE).await;
            let done = done.with_context(|| {
                let view = self.view.as_str().replace('_', "-");
                format!(
                    "not switched, generation {number} stays beside: `journeylog verify {view} --generation {number}` compares it \
                     with the log, `journeylog switch {view} {number}` lets readers see it"
                )
            })?;
            let ms = done.took.as_secs_f64() * 1e3;
            self.say(format!("readers see generation {number}; the switch took {ms:.0} ms"));
            result["switched"] = json!(true);
            result["switch_ms"] = json!(ms);
        } else if !self.arguments.no_switch {
            let (view, active) = (self.view.as_str().replace('_', "-"), self.active.as_ref().map_or(0, |g| g.number));
            self.say(format!(
                "not switched: readers still see generation {active}. Accept the difference with `journeylog switch {view} \
                 {number}`, or remove what was built with `journeylog drop {view} {number}`"
            ));
        }
        self.say_last(number, &result);
        Ok(Done { code, ..Done::of(Some(number), result) })
    }

    /// The last line, for scripts.
    fn say_last(&self, number: i64, result: &Value) {
        if !self.arguments.json {
            return;
        }
        let mut last = json!({"done": true, "view": self.view.as_str(), "generation": number});
        if let (Some(last), Value::Object(result)) = (last.as_object_mut(), result.clone()) {
            last.extend(result);
        }
        say(last);
    }

    /// The generation that an interrupted rebuild of the same kind has left, or a new one.
    async fn begin(&self) -> anyhow::Result<Generation> {
        let spec = spec(self.view);
        if let Some(left) = self.store.unfinished_rebuild(spec, &self.options).await? {
            let (view, number) = (self.view.as_str().replace('_', "-"), left.number);
            self.say(format!(
                "going on with generation {number}; to begin anew instead, first `journeylog drop {view} {number}`"
            ));
            return Ok(left);
        }
        let bounds = self.bounds().await?;
        Ok(self.store.begin_rebuild(spec, &self.options, &bounds, self.slice_events()).await?)
    }

    /// What there is to fold.
    async fn bounds(&self) -> anyhow::Result<Vec<(u64, u64)>> {
        let mut bounds = rebuild::bounds(self.log.as_ref()).await?;
        if let Some(Until::Positions(ends)) = &self.until {
            for (partition, last) in ends {
                match bounds.get(*partition as usize) {
                    None => bail!("--until: the log has no partition {partition}, but {}", bounds.len()),
                    Some((_, end)) if last >= end => {
                        bail!("--until: partition {partition} of the log ends before {end}, and has no position {last}")
                    }
                    Some(_) => {}
                }
            }
            for (partition, (_, end)) in (0_u32..).zip(&mut bounds) {
                *end = (*end).min(ends.get(&partition).map_or(0, |last| last.saturating_add(1)));
            }
        }
        Ok(bounds)
    }

    fn slice_events(&self) -> u64 {
        self.arguments.slice_events.unwrap_or_else(|| self.store.engine().slice_events()).max(1)
    }

    /// Brings a filled generation up to the live one and compares them; nothing where the live one can't be compared with.
    async fn beside<P: Projection>(
        &self,
        projection: &Arc<P>,
        generation: &Generation,
        place: &Place<'_>,
    ) -> anyhow::Result<Option<Comparison>> {
        let Some(active) = &self.active else { return Ok(None) };
        let options = self.settings.project(self.view)?;
        let mut found = None;
        let caught_up = rebuild::catch_up(projection, generation, active.number, place, &options).await?;
        if caught_up && active.fits(spec(self.view)) {
            let live = self.store.generation(spec(self.view), active.number).await?;
            found = rebuild::compare(&**projection, &live, generation, place).await?;
        }
        if !caught_up || place.cancel.is_cancelled() {
            let (view, number) = (self.view.as_str().replace('_', "-"), generation.number);
            bail!("generation {number} is filled and followed: `journeylog switch {view} {number}`");
        }
        Ok(found)
    }

    fn say(&self, line: impl std::fmt::Display) {
        if !self.arguments.json {
            say(line);
        }
    }

    fn say_filled(&self, number: i64, progress: &Progress, took: Duration) {
        let events = progress.events().1;
        let folded = events - progress.resumed();
        let (seconds, rate) = (took.as_secs_f64(), folded as f64 / took.as_secs_f64().max(0.001));
        let rest = if progress.resumed() > 0 { format!(" ({folded} of them now)") } else { String::new() };
        self.say(format!(
            "generation {number} of {}: {events} events{rest} in {seconds:.1} s, {rate:.0} a second, indexes included",
            self.view.as_str()
        ));
    }

    fn say_difference(&self, number: i64, found: Option<&Comparison>) {
        let old = self.active.as_ref().map_or(0, |g| g.number);
        let Some(found) = found else {
            return self.say(format!(
                "not compared: generation {old} was made by another version, or is too far behind the log"
            ));
        };
        let left_out = found.keys_left_out;
        let moving = if left_out > 0 { format!("; {left_out} keys in motion left out") } else { String::new() };
        let letters = found.dead_letters.differences();
        if found.differences() == 0 {
            let rows: i64 = found.tables.iter().map(|t| t.rows[1]).sum();
            return self.say(format!("compared with generation {old}: {rows} rows, none differs{moving}"));
        }
        let rows = found.differences() - letters;
        let letters = if letters > 0 { format!(", and {letters} dead letters") } else { String::new() };
        self.say(format!(
            "compared with generation {old}: {rows} {}{letters}{moving}",
            if rows == 1 { "row differs" } else { "rows differ" }
        ));
        self.say(format!(
            "  {:24} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "table",
            format!("rows g{old}"),
            format!("rows g{number}"),
            format!("only g{old}"),
            format!("only g{number}"),
            "differing"
        ));
        let all = || found.tables.iter().chain([&found.dead_letters]);
        for t in all() {
            let [a, b] = t.rows;
            let (oa, ob, d) = (t.only_first, t.only_second, t.differing);
            self.say(format!("  {:24} {a:>10} {b:>10} {oa:>10} {ob:>10} {d:>10}", t.table));
        }
        for (t, s) in all().flat_map(|t| t.samples.iter().map(move |s| (t, s))) {
            let what = s.what.replace("first", &format!("g{old}")).replace("second", &format!("g{number}"));
            self.say(format!("  {} of key {}: {what} {}", t.table, s.key_hash, s.columns.join(", ")));
        }
    }
}

/// Connections of what may follow a generation besides its own work.
pub fn connections(settings: &Settings) -> u32 {
    u32::try_from(2 * settings.projector.workers + CONNECTIONS).unwrap_or(u32::MAX)
}
