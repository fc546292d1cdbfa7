//! The four shorter stories: an open referral, a billing dispute, a recall, a merged pair.

use super::super::scribe::{Sink, Src};
use super::super::world::{BYEOLBIT, HANEUL};
use super::{When, scribe};
use domain::event::{
    BillDisputeResolved, BillDisputed, ClaimAdjusted, ClaimDenied, ClaimPaid, ClaimResubmitted, ComplaintFiled,
    ComplaintResolved, Dimension, FollowUpCallAttempted, Modality, NoteRecorded, Outcome, PatientsMerged, Priority,
    RecallBooked, RecallDue, ReferralAccepted, ReferralMade, Role, Severity,
};
use domain::time::{DAY, Date, MINUTE};
use domain::{Event, Micros};

/// `p-demo-0002`: referred and accepted, and then nobody books.
pub fn open_referral(sink: &mut Sink, when: When) {
    let mut s = scribe(sink, "p-demo-0002", 2, &HANEUL, &HANEUL.departments[2]);
    let p = s.plan(when.at(24, 9, 30));
    s.books(when.at(29, 15, 0), &p, 55, None);
    s.reminded(when.at(25, 9, 0), Some(&p), "appointment");
    s.checks_in(&p, 15);
    let begins = p.starts + 12 * MINUTE;
    s.sees_doctor(begins, &p);
    s.asks(begins + 3 * MINUTE, &p, "next_steps", "어느 과로 가야 하나요?", true);
    s.leaves_doctor(begins + 11 * MINUTE, &p, None, None);
    let referral_id = s.reference("ref");
    let header = s.head_of(begins + 12 * MINUTE, &p.practitioner);
    s.put(Event::ReferralMade(ReferralMade {
        header,
        referral_id: referral_id.clone(),
        encounter_id: Some(p.encounter.clone()),
        from: Some("haneul/cardiology".to_owned()),
        to: "haneul/internal_medicine".to_owned(),
        priority: Some(Priority::Urgent),
        expires_at: Some(Micros(when.at(-6, 9, 30))),
    }));
    let header = s.head(when.at(22, 11, 0), Src::Partner, Role::Manager, Modality::Message);
    s.put(Event::ReferralAccepted(ReferralAccepted { header, referral_id, reason: None }));
    s.called(when.at(23, 13, 0), &p, ["괜찮습니다", "의뢰 예약을 기다리는 중", "없음", "네", "네"]);
    s.charged(begins + 20 * MINUTE, &p, 42_000);
    s.pays(begins + 25 * MINUTE, &p, 42_000);
}

/// `p-demo-0003`: billed twice, two denials, two reworks, a complaint, and eighteen days until it is settled.
pub fn billing_dispute(sink: &mut Sink, when: When) {
    let mut s = scribe(sink, "p-demo-0003", 3, &HANEUL, &HANEUL.departments[1]);
    let p = s.plan(when.at(50, 16, 0));
    s.books(when.at(55, 10, 0), &p, 30, None);
    s.checks_in(&p, 10);
    s.sees_doctor(p.starts + 15 * MINUTE, &p);
    s.leaves_doctor(p.starts + 28 * MINUTE, &p, Some(false), None);
    s.called(when.at(49, 15, 0), &p, ["좋아졌어요", "없음", "없음", "아니요", "네"]);
    s.charged(p.starts + 40 * MINUTE, &p, 180_000);
    s.charged(p.starts + 41 * MINUTE, &p, 180_000);
    s.claims(when.at(48, 9, 0), &p, 252_000);
    let (claim_id, encounter_id) = (p.claim.clone(), Some(p.encounter.clone()));
    let currency = "KRW".to_owned();
    let header = s.head(when.at(45, 10, 0), Src::Billing, Role::Patient, Modality::Phone);
    s.put(Event::BillDisputed(BillDisputed {
        header,
        claim_id: claim_id.clone(),
        encounter_id: encounter_id.clone(),
        channel: Some("phone".to_owned()),
        reason: Some("같은 검사가 두 번 청구되었습니다".to_owned()),
    }));
    for (rework_no, denied, again) in [(1, 40, 38), (2, 30, 28)] {
        let header = s.head(when.at(denied, 9, 0), Src::Billing, Role::System, Modality::Other);
        s.put(Event::ClaimDenied(ClaimDenied {
            header,
            claim_id: claim_id.clone(),
            encounter_id: encounter_id.clone(),
            adjustment_code: Some("CO-18".to_owned()),
        }));
        let header = s.head(when.at(again, 14, 0), Src::Billing, Role::Biller, Modality::Other);
        s.put(Event::ClaimResubmitted(ClaimResubmitted {
            header,
            claim_id: claim_id.clone(),
            encounter_id: encounter_id.clone(),
            amount_minor: 126_000,
            currency: currency.clone(),
            rework_no,
        }));
    }
    let complaint_id = s.reference("cmp");
    let header = s.head(when.at(33, 12, 0), Src::Voice, Role::Patient, Modality::Phone);
    s.put(Event::ComplaintFiled(ComplaintFiled {
        header,
        complaint_id: complaint_id.clone(),
        encounter_id: encounter_id.clone(),
        claim_id: Some(claim_id.clone()),
        severity: Severity::High,
        role: Some(Role::Biller),
        topic: Some("cost".to_owned()),
        detail: Some("2주가 지나도록 연락이 없습니다".to_owned()),
    }));
    let header = s.head(when.at(27, 10, 0), Src::Billing, Role::Biller, Modality::Phone);
    s.put(Event::BillDisputeResolved(BillDisputeResolved {
        header,
        claim_id: claim_id.clone(),
        encounter_id: encounter_id.clone(),
        first_contact_resolution: Some(false),
        outcome: Some("corrected".to_owned()),
    }));
    let header = s.head(when.at(27, 10, 20), Src::Voice, Role::Manager, Modality::Phone);
    let resolution = Some("금액을 정정하고 전화로 사과드렸습니다".to_owned());
    s.put(Event::ComplaintResolved(ComplaintResolved {
        header,
        complaint_id,
        first_contact_resolution: Some(false),
        resolution,
    }));
    let header = s.head(when.at(26, 9, 0), Src::Billing, Role::Biller, Modality::Other);
    s.put(Event::ClaimAdjusted(ClaimAdjusted {
        header,
        claim_id: claim_id.clone(),
        encounter_id: encounter_id.clone(),
        amount_minor: -180_000,
        currency: currency.clone(),
        adjustment_code: Some("CO-18".to_owned()),
    }));
    s.pays(when.at(26, 15, 0), &p, 54_000);
    s.rates(
        when.at(26, 19, 0),
        &p,
        (Role::Biller, Dimension::Explanation, "billing"),
        2.0,
        Some("처음부터 확인해 주세요"),
    );
    let header = s.head(when.at(12, 9, 0), Src::Billing, Role::System, Modality::Other);
    s.put(Event::ClaimPaid(ClaimPaid { header, claim_id, encounter_id, amount_minor: 126_000, currency }));
}

