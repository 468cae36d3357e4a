//! Real connections: certificates, tokens that change, nodes that die.
#![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::batch::{BatchBuilder, Sequence};
use model::record::Record;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::pack::Workbench;
use crate::receiver::{Fault, Receiver};

fn batch(producer: u64, message: &str) -> Bytes {
    let mut builder =
        BatchBuilder::new(IndexName::default(), Labels::new(Vec::new()).expect("labels"));
    let record = Record { message: message.to_owned(), ..Record::default() };
    builder.push(record, Timestamp(1));
    let sequence = Sequence { producer, epoch: 0, from: 0, to: 1 };
    Workbench::default().encode(builder.finish(), sequence).unwrap()
}

fn config(urls: &[&str]) -> Config {
    let to = urls.iter().map(|url| (*url).to_owned()).collect();
    Config { to, ..Config::new("", "/s", vec!["/a".to_owned()]) }
}

fn target(config: &Config) -> Target {
    Target::new(config, Clock::system(), Metrics::new(&config.metrics)).unwrap()
}

async fn sent(target: &Target, producer: u64, message: &str) -> Reply {
    let board = Board::default();
    let shutdown = Shutdown::default();
    let batch = batch(producer, message);
    let patience = Patience::For(Duration::ZERO);
    target.deliver(producer, &batch, patience, &board, &shutdown).await.unwrap()
}

/// Why a batch is not taken just now.
async fn refusal(config: &Config) -> String {
    match target(config).attempt(0, &batch(1, "refused"), ANSWER_TIME_MAX).await {
        Ok(reply) => panic!("{reply:?}"),
        Err(failure) => failure.message,
    }
}

/// Passes connections on to a node once it may; those of before it holds for ever. How many it held.
fn front_of(node: &str, listener: TcpListener, may: watch::Receiver<bool>) -> Arc<AtomicUsize> {
    let node = node.trim_start_matches("http://").to_owned();
    let held_count = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&held_count);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            if *may.borrow() {
                let mut node = TcpStream::connect(&node).await.unwrap();
                tokio::spawn(async move {
                    tokio::io::copy_bidirectional(&mut client, &mut node).await.ok();
                });
            } else {
                held.push(client);
                count.store(held.len(), Ordering::Relaxed);
            }
        }
    });
    held_count
}

#[tokio::test]
async fn a_node_that_was_silent_and_answers_again_is_asked_anew() {
    let receiver = Receiver::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = format!("http://me:secret@{}", listener.local_addr().unwrap());
    let (answers, may) = watch::channel(false);
    let held_count = front_of(&receiver.url, listener, may);
    let ms = Duration::from_millis;
    let mut target = target(&config(&[&front]));
    target.silence = Silence { after: ms(50), period: ms(20), answer: ms(100), grace: ms(100) };
    let (board, shutdown, clock) = (Board::default(), Shutdown::default(), Clock::system());
    let (start, batch) = (clock.elapsed(), batch(1, "late"));
    let sending = target.deliver(1, &batch, Patience::Endless, &board, &shutdown);
    let said = async {
        // The batch, and a probe.
        while held_count.load(Ordering::Relaxed) < 2 {
            clock.sleep(ms(5)).await;
        }
        answers.send(true).unwrap();
        board.status().last_error
    };
    let (reply, said) = tokio::join!(sending, said);
    let said = said.unwrap_or_default();
    assert!(said.contains("***@") && said.contains("no answer for"), "{said}");
    assert!(matches!(reply, Some(Reply::Taken(_))), "{reply:?}");
    assert!(clock.elapsed() - start < ANSWER_TIME_MAX && board.status().last_error.is_none());
}

/// An authority, and a pair of files it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn issue(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// What was agreed on for each connection that was made.
type Agreed = Arc<Mutex<Vec<Option<Vec<u8>>>>>;

/// Listens with TLS before a receiver; asks clients for a certificate of the authority.
async fn tls_front(folder: &Path, receiver: &Receiver) -> String {
    front(folder, receiver, &[]).await.0
}

