//! Streams and their quality levels.
//!
//! A quality level is found again by its bit rate and its stream's name without looking at other tracks' tables: bit rates are
//! different over all tracks of a kind, and a name begins with what its tracks alone say.

use crate::base::Ticks;
use crate::base::limits::TRACKS_MAX;
use crate::base::units::rescale_floor;
use crate::media::codec::private_data::is_expressible;
use crate::media::track::Track;
use crate::media::{Kind, Presentation, Segment, TrackView};
use crate::package::text::{self, Span};

use super::TIMESCALE;
use super::time::{Timeline, lead_in};

/// A StreamIndex (§2.2.2.3).
pub(super) struct Stream<'a> {
    pub name: String,
    pub levels: Vec<Level<'a>>,
}

/// A QualityLevel (§2.2.2.5).
#[derive(Clone, Copy)]
pub struct Level<'a> {
    pub view: TrackView<'a>,
    /// Average, in bits a second.
    pub bitrate: u64,
}

/// In the order of the tracks. Those that the protocol cannot express are left out.
fn levels<'a>(presentation: &Presentation<'a>) -> Vec<Level<'a>> {
    let mut levels: Vec<Level<'a>> = Vec::new();
    for view in &presentation.tracks {
        let kind = view.track.kind();
        let bitrate = match kind {
            // There is no text without something that it is cut by.
            Kind::Text => presentation.reference().map(|_| text_average(presentation, view)),
            _ if view.fragments.is_empty() || !is_expressible(&view.track.codec) => None,
            _ => Some(average(view)),
        };
        let Some(mut bitrate) = bitrate else { continue };
        // Two tracks of one rate are told apart by a bit.
        while levels.iter().any(|other| other.view.track.kind() == kind && other.bitrate == bitrate) {
            bitrate += 1;
        }
        levels.push(Level { view: *view, bitrate });
    }
    levels
}

/// From where the fragments lie, without adding them up; at least 1.
fn average(view: &TrackView<'_>) -> u64 {
    let (Some(first), Some(last)) = (view.fragments.first(), view.fragments.last()) else { return 1 };
    let mut bytes = 0;
    let mut at = 0;
    while let Some(head) = view.fragments.get(at) {
        let end = at + view.fragments[at..].partition_point(|row| row.file == head.file);
        bytes += view.fragments[end - 1].end_offset().saturating_sub(head.offset.get());
        at = end;
    }
    let ticks = last.decode_end().0.saturating_sub(first.decode_time().0).max(1) as u128;
    let bits = u128::from(bytes) * 8 * u128::from(view.track.timescale.per_second());
    u64::try_from(bits / ticks).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX) / 2)
}

fn text_average(presentation: &Presentation<'_>, view: &TrackView<'_>) -> u64 {
    let millis = presentation.duration.as_millis().max(1) as u64;
    (view.size().saturating_mul(8_000) / millis).clamp(1, u64::from(u32::MAX) / 2)
}

pub(super) fn streams<'a>(presentation: &Presentation<'a>, timeline: Timeline) -> Vec<Stream<'a>> {
    let mut streams: Vec<Stream<'a>> = Vec::new();
    for level in levels(presentation) {
        let goes_with = |stream: &&mut Stream<'a>| {
            let head = &stream.levels[0].view;
            same_choice(head.track, level.view.track) && same_fragments(head, &level.view, timeline)
        };
        match streams.iter_mut().find(goes_with) {
            Some(stream) => stream.levels.push(level),
            None => {
                let name = base(level.view.track);
                let numbered = (2..).map(|count: u32| format!("{name}_{count}"));
                let taken = |candidate: &String| streams.iter().any(|stream| stream.name == *candidate);
                let name = std::iter::once(name.clone()).chain(numbered).find(|candidate| !taken(candidate));
                streams.push(Stream { name: name.unwrap_or_default(), levels: vec![level] });
            }
        }
    }
    streams
}

/// What a stream's name begins with.
pub(super) fn base(track: &Track) -> String {
    let named = |kind: &str| match track.language.as_str() {
        "und" | "" => kind.to_owned(),
        language => format!("{kind}_{language}"),
    };
    match track.kind() {
        Kind::Video => "video".to_owned(),
        Kind::Audio => named("audio"),
        Kind::Text => named("text"),
    }
}

/// Whether a player may switch from one to the other.
pub(super) fn same_choice(a: &Track, b: &Track) -> bool {
    let entry = |track: &Track| track.codec.split('.').next().map(str::to_owned);
    let said = |track: &Track| (track.language.clone(), track.role, track.name.clone());
    match (a.video(), b.video(), a.audio(), b.audio()) {
        (Some(video), Some(other), _, _) => {
            entry(a) == entry(b) && a.role == b.role && (video.range, video.bit_depth) == (other.range, other.bit_depth)
        }
        (_, _, Some(audio), Some(other)) => audio == other && a.codec == b.codec && said(a) == said(b),
        _ => false,
    }
}

/// One list of fragments is for all levels of a stream.
fn same_fragments(a: &TrackView<'_>, b: &TrackView<'_>, timeline: Timeline) -> bool {
    let times = |view: &TrackView<'_>, segment: Segment| {
        let end = Ticks(segment.time.0.saturating_add(segment.duration.0));
        (timeline.time(view, segment.time), timeline.time(view, end))
    };
    a.segments().map(|segment| times(a, segment)).eq(b.segments().map(|segment| times(b, segment)))
}

/// What a fragment is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Media(Segment),
    Text(Span),
}

/// Whether a stream's name may end so behind its base: `_2` and so on, where there are several. As many names as tracks lead to
/// one fragment, and no more: caches keep each.
pub(super) fn is_rest(rest: &str) -> bool {
    let number = rest.strip_prefix('_').filter(|digits| !digits.starts_with(['0', '+']));
    rest.is_empty()
        || number.and_then(|digits| digits.parse().ok()).is_some_and(|number| (2..=TRACKS_MAX).contains(&number))
}

/// The quality level and the fragment that a request names; times as in the manifest. In steps of the number of tracks.
pub fn find<'a>(
    presentation: &Presentation<'a>,
    bitrate: u64,
    stream: &str,
    time: u64,
) -> Option<(TrackView<'a>, Content, Timeline)> {
    let named = |level: &&Level<'a>| {
        let rest = stream.strip_prefix(base(level.view.track).as_str());
        level.bitrate == bitrate && rest.is_some_and(is_rest)
    };
    let levels = levels(presentation);
    let view = levels.iter().find(named)?.view;
    let timeline = Timeline::of(presentation);
    if view.track.kind() == Kind::Text {
        // Ticks of the manifest are finer than those of text.
        let start = Ticks(i64::try_from(time.checked_sub(lead_in(presentation))?).ok()?);
        let start = rescale_floor(start, TIMESCALE, view.track.timescale)?;
        let span = text::span_at(presentation, &view, start).filter(|span| timeline.time(&view, span.start) == time)?;
        return Some((view, Content::Text(span), timeline));
    }
    let at = view.fragments.partition_point(|row| timeline.time(&view, row.decode_time()) < time);
    let found = view.fragments.get(at).filter(|row| timeline.time(&view, row.decode_time()) == time)?;
    Some((view, Content::Media(view.segment_at(found.decode_time())?), timeline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_are_few() {
        for (rest, want) in [
            ("", true),
            ("_2", true),
            ("_64", true),
            ("_65", false),
            ("_1", false),
            ("_02", false),
            ("_+2", false),
            ("_x", false),
            ("_", false),
            ("2", false),
        ] {
            assert_eq!(is_rest(rest), want, "{rest}");
        }
    }
}
