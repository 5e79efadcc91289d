//! One track of a source file.

use std::sync::Arc;

use crate::base::Timescale;
use crate::media::codec;
use crate::media::track::Kind;

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{Error, Problem};
use super::fragments::{FragmentSource, Fragments};
use super::moof::Defaults;
use super::movie::Context;
use super::samples::Samples;
use super::tables::Tables;
use super::user_data::{UserData, handler_name};
use super::{Edit, Matrix, TrackRole, language};

/// A track, its tables borrowed from the file.
#[derive(Clone, Debug)]
pub struct SourceTrack<'a> {
    pub id: u32,
    pub handler: Handler,
    /// Of every time of the track.
    pub timescale: Timescale,
    /// BCP 47: of `elng`, else of `mdhd`; `und` if unknown.
    pub language: String,
    /// What a viewer would call it, from user data or the handler; names that only name the writing program are left out.
    pub name: Option<String>,
    /// `tkhd`: whether players show it unasked.
    pub enabled: bool,
    /// Tracks of one group other than 0 are alternatives to each other.
    pub alternate_group: u16,
    /// `tkhd`: how the picture is turned or mirrored when it is shown.
    pub matrix: Matrix,
    /// `kind` boxes of the track's user data.
    pub roles: Vec<TrackRole>,
    /// What its samples are; see [`SampleEntry`].
    pub sample_entry: SampleEntry<'a>,
    pub edit: Edit,
    /// `None` if there are fragments, which are not counted beforehand.
    pub sample_count: Option<u64>,
    /// Of the media in track ticks, where the file says so before its samples are read: a hint.
    pub duration: Option<i64>,
    pub(super) has_edit_list: bool,
    pub(super) tables: Tables<'a>,
    /// The one sample description that samples have, `None` if all are the same.
    pub(super) description: Option<u32>,
    pub(super) fragments: Option<FragmentSource<'a>>,
    file: Arc<str>,
    file_len: u64,
}

/// What kind of media a track is (`hdlr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    Video,
    Audio,
    Subtitle,
    /// Timecode, metadata, hints; `chap` for a chapter track. Damage in one does not keep the file from being read: it
    /// has no samples then.
    Other(FourCc),
}

/// One entry of `stsd` (ISO/IEC 14496-12 §8.5.2), for the codecs to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleEntry<'a> {
    pub fourcc: [u8; 4],
    /// The whole box with its header. Empty for a damaged track of [`Handler::Other`].
    pub bytes: &'a [u8],
    /// In the file.
    pub offset: u64,
}

impl<'a> SourceTrack<'a> {
    /// All samples in decode order; ends at the first error.
    pub fn samples(&self) -> Samples<'a> {
        let fragments = self.fragments.clone().map(Fragments::new);
        Samples::new(self.file.clone(), &self.tables, self.file_len, fragments)
    }

    /// `chapters` collects the ids of tracks that this one names as its chapters.
    pub(super) fn read(
        file: &Arc<str>,
        trak: &Boxed<'a>,
        context: &Context<'a>,
        chapters: &mut Vec<u32>,
    ) -> Result<SourceTrack<'a>, Error> {
        let (mut tkhd, mut mdia, mut edts, mut user) = (None, None, None, UserData::default());
        for child in trak.children() {
            let child = child?;
            match &child.name.0 {
                b"tkhd" => tkhd = Some(TrackHeader::read(&child)?),
                b"mdia" => mdia = Some(child),
                b"edts" => edts = Some(child),
                b"udta" => user = UserData::read(&child),
                b"tref" => chapter_references(&child, chapters),
                _ => {}
            }
        }
        let missing = |parent: &Boxed<'_>, name| Error::new(parent.path, parent.at, Problem::Missing { name });
        let header = tkhd.ok_or_else(|| missing(trak, "tkhd"))?;
        let mdia = mdia.ok_or_else(|| missing(trak, "mdia"))?;
        let media = Media::read(&mdia, context)?;
        let (contents, handler) = match (Contents::read(&media, header.id, context), media.handler) {
            (Ok(contents), handler) => (contents, handler),
            (Err(_), Handler::Other(kind)) => (Contents::none(mdia.path), Handler::Other(kind)),
            (Err(error), _) => return Err(error),
        };
        let has_samples = contents.tables.sizes.count() > 0;
        // In a fragmented file `moov` cannot know how long the media will be, whatever it says of its own samples.
        let duration = if context.fragmented {
            media.duration.filter(|_| !has_samples)
        } else {
            contents.tables.duration().or(media.duration)
        };
        let reorder = contents.tables.first_offset().into();
        let mut edit = Edit::default();
        let mut has_edit_list = false;
        if let Some(edts) = &edts {
            for child in edts.children() {
                let child = child?;
                if child.name == FourCc(*b"elst") {
                    let read = Edit::read(&child, context.timescale, media.timescale, duration, reorder);
                    edit = match (read, handler) {
                        (Err(_), Handler::Other(_)) => Edit::default(),
                        (read, _) => read?,
                    };
                    has_edit_list = true;
                }
            }
        }
        Ok(SourceTrack {
            id: header.id,
            handler,
            timescale: media.timescale,
            language: media.language,
            name: user.name.or(media.name),
            enabled: header.enabled,
            alternate_group: header.alternate_group,
            matrix: header.matrix,
            roles: user.roles,
            sample_entry: contents.sample_entry,
            edit,
            sample_count: (!context.fragmented).then(|| contents.tables.sizes.count().into()),
            duration,
            has_edit_list,
            tables: contents.tables,
            description: contents.description,
            fragments: None,
            file: file.clone(),
            file_len: context.file_len(),
        })
    }
}

