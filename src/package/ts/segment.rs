//! Segments: what of the tracks goes into one, and its making.

use bytes::Bytes;
use thiserror::Error;

use crate::base::units::rescale_nearest;
use crate::base::{Extent, Payload, Piece, Ticks, Timescale};
use crate::media::codec::elementary::Elementary;
use crate::media::isobmff::{Movie, write};
use crate::media::mpegts::mux::{self, Muxer, Place, Share, Stream, Unit};
use crate::media::{Presentation, Sample, Segment, TrackView};

use super::entries::{self, stamp};
use super::url::Rendition;
use super::{Carriage, Packing, carriage};

/// A segment that takes making: which parts of which tracks it holds.
pub struct Plan<'a> {
    video: Option<(TrackView<'a>, Option<Segment>)>,
    audio: Option<(TrackView<'a>, Option<Segment>)>,
    place: (u64, u64, u64),
}

/// Why a segment cannot be made of what is there.
#[derive(Debug, Error)]
pub enum Error {
    #[error("{track}: no configuration for {codec} in its header")]
    Configuration { track: String, codec: String },
    #[error("{track}: {reason}")]
    Media { track: String, reason: &'static str },
}

/// The making of a segment, a little at a time.
pub enum Making<'a> {
    Muxed(Box<Muxer<'a>>),
    Packed { tag: Option<Vec<u8>>, elementary: Elementary, units: std::vec::IntoIter<Unit<'a>> },
}

/// sample_is_non_sync_sample of sample_flags (ISO/IEC 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x1_0000;

/// The segment of that name, if it is one that has to be made. `None`: nothing has it.
pub fn plan<'a>(presentation: &Presentation<'a>, rendition: Rendition<'_>, time: Ticks) -> Option<Plan<'a>> {
    let view = presentation.track(rendition.track)?;
    let sound = match rendition.sound {
        Some(id) => Some(presentation.track(id)?),
        None => None,
    };
    match (carriage(view.track)?, sound.map(|sound| carriage(sound.track))) {
        (Carriage::Video, None | Some(Some(Carriage::Audio(_)))) => {
            let (ordinal, entry) = entries::find(presentation, view, sound, time)?;
            let audio = sound.map(|sound| (sound, entry.audio));
            Some(Plan { video: Some((view, entry.video)), audio, place: (ordinal, entry.start, entry.end) })
        }
        (Carriage::Audio(Packing::Aac), None) => {
            let segment = view.segment_at(time)?;
            Some(Plan { video: None, audio: Some((view, Some(segment))), place: (0, 0, 0) })
        }
        _ => None,
    }
}

/// Whether a segment has that name, before anything of it is read.
pub fn has_segment(
    presentation: &Presentation<'_>,
    view: &TrackView<'_>,
    sound: Option<&TrackView<'_>>,
    time: Ticks,
) -> bool {
    let is_sound = |sound: &TrackView<'_>| matches!(carriage(sound.track), Some(Carriage::Audio(_)));
    if carriage(view.track) != Some(Carriage::Video) || !sound.is_none_or(is_sound) {
        return false;
    }
    // Nearly all begin with a picture.
    view.segment_at(time).is_some()
        || sound.is_some_and(|sound| entries::find(presentation, *view, Some(*sound), time).is_some())
}

/// Whether it is packed audio of that kind.
pub fn carries(view: &TrackView<'_>, packing: Packing) -> bool {
    carriage(view.track) == Some(Carriage::Audio(packing))
}

/// A segment of packed audio whose frames lie in the track file as they are sent: a tag, and extents. `None` for AAC, whose
/// frames want headers, and where nothing has that name.
pub fn packed(view: &TrackView<'_>, packing: Packing, time: Ticks) -> Option<Payload> {
    if packing == Packing::Aac || !carries(view, packing) {
        return None;
    }
    let segment = view.segment_at(time)?;
    let mut payload = Payload::from(Bytes::from(mux::timestamp_tag(presented(*view, segment.time))));
    for fragment in fragments(*view, &segment) {
        let offset = fragment.offset.get() + u64::from(fragment.media_offset.get());
        payload.push(Piece::Extent(view.extent_of(segment.file, offset..fragment.end_offset())));
    }
    Some(payload)
}

impl<'a> Plan<'a> {
    /// What has to be in memory for it.
    pub fn sources(&self) -> Vec<Extent> {
        let parts = self.video.iter().chain(&self.audio);
        let extent = |(view, segment): &(TrackView<'a>, Option<Segment>)| {
            let segment = segment.as_ref()?;
            Some(view.extent_of(segment.file, segment.bytes.clone()))
        };
        parts.filter_map(extent).collect()
    }

    /// Reads the headers and sample tables of its tracks: to be called where waiting for the disk is allowed.
    pub fn making(&self) -> Result<Making<'a>, Error> {
        let audio = match &self.audio {
            Some((view, segment)) => {
                let (stream, _) = stream(*view)?;
                let mut units = segment.as_ref().map_or(Ok(Vec::new()), |segment| units(*view, segment, 0))?;
                units.retain(is_heard);
                Some(Share { stream, units })
            }
            None => None,
        };
        let Some((view, segment)) = &self.video else {
            let audio = audio.ok_or(Error::Media { track: String::new(), reason: "no track" })?;
            let first = audio.units.first().map_or(0, |unit| unit.presentation);
            let tag = Some(mux::timestamp_tag(first));
            return Ok(Making::Packed { tag, elementary: audio.stream.elementary, units: audio.units.into_iter() });
        };
        let (stream, reorder) = stream(*view)?;
        let units = segment.as_ref().map_or(Ok(Vec::new()), |segment| units(*view, segment, reorder))?;
        let (ordinal, start, end) = self.place;
        let delay = rescale_nearest(Ticks(reorder), view.track.timescale, Timescale::MPEG).map_or(0, |ticks| ticks.0);
        let border = |micros| stamp(micros).saturating_sub(delay);
        let place = Place {
            ordinal,
            start: units.first().map_or_else(|| border(start), |unit| unit.decode),
            end: units.last().map_or_else(|| border(end), |unit| unit.decode.saturating_add(unit.duration)),
        };
        Ok(Making::Muxed(Box::new(Muxer::new(Share { stream, units }, audio, place))))
    }
}

impl Making<'_> {
    /// Appends what comes next; `false` when there is nothing left.
    pub fn advance(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Making::Muxed(muxer) => muxer.advance(out),
            Making::Packed { tag, elementary, units } => {
                if let Some(tag) = tag.take() {
                    out.extend_from_slice(&tag);
                }
                let Some(unit) = units.next() else { return false };
                mux::push_frame(out, elementary, unit.data);
                true
            }
        }
    }
}

