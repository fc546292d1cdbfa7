//! Referrals, within a site and between sites: answered, booked, carried out, or left open.

use super::booking::{Visit, Why};
use super::clock::office;
use super::phrases;
use super::scribe::{Scribe, Src};
use super::world::{BYEOLBIT, HANEUL, LINDEN, Site};
use domain::event::{
    Modality, Priority, ReferralAccepted, ReferralBooked, ReferralCancelled, ReferralCompleted, ReferralDeclined,
    ReferralExpired, ReferralMade, Role,
};
use domain::time::{DAY, HOUR, MINUTE};
use domain::{Event, Micros};

impl Scribe<'_> {
    /// Where patients of this department are sent.
    fn target(&mut self) -> (&'static Site, usize) {
        let site: &'static Site = match self.site.id {
            "linden" => &LINDEN,
            "byeolbit" if self.dice.percent(60) => &HANEUL,
            "byeolbit" => &BYEOLBIT,
            _ if self.dice.percent(20) => &BYEOLBIT,
            _ => &HANEUL,
        };
        (site, self.dice.below(site.departments.len() as u64) as usize)
    }

    /// A referral and what becomes of it: most are booked and completed, a tenth just stays open.
    pub fn refer(&mut self, v: &Visit) {
        let at = v.ends;
        let (site, dept) = self.target();
        let dept = &site.departments[dept];
        let referral_id = self.reference("ref");
        let header = self.head_of(at, &v.practitioner);
        let expires = at + self.dice.pick(&[30, 30, 60, 90]) * DAY;
        let priority = [Priority::Routine, Priority::Urgent][self.dice.weighted(&[85, 15])];
        self.put(Event::ReferralMade(ReferralMade {
            header,
            referral_id: referral_id.clone(),
            encounter_id: Some(v.encounter.clone()),
            from: Some(format!("{}/{}", self.site.id, self.dept.id)),
            to: format!("{}/{}", site.id, dept.id),
            priority: Some(priority),
            expires_at: Some(Micros(expires)),
        }));
        let (old_site, old_dept) = (self.site, self.dept);
        (self.site, self.dept) = (site, dept);
        let answered = office(site.zone, at + self.dice.tail(26) * HOUR);
        match self.dice.weighted(&[76, 6, 5, 13]) {
            0 => self.accept(&referral_id, answered),
            1 => {
                let header = self.head(answered, Src::Partner, Role::Manager, Modality::Message);
                let reason = self.say(&phrases::UNNEEDED);
                self.put(Event::ReferralDeclined(ReferralDeclined { header, referral_id, reason }));
            }
            2 => {
                let header = self.head(answered, Src::Emr, Role::Doctor, Modality::Message);
                let reason = self.say(&phrases::UNNEEDED);
                self.put(Event::ReferralCancelled(ReferralCancelled { header, referral_id, reason }));
            }
            // Left open: nobody says a word, until it expires.
            _ => self.expire(referral_id, expires),
        }
        (self.site, self.dept) = (old_site, old_dept);
    }

    fn expire(&mut self, referral_id: String, expires: i64) {
        if !self.over(expires) {
            let header = self.head(expires, Src::Partner, Role::System, Modality::Other);
            self.put(Event::ReferralExpired(ReferralExpired { header, referral_id }));
        }
    }

    fn accept(&mut self, referral_id: &str, at: i64) {
        let header = self.head(at, Src::Partner, Role::Manager, Modality::Message);
        self.put(Event::ReferralAccepted(ReferralAccepted {
            header,
            referral_id: referral_id.to_owned(),
            reason: None,
        }));
        if self.dice.percent(11) {
            return;
        }
        let asked = at + self.dice.tail(4 * 24) * HOUR;
        if self.over(asked) {
            return;
        }
        let why = Why { referral: Some(referral_id.to_owned()), ..Why::default() };
        let (mut visit, booked) = self.book(asked, &why);
        let header = self.head(booked + 2 * MINUTE, Src::Partner, Role::Receptionist, Modality::Phone);
        self.put(Event::ReferralBooked(ReferralBooked {
            header,
            referral_id: referral_id.to_owned(),
            appointment_id: Some(visit.appointment.clone()),
            starts_at: Some(Micros(visit.starts)),
        }));
        if self.await_visit(&mut visit, booked).is_none() || self.over(visit.starts) {
            return;
        }
        let begins = self.arrive(&mut visit, false);
        let ends = self.consult(&mut visit, begins);
        self.orders(&visit);
        self.bill(&mut visit);
        self.voice(&visit);
        let reported = ends + self.dice.tail(20) * HOUR;
        let header = self.head(reported, Src::Partner, Role::Doctor, Modality::Message);
        let outcome_ref = self.dice.percent(86).then(|| self.reference("report"));
        self.put(Event::ReferralCompleted(ReferralCompleted {
            header,
            referral_id: referral_id.to_owned(),
            encounter_id: Some(visit.encounter),
            outcome_ref,
        }));
    }
}
