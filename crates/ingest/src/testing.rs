//! A log in memory, for the tests of this crate.

use async_trait::async_trait;
use bytes::Bytes;
use eventlog::{Log, LogError, NewRecord, Position, Record, Start, Subscription};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the log shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Busy,
    Away,
    /// Fine again after that many failed appends.
    AwayFor(usize),
}

pub(crate) struct MemoryLog {
    pub(crate) records: Mutex<Vec<Vec<Record>>>,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) delay: Mutex<std::time::Duration>,
    pub(crate) appends: AtomicUsize,
}

impl MemoryLog {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            records: Mutex::new(vec![Vec::new(); 4]),
            mood: Mutex::new(Mood::Fine),
            delay: Mutex::default(),
            appends: AtomicUsize::new(0),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.records.lock().unwrap().iter().map(Vec::len).sum()
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn put(&self, r: NewRecord) -> Position {
        let mut all = self.records.lock().unwrap();
        let partition = (xxhash_rust::xxh3::xxh3_64(&r.key) % 4) as usize;
        let position = Position { partition: partition as u32, offset: all[partition].len() as u64 };
        let headers = r.headers.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        all[partition].push(Record { position, appended_ms: 0, key: r.key, value: r.value, headers });
        position
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn partitions(&self) -> u32 {
        4
    }

    async fn append(&self, records: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        let delay = *self.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mood = {
            let mut mood = self.mood.lock().unwrap();
            let now = *mood;
            *mood = match now {
                Mood::AwayFor(0 | 1) => Mood::Fine,
                Mood::AwayFor(n) => Mood::AwayFor(n - 1),
                other => other,
            };
            now
        };
        let one = |r| match mood {
            Mood::Fine => Ok(self.put(r)),
            Mood::Busy => Err(LogError::Busy("test".into())),
            Mood::Away | Mood::AwayFor(_) => Err(LogError::Unavailable("test".into())),
        };
        records.into_iter().map(one).collect()
    }

    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        Ok(self.records.lock().unwrap().iter().map(|p| (0, p.len() as u64)).collect())
    }

    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let all = self.records.lock().unwrap();
        Ok(all[partition as usize].iter().skip(from as usize).take(max).cloned().collect())
    }

    async fn subscribe(&self, _: &str, _: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        Err(LogError::Unavailable("not for reading".into()))
    }
}

/// An event's JSON: a booking of patient `p<n % 10>`.
pub(crate) fn booking(n: u64) -> serde_json::Value {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes());
    serde_json::json!({
        "type": "AppointmentBooked",
        "header": {
            "event_id": id.to_string(), "occurred_at": "2026-03-02T09:00:00+09:00", "zone": "Asia/Seoul",
            "recorded_at": "2026-03-02T09:00:01+09:00", "source": {"system": "scheduling"},
            "patient_id": format!("p{}", n % 10)
        },
        "appointment_id": format!("a-{n}"), "starts_at": "2026-03-05T10:00:00+09:00"
    })
}

pub(crate) fn prepared(n: u64) -> crate::Prepared {
    let event = domain::parse::event(booking(n).to_string().as_bytes()).unwrap();
    crate::Prepared::new(event, &Default::default(), crate::now()).unwrap()
}

/// Bytes as a header value, for assertions.
pub(crate) fn header<'a>(r: &'a Record, name: &str) -> Option<&'a Bytes> {
    r.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v)
}
