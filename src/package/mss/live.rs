//! Channels: the window of a broadcast, and its fragments.
//!
//! Times count from 1970, as everywhere in a channel. Clients go on without loading the manifest again: a fragment names the one
//! that follows it (`tfrf`, §2.2.4.5). As a URL never changes its bytes, a fragment is there once that one is whole, and the
//! manifest leaves out the newest.
//!
//! A quality level is found by its bit rate, so a track is none before its rate has settled; and there is no manifest without
//! either sound or pictures if the channel has both, as clients would never look for them again. Nor has the protocol words
//! for a format that changes: what is listed is the newest one's, though fragments of the others are there still.

use crate::base::{Ticks, Timescale};
use crate::media::broadcast::{Broadcast, BroadcastTrack, SegmentView, State};
use crate::media::codec::private_data::{PrivateData, is_expressible};
use crate::media::isobmff::stored;
use crate::media::{Kind, Track};
use crate::package::hls::is_webvtt;
use crate::package::live_timeline::{self, Entry, micros};
use crate::package::live_url::{self, Stretch};
use crate::package::xml::Xml;

use super::TIMESCALE;
use super::manifest::{Row, media_data, push_stream, text_data};
use super::stream::{base, is_rest, same_choice};

/// LookAheadFragmentCount (§2.2.2.1).
const LOOKAHEAD: usize = 1;
/// A track that has had nothing for so many segments is no choice any more.
const SILENT_SEGMENTS: u64 = 3;
/// What a track of text is called by, its rate being next to nothing: in bits a second.
const TEXT_BITRATE: u64 = 1_000;
/// A track as a quality level.
struct LiveLevel<'b, 'a> {
    live: &'b BroadcastTrack<'a>,
    /// Average, in bits a second: different over all tracks whose streams' names begin alike.
    bitrate: u64,
}

/// One fragment, found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveFragment {
    pub number: u64,
    /// In ticks of the manifest, both.
    pub times: (u64, u64),
    pub following: Option<(u64, u64)>,
    pub(super) scale: Timescale,
    /// Where the track's edit begins, in track ticks.
    pub(super) edit: i64,
}

/// What a time names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveFound {
    Fragment(LiveFragment),
    /// It is there, with what follows it, once the track has come further than this number, and is to be looked for again.
    After(u64),
    Missing,
}

/// The tracks that may be quality levels, in their order.
pub fn live_tracks<'b, 'a>(broadcast: &'b Broadcast<'a>) -> impl Iterator<Item = &'b BroadcastTrack<'a>> {
    broadcast.tracks.iter().filter(|live| is_text(live.track) || is_expressible(&live.track.codec))
}

/// Why there is nothing of a channel, for the log. `None`: there will be.
pub fn live_refusal(broadcast: &Broadcast<'_>) -> Option<String> {
    if live_tracks(broadcast).any(|live| !is_text(live.track)) {
        return None;
    }
    let codecs: Vec<&str> = broadcast.tracks.iter().map(|live| live.track.codec.as_str()).collect();
    Some(format!("Smooth Streaming has no names for any of {}", codecs.join(", ")))
}

fn is_text(track: &Track) -> bool {
    is_webvtt(track)
}

fn levels<'b, 'a>(broadcast: &'b Broadcast<'a>) -> Vec<LiveLevel<'b, 'a>> {
    let mut levels: Vec<LiveLevel<'b, 'a>> = Vec::new();
    for live in live_tracks(broadcast) {
        let mut bitrate = match is_text(live.track) {
            true => TEXT_BITRATE,
            false if !live.rate.is_settled => continue,
            false => live.rate.average.clamp(1, u64::from(u32::MAX) / 2),
        };
        // Two tracks of one rate are told apart by a bit.
        let named = base(live.track);
        while levels.iter().any(|other| other.bitrate == bitrate && base(other.live.track) == named) {
            bitrate += 1;
        }
        levels.push(LiveLevel { live, bitrate });
    }
    levels
}

/// The track that a request names.
pub fn live_level<'b, 'a>(broadcast: &'b Broadcast<'a>, bitrate: u64, stream: &str) -> Option<&'b BroadcastTrack<'a>> {
    let named = |level: &LiveLevel<'_, '_>| {
        let rest = stream.strip_prefix(base(level.live.track).as_str());
        level.bitrate == bitrate && rest.is_some_and(is_rest)
    };
    levels(broadcast).into_iter().find(named).map(|level| level.live)
}

/// The format that a manifest is of: the name of its initialisation segment. `None`: there is nothing to list of the track.
pub fn newest_init<'a>(broadcast: &Broadcast<'a>, live: &BroadcastTrack<'a>) -> Option<&'a str> {
    let mut end = live_timeline::end(broadcast, live);
    for _ in 0..lookahead(broadcast) {
        end = live_timeline::last_before(live, end)?.number;
    }
    let newest = live_timeline::last_before(live, end)?;
    (newest.number >= broadcast.first).then_some(newest.init)
}

