//! What is personal stays marked, and a new text has to be decided: erasure and redaction go by the marks, and a mark is no part
//! of what the lock compares.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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

/// Names of texts that are not marked: identifiers, codes, names of kinds. Nobody writes a sentence into these, or a name of a
/// person. A field of another name is marked, or its name comes to this list.
const NOT_PERSONAL: [&str; 62] = [
    "adjustment_code",
    "appointment_id",
    "asked_field",
    "authority",
    "campaign_id",
    "causation_id",
    "channel",
    "checklist",
    "claim_id",
    "code",
    "complaint_id",
    "confidentiality",
    "consent_ref",
    "correlation_id",
    "currency",
    "department",
    "disposition",
    "encounter_id",
    "event_id",
    "facility",
    "fields",
    "from",
    "gift",
    "id",
    "instrument",
    "item_id",
    "journey_id",
    "kind",
    "location",
    "message_id",
    "note_ref",
    "options",
    "order_id",
    "origin",
    "outcome",
    "outcome_ref",
    "patient_id",
    "practitioner",
    "problem",
    "proposal_id",
    "purpose",
    "question_id",
    "questionnaire",
    "recall_kind",
    "referral_id",
    "relation",
    "retired",
    "risk",
    "scope",
    "second_opinion_of",
    "service",
    "site",
    "special_requirements",
    "steps",
    "surviving",
    "system",
    "target_event_id",
    "to",
    "topic",
    "touchpoint",
    "trigger",
    "zone",
];

/// The schemas: each event's, and the header's.
fn schemas() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let events = std::fs::read_dir(folder.join("events")).unwrap().map(|file| file.unwrap().path());
    let read = |path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    events.chain([folder.join("header.avsc")]).map(read).collect()
}

/// Calls `each` with every field of a record, and of the records in it, that holds text: one, or several.
fn texts<'s>(schema: &'s Value, each: &mut impl FnMut(&'s Value)) {
    for field in schema["fields"].as_array().into_iter().flatten() {
        if text(&field["type"], each) {
            each(field);
        }
    }
}

/// Whether a type is text or may be; records in it are looked into.
fn text<'s>(of: &'s Value, each: &mut impl FnMut(&'s Value)) -> bool {
    match of {
        Value::String(name) => name == "string" || name == "bytes",
        // a loop that looks at each, where `any` would stop at the first
        Value::Array(union) => union.iter().filter(|t| text(t, each)).count() > 0,
        Value::Object(one) => {
            texts(of, each);
            let parts = ["type", "items", "values"];
            parts.iter().filter_map(|p| one.get(*p)).filter(|t| text(t, each)).count() > 0
        }
        _ => false,
    }
}

#[test]
fn a_text_is_marked_or_known_to_be_none() {
    let schemas = schemas();
    let mut unmarked = BTreeSet::new();
    for schema in &schemas {
        let event = schema["name"].as_str().unwrap();
        texts(schema, &mut |field| {
            let name = field["name"].as_str().unwrap();
            let known = NOT_PERSONAL.contains(&name);
            if field["personal"].is_string() {
                assert!(!known, "{event}.{name} is marked, and elsewhere its name stands for what is not personal");
            } else {
                assert!(known, "{event}.{name} is text: mark it \"personal\", or add its name to NOT_PERSONAL");
                unmarked.insert(name);
            }
        });
    }
    let listed: BTreeSet<&str> = NOT_PERSONAL.into();
    assert_eq!(unmarked, listed, "names that no schema has any more");
}

#[test]
fn what_is_personal_stays_marked() {
    let mut marked: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for schema in schemas() {
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
