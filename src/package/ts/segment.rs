//! Segments: what of the tracks goes into one, and its making.

use bytes::Bytes;
use thiserror::Error;

use crate::base::units::rescale_nearest;
use crate::base::{Extent, Payload, Piece, Ticks, Timescale};
use crate::media::codec::elementary::Elementary;
use crate::media::isobmff::{Movie, write};
use crate::media::mpegts::mux::{self, Muxer, Place, Share, Stream, Unit};
use crate::media::{Fragment, Presentation, Sample, Segment, TrackView};
use crate::package::key_frame::KeyFrame;

use super::entries::{self, Entry, stamp};
use super::url::Resource;
use super::{Carriage, Packing, carriage, key_frames};

/// A segment that takes making: which parts of which tracks it holds.
pub enum Plan<'a> {
    Muxed {
        video: Part<'a>,
        audio: Option<Part<'a>>,
        place: EntryPlace,
    },
    /// Packed audio.
    Packed(Part<'a>),
    KeyFrame {
        view: TrackView<'a>,
        frame: KeyFrame<'a>,
        source: Extent,
    },
}

/// Where an entry of a playlist lies.
pub struct EntryPlace {
    /// Segments before it.
    ordinal: u64,
    /// In microseconds of presentation time.
    start: u64,
    end: u64,
}

/// What there is of a track in a segment: nothing, maybe.
pub struct Part<'a> {
    view: TrackView<'a>,
    segment: Option<Segment>,
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
pub(super) const NON_SYNC: u32 = 0x1_0000;

/// What a resource is made of, if it has to be made. `None`: nothing has that name.
pub fn plan<'a>(presentation: &Presentation<'a>, resource: Resource<'_>) -> Option<Plan<'a>> {
    match resource {
        Resource::Segment { rendition, time, .. } => {
            let view = presentation.track(rendition.track)?;
            let sound = match rendition.sound {
                Some(id) => Some(presentation.track(id)?),
                None => None,
            };
            if !are_muxed(view, sound) {
                return None;
            }
            let (ordinal, Entry { start, end, video, audio, .. }) = entries::find(presentation, view, sound, time)?;
            let audio = sound.map(|view| Part { view, segment: audio });
            Some(Plan::Muxed { video: Part { view, segment: video }, audio, place: EntryPlace { ordinal, start, end } })
        }
        Resource::Packed { track, packing: Packing::Aac, time, .. } => {
            let view = presentation.track(track).filter(|view| carries(view, Packing::Aac))?;
            Some(Plan::Packed(Part { view, segment: Some(view.segment_at(time)?) }))
        }
        Resource::KeyFrame { track, time, .. } => {
            let view = presentation.track(track)?;
            let (frame, source) = key_frames::find(view, time)?;
            Some(Plan::KeyFrame { view, frame, source })
        }
        _ => None,
    }
}

/// Whether a segment has that name, before anything of it is read.
pub fn has_segment(view: TrackView<'_>, sound: Option<TrackView<'_>>, time: Ticks) -> bool {
    are_muxed(view, sound) && entries::number(view, sound, time).is_some()
}

