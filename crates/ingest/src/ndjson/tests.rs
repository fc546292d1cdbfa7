use super::*;
use crate::publisher::Settings;
use crate::testing::{MemoryLog, Mood, booking};

fn publisher(log: &Arc<MemoryLog>) -> Arc<Publisher> {
    Arc::new(Publisher::new(log.clone(), Settings::default()))
}

fn limits() -> NdjsonLimits {
    NdjsonLimits {
        line_bytes: 2_000,
        batch_lines: 100,
        retry_for: Duration::from_millis(300),
        ..NdjsonLimits::default()
    }
}

fn cut(text: &[u8], chunk: usize, longest: usize) -> Vec<(u64, Option<String>)> {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    let mut take = |lines: &mut Lines, end| {
        while let Some((n, line)) = lines.next(longest, end) {
            found.push((n, if let Line::Text(t) = line { Some(String::from_utf8(t.to_vec()).unwrap()) } else { None }));
        }
    };
    for c in text.chunks(chunk) {
        lines.push(c);
        take(&mut lines, false);
    }
    take(&mut lines, true);
    found
}

#[test]
fn lines_are_the_same_however_they_are_split() {
    let text = b"\xef\xbb\xbfone\r\n\n  \nfour\nthis one is too long\nsix";
    let expected = [(1, Some("one\r".into())), (4, Some("four".into())), (5, None), (6, Some("six".into()))];
    for chunk in 1..text.len() + 1 {
        assert_eq!(cut(text, chunk, 10), expected, "in chunks of {chunk}");
    }
    assert_eq!(cut(b"a very long last line", 3, 10), [(1, None)]);
    assert_eq!(cut(b"", 1, 10), []);
}

#[tokio::test]
async fn one_bad_line_among_many() {
    let log = MemoryLog::new();
    let mut text = String::new();
    for n in 0..5_000 {
        if n == 2_500 {
            text.push_str("{\"type\":\"AppointmentBooked\",\"header\":5}\n");
        }
        text.push_str(&booking(n).to_string());
        text.push('\n');
    }
    let mut calls = 0;
    let summary = publish_ndjson(text.as_bytes(), publisher(&log), limits(), |_, _| calls += 1).await.unwrap();
    assert_eq!(summary.counts, Progress { lines: 5_001, accepted: 5_000, duplicates: 0, refused: 1 });
    assert_eq!(summary.refused[0].line, 2_501);
    assert!(summary.refused[0].reason.contains("/header must be an object"), "{}", summary.refused[0].reason);
    assert!(calls >= 50);
    assert_eq!(log.len(), 5_000);
    // Order per key is that of the file.
    for partition in log.records.lock().unwrap().iter() {
        let mut last = std::collections::HashMap::new();
        for r in partition {
            let domain::Event::AppointmentBooked(e) = codec::decode(&r.value).unwrap() else { panic!() };
            let n: u64 = e.appointment_id[2..].parse().unwrap();
            assert!(last.insert(r.key.clone(), n).is_none_or(|before| before < n));
        }
    }
}

#[tokio::test]
async fn again_is_a_no_op() {
    let log = MemoryLog::new();
    let p = publisher(&log);
    let text: String = (0..300).map(|n| booking(n).to_string() + "\n").collect();
    publish_ndjson(text.as_bytes(), p.clone(), limits(), |_, _| {}).await.unwrap();
    let again = publish_ndjson(text.as_bytes(), p, limits(), |_, _| {}).await.unwrap();
    assert_eq!(again.counts, Progress { lines: 300, accepted: 0, duplicates: 300, refused: 0 });
}

#[tokio::test]
async fn a_short_outage_is_waited_out_and_a_long_one_stops() {
    let log = MemoryLog::new();
    log.set(Mood::AwayFor(2));
    let text: String = (0..300).map(|n| booking(n).to_string() + "\n").collect();
    let ok = publish_ndjson(text.as_bytes(), publisher(&log), limits(), |_, _| {}).await.unwrap();
    assert_eq!(ok.counts.accepted, 300);
    log.set(Mood::Away);
    let more: String = (300..600).map(|n| booking(n).to_string() + "\n").collect();
    let stopped = publish_ndjson(more.as_bytes(), publisher(&log), limits(), |_, _| {}).await;
    assert!(matches!(stopped, Err(Stopped::Log)));
}
