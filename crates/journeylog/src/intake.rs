//! Adds what the gateways counted to the counts in the store, for `GET /v1/sources`.

use ingest::intake;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{IntakeCount, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Adds up until it is told to end, and once more then. While the store is away the counts wait here: no gateway waits for it.
pub async fn keep(url: String, mut store: Option<Store>, end: CancellationToken) {
    let mut waiting = BTreeMap::new();
    let mut away = false;
    loop {
        let last = tokio::select! {
            () = end.cancelled() => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        for c in intake::drain() {
            let key = (c.source, c.protocol.as_str(), c.week, c.outcome.as_str(), c.outcome.reason());
            *waiting.entry(key).or_insert(0) += i64::try_from(c.count).unwrap_or(i64::MAX);
        }
        if !waiting.is_empty() {
            match add(&url, &mut store, &waiting).await {
                Ok(()) => {
                    waiting.clear();
                    away = false;
                }
                Err(e) if !away => {
                    tracing::warn!(error = %e, "counts of what came in wait for the store");
                    away = true;
                }
                Err(_) => {}
            }
        }
        if last {
            return;
        }
    }
}

type Key = (String, &'static str, i64, &'static str, &'static str);

async fn add(url: &str, store: &mut Option<Store>, counts: &BTreeMap<Key, i64>) -> Result<(), StoreError> {
    let store = match store {
        Some(store) => store,
        None => store.insert(Store::connect(url, 1).await?),
    };
    let count = |((source, protocol, week, result, reason), messages): (&Key, &i64)| IntakeCount {
        source: source.clone(),
        protocol: (*protocol).to_owned(),
        week: *week,
        result: (*result).to_owned(),
        reason: (*reason).to_owned(),
        messages: *messages,
    };
    store.add_intake(&counts.iter().map(count).collect::<Vec<_>>()).await
}
