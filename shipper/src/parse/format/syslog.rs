//! Syslog lines of files (`model::syslog`) as fields.

use model::syslog::{self, Message};

use super::Said;

/// The head's parts.
pub(super) fn read(line: &str) -> Option<Said> {
    let message = syslog::read(line)?;
    let mut said = Said { level: message.level(), ..Said::default() };
    let Message { time, host, app, process, id, structured, .. } = &message;
    said.time = time.map(str::to_owned);
    said.text("facility", message.facility().unwrap_or_default());
    said.text("hostname", host.unwrap_or_default());
    said.text("app", app.unwrap_or_default());
    said.number("pid", process.unwrap_or_default());
    said.text("msgid", id.unwrap_or_default());
    for (name, value) in structured {
        said.text(name, value);
    }
    Some(said)
}
