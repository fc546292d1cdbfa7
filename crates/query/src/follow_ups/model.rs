//! How an item is written.

use super::unite::United;
use domain::Micros;
use domain::views::follow_ups::contact::{Barred, Consents, Hours, may_contact};
use domain::views::follow_ups::item::ItemKind;
use domain::views::follow_ups::{priority, rules};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The clock and the house rules at reading.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub now: i64,
    pub quiet: Hours,
}

/// One thing that staff owe a patient.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    /// Its id, derived from patient, kind and subject.
    pub item_id: String,
    /// The patient's present pseudonym.
    pub patient_id: String,
    /// The pseudonym that it lies under, where that has retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filed_under: Option<String>,
    /// What it is about.
    pub kind: String,
    /// Which one: the encounter, referral, order, recall, complaint, appointment, claim or question.
    pub subject: String,
    /// open, closed, cancelled or suppressed.
    pub status: String,
    /// Why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Site of the trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Department of the trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// The journey, or an event of it (which `/v1/journeys/{id}` takes as well).
    pub journey_id: String,
    /// The visit that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encounter_id: Option<String>,
    /// The appointment that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appointment_id: Option<String>,
    /// The event that opened it.
    pub trigger_event_id: String,
    /// Since when.
    pub opened_at: String,
    /// Until when; absent where no time is known yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// Whether that has passed.
    pub overdue: bool,
    /// Why the supervisor should see it: missed_due, escalated.
    pub supervisor: Vec<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    /// The event that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// How often it was opened.
    pub times_opened: i64,
    /// How urgent it is now, and why.
    pub priority: Priority,
    /// The channel to try: phone, message, letter or next_visit. The third failed attempt on one leads to the next.
    pub channel: String,
    /// Attempts since it was opened.
    pub attempts: i64,
    /// Those that failed.
    pub failed_attempts: i64,
    /// What came of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<String>,
    /// When the patient asked to be called back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_at: Option<String>,
    /// Whether it needs a human: by its kind, or by what came of the attempts.
    pub needs_human: bool,
    /// What a complaint still lacks: call, resolution or call_and_resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Whether the patient may be contacted now.
    pub contact: Contact,
    /// Who works on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Holder>,
}

/// Priority at reading: the sum of its four parts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Priority {
    /// All points.
    pub points: i64,
    /// Points for severity.
    pub severity: i64,
    /// Points for clinical risk, at most 30.
    pub clinical_risk: i64,
    /// Points for vulnerability, at most 20.
    pub vulnerability: i64,
    /// Points for time, 0 to 40: 25 at the due time, 40 three days later.
    pub time: i64,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// A reason for a priority.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Reason {
    /// severity, clinical_risk, vulnerability or time.
    pub part: String,
    /// What it is.
    pub reason: String,
    /// Points.
    pub points: i64,
}

/// Whether the patient may be contacted now, for the purpose of this item.
#[derive(Debug, Serialize, ToSchema)]
pub struct Contact {
    /// care, reminder or billing.
    pub purpose: String,
    /// Whether it is allowed at this hour; never for an item that is not open.
    pub allowed: bool,
    /// Why not: do_not_contact, quiet_hours, deceased, or not_open for an item that is closed or cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The local time that this is about.
    pub local_time: String,
}

/// A lease that has not run out. The fencing token is for its holder alone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Holder {
    /// Who holds it.
    pub holder: String,
    /// Until when.
    pub expires_at: String,
}

fn time(t: i64) -> String {
    Micros(t).to_string()
}

impl Item {
    /// Writes an item as it is at a time.
    pub(super) fn new(item: United, at: At) -> Self {
        let United { row: r, patient_id, lease, .. } = item;
        let open = r.status == "open";
        let overdue = open && r.due_at.is_some_and(|d| d < at.now);
        let supervisor = [(overdue, "missed_due"), (open && r.escalated, "escalated")];
        let contact = Contact::new(&r, at);
        Self {
            filed_under: (r.patient_id != patient_id).then(|| r.patient_id.clone()),
            patient_id,
            priority: Priority::new(&r, at.now),
            contact,
            overdue,
            supervisor: supervisor.iter().filter(|s| s.0).map(|s| s.1.to_owned()).collect(),
            opened_at: time(r.opened_at),
            due_at: r.due_at.map(time),
            closed_at: r.closed_at.map(time),
            last_attempt_at: r.last_attempt_at.map(time),
            callback_at: r.callback_at.map(time),
            lease: lease.map(|l| Holder { holder: l.holder, expires_at: time(l.expires_at) }),
            item_id: r.item_id,
            kind: r.kind,
            subject: r.subject,
            status: r.status,
            status_reason: r.status_reason,
            site: r.site,
            department: r.department,
            journey_id: r.journey_id,
            encounter_id: r.encounter_id,
            appointment_id: r.appointment_id,
            trigger_event_id: r.trigger_event_id,
            closed_by: r.closed_by,
            times_opened: r.times_opened,
            channel: r.channel,
            attempts: r.attempts,
            failed_attempts: r.failed_attempts,
            last_outcome: r.last_outcome,
            needs_human: r.needs_human,
            missing: r.missing,
        }
    }
}

impl Priority {
    fn new(r: &store::views::follow_ups::ItemRow, now: i64) -> Self {
        let points = if r.status == "open" { priority::time_points(r.act_at, now) } else { 0 };
        let mut reasons: Vec<Reason> = serde_json::from_str(&r.reasons).unwrap_or_default();
        if points > 0 {
            let code = match (r.callback_at.is_some(), r.act_at.is_some_and(|t| t < now)) {
                (true, false) => "callback_near",
                (true, true) => "callback_passed",
                (false, false) => "due_near",
                (false, true) => "overdue",
            };
            reasons.push(Reason { part: "time".into(), reason: code.into(), points });
        }
        Self {
            points: r.points + points,
            severity: r.severity,
            clinical_risk: r.clinical_risk,
            vulnerability: r.vulnerability,
            time: points,
            reasons,
        }
    }
}

impl Contact {
    fn new(r: &store::views::follow_ups::ItemRow, at: At) -> Self {
        let local = rules::local_time(Micros(at.now), &r.zone);
        let purpose = ItemKind::named(&r.kind).unwrap_or(ItemKind::PostVisit).purpose();
        let barred = match (r.status.as_str(), r.status_reason.as_deref()) {
            ("open", _) => may_contact(purpose, local.time(), Consents::default(), at.quiet).err(),
            ("suppressed", _) => Some(Barred::DoNotContact),
            (_, Some("deceased")) => Some(Barred::Deceased),
            _ => Some(Barred::NotOpen),
        };
        Self {
            purpose: purpose.as_str().to_owned(),
            allowed: barred.is_none(),
            reason: barred.map(|b| b.as_str().to_owned()),
            local_time: local.format("%Y-%m-%dT%H:%M").to_string(),
        }
    }
}
