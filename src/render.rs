//! Records and tables on a terminal or in a pipe.

use std::io::{IsTerminal as _, Write};

use anyhow::Result;
use serde_json::{Map, Value};

use crate::args::Format;

/// Writes records and table rows to standard output in the chosen format.
pub(crate) struct Printer {
    out: std::io::BufWriter<std::io::Stdout>,
    format: Format,
    colours: bool,
    columns: Vec<String>,
    widths: Vec<usize>,
    held: Vec<Vec<String>>,
}

/// Rows that are looked at to choose the width of a table's columns.
const HELD_ROWS_MAX: usize = 1_000;

impl Printer {
    /// The format, or what suits the place: a table for people, NDJSON for programs.
    pub(crate) fn new(format: Option<Format>) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let format = format.unwrap_or(if terminal { Format::Table } else { Format::Ndjson });
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        Self {
            out: std::io::BufWriter::new(std::io::stdout()),
            format,
            colours,
            columns: Vec::new(),
            widths: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Whether people read it.
    pub(crate) fn for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// One record.
    pub(crate) fn record(&mut self, record: &Value) -> Result<()> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        match self.format {
            Format::Ndjson => writeln!(self.out, "{record}")?,
            Format::Raw => writeln!(self.out, "{}", text("message"))?,
            Format::Table => {
                let time = text("timestamp");
                let time = time.get(..23).unwrap_or(time).replace('T', " ");
                let label =
                    |name| record.pointer(&format!("/labels/{name}")).and_then(Value::as_str);
                let source = label("service").or_else(|| label("source")).unwrap_or("-");
                let level = text("level");
                let message = harmless(text("message"));
                let (dim, tint, off) =
                    if self.colours { ("\x1b[2m", tint(level), "\x1b[0m") } else { ("", "", "") };
                let fields = match record.get("fields") {
                    Some(Value::Object(fields)) if !message.starts_with('{') => pairs(fields),
                    _ => String::new(),
                };
                writeln!(
                    self.out,
                    "{dim}{time}{off} {tint}{level:<7}{off} {dim}{source}{off} {message}{dim}{fields}{off}"
                )?;
            }
        }
        Ok(())
    }

    /// The columns of the rows to come.
    pub(crate) fn columns(&mut self, names: Vec<String>) {
        self.widths = names.iter().map(|name| name.chars().count()).collect();
        self.columns = names;
    }

    /// One row of a table.
    pub(crate) fn row(&mut self, row: &Value) -> Result<()> {
        let cells = || {
            let cell = |name: &String| row.get(name).map_or_else(String::new, plain);
            self.columns.iter().map(cell).collect::<Vec<_>>()
        };
        match self.format {
            Format::Ndjson => writeln!(self.out, "{row}")?,
            Format::Raw => writeln!(self.out, "{}", cells().join("\t"))?,
            Format::Table => {
                let cells: Vec<String> = cells().iter().map(|cell| harmless(cell)).collect();
                for (width, cell) in self.widths.iter_mut().zip(&cells) {
                    *width = cell.chars().count().max(*width);
                }
                self.held.push(cells);
                if self.held.len() == HELD_ROWS_MAX {
                    self.release()?;
                }
            }
        }
        Ok(())
    }

    /// Everything out now (a tail shows each record at once).
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.release()?;
        Ok(self.out.flush()?)
    }

    fn release(&mut self) -> Result<()> {
        if !self.columns.is_empty() && self.format == Format::Table {
            let columns = std::mem::take(&mut self.columns);
            self.held.insert(0, columns);
        }
        for cells in std::mem::take(&mut self.held) {
            let last = cells.len().saturating_sub(1);
            for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
                let gap = if at == last { 0 } else { width + 2 - cell.chars().count().min(*width) };
                write!(self.out, "{cell}{}", " ".repeat(gap))?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }
}

fn pairs(fields: &Map<String, Value>) -> String {
    fields.iter().map(|(name, value)| format!(" {name}={}", harmless(&plain(value)))).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The text with its control characters shown instead of obeyed: a log line must not move the
/// cursor, ring or retitle the terminal of who reads it.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' '.to_string(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

fn tint(level: &str) -> &'static str {
    match level {
        "fatal" => "\x1b[1;31m",
        "error" => "\x1b[31m",
        "warn" => "\x1b[33m",
        "info" => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\tc\r"), "a\\u{1b}[2Jb c\\r");
    }
}
