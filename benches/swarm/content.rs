//! What the swarm was sent, byte by byte: everybody's copy of a URL is the same, and its media is what the encoder sent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use headwater::media::feed::Event;
use headwater::media::isobmff::stream::Demuxer;

use super::encoder::{self, Log, PART_FRAMES, SEGMENT_FRAMES, Stream};
use super::playlist::{Playlist, Position, Published};

/// What is behind one URL of a rendition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    Header(String),
    Part(Position),
    Segment(u64),
}

/// The bytes of one URL, as far as the viewer that is ahead of all others has them.
#[derive(Default)]
pub struct Body {
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Body {
    /// Takes what came at a place of somebody's copy.
    pub fn take(&mut self, at: usize, data: &[u8]) -> Result<()> {
        let known = self.bytes.get(at..).context("a copy with a hole")?;
        let (same, more) = data.split_at(known.len().min(data.len()));
        ensure!(known.starts_with(same), "differs from what others got, within {} bytes from {at}", data.len());
        ensure!(more.is_empty() || !self.is_whole, "longer than the {} bytes that others got", self.bytes.len());
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}

/// One rendition of one channel, as its viewers see it.
pub struct Rendition {
    /// `/live/{channel}/`
    pub base: String,
    streams: Vec<Stream>,
    log: Arc<Log>,
    /// Which of the streams it is; its bytes tell.
    stream: Option<usize>,
    pub published: Published,
    /// The newest texts of its playlist, all of them checked.
    texts: Vec<(Vec<u8>, Rc<Playlist>)>,
    bodies: BTreeMap<Name, Rc<RefCell<Body>>>,
    /// Of verified parts.
    frames: BTreeMap<Position, Range<u64>>,
    pub verified: Verified,
}

/// How much of what there was was looked at: each thing once, however many viewers had it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verified {
    pub playlists: u64,
    pub parts: u64,
    pub segments: u64,
    /// Segments that were compared with their parts.
    pub joined: u64,
    pub frames: u64,
}

impl Rendition {
    /// Of a channel whose encoder sends these streams.
    pub fn new(channel: &str, streams: &[Stream], log: &Arc<Log>) -> Rendition {
        Rendition {
            base: format!("/live/{channel}/"),
            streams: streams.to_vec(),
            log: log.clone(),
            stream: None,
            published: Published::default(),
            texts: Vec::new(),
            bodies: BTreeMap::new(),
            frames: BTreeMap::new(),
            verified: Verified::default(),
        }
    }

    /// Reads and checks a playlist's text, if it is not one of the last ones.
    pub fn playlist(&mut self, text: &[u8]) -> Result<Rc<Playlist>> {
        if let Some((_, playlist)) = self.texts.iter().rev().find(|(known, _)| known == text) {
            return Ok(playlist.clone());
        }
        let shown = std::str::from_utf8(text)?;
        let playlist = Rc::new(Playlist::parse(shown).with_context(|| shown.to_owned())?);
        // What was sent earlier may arrive later at another viewer.
        if self.published.newest().is_none_or(|newest| playlist.next() >= newest.next()) {
            self.published.take(&playlist).with_context(|| shown.to_owned())?;
        }
        if self.texts.len() == TEXTS_KEPT {
            self.texts.remove(0);
        }
        self.texts.push((text.to_vec(), playlist.clone()));
        self.verified.playlists += 1;
        let (newest, _) = playlist.next();
        let is_kept = |name: &Name| match name {
            Name::Header(_) => true,
            Name::Part((number, _)) | Name::Segment(number) => number + SEGMENTS_KEPT >= newest,
        };
        self.bodies.retain(|name, _| is_kept(name));
        self.frames.retain(|(number, _), _| number + SEGMENTS_KEPT >= newest);
        Ok(playlist)
    }

    pub fn body(&mut self, name: &Name) -> Rc<RefCell<Body>> {
        self.bodies.entry(name.clone()).or_default().clone()
    }

    /// When the encoder had sent the last byte of a part.
    pub fn sent(&self, (number, part): Position) -> Option<Instant> {
        self.log.sent(self.stream?, number * SEGMENT_FRAMES + (part + 1) * PART_FRAMES - 1)
    }

    /// When the encoder had sent the last byte of a segment.
    pub fn sent_segment(&self, number: u64) -> Option<Instant> {
        self.log.sent(self.stream?, (number + 1) * SEGMENT_FRAMES - 1)
    }

    /// A copy of `len` bytes is whole. The first one is looked into.
    pub fn finish(&mut self, name: &Name, body: &RefCell<Body>, len: usize) -> Result<()> {
        let mut body = body.borrow_mut();
        ensure!(len == body.bytes.len(), "ended after {len} bytes, others got {}", body.bytes.len());
        if std::mem::replace(&mut body.is_whole, true) {
            return Ok(());
        }
        match name {
            Name::Header(_) => return Ok(()),
            Name::Part(position) => self.part(*position, &body.bytes)?,
            Name::Segment(number) => self.segment(*number, &body.bytes)?,
        }
        drop(body);
        match name {
            Name::Header(_) => Ok(()),
            Name::Part((number, _)) | Name::Segment(number) => self.join(*number),
        }
    }

