//! WebVTT segments of a channel, made of the samples that are stored: HLS has no WebVTT in fragments (RFC 8216bis §3.1.4).

use crate::base::cursor::Cursor;
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};
use crate::media::isobmff::{Chunk, stored};
use crate::media::subtitles::{Coding, Samples};
use crate::media::webvtt::SIGNATURE;
use crate::media::{Kind, Track};

/// Whether a track of a channel is listed as segments of WebVTT, which have no parts, and not as it is stored.
pub fn is_webvtt(track: &Track) -> bool {
    track.kind() == Kind::Text && track.codec == "wvtt"
}

/// The clock of MPEG-2, on which X-TIMESTAMP-MAP says where cues belong: 33 bits of it.
const CLOCK_TURN: i128 = 1 << 33;

/// The segment that begins at `time`: cues count from there. `header` is its initialisation segment and `media` its chunks; what
/// is wrong with those is left out, as players would.
pub fn live_text_segment(header: &[u8], media: &[u8], time: Ticks, timescale: Timescale) -> String {
    let clock = i128::from(time.0) * 90_000 / i128::from(timescale.per_second());
    let mut out = format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n\n", clock.rem_euclid(CLOCK_TURN));
    if let Some(configuration) = configuration(header) {
        out.push_str(configuration);
        out.push_str("\n\n");
    }
    let millis = |at: i64| {
        let since = rescale_nearest(Ticks(at.saturating_sub(time.0)), timescale, Timescale::MILLIS);
        since.and_then(|since| u64::try_from(since.0).ok()).unwrap_or(0)
    };
    let mut gathered = Samples::new(Coding::WebVtt, 0);
    let mut at = 0;
    while let Ok(chunk) = Chunk::read(media, at) {
        let (mut start, mut offset) = (chunk.time.0, at + u64::from(chunk.media_offset));
        for sample in chunk.samples() {
            let end = start.saturating_add(i64::from(sample.duration.get()));
            let next = offset + u64::from(sample.size.get());
            if let Some(data) = media.get(offset as usize..next as usize) {
                let _ = gathered.push("", millis(start), millis(end), data);
            }
            (start, offset) = (end, next);
        }
        at = chunk.end();
    }
    if let Ok(subtitles) = gathered.finish("") {
        let text = String::from_utf8_lossy(&subtitles.normalised.text).into_owned();
        out.push_str(text.strip_prefix(SIGNATURE).unwrap_or(&text));
    }
    out
}

/// Where nothing was sent.
pub fn live_text_gap(time: Ticks, timescale: Timescale) -> String {
    live_text_segment(&[], &[], time, timescale)
}

/// Styles and regions of the decoder's configuration (ISO/IEC 14496-30 §6.4).
fn configuration(header: &[u8]) -> Option<&str> {
    let mut entry = Cursor::new(stored::sample_entry(header).ok()?, 0);
    entry.skip(16).ok()?;
    while !entry.is_empty() {
        let (size, kind) = (entry.u32().ok()?, entry.u32().ok()?);
        let mut body = entry.section((size as usize).checked_sub(8)?).ok()?;
        if kind == u32::from_be_bytes(*b"vttC") {
            let text = std::str::from_utf8(body.rest()).ok()?;
            // Its first lines are the signature and what stands beside it, up to an empty one.
            let (_, styles) = text.split_once("\n\n")?;
            return (!styles.contains("-->")).then_some(styles.trim_matches('\n')).filter(|styles| !styles.is_empty());
        }
    }
    None
}
