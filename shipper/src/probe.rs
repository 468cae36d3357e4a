//! Ways in for any bytes: what comes from outside goes through one of these. Property tests feed
//! them on every run, fuzz targets (`tests/fuzz`) for as long as one likes.

use std::io;
use std::sync::{Arc, LazyLock};

use model::codec;
use model::stream::{IndexName, Labels};
use model::time::Timestamp;

use crate::feed::record::{self, Next};
use crate::feed::take_messages;
use crate::frame::assemble::Assembler;
use crate::frame::container::Container;
use crate::frame::{Delimiter, Lines};
use crate::identity::HEAD_BYTES_MIN;
use crate::pack::{Damaged, Found, Framing, LastLine, Origin, Packer, Place, Width, Workbench};
use crate::parse::{Format, Line, Parser};
use crate::recipe::{Recipe, Script};
use crate::source::Source;

/// Files that differ in how lines end, are joined and read, and in what is done to them.
const SOURCES: &str = r#"
to = ["http://a:1"]
state_dir = "/s"

[[files]]
paths = ["/a"]

[[files]]
paths = ["/b"]
delimiter = "--"
format = "detect"

[[files]]
paths = ["/c"]
encoding = "utf-16le"

[[files]]
paths = ["/d"]
encoding = "utf-16be"
format = "detect"

[[files]]
paths = ["/e"]
encoding = "shift_jis"
join = { continue = "^ " }

[[files]]
paths = ["/f"]
container = "docker"
join = "traces"
keep_raw = true

[[files]]
paths = ["/g"]
container = "cri"
join = { end = "[.;]$" }
format = "detect"

[[files]]
paths = ["/h"]
join = { start = "^[0-9<]" }
format = "regex"
pattern = '(?<time>\S+) (?<level>\w+)?.*?(?<n__int>\d+)(?<x__float>[\d.]*)(?<message>.*)'

[[files]]
paths = ["/i"]
format = "dissect"
pattern = "%{time} %{} %{n:int} %{message}"

[[files]]
paths = ["/j"]
format = "detect"

[[files.rules]]
when = [{ field = "level", below = "info" }]
sample_one_in = 2

[[files.rules]]
when = [{ field = "message", matches = "[a-c]=" }]
rename = { n = "m" }

[[files.rules]]
redact = ["mail", "card", "token", "key", 'regex:\d{3}']
"#;

static RECIPES: LazyLock<Vec<Arc<Recipe>>> = LazyLock::new(|| {
    let settings = crate::Settings::parse(SOURCES).expect("settings");
    let config = settings.config().expect("settings that can be");
    config.recipes().expect("sources that can be")
});

/// Bytes in the place of a file.
struct Memory<'a>(&'a [u8]);

impl Source for Memory<'_> {
    fn window(&mut self, at: u64, bytes_max: usize) -> io::Result<&[u8]> {
        let rest = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        Ok(rest.get(..bytes_max).unwrap_or(rest))
    }
}

/// A file's bytes, made into batches in each of those ways: how many records there are. What is made
/// can be read again.
#[must_use]
pub fn file(bytes: &[u8]) -> usize {
    let mut workbench = Workbench::default();
    RECIPES.iter().map(|recipe| packed(bytes, recipe, &mut workbench)).sum()
}

fn packed(bytes: &[u8], recipe: &Arc<Recipe>, workbench: &mut Workbench) -> usize {
    let head = bytes.get(..HEAD_BYTES_MIN).unwrap_or(bytes);
    let Script { encoding, delimiter } = recipe.script(head);
    let (container, multiline) = (recipe.container("/a"), recipe.multiline.clone());
    let framing = Framing { delimiter, container, multiline };
    let origin = Origin { index: IndexName::default(), labels: Labels::default(), producer: 1 };
    let mut packer = Packer {
        origin: &origin,
        workbench,
        parser: Parser::new(recipe.clone(), Timestamp(0), encoding),
        now: Timestamp(0),
        framing: &framing,
        last_line: LastLine::Counts,
        last_record: LastLine::Counts,
        width: Width::default(),
        damaged: Damaged::default(),
    };
    let (mut place, mut count) = (Place::at(0), 0);
    loop {
        match packer.pack(&mut Memory(bytes), place).expect("a batch of what is in memory") {
            Found::Batch(packed) => {
                assert!(packed.to > place.acknowledged, "nothing is passed");
                let (_, batch) = codec::decode(&packed.bytes).expect("what was made");
                assert_eq!(batch.record_count(), packed.record_count, "records");
                count += packed.record_count;
                place = Place::at(packed.to);
            }
            Found::More { place: further } => place = further,
            Found::End { .. } => return count,
        }
    }
}