/// `p-demo-0004`: a recall booked, missed, and booked again.
pub fn recall(sink: &mut Sink, when: When) {
    let mut s = scribe(sink, "p-demo-0004", 4, &BYEOLBIT, &BYEOLBIT.departments[1]);
    let day = when.at(20, 15, 0);
    let header = s.head(when.at(45, 9, 0), Src::Crm, Role::System, Modality::Other);
    s.put(Event::RecallDue(RecallDue {
        header,
        recall_kind: "scaling".to_owned(),
        due_on: Date(day.div_euclid(DAY) as i32),
        encounter_id: None,
        order_id: None,
    }));
    s.reminded(when.at(44, 10, 0), None, "recall");
    let missed = s.plan(day);
    let next = s.plan(when.at(-4, 15, 0));
    for (p, at, hold_s) in [(&missed, when.at(40, 11, 0), 25), (&next, when.at(18, 10, 0), 35)] {
        s.books(at, p, hold_s, Some("scaling"));
        let header = s.head(at + MINUTE, Src::Crm, Role::CallAgent, Modality::Phone);
        s.put(Event::RecallBooked(RecallBooked {
            header,
            recall_kind: "scaling".to_owned(),
            appointment_id: Some(p.appointment.clone()),
            starts_at: Some(Micros(p.starts)),
        }));
    }
    s.reminded(when.at(21, 15, 0), Some(&missed), "appointment");
    s.misses(&missed, Some("회사에서 나올 수 없었어요"));
    let header = s.head(when.at(19, 11, 0), Src::CallCentre, Role::CallAgent, Modality::Phone);
    s.put(Event::FollowUpCallAttempted(FollowUpCallAttempted {
        header,
        item_id: None,
        encounter_id: None,
        channel: "phone".to_owned(),
        human: true,
        outcome: Outcome::CallbackAt,
        callback_at: Some(Micros(when.at(18, 10, 0))),
        purpose: Some("recall".to_owned()),
    }));
}

/// `p-demo-0005` and `p-demo-0005-old`: registered twice, noticed at the second visit. Returns the number of patients
/// of all the stories.
pub fn merged_pair(sink: &mut Sink, when: When) -> u64 {
    let dept = &BYEOLBIT.departments[2];
    let mut s = scribe(sink, "p-demo-0005-old", 5, &BYEOLBIT, dept);
    s.enquires(when.at(53, 17, 0), "advertisement");
    let p = s.plan(when.at(46, 10, 0));
    s.books(when.at(52, 10, 0), &p, 70, None);
    s.checks_in(&p, 20);
    s.sees_doctor(p.starts + 18 * MINUTE, &p);
    let header = s.head_of(p.starts + 25 * MINUTE, &p.practitioner);
    let note_ref = s.reference("note");
    let kind = Some("special_requirement".to_owned());
    s.put(Event::NoteRecorded(NoteRecorded { header, encounter_id: Some(p.encounter.clone()), note_ref, kind }));
    s.leaves_doctor(p.starts + 30 * MINUTE, &p, None, None);
    s.charged(p.starts + 40 * MINUTE, &p, 35_000);
    s.pays(p.starts + 44 * MINUTE, &p, 35_000);

    let mut s = scribe(sink, "p-demo-0005", 6, &BYEOLBIT, dept);
    let p = s.plan(when.at(14, 10, 20));
    s.books(when.at(17, 9, 0), &p, 15, None);
    s.checks_in(&p, 10);
    s.sees_doctor(p.starts + 30 * MINUTE, &p);
    s.asks(p.starts + 33 * MINUTE, &p, "medication", "지난번 연고를 계속 써도 되나요?", true);
    s.leaves_doctor(p.starts + 40 * MINUTE, &p, None, None);
    let header = s.head(when.at(13, 11, 0), Src::Mpi, Role::Manager, Modality::Other);
    s.put(Event::PatientsMerged(PatientsMerged {
        header,
        surviving: "p-demo-0005".to_owned(),
        retired: "p-demo-0005-old".to_owned(),
        authority: Some("byeolbit".to_owned()),
    }));
    s.called(when.at(13, 15, 0), &p, ["많이 좋아졌어요", "없음", "없음", "아니요", "네"]);
    6
}
