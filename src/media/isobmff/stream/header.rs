//! The header of a stream: which tracks there are, and how their fragments are to be read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Ticks, Timescale};
use crate::media::codec;
use crate::media::feed::{Event, Format, TrackKey};
use crate::media::track::Kind;

use super::super::boxes::{Boxes, FourCc, Path};
use super::super::error::{self, Problem};
use super::super::moof::Defaults;
use super::super::{Handler, Movie, SourceTrack, TrackRole};
use super::At;
use super::clock::Clock;
use super::fragment::Planned;

#[derive(Debug)]
pub struct Header {
    /// In the order of the header.
    pub tracks: Vec<Track>,
    /// `trex` of all of them.
    pub defaults: Arc<[Defaults]>,
}

#[derive(Debug)]
pub struct Track {
    pub id: u32,
    pub content: Content,
    pub timescale: Timescale,
    /// What the edit list adds to every time of the track (ISO/IEC 14496-12 §8.6.6), so that they are presentation times.
    pub shift: i64,
    /// The sample description that all samples must have, `None` if there is only one.
    pub description: Option<u32>,
    pub clock: Clock,
}

/// What the samples of a track become.
#[derive(Debug, PartialEq)]
pub enum Content {
    Media {
        key: TrackKey,
        format: Box<Format>,
    },
    /// Messages of one scheme (`urim`, ISO/IEC 14496-12 §12.3.3).
    Uri {
        scheme: String,
    },
    /// Event message instances (`evte`, ISO/IEC 23001-18).
    Events,
    /// Timecode and the like: nothing.
    Other,
}

impl Header {
    /// Reads a `moov`. Tracks that are new or differ from those of `last` are announced; the clocks of those that are the
    /// same go on.
    pub fn read(
        name: &str,
        file_type: &[u8],
        moov: &[u8],
        last: Option<&Header>,
        events: &mut VecDeque<Event>,
    ) -> Result<Header, error::Error> {
        let bytes = [file_type, moov].concat();
        let movie = Movie::parse(name, &bytes)?;
        let path = Path::default().enter(FourCc(*b"moov"), 0);
        if !movie.is_fragmented() {
            return Err(error::Error::new(path, None, Problem::Missing { name: "mvex" }));
        }
        let mut tracks = Vec::with_capacity(movie.tracks().len());
        let mut key = 0;
        for source in movie.tracks() {
            let content = Content::of(source, &mut key);
            let before = last.iter().flat_map(|last| &last.tracks).find(|track| track.id == source.id);
            let same = before.is_some_and(|before| before.content == content);
            if let (false, Content::Media { key, format }) = (same, &content) {
                events.push_back(Event::Track { track: *key, format: (**format).clone() });
            }
            tracks.push(Track {
                id: source.id,
                content,
                timescale: source.timescale,
                shift: source.edit.start_delay(source.timescale).saturating_sub(source.edit.media_start),
                description: source.description,
                clock: before
                    .filter(|before| before.timescale == source.timescale)
                    .map(|before| before.clock.clone())
                    .unwrap_or_default(),
            });
        }
        if key == 0 && tracks.iter().all(|track| track.content == Content::Other) {
            let problem = Problem::Unexpected {
                found: "no video, audio, text or events".into(),
                expected: "a track of one of them".into(),
            };
            return Err(error::Error::new(path, None, problem));
        }
        Ok(Header { tracks, defaults: movie.defaults.clone() })
    }

    pub fn formats(&self) -> impl Iterator<Item = &Format> {
        self.tracks.iter().filter_map(|track| match &track.content {
            Content::Media { format, .. } => Some(&**format),
            _ => None,
        })
    }

    /// Tells how much comes at once. A `moof` states the sizes of its samples, so all of them were made before it was sent.
    pub fn measure(&self, samples: &VecDeque<Planned>, events: &mut VecDeque<Event>) {
        for (index, track) in self.tracks.iter().enumerate() {
            let Content::Media { key, .. } = track.content else { continue };
            let durations = samples.iter().filter(|sample| sample.track == index).map(|sample| sample.duration);
            let ticks = durations.map(|duration| i64::from(duration.unwrap_or(0))).sum();
            let duration = track.timescale.duration(Ticks(ticks));
            if !duration.is_zero() {
                events.push_back(Event::Chunk { track: key, duration: Some(duration) });
            }
        }
    }

    /// The earliest presentation time among samples, in the scale of the first track that has any.
    pub fn earliest(&self, samples: &VecDeque<Planned>) -> Option<At> {
        let first = samples.front()?.track;
        let times = samples.iter().filter(|sample| sample.track == first);
        let earliest = times.map(|sample| sample.decode_time.saturating_add(sample.composition_offset.into())).min()?;
        Some((Ticks(earliest), self.tracks.get(first)?.timescale))
    }
}

impl Content {
    fn of(track: &SourceTrack<'_>, key: &mut TrackKey) -> Content {
        let kind = match track.handler {
            Handler::Video => Kind::Video,
            Handler::Audio => Kind::Audio,
            Handler::Subtitle => Kind::Text,
            Handler::Other(_) => return Content::of_metadata(track),
        };
        let format = Format {
            kind,
            timescale: track.timescale,
            sample_entry: Bytes::copy_from_slice(track.sample_entry.bytes),
            language: track.language.clone(),
            name: track.name.clone(),
            role: track.roles.iter().find_map(TrackRole::role).unwrap_or_default(),
            bit_rate: codec::stated_bit_rate(track.sample_entry.bytes, kind),
        };
        *key += 1;
        Content::Media { key: *key - 1, format: Box::new(format) }
    }

    fn of_metadata(track: &SourceTrack<'_>) -> Content {
        match &track.sample_entry.fourcc {
            b"evte" => Content::Events,
            b"urim" => {
                // reserved and data_reference_index, then `uri `: a full box with one text.
                let boxes = track.sample_entry.bytes.get(16..).unwrap_or_default();
                let cursor = crate::base::cursor::Cursor::new(boxes, 0);
                let uri = Boxes::inside(cursor, Path::default())
                    .map_while(Result::ok)
                    .find(|child| child.name == FourCc(*b"uri "))
                    .and_then(|uri| {
                        let text = uri.full().ok()?.2.rest().split(|&byte| byte == 0).next()?;
                        String::from_utf8(text.to_vec()).ok()
                    });
                uri.map_or(Content::Other, |scheme| Content::Uri { scheme })
            }
            _ => Content::Other,
        }
    }
}
