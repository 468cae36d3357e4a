//! Two nodes over real sockets: calls, streams, strangers, certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use model::node::NodeId;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::net::TcpListener;

use super::*;

const WAIT: Duration = Duration::from_secs(5);

async fn serve(cluster: &str, tls: Option<PeerTls>) -> (String, PeerServer, Shutdown) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peers = Peers::new(Clock::system(), None);
    peers.belong_to(cluster);
    let (server, shutdown) = (PeerServer::new(peers), Shutdown::default());
    server.on_call("twice", |body| async move { Ok([body.clone(), body].concat().into()) });
    server.on_call("no", |_| async move { Err("there is a reason".to_owned()) });
    server.on_knock("knock", |body| async move { Ok(body) });
    server.on_ticket(b'C', |rest| async move {
        let count = u8::try_from(rest.len()).unwrap_or_default();
        let data = move |at| {
            Ok(arrow_flight::FlightData { data_body: vec![at; 1_000].into(), ..Default::default() })
        };
        Ok(futures::stream::iter((0..count).map(data)).boxed())
    });
    tokio::spawn(server.clone().serve(listener, tls, shutdown.clone()));
    (address, server, shutdown)
}

fn peers(cluster: &str, tls: Option<PeerTls>) -> Peers {
    let peers = Peers::new(Clock::system(), tls);
    if cluster != NO_CLUSTER {
        peers.belong_to(cluster);
    }
    peers
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_cluster_call_and_stream() {
    let (address, _server, _) = serve("one", None).await;
    let ours = peers("one", None);
    let call = |name: &'static str| {
        let (ours, address) = (ours.clone(), address.clone());
        async move { ours.call(&address, name, Bytes::from_static(b"ab"), WAIT).await }
    };
    assert_eq!(call("twice").await.unwrap(), "abab");
    assert!(
        matches!(call("no").await, Err(PeerError::Failed { why, .. }) if why.contains("reason"))
    );
    // Nothing was begun, and whoever asks knows it.
    let unknown = call("unheard").await.unwrap_err();
    assert!(matches!(&unknown, PeerError::NotDone { .. }), "{unknown}");
    assert!(!unknown.is_ambiguous());
    let unknown = ours.stream(&address, Bytes::from_static(b"?"), WAIT).await;
    assert!(matches!(unknown, Err(PeerError::NotDone { .. })));
    let mut stream = ours.stream(&address, Bytes::from_static(b"Cxyz"), WAIT).await.unwrap();
    let mut bytes = 0;
    while let Some(data) = stream.message().await.unwrap() {
        bytes += data.data_body.len();
    }
    assert_eq!(bytes, 3_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_reached_directly_is_asked_through_another_node() {
    let [(target, ..), (relay, relaying, _), (earlier, ..)] =
        [serve("one", None).await, serve("one", None).await, serve("one", None).await];
    relaying.hand_on(move |node| (node == NodeId(9)).then(|| target.clone()));
    let ours = peers("one", None);
    let away = "127.0.0.1:1";
    let through = |node: u64, relay: &str| {
        let detour = Detour { node: NodeId(node), through: relay.to_owned() };
        ours.go_through([(away.to_owned(), detour)].into());
    };
    let call = |name: &'static str| ours.call(away, name, Bytes::from_static(b"ab"), WAIT);
    assert!(call("twice").await.unwrap_err().is_ambiguous());
    through(9, &relay);
    assert_eq!(call("twice").await.unwrap(), "abab");
    let failed = call("no").await.unwrap_err();
    assert!(failed.to_string().contains(away) && failed.to_string().contains("reason"), "{failed}");
    assert!(matches!(call("unheard").await, Err(PeerError::NotDone { .. })));
    let mut stream = ours.stream(away, Bytes::from_static(b"Cxyz"), WAIT).await.unwrap();
    let mut bytes = 0;
    while let Some(data) = stream.message().await.unwrap() {
        bytes += data.data_body.len();
    }
    assert_eq!(bytes, 3_000);
    // Not twice, not to somebody unknown, not by a program that does not know it: nothing was done.
    assert!(matches!(call("through").await, Err(PeerError::NotDone { .. })));
    through(8, &relay);
    assert!(matches!(call("twice").await, Err(PeerError::NotDone { .. })));
    through(9, &earlier);
    assert!(matches!(call("twice").await, Err(PeerError::NotDone { .. })));
    ours.go_through([].into());
    assert!(matches!(call("twice").await, Err(PeerError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_to_a_node_is_given_up_when_there_is_another_way() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ours = peers("one", None);
    let hour = Duration::from_secs(3_600);
    let asked = {
        let (ours, address) = (ours.clone(), address.clone());
        tokio::spawn(async move { ours.call(&address, "twice", Bytes::new(), hour).await })
    };
    let detour = Detour { node: NodeId(9), through: "127.0.0.1:1".to_owned() };
    ours.go_through([(address, detour)].into());
    let given_up = asked.await.unwrap();
    assert!(given_up.unwrap_err().is_ambiguous());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_and_may_knock() {
    let (address, _server, shutdown) = serve("one", None).await;
    let body = Bytes::from_static(b"x");
    let other = peers("two", None);
    let refused = other.call(&address, "twice", body.clone(), WAIT).await;
    let Err(PeerError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("another cluster than two") && !why.contains("one"), "{why}");
    let nobody = peers(NO_CLUSTER, None);
    assert!(nobody.call(&address, "twice", body.clone(), WAIT).await.is_err());
    assert_eq!(nobody.call(&address, "knock", body.clone(), WAIT).await.unwrap(), body);
    shutdown.trigger();
    let gone = other.call("127.0.0.1:1", "knock", body, WAIT).await;
    assert!(matches!(gone, Err(PeerError::Unreachable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_is_not_heard() {
    let (address, server, _) = serve("one", None).await;
    server.turn_away(|node| node == NodeId(7));
    let body = Bytes::from_static(b"x");
    // Programs before this one do not say who speaks.
    let [nameless, other, removed] = [(); 3].map(|()| peers("one", None));
    other.speak_as(NodeId(8));
    removed.speak_as(NodeId(7));
    for ours in [&nameless, &other] {
        assert_eq!(ours.call(&address, "twice", body.clone(), WAIT).await.unwrap(), "xx");
    }
    let refused = removed.call(&address, "twice", body.clone(), WAIT).await;
    let Err(PeerError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains(REMOVED) && why.contains(&NodeId(7).to_string()), "{why}");
    let stream = removed.stream(&address, Bytes::from_static(b"Cx"), WAIT).await;
    assert!(matches!(stream, Err(PeerError::Refused { .. })));
    // What everybody may ask tells it why.
    assert_eq!(removed.call(&address, "knock", body.clone(), WAIT).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_name_is_heard_until_all_nodes_say_theirs() {
    let (address, server, _) = serve("one", None).await;
    let all = Arc::new(AtomicBool::new(false));
    let known = all.clone();
    server.expect_names(move || known.load(Ordering::Relaxed));
    let body = Bytes::from_static(b"x");
    let [nameless, named] = [(); 2].map(|()| peers("one", None));
    named.speak_as(NodeId(8));
    assert_eq!(nameless.call(&address, "twice", body.clone(), WAIT).await.unwrap(), "xx");
    all.store(true, Ordering::Relaxed);
    let refused = nameless.call(&address, "twice", body.clone(), WAIT).await;
    let Err(PeerError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("the program that the other nodes have"), "{why}");
    let stream = nameless.stream(&address, Bytes::from_static(b"Cx"), WAIT).await;
    assert!(matches!(stream, Err(PeerError::Refused { .. })));
    assert_eq!(named.call(&address, "twice", body.clone(), WAIT).await.unwrap(), "xx");
    // It may ask to come in.
    assert_eq!(nameless.call(&address, "knock", body.clone(), WAIT).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_knows_no_cluster_yet_answers_who_knocks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = PeerServer::new(peers(NO_CLUSTER, None));
    server.on_knock("knock", |body| async move { Ok(body) });
    tokio::spawn(server.serve(listener, None, Shutdown::default()));
    let (ours, body) = (peers("one", None), Bytes::from_static(b"x"));
    let starting = ours.call(&address, "knock", body.clone(), WAIT).await;
    assert!(matches!(starting, Err(PeerError::NotDone { .. })), "{starting:?}");
    assert_eq!(ours.knock(&address, "knock", body.clone(), WAIT).await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_only_those_of_the_authority_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(issue(&path("ca"), &path("a")).unwrap().is_new_authority);
    assert!(!issue(&path("ca"), &path("b")).unwrap().is_new_authority);
    issue(&path("other"), &path("c")).unwrap();
    let tls = |name: &str| Some(PeerTls::read(&path(name)).unwrap());
    let (address, _server, _) = serve("one", tls("a")).await;
    let body = Bytes::from_static(b"x");
    let call = |tls| {
        let (peers, address, body) = (peers("one", tls), address.clone(), body.clone());
        async move { peers.call(&address, "twice", body, WAIT).await }
    };
    assert_eq!(call(tls("b")).await.unwrap(), "xx");
    assert!(call(tls("c")).await.is_err());
    assert!(call(None).await.is_err());
}
