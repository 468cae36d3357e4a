//! Lines to be shipped.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// The lines of the repository's small logs, over and over with their digits drawn anew.
pub(crate) fn corpus(folder: &Path, kind: &str) -> io::Result<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let names: &[&str] = match kind {
        "json" => &["json_shop.log"],
        _ => &["Linux_small.log", "Hadoop_small.log", "access_small.log", "Apache_small.log"],
    };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for name in names {
        let text = std::fs::read(fixtures.join(name))?;
        lines.extend(text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec));
    }
    let megabytes: u64 = std::env::var("BENCH_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let path = folder.join(format!("{kind}.log"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut written, mut chance) = (0, 0x9E37_79B9_7F4A_7C15_u64);
    while written < megabytes * 1_000_000 {
        for line in &mut lines {
            // Times stay as they are; numbers behind them change in every third digit.
            for (at, byte) in line.iter_mut().enumerate().skip(30) {
                if byte.is_ascii_digit() && at % 3 == 0 {
                    chance ^= chance << 13;
                    chance ^= chance >> 7;
                    chance ^= chance << 17;
                    *byte = b'0' + u8::try_from(chance % 10).unwrap_or_default();
                }
            }
            out.write_all(line)?;
            out.write_all(b"\n")?;
            written += line.len() as u64 + 1;
        }
    }
    out.flush()?;
    Ok(path)
}
