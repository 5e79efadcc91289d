//! Segments of channels: of the chunks that are stored, there being no index of their samples.

use crate::base::{Ticks, Timescale};
use crate::media::codec::elementary::Elementary;
use crate::media::isobmff::{Chunk, stored, write};
use crate::media::mpegts::mux::{self, Muxer, Place, Share, Stream, Unit};

use super::live::clock;
use super::segment::{Error, Making, NON_SYNC};

/// A track's part of a segment, as it is stored.
#[derive(Clone, Copy)]
pub struct LivePart<'a> {
    pub track: &'a str,
    pub codec: &'a str,
    /// As in [`crate::media::Track::language`].
    pub language: &'a str,
    pub timescale: Timescale,
    /// Its CMAF header; of a segment beside it where it has none here.
    pub header: &'a [u8],
    /// Its chunks; empty where the track has nothing.
    pub media: &'a [u8],
}

/// A segment of pictures, and maybe their sound. `slot` is what the number stands for, on 90 kHz.
///
/// # Errors
/// Headers and chunks that are not what was written. Work and memory are bounded by their bytes.
pub fn live_muxed<'a>(
    number: u64,
    slot: (Ticks, Ticks),
    video: &LivePart<'a>,
    sound: Option<&LivePart<'a>>,
) -> Result<Making<'a>, Error> {
    let sound = sound.map(LivePart::share).transpose()?;
    let (video, reorder) = (video.share()?, video.reorder()?);
    let border = |at: Ticks| clock(at, Timescale::MPEG).saturating_sub(reorder);
    let start = video.units.first().map_or_else(|| border(slot.0), |unit| unit.decode);
    let place = Place {
        ordinal: number,
        start,
        end: video.units.last().map_or_else(|| border(slot.1), |unit| unit.decode.saturating_add(unit.duration)),
        // An encoder that came back may have its key frames elsewhere in a slot; sound is cut at its borders all the same.
        apart: start.saturating_sub(border(slot.0)).max(0),
    };
    Ok(Making::Muxed(Box::new(Muxer::new(video, sound, place))))
}

/// A segment of packed audio (RFC 8216bis §3.1.3).
///
/// # Errors
/// As [`live_muxed`].
pub fn live_packed<'a>(part: &LivePart<'a>) -> Result<Making<'a>, Error> {
    let Share { stream, units } = part.share()?;
    let tag = Some(mux::timestamp_tag(units.first().map_or(0, |unit| unit.presentation)));
    Ok(Making::Packed { tag, elementary: stream.elementary, units: units.into_iter() })
}

/// The key frame that a segment begins with. Of the part's media the first chunk is read.
///
/// # Errors
/// As [`live_muxed`].
pub fn live_key_frame<'a>(number: u64, video: &LivePart<'a>) -> Result<Making<'a>, Error> {
    let share = Share { stream: video.stream()?, units: video.units(1)? };
    let decode = share.units.first().map_or(0, |unit| unit.decode);
    // Nothing comes behind it for which the clock would have to go on.
    let place = Place { ordinal: number, start: decode, end: decode, apart: 0 };
    Ok(Making::Muxed(Box::new(Muxer::new(share, None, place))))
}