fn fragments<'a>(view: TrackView<'a>, segment: &Segment) -> &'a [crate::media::Fragment] {
    view.fragments.get(segment.fragments.start as usize..segment.fragments.end as usize).unwrap_or_default()
}

/// A track's stream, and by how much its pictures are decoded before the time that the index has, in track ticks: so that
/// none is presented before it is decoded. Index and header differ by that (`library::import::timeline`).
fn stream(view: TrackView<'_>) -> Result<(Stream, i64), Error> {
    let wrong = || Error::Configuration { track: view.track.id.clone(), codec: view.track.codec.clone() };
    let header =
        view.files.first().and_then(|file| file.mapped()).and_then(|bytes| bytes.get(..view.init_size as usize));
    let movie = Movie::parse(&view.track.id, header.ok_or_else(wrong)?).map_err(|_| wrong())?;
    let source = movie.tracks().first().ok_or_else(wrong)?;
    let elementary = Elementary::of_entry(source.sample_entry.bytes).ok_or_else(wrong)?;
    let language = write::three_letters(&view.track.language);
    let language = language.as_bytes().try_into().ok().filter(|_| language != "und");
    let shown = view.track.presentation_offset.0.saturating_add(view.time_offset.0);
    let reorder = source.edit.media_start.saturating_add(shown).max(0);
    Ok((Stream { elementary, language }, reorder))
}

/// A time of the track file, as presentation time in 90 kHz.
fn presented(view: TrackView<'_>, time: Ticks) -> i64 {
    let ticks = Ticks(time.0.saturating_add(view.track.presentation_offset.0));
    rescale_nearest(ticks, view.track.timescale, Timescale::MPEG).map_or(i64::MAX, |ticks| ticks.0)
}

fn units<'a>(view: TrackView<'a>, segment: &Segment, reorder: i64) -> Result<Vec<Unit<'a>>, Error> {
    let wrong = |reason| Error::Media { track: view.track.id.clone(), reason };
    let file = view.files.get(segment.file as usize).and_then(|file| file.mapped());
    let file = file.ok_or_else(|| wrong("its file is not mapped"))?;
    let count = fragments(view, segment).iter().map(|fragment| fragment.sample_count.get() as usize).sum();
    let mut units = Vec::with_capacity(count);
    for fragment in fragments(view, segment) {
        let first = fragment.first_sample.get() as usize;
        let rows = view.samples.get(first..first.saturating_add(fragment.sample_count.get() as usize));
        let mut at = fragment.offset.get().saturating_add(u64::from(fragment.media_offset.get())) as usize;
        let mut time = fragment.decode_time().0;
        for sample in rows.ok_or_else(|| wrong("samples lie outside of its table"))? {
            let end = at.saturating_add(sample.size.get() as usize);
            let data = file.get(at..end).ok_or_else(|| wrong("samples lie outside of its file"))?;
            units.push(unit(view, sample, time, reorder, data));
            at = end;
            time = time.saturating_add(i64::from(sample.duration.get()));
        }
    }
    Ok(units)
}

/// Transport streams have no edit list: what is before the start is played. Of it only the frame that the decoder needs for
/// the next stays.
fn is_heard(unit: &Unit<'_>) -> bool {
    unit.presentation.saturating_add(unit.duration.saturating_mul(2)) > 0
}

fn unit<'a>(view: TrackView<'a>, sample: &Sample, time: i64, reorder: i64, data: &'a [u8]) -> Unit<'a> {
    let at = |ticks: i64| presented(view, Ticks(ticks));
    let presentation = at(time.saturating_add(i64::from(sample.composition_offset.get())));
    let decode = at(time.saturating_sub(reorder));
    let end = at(time.saturating_sub(reorder).saturating_add(i64::from(sample.duration.get())));
    Unit {
        // ISO/IEC 13818-1 §2.7.5: never after it is presented.
        decode: decode.min(presentation),
        presentation,
        duration: end.saturating_sub(decode),
        random_access: sample.flags.get() & NON_SYNC == 0,
        data,
    }
}
