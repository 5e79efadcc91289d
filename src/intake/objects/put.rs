//! PutObject: an upload, from its head to the moment at which it survives.
//!
//! What is small is gathered and written in one piece by the writer's thread; what is not, and what is to be read while it
//! comes, goes to its file as it comes. However an upload ends, what it leaves is either a whole object or nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::{HeaderMap, Request};
use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;
use super::writer::{Content, Put};
use super::{ObjectApi, Options, now_millis};
use crate::base::Growing;
use crate::base::growing::{End, Progress};
use crate::base::limits::{PUSHED_MANIFEST_BYTES_MAX, READ_RATE_WINDOW, STORE_GATHER_BYTES_MAX};
use crate::http::sigv4::Payload;
use crate::intake::recorder;
use crate::store::objects::container::{Container, ManifestLife};
use crate::store::objects::disk::DiskFile;
use crate::store::objects::object::META_BYTES_MAX;
use crate::store::objects::table::Usage;
use crate::store::objects::{CommitError, Digest, Found, Meta, Object, ObjectPath, Objects, Upload, manifest};

/// Whether an object can be read before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    Standard,
    Streaming,
}

/// A file that is written as the upload comes.
struct Writing {
    file: Arc<dyn DiskFile>,
    ring: tokio_uring::fs::File,
    at: u64,
    /// While it is shown.
    shown: Option<Arc<Upload>>,
}

/// Whatever ends an upload: what it left is given up, unless it was taken over.
struct Uploading<'a> {
    objects: &'a Objects,
    usage: Arc<Usage>,
    id: u64,
    writing: Option<Writing>,
    is_taken: bool,
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        self.usage.uploading.fetch_sub(1, Ordering::Relaxed);
        if self.is_taken {
            return;
        }
        self.usage.broken.fetch_add(1, Ordering::Relaxed);
        if let Some(writing) = self.writing.take() {
            if let Some(shown) = &writing.shown {
                // In this order: whoever comes now finds nothing, and who follows is told.
                self.objects.table().hide(shown);
                shown.growing.progress.finish(End::Broken);
            }
            self.objects.abandon(self.id);
        }
    }
}

impl ObjectApi {
    /// Takes the upload; when this returns, the object is shown, and survives as the store was told.
    pub(super) async fn put(
        &self,
        request: Request<Incoming>,
        path: &ObjectPath,
        settings: &Container,
        payload: Payload,
        options: &Options,
    ) -> Result<Arc<Object>, Refusal> {
        let objects = self.reads.objects();
        let length = request.body().size_hint().exact();
        let max = options.object_max;
        if length.is_some_and(|length| length > max) {
            return Err(Refusal::TooLarge { max });
        }
        objects.has_room(path, length.unwrap_or(0))?;
        let meta = objects.meta(meta(request.headers())?);
        let availability = availability(options, request.headers(), length.is_none())?;
        let is_manifest = path.is_manifest() || is_manifest_type(&meta.content_type);
        let streams = availability == Availability::Streaming && !is_manifest;
        let gather_max = if is_manifest { PUSHED_MANIFEST_BYTES_MAX } else { STORE_GATHER_BYTES_MAX };

        let usage = objects.table().usage_of(path.container());
        usage.uploading.fetch_add(1, Ordering::Relaxed);
        let mut upload = Uploading { objects, usage, id: objects.allot(), writing: None, is_taken: false };
        let mut body = request.into_body();
        let (mut gathered, mut len, mut hasher) = (Vec::<Bytes>::new(), 0_u64, Sha256::new());
        let mut rate = Rate::new(options.write_rate_min, Instant::now());
        while let Some(bytes) = self.next(&mut body, &mut rate).await? {
            len += bytes.len() as u64;
            if len > max {
                return Err(Refusal::TooLarge { max });
            }
            upload.usage.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            hasher.update(&bytes);
            gathered.push(bytes);
            if streams || upload.writing.is_some() || len > gather_max as u64 {
                if upload.writing.is_none() {
                    upload.writing = Some(self.begin(upload.id, path, &meta, streams).await?);
                }
                if let Some(writing) = &mut upload.writing {
                    writing.append(std::mem::take(&mut gathered)).await?;
                }
            }
        }
        let digest = Digest(hasher.finalize().into());
        if matches!(payload, Payload::Sha256(said) if said != digest.0) {
            return Err(Refusal::Digest);
        }
        let lifetime = if is_manifest { lifetime(settings.manifests, &gathered) } else { 0 };
        let id = upload.id;
        let (content, shown) = match upload.writing.take() {
            None => (Content::Memory(gathered), None),
            Some(writing) => {
                let Writing { file, ring, at, shown } = writing;
                // So that it is closed here, and not later by the ring.
                let _ = ring.close().await;
                if let Some(shown) = &shown {
                    shown.growing.progress.finish(End::Complete(at));
                }
                (Content::Written(file), shown)
            }
        };
        upload.is_taken = true;
        let path = path.clone();
        let put = |answer| Put { id, path, len, digest, meta, lifetime, content, shown, answer };
        Ok(self.writer.put(put).await.ok_or(Refusal::Stopping)??)
    }

