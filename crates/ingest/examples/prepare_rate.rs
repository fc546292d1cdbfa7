//! How many events a second one core parses, checks, encodes and de-duplicates, without any log or socket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../../../fuzz/nowhere.rs"]
mod nowhere;

use journeylog_ingest as ingest;
use nowhere::Nowhere;
use std::sync::Arc;
use std::time::Instant;

const EVENTS: u64 = 400_000;

fn text(n: u64) -> String {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes());
    format!(
        r#"{{"type":"AppointmentBooked","header":{{"event_id":"{id}","occurred_at":"2026-03-02T09:00:00+09:00","zone":"Asia/Seoul","recorded_at":"2026-03-02T09:00:01.123456+09:00","source":{{"system":"scheduling","facility":"main"}},"actor":{{"id":"r-1","role":"receptionist"}},"patient_id":"p-{}","site":"seoul-1","department":"orthopaedics","modality":"phone"}},"appointment_id":"a-{n}","starts_at":"2026-03-05T10:00:00+09:00","duration_min":20,"service":"first visit","practitioner":"d-7","channel":"phone","self_service":false,"hold_s":42,"capture_s":90}}"#,
        n % 5_000
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let texts: Vec<String> = (0..EVENTS).map(text).collect();
    let rate = |what: &str, begun: Instant| {
        let s = begun.elapsed().as_secs_f64();
        println!("{what}: {:.0} events/s, {:.2} µs each", EVENTS as f64 / s, s * 1e6 / EVENTS as f64);
    };
    let (limits, now) = (domain::parse::Limits::default(), ingest::now());
    let begun = Instant::now();
    let events: Vec<_> =
        texts.iter().map(|t| domain::parse::event_str(t)).collect::<Result<_, _>>().map_err(|e| format!("{e:?}"))?;
    rate("parse", begun);
    let begun = Instant::now();
    let prepared: Vec<_> = events
        .into_iter()
        .map(|e| ingest::Prepared::new(e, &limits, now))
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{e:?}"))?;
    rate("validate and hash", begun);
    let begun = Instant::now();
    let mut bytes = 0;
    for p in &prepared {
        let mut out = Vec::with_capacity(384);
        codec::encode(p.event(), &mut out);
        bytes += out.len();
    }
    rate("encode", begun);
    println!("JSON {} bytes, Avro {} bytes each", texts[0].len(), bytes / prepared.len());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let publisher = ingest::Publisher::new(Arc::new(Nowhere), ingest::Settings::default());
    let begun = Instant::now();
    runtime.block_on(async {
        for batch in prepared.chunks(100) {
            publisher.publish(batch).await;
        }
    });
    rate("publish, 100 a batch", begun);
    let publisher = ingest::Publisher::new(Arc::new(Nowhere), ingest::Settings::default());
    let begun = Instant::now();
    runtime.block_on(async {
        for one in &prepared {
            publisher.publish(std::slice::from_ref(one)).await;
        }
    });
    rate("publish, one by one", begun);
    Ok(())
}
