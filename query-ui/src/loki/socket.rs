//! The WebSocket of a tail: messages go out; what a reader says only tells that it is there.

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};

/// Bytes of what a reader may say at once: a reader of a tail has nothing to say.
pub(super) const HEARD_BYTES_MAX: usize = 4 << 10;
/// Bytes of the reason for the end, by the protocol 123.
const REASON_BYTES_MAX: usize = 120;

/// The other side went, or says what cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// The connection.
pub(super) struct Socket(pub(super) WebSocket);

impl Socket {
    /// Sends a message.
    pub(super) async fn say(&mut self, text: String) -> Result<(), Gone> {
        self.send(Message::Text(text.into())).await
    }

    /// Asks whether the other side is there.
    pub(super) async fn ping(&mut self) -> Result<(), Gone> {
        self.send(Message::Ping(Bytes::new())).await
    }

    /// Says why there is no more.
    pub(super) async fn close(&mut self, reason: &str) -> Result<(), Gone> {
        let reason = model::text::cut(reason, REASON_BYTES_MAX).into();
        self.send(Message::Close(Some(CloseFrame { code: close_code::ERROR, reason }))).await
    }

    /// Waits for a sign of the other side; one that is not awaited to its end is not lost.
    pub(super) async fn hear(&mut self) -> Result<(), Gone> {
        match self.0.recv().await {
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
            Some(Ok(_)) => Ok(()),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.0.send(message).await.map_err(|_| Gone)
    }
}