    /// The next bytes of a body; `None` at its end.
    async fn next(&self, body: &mut Incoming, rate: &mut Rate) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = match tokio::time::timeout(self.idle_timeout, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(Refusal::Broken(error)),
                Err(_) => return Err(Refusal::Silent { after: self.idle_timeout }),
            };
            // Trailers say nothing here.
            let Ok(bytes) = frame.into_data() else { continue };
            if bytes.is_empty() {
                continue;
            }
            if !rate.is_kept(bytes.len() as u64, Instant::now()) {
                return Err(Refusal::Slow { min: rate.min });
            }
            return Ok(Some(bytes));
        }
    }

    /// Opens the file of an upload. One that can be read meanwhile is shown, unless its path has something already.
    async fn begin(&self, id: u64, path: &ObjectPath, meta: &Arc<Meta>, streams: bool) -> Result<Writing, Refusal> {
        let reads = self.reads.clone();
        let created = tokio::task::spawn_blocking(move || reads.objects().create(id)).await;
        let file = created.unwrap_or_else(|panic| Err(io::Error::other(panic))).map_err(disk)?;
        let stored = file.clone().stored(0).ok_or_else(|| disk(io::ErrorKind::Unsupported.into()))?;
        let own = stored.fd().try_clone_to_owned().map_err(disk)?;
        let ring = tokio_uring::fs::File::from_std(own.into());
        let table = self.reads.objects().table();
        let is_free = match self.reads.objects().find(path, now_millis()) {
            None => true,
            Some(Found::Object(_) | Found::Growing(_)) => false,
        };
        let shown = (streams && is_free).then(|| {
            let growing = Growing { file: stored, start: 0, progress: Arc::new(Progress::new(0)) };
            Arc::new(Upload { id, path: path.clone(), meta: meta.clone(), growing })
        });
        let shown = shown.filter(|shown| table.show(shown.clone()));
        Ok(Writing { file, ring, at: 0, shown })
    }
}

impl Writing {
    async fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), Refusal> {
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let now: Vec<Bytes> = pieces.by_ref().take(PIECES_MAX).collect();
            let len: usize = now.iter().map(Bytes::len).sum();
            recorder::write_all(&self.ring, now, self.at).await.map_err(disk)?;
            self.at += len as u64;
        }
        if let Some(shown) = &self.shown {
            shown.growing.progress.advance(self.at);
        }
        Ok(())
    }
}

fn disk(error: io::Error) -> Refusal {
    Refusal::Commit(CommitError::Disk(Arc::new(error)))
}

/// What is kept of the head.
fn meta(headers: &HeaderMap) -> Result<Meta, Refusal> {
    let kept = |name: &'static str, value: Option<&hyper::header::HeaderValue>, max: usize, expected: &'static str| {
        let bytes = value.map_or(&b""[..], |value| value.as_bytes());
        let is_sound = bytes.len() <= max && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
        match str::from_utf8(bytes) {
            Ok(text) if is_sound => Ok(text.into()),
            _ => Err(Refusal::Parameter { name, found: String::from_utf8_lossy(bytes).into_owned(), expected }),
        }
    };
    Ok(Meta {
        content_type: kept(
            "Content-Type",
            headers.get(CONTENT_TYPE),
            CONTENT_TYPE_BYTES_MAX,
            "at most 255 visible ASCII characters and spaces",
        )?,
        cache_control: kept(
            "Cache-Control",
            headers.get(CACHE_CONTROL),
            META_BYTES_MAX,
            "at most 1024 visible ASCII characters and spaces",
        )?,
    })
}

/// Buffers of one write: IOV_MAX of Linux is 1024.
const PIECES_MAX: usize = 512;

/// The API's `ContentType`.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
const _: () = assert!(CONTENT_TYPE_BYTES_MAX <= META_BYTES_MAX);

fn is_manifest_type(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    [
        "application/vnd.apple.mpegurl",
        "application/x-mpegurl",
        "audio/mpegurl",
        "audio/x-mpegurl",
        "application/dash+xml",
    ]
    .iter()
    .any(|manifest| media_type.eq_ignore_ascii_case(manifest))
}

