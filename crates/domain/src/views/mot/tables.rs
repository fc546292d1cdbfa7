//! The rows of the MOT view. Scores are hundredths of a point, coverage thousandths, times microseconds.

use super::facts::{Text, What};
use super::score::Assessment;
use crate::event::Role;
use crate::table::Type::{Int, Json, Text as T};
use crate::table::{Row, Table, Value};

/// The tables, in the order in which [`rows`] fills them.
pub(super) const TABLES: [Table; 6] = [
    Table {
        name: "mot_touchpoints",
        columns: &[
            ("patient_id", T),
            ("touchpoint_id", T),
            ("journey_id", T),
            ("touchpoint", T),
            ("subject", T),
            ("site", T),
            ("department", T),
            ("occurred_at", Int),
            ("month", Int),
            ("score", Int),
            ("coverage", Int),
            ("standard_version", T),
            ("capped", Int),
        ],
        key: 2,
        indexes: &[&["occurred_at"]],
    },
    Table {
        name: "mot_role_scores",
        columns: &[
            ("patient_id", T),
            ("touchpoint_id", T),
            ("role", T),
            ("dimension", T),
            ("journey_id", T),
            ("touchpoint", T),
            ("site", T),
            ("department", T),
            ("occurred_at", Int),
            ("month", Int),
            ("score", Int),
            ("answers", Int),
            ("instruments", Json),
            ("anonymous", Int),
        ],
        key: 4,
        indexes: &[&["occurred_at"]],
    },
    Table {
        name: "mot_journeys",
        columns: &[
            ("patient_id", T),
            ("journey_id", T),
            ("score", Int),
            ("mean", Int),
            ("worst", Int),
            ("last", Int),
            ("last_event_at", Int),
            ("touchpoints", Int),
            ("scored", Int),
            ("site", T),
            ("department", T),
        ],
        key: 2,
        indexes: &[&["journey_id"]],
    },
    Table {
        name: "mot_alerts",
        columns: &[
            ("patient_id", T),
            ("alert_id", T),
            ("kind", T),
            ("severity", T),
            ("occurred_at", Int),
            ("touchpoint_id", T),
            ("journey_id", T),
            ("role", T),
            ("detail", T),
            ("event_ids", Json),
            ("site", T),
            ("department", T),
        ],
        key: 2,
        indexes: &[&["occurred_at", "patient_id", "alert_id"]],
    },
    Table {
        name: "mot_links",
        columns: &[("patient_id", T), ("event_id", T), ("target_event_id", T)],
        key: 2,
        indexes: &[&["target_event_id"]],
    },
    Table {
        name: "mot_staff_pulses",
        columns: &[
            ("patient_id", T),
            ("event_id", T),
            ("site", T),
            ("department", T),
            ("role", T),
            ("occurred_at", Int),
            ("month", Int),
            ("score", Int),
            ("workload_percent", Int),
            ("instrument", T),
        ],
        key: 2,
        indexes: &[],
    },
];

/// `yyyymm` of `year * 12 + month - 1`.
pub(super) const fn yyyymm(month: u32) -> i64 {
    (month / 12 * 100 + month % 12 + 1) as i64
}

/// The name of a role; an answer that names none is about nobody in particular.
pub(super) fn role_name(role: Option<Role>) -> &'static str {
    role.map_or("unspecified", Role::as_str)
}

fn text(t: Option<&Text>) -> Value {
    t.map_or(Value::Null, |t| Value::Text(t.to_string()))
}

fn json(items: impl Iterator<Item = String>) -> Value {
    Value::Text(serde_json::Value::from_iter(items).to_string())
}

/// The rows of a patient (or of the key of an event about none).
pub(super) fn rows(patient: &str, a: &Assessment<'_>) -> Vec<Vec<Row>> {
    vec![
        touchpoints(patient, a),
        role_scores(patient, a),
        journeys(patient, a),
        alerts(patient, a),
        links(patient, a),
        pulses(patient, a),
    ]
}

fn touchpoints(patient: &str, a: &Assessment<'_>) -> Vec<Row> {
    let row = |(i, t): (usize, &super::score::Scored<'_>)| {
        let e = &a.events[t.anchor];
        vec![
            patient.into(),
            a.touchpoint_id(i).into(),
            e.journey.as_str().into(),
            t.key.0.as_str().into(),
            t.key.1.to_string().into(),
            text(e.fact.site.as_ref()),
            text(e.fact.department.as_ref()),
            Value::Int(e.fact.at),
            Value::Int(yyyymm(e.fact.month)),
            t.score.into(),
            Value::Int(t.coverage),
            t.version.clone().into(),
            t.capped.into(),
        ]
    };
    a.touchpoints.iter().enumerate().map(row).collect()
}

