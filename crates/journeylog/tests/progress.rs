//! What a rebuild says beforehand and while it is at it: to people without a terminal, and to programs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use domain::views::View;
use serde_json::Value as Json;
use std::time::{Duration, Instant};
use support::{Backends, caught_up};

/// Seconds that each rebuild here is made to take.
const SECONDS: u64 = 4;

/// The number that a text begins with, and what is behind it.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Percent, rate and seconds left of a line such as `12% 345 events/s, 6 s left`.
fn line(text: &str) -> Option<[f64; 3]> {
    let (percent, rest) = number(text)?;
    let (rate, rest) = number(rest.strip_prefix("% ")?)?;
    let (left, rest) = number(rest.strip_prefix(" events/s, ")?)?;
    (rest == " s left").then_some([percent, rate, left])
}

/// What is told while it folds: it gets on, no faster than it may, and knows about when it will be there.
fn believable(told: &[[f64; 3]], throttle: f64) {
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.windows(2).all(|w| w[0][0] < w[1][0]) && told.iter().all(|t| t[0] <= 100.0), "{told:?}");
    assert!(told.iter().all(|t| t[1] > 0.0 && t[1] <= throttle + 1.0), "faster than {throttle}: {told:?}");
    assert!(told.iter().all(|t| t[2] <= 4.0 * SECONDS as f64) && told[0][2] >= 1.0, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_says_how_far_it_is() {
    let b = Backends::embedded();
    let sample = b.sample(60, 4);
    assert_eq!(b.run(&["publish", sample.to_str().unwrap(), "--json"]).code, 0);
    let mut server = b.start(&["all"]).await;
    caught_up(&b, &View::ALL).await;
    // In good order, so that the file has all of it.
    assert_eq!(server.terminate(), 0);
    let rebuild = |more: &[&str]| {
        let out = b.run(&[&["rebuild", "timeline", "--no-switch", "--slice-events", "100"], more].concat());
        assert_eq!(out.code, 0, "{} {}", out.stdout, out.stderr);
        out
    };
    let plan = b.run(&["rebuild", "timeline", "--plan", "--json"]);
    let plan: Json = serde_json::from_str(&plan.stdout).unwrap();
    let mib = std::fs::metadata(b.dir.path().join("views.db")).unwrap().len() as f64 / f64::from(1 << 20);
    let disk = plan["disk_mib"].as_f64().unwrap();
    assert!(disk >= 1.0 && disk <= mib, "{disk} MiB of a file of {mib}");
    let events = plan["events"].as_u64().unwrap();
    let throttle = events / SECONDS;
    let rate = throttle.to_string();

    let begun = Instant::now();
    let out = rebuild(&["--throttle", &rate, "--json"]);
    assert!(begun.elapsed() >= Duration::from_secs(SECONDS), "{:?}", begun.elapsed());
    let lines: Vec<Json> = out.stdout.lines().map(|l| serde_json::from_str(l).expect(l)).collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(last["done"] == true && last["events"] == events && last["generation"] == 2, "{last}");
    let folding = before.iter().filter(|l| l["phase"] == "folding");
    let told: Vec<_> =
        folding.map(|l| ["percent", "rate", "eta_s"].map(|n| l[n].as_f64().unwrap_or_else(|| panic!("{l}")))).collect();
    believable(&told, throttle as f64);
    assert!(before.iter().all(|l| l["done"] == false && l["total"] == events && l["view"] == "timeline"), "{before:?}");

    assert_eq!(b.run(&["drop", "timeline", "2"]).code, 0);
    let out = rebuild(&["--throttle", &rate]);
    assert!(out.stdout.starts_with("generation 3 of timeline: "), "{}", out.stdout);
    let told: Vec<_> = out.stderr.lines().filter_map(line).collect();
    believable(&told, throttle as f64);
    assert!(!out.stderr.contains(['\r', '\u{1b}']), "not a terminal: {:?}", out.stderr);
}
