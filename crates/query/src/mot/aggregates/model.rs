//! Aggregates as the API writes them.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Aggregates, and what they reflect.
#[derive(Debug, Serialize, ToSchema)]
pub struct Aggregates {
    /// The model, `mot-v1`.
    pub model: &'static str,
    /// `touchpoints`, `roles` or `staff`: what is counted.
    pub of: &'static str,
    /// The columns grouped by.
    pub by: Vec<&'static str>,
    /// The standard whose floors are applied: the one in force at `to`, else now.
    pub standard_version: Option<String>,
    /// The groups, ordered by their columns.
    pub groups: Vec<AggregateGroup>,
    /// Up to where the view has seen the log.
    pub position: String,
}

/// One group.
#[derive(Debug, Serialize, ToSchema)]
pub struct AggregateGroup {
    /// The group's value of each column; null where events name none. A month is `yyyymm`, local to the event.
    pub group: BTreeMap<&'static str, Option<String>>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub figures: Figures,
    /// The same group's answers by role and dimension.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleFigures>,
}

/// Answers about one role in one dimension.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleFigures {
    /// Role.
    pub role: String,
    /// Dimension.
    pub dimension: String,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub figures: Figures,
}

/// What may be said about a group. Scores are points; below n = 10 nothing is said.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Figures {
    /// Whether the group is too small (n < 10).
    pub suppressed: bool,
    /// How many scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<i64>,
    /// How many touchpoints have no score because too little was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insufficient: Option<i64>,
    /// Mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// 95 % interval of the mean (Student's t): low and high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// (n·x̄ + 20·μ) / (n + 20) for n below 100, μ the mean of all groups; the mean from 100 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
    /// Share of scores of 90 and more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_box: Option<f64>,
    /// Its 95 % Wilson interval: low and high.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_box_interval: Option<[f64; 2]>,
    /// Rank by mean among groups of at least 100 (in the same dimension); 1 is best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Whether the interval lies wholly below the standard's floor: an alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below_standard: Option<bool>,
    /// The floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
}
