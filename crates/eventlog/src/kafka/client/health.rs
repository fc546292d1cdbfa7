//! What librdkafka's clients tell us: whether the brokers answer, and if not, why.

use crate::LogError;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What librdkafka's log calls a connection that broke.
const FAILED: &str = "FAIL";
/// What it calls one that the broker ended.
const HUNG_UP: [&str; 2] = ["Disconnected", "Send failed"];
/// What ends the name of the thread at the beginning of a line.
const THREAD_END: &str = "]: ";

/// Whether the brokers answer; says so once when that changes, instead of with every attempt.
pub(in crate::kafka) struct Health {
    brokers: String,
    down: AtomicBool,
    faults: Mutex<Faults>,
}

/// What went wrong with the connections.
#[derive(Default)]
struct Faults {
    last: Option<String>,
    /// The last that trying again can't help: the broker refused who we are, or isn't trusted.
    refused: Option<String>,
}

impl Health {
    pub(super) fn of(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), down: AtomicBool::new(false), faults: Mutex::default() }
    }

    pub(in crate::kafka) fn error(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", error = %error, "{reason}");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if !self.down.swap(true, Ordering::Relaxed) {
                    let cause = self.faults().last.clone().unwrap_or_default();
                    tracing::warn!(log.brokers = self.brokers, cause, "the log's brokers are down, trying again");
                }
            }
            code => {
                let mut faults = self.faults();
                if matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) {
                    faults.refused = Some(reason.to_owned());
                }
                faults.last = Some(reason.to_owned());
            }
        }
    }

    /// A line of librdkafka's log. It repeats itself, and what matters of it mostly comes as an error too, so that its lines are for
    /// debugging; that a broker hangs up is only there.
    pub(in crate::kafka) fn line(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        if fac == FAILED {
            let reason = message.split_once(THREAD_END).map_or(message, |(_, reason)| reason);
            self.faults().last = Some(reason.to_owned());
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", "{fac}: {message}");
            }
            _ => tracing::debug!(target: "librdkafka", "{fac}: {message}"),
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came through.
    pub(in crate::kafka) fn fine(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(log.brokers = self.brokers, "the log's brokers are back");
        }
    }

    /// Whether all brokers are away.
    pub(in crate::kafka) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// An error that names the brokers, and the last thing that went wrong with them.
    pub(in crate::kafka) fn unreachable(&self, what: impl std::fmt::Display) -> LogError {
        let last = self.faults().last.as_ref().map_or_else(String::new, |last| format!(" ({last})"));
        LogError::Unavailable(format!("kafka at {}: {what}{last}", self.brokers))
    }

    /// Why no connection comes about as the log is configured; nothing where trying again may help.
    pub(in crate::kafka) fn refused(&self) -> Option<LogError> {
        let why = self.faults().refused.clone()?;
        Some(LogError::Configuration(format!("kafka at {}: {why}", self.brokers)))
    }

    /// What to look at where brokers hang up on whom they don't understand: they don't say it.
    pub(in crate::kafka) fn hint(&self) -> &'static str {
        let hung_up = |last: &String| HUNG_UP.iter().any(|words| last.contains(words));
        if self.faults().last.as_ref().is_some_and(hung_up) { ", is security.protocol right?" } else { "" }
    }
}

/// What a client without callbacks of its own reports to.
pub(in crate::kafka) struct Context(pub(in crate::kafka) Arc<Health>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.0.line(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Context {}
