//! Dead letters tried again and given up, on every store there is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod databases;

use common::faulty::Faulty;
use common::running::{Running, follow_ups, mot, options, project, seen, timeline};
use common::verified::{ALL, dump, verified};
use common::{MemoryLog, event, some};
use eventlog::Position;
use journeylog_projector::{Decision, Projection, Redriven, redrive};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Engine, Store};

/// Tries a view's letters again, key by key.
async fn decide<P: Projection>(view: &P, store: &Store, decision: Decision<'_>) -> Vec<Redriven> {
    let generation = store.generation(view.spec(), 1).await.unwrap();
    let which = Some(view.spec().name).into();
    let mut all = Vec::new();
    for k in store.letter_keys(which, None, 100).await.unwrap() {
        all.push(redrive(view, &generation, store, k.partition, &k.key, decision).await.unwrap());
    }
    all
}

async fn a_fault_is_mended<P: Projection + Clone>(view: &P, store: &Store) {
    let log = MemoryLog::new(2);
    let bad = [
        event("ConsultEnded", 1, 30, r#""encounter_id":"e1""#),
        event("ConsultEnded", 2, 31, r#""encounter_id":"e2""#),
    ];
    let ids = bad.each_ref().map(|e| e.header().event_id);
    let publish = |range: std::ops::Range<u64>| {
        for n in range {
            log.publish(&some(1_000 + n, 6));
        }
    };
    publish(0..60);
    for e in &bad {
        log.publish(e);
    }
    publish(60..130);
    let item = move |e: &domain::Event| assert!(!ids.contains(&e.header().event_id), "a fault in the fold");
    let faulty = Faulty { item: Arc::new(item), ..Faulty::new(view.clone()) };
    let name = view.spec().name;
    let run = Running::start(faulty.clone(), &log, store, &options());
    seen(store, name, &log).await;
    let before = dump(store, view.spec()).await;
    let letters = store.dead_letters(Some(name), None, 1_000).await.unwrap();
    assert_eq!(letters.iter().filter(|l| !l.parked_behind).count(), 2);
    assert!(letters.len() > 20 && letters.iter().all(|l| l.source.as_deref() == Some("test")));

    // With the fault, nothing goes in.
    for done in decide(&faulty, store, Decision::Redrive).await {
        assert_eq!((done.taken, done.free, done.kept.len()), (0, false, done.tried));
    }
    // A rehearsal changes nothing.
    for done in decide(view, store, Decision::Rehearse).await {
        assert!(done.taken == done.tried && done.free && !done.rows.is_empty(), "{done:?}");
    }
    assert!(dump(store, view.spec()).await == before);
    assert_eq!(store.dead_letters(Some(name), None, 1_000).await.unwrap(), letters);

    // Meanwhile the (mended) projector goes on with everybody's events.
    run.stop().await;
    let run = Running::start(view.clone(), &log, store, &options());
    let publishing = async {
        for n in 0..40 {
            publish(130 + n * 5..135 + n * 5);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let ((), done) = tokio::join!(publishing, async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        decide(view, store, Decision::Redrive).await
    });
    assert!(done.iter().all(|d| d.taken == d.tried && d.free));
    assert!(decide(view, store, Decision::Redrive).await.is_empty(), "a second time there is nothing to do");
    seen(store, name, &log).await;
    run.stop().await;
    assert!(store.dead_letters(Some(name), None, 10).await.unwrap().is_empty());
    assert_eq!(store.checkpoints(name, 1).await.unwrap().iter().map(|c| c.parked).sum::<u64>(), 0);
    assert_eq!(verified(view, &log, store, ALL).await.1, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_fold_takes_in_what_was_parked() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 16).await.unwrap();
        a_fault_is_mended(&timeline(), &store).await;
        a_fault_is_mended(&mot(), &store).await;
        a_fault_is_mended(&follow_ups(), &store).await;
    }
}

/// Of two contents under one event id the first one counts, of an event that came twice the first place: backwards, both would differ.
async fn goes_in_in_order<P: Projection + Clone>(view: &P, store: &Store) {
    let log = MemoryLog::new(2);
    let bad = event("ConsultEnded", 1, 30, r#""encounter_id":"e1""#);
    let id = bad.header().event_id;
    let complaint =
        |severity| event("ComplaintFiled", 1, 40, &format!(r#""complaint_id":"c","severity":"{severity}""#));
    log.publish(&bad);
    log.publish(&complaint("severe"));
    let other = log.publish(&complaint("low"));
    let once = log.publish(&event("PatientCheckedIn", 1, 41, ""));
    log.publish(&event("PatientCheckedIn", 1, 41, ""));
    let item = move |e: &domain::Event| assert!(e.header().event_id != id, "a fault in the fold");
    project(&Faulty { item: Arc::new(item), ..Faulty::new(view.clone()) }, &log, store).await;
    let name = view.spec().name;
    assert_eq!(store.dead_letters(Some(name), None, 10).await.unwrap().len(), 5);

    let done = decide(view, store, Decision::Redrive).await;
    assert_eq!(done.iter().map(|d| (d.tried, d.taken, d.free)).collect::<Vec<_>>(), [(5, 4, true)]);
    let left = store.dead_letters(Some(name), None, 10).await.unwrap();
    let left: Vec<_> = left.iter().map(|l| (l.offset, l.code.as_str())).collect();
    assert_eq!(left, [(i64::try_from(other.offset).unwrap(), "conflict")]);
    if name == "timeline" {
        let at = "SELECT log_offset FROM timeline_entries WHERE kind = 'PatientCheckedIn'";
        let at = store.engine().query(at, &[]).await.unwrap();
        assert_eq!(at.iter().map(|r| r.int(0)).collect::<Vec<_>>(), [i64::try_from(once.offset).unwrap()]);
    }
    assert_eq!(verified(view, &log, store, ALL).await.1, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_parked_goes_in_in_the_log_s_order() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 16).await.unwrap();
        goes_in_in_order(&timeline(), &store).await;
        goes_in_in_order(&mot(), &store).await;
        goes_in_in_order(&follow_ups(), &store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_letter_is_kept_and_holds_nobody_up() {
    for db in databases::all().await {
        let store = Store::connect(&db.url, 12).await.unwrap();
        let log = MemoryLog::new(2);
        log.publish(&event("PatientCheckedIn", 1, 1, ""));
        let first = log.put(b"p-1", b"\x07nonsense".to_vec());
        log.publish(&event("PatientCheckedIn", 1, 2, ""));
        let second = log.put(b"p-1", b"\x07nonsense too".to_vec());
        log.publish(&event("PatientCheckedIn", 1, 3, ""));
        project(&timeline(), &log, &store).await;
        let generation = store.generation(timeline().spec(), 1).await.unwrap();
        let letters = store.dead_letters(Some("timeline"), None, 10).await.unwrap();
        assert_eq!(letters.len(), 4);
        let discard = async |at: Position| {
            let id = store::letter_id(&generation, at.partition, at.offset);
            let decision = Decision::Discard { id: &id, reason: "the source sent garbage" };
            redrive(&timeline(), &generation, &store, at.partition, b"p-1", decision).await.unwrap()
        };
        let done = discard(first).await;
        assert_eq!((done.discarded, done.tried, done.taken, done.free), (true, 3, 1, false));
        let kept: Vec<_> = done.kept.iter().map(|k| (k.code.as_str(), k.parked_behind)).collect();
        assert_eq!(kept, [("undecodable", false), ("parked", true)]);
        assert!(!discard(first).await.discarded, "a second time nothing happens");
        log.publish(&event("PatientCheckedIn", 1, 4, ""));
        project(&timeline(), &log, &store).await;
        let done = discard(second).await;
        assert_eq!((done.taken, done.free), (2, true));
        log.publish(&event("PatientCheckedIn", 1, 5, ""));
        project(&timeline(), &log, &store).await;
        assert!(store.dead_letters(Some("timeline"), None, 10).await.unwrap().is_empty());
        let which = store::Letters { discarded: true, ..Default::default() };
        let discarded = store.dead_letters(which, None, 10).await.unwrap();
        assert_eq!(discarded.len(), 2);
        assert!(discarded.iter().all(|l| l.discard_reason.as_deref() == Some("the source sent garbage")));
        let rows = store.engine().query("SELECT count(*) FROM timeline_entries", &[]).await.unwrap();
        assert_eq!(rows[0].int(0), 5);
        assert_eq!(verified(&timeline(), &log, &store, ALL).await.1, BTreeMap::new());
        let counts = store.letter_counts(None).await.unwrap();
        let counts: Vec<_> = counts.iter().map(|c| (c.code.as_str(), c.open, c.waiting, c.discarded)).collect();
        assert_eq!(counts, [("undecodable", 0, 0, 2)]);
    }
}
