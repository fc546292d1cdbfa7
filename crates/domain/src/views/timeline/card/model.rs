//! What is on the card.

use super::At;
use serde::Serialize;

/// The pre-visit card of a patient.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Card {
    /// The pseudonym under which the patient is known now.
    pub patient_id: String,
    /// The pseudonym that was asked for, where it has retired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_for: Option<String>,
    /// Pseudonyms that were merged into this one.
    pub merged_from: Vec<String>,
    /// The time for which the card holds.
    pub at: At,
    /// Who comes.
    pub who: Who,
    /// The next appointment, or the one under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_appointment: Option<Appointment>,
    /// What is still open, in the order of the follow-up queue.
    pub open_items: Vec<OpenItem>,
    /// Visits of the last two years that did not take place, and why, latest first.
    pub missed_visits: Vec<Missed>,
    /// Whether the patient had trouble booking again and again.
    pub booking_trouble: BookingTrouble,
    /// The last dignity breach, grave complaint, low feedback or touchpoint with the score of an alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_bad_moment: Option<BadMoment>,
    /// Whether history, insurance and allergies were reviewed before this visit.
    pub reviewed: Reviewed,
    /// What the patient was asked again though it was known: look it up instead of asking.
    pub asked_again: Vec<AskedAgain>,
    /// Questionnaires that the patient has filled in, latest first.
    pub questionnaires: Vec<Questionnaire>,
    /// Risks that the patient was told, latest first.
    pub risks: Vec<Risk>,
    /// Consents in force.
    pub consents: Vec<Consent>,
    /// What was done so far.
    pub history: History,
}

/// Who comes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Who {
    /// Standing needs, such as wheelchair or interpreter_vi.
    pub special_requirements: Vec<String>,
    /// Whether the patient has died.
    pub deceased: bool,
    /// The first event on the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_contact: Option<At>,
    /// The last consult or stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_visit: Option<At>,
    /// How the patient came at first, such as review, advertisement, friend_or_family or provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_by: Option<String>,
    /// The relation of the person who introduced the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduced_by: Option<String>,
}

/// An appointment that is to come.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Appointment {
    /// Its id.
    pub appointment_id: String,
    /// Its start.
    pub starts_at: At,
    /// Service or procedure, as the source codes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Pseudonymous identifier of the practitioner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub practitioner: Option<String>,
    /// Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Department.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Whether the patient confirmed it.
    pub confirmed: bool,
    /// Reminders sent.
    pub reminders: usize,
    /// Whether the patient has checked in.
    pub checked_in: bool,
}

/// Something that is not closed yet: an item of the follow-up queue, or what the card alone has.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenItem {
    /// Its id in the queue (`/v1/follow-ups/{id}`); absent of what the card alone has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// A kind of the queue; or decision (it was put off) or booking (asked for, no time yet), which the card alone has.
    pub kind: String,
    /// open, or suppressed: nobody may call about it, and the patient may ask.
    pub status: String,
    /// How far it has come: accepted, booked or completed of a referral, collected or preliminary of an order, deferred of a
    /// decision, requested of a booking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The reference that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When it began.
    pub since: At,
    /// When it is due, by the rules of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<At>,
    /// Whether that has passed.
    pub overdue: bool,
    /// The event that opened it.
    pub event_id: String,
    /// Its journey.
    pub journey_id: String,
}

/// A visit that did not take place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missed {
    /// The appointment.
    pub appointment_id: String,
    /// no_show, cancelled_by_patient, cancelled_by_hospital or cancelled.
    pub how: String,
    /// When that was recorded to have happened.
    pub at: At,
    /// When the visit should have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<At>,
    /// Why, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is; if not, ask kindly.
    pub reason_known: bool,
    /// Whether an appointment was booked after that.
    pub booked_again: bool,
    /// The event that says so.
    pub event_id: String,
}

/// Trouble with booking within the last 365 days: reported friction, and cancellations or reschedules by the hospital.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BookingTrouble {
    /// Whether there were at least two: help with the next booking.
    pub flag: bool,
    /// How many.
    pub count: usize,
    /// Which, latest first.
    pub times: Vec<Trouble>,
}

