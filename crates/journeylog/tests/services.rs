//! The same on Kafka and PostgreSQL, each role a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::table::{Table, Type};
use domain::views::{EventRows as _, PatientFold as _, View, follow_ups::FollowUps, mot::Mot, timeline::Timeline};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::{Backends, Server, caught_up, event, fold};

/// The roles as separate processes: gateway, three projectors, read API.
async fn roles(b: &Backends) -> (Server, [Server; 3], Server) {
    let gateway = b.start(&["ingest"]).await;
    let projectors = [
        b.start(&["project", "timeline"]).await,
        b.start(&["project", "mot"]).await,
        b.start(&["project", "follow-ups"]).await,
    ];
    (gateway, projectors, b.start(&["query"]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_carry_an_event_to_all_views_and_drain_on_sigterm() {
    let Some(b) = Backends::services("carry").await else { return };
    let (mut gateway, mut projectors, mut api) = roles(&b).await;
    let p = "p-00000000000000cc";
    let ended =
        event("ConsultEnded", p, "2026-03-09T01:40:00Z", json!({"encounter_id": "E-1", "appointment_id": "A-1"}));
    let (status, answer) = gateway.post("/v1/events", &ended).await;
    assert_eq!(status, 201, "{answer}");
    let after = answer["position"].as_str().unwrap();
    let (status, page) = api.get(&format!("/v1/patients/{p}/timeline?after={after}")).await;
    assert_eq!((status, page["total"].clone()), (200, json!(1)), "{page}");
    let journey = page["items"][0]["journey_id"].as_str().unwrap();
    let (status, mot) = api.get(&format!("/v1/journeys/{journey}/mot?after={after}")).await;
    assert_eq!(status, 200, "{mot}");
    let (_, queue) = api.get(&format!("/v1/follow-ups?status=open&after={after}")).await;
    let item = queue["items"][0]["item_id"].as_str().unwrap();

    // A call through the read API's process goes over Kafka and closes the item.
    let (_, lease) = api.post(&format!("/v1/follow-ups/{item}/claim"), &json!({"holder": "nurse-1"})).await;
    let call = json!({"holder": "nurse-1", "token": lease["token"], "channel": "phone", "human": true,
        "answers": ["well", "nothing open", "none", "no", "yes"]});
    let (status, done) = api.post(&format!("/v1/follow-ups/{item}/complete"), &call).await;
    assert_eq!(status, 200, "{done}");
    let (_, item) = api.get(&format!("/v1/follow-ups/{item}?after={}", done["position"].as_str().unwrap())).await;
    assert_eq!(item["status"], "closed", "{item}");
    for server in [&mut gateway, &mut api].into_iter().chain(&mut projectors) {
        assert_eq!(server.terminate(), 0, "{}", server.logged());
    }
}

/// Rows of every table, without the columns that say where in the log an event lies.
async fn content(engine: &store::Engine) -> BTreeMap<&'static str, BTreeSet<String>> {
    let tables: Vec<&Table> = Timeline::TABLES.iter().chain(Mot::TABLES).chain(FollowUps::TABLES).collect();
    let mut all = BTreeMap::new();
    for t in tables {
        let place = |c: &str| ["partition", "log_offset"].contains(&c);
        let columns: Vec<&str> = t.columns.iter().filter(|c| !place(c.0) && c.1 != Type::Bytes).map(|c| c.0).collect();
        let rows = engine.query(&format!("SELECT {} FROM {}", columns.join(", "), t.name), &[]).await.unwrap();
        all.insert(t.name, rows.iter().map(|r| format!("{:?}", r.0)).collect());
    }
    all
}

/// Imports a file: its rows; how many of them were accepted, known and refused; and what was said.
fn import(b: &Backends, mapping: &str, file: &Path) -> ([u64; 4], String) {
    let mapping = format!("{}/../../deploy/mappings/{mapping}.toml", env!("CARGO_MANIFEST_DIR"));
    let out = b.run(&["import", "--mapping", &mapping, file.to_str().unwrap(), "--json"]);
    let summary = out.stdout.lines().last().unwrap_or_else(|| panic!("{}", out.stderr));
    let summary: Json = serde_json::from_str(summary).unwrap();
    (["rows", "accepted", "duplicates", "refused"].map(|k| summary[k].as_u64().unwrap()), out.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_history_gives_identical_views_on_both_pairs_of_backends() {
    let (Some(sepsis), Some(patients)) =
        (support::shared_data("logs/sepsis.csv"), support::shared_data("logs/patients.csv"))
    else {
        return;
    };
    let Some(services) = Backends::services("history").await else { return };
    let mut found = Vec::new();
    for b in [Backends::embedded(), services] {
        let mut accepted = 0_u64;
        for (file, mapping, rows) in [(&sepsis, "sepsis", 15_214), (&patients, "patients", 5_442)] {
            // Every row of these files can be an event. One that is refused is listed in what was said, with its reason.
            let (counts, said) = import(&b, mapping, file);
            assert_eq!(counts, [rows, rows, 0, 0], "{mapping} on {}: {said}", b.log);
            accepted += rows;
            let (again, said) = import(&b, mapping, file);
            assert_eq!(again, [rows, 0, rows, 0], "{mapping} again on {}: {said}", b.log);
        }
        let projector = b.start(&["project", "timeline", "mot", "follow-ups"]).await;
        caught_up(&b, &View::ALL).await;
        let (engine, log) = (b.engine().await, b.open_log().await);
        for view in View::ALL {
            fold::assert_equals_log(view, &engine, log.as_ref()).await;
        }
        let dead = engine.query("SELECT count(*) FROM dead_letters", &[]).await.unwrap();
        assert_eq!(dead[0].int(0), 0);
        let entries = engine.query("SELECT count(*) FROM timeline_entries", &[]).await.unwrap();
        assert_eq!(u64::try_from(entries[0].int(0)).unwrap(), accepted, "the timeline has each accepted row, once");
        found.push(content(&engine).await);
        drop(projector);
    }
    for (table, rows) in &found[0] {
        assert_eq!(rows.len(), found[1][table].len(), "{table}");
        assert!(*rows == found[1][table], "{table} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_on_the_topic_parks_one_patient() {
    let Some(b) = Backends::services("poison").await else { return };
    let server = b.start(&["all"]).await;
    let (poisoned, other) = ("p-00000000000000b1", "p-00000000000000b2");
    let poison =
        eventlog::NewRecord { key: poisoned.into(), value: b"not an event".as_slice().into(), headers: vec![] };
    b.open_log().await.append(vec![poison]).await.remove(0).unwrap();
    for p in [poisoned, other] {
        let e = event("PatientCheckedIn", p, "2026-03-09T01:40:00Z", json!({"appointment_id": "A-1"}));
        assert_eq!(server.post("/v1/events", &e).await.0, 201);
    }
    caught_up(&b, &View::ALL).await;
    assert_eq!(server.get(&format!("/v1/patients/{other}/timeline")).await.0, 200);
    assert_eq!(server.get(&format!("/v1/patients/{poisoned}/timeline")).await.0, 404);
    let out = b.run(&["dead-letters", "list", "--view", "timeline", "--json"]);
    assert_eq!(out.stdout.lines().count(), 2, "{}", out.stdout);
    assert_eq!(server.get("/readyz").await.0, 200);
}
