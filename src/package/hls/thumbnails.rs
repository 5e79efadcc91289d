//! Image playlists (Image Media Playlist 0.4, an extension of HLS by Roku, Disney and WarnerMedia): a playlist whose entries are
//! sheets, and a line of the multivariant playlist that names it. Players that do not know the tags pass them over.

use crate::media::{Presentation, Thumbnails};
use crate::package::{thumbnails, timeline, url};

use super::VERSION;
use super::attributes::Attributes;
use super::media::push_seconds;

/// Those that a playlist can show: it has no way of saying that it begins among the tiles of a sheet.
fn shown<'a>(presentation: &Presentation<'a>) -> Option<Thumbnails<'a>> {
    let shown = presentation.thumbnails.filter(Thumbnails::begins_with_sheet)?;
    (!shown.sheets_of(micros(presentation)).is_empty()).then_some(shown)
}

fn micros(presentation: &Presentation<'_>) -> u64 {
    u64::try_from(presentation.duration.as_micros()).unwrap_or(u64::MAX)
}

/// The playlist of sheets; its links are relative to `{version}/`. `None` if there is none.
pub fn media_thumbnails(presentation: &Presentation<'_>) -> Option<String> {
    let shown = shown(presentation)?;
    let (grid, length) = (shown.grid, micros(presentation));
    let (sheets, sheet_micros) = (shown.sheets_of(length), grid.sheet_micros());
    let mut out = String::with_capacity(256 + sheets.len() * 96);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(VERSION);
    out.push_str("\n#EXT-X-TARGETDURATION:");
    out.push_str(itoa::Buffer::new().format(timeline::target_seconds(sheet_micros.min(length))));
    out.push_str("\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-IMAGES-ONLY\n");
    let mut left = length;
    for number in sheets {
        out.push_str("#EXTINF:");
        push_seconds(&mut out, sheet_micros.min(left));
        out.push_str(",\n");
        left = left.saturating_sub(sheet_micros);
        let mut tiles = Attributes::new(&mut out, "#EXT-X-TILES");
        tiles.plain("RESOLUTION", &format!("{}x{}", grid.width, grid.height));
        tiles.plain("LAYOUT", &format!("{}x{}", grid.columns, grid.rows));
        let mut seconds = String::new();
        push_seconds(&mut seconds, grid.interval_micros());
        tiles.plain("DURATION", &seconds);
        tiles.end();
        url::push_sheet(&mut out, shown.id, number);
        out.push('\n');
    }
    out.push_str("#EXT-X-ENDLIST\n");
    Some(out)
}

/// The line that names it, if there is one: `link` takes the name of the thumbnails.
pub(in crate::package) fn push_thumbnail_stream(
    out: &mut String,
    presentation: &Presentation<'_>,
    link: impl FnOnce(&str) -> String,
) {
    let Some(shown) = shown(presentation) else { return };
    let rate = thumbnails::rate(&shown, micros(presentation));
    let mut line = Attributes::new(out, "#EXT-X-IMAGE-STREAM-INF");
    line.integer("BANDWIDTH", rate.peak);
    line.integer("AVERAGE-BANDWIDTH", rate.average);
    line.quoted("CODECS", "jpeg");
    line.plain("RESOLUTION", &format!("{}x{}", shown.grid.width, shown.grid.height));
    line.quoted("URI", &link(shown.id));
    line.end();
}
