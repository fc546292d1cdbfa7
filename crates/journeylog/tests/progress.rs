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

/// What is told while it folds: it gets on, no faster than it may, and knows when it will be there. However slow the machine is:
/// the rate's clock begins before the throttle's, and the percentage, the rate and what is left have to fit together.
fn believable(told: &[[f64; 3]], throttle: f64, total: f64) {
    assert!(!told.is_empty(), "nothing is told in {SECONDS} s");
    assert!(told.windows(2).all(|w| w[0][0] <= w[1][0]) && told.iter().all(|t| t[0] <= 100.0), "{told:?}");
    assert!(told.iter().all(|t| t[1] <= throttle + 1.0), "faster than {throttle}: {told:?}");
    // All three are rounded, and between two of them it gets on, but not further than what is told next.
    for &[percent, rate, left] in told.iter().filter(|t| t[1] >= 1.0) {
        let most = total * (1.0 - percent / 100.0);
        assert!(left <= most / (rate - 0.5) + 0.5, "at most {most:.0} events are left: {told:?}");
    }
    for w in told.windows(2) {
        let least = total * (1.0 - (w[1][0] + 1.0) / 100.0);
        assert!(w[0][2] >= least / (w[0][1] + 0.5) - 0.5, "at least {least:.0} events are left: {told:?}");
    }
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
    // Before the first event nobody knows what is left.
    let folding = before.iter().filter(|l| l["phase"] == "folding" && l["events"] != 0);
    let told: Vec<_> =
        folding.map(|l| ["percent", "rate", "eta_s"].map(|n| l[n].as_f64().unwrap_or_else(|| panic!("{l}")))).collect();
    believable(&told, throttle as f64, events as f64);
    assert!(before.iter().all(|l| l["done"] == false && l["total"] == events && l["view"] == "timeline"), "{before:?}");

    assert_eq!(b.run(&["drop", "timeline", "2"]).code, 0);
    let out = rebuild(&["--throttle", &rate]);
    assert!(out.stdout.starts_with("generation 3 of timeline: "), "{}", out.stdout);
    let told: Vec<_> = out.stderr.lines().filter_map(line).collect();
    believable(&told, throttle as f64, events as f64);
    assert!(!out.stderr.contains(['\r', '\u{1b}']), "not a terminal: {:?}", out.stderr);
}
