//! History loaded from paper or an old system: it happened years before it was recorded (D8).

use super::scribe::{Scribe, Src};
use domain::event::{ConsultEnded, ConsultStarted, Header, Modality, PatientCheckedIn, ReceiptIssued, Role};
use domain::time::MINUTE;
use domain::{Event, Micros};

impl Scribe<'_> {
    /// A visit at `at` that was typed in at `recorded`.
    pub fn old_visit(&mut self, at: i64, recorded: i64) {
        let encounter = self.reference("enc");
        let claim_id = self.reference("clm");
        let practitioner = Some(self.practitioner());
        let service = Some(self.dice.pick(self.dept.services).to_owned());
        let header = self.loaded(at, recorded, Role::Receptionist);
        self.put(Event::PatientCheckedIn(PatientCheckedIn {
            header,
            appointment_id: None,
            encounter_id: Some(encounter.clone()),
            starts_at: None,
            channel: None,
        }));
        let header = self.loaded(at + 20 * MINUTE, recorded, Role::Doctor);
        self.put(Event::ConsultStarted(ConsultStarted {
            header,
            encounter_id: encounter.clone(),
            appointment_id: None,
            practitioner: practitioner.clone(),
            service,
        }));
        let header = self.loaded(at + 35 * MINUTE, recorded, Role::Doctor);
        self.put(Event::ConsultEnded(ConsultEnded {
            header,
            encounter_id: encounter.clone(),
            appointment_id: None,
            practitioner,
            surgery_recommended: None,
            technical_ok: None,
            reexam_due_on: None,
            high_risk: None,
        }));
        let header = self.loaded(at + 50 * MINUTE, recorded, Role::Biller);
        let amount_minor = self.dept.fee * self.site.price / 100 * 8 / 10;
        self.put(Event::ReceiptIssued(ReceiptIssued {
            header,
            claim_id,
            encounter_id: Some(encounter),
            amount_minor,
            currency: self.site.currency.to_owned(),
            channel: Some("desk".to_owned()),
        }));
    }

    fn loaded(&mut self, at: i64, recorded: i64, role: Role) -> Header {
        let mut header = self.head(recorded, Src::Desk, role, Modality::InPerson);
        header.occurred_at = Micros(at);
        header.recorded_at = Micros(recorded);
        header.source.system = "paper_archive".to_owned();
        header.source.trigger = Some("manual_entry".to_owned());
        header
    }
}
