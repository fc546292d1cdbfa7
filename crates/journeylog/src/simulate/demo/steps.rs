//! The steps that the stories are told in.

use super::super::scribe::{Scribe, Src};
use domain::event::{
    AppointmentBooked, AppointmentNoShow, ChargePosted, ClaimSubmitted, ConsultEnded, ConsultStarted,
    DignityBreachReported, Dimension, EnquiryReceived, FeedbackGiven, FollowUpCallCompleted, Modality, Outcome,
    PatientCheckedIn, PatientQuestionAnswered, PatientQuestionAsked, PaymentReceived, Priority, ReceiptIssued,
    ReminderSent, Role, Severity, WaitEstimated,
};
use domain::time::{DAY, Date, MINUTE};
use domain::{Event, EventId, Micros};

/// A visit of a story.
#[derive(Clone)]
pub struct Plan {
    pub appointment: String,
    pub encounter: String,
    pub claim: String,
    pub practitioner: String,
    pub starts: i64,
}

impl Scribe<'_> {
    /// Ids for a visit that starts then.
    pub fn plan(&mut self, starts: i64) -> Plan {
        Plan {
            appointment: self.reference("apt"),
            encounter: self.reference("enc"),
            claim: self.reference("clm"),
            practitioner: format!("pr-{}-{}-1", self.site.code, self.dept.id),
            starts,
        }
    }

    pub fn enquires(&mut self, at: i64, origin: &str) {
        let header = self.head(at, Src::Crm, Role::Patient, Modality::Phone);
        self.put(Event::EnquiryReceived(EnquiryReceived {
            header,
            origin: origin.to_owned(),
            service: Some(self.dept.services[0].to_owned()),
            channel: Some("phone".to_owned()),
            campaign_id: None,
            note: None,
        }));
    }

    pub fn books(&mut self, at: i64, p: &Plan, hold_s: i32, recall: Option<&str>) {
        let header = self.head(at, Src::Scheduling, Role::Receptionist, Modality::Phone);
        self.put(Event::AppointmentBooked(AppointmentBooked {
            header,
            appointment_id: p.appointment.clone(),
            starts_at: Micros(p.starts),
            duration_min: Some(15),
            service: Some(self.dept.services[0].to_owned()),
            practitioner: Some(p.practitioner.clone()),
            channel: Some("phone".to_owned()),
            encounter_id: None,
            referral_id: None,
            order_id: None,
            self_service: Some(false),
            with_help: Some(true),
            hold_s: Some(hold_s),
            capture_s: Some(95),
            urgency: Some(Priority::Routine),
            recall_kind: recall.map(str::to_owned),
        }));
    }

    pub fn reminded(&mut self, at: i64, p: Option<&Plan>, purpose: &str) {
        let header = self.head(at, Src::Messaging, Role::System, Modality::Message);
        self.put(Event::ReminderSent(ReminderSent {
            header,
            appointment_id: p.map(|p| p.appointment.clone()),
            channel: "sms".to_owned(),
            automated: true,
            days_ahead: p.map(|p| ((p.starts - at) / DAY) as i32),
            instructions: Some(true),
            purpose: Some(purpose.to_owned()),
        }));
    }

    pub fn misses(&mut self, p: &Plan, reason: Option<&str>) {
        let header = self.head(p.starts + 40 * MINUTE, Src::Scheduling, Role::System, Modality::InPerson);
        let (appointment_id, reason) = (p.appointment.clone(), reason.map(str::to_owned));
        self.put(Event::AppointmentNoShow(AppointmentNoShow { header, appointment_id, reason }));
    }

    pub fn checks_in(&mut self, p: &Plan, told_min: i32) {
        let at = p.starts - 5 * MINUTE;
        let header = self.head(at, Src::Desk, Role::Receptionist, Modality::InPerson);
        self.put(Event::PatientCheckedIn(PatientCheckedIn {
            header,
            appointment_id: Some(p.appointment.clone()),
            encounter_id: Some(p.encounter.clone()),
            starts_at: Some(Micros(p.starts)),
            channel: Some("desk".to_owned()),
        }));
        let header = self.head(at + MINUTE, Src::Desk, Role::Receptionist, Modality::InPerson);
        self.put(Event::WaitEstimated(WaitEstimated {
            header,
            appointment_id: Some(p.appointment.clone()),
            encounter_id: Some(p.encounter.clone()),
            wait_told_min: told_min,
        }));
    }

    pub fn sees_doctor(&mut self, at: i64, p: &Plan) {
        let header = self.head_of(at, &p.practitioner);
        self.put(Event::ConsultStarted(ConsultStarted {
            header,
            encounter_id: p.encounter.clone(),
            appointment_id: Some(p.appointment.clone()),
            practitioner: Some(p.practitioner.clone()),
            service: Some(self.dept.services[0].to_owned()),
        }));
    }

    pub fn leaves_doctor(&mut self, at: i64, p: &Plan, surgery: Option<bool>, reexam: Option<i64>) {
        let header = self.head_of(at, &p.practitioner);
        self.put(Event::ConsultEnded(ConsultEnded {
            header,
            encounter_id: p.encounter.clone(),
            appointment_id: Some(p.appointment.clone()),
            practitioner: Some(p.practitioner.clone()),
            surgery_recommended: surgery,
            technical_ok: Some(true),
            reexam_due_on: reexam.map(|t| Date(t.div_euclid(DAY) as i32)),
            high_risk: None,
        }));
    }

    /// A question, answered a minute later or not at all.
    pub fn asks(&mut self, at: i64, p: &Plan, topic: &str, question: &str, answered: bool) {
        let question_id = self.reference("q");
        let header = self.head(at, Src::Emr, Role::Patient, Modality::InPerson);
        self.put(Event::PatientQuestionAsked(PatientQuestionAsked {
            header,
            question_id: question_id.clone(),
            encounter_id: Some(p.encounter.clone()),
            topic: Some(topic.to_owned()),
            question: Some(question.to_owned()),
        }));
        if answered {
            let header = self.head_of(at + MINUTE, &p.practitioner);
            let encounter_id = Some(p.encounter.clone());
            self.put(Event::PatientQuestionAnswered(PatientQuestionAnswered { header, question_id, encounter_id }));
        }
    }

    pub fn hurt(&mut self, at: i64, p: &Plan, by: (Role, &str, Severity), detail: &str) {
        let header = self.head(at, Src::Voice, Role::Patient, Modality::Web);
        self.put(Event::DignityBreachReported(DignityBreachReported {
            header,
            encounter_id: Some(p.encounter.clone()),
            appointment_id: Some(p.appointment.clone()),
            role: by.0,
            kind: by.1.to_owned(),
            severity: Some(by.2),
            detail: Some(detail.to_owned()),
        }));
    }

    /// An answer of 1 to 5 about a role at a touchpoint.
    pub fn rates(
        &mut self,
        at: i64,
        p: &Plan,
        about: (Role, Dimension, &str),
        raw: f64,
        improve: Option<&str>,
    ) -> EventId {
        let header = self.head(at, Src::Voice, Role::Patient, Modality::Web);
        self.put(Event::FeedbackGiven(FeedbackGiven {
            header,
            instrument: "csat/1".to_owned(),
            role: Some(about.0),
            dimension: about.1,
            raw,
            scale_min: 1.0,
            scale_max: 5.0,
            encounter_id: Some(p.encounter.clone()),
            appointment_id: Some(p.appointment.clone()),
            claim_id: (about.2 == "billing").then(|| p.claim.clone()),
            touchpoint: Some(about.2.to_owned()),
            good: None,
            improve: improve.map(str::to_owned),
        }))
    }

    pub fn called(&mut self, at: i64, p: &Plan, answers: [&str; 5]) {
        let header = self.head(at, Src::CallCentre, Role::Nurse, Modality::Phone);
        self.put(Event::FollowUpCallCompleted(FollowUpCallCompleted {
            header,
            item_id: None,
            encounter_id: Some(p.encounter.clone()),
            channel: Some("phone".to_owned()),
            human: true,
            outcome: Outcome::Reached,
            answers: answers.map(str::to_owned).to_vec(),
            duration_s: Some(240),
            first_contact_resolution: Some(true),
            purpose: Some("care".to_owned()),
        }));
    }

    pub fn charged(&mut self, at: i64, p: &Plan, amount_minor: i64) {
        let header = self.head(at, Src::Billing, Role::Biller, Modality::InPerson);
        self.put(Event::ChargePosted(ChargePosted {
            header,
            claim_id: p.claim.clone(),
            encounter_id: Some(p.encounter.clone()),
            amount_minor,
            currency: self.site.currency.to_owned(),
            service: Some(self.dept.services[0].to_owned()),
        }));
    }

    pub fn claims(&mut self, at: i64, p: &Plan, amount_minor: i64) {
        let header = self.head(at, Src::Billing, Role::Biller, Modality::Other);
        self.put(Event::ClaimSubmitted(ClaimSubmitted {
            header,
            claim_id: p.claim.clone(),
            encounter_id: Some(p.encounter.clone()),
            amount_minor,
            currency: self.site.currency.to_owned(),
        }));
    }

    pub fn pays(&mut self, at: i64, p: &Plan, amount_minor: i64) {
        let (encounter, currency) = (Some(p.encounter.clone()), self.site.currency.to_owned());
        let header = self.head(at, Src::Billing, Role::Patient, Modality::InPerson);
        self.put(Event::PaymentReceived(PaymentReceived {
            header,
            claim_id: p.claim.clone(),
            encounter_id: encounter.clone(),
            amount_minor,
            currency: currency.clone(),
            channel: Some("desk".to_owned()),
        }));
        let header = self.head(at + MINUTE, Src::Billing, Role::System, Modality::InPerson);
        self.put(Event::ReceiptIssued(ReceiptIssued {
            header,
            claim_id: p.claim.clone(),
            encounter_id: encounter,
            amount_minor,
            currency,
            channel: Some("desk".to_owned()),
        }));
    }
}
