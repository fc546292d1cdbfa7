use super::*;
use crate::testing::{MemoryLog, Mood, booking, header, prepared};

fn publisher(log: &Arc<MemoryLog>) -> Publisher {
    let settings = Settings { window_events: 10_000, traceparent: || Some("00-0af7-b7ad-01".into()) };
    Publisher::new(log.clone(), settings)
}

fn changed(n: u64) -> Prepared {
    let mut v = booking(n);
    v["service"] = "other".into();
    let event = domain::parse::event(v.to_string().as_bytes()).unwrap();
    Prepared::new(event, &Default::default(), crate::now()).unwrap()
}

#[tokio::test]
async fn a_resend_gets_the_same_answer_and_other_content_a_conflict() {
    let log = MemoryLog::new();
    let p = publisher(&log);
    let first = p.publish(&[prepared(1)]).await[0].clone().unwrap();
    assert!(!first.duplicate);
    let again = p.publish(&[prepared(1)]).await[0].clone().unwrap();
    assert_eq!(again, Accepted { duplicate: true, ..first });
    assert_eq!(p.publish(&[changed(1)]).await[0], Err(Refusal::Conflict));
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn records_carry_key_and_headers() {
    let log = MemoryLog::new();
    publisher(&log).publish(&[prepared(3)]).await;
    let all = log.records.lock().unwrap();
    let r = all.iter().flatten().next().unwrap();
    assert_eq!(r.key, "p3");
    assert_eq!(header(r, "event-id").unwrap(), prepared(3).id().to_string().as_str());
    assert_eq!(header(r, "event-type").unwrap(), "AppointmentBooked");
    assert_eq!(header(r, "source").unwrap(), prepared(3).event().header().source.system.as_str());
    assert_eq!(header(r, "traceparent").unwrap(), "00-0af7-b7ad-01");
}

#[tokio::test]
async fn a_batch_may_hold_an_event_twice() {
    let log = MemoryLog::new();
    let answers = publisher(&log).publish(&[prepared(1), prepared(2), prepared(1), changed(2)]).await;
    let first = answers[0].clone().unwrap();
    assert_eq!(answers[2], Ok(Accepted { duplicate: true, ..first }));
    assert_eq!(answers[3], Err(Refusal::Conflict));
    assert_eq!(log.len(), 2);
}

#[tokio::test]
async fn concurrent_duplicates_wait_for_the_first() {
    let log = MemoryLog::new();
    *log.delay.lock().unwrap() = std::time::Duration::from_millis(30);
    let p = publisher(&log);
    let all = futures::future::join_all((0..20).map(|_| async { p.publish(&[prepared(1)]).await[0].clone() })).await;
    assert_eq!(all.iter().filter(|a| !a.as_ref().unwrap().duplicate).count(), 1);
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn what_failed_leaves_the_window() {
    let log = MemoryLog::new();
    let p = publisher(&log);
    log.set(Mood::Busy);
    assert_eq!(p.publish(&[prepared(1)]).await[0], Err(Refusal::Busy));
    log.set(Mood::Away);
    assert_eq!(p.publish(&[prepared(1), prepared(1)]).await, [Err(Refusal::Unavailable), Err(Refusal::Unavailable)]);
    log.set(Mood::Fine);
    assert!(!p.publish(&[changed(1)]).await[0].clone().unwrap().duplicate);
}

#[tokio::test]
async fn a_dropped_request_leaves_no_claim_behind() {
    let log = MemoryLog::new();
    let p = publisher(&log);
    *log.delay.lock().unwrap() = std::time::Duration::from_secs(60);
    let gone = tokio::time::timeout(std::time::Duration::from_millis(5), p.publish(&[prepared(1)])).await;
    assert!(gone.is_err());
    *log.delay.lock().unwrap() = std::time::Duration::ZERO;
    assert!(p.publish(&[prepared(1)]).await[0].is_ok());
}

#[tokio::test]
async fn the_window_is_bounded() {
    let log = MemoryLog::new();
    let p = publisher(&log);
    for n in 0..30 {
        let batch: Vec<_> = (n * 1000..(n + 1) * 1000).map(prepared).collect();
        p.publish(&batch).await;
    }
    assert!(p.window.len() <= 10_000 + 64, "{}", p.window.len());
    let late = p.publish(&[prepared(29_999)]).await[0].clone().unwrap();
    assert!(late.duplicate);
}

#[tokio::test]
async fn a_warm_window_remembers_a_former_life() {
    let log = MemoryLog::new();
    let first = publisher(&log).publish(&(0..50).map(prepared).collect::<Vec<_>>()).await;
    let p = publisher(&log);
    assert_eq!(p.warm(10_000).await.unwrap(), 50);
    assert_eq!(p.publish(&[prepared(7)]).await[0], first[7].clone().map(|a| Accepted { duplicate: true, ..a }));
    assert_eq!(p.publish(&[changed(8)]).await[0], Err(Refusal::Conflict));
}
