//! `sawlog split`: what a split on disk is made of, and whether it is whole.

use std::io::Write as _;

use anyhow::{Result, bail};
use index::split::{Inspection, open_folder};
use indicatif::HumanBytes;
use model::time::Timestamp;
use serde_json::json;

use crate::args::{SplitArgs, SplitCommand, StatusFormat};

pub(crate) fn split(args: &SplitArgs) -> Result<()> {
    match &args.command {
        SplitCommand::Dump { folder, templates, format } => {
            let (out, split) = (&mut std::io::stdout().lock(), open_folder(folder)?.inspect()?);
            match format {
                StatusFormat::Table => print(out, &split, *templates),
                StatusFormat::Json => Ok(writeln!(out, "{}", object(&split, *templates))?),
            }
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

fn object(split: &Inspection, most: usize) -> serde_json::Value {
    let sizes = |parts: &[(String, u64)]| -> serde_json::Map<String, serde_json::Value> {
        parts.iter().map(|(part, bytes)| (part.clone(), (*bytes).into())).collect()
    };
    let templates = split.templates.iter().take(most);
    let templates = templates.map(|(text, rows)| json!({ "pattern": text, "rows": rows }));
    json!({
        "id": split.id.0,
        "rows": split.row_count,
        "cold": split.cold,
        "first": Timestamp(split.time.0).to_string(),
        "last": Timestamp(split.time.1).to_string(),
        "body_bytes": split.body_bytes,
        "columns": sizes(&split.columns),
        "bundle_bytes": split.bundle_bytes,
        "sections": sizes(&split.sections),
        "template_count": split.templates.len(),
        "loose_rows": split.loose_rows,
        "templates": templates.collect::<Vec<_>>(),
    })
}

fn print(out: &mut impl std::io::Write, split: &Inspection, most: usize) -> Result<()> {
    let (first, last) = (Timestamp(split.time.0), Timestamp(split.time.1));
    let cold = if split.cold { ", cold" } else { "" };
    writeln!(out, "split {}: {} rows, {first} … {last}{cold}", split.id, split.row_count)?;
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
