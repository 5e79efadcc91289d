//! A source file: what is at its top level, and its tracks.

use std::sync::Arc;

use crate::base::Timescale;

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{Error, Problem};
use super::fragments::{Defaults, FragmentSource};
use super::source_track::SourceTrack;
use super::{Edit, Handler, user_data};

/// An MP4, MOV or CMAF file, progressive or fragmented.
#[derive(Debug)]
pub struct Movie<'a> {
    tracks: Vec<SourceTrack<'a>>,
    fragmented: bool,
}

/// Tracks in one file. More than an asset may have, since not all need be media.
const SOURCE_TRACKS_MAX: usize = 256;

/// What is known of the file while its tracks are read.
pub(super) struct Context<'a> {
    pub bytes: &'a [u8],
    /// Of edit lists.
    pub timescale: Timescale,
    pub fragmented: bool,
    pub quicktime: bool,
}

impl Context<'_> {
    pub fn file_len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl<'a> Movie<'a> {
    /// Checks the structure down to the sample tables. `file` is the name for error messages, `bytes` all of the file.
    pub fn parse(file: &str, bytes: &'a [u8]) -> Result<Movie<'a>, Error> {
        Self::read(file, bytes).map_err(|error| error.in_file(file))
    }

    /// In the order of the file; never empty.
    pub fn tracks(&self) -> &[SourceTrack<'a>] {
        &self.tracks
    }

    /// Whether samples may be in movie fragments.
    pub fn is_fragmented(&self) -> bool {
        self.fragmented
    }

    fn read(file: &str, bytes: &'a [u8]) -> Result<Movie<'a>, Error> {
        let layout = Layout::read(bytes)?;
        let moov = layout.moov;
        let (mut timescale, mut mvex, mut udta) = (None, None, None);
        let mut traks = Vec::new();
        for child in moov.children() {
            let child = child?;
            match &child.name.0 {
                b"mvhd" => timescale = Some(movie_timescale(&child)?),
                b"trak" if traks.len() == SOURCE_TRACKS_MAX => {
                    let found = format_args!("more than {SOURCE_TRACKS_MAX} tracks");
                    return Err(Error::unexpected(child.path, child.at, found, "fewer"));
                }
                b"trak" => traks.push(child.numbered(traks.len() as u32 + 1)),
                b"mvex" => mvex = Some(child),
                b"udta" => udta = Some(child),
                b"cmov" => return Err(Error::new(child.path, child.at, Problem::Compressed)),
                _ => {}
            }
        }
        if traks.is_empty() {
            return Err(Error::new(moov.path, moov.at, Problem::NoTracks));
        }
        let timescale = timescale.ok_or_else(|| Error::new(moov.path, moov.at, Problem::Missing { name: "mvhd" }))?;
        let fragmented = mvex.is_some() || layout.first_moof.is_some();
        let context = Context { bytes, timescale, fragmented, quicktime: layout.quicktime };
        let file: Arc<str> = file.into();
        let mut tracks = Vec::with_capacity(traks.len());
        let mut referred = Vec::new();
        for trak in &traks {
            tracks.push(SourceTrack::read(&file, trak, &context, &mut referred)?);
        }
        // Chapter tracks look like subtitles or video, but are a table of contents.
        for track in tracks.iter_mut().filter(|track| referred.contains(&track.id)) {
            track.handler = Handler::Other(FourCc(*b"chap"));
        }
        if let Some(start) = layout.first_moof {
            let defaults = mvex.map(|mvex| read_defaults(&mvex, &tracks)).transpose()?.unwrap_or_default();
            for track in &mut tracks {
                track.fragments = Some(FragmentSource {
                    file: bytes,
                    start,
                    track_id: track.id,
                    defaults: defaults.clone(),
                    description: track.description,
                    groups: track.tables.descriptions,
                });
            }
        }
        let mut audio: Vec<&mut SourceTrack> =
            tracks.iter_mut().filter(|track| track.handler == Handler::Audio).collect();
        // The note is the file's, so it can only be about a track that is the only one of its kind.
        if let ([track], Some(udta)) = (audio.as_mut_slice(), udta)
            && !track.has_edit_list
            && let Some(text) = user_data::smpb(&udta)
        {
            track.edit = Edit::from_smpb(&text, track.duration).unwrap_or_default();
        }
        Ok(Movie { tracks, fragmented })
    }
}

/// The boxes of the file itself that matter.
struct Layout<'a> {
    moov: Boxed<'a>,
    /// Its offset.
    first_moof: Option<u64>,
    quicktime: bool,
}

/// Types a file may begin with. Others are taken for another format that happens to have a plausible length up front.
const FIRST_BOXES: [&[u8; 4]; 19] = [
    b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot", b"sidx", b"ssix", b"emsg",
    b"prft", b"uuid", b"meta", b"junk", b"pict", b"udta", b"pdin",
];

impl<'a> Layout<'a> {
    fn read(bytes: &'a [u8]) -> Result<Layout<'a>, Error> {
        let root = Path::default();
        let first = bytes.get(4..8).unwrap_or_default();
        if !FIRST_BOXES.iter().any(|known| known[..] == *first) {
            return Err(Error::new(root, None, Problem::NotMp4 { found: looks_like(bytes) }));
        }
        let (mut moov, mut first_moof) = (None, None);
        // Files without ftyp are older than ISO's, that is QuickTime's.
        let mut quicktime = true;
        for child in Boxes::top_level(bytes, 0) {
            let child = match child {
                Ok(child) => child,
                Err(error) => match (error.problem(), &moov) {
                    // What is missing is worth more than what is cut off.
                    (&Problem::Truncated { size, .. }, None) => {
                        let name = error.offset().and_then(|at| bytes.get(usize::try_from(at).ok()?..));
                        let name =
                            name.and_then(|tail| tail.get(4..8)?.first_chunk()).map(|name| (FourCc(*name), size));
                        return Err(no_movie(bytes, name));
                    }
                    _ => return Err(error),
                },
            };
            match &child.name.0 {
                // Only the first: a recording put together of several has them again.
                b"moov" if moov.is_none() => moov = Some(child),
                b"moof" if first_moof.is_none() => first_moof = Some(child.at),
                b"ftyp" => quicktime = child.body().rest().starts_with(b"qt  "),
                _ => {}
            }
        }
        let moov = moov.ok_or_else(|| no_movie(bytes, None))?;
        Ok(Layout { moov, first_moof, quicktime })
    }
}

fn no_movie(bytes: &[u8], cut: Option<(FourCc, u64)>) -> Error {
    Error::new(Path::default(), None, Problem::NoMovie { len: bytes.len() as u64, cut })
}

/// `mvhd` (§8.2.2).
fn movie_timescale(mvhd: &Boxed<'_>) -> Result<Timescale, Error> {
    let (version, _, mut body) = mvhd.full()?;
    mvhd.read(body.skip(if version == 1 { 16 } else { 8 }))?;
    let at = body.position();
    Timescale::new(mvhd.read(body.u32())?)
        .ok_or_else(|| Error::unexpected(mvhd.path, at, "a timescale of 0", "at least 1 tick a second"))
}

/// Those of the file's tracks, so there are no more than tracks.
fn read_defaults(mvex: &Boxed<'_>, tracks: &[SourceTrack<'_>]) -> Result<Arc<[Defaults]>, Error> {
    let mut all: Vec<Defaults> = Vec::new();
    for child in mvex.children() {
        let child = child?;
        if child.name == FourCc(*b"trex") {
            let defaults = Defaults::read(&child)?;
            let known = all.iter().any(|other| other.track_id == defaults.track_id);
            if !known && tracks.iter().any(|track| track.id == defaults.track_id) {
                all.push(defaults);
            }
        }
    }
    Ok(all.into())
}

/// What a file that is not ours seems to be.
fn looks_like(bytes: &[u8]) -> String {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|tail| tail.starts_with(magic));
    let name = match () {
        () if bytes.is_empty() => "an empty file",
        () if bytes.iter().take(4096).all(|&byte| byte == 0) => "zeros",
        () if starts(&[0x1a, 0x45, 0xdf, 0xa3]) => "Matroska or WebM",
        () if starts(&[0x47]) && (at(188, &[0x47]) || bytes.len() <= 188) => "an MPEG transport stream",
        () if at(4, &[0x47]) && at(196, &[0x47]) => "an MPEG transport stream with timestamps (M2TS)",
        () if starts(&[0, 0, 1, 0xba]) => "an MPEG program stream",
        () if starts(b"RIFF") && at(8, b"AVI ") => "AVI",
        () if starts(b"RIFF") && at(8, b"WAVE") => "WAV",
        () if starts(b"OggS") => "Ogg",
        () if starts(b"FLV\x01") => "FLV",
        () if starts(b"fLaC") => "raw FLAC",
        () if starts(b"ID3") => "MP3 with an ID3 tag",
        () if starts(&[0x30, 0x26, 0xb2, 0x75]) => "ASF or WMV",
        () if starts(&[0, 0, 0, 1]) || starts(&[0, 0, 1]) => "a raw video stream (Annex B)",
        () if starts(&[0xff, 0xf1]) || starts(&[0xff, 0xf9]) => "raw AAC (ADTS)",
        () if starts(&[0x06, 0x0e, 0x2b, 0x34]) => "MXF",
        () if starts(b"#EXTM3U") => "an HLS playlist",
        () if starts(b"WEBVTT") || starts(b"\xef\xbb\xbfWEBVTT") => "WebVTT",
        () if starts(b"<") || starts(b"\xef\xbb\xbf<") => "XML or HTML",
        () => {
            return format!("bytes \"{}\"", bytes.get(..8).unwrap_or(bytes).escape_ascii());
        }
    };
    name.to_owned()
}
