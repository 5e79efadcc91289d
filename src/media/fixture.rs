//! Presentations made up for tests and benches: real tables over files that hold zeros (or, for text, real cues).

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Stored, Ticks, Timescale};

use super::codec::make;
use super::fragment::{Cue, Fragment, Sample, Start};
use super::isobmff::{Matrix, write};
use super::presentation::{Presentation, TrackView, group};
use super::thumbnails::{Grid, Sheet, Thumbnails};
use super::track::{Audio, Details, Kind, Role, Track, Video, VideoRange};
use super::webvtt;

/// A `splice_info_section` with that `splice_insert()`, without descriptors (ANSI/SCTE 35 §9.6, §9.7.3).
pub fn splice_insert(body: &[u8]) -> Bytes {
    let mut section = vec![0xFC, 0x30, (17 + body.len()) as u8, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xF0];
    section.extend([body.len() as u8, 5]);
    section.extend(body);
    section.extend([0; 6]);
    section.into()
}

/// Owns what a [`Presentation`] borrows. Add tracks in the order that the presentation wants: video, audio, text.
pub struct Fixture {
    pub version: String,
    pub tracks: Vec<OwnedTrack>,
    pub cuts: Vec<u32>,
    /// Of the longest track, unless set.
    pub duration: Option<Duration>,
    pub thumbnails: Option<OwnedThumbnails>,
}

pub struct OwnedThumbnails {
    pub grid: Grid,
    pub sheets: Vec<Sheet>,
    pub file: Arc<dyn Stored>,
}

pub struct OwnedTrack {
    pub track: Track,
    pub file: Arc<dyn Stored>,
    pub init_size: u64,
    pub fragments: Vec<Fragment>,
    pub samples: Vec<Sample>,
    pub cues: Vec<Cue>,
}

/// Bytes of every made-up initialisation segment.
pub const INIT_SIZE: u64 = 700;

impl Default for Fixture {
    fn default() -> Fixture {
        Fixture {
            version: "0123456789abcdef".to_owned(),
            tracks: Vec::new(),
            cuts: vec![0],
            duration: None,
            thumbnails: None,
        }
    }
}

impl Fixture {
    /// A film of `seconds`, key frames every 2.002 s: three H.264 renditions, English (AAC, with priming) and German audio,
    /// English subtitles. Segments of about 4 s.
    pub fn film(seconds: u32) -> Fixture {
        Fixture::film_of(seconds, Duration::from_secs(4))
    }

    pub fn film_of(seconds: u32, segment: Duration) -> Fixture {
        let gop = 60_060_u64;
        let gops = (u64::from(seconds) * 30_000).div_ceil(gop).max(1);
        let mut fixture = Fixture::default();
        for (id, codec, width, height, size) in [
            ("v1", "avc1.640028", 1920, 1080, 1_200_000),
            ("v2", "avc1.64001f", 1280, 720, 600_000),
            ("v3", "avc1.64001e", 640, 360, 180_000),
        ] {
            let fragments = (0..gops).map(|at| row(at as u32, at * gop, gop, varied(at, size))).collect();
            fixture = fixture.with_track(video(id, codec, width, height), fragments);
        }
        for (id, language) in [("a1", "en"), ("a2", "de")] {
            let priming = 1_024;
            // The first frame that is presented at or after the key frame.
            let frame = |at: u64| if at == 0 { 0 } else { (at * gop * 48_000 / 30_000 + priming).div_ceil(1_024) };
            let fragments = (0..gops).map(|at| {
                let (first, end) = (frame(at) * 1_024, frame(at + 1) * 1_024);
                row(at as u32, first, end - first, varied(at, 32_000))
            });
            let mut track = audio(id, "mp4a.40.2", language, 2);
            track.presentation_offset = Ticks(-(priming as i64));
            fixture = fixture.with_track(track, fragments.collect());
        }
        fixture =
            fixture.with_text("t1", "en", &[(500, 2_500, "One"), (3_500, 4_500, "Two"), (9_000, 10_000, "Three")]);
        fixture.with_segment(segment)
    }

