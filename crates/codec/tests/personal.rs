//! What is personal stays marked: erasure and redaction go by the marks, and a mark is no part of what the lock compares.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// By event, its marked fields. A field may be added; to take one away is a decision about every event that is on the log.
const MARKED: [(&str, &[&str]); 24] = [
    ("AppointmentCancelled", &["reason"]),
    ("AppointmentModified", &["reason"]),
    ("AppointmentNoShow", &["reason"]),
    ("AppointmentRescheduled", &["reason"]),
    ("BillDisputed", &["reason"]),
    ("BookingFrictionReported", &["detail"]),
    ("ComplaintFiled", &["detail"]),
    ("ComplaintResolved", &["resolution"]),
    ("ComplimentReceived", &["detail"]),
    ("DignityBreachReported", &["detail"]),
    ("EnquiryReceived", &["note"]),
    ("EventCorrected", &["reason", "replacement"]),
    ("EventRetracted", &["reason"]),
    ("FeedbackGiven", &["good", "improve"]),
    ("FeedbackLinked", &["good", "improve"]),
    ("FollowUpCallCompleted", &["answers"]),
    ("FollowUpItemClosed", &["note"]),
    ("IntroducerRecorded", &["introducer_ref"]),
    ("OrderCancelled", &["reason"]),
    ("PatientQuestionAsked", &["question"]),
    ("ReferralAccepted", &["reason"]),
    ("ReferralCancelled", &["reason"]),
    ("ReferralDeclined", &["reason"]),
    ("StaffProposalMade", &["summary"]),
];

#[test]
fn what_is_personal_stays_marked() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
    let mut marked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        let fields = schema["fields"].as_array().unwrap().iter().filter(|f| f["personal"].is_string());
        let names = fields.map(|f| f["name"].as_str().unwrap().to_owned()).collect();
        marked.insert(schema["name"].as_str().unwrap().to_owned(), names);
    }
    for (event, fields) in MARKED {
        for field in fields {
            assert!(marked[event].iter().any(|m| m == field), "{event}.{field} was personal and is no longer marked");
        }
    }
}
