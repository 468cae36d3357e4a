//! Whether there is a journal to be read at all, and what to do where there is none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Journal;

/// Where journald keeps what it is told on the disk.
const DISK: &str = "/var/log/journal";
/// Where it keeps it in memory, until the machine goes down.
const MEMORY: &str = "/run/log/journal";
/// The program that reads the journal of this machine, unless another is named.
const OWN_PROGRAM: &str = "journalctl";
/// How arguments begin that name another journal than that of this machine.
const ELSEWHERE: [&str; 8] =
    ["--directory", "-D", "--file", "-i", "--root", "--image", "--machine", "-M"];
/// Where programs are looked for when nothing is set.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// What is missing. It may still come: a package is installed, a folder mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// The program that reads it.
    #[error("{} is not there: install systemd's journalctl, or name it with --journalctl (journalctl = in a settings file)", .0.display())]
    Program(PathBuf),
    /// The journal itself.
    #[error(
        "this machine has no journal, neither /var/log/journal nor /run/log/journal is there: run systemd-journald; in \
         a container, mount the machine's there; or take the journal out of what is shipped"
    )]
    Journal,
}

impl Journal {
    /// What is missing of it on this machine, if anything is.
    #[must_use]
    pub fn absent(&self) -> Option<Absent> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
        self.absent_from(&path, &[DISK, MEMORY].map(Path::new))
    }

    fn absent_from(&self, path: &OsStr, folders: &[&Path]) -> Option<Absent> {
        let program = &self.journalctl;
        let is_there = match program.as_os_str().as_bytes().contains(&b'/') {
            true => may_be_there(program),
            false => std::env::split_paths(path).any(|at| may_be_there(&at.join(program))),
        };
        if !is_there {
            return Some(Absent::Program(program.clone()));
        }
        // A program of one's own may read whatever it likes.
        let elsewhere = |given: &String| ELSEWHERE.iter().any(|begin| given.starts_with(*begin));
        let is_own = program == Path::new(OWN_PROGRAM) && !self.arguments.iter().any(elsewhere);
        let has_journal = folders.iter().any(|folder| may_be_there(folder));
        (is_own && !has_journal).then_some(Absent::Journal)
    }
}

/// Where nobody can look, who tries will hear why.
fn may_be_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_or_folder_that_is_missing_is_named_and_what_is_read_elsewhere_is_not_judged() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["bin/journalctl", "journal"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let check =
            |program: &Path, arguments: &[&str], journal: &str, expected: Option<Absent>| {
                let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
                let own = Journal { journalctl: program.to_owned(), arguments };
                let folders = [at("nowhere"), at(journal)];
                let path = std::env::join_paths([at("other"), at("bin")]).unwrap();
                let found = own.absent_from(&path, &[&folders[0], &folders[1]]);
                assert_eq!(found, expected, "{own:?}");
            };
        let own = Path::new(OWN_PROGRAM);
        check(own, &[], "journal", None);
        check(own, &["--unit=nginx"], "none", Some(Absent::Journal));
        for elsewhere in ["--directory=/var/log/journal/remote", "-D", "--root=/mnt"] {
            check(own, &[elsewhere], "none", None);
        }
        check(&at("bin/journalctl"), &[], "none", None);
        for program in [at("none/journalctl"), PathBuf::from("journalcat")] {
            check(&program, &[], "journal", Some(Absent::Program(program.clone())));
        }
        let said = Absent::Journal.to_string();
        assert!(said.contains(DISK) && said.contains(MEMORY), "{said}");
    }
}
