//! References that lead nowhere, and to somebody whom nobody will know again.

use super::people::{pseudonym_of, with_actor};
use super::*;

/// A bundle of one resource and whatever else it needs.
fn entries(all: &[(&str, Value)]) -> Value {
    let entry = |(url, r): &(&str, Value)| json!({"fullUrl": url, "resource": r});
    json!({"resourceType": "Bundle", "type": "batch", "entry": all.iter().map(entry).collect::<Vec<_>>()})
}

#[tokio::test]
async fn what_leads_to_no_entry_of_the_bundle_is_refused_wherever_it_stands() {
    let s = server();
    let of = |kind: &str, changes: Value| {
        let mut r = json!({"resourceType": kind, "id": "x", "subject": patient(), "patient": patient(), "for": patient(),
            "status": "active", "intent": "order"});
        for (name, value) in changes.as_object().unwrap() {
            r[name] = value.clone();
        }
        r
    };
    for urn in ["urn:uuid:0b1e9b5a-0001-4000-8000-00000000000f", "urn:oid:1.2.3", "urn:other:Patient/1"] {
        let to = json!({"reference": urn});
        let typed = json!({"reference": urn, "type": "Patient"});
        let visit = |changes| of("Encounter", changes);
        let referral = json!({"code": {"text": "referral"}, "performer": [to]});
        let output = json!({"focus": {"reference": "ServiceRequest/1"}, "status": "completed", "output": [{"valueReference": to}]});
        let money = json!({"value": 1, "currency": "KRW"});
        let cases = [
            (with_actor(&typed), "participant[0].actor"),
            (with_actor(&to), "participant[0].actor"),
            (visit(json!({"status": "finished", "subject": to})), "subject"),
            (visit(json!({"status": "finished", "participant": [{"individual": to}]})), "participant[0].individual"),
            (visit(json!({"status": "finished", "appointment": [to]})), "appointment[0]"),
            (visit(json!({"status": "finished", "basedOn": [to]})), "basedOn[0]"),
            (
                visit(json!({"status": "in-progress", "class": {"code": "IMP"}, "location": [{"location": to}]})),
                "location[0].location",
            ),
            (of("ServiceRequest", json!({"code": {"text": "x"}, "encounter": to})), "encounter"),
            (of("ServiceRequest", referral), "performer[0]"),
            (of("Task", json!({"focus": to})), "focus"),
            (of("Task", json!({"focus": {"reference": "ServiceRequest/1"}, "for": to})), "for"),
            (of("Task", output), "output[0].valueReference"),
            (of("DiagnosticReport", json!({"status": "final", "basedOn": [to]})), "basedOn[0]"),
            (
                of("Communication", json!({"status": "completed", "category": {"text": "reminder"}, "about": [to]})),
                "about[0]",
            ),
            (of("ChargeItem", json!({"status": "billed", "priceOverride": money, "account": [to]})), "account[0]"),
            (
                of("ClaimResponse", json!({"outcome": "complete", "payment": {"amount": money}, "request": to})),
                "request",
            ),
            (of("QuestionnaireResponse", json!({"status": "completed", "encounter": to})), "encounter"),
            (of("Consent", json!({"category": [{"text": "x"}], "patient": to})), "patient"),
            (of("Patient", json!({"link": [{"type": "replaces", "other": to}]})), "link[0].other"),
        ];
        for (resource, place) in cases {
            let kind = resource["resourceType"].as_str().unwrap().to_owned();
            let expected = json!([{
                "severity": "error", "code": "not-found", "expression": [format!("{kind}.{place}.reference")],
                "diagnostics": "refers to an entry that is not in the bundle"
            }]);
            let alone = s.post(&resource).await;
            assert_eq!((alone.status, &alone.json["issue"]), (422, &expected), "{resource}");
            let within = s.post(&entries(&[("urn:uuid:1", resource)])).await;
            assert_eq!(within.json["entry"][0]["response"]["outcome"]["issue"], expected);
        }
    }
    assert_eq!(s.log.len(), 0);
}

#[tokio::test]
async fn a_place_in_a_bundle_makes_nobody() {
    let s = server();
    let urn = "urn:uuid:7f";
    // An identifier beside it says who it is.
    let mut both = patient();
    both["reference"] = urn.into();
    both["type"] = "Patient".into();
    assert_eq!(pseudonym_of(&s, &with_actor(&both)).await, known().patient("HOSP", "0012"));
    // Somebody who is there, but whom nobody will know again.
    for kind in ["Patient", "Practitioner"] {
        let mut a = appointment(2, "arrived");
        a["participant"][usize::from(kind == "Practitioner")]["actor"] = json!({"reference": urn});
        let nobody = json!({"resourceType": kind, "name": [{"text": "Kim"}]});
        let r = s.post(&entries(&[("urn:uuid:1", a), (urn, nobody)])).await;
        assert_eq!(r.statuses(), ["422", "200"], "{}", r.json);
        let issue = &r.json["entry"][0]["response"]["outcome"]["issue"][0];
        assert!(issue["diagnostics"].as_str().unwrap().contains("neither an identifier nor an id"), "{issue}");
    }
    let merged = json!({"resourceType": "Patient", "link": [{"type": "replaced-by", "other": patient()}]});
    let r = s.post(&entries(&[(urn, merged)])).await;
    assert_eq!(r.json["entry"][0]["response"]["outcome"]["issue"][0]["expression"][0], "Patient.identifier");
    // Of a resource that is linked to it is said in the one that links.
    let request = json!({"resourceType": "ServiceRequest", "id": "s1", "subject": {"reference": "urn:uuid:80"}});
    let task = json!({"resourceType": "Task", "id": "t1", "status": "accepted", "focus": {"reference": urn}});
    let r = s.post(&entries(&[("urn:uuid:1", task), (urn, request)])).await;
    let issue = &r.json["entry"][0]["response"]["outcome"]["issue"][0];
    assert_eq!((&issue["code"], &issue["expression"][0]), (&json!("not-found"), &json!("Task.focus")), "{}", r.json);
    assert_eq!(s.log.len(), 1);
}
