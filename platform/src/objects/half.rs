//! Uploads that were begun and never finished: found by asking the store, and aborted.

use std::io::{self, ErrorKind};
use std::path::Path as FilePath;
use std::time::Duration;

use model::time::Timestamp;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::signer::Signer as _;
use serde::Deserialize;
use url::Url;

use super::errors::{kind_of_http, told};
use super::folder::{changed, walk};
use crate::clock::Clock;
use crate::disk;

/// Pages of half uploads that are looked at in one sweep, a thousand uploads each; the next sweep
/// goes on.
const PAGES_MAX: usize = 100;
/// Tries of one request for a page.
const TRIES_MAX: u32 = 8;
/// The wait before a page is asked for again; the next is twice as long.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// For how long the URL would hold that tells where the bucket is.
const URL_HOLDS: Duration = Duration::from_secs(60);

/// A page of half uploads, as S3 lists them.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl Upload {
    fn is_ours(&self, prefix: &str, before: Timestamp) -> bool {
        let rest = self.key.strip_prefix(prefix);
        let is_below = rest.is_some_and(|rest| prefix.is_empty() || rest.starts_with('/'));
        is_below && Timestamp::parse(&self.initiated).is_some_and(|begun| begun < before)
    }
}

/// Aborts uploads below a prefix that were begun before a moment. How many.
pub(super) async fn sweep_s3(
    s3: &AmazonS3,
    client: &HttpClient,
    prefix: &Path,
    before: Timestamp,
) -> io::Result<u64> {
    let (mut page, mut swept) = (Page::default(), 0);
    for _ in 0..PAGES_MAX {
        page = next_page(s3, client, prefix, &page).await?;
        for upload in page.uploads.iter().filter(|upload| upload.is_ours(prefix.as_ref(), before)) {
            let at = Path::parse(&upload.key).map_err(io::Error::other)?;
            match s3.abort_multipart(&at, &upload.upload_id).await {
                Ok(()) => {
                    tracing::info!(object = %at, begun = upload.initiated, "sweeping a half upload");
                    swept += 1;
                }
                // It was finished or aborted meanwhile.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(told(at.as_ref(), &error)),
            }
        }
        if !page.is_truncated {
            break;
        }
    }
    Ok(swept)
}

async fn next_page(
    s3: &AmazonS3,
    client: &HttpClient,
    prefix: &Path,
    last: &Page,
) -> io::Result<Page> {
    let clock = Clock::system();
    let mut wait = WAIT_FIRST;
    for _ in 1..TRIES_MAX {
        match ask(s3, client, prefix, last).await {
            Err(error) if super::retryable(&error) => {}
            answer => return answer,
        }
        clock.sleep(wait).await;
        wait *= 2;
    }
    ask(s3, client, prefix, last).await
}

async fn ask(s3: &AmazonS3, client: &HttpClient, prefix: &Path, last: &Page) -> io::Result<Page> {
    const WHAT: &str = "the list of half uploads";
    let wrong = |kind, text: String| io::Error::new(kind, format!("{WHAT}: {text}"));
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    // The library does not list them; it does tell where the bucket is and in which region.
    let signed = s3.signed_url(request.method().clone(), &Path::from("x"), URL_HOLDS).await;
    let (mut url, region) = bucket(signed.map_err(|error| told(WHAT, &error))?)
        .ok_or_else(|| wrong(ErrorKind::Unsupported, "the store's URL is not S3's".to_owned()))?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("uploads", "");
        if !prefix.as_ref().is_empty() {
            query.append_pair("prefix", prefix.as_ref());
        }
        let markers = [
            ("key-marker", &last.next_key_marker),
            ("upload-id-marker", &last.next_upload_id_marker),
        ];
        for (name, marker) in markers {
            if let Some(marker) = marker.as_ref().filter(|marker| !marker.is_empty()) {
                query.append_pair(name, marker);
            }
        }
    }
    *request.uri_mut() = url.as_str().parse().map_err(io::Error::other)?;
    let who = s3.credentials().get_credential().await.map_err(|error| told(WHAT, &error))?;
    AwsAuthorizer::new(&who, "s3", &region).authorize(&mut request, None);
    let failed =
        |error: object_store::client::HttpError| wrong(kind_of_http(&error), error.to_string());
    let answer = client.execute(request).await.map_err(failed)?;
    let status = answer.status();
    let body = answer.into_body().bytes().await.map_err(failed)?;
    let text = String::from_utf8_lossy(&body);
    if status.is_success() {
        return page(&text).map_err(|error| wrong(ErrorKind::InvalidData, error.to_string()));
    }
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        408 | 429 | 500.. => ErrorKind::TimedOut,
        _ => ErrorKind::Other,
    };
    Err(wrong(kind, format!("{status}: {text}: check what our credentials may do")))
}

