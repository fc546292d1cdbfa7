//! What if, and as of then: generations under another standard, or of the past, beside what readers see.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::{Until, View};
use domain::{Event, Micros};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use support::{Backends, Server, caught_up, fold};

async fn deployment(b: &Backends, env: &[(&str, &str)]) -> Vec<Server> {
    if b.store.starts_with("sqlite") {
        return vec![b.start_with(&["all"], env).await];
    }
    vec![b.start_with(&["project", "timeline", "mot", "follow-ups"], env).await, b.start_with(&["query"], env).await]
}

/// A header's time, microseconds.
fn time(event: &Json, name: &str) -> i64 {
    Micros::parse(event["header"][name].as_str().unwrap()).unwrap().0
}

fn last(stdout: &str) -> Json {
    serde_json::from_str(stdout.lines().last().expect("a line")).unwrap()
}

/// The number of the generation that a rebuild made.
fn made(b: &Backends, args: &[&str]) -> String {
    let out = b.run(&[&["rebuild", "--json"], args].concat());
    assert_eq!(out.code, 0, "{} {}", out.stdout, out.stderr);
    let done = last(&out.stdout);
    assert_eq!(done["switched"], false, "{done}");
    done["generation"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_built_as_it_was_known_and_as_it_was() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("past").await) {
        let sample = b.sample(30, 11);
        let lines = std::fs::read_to_string(&sample).unwrap();
        let mut events: BTreeMap<String, Json> = BTreeMap::new();
        for line in lines.lines() {
            let e: Json = serde_json::from_str(line).unwrap();
            events.entry(e["header"]["event_id"].as_str().unwrap().to_owned()).or_insert(e);
        }
        assert_eq!(b.run(&["publish", sample.to_str().unwrap()]).code, 0);
        let servers = deployment(&b, &[]).await;
        caught_up(&b, &View::ALL).await;
        let api = servers.last().unwrap();
        let mut times: Vec<i64> = events.values().map(|e| time(e, "recorded_at")).collect();
        times.sort_unstable();
        let middle = Micros(times[times.len() / 2]);
        let engine = b.engine().await;
        let ids = async |table: String| -> BTreeSet<String> {
            let rows = engine.query(&format!("SELECT event_id FROM {table}"), &[]).await.unwrap();
            rows.iter().map(|r| r.text(0).to_owned()).collect()
        };
        for (by, name) in [("recorded", "recorded_at"), ("occurred", "occurred_at")] {
            let g = made(&b, &["timeline", "--until", &middle.to_string(), "--by", by]);
            let wanted: BTreeSet<String> =
                events.iter().filter(|(_, e)| time(e, name) <= middle.0).map(|(id, _)| id.clone()).collect();
            assert!(!wanted.is_empty() && wanted.len() < events.len());
            assert_eq!(ids(format!("timeline_entries_g{g}")).await, wanted, "{by}");
            // It is read beside the present, by the same paths.
            let lost = format!(
                "SELECT n.patient_id, count(p.event_id), count(*) FROM timeline_entries n \
                 LEFT JOIN timeline_entries_g{g} p ON p.patient_id = n.patient_id AND p.event_id = n.event_id \
                 WHERE NOT EXISTS (SELECT 1 FROM patient_links l WHERE n.patient_id IN (l.surviving, l.retired)) \
                 GROUP BY n.patient_id HAVING count(p.event_id) > 0 AND count(p.event_id) < count(*) \
                 ORDER BY n.patient_id"
            );
            let rows = engine.query(&lost, &[]).await.unwrap();
            // Events of no patient are kept under a key of their own, which isn't read as one.
            let patients: BTreeSet<&str> = events.values().filter_map(|e| e["header"]["patient_id"].as_str()).collect();
            let row = rows.iter().find(|r| patients.contains(r.text(0))).expect("a patient with a past");
            let (patient, then_total, now_total) = (row.text(0), row.int(1), row.int(2));
            let (status, then) = api.get(&format!("/v1/patients/{patient}/timeline?generation={g}&limit=1000")).await;
            let (_, now) = api.get(&format!("/v1/patients/{patient}/timeline?limit=1000")).await;
            assert_eq!(status, 200, "{then}");
            assert_eq!((then["total"].as_i64(), now["total"].as_i64()), (Some(then_total), Some(now_total)));
        }
        // Up to a position: the first records of one partition.
        let g = made(&b, &["timeline", "--until", "0:9"]);
        let sql = "SELECT count(*), max(partition), max(log_offset) FROM";
        let rows = engine.query(&format!("{sql} timeline_entries_g{g}"), &[]).await.unwrap();
        assert_eq!((rows[0].int(1), rows[0].int(2)), (0, 9));
        // What is of the past stays there: it isn't followed, and readers aren't switched to it.
        let out = b.run(&["switch", "timeline", &g]);
        assert_eq!(out.code, 1, "{}", out.stdout);
        assert!(out.stderr.contains("frozen"), "{}", out.stderr);
        for wrong in [["--until", "yesterday"], ["--until", "3:x"]] {
            let out = b.run(&[&["rebuild", "timeline"][..], &wrong].concat());
            assert!(out.code != 0 && out.stderr.contains(wrong[1]), "{}", out.stderr);
        }
        assert_eq!(b.run(&["drop", "timeline", &g]).code, 0);
        assert_eq!(api.get(&format!("/v1/patients/p/timeline?generation={g}")).await.0, 400);
    }
}

