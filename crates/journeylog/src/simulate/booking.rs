//! Scheduling: from the first call to the day of the visit.

use super::clock::{office, slot};
use super::phrases;
use super::scribe::{SECOND, Scribe, Src};
use domain::Event;
use domain::Micros;
use domain::event::{
    AppointmentBooked, AppointmentCancelled, AppointmentConfirmed, AppointmentModified, AppointmentNoShow,
    AppointmentRequested, AppointmentRescheduled, BookingFrictionReported, Modality, Party, Priority, ReminderSent,
    Role,
};
use domain::time::{DAY, HOUR, MINUTE};

/// Why an appointment is made.
#[derive(Debug, Clone, Default)]
pub struct Why {
    pub first: bool,
    pub referral: Option<String>,
    pub order: Option<String>,
    pub recall: Option<&'static str>,
    /// The least days from booking to visit; `None`: as the calendar allows.
    pub lead_days: Option<i64>,
}

/// A visit from booking to payment, and how it went so far.
pub struct Visit {
    pub appointment: String,
    pub encounter: String,
    pub claim: String,
    pub starts: i64,
    pub ends: i64,
    pub practitioner: String,
    pub service: &'static str,
    /// How the patient feels about it, 0 to 100.
    pub mood: i64,
    /// Minutes waited beyond what was told (or beyond 15, if nothing was).
    pub gap: i64,
}

