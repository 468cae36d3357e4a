//! Ways to nodes that are not reached directly: through another one that reaches them, and hands on what is
//! asked. It asks directly itself, so that nothing goes round in circles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use model::node::NodeId;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::{FlightStream, PeerError, PeerServer, Peers};

/// The name of the call that has a call handed on. A node that does not know it does nothing.
const THROUGH_CALL: &str = "through";
/// First byte of a ticket that has a ticket handed on.
const THROUGH_TICKET: u8 = b'V';
/// Bytes of calls that a node hands on for others at a time, in units of [`UNIT_BYTES`].
const THROUGH_UNITS_MAX: u32 = 65_536;
/// What a small call counts for.
const UNIT_BYTES: usize = 1_024;

/// A way to a node through another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    /// The node that is not reached directly.
    pub node: NodeId,
    /// Where the one is reached that reaches it.
    pub through: String,
}

/// The ways that are not direct, by the addresses to which they lead.
#[derive(Debug)]
pub(super) struct Detours(watch::Sender<HashMap<String, Detour>>);

impl Default for Detours {
    fn default() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }
}

/// What is handed on, before its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    node: NodeId,
    /// The name of a call; of a ticket none.
    #[serde(default)]
    name: String,
    wait_ms: u64,
}

/// Why what was handed on was not done.
#[derive(Debug, Serialize, Deserialize)]
enum Undone {
    Unreachable(String),
    Late(u64),
    NotDone(String),
    Refused(String),
    Failed(String),
}

impl Undone {
    fn of(error: PeerError) -> Self {
        match error {
            PeerError::Unreachable { why, .. } => Self::Unreachable(why),
            PeerError::Late { ms, .. } => Self::Late(ms),
            PeerError::NotDone { why, .. } => Self::NotDone(why),
            PeerError::Refused { why, .. } => Self::Refused(why),
            PeerError::Failed { why, .. } => Self::Failed(why),
        }
    }

    fn at(self, address: &str) -> PeerError {
        let address = address.to_owned();
        match self {
            Self::Unreachable(why) => PeerError::Unreachable { address, why },
            Self::Late(ms) => PeerError::Late { address, ms },
            Self::NotDone(why) => PeerError::NotDone { address, why },
            Self::Refused(why) => PeerError::Refused { address, why },
            Self::Failed(why) => PeerError::Failed { address, why },
        }
    }
}

/// First byte of an answer that was given.
const DONE: u8 = 0;
/// First byte of one that says why there is none.
const UNDONE: u8 = 1;

fn pack(kind: &[u8], head: &Head, body: &[u8]) -> Bytes {
    let head = serde_json::to_vec(head).expect("words and numbers have a JSON form");
    let mut bytes = BytesMut::with_capacity(kind.len() + 4 + head.len() + body.len());
    bytes.put_slice(kind);
    bytes.put_u32_le(u32::try_from(head.len()).expect("a head is short"));
    bytes.put_slice(&head);
    bytes.put_slice(body);
    bytes.freeze()
}

fn unpack(mut bytes: Bytes) -> Option<(Head, Bytes)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let end = length.checked_add(4)?;
    let head = serde_json::from_slice(bytes.get(4..end)?).ok()?;
    Some((head, bytes.split_off(end)))
}

fn pack_answer(done: Result<Bytes, PeerError>) -> Result<Bytes, String> {
    let (kind, body) = match done {
        Ok(body) => (DONE, body),
        Err(error) => {
            let words = serde_json::to_vec(&Undone::of(error)).map_err(|e| e.to_string())?;
            (UNDONE, words.into())
        }
    };
    Ok([&[kind][..], &body[..]].concat().into())
}

/// An answer as the node gave it; one that cannot be read leaves open what was done.
fn unpack_answer(mut answer: Bytes, address: &str) -> Result<Bytes, PeerError> {
    let unread = || Undone::Unreachable("what was handed back cannot be read".to_owned());
    match answer.first().copied() {
        Some(DONE) => Ok(answer.split_off(1)),
        Some(UNDONE) => {
            let undone = answer.get(1..).and_then(|words| serde_json::from_slice(words).ok());
            Err(undone.unwrap_or_else(unread).at(address))
        }
        _ => Err(unread().at(address)),
    }
}

impl Peers {
    /// From now on what is asked at these addresses goes through others, and at all others directly.
    pub fn go_through(&self, detours: HashMap<String, Detour>) {
        self.detours().0.send_if_modified(|known| {
            let is_new = *known != detours;
            *known = detours;
            is_new
        });
    }

    /// The way to an address, where it is not direct.
    #[must_use]
    pub fn detour(&self, address: &str) -> Option<Detour> {
        self.detours().0.borrow().get(address).cloned()
    }

    /// Returns when the way to an address is not direct any more.
    pub(super) async fn until_detour(&self, address: &str) {
        let mut detours = self.detours().0.subscribe();
        // The sender lives as long as we do.
        drop(detours.wait_for(|detours| detours.contains_key(address)).await);
    }

