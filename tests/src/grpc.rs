//! Calls over gRPC whose messages are made already.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use platform::clock::Clock;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

/// Between a refusal for now and the next try.
const AGAIN_PAUSE: Duration = Duration::from_millis(25);

/// Calls once for each message, one behind the other on one connection; who is refused for now
/// calls again.
///
/// # Panics
/// Any other refusal, or when it takes longer than `patience`.
pub fn call_all(address: &str, path: &'static str, messages: &[Vec<u8>], patience: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = Clock::system();
    let all = async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut grpc = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
        for message in messages {
            let message = Bytes::copy_from_slice(message);
            loop {
                grpc.ready().await.unwrap();
                let path = PathAndQuery::from_static(path);
                match grpc.unary(Request::new(message.clone()), path, Raw).await {
                    Ok(_) => break,
                    Err(status) => {
                        let again = [Code::ResourceExhausted, Code::Unavailable];
                        assert!(again.contains(&status.code()), "{status}");
                        clock.sleep(AGAIN_PAUSE).await;
                    }
                }
            }
        }
    };
    runtime.block_on(clock.timeout(patience, all)).expect("the calls to be answered in time");
}

/// Messages as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