/// The same, which says that it speaks these protocols.
async fn front(folder: &Path, receiver: &Receiver, protocols: &[&str]) -> (String, Agreed) {
    platform::tls::install();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = vec![CertificateDer::from_pem_file(folder.join("node.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("node.key")).unwrap();
    let server = rustls::ServerConfig::builder().with_client_cert_verifier(clients);
    let mut server = server.with_single_cert(chain, key).unwrap();
    server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let behind = receiver.url.trim_start_matches("http://").to_owned();
    let agreed = Agreed::default();
    let told = agreed.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind, told) = (acceptor.clone(), behind.clone(), told.clone());
            tokio::spawn(async move {
                let Ok(mut front) = acceptor.accept(stream).await else { return };
                let protocol = front.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                told.lock().unwrap().push(protocol);
                let mut back = TcpStream::connect(behind).await.unwrap();
                tokio::io::copy_bidirectional(&mut front, &mut back).await.ok();
            });
        }
    });
    (url, agreed)
}

#[tokio::test]
async fn over_tls_the_nodes_say_which_http_is_spoken_and_over_http_2_one_connection_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    fs::write(folder.path().join("ca.pem"), ours.0.pem()).unwrap();
    ours.issue(folder.path(), "node");
    ours.issue(folder.path(), "client");
    let file = |name: &str| Some(folder.path().join(name));
    let tls = Tls {
        ca_file: file("ca.pem"),
        cert_file: file("client.pem"),
        key_file: file("client.key"),
    };
    let both = &["h2", "http/1.1"][..];
    for (offered, http_version, expected) in [
        (both, HttpVersion::Auto, Some("h2")),
        (&both[1..], HttpVersion::Auto, Some("http/1.1")),
        (&both[2..], HttpVersion::Auto, None),
        (both, HttpVersion::One, Some("http/1.1")),
        (both, HttpVersion::Two, Some("h2")),
    ] {
        let receiver = Receiver::start().await;
        let (url, agreed) = front(folder.path(), &receiver, offered).await;
        let target = target(&Config { tls: tls.clone(), http_version, ..config(&[&url]) });
        assert!(matches!(sent(&target, 100, "first").await, Reply::Taken(_)));
        let more = (0..8).map(|producer| sent(&target, producer + 1, "one of many"));
        let replies = futures::future::join_all(more).await;
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Taken(_))), "{replies:?}");
        receiver.messages(9).await;
        let agreed = agreed.lock().unwrap().clone();
        let expected = expected.map(|name| name.as_bytes().to_vec());
        assert!(agreed.iter().all(|it| *it == expected), "{offered:?} {agreed:?}");
        if expected == Some(b"h2".to_vec()) {
            assert_eq!(agreed.len(), 1, "{http_version:?}");
        }
    }
}

#[tokio::test]
async fn without_tls_http_2_is_spoken_where_that_is_set() {
    let receiver = Receiver::start().await;
    let target = target(&Config { http_version: HttpVersion::Two, ..config(&[&receiver.url]) });
    assert!(matches!(sent(&target, 1, "over one connection").await, Reply::Taken(_)));
    receiver.messages(1).await;
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| Some(folder.path().join(name));
    let (ours, stranger) = (Authority::new(), Authority::new());
    fs::write(folder.path().join("ca.pem"), ours.0.pem()).unwrap();
    fs::write(folder.path().join("stranger.pem"), stranger.0.pem()).unwrap();
    ours.issue(folder.path(), "node");
    ours.issue(folder.path(), "client");
    stranger.issue(folder.path(), "other");
    let receiver = Receiver::start().await;
    let url = tls_front(folder.path(), &receiver).await;
    let tls = |ca: &str, own: Option<&str>| Tls {
        ca_file: file(ca),
        cert_file: own.and_then(|own| file(&format!("{own}.pem"))),
        key_file: own.and_then(|own| file(&format!("{own}.key"))),
    };
    let other_name = url.replace("localhost", "127.0.0.1");
    // Where the node does the refusing, its words may be lost with the connection.
    for (wrong, url, word) in [
        (tls("stranger.pem", Some("client")), &url, "tls.ca_file"),
        (tls("ca.pem", Some("client")), &other_name, "for other names"),
        (tls("ca.pem", None), &url, ""),
        (tls("ca.pem", Some("other")), &url, ""),
    ] {
        let said = refusal(&Config { tls: wrong, ..config(&[url]) }).await;
        assert!(said.contains(word), "{said}");
    }
    assert!(receiver.stored().is_empty());
    let right = tls("ca.pem", Some("client"));
    let target = target(&Config { tls: right, ..config(&[&url]) });
    assert!(matches!(sent(&target, 1, "over TLS").await, Reply::Taken(_)));
    receiver.messages(1).await;
    let refused = |tls: Tls| check(&Config { tls, ..config(&[&url]) }).unwrap_err().to_string();
    assert!(refused(Tls { key_file: None, ..tls("ca.pem", Some("client")) }).contains("key_file"));
    assert!(refused(tls("ca.key", None)).contains("ca.key"));
    assert!(refused(tls("client.key", None)).contains("has no certificate"));
    let crossed = Tls { key_file: file("ca.pem"), ..tls("ca.pem", Some("client")) };
    assert!(refused(crossed).contains("no pair"));
}

