//! Tracks in words, as `import` and `inspect` print them.

use std::time::Duration;

use indicatif::HumanBytes;
use serde_json::{Map, Value, json};

use crate::library::import::input::role_name;
use crate::media::thumbnails::Grid;
use crate::media::track::{Details, Role, VideoRange};
use crate::media::{Thumbnails, Track, captions};

/// `v1  video  avc1.64001f  1280x720  25 fps  …`
pub fn track_line(track: &Track, bytes: u64, fragments: usize, duration: Duration) -> String {
    let mut parts = vec![format!("{:<3} {:<5} {}", track.id, kind_name(track), track.codec), details(track)];
    if track.language != "und" {
        parts.push(track.language.clone());
    }
    parts.extend(track.name.as_ref().map(|name| format!("{name:?}")));
    if track.role != Role::Main {
        parts.push(role_name(track.role).to_owned());
    }
    parts.push(clock(duration));
    if fragments > 0 {
        parts.push(format!("{fragments} fragments"));
        let rate = bytes as f64 * 8.0 / duration.as_secs_f64().max(0.001);
        parts.push(bit_rate(rate));
    }
    parts.push(HumanBytes(bytes).to_string());
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

/// `i1  thumbnails  jpeg  320x180  every 10 s  1080 on 60 sheets of 3x6  7.9 MiB`
pub fn thumbnails_line(id: &str, grid: &Grid, bytes: u64) -> String {
    format!(
        "{id:<3} thumbnails  jpeg  {}x{}  every {} s  {} on {} {} of {}x{}  {}",
        grid.width,
        grid.height,
        grid.interval.as_secs_f64(),
        grid.count,
        grid.sheets(),
        if grid.sheets() == 1 { "sheet" } else { "sheets" },
        grid.columns,
        grid.rows,
        HumanBytes(bytes),
    )
}

/// Thumbnails as JSON has them, in `list` and `inspect`.
pub fn thumbnails_json(thumbnails: &Thumbnails<'_>) -> Value {
    let grid = thumbnails.grid;
    json!({
        "id": thumbnails.id,
        "width": grid.width,
        "height": grid.height,
        "interval_seconds": grid.interval.as_secs_f64(),
        "count": grid.count,
        "sheets": grid.sheets(),
        "columns": grid.columns,
        "rows": grid.rows,
        "bytes": thumbnails.size(),
    })
}

/// A track as JSON has it, in `list` and `inspect`.
pub fn track_json(track: &Track) -> Map<String, Value> {
    let details = match &track.details {
        Details::Video(video) => json!({
            "width": video.width,
            "height": video.height,
            "pixel_aspect": [video.pixel_aspect.0, video.pixel_aspect.1],
            "frame_rate": [video.frame_rate.0, video.frame_rate.1],
            "range": match video.range {
                VideoRange::Sdr => "SDR",
                VideoRange::Hlg => "HLG",
                VideoRange::Pq => "PQ",
            },
            "bit_depth": video.bit_depth,
            "captions": captions::write(&video.captions),
        }),
        Details::Audio(audio) => json!({ "sample_rate": audio.sample_rate, "channels": audio.channels }),
        Details::Text => json!({}),
    };
    let track = json!({
        "id": track.id,
        "kind": kind_name(track),
        "codec": track.codec,
        "language": track.language,
        "name": track.name,
        "role": role_name(track.role),
    });
    match (track, details) {
        (Value::Object(track), Value::Object(details)) => track.into_iter().chain(details).collect(),
        _ => Map::new(),
    }
}

pub fn kind_name(track: &Track) -> &'static str {
    match track.details {
        Details::Video(_) => "video",
        Details::Audio(_) => "audio",
        Details::Text => "text",
    }
}

/// Size and frame rate, or channels and sample rate.
pub fn details(track: &Track) -> String {
    match &track.details {
        Details::Video(video) => {
            let (num, den) = video.frame_rate;
            let rate = format!("{:.3}", f64::from(num) / f64::from(den));
            let rate = rate.trim_end_matches('0').trim_end_matches('.');
            let range = match video.range {
                VideoRange::Sdr => "",
                VideoRange::Hlg => "  HLG",
                VideoRange::Pq => "  PQ",
            };
            // None of a language that is not known.
            let captions = captions::write(&video.captions).replace("=und", "");
            let captions = if captions.is_empty() { captions } else { format!("  captions {captions}") };
            format!("{}x{}  {rate} fps{range}{captions}", video.width, video.height)
        }
        Details::Audio(audio) => {
            let rate = f64::from(audio.sample_rate) / 1_000.0;
            match audio.channels {
                1 => format!("mono  {rate} kHz"),
                2 => format!("stereo  {rate} kHz"),
                channels => format!("{channels} channels  {rate} kHz"),
            }
        }
        Details::Text => String::new(),
    }
}

pub fn bit_rate(bits_per_second: f64) -> String {
    match bits_per_second {
        rate if rate >= 999_500.0 => format!("{:.2} Mbit/s", rate / 1e6),
        rate => format!("{:.0} kbit/s", rate / 1e3),
    }
}

/// `1:02:03.456`, `2:03.456`
pub fn clock(duration: Duration) -> String {
    // Rounded to what is shown first, so that 59.9999 s are not shown as 0:60.000.
    let millis = (duration.as_nanos() + 500_000) / 1_000_000;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1_000 % 60, millis % 1_000);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{millis:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rates() {
        for (micros, want) in
            [(0, "0:00.000"), (5_005_300, "0:05.005"), (59_999_900, "1:00.000"), (3_723_456_000, "1:02:03.456")]
        {
            assert_eq!(clock(Duration::from_micros(micros)), want);
        }
        assert_eq!(bit_rate(128_400.0), "128 kbit/s");
        assert_eq!(bit_rate(2_500_000.0), "2.50 Mbit/s");
    }
}
