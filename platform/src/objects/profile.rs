//! The credentials file of Amazon's tools, for who set no variables.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::connect::StoreOptions;

/// Variables that say who we are; with one of them set, the file is not read.
const WHO_WE_ARE: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// What a profile may set, and the variable it stands for.
const KEYS: [(&str, &str); 5] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
    ("region", "AWS_REGION"),
    ("endpoint_url", "AWS_ENDPOINT_URL"),
];

/// What the profile `AWS_PROFILE` (`default` unless set) of the file says, as variables.
///
/// # Errors
/// The file was named and cannot be read, or the profile was named and is not in it.
pub(super) fn read(options: &StoreOptions) -> io::Result<Vec<(String, String)>> {
    if WHO_WE_ARE.iter().any(|name| options.get(name).is_some()) {
        return Ok(Vec::new());
    }
    let named = options.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let usual = || Some(Path::new(options.get("HOME")?).join(".aws/credentials"));
    let is_named = named.is_some();
    let Some(path) = named.or_else(usual) else { return Ok(Vec::new()) };
    let wrong = |kind, what: &dyn std::fmt::Display| {
        io::Error::new(kind, format!("the credentials file {}: {what}", path.display()))
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(wrong(error.kind(), &error)),
    };
    let profile = options.get("AWS_PROFILE");
    match section(&text, profile.unwrap_or("default")) {
        Some(found) => Ok(found),
        None if profile.is_none() => Ok(Vec::new()),
        None => {
            let text = "the profile AWS_PROFILE names is not in it: add it, or name another";
            Err(wrong(io::ErrorKind::NotFound, &text))
        }
    }
}

fn section(text: &str, profile: &str) -> Option<Vec<(String, String)>> {
    let mut found: Option<Vec<(String, String)>> = None;
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            is_ours = name.trim() == profile;
            if is_ours {
                found.get_or_insert_default();
            }
        } else if is_ours
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
            && let Some((_, variable)) = KEYS.iter().find(|(name, _)| *name == key.trim())
        {
            let pair = ((*variable).to_owned(), value.trim().to_owned());
            found.get_or_insert_default().push(pair);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\n[default]\naws_access_key_id = one\naws_secret_access_key=two=\n\
                        [logs]\n; theirs\naws_access_key_id=three\nregion = eu-central-1\nx=y\n";

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        crate::disk::write_atomically(&path, FILE.as_bytes()).unwrap();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let mut variables = own(variables);
        variables.push(("AWS_SHARED_CREDENTIALS_FILE".into(), path.display().to_string()));
        let options = StoreOptions { variables, retry_for: std::time::Duration::ZERO };
        assert_eq!(read(&options).unwrap(), own(expected));
    }

    #[test]
    fn a_profile_is_read_when_no_variable_says_who_we_are() {
        check(&[], &[("AWS_ACCESS_KEY_ID", "one"), ("AWS_SECRET_ACCESS_KEY", "two=")]);
        let logs = [("AWS_ACCESS_KEY_ID", "three"), ("AWS_REGION", "eu-central-1")];
        check(&[("AWS_PROFILE", "logs")], &logs);
        check(&[("AWS_ACCESS_KEY_ID", "mine")], &[]);
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let variables = vec![("AWS_SHARED_CREDENTIALS_FILE".into(), "/nowhere/c".into())];
        let options = StoreOptions { variables, retry_for: std::time::Duration::ZERO };
        assert!(read(&options).unwrap_err().to_string().contains("/nowhere/c"));
        let options = StoreOptions { variables: Vec::new(), retry_for: std::time::Duration::ZERO };
        assert_eq!(read(&options).unwrap(), []);
    }
}
