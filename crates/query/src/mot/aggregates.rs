//! Aggregates of scores: groups with their sample sizes, intervals and ranks. Never one mean over roles alone (P1).

mod model;

pub use model::{AggregateGroup, Aggregates, Figures, RoleFigures};

use super::span;
use crate::problem::Json;
use crate::reading::{Asking, Reading, Which};
use crate::{App, Problem};
use axum::extract::State;
use domain::event::{Dimension, Role};
use domain::views::View;
use domain::views::mot::stats::{Summary, Sums, ranks, summarise};
use domain::views::mot::{MODEL, Mot, Standard, TouchKind};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use store::Engine;
use store::views::mot::{Column, Filter, Group, MAX_GROUPS, Source, sums};
use utoipa::IntoParams;

/// Which groups.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// site, department, role, touchpoint, month; several joined with commas. With role, answers are grouped by role and
    /// dimension; without, touchpoint scores are.
    #[serde(default)]
    pub by: Option<String>,
    /// From this time on: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub from: Option<String>,
    /// Before this time: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub to: Option<String>,
    /// Only this site.
    #[serde(default)]
    pub site: Option<String>,
    /// Only this department.
    #[serde(default)]
    pub department: Option<String>,
    /// Only this kind of touchpoint.
    #[serde(default)]
    pub touchpoint: Option<String>,
    /// Only answers about this role.
    #[serde(default)]
    pub role: Option<String>,
    /// Only answers in this dimension.
    #[serde(default)]
    pub dimension: Option<String>,
}

pub(super) const fn exact(g: &Group) -> Sums {
    Sums { n: g.n, sum: g.sum, squares: g.squares, top: g.top }
}

#[allow(clippy::cast_precision_loss, reason = "at most 10000")]
fn figures(g: &Group, overall: f64, rank: Option<usize>, floor: Option<i64>, insufficient: bool) -> Figures {
    let Some(Summary { mean, interval, estimate, top_box, top_box_interval }) = summarise(exact(g), overall) else {
        return Figures { suppressed: true, ..Figures::default() };
    };
    let floor = floor.map(|f| f as f64 / 100.0);
    Figures {
        suppressed: false,
        n: Some(g.n),
        insufficient: insufficient.then_some(g.without),
        mean: Some(mean),
        interval: Some([interval.low, interval.high]),
        estimate: Some(estimate),
        top_box: Some(top_box),
        top_box_interval: Some([top_box_interval.low, top_box_interval.high]),
        rank,
        below_standard: floor.map(|f| interval.high < f),
        floor,
    }
}

/// Groups with their figures. Means and ranks are compared within the same dimension (the value of column `dimension`).
fn all_figures(
    groups: &[Group],
    dimension: Option<usize>,
    floor: &dyn Fn(&Group) -> Option<i64>,
    insufficient: bool,
) -> Vec<Figures> {
    let of = |g: &Group| dimension.and_then(|d| g.by[d].clone());
    let mut parts: HashMap<Option<String>, Vec<usize>> = HashMap::new();
    for (i, g) in groups.iter().enumerate() {
        parts.entry(of(g)).or_default().push(i);
    }
    let mut out: Vec<Figures> = groups.iter().map(|_| Figures::default()).collect();
    for places in parts.values() {
        let sums: Vec<Sums> = places.iter().map(|i| exact(&groups[*i])).collect();
        let overall = sums.iter().fold(Sums::default(), |a, b| a.plus(*b)).mean().unwrap_or_default();
        for (i, rank) in places.iter().zip(ranks(&sums)) {
            out[*i] = figures(&groups[*i], overall, rank, floor(&groups[*i]), insufficient);
        }
    }
    out
}

fn columns(by: &str, known: &[Column]) -> Result<Vec<Column>, Problem> {
    let mut out = Vec::new();
    for name in by.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let column = known.iter().copied().find(|c| c.as_str() == name).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|c| c.as_str()).collect();
            Problem::bad_field("by", format!("not one of {}", names.join(", ")))
        })?;
        if !out.contains(&column) {
            out.push(column);
        }
    }
    Ok(out)
}

