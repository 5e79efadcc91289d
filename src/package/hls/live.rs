//! Media playlists of channels, with low latency if the channel has parts (RFC 8216bis §4.4.4.9, §4.4.5, §6.2).

use crate::base::limits::LIVE_TAIL_SEGMENTS;
use crate::base::{Ticks, Timescale};
use crate::media::Kind;
use crate::media::broadcast::{Broadcast, BroadcastTrack, Grid, Part, SegmentView, State};
use crate::package::date;
use crate::package::live_timeline::{self, Entry, TOGETHER, micros, micros_ceil};
use crate::package::live_url::{self, Stretch};

use super::attributes::Attributes;
use super::live_text::is_webvtt;
use super::marks::Cues;
use super::media::push_seconds;
use super::{VERSION, VERSION_WITH_GAPS, VERSION_WITH_SKIP, marks};

/// Which of a track's playlists.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live {
    pub stretch: Stretch,
    /// Whether the stretch begins in the window still: what began earlier has already lost segments.
    pub is_whole: bool,
    /// A delta update (§6.2.5.1) is asked for. Given if there is anything to skip.
    pub skip: bool,
    /// EXT-X-CUE-OUT and EXT-X-CUE-IN as well, for ad servers that know nothing else.
    pub cues: bool,
}

/// In target durations: segments that begin longer before the end have no EXT-X-PART tags any more (§6.2.2).
const PARTS_KEPT: u64 = 3;
/// In target durations (§4.4.3.8: at least 6).
const SKIP_UNTIL: u64 = 6;
/// In part targets (§4.4.3.8: at least 2, should be 3).
const PART_HOLD_BACK: u64 = 3;
/// In target durations (§4.4.3.8: at least 3).
const HOLD_BACK: u64 = 3;
/// EXT-X-PROGRAM-DATE-TIME stands at every so many numbers, besides where the timeline is not continuous, so that a delta
/// update has one too. Not in a stretch: see [`live_timeline::together`].
pub const DATES_EVERY: u64 = 4;
/// In microseconds: what is left of a slot holds no further sample if it is less. Half an audio frame, or of a frame of
/// video at 50 Hz.
const SAMPLE_HALF: u64 = 10_000;

