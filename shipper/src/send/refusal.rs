//! Why a request failed, in words that say what to do: the innermost cause, and of TLS which setting
//! it is about.

use std::error::Error;
use std::io;

use model::text::cut;
use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode};
use rustls::{AlertDescription, CertificateError};

use super::address::has_user;

/// Bytes of an address that are repeated to an operator.
const ADDRESS_BYTES_MAX: usize = 500;

/// The innermost cause ("connection refused" rather than "error sending request"), and what can be
/// done about it.
pub(super) fn why(error: &(dyn Error + 'static)) -> String {
    let (mut cause, mut tls) = (error, None);
    loop {
        tls = cause.downcast_ref::<rustls::Error>().or(tls);
        match inner(cause) {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    match tls.and_then(remedy) {
        Some(remedy) => format!("{cause}: {remedy}"),
        None => cause.to_string(),
    }
}

/// What an error was made of. One of the system that holds another has that one's source for its own.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

/// Where a node sends us instead, and that we do not go there: what is followed may become another
/// request (302 makes a GET of a POST), and would take the token to a place that nobody named.
pub(super) fn elsewhere(answer: &Response) -> String {
    if !answer.status().is_redirection() {
        return String::new();
    }
    let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    let place = place.map(|place| format!(" to {}", cut(place, ADDRESS_BYTES_MAX)));
    format!(
        "{}: that is not followed, write the address of the node itself in `to`",
        place.unwrap_or_default()
    )
}

/// What to do where a node at that address wants a token, or another one than ours.
pub(super) fn of_token(status: StatusCode, address: &str, ours: Option<&str>) -> &'static str {
    match (status, ours) {
        (StatusCode::UNAUTHORIZED, _) if has_user(address) => {
            ": the user and password in `to` are not the right ones; a node takes its token as the password, \
             and token_file is not sent beside them"
        }
        (StatusCode::UNAUTHORIZED, None) => {
            ": name the file that holds the node's token in token_file"
        }
        (StatusCode::UNAUTHORIZED, Some(_)) => ": the token in token_file is not that of the node",
        _ => "",
    }
}

/// Whether that is said of a request, and not of whom it comes from or of how things are just now.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// What to do where somebody before the node refused, in words that are not a node's.
pub(super) fn of_front(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ": a proxy before the node takes less at once, let it take 16 MiB (Nginx: \
             client_max_body_size)"
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            ": that is not a node's answer, see that `to` names a node, and why a proxy before it refuses"
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            ": that is not a node's answer, a proxy before it keeps us out: see that `to` names a node (with \
             user and password, where the proxy wants them), and that the proxy lets POST and the token of \
             token_file through"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            ": that is not a node's answer, see that `to` names a node, and that a proxy before it passes on \
             all paths, and POST"
        }
        _ => "",
    }
}

fn remedy(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(error),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        rustls::Error::InvalidMessage(_) => {
            Some("no TLS is spoken there, it seems: write http:// in `to`, or another port")
        }
        rustls::Error::PeerIncompatible(_) => Some("the node must speak TLS 1.2 or 1.3"),
        _ => None,
    }
}

/// The node's certificate is not taken here.
fn of_certificate(error: &CertificateError) -> Option<&'static str> {
    Some(match error {
        // An authority of the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody trusted here vouches for the node's certificate: name the authority that issued it in \
             tls.ca_file (PEM), or, where that is not set, add it to the system's"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the node's certificate is for other names: write one of them in `to`, or have one issued for \
             the name that stands there"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the node's certificate has expired: renew it at the node, and see that the clock here is right"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the node's certificate is not valid yet: see that the clocks here and at the node are right"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the node's certificate is not for servers: have one issued for that (serverAuth)"
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the node shows the certificate of an authority: have one issued by it for the node, and name \
             the authority in tls.ca_file"
        }
        _ => return None,
    })
}

/// The node does not take ours.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the node wants a certificate of ours: set tls.cert_file and tls.key_file"
        }
        AlertDescription::HandshakeFailure => {
            "the node may want a certificate of ours (tls.cert_file and tls.key_file), or other ciphers"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            "the node does not take our certificate: the one in tls.cert_file must be issued for clients by \
             an authority that the node trusts, with those between the two behind it"
        }
        AlertDescription::CertificateExpired => {
            "our certificate has expired: renew tls.cert_file (it is read again when it changes), and see \
             that the clock at the node is right"
        }
        AlertDescription::CertificateRevoked => {
            "our certificate was revoked: put another one into tls.cert_file and tls.key_file"
        }
        AlertDescription::UnrecognisedName => {
            "the node has no certificate for that name: write one of its names in `to`"
        }
        AlertDescription::ProtocolVersion => "the node must speak TLS 1.2 or 1.3",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &rustls::Error, word: &str) {
        // As it comes from a connection: within errors of the system.
        let held = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
        let text = why(&held);
        assert!(text.contains(word) && text.starts_with(&error.to_string()), "{text}");
    }

    #[test]
    fn a_refusal_of_tls_names_the_setting_and_what_to_do() {
        let theirs = rustls::Error::InvalidCertificate;
        check(&theirs(CertificateError::UnknownIssuer), "tls.ca_file");
        check(&theirs(CertificateError::BadSignature), "tls.ca_file");
        check(&theirs(CertificateError::NotValidForName), "in `to`");
        check(&theirs(CertificateError::Expired), "renew it at the node");
        check(&theirs(CertificateError::NotValidYet), "clocks");
        check(&theirs(CertificateError::InvalidPurpose), "serverAuth");
        let ours = rustls::Error::AlertReceived;
        check(&ours(AlertDescription::CertificateRequired), "set tls.cert_file and tls.key_file");
        check(&ours(AlertDescription::UnknownCA), "does not take our certificate");
        check(&ours(AlertDescription::CertificateExpired), "renew tls.cert_file");
        check(&ours(AlertDescription::CertificateRevoked), "was revoked");
        let plain = rustls::InvalidMessage::InvalidContentType;
        check(&rustls::Error::InvalidMessage(plain), "http://");
    }

    #[test]
    fn of_other_errors_the_innermost_is_told() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(why(&io::Error::other(inner)), "connection refused");
    }
}
