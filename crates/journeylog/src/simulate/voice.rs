//! What patients say afterwards: scores that follow what happened, complaints, compliments, anonymous forms.

use super::booking::Visit;
use super::clock::office;
use super::phrases;
use super::scribe::{Scribe, Src};
use domain::Event;
use domain::event::{
    ComplaintFiled, ComplaintResolved, ComplimentReceived, Dimension, FeedbackGiven, FeedbackLinked, Header, Modality,
    Role, Severity,
};
use domain::time::{DAY, HOUR, MINUTE};
use domain::views::follow_ups::item::ItemKind;

/// A question of an instrument.
struct Question {
    instrument: &'static str,
    role: Option<Role>,
    dimension: Dimension,
    scale: (i64, i64),
    touchpoint: &'static str,
}

const fn ask(
    instrument: &'static str,
    role: Option<Role>,
    dimension: Dimension,
    scale: (i64, i64),
    touchpoint: &'static str,
) -> Question {
    Question { instrument, role, dimension, scale, touchpoint }
}

/// Questions in the manner of HIRA's patient experience survey: by role and dimension, answered 1 to 4, overall 0 to 10.
const HIRA: [Question; 6] = [
    ask("hira_pes/2023", Some(Role::Doctor), Dimension::Empathy, (1, 4), "consult"),
    ask("hira_pes/2023", Some(Role::Doctor), Dimension::Explanation, (1, 4), "consult"),
    ask("hira_pes/2023", Some(Role::Nurse), Dimension::Empathy, (1, 4), "consult"),
    ask("hira_pes/2023", Some(Role::Doctor), Dimension::Technical, (1, 4), "consult"),
    ask("hira_pes/2023", None, Dimension::Facility, (1, 4), "check_in"),
    ask("hira_pes/2023", None, Dimension::Overall, (0, 10), "consult"),
];
const NPS: [Question; 1] = [ask("nps/1", None, Dimension::Overall, (0, 10), "consult")];
const CSAT: [Question; 2] = [
    ask("csat/1", Some(Role::Receptionist), Dimension::Empathy, (1, 5), "check_in"),
    ask("csat/1", Some(Role::Doctor), Dimension::Empathy, (1, 5), "consult"),
];
/// Test rooms and guides are touchpoints of their own (P2).
const TEST_ROOM: [Question; 2] = [
    ask("csat/1", Some(Role::Technician), Dimension::Empathy, (1, 5), "continuation"),
    ask("csat/1", Some(Role::Guide), Dimension::Empathy, (1, 5), "check_in"),
];
const CES: [Question; 1] = [ask("ces/1", None, Dimension::Overall, (1, 7), "scheduling")];
const BILLING: [Question; 1] = [ask("csat/1", Some(Role::Biller), Dimension::Explanation, (1, 5), "billing")];