/// The media playlist of a track; its links are relative to `/live/{channel}/`.
pub fn live_media(broadcast: &Broadcast<'_>, live: &BroadcastTrack<'_>, which: &Live) -> String {
    let edge = Edge::of(broadcast, live);
    let (first, ended) = (broadcast.first, broadcast.state == State::Ended);
    let from = if which.skip && can_skip(broadcast) { edge.skip_boundary(broadcast).max(first) } else { first };

    let mut body = Body {
        out: String::with_capacity(1_024 + (edge.end - from.min(edge.end)) as usize * (live.track.id.len() + 40)),
        broadcast,
        live,
        edge,
        stretch: which.stretch,
        cues: which.cues.then(|| Cues::of(broadcast.marks)),
        init: None,
        discontinuities: 0,
        has_gaps: false,
        is_independent: true,
        duration: String::new(),
        micros: u64::MAX,
    };
    let sequence = body.begin(from);
    for entry in live_timeline::entries(broadcast, live, from) {
        body.push_entry(&entry);
    }
    if !ended {
        body.push_edge();
    }

    let skipped = from - first;
    let mut out = String::with_capacity(body.out.len() + 512);
    out.push_str("#EXTM3U\n#EXT-X-VERSION:");
    out.push_str(match (skipped > 0, body.has_gaps) {
        (true, _) => VERSION_WITH_SKIP,
        (false, true) => VERSION_WITH_GAPS,
        (false, false) => VERSION,
    });
    push_number(&mut out, "\n#EXT-X-TARGETDURATION:", u64::from(broadcast.grid.target));
    out.push('\n');
    push_type(&mut out, which.stretch, which.is_whole, ended);
    if !ended {
        push_server_control(&mut out, broadcast);
        if broadcast.grid.part.is_some() {
            out.push_str("#EXT-X-PART-INF:PART-TARGET=");
            push_seconds(&mut out, micros_ceil(live.part_target, live.track.timescale));
            out.push('\n');
        }
    }
    push_number(&mut out, "#EXT-X-MEDIA-SEQUENCE:", first);
    push_number(&mut out, "\n#EXT-X-DISCONTINUITY-SEQUENCE:", u64::from(sequence));
    out.push('\n');
    if body.is_independent {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    marks::push_date_ranges(&mut out, broadcast);
    if skipped > 0 {
        push_number(&mut out, "#EXT-X-SKIP:SKIPPED-SEGMENTS=", skipped);
        out.push('\n');
    }
    out.push_str(&body.out);
    if ended {
        out.push_str("#EXT-X-ENDLIST\n");
    }
    out
}

/// EXT-X-PLAYLIST-TYPE and EXT-X-START of a channel's playlist. `is_whole` as in [`Live`].
pub fn push_type(out: &mut String, stretch: Stretch, is_whole: bool, ended: bool) {
    match (stretch.is_live(), ended) {
        // §6.2.2: segments are removed at the far end, which no type allows.
        (true, _) => {}
        (false, true) => out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n"),
        (false, false) => {
            if is_whole {
                out.push_str("#EXT-X-PLAYLIST-TYPE:EVENT\n");
            }
            // Who asks for a start wants to see it, and not the live edge.
            if stretch.start.is_some() {
                out.push_str("#EXT-X-START:TIME-OFFSET=0\n");
            }
        }
    }
}

/// Whether delta updates are offered: the window is longer than what they may not skip. The same for all tracks (§6.2.4).
pub fn can_skip(broadcast: &Broadcast<'_>) -> bool {
    let slot = broadcast.grid.slot_duration().as_micros();
    let window = u128::from(broadcast.next.saturating_sub(broadcast.first)) * slot;
    broadcast.state == State::Ongoing && window > u128::from(SKIP_UNTIL + 2) * target(broadcast) as u128
}

/// How many parts beyond the last one a request may name (§6.2.5.2, Advance Part Limit).
pub fn advance_part_limit(live: &BroadcastTrack<'_>) -> u32 {
    let part = micros_ceil(live.part_target, live.track.timescale).max(1);
    if part >= 1_000_000 { 3 } else { u32::try_from(3_000_000_u64.div_ceil(part)).unwrap_or(u32::MAX) }
}

/// Microseconds of EXT-X-TARGETDURATION.
fn target(broadcast: &Broadcast<'_>) -> u64 {
    u64::from(broadcast.grid.target.max(1)) * 1_000_000
}

/// All playlists of a channel say the same here (§6.2.4). Where only the hold-back would be said, it is what holds anyway.
fn push_server_control(out: &mut String, broadcast: &Broadcast<'_>) {
    if broadcast.grid.part.is_none() && !can_skip(broadcast) {
        return;
    }
    let mut line = Attributes::new(out, "#EXT-X-SERVER-CONTROL");
    let target = u64::from(broadcast.grid.target.max(1));
    if broadcast.grid.part.is_some() {
        let parts = broadcast.tracks.iter().map(|live| micros_ceil(live.part_target, live.track.timescale));
        let mut seconds = String::new();
        push_seconds(&mut seconds, PART_HOLD_BACK * parts.max().unwrap_or(0));
        line.plain("CAN-BLOCK-RELOAD", "YES");
        line.plain("PART-HOLD-BACK", &seconds);
    }
    line.integer("HOLD-BACK", HOLD_BACK * target);
    if can_skip(broadcast) {
        line.integer("CAN-SKIP-UNTIL", SKIP_UNTIL * target);
    }
    line.end();
}

/// Where a track's playlist ends.
#[derive(Clone, Copy)]
struct Edge<'a> {
    /// The first number that is not listed as a whole segment.
    end: u64,
    /// The segment that is being made, if the channel lists parts and it has any.
    open: Option<SegmentView<'a>>,
    /// End of the last segment or part, in microseconds.
    time: u64,
    /// The first number whose parts are listed.
    parts_from: u64,
}

