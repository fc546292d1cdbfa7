//! What holds for the patient as a whole.

use super::*;

fn of(s: &Story) -> Vec<(String, String, String)> {
    let text = |i: &Seen, column| i.text(column).to_owned();
    let rows = s.rows().into_iter().map(Seen);
    rows.map(|i| (text(&i, "kind"), text(&i, "status"), text(&i, "status_reason"))).collect()
}

/// A visit, a missed appointment and a recall.
fn three() -> Story {
    Story::default()
        .at(0.0, "ConsultEnded", json!({"encounter_id": "e1"}))
        .at(0.0, "AppointmentNoShow", json!({"appointment_id": "a1"}))
        .at(0.0, "RecallDue", json!({"recall_kind": "scaling", "due_on": "2026-09-01"}))
}

fn all(status: &str, reason: &str) -> Vec<(String, String, String)> {
    ["no_show", "post_visit", "recall"].map(|kind| (kind.into(), status.into(), reason.into())).to_vec()
}

fn sorted(s: &Story) -> Vec<(String, String, String)> {
    let mut found = of(s);
    found.sort();
    found
}

fn consent() -> Json {
    json!({"scope": "follow_up_contact", "grantee": "contact"})
}

#[test]
fn do_not_contact_suppresses_everything_until_consent_is_given() {
    let said = json!({"item_id": id(ItemKind::NoShow, "a1"), "closure": "do_not_contact"});
    let s = three().at(1.0, "FollowUpItemClosed", said.clone());
    assert_eq!(sorted(&s), all("suppressed", "do_not_contact"));
    let i = s.item(ItemKind::Recall);
    assert_eq!((i.text("closed_by"), i.int("closed_at")), (id_of(3).to_string().as_str(), hours(1.0)));
    let later = s.clone().at(2.0, "ConsultEnded", json!({"encounter_id": "e2"}));
    assert!(of(&later).iter().all(|i| i.1 == "suppressed"), "what comes later, too");
    let done =
        s.clone().at(2.0, "AppointmentBooked", json!({"appointment_id": "a2", "starts_at": "2026-03-09T00:00:00Z"}));
    assert_eq!(done.item(ItemKind::NoShow).status(), ("closed", "rebooked"), "what is settled is settled");
    assert_eq!(
        sorted(&s.clone().at(0.5, "ConsentGiven", consent())),
        all("suppressed", "do_not_contact"),
        "an earlier one"
    );
    assert_eq!(sorted(&s.clone().at(2.0, "ConsentGiven", consent())), all("open", ""));
    let taken_back = json!({"target_event_id": id_of(3).to_string(), "reason": "error"});
    assert_eq!(sorted(&s.at(2.0, "EventRetracted", taken_back)), all("open", ""));
}

#[test]
fn do_not_contact_by_a_program_is_about_its_item_alone() {
    let by_system = |kind, subject| {
        let said =
            json!({"item_id": id(kind, subject), "closure": "do_not_contact", "header": {"actor": {"role": "system"}}});
        sorted(&three().at(1.0, "FollowUpItemClosed", said))
    };
    let mut wanted = all("open", "");
    assert_eq!(by_system(ItemKind::PostVisit, "e1"), wanted);
    wanted[0] = ("no_show".into(), "suppressed".into(), "do_not_contact".into());
    assert_eq!(by_system(ItemKind::NoShow, "a1"), wanted);
}

#[test]
fn a_consent_that_ran_out_suppresses_with_its_own_reason() {
    let s = three().at(1.0, "ConsentExpired", consent());
    assert_eq!(sorted(&s), all("suppressed", "consent_expired"));
    assert_eq!(sorted(&s.at(2.0, "ConsentGiven", consent())), all("open", ""));
    let else_ = json!({"scope": "share_records", "grantee": "contact"});
    assert_eq!(sorted(&three().at(1.0, "ConsentExpired", else_)), all("open", ""));
}

#[test]
fn a_consent_of_one_scope_lifts_nothing_of_another() {
    let scope = |scope: &str, grantee: &str| json!({"scope": scope, "grantee": grantee});
    let s = three().at(1.0, "ConsentWithdrawn", scope("contact", "contact"));
    let other = s.clone().at(2.0, "ConsentGiven", scope("follow_up_contact", "provider"));
    assert_eq!(sorted(&other), all("suppressed", "consent_withdrawn"));
    assert_eq!(sorted(&other.at(3.0, "ConsentGiven", scope("contact", "contact"))), all("open", ""));
    let both = s.at(2.0, "ConsentExpired", scope("follow_up_contact", "contact"));
    assert_eq!(sorted(&both), all("suppressed", "consent_expired"), "the latest reason");
    let one = both.at(3.0, "ConsentGiven", scope("follow_up_contact", "contact"));
    assert_eq!(sorted(&one), all("suppressed", "consent_withdrawn"));
}

#[test]
fn a_consent_that_has_run_out_lifts_nothing() {
    let until = |time: &str| json!({"scope": "contact", "grantee": "contact", "valid_until": time});
    let s = three().at(1.0, "ConsentWithdrawn", json!({"scope": "contact", "grantee": "contact"}));
    let past = s.clone().at(2.0, "ConsentGiven", until("2026-03-02T02:00:00Z"));
    assert_eq!(sorted(&past), all("suppressed", "consent_withdrawn"));
    assert_eq!(sorted(&s.at(2.0, "ConsentGiven", until("2026-03-02T02:00:01Z"))), all("open", ""));
}

#[test]
fn what_a_cancelled_discharge_said_of_the_patient_does_not_hold() {
    let e1 = json!({"encounter_id": "e1"});
    let expired = json!({"encounter_id": "e1", "disposition": "expired", "high_risk": true});
    let s = three().at(2.0, "PatientDischarged", expired);
    assert_eq!(s.item(ItemKind::PostVisit).status(), ("closed", "deceased"));
    let undone = s.at(3.0, "DischargeCancelled", e1.clone());
    assert_eq!(sorted(&undone), all("open", ""));
    let i = undone.item(ItemKind::PostVisit);
    assert_eq!((i.int("clinical_risk"), i.int("vulnerability")), (0, 0), "not of high risk");
    let home = undone.at(4.0, "PatientDischarged", e1);
    assert_eq!(sorted(&home), all("open", ""));
    assert!((home.item(ItemKind::PostVisit).due() - 76.0).abs() < 1e-6);
}