fn one_of(name: &str, value: Option<&str>, known: &[&str]) -> Result<(), Problem> {
    match value {
        Some(v) if !known.contains(&v) => Err(Problem::bad_field(name, format!("not one of {}", known.join(", ")))),
        _ => Ok(()),
    }
}

fn filter(asked: &Asked) -> Result<Filter, Problem> {
    let kinds: Vec<_> = TouchKind::ALL.iter().map(|k| k.as_str()).collect();
    let roles: Vec<_> = Role::ALL.iter().map(|r| r.as_str()).chain(["unspecified"]).collect();
    let dimensions: Vec<_> = Dimension::ALL.iter().map(|d| d.as_str()).collect();
    one_of("touchpoint", asked.touchpoint.as_deref(), &kinds)?;
    one_of("role", asked.role.as_deref(), &roles)?;
    one_of("dimension", asked.dimension.as_deref(), &dimensions)?;
    let (from, to) = span(asked.from.as_deref(), asked.to.as_deref())?;
    Ok(Filter {
        site: asked.site.clone(),
        department: asked.department.clone(),
        touchpoint: asked.touchpoint.clone(),
        role: asked.role.clone(),
        dimension: asked.dimension.clone(),
        kind: None,
        from: from.map(|t| t.0),
        to: to.map(|t| t.0),
    })
}

fn named(by: &[Column], values: &[Option<String>]) -> BTreeMap<&'static str, Option<String>> {
    by.iter().map(|c| c.as_str()).zip(values.iter().cloned()).collect()
}

async fn read(engine: &Engine, source: Source, by: &[Column], filter: &Filter) -> Result<Vec<Group>, Problem> {
    let groups = sums(engine, source, by, filter).await?;
    if groups.len() > MAX_GROUPS {
        return Err(Problem::bad_field("by", format!("more than {MAX_GROUPS} groups: narrow it down")));
    }
    Ok(groups)
}

/// The standard in force at the end of what is asked for.
fn standard<'a>(app: &App, mot: &'a Mot, filter: &Filter) -> Option<&'a Standard> {
    let now = (app.now)();
    let at = filter.to.map_or(now, |to| domain::Micros(to - 1).min(now));
    mot.standards().at(at)
}

/// Scores by site, department, role, touchpoint or month, with what the sample size allows to say.
///
/// Groups below 10 are suppressed, below 100 shrunk towards the mean of all and not ranked. Rows lie under the pseudonym
/// that the events were published for; a merge changes no aggregate.
#[utoipa::path(get, path = "/v1/mot/aggregates", tag = "mot", params(Which, Asked),
    responses((status = 200, body = Aggregates), (status = 400, body = Problem), (status = 504, body = Problem)))]
pub async fn aggregates(
    State(app): State<Arc<App>>,
    Asking(which, asked): Asking<Asked>,
) -> Result<Json<Aggregates>, Problem> {
    let known = [Column::Site, Column::Department, Column::Role, Column::Touchpoint, Column::Month];
    let mut by = columns(asked.by.as_deref().unwrap_or_default(), &known)?;
    let filter = filter(&asked)?;
    let Reading { engine, position } = app.read(View::Mot, &which).await?;
    let mot = app.mot_of(which.generation).await?;
    let standard = standard(&app, &mot, &filter);
    let roles = by.contains(&Column::Role) || filter.role.is_some() || filter.dimension.is_some();
    if roles {
        // Technical skill and empathy are never mixed (P3).
        by.push(Column::Dimension);
    }
    let source = if roles { Source::Roles } else { Source::Touchpoints };
    let groups = read(&engine, source, &by, &filter).await?;
    let at = |c: Column| by.iter().position(|b| *b == c);
    let kind_at = at(Column::Touchpoint);
    let floor = |g: &Group| {
        let name = kind_at.and_then(|i| g.by[i].as_deref()).or(filter.touchpoint.as_deref());
        standard.map(|s| s.floor(name.and_then(TouchKind::from_name)))
    };
    let all = all_figures(&groups, at(Column::Dimension), &floor, !roles);
    let mut breakdown = if roles { HashMap::new() } else { by_role(&engine, &by, &filter, standard).await? };
    let groups = groups
        .iter()
        .zip(all)
        .map(|(g, figures)| {
            let roles = breakdown.remove(&g.by).unwrap_or_default();
            AggregateGroup { group: named(&by, &g.by), figures, roles }
        })
        .collect();
    Ok(Json(Aggregates {
        model: MODEL,
        of: if roles { "roles" } else { "touchpoints" },
        by: by.iter().map(|c| c.as_str()).collect(),
        standard_version: standard.map(|s| s.version.clone()),
        groups,
        position: position.to_string(),
    }))
}

