//! A source file: what is at its top level, and its tracks.

use std::sync::Arc;

use crate::base::Timescale;

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{Error, Problem};
use super::fragments::FragmentSource;
use super::moof::Defaults;
use super::source_track::SourceTrack;
use super::{Edit, Handler, user_data};

/// An MP4, MOV or CMAF file, progressive or fragmented.
#[derive(Debug)]
pub struct Movie<'a> {
    tracks: Vec<SourceTrack<'a>>,
    fragmented: bool,
    /// `trex` of all tracks.
    pub(super) defaults: Arc<[Defaults]>,
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
    /// `trex` of all tracks.
    pub defaults: Arc<[Defaults]>,
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
        let defaults = mvex.map(|mvex| read_defaults(&mvex)).transpose()?.unwrap_or_default();
        let context = Context { bytes, timescale, fragmented, quicktime: layout.quicktime, defaults };
        let file: Arc<str> = file.into();
        let mut tracks = Vec::with_capacity(traks.len());
        let mut referred = Vec::new();
        for trak in &traks {
            let track = SourceTrack::read(&file, trak, &context, &mut referred)?;
            if tracks.iter().any(|other: &SourceTrack<'_>| other.id == track.id) {
                let found = format_args!("track_ID {} again", track.id);
                return Err(Error::unexpected(trak.path, trak.at, found, "another one for each track"));
            }
            tracks.push(track);
        }
        // Chapter tracks look like subtitles or video, but are a table of contents.
        for track in tracks.iter_mut().filter(|track| referred.contains(&track.id)) {
            track.handler = Handler::Other(FourCc(*b"chap"));
        }
        if let Some(start) = layout.first_moof {
            for track in &mut tracks {
                track.fragments = Some(FragmentSource {
                    file: bytes,
                    start,
                    track_id: track.id,
                    defaults: context.defaults.clone(),
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
        Ok(Movie { tracks, fragmented, defaults: context.defaults })
    }
}

/// The boxes of the file itself that matter.
struct Layout<'a> {
    moov: Boxed<'a>,
    /// Its offset.
    first_moof: Option<u64>,
    quicktime: bool,
}

/// Types at the top level of files. What begins with another is taken for another format.
const TOP_LEVEL: [&[u8; 4]; 20] = [
    b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot", b"sidx", b"ssix", b"emsg",
    b"prft", b"uuid", b"meta", b"junk", b"pict", b"udta", b"pdin", b"mfra",
];

/// Whether files have boxes of that type at their top level.
pub(super) fn is_box(name: &[u8; 4]) -> bool {
    TOP_LEVEL.contains(&name)
}

fn has_fragments(moov: &Boxed<'_>) -> bool {
    moov.children().any(|child| child.is_ok_and(|child| child.name == FourCc(*b"mvex")))
}

impl<'a> Layout<'a> {
    fn read(bytes: &'a [u8]) -> Result<Layout<'a>, Error> {
        let root = Path::default();
        let first = bytes.get(4..8).unwrap_or_default();
        if !first.first_chunk().is_some_and(is_box) {
            return Err(Error::new(root, None, Problem::NotMp4 { found: looks_like(bytes) }));
        }
        let (mut moov, mut first_moof) = (None, None);
        // Files without ftyp are older than ISO's, that is QuickTime's.
        let mut quicktime = true;
        for child in Boxes::top_level(bytes, 0) {
            let child = match child {
                Ok(child) => child,
                Err(error) => {
                    let tail = error.offset().and_then(|at| bytes.get(usize::try_from(at).ok()?..)).unwrap_or_default();
                    let name = tail.get(4..8).and_then(|name| name.first_chunk()).copied().unwrap_or_default();
                    match (error.problem(), &moov) {
                        // What is missing is worth more than what is cut off.
                        (&Problem::Truncated { size, .. }, None) => {
                            return Err(no_movie(bytes, Some((FourCc(name), size)).filter(|_| tail.len() >= 8)));
                        }
                        // Tags and padding behind a whole movie; where its samples lie is checked with each of them. In
                        // a fragmented file the same would hide that fragments are missing.
                        (_, Some(moov)) if first_moof.is_none() && !is_box(&name) && !has_fragments(moov) => break,
                        _ => return Err(error),
                    }
                }
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

/// Each `trex` of `mvex`.
fn read_defaults(mvex: &Boxed<'_>) -> Result<Arc<[Defaults]>, Error> {
    let mut all = Vec::new();
    for child in mvex.children() {
        let child = child?;
        if child.name == FourCc(*b"trex") {
            if all.len() == SOURCE_TRACKS_MAX {
                let found = format_args!("more than {SOURCE_TRACKS_MAX} boxes");
                return Err(Error::unexpected(child.path, child.at, found, "one for each track"));
            }
            all.push(Defaults::read(&child)?);
        }
    }
    Ok(all.into())
}

/// What a file that is not ours seems to be.
pub(super) fn looks_like(bytes: &[u8]) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        Body, Node, add, avc1, bytes, children, fragmented, full, hdlr, leaf, mp4a, progressive, remove, replace,
        sample_entry, stsd, tree, words,
    };
    use super::*;
    use proptest::prelude::*;

    /// What is wrong with a file, in one line.
    fn problem(file: &[u8]) -> String {
        let movie = match Movie::parse("f", file) {
            Ok(movie) => movie,
            Err(error) => return error.to_string(),
        };
        let mut samples = movie.tracks().iter().flat_map(SourceTrack::samples);
        samples.find_map(Result::err).map_or("fine".to_owned(), |error| error.to_string())
    }

    /// `@name+n` is byte n of the first box of that name, `#name+n` of the last, LEN the length of the file.
    fn expand(want: &str, file: &[u8]) -> String {
        let mut want = want.replace("LEN", &file.len().to_string());
        while let Some(start) = want.find(['@', '#']) {
            let name = want[start + 1..start + 5].to_owned();
            let digits: String = want[start + 6..].chars().take_while(char::is_ascii_digit).collect();
            let mut found = file.windows(4).enumerate().filter(|(_, window)| *window == name.as_bytes());
            let found = if want[start..].starts_with('@') { found.next() } else { found.next_back() };
            let at = found.unwrap_or_else(|| panic!("{name}")).0 - 4;
            let value = at + digits.parse::<usize>().unwrap();
            want.replace_range(start..start + 6 + digits.len(), &value.to_string());
        }
        want
    }

    const STBL: &str = "moov/trak[1]/mdia/minf/stbl";

    #[test]
    fn damage_is_named() {
        type Change = fn(&mut Vec<Node>);
        let cases: &[(&str, Change, &str)] = &[
            ("nothing", |_| {}, "fine"),
            (
                "no moov",
                |file| remove(file, "moov"),
                "f: moov not found in LEN bytes; the recording was probably not finished",
            ),
            (
                "no tracks",
                |file| children(file, "moov").truncate(1),
                "f: moov at byte @moov+0: no tracks found, expected at least one trak box",
            ),
            ("no mvhd", |file| remove(file, "moov/mvhd"), "f: moov at byte @moov+0: found no mvhd box, expected one"),
            (
                "no tkhd",
                |file| remove(file, "moov/trak[1]/tkhd"),
                "f: moov/trak[1] at byte @trak+0: found no tkhd box, expected one",
            ),
            (
                "no mdia",
                |file| remove(file, "moov/trak[1]/mdia"),
                "f: moov/trak[1] at byte @trak+0: found no mdia box, expected one",
            ),
            (
                "no hdlr",
                |file| remove(file, "moov/trak[1]/mdia/hdlr"),
                "f: moov/trak[1]/mdia at byte @mdia+0: found no hdlr box, expected one",
            ),
            (
                "no mdhd",
                |file| remove(file, "moov/trak[1]/mdia/mdhd"),
                "f: moov/trak[1]/mdia at byte @mdia+0: found no mdhd box, expected one",
            ),
            (
                "no minf",
                |file| remove(file, "moov/trak[1]/mdia/minf"),
                "f: moov/trak[1]/mdia at byte @mdia+0: found no minf box, expected one",
            ),
            (
                "no stbl",
                |file| remove(file, STBL),
                "f: moov/trak[1]/mdia/minf at byte @minf+0: found no stbl box, expected one",
            ),
            (
                "no stsd",
                |file| remove(file, "moov/trak[1]/mdia/minf/stbl/stsd"),
                "f: moov/trak[1]/mdia/minf/stbl at byte @stbl+0: found no stsd box, expected one",
            ),
            (
                "no stts",
                |file| remove(file, "moov/trak[1]/mdia/minf/stbl/stts"),
                "f: moov/trak[1]/mdia/minf/stbl at byte @stbl+0: found no stts box, expected one",
            ),
            (
                "no stsc",
                |file| remove(file, "moov/trak[1]/mdia/minf/stbl/stsc"),
                "f: moov/trak[1]/mdia/minf/stbl at byte @stbl+0: found no stsc box, expected one",
            ),
            (
                "no stsz",
                |file| remove(file, "moov/trak[1]/mdia/minf/stbl/stsz"),
                "f: moov/trak[1]/mdia/minf/stbl at byte @stbl+0: found no stsz box, expected one",
            ),
            (
                "no stco",
                |file| remove(file, "moov/trak[1]/mdia/minf/stbl/stco"),
                "f: moov/trak[1]/mdia/minf/stbl at byte @stbl+0: found no stco or co64 box, expected one",
            ),
            (
                "movie timescale",
                |file| replace(file, "moov/mvhd", full(b"mvhd", &[0, 0, 0, 0, 0])),
                "f: moov/mvhd at byte @mvhd+20: found a timescale of 0, expected at least 1 tick a second",
            ),
            (
                "track timescale",
                |file| replace(file, "moov/trak[1]/mdia/mdhd", full(b"mdhd", &[0x0100_0000, 0, 0, 0, 0, 0, 0, 0, 0])),
                "f: moov/trak[1]/mdia/mdhd at byte @mdhd+28: found a timescale of 0, expected at least 1 tick a second",
            ),
            (
                "short tkhd",
                |file| replace(file, "moov/trak[1]/tkhd", full(b"tkhd", &[0, 0])),
                "f: moov/trak[1]/tkhd at byte @tkhd+12: found 4 bytes left in the box, expected 8",
            ),
            (
                "one id twice",
                |file| replace(file, "moov/trak[2]/tkhd", full(b"tkhd", &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0])),
                "f: moov/trak[2] at byte #trak+0: found track_ID 1 again, expected another one for each track",
            ),
            (
                "count beyond the box",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stts", full(b"stts", &[0, 0xffff_ffff, 1, 1])),
                "f: moov/trak[1]/mdia/minf/stbl/stts at byte @stts+16: found 8 bytes left in the box, expected 34359738360",
            ),
            (
                "samples beyond the file",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsz", full(b"stsz", &[0, 1, 0xffff_ffff])),
                "f: moov/trak[1]/mdia/minf/stbl/stsz at byte @stsz+12: found 4294967295 samples of 1 bytes, expected no more than the file's LEN bytes",
            ),
            (
                "odd sizes",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsz", full(b"stz2", &[0, 5, 1, 0])),
                "f: moov/trak[1]/mdia/minf/stbl/stz2 at byte @stz2+12: found sizes of 5 bits, expected 4, 8 or 16",
            ),
            (
                "no entry",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[])),
                "f: moov/trak[1]/mdia/minf/stbl/stsd at byte @stsd+12: found no sample entry, expected one",
            ),
            (
                "many entries",
                |file| {
                    replace(
                        file,
                        "moov/trak[1]/mdia/minf/stbl/stsd",
                        leaf(b"stsd", [words(&[0, 0xffff_ffff]), bytes(&[avc1()])].concat()),
                    )
                },
                "f: moov/trak[1]/mdia/minf/stbl/stsd at byte @stsd+12: found 1 sample entries, expected the 4294967295 it states",
            ),
            (
                "entry beyond stsd",
                |file| {
                    replace(
                        file,
                        "moov/trak[1]/mdia/minf/stbl/stsd",
                        leaf(b"stsd", [words(&[0, 1, 100]), b"avc1".to_vec()].concat()),
                    )
                },
                "f: moov/trak[1]/mdia/minf/stbl/stsd/avc1 at byte @avc1+0: found a box of 100 bytes, expected at most the 8 left in its parent",
            ),
            (
                "two descriptions",
                |file| {
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[avc1(), mp4a()]));
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsc", full(b"stsc", &[0, 2, 1, 3, 1, 2, 2, 2]));
                },
                "f: moov/trak[1]/mdia/minf/stbl/stsd at byte @stsd+0: found 2 different sample descriptions, of which samples use 1 and 2, expected one for the whole track",
            ),
            (
                "two descriptions, one used",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[avc1(), mp4a()])),
                "fine",
            ),
            (
                "one description twice",
                |file| {
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[avc1(), avc1()]));
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsc", full(b"stsc", &[0, 2, 1, 3, 1, 2, 2, 2]));
                },
                "fine",
            ),
            (
                "a description that is not there",
                |file| {
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[avc1(), mp4a()]));
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsc", full(b"stsc", &[0, 1, 1, 3, 3]));
                },
                "f: moov/trak[1]/mdia/minf/stbl/stsd at byte @stsd+12: found samples with description 3, expected 1 to 2",
            ),
            (
                "encrypted video",
                |file| replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[sample_entry(b"encv", 70, &[])])),
                "f: moov/trak[1]/mdia/minf/stbl/stsd at byte @encv+0: found encrypted media (encv), expected it in the clear",
            ),
            (
                "encrypted audio",
                |file| replace(file, "moov/trak[2]/mdia/minf/stbl/stsd", stsd(&[sample_entry(b"enca", 20, &[])])),
                "f: moov/trak[2]/mdia/minf/stbl/stsd at byte @enca+0: found encrypted media (enca), expected it in the clear",
            ),
            (
                "protected audio",
                |file| {
                    replace(
                        file,
                        "moov/trak[2]/mdia/minf/stbl/stsd",
                        stsd(&[sample_entry(b"mp4a", 20, &[tree(b"sinf", [])])]),
                    )
                },
                "f: moov/trak[2]/mdia/minf/stbl/stsd at byte @sinf+0: found encrypted media (sinf), expected it in the clear",
            ),
            (
                "compressed",
                |file| add(file, "moov", leaf(b"cmov", [])),
                "f: moov/cmov at byte @cmov+0: found a compressed movie header (cmov), expected a plain one; write the file anew",
            ),
            (
                "external",
                |file| {
                    replace(
                        file,
                        "moov/trak[1]/mdia/minf/dinf/dref",
                        leaf(b"dref", [words(&[0, 1]), bytes(&[full(b"alis", &[0, 1])])].concat()),
                    )
                },
                "f: moov/trak[1]/mdia/minf/dinf/dref at byte @alis+0: found media kept in another file (alis), expected all of it in this one",
            ),
            (
                "a reference that is not used",
                |file| {
                    replace(
                        file,
                        "moov/trak[1]/mdia/minf/dinf/dref",
                        leaf(b"dref", [words(&[0, 2]), bytes(&[full(b"url ", &[0]), full(b"url ", &[0, 1])])].concat()),
                    )
                },
                "fine",
            ),
            (
                "other handlers may be broken",
                |file| {
                    replace(file, "moov/trak[1]/mdia/hdlr", hdlr(b"tmcd", b""));
                    replace(file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[]));
                },
                "fine",
            ),
            (
                "too many tracks",
                |file| {
                    let trak = children(file, "moov")[1].clone();
                    children(file, "moov").extend(vec![trak; 255]);
                },
                "f: moov/trak at byte #trak+0: found more than 256 tracks, expected fewer",
            ),
        ];
        for (name, change, want) in cases {
            let mut file = progressive();
            change(&mut file);
            let file = bytes(&file);
            assert_eq!(problem(&file), expand(want, &file), "{name}");
        }
    }

    #[test]
    fn what_is_not_a_movie_is_recognised() {
        let mut transport = vec![0xff; 400];
        (transport[0], transport[188]) = (0x47, 0x47);
        let not =
            |found: &str| format!("f: not an MP4 or MOV file: found {found}, expected a box such as ftyp or moov");
        for (bytes, want) in [
            (&b""[..], not("an empty file")),
            (&[0; 100], not("zeros")),
            (b"\x1a\x45\xdf\xa3\x01\0\0\0", not("Matroska or WebM")),
            (&transport, not("an MPEG transport stream")),
            (b"RIFF\x10\0\0\0AVI LIST", not("AVI")),
            (b"RIFF\x10\0\0\0WAVEfmt ", not("WAV")),
            (b"\0\0\0\x01\x67\x42\xc0\x1e", not("a raw video stream (Annex B)")),
            (b"hello", not("bytes \"hello\"")),
            (b"\0\0\0\x10what????", not("bytes \"\\x00\\x00\\x00\\x10what\"")),
            (
                b"\0\0\0\x08ftyp\0\0\0\x01mdat\0\0\0\0\0\0\x10\0\xff",
                "f: moov not found in 25 bytes; the recording was probably not finished (or its end is missing: the last box, mdat, says 4096 bytes)".to_owned(),
            ),
            (b"\0\0\0\x0cftyp", "f: moov not found in 8 bytes; the recording was probably not finished (or its end is missing: the last box, ftyp, says 12 bytes)".to_owned()),
        ] {
            assert_eq!(problem(bytes), want);
        }
        assert!(Movie::parse("a\nb", b"").unwrap_err().to_string().starts_with("a\\nb: not an MP4"));
    }

    #[test]
    fn moov_may_come_first_and_the_media_run_to_the_end() {
        let mut file = progressive();
        let mdat = file.remove(1);
        let shift = bytes(&file[1..]).len() as u32 + 8;
        file.push(leaf(b"wide", []));
        file.push(mdat);
        for track in [1, 2] {
            let stco = &mut children(&mut file, &format!("moov/trak[{track}]/mdia/minf/stbl")).last_mut().unwrap().body;
            let Body::Leaf(stco) = stco else { panic!() };
            for row in stco[8..].as_chunks_mut::<4>().0 {
                *row = (u32::from_be_bytes(*row) + shift).to_be_bytes();
            }
        }
        let mut file = bytes(&file);
        assert_eq!(problem(&file), "fine");
        let at = file.windows(4).position(|window| window == b"mdat").unwrap();
        file[at - 4..at].fill(0);
        assert_eq!(problem(&file), "fine");
        file.pop();
        assert!(problem(&file).contains("stco at byte"), "{}", problem(&file));
    }

    #[test]
    fn what_follows_a_whole_movie_does_not_matter() {
        for tail in [&b"TAG and a title"[..], b"\0\0\0\x04????", b"abc"] {
            let file = [bytes(&progressive()), tail.to_vec()].concat();
            assert_eq!(problem(&file), "fine");
            let file = [bytes(&fragmented()), tail.to_vec()].concat();
            assert_ne!(problem(&file), "fine");
        }
        let file = [bytes(&progressive()), b"\0\0\x01\0mdat".to_vec()].concat();
        assert!(
            problem(&file).ends_with("the file is truncated: found 8 bytes to its end, expected a box of 256 bytes")
        );
    }

    fn everything() -> impl Strategy<Value = Vec<u8>> {
        let grouped = || {
            let mut file = progressive();
            add(
                &mut file,
                STBL,
                leaf(
                    b"sgpd",
                    [words(&[0x0100_0000]), b"roll".to_vec(), words(&[2, 2]), vec![0, 7, 0xff, 0xfe]].concat(),
                ),
            );
            add(
                &mut file,
                STBL,
                leaf(b"sbgp", [words(&[0]), b"roll".to_vec(), words(&[4, 1, 0, 1, 1, 1, 2, 1, 3])].concat()),
            );
            add(&mut file, STBL, full(b"stps", &[0, 1, 3]));
            add(
                &mut file,
                "moov/trak[1]",
                tree(b"edts", [full(b"elst", &[0, 2, 40, !0, 0x1_0000, 400, 200, 0x1_0000])]),
            );
            replace(&mut file, "moov/trak[2]/mdia/minf/stbl/stsz", full(b"stz2", &[0, 4, 8, 0x4444_4444]));
            file
        };
        let mut hybrid = progressive();
        add(&mut hybrid, "moov", tree(b"mvex", [full(b"trex", &[0, 1, 1, 100, 0, 0x0101_0000])]));
        hybrid.extend(fragmented().split_off(2));
        prop::sample::select(vec![bytes(&progressive()), bytes(&grouped()), bytes(&fragmented()), bytes(&hybrid)])
    }

    /// Reads everything there is; samples lie inside the file, and there are no more than its bytes can stand for.
    fn survive(file: &[u8]) {
        let Ok(movie) = Movie::parse("f", file) else { return };
        for track in movie.tracks() {
            let mut count = 0;
            for sample in track.samples() {
                count += 1;
                if let Ok(sample) = sample {
                    assert!(sample.offset + u64::from(sample.size) <= file.len() as u64);
                }
            }
            assert!(count <= 2 * file.len() + 1, "{count} samples in {} bytes", file.len());
        }
    }

    proptest! {
        #[test]
        fn truncated_files_are_refused(file in everything(), cut in any::<prop::sample::Index>()) {
            let cut = &file[..cut.index(file.len())];
            survive(cut);
            // At the end of a box a shorter file may be whole; nowhere else.
            if let Ok(movie) = Movie::parse("f", cut) {
                prop_assert!(movie.is_fragmented());
            }
        }

        #[test]
        fn damaged_files_are_survived(
            mut file in everything(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec![0, 1, 2, 4, 8, 0x7f, 0x80, 0xff])), 1..6),
        ) {
            for (at, value) in damage {
                let at = at.index(file.len());
                file[at] = value;
            }
            survive(&file);
        }

        #[test]
        fn damaged_words_are_survived(
            mut file in everything(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u32>(), 0..64_u32, Just(u32::MAX)]), 1..4),
        ) {
            for (at, value) in damage {
                let at = at.index(file.len() - 3);
                file[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            survive(&file);
        }

        #[test]
        fn shuffled_files_are_survived(
            mut file in everything(),
            from in any::<prop::sample::Index>(),
            to in any::<prop::sample::Index>(),
            len in 0..200_usize,
        ) {
            let (from, to) = (from.index(file.len()), to.index(file.len()));
            let moved: Vec<u8> = file[from..].iter().copied().take(len).collect();
            file.splice(to..to, moved);
            survive(&file);
        }

        #[test]
        fn random_boxes_are_survived(body in prop::collection::vec(any::<u8>(), 0..300)) {
            survive(&body);
            survive(&bytes(&[leaf(b"ftyp", []), leaf(b"moov", body)]));
        }
    }
}
