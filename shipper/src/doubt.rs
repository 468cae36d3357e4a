//! What the system does not tell just now: errors that are no answer, and questions that are asked again until
//! there is one.

use std::io;
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;

/// How often a question is asked.
const ASKED_MAX: u32 = 10;
/// Between two times.
const PAUSE: Duration = Duration::from_millis(500);
/// What the system says of a link that leads to itself.
const ELOOP: i32 = 40;

/// What was found, and what went wrong: then it may not be all.
pub(crate) type Doubtful<T> = (T, Option<io::Error>);

/// Whether an error leaves open what is there: all of the system's but that nothing is. What was read and is
/// damaged is no such error.
pub(crate) fn is_doubt(error: &io::Error) -> bool {
    let nothing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind());
    error.raw_os_error().is_some_and(|code| code != ELOOP && !nothing)
}

/// Whether it may be gone at the next look: not when we have no right to what is there.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    is_doubt(error) && error.kind() != io::ErrorKind::PermissionDenied
}

/// What may be gone at the next look, of this and what was before: that is worth to wait for.
pub(crate) fn passing(error: io::Error, before: Option<io::Error>) -> Option<io::Error> {
    Some(error).filter(is_passing).or(before)
}

/// Whether something is found: in what is not there, or is damaged, nothing is.
///
/// # Errors
/// Those that leave it open.
pub(crate) fn certain<T>(found: io::Result<Option<T>>) -> io::Result<bool> {
    match found {
        Err(error) if is_doubt(&error) => Err(error),
        found => Ok(found.is_ok_and(|it| it.is_some())),
    }
}

/// Whether it is so of one of them.
///
/// # Errors
/// When it is so of none and of one it is open.
pub(crate) fn any<T>(
    all: impl IntoIterator<Item = T>,
    is_so: impl Fn(T) -> io::Result<bool>,
) -> io::Result<bool> {
    let mut doubt = None;
    for one in all {
        match is_so(one) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => doubt = Some(error),
        }
    }
    doubt.map_or(Ok(false), Err)
}

/// Asks what blocks until nothing goes wrong, a few times; the last answer. What goes wrong is told once.
pub(crate) async fn asked<T: Default + Send + 'static>(
    clock: &Clock,
    shutdown: &Shutdown,
    mut question: impl FnMut() -> Doubtful<T> + Send + 'static,
) -> Doubtful<T> {
    let mut count = 0;
    loop {
        let ask = move || {
            let answer = question();
            (question, answer)
        };
        let (again, answer) = match tokio::task::spawn_blocking(ask).await {
            Ok(answered) => answered,
            Err(error) => return (T::default(), Some(io::Error::other(error))),
        };
        question = again;
        count += 1;
        let Some(error) = &answer.1 else { return answer };
        if count == 1 {
            tracing::warn!(%error, "files cannot be looked at just now, will look again");
        }
        if count >= ASKED_MAX || shutdown.is_triggered() {
            tracing::error!(%error, count, "files could not be looked at");
            return answer;
        }
        tokio::select! {
            () = clock.sleep(PAUSE) => {}
            () = shutdown.wait() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> io::Error {
        io::Error::from_raw_os_error(5)
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_nothing() {
        let code = io::Error::from_raw_os_error;
        // EIO, ENFILE, EMFILE: at the next look it may be there. EACCES: nobody knows.
        assert!([5, 23, 24].iter().all(|it| is_doubt(&code(*it)) && is_passing(&code(*it))));
        assert!(is_doubt(&code(13)) && !is_passing(&code(13)));
        // For a right to it nobody waits.
        assert!(passing(code(13), None).is_none() && passing(code(5), None).is_some());
        assert!(passing(code(13), Some(failed())).is_some());
        // ENOENT, ENOTDIR, ELOOP; and what is damaged.
        assert!([2, 20, ELOOP].iter().all(|it| !is_doubt(&code(*it))));
        assert!(!is_doubt(&io::ErrorKind::UnexpectedEof.into()));
        assert!(!certain::<()>(Err(code(2))).unwrap() && certain(Ok(Some(()))).unwrap());
        assert!(certain::<()>(Err(code(24))).is_err());
    }

    #[test]
    fn one_that_is_found_is_whatever_is_open_of_others() {
        let is_so = |number: i32| if number == 0 { Err(failed()) } else { Ok(number == 2) };
        assert!(any([0, 1, 2], is_so).unwrap());
        assert!(!any([1, 1], is_so).unwrap());
        assert!(any([1, 0, 1], is_so).is_err());
    }

    #[tokio::test]
    async fn a_question_is_asked_until_nothing_goes_wrong() {
        let (clock, shutdown) = (Clock::system(), Shutdown::default());
        let answer_after = |wrong: u32| {
            let mut count = 0;
            move || {
                count += 1;
                (count, (count <= wrong).then(failed))
            }
        };
        let (count, error) = asked(&clock, &shutdown, answer_after(1)).await;
        assert!(count == 2 && error.is_none(), "{count} {error:?}");
        shutdown.trigger();
        let (count, error) = asked(&clock, &shutdown, answer_after(1)).await;
        assert!(count == 1 && error.is_some(), "{count} {error:?}");
    }
}
