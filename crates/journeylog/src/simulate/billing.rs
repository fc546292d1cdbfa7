//! Charges, claims with denials and rework, payments, disputes.

use super::booking::Visit;
use super::clock::office;
use super::phrases;
use super::scribe::{Scribe, Src};
use domain::Event;
use domain::event::{
    BillDisputeResolved, BillDisputed, ChargePosted, ClaimAdjusted, ClaimDenied, ClaimPaid, ClaimResubmitted,
    ClaimSubmitted, Modality, PaymentReceived, ReceiptIssued, Role,
};
use domain::time::{DAY, HOUR, MINUTE};

impl Scribe<'_> {
    /// The money side of a visit.
    pub fn bill(&mut self, v: &mut Visit) {
        let lines = self.dice.weighted(&[0, 70, 22, 8]) as i64;
        let mut total = 0;
        for i in 0..lines {
            let amount = self.dice.tail(self.dept.fee) * self.site.price / 100 / lines / 10 * 10;
            total += amount;
            let header = self.head(v.ends + (8 + i) * MINUTE, Src::Billing, Role::Biller, Modality::InPerson);
            let charge = ChargePosted {
                header,
                claim_id: v.claim.clone(),
                encounter_id: Some(v.encounter.clone()),
                amount_minor: amount,
                currency: self.site.currency.to_owned(),
                service: Some(v.service.to_owned()),
            };
            self.maybe_correct_charge(&charge);
            self.put(Event::ChargePosted(charge));
        }
        self.claim(v, total * 7 / 10);
        let disputed = self.dice.permille(22);
        if disputed {
            self.dispute(v);
        }
        self.pay(v, total - total * 7 / 10, disputed);
    }

    fn claim(&mut self, v: &mut Visit, amount: i64) {
        let mut at = office(self.site.zone, v.ends + self.dice.range(12, 5 * 24) * HOUR);
        if self.over(at) {
            return;
        }
        let (claim_id, encounter_id) = (v.claim.clone(), Some(v.encounter.clone()));
        let currency = self.site.currency.to_owned();
        let header = self.head(at, Src::Billing, Role::Biller, Modality::Other);
        self.put(Event::ClaimSubmitted(ClaimSubmitted {
            header,
            claim_id: claim_id.clone(),
            encounter_id: encounter_id.clone(),
            amount_minor: amount,
            currency: currency.clone(),
        }));
        let mut denial = 7;
        let mut rework_no = 0;
        while self.dice.percent(denial) && rework_no < 3 {
            at += self.dice.tail(9 * 24) * HOUR;
            let header = self.head(at, Src::Billing, Role::System, Modality::Other);
            let code = self.dice.pick(&["CO-16", "CO-50", "CO-97", "PR-204"]).to_owned();
            self.put(Event::ClaimDenied(ClaimDenied {
                header,
                claim_id: claim_id.clone(),
                encounter_id: encounter_id.clone(),
                adjustment_code: Some(code),
            }));
            if self.dice.percent(12) {
                return;
            }
            rework_no += 1;
            at = office(self.site.zone, at + self.dice.tail(3 * 24) * HOUR);
            let header = self.head(at, Src::Billing, Role::Biller, Modality::Other);
            self.put(Event::ClaimResubmitted(ClaimResubmitted {
                header,
                claim_id: claim_id.clone(),
                encounter_id: encounter_id.clone(),
                amount_minor: amount,
                currency: currency.clone(),
                rework_no,
            }));
            denial = 30;
        }
        at += self.dice.tail(16 * 24) * HOUR;
        if self.over(at) {
            return;
        }
        let mut paid = amount;
        if self.dice.percent(6) {
            let cut = amount / self.dice.range(5, 20);
            paid -= cut;
            let header = self.head(at - HOUR, Src::Billing, Role::System, Modality::Other);
            self.put(Event::ClaimAdjusted(ClaimAdjusted {
                header,
                claim_id: claim_id.clone(),
                encounter_id: encounter_id.clone(),
                amount_minor: -cut,
                currency: currency.clone(),
                adjustment_code: Some("CO-45".to_owned()),
            }));
        }
        let header = self.head(at, Src::Billing, Role::System, Modality::Other);
        self.put(Event::ClaimPaid(ClaimPaid { header, claim_id, encounter_id, amount_minor: paid, currency }));
    }

    /// Four in five pay before they leave; some later, a few not at all.
    fn pay(&mut self, v: &Visit, amount: i64, disputed: bool) {
        let at = match self.dice.weighted(&[80, 14, 6]) {
            0 if !disputed => v.ends + self.dice.range(10, 35) * MINUTE,
            2 => return,
            _ => v.ends + self.dice.tail(8 * 24) * HOUR,
        };
        if self.over(at) {
            return;
        }
        let channel =
            if at < v.ends + DAY { self.dice.pick(&["desk", "kiosk"]) } else { self.dice.pick(&["web", "phone"]) };
        let modality = match channel {
            "desk" => Modality::InPerson,
            "kiosk" => Modality::Kiosk,
            "web" => Modality::Web,
            _ => Modality::Phone,
        };
        let header = self.head(at, Src::Billing, Role::Patient, modality);
        self.put(Event::PaymentReceived(PaymentReceived {
            header,
            claim_id: v.claim.clone(),
            encounter_id: Some(v.encounter.clone()),
            amount_minor: amount,
            currency: self.site.currency.to_owned(),
            channel: Some(channel.to_owned()),
        }));
        if self.dice.percent(72) {
            let header = self.head(at + MINUTE, Src::Billing, Role::System, modality);
            self.put(Event::ReceiptIssued(ReceiptIssued {
                header,
                claim_id: v.claim.clone(),
                encounter_id: Some(v.encounter.clone()),
                amount_minor: amount,
                currency: self.site.currency.to_owned(),
                channel: Some(channel.to_owned()),
            }));
        }
    }

    fn dispute(&mut self, v: &mut Visit) {
        let at = office(self.site.zone, v.ends + self.dice.tail(4 * 24) * HOUR);
        let header = self.head(at, Src::Billing, Role::Patient, Modality::Phone);
        let reason = self.say(&phrases::DISPUTE);
        self.put(Event::BillDisputed(BillDisputed {
            header,
            claim_id: v.claim.clone(),
            encounter_id: Some(v.encounter.clone()),
            channel: Some("phone".to_owned()),
            reason,
        }));
        v.mood -= 12;
        if self.dice.percent(22) {
            return;
        }
        let at_once = self.dice.percent(30);
        let days = if at_once { 0 } else { self.dice.tail(6).min(40) };
        let resolved = office(self.site.zone, at + days * DAY + 20 * MINUTE);
        let header = self.head(resolved, Src::Billing, Role::Biller, Modality::Phone);
        let outcome = self.dice.pick(&["corrected", "upheld", "waived"]).to_owned();
        self.put(Event::BillDisputeResolved(BillDisputeResolved {
            header,
            claim_id: v.claim.clone(),
            encounter_id: Some(v.encounter.clone()),
            first_contact_resolution: Some(at_once),
            outcome: Some(outcome),
        }));
    }
}
