//! What a visit leaves behind: orders and results, calls, recalls.

use super::booking::{Visit, Why};
use super::clock::office;
use super::phrases;
use super::scribe::{Scribe, Src};
use domain::event::{
    FollowUpCallAttempted, FollowUpCallCompleted, FollowUpItemClosed, ItemClosure, Modality, OrderCancelled,
    OrderPlaced, Outcome, Priority, RecallBooked, RecallDue, RecallLapsed, ReminderSent, ResultCorrected,
    ResultReported, ResultStatus, Role, SpecimenCollected,
};
use domain::time::{DAY, Date, HOUR, MINUTE};
use domain::views::follow_ups::item::ItemKind;
use domain::{Event, Micros};

/// Phone number found, then given up: the outcomes of attempts that reach nobody.
const UNREACHED: [Outcome; 6] = [
    Outcome::NoAnswer,
    Outcome::NoAnswer,
    Outcome::Voicemail,
    Outcome::WrongNumber,
    Outcome::LanguageBarrier,
    Outcome::CallbackAt,
];

/// The encounter and the item that a contact is about.
type About<'a> = (&'a Option<String>, &'a Option<String>);

impl Scribe<'_> {
    /// Orders of a consult, with their results. One in eight is late, a few never come.
    pub fn orders(&mut self, v: &Visit) {
        for _ in 0..self.dice.weighted(&[44, 38, 18]) {
            let code = self.dice.pick(self.dept.orders);
            let order_id = self.reference("ord");
            let encounter_id = Some(v.encounter.clone());
            let at = v.ends - MINUTE;
            let due = at + self.dice.range(1, 6) * DAY;
            let header = self.head_of(at, &v.practitioner);
            let priority = [Priority::Routine, Priority::Urgent, Priority::Stat][self.dice.weighted(&[88, 10, 2])];
            self.put(Event::OrderPlaced(OrderPlaced {
                header,
                order_id: order_id.clone(),
                encounter_id: encounter_id.clone(),
                code: code.to_owned(),
                due_at: Some(Micros(due)),
                priority: Some(priority),
            }));
            let fate = self.dice.weighted(&[815, 120, 35, 30]);
            if fate == 2 {
                let cancelled = at + self.dice.tail(20) * HOUR;
                let header = self.head(cancelled, Src::Emr, Role::Doctor, Modality::Other);
                let reason = self.say(&phrases::UNNEEDED);
                self.put(Event::OrderCancelled(OrderCancelled { header, order_id, encounter_id, reason }));
                continue;
            }
            let taken = at + self.dice.range(10, 60) * MINUTE;
            if code.starts_with("LAB") || code == "URINE" {
                let header = self.head(taken, Src::Lis, Role::Technician, Modality::InPerson);
                self.put(Event::SpecimenCollected(SpecimenCollected {
                    header,
                    order_id: order_id.clone(),
                    encounter_id: encounter_id.clone(),
                }));
            }
            let done = match fate {
                0 => taken + (due - taken) * self.dice.range(2, 95) / 100,
                1 => due + self.dice.tail(2 * 24) * HOUR,
                _ => continue,
            };
            self.result(&order_id, encounter_id.as_ref(), code, taken, done);
        }
    }

    fn result(&mut self, order_id: &str, encounter_id: Option<&String>, code: &str, taken: i64, done: i64) {
        let report = |s: &mut Self, at: i64, status: ResultStatus| {
            if s.over(at) {
                return;
            }
            let header = s.head(at, Src::Lis, Role::System, Modality::Other);
            let abnormal = Some(s.dice.percent(21));
            let (order_id, encounter_id) = (order_id.to_owned(), encounter_id.cloned());
            let code = Some(code.to_owned());
            s.put(if status == ResultStatus::Corrected {
                Event::ResultCorrected(ResultCorrected { header, order_id, encounter_id, code, status, abnormal })
            } else {
                Event::ResultReported(ResultReported { header, order_id, encounter_id, code, status, abnormal })
            });
        };
        if self.dice.percent(10) {
            report(self, taken + (done - taken) / 2, ResultStatus::Preliminary);
        }
        report(self, done, ResultStatus::Final);
        if self.dice.permille(15) {
            let at = done + self.dice.tail(30) * HOUR;
            report(self, at, ResultStatus::Corrected);
        }
    }

    /// Robocalls, which close nothing, and the human call with the five answers, which half of the patients get.
    pub fn calls(&mut self, v: &Visit) {
        let encounter = Some(v.encounter.clone());
        let item = self.dice.percent(75).then(|| self.item(ItemKind::PostVisit, &v.encounter));
        if self.dice.percent(24) {
            let at = v.ends + self.dice.range(3, 20) * HOUR;
            let outcome = self.dice.pick(&[Outcome::Reached, Outcome::Voicemail, Outcome::NoAnswer]);
            self.attempt(office(self.site.zone, at), (&encounter, &None), false, outcome, "care");
        }
        if !self.dice.percent(52) {
            return;
        }
        let mut at = office(self.site.zone, v.ends + self.dice.tail(17) * HOUR + 2 * HOUR);
        while self.dice.percent(24) {
            let outcome = self.dice.pick(&UNREACHED);
            self.attempt(at, (&encounter, &item), true, outcome, "care");
            if outcome == Outcome::WrongNumber {
                return;
            }
            at = office(self.site.zone, at + self.dice.range(2, 22) * HOUR);
        }
        self.call(at, encounter, item);
    }

    fn attempt(&mut self, at: i64, about: About<'_>, human: bool, outcome: Outcome, purpose: &str) {
        let (role, channel) = if human { (Role::CallAgent, "phone") } else { (Role::System, "robocall") };
        let header = self.head(at, Src::CallCentre, role, Modality::Phone);
        let callback_at = (outcome == Outcome::CallbackAt).then(|| Micros(at + self.dice.range(3, 30) * HOUR));
        self.put(Event::FollowUpCallAttempted(FollowUpCallAttempted {
            header,
            item_id: about.1.clone(),
            encounter_id: about.0.clone(),
            channel: channel.to_owned(),
            human,
            outcome,
            callback_at,
            purpose: Some(purpose.to_owned()),
        }));
    }

    fn call(&mut self, at: i64, encounter_id: Option<String>, item_id: Option<String>) {
        let header = self.head(at, Src::CallCentre, Role::CallAgent, Modality::Phone);
        let asked = if self.dice.percent(90) { 5 } else { 3 };
        let feeling = self.say(&phrases::FEELING).unwrap_or_default();
        let question = if self.dice.percent(20) { self.say(&phrases::QUESTION) } else { None };
        let booking = self.dice.pick(&["booked", "no", "later"]);
        let answers = [feeling.as_str(), "open", question.as_deref().unwrap_or("none"), booking, "yes"];
        let call = FollowUpCallCompleted {
            header,
            item_id,
            encounter_id,
            channel: Some("phone".to_owned()),
            human: true,
            outcome: Outcome::Reached,
            answers: answers[..asked].iter().map(|a| (*a).to_owned()).collect(),
            duration_s: Some(self.dice.tail(190) as i32),
            first_contact_resolution: Some(self.dice.percent(72)),
            purpose: Some("care".to_owned()),
        };
        self.put(Event::FollowUpCallCompleted(call));
    }

    /// Somebody rings about a breach or a complaint; where `resolved`, the matter is settled as well (it takes both).
    pub fn make_good(&mut self, at: i64, kind: ItemKind, subject: &str, resolved: bool) {
        let at = office(self.site.zone, at);
        let item_id = self.item(kind, subject);
        self.call(at, None, Some(item_id.clone()));
        if resolved {
            let header = self.head(at + 20 * MINUTE, Src::CallCentre, Role::Manager, Modality::Other);
            let note = self.say(&phrases::RESOLVED);
            let closure = ItemClosure::Resolved;
            self.put(Event::FollowUpItemClosed(FollowUpItemClosed { header, item_id, closure, note }));
        }
    }

    /// A recall (D3); returns the visit's reason and when the patient books, or `None` if it comes to nothing.
    pub fn recall(&mut self, at: i64, encounter_id: Option<String>) -> Option<(i64, Why)> {
        if self.over(at) {
            return None;
        }
        let kind = self.dept.recall;
        let due = at + self.dice.range(10, 45) * DAY;
        let header = self.head(at, Src::Crm, Role::System, Modality::Other);
        self.put(Event::RecallDue(RecallDue {
            header,
            recall_kind: kind.to_owned(),
            due_on: Date((due / DAY) as i32),
            encounter_id,
            order_id: None,
        }));
        let invited = office(self.site.zone, at + self.dice.range(1, 5) * DAY);
        let channel = self.dice.pick(&["sms", "letter", "robocall"]);
        let header = self.head(invited, Src::Messaging, Role::System, Modality::Message);
        self.put(Event::ReminderSent(ReminderSent {
            header,
            appointment_id: None,
            channel: channel.to_owned(),
            automated: true,
            days_ahead: Some(((due - invited) / DAY) as i32),
            instructions: None,
            purpose: Some("recall".to_owned()),
        }));
        let called = office(self.site.zone, invited + self.dice.range(2, 9) * DAY);
        match self.dice.weighted(&[58, 22, 20]) {
            0 => Some((called, Why { recall: Some(kind), ..Why::default() })),
            1 => {
                self.attempt(called, (&None, &None), true, Outcome::NoAnswer, "recall");
                None
            }
            _ => {
                let lapsed = due + 30 * DAY;
                if !self.over(lapsed) {
                    let header = self.head(lapsed, Src::Crm, Role::System, Modality::Other);
                    self.put(Event::RecallLapsed(RecallLapsed { header, recall_kind: kind.to_owned() }));
                }
                None
            }
        }
    }

    /// The booking that answers a recall.
    pub fn recall_booked(&mut self, v: &Visit, booked: i64, kind: &str) {
        let header = self.head(booked + MINUTE, Src::Crm, Role::CallAgent, Modality::Phone);
        self.put(Event::RecallBooked(RecallBooked {
            header,
            recall_kind: kind.to_owned(),
            appointment_id: Some(v.appointment.clone()),
            starts_at: Some(Micros(v.starts)),
        }));
    }
}