/// Whether they are pictures, and sound beside them.
fn are_muxed(view: TrackView<'_>, sound: Option<TrackView<'_>>) -> bool {
    let is_sound = |sound: TrackView<'_>| matches!(carriage(sound.track), Some(Carriage::Audio(_)));
    carriage(view.track) == Some(Carriage::Video) && sound.is_none_or(is_sound)
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
        match self {
            Plan::Muxed { video, audio, .. } => {
                video.source().into_iter().chain(audio.as_ref().and_then(Part::source)).collect()
            }
            Plan::Packed(part) => part.source().into_iter().collect(),
            Plan::KeyFrame { source, .. } => vec![source.clone()],
        }
    }

    /// Reads the headers and sample tables of its tracks: to be called where waiting for the disk is allowed.
    pub fn making(&self) -> Result<Making<'a>, Error> {
        match self {
            Plan::Muxed { video, audio, place: EntryPlace { ordinal, start, end } } => {
                let audio = audio.as_ref().map(Part::sound).transpose()?;
                let (stream, reorder) = stream(video.view)?;
                let units = video.units(reorder)?;
                let delay = rescale_nearest(Ticks(reorder), video.view.track.timescale, Timescale::MPEG);
                let border = |micros| stamp(micros).saturating_sub(delay.map_or(0, |ticks| ticks.0));
                let place = Place {
                    ordinal: *ordinal,
                    start: units.first().map_or_else(|| border(*start), |unit| unit.decode),
                    end: units.last().map_or_else(|| border(*end), |unit| unit.decode.saturating_add(unit.duration)),
                    apart: 0,
                };
                Ok(Making::Muxed(Box::new(Muxer::new(Share { stream, units }, audio, place))))
            }
            Plan::Packed(part) => {
                let Share { stream, units } = part.sound()?;
                let first = units.first().map_or(0, |unit| unit.presentation);
                let tag = Some(mux::timestamp_tag(first));
                Ok(Making::Packed { tag, elementary: stream.elementary, units: units.into_iter() })
            }
            Plan::KeyFrame { view, frame, source } => {
                let (stream, reorder) = stream(*view)?;
                let unit = key_unit(*view, frame.fragment, source, reorder)?;
                // Nothing comes behind it for which the clock would have to go on.
                let place = Place { ordinal: frame.number.into(), start: unit.decode, end: unit.decode, apart: 0 };
                Ok(Making::Muxed(Box::new(Muxer::new(Share { stream, units: vec![unit] }, None, place))))
            }
        }
    }
}

impl<'a> Part<'a> {
    fn source(&self) -> Option<Extent> {
        let segment = self.segment.as_ref()?;
        Some(self.view.extent_of(segment.file, segment.bytes.clone()))
    }

    /// Without what is not heard.
    fn sound(&self) -> Result<Share<'a>, Error> {
        let (stream, _) = stream(self.view)?;
        let mut units = self.units(0)?;
        units.retain(is_heard);
        Ok(Share { stream, units })
    }

    fn units(&self, reorder: i64) -> Result<Vec<Unit<'a>>, Error> {
        self.segment.as_ref().map_or(Ok(Vec::new()), |segment| units(self.view, segment, reorder))
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

fn fragments<'a>(view: TrackView<'a>, segment: &Segment) -> &'a [Fragment] {
    view.fragments.get(segment.fragments.start as usize..segment.fragments.end as usize).unwrap_or_default()
}

/// What its header says of a track's elementary stream, and where its edit list begins, in track ticks. `None`: it is damaged.
pub(super) fn header(view: TrackView<'_>) -> Option<(Elementary, i64)> {
    let header = view.files.first()?.mapped()?.get(..usize::try_from(view.init_size).ok()?)?;
    let movie = Movie::parse(&view.track.id, header).ok()?;
    let source = movie.tracks().first()?;
    Some((Elementary::of_entry(source.sample_entry.bytes)?, source.edit.media_start))
}

/// A track's stream, and by how much its pictures are decoded before the time that the index has, in track ticks: so that
/// none is presented before it is decoded. Index and header differ by that (`library::import::timeline`).
fn stream(view: TrackView<'_>) -> Result<(Stream, i64), Error> {
    let wrong = || Error::Configuration { track: view.track.id.clone(), codec: view.track.codec.clone() };
    let (elementary, media_start) = header(view).ok_or_else(wrong)?;
    let language = write::three_letters(&view.track.language);
    let language = language.as_bytes().try_into().ok().filter(|_| language != "und");
    let shown = view.track.presentation_offset.0.saturating_add(view.time_offset.0);
    let reorder = media_start.saturating_add(shown).max(0);
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

/// The first picture of a fragment, at which decoding can start however the fragment is marked.
fn key_unit<'a>(view: TrackView<'a>, fragment: &Fragment, source: &Extent, reorder: i64) -> Result<Unit<'a>, Error> {
    let wrong = |reason| Error::Media { track: view.track.id.clone(), reason };
    let sample = view.samples.get(fragment.first_sample.get() as usize);
    let sample = sample.ok_or_else(|| wrong("samples lie outside of its table"))?;
    let file = view.files.get(fragment.file.get() as usize).and_then(|file| file.mapped());
    let file = file.ok_or_else(|| wrong("its file is not mapped"))?;
    let data = file.get(source.offset as usize..source.end() as usize);
    let data = data.ok_or_else(|| wrong("samples lie outside of its file"))?;
    Ok(Unit { random_access: true, ..unit(view, sample, fragment.decode_time().0, reorder, data) })
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
