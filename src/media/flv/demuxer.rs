//! Tags in, feed out.

use std::collections::VecDeque;

use bytes::Bytes;

use super::metadata::Metadata;
use super::opening::Opening;
use super::{Error, TagKind, amf, audio, cue, video};
use crate::base::limits::{FLV_OPENING_BYTES_MAX, FLV_SCRIPT_BYTES_MAX, FLV_TRACKS_MAX};
use crate::base::{Ticks, Timescale};
use crate::media::feed::{Event, Format, Sample, TrackKey};
use crate::media::track::{Kind, Role};

/// One publisher's stream of tags.
///
/// A codec configuration that comes again unchanged, as encoders send it with every key frame, gives no new format.
/// Frames before the first configuration are left out: nothing could decode them.
#[derive(Debug, Default)]
pub struct Demuxer {
    events: VecDeque<Event>,
    tracks: Vec<Track>,
    metadata: Metadata,
    clock: Clock,
    /// Whether it was said that audio, and video, are of a codec that is not taken.
    said: (bool, bool),
}

#[derive(Debug)]
struct Track {
    kind: Kind,
    /// As Enhanced RTMP counts them, from 0 for each kind.
    id: u8,
    /// Position in the feed, from the first format on.
    key: Option<TrackKey>,
    /// What the last format was made of, and the sample entry that was made.
    configuration: Bytes,
    entry: Bytes,
    /// Its first pictures, which wait for others.
    opening: Option<Opening>,
}

/// Milliseconds of 32 bits, unwrapped: of two readings of the same bits, the one nearer to the last frame is meant. What is
/// no frame is often sent with 0 in place of a time, and is no reference.
#[derive(Debug, Default)]
struct Clock {
    last: Option<i64>,
}

/// Times of tags are signed (annex E.4.1): encoders that leave the sign out, as ffmpeg does, start over after half the laps.
const HALF_LAP: i64 = 1 << 31;
/// A time that starts over continues the last, as nearly as this. In milliseconds.
const NEAR: i64 = 60_000;

impl Clock {
    fn read(&self, timestamp: u32) -> Ticks {
        let Some(last) = self.last else { return Ticks(i64::from(timestamp)) };
        let step = i64::from(timestamp.wrapping_sub(last as u32) as i32);
        let continuing = [step - HALF_LAP, step + HALF_LAP].into_iter().find(|step| step.abs() < NEAR);
        Ticks(last + continuing.unwrap_or(step))
    }
}

impl Track {
    /// Its first pictures. Those that follow do not wait.
    fn opened(&mut self) -> Vec<Event> {
        let Some(track) = self.key else { return Vec::new() };
        let pictures = self.opening.take().map(Opening::finish).unwrap_or_default();
        pictures.into_iter().map(|sample| Event::Sample { track, sample }).collect()
    }
}

impl Demuxer {
    /// Takes the body of a tag. An error is of this tag alone.
    pub fn tag(&mut self, kind: TagKind, timestamp: u32, body: Bytes) -> Result<(), Error> {
        let now = self.clock.read(timestamp);
        // Silence, or a sign of life.
        if body.is_empty() {
            return Ok(());
        }
        let result = match kind {
            TagKind::Audio => audio::read(body)
                .and_then(|steps| steps.into_iter().try_for_each(|(id, step)| self.audio(id, step, now))),
            TagKind::Video => video::read(body)
                .and_then(|steps| steps.into_iter().try_for_each(|(id, step)| self.video(id, step, now))),
            TagKind::Script => self.script(&body, now),
        };
        let said = match kind {
            TagKind::Audio => &mut self.said.0,
            _ => &mut self.said.1,
        };
        match result {
            Err(Error::Codec { .. }) if std::mem::replace(said, true) => Ok(()),
            result => result,
        }
    }

    /// Nothing follows: what waits is as it is.
    pub fn finish(&mut self) {
        for track in &mut self.tracks {
            self.events.extend(track.opened());
        }
    }