/// `tkhd` (§8.3.2).
struct TrackHeader {
    id: u32,
    enabled: bool,
    alternate_group: u16,
    matrix: Matrix,
}

impl TrackHeader {
    fn read(tkhd: &Boxed<'_>) -> Result<TrackHeader, Error> {
        let (version, flags, mut body) = tkhd.full()?;
        let times = if version == 1 { 8 } else { 4 };
        tkhd.read(body.skip(2 * times))?;
        let id = tkhd.read(body.u32())?;
        // reserved, duration, reserved, layer
        tkhd.read(body.skip(4 + times + 8 + 2))?;
        let alternate_group = tkhd.read(body.u16())?;
        // volume, reserved; what is not there turns nothing
        let matrix = body.skip(4).ok().and_then(|()| Matrix::read(body.rest())).unwrap_or_default();
        Ok(TrackHeader { id, enabled: flags & 1 != 0, alternate_group, matrix })
    }
}

/// Ids in `tref/chap`; a file of the permitted number of tracks needs no more than that many.
fn chapter_references(tref: &Boxed<'_>, chapters: &mut Vec<u32>) {
    let references = tref.children().map_while(Result::ok).filter(|child| child.name == FourCc(*b"chap"));
    for child in references {
        let ids = child.body().rest().as_chunks().0.iter().map(|id| u32::from_be_bytes(*id));
        chapters.extend(ids.take(16));
        chapters.truncate(256);
    }
}

/// `mdia`, less its sample tables.
struct Media<'a> {
    timescale: Timescale,
    duration: Option<i64>,
    language: String,
    handler: Handler,
    name: Option<String>,
    minf: Boxed<'a>,
}

