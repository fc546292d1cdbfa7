//! Scores over HTTP, on SQLite and PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use axum::http::StatusCode;
use common::{event, fixtures, id};
use domain::Event;
use serde_json::{Value, json};

fn answer(n: u128, patient: &str, day: &str, role: &str, dimension: &str, raw: u32, site: &str) -> Event {
    event(
        n,
        "FeedbackGiven",
        patient,
        day,
        json!({"header": {"site": site, "department": "gyn"}, "encounter_id": format!("e-{patient}"),
        "instrument": "csat/1", "role": role, "dimension": dimension, "raw": raw, "scale_min": 0, "scale_max": 100}),
    )
}

#[tokio::test]
async fn a_journey_is_explained_and_its_past_can_be_asked() {
    for f in fixtures().await {
        let e = |n, kind, day, more| event(n, kind, "p1", day, more);
        f.project(&[
            e(1, "PatientCheckedIn", "2026-02-10", json!({"encounter_id": "e-p1"})),
            e(2, "ConsultStarted", "2026-02-10", json!({"encounter_id": "e-p1"})),
            e(3, "PatientQuestionAsked", "2026-02-10", json!({"encounter_id": "e-p1", "question_id": "q"})),
            answer(4, "p1", "2026-02-11", "doctor", "empathy", 30, "s1"),
        ])
        .await;
        let (status, body) = f.get(&format!("/v1/journeys/{}/mot?after=0:3", id(3))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!((&body["journey_id"], &body["patient_id"]), (&json!(id(1)), &json!("p1")));
        assert_eq!((&body["model"], &body["provisional"]), (&json!("mot-v1"), &json!(true)));
        let consult = body["touchpoints"].as_array().unwrap().iter().find(|t| t["touchpoint"] == "consult").unwrap();
        // 0.6 · 30 + 0.4 · 50
        assert_eq!((&consult["score"], &consult["coverage"]), (&json!(38.0), &json!(0.8)));
        assert_eq!(consult["contributions"][0]["name"], "doctor/empathy");
        assert_eq!(consult["contributions"][0]["event_ids"], json!([id(4)]));
        assert_eq!(body["alerts"][0]["kind"], "low_score");
        let (_, then) = f.get(&format!("/v1/journeys/{}/mot?as_of=2026-02-10T23:00:00%2B09:00", id(1))).await;
        assert_eq!(then["alerts"], json!([]));
        // Whether the score is provisional is asked of that time, not of today (19 February): the last event was on the 11th.
        let provisional = async |as_of: &str| {
            f.get(&format!("/v1/journeys/{}/mot?as_of={as_of}", id(1))).await.1["provisional"].clone()
        };
        assert_eq!((then["provisional"].clone(), provisional("2026-02-24").await), (json!(true), json!(true)));
        assert_eq!(provisional("2026-02-26").await, false);
        assert_eq!(f.get(&format!("/v1/journeys/{}/mot", id(77))).await.0, StatusCode::NOT_FOUND);
        assert_eq!(f.get(&format!("/v1/journeys/{}/mot?as_of=soon", id(1))).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(f.get(&format!("/v1/journeys/{}/mot?after=0:99", id(1))).await.0, StatusCode::GATEWAY_TIMEOUT);
    }
}

/// What another standard makes of the same journey, beside what readers see.
#[tokio::test]
async fn a_generation_is_explained_by_its_own_standards() {
    for f in fixtures().await {
        let e = |n, kind, day, more| event(n, kind, "p1", day, more);
        f.project(&[
            e(2, "ConsultStarted", "2026-02-10", json!({"encounter_id": "e-p1"})),
            e(3, "PatientQuestionAsked", "2026-02-10", json!({"encounter_id": "e-p1", "question_id": "q"})),
            answer(4, "p1", "2026-02-11", "doctor", "empathy", 30, "s1"),
        ])
        .await;
        let text = domain::views::mot::SHIPPED[0].1;
        let wanted = text.replace("2019-01", "what-if").replace(
            "unanswered_questions = { target = 0,  fail = 2,",
            "unanswered_questions = { target = 0,  fail = 4,",
        );
        assert!(wanted.contains("fail = 4,   weight = 1 }\npost_visit"));
        let made = json!({"standards": [["what-if.toml", wanted]]});
        let number = f.snapshot(&made.to_string()).await;
        for (generation, version, score) in [("", "2020-03", 38.0), (&format!("?generation={number}"), "what-if", 48.0)]
        {
            let (status, body) = f.get(&format!("/v1/journeys/{}/mot{generation}", id(2))).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let consult =
                body["touchpoints"].as_array().unwrap().iter().find(|t| t["touchpoint"] == "consult").unwrap();
            // 0.6 · 30 + 0.4 · 50, or 75 of the question left open
            assert_eq!((&consult["score"], &consult["standard_version"]), (&json!(score), &json!(version)));
            let (_, all) = f.get(&format!("/v1/mot/aggregates{generation}")).await;
            assert_eq!(all["standard_version"], version);
        }
        for (wrong, status) in [("9", StatusCode::BAD_REQUEST), ("x", StatusCode::BAD_REQUEST)] {
            let (got, body) = f.get(&format!("/v1/mot/alerts?generation={wrong}")).await;
            assert_eq!((got, &body["errors"][0]["pointer"]), (status, &json!("generation")), "{body}");
        }
        let late = f.get(&format!("/v1/mot/alerts?generation={number}&after=0:99")).await;
        assert_eq!(late.0, StatusCode::GATEWAY_TIMEOUT);
    }
}

#[tokio::test]
async fn merged_pseudonyms_are_scored_together() {
    for f in fixtures().await {
        f.project(&[
            event(1, "ConsultStarted", "old", "2026-02-10", json!({"encounter_id": "e-old"})),
            answer(2, "old", "2026-02-11", "doctor", "empathy", 80, "s1"),
            event(
                3,
                "FeedbackGiven",
                "new",
                "2026-02-12",
                json!({"encounter_id": "e-old", "instrument": "csat/1", "role": "nurse",
            "dimension": "empathy", "raw": 60, "scale_min": 0, "scale_max": 100}),
            ),
            event(4, "PatientsMerged", "new", "2026-02-13", json!({"surviving": "new", "retired": "old"})),
        ])
        .await;
        let (status, body) = f.get(&format!("/v1/journeys/{}/mot", id(1))).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["patient_id"], "new");
        assert_eq!(body["touchpoints"][0]["roles"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn aggregates_keep_small_groups_and_roles_apart() {
    for f in fixtures().await {
        let mut events = Vec::new();
        for i in 0..120u128 {
            let (patient, site) = (format!("p{i}"), if i < 105 { "large" } else { "middling" });
            events.push(answer(1000 + i, &patient, "2026-02-10", "doctor", "empathy", 90, site));
            events.push(answer(2000 + i, &patient, "2026-02-10", "nurse", "empathy", 40, site));
        }
        for i in 0..9u128 {
            events.push(answer(3000 + i, &format!("q{i}"), "2026-02-10", "doctor", "empathy", 10, "small"));
        }
        f.project(&events).await;
        let (status, body) = f.get("/v1/mot/aggregates?by=site&from=2026-02-01&to=2026-03-01").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let of = |site: &str| body["groups"].as_array().unwrap().iter().find(|g| g["group"]["site"] == site).unwrap();
        assert_eq!(of("small")["suppressed"], true);
        assert_eq!(of("small").get("mean"), None);
        assert_eq!(
            (&of("large")["mean"], &of("large")["rank"], &of("large")["n"]),
            (&json!(65.0), &json!(1), &json!(105))
        );
        assert_eq!(of("middling").get("rank"), None);
        // μ = (120 · 65 + 9 · 10) / 129 = 61.163; (15 · 65 + 20 · 61.163) / 35 = 62.81
        assert_eq!(of("middling")["estimate"], json!(62.81));
        let roles: Vec<(&str, f64)> = of("large")["roles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| (r["role"].as_str().unwrap(), r["mean"].as_f64().unwrap()))
            .collect();
        assert_eq!(roles, [("doctor", 90.0), ("nurse", 40.0)]);
        assert_eq!(of("large")["roles"][1]["below_standard"], true);
        assert_eq!(of("large")["roles"][0]["top_box"], json!(1.0));
        let (_, by_role) = f.get("/v1/mot/aggregates?by=role,month&site=large").await;
        assert_eq!(by_role["by"], json!(["role", "month", "dimension"]));
        assert_eq!(by_role["groups"][0]["group"], json!({"role": "doctor", "month": "202602", "dimension": "empathy"}));
        assert_eq!(f.get("/v1/mot/aggregates?by=revenue").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(f.get("/v1/mot/aggregates?role=boss").await.0, StatusCode::BAD_REQUEST);
        let (_, nothing) = f.get("/v1/mot/aggregates?from=2027-01-01&by=touchpoint").await;
        assert_eq!(nothing["groups"], json!([]));
    }
}

#[tokio::test]
async fn a_linked_answer_counts_once() {
    for f in fixtures().await {
        let mut events = Vec::new();
        for i in 0..10u128 {
            let more = json!({"header": {"patient_id": null, "site": "s"}, "instrument": "nps/1", "role": "nurse",
            "dimension": "empathy", "raw": 10, "scale_min": 0, "scale_max": 10});
            events.push(event(1 + i, "FeedbackGiven", "", "2026-02-10", more));
        }
        f.project(&events).await;
        let n = async || f.get("/v1/mot/aggregates?by=role").await.1["groups"][0]["n"].clone();
        assert_eq!(n().await, json!(10));
        let linked = json!({"target_event_id": id(3), "instrument": "nps/1", "role": "nurse", "dimension": "empathy", "raw": 10,
        "scale_min": 0, "scale_max": 10});
        f.project(&[event(50, "FeedbackLinked", "p1", "2026-02-11", linked)]).await;
        assert_eq!(n().await, json!(10));
    }
}

#[tokio::test]
async fn alerts_come_in_pages() {
    for f in fixtures().await {
        let breach = |n: u128, day: &str, site: &str| {
            event(
                n,
                "DignityBreachReported",
                &format!("p{n}"),
                day,
                json!({"header": {"site": site}, "role": "doctor", "kind": "blame"}),
            )
        };
        f.project(&[breach(1, "2026-02-10", "s1"), breach(2, "2026-02-12", "s1"), breach(3, "2026-02-11", "s2")]).await;
        let ids = |body: &Value| -> Vec<String> {
            body["items"].as_array().unwrap().iter().map(|a| a["patient_id"].as_str().unwrap().to_owned()).collect()
        };
        let (status, first) = f.get("/v1/mot/alerts?limit=2").await;
        assert_eq!(status, StatusCode::OK, "{first}");
        assert_eq!(ids(&first), ["p2", "p3"]);
        assert_eq!(first["items"][0]["detail"], "blame");
        let (_, second) =
            f.get(&format!("/v1/mot/alerts?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;
        assert_eq!(ids(&second), ["p1"]);
        assert_eq!(second.get("next_cursor"), None);
        assert_eq!(ids(&f.get("/v1/mot/alerts?site=s1&from=2026-02-11&kind=dignity_breach").await.1), ["p2"]);
        assert_eq!(f.get("/v1/mot/alerts?kind=loud").await.0, StatusCode::BAD_REQUEST);
    }
}

/// Ten low scores and more raise an alert about their month, among the alerts about patients.
#[tokio::test]
async fn groups_below_the_standard_are_alerts() {
    for f in fixtures().await {
        let mut events = Vec::new();
        for (from, day, site, raw) in
            [(100, "2026-01-10", "low", 50), (200, "2026-02-10", "low", 50), (300, "2026-02-10", "good", 90)]
        {
            for i in 0..12 {
                let patient = format!("p{}", from + i);
                let raw = raw + u32::try_from(i % 3).unwrap();
                events.push(answer(from + i, &patient, day, "doctor", "empathy", raw, site));
            }
        }
        for i in 400..409 {
            events.push(answer(i, &format!("p{i}"), "2026-02-10", "doctor", "empathy", 50, "small"));
        }
        for (n, day) in [(1, "2026-01-20"), (2, "2026-02-12")] {
            let breach = json!({"header": {"site": "low"}, "role": "doctor", "kind": "blame"});
            events.push(event(n, "DignityBreachReported", &format!("q{n}"), day, breach));
        }
        f.project(&events).await;
        let (status, all) = f.get("/v1/mot/alerts").await;
        assert_eq!(status, StatusCode::OK, "{all}");
        let of = |a: &Value| {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            (text(&a["kind"]), text(&a["occurred_at"]), text(&a["role"]))
        };
        let list: Vec<_> = all["items"].as_array().unwrap().iter().map(of).collect();
        let is = |kind: &str, at: &str, role: &str| (kind.to_owned(), at.to_owned(), role.to_owned());
        let (january, february) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let wanted = [
            is("dignity_breach", "2026-02-12T03:00:00Z", "doctor"),
            is("below_standard", february, "doctor"),
            is("below_standard", february, ""),
            is("dignity_breach", "2026-01-20T03:00:00Z", "doctor"),
            is("below_standard", january, "doctor"),
            is("below_standard", january, ""),
        ];
        assert_eq!(list, wanted);
        let touchpoint = &all["items"][2];
        assert_eq!((&touchpoint["patient_id"], &touchpoint["site"]), (&Value::Null, &json!("low")));
        let path = "/v1/mot/aggregates?by=touchpoint,month&site=low&department=gyn&from=2026-02-01&to=2026-03-01";
        let (_, aggregates) = f.get(path).await;
        let same = &aggregates["groups"][0];
        assert_eq!((&same["below_standard"], &same["n"]), (&json!(true), &json!(12)));
        for figure in ["n", "mean", "interval", "floor"] {
            assert_eq!(touchpoint["group"][figure], same[figure], "{figure}");
        }
        for limit in [1, 2, 4] {
            let (mut paged, mut cursor) = (Vec::new(), String::new());
            loop {
                let (_, page) = f.get(&format!("/v1/mot/alerts?limit={limit}{cursor}")).await;
                paged.extend(page["items"].as_array().unwrap().iter().cloned());
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(json!(paged), all["items"], "the pages of {limit} are the list");
        }
        let count =
            async |query: &str| f.get(&format!("/v1/mot/alerts?{query}")).await.1["items"].as_array().unwrap().len();
        assert_eq!(count("kind=below_standard").await, 4);
        assert_eq!(count("kind=below_standard&from=2026-02-01&to=2026-02-02").await, 2);
        assert_eq!(count("kind=below_standard&from=2026-02-02").await, 0);
        assert_eq!(count("kind=below_standard&to=2026-02-01").await, 2);
        assert_eq!(count("kind=below_standard&department=gyn&site=good").await, 0);
        assert_eq!(count("kind=dignity_breach").await, 2);
    }
}

#[tokio::test]
async fn staff_are_heard_apart() {
    for f in fixtures().await {
        let events: Vec<Event> = (0..12u128)
        .map(|i| {
            event(1 + i, "StaffPulseAnswered", "", "2026-02-10", json!({"header": {"patient_id": null, "site": "s"},
                "instrument": "pulse/1", "role": "nurse", "raw": 2, "scale_min": 1, "scale_max": 5, "workload_percent": 120}))
        })
        .collect();
        f.project(&events).await;
        let (status, body) = f.get("/v1/mot/staff?by=role,site").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!((&body["groups"][0]["n"], &body["groups"][0]["mean"]), (&json!(12), &json!(25.0)));
        let (_, patients) = f.get("/v1/mot/aggregates?by=role").await;
        assert_eq!(patients["groups"], json!([]));
    }
}
