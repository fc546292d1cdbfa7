//! The whole program behind TLS and SASL, configured as config.default.toml says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use serde_json::json;
use std::time::{Duration, Instant};
use support::{Backends, event, skipped};

/// How long the program may go on that isn't let in, on a busy machine. That it learns so within 3 s, and not when it has waited for
/// the brokers, is held by the log's own tests.
const LIMIT: Duration = Duration::from_secs(30);

/// The example in the manual of all settings, with this authority in the place of its own.
fn example(ca: &str) -> String {
    let manual = include_str!("../../../config.default.toml");
    let section = manual.split("[log.properties]").next().unwrap();
    let lines: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let own = "/etc/journeylog/kafka-ca.pem";
    let text = format!("[log.properties]\n{}\n", lines.join("\n"));
    assert!(text.contains(own), "{text}");
    text.replace(own, ca)
}

/// A topic behind TLS and a configuration for it, with this password instead of the right one where there is one; `None` (said
/// loudly) where there is no such broker.
fn backends(test: &str, password: Option<&str>) -> Option<(Backends, String)> {
    let Ok(kafka) = std::env::var("JOURNEYLOG_TEST_KAFKA_TLS") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs JOURNEYLOG_TEST_KAFKA_TLS");
        skipped(&format!("{test}: JOURNEYLOG_TEST_KAFKA_TLS is not set (make test sets it)"));
        return None;
    };
    let given = |name: &str| std::env::var(format!("JOURNEYLOG_TEST_KAFKA_TLS_{name}")).unwrap();
    let right = std::fs::read_to_string(given("PASSWORD")).unwrap();
    let mut b = Backends::embedded();
    b.log = format!("kafka://{kafka}/{test}_{}?partitions=4&replication=1", uuid::Uuid::new_v4().simple());
    let at = |name: &str| b.dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("secrets"), format!("sasl.password={}\n", password.unwrap_or(right.trim()))).unwrap();
    let text = format!("[log]\nproperties_file = \"{}\"\n{}", at("secrets"), example(&given("CA")));
    std::fs::write(at("config.toml"), text).unwrap();
    let config = at("config.toml");
    Some((b, config))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_to_every_view_over_tls() {
    let Some((b, config)) = backends("over_tls", None) else { return };
    let topic = b.log.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let inbox = [
        ("JOURNEYLOG_INBOX__WITH_ALL", "true"),
        ("JOURNEYLOG_INBOX__TOPIC", &format!("{topic}.in")),
        ("JOURNEYLOG_INBOX__REFUSED_TOPIC", &format!("{topic}.no")),
    ];
    let mut server = b.start_with(&["--config", &config, "all"], &inbox).await;
    let p = "p-00000000000000dd";
    let ended =
        event("ConsultEnded", p, "2026-03-09T01:40:00Z", json!({"encounter_id": "E-1", "appointment_id": "A-1"}));
    let (status, answer) = server.post("/v1/events", &ended).await;
    assert_eq!(status, 201, "{answer}");
    let after = answer["position"].as_str().unwrap();
    let (status, page) = server.get(&format!("/v1/patients/{p}/timeline?after={after}")).await;
    assert_eq!((status, &page["total"]), (200, &json!(1)), "{page}");
    let journey = page["items"][0]["journey_id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/journeys/{journey}/mot?after={after}")).await.0, 200);
    let (_, queue) = server.get(&format!("/v1/follow-ups?status=open&after={after}")).await;
    assert_eq!(queue["items"].as_array().map(Vec::len), Some(1), "{queue}");
    assert_eq!(server.terminate(), 0, "{}", server.logged());
    // the other ones that open the log: an operator's, and one that reads all of it
    for command in [&["status"][..], &["verify", "timeline"]] {
        let out = b.run(&[&["--config", &config], command].concat());
        assert_eq!(out.code, 0, "{command:?}: {}{}", out.stdout, out.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_program_with_the_reason() {
    let wrong = "not-the-password-4711";
    let Some((b, config)) = backends("wrong_password", Some(wrong)) else { return };
    let mut server = b.spawn(&["--config", &config, "all"], &[]);
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(begun.elapsed() < LIMIT, "it goes on: {}", server.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let said = server.logged();
    println!("after {:?}: {said}", begun.elapsed());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("authentication") && said.contains("SCRAM-SHA-512") && !said.contains(wrong), "{said}");
}
