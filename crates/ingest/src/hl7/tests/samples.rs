//! Messages that none of us wrote (`../shared/data/hl7v2`). What they mean was read off them by hand.

use super::{Bed, SITE, code, pseudonyms};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/hl7v2");
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: hl7v2 is not beside the project");
    None
}

/// Type and some fields of the events of a file.
fn expected(file: &str) -> Option<(&'static str, Value)> {
    let p = pseudonyms(SITE);
    // The patient of most files, by the namespace of the first identifier of type MR.
    let usual = p.patient("test1", "PATID1234");
    let visit = |v: Value| {
        let mut all = json!({
            "/header/patient_id": usual, "/header/occurred_at": "2021-08-17T13:19:43.400Z", "/encounter_id": "40007716",
            "/header/recorded_at": "1989-08-18T09:11:00Z", "/header/source/system": "ADTApp",
            "/header/source/facility": "GHHSFacility", "/header/source/message_id": "MSG00001",
            "/header/site": "HOMERTON UNIVER", "/header/department": "surgery", "/header/zone": "Asia/Seoul",
        });
        all.as_object_mut().unwrap().extend(v.as_object().unwrap().clone());
        all
    };
    let siu = |message: &str, at: &str, v: Value| {
        let mut all = json!({
            "/header/patient_id": usual, "/appointment_id": "12345", "/header/source/message_id": message,
            "/header/occurred_at": at, "/header/site": "GH Clinic", "/header/department": "055",
        });
        all.as_object_mut().unwrap().extend(v.as_object().unwrap().clone());
        all
    };
    // AIS-7 says 50 minutes, SCH-9 60 seconds.
    let slot = json!({"/starts_at": "2021-09-24T07:15:00Z", "/duration_min": 50, "/practitioner": p.staff("GHHSFacility", "1210")});
    let with = |a: &Value, b: Value| {
        let mut all = a.clone();
        all.as_object_mut().unwrap().extend(b.as_object().unwrap().clone());
        all
    };
    let order = |v: Value| {
        with(
            &json!({"/header/patient_id": usual, "/encounter_id": "5001", "/header/occurred_at": "2021-10-20T09:11:00Z"}),
            v,
        )
    };
    let referral = json!({
        "/header/patient_id": p.patient("ADT1", "PATID1234"), "/referral_id": "226839", "/header/occurred_at": "2022-01-25T16:20:00Z",
        "/header/site": "FACILITY1", "/header/department": "SPROOM",
    });
    let charge = |v: Value| {
        with(
            &json!({
                "/header/patient_id": usual, "/encounter_id": "40007716", "/currency": "USD", "/header/occurred_at": "2019-11-21T21:45:00Z",
            }),
            v,
        )
    };
    Some(match file {
        "ADT-A01-01.hl7" => {
            ("PatientAdmitted", visit(json!({"/location": "HUH AE OMU", "/header/source/trigger": "ADT^A01"})))
        }
        "ADT-A02-01.hl7" => ("PatientTransferred", visit(json!({"/location": "HUH AE OMU"}))),
        "ADT-A03-01.hl7" => {
            ("PatientDischarged", visit(json!({"/location": "HUH AE OMU", "/disposition": "Admitted as Inpatient"})))
        }
        "ADT-A04-01.hl7" => {
            ("PatientCheckedIn", visit(json!({"/header/modality": "in_person", "/appointment_id": "1234567"})))
        }
        "ADT-A05-01.hl7" => (
            "AppointmentRequested",
            visit(json!({
                "/encounter_id": null, "/appointment_id": "1234567", "/urgency": "stat", "/practitioner": p.staff("PERSONNELt", "1122334"),
            })),
        ),
        "ADT-A08-01.hl7" | "ADT-A31-01.hl7" => {
            ("DemographicsUpdated", visit(json!({"/encounter_id": null, "/deceased": true})))
        }
        "ADT-A10-01.hl7" => (
            "PatientCheckedIn+ConsentGiven",
            json!({"/header/patient_id": p.patient("ADT1", "PATID1234"), "/encounter_id": "5001", "/header/occurred_at": "2021-01-15T10:30:10Z"}),
        ),
        "ADT-A11-01.hl7" => ("AdmissionCancelled", visit(json!({}))),
        "ADT-A13-01.hl7" => ("DischargeCancelled", visit(json!({}))),
        "ADT-A40-01.hl7" => (
            "PatientsMerged",
            json!({
                "/surviving": p.patient("BCBS", "12345"), "/retired": p.patient("BCBS", "56789"), "/authority": "BCBS",
                "/header/patient_id": p.patient("BCBS", "12345"), "/header/occurred_at": "2019-04-23T12:46:37Z",
            }),
        ),
        "ADT-A47-01.hl7" => (
            "PatientIdentifiersChanged",
            json!({"/header/patient_id": p.patient("GOOD HEALTH HOSPITAL", "MR101"), "/retired": p.patient("BCBS", "MR102")}),
        ),
        "ADT04-251.hl7" => (
            "PatientCheckedIn",
            // The identifier names no authority: it is the sending facility's. There is no EVN: PV1-44.
            json!({"/header/patient_id": p.patient("RDX", "MRN12345"), "/header/occurred_at": "2019-05-04T11:12:05Z", "/encounter_id": null}),
        ),
        "BAR-P01-01.hl7" => ("NoteRecorded", visit(json!({"/note_ref": "4000776", "/kind": "account_opened"}))),
        "DFT-P03-01.hl7" => (
            "ChargePosted+ChargePosted",
            charge(json!({"/claim_id": "12345", "/amount_minor": 10_000, "/service": "71045"})),
        ),
        "DFT-P11-01.hl7" => (
            "ChargePosted+ChargePosted",
            charge(json!({"/claim_id": "12345", "/amount_minor": 10_000, "/service": "71045"})),
        ),
        "LAB-ORM-1.hl7" => (
            "OrderPlaced",
            // Neither ORC-9 nor MSH-7 has an offset: Seoul.
            json!({
                "/header/patient_id": p.patient("1", "10006579"), "/order_id": "88502218", "/code": "24317-0", "/encounter_id": "40007716",
                "/header/occurred_at": "2014-10-06T00:29:00Z", "/header/department": "01", "/header/source/system": "SomeSystem",
            }),
        ),
        "LAB-ORU-1.hl7" => (
            "ResultReported+ResultReported",
            json!({
                "/header/patient_id": p.patient("1", "10006579"), "/order_id": "88502218", "/code": "24317-0", "/status": "final",
                "/abnormal": false, "/header/occurred_at": "2014-10-05T23:45:00Z",
            }),
        ),
        "MDM-T02-01.hl7" => (
            "ConsentGiven",
            json!({"/scope": "share_records", "/grantee": "provider", "/header/occurred_at": "2008-01-31T13:45:00Z"}),
        ),
        "OML-O21-01.hl7" => {
            ("OrderPlaced", order(json!({"/order_id": "1101", "/code": "57698-3", "/priority": "routine"})))
        }
        "ORM-O01-01.hl7" => ("OrderPlaced", order(json!({"/order_id": "1101", "/code": "24725-4", "/due_at": null}))),
        "ORM-O01-03.hl7" => ("OrderPlaced+OrderPlaced", order(json!({"/order_id": "1101", "/code": "24725-4"}))),
        "ORU-R01-01.hl7" => (
            "ResultReported",
            json!({
                "/header/patient_id": p.patient("IA PHIMS Stage", "14"), "/order_id": "845439", "/code": "625-4", "/status": "final",
                "/abnormal": true, "/header/occurred_at": "2002-03-15T05:15:00Z", "/encounter_id": "40007716",
            }),
        ),
        "REF-I12-01.hl7" => (
            "ReferralMade",
            with(
                &referral,
                json!({
                    "/from": "GOOD HEALTH HOSPITAL", "/to": "RADIANT HEALTH HOSPITAL", "/priority": "routine", "/encounter_id": "5001",
                    "/expires_at": "2022-02-10T00:00:00Z",
                }),
            ),
        ),
        "REF-I14-01.hl7" => ("ReferralCancelled", with(&referral, json!({"/reason": "Provider Ordered"}))),
        "SIU-S12-01.hl7" => (
            "AppointmentBooked",
            siu(
                "MSG00012",
                "2021-09-14T09:05:00Z",
                with(&slot, json!({"/service": "76164006", "/encounter_id": "5001"})),
            ),
        ),
        "SIU-S12_1.hl7" => (
            "AppointmentBooked",
            json!({
                "/header/patient_id": usual, "/appointment_id": "12345", "/starts_at": "2020-10-04T09:11:00Z", "/duration_min": 70,
                "/service": "111", "/practitioner": p.staff("GHHSFacility", "400"), "/header/site": "CommunityHospital",
            }),
        ),
        "SIU-S13-01.hl7" => (
            "AppointmentRescheduled",
            siu(
                "MSG00013",
                "2021-09-20T09:11:00Z",
                with(
                    &slot,
                    json!({
                        "/by": "other",
                        "/reason": "The patient cannot make previous appointment scheduled on Sept 20.Apointment rescheduled on Sept 24.",
                    }),
                ),
            ),
        ),
        "SIU-S14-01.hl7" => {
            ("AppointmentModified", siu("MSG00014", "2021-09-20T09:11:00Z", with(&slot, json!({"/by": null}))))
        }
        "SIU-S15-01.hl7" => (
            "AppointmentCancelled",
            siu("MSG00015", "2021-09-23T09:11:00Z", json!({"/reason": "Appointment cancelled."})),
        ),
        "SIU-S16-01.hl7" => (
            "AppointmentCancelled",
            siu(
                "MSG00016",
                "1989-08-18T09:11:00Z",
                json!({"/reason": "Appointment discontinued due to equipment malfunction."}),
            ),
        ),
        // Nothing of that appointment is known.
        "SIU-S17-01.hl7" => ("AppointmentCancelled", siu("MSG00017", "2021-09-23T09:11:00Z", json!({"/by": "other"}))),
        "SIU-S26-01.hl7" => (
            "AppointmentNoShow",
            siu("MSG00026", "2021-09-24T07:45:00Z", json!({"/reason": "Patient did not show up for the appointment."})),
        ),
        _ => return None,
    })
}