#[tokio::test]
async fn what_is_sent_goes_to_the_address_that_is_set_and_follows_nobody() {
    let (one, two) = (Receiver::start().await, Receiver::start().await);
    for status in [301, 302, 303, 307, 308] {
        one.fail([Fault::Elsewhere(status, format!("{}{BATCHES_PATH}", two.url))]);
        let said = refusal(&config(&[&one.url])).await;
        assert!(said.contains(&format!("{status}")) && said.contains(&two.url), "{said}");
        assert!(said.contains("is not followed"), "{said}");
    }
    assert_eq!((one.counts().0, two.counts().0), (5, 0));
    // It is tried again there, and nothing is lost.
    one.fail([Fault::Elsewhere(302, two.url.clone())]);
    let target = target(&config(&[&one.url]));
    assert!(matches!(sent(&target, 1, "here").await, Reply::Taken(_)));
    assert_eq!((one.stored().len(), two.counts().0), (1, 0));
}

#[tokio::test]
async fn a_token_is_read_again_when_its_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "first\n").unwrap();
    let token = Renewed::new(Token::of(&Config {
        token_file: Some(path.clone()),
        ..config(&["http://n"])
    }));
    let token = token.unwrap();
    let second = Duration::from_secs;
    assert_eq!(token.get(second(1)).as_deref(), Some("first"));
    let later = |text: &str, seconds| {
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + second(seconds)).unwrap();
    };
    later("second\n", 1_000);
    assert_eq!(token.get(second(3)).as_deref(), Some("second"));
    // While it is away, the last one holds.
    fs::remove_file(&path).unwrap();
    assert_eq!(token.get(second(5)).as_deref(), Some("second"));
    later("third", 2_000);
    assert_eq!(token.get(second(7)).as_deref(), Some("third"));
    // Nor does one that is no token take its place.
    for (text, seconds) in [("\n", 9), ("two words", 11), ("one\ntwo", 13), ("tok\u{e9}n", 15)] {
        later(text, 1_000 * seconds);
        assert_eq!(token.get(second(seconds)).as_deref(), Some("third"), "{text:?}");
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_about_the_token() {
    let receiver = Receiver::start().await;
    receiver.down(Some(Fault::Status(401)));
    let without = config(&[&receiver.url]);
    assert!(refusal(&without).await.ends_with("the node's token in token_file"));
    let with = Config { token: Some("another".to_owned()), ..without };
    assert!(refusal(&with).await.ends_with("token_file is not that of the node"));
    let url = receiver.url.replace("http://", "http://me:secret@");
    let said = refusal(&Config { to: vec![url], ..with }).await;
    assert!(said.contains("user and password in `to`") && !said.contains("secret"), "{said}");
}

/// Two would be refused by proxies, or the first be taken.
#[tokio::test]
async fn a_request_shows_the_user_of_the_address_or_the_token_and_never_both() {
    use tokio::io::AsyncReadExt as _;
    for (user, shown) in
        [("", "authorization: bearer ours"), ("me:secret@", "authorization: basic")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{user}{}", listener.local_addr().unwrap());
        let with = Config { token: Some("ours".to_owned()), ..config(&[&url]) };
        let (target, batch) = (target(&with), batch(1, "shown"));
        let asked = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
                assert!(stream.read_buf(&mut head).await.unwrap() > 0);
            }
            String::from_utf8_lossy(&head).to_ascii_lowercase()
        };
        let (_, head) = tokio::join!(target.attempt(0, &batch, ANSWER_TIME_MAX), asked);
        assert_eq!(head.matches("authorization:").count(), 1, "{head}");
        assert!(head.contains(shown), "{head}");
    }
}

