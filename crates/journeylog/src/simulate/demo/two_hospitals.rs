//! `p-demo-0001`: a patient is blamed and made to apologise at a large hospital, seeks a second opinion at a small one,
//! misses a visit there for a reason, and meets a kind doctor behind a cold desk.

use super::super::scribe::{Scribe, Sink, Src};
use super::super::world::{BYEOLBIT, HANEUL};
use super::steps::Plan;
use super::{When, scribe};
use domain::event::{
    ConsentGiven, Dimension, FollowUpCallAttempted, Grantee, IntroducerRecorded, Modality, NextStepsExplained,
    NoteRecorded, OptionsExplained, OrderPlaced, Outcome, Priority, RecallDue, RepeatQuestionReported, ResultReported,
    ResultStatus, Role, Severity,
};
use domain::time::{DAY, Date, HOUR, MINUTE};
use domain::{Event, Micros};

/// Tells the story.
pub fn tell(sink: &mut Sink, when: When) {
    let mut s = scribe(sink, "p-demo-0001", 1, &HANEUL, &HANEUL.departments[0]);
    let first = large_hospital(&mut s, when);
    (s.site, s.dept) = (&BYEOLBIT, &BYEOLBIT.departments[0]);
    missed_visit(&mut s, when);
    let visit = small_hospital(&mut s, when, &first);
    afterwards(&mut s, when, &visit);
}

fn large_hospital(s: &mut Scribe<'_>, when: When) -> Plan {
    s.enquires(when.at(57, 10, 5), "review");
    let p = s.plan(when.at(48, 10, 30));
    s.books(when.at(56, 9, 12), &p, 285, None);
    s.reminded(when.at(49, 10, 0), Some(&p), "appointment");
    let at = p.starts;
    s.checks_in(&p, 20);
    let begins = at + 50 * MINUTE;
    s.sees_doctor(begins, &p);
    s.asks(begins + 2 * MINUTE, &p, "options", "수술 말고 다른 방법은 없을까요?", false);
    let header = s.head_of(begins + 4 * MINUTE, &p.practitioner);
    s.put(Event::OptionsExplained(OptionsExplained {
        header,
        encounter_id: p.encounter.clone(),
        options: vec!["open_surgery".to_owned()],
        pros_and_cons: false,
        decision_deferred: false,
        risk: Some("adhesion_injury".to_owned()),
        risk_percent: Some(30.0),
        second_opinion_of: None,
    }));
    s.leaves_doctor(begins + 6 * MINUTE, &p, Some(true), None);
    s.charged(begins + 15 * MINUTE, &p, 68_000);
    s.pays(begins + 20 * MINUTE, &p, 68_000);
    let evening = when.at(48, 20, 15);
    s.hurt(evening, &p, (Role::Doctor, "blame", Severity::High), "왜 이제 왔느냐고 나무랐습니다");
    s.hurt(
        evening + 2 * MINUTE,
        &p,
        (Role::Doctor, "made_to_apologise", Severity::Severe),
        "제가 죄송하다고 해야 했습니다",
    );
    s.rates(evening + 4 * MINUTE, &p, (Role::Doctor, Dimension::Empathy, "consult"), 1.0, Some("사람으로 대해 주세요"));
    s.rates(evening + 5 * MINUTE, &p, (Role::Doctor, Dimension::Technical, "consult"), 5.0, None);
    s.rates(evening + 6 * MINUTE, &p, (Role::Doctor, Dimension::Explanation, "consult"), 1.0, None);
    p
}

fn missed_visit(s: &mut Scribe<'_>, when: When) {
    s.enquires(when.at(41, 13, 20), "friend_or_family");
    let header = s.head(when.at(41, 13, 30), Src::Crm, Role::Receptionist, Modality::Phone);
    s.put(Event::IntroducerRecorded(IntroducerRecorded {
        header,
        introducer_ref: "in-0d0e".to_owned(),
        relation: Some("friend".to_owned()),
    }));
    let p = s.plan(when.at(33, 11, 0));
    s.books(when.at(40, 9, 40), &p, 40, None);
    s.reminded(when.at(34, 11, 0), Some(&p), "appointment");
    s.misses(&p, Some("개인 사정이 있었습니다"));
}