#[tokio::test]
async fn real_messages_mean_what_they_say() {
    let Some(folder) = folder() else { return };
    let (mut seen, mut compared) = (BTreeMap::new(), 0);
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let bed = Bed::new();
        let answers = bed.answers(&bytes).await;
        let mode = match name.as_str() {
            // MSH-15 and 16: NE, NE and AL, NE.
            "ADT-A40-01.hl7" => "",
            "ORU-R01-01.hl7" => "CA",
            _ => "AA",
        };
        assert_eq!(answers.iter().map(|a| code(a)).collect::<String>(), mode, "{name}: {answers:?}");
        let events = bed.events();
        let kinds: Vec<&str> = events.iter().map(|e| e.kind().as_str()).collect();
        if let Some((kind, fields)) = expected(&name) {
            assert_eq!(kinds.join("+"), kind, "{name}");
            let event: Value = serde_json::from_str(&events[0].to_json()).unwrap();
            for (pointer, value) in fields.as_object().unwrap() {
                let found = event.pointer(pointer).unwrap_or(&Value::Null);
                assert_eq!(found, value, "{name} {pointer}");
                compared += 1;
            }
            seen.insert(name, ());
        } else {
            assert!(kinds.is_empty(), "{name}: {kinds:?}");
        }
    }
    assert!(seen.len() >= 31, "{} files", seen.len());
    eprintln!("{} files with events, {compared} values compared", seen.len());
}