    pub fn with_track(mut self, track: Track, mut fragments: Vec<Fragment>) -> Fixture {
        let mut offset = INIT_SIZE;
        let mut samples = Vec::with_capacity(fragments.len());
        for (at, fragment) in fragments.iter_mut().enumerate() {
            // One sample each, as rows are made.
            fragment.first_sample = (at as u32).into();
            samples.push(Sample {
                size: fragment.size.get().saturating_sub(fragment.media_offset.get()).into(),
                duration: (fragment.duration.get() as u32).into(),
                composition_offset: 0.into(),
                flags: 0x0200_0000.into(),
            });
            fragment.offset = offset.into();
            offset += u64::from(fragment.size.get());
        }
        let file = Memory::stored(&track.id, offset, header(&track));
        self.tracks.push(OwnedTrack { track, file, init_size: INIT_SIZE, fragments, samples, cues: Vec::new() });
        self
    }

    /// A track with a real initialisation segment and media bytes: a fragment for each list of samples, in slots of the same
    /// numbers, which are all as long as the first that is not empty. `media_start` as in its edit list.
    pub fn with_media(
        mut self,
        track: Track,
        sample_entry: &[u8],
        media_start: u64,
        fragments: &[Vec<(Sample, Vec<u8>)>],
    ) -> Fixture {
        let mut bytes = write::header(&write::Header {
            media_start,
            width: 16,
            height: 16,
            ..write::Header::new(track.kind(), track.timescale, sample_entry, &track.language)
        });
        let init_size = bytes.len() as u64;
        let (mut rows, mut samples) = (Vec::new(), Vec::new());
        let length = |fragment: &Vec<(Sample, Vec<u8>)>| -> u64 {
            fragment.iter().map(|(sample, _)| u64::from(sample.duration.get())).sum()
        };
        let slot_length = fragments.iter().map(length).find(|&length| length > 0).unwrap_or(0);
        for (slot, fragment) in fragments.iter().enumerate().filter(|(_, fragment)| !fragment.is_empty()) {
            let size: usize = fragment.iter().map(|(_, data)| data.len()).sum();
            rows.push(Fragment {
                offset: (bytes.len() as u64).into(),
                media_offset: 0.into(),
                key_frame_size: (fragment[0].1.len() as u32).into(),
                first_sample: (samples.len() as u32).into(),
                sample_count: (fragment.len() as u32).into(),
                ..row(slot as u32, slot as u64 * slot_length, length(fragment), size as u32)
            });
            for (sample, data) in fragment {
                samples.push(Sample { size: (data.len() as u32).into(), ..*sample });
                bytes.extend_from_slice(data);
            }
        }
        let file = Memory::stored(&track.id, bytes.len() as u64, Some(bytes));
        self.tracks.push(OwnedTrack { track, file, init_size, fragments: rows, samples, cues: Vec::new() });
        self
    }

    /// H.264, 1280×720, timescale 90 000.
    pub fn with_video(self, id: &str, fragments: Vec<Fragment>) -> Fixture {
        let mut track = video(id, "avc1.64001f", 1280, 720);
        track.timescale = Timescale::MPEG;
        self.with_track(track, fragments)
    }

    /// Cues as start and end in milliseconds and text, by start.
    pub fn with_text(mut self, id: &str, language: &str, cues: &[(u64, u64, &str)]) -> Fixture {
        let mut text = String::from("WEBVTT\n\nSTYLE\n::cue { color: white }\n\n");
        for &(start, end, words) in cues {
            text.push_str(&format!("{} --> {}\n{words}\n\n", clock(start), clock(end)));
        }
        let normal = webvtt::normalise(id, text.as_bytes()).expect("written here");
        let track = Track {
            id: id.to_owned(),
            timescale: Timescale::MILLIS,
            codec: "wvtt".to_owned(),
            language: language.to_owned(),
            name: None,
            role: Role::Main,
            presentation_offset: Ticks(0),
            details: Details::Text,
        };
        let file = Memory::stored(id, normal.text.len() as u64, Some(normal.text));
        self.tracks.push(OwnedTrack {
            track,
            file,
            init_size: 0,
            fragments: Vec::new(),
            samples: Vec::new(),
            cues: normal.cues,
        });
        self
    }