/// Bytes of a spool: every byte is passed, in records or as damage. How many are left.
#[must_use]
pub fn spool(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match record::next(rest) {
            Next::Whole(_, used) | Next::Damaged(used) => {
                assert!(used > 0, "nothing is passed");
                rest = rest.get(used..).unwrap_or_default();
            }
            Next::Open => return rest.len(),
        }
    }
}

/// Bytes of a connection of syslog, in pieces of that size: how many messages there are.
#[must_use]
pub fn syslog(bytes: &[u8], size: usize) -> usize {
    take_messages(bytes.chunks(size.max(1)))
}

/// A file's bytes: framed, put together, and read in every format. How many records there are.
#[must_use]
pub fn lines(bytes: &[u8]) -> usize {
    let formats = [
        Format::Auto,
        Format::Detect,
        Format::Logfmt,
        Format::Syslog,
        Format::Access,
        Format::ServerError,
        Format::Klog,
    ];
    let mut count = 0;
    for format in formats {
        let recipe = Arc::new(Recipe { format, ..Recipe::default() });
        let mut parser = Parser::new(recipe, Timestamp(0), None);
        let mut lines = Lines::new(bytes, &Delimiter::Newline);
        let mut assembler = Assembler::new(Some(Container::Either), None);
        while let Some(line) = lines.next_line() {
            let place = lines.used() as u64;
            assembler.feed(line, place, place);
            count += usize::from(parser.record(Line::bare(line, place)).is_some());
            parser.seen(line);
        }
        assembler.close();
    }
    count
}