impl<'a> Media<'a> {
    fn read(mdia: &Boxed<'a>, context: &Context<'_>) -> Result<Media<'a>, Error> {
        let (mut header, mut handler, mut extended, mut minf) = (None, None, None, None);
        for child in mdia.children() {
            let child = child?;
            match &child.name.0 {
                b"mdhd" => header = Some(Self::header(&child, context.quicktime)?),
                b"hdlr" => handler = Some(Self::handler(&child)?),
                b"elng" => {
                    let text = child.full()?.2.rest();
                    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                    extended = std::str::from_utf8(text).ok().and_then(language::from_elng);
                }
                b"minf" => minf = Some(child),
                _ => {}
            }
        }
        let missing = |name| Error::new(mdia.path, mdia.at, Problem::Missing { name });
        let (timescale, duration, language) = header.ok_or_else(|| missing("mdhd"))?;
        let (handler, name) = handler.ok_or_else(|| missing("hdlr"))?;
        let minf = minf.ok_or_else(|| missing("minf"))?;
        Ok(Media { timescale, duration, language: extended.unwrap_or(language), handler, name, minf })
    }

    /// `mdhd` (§8.4.2).
    fn header(mdhd: &Boxed<'_>, quicktime: bool) -> Result<(Timescale, Option<i64>, String), Error> {
        let (version, _, mut body) = mdhd.full()?;
        mdhd.read(body.skip(if version == 1 { 16 } else { 8 }))?;
        let at = body.position();
        let timescale = Timescale::new(mdhd.read(body.u32())?)
            .ok_or_else(|| Error::unexpected(mdhd.path, at, "a timescale of 0", "at least 1 tick a second"))?;
        let duration = if version == 1 {
            i64::try_from(mdhd.read(body.u64())?).ok()
        } else {
            // All ones: unknown.
            Some(mdhd.read(body.u32())?).filter(|&duration| duration != u32::MAX).map(i64::from)
        };
        let language = language::from_mdhd(mdhd.read(body.u16())?, quicktime);
        Ok((timescale, duration.filter(|&duration| duration > 0), language))
    }

    /// `hdlr` (§8.4.3).
    fn handler(hdlr: &Boxed<'_>) -> Result<(Handler, Option<String>), Error> {
        let (_, _, mut body) = hdlr.full()?;
        hdlr.read(body.skip(4))?;
        let kind = FourCc(hdlr.read(body.u32())?.to_be_bytes());
        hdlr.read(body.skip(12))?;
        let handler = match &kind.0 {
            b"vide" => Handler::Video,
            b"soun" => Handler::Audio,
            b"text" | b"subt" | b"sbtl" => Handler::Subtitle,
            _ => Handler::Other(kind),
        };
        Ok((handler, handler_name(body.rest())))
    }
}

/// `minf`: what the samples are and where they lie.
struct Contents<'a> {
    sample_entry: SampleEntry<'a>,
    description: Option<u32>,
    tables: Tables<'a>,
}

