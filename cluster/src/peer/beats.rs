//! Heartbeats of all groups that one node leads, to another node: one call instead of one a group.
//!
//! The groups of a node beat at the same moments, and what is for the same node travels together:
//! so many calls as there are other nodes, not groups. (What it saves of an idle node is not much:
//! docs/performance.md.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::future::join_all;
use platform::clock::Clock;
use tokio::sync::oneshot;

use super::raft::{RAFT_CALL, transport_error};
use super::{PeerError, Peers};
use crate::raft::TransportError;

/// The name of the call.
pub(super) const BEATS_CALL: &str = "beats";
/// How long a heartbeat waits for others that go the same way: little of what a member grants.
const GATHER_WAIT: Duration = Duration::from_millis(5);
/// How long a member may take to answer before the others are answered without it.
const MEMBER_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long a call may take at most; by then its heartbeats are out of date.
const CALL_WAIT_MAX: Duration = Duration::from_secs(1);

type Answer = Result<Bytes, TransportError>;

/// Heartbeats that are about to leave, by address. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox(Arc<Mutex<HashMap<String, Vec<Waiting>>>>);

#[derive(Debug)]
struct Waiting {
    call: Bytes,
    answer: oneshot::Sender<Answer>,
}

impl Outbox {
    /// Sends a call of one group with those of others, and returns its answer.
    pub(super) async fn send(&self, peers: &Peers, address: &str, call: Bytes) -> Answer {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = waiting.entry(address.to_owned()).or_default();
            waiting.push(Waiting { call, answer });
            waiting.len() == 1
        };
        if is_first {
            tokio::spawn(self.clone().leave(peers.clone(), address.to_owned()));
        }
        let lost = || Err(TransportError::Broken("the call was given up".to_owned()));
        answered.await.unwrap_or_else(|_| lost())
    }

    async fn leave(self, peers: Peers, address: String) {
        Clock::system().sleep(GATHER_WAIT).await;
        let together = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.remove(&address).unwrap_or_default()
        };
        if together.len() == 1 {
            return each(&peers, &address, together).await;
        }
        let body = pack(together.iter().map(|waiting| &waiting.call));
        match peers.call(&address, BEATS_CALL, body, CALL_WAIT_MAX).await {
            Ok(answers) => {
                for (waiting, answer) in together.into_iter().zip(Answers(answers)) {
                    // Who asked may have given up: nobody is told then.
                    drop(waiting.answer.send(answer));
                }
            }
            // A node that starts, or of the version before, knows no such call. Whoever cannot be reached is not
            // tried again: that it is not tells a leader to be silent for a while, and so the
            // members that hear it, and whom it does not hear, to choose another one.
            Err(PeerError::NotDone { .. }) => {
                each(&peers, &address, together).await;
            }
            Err(error) => {
                let error = transport_error(error);
                for waiting in together {
                    drop(waiting.answer.send(Err(error.clone())));
                }
            }
        }
    }
}

/// Each in a call of its own.
async fn each(peers: &Peers, address: &str, together: Vec<Waiting>) {
    let calls = together.into_iter().filter(|waiting| !waiting.answer.is_closed());
    join_all(calls.map(|Waiting { call, answer }| async move {
        let answered = peers.call(address, RAFT_CALL, call, CALL_WAIT_MAX).await;
        drop(answer.send(answered.map_err(transport_error)));
    }))
    .await;
}

fn pack<'a>(calls: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut body = BytesMut::new();
    for call in calls {
        put(&mut body, call);
    }
    body.freeze()
}

fn put(body: &mut BytesMut, bytes: &[u8]) {
    body.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    body.put_slice(bytes);
}

fn take(body: &mut Bytes) -> Option<Bytes> {
    let bytes = usize::try_from(body.try_get_u32_le().ok()?).ok()?;
    (bytes <= body.len()).then(|| body.split_to(bytes))
}

/// Answers heartbeats that came together: `answer` is asked for each.
pub(super) async fn answer<F>(mut body: Bytes, answer: impl Fn(Bytes) -> F) -> Result<Bytes, String>
where
    F: Future<Output = Result<Bytes, String>>,
{
    let mut calls = Vec::new();
    while !body.is_empty() {
        calls.push(take(&mut body).ok_or("heartbeats that cannot be read")?);
    }
    let answers = calls.into_iter().map(|call| {
        let answer = answer(call);
        async move { Clock::system().timeout(MEMBER_WAIT_MAX, answer).await }
    });
    let mut body = BytesMut::new();
    for answer in join_all(answers).await {
        let (kind, bytes) = match answer {
            Some(Ok(answer)) => (ANSWERED, answer),
            Some(Err(why)) => (REFUSED, why.into()),
            None => (LATE, Bytes::new()),
        };
        body.put_u8(kind);
        put(&mut body, &bytes);
    }
    Ok(body.freeze())
}

const ANSWERED: u8 = 0;
const REFUSED: u8 = 1;
const LATE: u8 = 2;

/// The answers of a call, in order; behind what cannot be read all others are given up.
struct Answers(Bytes);

impl Iterator for Answers {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        let kind = self.0.try_get_u8().ok()?;
        let bytes = take(&mut self.0)?;
        Some(match kind {
            ANSWERED => Ok(bytes),
            REFUSED => Err(TransportError::Refused(String::from_utf8_lossy(&bytes).into_owned())),
            _ => Err(TransportError::Broken("the member did not answer in time".to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(call: Bytes) -> Result<Bytes, String> {
        match &call[..] {
            b"no" => Err("there is a reason".to_owned()),
            b"slow" => std::future::pending().await,
            _ => Ok(call),
        }
    }

    #[tokio::test]
    async fn each_is_answered_by_itself() {
        let calls = ["one", "no", "slow", ""].map(Bytes::from);
        let answers = answer(pack(calls.iter()), echo).await.unwrap();
        let answers: Vec<_> = Answers(answers).collect();
        let [Ok(one), Err(TransportError::Refused(why)), Err(TransportError::Broken(_)), Ok(empty)] =
            &answers[..]
        else {
            panic!("{answers:?}");
        };
        assert_eq!((&one[..], &why[..], &empty[..]), (&b"one"[..], "there is a reason", &b""[..]));
    }

    #[tokio::test]
    async fn what_is_cut_is_refused() {
        let whole = pack([Bytes::from_static(b"one"), Bytes::from_static(b"two")].iter());
        for end in 1..whole.len() {
            let read = answer(whole.slice(..end), echo).await;
            assert_eq!(read.is_ok(), end == 7, "{end} bytes: {read:?}");
        }
        assert_eq!(Answers(Bytes::from_static(&[0, 9, 0, 0, 0, 1])).count(), 0);
    }
}
