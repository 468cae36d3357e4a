//! The handshake of the forward protocol: both sides show that they know the key, neither says it.

use rmpv::Value;
use sha2::{Digest as _, Sha512};

/// How we are named there; a sender refuses a receiver of its own name.
const NAME: &str = "sawlog";

/// A handshake that we began.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    nonce: [u8; 16],
    key: &'a str,
}

/// What a sender said to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It knows the key: let it in with these bytes.
    Welcome(Vec<u8>),
    /// It does not: send these bytes, and close.
    Refused(Vec<u8>),
}

impl<'a> Handshake<'a> {
    /// Begins one.
    pub(super) fn new(nonce: [u8; 16], key: &'a str) -> Self {
        Self { nonce, key }
    }

    /// `HELO`.
    pub(super) fn greeting(&self) -> Vec<u8> {
        let options = [
            ("nonce", Value::Binary(self.nonce.to_vec())),
            ("auth", "".into()),
            ("keepalive", true.into()),
        ];
        let options = options.into_iter().map(|(name, value)| (name.into(), value)).collect();
        encode(&Value::Array(vec!["HELO".into(), Value::Map(options)]))
    }

    /// Judges `PING`, answers with `PONG`.
    pub(super) fn answer(&self, message: &[u8]) -> Answer {
        let pong = |reason: &str, name: &str, digest: &str| {
            let parts = ["PONG".into(), reason.is_empty().into(), reason.into()];
            let parts = parts.into_iter().chain([name.into(), digest.into()]).collect();
            encode(&Value::Array(parts))
        };
        let refused = |reason: &str| Answer::Refused(pong(reason, "", ""));
        let mut rest = message;
        let Ok(Value::Array(parts)) = rmpv::decode::read_value(&mut rest) else {
            return refused("a PING is expected here");
        };
        let [kind, host, salt, digest, ..] = parts.as_slice() else {
            return refused("a PING has a host name, a salt and a digest");
        };
        if bytes(kind) != b"PING" {
            return refused("a PING is expected here: set shared_key to the node's token");
        }
        let salt = bytes(salt);
        let expected = self.digest(salt, bytes(host));
        if bytes(digest).eq_ignore_ascii_case(expected.as_bytes()) {
            Answer::Welcome(pong("", NAME, &self.digest(salt, NAME.as_bytes())))
        } else {
            refused("shared_key mismatch")
        }
    }

    fn digest(&self, salt: &[u8], host: &[u8]) -> String {
        let mut hash = Sha512::new();
        for part in [salt, host, &self.nonce, self.key.as_bytes()] {
            hash.update(part);
        }
        crate::doors::otlp::hex(&hash.finalize())
    }
}

/// The content of a text or of bytes.
fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::String(text) => text.as_bytes(),
        Value::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// A value as MessagePack.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("memory takes every write");
    bytes
}
