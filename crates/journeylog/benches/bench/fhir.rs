//! FHIR batches over HTTP against a bare producer of as many events.

use crate::process::Process;
use crate::publish::{self, FSYNC};
use crate::{Bench, http, row};
use serde_json::{Value, json};
use std::sync::Arc;

/// Connections, and resources in one Bundle.
const CONNECTIONS: usize = 8;
const ENTRIES: usize = 100;
/// Resources of a visit that are events; one more in each visit is none.
const EVENTS_OF_VISIT: usize = 4;
const KEY: &str = "0123456789abcdef0123456789abcdef";
const SITE: &str = "zone = \"Asia/Seoul\"\n[authorities.main]\naliases = [\"http://hospital.example/mrn\"]\nrank = 1\n";

/// The resources of the `n`th visit, 800 bytes each.
fn visit(n: usize) -> [Value; EVENTS_OF_VISIT + 1] {
    let patient = n % 50_000;
    let subject = json!({
        "reference": format!("Patient/{patient}"), "display": "Kim Minsu",
        "identifier": {"system": "http://hospital.example/mrn", "value": format!("{patient:08}")}
    });
    let appointment = |version: u32, status: &str, at: &str| {
        json!({
            "resourceType": "Appointment", "id": format!("a{n}"), "status": status,
            "meta": {"versionId": version.to_string(), "lastUpdated": at, "profile": ["http://hl7.org/fhir/StructureDefinition/Appointment"]},
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Surgery, outpatient clinic, room 3, please be here 15 minutes ahead</div>"},
            "serviceType": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/service-type", "code": "221", "display": "Surgery - General"}]}],
            "created": "2026-03-02T09:00:00+09:00", "start": "2026-03-05T10:00:00+09:00", "end": "2026-03-05T10:20:00+09:00",
            "minutesDuration": 20,
            "participant": [
                {"actor": subject, "status": "accepted"},
                {"actor": {"reference": format!("Practitioner/{}", n % 300)}, "status": "accepted"}
            ]
        })
    };
    let encounter = json!({
        "resourceType": "Encounter", "id": format!("e{n}"), "status": "in-progress", "subject": subject,
        "meta": {"versionId": "1", "lastUpdated": "2026-03-05T10:07:00+09:00"},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "ambulatory"},
        "appointment": [{"reference": format!("Appointment/a{n}")}],
        "participant": [{"individual": {"reference": format!("Practitioner/{}", n % 300)}}],
        "period": {"start": "2026-03-05T10:07:00+09:00"}
    });
    let charge = json!({
        "resourceType": "ChargeItem", "id": format!("c{n}"), "status": "billable", "subject": subject,
        "context": {"reference": format!("Encounter/e{n}")}, "enteredDate": "2026-03-05T10:40:00+09:00",
        "code": {"coding": [{"system": "http://hospital.example/fees", "code": "AA157", "display": "Outpatient consultation"}]},
        "priceOverride": {"value": 17_000, "currency": "KRW"}
    });
    let observation = json!({
        "resourceType": "Observation", "id": format!("o{n}"), "status": "final", "subject": subject,
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9", "display": "Blood pressure panel"}]},
        "component": [
            {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, "valueQuantity": {"value": 121, "unit": "mmHg"}},
            {"code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]}, "valueQuantity": {"value": 79, "unit": "mmHg"}}
        ]
    });
    [
        appointment(1, "booked", "2026-03-02T09:00:00+09:00"),
        appointment(2, "arrived", "2026-03-05T09:52:00+09:00"),
        encounter,
        observation,
        charge,
    ]
}

/// Bundles of visits.
fn bundles(count: usize) -> Vec<Vec<u8>> {
    let of_visits = |first: usize| {
        let resources = (first..first + ENTRIES / (EVENTS_OF_VISIT + 1)).flat_map(visit);
        let entries: Vec<Value> =
            resources.map(|r| json!({"request": {"method": "PUT", "url": format!("{}/{}", r["resourceType"].as_str().unwrap(), r["id"].as_str().unwrap())}, "resource": r})).collect();
        json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string().into_bytes()
    };
    (0..count).map(|i| of_visits(i * ENTRIES)).collect()
}

pub async fn run(bench: &Bench) {
    let lines = publish::events(200_000);
    let frames: Vec<(String, Vec<u8>)> = lines.iter().filter_map(|l| publish::frame(l)).collect();
    let bare = publish::produce(bench, "bench-fhir-bare", &frames, &[]).await;
    row("bare rdkafka producer, acks=all, idempotent, lz4", bare, "events/s", None);
    let synced = publish::produce(bench, "bench-fhir-fsync-bare", &frames[..frames.len() / 10], FSYNC).await;
    row("  the same with an fsync per write on the broker", synced, "events/s", None);
    let bodies = Arc::new(bundles(6_000));
    println!("{} bytes a resource on average", bodies.iter().map(Vec::len).sum::<usize>() / bodies.len() / ENTRIES);
    let site = bench.dir.path().join("fhir-site.toml");
    std::fs::write(&site, SITE).unwrap();
    let environment = [("JOURNEYLOG_SITE__FILE", site.to_str().unwrap()), ("JOURNEYLOG_PSEUDONYM_KEY", KEY)];
    publish::topic(bench, "bench-fhir-fsync", FSYNC).await;
    for (name, log) in [
        ("Kafka", publish::kafka(bench, "bench-fhir")),
        ("Kafka, fsync", publish::kafka(bench, "bench-fhir-fsync")),
        ("SQLite", publish::sqlite(bench, "fhir")),
    ] {
        let store = format!("sqlite:{}", bench.dir.path().join("unused.db").display());
        let gateway = Process::journeylog_with(bench, &log, &store, &["ingest"], &environment).await;
        let rate =
            http::load(&gateway.listen, "/fhir", CONNECTIONS, bench.seconds, bodies.clone()).await * ENTRIES as f64;
        row(&format!("{name}: 100 resources per Bundle, 8 connections"), rate, "resources/s", None);
        let events = rate * EVENTS_OF_VISIT as f64 / (EVENTS_OF_VISIT + 1) as f64;
        let limit = if name.ends_with("fsync") { synced } else { bare };
        row("  events of them", events, "events/s", Some(("bare producer", limit)));
        row(&format!("{name}: gateway, peak memory"), gateway.peak_mib(), "MiB", None);
    }
}
