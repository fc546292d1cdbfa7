//! `rebuild --plan`: what a rebuild would do, take and need.

use super::Job;
use crate::operations::say;
use crate::views::spec;
use projector::Projection;
use projector::rebuild::{SPARE_WORKERS, partitions_in_files, sample};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

/// Share that making indexes and comparing add to the time of folding and writing.
const AFTERWARDS: f64 = 1.3;
/// Bytes of a mebibyte.
const MIB: f64 = 1024.0 * 1024.0;

/// What is to be expected.
struct Plan {
    events: u64,
    partitions: usize,
    slices: u64,
    /// Events per second by one worker, measured on `sampled` events.
    rate: f64,
    sampled: usize,
    workers: usize,
    seconds: f64,
    disk_mib: f64,
    temporary_mib: f64,
    generation: i64,
    /// Slices that an earlier rebuild has done, where this one goes on.
    done: Option<usize>,
    readers_see: i64,
    discarded: usize,
}

/// Measures a sample, and says what is to be expected.
pub async fn plan<P: Projection>(job: &Job<'_>, projection: &Arc<P>) -> anyhow::Result<ExitCode> {
    let plan = measure(job, projection).await?;
    if job.arguments.json {
        say(plan.line(job)?);
    } else {
        plan.tell(job);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure<P: Projection>(job: &Job<'_>, projection: &Arc<P>) -> anyhow::Result<Plan> {
    let bounds = job.bounds().await?;
    let all: Vec<u64> = bounds.iter().map(|(from, to)| to - from).collect();
    let events: u64 = all.iter().sum();
    let each = job.slice_events();
    let slices: u64 = all.iter().map(|n| store::slices_of(*n, each)).sum();
    let sample = sample(projection, &job.log, &job.store, &bounds).await?;
    let rate = sample.events as f64 / sample.took.as_secs_f64().max(0.001);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = job.settings.projector.workers.max(1);
    let folding = events as f64 / rate.max(1.0) / (workers.min(cores) + SPARE_WORKERS) as f64;
    let throttled = job.arguments.throttle.map_or(0.0, |most| events as f64 / f64::from(most.get()));
    let bytes = sample.bytes as f64 / sample.events.max(1) as f64;
    let mut shortest_first = all;
    shortest_first.sort_unstable();
    let spilled = shortest_first.iter().rev().take(partitions_in_files(workers)).sum::<u64>() as f64 * bytes;
    let mut disk = 0;
    if let Some(active) = &job.active
        && active.fits(spec(job.view))
    {
        for target in job.store.generation(spec(job.view), active.number).await?.targets() {
            disk += job.store.engine().disk_bytes(target.table).await?;
        }
    }
    let left = job.store.unfinished_rebuild(spec(job.view), &job.options).await?;
    let done = match &left {
        Some(left) => Some(job.store.slices(left).await?.iter().filter(|s| s.done).count()),
        None => None,
    };
    // A view that was never made gets generation 1 first, which projectors fill.
    let next = job.store.generations(Some(job.view.as_str())).await?.last().map_or(2, |g| g.number + 1);
    let readers_see = job.active.as_ref().map_or(0, |g| g.number);
    Ok(Plan {
        events,
        partitions: bounds.len(),
        slices,
        rate,
        sampled: sample.events,
        workers,
        seconds: folding.max(throttled) + folding * (AFTERWARDS - 1.0),
        disk_mib: disk as f64 / MIB,
        temporary_mib: spilled / MIB,
        generation: left.as_ref().map_or(next, |g| g.number),
        done,
        readers_see,
        discarded: job.store.discarded(job.view.as_str(), readers_see).await?.len(),
    })
}

impl Plan {
    fn line(&self, job: &Job<'_>) -> anyhow::Result<Value> {
        Ok(json!({
            "view": job.view.as_str(), "events": self.events, "partitions": self.partitions, "slices": self.slices,
            "rate_per_worker": self.rate.round(), "workers": self.workers, "expected_seconds": self.seconds,
            "disk_mib": self.disk_mib.round(), "temporary_mib": self.temporary_mib.round(),
            "generation": self.generation, "goes_on": self.done.is_some(), "slices_done": self.done.unwrap_or(0),
            "readers_see": self.readers_see, "switches": job.until.is_none(), "discarded": self.discarded,
            "made_by": serde_json::from_str::<Value>(&job.options)?,
        }))
    }

    fn tell(&self, job: &Job<'_>) {
        let Self {
            events,
            partitions,
            slices,
            rate,
            sampled,
            workers,
            seconds,
            generation,
            readers_see,
            discarded,
            ..
        } = self;
        say(format_args!("view         {}", job.view.as_str()));
        let each = events.checked_div(*slices).unwrap_or(0);
        say(format_args!("events       {events} in {partitions} partitions, {slices} slices of about {each}"));
        say(format_args!(
            "rate         {rate:.0} events/s by one worker, measured on {sampled} events; {workers} workers"
        ));
        say(format_args!("time         about {seconds:.0} s, indexes and comparison included"));
        let files = match self.temporary_mib {
            0.0 => String::new(),
            mib => format!("; up to {mib:.0} MiB of temporary files in {}", std::env::temp_dir().display()),
        };
        say(format_args!("disk         about {:.0} MiB, as generation {readers_see} takes{files}", self.disk_mib));
        match self.done {
            Some(done) => say(format_args!("generation   {generation}, begun earlier: {done} of its slices are done")),
            None => say(format_args!("generation   {generation}, new")),
        }
        let standards: Vec<_> = job.arguments.standard.iter().map(|p| p.display().to_string()).collect();
        if !standards.is_empty() {
            say(format_args!("standards    {}", standards.join(", ")));
        }
        say(format_args!("discarded    {discarded} records, which stay discarded"));
        let seen = if *readers_see == 0 { "nothing yet".to_owned() } else { format!("generation {readers_see}") };
        if job.until.is_some() {
            say(format_args!(
                "readers      see {seen}, and go on with it; {generation} never moves: ?generation={generation}"
            ));
        } else {
            say(format_args!(
                "readers      see {seen} until the switch, and {generation} from then on; projectors keep both up to date"
            ));
        }
    }
}
