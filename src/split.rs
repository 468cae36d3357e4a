//! `sawlog split`: what a split on disk is made of, and whether it is whole.

use std::io::Write as _;

use anyhow::{Result, bail};
use index::split::{Inspection, open_folder};
use indicatif::HumanBytes;
use model::time::Timestamp;

use crate::args::{SplitArgs, SplitCommand};

pub(crate) fn split(args: &SplitArgs) -> Result<()> {
    match &args.command {
        SplitCommand::Dump { folder, templates } => {
            print(&mut std::io::stdout().lock(), &open_folder(folder)?.inspect()?, *templates)
        }
        SplitCommand::Check { folders } => {
            let mut out = std::io::stdout().lock();
            let mut bad = 0;
            for folder in folders {
                match open_folder(folder).and_then(|split| split.check()) {
                    Ok(()) => writeln!(out, "{}: whole", folder.display())?,
                    Err(error) => {
                        bad += 1;
                        writeln!(out, "{}: {error}", folder.display())?;
                    }
                }
            }
            if bad > 0 {
                bail!(
                    "{bad} of {} are not whole splits: put back copies of what is damaged",
                    folders.len()
                );
            }
            Ok(())
        }
    }
}

fn print(out: &mut impl std::io::Write, split: &Inspection, most: usize) -> Result<()> {
    let (first, last) = (Timestamp(split.time.0), Timestamp(split.time.1));
    writeln!(out, "split {}: {} rows, {first} … {last}", split.id, split.row_count)?;
    let parts = [
        ("body.parquet", split.body_bytes, &split.columns),
        ("index.bundle", split.bundle_bytes, &split.sections),
    ];
    for (name, bytes, parts) in parts {
        writeln!(out, "\n{name}: {}", HumanBytes(bytes))?;
        for (part, bytes) in parts {
            writeln!(out, "  {:>12}  {part}", HumanBytes(*bytes).to_string())?;
        }
    }
    let count = split.templates.len();
    writeln!(out, "\n{count} templates; {} rows without one", split.loose_rows)?;
    for (text, rows) in split.templates.iter().take(most) {
        writeln!(out, "  {rows:>9}  {}", text.escape_debug())?;
    }
    Ok(())
}