    fn part(&mut self, position: Position, bytes: &[u8]) -> Result<()> {
        let frames = self.media(bytes)?;
        let (number, part) = position;
        let first = number * SEGMENT_FRAMES + part * PART_FRAMES;
        let expected = first..first + PART_FRAMES;
        ensure!(frames == expected, "part {position:?} is of frames {frames:?}, expected {expected:?}");
        let lasts = (frames.end - frames.start) as f64 / encoder::FRAMES_PER_SECOND as f64;
        if let Some(listed) = self.published.duration(position) {
            ensure!((listed - lasts).abs() < 0.001, "part {position:?} is listed with {listed} s and lasts {lasts} s");
        }
        self.frames.insert(position, frames);
        self.verified.parts += 1;
        Ok(())
    }

    fn segment(&mut self, number: u64, bytes: &[u8]) -> Result<()> {
        let frames = self.media(bytes)?;
        let first = number * SEGMENT_FRAMES;
        let expected = first..first + SEGMENT_FRAMES;
        ensure!(frames == expected, "segment {number} is of frames {frames:?}, expected {expected:?}");
        self.verified.segments += 1;
        Ok(())
    }

    /// A segment is its parts, one after the other: compared once, when the last of them all has come.
    fn join(&mut self, number: u64) -> Result<()> {
        let whole = |name: Name| self.bodies.get(&name).filter(|body| body.borrow().is_whole);
        let Some(segment) = whole(Name::Segment(number)) else { return Ok(()) };
        let parts: Option<Vec<_>> =
            (0..SEGMENT_FRAMES / PART_FRAMES).map(|part| whole(Name::Part((number, part)))).collect();
        let Some(parts) = parts else { return Ok(()) };
        let segment = segment.borrow();
        let mut rest = &segment.bytes[..];
        for part in parts {
            rest = rest
                .strip_prefix(&part.borrow().bytes[..])
                .with_context(|| format!("segment {number} is not its parts"))?;
        }
        ensure!(rest.is_empty(), "segment {number} is {} bytes longer than its parts", rest.len());
        self.verified.joined += 1;
        Ok(())
    }

    /// Takes chunks apart and compares each frame with what the encoder sent.
    fn media(&mut self, bytes: &[u8]) -> Result<Range<u64>> {
        let header = self.bodies.iter().rev().find_map(|(name, body)| matches!(name, Name::Header(_)).then_some(body));
        let header = header.context("media without a header")?.borrow();
        ensure!(header.is_whole, "media before the header was whole");
        let mut demuxer = Demuxer::new("what was delivered");
        demuxer.handle(Bytes::copy_from_slice(&header.bytes))?;
        demuxer.handle(Bytes::copy_from_slice(bytes))?;
        demuxer.finish()?;
        let (mut frames, mut timescale) = (None::<Range<u64>>, None);
        while let Some(event) = demuxer.poll() {
            match event {
                Event::Track { format, .. } => timescale = Some(format.timescale),
                Event::Sample { sample, .. } => {
                    let time = sample.decode_time;
                    let frame = encoder::frame_at(time.0, timescale.context("a sample before its track")?);
                    let frame = frame.with_context(|| format!("{} is no frame's time", time.0))?;
                    let stream = match self.stream {
                        Some(stream) => stream,
                        None => *self.stream.insert(find(&self.streams, frame, &sample.data)?),
                    };
                    ensure!(self.streams[stream].is_frame(frame, &sample.data), "frame {frame} has other bytes");
                    ensure!(sample.is_sync == encoder::is_key(frame), "frame {frame}: sync is {}", sample.is_sync);
                    ensure!(sample.composition_offset == 0, "frame {frame} is presented later");
                    let first = frames.as_ref().map_or(frame, |frames| frames.start);
                    let end = frames.map_or(frame, |frames| frames.end);
                    ensure!(frame == end, "frame {frame} follows frame {end} without it");
                    frames = Some(first..frame + 1);
                    self.verified.frames += 1;
                }
                Event::Chunk { .. } => {}
                other => bail!("{other:?} was never sent"),
            }
        }
        frames.context("media without samples")
    }
}

fn find(streams: &[Stream], frame: u64, data: &[u8]) -> Result<usize> {
    let found = streams.iter().position(|stream| stream.is_frame(frame, data));
    found.with_context(|| format!("frame {frame} is of no stream of this encoder"))
}

/// Of the encoder by itself: that its bytes are what it says they are.
pub fn check_encoder(stream: &Stream) -> Result<()> {
    let mut demuxer = Demuxer::new("the encoder");
    let mut bytes = stream.header()?;
    let first = 1_000_000_000 * SEGMENT_FRAMES;
    stream.chunk(first, &mut bytes)?;
    stream.chunk(first + PART_FRAMES, &mut bytes)?;
    demuxer.handle(bytes.into())?;
    demuxer.finish()?;
    let mut next = first;
    let mut timescale = None;
    while let Some(event) = demuxer.poll() {
        match event {
            Event::Track { format, .. } => timescale = Some(format.timescale),
            Event::Sample { sample, .. } => {
                let frame = encoder::frame_at(sample.decode_time.0, timescale.context("a track")?);
                ensure!(frame == Some(next), "frame {next} is at {}", sample.decode_time.0);
                ensure!(stream.is_frame(next, &sample.data), "frame {next} has other bytes");
                ensure!(!stream.is_frame(next + 1, &sample.data), "frames {next} and the next have the same bytes");
                next += 1;
            }
            Event::Chunk { .. } => {}
            other => bail!("{other:?}"),
        }
    }
    ensure!(next == first + 2 * PART_FRAMES, "{} frames of {}", next - first, 2 * PART_FRAMES);
    Ok(())
}

const TEXTS_KEPT: usize = 8;
const SEGMENTS_KEPT: u64 = 3;
