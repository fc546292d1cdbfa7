//! The rules of an event that no schema can state.

use super::{FieldError, event_str};
use crate::event::{Event, KeyRule, Kind};
use crate::ids::EventId;
use crate::time::Micros;
use serde_json::Value;

/// Limits that an event must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How far in the future `occurred_at` and `recorded_at` may lie, microseconds; clocks of sources run ahead.
    pub clock_skew: i64,
    /// Longest string, bytes of UTF-8.
    pub string_bytes: usize,
    /// Longest patient pseudonym, bytes.
    pub pseudonym_bytes: usize,
    /// Largest event, bytes of its JSON.
    pub event_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clock_skew: 5 * crate::time::MINUTE, string_bytes: 8_192, pseudonym_bytes: 128, event_bytes: 131_072 }
    }
}

/// Longest identifier, bytes of UTF-8: PostgreSQL's indexes take entries of at most 2,704 bytes.
pub const MOST_IDENTIFIER_BYTES: usize = 512;

/// Checks the rules between fields and those on values: key, pseudonym, zone, times not in the future, scales, shares,
/// money, counts, and lengths. `json` is [`Event::to_json`] of the event, which the caller needs anyway.
///
/// # Errors
/// Every field that breaks a rule.
pub fn validate(event: &Event, json: &str, limits: &Limits, now: Micros) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    header(event, limits, now, &mut errors);
    payload(event, limits, &mut errors);
    identifiers(event, "", &mut errors);
    strings(json, limits, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Whether a store can take the event: identifiers that it puts into indexes have at most [`MOST_IDENTIFIER_BYTES`], which
/// [`validate`] holds too, and a replacement has no U+0000. For readers of events that may have come past the gateway.
#[must_use]
pub fn storable(event: &Event) -> bool {
    let mut errors = Vec::new();
    identifiers(event, "", &mut errors);
    let nul = matches!(event, Event::EventCorrected(e) if e.replacement.0.contains("\\u0000"));
    errors.is_empty() && !nul
}

/// Notes identifiers that are too long for an index, those of a replacement included.
fn identifiers(event: &Event, at: &str, errors: &mut Vec<FieldError>) {
    let mut check = |place: &str, field: &str, suffix: &str, id: &str| {
        if id.len() > MOST_IDENTIFIER_BYTES {
            let reason = format!("is longer than {MOST_IDENTIFIER_BYTES} bytes");
            errors.push(FieldError::new(format!("{at}{place}/{field}{suffix}"), reason));
        }
    };
    let h = event.header();
    let patient = h.patient_id.as_ref().map(crate::PatientId::as_str);
    let header = [
        ("patient_id", patient),
        ("journey_id", h.journey_id.as_deref()),
        ("site", h.site.as_deref()),
        ("department", h.department.as_deref()),
    ];
    for (field, id) in header {
        check("/header", field, "", id.unwrap_or_default());
    }
    event.each_reference(|kind, id| check("", kind.as_str(), "_id", id));
    if let Some((surviving, retired, _)) = crate::views::timeline::rows::link(event) {
        check("", "surviving", "", surviving);
        check("", "retired", "", retired);
    }
    match event {
        Event::FeedbackLinked(e) => check("", "target_event_id", "", &e.target_event_id),
        Event::EventRetracted(e) => check("", "target_event_id", "", &e.target_event_id),
        Event::EventCorrected(e) => {
            check("", "target_event_id", "", &e.target_event_id);
            // A correction of a correction is refused elsewhere.
            if at.is_empty()
                && let Ok(new) = event_str(&e.replacement.0)
            {
                identifiers(&new, "/replacement", errors);
            }
        }
        _ => {}
    }
}

fn header(event: &Event, limits: &Limits, now: Micros, errors: &mut Vec<FieldError>) {
    let h = event.header();
    let mut wrong = |field: &str, reason: String| errors.push(FieldError::new(format!("/header/{field}"), reason));
    if h.event_id.0.is_nil() {
        wrong("event_id", "must not be the nil UUID".into());
    }
    match (event.kind().key_rule(), &h.patient_id) {
        (KeyRule::Patient, None) => wrong("patient_id", format!("is required for {}", event.kind().as_str())),
        (KeyRule::Site, Some(_)) => {
            wrong("patient_id", format!("must be absent: {} is about staff", event.kind().as_str()))
        }
        (_, Some(p)) => {
            if let Some(reason) = pseudonym(p.as_str(), limits) {
                wrong("patient_id", reason);
            }
        }
        (_, None) => {}
    }
    let site_missing = h.site.as_deref().is_none_or(|s| s.trim().is_empty());
    if event.kind().key_rule() == KeyRule::Site && site_missing {
        wrong("site", format!("is required for {}", event.kind().as_str()));
    }
    if h.zone.parse::<chrono_tz::Tz>().is_err() {
        wrong("zone", "is not a known IANA time zone, such as Asia/Seoul".into());
    }
    let latest = now.plus(limits.clock_skew);
    for (name, time) in [("occurred_at", h.occurred_at), ("recorded_at", h.recorded_at)] {
        if time > latest {
            let minutes = limits.clock_skew / crate::time::MINUTE;
            wrong(name, format!("lies in the future by more than the allowed {minutes} min"));
        }
    }
    if h.source.system.trim().is_empty() {
        wrong("source/system", "must not be empty".into());
    }
    if h.journey_id.as_deref().is_some_and(|id| id.trim().is_empty()) {
        wrong("journey_id", "must not be empty".into());
    }
    if h.causation_id.as_deref().is_some_and(|id| id.parse::<EventId>().is_err()) {
        wrong("causation_id", "must be a UUID".into());
    }
}

/// What is wrong with a pseudonym, if anything.
fn pseudonym(id: &str, limits: &Limits) -> Option<String> {
    if id.is_empty() {
        return Some("must not be empty".into());
    }
    if id.len() > limits.pseudonym_bytes {
        return Some(format!("is longer than {} bytes", limits.pseudonym_bytes));
    }
    id.chars()
        .any(|c| c.is_whitespace() || c.is_control())
        .then(|| "must be printable and without white space".to_owned())
}

fn payload(event: &Event, limits: &Limits, errors: &mut Vec<FieldError>) {
    event.each_reference(|kind, id| {
        if id.trim().is_empty() {
            errors.push(FieldError::new(format!("/{}_id", kind.as_str()), "must not be empty"));
        }
    });
    match event {
        Event::FeedbackGiven(e) => scale(e.raw, e.scale_min, e.scale_max, errors),
        Event::FeedbackLinked(e) => {
            scale(e.raw, e.scale_min, e.scale_max, errors);
            uuid("/target_event_id", &e.target_event_id, errors);
        }
        Event::StaffPulseAnswered(e) => {
            scale(e.raw, e.scale_min, e.scale_max, errors);
            range("/workload_percent", e.workload_percent, 0, 1000, errors);
        }
        Event::OptionsExplained(e) if e.risk_percent.is_some_and(|p| !(0.0..=100.0).contains(&p)) => {
            errors.push(FieldError::new("/risk_percent", "must be from 0 to 100"));
        }
        Event::ConsentGiven(e) => {
            if let (Some(from), Some(until)) = (e.valid_from, e.valid_until)
                && until < from
            {
                errors.push(FieldError::new("/valid_until", "is before valid_from"));
            }
        }
        Event::PatientsMerged(e) => pair(&e.surviving, &e.retired, limits, errors),
        Event::PatientsUnmerged(e) => pair(&e.surviving, &e.retired, limits, errors),
        Event::EventRetracted(e) => uuid("/target_event_id", &e.target_event_id, errors),
        Event::EventCorrected(e) => correction(event, &e.target_event_id, &e.replacement.0, errors),
        _ => {}
    }
    money(event, errors);
    counts(event, errors);
}

fn money(event: &Event, errors: &mut Vec<FieldError>) {
    let code = match event {
        Event::ChargePosted(e) => &e.currency,
        Event::ClaimAdjusted(e) => &e.currency,
        Event::ClaimPaid(e) => &e.currency,
        Event::ClaimSubmitted(e) => &e.currency,
        Event::ClaimResubmitted(e) => &e.currency,
        Event::PaymentReceived(e) => &e.currency,
        Event::ReceiptIssued(e) => &e.currency,
        _ => return,
    };
    if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
        errors.push(FieldError::new("/currency", "must be an ISO 4217 code, such as KRW"));
    }
}

