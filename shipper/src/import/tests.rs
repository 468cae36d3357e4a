//! Imports of plain and compressed files, again and again.
#![expect(clippy::disallowed_methods, reason = "tests make files as people do")]

use std::io::Write as _;

use super::*;
use crate::receiver::{Fault, Receiver};

async fn run(receiver: &Receiver, files: &[PathBuf]) -> Result<Imported, ImportError> {
    let config = Config::new(&receiver.url, "/nowhere", Vec::new());
    import(files, &config, &Clock::system(), &Shutdown::default(), |_| {}).await
}

fn text(name: &str, count: usize) -> (String, Vec<String>) {
    let lines: Vec<String> = (0..count).map(|n| format!("{name} {n:06}")).collect();
    (lines.join("\n"), lines)
}

#[tokio::test]
async fn every_wrapping_is_imported_and_once() {
    let (receiver, folder) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let mut expected = Vec::new();
    let mut files = Vec::new();
    for name in ["plain", "gzip", "zstd"] {
        let (content, lines) = text(name, 100_000);
        let bytes = match name {
            "gzip" => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(content.as_bytes()).unwrap();
                gzip.finish().unwrap()
            }
            "zstd" => zstd::encode_all(content.as_bytes(), 1).unwrap(),
            _ => content.into_bytes(),
        };
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        files.push(path);
        expected.extend(lines);
    }
    expected.sort();
    receiver.fail([Fault::AnswerLost, Fault::Status(503)]);
    let imported = run(&receiver, &files).await.unwrap();
    assert_eq!(imported.progress.files_done, 3);
    assert_eq!(imported.progress.records, 300_000);
    assert_eq!(imported.progress.file_bytes_done, imported.progress.file_bytes);
    assert!(receiver.messages(expected.len()).await == expected);

    let again = run(&receiver, &files).await.unwrap();
    assert_eq!(again.progress.bytes, imported.progress.bytes);
    assert!(receiver.messages(expected.len()).await == expected, "stored twice");
}

#[tokio::test]
async fn a_poison_line_is_kept_as_text() {
    let (receiver, folder) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let (content, mut expected) = text("a", 3_000);
    let path = folder.path().join("a.log");
    std::fs::write(&path, content + "\n{\"message\":\"evil\"}\nafter\n").unwrap();
    expected.extend(["after".to_owned(), "{\"message\":\"evil\"}".to_owned()]);
    expected.sort();
    receiver.poison("evil");
    run(&receiver, &[path]).await.unwrap();
    assert!(receiver.messages(expected.len()).await == expected);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_what_came_before_is_stored() {
    let (receiver, folder) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let (content, _) = text("a", 300_000);
    let mut bytes = zstd::encode_all(content.as_bytes(), 1).unwrap();
    bytes.truncate(bytes.len() - 10);
    let path = folder.path().join("a.zst");
    std::fs::write(&path, bytes).unwrap();
    let error = run(&receiver, &[path]).await.unwrap_err();
    assert!(error.to_string().contains("a.zst"), "{error}");
    assert!(!receiver.stored().is_empty());
}