/// The same groups' answers by role and dimension (P1).
async fn by_role(
    engine: &Engine,
    by: &[Column],
    filter: &Filter,
    standard: Option<&Standard>,
) -> Result<HashMap<Vec<Option<String>>, Vec<RoleFigures>>, Problem> {
    let mut columns = by.to_vec();
    columns.extend([Column::Role, Column::Dimension]);
    let groups = read(engine, Source::Roles, &columns, filter).await?;
    let n = by.len();
    let kind = by.iter().position(|c| *c == Column::Touchpoint);
    let floor = |g: &Group| {
        let name = kind.and_then(|i| g.by[i].as_deref()).or(filter.touchpoint.as_deref());
        standard.map(|s| s.floor(name.and_then(TouchKind::from_name)))
    };
    let all = all_figures(&groups, Some(n + 1), &floor, false);
    let mut out: HashMap<Vec<Option<String>>, Vec<RoleFigures>> = HashMap::new();
    for (g, figures) in groups.iter().zip(all) {
        let name = |i: usize| g.by[i].clone().unwrap_or_default();
        let role = RoleFigures { role: name(n), dimension: name(n + 1), figures };
        out.entry(g.by[..n].to_vec()).or_default().push(role);
    }
    Ok(out)
}

/// Which answers of staff.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StaffAsked {
    /// site, department, role, month; several joined with commas.
    #[serde(default)]
    pub by: Option<String>,
    /// From this time on: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub from: Option<String>,
    /// Before this time: RFC 3339, or a day (its midnight UTC).
    #[serde(default)]
    pub to: Option<String>,
    /// Only this site.
    #[serde(default)]
    pub site: Option<String>,
    /// Only this role.
    #[serde(default)]
    pub role: Option<String>,
}

/// What staff say of their own work, apart from what patients say: the same small-sample rules.
#[utoipa::path(get, path = "/v1/mot/staff", tag = "mot", params(Which, StaffAsked),
    responses((status = 200, body = Aggregates), (status = 400, body = Problem), (status = 504, body = Problem)))]
pub async fn staff(
    State(app): State<Arc<App>>,
    Asking(which, asked): Asking<StaffAsked>,
) -> Result<Json<Aggregates>, Problem> {
    let known = [Column::Site, Column::Department, Column::Role, Column::Month];
    let by = columns(asked.by.as_deref().unwrap_or_default(), &known)?;
    let asked = Asked { from: asked.from, to: asked.to, site: asked.site, role: asked.role, ..Asked::default() };
    let filter = filter(&asked)?;
    let Reading { engine, position } = app.read(View::Mot, &which).await?;
    let groups = read(&engine, Source::Staff, &by, &filter).await?;
    let all = all_figures(&groups, None, &|_| None, false);
    let groups = groups
        .iter()
        .zip(all)
        .map(|(g, figures)| AggregateGroup { group: named(&by, &g.by), figures, roles: Vec::new() })
        .collect();
    let by = by.iter().map(|c| c.as_str()).collect();
    Ok(Json(Aggregates {
        model: MODEL,
        of: "staff",
        by,
        standard_version: None,
        groups,
        position: position.to_string(),
    }))
}