fn small_hospital(s: &mut Scribe<'_>, when: When, first: &Plan) -> Plan {
    let p = s.plan(when.at(26, 14, 0));
    s.books(when.at(32, 10, 10), &p, 20, None);
    s.reminded(when.at(27, 14, 0), Some(&p), "appointment");
    let at = p.starts;
    s.checks_in(&p, 15);
    let header = s.head(at - 2 * MINUTE, Src::Consent, Role::Patient, Modality::Kiosk);
    s.put(Event::ConsentGiven(ConsentGiven {
        header,
        scope: "follow_up_contact".to_owned(),
        grantee: Grantee::Contact,
        valid_from: Some(Micros(at)),
        valid_until: Some(Micros(at + 730 * DAY)),
    }));
    let header = s.head(at, Src::Voice, Role::Patient, Modality::InPerson);
    s.put(Event::RepeatQuestionReported(RepeatQuestionReported {
        header,
        appointment_id: Some(p.appointment.clone()),
        encounter_id: Some(p.encounter.clone()),
        asked_field: "history".to_owned(),
    }));
    ultrasound(s, &p, at + 8 * MINUTE);
    let begins = at + 18 * MINUTE;
    s.sees_doctor(begins, &p);
    s.asks(begins + 4 * MINUTE, &p, "options", "꼭 함께 떼어 내야 하는 이유가 있나요?", true);
    s.asks(begins + 8 * MINUTE, &p, "risk", "다른 장기가 다칠 위험이 그렇게 큰가요?", true);
    let header = s.head_of(begins + 10 * MINUTE, &p.practitioner);
    s.put(Event::OptionsExplained(OptionsExplained {
        header,
        encounter_id: p.encounter.clone(),
        options: ["laparoscopy", "open_surgery", "medication_first"].map(str::to_owned).to_vec(),
        pros_and_cons: true,
        decision_deferred: true,
        risk: Some("adhesion_injury".to_owned()),
        risk_percent: Some(1.0),
        second_opinion_of: Some(first.encounter.clone()),
    }));
    let header = s.head_of(begins + 14 * MINUTE, &p.practitioner);
    s.put(Event::NextStepsExplained(NextStepsExplained {
        header,
        encounter_id: p.encounter.clone(),
        steps: ["start_medication", "ultrasound_in_4_weeks", "decide_together"].map(str::to_owned).to_vec(),
    }));
    let header = s.head_of(begins + 15 * MINUTE, &p.practitioner);
    let note_ref = s.reference("note");
    let kind = Some("special_requirement".to_owned());
    s.put(Event::NoteRecorded(NoteRecorded { header, encounter_id: Some(p.encounter.clone()), note_ref, kind }));
    s.leaves_doctor(begins + 16 * MINUTE, &p, Some(true), Some(when.at(-4, 14, 0)));
    s.charged(begins + 24 * MINUTE, &p, 54_000);
    s.pays(begins + 30 * MINUTE, &p, 54_000);
    p
}

fn ultrasound(s: &mut Scribe<'_>, p: &Plan, at: i64) {
    let order_id = s.reference("ord");
    let header = s.head_of(at, &p.practitioner);
    s.put(Event::OrderPlaced(OrderPlaced {
        header,
        order_id: order_id.clone(),
        encounter_id: Some(p.encounter.clone()),
        code: "US-PELVIS".to_owned(),
        due_at: Some(Micros(at + HOUR)),
        priority: Some(Priority::Routine),
    }));
    let header = s.head(at + 7 * MINUTE, Src::Lis, Role::Technician, Modality::InPerson);
    s.put(Event::ResultReported(ResultReported {
        header,
        order_id,
        encounter_id: Some(p.encounter.clone()),
        code: Some("US-PELVIS".to_owned()),
        status: ResultStatus::Final,
        abnormal: Some(true),
    }));
}

fn afterwards(s: &mut Scribe<'_>, when: When, p: &Plan) {
    let evening = when.at(26, 21, 5);
    s.hurt(evening, p, (Role::Receptionist, "cold", Severity::Medium), "접수 데스크의 말투가 매우 차가웠습니다");
    let answers = [
        (Role::Doctor, Dimension::Empathy, "consult", 5.0),
        (Role::Doctor, Dimension::Explanation, "consult", 5.0),
        (Role::Doctor, Dimension::Technical, "consult", 5.0),
        (Role::Nurse, Dimension::Empathy, "consult", 2.0),
        (Role::Receptionist, Dimension::Empathy, "check_in", 1.0),
        (Role::Bystander, Dimension::Empathy, "consult", 2.0),
        (Role::Guide, Dimension::Empathy, "check_in", 2.0),
    ];
    for (i, (role, dimension, touchpoint, raw)) in answers.into_iter().enumerate() {
        let improve = (raw < 2.0).then_some("원장님만큼만 친절하면 좋겠어요");
        s.rates(evening + (i as i64 + 1) * MINUTE, p, (role, dimension, touchpoint), raw, improve);
    }
    let header = s.head(when.at(25, 9, 0), Src::CallCentre, Role::System, Modality::Phone);
    s.put(Event::FollowUpCallAttempted(FollowUpCallAttempted {
        header,
        item_id: None,
        encounter_id: Some(p.encounter.clone()),
        channel: "robocall".to_owned(),
        human: false,
        outcome: Outcome::Reached,
        callback_at: None,
        purpose: Some("care".to_owned()),
    }));
    let answers = ["통증이 조금 줄었어요", "약 복용 중", "없음", "다음 예약 도움 필요", "네"];
    s.called(when.at(25, 11, 30), p, answers);
    let header = s.head(when.at(12, 9, 0), Src::Crm, Role::System, Modality::Other);
    s.put(Event::RecallDue(RecallDue {
        header,
        recall_kind: "re_exam".to_owned(),
        due_on: Date(when.at(-4, 14, 0).div_euclid(DAY) as i32),
        encounter_id: Some(p.encounter.clone()),
        order_id: None,
    }));
    let next = s.plan(when.at(-4, 14, 0));
    s.books(when.at(8, 10, 20), &next, 210, Some("re_exam"));
}