    /// Sheets of 3 × 6 thumbnails of 320 × 180 for as long as the presentation lasts now.
    pub fn with_thumbnails(mut self, interval: Duration) -> Fixture {
        let count = self.presentation().duration.as_millis().div_ceil(interval.as_millis().max(1)) as u32;
        let grid = Grid { width: 320, height: 180, columns: 3, rows: 6, interval, count };
        let mut offset = 0_u64;
        let sheet = |number: u32| {
            let size = varied(u64::from(number), 120_000);
            let sheet = Sheet { offset: offset.into(), size: size.into(), reserved: 0.into() };
            offset += u64::from(size);
            sheet
        };
        let sheets = (0..grid.sheets()).map(sheet).collect();
        self.thumbnails = Some(OwnedThumbnails { grid, sheets, file: Memory::stored("i1", offset, None) });
        self
    }

    pub fn with_cuts(mut self, cuts: Vec<u32>) -> Fixture {
        self.cuts = cuts;
        self
    }

    /// Cuts of about that length, from the reference track. After all tracks were added.
    pub fn with_segment(mut self, segment: Duration) -> Fixture {
        let presentation = self.presentation();
        let cuts = presentation.reference().map(|view| group(view.fragments, view.track.timescale, segment));
        self.cuts = cuts.unwrap_or_else(|| vec![0]);
        self
    }

    pub fn presentation(&self) -> Presentation<'_> {
        let view = |owned| view(owned, &self.cuts);
        let ends = self.tracks.iter().filter_map(|owned| {
            let end = owned.fragments.last()?.decode_end().0 + owned.track.presentation_offset.0;
            Some(owned.track.timescale.duration(Ticks(end)))
        });
        let duration = self.duration.or_else(|| ends.max()).unwrap_or_default();
        Presentation {
            version: &self.version,
            tracks: self.tracks.iter().map(view).collect(),
            cuts: &self.cuts,
            duration,
            thumbnails: self.thumbnails.as_ref().map(|owned| Thumbnails {
                id: "i1",
                grid: owned.grid,
                sheets: &owned.sheets,
                file: &owned.file,
                cut_off: 0,
            }),
        }
    }
}

