//! A log in memory, and small journeys to put on it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod faulty;
pub mod folding;
pub mod rebuilding;
pub mod running;
pub mod verified;

use async_trait::async_trait;
use bytes::Bytes;
use domain::Event;
use eventlog::{Delivery, Log, LogError, NewRecord, Position, Record, Start, Subscription, partition_of};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// A log in memory. Whoever subscribes gets all partitions, so that two subscribers fight over each.
pub struct MemoryLog {
    partitions: Mutex<Vec<Vec<Record>>>,
    grown: watch::Sender<u64>,
}

impl MemoryLog {
    pub fn new(partitions: usize) -> Arc<Self> {
        Arc::new(Self { partitions: Mutex::new(vec![Vec::new(); partitions]), grown: watch::Sender::new(0) })
    }

    /// Appends under any key, sound or not.
    pub fn put(&self, key: &[u8], value: Vec<u8>) -> Position {
        let partition = partition_of(key, u32::try_from(self.ends().len()).unwrap());
        self.put_into(partition, key, value)
    }

    /// Appends to any partition, as a producer with another partitioner does.
    pub fn put_into(&self, partition: u32, key: &[u8], value: Vec<u8>) -> Position {
        let mut all = self.partitions.lock().unwrap();
        let records = &mut all[partition as usize];
        let position = Position { partition, offset: records.len() as u64 };
        let headers = vec![("event-type".to_owned(), Bytes::from_static(b"Some"))];
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::from(value));
        records.push(Record { position, appended_ms: 1, key, value, headers });
        drop(all);
        self.grown.send_modify(|n| *n += 1);
        position
    }

    /// Appends an event as the gateway would.
    pub fn publish(&self, event: &Event) -> Position {
        let mut value = Vec::new();
        codec::encode(event, &mut value);
        self.put(event.key().as_bytes(), value)
    }

    pub fn all(&self) -> Vec<Record> {
        self.partitions.lock().unwrap().iter().flatten().cloned().collect()
    }

    pub fn ends(&self) -> Vec<u64> {
        self.partitions.lock().unwrap().iter().map(|p| p.len() as u64).collect()
    }
}

struct Reader {
    log: Arc<MemoryLog>,
    start: Arc<dyn Start>,
    next: Vec<u64>,
    grown: watch::Receiver<u64>,
}

/// The log as the projector takes it.
pub struct Shared(pub Arc<MemoryLog>);

#[async_trait]
impl Log for Shared {
    fn partitions(&self) -> u32 {
        u32::try_from(self.0.partitions.lock().unwrap().len()).unwrap()
    }
    async fn append(&self, _: Vec<NewRecord>) -> Vec<Result<Position, LogError>> {
        Vec::new()
    }
    async fn bounds(&self) -> Result<Vec<(u64, u64)>, LogError> {
        Ok(self.0.ends().into_iter().map(|end| (0, end)).collect())
    }
    async fn read(&self, partition: u32, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let all = self.0.partitions.lock().unwrap();
        Ok(all[partition as usize].iter().skip(usize::try_from(from).unwrap()).take(max).cloned().collect())
    }
    async fn subscribe(&self, _: &str, start: Arc<dyn Start>) -> Result<Box<dyn Subscription>, LogError> {
        let grown = self.0.grown.subscribe();
        Ok(Box::new(Reader { log: self.0.clone(), start, next: Vec::new(), grown }))
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self, max: usize) -> Result<Delivery, LogError> {
        if self.next.is_empty() {
            let partitions: Vec<u32> = (0..u32::try_from(self.log.ends().len()).unwrap()).collect();
            self.next = self.start.offsets(&partitions).await?;
            let at = |(p, o): (usize, &u64)| Position { partition: u32::try_from(p).unwrap(), offset: *o };
            return Ok(Delivery::Assigned(self.next.iter().enumerate().map(at).collect()));
        }
        loop {
            self.grown.borrow_and_update();
            let mut out = Vec::new();
            let share = (max / self.next.len()).max(1);
            for (p, records) in self.log.partitions.lock().unwrap().iter().enumerate() {
                let from = usize::try_from(self.next[p]).unwrap();
                let part = &records[from.min(records.len())..(from + share).min(records.len())];
                out.extend_from_slice(part);
                self.next[p] += part.len() as u64;
            }
            if !out.is_empty() {
                return Ok(Delivery::Records(out));
            }
            self.grown.changed().await.unwrap();
        }
    }
    fn report(&mut self, _: &[Position]) {}
    async fn close(self: Box<Self>) {}
}

/// The event of a fixed id `n`, of patient `p`, with its fields.
pub fn event(kind: &str, p: u64, n: u64, fields: &str) -> Event {
    let at = domain::Micros(1_700_000_000_000_000 + i64::try_from(n % 977).unwrap() * 3_600_000_000);
    let header = format!(
        r#"{{"event_id":"00000000-0000-4000-8000-{n:012x}","occurred_at":"{at}","zone":"Asia/Seoul","recorded_at":"{at}","source":{{"system":"test"}},"patient_id":"p-{p}","site":"main"}}"#
    );
    let comma = if fields.is_empty() { "" } else { "," };
    domain::parse::event_str(&format!(r#"{{"type":"{kind}","header":{header}{comma}{fields}}}"#)).unwrap()
}

/// One of several kinds of events, all about patient `n % patients`.
pub fn some(n: u64, patients: u64) -> Event {
    let p = n % patients;
    let of = n / patients / 7;
    match (n / patients) % 7 {
        0 => event(
            "AppointmentBooked",
            p,
            n,
            &format!(r#""appointment_id":"a{p}-{of}","starts_at":"2024-01-02T03:04:05Z""#),
        ),
        1 => event("PatientCheckedIn", p, n, ""),
        2 => event("WaitEstimated", p, n, r#""wait_told_min":10"#),
        3 => event("ConsultStarted", p, n, &format!(r#""encounter_id":"e{p}-{of}""#)),
        4 => event("ConsultEnded", p, n, &format!(r#""encounter_id":"e{p}-{of}""#)),
        5 => event("ReferralMade", p, n, &format!(r#""referral_id":"r{p}-{of}","to":"cardiology""#)),
        _ => event("ComplaintFiled", p, n, &format!(r#""complaint_id":"c{p}-{of}","severity":"severe""#)),
    }
}