impl<'a> Edge<'a> {
    fn of(broadcast: &Broadcast<'a>, live: &BroadcastTrack<'a>) -> Edge<'a> {
        let end = live_timeline::end(broadcast, live);
        let listed = broadcast.grid.part.is_some() && broadcast.state == State::Ongoing;
        let open = live_timeline::open(live).filter(|open| listed && open.number == end && !open.parts.is_empty());
        let time = match &open {
            Some(open) => open.parts.last().map(|part| after(part.time, part.duration, live.track.timescale)),
            None if end > broadcast.first => {
                live_timeline::entries(broadcast, live, end - 1).last().map(|entry| entry.end)
            }
            None => None,
        };
        let start = || micros(broadcast.grid.start(end, broadcast.grid.timescale), broadcast.grid.timescale);
        let time = time.unwrap_or_else(start);
        // Counted in what is listed, not in media time: after a jump the two differ.
        let newest = end.saturating_sub(LIVE_TAIL_SEGMENTS as u64).max(broadcast.first);
        let recent: Vec<Entry<'_>> = live_timeline::entries(broadcast, live, newest).collect();
        let mut behind = open.as_ref().map_or(0, |open| time.saturating_sub(micros(open.time, live.track.timescale)));
        let mut parts_from = end;
        for entry in recent.iter().rev().take_while(|_| listed) {
            behind += entry.end - entry.start;
            if behind > PARTS_KEPT * target(broadcast) {
                break;
            }
            parts_from = entry.number;
        }
        Edge { end, open, time, parts_from }
    }

    /// The first number that a delta update lists.
    fn skip_boundary(&self, broadcast: &Broadcast<'_>) -> u64 {
        let boundary =
            Ticks(i64::try_from(self.time.saturating_sub(SKIP_UNTIL * target(broadcast))).unwrap_or(i64::MAX));
        // The segment before the one at the boundary may reach a little beyond it.
        broadcast.grid.number(boundary, Timescale::MICROS).saturating_sub(1).min(self.end)
    }
}

/// Entries being written, and what the tags before them said.
struct Body<'b, 'a> {
    out: String,
    broadcast: &'b Broadcast<'a>,
    live: &'b BroadcastTrack<'a>,
    edge: Edge<'a>,
    stretch: Stretch,
    cues: Option<Cues>,
    init: Option<&'a str>,
    discontinuities: u32,
    has_gaps: bool,
    is_independent: bool,
    /// The last EXTINF written, and what it was written from: most are equal.
    duration: String,
    micros: u64,
}

