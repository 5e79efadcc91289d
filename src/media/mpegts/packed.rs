//! Packed audio (RFC 8216 §3.4): a segment of an HLS audio rendition without a container. An ID3 tag says when its first
//! sample is presented.

use crate::base::limits;
use crate::media::codec::audio_frame::Framed;
use crate::media::feed::Event;

use super::audio::{Audio, Framing};
use super::clock::Clock;
use super::sink::{Notices, Sink, TrackFacts};
use super::stamps::Stamp;
use super::{Error, Notice};

/// Owner of the PRIV frame with 33 bits of MPEG-2 program clock in eight bytes.
pub const OWNER: &str = "com.apple.streaming.transportStreamTimestamp";

const TAG_HEADER: usize = 10;

/// Takes segments of packed audio apart.
#[derive(Debug)]
pub struct PackedAudio {
    /// The beginning of a segment, until its tags are read.
    head: Vec<u8>,
    is_begun: bool,
    stamp: Option<u64>,
    clock: Clock,
    audio: Option<(Framed, Audio)>,
    notices: Notices,
    track: TrackFacts,
}

impl Default for PackedAudio {
    fn default() -> PackedAudio {
        PackedAudio {
            head: Vec::new(),
            is_begun: false,
            stamp: None,
            clock: Clock::default(),
            audio: None,
            notices: Notices::default(),
            track: TrackFacts::packed(),
        }
    }
}

impl PackedAudio {
    /// Whether a segment that begins so may be one: with an ID3 tag.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        bytes.starts_with(b"ID3")
    }

    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        let PackedAudio { audio, notices, track, .. } = self;
        if let (true, Some((_, audio))) = (self.is_begun, audio.as_mut()) {
            audio.push(bytes, &mut Sink { events, notices, track });
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        while self.head.starts_with(&b"ID3"[..self.head.len().min(3)]) {
            let Some(size) = tag_size(&self.head) else { return Ok(()) };
            if size > limits::TS_METADATA_BYTES_MAX {
                return Err(Error::LongTag { found: size });
            }
            let Some(tag) = self.head.get(..size) else { return Ok(()) };
            self.stamp = timestamp(tag).or(self.stamp);
            self.head.drain(..size);
        }
        self.begin(events)
    }

    /// The segment ends here; another may follow.
    pub fn flush(&mut self, events: &mut Vec<Event>) {
        let PackedAudio { audio, notices, track, .. } = self;
        if let (true, Some((_, audio))) = (self.is_begun, audio.as_mut()) {
            audio.flush(&mut Sink { events, notices, track });
        }
        self.restart();
    }

    /// Behind a flush: what comes next counts from anywhere.
    pub fn restart_clock(&mut self) {
        self.clock = Clock::default();
    }

    /// The bytes end in the middle: what is in progress is given up.
    pub fn lose(&mut self) {
        if let Some((_, audio)) = &mut self.audio {
            audio.lose();
        }
        self.restart();
    }

    pub fn notices(&mut self) -> Vec<Notice> {
        self.notices.take()
    }

    fn restart(&mut self) {
        self.head.clear();
        (self.is_begun, self.stamp) = (false, None);
    }

    fn begin(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let Some(&[first, second]) = self.head.first_chunk::<2>() else { return Ok(()) };
        let hex = || format!("{first:02x}{second:02x}");
        let Some(stamp) = self.stamp else { return Err(Error::NoTimestamp { found: format!("0x{}", hex()) }) };
        let framed = match (first, second) {
            (0x0B, 0x77) => Framed::Dolby,
            // ADTS has layer 0, which MPEG audio has not.
            (0xFF, second) if second & 0xF6 == 0xF0 => Framed::Adts,
            (0xFF, second) if second & 0xE0 == 0xE0 => Framed::Mpeg,
            _ => return Err(Error::NoAudio { found: hex() }),
        };
        let PackedAudio { audio, notices, track, clock, head, .. } = self;
        let is_same = audio.as_ref().is_some_and(|(before, _)| *before == framed);
        if !is_same {
            *audio = None;
        }
        let (_, audio) = audio.get_or_insert_with(|| (framed, Audio::new(Framing::Own(framed))));
        audio.begin(Stamp { times: Some(clock.times(stamp, stamp)), random_access: true });
        audio.push(head, &mut Sink { events, notices, track });
        head.clear();
        self.is_begun = true;
        Ok(())
    }
}

/// Of an ID3v2 tag, header and footer included (id3.org, ID3v2.4 §3.1), once its header is there.
fn tag_size(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<TAG_HEADER>()?;
    let footer = if header[5] & 0x10 != 0 { TAG_HEADER } else { 0 };
    Some(TAG_HEADER + syncsafe(&header[6..]) + footer)
}

/// Seven bits a byte.
fn syncsafe(bytes: &[u8]) -> usize {
    bytes.iter().take(4).fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7F))
}

/// What the tag's PRIV frame says.
fn timestamp(tag: &[u8]) -> Option<u64> {
    let mut rest = tag.get(TAG_HEADER..)?;
    while let Some((header, tail)) = rest.split_first_chunk::<TAG_HEADER>() {
        // Padding.
        if header[0] == 0 {
            return None;
        }
        // ID3v2.3 has all eight bits of the size; frames are too short for the difference to show.
        let (body, tail) = tail.split_at_checked(syncsafe(&header[4..]))?;
        rest = tail;
        if let (b"PRIV", Some(stamp)) = (&header[..4], body.strip_prefix(OWNER.as_bytes())) {
            let (zero, stamp) = stamp.split_first()?;
            return stamp.first_chunk().filter(|_| *zero == 0).map(|stamp| u64::from_be_bytes(*stamp) & 0x1_FFFF_FFFF);
        }
    }
    None
}
