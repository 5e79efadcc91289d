//! The CMAF header of a track: `ftyp` and `moov`.
//!
//! ```text
//! ftyp  iso6 and the CMAF brands
//! moov
//!   mvhd
//!   trak
//!     tkhd
//!     edts/elst      only with priming
//!     mdia
//!       mdhd elng? hdlr
//!       minf         vmhd | smhd, dinf/dref, stbl (stsd, and empty stts stsc stsz stco)
//!     udta/name?
//!   mvex  mehd? trex
//! ```

use crate::base::Timescale;
use crate::media::Kind;

use super::super::Matrix;
use super::fragment::TRACK_ID;
use super::{boxed, full_boxed, put_u16, put_u32, put_u64};

/// What a CMAF header says.
pub struct Header<'a> {
    pub timescale: Timescale,
    /// A whole sample entry box.
    pub sample_entry: &'a [u8],
    pub kind: Kind,
    /// BCP 47.
    pub language: &'a str,
    pub name: Option<&'a str>,
    /// Media time at which presentation starts, in track ticks: the priming. 0 for none.
    pub media_start: u64,
    /// Display size in pixels, pixel aspect applied, before the picture is turned; 0 for audio.
    pub width: u32,
    pub height: u32,
    /// How the picture is turned.
    pub matrix: Matrix,
    /// Of a sample, in track ticks: the usual one, which fragments override.
    pub default_duration: u32,
    /// Length of all fragments together, in track ticks.
    pub fragment_duration_hint: Option<u64>,
}

impl<'a> Header<'a> {
    /// Of a track of which no more is said: no size, no name, no priming, and fragments say how long their samples are.
    pub fn new(kind: Kind, timescale: Timescale, sample_entry: &'a [u8], language: &'a str) -> Header<'a> {
        Header {
            timescale,
            sample_entry,
            kind,
            language,
            name: None,
            media_start: 0,
            width: 0,
            height: 0,
            matrix: Matrix::default(),
            default_duration: 0,
            fragment_duration_hint: None,
        }
    }
}

/// `ftyp` and `moov` of a track file.
pub fn header(header: &Header<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + header.sample_entry.len());
    ftyp(&mut out, header);
    boxed(&mut out, b"moov", |out| {
        full_boxed(out, b"mvhd", 0, 0, |out| {
            put_u32(out, 0); // creation and modification: one source gives the same bytes whenever it is imported
            put_u32(out, 0);
            put_u32(out, header.timescale.per_second());
            put_u32(out, 0); // duration: the fragments'
            put_u32(out, 0x1_0000); // rate 1.0
            put_u16(out, 0x100); // volume 1.0
            out.extend_from_slice(&[0; 10]);
            Matrix::default().values().iter().for_each(|&value| put_u32(out, value));
            out.extend_from_slice(&[0; 24]);
            put_u32(out, TRACK_ID + 1);
        });
        boxed(out, b"trak", |out| trak(out, header));
        boxed(out, b"mvex", |out| {
            if let Some(duration) = header.fragment_duration_hint {
                full_boxed(out, b"mehd", 1, 0, |out| put_u64(out, duration));
            }
            full_boxed(out, b"trex", 0, 0, |out| {
                put_u32(out, TRACK_ID);
                put_u32(out, 1); // sample description
                put_u32(out, header.default_duration);
                put_u32(out, 0);
                put_u32(out, 0);
            });
        });
    });
    out
}

/// `cmfc` is CMAF itself; `cmf2` adds that fragments rely on no default of `trex` and that video needs no edit list
/// (ISO/IEC 23000-19 §7.7). Codec brands are claimed where the codec's binding asks for them and they promise no media
/// profile: `av01` (AV1 in ISOBMFF §2.1), `dby1` (Dolby).
fn ftyp(out: &mut Vec<u8>, header: &Header<'_>) {
    let entry: [u8; 4] = header.sample_entry.get(4..8).and_then(|kind| kind.try_into().ok()).unwrap_or_default();
    let brand: &[u8] = match &entry {
        b"av01" | b"dav1" => b"av01",
        b"dvh1" | b"dvhe" | b"dva1" | b"dvav" | b"ac-3" | b"ec-3" => b"dby1",
        _ => b"",
    };
    boxed(out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6");
        put_u32(out, 0);
        out.extend_from_slice(b"iso6cmfc");
        if header.kind != Kind::Video || header.media_start == 0 {
            out.extend_from_slice(b"cmf2");
        }
        out.extend_from_slice(brand);
    });
}

