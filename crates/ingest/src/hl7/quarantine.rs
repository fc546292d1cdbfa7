//! Where messages are kept that came under another one's id: as they came, so that somebody can find out what became of them.

use crate::recent::Recent;
use crate::site;
use bytes::Bytes;
use domain::{EventId, Micros};
use eventlog::{Log, LogError, NewRecord};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A log of their own, and which messages are there. They may hold names.
pub(super) struct Quarantine {
    log: Arc<dyn Log>,
    held: Mutex<Recent<EventId, ()>>,
}

impl Quarantine {
    /// Remembers the last `recent` messages (about 50 bytes each).
    pub(super) fn new(log: Arc<dyn Log>, recent: usize) -> Self {
        Self { log, held: Mutex::new(Recent::new(recent)) }
    }

    fn held(&self) -> MutexGuard<'_, Recent<EventId, ()>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message by itself, not by the one that it is mistaken for: it is kept once, however often it comes.
    pub(super) fn key(fingerprint: &str, accepted: EventId) -> EventId {
        site::event_id(fingerprint, &accepted.to_string(), 0)
    }

    /// Whether a message is there already.
    pub(super) fn has(&self, key: EventId) -> bool {
        self.held().get(key).is_some()
    }

    /// Notes that it is.
    pub(super) fn holds(&self, key: EventId) {
        self.held().insert(key, ());
    }

    /// Puts messages there; says of each whether it may be answered as one that is. What is too large for a record will never
    /// be, and its sender keeps it.
    pub(super) async fn keep(&self, held: Vec<NewRecord>) -> Vec<bool> {
        if held.is_empty() {
            return Vec::new();
        }
        let results = self.log.append(held).await;
        let away = |r: &Result<_, LogError>| match r {
            Ok(_) | Err(LogError::Refused(_)) => None,
            Err(e @ (LogError::Busy(_) | LogError::Unavailable(_) | LogError::Configuration(_))) => Some(e.to_string()),
        };
        if let Some(error) = results.iter().find_map(away) {
            tracing::warn!(error, "the quarantine takes no message");
        }
        results.iter().map(|r| away(r).is_none()).collect()
    }
}

/// A message for the quarantine; `accepted` is the event that has its id.
pub(super) fn record(message: &[u8], accepted: EventId, now: Micros) -> NewRecord {
    let accepted = Bytes::from(accepted.to_string());
    let headers = vec![
        ("refused-reason", Bytes::from_static(b"conflict")),
        ("refused-at", Bytes::from(now.to_string())),
        ("refused-event-id", accepted.clone()),
    ];
    NewRecord { key: accepted, value: Bytes::copy_from_slice(message), headers }
}
