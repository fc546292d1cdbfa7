//! How far each view has come: `GET /v1/status`, and what `journeylog status` prints.

use crate::{App, Problem, after::Position, problem::Json};
use axum::{Extension, Router, extract::State, routing::get};
use domain::Micros;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Progress;
use utoipa::ToSchema;

/// How long a look at the checkpoints is remembered: rates are over this time at most.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Two looks nearer to each other than this give no rate.
const APART: Duration = Duration::from_millis(500);

/// Routes; [`Samples`] come as an extension.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/status", get(status))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(status), tags((name = "status", description = "How far each view has come")))]
pub struct Doc;

/// How far the views have come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Status {
    /// By view.
    pub views: Vec<ViewStatus>,
}

/// How far a view has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ViewStatus {
    /// Name.
    pub view: String,
    /// Since when its projectors rest by `journeylog pause`, RFC 3339; null while they don't.
    pub paused_since: Option<String>,
    /// The generation that readers see.
    #[serde(flatten)]
    pub active: GenerationStatus,
    /// Its other generations.
    pub others: Vec<GenerationStatus>,
}

/// How far a generation of a view has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GenerationStatus {
    /// Number.
    pub generation: i64,
    /// `following`: projectors keep it up to date; `building`: a rebuild fills it; `frozen`: it shows the past.
    pub state: String,
    /// Position token of what it reflects, as `?after=` takes it.
    pub position: String,
    /// Events of the log that it has not taken yet.
    pub lag_events: u64,
    /// Age of the newest event that it has taken while others wait, seconds: the largest of the partitions; 0 when none waits.
    /// Null where events wait in a partition of which it has taken none yet.
    pub lag_seconds: Option<f64>,
    /// Events that it took per second, over the last 30 seconds or as long as this process has looked; null before the
    /// second look.
    pub events_per_s: Option<f64>,
    /// Seconds until no event waits, if the lag goes on shrinking as it did over that time; 0 when none waits, null while it
    /// doesn't shrink or that isn't known.
    pub eta_s: Option<f64>,
    /// Keys whose events wait behind a dead letter.
    pub parked_keys: u64,
    /// Records that it could not take, and those that wait behind them.
    pub dead_letters: u64,
    /// By partition.
    pub partitions: Vec<PartitionStatus>,
}

/// How far a generation has come in a partition.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PartitionStatus {
    /// Partition.
    pub partition: u32,
    /// Offset of the first event not taken.
    pub next_offset: u64,
    /// Offset after the log's last event.
    pub end_offset: u64,
    /// Events not taken.
    pub lag_events: u64,
    /// Seconds; see the view's.
    pub lag_seconds: Option<f64>,
    /// When the generation last moved on, RFC 3339.
    pub updated_at: String,
}

/// What was seen of each generation lately, for rates.
#[derive(Debug, Default)]
pub struct Samples(Mutex<BTreeMap<(String, i64), VecDeque<Sample>>>);

/// One look at a generation.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    taken: u64,
    lag: u64,
}

impl Samples {
    /// Remembers a look, and answers with the oldest one that counts.
    fn add(&self, key: (&str, i64), now: Sample) -> Option<Sample> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, looks| looks.back().is_some_and(|l| now.at.saturating_duration_since(l.at) < REMEMBERED));
        let looks = all.entry((key.0.to_owned(), key.1)).or_default();
        while looks.front().is_some_and(|l| now.at.saturating_duration_since(l.at) > REMEMBERED) {
            looks.pop_front();
        }
        if looks.back().is_none_or(|l| now.at.saturating_duration_since(l.at) >= APART) {
            looks.push_back(now);
        }
        looks.front().copied().filter(|l| now.at.saturating_duration_since(l.at) >= APART)
    }
}

/// How far the generations have come: `progress` from the store and `ends` from the log as they were at `at`, which is
/// `now_ms` milliseconds since 1970.
#[must_use]
pub fn of(samples: &Samples, progress: Vec<Progress>, ends: &[u64], at: Instant, now_ms: i64) -> Status {
    let mut views: Vec<ViewStatus> = Vec::new();
    let mut beside: Vec<(String, GenerationStatus)> = Vec::new();
    for p in progress {
        let status = generation(samples, &p, ends, at, now_ms);
        if p.generation.active {
            let paused_since = p.paused_since.map(time);
            views.push(ViewStatus { view: p.generation.view, paused_since, active: status, others: Vec::new() });
        } else {
            beside.push((p.generation.view, status));
        }
    }
    for (name, status) in beside {
        if let Some(view) = views.iter_mut().find(|v| v.view == name) {
            view.others.push(status);
        }
    }
    Status { views }
}

/// How far each view has come
#[utoipa::path(get, path = "/v1/status", tag = "status",
    responses((status = 200, body = Status), (status = 503, body = Problem)))]
async fn status(
    State(app): State<Arc<App>>,
    Extension(samples): Extension<Arc<Samples>>,
) -> Result<Json<Status>, Problem> {
    // The store first: what it has taken was in the log before.
    let progress = app.store.progress().await?;
    let ends = app.publish.ends().await?;
    Ok(Json(of(&samples, progress, &ends, Instant::now(), (app.now)().0 / 1000)))
}

fn time(ms: i64) -> String {
    Micros(ms.saturating_mul(1000)).to_string()
}