impl<'a> LivePart<'a> {
    fn share(&self) -> Result<Share<'a>, Error> {
        Ok(Share { stream: self.stream()?, units: self.units(usize::MAX)? })
    }

    fn stream(&self) -> Result<Stream, Error> {
        let wrong = || Error::Configuration { track: self.track.to_owned(), codec: self.codec.to_owned() };
        let entry = stored::sample_entry(self.header).map_err(|_| wrong())?;
        let elementary = Elementary::of_entry(entry).ok_or_else(wrong)?;
        let language = write::three_letters(self.language);
        let language = language.as_bytes().try_into().ok().filter(|_| language != "und");
        Ok(Stream { elementary, language })
    }

    /// By how much pictures are decoded before the time that they are stored with, in track ticks: the edit list's.
    fn edit(&self) -> Result<i64, Error> {
        let wrong = |_| Error::Configuration { track: self.track.to_owned(), codec: self.codec.to_owned() };
        stored::media_start(self.header).map_err(wrong)
    }

    /// The same on 90 kHz.
    fn reorder(&self) -> Result<i64, Error> {
        let edit = clock(Ticks(self.edit()?), self.timescale);
        Ok(edit.saturating_sub(clock(Ticks(0), self.timescale)))
    }

    /// The first, `most` at most.
    fn units(&self, most: usize) -> Result<Vec<Unit<'a>>, Error> {
        let wrong = |reason| Error::Media { track: self.track.to_owned(), reason };
        let edit = self.edit()?;
        let at = |ticks: i64| clock(Ticks(ticks.saturating_sub(edit)), self.timescale);
        let mut units = Vec::new();
        let mut offset = 0;
        while offset < self.media.len() as u64 && units.len() < most {
            let chunk = Chunk::read(self.media, offset).map_err(|_| wrong("a chunk is not what was written"))?;
            let (mut time, mut begin) = (chunk.time.0, (offset + u64::from(chunk.media_offset)) as usize);
            for sample in chunk.samples().take(most - units.len()) {
                let end = begin.saturating_add(sample.size.get() as usize);
                let data = self.media.get(begin..end).ok_or_else(|| wrong("samples lie outside of their chunk"))?;
                let next = time.saturating_add(i64::from(sample.duration.get()));
                let presentation = at(time.saturating_add(i64::from(sample.composition_offset.get())));
                let decode = at(time);
                units.push(Unit {
                    // ISO/IEC 13818-1 §2.7.5: never after it is presented.
                    decode: decode.min(presentation),
                    presentation,
                    duration: at(next).saturating_sub(decode),
                    random_access: sample.flags.get() & NON_SYNC == 0,
                    data,
                });
                (time, begin) = (next, end);
            }
            offset = chunk.end();
        }
        Ok(units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::make;
    use crate::media::feed::Event;
    use crate::media::isobmff::{Matrix, write::fragment_header};
    use crate::media::mpegts::{Demuxer, PackedAudio};
    use crate::media::{Kind, Sample};
    use proptest::prelude::*;

    const AVC: [u8; 23] = [
        1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 8, 0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x05, 0x06, 0x64, 1, 0, 4, 0x68, 0xCE,
        0x38, 0x80,
    ];
    /// Since 1970: a multiple of both frames. 33 bits of 90 kHz turn over after a second of it.
    const SECONDS: u64 = (1 << 33) / 90_000 * 18_641 + 19_120;
    const NUMBER: u64 = SECONDS / 2;

    fn header(entry: &[u8], kind: Kind, timescale: Timescale, media_start: u64) -> Vec<u8> {
        write::header(&write::Header {
            timescale,
            sample_entry: entry,
            kind,
            language: "de",
            name: None,
            media_start,
            width: 320,
            height: 180,
            matrix: Matrix::default(),
            default_duration: 0,
            fragment_duration_hint: None,
        })
    }

    /// Chunks of so many samples each: duration, offset and bytes of a sample from its place.
    fn chunks(time: u64, counts: &[usize], sample: impl Fn(usize) -> (u32, i32, Vec<u8>)) -> Vec<u8> {
        let (mut out, mut at, mut time) = (Vec::new(), 0, time);
        for &count in counts {
            let samples: Vec<_> = (at..at + count).map(&sample).collect();
            let rows: Vec<Sample> = samples
                .iter()
                .enumerate()
                .map(|(place, (duration, offset, data))| Sample {
                    size: (data.len() as u32).into(),
                    duration: (*duration).into(),
                    composition_offset: (*offset).into(),
                    flags: if at + place == 0 { 0 } else { NON_SYNC }.into(),
                })
                .collect();
            fragment_header(1, time, &rows, &mut out).unwrap();
            samples.iter().for_each(|(duration, _, data)| {
                out.extend_from_slice(data);
                time += u64::from(*duration);
            });
            at += count;
        }
        out
    }

    /// Two seconds: 50 pictures in the order I P B B, 94 frames of sound.
    struct Stored {
        headers: [Vec<u8>; 2],
        media: [Vec<u8>; 2],
    }

    fn scales() -> [Timescale; 2] {
        [Timescale::new(12_800).unwrap(), Timescale::new(48_000).unwrap()]
    }

    fn stored() -> Stored {
        let [video, audio] = scales();
        let picture = |at: usize| {
            let data = [&[0, 0, 0, 40, if at == 0 { 0x65 } else { 0x41 }, 0x80 | at as u8][..], &[9; 38]].concat();
            let offset = if at == 0 { 1_536 } else { [3_584, 1_024, 0][(at - 1) % 3] };
            (512, offset, data)
        };
        Stored {
            headers: [
                header(&make::avc_entry(&AVC, 320, 180), Kind::Video, video, 1_536),
                header(&make::aac_entry(&[0x11, 0x90], 2), Kind::Audio, audio, 0),
            ],
            media: [
                chunks(SECONDS * 12_800, &[13, 13, 13, 11], picture),
                chunks(SECONDS * 48_000, &[24, 24, 24, 22], |at| (1_024, 0, vec![at as u8; 90])),
            ],
        }
    }

    fn part<'a>(header: &'a [u8], media: &'a [u8], timescale: Timescale) -> LivePart<'a> {
        LivePart { track: "x1", codec: "codec", language: "de", timescale, header, media }
    }

    fn finished(made: Result<Making<'_>, Error>) -> Result<Vec<u8>, Error> {
        let (mut made, mut out) = (made?, Vec::new());
        while made.advance(&mut out) {}
        Ok(out)
    }

    fn muxed(headers: [&[u8]; 2], media: [&[u8]; 2]) -> Result<Vec<u8>, Error> {
        let [video, audio] = scales();
        let slot = (Ticks(SECONDS as i64 * 90_000), Ticks((SECONDS as i64 + 2) * 90_000));
        let sound = part(headers[1], media[1], audio);
        finished(live_muxed(NUMBER, slot, &part(headers[0], media[0], video), Some(&sound)))
    }

    fn times(events: &[Event], kind: Kind) -> Vec<(i64, i64)> {
        let tracks: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Track { track, format, .. } if format.kind == kind => Some(*track),
                _ => None,
            })
            .collect();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Sample { track, sample, .. } if tracks.contains(track) => {
                    Some((sample.decode_time.0, i64::from(sample.composition_offset)))
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn what_is_stored_comes_out_on_the_clock_of_1970() {
        let stored = stored();
        let [headers, media] = [&stored.headers, &stored.media].map(|both| [&both[0][..], &both[1][..]]);
        let bytes = muxed(headers, media).unwrap();
        assert_eq!(bytes, muxed(headers, media).unwrap(), "made twice");
        let mut demuxer = Demuxer::default();
        let mut events = Vec::new();
        demuxer.push(&bytes, &mut events).unwrap();
        demuxer.flush(&mut events).unwrap();
        let start = SECONDS as i64 * 90_000 % (1 << 33);
        let pictures = times(&events, Kind::Video);
        assert_eq!(pictures.len(), 50);
        for (at, (decode, offset)) in pictures.iter().enumerate() {
            let want = if at == 0 { 1_536 } else { [3_584, 1_024, 0][(at - 1) % 3] };
            assert_eq!(*offset, want * 90_000 / 12_800, "{at}");
            assert_eq!((decode - start - at as i64 * 3_600 + 10_800).rem_euclid(1 << 33), 0, "{at}");
        }
        assert_eq!(times(&events, Kind::Audio).len(), 94);
        // Sound without pictures has its clock all the same, and pictures without sound.
        for media in [[&[][..], media[1]], [media[0], &[]]] {
            assert!(muxed(headers, media).unwrap().len() > 20 * 188);
        }
    }

    #[test]
    fn a_key_frame_is_an_access_unit_by_itself() {
        let stored = stored();
        let [headers, media] = [&stored.headers, &stored.media].map(|both| [&both[0][..], &both[1][..]]);
        let first = Chunk::read(media[0], 0).unwrap();
        let bytes = |len: usize| finished(live_key_frame(NUMBER, &part(headers[0], &media[0][..len], scales()[0])));
        let made = bytes(media[0].len()).unwrap();
        assert_eq!(made, bytes(first.end() as usize).unwrap(), "of the first chunk alone");
        assert!(made.len() as u64 <= super::super::size::live_key_frame(first.first_sample.len() as u32));
        let mut demuxer = Demuxer::default();
        let mut events = Vec::new();
        demuxer.push(&made, &mut events).unwrap();
        demuxer.flush(&mut events).unwrap();
        let start = SECONDS as i64 * 90_000 % (1 << 33);
        let pictures = times(&events, Kind::Video);
        assert_eq!(pictures.len(), 1);
        assert_eq!((pictures[0].0 + pictures[0].1 - start).rem_euclid(1 << 33), 0, "{pictures:?}");
        for len in [1, 60, first.end() as usize - 1] {
            assert!(bytes(len).is_err(), "{len}");
        }
    }

    /// Key frames that come a second and a half into each slot, and sound that is cut at its borders.
    #[test]
    fn no_sound_comes_after_its_decode_time() {
        let mut stored = stored();
        let [video, _] = scales();
        let picture = |at: usize| (512, 0, [&[0, 0, 0, 2, if at == 0 { 0x65 } else { 0x41 }, at as u8][..]].concat());
        let late = SECONDS * u64::from(video.per_second()) + u64::from(video.per_second()) * 3 / 2;
        stored.media[0] = chunks(late, &[25, 25], picture);
        let [headers, media] = [&stored.headers, &stored.media].map(|both| [&both[0][..], &both[1][..]]);
        let bytes = muxed(headers, media).unwrap();
        let (mut clock, mut sounds) = (None, 0);
        for packet in bytes.chunks(188) {
            let field = if packet[3] & 0x20 != 0 { usize::from(packet[4]) + 1 } else { 0 };
            if field > 6 && packet[5] & 0x10 != 0 {
                let base: [u8; 4] = packet[6..10].try_into().unwrap();
                clock = Some(u64::from(u32::from_be_bytes(base)) << 1 | u64::from(packet[10] >> 7));
            }
            let payload = &packet[(4 + field).min(188)..];
            if packet[1] & 0x40 != 0 && payload.starts_with(&[0, 0, 1, 0xC0]) {
                let stamp = |at: usize| u64::from(payload[at]);
                let time = (stamp(9) >> 1 & 7) << 30
                    | stamp(10) << 22
                    | (stamp(11) >> 1) << 15
                    | stamp(12) << 7
                    | stamp(13) >> 1;
                let ahead = (time + (1 << 33) - clock.unwrap()) % (1 << 33);
                assert!((1..135_000).contains(&ahead), "{ahead}");
                sounds += 1;
            }
        }
        assert!(sounds > 5, "{sounds}");
    }

    #[test]
    fn packed_audio_says_when_it_begins() {
        let stored = stored();
        let bytes = finished(live_packed(&part(&stored.headers[1], &stored.media[1], scales()[1]))).unwrap();
        let stamp = u64::from_be_bytes(bytes[65..73].try_into().unwrap());
        assert_eq!(stamp, SECONDS * 90_000 % (1 << 33));
        assert_eq!(bytes.len(), 73 + 94 * 97);
        let mut packed = PackedAudio::default();
        let mut events = Vec::new();
        packed.push(&bytes, &mut events).unwrap();
        packed.flush(&mut events);
        assert_eq!(times(&events, Kind::Audio).len(), 94);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let stored = stored();
        let [headers, media] = [&stored.headers, &stored.media].map(|both| [&both[0][..], &both[1][..]]);
        for len in 1..media[0].len() {
            assert_eq!(muxed(headers, [&media[0][..len], media[1]]).is_ok(), is_border(media[0], len), "{len}");
            // Zeros may be media.
            let zeros = [&media[0][..len], &vec![0; media[0].len() - len]].concat();
            let _ = muxed(headers, [&zeros, media[1]]);
        }
        assert!(matches!(muxed([&[], headers[1]], media), Err(Error::Configuration { .. })));
        assert!(matches!(muxed([headers[1], headers[0]], [&[0; 9], &[]]), Err(Error::Media { .. })));
    }

    fn is_border(media: &[u8], len: usize) -> bool {
        let mut at = 0;
        while at < len as u64 {
            at = Chunk::read(media, at).unwrap().end();
        }
        at == len as u64
    }

    proptest! {
        #[test]
        fn damage_does_no_harm(changes in prop::collection::vec((0_usize..8_000, any::<u8>()), 1..6), sound in any::<bool>()) {
            let mut stored = stored();
            for (at, value) in changes {
                let media = &mut stored.media[usize::from(sound)];
                let len = media.len();
                media[at % len] = value;
            }
            let [headers, media] = [&stored.headers, &stored.media].map(|both| [&both[0][..], &both[1][..]]);
            if let Ok(bytes) = muxed(headers, media) {
                prop_assert_eq!(bytes.len() % 188, 0);
            }
            let _ = finished(live_packed(&part(headers[1], media[1], scales()[1])));
        }
    }
}