impl Scribe<'_> {
    /// Feedback, complaint or compliment after a visit.
    pub fn voice(&mut self, v: &Visit) {
        if self.dice.percent(30) {
            let at = v.ends + self.dice.tail(20) * HOUR;
            let set: &[Question] = match self.dice.weighted(&[30, 22, 22, 11, 7, 8]) {
                0 => &HIRA,
                1 => &NPS,
                2 => &CSAT,
                3 => &CES,
                4 => &TEST_ROOM,
                _ => &BILLING,
            };
            let anonymous = self.dice.percent(22);
            for (i, q) in set.iter().enumerate() {
                self.answer(v, at + i as i64 * 15_000_000, q, anonymous);
            }
        }
        let angry = match v.mood {
            ..30 => 34,
            30..45 => 14,
            45..60 => 4,
            _ => 0,
        };
        if self.dice.percent(angry) {
            self.complain(v);
        } else if v.mood > 76 && self.dice.percent(6) {
            let at = v.ends + self.dice.tail(30) * HOUR;
            let header = self.head(at, Src::Voice, Role::Patient, Modality::Web);
            let role = self.dice.pick(&[Role::Doctor, Role::Doctor, Role::Nurse, Role::Guide]);
            let detail = self.say(&phrases::PRAISE);
            self.put(Event::ComplimentReceived(ComplimentReceived {
                header,
                encounter_id: Some(v.encounter.clone()),
                role: Some(role),
                detail,
            }));
        }
    }

    /// An answer between the scale's ends: half the people one meets, half the mood that the visit left, and some noise.
    fn raw(&mut self, q: &Question, mood: i64) -> f64 {
        let [doctor, nurse, desk] = self.dept.warmth;
        let person = match (q.role, q.dimension) {
            (_, Dimension::Technical) => self.dept.skill,
            (Some(Role::Doctor), _) => doctor,
            (Some(Role::Nurse), _) => nurse,
            (Some(Role::Receptionist | Role::Guide), _) => desk,
            (Some(Role::Technician), _) => nurse,
            _ => mood,
        };
        // Skill is judged by itself; empathy by how one was met, and by how long one waited for it.
        let weight = if q.dimension == Dimension::Technical { 10 } else { 45 };
        let level = (person * (100 - weight) + mood * weight) / 100;
        let level = self.dice.bell(level, 30).clamp(0, 100);
        let (lo, hi) = q.scale;
        (lo + ((hi - lo) * level + 50) / 100) as f64
    }

    fn answer(&mut self, v: &Visit, at: i64, q: &Question, anonymous: bool) {
        if self.over(at) {
            return;
        }
        let raw = self.raw(q, v.mood.clamp(0, 100));
        let share = (raw - q.scale.0 as f64) / (q.scale.1 - q.scale.0) as f64;
        let good = if share > 0.7 && self.dice.percent(18) { self.say(&phrases::GOOD) } else { None };
        let improve = if share < 0.5 && self.dice.percent(40) { self.say(&phrases::IMPROVE) } else { None };
        let patient = if anonymous { self.patient.take() } else { None };
        let header = self.head(at, Src::Voice, Role::Patient, Modality::Web);
        let known = |id: &String| (!anonymous).then(|| id.clone());
        let given = FeedbackGiven {
            header,
            instrument: q.instrument.to_owned(),
            role: q.role,
            dimension: q.dimension,
            raw,
            scale_min: q.scale.0 as f64,
            scale_max: q.scale.1 as f64,
            encounter_id: known(&v.encounter),
            appointment_id: known(&v.appointment),
            claim_id: None,
            touchpoint: Some(q.touchpoint.to_owned()),
            good,
            improve,
        };
        if let Some(patient) = patient {
            self.put(Event::FeedbackGiven(given.clone()));
            self.patient = Some(patient);
            // Three in five forms are linked later, by the code on the receipt.
            if self.dice.percent(60) {
                let linked = office(self.site.zone, at + self.dice.tail(40) * HOUR);
                let header = self.head(linked, Src::Voice, Role::Manager, Modality::Web);
                self.put(Event::FeedbackLinked(linked_to(given, header, v)));
            }
        } else {
            self.put(Event::FeedbackGiven(given));
        }
    }

    fn complain(&mut self, v: &Visit) {
        let at = v.ends + self.dice.tail(26) * HOUR;
        let complaint_id = self.reference("cmp");
        let header = self.head(at, Src::Voice, Role::Patient, Modality::Web);
        let severity = match v.mood {
            ..10 => Severity::Severe,
            10..35 => Severity::High,
            _ => self.dice.pick(&[Severity::Low, Severity::Medium, Severity::Medium, Severity::High]),
        };
        let role = self.dice.pick(&[Role::Receptionist, Role::Doctor, Role::Nurse, Role::Biller, Role::Technician]);
        let topic = if v.gap > 25 { "wait" } else { self.dice.pick(&["manner", "explanation", "cost", "facility"]) };
        let detail = self.say(&phrases::COMPLAINT);
        self.put(Event::ComplaintFiled(ComplaintFiled {
            header,
            complaint_id: complaint_id.clone(),
            encounter_id: Some(v.encounter.clone()),
            claim_id: None,
            severity,
            role: Some(role),
            topic: Some(topic.to_owned()),
            detail,
        }));
        if self.dice.percent(70) {
            let kind = if severity == Severity::Severe { ItemKind::CriticalMot } else { ItemKind::Complaint };
            let called = at + self.dice.tail(9 * 60) * MINUTE;
            self.make_good(called, kind, &complaint_id, false);
        }
        if self.dice.percent(76) {
            let at_once = self.dice.percent(34);
            let resolved = if at_once { at + 90 * MINUTE } else { at + self.dice.tail(5) * DAY };
            let resolved = office(self.site.zone, resolved);
            let header = self.head(resolved, Src::Voice, Role::Manager, Modality::Phone);
            let resolution = self.say(&phrases::RESOLVED);
            self.put(Event::ComplaintResolved(ComplaintResolved {
                header,
                complaint_id,
                first_contact_resolution: Some(at_once),
                resolution,
            }));
        }
    }
}

/// The anonymous answer, repeated under the patient.
pub fn linked_to(given: FeedbackGiven, mut header: Header, v: &Visit) -> FeedbackLinked {
    header.causation_id = Some(given.header.event_id.to_string());
    FeedbackLinked {
        header,
        target_event_id: given.header.event_id.to_string(),
        instrument: given.instrument,
        role: given.role,
        dimension: given.dimension,
        raw: given.raw,
        scale_min: given.scale_min,
        scale_max: given.scale_max,
        encounter_id: Some(v.encounter.clone()),
        appointment_id: Some(v.appointment.clone()),
        claim_id: given.claim_id,
        touchpoint: given.touchpoint,
        good: given.good,
        improve: given.improve,
    }
}
