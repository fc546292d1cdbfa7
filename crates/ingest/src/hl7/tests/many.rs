//! Messages about many: patients, segments, events.

use super::*;

#[tokio::test]
async fn a_message_of_thousands_of_segments_holds_up_nobody() {
    let bed = Bed::new();
    let results: String = (0..9_900).map(|n| format!("OBR|{n}|{n}||GLU{}F\r", "|".repeat(21))).collect();
    let text = message("ORU^R01", "m1", &results).replace("PV1|", "ZV1|");
    let begun = std::time::Instant::now();
    assert_eq!(code(&bed.answer(text).await), "AA");
    // Looking for each field from the beginning took a minute and more.
    assert!(begun.elapsed().as_secs() < 25, "{:?}", begun.elapsed());
    assert_eq!(bed.log.len(), 9_900);
    let notes = format!("NTE|1||{}\r", "가".repeat(50)).repeat(200);
    let siu = format!("SCH|A1|F1||||||||30|min|^^^20260310100000+0900\r{notes}");
    let block = message("SIU^S14", "m2", &siu).replace("PID|", "ZID|") + "PID|1||12^^^HOSP";
    assert_eq!(code(&bed.answer(block).await), "AA", "long notes are cut");
}

#[tokio::test]
async fn a_merge_of_several_patients_is_logged_once_however_often_it_comes() {
    let bed = Bed::new();
    let merge = message("ADT^A40", "m1", "MRG|8^^^HOSP^MR~7^^^HOSP^MR\rMRG|9^^^HOSP^MR\r");
    let merge = merge.replace("PV1|", "ZV1|");
    for _ in 0..2 {
        assert_eq!(code(&bed.answer(&merge).await), "AA");
    }
    // Half of it was published when the process was killed.
    let half = MemoryLog::new();
    for (to, from) in half.records.lock().unwrap().iter_mut().zip(bed.log.records.lock().unwrap().iter()) {
        to.extend(from.iter().take(2).cloned());
    }
    let later = Bed::on(half, SITE);
    later.warm().await;
    assert_eq!(code(&later.answer(&merge).await), "AA");
    for bed in [bed, later] {
        let events = bed.events();
        let retired = |e: &Event| if let Event::PatientsMerged(e) = e { e.retired.clone() } else { panic!("{e:?}") };
        let expected = ["8", "7", "9"].map(|n| pseudonyms(SITE).patient("main", n));
        assert_eq!(events.iter().map(retired).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_large_message_holds_up_no_other_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let bed = Bed::new();
    let note = format!("SCH|A1\rNTE|1||{}\r", "x".repeat(70_000));
    let block = Block::Whole(Bytes::from(message("SIU^S17", "m1", &note)));
    // The mapping waits for this; what is spawned after it, for a thread.
    let held = bed.receiver.memory.hold();
    let receiver = bed.receiver.clone();
    let taken = runtime.spawn(async move { receiver.receive(&[block]).await });
    let (send, other) = std::sync::mpsc::channel();
    runtime.spawn(async move { send.send(()) });
    // Not by tokio's clock, which stands still where its only thread does.
    let waited = other.recv_timeout(std::time::Duration::from_secs(10));
    drop(held);
    waited.expect("another task runs meanwhile");
    let answers = runtime.block_on(taken).unwrap();
    assert!(String::from_utf8_lossy(&answers[0]).contains("MSA|AA|m1"));
    assert_eq!(bed.log.len(), 1);
}
