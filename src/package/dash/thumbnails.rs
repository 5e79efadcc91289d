//! An AdaptationSet of thumbnails (DASH-IF IOP §6.2.6).

use crate::media::Thumbnails;
use crate::package::xml::Xml;
use crate::package::{Addressing, thumbnails, url};

use super::descriptor;

const THUMBNAIL_TILE: &str = "http://dashif.org/guidelines/thumbnail_tile";

/// Of a presentation, or a stretch of one that lasts so many microseconds: players count tiles from the start of the Period on.
/// Of a stretch that begins among the tiles of a sheet nothing is said: `presentationTimeOffset` moves media times, of which a
/// picture has none, and dash.js and Shaka Player take segments of a `duration`, and the tiles in them, by the time in the Period
/// alone. Clips have their thumbnails in `thumbnails.vtt`.
pub(super) fn push(
    xml: &mut Xml,
    version: &str,
    addressing: Addressing,
    id: usize,
    shown: &Thumbnails<'_>,
    micros: u64,
) {
    if !shown.begins_with_sheet() || shown.sheets_of(micros).is_empty() {
        return;
    }
    let grid = shown.grid;
    let media = url::versioned(version, &url::sheet_template(shown.id));
    let media = if addressing == Addressing::SingleFile { url::from_single(&media) } else { media };
    xml.open("AdaptationSet", |tag| {
        tag.integer("id", id).set("contentType", "image").set("mimeType", "image/jpeg");
    });
    xml.empty("SegmentTemplate", |tag| {
        tag.set("media", &media).integer("timescale", 1_000).integer("duration", grid.sheet_micros() / 1_000);
        tag.integer("startNumber", shown.sheets_of(micros).start);
    });
    let (width, height) = grid.sheet_size();
    xml.open("Representation", |tag| {
        tag.set("id", shown.id).integer("bandwidth", thumbnails::rate(shown, micros).peak.max(1));
        tag.integer("width", width).integer("height", height);
    });
    descriptor::push(xml, "EssentialProperty", THUMBNAIL_TILE, &format!("{}x{}", grid.columns, grid.rows));
    xml.close("Representation");
    xml.close("AdaptationSet");
}