/// A settings file: whether it can be used.
#[must_use]
pub fn settings(text: &str) -> bool {
    crate::Settings::parse(text).is_ok_and(|settings| settings.config().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each of them reads well; damage begins here and not at noise.
    const SAMPLES: [&str; 16] = [
        r#"{"time":"2026-11-28T10:00:00.123Z","level":"warn","msg":"x \u00e9","n":-1.5e3,"o":{"p":[1]}}"#,
        r#"level=error ts=2026-11-28T10:00:00Z msg="a \"text\"" n=17 ok=true"#,
        "<34>1 2026-11-28T10:00:00.003Z host su 77 ID47 [id@1 a=\"b\\]\"] \u{feff}said",
        "<13>Nov 28 10:00:00 host cron[99]: ran",
        r#"83.149.9.216 - - [28/Nov/2026:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "-" "Agent/5""#,
        "2026/11/28 10:00:00 [error] 7#8: *9 open() failed (2: No such file), client: 10.0.0.1",
        "[Sat Nov 28 10:00:00.1 2026] [core:error] [pid 1:tid 2] [client 10.0.0.1:5] AH1: denied",
        "I1128 10:00:00.000001 1 server.go:12] started",
        "2026-11-28T10:00:00.5Z stdout P first",
        "2026-11-28T10:00:00.6Z stdout F second",
        r#"{"log":"line\n","stream":"stderr","time":"2026-11-28T10:00:00.7Z"}"#,
        "java.lang.Exception: no\n\tat a.b.C(D.java:1)\nCaused by: x",
        "13 <34>Nov 28 1:",
        "to = [\"http://a:1\"]\nstate_dir = \"/s\"\n[[files]]\npaths = [\"/a/*.log\"]",
        "[[files.rules]]\nwhen = [{ field = \"level\", below = \"info\" }]\ndrop = true",
        "[[syslog]]\nlisten = \"udp://127.0.0.1:5514\"\nformat = \"regex\"\npattern = '(?<a>.*)'",
    ];

    /// Damage to a text: where, how much of it, and what is done.
    fn damaged(samples: &[usize], damage: &[(usize, usize, u8, u8)]) -> Vec<u8> {
        let texts: Vec<&str> = samples.iter().map(|at| SAMPLES[at % SAMPLES.len()]).collect();
        let mut bytes = texts.join("\n").into_bytes();
        bytes.push(b'\n');
        for (at, length, byte, what) in damage {
            let start = at % (bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            match what % 5 {
                0 => bytes[start..end].fill(*byte),
                1 => drop(bytes.drain(start..end)),
                2 => bytes.insert(start, *byte),
                3 => {
                    let again = bytes[start..end].to_vec();
                    bytes.splice(start..start, again);
                }
                _ => bytes.truncate(end),
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn damaged_samples_are_taken(
            samples in prop::collection::vec(0..SAMPLES.len(), 1..6),
            damage in prop::collection::vec((0..600_usize, 0..24_usize, any::<u8>(), any::<u8>()), 0..8),
            size in 0..20_usize,
        ) {
            let bytes = damaged(&samples, &damage);
            prop_assert!(lines(&bytes) <= 7 * bytes.len());
            prop_assert!(file(&bytes) <= RECIPES.len() * bytes.len());
            prop_assert!(spool(&bytes) <= bytes.len());
            prop_assert!(syslog(&bytes, size) <= bytes.len());
            // Whether it can be used is no matter here.
            let _usable = settings(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_bytes_are_taken(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "[\\[\\]{}<>=:\"' 0-9a-zA-Z/.\n-]{0,200}",
            size in 0..20_usize,
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                prop_assert!(spool(bytes) <= bytes.len());
                prop_assert!(syslog(bytes, size) <= bytes.len());
                prop_assert!(lines(bytes) <= 7 * bytes.len());
                prop_assert!(file(bytes) <= RECIPES.len() * bytes.len());
            }
            prop_assert!(!settings(&text), "it says nowhere where to send to");
        }
    }

    /// Targets of fuzzing, which a nightly compiler alone compiles: each is one call of what is here.
    #[test]
    fn targets_of_fuzzing_give_what_is_taken_here() {
        type Take = fn(&[u8]) -> usize;
        let bytes: [(&str, &str, Take); 3] = [
            (include_str!("../../tests/fuzz/targets/file.rs"), "file", file),
            (include_str!("../../tests/fuzz/targets/lines.rs"), "lines", lines),
            (include_str!("../../tests/fuzz/targets/spool.rs"), "spool", spool),
        ];
        for (target, name, take) in bytes {
            assert_eq!(take(b""), 0, "{name}");
            check_target(target, "bytes: &[u8]", &format!("{name}(bytes)"));
        }
        let target = include_str!("../../tests/fuzz/targets/syslog.rs");
        assert_eq!(syslog(b"", usize::from(u8::MAX)), 0);
        check_target(target, "given: (u8, &[u8])", "syslog(bytes, usize::from(size))");
        let target = include_str!("../../tests/fuzz/targets/settings.rs");
        check_target(target, "text: &str", "settings(text)");
    }

    #[track_caller]
    fn check_target(target: &str, given: &str, call: &str) {
        let whole = ["#![no_main]", "use libfuzzer_sys::fuzz_target;"];
        let [begun, called] =
            [format!("fuzz_target!(|{given}| {{"), format!(" = shipper::probe::{call};")];
        for part in whole.into_iter().chain([begun.as_str(), called.as_str()]) {
            assert!(target.contains(part), "{part:?} is missing in {target}");
        }
    }

    #[test]
    fn samples_are_what_they_look_like() {
        let all = SAMPLES.join("\n") + "\n";
        assert_eq!(lines(all.as_bytes()), 7 * all.lines().count());
        assert!(file(all.as_bytes()) > all.lines().count());
        assert!(settings(SAMPLES[13]));
        assert_eq!(syslog(SAMPLES[12].as_bytes(), 3), 1);
    }
}