/// Counts and durations, none of which is negative.
fn counts(event: &Event, errors: &mut Vec<FieldError>) {
    /// A week: nobody is told a longer wait.
    const LONGEST_WAIT_MIN: i32 = 7 * 24 * 60;
    let mut natural = |at: &str, value: Option<i32>| range(at, value, 0, i32::MAX, errors);
    match event {
        Event::ChecklistCompleted(e) => {
            range("/items_total", Some(e.items_total), 1, i32::MAX, errors);
            range("/items_done", Some(e.items_done), 0, e.items_total.max(0), errors);
        }
        Event::WaitEstimated(e) => range("/wait_told_min", Some(e.wait_told_min), 0, LONGEST_WAIT_MIN, errors),
        Event::ClaimResubmitted(e) => range("/rework_no", Some(e.rework_no), 1, i32::MAX, errors),
        Event::FollowUpCallCompleted(e) => {
            natural("/duration_s", e.duration_s);
            if e.answers.len() > 5 {
                errors.push(FieldError::new("/answers", "has more than the five answers"));
            }
        }
        Event::QuestionnaireCompleted(e) => {
            natural("/asked_fields", e.asked_fields);
            natural("/reused_fields", e.reused_fields);
        }
        Event::AppointmentBooked(e) => {
            natural("/duration_min", e.duration_min);
            natural("/hold_s", e.hold_s);
            natural("/capture_s", e.capture_s);
        }
        Event::AppointmentRequested(e) => {
            natural("/hold_s", e.hold_s);
            natural("/capture_s", e.capture_s);
        }
        Event::AppointmentRescheduled(e) => {
            natural("/duration_min", e.duration_min);
            natural("/hold_s", e.hold_s);
        }
        Event::AppointmentModified(e) => natural("/duration_min", e.duration_min),
        Event::BookingFrictionReported(e) => natural("/hold_s", e.hold_s),
        _ => {}
    }
}

