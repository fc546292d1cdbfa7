//! Consents, identity, and mistakes put right.

use super::booking::Visit;
use super::phrases;
use super::scribe::{Scribe, Src};
use domain::event::{
    AppointmentBooked, ChargePosted, ConsentExpired, ConsentGiven, ConsentWithdrawn, DemographicsUpdated,
    EventCorrected, EventRetracted, FollowUpItemClosed, Grantee, ItemClosure, Modality, NoteRecorded,
    PatientIdentifiersChanged, PatientsMerged, PatientsUnmerged, Role, WaitEstimated,
};
use domain::ids::Embedded;
use domain::time::{DAY, HOUR, MINUTE};
use domain::views::follow_ups::item::ItemKind;
use domain::{Event, Micros, PatientId};

impl Scribe<'_> {
    /// The consents of a first visit; some run out, some are withdrawn (F16).
    pub fn consents(&mut self, at: i64) {
        let asked = [
            ("share_records", Grantee::Provider, 88),
            ("follow_up_contact", Grantee::Contact, 70),
            ("share_records", Grantee::Insurer, 40),
            ("share_records", Grantee::Family, 16),
            ("advertising", Grantee::Marketing, 22),
        ];
        for (i, (scope, grantee, percent)) in asked.into_iter().enumerate() {
            if !self.dice.percent(percent) {
                continue;
            }
            let given = at + i as i64 * 20_000_000;
            let header = self.head(given, Src::Consent, Role::Patient, Modality::Kiosk);
            let short = self.dice.percent(8);
            let until = given + if short { 30 * DAY } else { 730 * DAY };
            self.put(Event::ConsentGiven(ConsentGiven {
                header,
                scope: scope.to_owned(),
                grantee,
                valid_from: Some(Micros(given)),
                valid_until: Some(Micros(until)),
            }));
            if self.dice.percent(3) {
                let at = given + self.dice.tail(20 * 24) * HOUR;
                let header = self.head(at, Src::Consent, Role::Patient, Modality::Web);
                self.put(Event::ConsentWithdrawn(ConsentWithdrawn { header, scope: scope.to_owned(), grantee }));
            } else if short && !self.over(until) {
                let header = self.head(until, Src::Consent, Role::System, Modality::Other);
                self.put(Event::ConsentExpired(ConsentExpired { header, scope: scope.to_owned(), grantee }));
            }
        }
        // One in a hundred and twenty wants no contact at all.
        if self.dice.permille(8) {
            let at = at + self.dice.tail(15 * 24) * HOUR;
            let header = self.head(at, Src::Consent, Role::Patient, Modality::Phone);
            let (scope, grantee) = ("contact".to_owned(), Grantee::Contact);
            self.put(Event::ConsentWithdrawn(ConsentWithdrawn { header, scope, grantee }));
        }
    }

    /// A change of master data.
    pub fn demographics(&mut self, at: i64) {
        let header = self.head(at, Src::Mpi, Role::Receptionist, Modality::InPerson);
        let fields = [["address"], ["phone"], ["insurance"]][self.dice.below(3) as usize].map(str::to_owned).to_vec();
        let needs = ["wheelchair", "interpreter_vi", "hearing_aid", "fall_risk"];
        let special_requirements =
            if self.dice.percent(18) { vec![self.dice.pick(&needs).to_owned()] } else { Vec::new() };
        let deceased = self.dice.permille(10).then_some(true);
        self.put(Event::DemographicsUpdated(DemographicsUpdated { header, fields, special_requirements, deceased }));
    }

    /// Two records of one patient are merged; `retired` is the older one. One merge in six is undone.
    pub fn merge(&mut self, at: i64, retired: &PatientId) {
        let Some(surviving) = self.patient.clone() else { return };
        let authority = Some(self.site.id.to_owned());
        let header = self.head(at, Src::Mpi, Role::Manager, Modality::Other);
        self.put(Event::PatientsMerged(PatientsMerged {
            header,
            surviving: surviving.0.clone(),
            retired: retired.0.clone(),
            authority: authority.clone(),
        }));
        if self.dice.percent(22) {
            let at = at + self.dice.tail(4 * 24) * HOUR;
            let header = self.head(at, Src::Mpi, Role::Manager, Modality::Other);
            self.put(Event::PatientsUnmerged(PatientsUnmerged {
                header,
                surviving: surviving.0,
                retired: retired.0.clone(),
                authority,
            }));
        }
    }

    /// The record number behind the pseudonym changed.
    pub fn renumber(&mut self, at: i64) {
        let header = self.head(at, Src::Mpi, Role::Manager, Modality::Other);
        let retired = Some(format!("p-{:016x}", self.dice.word()));
        let authority = Some(self.site.id.to_owned());
        self.put(Event::PatientIdentifiersChanged(PatientIdentifiersChanged { header, retired, authority }));
    }

    /// A nurse closes an item by hand.
    pub fn close_item(&mut self, at: i64, v: &Visit) {
        let header = self.head(at, Src::CallCentre, Role::Nurse, Modality::Other);
        let (kind, subject) = match self.dice.weighted(&[50, 50]) {
            0 => (ItemKind::UnpaidBill, &v.claim),
            _ => (ItemKind::PostVisit, &v.encounter),
        };
        let item_id = self.item(kind, subject);
        let closure = self.dice.pick(&[ItemClosure::Resolved, ItemClosure::NotNeeded, ItemClosure::Declined]);
        let note = self.say(&phrases::REMARK);
        self.put(Event::FollowUpItemClosed(FollowUpItemClosed { header, item_id, closure, note }));
    }

    /// A note of somebody else's, filed here by mistake: retracted, and published anew under the right patient. The note
    /// that is given shows whose hand it was.
    pub fn maybe_misfile(&mut self, like: &NoteRecorded) {
        if !self.dice.permille(5) {
            return;
        }
        let at = like.header.occurred_at.0 + 4 * MINUTE;
        let practitioner = like.header.actor.as_ref().and_then(|a| a.id.clone()).unwrap_or_default();
        let header = self.head_of(at, &practitioner);
        let note_ref = self.reference("note");
        let kind = Some("finding".to_owned());
        let note = NoteRecorded { header, encounter_id: None, note_ref, kind };
        let wrong = self.put(Event::NoteRecorded(note.clone()));
        let noticed = note.header.recorded_at.0 + self.dice.tail(3 * 60) * MINUTE;
        let header = self.head(noticed, Src::Emr, Role::Nurse, Modality::Other);
        let reason = phrases::MISTAKE.of(self.site.zone)[1].to_owned();
        self.put(Event::EventRetracted(EventRetracted { header, target_event_id: wrong.to_string(), reason }));
        let mut right = self.head_of(at, &practitioner);
        right.recorded_at = Micros(noticed + MINUTE);
        right.patient_id = Some(PatientId(format!("p-{:016x}", self.dice.word())));
        self.put(Event::NoteRecorded(NoteRecorded { header: right, ..note }));
    }

    /// A booking typed in wrongly: the length was another.
    pub fn maybe_correct_booking(&mut self, booked: &AppointmentBooked) {
        if self.dice.permille(6) {
            let right = AppointmentBooked { duration_min: Some(40), ..booked.clone() };
            self.correct(Event::AppointmentBooked(right));
        }
    }

    /// A wait noted wrongly.
    pub fn maybe_correct_wait(&mut self, told: &WaitEstimated) {
        if self.dice.permille(5) {
            let right = WaitEstimated { wait_told_min: told.wait_told_min + 10, ..told.clone() };
            self.correct(Event::WaitEstimated(right));
        }
    }

    /// A charge with a zero too many.
    pub fn maybe_correct_charge(&mut self, charge: &ChargePosted) {
        if self.dice.permille(9) {
            let right = ChargePosted { amount_minor: charge.amount_minor / 2, ..charge.clone() };
            self.correct(Event::ChargePosted(right));
        }
    }

    /// Publishes a correction of the event that `right` replaces, some time after that was recorded.
    fn correct(&mut self, right: Event) {
        let old = right.header();
        let (target, at) = (old.event_id.to_string(), old.recorded_at.0 + self.dice.tail(5 * 60) * MINUTE);
        let system = old.source.system.clone();
        let mut header = self.head(at, Src::Desk, Role::Receptionist, Modality::Other);
        header.source.system = system;
        header.causation_id = Some(target.clone());
        let reason = phrases::MISTAKE.of(self.site.zone)[0].to_owned();
        let replacement = Embedded(right.to_json());
        self.put(Event::EventCorrected(EventCorrected { header, target_event_id: target, reason, replacement }));
    }
}
