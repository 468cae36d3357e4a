//! What a node that waits for its cluster says of it, and when.

use std::time::Duration;

/// After how long a node says once more why it is not in yet; twice as long each time.
const WORDS_INTERVAL_MIN: Duration = Duration::from_secs(30);
/// The longest time between two such words.
const WORDS_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// When a node that waits says so: at once, and then ever more rarely.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// When the next are due, and how long after the last.
    next: Option<(Duration, Duration)>,
}

impl Words {
    /// Whether to say something now, by the clock's elapsed time.
    pub(super) fn are_due(&mut self, now: Duration) -> bool {
        let pause = match self.next {
            None => WORDS_INTERVAL_MIN,
            Some((at, pause)) if now >= at => (pause * 2).min(WORDS_INTERVAL_MAX),
            Some(_) => return false,
        };
        self.next = Some((now + pause, pause));
        true
    }
}

/// What is said where one speaks TLS and the other does not, or is of another authority.
const TLS_WORDS: [&str; 5] =
    ["certificate", "InvalidContentType", "connection closed", "broken pipe", "invalid size"];

/// What to look at, by the words of a call that failed.
pub(super) fn hint(words: &str) -> &'static str {
    let has = |part: &str| words.contains(part);
    if has("compression flag") || has("403") {
        " (is it where other nodes are heard, --peer-listen, and not where clients are?)"
    } else if has("dns error") {
        " (is it HOST:PORT, and is the name known here?)"
    } else if TLS_WORDS.into_iter().any(has) {
        " (do both have --cluster-tls, from one `sawlog cluster certs` folder?)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_says_so_at_once_and_then_ever_more_rarely() {
        let mut words = Words::default();
        let said: Vec<u64> =
            (0..3_000).filter(|second| words.are_due(Duration::from_secs(*second))).collect();
        let pauses: Vec<u64> = said.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(said[0], 0);
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600, 600]);
    }

    #[test]
    fn who_speaks_without_tls_to_those_who_do_is_told_of_the_certificates() {
        let hung_up = "connection error: stream closed because of a broken pipe";
        assert!(hint(hung_up).contains("--cluster-tls"));
        // As HTTP/2 takes an alert of TLS.
        let alert = "h2 protocol error: http2 error: connection error: frame with invalid size";
        assert!(hint(alert).contains("--cluster-tls"));
        assert_eq!(hint("Connection refused (os error 111)"), "");
    }
}
