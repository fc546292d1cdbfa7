//! The quality of what each source sends, on a real database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use axum::http::StatusCode;
use common::{event, fixtures, id};
use domain::Event;
use serde_json::{Value, json};
use store::IntakeCount;

/// An event of a source, that happened and was recorded then.
fn of(n: u128, source: &str, trigger: Option<&str>, occurred: &str, recorded: &str) -> Event {
    let header =
        json!({"occurred_at": occurred, "recorded_at": recorded, "source": {"system": source, "trigger": trigger}});
    event(n, "PatientCheckedIn", &format!("p{n}"), "2026-01-05", json!({ "header": header }))
}

fn retraction(n: u128, of: u128) -> Event {
    let header = json!({"source": {"system": "desk"}});
    let retraction = json!({"target_event_id": id(of), "reason": "typed twice", "header": header});
    event(n, "EventRetracted", &format!("p{of}"), "2026-02-18", retraction)
}

fn counted(source: &str, day: &str, result: &str, reason: &str, messages: i64) -> IntakeCount {
    let week = domain::Micros::parse(&format!("{day}T00:00:00Z")).unwrap().week();
    let [source, result, reason] = [source, result, reason].map(str::to_owned);
    IntakeCount { source, protocol: "hl7".into(), week, result, reason, messages }
}

#[tokio::test]
async fn what_a_source_sent_is_told_by_week() {
    for f in fixtures().await {
        let monday = "2026-02-09T00:00:00Z";
        f.project(&[
            // Sunday before the week; then typed in late, a day late, and at once by an interface.
            of(1, "desk", Some("manual_entry"), "2026-02-08T23:59:00Z", "2026-02-08T23:59:59.999999Z"),
            of(2, "desk", Some("manual_entry"), "2026-02-08T20:00:00Z", monday),
            of(3, "desk", Some("manual_entry"), "2026-02-09T10:00:00Z", "2026-02-11T10:00:00Z"),
            of(4, "desk", None, "2026-02-12T10:00:00Z", "2026-02-12T10:00:01Z"),
            of(5, "desk", None, "2026-02-12T10:00:00Z", "2026-02-12T10:30:00Z"),
            retraction(6, 3),
        ])
        .await;
        f.store.add_intake(&[counted("lab", "2026-02-10", "refused", "fields", 2)]).await.unwrap();
        let more = [
            counted("lab", "2026-02-15", "refused", "fields", 1),
            counted("lab", "2026-02-15", "refused", "conflict", 1),
            counted("lab", "2026-02-15", "accepted", "", 5),
            counted("lab", "2026-02-16", "ignored", "", 7),
            counted("lab", "2026-02-16", "duplicate", "", 1),
        ];
        f.store.add_intake(&more).await.unwrap();
        let (status, body) = f.get("/v1/sources").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let sources: Vec<&Value> = body["sources"].as_array().unwrap().iter().collect();
        assert_eq!(sources.iter().map(|s| s["source"].as_str().unwrap()).collect::<Vec<_>>(), ["desk", "lab"]);
        let weeks = sources[0]["weeks"].as_array().unwrap();
        assert_eq!(weeks.len(), 2, "{body}");
        assert_eq!((&weeks[0]["begins"], &weeks[0]["events"]), (&json!("2026-02-02"), &json!(1)));
        assert_eq!(weeks[0]["error_rate"], 0.0);
        assert_eq!(
            weeks[1],
            json!({
                "begins": "2026-02-09", "intake": {}, "events": 4, "error_rate": 0.25,
                "manual": {"events": 2, "error_rate": 0.5},
                "lateness": {"minute": 1, "hour": 1, "day": 1, "later": 1, "longest_s": 172_800},
                "longest_gap_s": 58 * 3600,
            })
        );
        let weeks = sources[1]["weeks"].as_array().unwrap();
        assert_eq!(
            weeks[0]["intake"]["hl7"],
            json!({"received": 9, "accepted": 5, "duplicate": 0, "ignored": 0, "refused": {"fields": 3, "conflict": 1}})
        );
        assert_eq!(weeks[1]["intake"]["hl7"]["ignored"], 7);
        assert_eq!(weeks[1]["error_rate"], Value::Null);
        let (_, one) = f.get("/v1/sources?from=2026-02-16&to=2026-02-16").await;
        assert_eq!(one["sources"].as_array().unwrap().len(), 1);
        let (status, wrong) = f.get("/v1/sources?from=2026-02-17&to=2026-02-01").await;
        assert_eq!((status, &wrong["errors"][0]["pointer"]), (StatusCode::BAD_REQUEST, &json!("from")));
    }
}

/// Counts know the label of a source's name.
#[tokio::test]
async fn a_name_with_a_space_is_one_source() {
    for f in fixtures().await {
        let at = ["2026-02-09T10:00:00Z"; 2];
        let (ward, one, two) = ("ward 1", "lab a", "lab-a");
        f.project(&[of(1, ward, None, at[0], at[1]), of(2, one, None, at[0], at[1]), of(3, two, None, at[0], at[1])])
            .await;
        let counts = ["ward_1", "lab_a", "lab-a"].map(|s| counted(s, "2026-02-10", "accepted", "", 1));
        f.store.add_intake(&counts).await.unwrap();
        let (_, body) = f.get("/v1/sources").await;
        let sources = body["sources"].as_array().unwrap();
        let names: Vec<_> = sources.iter().map(|s| s["source"].as_str().unwrap()).collect();
        assert_eq!(names, ["lab a", "lab-a", "ward 1"]);
        for source in sources {
            let week = &source["weeks"][0];
            assert_eq!((&week["events"], &week["intake"]["hl7"]["accepted"]), (&json!(1), &json!(1)), "{source}");
        }
    }
}
