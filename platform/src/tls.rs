//! The cryptography of TLS, chosen once for the process.

/// Makes it known to those who connect or listen. Must be called before an HTTP client is made;
/// again does nothing.
pub fn install() {
    // The first one stays, and it is the same.
    drop(rustls::crypto::ring::default_provider().install_default());
}
