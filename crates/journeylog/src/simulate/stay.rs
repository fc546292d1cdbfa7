//! Admissions: day cases and stays of up to two weeks.

use super::booking::Visit;
use super::scribe::{Scribe, Src};
use domain::Event;
use domain::event::{
    AdmissionCancelled, AftercareInstructionGiven, ChecklistCompleted, DischargeCancelled, Modality, PatientAdmitted,
    PatientDischarged, PatientTransferred, Role,
};
use domain::time::{DAY, HOUR, MINUTE};

impl Scribe<'_> {
    /// A stay from about `at` on; `v` is its visit. Returns the discharge, or `None` if it did not come to one.
    pub fn stay(&mut self, v: &mut Visit, at: i64) -> Option<i64> {
        let (day, _) = self.site.zone.local(at);
        let admitted = self.site.zone.utc(day, self.dice.range(420, 900));
        if self.treatment.is_none() && self.dice.percent(35) {
            self.journey = Some(self.reference("journey"));
        }
        let header = self.head(admitted, Src::Adt, Role::Receptionist, Modality::InPerson);
        let ward = self.dice.pick(&["W3-East", "W4-West", "W5-East"]).to_owned();
        self.put(Event::PatientAdmitted(PatientAdmitted {
            header,
            encounter_id: v.encounter.clone(),
            location: Some(ward.clone()),
            order_id: None,
        }));
        if self.dice.percent(9) {
            let header = self.head(admitted + 5 * HOUR, Src::Adt, Role::Receptionist, Modality::InPerson);
            self.put(Event::AdmissionCancelled(AdmissionCancelled { header, encounter_id: v.encounter.clone() }));
            return None;
        }
        let nights = self.dice.tail(3).clamp(0, 14);
        for i in 0..self.dice.weighted(&[40, 45, 15]) as i64 {
            let header = self.head(admitted + (4 + i * 20) * HOUR, Src::Adt, Role::Nurse, Modality::InPerson);
            let location = self.dice.pick(&["OR-2", "ICU", "W3-East", "W4-West"]).to_owned();
            self.put(Event::PatientTransferred(PatientTransferred {
                header,
                encounter_id: v.encounter.clone(),
                location,
            }));
        }
        self.infection_check(v, admitted + 6 * HOUR);
        let mut left = self.site.zone.utc(day + nights, self.dice.range(600, 960)).max(admitted + 7 * HOUR);
        self.discharge(v, left, &ward);
        if self.dice.percent(6) {
            let header = self.head(left + HOUR, Src::Adt, Role::Nurse, Modality::InPerson);
            self.put(Event::DischargeCancelled(DischargeCancelled { header, encounter_id: v.encounter.clone() }));
            left += DAY;
            self.discharge(v, left, &ward);
        }
        v.ends = left;
        Some(left)
    }

    fn discharge(&mut self, v: &Visit, at: i64, ward: &str) {
        let header = self.head(at - 40 * MINUTE, Src::Emr, Role::Nurse, Modality::InPerson);
        let teach_back = Some(self.dice.percent(72));
        self.put(Event::AftercareInstructionGiven(AftercareInstructionGiven {
            header,
            encounter_id: v.encounter.clone(),
            topic: Some("wound_care".to_owned()),
            teach_back,
            channel: Some("desk".to_owned()),
        }));
        let header = self.head(at, Src::Adt, Role::Nurse, Modality::InPerson);
        let disposition = ["home", "transfer", "against_advice"][self.dice.weighted(&[93, 5, 2])].to_owned();
        let high_risk = self.dice.percent(18).then_some(true);
        self.put(Event::PatientDischarged(PatientDischarged {
            header,
            encounter_id: v.encounter.clone(),
            location: Some(ward.to_owned()),
            disposition: Some(disposition),
            high_risk,
        }));
    }

    fn infection_check(&mut self, v: &Visit, at: i64) {
        let header = self.head(at, Src::Emr, Role::Nurse, Modality::InPerson);
        let done = 12 - self.dice.weighted(&[72, 18, 10]) as i32;
        self.put(Event::ChecklistCompleted(ChecklistCompleted {
            header,
            encounter_id: Some(v.encounter.clone()),
            appointment_id: None,
            checklist: "infection_control/4".to_owned(),
            items_done: done,
            items_total: 12,
        }));
    }
}
