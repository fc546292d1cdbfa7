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
/// In reasons that come as a refusal, but are that the broker hung up on the way: one that is starting may.
const MENDS: [&str; 3] = ["Disconnected", "Local: ", "SSL transport error"];
/// What ends the name of the thread at the beginning of a line.
const THREAD_END: &str = "]: ";

/// Whether the brokers answer; says so once when that changes, instead of with every attempt.
pub(in crate::kafka) struct Health {
    brokers: String,
    down: AtomicBool,
    /// Whether there are faults, so that what comes through needn't wait for each other to ask.
    faulty: AtomicBool,
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
    pub(in crate::kafka) fn of(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            down: AtomicBool::new(false),
            faulty: AtomicBool::new(false),
            faults: Mutex::default(),
        }
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
                let refused = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
                self.note(reason, refused && !MENDS.iter().any(|words| reason.contains(words)));
            }
        }
    }

    /// A line of librdkafka's log. It repeats itself, and what matters of it mostly comes as an error too, so that its lines are for
    /// debugging; that a broker hangs up is only there.
    pub(in crate::kafka) fn line(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        if fac == FAILED {
            let reason = message.split_once(THREAD_END).map_or(message, |(_, reason)| reason);
            self.note(reason, false);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", "{fac}: {message}");
            }
            _ => tracing::debug!(target: "librdkafka", "{fac}: {message}"),
        }
    }

    fn note(&self, reason: &str, refused: bool) {
        let mut faults = self.faults();
        faults.last = Some(reason.to_owned());
        if refused {
            faults.refused = Some(reason.to_owned());
        }
        self.faulty.store(true, Ordering::Relaxed);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came through: what went wrong before says nothing about what goes wrong next.
    pub(in crate::kafka) fn fine(&self) {
        if self.faulty.load(Ordering::Relaxed) {
            let mut faults = self.faults();
            *faults = Faults::default();
            self.faulty.store(false, Ordering::Relaxed);
        }
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

#[cfg(test)]
mod tests {
    use super::{Health, RDKafkaLogLevel};
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

    fn after(faults: &[(Code, &str)]) -> Health {
        let health = Health::of("a:1");
        for (code, reason) in faults {
            health.error(&KafkaError::Global(*code), reason);
        }
        health
    }

    /// librdkafka's words, each for a broker that hangs up at another time of the hand-shake.
    #[test]
    fn only_what_cannot_mend_itself_is_a_refusal() {
        for (code, reason) in [
            (Code::Authentication, "SASL authentication error: Authentication failed: Invalid username or password"),
            (Code::Authentication, "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: (n/a)"),
            (Code::SSL, "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed"),
        ] {
            let refused = after(&[(code, reason)]).refused().map(|error| error.to_string());
            assert!(refused.is_some_and(|why| why.contains(reason)), "{reason}");
        }
        for (code, reason) in [
            (Code::Authentication, "SASL PLAIN mechanism handshake failed: Local: Broker transport failure: (n/a)"),
            (Code::Authentication, "Disconnected: hung up from peer in state AUTH_LEGACY"),
            (Code::SSL, "SSL handshake failed: SSL transport error: Broken pipe"),
            (Code::BrokerTransportFailure, "SSL handshake failed: Disconnected: connection closed by peer"),
        ] {
            let health = after(&[(code, reason)]);
            assert!(health.refused().is_none(), "{reason}");
            assert!(health.unreachable("no answer").to_string().contains(reason), "{reason}");
        }
    }

    #[test]
    fn what_came_through_takes_the_faults_with_it() {
        let health = after(&[(Code::Authentication, "a wrong password")]);
        health.line(RDKafkaLogLevel::Info, "FAIL", "[thrd:a:1]: a:1: Disconnected");
        assert!(health.refused().is_some() && !health.hint().is_empty());
        health.fine();
        assert!(health.refused().is_none() && health.hint().is_empty());
        assert!(!health.unreachable("no answer").to_string().contains("Disconnected"));
    }
}
