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

/// Measures a sample, and says what is to be expected.
pub async fn plan<P: Projection>(job: &Job<'_>, projection: &Arc<P>) -> anyhow::Result<ExitCode> {
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
    let expected = folding.max(throttled) + folding * (AFTERWARDS - 1.0);
    let bytes = sample.bytes as f64 / sample.events.max(1) as f64;
    let mut shortest_first = all;
    shortest_first.sort_unstable();
    let spilled = shortest_first.iter().rev().take(partitions_in_files(workers)).sum::<u64>() as f64 * bytes / MIB;
    let mut disk = 0;
    if let Some(active) = &job.active
        && active.fits(spec(job.view))
    {
        for target in job.store.generation(spec(job.view), active.number).await?.targets() {
            disk += job.store.engine().disk_bytes(target.table).await?;
        }
    }
    let disk = disk as f64 / MIB;
    let left = job.store.unfinished_rebuild(spec(job.view), &job.options).await?;
    let done = match &left {
        Some(left) => job.store.slices(left).await?.iter().filter(|s| s.done).count(),
        None => 0,
    };
    // A view that was never made gets generation 1 first, which projectors fill.
    let next = job.store.generations(Some(job.view.as_str())).await?.last().map_or(2, |g| g.number + 1);
    let number = left.as_ref().map_or(next, |g| g.number);
    let now = job.active.as_ref().map_or(0, |g| g.number);
    let discarded = job.store.discarded(job.view.as_str(), now).await?.len();
    if job.arguments.json {
        let line = json!({"view": job.view.as_str(), "events": events, "partitions": bounds.len(), "slices": slices,
            "rate_per_worker": rate.round(), "workers": workers, "expected_seconds": expected, "disk_mib": disk.round(),
            "temporary_mib": spilled.round(), "generation": number, "goes_on": left.is_some(), "slices_done": done,
            "readers_see": now, "switches": job.until.is_none(), "discarded": discarded, "made_by": serde_json::from_str::<Value>(&job.options)?});
        say(&line);
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("view         {}", job.view.as_str()));
    say(format_args!(
        "events       {events} in {} partitions, {slices} slices of about {}",
        bounds.len(),
        events.checked_div(slices).unwrap_or(0)
    ));
    say(format_args!(
        "rate         {rate:.0} events/s by one worker, measured on {} events; {workers} workers",
        sample.events
    ));
    say(format_args!("time         about {expected:.0} s, indexes and comparison included"));
    let files = match spilled {
        0.0 => String::new(),
        mib => format!("; up to {mib:.0} MiB of temporary files in {}", std::env::temp_dir().display()),
    };
    say(format_args!("disk         about {disk:.0} MiB, as generation {now} takes{files}"));
    match &left {
        Some(_) => say(format_args!("generation   {number}, begun earlier: {done} of its slices are done")),
        None => say(format_args!("generation   {number}, new")),
    }
    let standards: Vec<_> = job.arguments.standard.iter().map(|p| p.display().to_string()).collect();
    if !standards.is_empty() {
        say(format_args!("standards    {}", standards.join(", ")));
    }
    say(format_args!("discarded    {discarded} records, which stay discarded"));
    let seen = if now == 0 { "nothing yet".to_owned() } else { format!("generation {now}") };
    if job.until.is_some() {
        say(format_args!("readers      see {seen}, and go on with it; {number} never moves: ?generation={number}"));
    } else {
        say(format_args!(
            "readers      see {seen} until the switch, and {number} from then on; projectors keep both up to date"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
