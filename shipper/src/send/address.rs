//! Addresses of nodes: which can be, and how they are said without what they hold of secrets.

use model::wire::BATCHES_PATH;

use super::TargetError;

/// Where nodes of these addresses take batches.
///
/// # Errors
/// An address is none, or there is none.
pub(crate) fn addresses(urls: &[String]) -> Result<Vec<String>, TargetError> {
    let address = |url: &String| {
        let sound = reqwest::Url::parse(url)
            .is_ok_and(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.has_host());
        if !sound {
            return Err(TargetError::Address(masked(url)));
        }
        Ok(format!("{}{BATCHES_PATH}", url.trim_end_matches('/')))
    };
    if urls.is_empty() {
        return Err(TargetError::Address(String::new()));
    }
    urls.iter().map(address).collect()
}

/// Whether a user or a password stands before the host.
pub(super) fn has_user(url: &str) -> bool {
    let has = |url: reqwest::Url| !url.username().is_empty() || url.password().is_some();
    reqwest::Url::parse(url).is_ok_and(has)
}

/// An address as it may be said to everybody: without the user and password that may stand before its host.
#[must_use]
pub fn masked(url: &str) -> String {
    // Also of one that cannot be parsed.
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((_, rest)))) => format!("{scheme}://***@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_said_to_nobody() {
        for (url, said) in [
            ("http://node:7410", "http://node:7410"),
            ("https://me:secret@node/team", "https://***@node/team"),
            ("http://me:a/b@node", "http://***@node"),
            ("no address", "no address"),
        ] {
            assert_eq!(masked(url), said);
        }
        assert!(has_user("https://me:secret@node/team") && has_user("http://me@node"));
        assert!(!has_user("http://node:7410/a@b"));
        let refused = addresses(&["ftp://me:secret@node".to_owned()]).unwrap_err().to_string();
        assert!(refused.contains("ftp://***@node") && !refused.contains("secret"), "{refused}");
    }
}