impl fmt::Debug for Fixture {
    /// The tables, as slot: time + duration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cuts {:?}", self.cuts)?;
        for owned in &self.tracks {
            let (track, scale) = (&owned.track, owned.track.timescale.per_second());
            write!(f, "{} at {scale} from {}:", track.id, track.presentation_offset.0)?;
            for row in &owned.fragments {
                write!(f, " {}: {} + {}", row.slot, row.decode_time().0, row.duration().0)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn view<'a>(owned: &'a OwnedTrack, cuts: &'a [u32]) -> TrackView<'a> {
    TrackView {
        track: &owned.track,
        files: std::slice::from_ref(&owned.file),
        time_offset: Ticks(0),
        reorder: Ticks(0),
        cut_off: Ticks(0),
        init_size: owned.init_size,
        fragments: &owned.fragments,
        samples: &owned.samples,
        cues: &owned.cues,
        cuts,
    }
}

/// The initialisation segment of the commonest codecs, filled up to [`INIT_SIZE`]; others have none to read.
fn header(track: &Track) -> Option<Vec<u8>> {
    const AVC: [u8; 16] = [1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 0x64, 0, 1, 0, 2, 0x68, 0xEE];
    let (sample_entry, (width, height)) = match (&track.details, track.codec.split('.').next()) {
        (Details::Video(video), Some("avc1")) => {
            let size = (video.width as u16, video.height as u16);
            (make::avc_entry(&AVC, size.0, size.1), (video.width, video.height))
        }
        (Details::Audio(audio), Some("mp4a")) => (make::aac_entry(&[0x11, 0x90], audio.channels), (0, 0)),
        _ => return None,
    };
    let mut bytes = write::header(&write::Header {
        timescale: track.timescale,
        sample_entry: &sample_entry,
        kind: track.kind(),
        language: &track.language,
        name: None,
        media_start: track.presentation_offset.0.unsigned_abs(),
        width,
        height,
        matrix: Matrix::default(),
        default_duration: 1,
        fragment_duration_hint: None,
    });
    let rest = INIT_SIZE - bytes.len() as u64;
    bytes.extend_from_slice(&(rest as u32).to_be_bytes());
    bytes.extend_from_slice(b"free");
    bytes.resize(INIT_SIZE as usize, 0);
    Some(bytes)
}

/// A closed fragment; its offset is set when it is added to a fixture.
pub fn row(slot: u32, decode_time: u64, duration: u64, size: u32) -> Fragment {
    Fragment {
        offset: 0.into(),
        decode_time: decode_time.into(),
        duration: duration.into(),
        size: size.into(),
        media_offset: (size / 10).into(),
        key_frame_size: (size / 5).into(),
        first_sample: 0.into(),
        sample_count: 1.into(),
        slot: slot.into(),
        start: (Start::Closed as u32).into(),
        file: 0.into(),
    }
}

/// SDR, 29.97 frames a second, timescale 30 000.
pub fn video(id: &str, codec: &str, width: u32, height: u32) -> Track {
    Track {
        id: id.to_owned(),
        timescale: Timescale::new(30_000).expect("not zero"),
        codec: codec.to_owned(),
        language: "und".to_owned(),
        name: None,
        role: Role::Main,
        presentation_offset: Ticks(0),
        details: Details::Video(Video {
            width,
            height,
            pixel_aspect: (1, 1),
            frame_rate: (30_000, 1_001),
            range: VideoRange::Sdr,
            bit_depth: 8,
            colour: (1, 1, 1),
            supplemental_codec: None,
            captions: Vec::new(),
        }),
    }
}

/// 48 kHz, timescale 48 000.
pub fn audio(id: &str, codec: &str, language: &str, channels: u16) -> Track {
    Track {
        id: id.to_owned(),
        timescale: Timescale::new(48_000).expect("not zero"),
        codec: codec.to_owned(),
        language: language.to_owned(),
        name: None,
        role: Role::Main,
        presentation_offset: Ticks(0),
        details: Details::Audio(Audio {
            sample_rate: 48_000,
            channels,
            channel_configuration: channels.min(6) as u8,
            dolby_channels: None,
            joint_objects: None,
        }),
    }
}

impl OwnedTrack {
    pub fn kind(&self) -> Kind {
        self.track.kind()
    }
}

/// Sizes that differ, and are the same in every run.
fn varied(at: u64, size: u32) -> u32 {
    let hash = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    size - size / 4 + (hash % u64::from(size / 2)) as u32
}

fn clock(millis: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60, millis % 1_000)
}

/// A stored file of which only text, and headers, have bytes.
struct Memory {
    name: String,
    len: u64,
    bytes: Option<Vec<u8>>,
    null: File,
}

impl Memory {
    fn stored(name: &str, len: u64, bytes: Option<Vec<u8>>) -> Arc<dyn Stored> {
        let null = File::open("/dev/null").expect("every Linux has it");
        Arc::new(Memory { name: name.to_owned(), len, bytes, null })
    }
}

/// A stored file of these bytes.
pub fn memory(bytes: Vec<u8>) -> Arc<dyn Stored> {
    Memory::stored("memory", bytes.len() as u64, Some(bytes))
}

impl Stored for Memory {
    fn fd(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn mapped(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    fn name(&self) -> &str {
        &self.name
    }
}