/// How long a manifest lasts, in milliseconds; 0 is for ever, also of one that is too large to be looked at.
fn lifetime(life: ManifestLife, gathered: &[Bytes]) -> u32 {
    match life {
        ManifestLife::Unlimited => 0,
        ManifestLife::OneAndAHalfSegments => {
            let duration = manifest::segment_duration(&gathered.concat());
            duration.map_or(0, |duration| u32::try_from(duration.as_millis() * 3 / 2).unwrap_or(u32::MAX))
        }
    }
}

fn availability(options: &Options, headers: &HeaderMap, is_chunked: bool) -> Result<Availability, Refusal> {
    if let Some(class) = headers.get("x-amz-storage-class")
        && !class.as_bytes().eq_ignore_ascii_case(b"TEMPORAL")
    {
        let found = String::from_utf8_lossy(class.as_bytes()).into_owned();
        return Err(Refusal::Parameter { name: "x-amz-storage-class", found, expected: "TEMPORAL" });
    }
    let Some(said) = headers.get("x-amz-upload-availability") else {
        let streams = is_chunked && options.is_streaming_default;
        return Ok(if streams { Availability::Streaming } else { Availability::Standard });
    };
    match said.as_bytes() {
        said if said.eq_ignore_ascii_case(b"STREAMING") => Ok(Availability::Streaming),
        said if said.eq_ignore_ascii_case(b"STANDARD") => Ok(Availability::Standard),
        said => Err(Refusal::Parameter {
            name: "x-amz-upload-availability",
            found: String::from_utf8_lossy(said).into_owned(),
            expected: "STANDARD or STREAMING",
        }),
    }
}

/// Whether an upload brings as much as it has to.
struct Rate {
    min: u64,
    bytes: u64,
    since: Instant,
}

impl Rate {
    fn new(min: u64, now: Instant) -> Rate {
        Rate { min, bytes: 0, since: now }
    }

    /// Looked at once in a window.
    fn is_kept(&mut self, bytes: u64, now: Instant) -> bool {
        self.bytes += bytes;
        let passed = now.duration_since(self.since);
        if passed < READ_RATE_WINDOW {
            return true;
        }
        let is_kept = u128::from(self.bytes) * 1_000 >= u128::from(self.min) * passed.as_millis();
        (self.bytes, self.since) = (0, now);
        is_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn slow_uploads_are_told_from_steady_ones() {
        let start = Instant::now();
        for (bytes_a_second, is_kept) in [(1, false), (127, false), (128, true), (100_000, true)] {
            let mut rate = Rate::new(128, start);
            let kept = (1..100).all(|second| rate.is_kept(bytes_a_second, start + Duration::from_secs(second)));
            assert_eq!(kept, is_kept, "{bytes_a_second}");
        }
        let mut rate = Rate::new(0, start);
        assert!(rate.is_kept(1, start + Duration::from_secs(10_000)));
    }

    #[test]
    fn heads() {
        let headers = |content_type: &str, cache_control: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_bytes(content_type.as_bytes()).unwrap());
            headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_bytes(cache_control.as_bytes()).unwrap());
            headers
        };
        let found = meta(&headers("video/mp4; codecs=\"avc1\"", "max-age=5, private")).unwrap();
        assert_eq!((&*found.content_type, &*found.cache_control), ("video/mp4; codecs=\"avc1\"", "max-age=5, private"));
        assert_eq!(meta(&HeaderMap::new()).unwrap(), Meta::default());
        for (content_type, cache_control) in
            [("a".repeat(256), String::new()), (String::new(), "b".repeat(1_025)), ("vidéo".to_owned(), String::new())]
        {
            assert!(meta(&headers(&content_type, &cache_control)).is_err());
        }
        for (content_type, want) in [
            ("application/x-mpegURL", true),
            ("application/dash+xml; charset=utf-8", true),
            ("video/mp4", false),
            ("", false),
        ] {
            assert_eq!(is_manifest_type(content_type), want, "{content_type}");
        }
    }

    #[test]
    fn manifests_last_for_one_and_a_half_segments() {
        let playlist = Bytes::from_static(b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\na.ts\n");
        let pieces = [playlist.slice(..10), playlist.slice(10..)];
        assert_eq!(lifetime(ManifestLife::OneAndAHalfSegments, &pieces), 6_000);
        assert_eq!(lifetime(ManifestLife::Unlimited, &pieces), 0);
        assert_eq!(lifetime(ManifestLife::OneAndAHalfSegments, &[Bytes::from_static(b"#EXTM3U\n")]), 0);
    }
}
