//! How timelines and journeys are written.

use crate::after::Position;
use domain::views::timeline as view;
use domain::{EventId, Micros};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Whose it is, and what it reflects.
#[derive(Debug, Serialize, ToSchema)]
pub struct Who {
    /// The pseudonym under which the patient is known now.
    pub patient_id: String,
    /// The pseudonym that was asked for, where it has retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_for: Option<String>,
    /// Pseudonyms that were merged into this one.
    pub merged_from: Vec<String>,
    /// The time whose knowledge this is, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
    /// Up to where the view has seen the log.
    pub position: String,
}

impl Who {
    pub(crate) fn new(all: &view::Assembled, as_of: Option<Micros>, position: &Position) -> Self {
        Self {
            patient_id: all.identity.patient_id.clone(),
            asked_for: (all.asked != all.identity.patient_id).then(|| all.asked.clone()),
            merged_from: all.identity.merged_from(),
            as_of: as_of.map(|t| t.to_string()),
            position: position.to_string(),
        }
    }
}

/// A page of a patient's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub who: Who,
    /// How many entries there are on all pages.
    pub total: usize,
    /// The entries, by (occurred_at, event_id).
    pub items: Vec<Entry>,
    /// Pass it as `?cursor=` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An event on the timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub r#type: String,
    /// The stage of the journey, or `none`.
    pub stage: String,
    /// When it happened.
    pub occurred_at: String,
    /// The time zone in which it happened (IANA).
    pub zone: String,
    /// When the source recorded it.
    pub recorded_at: String,
    /// `normal`, `corrected` or `retracted`.
    pub status: String,
    /// The journey that it belongs to.
    pub journey_id: String,
    /// Why: explicit, references, within, precedes, follows or loose.
    pub journey_rule: String,
    /// The pseudonym that it was published under, where that has retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_from: Option<String>,
    /// The event that a correction, a retraction or a feedback link is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Its place in the log.
    pub position: String,
    /// The event as it holds now.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
    /// The event as it was published, where it was corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub original: Option<Box<RawValue>>,
    /// Its corrections, in the order in which they were recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Amendment>,
    /// Its retractions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retractions: Vec<Amendment>,
}

/// A correction or retraction.
#[derive(Debug, Serialize, ToSchema)]
pub struct Amendment {
    /// The event that says so.
    pub event_id: String,
    /// When it was recorded.
    pub recorded_at: String,
    /// Why.
    pub reason: String,
    /// Whether it takes part in the state that is shown.
    pub in_force: bool,
}

fn amendments(all: &[view::assemble::Amendment]) -> Vec<Amendment> {
    let one = |a: &view::assemble::Amendment| Amendment {
        event_id: a.event_id.to_string(),
        recorded_at: a.recorded_at.to_string(),
        reason: a.reason.clone(),
        in_force: a.in_force,
    };
    all.iter().map(one).collect()
}

/// An event as raw JSON. [`domain::Event::to_json`] writes nothing else than JSON; `null` is there for the compiler.
fn raw(event: &domain::Event) -> Box<RawValue> {
    RawValue::from_string(event.to_json()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl Entry {
    pub(crate) fn new(e: &view::Entry, all: &view::Assembled) -> Self {
        let h = e.event.header();
        Self {
            event_id: h.event_id.to_string(),
            r#type: e.event.kind().as_str().to_owned(),
            stage: e.event.kind().stage().as_str().to_owned(),
            occurred_at: h.occurred_at.to_string(),
            zone: h.zone.clone(),
            recorded_at: h.recorded_at.to_string(),
            status: e.status.as_str().to_owned(),
            journey_id: e.journey.journey.clone(),
            journey_rule: e.journey.rule.as_str().to_owned(),
            merged_from: (e.filed_under != all.identity.patient_id).then(|| e.filed_under.clone()),
            about: view::rows::target(&e.event).map(str::to_owned),
            position: format!("{}:{}", e.partition, e.offset),
            event: raw(&e.event),
            original: e.original.as_ref().map(raw),
            corrections: amendments(&e.corrections),
            retractions: amendments(&e.retractions),
        }
    }
}

/// A page of a patient's journeys.
#[derive(Debug, Serialize, ToSchema)]
pub struct Journeys {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub who: Who,
    /// How many journeys there are on all pages.
    pub total: usize,
    /// The journeys, by first event.
    pub items: Vec<Journey>,
    /// Pass it as `?cursor=` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An episode of care.
#[derive(Debug, Serialize, ToSchema)]
pub struct Journey {
    /// Its id: as named by a publisher, else the event id of its earliest event.
    pub id: String,
    /// Whether a publisher named it.
    pub named: bool,
    /// Its first event; absent where all were retracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<String>,
    /// Its last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// The sites that took part.
    pub sites: Vec<String>,
    /// The departments that took part.
    pub departments: Vec<String>,
    /// The eight stages in order, empty ones included.
    pub stages: Vec<StageSummary>,
    /// Events that are no step of the journey, such as complaints, consents and corrections.
    pub other_event_ids: Vec<String>,
    /// Retracted events; they count for no stage and no date.
    pub retracted_event_ids: Vec<String>,
}

/// A stage of a journey.
#[derive(Debug, Serialize, ToSchema)]
pub struct StageSummary {
    /// Its name.
    pub stage: String,
    /// Whether nothing happened in it.
    pub empty: bool,
    /// Its first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_at: Option<String>,
    /// Its last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// Its events, in order.
    pub event_ids: Vec<String>,
}

impl Journey {
    pub(crate) fn new(j: &view::Journey, all: &view::Assembled) -> Self {
        let ids = |entries: &[usize]| -> Vec<String> {
            entries.iter().map(|i| all.entries[*i].event_id()).map(|id: EventId| id.to_string()).collect()
        };
        let time = |t: Option<Micros>| t.map(|t| t.to_string());
        Self {
            id: j.id.clone(),
            named: j.named,
            first_at: time(j.first),
            last_at: time(j.last),
            sites: j.sites.iter().cloned().collect(),
            departments: j.departments.iter().cloned().collect(),
            stages: j
                .stages
                .iter()
                .map(|s| StageSummary {
                    stage: s.stage.as_str().to_owned(),
                    empty: s.entries.is_empty(),
                    first_at: time(s.first),
                    last_at: time(s.last),
                    event_ids: ids(&s.entries),
                })
                .collect(),
            other_event_ids: ids(&j.other),
            retracted_event_ids: ids(&j.retracted),
        }
    }
}

/// A journey with its events.
#[derive(Debug, Serialize, ToSchema)]
pub struct JourneyDetail {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub who: Who,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub journey: Journey,
    /// Its events, by (occurred_at, event_id).
    pub entries: Vec<Entry>,
}
