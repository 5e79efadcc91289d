//! What the admin API says of the library.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::exposition::Exposition;
use crate::library::catalog::State;
use crate::library::{Asset, Library};
use crate::media::track::Details;
use crate::media::{Kind, TrackView};

/// Why there is nothing to say of an asset.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    Unknown,
    Damaged,
}

pub fn write_metrics(library: &Library, out: &mut Exposition) {
    let (open_assets, open_tracks) = library.open_counts();
    for (name, help, count) in [
        ("headwater_library_assets", "Assets in the library.", library.catalog().len()),
        ("headwater_library_open_assets", "Assets whose index is mapped.", open_assets),
        ("headwater_library_open_tracks", "Track files that are open.", open_tracks),
    ] {
        out.gauge(name, help, [(&[][..], count as f64)]);
    }
}

/// Every asset, in order of names.
pub fn assets(library: &Library) -> Value {
    let catalog = library.catalog();
    let assets: Vec<Value> = catalog
        .names()
        .into_iter()
        .filter_map(|name| catalog.find(name))
        .map(|entry| json!({ "name": entry.name(), "version": entry.version() }))
        .collect();
    json!({ "assets": assets })
}

/// One asset with its tracks. Opens it: may wait for the disk.
pub fn asset(library: &Library, name: &str) -> Result<Value, Missing> {
    let entry = library.catalog().find(name).cloned().ok_or(Missing::Unknown)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let State::Closed = entry.state(now) {
        library.load(&entry);
    }
    match entry.state(now) {
        State::Open(asset) => Ok(described(name, &asset)),
        // Closed again at once by others that were opened: as good as not there, and the next question finds it.
        State::Closed => Err(Missing::Unknown),
        State::Damaged => Err(Missing::Damaged),
    }
}

fn described(name: &str, asset: &Arc<Asset>) -> Value {
    let presentation = asset.presentation();
    json!({
        "name": name,
        "version": presentation.version,
        "published": asset.published(),
        "duration": presentation.duration.as_secs_f64(),
        "segments": presentation.cuts.len(),
        "tracks": presentation.tracks.iter().map(track).collect::<Vec<Value>>(),
    })
}

fn track(view: &TrackView<'_>) -> Value {
    let track = view.track;
    let mut value = json!({
        "id": track.id,
        "codec": track.codec,
        "language": track.language,
        "name": track.name,
        "bytes": view.size(),
    });
    if track.kind() == Kind::Text {
        value["cues"] = json!(view.cues.len());
    }
    let details = details(&track.details);
    if let (Value::Object(value), Value::Object(details)) = (&mut value, details) {
        value.extend(details);
    }
    value
}

/// What there is to say of a track of its kind.
pub fn details(details: &Details) -> Value {
    match details {
        Details::Video(video) => json!({
            "kind": "video",
            "width": video.width,
            "height": video.height,
            "frame_rate": f64::from(video.frame_rate.0) / f64::from(video.frame_rate.1.max(1)),
        }),
        Details::Audio(audio) => json!({
            "kind": "audio",
            "sample_rate": audio.sample_rate,
            "channels": audio.channels,
        }),
        Details::Text => json!({ "kind": "text" }),
    }
}
