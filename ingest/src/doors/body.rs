//! Bodies of requests: within bounds, decompressed within bounds.

use std::io::Read;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use model::error::Kind;
use model::limits::REQUEST_BYTES_MAX;
use platform::http::ApiError;

/// The whole body, still as it came.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, REQUEST_BYTES_MAX).await.map_err(|error| {
        let text = format!("{error}: {}", source(&error));
        if text.contains("length limit") {
            too_large()
        } else {
            ApiError::new(Kind::Invalid, format!("the request broke off: {text}"))
        }
    })
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Deflate,
    Zstd,
}

impl Packing {
    /// As `Content-Encoding` says.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let value = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str());
        match value {
            None | Some(Ok("identity" | "")) => Ok(Self::Plain),
            Some(Ok("gzip" | "x-gzip")) => Ok(Self::Gzip),
            Some(Ok("deflate")) => Ok(Self::Deflate),
            Some(Ok("zstd")) => Ok(Self::Zstd),
            Some(other) => Err(ApiError::new(
                Kind::Invalid,
                format!("content encoding {:?} is not known here", other.unwrap_or("?")),
            )
            .hint("send gzip, deflate, zstd or plain")),
        }
    }

    /// The plain bytes. Blocks; may take tens of milliseconds.
    pub(super) fn unpack(self, body: Bytes) -> Result<Bytes, ApiError> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => bounded(flate2::read::MultiGzDecoder::new(&body[..])),
            // By the standard it has zlib's wrapping; some clients send it bare.
            Self::Deflate if body.first().is_some_and(|first| first & 0x0f == 8) => {
                bounded(flate2::read::ZlibDecoder::new(&body[..]))
            }
            Self::Deflate => bounded(flate2::read::DeflateDecoder::new(&body[..])),
            Self::Zstd => {
                bounded(zstd::stream::read::Decoder::new(&body[..]).map_err(|e| broken(&e))?)
            }
        }
    }
}

/// All of it, within the bound.
pub(super) fn bounded(reader: impl Read) -> Result<Bytes, ApiError> {
    let mut plain = Vec::new();
    reader.take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut plain).map_err(|e| broken(&e))?;
    if plain.len() > REQUEST_BYTES_MAX { Err(too_large()) } else { Ok(plain.into()) }
}

fn broken(error: &std::io::Error) -> ApiError {
    ApiError::new(Kind::Invalid, format!("the body cannot be decompressed: {error}"))
}

pub(super) fn too_large() -> ApiError {
    ApiError::new(Kind::Invalid, format!("a request holds at most {REQUEST_BYTES_MAX} bytes"))
        .code("too_large")
        .hint("send it in parts")
}