impl<'a> Body<'_, 'a> {
    /// Takes over what holds before `from`, where entries begin to be listed. Returns EXT-X-DISCONTINUITY-SEQUENCE.
    fn begin(&mut self, from: u64) -> u32 {
        let first = self.broadcast.first;
        let sequence = self.count(first);
        self.discontinuities = sequence;
        if from > first {
            self.discontinuities = self.count(from - 1);
            let mut skipped = self.live.segments(first).take_while(|segment| segment.number < from);
            self.is_independent = skipped.all(|segment| segment.is_independent);
            // EXT-X-MAP stands before the first of these again, though it still applies: Shaka Player 5.2 looks for it nowhere
            // else, and without it no longer learns the times of what it loads, nor where text belongs.
        } else if let Some(segment) = self.live.segments(first).next() {
            // A gap at the start is of the same format as what comes after it.
            self.push_map(segment.init);
        }
        sequence
    }

    fn count(&self, number: u64) -> u32 {
        match self.live.segments(number).next() {
            Some(segment) if segment.number == number => segment.discontinuities,
            _ => live_timeline::discontinuities(self.broadcast, number),
        }
    }

    fn push_entry(&mut self, entry: &Entry<'a>) {
        self.push_tags(
            entry.number,
            entry.start,
            entry.end,
            entry.follows,
            entry.discontinuities,
            entry.segment.as_ref(),
        );
        if let Some(segment) = entry.segment.as_ref().filter(|_| entry.number >= self.edge.parts_from) {
            self.push_parts(segment);
        }
        let micros = entry.end - entry.start;
        if micros != self.micros {
            self.duration.clear();
            push_seconds(&mut self.duration, micros);
            self.micros = micros;
        }
        if entry.segment.is_none() {
            self.out.push_str("#EXT-X-GAP\n");
            self.has_gaps = true;
        }
        self.out.push_str("#EXTINF:");
        self.out.push_str(&self.duration);
        self.out.push_str(",\n");
        match is_webvtt(self.live.track) {
            true => live_url::push_text_segment(&mut self.out, &self.live.track.id, entry.number),
            false => live_url::push_segment(&mut self.out, &self.live.track.id, entry.number),
        }
        self.out.push('\n');
    }

    fn push_tags(
        &mut self,
        number: u64,
        start: u64,
        end: u64,
        follows: bool,
        discontinuities: u32,
        segment: Option<&SegmentView<'a>>,
    ) {
        let broken = discontinuities > self.discontinuities;
        while self.discontinuities < discontinuities {
            self.out.push_str("#EXT-X-DISCONTINUITY\n");
            self.discontinuities += 1;
        }
        if let Some(segment) = segment {
            if self.init != Some(segment.init) {
                self.push_map(segment.init);
            }
            self.is_independent &= segment.is_independent;
        }
        if broken || !follows || (self.stretch.is_live() && number.is_multiple_of(DATES_EVERY)) {
            self.out.push_str("#EXT-X-PROGRAM-DATE-TIME:");
            let live = self.stretch.is_live();
            let shown = if live { start } else { live_timeline::together(self.broadcast, number, start) };
            self.out.push_str(&date::iso(shown));
            self.out.push('\n');
        }
        if let Some(cues) = &self.cues {
            cues.push(&mut self.out, start, end);
        }
    }

    fn push_map(&mut self, init: &'a str) {
        self.init = Some(init);
        if is_webvtt(self.live.track) {
            return;
        }
        self.out.push_str("#EXT-X-MAP:URI=\"");
        live_url::push_init(&mut self.out, &self.live.track.id, init);
        self.out.push_str("\"\n");
    }

    fn push_parts(&mut self, segment: &SegmentView<'a>) {
        let scale = self.live.track.timescale;
        for (at, part) in segment.parts.iter().enumerate() {
            self.out.push_str("#EXT-X-PART:DURATION=");
            push_seconds(&mut self.out, after(part.time, part.duration, scale) - micros(part.time, scale));
            self.out.push_str(",URI=\"");
            self.push_part_url(segment.number, at as u32);
            self.out.push('"');
            if part.is_independent {
                self.out.push_str(",INDEPENDENT=YES");
            }
            // Nothing came for it.
            if part.size == 0 {
                self.out.push_str(",GAP=YES");
            }
            self.out.push('\n');
        }
    }

    fn push_part_url(&mut self, number: u64, part: u32) {
        match is_webvtt(self.live.track) {
            true => live_url::push_text_part(&mut self.out, &self.live.track.id, number, part),
            false => live_url::push_part(&mut self.out, &self.live.track.id, number, part),
        }
    }

    /// What has come of the segment that is being made, what comes next, and how far the others are.
    fn push_edge(&mut self) {
        if self.broadcast.grid.part.is_none() {
            return;
        }
        if let Some(open) = self.edge.open {
            let start = micros(open.time, self.live.track.timescale);
            let before = open.number.saturating_sub(1).max(self.broadcast.first);
            let before = live_timeline::entries(self.broadcast, self.live, before).last();
            let follows = before.is_some_and(|before| before.end == start);
            self.push_tags(open.number, start, self.edge.time, follows, open.discontinuities, Some(&open));
            self.push_parts(&open);
        }
        if let Some((number, part)) = self.next_part() {
            self.out.push_str("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
            self.push_part_url(number, part);
            self.out.push_str("\"\n");
        }
        let others = self.broadcast.tracks.iter().filter(|other| other.track.id != self.live.track.id);
        for other in others {
            let (number, part) = report(self.broadcast, other, self.edge.time);
            let mut line = Attributes::new(&mut self.out, "#EXT-X-RENDITION-REPORT");
            line.quoted("URI", &live_url::media_playlist(&other.track.id, self.stretch));
            line.integer("LAST-MSN", number);
            line.integer("LAST-PART", u64::from(part));
            line.end();
        }
    }

    /// The part that comes next, as far as media time tells: the segment ends with its slot. `None` where the track has
    /// broken off, for nobody knows what comes after that: Shaka Player takes what is hinted at for what goes on from there,
    /// and waits for ever when a gap comes instead (§6.2.2 leaves hints to the server). Only the last part of a segment may
    /// be short (§4.4.4.9): one before the end of its slot is all that came, though the segment is not complete yet. Nor does
    /// anybody know what comes after a whole segment while nobody sends: who asked for it would wait until that is given up.
    fn next_part(&self) -> Option<(u64, u32)> {
        let grid = self.broadcast.grid;
        let slot_end = |number| micros(grid.start(number + 1, grid.timescale), grid.timescale);
        let Some(open) = &self.edge.open else {
            let last = self.edge.end.checked_sub(1).filter(|last| *last >= self.broadcast.first);
            let last = last.and_then(|last| live_timeline::entries(self.broadcast, self.live, last).last());
            let goes_on = last.is_none_or(|last| last.segment.is_some() && last.end + TOGETHER > slot_end(last.number));
            return (goes_on && !self.broadcast.is_silent).then_some((self.edge.end, 0));
        };
        let slot_end = slot_end(open.number);
        let slot_end = slot_end + lateness(&grid, open, self.live.track.timescale);
        let is_short = |part: &Part| part.size > 0 && !Part::is_long(part.duration.0, self.live.part_target.0);
        let is_last = open.parts.last().is_some_and(is_short);
        match () {
            () if self.edge.time + if is_last { TOGETHER } else { SAMPLE_HALF } > slot_end => {
                Some((open.number + 1, 0))
            }
            () if is_last => None,
            () => Some((open.number, open.parts.len() as u32)),
        }
    }
}

