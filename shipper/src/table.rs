//! A status as a table on a terminal.

use shipper::{FileState, FileStatus, Report};

/// One line a file, and what is wrong below.
pub(crate) fn render(report: &Report) -> String {
    let mut lines = vec![row(["STATE", "SIZE", "READ", "SENT", "ACKNOWLEDGED", "LAG", "FILE"])];
    for file in &report.followed {
        let FileStatus { size, read, sent, acknowledged, lag_bytes, .. } = file;
        let [size, read, sent, acknowledged, lag] =
            [size, read, sent, acknowledged, lag_bytes].map(u64::to_string);
        // A name may be anything, and must not write over the table.
        let path = file.path.replace(char::is_control, "\u{fffd}");
        lines.push(row([state(file.state), &size, &read, &sent, &acknowledged, &lag, &path]));
        if let Some(error) = &file.last_error {
            lines.push(format!("           {error}"));
        }
    }
    let files = counted(report.sum.files, "file");
    lines.push(format!("{files}, {} behind", counted(report.sum.lag_bytes, "byte")));
    if let Some(error) = &report.sum.last_error {
        lines.push(format!("wrong just now: {error}"));
    }
    lines.join("\n")
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn row([state, size, read, sent, acknowledged, lag, path]: [&str; 7]) -> String {
    format!("{state:<10} {size:>12} {read:>12} {sent:>12} {acknowledged:>12} {lag:>12}  {path}")
}

fn state(state: FileState) -> &'static str {
    match state {
        FileState::Followed => "followed",
        FileState::Waiting => "waiting",
        FileState::Gone => "gone",
        FileState::Binary => "binary",
        FileState::Failing => "failing",
    }
}

#[cfg(test)]
mod tests {
    use model::wire::ShipperStatus;

    use super::*;

    #[test]
    fn a_file_has_one_line_whatever_its_name_is() {
        let file = FileStatus {
            path: "/var/log/two\nlines \u{1b}[31m.log".to_owned(),
            source: String::new(),
            state: FileState::Followed,
            size: 1,
            read: 1,
            sent: 1,
            acknowledged: 1,
            lag_bytes: 0,
            last_error: None,
        };
        let text = render(&Report { sum: ShipperStatus::default(), followed: vec![file] });
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("/var/log/two\u{fffd}lines \u{fffd}[31m.log"), "{text}");
    }
}
