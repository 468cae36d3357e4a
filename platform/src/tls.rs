//! The cryptography of TLS, chosen once for the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// Makes it known to those who connect or listen. Must be called before an HTTP client is made;
/// again does nothing.
pub fn install() {
    // The first one stays, and it is the same.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Why a listener cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or holds no certificate or key.
    #[error("{} holds no {what} in PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// The reason.
        #[source]
        source: pem::Error,
    },
    /// They do not go together.
    #[error("certificate and key in {} cannot be used", path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: rustls::Error,
    },
    /// The authorities of clients cannot be used.
    #[error("the certificates in {} cannot judge those of clients: {reason}", path.display())]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// Where a listener's certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Roots of the certificates that clients must show; without them they need none.
    pub client_authorities: Option<PathBuf>,
}

/// What a listener shows and wants to see.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn server(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    install();
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        path: files.key.clone(),
        what: "key",
        source,
    })?;
    let builder = ServerConfig::builder();
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let judged = |reason: String| TlsError::Authorities { path: path.clone(), reason };
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| judged(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| judged(error.to_string()))?)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let path = files.certificate.clone();
    config.map(Arc::new).map_err(|source| TlsError::Pair { path, source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), what: "certificate", source };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
    let certificates = certificates.map_err(failed)?;
    if certificates.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(certificates) }
}