/// How many of the newest fragments are not listed.
fn lookahead(broadcast: &Broadcast<'_>) -> usize {
    match broadcast.state {
        State::Ongoing => LOOKAHEAD,
        State::Ended => 0,
    }
}

/// Whether it has fallen silent beside the others.
fn is_silent(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>) -> bool {
    let last = live_timeline::last_before(live, u64::MAX).map_or(0, |last| last.number);
    live.track.kind() != Kind::Text && last.saturating_add(SILENT_SEGMENTS) < broadcast.next
}

/// A StreamIndex.
struct Stream<'b, 'a> {
    name: String,
    levels: Vec<(LiveLevel<'b, 'a>, PrivateData)>,
    /// Of the fragments that all levels have.
    borders: Vec<(u64, u64)>,
}

/// Its links are relative to `/live/{channel}/index.ism/`. `header` has the stored initialisation segments of
/// [`live_tracks`], each the [`newest_init`]. `None`: nothing can be expressed, or not yet.
pub fn live_manifest<'h>(
    broadcast: &Broadcast<'_>,
    stretch: Stretch,
    header: &dyn Fn(&BroadcastTrack<'_>) -> Option<&'h [u8]>,
) -> Option<String> {
    let is_live = broadcast.state == State::Ongoing;
    let streams = streams(broadcast, header);
    let has = |kind| streams.iter().any(|stream| stream.levels[0].0.live.track.kind() == kind);
    for kind in [Kind::Video, Kind::Audio] {
        let of_kind = |live: &&BroadcastTrack<'_>| live.track.kind() == kind && !is_silent(broadcast, live);
        if live_tracks(broadcast).any(|live| of_kind(&live)) && !has(kind) {
            return None;
        }
    }
    // Text by itself is nothing to play.
    if !has(Kind::Video) && !has(Kind::Audio) {
        return None;
    }
    let media = || streams.iter().filter(|stream| stream.levels[0].0.live.track.kind() != Kind::Text);
    let starts = media().filter_map(|stream| stream.borders.first()).map(|border| border.0);
    let ends = media().filter_map(|stream| stream.borders.last()).map(|border| border.1);
    let duration = ends.max()?.saturating_sub(starts.min()?);

    let mut xml = Xml::new(1_024 + streams.iter().map(|stream| 1_024 + stream.borders.len() * 40).sum::<usize>());
    xml.open("SmoothStreamingMedia", |tag| {
        tag.integer("MajorVersion", 2).integer("MinorVersion", 2);
        tag.integer("TimeScale", TIMESCALE.per_second());
        if is_live {
            let slot = broadcast.grid.slot_duration().as_nanos() / 100;
            let window = u64::try_from(slot.saturating_mul(broadcast.window.into())).unwrap_or(u64::MAX);
            tag.integer("Duration", 0).set("IsLive", "TRUE");
            tag.integer("LookAheadFragmentCount", LOOKAHEAD).integer("DVRWindowLength", window);
        } else {
            tag.integer("Duration", duration);
        }
    });
    let end = stretch.end.filter(|_| is_live);
    for stream in &streams {
        let rows: Vec<Row<'_>> = stream
            .levels
            .iter()
            .map(|(level, data)| Row { track: level.live.track, bitrate: level.bitrate, data })
            .collect();
        push_stream(&mut xml, &stream.name, &live_url::smooth_template(&stream.name, end), &rows, &stream.borders);
    }
    xml.close("SmoothStreamingMedia");
    Some(xml.finish())
}

fn streams<'b, 'a, 'h>(
    broadcast: &'b Broadcast<'a>,
    header: &dyn Fn(&BroadcastTrack<'_>) -> Option<&'h [u8]>,
) -> Vec<Stream<'b, 'a>> {
    let lookahead = lookahead(broadcast);
    let mut streams: Vec<Stream<'_, '_>> = Vec::new();
    for level in levels(broadcast) {
        let live = level.live;
        let described = match is_text(live.track) {
            true => Some((text_data(), text_borders(broadcast, live))),
            false if is_silent(broadcast, live) => None,
            false => header(live).and_then(|header| {
                let (init, edit) = (newest_init(broadcast, live)?, stored::media_start(header).ok()?);
                Some((media_data(live.track, header)?, media_borders(broadcast, live, init, edit)))
            }),
        };
        let Some((data, borders)) = described else { continue };
        let shared = |stream: &Stream<'_, '_>| {
            let of_both = |border: &&(u64, u64)| borders.binary_search(border).is_ok();
            stream.borders.iter().filter(of_both).copied().collect::<Vec<_>>()
        };
        let with = streams
            .iter_mut()
            .filter(|stream| same_choice(stream.levels[0].0.live.track, live.track))
            .map(|stream| (shared(stream), stream))
            .find(|(shared, _)| shared.len() > lookahead);
        match with {
            Some((shared, stream)) => {
                stream.borders = shared;
                stream.levels.push((level, data));
            }
            None => {
                let name = base(live.track);
                let numbered = (2..).map(|count: u32| format!("{name}_{count}"));
                let taken = |candidate: &String| streams.iter().any(|stream| stream.name == *candidate);
                let name = std::iter::once(name.clone()).chain(numbered).find(|candidate| !taken(candidate));
                streams.push(Stream { name: name.unwrap_or_default(), levels: vec![(level, data)], borders });
            }
        }
    }
    for stream in &mut streams {
        stream.borders.truncate(stream.borders.len().saturating_sub(lookahead));
    }
    streams.retain(|stream| !stream.borders.is_empty());
    streams
}