fn trak(out: &mut Vec<u8>, header: &Header<'_>) {
    // enabled, in movie, in preview
    full_boxed(out, b"tkhd", 0, 7, |out| {
        put_u32(out, 0);
        put_u32(out, 0);
        put_u32(out, TRACK_ID);
        out.extend_from_slice(&[0; 4]);
        put_u32(out, 0);
        out.extend_from_slice(&[0; 12]); // reserved, layer, alternate group
        put_u16(out, if header.kind == Kind::Audio { 0x100 } else { 0 });
        put_u16(out, 0);
        header.matrix.values().iter().for_each(|&value| put_u32(out, value));
        put_u32(out, header.width.min(0xFFFF) << 16);
        put_u32(out, header.height.min(0xFFFF) << 16);
    });
    if header.media_start > 0 {
        boxed(out, b"edts", |out| {
            full_boxed(out, b"elst", 1, 0, |out| {
                put_u32(out, 1);
                put_u64(out, 0); // the rest of the track, however long (ISO/IEC 14496-12 §8.6.6.1)
                put_u64(out, header.media_start);
                put_u32(out, 0x1_0000);
            });
        });
    }
    boxed(out, b"mdia", |out| mdia(out, header));
    if let Some(name) = header.name {
        boxed(out, b"udta", |out| boxed(out, b"name", |out| out.extend_from_slice(name.as_bytes())));
    }
}

fn mdia(out: &mut Vec<u8>, header: &Header<'_>) {
    full_boxed(out, b"mdhd", 0, 0, |out| {
        put_u32(out, 0);
        put_u32(out, 0);
        put_u32(out, header.timescale.per_second());
        put_u32(out, 0);
        put_u16(out, packed_language(header.language));
        put_u16(out, 0);
    });
    // What three letters cannot say (ISO/IEC 14496-12 §8.4.6).
    if header.language.len() != 3 && !header.language.is_empty() {
        full_boxed(out, b"elng", 0, 0, |out| put_string(out, header.language));
    }
    let (handler, name) = match header.kind {
        Kind::Video => (b"vide", "VideoHandler"),
        Kind::Audio => (b"soun", "SoundHandler"),
        // ISO/IEC 14496-12 §12.6: TTML is subtitles, and not text.
        Kind::Text if is_ttml(header) => (b"subt", "SubtitleHandler"),
        Kind::Text => (b"text", "TextHandler"),
    };
    full_boxed(out, b"hdlr", 0, 0, |out| {
        put_u32(out, 0);
        out.extend_from_slice(handler);
        out.extend_from_slice(&[0; 12]);
        put_string(out, name);
    });
    boxed(out, b"minf", |out| {
        match header.kind {
            Kind::Video => full_boxed(out, b"vmhd", 0, 1, |out| out.extend_from_slice(&[0; 8])),
            Kind::Audio => full_boxed(out, b"smhd", 0, 0, |out| out.extend_from_slice(&[0; 4])),
            Kind::Text if is_ttml(header) => full_boxed(out, b"sthd", 0, 0, |_| {}),
            Kind::Text => full_boxed(out, b"nmhd", 0, 0, |_| {}),
        }
        boxed(out, b"dinf", |out| {
            full_boxed(out, b"dref", 0, 0, |out| {
                put_u32(out, 1);
                full_boxed(out, b"url ", 0, 1, |_| {}); // the media is in this file
            });
        });
        boxed(out, b"stbl", |out| {
            full_boxed(out, b"stsd", 0, 0, |out| {
                put_u32(out, 1);
                out.extend_from_slice(header.sample_entry);
            });
            full_boxed(out, b"stts", 0, 0, |out| put_u32(out, 0));
            full_boxed(out, b"stsc", 0, 0, |out| put_u32(out, 0));
            full_boxed(out, b"stsz", 0, 0, |out| out.extend_from_slice(&[0; 8]));
            full_boxed(out, b"stco", 0, 0, |out| put_u32(out, 0));
        });
    });
}

fn is_ttml(header: &Header<'_>) -> bool {
    header.sample_entry.get(4..8) == Some(b"stpp")
}

/// Zero-terminated: what follows a zero inside is not said.
fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().take_while(|&byte| byte != 0));
    out.push(0);
}

