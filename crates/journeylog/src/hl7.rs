//! HL7 v2 over MLLP: configuration and wiring.

use crate::settings::Settings;
use anyhow::Context as _;
use ingest::Publisher;
use ingest::hl7::{Receiver, mllp, tls};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What takes the messages, ready to learn from the log.
pub async fn receiver(settings: &Settings, publisher: Arc<Publisher>) -> anyhow::Result<Receiver> {
    let s = &settings.hl7;
    anyhow::ensure!(!s.listen.is_empty(), "hl7.listen: no address is set");
    let pseudonyms = settings.site.pseudonyms()?.context("hl7 needs site.file, the file with the site's rules")?;
    let event = settings.ingest.ndjson(ingest::NdjsonLimits::default()).event;
    let mut receiver = Receiver::new(publisher, pseudonyms, event, settings.ingest.recent_events);
    if !s.quarantine.is_empty() {
        let log = eventlog::open(&s.quarantine, &settings.log.options()?).await.context("hl7.quarantine")?;
        receiver = receiver.with_quarantine(log, settings.ingest.recent_events);
    }
    Ok(receiver)
}

/// Listens; what it answers with is the server, to be run until `cancel`.
pub async fn listen(
    settings: &Settings,
    receiver: Receiver,
    cancel: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let s = &settings.hl7;
    let acceptor = match (s.tls_certificate_file.as_str(), s.tls_key_file.as_str()) {
        ("", "") => None,
        ("", _) | (_, "") => anyhow::bail!("hl7.tls_certificate_file and hl7.tls_key_file go together"),
        (certificates, key) => Some(tls::acceptor(Path::new(certificates), Path::new(key)).context("hl7: TLS")?),
    };
    let listener =
        tokio::net::TcpListener::bind(&s.listen).await.with_context(|| format!("hl7.listen {}", s.listen))?;
    tracing::info!(listen = %s.listen, tls = acceptor.is_some(), "taking HL7 over MLLP");
    let limits = mllp::Limits {
        block_bytes: s.max_block_bytes,
        connections: s.max_connections,
        in_flight: s.max_in_flight,
        idle: Duration::from_secs(s.idle_s),
        block: Duration::from_secs(s.block_s),
        // The whole process has drain_limit_s.
        drain: Duration::from_secs(settings.shutdown.drain_limit_s) * 9 / 10,
        ..mllp::Limits::default()
    };
    Ok(mllp::serve(listener, acceptor, Arc::new(receiver), limits, cancel))
}