fn scale(raw: f64, min: f64, max: f64, errors: &mut Vec<FieldError>) {
    if min >= max {
        errors.push(FieldError::new("/scale_max", "must be greater than scale_min"));
    } else if !(min..=max).contains(&raw) {
        errors.push(FieldError::new("/raw", "must lie from scale_min to scale_max"));
    }
}

fn range(at: &str, value: Option<i32>, min: i32, max: i32, errors: &mut Vec<FieldError>) {
    if value.is_some_and(|v| !(min..=max).contains(&v)) {
        let reason =
            if max == i32::MAX { format!("must be {min} or more") } else { format!("must be from {min} to {max}") };
        errors.push(FieldError::new(at, reason));
    }
}

fn uuid(at: &str, id: &str, errors: &mut Vec<FieldError>) {
    if id.parse::<EventId>().is_err() {
        errors.push(FieldError::new(at, "must be a UUID"));
    }
}

fn pair(surviving: &str, retired: &str, limits: &Limits, errors: &mut Vec<FieldError>) {
    for (at, id) in [("/surviving", surviving), ("/retired", retired)] {
        if let Some(reason) = pseudonym(id, limits) {
            errors.push(FieldError::new(at, reason));
        }
    }
    if surviving == retired {
        errors.push(FieldError::new("/retired", "must differ from surviving"));
    }
}

/// A correction's replacement is the target once more: same id, same patient (else same site).
fn correction(event: &Event, target: &str, replacement: &str, errors: &mut Vec<FieldError>) {
    uuid("/target_event_id", target, errors);
    let new = match event_str(replacement) {
        Ok(new) => new,
        Err(e) => {
            let inner = e.into_fields().into_iter();
            errors.extend(inner.map(|f| FieldError::new(format!("/replacement{}", f.pointer), f.reason)));
            return;
        }
    };
    if matches!(new.kind(), Kind::EventCorrected | Kind::EventRetracted) {
        errors.push(FieldError::new("/replacement/type", "must not be a correction or retraction itself"));
    }
    if target.parse::<EventId>().is_ok_and(|t| t != new.header().event_id) {
        errors.push(FieldError::new("/replacement/header/event_id", "must be the target_event_id"));
    }
    if new.header().patient_id != event.header().patient_id {
        errors.push(FieldError::new("/replacement/header/patient_id", "must be the correction's own patient_id"));
    }
}

/// Lengths, and characters that no store takes. A text that is short as a whole needs no look at its strings.
fn strings(json: &str, limits: &Limits, errors: &mut Vec<FieldError>) {
    if json.len() > limits.event_bytes {
        errors.push(FieldError::new("", format!("is larger than {} bytes", limits.event_bytes)));
        return;
    }
    if json.len() <= limits.string_bytes && !json.contains("\\u0000") {
        return;
    }
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(json) {
        for (name, value) in &fields {
            // A replacement is an event, not a string: the limit of the event holds for it.
            each_string(value, &format!("/{name}"), &mut |at, s| {
                if s.len() > limits.string_bytes {
                    errors.push(FieldError::new(at, format!("is longer than {} bytes", limits.string_bytes)));
                } else if s.contains('\0') {
                    errors.push(FieldError::new(at, "must not contain U+0000"));
                }
            });
        }
    }
}

fn each_string(value: &Value, at: &str, f: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(s) => f(at, s),
        Value::Array(all) => all.iter().enumerate().for_each(|(i, v)| each_string(v, &format!("{at}/{i}"), f)),
        Value::Object(o) => o.iter().for_each(|(k, v)| each_string(v, &format!("{at}/{k}"), f)),
        _ => {}
    }
}
