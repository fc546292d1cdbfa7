//! The quality of what each source sends: `GET /v1/sources`.

use crate::mot::span;
use crate::problem::{Json, Query};
use crate::reading::{Reading, Which};
use crate::{App, Problem};
use axum::{Router, extract::State, routing::get};
use domain::Micros;
use domain::source::label;
use domain::views::View;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::IntakeCount;
use store::views::sources::{SourceWeek, weeks};
use utoipa::{IntoParams, ToSchema};

/// Weeks that are shown where nothing else is asked for.
const WEEKS: i64 = 12;
/// Most weeks in one answer.
const MOST_WEEKS: i64 = 530;

/// Routes.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1/sources", get(sources))
}

/// This part of the description.
#[derive(utoipa::OpenApi)]
#[openapi(paths(sources), tags((name = "sources", description = "The quality of what each source sends")))]
pub struct Doc;

/// Which weeks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Wait until the timeline has seen this position, as publishing returned it.
    #[serde(default)]
    pub after: Option<String>,
    /// The week of this time and later ones: RFC 3339, or a day (its midnight UTC) [default: twelve weeks up to `to`].
    #[serde(default)]
    pub from: Option<String>,
    /// The week of this time and earlier ones [default: now].
    #[serde(default)]
    pub to: Option<String>,
}

/// Sources, and what they sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sources {
    /// In order of their names.
    pub sources: Vec<Source>,
    /// Up to where the timeline has seen the log.
    pub position: String,
}

/// A source.
#[derive(Debug, Serialize, ToSchema)]
pub struct Source {
    /// `source.system` of its events.
    pub source: String,
    /// By week, the earliest first; weeks without anything are left out.
    pub weeks: Vec<Week>,
}

/// What a source sent in a week.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Week {
    /// The Monday that it begins on, 00:00 UTC.
    pub begins: String,
    /// What the gateways answered in that week, by protocol. Counts of a gateway that was killed may lack its last seconds.
    pub intake: BTreeMap<String, Intake>,
    /// Events recorded in that week (`recorded_at`) that are in the log; corrections and retractions not counted.
    pub events: i64,
    /// Share of them that was corrected or retracted since; null where there are none.
    pub error_rate: Option<f64>,
    /// Those that were typed in by hand (`source.trigger` is `manual_entry`).
    pub manual: Manual,
    /// How long after they happened they were recorded.
    pub lateness: Lateness,
    /// The longest time in which it recorded nothing, up to an event of this week, seconds; from the first week asked for on.
    pub longest_gap_s: i64,
}

/// What gateways answered.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Intake {
    /// Messages or events in all.
    pub received: i64,
    /// Taken.
    pub accepted: i64,
    /// Taken before.
    pub duplicate: i64,
    /// Understood, and no step of a journey.
    pub ignored: i64,
    /// Refused, by reason.
    pub refused: BTreeMap<String, i64>,
}

/// Events that were typed in by hand.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Manual {
    /// How many.
    pub events: i64,
    /// Share of them that was corrected or retracted since; null where there are none.
    pub error_rate: Option<f64>,
}

/// Time from happening to recording.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Lateness {
    /// Within a minute.
    pub minute: i64,
    /// Within an hour, not within a minute.
    pub hour: i64,
    /// Within a day, not within an hour.
    pub day: i64,
    /// Later.
    pub later: i64,
    /// The longest, seconds.
    pub longest_s: i64,
}

/// The quality of what each source sends, by week
///
/// Refusals and duplicates as the gateways counted them; errors, lateness and gaps as the log's events show them. The entries
/// of the weeks asked for are read one by one: ask for few.
#[utoipa::path(get, path = "/v1/sources", tag = "sources", params(Asked),
    responses((status = 200, body = Sources), (status = 400, body = Problem), (status = 504, body = Problem)))]
pub async fn sources(State(app): State<Arc<App>>, Query(asked): Query<Asked>) -> Result<Json<Sources>, Problem> {
    let (from, to) = span(asked.from.as_deref(), asked.to.as_deref())?;
    let to = to.unwrap_or_else(app.now).week();
    let from = from.map_or(to - WEEKS + 1, Micros::week);
    if from > to || to - from >= MOST_WEEKS {
        return Err(Problem::bad_field("from", format!("must not be after `to`, nor {MOST_WEEKS} weeks before")));
    }
    let Reading { engine, position } =
        app.read(View::Timeline, &Which { after: asked.after, generation: None }).await?;
    let (kept, counted) = (weeks(&engine, from, to).await?, app.store.intake(from, to).await?);
    Ok(Json(Sources { sources: together(kept, counted), position: position.to_string() }))
}

fn together(kept: Vec<SourceWeek>, counted: Vec<IntakeCount>) -> Vec<Source> {
    // A count knows a source by its label alone; where one name has that label, it is meant.
    let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for k in &kept {
        names.entry(label(&k.source).into_owned()).or_default().insert(&k.source);
    }
    let name = |label: String| match names.get(&label).map(|names| names.iter().collect::<Vec<_>>()).as_deref() {
        Some([name]) => (**name).to_owned(),
        _ => label,
    };
    let mut all: BTreeMap<String, BTreeMap<i64, Week>> = BTreeMap::new();
    for c in counted {
        let week = all.entry(name(c.source)).or_default().entry(c.week).or_default();
        let intake = week.intake.entry(c.protocol).or_default();
        intake.received += c.messages;
        match c.result.as_str() {
            "accepted" => intake.accepted += c.messages,
            "duplicate" => intake.duplicate += c.messages,
            "ignored" => intake.ignored += c.messages,
            _ => *intake.refused.entry(c.reason).or_default() += c.messages,
        }
    }
    for k in kept {
        let week = all.entry(k.source).or_default().entry(k.week).or_default();
        let [minute, hour, day, later] = k.late;
        week.events = k.events;
        week.error_rate = rate(k.amended, k.events);
        week.manual = Manual { events: k.manual, error_rate: rate(k.manual_amended, k.manual) };
        week.lateness = Lateness { minute, hour, day, later, longest_s: k.latest / 1_000_000 };
        week.longest_gap_s = k.gap / 1_000_000;
    }
    let begun = |(n, week): (i64, Week)| Week { begins: Micros::of_week(n).utc().date_naive().to_string(), ..week };
    let source = |(source, weeks): (String, BTreeMap<i64, Week>)| Source {
        source,
        weeks: weeks.into_iter().map(begun).collect(),
    };
    all.into_iter().map(source).collect()
}

#[allow(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]
fn rate(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
