//! What object stores say went wrong, as errors of the system that a caller can act on.

use std::error::Error;
use std::io::{self, ErrorKind};

use object_store::client::{HttpError, HttpErrorKind};

/// Whether the same call may succeed later: the store or node did not answer, or said "later".
#[must_use]
pub fn retryable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
    )
}

/// An error about an object.
pub(super) fn told(name: &str, error: &object_store::Error) -> io::Error {
    use object_store::Error as E;
    let text = error.to_string();
    let kind = match error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } | E::Precondition { .. } => ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        E::InvalidPath { .. } => ErrorKind::InvalidInput,
        E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
        // Where a machine in the cloud asks who it is: nobody told us, and nobody is there.
        _ if text.contains("169.254.169.254") => ErrorKind::PermissionDenied,
        _ => kind_of(error, &text),
    };
    let text = match kind {
        ErrorKind::PermissionDenied => format!(
            "{name}: the object store does not let us: check AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY (or the credentials file or role) and what they may do \
             ({text})"
        ),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => format!(
            "{name}: the object store cannot be reached; it is tried again: check \
             AWS_ENDPOINT_URL and the network if this stays ({text})"
        ),
        _ => format!("{name}: {text}"),
    };
    io::Error::new(kind, text)
}

/// What is below the words of the store: no connection, no answer in time, "later".
fn kind_of(error: &(dyn Error + 'static), text: &str) -> ErrorKind {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return kind_of_http(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind();
        }
        cause = error.source();
    }
    // The type that holds the status is private to the client: its words are what there is.
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
    match status {
        Some("416") => ErrorKind::UnexpectedEof,
        Some("408" | "429") => ErrorKind::TimedOut,
        Some(status) if status.starts_with('5') => ErrorKind::TimedOut,
        _ if text.contains("SlowDown") || text.contains("InternalError") => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    }
}

pub(super) fn kind_of_http(error: &HttpError) -> ErrorKind {
    match error.kind() {
        HttpErrorKind::Timeout => ErrorKind::TimedOut,
        HttpErrorKind::Connect => ErrorKind::ConnectionRefused,
        HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode => {
            ErrorKind::ConnectionReset
        }
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &object_store::Error, kind: ErrorKind, may_pass: bool) {
        let told = told("splits/a", error);
        assert_eq!(told.kind(), kind, "{told}");
        assert_eq!(retryable(&told), may_pass, "{told}");
        assert!(told.to_string().starts_with("splits/a: "), "{told}");
    }

    fn said(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn what_may_pass_is_told_from_what_stays() {
        check(&said("Server returned non-2xx status code: 503 Slow"), ErrorKind::TimedOut, true);
        check(&said("non-2xx status code: 429 Too Many"), ErrorKind::TimedOut, true);
        check(&said("non-2xx status code: 400 Bad"), ErrorKind::Other, false);
        check(&said("non-2xx status code: 416 Range"), ErrorKind::UnexpectedEof, false);
        let source = "403".into();
        let denied = object_store::Error::PermissionDenied { path: "a".into(), source };
        check(&denied, ErrorKind::PermissionDenied, false);
        let reset = io::Error::from(ErrorKind::ConnectionReset);
        let reset = HttpError::new(HttpErrorKind::Interrupted, reset);
        let reset = object_store::Error::Generic { store: "S3", source: Box::new(reset) };
        check(&reset, ErrorKind::ConnectionReset, true);
    }
}
