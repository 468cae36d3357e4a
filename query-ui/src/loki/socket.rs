//! A WebSocket from the serving side (RFC 6455), as much of it as a tail needs: whole messages go out;
//! of what the other side says, pings are answered, the end is heard, the rest is passed over.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, BytesMut};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What is hashed behind the client's key, by the protocol.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a frame that is heard: a reader of a tail has nothing to say.
const HEARD_BYTES_MAX: usize = 4 << 10;
/// Bytes of a frame's head: two, eight of the length, four of the mask.
const HEAD_BYTES_MAX: usize = 14;
/// Bytes of the reason for the end.
const REASON_BYTES_MAX: usize = 120;
/// The node could not go on, as the end's code.
const FAILED: u16 = 1011;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The other side went, or says what cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// A request that wants to go on as a WebSocket.
pub(super) struct Upgrade {
    connection: OnUpgrade,
    accept: HeaderValue,
}

impl Upgrade {
    /// None when the request does not ask for it.
    pub(super) fn of(parts: &mut Parts) -> Option<Self> {
        let says = |name, word: &str| {
            let value = parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            value.is_some_and(|text| {
                text.split(',').any(|one| one.trim().eq_ignore_ascii_case(word))
            })
        };
        let asked = says(header::CONNECTION, "upgrade")
            && says(header::UPGRADE, "websocket")
            && says(header::SEC_WEBSOCKET_VERSION, "13");
        let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked)?;
        let accept = HeaderValue::from_str(&accept(key.as_bytes())).ok()?;
        Some(Self { connection: parts.extensions.remove::<OnUpgrade>()?, accept })
    }

    /// The answer, after which the connection is one.
    pub(super) fn answer(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        response
    }

    /// The connection, once the answer is out.
    pub(super) async fn connected(self) -> Result<Socket, Gone> {
        let connection = self.connection.await.map_err(|_| Gone)?;
        Ok(Socket { connection: TokioIo::new(connection), heard: BytesMut::new() })
    }
}

fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// The connection.
pub(super) struct Socket {
    connection: TokioIo<Upgraded>,
    heard: BytesMut,
}

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    payload: Vec<u8>,
}

impl Socket {
    /// Sends a message.
    pub(super) async fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.send(TEXT, text.as_bytes()).await
    }

    /// Asks whether the other side is there.
    pub(super) async fn ping(&mut self) -> Result<(), Gone> {
        self.send(PING, &[]).await
    }

    /// Says why there is no more.
    pub(super) async fn close(&mut self, reason: &str) -> Result<(), Gone> {
        let reason = model::text::cut(reason, REASON_BYTES_MAX);
        self.send(CLOSE, &[&FAILED.to_be_bytes(), reason.as_bytes()].concat()).await
    }

    /// Waits for a sign of the other side; one that is not awaited to its end is not lost.
    pub(super) async fn hear(&mut self) -> Result<(), Gone> {
        loop {
            if let Some(frame) = frame(&mut self.heard)? {
                return match frame.kind {
                    CLOSE => Err(Gone),
                    PING => self.send(PONG, &frame.payload).await,
                    _ => Ok(()),
                };
            }
            if self.connection.read_buf(&mut self.heard).await.map_err(|_| Gone)? == 0 {
                return Err(Gone);
            }
        }
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), Gone> {
        let frame = framed(kind, payload);
        self.connection.write_all(&frame).await.map_err(|_| Gone)?;
        self.connection.flush().await.map_err(|_| Gone)
    }
}

/// A whole message as it goes out: not masked, in one frame.
fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD_BYTES_MAX + payload.len());
    frame.push(0x80 | kind);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => frame.push(short),
        (_, Ok(middle)) => {
            frame.push(126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Takes a frame from what came; none when it is not whole yet.
fn frame(heard: &mut BytesMut) -> Result<Option<Frame>, Gone> {
    let (Some(first), Some(second)) = (heard.first().copied(), heard.get(1).copied()) else {
        return Ok(None);
    };
    // Clients must mask.
    if second & 0x80 == 0 {
        return Err(Gone);
    }
    let (length, head) = match second & 0x7f {
        126 => match heard.get(2..4).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (usize::from(u16::from_be_bytes(bytes)), 4),
            None => return Ok(None),
        },
        // Nothing that long is heard.
        127 => return Err(Gone),
        short => (usize::from(short), 2),
    };
    if length > HEARD_BYTES_MAX {
        return Err(Gone);
    }
    if heard.len() < head + 4 + length {
        return Ok(None);
    }
    heard.advance(head);
    let mask = heard.split_to(4);
    let payload = heard.split_to(length);
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some(Frame { kind: first & 0x0f, payload }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_protocol() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_are_read_when_they_are_whole() {
        // The example of the protocol: "Hello", masked.
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut heard = BytesMut::new();
        for byte in &bytes[..10] {
            heard.extend_from_slice(&[*byte]);
            assert_eq!(frame(&mut heard), Ok(None));
        }
        heard.extend_from_slice(&bytes[10..]);
        let expected = Frame { kind: TEXT, payload: b"Hello".to_vec() };
        assert_eq!(frame(&mut heard), Ok(Some(expected)));
        assert!(heard.is_empty());
        assert_eq!(frame(&mut BytesMut::from(&[0x81, 0x05][..])), Err(Gone));
        assert_eq!(frame(&mut BytesMut::from(&[0x82, 0xff][..])), Err(Gone));
    }

    #[test]
    fn lengths_are_written_in_three_ways() {
        let head = |length: usize| framed(TEXT, &vec![b'x'; length])[..4].to_vec();
        assert_eq!(head(125), [0x81, 125, b'x', b'x']);
        assert_eq!(head(126), [0x81, 126, 0, 126]);
        assert_eq!(head(70_000), [0x81, 127, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_end_or_are_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut heard = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = frame(&mut heard) {
                prop_assert!(frame.payload.len() <= HEARD_BYTES_MAX);
            }
        }
    }
}
