//! Rules the tree must keep: arrows, map, sizes, first lines, settings that parse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a source file.
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file of the repository: what git knows or would take.
pub(crate) fn files() -> Vec<String> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|name| root().join(name).is_file()).map(str::to_owned).collect()
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The text of ARCHITECTURE.md below a heading, up to the next one.
fn section(heading: &str) -> String {
    let page = read("ARCHITECTURE.md");
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let rest = &page[start + heading.len() + 2..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// Our own crates and those of ours they depend on, outside of tests.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let args = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(args).current_dir(root()).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter().map(name);
        (name(package), all.filter(|d| ours.contains(d)).collect())
    };
    packages.iter().map(of).collect()
}

#[test]
fn the_arrows_on_the_page_are_the_arrows_in_the_code() {
    let text = section("## The arrows");
    let table = text.split("```").nth(1).expect("a fenced block below the heading");
    let line = |line: &str| {
        let (name, to) = line.split_once("->")?;
        let to = to.split_whitespace().filter(|word| word.starts_with(char::is_alphabetic));
        Some((name.trim().to_owned(), to.map(str::to_owned).collect()))
    };
    let page: BTreeMap<String, BTreeSet<String>> = table.lines().filter_map(line).collect();
    let code = arrows();
    let names: BTreeSet<&String> = page.keys().chain(code.keys()).collect();
    for name in names {
        let (page, code) = (page.get(name), code.get(name));
        assert!(page.is_some() && code.is_some(), "{name} is not on both: {page:?}, {code:?}");
        assert_eq!(page, code, "what {name} depends on: page, code");
    }
}

#[test]
fn the_map_shows_every_module_and_nothing_else() {
    let text = section("## The map");
    let entry =
        |line: &str| line.trim().strip_prefix("- `")?.split_once('`').map(|(p, _)| p.to_owned());
    let page: BTreeSet<String> = text.lines().filter_map(entry).collect();
    let gone: Vec<&String> = page.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "on the map, not there: {gone:?}");
    let is_module = |name: &String| {
        let end = name.rsplit('/').next().unwrap_or_default();
        name.ends_with(".rs")
            && (name.contains("/src/")
                || name.starts_with("src/")
                || name.starts_with("tests/cases/"))
            && !["tests.rs", "lib.rs"].contains(&end)
    };
    // A folder's entry stands for what is in it.
    let shown = |name: &str| {
        page.contains(name)
            || page.iter().any(|p| name.starts_with(&format!("{}/", p.trim_end_matches('/'))))
    };
    let missing: Vec<String> =
        files().into_iter().filter(is_module).filter(|n| !shown(n)).collect();
    assert!(missing.is_empty(), "not on the map: {missing:?}");
}

#[test]
fn files_stay_short() {
    let ends = [".rs", ".ts", ".svelte"];
    let long = |name: &String| {
        let lines = read(name).lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines}"))
    };
    let sources = files().into_iter().filter(|name| ends.iter().any(|end| name.ends_with(end)));
    let found: Vec<String> = sources.filter_map(|name| long(&name)).collect();
    assert!(found.is_empty(), "over {FILE_LINES_MAX} lines: {found:?}");
}

#[test]
fn the_first_line_says_what_lives_here() {
    let sources = files().into_iter().filter(|name| name.ends_with(".rs"));
    let without: Vec<String> = sources.filter(|name| !read(name).starts_with("//! ")).collect();
    assert!(without.is_empty(), "no `//!` in the first line: {without:?}");
}

#[test]
fn nothing_of_a_private_machine_is_in_a_file() {
    // Put together here, so that this file does not hold them.
    let words = [
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
    ];
    let mut found = Vec::new();
    for name in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&name)) else { continue };
        let is_lock = name.ends_with("Cargo.lock") || name.ends_with("package-lock.json");
        found.extend(
            words.iter().filter(|w| !is_lock && text.contains(*w)).map(|w| format!("{name}: {w}")),
        );
    }
    assert!(found.is_empty(), "{found:?}");
}

/// A program in documentation would be compiled once for each, and nobody runs them here.
#[test]
fn documentation_holds_no_programs() {
    let mut found = Vec::new();
    for name in files().into_iter().filter(|name| name.ends_with(".rs")) {
        let text = read(&name);
        let fences = text.lines().filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
            line.trim_start().strip_prefix("```")
        });
        // Every second one opens a block, and says what is in it.
        found.extend(fences.step_by(2).filter(|kind| *kind != "text").map(|_| name.clone()));
    }
    assert!(found.is_empty(), "write a test instead: {found:?}");
}

#[test]
fn tests_neither_sleep_nor_are_left_out() {
    let words = [["thread::", "sleep"].concat(), ["#[ign", "ore"].concat()];
    let sources = files().into_iter().filter(|name| name.ends_with(".rs"));
    let found: Vec<String> =
        sources.filter(|n| words.iter().any(|w| read(n).contains(w))).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_settings_we_ship_are_toml() {
    let mut count = 0;
    for name in files() {
        if name.starts_with("deploy/config/") && name.ends_with(".toml") {
            read(&name).parse::<toml::Table>().unwrap_or_else(|e| panic!("{name}: {e}"));
            count += 1;
        }
    }
    assert!(count >= 2);
}
