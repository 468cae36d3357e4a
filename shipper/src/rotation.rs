//! What the names of rotated files say: what they were before, their order, and whether they are compressed.

use std::path::Path;

/// Endings of files that are not read as they grow: they never do.
const COMPRESSED: [&str; 5] = ["gz", "xz", "zst", "bz2", "lz4"];

/// The least number that is read as a day.
const DAY_MIN: i64 = 1_000_000;

/// Whether a file is one that was compressed when it was rotated.
pub(crate) fn compressed(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| COMPRESSED.contains(&ending))
}

/// The name that a rotated file had before, and a number that grows from older to newer ones:
/// `syslog.2.gz` is the second last `syslog`, `app.log-20261130` one of a day.
pub(crate) fn rotated(name: &str) -> Option<(&str, i64)> {
    let plain = name.rsplit_once('.').filter(|(_, ending)| COMPRESSED.contains(ending));
    let name = plain.map_or(name, |(plain, _)| plain);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((stem, number)) = name.rsplit_once('.')
        && digits(number)
    {
        let number: i64 = number.parse().ok()?;
        // More than a count of files is a day, too.
        let rank = if number < DAY_MIN { -number } else { number };
        return (!stem.is_empty()).then_some((stem, rank));
    }
    let suffix = name.rfind(|c: char| !c.is_ascii_digit() && c != '-')? + 1;
    let (stem, day) = name.split_at_checked(suffix)?;
    let day = day.strip_prefix('-')?.replace('-', "");
    let day: i64 = day.parse().ok()?;
    (day >= DAY_MIN).then_some((stem, day))
}

/// The path of the file that is not rotated, of one whose name says that it is; else its own.
pub(crate) fn unrotated(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let bytes = rotated(name).map_or(path.len(), |(stem, _)| path.len() - name.len() + stem.len());
    path.get(..bytes).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_rotated_files_say_what_they_were_and_their_order() {
        let names = [
            ("syslog.1", Some(("syslog", -1))),
            ("app.log.12.gz", Some(("app.log", -12))),
            ("app.log-20261130", Some(("app.log", 20_261_130))),
            ("app.log-2026-11-30.zst", Some(("app.log", 20_261_130))),
            ("app.20261130.xz", Some(("app", 20_261_130))),
            ("web-1.log-20261130-1764460800", Some(("web-1.log", 202_611_301_764_460_800))),
            ("syslog", None),
            ("syslog.gz", None),
            ("web-1", None),
            ("web-1.log", None),
            ("2026-11-30", None),
            (".1", None),
        ];
        for (name, expected) in names {
            assert_eq!(rotated(name), expected, "{name}");
            let path = format!("/a.1/{name}");
            let before = expected.map(|(stem, _)| format!("/a.1/{stem}"));
            assert_eq!(unrotated(&path), before.as_deref().unwrap_or(&path), "{name}");
        }
    }
}
