//! Settings reach what they are about: one server with other values than the default, and each of them seen at work.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::Micros;
use domain::views::follow_ups::contact::Hours;
use domain::views::follow_ups::rules::local_time;
use serde_json::{Value as Json, json};
use support::mllp::{Sender, Site, msa, visit};
use support::{Backends, PATIENCE, Server, event};

const P: &str = "p-00000000000000aa";

fn now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Micros(i64::try_from(since.as_micros()).unwrap())
}

/// Quiet hours under which the present has another answer than under the default ones, and whether they hold now.
fn other_quiet_hours() -> ([u32; 2], bool) {
    let local = local_time(now(), "Asia/Seoul").time();
    let hour: u32 = local.format("%H").to_string().parse().unwrap();
    match Hours::usual().contains(local) {
        true => ([(hour + 3) % 24, (hour + 4) % 24], false),
        false => ([hour, (hour + 2) % 24], true),
    }
}

fn configuration(b: &Backends, quiet: [u32; 2]) -> String {
    let standards = b.dir.path().join("standards");
    std::fs::create_dir(&standards).unwrap();
    let house = include_str!("../../../schemas/standards/2020-03.toml").replace("\"2020-03\"", "\"house-1\"");
    std::fs::write(standards.join("house.toml"), house).unwrap();
    let file = b.dir.path().join("journeylog.toml");
    let text = format!(
        "[ingest]\nmax_line_bytes = 1000\nmax_batch_events = 2\nmax_clock_skew_s = 7200\n\
         [hl7]\nmax_block_bytes = 600\n[follow_ups]\nquiet_hours = {quiet:?}\n\
         [mot]\nstandards_dir = {:?}\n[telemetry]\nformat = \"json\"\n",
        standards.display().to_string()
    );
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_obeyed() {
    let b = Backends::embedded();
    let (quiet, holds) = other_quiet_hours();
    let (site, file) = (Site::of(&b), configuration(&b, quiet));
    let server = site.start(&b, &["--config", &file, "all"], &[]).await;
    ingest_limits(&server).await;
    clock_skew(&server).await;
    longest_block(&site).await;

    let ended = event("ConsultEnded", P, "2026-03-09T01:40:00Z", json!({"encounter_id": "E-1"}));
    let (_, answer) = server.post("/v1/events", &ended).await;
    let after = answer["position"].as_str().unwrap();
    let (_, queue) = server.get(&format!("/v1/follow-ups?kind=post_visit&after={after}")).await;
    let contact = &queue["items"][0]["contact"];
    let barred = if holds { json!("quiet_hours") } else { Json::Null };
    assert_eq!((&contact["allowed"], &contact["reason"]), (&json!(!holds), &barred), "follow_ups.quiet_hours: {queue}");
    let id = ended["header"]["event_id"].as_str().unwrap();
    let (_, mot) = server.get(&format!("/v1/journeys/{id}/mot?after={after}")).await;
    assert_eq!(mot["touchpoints"][0]["standard_version"], "house-1", "mot.standards_dir: {mot}");

    let logged = server.logged();
    let lines: Vec<Json> = logged.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|_| panic!("{l}"))).collect();
    assert!(lines.iter().any(|l| l["level"] == "INFO"), "telemetry.format: {logged}");
}

/// `ingest.max_batch_events` and `ingest.max_line_bytes`.
async fn ingest_limits(server: &Server) {
    let some = |n: usize| -> Vec<Json> {
        (0..n).map(|_| event("PatientCheckedIn", P, "2026-03-09T01:40:00Z", json!({}))).collect()
    };
    assert_eq!(server.post("/v1/events", &json!(some(2))).await.0, 200);
    assert_eq!(server.post("/v1/events", &json!(some(3))).await.0, 413);
    let booked = |service: &str| {
        let more = json!({"appointment_id": "A-1", "starts_at": "2026-03-10T01:00:00Z", "service": service});
        event("AppointmentBooked", P, "2026-03-09T01:40:00Z", more)
    };
    let lines = format!("{}\n{}\n", booked("short"), booked(&"x".repeat(1_000)));
    let (_, text) = server.post_raw("/v1/events", "application/x-ndjson", lines).await;
    let told = text.to_string();
    assert!(told.contains("longer than 1000 bytes"), "{told}");
    assert_eq!(told.matches("longer than").count(), 1, "{told}");
}

/// `ingest.max_clock_skew_s`: two hours.
async fn clock_skew(server: &Server) {
    for (minutes, taken) in [(119, true), (122, false)] {
        let ahead = now().plus(minutes * domain::time::MINUTE).to_string();
        let (status, answer) = server.post("/v1/events", &event("PatientCheckedIn", P, &ahead, json!({}))).await;
        assert_eq!(status < 300, taken, "{minutes} min ahead: {answer}");
    }
}

/// `hl7.max_block_bytes`.
async fn longest_block(site: &Site) {
    let mut io = Sender::open(&site.listen).await.unwrap();
    assert_eq!(msa(&io.send(&visit("A01", "m1", "12"), PATIENCE).await.unwrap()).0, "AA");
    let long = format!("{}NTE|1||{}\r", visit("A01", "m2", "13"), "x".repeat(600));
    let refused = io.send(&long, PATIENCE).await.unwrap();
    assert!(msa(&refused).0 == "AE" && refused.contains("longer than the 600 bytes"), "{refused}");
}
