//! Mutual TLS between nodes: one authority for the cluster, a certificate for each node. Every node
//! checks that the other's certificate is of the authority; names and addresses are not in it, so
//! that nodes may move.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// The name in every node's certificate.
const NODE_NAME: &str = "sawlog-node";
/// The file of the authority's certificate.
const CA_FILE: &str = "ca.crt";
/// The file of the authority's key. Nodes do not need it.
const CA_KEY_FILE: &str = "ca.key";
/// The file of a node's certificate.
const NODE_FILE: &str = "node.crt";
/// The file of a node's key.
const NODE_KEY_FILE: &str = "node.key";

/// Why certificates cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use {file}: `sawlog cluster certs DIR` makes what nodes need")]
    Io {
        /// Which file.
        file: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// They cannot be made.
    #[error("certificates cannot be made")]
    Make(#[from] rcgen::Error),
}

/// A node's certificate, its key, and the authority that it believes.
#[derive(Clone)]
pub struct PeerTls {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTls").finish_non_exhaustive()
    }
}

impl PeerTls {
    /// Reads `ca.crt`, `node.crt` and `node.key` of a folder.
    ///
    /// # Errors
    /// [`CertificateError::Io`].
    pub fn read(folder: &Path) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = folder.join(name);
            platform::disk::read(&path).map_err(|source| io(&path, source))
        };
        Ok(Self {
            authority: read(CA_FILE)?,
            certificate: read(NODE_FILE)?,
            key: read(NODE_KEY_FILE)?,
        })
    }

    pub(super) fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            .identity(Identity::from_pem(&self.certificate, &self.key))
            .domain_name(NODE_NAME)
    }

    pub(super) fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate, &self.key))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificates {
    /// Whether the authority is new; otherwise the one of the folder signed.
    pub is_new_authority: bool,
}

/// Whether a node's folder has its certificate or its key.
#[must_use]
pub fn has_certificate(node: &Path) -> bool {
    node.join(NODE_FILE).exists() || node.join(NODE_KEY_FILE).exists()
}

/// Makes a node's certificate in a folder, signed by the authority of `authority` (a folder too),
/// which is made when it is not there. What is there already stays.
///
/// # Errors
/// [`CertificateError`].
pub fn issue(authority: &Path, node: &Path) -> Result<Certificates, CertificateError> {
    let (ca, ca_key) = (authority.join(CA_FILE), authority.join(CA_KEY_FILE));
    // The authority is the same each time but for its key.
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "Sawlog cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let is_new_authority = !ca_key.exists();
    if is_new_authority {
        let key = KeyPair::generate()?;
        write(&ca_key, &key.serialize_pem())?;
        write(&ca, &params.self_signed(&key)?.pem())?;
    }
    let text = |path: &Path| {
        let bytes = platform::disk::read(path).map_err(|source| io(path, source))?;
        Ok::<_, CertificateError>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let issuer = Issuer::new(params, KeyPair::from_pem(&text(&ca_key)?)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![NODE_NAME.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, NODE_NAME);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, &issuer)?;
    write(&node.join(NODE_KEY_FILE), &key.serialize_pem())?;
    write(&node.join(NODE_FILE), &certificate.pem())?;
    if node != authority {
        write(&node.join(CA_FILE), &text(&ca)?)?;
    }
    Ok(Certificates { is_new_authority })
}

fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    platform::disk::create_dir_all(folder)
        .and_then(|()| platform::disk::write_private(path, text.as_bytes()))
        .map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> CertificateError {
    CertificateError::Io { file: path.display().to_string(), source }
}