/// Every view that is built as of then is the pure fold of what belongs to it, by whatever that is told.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_the_past_equal_the_fold_of_the_log_as_of_then() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("asof").await) {
        assert_eq!(b.run(&["publish", b.sample(25, 14).to_str().unwrap()]).code, 0);
        let (engine, events) = (b.engine().await, fold::events(b.open_log().await.as_ref()).await);
        let middle = |time: fn(&Event) -> Micros| {
            let mut all: Vec<Micros> = events.iter().map(|(_, e)| time(e)).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        let (recorded, occurred) = (middle(|e| e.header().recorded_at), middle(|e| e.header().occurred_at));
        let ends: BTreeMap<u32, u64> = [(0, 60), (2, 90)].into();
        let (recorded_text, occurred_text) = (recorded.to_string(), occurred.to_string());
        let untils = [
            (Until::Recorded(recorded), vec!["--until", &recorded_text]),
            (Until::Occurred(occurred), vec!["--until", &occurred_text, "--by", "occurred"]),
            (Until::Positions(ends), vec!["--until", "0:60,2:90"]),
        ];
        for view in [View::Mot, View::FollowUps] {
            let name = view.as_str().replace('_', "-");
            let now = fold::of(view, &events);
            for (until, arguments) in &untils {
                let g = made(&b, &[&[name.as_str()], &arguments[..]].concat());
                let then: Vec<_> =
                    events.iter().filter(|(at, e)| until.takes(e, at.partition, at.offset)).cloned().collect();
                let must = fold::of(view, &then);
                let rows = fold::same(&fold::stored_in(view, &format!("_g{g}"), &engine).await, &must);
                assert!(rows > 0 && must != now, "{name} {arguments:?}: {rows} rows");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_standard_stands_beside_the_live_one_and_is_compared() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("whatif").await) {
        let sample = b.sample(60, 12);
        assert_eq!(b.run(&["publish", sample.to_str().unwrap()]).code, 0);
        let servers = deployment(&b, &[]).await;
        caught_up(&b, &View::ALL).await;
        // A hospital that promises a call within six hours instead of a day.
        let text = domain::views::mot::SHIPPED[0].1.replace("2019-01", "what-if");
        let text = text
            .replace("post_visit_call      = { target = 24, fail = 72,", "post_visit_call = { target = 6, fail = 12,");
        assert!(text.contains("target = 6, fail = 12"));
        let file = b.dir.path().join("what-if.toml");
        std::fs::write(&file, text).unwrap();
        let g = made(&b, &["mot", "--no-switch", "--standard", file.to_str().unwrap()]);
        let out = b.run(&["mot", "compare", "1", &g, "--json"]);
        assert_eq!(out.code, 0, "{}", out.stderr);
        let found = last(&out.stdout);
        let engine = b.engine().await;
        let sql = format!(
            "SELECT touchpoint, count(*) FROM (SELECT COALESCE(a.touchpoint, b.touchpoint) AS touchpoint \
             FROM mot_touchpoints_g1 a FULL JOIN mot_touchpoints_g{g} b \
             ON a.patient_id = b.patient_id AND a.touchpoint_id = b.touchpoint_id \
             WHERE a.score IS DISTINCT FROM b.score) q GROUP BY touchpoint ORDER BY touchpoint"
        );
        let wanted: Vec<(String, i64)> =
            engine.query(&sql, &[]).await.unwrap().iter().map(|r| (r.text(0).to_owned(), r.int(1))).collect();
        let mut shown: Vec<(String, i64)> = found["touchpoints"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|t| t["changed"] != 0)
            .map(|t| (t["name"].as_str().unwrap().to_owned(), t["changed"].as_i64().unwrap()))
            .collect();
        shown.sort();
        assert!(!wanted.is_empty());
        assert_eq!(shown, wanted);
        let journeys = found["journeys"]["changed"].as_i64().unwrap();
        assert!(journeys > 0 && !found["journeys"]["examples"].as_array().unwrap().is_empty(), "{found}");
        // A journey's explanation follows the generation's own standard, and the live one stays as it is.
        let example = found["journeys"]["examples"][0]["journey_id"].as_str().unwrap();
        let api = servers.last().unwrap();
        let (_, before) = api.get(&format!("/v1/journeys/{example}/mot")).await;
        let (status, after) = api.get(&format!("/v1/journeys/{example}/mot?generation={g}")).await;
        assert_eq!(status, 200, "{after}");
        assert_eq!(before["score"], found["journeys"]["examples"][0]["before"], "{before}");
        assert_eq!(after["score"], found["journeys"]["examples"][0]["after"], "{after}");
        // New events go into both: the generation is followed, by its own standard.
        assert_eq!(b.run(&["publish", b.sample(10, 13).to_str().unwrap()]).code, 0);
        caught_up(&b, &[View::Mot]).await;
        assert_eq!(b.run(&["switch", "mot", &g]).code, 0);
        let (_, now) = api.get(&format!("/v1/journeys/{example}/mot")).await;
        assert!(now["touchpoints"].to_string().contains("what-if"), "{now}");
        let human = b.run(&["mot", "compare", &g, "1"]).stdout;
        assert!(human.contains("what-if.toml") && human.contains("journeys have another score"), "{human}");
        drop(servers);
    }
}

/// Standards that are configured anew change nothing by themselves: rows and explanations go on by those of the generation.
#[tokio::test(flavor = "multi_thread")]
async fn standards_configured_anew_wait_for_a_rebuild() {
    for b in std::iter::once(Backends::embedded()).chain(Backends::services("configured").await) {
        assert_eq!(b.run(&["publish", b.sample(40, 12).to_str().unwrap()]).code, 0);
        drop(deployment(&b, &[]).await);
        let dir = b.dir.path().join("standards");
        std::fs::create_dir(&dir).unwrap();
        let text = domain::views::mot::SHIPPED[0].1.replace("2019-01", "what-if");
        let text =
            text.replace("wait_gap             = { target = 0,  fail = 30,", "wait_gap = { target = 0, fail = 5,");
        assert!(text.contains("fail = 5,"));
        std::fs::write(dir.join("what-if.toml"), text).unwrap();
        let env = [("JOURNEYLOG_MOT__STANDARDS_DIR", dir.to_str().unwrap())];
        let mut servers = deployment(&b, &env).await;
        assert_eq!(b.run(&["publish", b.sample(10, 13).to_str().unwrap()]).code, 0);
        caught_up(&b, &View::ALL).await;
        let rebuild = "generation 1 of mot is made by other standards than the configured ones: `journeylog rebuild mot --accept-differences`";
        for server in &mut servers {
            assert!(server.logged().contains(rebuild), "{}", server.logged());
        }
        let status = b.run_with(&["status"], &env);
        assert!(status.code == 0 && status.stderr.contains(rebuild), "{}", status.stderr);
        let api = servers.last().unwrap();
        let before = explained(&b, api).await;
        assert!(!before.contains("what-if"));
        let verified = b.run_with(&["verify", "mot"], &env);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);

        let out = b.run_with(&["rebuild", "mot", "--accept-differences"], &env);
        assert_eq!(out.code, 0, "{}{}", out.stdout, out.stderr);
        let after = explained(&b, api).await;
        assert!(after.contains("what-if") && !after.contains("2019-01"));
        let status = b.run_with(&["status"], &env);
        assert!(status.code == 0 && !status.stderr.contains("standards"), "{}", status.stderr);
        assert!(b.run(&["status"]).stderr.contains("generation 2 of mot is made by other standards"));
    }
}

/// The explanations of all journeys, which have the scores that the rows have.
async fn explained(b: &Backends, api: &Server) -> String {
    let rows = b.engine().await.query("SELECT journey_id, score FROM mot_journeys", &[]).await.unwrap();
    assert!(rows.len() > 40);
    let mut all = String::new();
    for row in rows {
        let (status, journey) = api.get(&format!("/v1/journeys/{}/mot", row.text(0))).await;
        let score = journey["score"].as_f64().map(|s| (s * 100.0).round() as i64);
        assert_eq!((status, score), (200, row.opt_int(1)), "{journey}");
        all.push_str(&journey.to_string());
    }
    all
}
