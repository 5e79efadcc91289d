//! `POST /api/harvest`: an asset is made of a stretch of a channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tracing::{error, info};

use super::admin::{body, json_response, text};
use crate::base::instant;
use crate::library::Library;
use crate::library::folder::{self, Published};
use crate::library::harvest::{self, Error, Options, Summary};
use crate::store::channel_dir;

type Answer = Response<Full<Bytes>>;

pub struct HarvestApi {
    /// Directory of all channels.
    pub live: PathBuf,
    pub library: Arc<Library>,
    /// Held while one is being made: they read whole journals.
    pub turn: Mutex<()>,
}

impl HarvestApi {
    pub async fn make(&self, request: Incoming) -> Answer {
        let keys = match body(request).await {
            Ok(keys) => keys,
            Err(answer) => return answer,
        };
        let mut options = match read(&keys) {
            Ok(options) => options,
            Err(mistake) => return text(StatusCode::BAD_REQUEST, &format!("{mistake}\n")),
        };
        (options.live, options.library) = (self.live.clone(), self.library.root().to_owned());
        options.now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let (asset, channel) = (options.asset.clone(), options.channel.clone());
        let _turn = self.turn.lock().await;
        match tokio::task::spawn_blocking(move || harvest::harvest(&options)).await {
            Ok(Ok(summary)) => {
                info!("asset {asset}: harvested from channel {channel}, version {}", summary.version);
                json_response(&described(&asset, &summary))
            }
            Ok(Err(mistake)) => {
                let status = status(&mistake);
                if status.is_server_error() {
                    error!("asset {asset}: harvest from channel {channel}: {mistake}");
                }
                text(status, &format!("{mistake}\n"))
            }
            Err(panicked) => {
                error!("asset {asset}: harvest from channel {channel}: {panicked}");
                text(StatusCode::INTERNAL_SERVER_ERROR, "failed, see the log\n")
            }
        }
    }
}

/// What the request says; directories are the server's.
fn read(keys: &serde_json::Map<String, Value>) -> Result<Options, String> {
    if let Some(key) = keys.keys().find(|key| !["channel", "start", "end", "asset"].contains(&key.as_str())) {
        return Err(format!("{key}: found an unknown key, expected channel, start, end and asset"));
    }
    let name = |key: &str| match keys.get(key) {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(found) => Err(format!("{key}: found {found}, expected a name")),
        None => Err(format!("{key}: missing, expected a name")),
    };
    const TIME: &str = "a time like \"2026-05-01T20:15:00Z\", or seconds since 1970";
    let time = |key: &str| -> Result<Duration, String> {
        let found = keys.get(key).ok_or_else(|| format!("{key}: missing, expected {TIME}"))?;
        let time = match found {
            Value::String(text) => instant::read(text),
            Value::Number(seconds) => seconds.as_f64().and_then(|it| Duration::try_from_secs_f64(it).ok()),
            _ => None,
        };
        time.ok_or_else(|| format!("{key}: found {found}, expected {TIME}"))
    };
    let (start, end) = (time("start")?, time("end")?);
    if end <= start {
        return Err("end: found a time that is not after start, expected a later one".to_owned());
    }
    let (live, library) = (PathBuf::new(), PathBuf::new());
    Ok(Options { live, channel: name("channel")?, start, end, library, asset: name("asset")?, now: 0 })
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Folder(folder::Error::Name(_)) | Error::Channel(channel_dir::Error::Name(_)) | Error::Order { .. } => {
            StatusCode::BAD_REQUEST
        }
        Error::NoChannel { .. } | Error::Nothing { .. } => StatusCode::NOT_FOUND,
        Error::FormatChange { .. } | Error::TooMany { .. } => StatusCode::CONFLICT,
        Error::Folder(folder::Error::Full { .. }) => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn described(asset: &str, summary: &Summary) -> Value {
    json!({
        "asset": asset,
        "version": summary.version.to_string(),
        "changed": !matches!(summary.published, Published::Unchanged),
        "start": summary.start.as_secs_f64(),
        "duration": summary.duration.as_secs_f64(),
        "tracks": summary.tracks.len(),
        "bytes": summary.bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_mistake_it_is() {
        let root = tempfile::tempdir().unwrap();
        let at = Duration::from_secs;
        let harvest = |channel: &str, asset: &str, end| {
            let (live, library) = (root.path().join("live"), root.path().join("library"));
            let (channel, asset) = (channel.to_owned(), asset.to_owned());
            let options = Options { live, channel, start: at(1), end: at(end), library, asset, now: 0 };
            status(&harvest::harvest(&options).unwrap_err()).as_u16()
        };
        for (channel, asset, end, want) in [
            ("news", "a", 2, 404),
            ("../news", "a", 2, 400),
            ("", "a", 2, 400),
            ("news", "../a", 2, 400),
            ("news", "a", 1, 400),
        ] {
            assert_eq!(harvest(channel, asset, end), want, "{channel:?} {asset:?} {end}");
        }
    }

    #[test]
    fn requests() {
        for (request, want) in [
            (json!({"channel": "news", "start": 10, "end": "1970-01-01T00:00:12.5Z", "asset": "a"}), Ok((10.0, 12.5))),
            (json!({"channel": "news", "start": 10, "end": 10, "asset": "a"}), Err("end: found a time that is not")),
            (json!({"channel": "news", "start": "soon", "end": 10, "asset": "a"}), Err("start: found \"soon\"")),
            (json!({"channel": "news", "start": -1, "end": 10, "asset": "a"}), Err("start: found -1")),
            (json!({"channel": "news", "start": 1, "asset": "a"}), Err("end: missing")),
            (json!({"channel": 7, "start": 1, "end": 2, "asset": "a"}), Err("channel: found 7")),
            (json!({"start": 1, "end": 2, "asset": "a"}), Err("channel: missing")),
            (
                json!({"channel": "news", "start": 1, "end": 2, "asset": "a", "to": "b"}),
                Err("to: found an unknown key"),
            ),
        ] {
            let read = read(request.as_object().unwrap());
            match (read, want) {
                (Ok(options), Ok(want)) => {
                    assert_eq!((options.start.as_secs_f64(), options.end.as_secs_f64()), want, "{request}");
                }
                (Err(found), Err(want)) => assert!(found.starts_with(want), "{request}: {found}"),
                (found, want) => panic!("{request}: {found:?}, expected {want:?}"),
            }
        }
    }
}
