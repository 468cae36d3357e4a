//! What is read from files for the connection to the nodes, and read again when they change: the
//! token, the certificates trusted, our own.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use serde::Deserialize;

use super::TargetError;
use crate::config::Config;

/// The files are looked at that often.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// A connection nobody uses is closed after that, so that a name is looked up again.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// All requests to a node may share a connection (HTTP/2): while some are under way, the other side is
/// asked that often whether it is still there.
const ALIVE_PERIOD: Duration = Duration::from_secs(3);
/// A shared connection whose other side has not answered that is closed after so long: else new requests
/// would go to a dead one.
const ALIVE_TIME_MAX: Duration = Duration::from_secs(2);

/// Whom to trust, and who we are: `[tls]` of docs/shipper.md.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificates (PEM) of those who vouch for nodes, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate (PEM), and those between it and the root.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
}

/// Which HTTP is spoken with the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum HttpVersion {
    /// Over TLS what both sides can, HTTP/2 first (ALPN); without TLS HTTP/1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1: a connection for each request under way.
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2, also without TLS, where nobody can ask whether the other side speaks it.
    #[serde(rename = "2")]
    Two,
}

/// How the nodes are reached.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    http: HttpVersion,
    tls: Tls,
    /// Some node is asked over TLS: whom the system trusts matters, where nobody is named.
    encrypted: bool,
}

impl Connection {
    pub(super) fn of(config: &Config) -> Self {
        let is_tls =
            |url: &String| url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        let encrypted = config.to.iter().any(is_tls);
        Self { http: config.http_version, tls: config.tls.clone(), encrypted }
    }
}

/// The token of a file, or a fixed one.
#[derive(Debug, Clone, Default)]
pub(super) struct Token {
    fixed: Option<String>,
    file: Option<PathBuf>,
}

/// Something made of files.
pub(super) trait Secret {
    /// What it is made to.
    type Made: Clone;

    /// Which files.
    fn files(&self) -> Vec<&Path>;

    /// Reads them.
    fn make(&self) -> Result<Self::Made, TargetError>;
}

impl Token {
    pub(super) fn of(config: &Config) -> Self {
        Self { fixed: config.token.clone(), file: config.token_file.clone() }
    }
}

impl Secret for Token {
    type Made = Option<String>;

    fn files(&self) -> Vec<&Path> {
        self.file.iter().map(PathBuf::as_path).collect()
    }

    fn make(&self) -> Result<Option<String>, TargetError> {
        let Some(path) = &self.file else { return Ok(self.fixed.clone()) };
        let token = String::from_utf8(read(path)?).map_err(|_| unfit(path, "is no text"))?;
        let token = token.trim();
        // A header cannot hold anything, and what is empty is a file half written.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unfit(path, "holds no token: one is of visible ASCII characters"));
        }
        Ok(Some(token.to_owned()))
    }
}

impl Secret for Connection {
    type Made = Client;

    fn files(&self) -> Vec<&Path> {
        let files = [&self.tls.ca_file, &self.tls.cert_file, &self.tls.key_file];
        files.into_iter().flatten().map(PathBuf::as_path).collect()
    }

    fn make(&self) -> Result<Client, TargetError> {
        platform::tls::install();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIME_MAX)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .http2_keep_alive_interval(ALIVE_PERIOD)
            .http2_keep_alive_timeout(ALIVE_TIME_MAX)
            // See `refusal::elsewhere`.
            .redirect(Policy::none())
            .no_proxy();
        builder = match self.http {
            HttpVersion::Auto => builder,
            HttpVersion::One => builder.http1_only(),
            HttpVersion::Two => builder.http2_prior_knowledge(),
        };
        let Tls { ca_file, cert_file, key_file } = &self.tls;
        if let Some(path) = ca_file {
            let trusted = Certificate::from_pem_bundle(&read(path)?).unwrap_or_default();
            if trusted.is_empty() {
                return Err(unfit(path, "has no certificate in PEM"));
            }
            builder = builder.tls_certs_only(trusted);
        } else if !self.encrypted {
            // The system may have no certificates at all, and reading them takes a while.
            builder = builder.tls_certs_only([]);
        }
        match (cert_file, key_file) {
            (Some(cert), Some(key)) => {
                let mut pem = read(key)?;
                pem.push(b'\n');
                pem.extend(read(cert)?);
                let identity = Identity::from_pem(&pem)
                    .map_err(|_| unfit(cert, "and its key are no pair in PEM"))?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            _ => return Err(TargetError::HalfPair),
        }
        let system = self.encrypted && ca_file.is_none();
        builder.build().map_err(|source| match system {
            true => TargetError::Trust(source),
            false => TargetError::Client(source),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TargetError> {
    std::fs::read(path).map_err(|source| TargetError::Read { path: path.to_owned(), source })
}

fn unfit(path: &Path, what: &'static str) -> TargetError {
    TargetError::Unfit { path: path.to_owned(), what }
}

/// When each file last changed.
type Stamps = Vec<Option<std::time::SystemTime>>;

/// Made once, and anew when a file of it changed.
#[derive(Debug)]
pub(super) struct Renewed<S: Secret> {
    secret: S,
    state: Mutex<State<S::Made>>,
}

#[derive(Debug)]
struct State<T> {
    made: T,
    stamps: Stamps,
    looked: Duration,
    /// Nothing could be made of the files as they were then, which was told.
    refused: Option<Stamps>,
}

impl<T> State<T> {
    /// Nothing can be made of the files as they are: whether that is to be told.
    fn refuse(&mut self, stamps: Stamps) -> bool {
        let is_news = self.refused.as_ref() != Some(&stamps);
        self.refused = Some(stamps);
        is_news
    }
}

impl<S: Secret> Renewed<S> {
    pub(super) fn new(secret: S) -> Result<Self, TargetError> {
        let stamps = stamps(&secret);
        let made = secret.make()?;
        let state = State { made, stamps, looked: Duration::ZERO, refused: None };
        Ok(Self { secret, state: Mutex::new(state) })
    }

    /// What it is now. While a file is away or half written, what it was.
    pub(super) fn get(&self, now: Duration) -> S::Made {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(state.looked) >= LOOK_PERIOD {
            state.looked = now;
            let stamps = stamps(&self.secret);
            if stamps != state.stamps {
                match self.secret.make() {
                    Ok(made) => {
                        tracing::info!(files = ?self.secret.files(), "read again");
                        (state.made, state.stamps, state.refused) = (made, stamps, None);
                    }
                    Err(error) => {
                        let is_news = state.refuse(stamps);
                        if is_news {
                            tracing::warn!(%error, "what was read before still holds");
                        }
                    }
                }
            }
        }
        state.made.clone()
    }
}

fn stamps(secret: &impl Secret) -> Stamps {
    let files = secret.files().into_iter();
    files
        .map(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_which_nothing_can_be_made_are_told_once_until_they_change() {
        let mut state =
            State { made: (), stamps: Vec::new(), looked: Duration::ZERO, refused: None };
        let (away, there) = (vec![None], vec![Some(std::time::UNIX_EPOCH)]);
        assert!(state.refuse(away.clone()) && !state.refuse(away.clone()));
        assert!(state.refuse(there.clone()) && !state.refuse(there) && state.refuse(away));
    }
}
