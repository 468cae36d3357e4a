//! The certificates of a listener, read again when they change.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::{Certificates, SyslogError};

/// How long a sender may take to agree on TLS.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// When each file last changed.
type Stamps = Vec<Option<SystemTime>>;

/// What connections are accepted with.
pub(super) struct Acceptor {
    files: Certificates,
    stamps: Stamps,
    made: TlsAcceptor,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the one that cannot be used.
    pub(super) fn new(files: &Certificates) -> Result<Self, SyslogError> {
        let stamps = stamps(files);
        Ok(Self { files: files.clone(), stamps, made: make(files)? })
    }

    /// For the next connection. While the files cannot be used, as it was.
    pub(super) fn now(&mut self) -> TlsAcceptor {
        let stamps = stamps(&self.files);
        if stamps != self.stamps {
            match make(&self.files) {
                Ok(made) => (self.made, self.stamps) = (made, stamps),
                Err(error) => tracing::warn!(%error, "what was read before still holds"),
            }
        }
        self.made.clone()
    }
}

fn stamps(files: &Certificates) -> Stamps {
    let paths = [Some(&files.cert_file), Some(&files.key_file), files.ca_file.as_ref()];
    let modified = |path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    paths.into_iter().flatten().map(modified).collect()
}

fn make(files: &Certificates) -> Result<TlsAcceptor, SyslogError> {
    platform::tls::install();
    let own = certificates(&files.cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key_file)?)
        .map_err(|_| unfit(&files.key_file, "has no key in PEM"))?;
    let config = match &files.ca_file {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unfit(path, &error.to_string()))?;
            }
            let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            let clients = clients.map_err(|error| unfit(path, &error.to_string()))?;
            ServerConfig::builder().with_client_cert_verifier(clients)
        }
    };
    let config = config.with_single_cert(own, key).map_err(|error| {
        unfit(&files.cert_file, &format!("and its key cannot be used: {error}"))
    })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SyslogError> {
    let pem = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.unwrap_or_default();
    if all.is_empty() { Err(unfit(path, "has no certificate in PEM")) } else { Ok(all) }
}

fn read(path: &Path) -> Result<Vec<u8>, SyslogError> {
    let reason = |error: io::Error| unfit(path, &format!("cannot be read: {error}"));
    std::fs::read(path).map_err(reason)
}

fn unfit(path: &Path, what: &str) -> SyslogError {
    SyslogError::Unfit { path: path.to_owned(), what: what.to_owned() }
}