impl Scribe<'_> {
    pub fn channel(&mut self) -> (&'static str, Modality) {
        match self.dice.weighted(&[48, 34, 12, 6]) {
            0 => ("phone", Modality::Phone),
            1 => ("web", Modality::Web),
            2 => ("desk", Modality::InPerson),
            _ => ("email", Modality::Message),
        }
    }

    /// Seconds on hold: longer when the site is busy; one call in twelve hangs for minutes.
    fn hold(&mut self, at: i64) -> i64 {
        let load = self.load(at);
        let usual = self.dice.tail(25 + load / 4);
        if self.dice.percent(load / 16) { usual + self.dice.range(120, 480) } else { usual }
    }

    /// Asks for and books an appointment; `at` is when the patient gets in touch.
    pub fn book(&mut self, at: i64, why: &Why) -> (Visit, i64) {
        let (channel, modality) = self.channel();
        let web = channel == "web";
        let at = if web { at } else { office(self.site.zone, at) };
        let hold = if channel == "phone" { self.hold(at) } else { 0 };
        let lead = match why.lead_days {
            Some(days) => days * DAY,
            None => (self.dice.tail(5 * 24) * HOUR).min(60 * DAY),
        };
        let starts = slot(self.site.zone, at + lead, &mut self.dice);
        let mut v = Visit {
            appointment: self.reference("apt"),
            encounter: self.reference("enc"),
            claim: self.reference("clm"),
            starts,
            ends: starts,
            practitioner: self.practitioner(),
            service: self.dice.pick(self.dept.services),
            mood: 78,
            gap: 0,
        };
        if hold > 180 || self.dice.percent(2) {
            self.friction(&mut v, at, channel, modality, hold);
        }
        let urgency = [Priority::Routine, Priority::Asap, Priority::Urgent][self.dice.weighted(&[86, 9, 5])];
        let capture = self.dice.tail(if web { 150 } else { 110 });
        let mut booked_at = at + (hold + capture) * SECOND;
        if self.dice.percent(42) {
            let header = self.head(at + hold * SECOND, Src::Scheduling, Role::Patient, modality);
            self.put(Event::AppointmentRequested(AppointmentRequested {
                header,
                appointment_id: v.appointment.clone(),
                service: Some(v.service.to_owned()),
                practitioner: None,
                channel: Some(channel.to_owned()),
                urgency: Some(urgency),
                self_service: Some(web),
                hold_s: (channel == "phone").then_some(hold as i32),
                capture_s: Some(capture as i32),
            }));
            // A request by web or mail waits until somebody gets to it.
            booked_at = if channel == "phone" {
                booked_at
            } else {
                office(self.site.zone, booked_at + self.dice.tail(40 * MINUTE))
            };
        }
        let role = if web { Role::Patient } else { Role::Receptionist };
        let header = self.head(booked_at, Src::Scheduling, role, modality);
        let with_help = (!web).then(|| self.dice.percent(60));
        let booked = AppointmentBooked {
            header,
            appointment_id: v.appointment.clone(),
            starts_at: Micros(v.starts),
            duration_min: Some(self.dice.pick(&[10, 15, 20, 30])),
            service: Some(v.service.to_owned()),
            practitioner: Some(v.practitioner.clone()),
            channel: Some(channel.to_owned()),
            encounter_id: None,
            referral_id: why.referral.clone(),
            order_id: why.order.clone(),
            self_service: Some(web),
            with_help,
            hold_s: (channel == "phone").then_some(hold as i32),
            capture_s: Some(capture as i32),
            urgency: Some(urgency),
            recall_kind: why.recall.map(str::to_owned),
        };
        self.maybe_correct_booking(&booked);
        self.put(Event::AppointmentBooked(booked));
        (v, booked_at)
    }

    fn friction(&mut self, v: &mut Visit, at: i64, channel: &str, modality: Modality, hold: i64) {
        let header = self.head(at + (hold + 20) * SECOND, Src::Voice, Role::Patient, modality);
        let problem = if hold > 180 { "long_hold" } else { self.dice.pick(&["no_slot", "wrong_data", "site_error"]) };
        let detail = self.say(&phrases::FRICTION);
        self.put(Event::BookingFrictionReported(BookingFrictionReported {
            header,
            appointment_id: Some(v.appointment.clone()),
            channel: Some(channel.to_owned()),
            hold_s: (hold > 0).then_some(hold as i32),
            problem: problem.to_owned(),
            detail,
        }));
        v.mood -= 9;
    }

    /// From the booking to the day: reminders, changes, cancellations. `None` when the visit does not come about.
    pub fn await_visit(&mut self, v: &mut Visit, booked: i64) -> Option<()> {
        let changed = booked + (v.starts - booked) / 3;
        match self.dice.weighted(&[830, 48, 32, 22, 34, 14, 20]) {
            1 => self.reschedule(v, changed, Party::Patient),
            2 => {
                self.reschedule(v, changed, Party::Hospital);
                v.mood -= 8;
            }
            3 => self.modify(v, changed),
            4 => return self.cancel(v, changed, Party::Patient),
            5 => return self.cancel(v, changed, Party::Hospital),
            6 => {
                self.reschedule(v, changed, Party::Hospital);
                let again = changed + (v.starts - changed) / 3;
                self.reschedule(v, again, Party::Hospital);
                v.mood -= 16;
            }
            _ => {}
        }
        self.remind(v, booked);
        // No-shows: about 8 %, more for those who waited long for their day.
        let lead = (v.starts - booked) / DAY;
        if self.dice.permille(62 + lead.min(30) * 4) {
            self.no_show(v);
            return None;
        }
        Some(())
    }

    fn remind(&mut self, v: &Visit, booked: i64) {
        for days in [7, 3, 1] {
            let at = v.starts - days * DAY + self.dice.range(-HOUR, HOUR);
            if at < booked + 6 * HOUR || (days != 1 && !self.dice.percent(45)) {
                continue;
            }
            let channel = self.dice.pick(&["sms", "sms", "sms", "email", "robocall", "phone"]);
            let human = channel == "phone";
            let modality = if human || channel == "robocall" { Modality::Phone } else { Modality::Message };
            let role = if human { Role::CallAgent } else { Role::System };
            let header = self.head(at, Src::Messaging, role, modality);
            let instructions = Some(self.dice.percent(70));
            self.put(Event::ReminderSent(ReminderSent {
                header,
                appointment_id: Some(v.appointment.clone()),
                channel: channel.to_owned(),
                automated: !human,
                days_ahead: Some(days as i32),
                instructions,
                purpose: Some("appointment".to_owned()),
            }));
            if self.dice.percent(55) {
                let answered = at + self.dice.tail(50 * MINUTE);
                let header = self.head(answered.min(v.starts - HOUR), Src::Messaging, Role::Patient, modality);
                self.put(Event::AppointmentConfirmed(AppointmentConfirmed {
                    header,
                    appointment_id: v.appointment.clone(),
                    channel: Some(channel.to_owned()),
                }));
                return;
            }
        }
    }

    fn reschedule(&mut self, v: &mut Visit, at: i64, by: Party) {
        let at = office(self.site.zone, at);
        let later = self.dice.range(1, 12) * DAY;
        v.starts = slot(self.site.zone, v.starts.max(at) + later, &mut self.dice);
        let (role, reason) = match by {
            Party::Hospital => (Role::Receptionist, self.say(&phrases::HOSPITAL_MOVED)),
            _ => (Role::Patient, self.say(&phrases::MOVED)),
        };
        let header = self.head(at, Src::Scheduling, role, Modality::Phone);
        let hold = self.hold(at) as i32;
        self.put(Event::AppointmentRescheduled(AppointmentRescheduled {
            header,
            appointment_id: v.appointment.clone(),
            starts_at: Micros(v.starts),
            duration_min: None,
            practitioner: None,
            channel: Some("phone".to_owned()),
            by,
            hold_s: (by == Party::Patient).then_some(hold),
            reason,
        }));
    }

    fn modify(&mut self, v: &mut Visit, at: i64) {
        let header = self.head(at, Src::Scheduling, Role::Receptionist, Modality::Phone);
        v.practitioner = self.practitioner();
        let reason = self.say(&phrases::HOSPITAL_MOVED);
        self.put(Event::AppointmentModified(AppointmentModified {
            header,
            appointment_id: v.appointment.clone(),
            starts_at: None,
            duration_min: Some(20),
            service: None,
            practitioner: Some(v.practitioner.clone()),
            by: Some(Party::Hospital),
            reason,
        }));
    }

    fn cancel(&mut self, v: &Visit, at: i64, by: Party) -> Option<()> {
        let (role, reason) = match by {
            Party::Hospital => (Role::Receptionist, self.say(&phrases::HOSPITAL_MOVED)),
            _ => (Role::Patient, self.say(&phrases::MOVED)),
        };
        let header = self.head(at, Src::Scheduling, role, Modality::Phone);
        self.put(Event::AppointmentCancelled(AppointmentCancelled {
            header,
            appointment_id: v.appointment.clone(),
            by,
            channel: Some("phone".to_owned()),
            reason,
        }));
        None
    }

    fn no_show(&mut self, v: &Visit) {
        let header = self.head(v.starts + 45 * MINUTE, Src::Scheduling, Role::System, Modality::InPerson);
        let reason = if self.dice.percent(35) { self.say(&phrases::MISSED) } else { None };
        self.put(Event::AppointmentNoShow(AppointmentNoShow { header, appointment_id: v.appointment.clone(), reason }));
    }
}