impl<'a> Contents<'a> {
    fn none(path: Path) -> Contents<'a> {
        Contents { sample_entry: SampleEntry::default(), description: None, tables: Tables::empty(path) }
    }

    fn read(media: &Media<'a>, track_id: u32, context: &Context<'a>) -> Result<Contents<'a>, Error> {
        let minf = &media.minf;
        let (mut stbl, mut dinf) = (None, None);
        for child in minf.children() {
            let child = child?;
            match &child.name.0 {
                b"stbl" => stbl = Some(child),
                b"dinf" => dinf = Some(child),
                _ => {}
            }
        }
        let stbl = stbl.ok_or_else(|| Error::new(minf.path, minf.at, Problem::Missing { name: "stbl" }))?;
        let stsd = stbl.children().find(|child| child.as_ref().map_or(true, |child| child.name == FourCc(*b"stsd")));
        let stsd = stsd.ok_or_else(|| Error::new(stbl.path, stbl.at, Problem::Missing { name: "stsd" }))??;
        let tables = Tables::read(&stbl, context.fragmented, context.file_len(), !context.quicktime)?;
        let (sample_entry, description) =
            Self::entry(&stsd, media.handler, &tables, Defaults::of(&context.defaults, track_id).description)?;
        Self::refuse_encrypted(&stsd, &sample_entry, media.handler)?;
        if let Some(dinf) = &dinf {
            Self::refuse_external(dinf, &sample_entry)?;
        }
        Ok(Contents { sample_entry, description, tables })
    }

    /// The entry that all samples have, and its number if there are others. `fragments` is the number that samples of
    /// fragments have by default, 0 without fragments.
    fn entry(
        stsd: &Boxed<'a>,
        handler: Handler,
        tables: &Tables<'a>,
        fragments: u32,
    ) -> Result<(SampleEntry<'a>, Option<u32>), Error> {
        let kind = match handler {
            Handler::Video => Kind::Video,
            Handler::Audio => Kind::Audio,
            Handler::Subtitle | Handler::Other(_) => Kind::Text,
        };
        let (_, _, mut body) = stsd.full()?;
        let at = body.position();
        let count = stsd.read(body.u32())?;
        let entries = || Boxes::inside(body.clone(), stsd.path).take(count as usize);
        let Some(first) = entries().next().transpose()? else {
            return Err(Error::unexpected(stsd.path, at, "no sample entry", "one"));
        };
        let mut same = true;
        let mut found = 0_u32;
        for entry in entries() {
            same &= codec::is_same_coding(entry?.whole, first.whole, kind);
            found += 1;
        }
        if found < count {
            let found = format_args!("{found} sample entries");
            return Err(Error::unexpected(stsd.path, at, found, format_args!("the {count} it states")));
        }
        let used = if same {
            None
        } else {
            // Several are fine as long as samples have only one of them.
            let mut rows = tables.chunks.rows.iter().map(|row| {
                let [.., a, b, c, d] = *row;
                u32::from_be_bytes([a, b, c, d])
            });
            let used = rows.next().unwrap_or(fragments.max(1));
            if let Some(other) = rows.find(|&other| other != used) {
                return Err(Error::unexpected(
                    stsd.path,
                    stsd.at,
                    format_args!("{count} different sample descriptions, of which samples use {used} and {other}"),
                    "one for the whole track",
                ));
            }
            Some(used)
        };
        let number = used.unwrap_or(1);
        let entry = match (number as usize).checked_sub(1).and_then(|skip| entries().nth(skip)) {
            Some(entry) => entry?,
            None => {
                let found = format_args!("samples with description {number}");
                return Err(Error::unexpected(stsd.path, at, found, format_args!("1 to {count}")));
            }
        };
        Ok((SampleEntry { fourcc: entry.name.0, bytes: entry.whole, offset: entry.at }, used))
    }

    /// Common encryption (ISO/IEC 23001-7), and Apple's.
    fn refuse_encrypted(stsd: &Boxed<'a>, entry: &SampleEntry<'a>, handler: Handler) -> Result<(), Error> {
        let refuse = |at, found| Err(Error::new(stsd.path, at, Problem::Encrypted { found }));
        if matches!(&entry.fourcc, b"encv" | b"enca" | b"enct" | b"encs" | b"drms" | b"drmi") {
            return refuse(entry.offset, FourCc(entry.fourcc));
        }
        // Some writers keep the clear type and add the protection beside the codec's own boxes.
        let version =
            entry.bytes.get(16..18).and_then(|version| version.first_chunk()).map_or(0, |v| u16::from_be_bytes(*v));
        let fields = match (handler, version) {
            (Handler::Video, _) => 78,
            (Handler::Audio, 1) => 28 + 16,
            (Handler::Audio, 2) => 28 + 36,
            (Handler::Audio, _) => 28,
            _ => return Ok(()),
        };
        let Some(boxes) = entry.bytes.get(8 + fields..) else { return Ok(()) };
        let start = entry.offset.saturating_add(8 + fields as u64);
        let boxes = Boxes::inside(crate::base::cursor::Cursor::new(boxes, start), stsd.path);
        match boxes.map_while(Result::ok).find(|child| child.name == FourCc(*b"sinf")) {
            Some(sinf) => refuse(sinf.at, sinf.name),
            None => Ok(()),
        }
    }

    /// `dref` (§8.7.2): the sample entry says which reference its media is at; flag 1 is "in this file".
    fn refuse_external(dinf: &Boxed<'a>, entry: &SampleEntry<'a>) -> Result<(), Error> {
        let Some(index) = entry.bytes.get(14..16).and_then(|index| index.first_chunk()) else { return Ok(()) };
        let index = usize::from(u16::from_be_bytes(*index));
        for child in dinf.children() {
            let child = child?;
            if child.name != FourCc(*b"dref") {
                continue;
            }
            let (_, _, mut body) = child.full()?;
            child.read(body.u32())?;
            let mut references = Boxes::inside(body, child.path);
            if let Some(reference) = index.checked_sub(1).and_then(|skip| references.nth(skip)) {
                let reference = reference?;
                let (_, flags, mut location) = reference.full()?;
                // Some writers forget the flag; a reference to nowhere can only mean this file.
                let is_here = flags & 1 != 0 || location.rest().iter().all(|&byte| byte == 0);
                if !is_here {
                    return Err(Error::new(child.path, reference.at, Problem::External { found: reference.name }));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Movie;
    use super::super::fixture::{
        Node, add, bytes, children, fragmented, full, hdlr, leaf, progressive, replace, tree, words,
    };
    use super::*;

    fn describe(file: &[Node], number: usize) -> String {
        let bytes = bytes(file);
        let movie = Movie::parse("f", &bytes).unwrap();
        let track = &movie.tracks()[number];
        let entry = track.sample_entry;
        assert_eq!(&bytes[entry.offset as usize..][..entry.bytes.len()], entry.bytes);
        assert_eq!(entry.bytes[4..8], entry.fourcc);
        format!(
            "{} {:?} {} {} {:?} enabled={} group={} roles={:?} {} {:?} {:?} {:?}",
            track.id,
            track.handler,
            track.timescale.per_second(),
            track.language,
            track.name,
            track.enabled,
            track.alternate_group,
            track.roles.iter().map(|role| format!("{} {}", role.scheme, role.value)).collect::<Vec<_>>(),
            FourCc(entry.fourcc),
            track.edit,
            track.sample_count,
            track.duration,
        )
    }

    const PLAIN: &str = "Edit { media_start: 0, start_delay_nanos: 0, presented: None }";

    #[test]
    fn tracks_are_described() {
        let progressive = progressive();
        assert_eq!(
            describe(&progressive, 0),
            format!("1 Video 1000 und None enabled=true group=7 roles=[] avc1 {PLAIN} Some(5) Some(450)")
        );
        assert_eq!(
            describe(&progressive, 1),
            format!("2 Audio 48000 de None enabled=true group=7 roles=[] mp4a {PLAIN} Some(8) Some(8192)")
        );
        let fragmented = fragmented();
        assert_eq!(
            describe(&fragmented, 1),
            format!("2 Audio 48000 de None enabled=true group=7 roles=[] mp4a {PLAIN} None None")
        );
    }

    #[test]
    fn headers_say_what_a_track_is() {
        type Change = fn(&mut Vec<Node>);
        let cases: &[(&str, Change, &str)] = &[
            (
                "version 1 headers",
                |file| {
                    replace(file, "moov/mvhd", full(b"mvhd", &[0x0100_0000, 0, 0, 0, 0, 600, 0, 0]));
                    replace(file, "moov/trak[2]/tkhd", full(b"tkhd", &[0x0100_0000, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 3]));
                    let eng = (5 << 10 | 14 << 5 | 7) << 16;
                    replace(
                        file,
                        "moov/trak[2]/mdia/mdhd",
                        full(b"mdhd", &[0x0100_0000, 0, 0, 0, 0, 44_100, 0, 0, eng]),
                    );
                },
                "7 Audio 44100 en None enabled=false group=3 roles=[] mp4a",
            ),
            (
                "extended language, names, roles",
                |file| {
                    add(file, "moov/trak[2]/mdia", leaf(b"elng", *b"\0\0\0\0de-CH\0"));
                    replace(file, "moov/trak[2]/mdia/hdlr", hdlr(b"soun", b"Not this\0"));
                    let kind = leaf(b"kind", *b"\0\0\0\0urn:mpeg:dash:role:2011\0commentary\0");
                    add(
                        file,
                        "moov/trak[2]",
                        tree(b"udta", [leaf(b"name", *b"Kommentar"), kind, leaf(b"kind", *b"\0\0\0\0x")]),
                    );
                },
                "2 Audio 48000 de-CH Some(\"Kommentar\") enabled=true group=7 roles=[\"urn:mpeg:dash:role:2011 commentary\", \"x \"] mp4a",
            ),
            (
                "name of the handler, unusable language",
                |file| {
                    add(file, "moov/trak[2]/mdia", leaf(b"elng", *b"\0\0\0\0not a tag\0"));
                    replace(file, "moov/trak[2]/mdia/hdlr", hdlr(b"soun", b"Directors\0"));
                },
                "2 Audio 48000 de Some(\"Directors\") enabled=true group=7 roles=[] mp4a",
            ),
            (
                "QuickTime",
                |file| {
                    replace(file, "ftyp", leaf(b"ftyp", *b"qt  \0\0\0\0"));
                    replace(file, "moov/trak[2]/mdia/mdhd", full(b"mdhd", &[0, 0, 0, 48_000, 0, 3 << 16]));
                    let name = leaf(b"\xa9nam", *b"\0\x04\0\0Voce");
                    add(file, "moov/trak[2]", tree(b"udta", [name, full(b"\0\0\0\0", &[])]));
                    add(file, "moov/trak[2]/mdia/minf", hdlr(b"alis", b"\x17Apple Alias Data Handler"));
                },
                "2 Audio 48000 it Some(\"Voce\") enabled=true group=7 roles=[] mp4a",
            ),
            (
                "a timecode",
                |file| replace(file, "moov/trak[2]/mdia/hdlr", hdlr(b"tmcd", b"")),
                "2 Other(tmcd) 48000 de None enabled=true group=7 roles=[] mp4a",
            ),
            (
                "chapters",
                |file| {
                    replace(file, "moov/trak[2]/mdia/hdlr", hdlr(b"text", b""));
                    add(file, "moov/trak[1]", tree(b"tref", [full(b"chap", &[9, 2])]));
                },
                "2 Other(chap) 48000 de None enabled=true group=7 roles=[] mp4a",
            ),
            (
                "subtitles",
                |file| replace(file, "moov/trak[2]/mdia/hdlr", hdlr(b"sbtl", b"")),
                "2 Subtitle 48000 de None enabled=true group=7 roles=[] mp4a",
            ),
            (
                "an edit list",
                |file| add(file, "moov/trak[2]", tree(b"edts", [full(b"elst", &[0, 1, 100, 1_024, 0x1_0000])])),
                "2 Audio 48000 de None enabled=true group=7 roles=[] mp4a Edit { media_start: 1024, start_delay_nanos: 0, presented: Some(4800) }",
            ),
        ];
        for (name, change, want) in cases {
            let mut file = progressive();
            change(&mut file);
            let got = describe(&file, 1);
            assert!(got.starts_with(want), "{name}: {got}");
        }
    }

    #[test]
    fn apples_note_stands_in_for_an_edit_list() {
        let value = b" 00000000 00000840 000001C0 0000000000001600 00000000";
        let item = |name: &[u8]| {
            let data = leaf(b"data", [&words(&[1, 0])[..], value].concat());
            tree(
                b"----",
                [leaf(b"mean", *b"\0\0\0\0com.apple.iTunes"), leaf(b"name", [b"\0\0\0\0", name].concat()), data],
            )
        };
        let list = || tree(b"ilst", [item(b"iTunNORM"), item(b"iTunSMPB")]);
        let iso = leaf(b"meta", [vec![0; 4], bytes(&[hdlr(b"mdir", b""), list()])].concat());
        let quicktime = tree(b"meta", [hdlr(b"mdir", b""), list()]);
        for meta in [iso, quicktime] {
            let mut file = progressive();
            add(&mut file, "moov", tree(b"udta", [meta]));
            assert!(describe(&file, 1).contains("media_start: 2112, start_delay_nanos: 0, presented: Some(5632)"));
            assert!(describe(&file, 0).contains(PLAIN));
            add(&mut file, "moov/trak[2]", tree(b"edts", [full(b"elst", &[0, 1, 0, 7, 0x1_0000])]));
            assert!(describe(&file, 1).contains("media_start: 7"), "an edit list is worth more");
            // With two audio tracks nobody knows whose it is.
            children(&mut file, "moov/trak[2]").pop();
            replace(&mut file, "moov/trak[1]/mdia/hdlr", hdlr(b"soun", b""));
            assert!(describe(&file, 1).contains(PLAIN));
        }
    }

    #[test]
    fn fragments_choose_among_descriptions() {
        use super::super::fixture::{avc1, mp4a, stsd};
        let mut file = fragmented();
        replace(&mut file, "moov/trak[1]/mdia/minf/stbl/stsd", stsd(&[mp4a(), avc1()]));
        replace(&mut file, "moov/mvex/trex[1]", full(b"trex", &[0, 1, 2, 100, 0, 0x0101_0000]));
        assert!(describe(&file, 0).contains(" avc1 "));
        let all = bytes(&file);
        assert!(Movie::parse("f", &all).unwrap().tracks()[0].samples().all(|sample| sample.is_ok()));
        replace(&mut file, "moof[2]/traf[1]/tfhd", full(b"tfhd", &[0x2_0002, 1, 1]));
        let all = bytes(&file);
        let error = Movie::parse("f", &all).unwrap().tracks()[0].samples().find_map(Result::err).unwrap().to_string();
        let at = all.windows(4).rposition(|window| window == b"tfhd").unwrap() - 36;
        assert!(error.starts_with("f: moof[2]/traf[1]/tfhd at byte"), "{error} {at}");
        assert!(
            error.ends_with("found sample description 1 of stsd, expected 2, that of the other samples"),
            "{error}"
        );
    }
}