/// The second events of files that have two.
#[tokio::test]
async fn further_events_of_a_message() {
    let Some(folder) = folder() else { return };
    for (file, field, value) in [
        // FT1-2 is empty: the account.
        ("DFT-P03-01.hl7", "/claim_id", json!("4000776")),
        ("DFT-P03-01.hl7", "/amount_minor", json!(12_000)),
        ("DFT-P03-01.hl7", "/service", json!("99011")),
        ("DFT-P11-01.hl7", "/amount_minor", json!(7_000)),
        ("ORM-O01-03.hl7", "/order_id", json!("2203")),
        ("ORM-O01-03.hl7", "/code", json!("24590-2")),
        // OBR-25 is empty, and the observations are preliminary.
        ("LAB-ORU-1.hl7", "/order_id", json!("855238581")),
        ("LAB-ORU-1.hl7", "/status", json!("preliminary")),
        ("ADT-A10-01.hl7", "/scope", json!("follow_up_contact")),
    ] {
        let bed = Bed::new();
        bed.answers(std::fs::read(folder.join(file)).unwrap()).await;
        let events = bed.events();
        let second: Value = serde_json::from_str(&events[1].to_json()).unwrap();
        assert_eq!(second.pointer(field), Some(&value), "{file}");
        assert_ne!(second.pointer("/header/event_id"), None);
    }
}