#[tokio::test]
async fn settings_are_asked_of_the_next_node_where_one_answers_nonsense() {
    let (odd, other) = (proxy("200 OK").await, proxy("204 No Content").await);
    let answer = target(&config(&[&odd, &other])).settings(None).await;
    assert!(matches!(answer, Ok(None)), "{answer:?}");
}

/// Answers one request as a proxy does, in HTML.
async fn proxy(status: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let says = format!("HTTP/1.1 {status}\r\ncontent-length: 13\r\n\r\n<html></html>");
        // An answer that comes before the request is none.
        stream.read_exact(&mut [0]).await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        // What was sent is read, so that the answer is not lost with the connection.
        stream.read_to_end(&mut Vec::new()).await.ok();
    });
    url
}

#[tokio::test]
async fn who_is_kept_out_by_a_proxy_is_told_what_to_look_at() {
    for status in ["401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required"] {
        let said = refusal(&config(&[&proxy(status).await])).await;
        for word in [status, "not a node's answer", "`to`", "token_file"] {
            assert!(said.contains(word), "{said}");
        }
    }
    for status in ["404 Not Found", "405 Method Not Allowed"] {
        let said = refusal(&config(&[&proxy(status).await])).await;
        assert!(said.contains(status) && said.contains("`to`"), "{said}");
    }
}

/// It is waited for, for it may be set right; meanwhile it is said.
#[tokio::test]
async fn a_proxy_that_forbids_is_waited_for_and_named_in_status() {
    let url = proxy("403 Forbidden").await;
    let target = target(&config(&[&url]));
    let (board, shutdown, batch) = (Board::default(), Shutdown::default(), batch(1, "kept out"));
    let sending = target.deliver(1, &batch, Patience::For(Duration::ZERO), &board, &shutdown);
    let said = async {
        let clock = Clock::system();
        while target.metrics.failures.get() == 0 {
            clock.sleep(Duration::from_millis(5)).await;
        }
        shutdown.trigger();
        board.status().last_error.unwrap_or_default()
    };
    let (reply, said) = tokio::join!(sending, said);
    assert!(reply.is_none() && said.contains("403 Forbidden") && said.contains("`to`"), "{said}");
}

#[tokio::test]
async fn only_a_node_says_that_a_record_is_bad_and_a_proxy_that_a_batch_is_large() {
    for status in ["400 Bad Request", "422 Unprocessable Entity"] {
        let said = refusal(&config(&[&proxy(status).await])).await;
        assert!(said.contains(status) && said.contains("`to`"), "{said}");
    }
    let target = target(&config(&[&proxy("413 Payload Too Large").await]));
    let Reply::TurnedAway { why, large: true } = sent(&target, 1, "large").await else {
        panic!("it was taken")
    };
    assert!(why.contains("client_max_body_size"), "{why}");
}

#[tokio::test]
async fn when_nodes_die_the_others_take_over_at_once() {
    let (one, two) = (Receiver::start().await, Receiver::start().await);
    let dead = "http://127.0.0.1:9";
    for balance in [Balance::Sticky, Balance::RoundRobin, Balance::LeastOutstanding] {
        let config = Config { balance, ..config(&[&one.url, dead, &two.url]) };
        let target = target(&config);
        let before = (one.counts().0, two.counts().0);
        let clock = Clock::system();
        let start = clock.elapsed();
        let producer = |n: u64| n + 1_000 * (balance as u64 + 1);
        for n in 0..40 {
            if n == 20 {
                two.down(Some(Fault::Later(60)));
            }
            assert!(matches!(sent(&target, producer(n), "x").await, Reply::Taken(_)));
        }
        let took = clock.elapsed() - start;
        assert!(took < Duration::from_secs(5), "{balance:?} took {took:?}");
        let after = (one.counts().0, two.counts().0);
        assert!(after.0 - before.0 >= 20 && after.1 - before.1 >= 4, "{before:?} {after:?}");
        // Who asked to be left alone is asked once only.
        assert!(after.1 - before.1 <= 21, "{before:?} {after:?}");
        two.down(None);
    }
}

#[test]
fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
    let now = Timestamp::parse("1994-11-06T08:49:07Z").unwrap();
    for (text, seconds) in [
        (" 7 ", Some(7)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
        ("-1", None),
        ("soon", None),
    ] {
        assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
    }
}
