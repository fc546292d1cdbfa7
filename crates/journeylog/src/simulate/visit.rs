//! The visit itself: check-in, the wait as told and as it was, the consult.

use super::booking::Visit;
use super::phrases;
use super::scribe::{Scribe, Src};
use domain::event::{
    AftercareInstructionGiven, ChecklistCompleted, ConsultEnded, ConsultStarted, DignityBreachReported, Modality,
    NextStepsExplained, NoteRecorded, OptionsExplained, PatientCheckedIn, PatientQuestionAnswered,
    PatientQuestionAsked, QuestionnaireCompleted, QuestionnaireStarted, RepeatQuestionReported, Role, Severity,
    WaitEstimated,
};
use domain::time::{DAY, Date, MINUTE};
use domain::views::follow_ups::item::ItemKind;
use domain::{Event, Micros};

impl Scribe<'_> {
    /// Check-in, questionnaire and wait; returns when the consult begins. `known`: the patient has been here before.
    pub fn arrive(&mut self, v: &mut Visit, known: bool) -> i64 {
        let at = v.starts + self.dice.bell(-9, 22) * MINUTE;
        let kiosk = self.dice.percent(45);
        let (src, channel, modality) =
            if kiosk { (Src::Kiosk, "kiosk", Modality::Kiosk) } else { (Src::Desk, "desk", Modality::InPerson) };
        let role = if kiosk { Role::Patient } else { Role::Receptionist };
        let header = self.head(at, src, role, modality);
        self.put(Event::PatientCheckedIn(PatientCheckedIn {
            header,
            appointment_id: Some(v.appointment.clone()),
            encounter_id: Some(v.encounter.clone()),
            starts_at: Some(Micros(v.starts)),
            channel: Some(channel.to_owned()),
        }));
        if !known || self.dice.percent(25) {
            self.questionnaire(v, at + MINUTE, known, modality);
        }
        self.wait(v, at, src, role, modality)
    }

    fn questionnaire(&mut self, v: &mut Visit, at: i64, known: bool, modality: Modality) {
        let src = if modality == Modality::Kiosk { Src::Kiosk } else { Src::Desk };
        let header = self.head(at, src, Role::Patient, modality);
        let questionnaire = if known { "update/2" } else { "intake/3" };
        self.put(Event::QuestionnaireStarted(QuestionnaireStarted {
            header,
            appointment_id: Some(v.appointment.clone()),
            encounter_id: Some(v.encounter.clone()),
            questionnaire: questionnaire.to_owned(),
        }));
        let end = at + self.dice.tail(6) * MINUTE;
        if self.dice.percent(94) {
            let header = self.head(end, src, Role::Patient, modality);
            let (reused, asked) =
                if known { (self.dice.range(8, 20), self.dice.range(1, 6)) } else { (0, self.dice.range(14, 24)) };
            let reviewed = self.dice.percent(if known { 75 } else { 92 });
            let done = QuestionnaireCompleted {
                header,
                appointment_id: Some(v.appointment.clone()),
                encounter_id: Some(v.encounter.clone()),
                questionnaire: questionnaire.to_owned(),
                reused_fields: Some(reused as i32),
                asked_fields: Some(asked as i32),
                history_reviewed: Some(reviewed),
            };
            self.put(Event::QuestionnaireCompleted(done));
        }
        // A cold desk asks again more often.
        let again = if self.dept.warmth[2] < 50 { 30 } else { 9 };
        let mut t = end;
        while self.dice.percent(again) {
            t += 2 * MINUTE;
            let header = self.head(t, Src::Voice, Role::Patient, Modality::InPerson);
            let asked_field =
                self.dice.pick(&["allergies", "insurance", "medication", "address", "history"]).to_owned();
            self.put(Event::RepeatQuestionReported(RepeatQuestionReported {
                header,
                appointment_id: Some(v.appointment.clone()),
                encounter_id: Some(v.encounter.clone()),
                asked_field,
            }));
            v.mood -= 6;
        }
    }

    /// Real waits grow faster than the load; what patients are told follows the plan, and lags behind on busy days.
    fn wait(&mut self, v: &mut Visit, at: i64, src: Src, role: Role, modality: Modality) -> i64 {
        let load = self.load(at);
        let expected = 5 + load * load / 900;
        let real = self.dice.tail(expected).min(150);
        let early = ((v.starts - at) / MINUTE).max(0);
        let told = if self.dice.percent(86) {
            let guess = (expected * 80 / 100 + self.dice.range(-4, 4)).max(0);
            Some((guess + 2) / 5 * 5)
        } else {
            None
        };
        if let Some(told) = told {
            let header = self.head(at + MINUTE, src, role, modality);
            let estimate = WaitEstimated {
                header,
                appointment_id: Some(v.appointment.clone()),
                encounter_id: Some(v.encounter.clone()),
                wait_told_min: (told + early) as i32,
            };
            self.maybe_correct_wait(&estimate);
            self.put(Event::WaitEstimated(estimate));
        }
        v.gap = real - told.unwrap_or(15);
        v.mood -= v.gap.clamp(-5, 60) * 3 / 5;
        at + (early + real.max(1)) * MINUTE
    }

    /// The consult; returns when it ended.
    pub fn consult(&mut self, v: &mut Visit, at: i64) -> i64 {
        let minutes = self.dice.tail(if self.load(at) > 130 { 8 } else { 12 }).clamp(3, 70);
        let end = at + minutes * MINUTE;
        v.ends = end;
        let header = self.head_of(at, &v.practitioner);
        self.put(Event::ConsultStarted(ConsultStarted {
            header,
            encounter_id: v.encounter.clone(),
            appointment_id: Some(v.appointment.clone()),
            practitioner: Some(v.practitioner.clone()),
            service: Some(v.service.to_owned()),
        }));
        self.questions(v, at, minutes);
        let surgery = self.dept.operates && self.dice.percent(14);
        if surgery || self.dice.percent(18) {
            self.options(v, at + minutes * MINUTE * 2 / 3, surgery);
        }
        self.breach(v, at + minutes * MINUTE / 2);
        self.notes(v, end);
        let high_risk = self.dice.percent(6);
        let header = self.head_of(end, &v.practitioner);
        let reexam = self.dice.percent(22).then(|| Date((end / DAY + self.dice.range(14, 120)) as i32));
        let ended = ConsultEnded {
            header,
            encounter_id: v.encounter.clone(),
            appointment_id: Some(v.appointment.clone()),
            practitioner: Some(v.practitioner.clone()),
            surgery_recommended: self.dept.operates.then_some(surgery),
            technical_ok: Some(self.dice.percent(self.dept.skill / 10 + 90)),
            reexam_due_on: reexam,
            high_risk: high_risk.then_some(true),
        };
        self.put(Event::ConsultEnded(ended));
        end
    }

    fn questions(&mut self, v: &mut Visit, at: i64, minutes: i64) {
        let asked = self.dice.weighted(&[45, 32, 16, 7]);
        for i in 0..asked as i64 {
            let t = at + minutes * MINUTE * (i + 1) / 5;
            let id = self.reference("q");
            let header = self.head(t, Src::Emr, Role::Patient, Modality::InPerson);
            let topic = self.dice.pick(&["risk", "options", "medication", "cost", "next_steps"]).to_owned();
            let question = if self.dice.percent(30) { self.say(&phrases::QUESTION) } else { None };
            self.put(Event::PatientQuestionAsked(PatientQuestionAsked {
                header,
                question_id: id.clone(),
                encounter_id: Some(v.encounter.clone()),
                topic: Some(topic),
                question,
            }));
            if self.dice.percent(50 + self.dept.warmth[0] / 2) {
                let header = self.head_of(t + MINUTE, &v.practitioner);
                self.put(Event::PatientQuestionAnswered(PatientQuestionAnswered {
                    header,
                    question_id: id,
                    encounter_id: Some(v.encounter.clone()),
                }));
                v.mood += 2;
            } else {
                v.mood -= 9;
            }
        }
    }

    fn options(&mut self, v: &mut Visit, at: i64, surgery: bool) {
        // Of those to whom surgery is recommended, warm doctors explain the ways to almost all, others to fewer.
        if surgery && !self.dice.percent(self.dept.warmth[0]) {
            v.mood -= 8;
            return;
        }
        let header = self.head_of(at, &v.practitioner);
        let options = if surgery {
            ["laparoscopy", "open_surgery", "watchful_waiting"]
        } else {
            ["medication", "exercise", "watchful_waiting"]
        };
        let explained = OptionsExplained {
            header,
            encounter_id: v.encounter.clone(),
            options: options[..self.dice.range(2, 3) as usize].iter().map(|o| (*o).to_owned()).collect(),
            pros_and_cons: self.dice.percent(78),
            decision_deferred: self.dice.percent(24),
            risk: surgery.then(|| "adhesion_injury".to_owned()),
            risk_percent: surgery.then(|| self.dice.range(2, 60) as f64 / 4.0),
            second_opinion_of: None,
        };
        self.put(Event::OptionsExplained(explained));
        v.mood += 4;
    }

    /// Rare, and rarer where people are warm (P7).
    fn breach(&mut self, v: &mut Visit, at: i64) {
        let roles = [Role::Doctor, Role::Nurse, Role::Receptionist, Role::Technician, Role::Bystander];
        let i = self.dice.weighted(&[4, 3, 5, 1, 1]);
        let warmth = self.dept.warmth.get(i).copied().unwrap_or(75);
        if !self.dice.permille((88 - warmth).max(4) / 4) {
            return;
        }
        let header = self.head(at + 90 * MINUTE, Src::Voice, Role::Patient, Modality::Web);
        let detail = self.say(&phrases::BREACH);
        let kind = self.dice.pick(&["blame", "made_to_apologise", "cold", "dismissive", "exposure"]).to_owned();
        let severity = self.dice.pick(&[Severity::Medium, Severity::High, Severity::High, Severity::Severe]);
        self.put(Event::DignityBreachReported(DignityBreachReported {
            header,
            encounter_id: Some(v.encounter.clone()),
            appointment_id: Some(v.appointment.clone()),
            role: roles[i],
            kind,
            severity: Some(severity),
            detail,
        }));
        v.mood -= 34;
        let answered = self.dice.weighted(&[35, 20, 45]);
        if answered > 0 {
            let called = at + 90 * MINUTE + self.dice.tail(4 * 60) * MINUTE;
            self.make_good(called, ItemKind::CriticalMot, &v.encounter, answered == 2);
        }
    }

    fn notes(&mut self, v: &Visit, end: i64) {
        let header = self.head_of(end - MINUTE, &v.practitioner);
        let note_ref = self.reference("note");
        let kind = ["finding", "recommendation", "special_requirement"][self.dice.weighted(&[60, 36, 4])].to_owned();
        let note = NoteRecorded { header, encounter_id: Some(v.encounter.clone()), note_ref, kind: Some(kind) };
        self.maybe_misfile(&note);
        self.put(Event::NoteRecorded(note));
        if self.dice.percent(66) {
            let header = self.head_of(end - 2 * MINUTE, &v.practitioner);
            let all = ["blood_test", "imaging", "come_back", "call_if_worse", "start_medication"];
            let start = self.dice.below(3) as usize;
            let steps = all[start..start + self.dice.range(1, 2) as usize].iter().map(|s| (*s).to_owned()).collect();
            self.put(Event::NextStepsExplained(NextStepsExplained {
                header,
                encounter_id: v.encounter.clone(),
                steps,
            }));
        }
        if self.dice.percent(28) {
            let header = self.head(end + 6 * MINUTE, Src::Emr, Role::Nurse, Modality::InPerson);
            let topic = self.dice.pick(&["medication", "wound_care", "diet", "exercise"]).to_owned();
            let teach_back = Some(self.dice.percent(62));
            self.put(Event::AftercareInstructionGiven(AftercareInstructionGiven {
                header,
                encounter_id: v.encounter.clone(),
                topic: Some(topic),
                teach_back,
                channel: Some("desk".to_owned()),
            }));
        }
        if self.dice.percent(34) {
            let header = self.head(end + 9 * MINUTE, Src::Emr, Role::Nurse, Modality::InPerson);
            let total = self.dice.range(8, 14);
            let done = total - self.dice.weighted(&[70, 18, 8, 4]) as i64;
            let checklist = self.dice.pick(&["visit/2", "infection_control/4", "privacy/1"]).to_owned();
            self.put(Event::ChecklistCompleted(ChecklistCompleted {
                header,
                encounter_id: Some(v.encounter.clone()),
                appointment_id: None,
                checklist,
                items_done: done as i32,
                items_total: total as i32,
            }));
        }
    }
}
