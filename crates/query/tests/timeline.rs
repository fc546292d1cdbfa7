//! Timelines, journeys and cards over HTTP, on a real database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use axum::http::StatusCode;
use common::{Fixture, event, fixture, fixtures, id};
use domain::Event;
use serde_json::{Value, json};

fn visits() -> Vec<Event> {
    vec![
        event(1, "EnquiryReceived", "p", "2026-01-02", json!({"origin": "review"})),
        event(
            2,
            "ConsultEnded",
            "p",
            "2026-01-10",
            json!({"encounter_id": "e1", "surgery_recommended": true,
            "header": {"site": "big"}}),
        ),
        event(
            3,
            "DignityBreachReported",
            "p",
            "2026-01-11",
            json!({"encounter_id": "e1", "role": "doctor", "kind": "blame"}),
        ),
        event(
            4,
            "AppointmentBooked",
            "p",
            "2026-02-01",
            json!({"appointment_id": "a", "starts_at": "2026-02-10T00:00:00Z",
            "header": {"journey_id": "small/1"}}),
        ),
        event(5, "AppointmentNoShow", "p", "2026-02-10", json!({"appointment_id": "a", "reason": "개인사정"})),
        event(
            6,
            "AppointmentBooked",
            "p",
            "2026-02-12",
            json!({"appointment_id": "b", "starts_at": "2026-02-20T00:00:00Z",
            "header": {"journey_id": "small/1"}}),
        ),
    ]
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(|i| i["event_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_in_a_stable_order() {
    let f = fixture().await;
    let mut late_first = visits();
    late_first.reverse();
    f.project(&late_first).await;
    let mut seen = Vec::new();
    let mut path = "/v1/patients/p/timeline?limit=4".to_owned();
    loop {
        let (status, page) = f.get(&path).await;
        assert_eq!((status, &page["total"]), (StatusCode::OK, &json!(6)), "{page}");
        seen.extend(ids(&page["items"]));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/patients/p/timeline?limit=4&cursor={cursor}");
    }
    assert_eq!(seen, (1..=6).map(id).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_entry_tells_its_journey_its_stage_and_the_event() {
    let f = fixture().await;
    f.project(&visits()).await;
    let (_, page) = f.get("/v1/patients/p/timeline?stage=scheduling&journey=small%2F1").await;
    assert_eq!(ids(&page["items"]), [id(4), id(5), id(6)]);
    let no_show = &page["items"][1];
    assert_eq!(no_show["journey_rule"], "references");
    assert_eq!((&no_show["status"], &no_show["position"]), (&json!("normal"), &json!("0:4")));
    assert_eq!(no_show["event"]["reason"], "개인사정");
    assert_eq!(page["position"], "0:5");
}

#[tokio::test]
async fn a_corrected_event_shows_both_states_and_as_of_the_old_one() {
    let f = fixture().await;
    let mut events = visits();
    let right =
        event(5, "AppointmentNoShow", "p", "2026-02-10", json!({"appointment_id": "a", "reason": "surgery elsewhere"}));
    let replacement: Value = serde_json::from_str(&right.to_json()).unwrap();
    let more = json!({"target_event_id": id(5), "reason": "misheard", "replacement": replacement});
    events.insert(0, event(7, "EventCorrected", "p", "2026-02-15", more));
    events.push(event(
        8,
        "EventRetracted",
        "p",
        "2026-02-16",
        json!({"target_event_id": id(3), "reason": "other patient"}),
    ));
    f.project(&events).await;
    let (_, page) = f.get("/v1/patients/p/timeline").await;
    let e = &page["items"][4];
    assert_eq!((&e["status"], &e["event"]["reason"]), (&json!("corrected"), &json!("surgery elsewhere")));
    assert_eq!(e["original"]["reason"], "개인사정");
    assert_eq!((&e["corrections"][0]["event_id"], &e["corrections"][0]["reason"]), (&json!(id(7)), &json!("misheard")));
    assert_eq!(page["items"][2]["status"], "retracted");
    assert_eq!(page["items"][6]["about"], id(5));
    let (_, card) = f.get("/v1/patients/p/card").await;
    assert_eq!(card["missed_visits"][0]["reason"], "surgery elsewhere");
    assert_eq!(card["last_bad_moment"], Value::Null, "it was another patient's");

    let (_, then) = f.get("/v1/patients/p/timeline?as_of=2026-02-14T00:00:00Z").await;
    assert_eq!((&then["items"][4]["event"]["reason"], &then["total"]), (&json!("개인사정"), &json!(6)));
    assert_eq!(then["as_of"], "2026-02-14T00:00:00Z");
}

#[tokio::test]
async fn journeys_have_eight_stages_and_are_found_by_name_and_by_event() {
    let f = fixture().await;
    f.project(&visits()).await;
    let (status, page) = f.get("/v1/patients/p/journeys").await;
    assert_eq!((status, &page["total"]), (StatusCode::OK, &json!(2)));
    let stages: Vec<(&str, bool)> = page["items"][0]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["stage"].as_str().unwrap(), s["empty"].as_bool().unwrap()))
        .collect();
    assert_eq!(
        stages,
        [
            ("choosing", false),
            ("scheduling", true),
            ("check_in", true),
            ("service", false),
            ("continuation", true),
            ("follow_up", true),
            ("billing", true),
            ("future_visits", true)
        ]
    );
    assert_eq!(page["items"][0]["first_at"], "2026-01-10T03:00:00Z", "an enquiry before it doesn't stretch it");
    for by in ["small%2F1".to_owned(), id(5), id(4).to_uppercase()] {
        let (status, j) = f.get(&format!("/v1/journeys/{by}")).await;
        assert_eq!(
            (status, &j["id"], &j["named"], &j["patient_id"]),
            (StatusCode::OK, &json!("small/1"), &json!(true), &json!("p"))
        );
        assert_eq!(ids(&j["entries"]), [id(4), id(5), id(6)]);
    }
    assert_eq!(f.get("/v1/journeys/none").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_journey_name_of_two_patients_has_to_be_told_apart() {
    let f = fixture().await;
    f.project(&visits()).await;
    f.project(&[event(
        20,
        "ConsultEnded",
        "q",
        "2026-02-01",
        json!({"encounter_id": "e", "header": {"journey_id": "small/1"}}),
    )])
    .await;
    assert_eq!(f.get("/v1/journeys/small%2F1").await.0, StatusCode::CONFLICT);
    let (status, j) = f.get("/v1/journeys/small%2F1?patient_id=q").await;
    assert_eq!((status, ids(&j["entries"])), (StatusCode::OK, vec![id(20)]));
    // Once both are known to be one patient, it is one journey.
    f.project(&[event(21, "PatientsMerged", "p", "2026-02-02", json!({"surviving": "p", "retired": "q"}))]).await;
    let (status, j) = f.get("/v1/journeys/small%2F1").await;
    assert_eq!(
        (status, j["entries"].as_array().unwrap().len()),
        (StatusCode::OK, 5),
        "four, and the merge falls into it"
    );
}

#[tokio::test]
async fn a_retired_pseudonym_answers_with_the_survivors_timeline() {
    let f = fixture().await;
    f.project(&visits()).await;
    f.project(&[
        event(20, "ConsultEnded", "old", "2025-02-01", json!({"encounter_id": "x"})),
        event(21, "PatientsMerged", "p", "2026-02-13", json!({"surviving": "p", "retired": "old"})),
    ])
    .await;
    let (_, page) = f.get("/v1/patients/old/timeline").await;
    assert_eq!((&page["patient_id"], &page["asked_for"]), (&json!("p"), &json!("old")));
    assert_eq!((&page["merged_from"], &page["total"]), (&json!(["old"]), &json!(8)));
    assert_eq!(page["items"][0]["merged_from"], "old");
    let (_, card) = f.get("/v1/patients/old/card").await;
    assert_eq!((&card["patient_id"], &card["history"]["consults_total"]), (&json!("p"), &json!(2)));
    f.project(&[event(22, "PatientsUnmerged", "p", "2026-02-14", json!({"surviving": "p", "retired": "old"}))]).await;
    let (_, page) = f.get("/v1/patients/old/timeline").await;
    assert_eq!((&page["patient_id"], page.get("asked_for"), &page["total"]), (&json!("old"), None, &json!(1)));
}

#[tokio::test]
async fn the_card_of_a_patient_before_the_next_visit() {
    let f = fixture().await;
    f.project(&visits()).await;
    let (status, card) = f.get("/v1/patients/p/card").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(card["next_appointment"]["appointment_id"], "b");
    assert_eq!(card["missed_visits"][0]["reason"], "개인사정");
    assert_eq!((&card["last_bad_moment"]["what"], &card["who"]["came_by"]), (&json!("blame"), &json!("review")));
    assert_eq!((&card["at"], &card["position"]), (&json!("2026-02-19T03:00:00Z"), &json!("0:5")));
    let (_, earlier) = f.get("/v1/patients/p/card?as_of=2026-02-05T00:00:00Z").await;
    assert_eq!((&earlier["next_appointment"]["appointment_id"], &earlier["missed_visits"]), (&json!("a"), &json!([])));
}

/// The card and the page of the score say the same of a low touchpoint, and of what was known of it before.
#[tokio::test]
async fn a_low_score_is_on_the_card_as_it_is_in_the_alerts() {
    let f = fixture().await;
    let visit = json!({"encounter_id": "e"});
    let again = |n| {
        let more =
            json!({"encounter_id": "e", "asked_field": "allergies", "header": {"recorded_at": "2026-02-05T00:00:00Z"}});
        event(n, "RepeatQuestionReported", "p", "2026-02-01", more)
    };
    f.project(&[event(1, "PatientCheckedIn", "p", "2026-02-01", visit), again(2), again(3)]).await;
    let (_, mot) = f.get(&format!("/v1/journeys/{}/mot", id(1))).await;
    let (_, alerts) = f.get("/v1/mot/alerts?kind=low_score").await;
    let (_, card) = f.get("/v1/patients/p/card").await;
    let (bad, scored) = (&card["last_bad_moment"], &mot["touchpoints"][0]);
    assert_eq!(alerts["items"][0]["touchpoint_id"], bad["touchpoint_id"], "{alerts} {card}");
    for field in ["touchpoint_id", "score", "standard_version"] {
        assert_eq!(bad[field], scored[field], "{field}: {card} {mot}");
    }
    assert_eq!((&bad["kind"], &bad["event_id"]), (&json!("low_score"), &json!(id(1))));
    let (_, then) = f.get("/v1/patients/p/card?as_of=2026-02-04T00:00:00Z").await;
    assert_eq!(then["last_bad_moment"], Value::Null, "nobody had reported the questions");
}

#[tokio::test]
async fn an_etag_changes_with_the_patients_events_and_the_program_alone() {
    let mut f = fixture().await;
    f.project(&visits()).await;
    let path = "/v1/patients/p/timeline";
    let (_, etag, _) = f.get_if(path, None).await;
    f.project(&[event(30, "ConsultEnded", "q", "2026-02-13", json!({"encounter_id": "y"}))]).await;
    assert_eq!(f.get_if(path, etag.as_deref()).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!(f.get_if("/v1/patients/p/timeline?limit=2", etag.as_deref()).await.0, StatusCode::OK);
    f.upgrade();
    assert_eq!(f.get_if(path, etag.as_deref()).await.0, StatusCode::OK);
    let (_, etag, _) = f.get_if(path, None).await;
    f.project(&[event(31, "ConsultEnded", "p", "2026-02-13", json!({"encounter_id": "y"}))]).await;
    assert_eq!(f.get_if(path, etag.as_deref()).await.0, StatusCode::OK);
}

/// A row that is put right is still one row at the same offset.
#[tokio::test]
async fn an_etag_does_not_survive_a_repair() {
    for f in fixtures().await {
        f.project(&visits()).await;
        let copy = f.snapshot("{}").await;
        for path in ["/v1/patients/p/timeline".to_owned(), format!("/v1/patients/p/timeline?generation={copy}")] {
            let (_, etag, _) = f.get_if(&path, None).await;
            assert_eq!(f.get_if(&path, etag.as_deref()).await.0, StatusCode::NOT_MODIFIED);
            f.repair(if path.contains("generation") { copy } else { 1 }).await;
            assert_eq!(f.get_if(&path, etag.as_deref()).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_a_problem() {
    for f in fixtures().await {
        asked_wrongly(f).await;
    }
}

async fn asked_wrongly(f: Fixture) {
    f.project(&visits()).await;
    let staff = event(
        40,
        "StaffPulseAnswered",
        "",
        "2026-02-01",
        json!({"instrument": "x", "role": "nurse", "raw": 1.0,
        "scale_min": 1.0, "scale_max": 5.0, "header": {"patient_id": null, "site": "s1"}}),
    );
    f.project(&[staff]).await;
    for (path, status, about) in [
        ("/v1/patients/nobody/timeline", 404, ""),
        ("/v1/patients/nobody/card", 404, ""),
        ("/v1/patients/s1/timeline", 404, ""),
        ("/v1/patients/p/timeline?stage=nope", 400, "stage"),
        ("/v1/patients/p/timeline?limit=0", 400, "limit"),
        ("/v1/patients/p/timeline?cursor=zz", 400, "cursor"),
        ("/v1/patients/p/timeline?as_of=yesterday", 400, "as_of"),
        ("/v1/patients/p/timeline?patient_id=q", 400, "patient_id"),
        ("/v1/patients/p/journeys?stage=billing", 400, "stage"),
        ("/v1/patients/p/card?stage=billing", 400, "stage"),
        ("/v1/patients/p/timeline?limit=ten", 400, "limit"),
        ("/v1/patients/p%00/timeline", 400, "id"),
        ("/v1/patients/%ff/card", 400, "id"),
        ("/v1/journeys/%00", 400, "id"),
        ("/v1/journeys/%00/mot", 400, "id"),
        ("/v1/journeys/x?patient_id=%00", 400, "patient_id"),
        ("/v1/mot/alerts?site=a%00", 400, "site"),
        ("/v1/mot/aggregates?department=a%00&by=site", 400, "department"),
        ("/v1/mot/aggregates?department=%FF&by=site", 400, "department"),
        // [0,"a\u0000","x"]
        ("/v1/mot/alerts?cursor=5b302c22615c7530303030222c2278225d", 400, "cursor"),
        ("/v1/patients/p/timeline?after=0:99", 504, ""),
        ("/v1/patients/p/timeline?after=99:1", 400, "after"),
        ("/v1/mot/alerts?after=0:1,99:1", 400, "after"),
        ("/v1/mot/alerts?from=2026-11-01&to=2026-10-01", 400, "from"),
        ("/v1/mot/aggregates?from=2026-11-01&to=2026-10-01", 400, "from"),
        ("/v1/mot/staff?from=2026-11-01&to=2026-10-01", 400, "from"),
        ("/v1/sources?from=2026-02-03&to=2026-02-02", 400, "from"),
    ] {
        let (got, problem) = f.get(path).await;
        assert_eq!(got.as_u16(), status, "{path}: {problem}");
        assert!(problem["type"].as_str().unwrap().starts_with("urn:journeylog:problem:"), "{path}");
        if !about.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], about, "{path}");
        }
    }
    assert_eq!(f.get("/v1/patients/p/timeline?after=0:5").await.0, StatusCode::OK);
    for (limit, reason) in
        [("ten", "must be a whole number"), ("", "must be a whole number"), ("9999999999", "is out of range")]
    {
        let problem = f.get(&format!("/v1/patients/p/timeline?limit={limit}")).await.1;
        assert_eq!(problem["errors"][0]["reason"], reason, "{limit}");
    }
}

#[test]
fn the_description_has_every_path() {
    let doc = serde_json::to_value(journeylog_query::openapi()).unwrap();
    for path in
        ["/v1/patients/{id}/timeline", "/v1/patients/{id}/journeys", "/v1/patients/{id}/card", "/v1/journeys/{id}"]
    {
        assert!(doc["paths"][path]["get"]["responses"]["200"].is_object(), "{path}");
    }
    assert!(doc["components"]["schemas"]["Card"]["properties"]["missed_visits"].is_object());
}

/// The past beside the present: another generation has its own rows, and its own ETag.
#[tokio::test]
async fn a_generation_may_be_asked_for() {
    for f in fixtures().await {
        let all = visits();
        f.project(&all[..4]).await;
        let number = f.snapshot("{}").await;
        f.project(&all[4..]).await;
        let at = format!("/v1/patients/p/timeline?generation={number}");
        let (_, etag, then) = f.get_if(&at, None).await;
        let (_, now_etag, now) = f.get_if("/v1/patients/p/timeline", None).await;
        assert_eq!((then["total"].as_u64(), now["total"].as_u64()), (Some(4), Some(6)));
        assert_ne!(etag, now_etag);
        assert_eq!(f.get(&format!("/v1/journeys/{}?generation={number}", id(5))).await.0, StatusCode::NOT_FOUND);
        assert_eq!(f.get(&format!("/v1/patients/p/card?generation={number}")).await.0, StatusCode::OK);
        let (status, body) = f.get("/v1/patients/p/timeline?generation=7").await;
        assert_eq!((status, &body["errors"][0]["pointer"]), (StatusCode::BAD_REQUEST, &json!("generation")), "{body}");
    }
}
