use super::*;
use crate::testing::{MemoryLog, booking, prepared};
use bytes::Bytes;
use eventlog::relay::Taken;
use std::collections::VecDeque;
use std::sync::Mutex;

/// An inbox in memory that aborts on demand, and writes to a [`MemoryLog`].
#[derive(Default)]
struct Memory {
    inbox: VecDeque<Incoming>,
    refused: Vec<(Incoming, BTreeMap<&'static str, String>)>,
    /// What the next transactions do: commit, abort, or commit and lose the answer.
    moods: VecDeque<Mood>,
    in_hand: Vec<Incoming>,
    assigned: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Commit,
    Abort,
    Unsure,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Memory>>, Arc<MemoryLog>);

impl Relay for Shared {
    fn take(&mut self, _: Duration) -> Result<Taken, LogError> {
        let mut m = self.0.lock().unwrap();
        let count = m.inbox.len().min(10);
        let records: Vec<_> = m.inbox.drain(..count).collect();
        m.in_hand.clone_from(&records);
        Ok(Taken { assigned: std::mem::take(&mut m.assigned), records })
    }

    fn commit(&mut self, out: Vec<Outgoing>) -> Result<(), LogError> {
        let mut m = self.0.lock().unwrap();
        let mood = m.moods.pop_front().unwrap_or(Mood::Commit);
        let in_hand = std::mem::take(&mut m.in_hand);
        if mood == Mood::Abort {
            in_hand.into_iter().rev().for_each(|r| m.inbox.push_front(r));
            return Err(LogError::Unavailable("aborted".into()));
        }
        let mut moved = Vec::new();
        for o in out {
            match o {
                Outgoing::Log(record) => moved.push(record),
                Outgoing::Refused(record, headers) => {
                    let text = |v: Bytes| String::from_utf8(v.to_vec()).unwrap();
                    m.refused.push((record, headers.into_iter().map(|(n, v)| (n, text(v))).collect()));
                }
            }
        }
        futures::executor::block_on(self.1.append(moved)).into_iter().for_each(|r| assert!(r.is_ok()));
        m.assigned |= mood == Mood::Unsure;
        match mood {
            Mood::Commit => Ok(()),
            Mood::Abort | Mood::Unsure => Err(LogError::Unavailable("no answer".into())),
        }
    }
}

fn inbox() -> (Shared, Inbox) {
    let shared = Shared(Arc::default(), MemoryLog::new());
    shared.0.lock().unwrap().assigned = true;
    let settings = InboxSettings { topic: "in".into(), recent_events: 1_000, event: parse::Limits::default() };
    (shared.clone(), Inbox::new(Box::new(shared.clone()), shared.1.clone(), settings))
}

fn frame(event: &serde_json::Value) -> Vec<u8> {
    let mut out = Vec::new();
    codec::encode(&domain::parse::event(event.to_string().as_bytes()).unwrap(), &mut out);
    out
}

fn put(shared: &Shared, value: Option<Vec<u8>>) {
    let mut m = shared.0.lock().unwrap();
    let offset = 100 + m.inbox.len() as u64;
    let own = |name: &str, value| (name.to_owned(), Bytes::from_static(value));
    let headers = vec![own("traceparent", b"00-0af7-b7ad-01"), own(header::SOURCE, b"Hong Gildong")];
    m.inbox.push_back(Incoming { partition: 3, offset, key: None, value: value.map(Bytes::from), headers });
}

async fn turns(inbox: Inbox, turns: usize) -> Inbox {
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut inbox = inbox;
        for _ in 0..turns {
            let _ = inbox.turn(&handle);
        }
        inbox
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn every_record_is_moved_recognised_or_refused_with_a_reason() {
    let (shared, inbox) = inbox();
    let mut other = booking(1);
    other["service"] = "other".into();
    let mut wrong = booking(2);
    wrong["header"]["zone"] = "Nowhere/Nowhere".into();
    let mut long = frame(&booking(3));
    long.push(0);
    put(&shared, Some(frame(&booking(1))));
    put(&shared, Some(frame(&booking(1))));
    let bad: [(Option<Vec<u8>>, &str); 8] = [
        (Some(frame(&other)), "conflict"),
        (Some(frame(&wrong)), "invalid"),
        (Some(long), "not_the_schema"),
        (Some(booking(4).to_string().into_bytes()), "not_framed"),
        (Some(vec![0, 0, 0, 0xff, 0xff, 1]), "unknown_schema"),
        (Some(vec![0; eventlog::MAX_RECORD_BYTES + 1]), "too_large"),
        (Some(Vec::new()), "not_framed"),
        (None, "not_framed"),
    ];
    bad.iter().for_each(|(value, _)| put(&shared, value.clone()));
    turns(inbox, 1).await;
    let records = shared.1.records.lock().unwrap().iter().flatten().cloned().collect::<Vec<_>>();
    assert_eq!(records.len(), 1);
    assert_eq!(
        (&records[0].key[..], &records[0].value[..]),
        (&b"p1"[..], &frame(&booking(1))[..]),
        "the event's own key"
    );
    let header = |name| crate::testing::header(&records[0], name).cloned().unwrap();
    assert_eq!((header("event-type"), header("source")), ("AppointmentBooked".into(), "scheduling".into()));
    assert_eq!(header("traceparent"), "00-0af7-b7ad-01");
    let refused = std::mem::take(&mut shared.0.lock().unwrap().refused);
    assert_eq!(refused.len(), bad.len());
    for (i, ((record, headers), (value, reason))) in refused.iter().zip(&bad).enumerate() {
        assert_eq!(headers[header::REASON], *reason);
        assert!(REASONS.iter().any(|(code, _)| code == reason));
        assert_eq!(headers[header::POSITION], format!("in:3:{}", 102 + i));
        assert_eq!((&record.key, record.value.as_deref()), (&None, value.as_deref()), "byte for byte");
        assert_eq!(record.headers.len(), 1, "a sender can't put words into our headers");
        assert!(!headers[header::DETAIL].contains("Nowhere"), "no value is quoted");
    }
    assert_eq!(refused[1].1[header::POINTERS], "/header/zone");
    assert_eq!(refused[1].1[header::SOURCE], "scheduling");
    assert_eq!(refused[1].1[header::EVENT_ID], booking(2)["header"]["event_id"].as_str().unwrap());
    assert!(!refused[3].1.contains_key(header::SOURCE));
}

#[tokio::test]
async fn an_aborted_batch_is_done_again_and_an_unsure_one_is_looked_up() {
    let (shared, inbox) = inbox();
    shared.0.lock().unwrap().moods = [Mood::Abort, Mood::Abort].into();
    put(&shared, Some(frame(&booking(1))));
    let inbox = turns(inbox, 3).await;
    assert_eq!(shared.1.len(), 1);
    shared.0.lock().unwrap().moods = [Mood::Unsure].into();
    put(&shared, Some(frame(&booking(2))));
    let inbox = turns(inbox, 1).await;
    // The sender sends both again, and one under an id that is taken.
    put(&shared, Some(frame(&booking(1))));
    put(&shared, Some(frame(&booking(2))));
    turns(inbox, 1).await;
    assert_eq!((shared.1.len(), shared.0.lock().unwrap().refused.len()), (2, 0));
}

#[tokio::test]
async fn a_new_process_remembers_what_the_log_holds() {
    let (shared, inbox) = inbox();
    let settings = crate::Settings::default();
    crate::Publisher::new(shared.1.clone(), settings).publish(&[prepared(1)]).await;
    put(&shared, Some(frame(&booking(1))));
    put(&shared, Some(frame(&booking(2))));
    turns(inbox, 1).await;
    assert_eq!(shared.1.len(), 2);
}