/// Three lower-case letters in 15 bits (ISO/IEC 14496-12 §8.4.2.3); `und` for what has no three-letter code here.
///
/// BCP 47 prefers two letters; the commonest are mapped to ISO 639-2/T, and `elng` says the rest.
fn packed_language(language: &str) -> u16 {
    three_letters(language).bytes().fold(0, |packed, letter| packed << 5 | u16::from(letter - 0x60))
}

/// Three lower-case letters (ISO 639-2/T) for a tag of BCP 47; `und` for what has none here.
pub fn three_letters(language: &str) -> &str {
    let primary = language.split('-').next().unwrap_or_default();
    match primary {
        _ if primary.len() == 3 && primary.bytes().all(|byte| byte.is_ascii_lowercase()) => primary,
        "ar" => "ara",
        "cs" => "ces",
        "da" => "dan",
        "de" => "deu",
        "el" => "ell",
        "en" => "eng",
        "es" => "spa",
        "fi" => "fin",
        "fr" => "fra",
        "he" => "heb",
        "hi" => "hin",
        "hu" => "hun",
        "it" => "ita",
        "ja" => "jpn",
        "ko" => "kor",
        "nb" => "nob",
        "nl" => "nld",
        "no" => "nor",
        "pl" => "pol",
        "pt" => "por",
        "ro" => "ron",
        "ru" => "rus",
        "sv" => "swe",
        "th" => "tha",
        "tr" => "tur",
        "uk" => "ukr",
        "vi" => "vie",
        "zh" => "zho",
        _ => "und",
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Ftyp, Moov, ReadFrom};

    use super::*;

    fn entry(kind: &[u8; 4]) -> Vec<u8> {
        let mut entry = vec![0, 0, 0, 8];
        entry.extend_from_slice(kind);
        entry
    }

    fn audio(sample_entry: &[u8]) -> Header<'_> {
        Header {
            timescale: Timescale::new(48_000).unwrap(),
            sample_entry,
            kind: Kind::Audio,
            language: "en",
            name: Some("English"),
            media_start: 1024,
            width: 0,
            height: 0,
            matrix: Matrix::default(),
            default_duration: 1024,
            fragment_duration_hint: None,
        }
    }

    #[test]
    fn layout_byte_by_byte() {
        let entry = entry(b"tst1");
        let out = header(&audio(&entry));
        let zeros = [0; 60];
        let z = |count: usize| &zeros[..count];
        let matrix: Vec<u8> = Matrix::default().values().iter().flat_map(|value| value.to_be_bytes()).collect();
        let rows: &[(&str, &[&[u8]])] = &[
            ("ftyp", &[&[0, 0, 0, 28], b"ftyp", b"iso6", z(4), b"iso6cmfccmf2"]),
            ("moov", &[&[0, 0, 2, 71], b"moov"]),
            (
                "mvhd",
                &[&[0, 0, 0, 108], b"mvhd", z(12), &[0, 0, 0xBB, 0x80], z(4), &[0, 1, 0, 0, 1, 0], z(10), &matrix],
            ),
            ("mvhd: next_track_ID", &[z(24), &[0, 0, 0, 2]]),
            ("trak", &[&[0, 0, 1, 171], b"trak"]),
            (
                "tkhd",
                &[
                    &[0, 0, 0, 92],
                    b"tkhd",
                    &[0, 0, 0, 7],
                    z(8),
                    &[0, 0, 0, 1],
                    z(8),
                    z(12),
                    &[1, 0, 0, 0],
                    &matrix,
                    z(8),
                ],
            ),
            ("edts", &[&[0, 0, 0, 44], b"edts", &[0, 0, 0, 36], b"elst", &[1, 0, 0, 0, 0, 0, 0, 1]]),
            ("elst: duration, media_time, rate", &[z(8), &[0, 0, 0, 0, 0, 0, 4, 0], &[0, 1, 0, 0]]),
            ("mdia", &[&[0, 0, 1, 4], b"mdia"]),
            ("mdhd: eng", &[&[0, 0, 0, 32], b"mdhd", z(12), &[0, 0, 0xBB, 0x80], z(4), &[0x15, 0xC7, 0, 0]]),
            ("elng", &[&[0, 0, 0, 15], b"elng", z(4), b"en\0"]),
            ("hdlr", &[&[0, 0, 0, 45], b"hdlr", z(8), b"soun", z(12), b"SoundHandler\0"]),
            ("minf", &[&[0, 0, 0, 160], b"minf"]),
            ("smhd", &[&[0, 0, 0, 16], b"smhd", z(8)]),
            ("dinf", &[&[0, 0, 0, 36], b"dinf", &[0, 0, 0, 28], b"dref", z(4), &[0, 0, 0, 1]]),
            ("dinf: url", &[&[0, 0, 0, 12], b"url ", &[0, 0, 0, 1]]),
            ("stbl", &[&[0, 0, 0, 100], b"stbl"]),
            ("stsd", &[&[0, 0, 0, 24], b"stsd", z(4), &[0, 0, 0, 1], &entry]),
            ("stts", &[&[0, 0, 0, 16], b"stts", z(8)]),
            ("stsc", &[&[0, 0, 0, 16], b"stsc", z(8)]),
            ("stsz", &[&[0, 0, 0, 20], b"stsz", z(12)]),
            ("stco", &[&[0, 0, 0, 16], b"stco", z(8)]),
            ("udta", &[&[0, 0, 0, 23], b"udta", &[0, 0, 0, 15], b"name", b"English"]),
            ("mvex", &[&[0, 0, 0, 40], b"mvex", &[0, 0, 0, 32], b"trex", z(4), &[0, 0, 0, 1, 0, 0, 0, 1]]),
            ("trex: defaults", &[&[0, 0, 4, 0], z(8)]),
        ];
        let mut at = 0;
        for (name, parts) in rows {
            let want = parts.concat();
            assert_eq!(out.get(at..at + want.len()), Some(&want[..]), "{name}");
            at += want.len();
        }
        assert_eq!(out.len(), at);
    }

    #[test]
    fn another_reader_reads_what_was_written() {
        let sample_entry = entry(b"tst1");
        let video = Header {
            kind: Kind::Video,
            width: 1920,
            height: 1080,
            media_start: 0,
            language: "pt-BR",
            name: None,
            fragment_duration_hint: Some(1 << 33),
            ..audio(&sample_entry)
        };
        for (header, language) in [(audio(&sample_entry), "eng"), (video, "por")] {
            let out = super::header(&header);
            let mut rest = out.as_slice();
            Ftyp::read_from(&mut rest).unwrap();
            let moov = Moov::read_from(&mut rest).unwrap();
            assert!(rest.is_empty());
            let trak = &moov.trak[0];
            assert_eq!(trak.mdia.mdhd.timescale, 48_000);
            assert_eq!(trak.mdia.mdhd.language, language);
            assert_eq!(u32::from(trak.tkhd.width.integer()), header.width);
            assert_eq!(u32::from(trak.tkhd.height.integer()), header.height);
            let mvex = moov.mvex.unwrap();
            assert_eq!(mvex.trex[0].default_sample_duration, 1024);
            assert_eq!(mvex.mehd.map(|mehd| mehd.fragment_duration), header.fragment_duration_hint);
            let edits = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
            assert_eq!(edits.and_then(|elst| elst.entries[0].media_time).unwrap_or(0), header.media_start);
        }
    }

    #[test]
    fn brands() {
        let cases: &[(&[u8; 4], Kind, u64, &[u8])] = &[
            (b"avc1", Kind::Video, 0, b"iso6cmfccmf2"),
            (b"avc1", Kind::Video, 9, b"iso6cmfc"),
            (b"mp4a", Kind::Audio, 9, b"iso6cmfccmf2"),
            (b"av01", Kind::Video, 0, b"iso6cmfccmf2av01"),
            (b"ec-3", Kind::Audio, 0, b"iso6cmfccmf2dby1"),
        ];
        for (kind, track, media_start, want) in cases {
            let sample_entry = entry(kind);
            let out = header(&Header { kind: *track, media_start: *media_start, ..audio(&sample_entry) });
            assert_eq!(out.get(16..16 + want.len()), Some(*want), "{}", kind.escape_ascii());
            assert_eq!(usize::from(out[3]), 16 + want.len());
        }
    }

    #[test]
    fn languages() {
        for (language, want) in [("und", "und"), ("eng", "eng"), ("en", "eng"), ("zh-Hans", "zho"), ("tlh", "tlh")] {
            let packed = want.bytes().fold(0, |packed, letter| packed << 5 | u16::from(letter - 0x60));
            assert_eq!(packed_language(language), packed, "{language}");
        }
        for odd in ["", "x", "EN", "é", "e\0g", "xx-YY"] {
            assert_eq!(packed_language(odd), 0x55C4, "{odd:?}");
        }
    }
}