fn role_scores(patient: &str, a: &Assessment<'_>) -> Vec<Row> {
    let mut out = Vec::new();
    for (i, t) in a.touchpoints.iter().enumerate() {
        let e = &a.events[t.anchor];
        for c in &t.cells {
            out.push(vec![
                patient.into(),
                a.touchpoint_id(i).into(),
                role_name(c.role).into(),
                c.dimension.as_str().into(),
                e.journey.as_str().into(),
                t.key.0.as_str().into(),
                text(e.fact.site.as_ref()),
                text(e.fact.department.as_ref()),
                Value::Int(e.fact.at),
                Value::Int(yyyymm(e.fact.month)),
                Value::Int(c.score),
                Value::Int(c.answers),
                json(c.instruments.iter().map(ToString::to_string)),
                false.into(),
            ]);
        }
    }
    for e in a.events.iter().filter(|e| !e.fact.patient) {
        let What::Feedback(answer) = &e.fact.what else { continue };
        let Some(score) = answer.score else { continue };
        out.push(vec![
            patient.into(),
            format!("anonymous:{}", e.id).into(),
            role_name(answer.role).into(),
            answer.dimension.as_str().into(),
            Value::Null,
            text(answer.touchpoint.as_ref()),
            text(e.fact.site.as_ref()),
            text(e.fact.department.as_ref()),
            Value::Int(e.fact.at),
            Value::Int(yyyymm(e.fact.month)),
            Value::Int(i64::from(score)),
            Value::Int(1),
            json(std::iter::once(answer.instrument.to_string())),
            true.into(),
        ]);
    }
    out
}

fn journeys(patient: &str, a: &Assessment<'_>) -> Vec<Row> {
    let score = |i: Option<usize>| Value::from(i.and_then(|i| a.touchpoints[i].score));
    a.journeys
        .iter()
        .map(|j| {
            vec![
                patient.into(),
                j.id.as_str().into(),
                j.score.into(),
                j.mean.map(super::score::Mean::hundredths).into(),
                score(j.worst),
                score(j.last),
                Value::Int(j.last_event_at),
                Value::Int(i64::try_from(j.touchpoints.len()).unwrap_or(i64::MAX)),
                Value::Int(j.scored),
                text(j.site.as_ref()),
                text(j.department.as_ref()),
            ]
        })
        .collect()
}

fn alerts(patient: &str, a: &Assessment<'_>) -> Vec<Row> {
    a.alerts
        .iter()
        .map(|alert| {
            vec![
                patient.into(),
                alert.id.as_str().into(),
                alert.kind.into(),
                alert.severity.into(),
                Value::Int(alert.at),
                alert.touchpoint.map(|t| a.touchpoint_id(t)).into(),
                alert.journey.as_str().into(),
                alert.role.map(Role::as_str).into(),
                text(alert.detail.as_ref()),
                json(alert.events.iter().map(|e| a.events[*e].id.to_string())),
                text(alert.site.as_ref()),
                text(alert.department.as_ref()),
            ]
        })
        .collect()
}

/// Anonymous answers that a later event says again under the patient (P10): aggregates count them once.
fn links(patient: &str, a: &Assessment<'_>) -> Vec<Row> {
    a.events
        .iter()
        .filter_map(|e| match &e.fact.what {
            What::Feedback(answer) => {
                let target = crate::EventId(uuid::Uuid::from_bytes(answer.linked?));
                Some(vec![patient.into(), e.id.into(), target.into()])
            }
            _ => None,
        })
        .collect()
}

fn pulses(key: &str, a: &Assessment<'_>) -> Vec<Row> {
    a.events
        .iter()
        .filter_map(|e| match &e.fact.what {
            What::Pulse(p) => Some(vec![
                key.into(),
                e.id.into(),
                text(e.fact.site.as_ref()),
                text(e.fact.department.as_ref()),
                p.role.as_str().into(),
                Value::Int(e.fact.at),
                Value::Int(yyyymm(e.fact.month)),
                p.score.map(i64::from).into(),
                p.workload_percent.map(i64::from).into(),
                p.instrument.to_string().into(),
            ]),
            _ => None,
        })
        .collect()
}
