//! `sawlog import`: existing files, plain or packed, each stored once however often it is sent.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use model::stream::IndexName;
use platform::clock::Clock;
use platform::shutdown::Shutdown;

use crate::args::ImportArgs;
use crate::client::block_on;
use crate::tell;

pub(crate) fn import(args: ImportArgs) -> Result<()> {
    block_on(send(args))
}

async fn send(args: ImportArgs) -> Result<()> {
    let mut config = shipper::Config::new(args.server.server.clone(), PathBuf::new(), Vec::new());
    config.token = args.server.token_file.as_deref().map(crate::config::read_token).transpose()?;
    config.index = IndexName::new(&args.index)?;
    config.labels = args.label;
    config.time_zone = args.time_zone;
    let shutdown = Shutdown::on_signals().context("cannot hear signals")?;
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {msg}")?);
    let show = |progress: &shipper::Progress| {
        bar.set_length(progress.file_bytes);
        bar.set_position(progress.file_bytes_done);
        bar.set_message(format!("{} records", HumanCount(progress.records)));
    };
    let imported = shipper::import(&args.files, &config, &Clock::system(), &shutdown, show).await?;
    bar.finish_and_clear();
    let progress = &imported.progress;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = imported.bytes_per_second() as u64;
    let known = match progress.known {
        0 => String::new(),
        known => format!(", {} records were there already", HumanCount(known)),
    };
    tell(&format!(
        "{} files, {} records, {} in {:.1} s ({}/s){known}",
        progress.files_done,
        HumanCount(progress.records),
        HumanBytes(progress.bytes),
        imported.elapsed.as_secs_f64(),
        HumanBytes(rate)
    ));
    Ok(())
}
