//! The same visit told by HL7, by FHIR and natively gives the same timeline: the same steps at the same times, of the same
//! patient and department, tied by the same references.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::{Value as Json, json};
use support::mllp::{Sender, Site, msa};
use support::{Backends, PATIENCE, Server, caught_up};

const NUMBER: &str = "00120034";

/// A step: its type, when it happened, the department, and all references.
type Step = (String, String, Option<String>, Vec<(String, String)>);

/// A patient's timeline, from a server that was told in one way.
async fn timeline(b: &Backends, server: &Server) -> Vec<Step> {
    caught_up(b, &View::ALL).await;
    let (status, page) = server.get(&format!("/v1/patients/{}/timeline", Site::patient(NUMBER))).await;
    assert_eq!(status, 200, "{page}");
    let step = |entry: &Json| {
        let event = entry["event"].as_object().unwrap();
        let text = |v: &Json| v.as_str().unwrap().to_owned();
        let mut references: Vec<_> =
            event.iter().filter(|(k, _)| k.ends_with("_id")).map(|(k, v)| (k.clone(), text(v))).collect();
        references.sort();
        let department = event["header"].get("department").map(text);
        assert_eq!(event["header"]["patient_id"], Site::patient(NUMBER));
        (text(&entry["type"]), text(&entry["occurred_at"]), department, references)
    };
    page["items"].as_array().unwrap().iter().map(step).collect()
}

async fn natively(server: &Server) {
    let event = |kind: &str, n: u32, at: &str, department: Option<&str>, fields: Json| {
        let mut e = json!({
            "type": kind, "patient": {"authority": "HOSP", "number": NUMBER},
            "header": {
                "event_id": format!("01936f3c-7a00-7000-8000-00000000000{n}"), "occurred_at": at, "recorded_at": at,
                "zone": "Asia/Seoul", "source": {"system": "ocs"}
            }
        });
        if let Some(department) = department {
            e["header"]["department"] = department.into();
        }
        for (name, value) in fields.as_object().unwrap() {
            e[name] = value.clone();
        }
        e
    };
    let both = json!({"appointment_id": "A-100", "encounter_id": "V-100"});
    let booked = json!({"appointment_id": "A-100", "starts_at": "2026-03-05T10:00:00+09:00", "duration_min": 20});
    let charge = json!({"claim_id": "F-100", "encounter_id": "V-100", "amount_minor": 17_000, "currency": "KRW", "service": "AA157"});
    let visit = json!({"encounter_id": "V-100"});
    let events = json!([
        event("AppointmentBooked", 1, "2026-03-02T09:00:00+09:00", Some("SUR"), booked),
        event("PatientCheckedIn", 2, "2026-03-05T09:50:00+09:00", Some("SUR"), both),
        event("PatientAdmitted", 3, "2026-03-05T10:10:00+09:00", Some("SUR"), visit.clone()),
        event("PatientDischarged", 4, "2026-03-07T11:00:00+09:00", Some("SUR"), visit),
        event("ChargePosted", 5, "2026-03-07T11:30:00+09:00", None, charge),
    ]);
    let (status, answer) = server.post("/v1/events", &events).await;
    assert_eq!(status, 200, "{answer}");
}

async fn by_fhir(server: &Server) {
    let patient = json!({"type": "Patient", "identifier": {"system": "HOSP", "value": NUMBER}});
    let department = json!({"coding": [{"code": "SUR"}]});
    let meta = |at: &str| json!({"lastUpdated": at});
    let encounter = |status: &str, at: &str, period: Json| {
        json!({
            "resourceType": "Encounter", "id": "V-100", "status": status, "class": {"code": "IMP"}, "meta": meta(at),
            "subject": patient, "appointment": [{"reference": "Appointment/A-100"}], "serviceType": department, "period": period
        })
    };
    let resources = [
        json!({
            "resourceType": "Appointment", "id": "A-100", "status": "booked", "meta": meta("2026-03-02T09:00:00+09:00"),
            "created": "2026-03-02T09:00:00+09:00", "start": "2026-03-05T10:00:00+09:00", "minutesDuration": 20,
            "specialty": [department], "participant": [{"actor": patient}]
        }),
        encounter("arrived", "2026-03-05T09:50:00+09:00", json!({"start": "2026-03-05T09:50:00+09:00"})),
        encounter("in-progress", "2026-03-05T10:10:00+09:00", json!({"start": "2026-03-05T10:10:00+09:00"})),
        encounter(
            "finished",
            "2026-03-07T11:05:00+09:00",
            json!({"start": "2026-03-05T10:10:00+09:00", "end": "2026-03-07T11:00:00+09:00"}),
        ),
        json!({
            "resourceType": "ChargeItem", "id": "F-100", "status": "billable", "subject": patient,
            "context": {"reference": "Encounter/V-100"}, "enteredDate": "2026-03-07T11:30:00+09:00",
            "code": {"coding": [{"code": "AA157"}]}, "priceOverride": {"value": 17_000, "currency": "KRW"}
        }),
    ];
    for resource in resources {
        let (status, answer) = server.post_raw("/fhir", "application/fhir+json", resource.to_string()).await;
        assert_eq!(status, 201, "{answer}");
    }
}

async fn by_hl7(site: &Site) {
    let message = |at: &str, kind: &str, n: u32, rest: &str| {
        format!(
            "MSH|^~\\&|OCS|HOSP|JL|HOSP|{at}+0900||{kind}|{n}|P|2.5\rEVN||{at}+0900\rPID|1||{NUMBER}^^^HOSP^MR||Kim^Minsu\r{rest}"
        )
    };
    let stay = "PV1|1|I|W1^2^3||A-100|||||SUR|||||||||V-100\r";
    let booking = "SCH|A-100||||||||20|min|^^20^20260305100000+0900\r\
                   PV1|1|O||||||||SUR\rRGS|1\rAIS|1||X\r";
    let charge = "PV1|1|I|||||||||||||||||V-100\rFT1|1|F-100||20260307113000+0900||CG|AA157||||17000\r";
    let messages = [
        message("20260302090000", "SIU^S12", 1, booking),
        message("20260305095000", "ADT^A10", 2, stay),
        message("20260305101000", "ADT^A01", 3, stay),
        message("20260307110000", "ADT^A03", 4, stay),
        message("20260307113000", "DFT^P03", 5, charge),
    ];
    let mut sender = Sender::open(&site.listen).await.unwrap();
    for message in messages {
        let answer = sender.send(&message, PATIENCE).await.unwrap();
        assert_eq!(msa(&answer).0, "AA", "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_visit_is_one_timeline_by_every_protocol() {
    let mut told = Vec::new();
    for protocol in ["native", "fhir", "hl7"] {
        let b = Backends::embedded();
        let site = Site::of(&b);
        let server = site.start(&b, &["all"], &[]).await;
        match protocol {
            "native" => natively(&server).await,
            "fhir" => by_fhir(&server).await,
            _ => by_hl7(&site).await,
        }
        told.push(timeline(&b, &server).await);
    }
    let kinds: Vec<&str> = told[0].iter().map(|s| s.0.as_str()).collect();
    let expected = ["AppointmentBooked", "PatientCheckedIn", "PatientAdmitted", "PatientDischarged", "ChargePosted"];
    assert_eq!(kinds, expected);
    assert_eq!(told[1], told[0], "FHIR and native");
    assert_eq!(told[2], told[0], "HL7 and native");
}