fn page(text: &str) -> Result<Page, quick_xml::DeError> {
    quick_xml::de::from_str(text)
}

/// The URL of the bucket and its region, from the signed URL of an object `x` in it.
fn bucket(mut signed: Url) -> Option<(Url, String)> {
    let (_, scope) = signed.query_pairs().find(|(name, _)| name == "X-Amz-Credential")?;
    // key/date/region/s3/aws4_request; what the key holds is the store's affair.
    let region = scope.rsplit('/').nth(2)?.to_owned();
    signed.set_query(None);
    signed.path_segments_mut().ok()?.pop();
    Some((signed, region))
}

/// Removes files which a folder's uploads began before a moment and never finished. How many.
pub(super) fn sweep_folder(folder: &FilePath, before: Timestamp) -> io::Result<u64> {
    let mut swept = 0;
    walk(folder, &mut |name, path, meta| {
        // The library writes `name#1` and renames it.
        let is_half = name.rsplit_once('#').is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if is_half && changed(meta) < before {
            tracing::info!(name, bytes = meta.len(), "sweeping a half upload");
            disk::remove_file(path)?;
            swept += 1;
        }
        Ok(())
    })?;
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_half_uploads_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>logs</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>
              <NextKeyMarker>a/splits/2</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>
              <MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>
              <Upload><Key>a/splits/1</Key><UploadId>u1</UploadId>
                <Initiator><ID>i</ID><DisplayName>d</DisplayName></Initiator>
                <StorageClass>STANDARD</StorageClass>
                <Initiated>2026-11-10T20:48:33.000Z</Initiated></Upload>
              <Upload><Key>ab/2</Key><UploadId>u2</UploadId>
                <Initiated>2026-11-10T20:48:34Z</Initiated></Upload>
            </ListMultipartUploadsResult>"#;
        let page = page(text).unwrap();
        assert!(page.is_truncated);
        assert_eq!(page.next_key_marker.as_deref(), Some("a/splits/2"));
        let [one, two] = page.uploads.as_slice() else { panic!("{page:?}") };
        assert_eq!((one.upload_id.as_str(), two.upload_id.as_str()), ("u1", "u2"));
        let moment = |text| Timestamp::parse(text).unwrap();
        let (begun, later) = (moment("2026-11-10T20:48:33Z"), moment("2026-11-10T20:48:35Z"));
        assert!(one.is_ours("a", later) && one.is_ours("", later));
        assert!(!one.is_ours("a", begun), "it is not older than that");
        assert!(!two.is_ours("a", later), "another cluster's prefix");
        assert_eq!(super::page("<ListMultipartUploadsResult/>").unwrap(), Page::default());
    }

    #[test]
    fn the_bucket_is_found_in_a_signed_url() {
        let query = "?X-Amz-Credential=AKI%2F20261128%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=1";
        let check = |url: &str, expected: &str| {
            let (found, region) = bucket(Url::parse(&format!("{url}{query}")).unwrap()).unwrap();
            assert_eq!((found.as_str(), region.as_str()), (expected, "eu-west-1"));
        };
        check("http://127.0.0.1:9000/logs/x", "http://127.0.0.1:9000/logs");
        check("https://logs.s3.amazonaws.com/x", "https://logs.s3.amazonaws.com/");
    }
}
