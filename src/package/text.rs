//! Segments of text: it is cut where the reference is, and a cue is in every segment it shows in.

use crate::base::limits::SEGMENT_CUES_MAX;
use crate::base::units::rescale_nearest;
use crate::base::{Extent, Ticks, Timescale};
use crate::media::isobmff::Chunk;
use crate::media::presentation::boundary;
use crate::media::subtitles::{Coding, Samples};
use crate::media::webvtt::{self, Normalised, Said};
use crate::media::{Cue, Presentation, Segment, TrackView};

/// The stretch of a text track that lies beside one segment of the reference, in ticks of the text track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// As in [`Segment`].
    pub number: u32,
    /// Its name.
    pub start: Ticks,
    /// Of the last one where the presentation ends, if that is later than the reference.
    pub end: Ticks,
    pub is_last: bool,
}

/// In order, of a whole presentation. Those that are shorter than a tick are left out.
pub fn spans<'a>(presentation: &Presentation<'a>, view: &TrackView<'a>) -> impl Iterator<Item = Span> + use<'a> {
    let of = presentation.reference().map(|reference| (reference, Span::by(presentation, reference, view)));
    of.into_iter()
        .flat_map(|(reference, span)| reference.segments().map(move |segment| span(&segment)))
        .filter(|span| span.end > span.start)
}

/// The one whose name is `time`. `None`: no segment begins there.
pub fn span_at(presentation: &Presentation<'_>, view: &TrackView<'_>, time: Ticks) -> Option<Span> {
    let reference = presentation.reference()?;
    let scale = view.track.timescale;
    let start_of = |at: usize| boundary(reference, reference.fragments[at].decode_time(), scale);
    // Fragments shorter than a tick of the text track may share a boundary; only the first can begin a segment.
    let fragments = 0..reference.fragments.len();
    let at = reference.fragments.partition_point(|fragment| boundary(reference, fragment.decode_time(), scale) < time);
    let segment = (at..fragments.end)
        .take_while(|&at| start_of(at) == time)
        .find_map(|at| reference.segment_at(reference.fragments[at].decode_time()))?;
    Some(Span::by(presentation, reference, view)(&segment))
}

impl Span {
    fn by<'a>(
        presentation: &Presentation<'_>,
        reference: TrackView<'a>,
        view: &TrackView<'_>,
    ) -> impl Fn(&Segment) -> Span + use<'a> {
        let scale = view.track.timescale;
        let presented = scale.ticks_floor(presentation.duration);
        move |segment| {
            let next = reference.fragments.get(segment.fragments.end as usize);
            let end = Ticks(segment.time.0.saturating_add(segment.duration.0));
            let end = boundary(reference, next.map_or(end, |next| next.decode_time()), scale);
            Span {
                number: segment.number,
                start: boundary(reference, segment.time, scale),
                end: if next.is_none() { end.max(presented) } else { end },
                is_last: next.is_none(),
            }
        }
    }
}

/// What a cue says, and when within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a> {
    /// Of the cue, within its track.
    pub number: u32,
    /// In milliseconds of presentation time: of the cue, within the segment.
    pub start: u64,
    pub end: u64,
    pub said: Said<'a>,
}

/// What has to be in memory to read [`words`]; `None` if there are none.
pub fn source(view: &TrackView<'_>, span: &Span) -> Option<Extent> {
    let mut cues = shown(view, span).map(|(_, cue)| cue);
    let first = cues.next()?;
    let last = cues.last().unwrap_or(first);
    let begin = u64::from(first.offset.get());
    Some(view.extent(begin..u64::from(last.offset.get()) + u64::from(last.size.get())))
}

/// Reads the stored file. In order of their starts; what is not shown for any time is left out, and so is what is too much.
pub fn words<'a>(view: &TrackView<'a>, span: &Span) -> Vec<Words<'a>> {
    let (begin, end) = (span.start.0 as u64, span.end.0 as u64);
    let file = view.files.first().and_then(|file| file.mapped()).unwrap_or_default();
    let words = shown(view, span).filter_map(|(number, cue)| {
        let offset = cue.offset.get() as usize;
        let said = webvtt::said(file.get(offset..offset.checked_add(cue.size.get() as usize)?)?)?;
        let (start, end) = (cue.start.get().max(begin), cue.end.get().min(end));
        (start < end).then_some(Words { number, start, end, said })
    });
    words.collect()
}

/// What the samples of WebVTT in a channel's chunks say; cues count from `begin`. What says nothing a player could show is left
/// out. `None`: they are not what was written.
pub fn of_chunks(media: &[u8], begin: Ticks, scale: Timescale) -> Option<Normalised> {
    let millis = |at: i64| {
        let since = rescale_nearest(Ticks(at.saturating_sub(begin.0)), scale, Timescale::MILLIS);
        since.and_then(|since| u64::try_from(since.0).ok()).unwrap_or(0)
    };
    let mut gathered = Samples::new(Coding::WebVtt, 0);
    let mut at = 0;
    while at < media.len() as u64 {
        let chunk = Chunk::read(media, at).ok()?;
        let (mut start, mut offset) = (chunk.time.0, at + u64::from(chunk.media_offset));
        for sample in chunk.samples() {
            let end = start.saturating_add(i64::from(sample.duration.get()));
            let next = offset + u64::from(sample.size.get());
            let data = media.get(offset as usize..next as usize)?;
            let _ = gathered.push("", millis(start), millis(end), data);
            (start, offset) = (end, next);
        }
        at = chunk.end();
    }
    Some(gathered.finish("").map_or_else(|_| Normalised::default(), |subtitles| subtitles.normalised))
}

fn shown<'a>(view: &TrackView<'a>, span: &Span) -> impl Iterator<Item = (u32, &'a Cue)> + use<'a> {
    numbered(view.cues, span.start.0 as u64, span.end.0 as u64).take(SEGMENT_CUES_MAX)
}

/// The cues that show at some instant of `start..end`, in milliseconds; one without length shows at its start.
pub fn showing(cues: &[Cue], start: u64, end: u64) -> impl Iterator<Item = &Cue> {
    numbered(cues, start, end).map(|(_, cue)| cue)
}

fn numbered(cues: &[Cue], start: u64, end: u64) -> impl Iterator<Item = (u32, &Cue)> {
    let first = cues.partition_point(|cue| cue.end_max.get() < start);
    let last = cues.partition_point(|cue| cue.start.get() < end);
    let cues = (first as u32..).zip(cues.get(first..last).unwrap_or_default());
    cues.filter(move |(_, cue)| cue.end.get() > start || cue.start.get() == start)
}