    /// Asks a node to do something by name, through another one.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn call_through(
        &self,
        detour: &Detour,
        (address, name): (&str, &str),
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let head = head_of(detour.node, name, deadline);
        let asked = pack(&[], &head, &body);
        let answer = self.call_directly(&detour.through, THROUGH_CALL, asked, deadline).await?;
        unpack_answer(answer, address)
    }

    /// Asks a node for a stream, through another one.
    pub(super) async fn stream_through(
        &self,
        detour: &Detour,
        ticket: &Bytes,
        deadline: Duration,
    ) -> Result<FlightStream, PeerError> {
        let ticket = pack(&[THROUGH_TICKET], &head_of(detour.node, "", deadline), ticket);
        self.stream_directly(&detour.through, ticket, deadline).await
    }
}

/// What a call of so many bytes counts for: one that is larger than all goes when no other one does.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes / UNIT_BYTES + 1)
        .map_or(THROUGH_UNITS_MAX, |units| units.min(THROUGH_UNITS_MAX))
}

fn head_of(node: NodeId, name: &str, deadline: Duration) -> Head {
    let wait_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    Head { node, name: name.to_owned(), wait_ms }
}

impl PeerServer {
    /// From now on what others do not reach themselves is handed on to nodes whose addresses are known.
    pub fn hand_on(
        &self,
        address_of: impl Fn(NodeId) -> Option<String> + Clone + Send + Sync + 'static,
    ) {
        let (peers, calls) = (self.peers(), Arc::new(Semaphore::new(THROUGH_UNITS_MAX as usize)));
        let find = address_of.clone();
        self.on_call(THROUGH_CALL, move |asked| {
            let (peers, calls, find) = (peers.clone(), calls.clone(), find.clone());
            async move {
                let (head, body) = unpack(asked).ok_or("a call to hand on that cannot be read")?;
                let undone = |why: &str| {
                    let (address, why) = (head.node.to_string(), why.to_owned());
                    pack_answer(Err(PeerError::NotDone { address, why }))
                };
                let Some(address) = find(head.node).filter(|_| head.name != THROUGH_CALL) else {
                    return undone("it is not handed on");
                };
                let Ok(_held) = calls.try_acquire_many_owned(units(body.len())) else {
                    return undone("too much is being handed on");
                };
                let wait = Duration::from_millis(head.wait_ms);
                pack_answer(peers.call_directly(&address, &head.name, body, wait).await)
            }
        });
        let peers = self.peers();
        self.on_ticket(THROUGH_TICKET, move |asked| {
            let (peers, find) = (peers.clone(), address_of.clone());
            async move {
                let (head, ticket) = unpack(asked).ok_or("a ticket that cannot be read")?;
                let is_once = ticket.first() != Some(&THROUGH_TICKET);
                let address = find(head.node).filter(|_| is_once);
                let address = address.ok_or("it is not handed on")?;
                let wait = Duration::from_millis(head.wait_ms);
                let stream = peers.stream_directly(&address, ticket, wait).await;
                Ok(stream.map_err(|error| error.to_string())?.boxed())
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_reads_back_and_what_became_of_it() {
        let head = head_of(NodeId(7), "twice", Duration::from_secs(2));
        let packed = pack(&[], &head, b"ab");
        let (head, body) = unpack(packed.clone()).unwrap();
        assert_eq!((head.node, head.name.as_str(), head.wait_ms), (NodeId(7), "twice", 2_000));
        assert_eq!(body, "ab");
        for cut in 0..packed.len() - 2 {
            assert!(unpack(packed.slice(..cut)).is_none(), "{cut}");
        }
        let back = |done| unpack_answer(pack_answer(done).unwrap(), "there:1");
        assert_eq!(back(Ok(Bytes::from_static(b"abab"))).unwrap(), "abab");
        assert_eq!(back(Ok(Bytes::new())).unwrap(), "");
        let (address, why) = ("elsewhere:1".to_owned(), "busy".to_owned());
        let undone = back(Err(PeerError::NotDone { address, why })).unwrap_err();
        assert!(!undone.is_ambiguous() && undone.to_string().contains("there:1"), "{undone}");
        let late = back(Err(PeerError::Late { address: String::new(), ms: 5 })).unwrap_err();
        assert!(late.is_ambiguous() && late.to_string().contains("5 ms"), "{late}");
        assert_eq!([0, 1_023, 1_024, 64 << 20, usize::MAX].map(units), [1, 1, 2, 65_536, 65_536]);
        // What a later version says leaves it open.
        for answer in [&b""[..], b"\x01{\"Tired\":5}", b"\x09"] {
            let open = unpack_answer(Bytes::copy_from_slice(answer), "there:1").unwrap_err();
            assert!(open.is_ambiguous(), "{open}");
        }
    }
}