/// How much later than its slot a segment begins, in microseconds, if that is more than cutting between samples explains:
/// where an encoder came back with its key frames elsewhere.
fn lateness(grid: &Grid, segment: &SegmentView<'_>, scale: Timescale) -> u64 {
    let begun = micros(grid.start(segment.number, grid.timescale), grid.timescale);
    let late = micros(segment.time, scale).saturating_sub(begun);
    if late > 10 * SAMPLE_HALF { late } else { 0 }
}

/// In slots: how far behind the others text may be.
const TEXT_BEHIND_SLOTS: u64 = 2;

/// A tag whose value is a number; `tag` is everything before that.
pub fn push_number(out: &mut String, tag: &str, value: u64) {
    out.push_str(tag);
    out.push_str(itoa::Buffer::new().format(value));
}

/// Where something ends, in microseconds.
fn after(time: Ticks, duration: Ticks, scale: Timescale) -> u64 {
    micros(Ticks(time.0.saturating_add(duration.0)), scale)
}

/// How far a rendition has come at `time` (in microseconds): computed from media time alone, so that every server says the
/// same whichever track's bytes arrived first. Never ahead of what will be there, and at most a part behind.
fn report(broadcast: &Broadcast<'_>, other: &BroadcastTrack<'_>, time: u64) -> (u64, u32) {
    let grid = broadcast.grid;
    // Of a segment that every server has by then.
    let known = grid.number(Ticks(i64::try_from(time).unwrap_or(i64::MAX)), Timescale::MICROS).saturating_sub(1);
    let known = other.segments(known).next().filter(|segment| segment.number == known);
    let late = match other.track.kind() {
        Kind::Text => TEXT_BEHIND_SLOTS * grid.slot_duration().as_micros() as u64,
        _ => known.map_or(0, |segment| lateness(&grid, &segment, other.track.timescale)),
    };
    let time = time.saturating_sub(late);
    let time = Ticks(i64::try_from(time.saturating_add(SAMPLE_HALF)).unwrap_or(i64::MAX));
    let part = micros_ceil(other.part_target, other.track.timescale).max(1);
    let number = grid.number(time, Timescale::MICROS).max(broadcast.first);
    let start = grid.start(number, Timescale::MICROS);
    let whole = (time.0 - start.0).max(0) as u64 / part;
    let per_slot = (grid.slot_duration().as_micros() as u64).saturating_sub(SAMPLE_HALF).div_ceil(part).max(1);
    match whole {
        0 => (number.saturating_sub(1), (per_slot - 1) as u32),
        whole => (number, (whole.min(per_slot) - 1) as u32),
    }
}
