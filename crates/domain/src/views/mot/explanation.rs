//! The shape of an explanation. Scores are points, 0 to 100.

use super::touchpoint::TouchKind;
use serde::Serialize;

/// A journey's score with its reasons. Scores are points, 0 to 100.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JourneyExplanation {
    /// The journey.
    pub journey_id: String,
    /// The model, `mot-v1`.
    pub model: &'static str,
    /// 0.35 · weighted mean + 0.25 · worst + 0.40 · last; null where no touchpoint has a score.
    pub score: Option<f64>,
    /// Whether fewer than 14 days have passed since the last event, so that the score may still move.
    pub provisional: bool,
    /// When the journey's last event happened, RFC 3339.
    pub last_event_at: String,
    /// What the journey's score is made of; contributions add up to it.
    pub parts: Vec<JourneyPart>,
    /// The touchpoints, in order of occurrence.
    pub touchpoints: Vec<TouchpointExplanation>,
    /// What somebody should look at.
    pub alerts: Vec<AlertNote>,
}

/// One of the three parts of a journey's score.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JourneyPart {
    /// `weighted_mean`, `worst` or `last`.
    pub part: &'static str,
    /// Its value, points.
    pub value: f64,
    /// Its weight.
    pub weight: f64,
    /// What it adds, points.
    pub contribution: f64,
    /// The touchpoint, for `worst` and `last`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touchpoint_id: Option<String>,
}

/// A touchpoint's score with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TouchpointExplanation {
    /// Its name, `kind:subject`.
    pub touchpoint_id: String,
    /// Its kind.
    pub touchpoint: TouchKind,
    /// What it is about, such as `encounter:e-1`.
    pub subject: String,
    /// When it began, RFC 3339; the standard in force then is applied.
    pub occurred_at: String,
    /// When its last event happened, RFC 3339.
    pub ended_at: String,
    /// Site.
    pub site: Option<String>,
    /// Department.
    pub department: Option<String>,
    /// The standard applied; null where none was in force.
    pub standard_version: Option<String>,
    /// Points; null where coverage is insufficient.
    pub score: Option<f64>,
    /// Whether too little was observed for a score (coverage below 0.4).
    pub insufficient: bool,
    /// Weight of what was observed ÷ weight of what applies; with feedback 0.6 + 0.4 · that.
    pub coverage: f64,
    /// What adds up to the score, before caps.
    pub contributions: Vec<Contribution>,
    /// Caps that were applied; their changes come on top of the contributions.
    pub caps: Vec<Cap>,
    /// What applies and was not observed.
    pub missing: Vec<Missing>,
    /// Scores by role and dimension, never only one mean.
    pub roles: Vec<RoleScore>,
}

/// A signal, a promise, or the answers about a role in one dimension.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contribution {
    /// `signal`, `promise` or `feedback`.
    pub source: &'static str,
    /// Name of the signal or promise; `role/dimension` of feedback.
    pub name: String,
    /// What was observed, in `unit`; feedback: mean answer in points.
    pub value: f64,
    /// Unit of the value.
    pub unit: &'static str,
    /// Utility 1 here or better.
    pub target: f64,
    /// Utility 0 here or worse.
    pub fail: f64,
    /// 0 to 1.
    pub utility: f64,
    /// Share of the touchpoint's score, 0 to 1; all shares add up to 1.
    pub weight: f64,
    /// What it adds, points.
    pub contribution: f64,
    /// The events behind it.
    pub event_ids: Vec<String>,
}

/// A cap.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cap {
    /// Why.
    pub reason: String,
    /// Points that it takes away (negative).
    pub change: f64,
}

/// Something that applies to the touchpoint and was not observed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missing {
    /// Name of the signal or promise, or `feedback`.
    pub name: String,
    /// Why it is missing.
    pub reason: String,
}

/// The score of a role in one dimension.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleScore {
    /// Role; `unspecified` where the answer names none.
    pub role: String,
    /// Dimension.
    pub dimension: String,
    /// Points.
    pub score: f64,
    /// How many answers are behind it; 0 where it comes from the options signal alone.
    pub answers: i64,
    /// Instruments with their versions.
    pub instruments: Vec<String>,
    /// The events behind it.
    pub event_ids: Vec<String>,
}

/// An alert of the journey.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertNote {
    /// Its name.
    pub alert_id: String,
    /// `low_score`, `dignity_breach` or `severe_complaint`.
    pub kind: &'static str,
    /// `high` or `critical`.
    pub severity: &'static str,
    /// When, RFC 3339.
    pub occurred_at: String,
    /// The touchpoint that it is about.
    pub touchpoint_id: Option<String>,
    /// The events behind it.
    pub event_ids: Vec<String>,
}
