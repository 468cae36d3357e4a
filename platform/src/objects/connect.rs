//! From a URL and the usual variables and files to a store, with bounds on how long it is asked.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig,
};
use url::Url;

use super::figures::ObjectFigures;
use super::profile;

/// How long a request that fails is tried again, unless told otherwise.
pub const RETRY_FOR: Duration = Duration::from_secs(30);
/// How long one try of a request may take, answer included, unless `AWS_TIMEOUT` is set.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made, unless `AWS_CONNECT_TIMEOUT` is set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one request beside the first. With a third of the answers being "later", one of
/// half a million requests fails.
const RETRIES_MAX: usize = 12;
/// The first wait before a request is tried again; the next are about twice as long each.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a request is tried again.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How an object store is reached.
#[derive(Clone)]
pub struct StoreOptions {
    /// The variables that say where it is and who we are (`AWS_ENDPOINT_URL`, `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID` …); as a rule all of this process.
    pub variables: Vec<(String, String)>,
    /// How long a request that fails is tried again. A call that asks once ends within this and
    /// one [`REQUEST_TIMEOUT`].
    pub retry_for: Duration,
}

impl StoreOptions {
    /// The variables of this process, and the usual patience.
    #[must_use]
    pub fn from_env() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(text).collect(), retry_for: RETRY_FOR }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }
}

// Secrets are in there.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("StoreOptions")
            .field("variables", &names)
            .field("retry_for", &self.retry_for)
            .finish()
    }
}

/// A store, where in it our objects are, and what only stores of its kind can do.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: Path,
    pub(super) kind: Kind,
}

/// Kinds of stores.
#[derive(Debug)]
pub(super) enum Kind {
    /// Speaks S3; the client is for what the library does not ask by itself.
    S3 { s3: Arc<AmazonS3>, client: HttpClient },
    /// A folder that all nodes see.
    Folder(PathBuf),
    /// Any other.
    Other,
}

pub(super) fn connect(
    url: &str,
    options: &StoreOptions,
    figures: &ObjectFigures,
) -> io::Result<Connected> {
    let wrong = |error: &dyn fmt::Display| {
        let text = format!("{url}: {error}: give s3://bucket/prefix or file:///folder");
        io::Error::new(ErrorKind::InvalidInput, text)
    };
    let parsed = Url::parse(url).map_err(|error| wrong(&error))?;
    let (scheme, prefix) = ObjectStoreScheme::parse(&parsed).map_err(|error| wrong(&error))?;
    match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let s3 = s3(url, options, figures).map_err(|error| wrong(&error))?;
            let s3 = Arc::new(s3);
            let client = counting(figures).connect(&client_options(options));
            let client = client.map_err(|error| wrong(&error))?;
            Ok(Connected { store: s3.clone(), prefix, kind: Kind::S3 { s3, client } })
        }
        ObjectStoreScheme::Local => {
            let folder = parsed.to_file_path().map_err(|()| wrong(&"it names no folder"))?;
            crate::disk::create_dir_all(&folder)?;
            let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| wrong(&error))?;
            let store = Arc::new(store.with_automatic_cleanup(true));
            Ok(Connected { store, prefix: Path::default(), kind: Kind::Folder(folder) })
        }
        _ => {
            let pairs = options.variables.iter().map(|(name, value)| (name, value.clone()));
            let opened = object_store::parse_url_opts(&parsed, pairs);
            let (store, prefix) = opened.map_err(|error| wrong(&error))?;
            Ok(Connected { store: store.into(), prefix, kind: Kind::Other })
        }
    }
}

fn s3(
    url: &str,
    options: &StoreOptions,
    figures: &ObjectFigures,
) -> Result<AmazonS3, Box<dyn std::error::Error + Send + Sync>> {
    let timeout = |key| AmazonS3ConfigKey::Client(key);
    let mut builder = AmazonS3Builder::new()
        .with_config(timeout(ClientConfigKey::Timeout), words(REQUEST_TIMEOUT))
        .with_config(timeout(ClientConfigKey::ConnectTimeout), words(CONNECT_TIMEOUT))
        .with_allow_http(plain_http(options));
    for (name, value) in profile::read(options)?.iter().chain(&options.variables) {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()
            && name.starts_with("AWS_")
            && !value.is_empty()
        {
            builder = builder.with_config(key, value);
        }
    }
    let backoff = BackoffConfig { init_backoff: WAIT_FIRST, max_backoff: WAIT_MAX, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: options.retry_for };
    let builder = builder.with_url(url).with_retry(retry).with_http_connector(counting(figures));
    Ok(builder.build()?)
}

/// Whoever writes `http://` into the endpoint wants no TLS.
fn plain_http(options: &StoreOptions) -> bool {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    names.iter().any(|name| options.get(name).is_some_and(|url| url.starts_with("http://")))
}

fn client_options(options: &StoreOptions) -> ClientOptions {
    let mut client = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(plain_http(options));
    for (name, value) in &options.variables {
        if let Some(AmazonS3ConfigKey::Client(key)) =
            name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse().ok()).flatten()
        {
            client = client.with_config(key, value);
        }
    }
    client
}

fn words(time: Duration) -> String {
    format!("{} seconds", time.as_secs())
}

fn counting(figures: &ObjectFigures) -> Counting {
    Counting { figures: figures.clone() }
}

/// Counts requests, and those that failed or were put off, which the library tries again by itself.
#[derive(Debug)]
struct Counting {
    figures: ObjectFigures,
}

#[derive(Debug)]
struct CountingClient {
    client: HttpClient,
    figures: ObjectFigures,
}

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(CountingClient { client, figures: self.figures.clone() }))
    }
}

impl HttpService for CountingClient {
    fn call<'life, 'answer>(
        &'life self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'answer>>
    where
        'life: 'answer,
        Self: 'answer,
    {
        Box::pin(async move {
            self.figures.requests.inc();
            let answer = self.client.execute(request).await;
            let is_put_off = answer.as_ref().map_or(true, |answer| {
                let status = answer.status();
                status.is_server_error() || [408, 429].contains(&status.as_u16())
            });
            if is_put_off {
                self.figures.requests_failed.inc();
            }
            answer
        })
    }
}

/// Whether a URL names a folder that is not there: it may not be mounted.
pub(super) fn is_absent_folder(url: &str) -> bool {
    let folder = Url::parse(url).ok().filter(|url| url.scheme() == "file");
    folder.and_then(|url| url.to_file_path().ok()).is_some_and(|folder| !folder.exists())
}

/// The path of an object in the store.
pub(super) fn location(prefix: &Path, name: &str) -> Path {
    Path::from_iter(prefix.parts().chain(Path::from(name).parts()))
}

/// The file of an object in a store that is a folder.
pub(super) fn file_of(folder: &FilePath, name: &str) -> PathBuf {
    folder.join(name)
}
