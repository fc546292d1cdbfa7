//! TLS for MLLP.

use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

/// The certificate or the key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is no PEM, or can't be read.
    #[error("{0} can't be read as PEM")]
    File(String, #[source] pem::Error),
    /// They don't fit.
    #[error("the certificate and the key can't be used")]
    Unusable(#[from] rustls::Error),
}

/// A server's side of TLS 1.2 and 1.3, with a chain of certificates and its key, both PEM files.
///
/// # Errors
/// When a file can't be read, or the two don't belong together.
pub fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let file = |path: &Path| {
        let name = path.display().to_string();
        move |e| TlsError::File(name, e)
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain = chain.map_err(file(certificates))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