/// Of the complete segments of a format.
fn media_borders(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, init: &str, edit: i64) -> Vec<(u64, u64)> {
    let (end, scale) = (live_timeline::end(broadcast, live), live.track.timescale);
    let segments = live.segments(broadcast.first).take_while(|segment| segment.number < end);
    let of_format = segments.filter(|segment| segment.is_complete && segment.init == init);
    of_format.map(|segment| times(&segment, edit, scale)).collect()
}

/// Of every number, as there are documents that say nothing.
fn text_borders(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>) -> Vec<(u64, u64)> {
    live_timeline::entries(broadcast, live, broadcast.first).map(|entry| text_times(&entry)).collect()
}

fn times(segment: &SegmentView<'_>, edit: i64, scale: Timescale) -> (u64, u64) {
    let end = segment.time.0.saturating_add(segment.duration.0);
    (border(segment.time.0, edit, scale), border(end, edit, scale))
}

fn text_times(entry: &Entry<'_>) -> (u64, u64) {
    (on_border(entry.start), on_border(entry.end))
}

/// Of a decode time: with the composition offset that is stored beside it, it is when a sample is shown.
fn border(ticks: i64, edit: i64, scale: Timescale) -> u64 {
    on_border(micros(Ticks(ticks.saturating_sub(edit)), scale))
}

/// Borders lie on tens of microseconds: all of a time since 1970, until 2084, survives in the floating point numbers of a
/// client in JavaScript, and in how it prints them.
fn on_border(micros: u64) -> u64 {
    (micros.saturating_add(5) / 10).saturating_mul(100)
}

/// What begins at a time of the manifest. `edit` is where the edit of an initialisation segment begins, by its name.
pub fn live_find(
    broadcast: &Broadcast<'_>,
    live: &BroadcastTrack<'_>,
    at: u64,
    edit: &dyn Fn(&str) -> Option<i64>,
) -> LiveFound {
    let (end, scale) = (live_timeline::end(broadcast, live), live.track.timescale);
    let near = broadcast.grid.number(Ticks(i64::try_from(at).unwrap_or(i64::MAX)), TIMESCALE);
    let from = near.saturating_sub(1).max(broadcast.first);
    let found = match is_text(live.track) {
        true => {
            let mut entries =
                live_timeline::entries(broadcast, live, from).map(|entry| (entry.number, text_times(&entry)));
            let found = entries.find(|(number, times)| times.0 == at || *number > near.saturating_add(1));
            let found = found.filter(|(_, times)| times.0 == at);
            found.map(|(number, times)| (number, times, 0, entries.next().map(|(_, times)| times)))
        }
        false => {
            let timed = |segment: &SegmentView<'_>| {
                let edit = edit(segment.init)?;
                Some((segment.number, times(segment, edit, scale), edit))
            };
            let begun = live.segments(from).take_while(|segment| segment.number <= near.saturating_add(1));
            let found = begun.filter_map(|segment| timed(&segment)).find(|(_, times, _)| times.0 == at);
            found.map(|(number, times, edit)| {
                let later = live.segments(number.saturating_add(1));
                let mut later = later.filter(|segment| segment.is_complete && segment.number < end);
                let following = later.next().and_then(|segment| timed(&segment));
                (number, times, edit, following.map(|(_, times, _)| times))
            })
        }
    };
    match found {
        None => LiveFound::Missing,
        Some((number, _, _, None)) if number >= end || broadcast.state == State::Ongoing => LiveFound::After(end),
        Some((number, times, edit, following)) => {
            LiveFound::Fragment(LiveFragment { number, times, following, scale, edit })
        }
    }
}

/// The names of the initialisation segments that [`live_find`] may ask for.
pub fn live_inits<'a>(broadcast: &Broadcast<'a>, live: &BroadcastTrack<'a>, at: u64) -> Vec<&'a str> {
    let near = broadcast.grid.number(Ticks(i64::try_from(at).unwrap_or(i64::MAX)), TIMESCALE);
    let mut names: Vec<&str> = Vec::new();
    let mut beyond = 0;
    for segment in live.segments(near.saturating_sub(1).max(broadcast.first)) {
        if !names.contains(&segment.init) {
            names.push(segment.init);
        }
        beyond += u32::from(segment.number > near.saturating_add(1));
        // What is found may be the last of those near, and be followed by the next.
        if beyond > 1 {
            break;
        }
    }
    names
}