/// One trouble with booking.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trouble {
    /// When.
    pub at: At,
    /// The reported problem, or cancelled_by_hospital or rescheduled_by_hospital.
    pub problem: String,
    /// The event that says so.
    pub event_id: String,
}

/// A moment that went badly.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BadMoment {
    /// When.
    pub at: At,
    /// dignity_breach, complaint, low_feedback, or low_score (a touchpoint below 40).
    pub kind: String,
    /// Kind of breach, topic of the complaint, dimension of the feedback, or kind of touchpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The role that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How grave it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What happened, or what to improve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether a complaint was resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    /// The touchpoint of a low score; `/v1/journeys/{id}/mot` says why it is low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touchpoint_id: Option<String>,
    /// Its score, points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The standard by which it was scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_version: Option<String>,
    /// Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The event that says so; of a low score the one with which the touchpoint began.
    pub event_id: String,
    /// Its journey.
    pub journey_id: String,
}

/// Whether history, insurance and allergies were reviewed since the last visit, or for the next appointment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reviewed {
    /// Whether they were.
    pub done: bool,
    /// When they were last reviewed, be it for this visit or an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// The event that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// Something that the patient was asked again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AskedAgain {
    /// What, such as allergies or insurance.
    pub field: String,
    /// How often.
    pub times: usize,
    /// When last.
    pub last_at: At,
    /// The events that say so.
    pub event_ids: Vec<String>,
}

/// A questionnaire that was filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Questionnaire {
    /// Questionnaire and version.
    pub questionnaire: String,
    /// When.
    pub at: At,
    /// Whether history, insurance and allergies were reviewed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_reviewed: Option<bool>,
    /// The event that says so.
    pub event_id: String,
}

/// A risk that the patient was told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Risk {
    /// When.
    pub at: At,
    /// Which.
    pub risk: String,
    /// Its stated probability, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Whether options were explained with pros and cons.
    pub pros_and_cons: bool,
    /// Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The earlier explanation that this one is a second opinion on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_opinion_of: Option<String>,
    /// The event that says so.
    pub event_id: String,
}

/// A consent in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Consent {
    /// What is consented to.
    pub scope: String,
    /// Whom it concerns.
    pub grantee: String,
    /// Since when.
    pub since: At,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<At>,
    /// The event that says so.
    pub event_id: String,
}

/// What was done so far; each list latest first, at most twenty long.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct History {
    /// Consults.
    pub consults: Vec<Consult>,
    /// How many there were.
    pub consults_total: usize,
    /// Stays.
    pub stays: Vec<Stay>,
    /// How many there were.
    pub stays_total: usize,
    /// Tests, imaging, procedures and prescriptions.
    pub orders: Vec<Order>,
    /// How many there were.
    pub orders_total: usize,
}

/// A consult.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Consult {
    /// The visit.
    pub encounter_id: String,
    /// When it began, or ended where no beginning is known.
    pub at: At,
    /// Pseudonymous identifier of the practitioner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub practitioner: Option<String>,
    /// Service, as the source codes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Department.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Whether surgery was recommended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surgery_recommended: Option<bool>,
    /// Whether options were explained with pros and cons.
    pub options_explained: bool,
    /// Whether the decision was put off.
    pub decision_deferred: bool,
    /// Whether the next steps were explained.
    pub next_steps_explained: bool,
    /// References of the notes taken.
    pub notes: Vec<String>,
    /// Its journey.
    pub journey_id: String,
}

/// A stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stay {
    /// The stay.
    pub encounter_id: String,
    /// Admission.
    pub admitted_at: At,
    /// Discharge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discharged_at: Option<At>,
    /// Ward or unit, the last known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Discharge disposition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disposition: Option<String>,
    /// Site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Its journey.
    pub journey_id: String,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Its id.
    pub order_id: String,
    /// What was ordered, as the source codes it.
    pub code: String,
    /// When.
    pub at: At,
    /// placed, collected, preliminary, final, corrected or cancelled.
    pub state: String,
    /// When the last result came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_at: Option<At>,
    /// Whether it was abnormal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abnormal: Option<bool>,
    /// Its journey.
    pub journey_id: String,
}
