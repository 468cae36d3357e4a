//! Whose lines a file holds, told by its path: service, container, Kubernetes' namespace and pod.

use std::path::Path;

/// Bytes of Docker's description of a container that are read.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// The labels that a path says, beside `host` and `source`.
pub(crate) fn labels(source: &str) -> Vec<(String, String)> {
    let mut labels = kubernetes(source).unwrap_or_default();
    if labels.is_empty()
        && let Some(name) = docker_name(source)
    {
        labels.push(("container".to_owned(), name));
    }
    let container = labels.iter().find(|(name, _)| name == "container");
    let service = container.map_or_else(|| service(source), |(_, name)| name.clone());
    labels.push(("service".to_owned(), service));
    labels
}

/// Whether a container runtime writes there.
pub(crate) fn is_container_path(source: &str) -> bool {
    source.contains("/docker/containers/")
        || source.contains("/log/pods/")
        || source.contains("/log/containers/")
}

/// `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`, and the links
/// `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`.
fn kubernetes(source: &str) -> Option<Vec<(String, String)>> {
    let named = |namespace: &str, pod: &str, container: &str| {
        [("namespace", namespace), ("pod", pod), ("container", container)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    if let Some((_, rest)) = source.split_once("/log/pods/") {
        let (owner, rest) = rest.split_once('/')?;
        let (container, _) = rest.split_once('/')?;
        let mut parts = owner.split('_');
        return Some(named(parts.next()?, parts.next()?, container));
    }
    let (_, name) = source.split_once("/log/containers/")?;
    let (owner, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let mut parts = owner.split('_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    is_container_id(id).then(|| named(namespace, pod, container))
}

/// The name Docker gave a container, from its description beside the log.
fn docker_name(source: &str) -> Option<String> {
    let folder = Path::new(source).parent().filter(|_| source.contains("/docker/containers/"))?;
    let path = folder.join("config.v2.json");
    std::fs::metadata(&path).ok().filter(|meta| meta.len() <= DESCRIPTION_BYTES_MAX)?;
    let description: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let name = description.get("Name")?.as_str()?.trim_start_matches('/');
    (!name.is_empty()).then(|| name.to_owned())
}

/// What a file's lines are of, by its name: `/var/log/nginx/access.log.1` is `access`.
fn service(source: &str) -> String {
    let path = Path::new(source);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = name.split('.').filter(|part| !is_suffix(part));
    let stem = parts.next().unwrap_or_default();
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit() || "-_:".contains(c));
    let id = stem.strip_suffix("-json").unwrap_or(stem);
    if is_container_id(id) {
        return id.get(..12).unwrap_or(id).to_owned();
    }
    if !stem.is_empty() {
        return stem.to_owned();
    }
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    folder.unwrap_or_default().to_owned()
}

fn is_suffix(part: &str) -> bool {
    let dated = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    dated || ["log", "gz", "xz", "zst", "bz2", "old"].contains(&part)
}

fn is_container_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let labels = labels(source);
        let text: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(text.join(" "), expected, "{source}");
    }

    #[test]
    fn a_path_says_whose_lines_they_are() {
        let id = "0123456789abcdef".repeat(4);
        check("/var/log/syslog", "service=syslog");
        check("/var/log/syslog.1", "service=syslog");
        check("/var/log/nginx/access.log.2.gz", "service=access");
        check("/var/log/app-2026-11-23.log", "service=app");
        check("/var/log/app.log-20261123", "service=app");
        check("/data/Android_2k.log", "service=Android_2k");
        check(
            "/var/log/pods/ns_pod-1_uid/web/0.log",
            "namespace=ns pod=pod-1 container=web service=web",
        );
        check(&format!("/var/lib/docker/containers/{id}/{id}-json.log"), "service=0123456789ab");
        check(
            &format!("/var/log/containers/pod-1_ns_web-{id}.log"),
            "namespace=ns pod=pod-1 container=web service=web",
        );
    }
}