fn generation(samples: &Samples, p: &Progress, ends: &[u64], at: Instant, now_ms: i64) -> GenerationStatus {
    let reflected = p.partitions.iter().filter_map(|c| Some((c.partition, c.next_offset.checked_sub(1)?))).collect();
    let partitions: Vec<PartitionStatus> =
        (0u32..).zip(ends).map(|(partition, end)| partition_status(p, partition, *end, now_ms)).collect();
    let lag: u64 = partitions.iter().map(|p| p.lag_events).sum();
    let taken = partitions.iter().map(|p| p.next_offset).sum();
    let key = (p.generation.view.as_str(), p.generation.number);
    let before = samples.add(key, Sample { at, taken, lag });
    let over = |before: Sample| at.saturating_duration_since(before.at).as_secs_f64();
    let shrunk = before.map(|b| (b.lag as f64 - lag as f64) / over(b));
    GenerationStatus {
        generation: p.generation.number,
        state: p.generation.state.as_str().to_owned(),
        position: Position(reflected).to_string(),
        lag_events: lag,
        lag_seconds: partitions.iter().try_fold(0.0, |most, p| p.lag_seconds.map(|s| f64::max(most, s))),
        events_per_s: before.map(|b| taken.saturating_sub(b.taken) as f64 / over(b)),
        eta_s: if lag == 0 { Some(0.0) } else { shrunk.filter(|s| *s > 0.0).map(|s| lag as f64 / s) },
        parked_keys: p.partitions.iter().map(|c| c.parked).sum(),
        dead_letters: p.dead_letters,
        partitions,
    }
}

fn partition_status(p: &Progress, partition: u32, end: u64, now_ms: i64) -> PartitionStatus {
    let at = p.partitions.iter().find(|c| c.partition == partition);
    let next = at.map_or(0, |c| c.next_offset);
    let lag_events = end.saturating_sub(next);
    let since_ms = match lag_events {
        0 => Some(0),
        _ => at.filter(|c| c.appended_ms > 0).map(|c| now_ms.saturating_sub(c.appended_ms).max(0)),
    };
    PartitionStatus {
        partition,
        next_offset: next,
        end_offset: end,
        lag_events,
        lag_seconds: since_ms.map(|ms| ms as f64 / 1000.0),
        updated_at: time(at.map_or(0, |c| c.updated_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{Checkpoint, Store, ViewSpec};

    fn at(partition: u32, next_offset: u64, appended_ms: i64) -> Checkpoint {
        Checkpoint { partition, next_offset, appended_ms, updated_at: 5, parked: 0, last_hash: 0 }
    }

    /// Two generations of a view, of which the second is active, with these checkpoints.
    async fn progress(partitions: &[Checkpoint]) -> Vec<Progress> {
        let (store, spec) = (
            Store::connect("sqlite::memory:", 1).await.unwrap(),
            ViewSpec { name: "toy", version: 1, tables: &[], state: true },
        );
        store.ensure_view(spec, "{}").await.unwrap();
        assert_eq!(store.restart(spec, &[], "{}").await.unwrap(), (2, 1));
        let mut all = store.progress().await.unwrap();
        assert_eq!(all.len(), 2);
        all[1].partitions = partitions.to_vec();
        all[1].paused_since = Some(7_000);
        all[1].dead_letters = 2;
        all
    }

    async fn alone(partitions: &[Checkpoint], ends: &[u64], now_ms: i64) -> GenerationStatus {
        of(&Samples::default(), progress(partitions).await, ends, Instant::now(), now_ms).views.remove(0).active
    }

    #[tokio::test]
    async fn the_lag_of_a_partition_of_which_nothing_was_taken_is_unknown() {
        let seconds = |v: &GenerationStatus| v.partitions.iter().map(|p| p.lag_seconds).collect::<Vec<_>>();
        // All taken; some wait since 4 s; nothing taken and nothing there.
        let v = alone(&[at(0, 9, 1_000), at(1, 5, 6_000), at(2, 0, 0)], &[9, 7, 0], 10_000).await;
        assert_eq!((seconds(&v), v.lag_seconds), (vec![Some(0.0), Some(4.0), Some(0.0)], Some(4.0)));
        let v = alone(&[at(0, 9, 1_000), at(1, 0, 0)], &[9, 7, 3], 10_000).await;
        assert_eq!((seconds(&v), v.lag_seconds, v.lag_events), (vec![Some(0.0), None, None], None, 10));
    }

    #[tokio::test]
    async fn the_end_is_reckoned_from_how_fast_the_lag_shrinks() {
        let (samples, begun) = (Samples::default(), Instant::now());
        let look = async |after_s: f64, next: u64, end: u64| {
            let all = progress(&[at(0, next, 1)]).await;
            of(&samples, all, &[end], begun + Duration::from_secs_f64(after_s), 10_000).views.remove(0)
        };
        let first = look(0.0, 100, 1_100).await;
        assert_eq!((first.active.events_per_s, first.active.eta_s), (None, None));
        assert_eq!((first.paused_since.as_deref(), first.active.dead_letters), (Some("1970-01-01T00:00:07Z"), 2));
        assert_eq!((first.active.generation, first.others[0].generation), (2, 1));
        // 300 taken and 100 appended in 2 s: the other 800 take 8 s.
        let second = look(2.0, 400, 1_200).await.active;
        assert_eq!((second.events_per_s, second.eta_s), (Some(150.0), Some(8.0)));
        // It grows faster than it is taken: no end is in sight.
        let third = look(4.0, 410, 2_000).await.active;
        assert_eq!((third.events_per_s, third.eta_s), (Some(77.5), None));
        assert_eq!(look(5.0, 2_000, 2_000).await.active.eta_s, Some(0.0));
        // What is older than half a minute no longer counts.
        let later = look(34.5, 2_000, 2_295).await.active;
        assert_eq!((later.events_per_s, later.eta_s), (Some(0.0), None));
    }
}