    /// Everything a tag gave is to be taken before the next comes: nothing bounds the queue but the size of a tag.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn video(&mut self, id: u8, step: video::Step, now: Ticks) -> Result<(), Error> {
        match step {
            video::Step::Nothing => {}
            video::Step::Configuration(codec, record) => {
                let info = self.metadata.video(id);
                if let Some(entry) = video::entry(codec, &record, info.size) {
                    self.format(Kind::Video, id, record, entry, info.bit_rate)?;
                }
            }
            video::Step::Frame { composition_offset, is_sync, data } => {
                let sample = Sample { decode_time: now, composition_offset, duration: None, is_sync, data };
                self.sample(Kind::Video, id, sample)?;
            }
        }
        Ok(())
    }

    fn audio(&mut self, id: u8, step: audio::Step, now: Ticks) -> Result<(), Error> {
        let bit_rate = self.metadata.audio(id).bit_rate;
        match step {
            audio::Step::Nothing => {}
            audio::Step::Configuration(codec, record) => {
                if let Some(entry) = audio::configured_entry(codec, &record) {
                    self.format(Kind::Audio, id, record, entry, bit_rate)?;
                }
            }
            audio::Step::Frame(codec, data) => {
                if let Some(entry) = audio::frame_entry(codec, &data) {
                    self.format(Kind::Audio, id, entry.clone().into(), entry, bit_rate)?;
                }
                let duration = audio::frame_millis(codec, &data);
                let sample = Sample { decode_time: now, composition_offset: 0, duration, is_sync: true, data };
                self.sample(Kind::Audio, id, sample)?;
            }
        }
        Ok(())
    }

    /// `onMetaData` may be wrapped in `@setDataFrame`, which a server takes off before it passes it on.
    fn script(&mut self, body: &[u8], now: Ticks) -> Result<(), Error> {
        if body.len() > FLV_SCRIPT_BYTES_MAX {
            return Err(Error::ScriptSize { found: body.len() });
        }
        let mut values = amf::read(body)?.into_iter().peekable();
        values.next_if(|value| value.text() == Some("@setDataFrame"));
        let (Some(name), Some(value)) = (values.next(), values.next()) else { return Ok(()) };
        match name.text() {
            Some("onMetaData") => self.metadata = Metadata::new(value),
            Some(name) => self.events.extend(cue::read(name, &value, now).map(Event::Marker)),
            None => {}
        }
        Ok(())
    }

    /// A format is another if its configuration is: sizes in the sample entry may come of metadata, which may come late.
    fn format(
        &mut self,
        kind: Kind,
        id: u8,
        configuration: Bytes,
        entry: Vec<u8>,
        bit_rate: Option<u32>,
    ) -> Result<(), Error> {
        let count = self.tracks.iter().filter(|track| track.key.is_some()).count() as TrackKey;
        let track = self.track(kind, id)?;
        // Behind the size of the box.
        let codec = 4..8;
        if track.configuration == configuration && track.entry.get(codec.clone()) == entry.get(codec) {
            return Ok(());
        }
        // Copied, so as not to hold on to the message.
        track.configuration = Bytes::copy_from_slice(&configuration);
        track.entry = entry.into();
        // What waits is of the format before.
        let before = track.opened();
        let key = *track.key.get_or_insert(count);
        let format = Format {
            kind,
            timescale: Timescale::MILLIS,
            sample_entry: track.entry.clone(),
            language: "und".into(),
            name: None,
            role: Role::Main,
            bit_rate,
        };
        self.events.extend(before);
        self.events.push_back(Event::Track { track: key, format });
        Ok(())
    }

    fn sample(&mut self, kind: Kind, id: u8, sample: Sample) -> Result<(), Error> {
        self.clock.last = Some(sample.decode_time.0);
        let waiting: usize = self.tracks.iter().filter_map(|track| track.opening.as_ref()).map(Opening::bytes).sum();
        let is_much = waiting + sample.data.len() > FLV_OPENING_BYTES_MAX;
        let track = self.track(kind, id)?;
        let Some(key) = track.key else { return Ok(()) };
        match &mut track.opening {
            None => self.events.push_back(Event::Sample { track: key, sample }),
            Some(opening) => {
                if opening.take(sample) || is_much {
                    let opened = track.opened();
                    self.events.extend(opened);
                }
            }
        }
        Ok(())
    }

    fn track(&mut self, kind: Kind, id: u8) -> Result<&mut Track, Error> {
        let at = match self.tracks.iter().position(|track| (track.kind, track.id) == (kind, id)) {
            Some(at) => at,
            None if self.tracks.len() == FLV_TRACKS_MAX => return Err(Error::Tracks { id }),
            None => {
                let opening = (kind == Kind::Video).then(Opening::default);
                let (configuration, entry) = (Bytes::new(), Bytes::new());
                self.tracks.push(Track { kind, id, key: None, configuration, entry, opening });
                self.tracks.len() - 1
            }
        };
        Ok(&mut self.tracks[at])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::feed::Marker;
    use amf::Value;

    /// What a feed says, in short: formats by their sample entry, samples by track, times and data.
    fn steps(demuxer: &mut Demuxer) -> Vec<String> {
        let short = |event| match event {
            Event::Track { track, format } => {
                let kind = format.sample_entry[4..8].escape_ascii().to_string();
                let rate = format.bit_rate.map(|rate| format!(" {rate}")).unwrap_or_default();
                format!("{track} {kind}{rate}")
            }
            Event::Sample { track, sample } => {
                let Sample { decode_time, composition_offset, is_sync, data, .. } = sample;
                let sync = if is_sync { "*" } else { "" };
                format!("{track} {}{composition_offset:+}{sync} {}", decode_time.0, data.escape_ascii())
            }
            Event::Marker(Marker { time, .. }) => format!("marker {:?}", time.map(|(ticks, _)| ticks.0)),
            Event::Chunk { .. } | Event::End => unreachable!("tags bring single samples, and do not end feeds"),
        };
        std::iter::from_fn(|| demuxer.poll_event()).map(short).collect()
    }

    fn run(tags: &[(TagKind, u32, &[u8])]) -> (Vec<String>, Vec<Error>) {
        let (mut demuxer, mut got, mut errors) = (Demuxer::default(), Vec::new(), Vec::new());
        for (kind, timestamp, body) in tags {
            errors.extend(demuxer.tag(*kind, *timestamp, Bytes::copy_from_slice(body)).err());
            got.extend(steps(&mut demuxer));
        }
        demuxer.finish();
        got.extend(steps(&mut demuxer));
        (got, errors)
    }

    use TagKind::{Audio, Script, Video};

    #[test]
    fn tags_become_steps_of_a_feed() {
        let opus = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
        let metadata = amf::write(&[
            Value::string("@setDataFrame"),
            Value::string("onMetaData"),
            Value::object([("videodatarate", Value::Number(800.0)), ("audiodatarate", Value::Number(96.0))]),
        ]);
        let cue = amf::write(&[
            Value::string("onAdCue"),
            Value::object([("cue", Value::string("SpliceOut")), ("time", Value::Number(2.0))]),
        ]);
        let size = amf::write(&[
            Value::string("onMetaData"),
            Value::object([("width", Value::Number(640.0)), ("height", Value::Number(360.0))]),
        ]);
        type Case<'a> = (&'a str, &'a [(TagKind, u32, &'a [u8])], &'a [&'a str]);
        let cases: [Case<'_>; 17] = [
            (
                "metadata that comes late",
                &[(Video, 0, b"\x17\0\0\0\0\x01record"), (Script, 0, &size), (Video, 0, b"\x17\0\0\0\0\x01record")],
                &["0 avc1"],
            ),
            (
                "H.264 and AAC; configurations repeated, then changed",
                &[
                    (Script, 0, &metadata),
                    (Video, 0, b"\x17\0\0\0\0\x01record"),
                    (Audio, 0, b"\xAF\0\x12\x10"),
                    (Video, 0, b"\x17\x01\0\0\x50key"),
                    (Audio, 0, b"\xAF\x01one"),
                    (Video, 40, b"\x27\x01\xFF\xFF\xD8inter"),
                    (Video, 80, b"\x17\0\0\0\0\x01record"),
                    (Audio, 80, b"\xAF\0\x12\x10"),
                    (Video, 80, b"\x17\0\0\0\0\x01other"),
                    (Video, 80, b"\x17\x01\0\0\0key"),
                    (Video, 90, b"\x17\x02\0\0\0"),
                ],
                &[
                    "0 avc1 800000",
                    "1 mp4a 96000",
                    "1 0+0* one",
                    "0 0+80* key",
                    "0 40-40 inter",
                    "0 avc1 800000",
                    "0 80+0* key",
                ],
            ),
            ("frames before a configuration", &[(Video, 0, b"\x17\x01\0\0\0x"), (Audio, 0, b"\xAF\x01x")], &[]),
            (
                "empty tags",
                &[(Video, 0, b""), (Audio, 0, b""), (Video, 0, b"\x17\0\0\0\0"), (Audio, 0, b"\xAF\0")],
                &[],
            ),
            (
                "HEVC under its old number",
                &[(Video, 0, b"\x1C\0\0\0\0\x01record"), (Video, 9, b"\x1C\x01\0\0\x05x")],
                &["0 hvc1", "0 9+5* x"],
            ),
            (
                "enhanced HEVC",
                &[
                    (Video, 5, b"\x90hvc1\x01record"),
                    (Video, 5, b"\x91hvc1\0\0\x21x"),
                    (Video, 9, b"\xA3hvc1y"),
                    (Video, 9, b"\xA2hvc1"),
                ],
                &["0 hvc1", "0 5+33* x", "0 9+0 y"],
            ),
            (
                "AV1 and VP9 have no composition time",
                &[
                    (Video, 0, b"\x90av01\x81rec"),
                    (Video, 1, b"\x91av01x"),
                    (Video, 2, b"\x90vp09\0\x0A\x80\x01\x01\x01\0\0"),
                    (Video, 3, b"\xA1vp09y"),
                ],
                &["0 av01", "0 1+0* x", "0 vp09", "0 3+0 y"],
            ),
            (
                "enhanced audio",
                &[
                    (Audio, 0, opus),
                    (Audio, 3, b"\x91Opusx"),
                    (Audio, 4, b"\x90mp4a\x12\x10"),
                    (Audio, 4, b"\x91mp4ay"),
                ],
                &["0 Opus", "0 3+0* x", "0 mp4a", "0 4+0* y"],
            ),
            (
                "codecs described by their frames",
                &[
                    (Audio, 0, b"\x2F\xFF\xFB\x90\x64abc"),
                    (Audio, 26, b"\x2F\xFF\xFB\x90\x44abc"),
                    (Audio, 30, b"\x91ac-3\x0B\x77\xE6\xBB\x1E\x40\xEB\xF8"),
                ],
                &[
                    "0 mp4a",
                    "0 0+0* \\xff\\xfb\\x90dabc",
                    "0 26+0* \\xff\\xfb\\x90Dabc",
                    "0 ac-3",
                    "0 30+0* \\x0bw\\xe6\\xbb\\x1e@\\xeb\\xf8",
                ],
            ),
            (
                "several tracks",
                &[
                    (Video, 0, b"\x96\x10avc1\x01\0\0\x02\x01a\0\0\0\x02\x01b"),
                    (Video, 1, b"\x96\x11avc1\0\0\0\x04\0\0\0x\x01\0\0\x04\0\0\x01y"),
                    (Video, 1, b"\x17\x01\0\0\0z"),
                ],
                &["0 avc1", "1 avc1", "1 1+0* x", "0 1+1* y", "1 1+0* z"],
            ),
            (
                "pictures that are decoded before time begins",
                &[
                    (Video, 0, b"\x17\0\0\0\0\x01record"),
                    (Video, 0, b"\x17\x01\0\0\0key"),
                    (Video, 0, b"\x27\x01\0\0\xA0p"),
                    (Video, 0, b"\x27\x01\0\0\x50b"),
                    (Video, 40, b"\x27\x01\0\0\0b"),
                    (Video, 80, b"\x27\x01\0\0\x28b"),
                    (Video, 80, b"\x27\x01\0\0\xC8again"),
                ],
                &["0 avc1", "0 -80+80* key", "0 -40+200 p", "0 0+80 b", "0 40+0 b", "0 80+40 b", "0 80+200 again"],
            ),
            (
                "another configuration while they wait",
                &[
                    (Video, 0, b"\x17\0\0\0\0\x01record"),
                    (Video, 0, b"\x17\x01\0\0\0key"),
                    (Video, 0, b"\x17\0\0\0\0\x01other"),
                    (Video, 0, b"\x17\x01\0\0\x50key"),
                ],
                &["0 avc1", "0 0+0* key", "0 avc1", "0 0+80* key"],
            ),
            (
                "one picture",
                &[
                    (Video, 0, b"\x17\0\0\0\0\x01record"),
                    (Video, 0, b"\x17\x01\0\0\0key"),
                    (Audio, 90, b"\xAF\0\x12\x10"),
                ],
                &["0 avc1", "1 mp4a", "0 0+0* key"],
            ),
            ("a cue", &[(Script, 1000, &cue)], &["marker Some(2000)"]),
            (
                "the clock starts over",
                &[
                    (Audio, u32::MAX - 10, b"\xAF\0\x12\x10"),
                    (Audio, u32::MAX - 10, b"\xAF\x01a"),
                    (Audio, 12, b"\xAF\x01b"),
                    (Audio, 2, b"\xAF\x01c"),
                ],
                &["0 mp4a", "0 4294967285+0* a", "0 4294967308+0* b", "0 4294967298+0* c"],
            ),
            (
                "a clock of 31 bits starts over",
                &[
                    (Audio, 0x7FFF_FFF6, b"\xAF\0\x12\x10"),
                    (Audio, 0x7FFF_FFF6, b"\xAF\x01a"),
                    (Audio, 12, b"\xAF\x01b"),
                    (Audio, 0x7FFF_FFFE, b"\xAF\x01c"),
                    (Audio, 30, b"\xAF\x01d"),
                ],
                &["0 mp4a", "0 2147483638+0* a", "0 2147483660+0* b", "0 2147483646+0* c", "0 2147483678+0* d"],
            ),
            (
                "what is no frame says 0 for a time",
                &[
                    (Audio, 0x7FFF_FFF0, b"\xAF\0\x12\x10"),
                    (Audio, 0x7FFF_FFF0, b"\xAF\x01a"),
                    (Script, 0, &size),
                    (Video, 0, b""),
                    (Audio, 0, b"\xAF\0\x12\x12"),
                    (Audio, 0x8000_0004, b"\xAF\x01b"),
                ],
                &["0 mp4a", "0 2147483632+0* a", "0 mp4a", "0 2147483652+0* b"],
            ),
        ];
        for (name, tags, want) in cases {
            assert_eq!(run(tags), (want.iter().map(|step| (*step).to_owned()).collect(), Vec::new()), "{name}");
        }
    }

    #[test]
    fn little_waits() {
        let mut demuxer = Demuxer::default();
        let picture =
            |id, length| Bytes::from([&[0x96, 1, b'a', b'v', b'c', b'1', id, 0, 0, 0][..], &vec![0; length]].concat());
        let half = FLV_OPENING_BYTES_MAX / 2;
        for (id, length, want) in [(0, half, 0), (1, half, 0), (0, 1, 2), (1, 1, 0), (2, half, 1)] {
            let header = [&[0x96, 0, b'a', b'v', b'c', b'1', id][..], b"\x01record"].concat();
            demuxer.tag(Video, 0, header.into()).unwrap();
            steps(&mut demuxer);
            demuxer.tag(Video, 0, picture(id, length)).unwrap();
            assert_eq!(steps(&mut demuxer).len(), want, "{length} bytes of track {id}");
        }
    }

    #[test]
    fn clocks_go_on_lap_after_lap() {
        for bits in [31, 32] {
            let mut clock = Clock::default();
            // Steps and, between them, another track that is a little behind.
            for time in (0..20 << 30).step_by(49_999) {
                for time in [time, (time - 120).max(0)] {
                    let now = clock.read((time % (1 << bits)) as u32);
                    assert_eq!(now, Ticks(time), "{bits} bits");
                    clock.last = Some(now.0);
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_named_and_passed_over() {
        for (tag, want) in [
            ((Video, 0, &b"\x12x"[..]), "Sorenson H.263 video; expected H.264, HEVC, AV1 or VP9"),
            ((Video, 0, b"\x91vvc1x"), "video vvc1; expected H.264, HEVC, AV1 or VP9"),
            ((Video, 0, b"\x17\x01\0"), "video tag of 1 bytes: cut short"),
            ((Video, 0, b"\x17\x07\0\0\0"), "video tag: AVCPacketType 7; expected a sequence header or NAL units"),
            ((Audio, 0, b"\x8Fx"), "G.711 audio; expected AAC, MP3, Opus, FLAC, AC-3 or E-AC-3"),
            ((Audio, 0, b"\x91spexx"), "audio spex; expected AAC, MP3, Opus, FLAC, AC-3 or E-AC-3"),
            ((Script, 0, b"\x11\x05"), "script data: AMF value at byte 0: marker 0x11; expected one of AMF 0"),
        ] {
            let (got, errors) = run(&[(Audio, 0, b"\xAF\0\x12\x10"), tag, (Audio, 0, b"\xAF\x01on")]);
            assert_eq!(got, ["0 mp4a", "0 0+0* on"]);
            assert_eq!(errors.iter().map(Error::to_string).collect::<Vec<_>>(), [want]);
        }
        let many: Vec<Vec<u8>> =
            (0..=FLV_TRACKS_MAX as u8).map(|id| vec![0x96, 0, b'a', b'v', b'0', b'1', id, 0x81]).collect();
        let tags: Vec<_> = many.iter().map(|body| (Video, 0, &body[..])).collect();
        let (got, errors) = run(&tags);
        assert_eq!((got.len(), errors), (FLV_TRACKS_MAX, vec![Error::Tracks { id: FLV_TRACKS_MAX as u8 }]));
    }

    fn any_tag() -> impl Strategy<Value = (TagKind, u32, Vec<u8>)> {
        let kind = prop_oneof![Just(Audio), Just(Video), Just(Script)];
        let head = prop_oneof![
            Just(&b""[..]),
            Just(&b"\x17\0\0\0\0"[..]),
            Just(&b"\x17\x01\0\0\0"[..]),
            Just(&b"\x27\x01\0\0"[..]),
            Just(&b"\x91avc1"[..]),
            Just(&b"\x97\x02\0\0\0\x01hvc1"[..]),
            Just(&b"\x96\x11avc1"[..]),
            Just(&b"\x95\x20"[..]),
            Just(&b"\x90Opus"[..]),
            Just(&b"\x91ec-3\x0B\x77"[..]),
            Just(&b"\x02\0\x0AonMetaData\x08"[..]),
            Just(&b"\x02\0\x0AonCuePoint\x03\0\x04type\x02\0\x06scte35"[..]),
        ];
        let body =
            (head, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(head, tail)| [head, &tail].concat());
        (kind, prop_oneof![Just(0), 0..200u32, any::<u32>()], body)
    }

    proptest! {
        #[test]
        fn random_tags_never_panic(tags in proptest::collection::vec(any_tag(), 0..20)) {
            let tags: Vec<_> = tags.iter().map(|(kind, timestamp, body)| (*kind, *timestamp, &body[..])).collect();
            run(&tags);
        }
    }
}
