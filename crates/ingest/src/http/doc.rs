//! Shapes of bodies, for the OpenAPI description alone; the code itself writes and reads without them.
#![allow(dead_code)]

use domain::parse::FieldError;
use utoipa::ToSchema;

/// An event, or an array of events.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(example = json!({
    "type": "AppointmentBooked",
    "header": {
        "event_id": "01936f3c-7a00-7000-8000-00000000b001", "occurred_at": "2026-03-02T09:00:00+09:00",
        "zone": "Asia/Seoul", "recorded_at": "2026-03-02T09:00:01+09:00",
        "source": {"system": "scheduling"}, "patient_id": "p-1"
    },
    "appointment_id": "a-1", "starts_at": "2026-03-05T10:00:00+09:00"
}))]
pub(super) enum EventOrArray {
    One(Event),
    Many(Vec<Event>),
}

/// An event: `type`, `header`, and the fields of its type (`schemas/events/` in the repository).
#[derive(ToSchema)]
#[schema(example = json!({
    "type": "AppointmentBooked",
    "header": {
        "event_id": "01936f3c-7a00-7000-8000-00000000b001", "occurred_at": "2026-03-02T09:00:00+09:00",
        "zone": "Asia/Seoul", "recorded_at": "2026-03-02T09:00:01+09:00",
        "source": {"system": "scheduling"}, "patient_id": "p-1"
    },
    "appointment_id": "a-1", "starts_at": "2026-03-05T10:00:00+09:00"
}))]
pub(super) struct Event {
    /// Name of the event.
    r#type: String,
    /// What every event carries.
    header: serde_json::Value,
}

/// A CloudEvents 1.0 envelope.
#[derive(ToSchema)]
#[schema(example = json!({
    "specversion": "1.0", "id": "01936f3c-7a00-7000-8000-00000000b002", "source": "scheduling",
    "type": "org.journeylog.event.AppointmentBooked", "time": "2026-03-02T09:00:00+09:00", "subject": "p-1",
    "data": {
        "header": {"zone": "Asia/Seoul", "recorded_at": "2026-03-02T09:00:01+09:00"},
        "appointment_id": "a-1", "starts_at": "2026-03-05T10:00:00+09:00"
    }
}))]
pub(super) struct CloudEvent {
    /// `1.0`.
    specversion: String,
    /// The event id, if a UUID; else the event id is derived from `source` and it.
    id: String,
    /// Becomes `header.source.system` where that is absent.
    source: String,
    /// `org.journeylog.event.` and the event's name.
    r#type: String,
    /// Becomes `header.occurred_at`.
    time: Option<String>,
    /// Becomes `header.patient_id`.
    subject: Option<String>,
    /// The event's fields; `header` may leave out what the envelope says.
    data: serde_json::Value,
}

/// The answer for an event in the log.
#[derive(ToSchema)]
pub(super) struct Accepted {
    /// The event's id.
    event_id: String,
    /// Where it lies, as `partition:offset`; reads take it as `?after=`.
    #[schema(example = "3:1024")]
    position: String,
    /// Whether it was there before.
    duplicate: bool,
}

/// The answers for an array, in its order.
#[derive(ToSchema)]
pub(super) struct BatchAnswer {
    /// New events in the log.
    accepted: u64,
    /// Events that were there before.
    duplicates: u64,
    /// Refused events.
    refused: u64,
    /// One per event: accepted, or `{"problem": …}`.
    #[schema(example = json!([{"event_id": "01936f3c-7a00-7000-8000-00000000b001", "position": "3:1024", "duplicate": false}]))]
    results: Vec<serde_json::Value>,
}

/// An RFC 9457 problem.
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// URN of the kind of problem.
    #[schema(example = "urn:journeylog:problem:invalid-event")]
    r#type: String,
    /// The kind in words.
    title: String,
    /// HTTP status.
    status: u16,
    /// This occurrence in words.
    detail: String,
    /// Wrong fields.
    errors: Option<Vec<FieldError>>,
}
