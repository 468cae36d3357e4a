//! How many files and connections this process may have open, and how many of them are whose.

/// What is taken for the limit where the system does not say it.
const LIMIT_USUAL: usize = 256;
/// Connections of a listener of syslog, where there are descriptors for so many.
const CONNECTIONS_MAX: usize = 1_024;

/// How many descriptors the system lets this process have.
pub(crate) fn limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    limit.unwrap_or(LIMIT_USUAL)
}

/// How many of so many a listener may have for its connections: a quarter, and not more than it needs.
pub(crate) fn connections_max(limit: usize) -> usize {
    (limit / 4).clamp(1, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_most_descriptors_to_others() {
        assert_eq!([0, 100, 1_024, 1 << 20].map(connections_max), [1, 25, 256, CONNECTIONS_MAX]);
        assert!(limit() > 3, "this test has some open");
    }
}
