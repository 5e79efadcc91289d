//! What real files and hostile ones are described as.

use proptest::prelude::*;

use super::fixtures::{self as from, Fixture, bytes};
use super::*;
use crate::media::track::{Audio, Video, VideoRange};

fn described(fixture: &Fixture) -> Result<Description, Error> {
    describe("f.mp4", &bytes(fixture.entry), 1000, &bytes(fixture.sample))
}

#[test]
fn video() {
    use VideoRange::{Hlg, Pq, Sdr};
    type Row = (&'static str, Fixture, &'static str, (u32, u32), (u32, u32), VideoRange, u8, (u8, u8, u8));
    let cases: &[Row] = &[
        ("h264", from::H264, "avc1.42c00c", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("h264 1080", from::H264_1080, "avc1.640028", (1920, 1080), (1, 1), Sdr, 8, (1, 1, 1)),
        ("h264 hi10", from::H264_HI10, "avc1.6e0015", (320, 180), (4, 3), Sdr, 10, (2, 2, 2)),
        ("h264 444 mov", from::H264_MOV, "avc1.f4000c", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("hevc", from::HEVC, "hev1.1.6.L60.90", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("hevc pq", from::HEVC_PQ, "hvc1.2.4.L60.90", (320, 180), (1, 1), Pq, 10, (9, 16, 9)),
        ("hevc hlg", from::HEVC_HLG, "hvc1.2.4.L60.90", (320, 180), (1, 1), Hlg, 10, (9, 18, 9)),
        ("av1", from::AV1, "av01.0.00M.08", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("av1 pq", from::AV1_PQ, "av01.0.00M.10.0.110.09.16.09.0", (320, 180), (1, 1), Pq, 10, (9, 16, 9)),
        ("av1 svt", from::AV1_SVT, "av01.0.00M.08", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("vp9", from::VP9, "vp09.00.11.08", (320, 180), (1, 1), Sdr, 8, (2, 2, 2)),
        ("vp9 pq", from::VP9_P2, "vp09.02.11.10.01.09.16.09.00", (320, 180), (1, 1), Pq, 10, (9, 16, 9)),
    ];
    for (name, fixture, codec, (width, height), pixel_aspect, range, bit_depth, colour) in cases {
        let got = described(fixture).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got.codec, *codec, "{name}");
        let want = Video {
            width: *width,
            height: *height,
            pixel_aspect: *pixel_aspect,
            frame_rate: (0, 1),
            range: *range,
            bit_depth: *bit_depth,
            colour: *colour,
            supplemental_codec: None,
            captions: Vec::new(),
        };
        assert_eq!(got.details, Details::Video(want), "{name}");
    }
}

#[test]
fn audio() {
    type Row = (&'static str, Fixture, &'static str, u32, u16, u8, Option<u16>, Option<u32>);
    let cases: &[Row] = &[
        ("aac", from::AAC, "mp4a.40.2", 48_000, 1, 1, None, Some(1024)),
        ("aac mov", from::AAC_MOV, "mp4a.40.2", 48_000, 2, 2, None, Some(1024)),
        ("aac 5.1", from::AAC51, "mp4a.40.2", 48_000, 6, 6, None, Some(1024)),
        ("aac 7.1", from::AAC71, "mp4a.40.2", 48_000, 8, 7, None, Some(1024)),
        ("mp3", from::MP3, "mp4a.6B", 48_000, 2, 2, None, Some(1152)),
        ("mp3 lsf", from::MP3_22, "mp4a.69", 22_050, 2, 2, None, Some(576)),
        ("mp3 mov", from::MP3_MOV, "mp4a.6B", 48_000, 2, 2, None, Some(1152)),
        ("ac-3", from::AC3, "ac-3", 48_000, 6, 6, Some(0xF801), Some(1536)),
        ("e-ac-3", from::EAC3, "ec-3", 48_000, 6, 6, Some(0xF801), Some(1536)),
        ("e-ac-3 mov", from::EAC3_MOV, "ec-3", 48_000, 2, 2, Some(0xA000), Some(1536)),
        ("opus", from::OPUS, "Opus", 48_000, 2, 2, None, None),
        ("opus 5.1", from::OPUS51, "Opus", 48_000, 6, 6, None, None),
        ("flac", from::FLAC, "fLaC", 48_000, 2, 2, None, Some(4608)),
    ];
    for (name, fixture, codec, sample_rate, channels, configuration, dolby_channels, frame_length) in cases {
        let got = described(fixture).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got.codec, *codec, "{name}");
        let want = Audio {
            sample_rate: *sample_rate,
            channels: *channels,
            channel_configuration: *configuration,
            dolby_channels: *dolby_channels,
            joint_objects: None,
        };
        assert_eq!(got.details, Details::Audio(want), "{name}");
        assert_eq!(got.framing, Framing::Audio { frame_length: *frame_length }, "{name}");
        assert_eq!(got.priming_hint, codec.starts_with("Opus").then_some(312), "{name}");
        assert_eq!(got.random_access(&bytes(fixture.sample), false), Some(Start::Closed), "{name}");
    }
}

/// Every supported entry, for properties that all of them have.
fn all() -> Vec<(&'static str, Fixture)> {
    vec![
        ("h264", from::H264),
        ("h264 1080", from::H264_1080),
        ("h264 hi10", from::H264_HI10),
        ("h264 mov", from::H264_MOV),
        ("hevc", from::HEVC),
        ("hevc pq", from::HEVC_PQ),
        ("hevc hlg", from::HEVC_HLG),
        ("av1", from::AV1),
        ("av1 pq", from::AV1_PQ),
        ("vp9", from::VP9),
        ("vp9 pq", from::VP9_P2),
        ("aac", from::AAC),
        ("aac mov", from::AAC_MOV),
        ("aac 5.1", from::AAC51),
        ("mp3", from::MP3),
        ("mp3 mov", from::MP3_MOV),
        ("ac-3", from::AC3),
        ("e-ac-3", from::EAC3),
        ("e-ac-3 mov", from::EAC3_MOV),
        ("opus", from::OPUS),
        ("opus 5.1", from::OPUS51),
        ("flac", from::FLAC),
    ]
}

#[test]
fn a_written_entry_is_described_as_its_source_was() {
    for (name, fixture) in all() {
        let first = described(&fixture).unwrap();
        let again = describe("f.mp4", &first.sample_entry, 0, &bytes(fixture.sample)).unwrap();
        assert_eq!(first, again, "{name}");
    }
}

#[test]
fn quicktime_entries_become_iso_entries() {
    let aac = described(&from::AAC_MOV).unwrap().sample_entry;
    assert_eq!(aac.get(4..8), Some(&b"mp4a"[..]));
    assert_eq!(aac.get(16..18), Some(&[0, 0][..]), "version 0");
    assert_eq!(aac.get(40..44), Some(&b"esds"[..]));
    let mp3 = described(&from::MP3_MOV).unwrap().sample_entry;
    assert_eq!(mp3.get(4..8), Some(&b"mp4a"[..]));
    assert_eq!(mp3.get(40..44), Some(&b"esds"[..]));
}

#[test]
fn boxes_about_the_picture_are_kept() {
    let has = |entry: &[u8], kind: &[u8]| entry.windows(4).any(|window| window == kind);
    let pq = described(&from::HEVC_PQ).unwrap().sample_entry;
    for kind in [b"colr", b"mdcv", b"clli"] {
        let there = has(&bytes(from::HEVC_PQ.entry), kind);
        assert_eq!(has(&pq, kind), there, "{}", kind.escape_ascii());
    }
    let mov = described(&from::H264_MOV).unwrap().sample_entry;
    assert!(!has(&mov, b"colr"), "no colour is invented");
}

#[test]
fn parameter_sets_in_band() {
    // An avcC without parameter sets, the sequence parameter set in the sample.
    let entry = bytes(from::H264.entry);
    let at = entry.windows(4).position(|window| window == b"avcC").unwrap();
    let sps_size = usize::from(u16::from_be_bytes([entry[at + 10], entry[at + 11]]));
    let mut sample = (sps_size as u32).to_be_bytes().to_vec();
    sample.extend_from_slice(&entry[at + 12..at + 12 + sps_size]);
    let mut bare = entry[..at + 9].to_vec();
    bare.extend_from_slice(&[0xE0, 0]);
    bare[at - 4..at].copy_from_slice(&15_u32.to_be_bytes());
    let size = bare.len() as u32;
    bare[..4].copy_from_slice(&size.to_be_bytes());
    let got = describe("f.mp4", &bare, 0, &sample).unwrap();
    assert_eq!(got.codec, "avc3.42c00c");
    assert_eq!(got.sample_entry.get(4..8), Some(&b"avc3"[..]));
    let error = describe("f.mp4", &bare, 100, &[]).unwrap_err().to_string();
    let want = format!(
        "f.mp4: stsd/avc1/avcC at byte {}: no sequence parameter set; expected one here or in the first sample",
        100 + at + 4
    );
    assert_eq!(error, want);
}

#[test]
fn errors_name_file_box_offset_found_and_expected() {
    let cut = |fixture: &Fixture, kind: &[u8; 4], keep: usize| {
        let mut entry = bytes(fixture.entry);
        let at = entry.windows(4).position(|window| window == kind).unwrap();
        entry.truncate(at + 4 + keep);
        entry[at - 4..at].copy_from_slice(&(keep as u32 + 8).to_be_bytes());
        let size = entry.len() as u32;
        entry[..4].copy_from_slice(&size.to_be_bytes());
        entry
    };
    let patched = |fixture: &Fixture, kind: &[u8; 4], offset: usize, value: u8| {
        let mut entry = bytes(fixture.entry);
        let at = entry.windows(4).position(|window| window == kind).unwrap();
        entry[at + offset] = value;
        entry
    };
    let named = |kind: &[u8; 4]| [&[0, 0, 0, 8], &kind[..]].concat();
    let cases: &[(Vec<u8>, &str)] = &[
        (
            bytes(from::MPEG4.entry),
            "f.mp4: stsd/mp4v at byte 3121: MPEG-4 Part 2 video; expected H.264, HEVC, AV1 or VP9",
        ),
        (
            bytes(from::ENC.entry),
            "f.mp4: stsd/encv at byte 3121: encrypted media (avc1, scheme cenc); expected media in the clear",
        ),
        (named(b"sowt"), "f.mp4: stsd/sowt at byte 3121: PCM audio; expected AAC, AC-3, E-AC-3, Opus, FLAC or MP3"),
        (
            named(b"x\xFFyz"),
            "f.mp4: stsd/x\\xffyz at byte 3121: sample entry x\\xffyz; expected H.264, HEVC, AV1, VP9, AAC, AC-3, \
             E-AC-3, Opus, FLAC or MP3",
        ),
        (
            vec![0, 0, 0, 9, b'a', b'v', b'c', b'1'],
            "f.mp4: stsd/avc1 at byte 3121: a sample entry of 9 bytes; expected 8 bytes",
        ),
        (vec![0, 0], "f.mp4: stsd at byte 3121: 2 bytes left; expected 4 more"),
        (named(b"avc1"), "f.mp4: stsd/avc1 at byte 3129: 0 bytes left; expected 24 more"),
        (cut(&from::H264, b"avcC", 7), "f.mp4: stsd/avc1/avcC at byte 3221: 1 bytes left; expected 2 more"),
        (
            patched(&from::H264, b"avcC", 8, 0xFE),
            "f.mp4: stsd/avc1/avcC at byte 3219: NAL unit lengths of 3 bytes; expected 1, 2 or 4",
        ),
        (
            patched(&from::H264, b"avcC", 0, b'x'),
            "f.mp4: stsd/avc1 at byte 3121: xvcC, pasp, btrt; expected a box avcC",
        ),
        (
            patched(&from::AAC, b"esds", 21, 0x49),
            "f.mp4: stsd/mp4a/esds at byte 3182: object type 0x49; expected AAC, AC-3, E-AC-3, Opus, FLAC or MP3",
        ),
        (
            patched(&from::FLAC, b"dfLa", 8, 4),
            "f.mp4: stsd/fLaC/dfLa at byte 3169: metadata block 4 of 34 bytes; expected STREAMINFO of 34 bytes first",
        ),
    ];
    for (entry, want) in cases {
        let error = describe("f.mp4", entry, 3121, &[]).unwrap_err();
        assert_eq!(error.to_string(), *want);
    }
}

/// An entry with another kind and one more box.
fn with_box(fixture: &Fixture, kind: &[u8; 4], atom: &[u8]) -> Vec<u8> {
    let mut entry = [bytes(fixture.entry), atom.to_vec()].concat();
    let size = entry.len() as u32;
    entry[..4].copy_from_slice(&size.to_be_bytes());
    entry[4..8].copy_from_slice(kind);
    entry
}

#[test]
fn dolby_vision() {
    use VideoRange::{Hlg, Pq, Sdr};
    let record = |kind: &[u8; 4], profile: u16, level: u16, compatibility: u8| {
        let numbers = (profile << 9 | level << 3 | 0b101).to_be_bytes();
        let mut atom = [&[0, 0, 0, 32], &kind[..], &[1, 0], &numbers, &[compatibility << 4]].concat();
        atom.resize(32, 0);
        atom
    };
    type Row = (Fixture, [u8; 4], Vec<u8>, &'static str, Option<&'static str>, VideoRange);
    let cases: &[Row] = &[
        (from::HEVC_PQ, *b"hvc1", record(b"dvvC", 8, 7, 1), "hvc1.2.4.L60.90", Some("dvh1.08.07/db1p"), Pq),
        (from::HEVC_HLG, *b"hvc1", record(b"dvvC", 8, 7, 4), "hvc1.2.4.L60.90", Some("dvh1.08.07/db4h"), Hlg),
        (from::HEVC, *b"hev1", record(b"dvvC", 8, 10, 2), "hev1.1.6.L60.90", Some("dvhe.08.10/db2g"), Sdr),
        (from::HEVC, *b"hvc1", record(b"dvcC", 7, 6, 6), "hvc1.1.6.L60.90", None, Sdr),
        (from::HEVC, *b"dvh1", record(b"dvcC", 5, 6, 0), "dvh1.05.06", None, Pq),
        (from::HEVC_HLG, *b"dvhe", record(b"dvvC", 8, 6, 4), "dvhe.08.06", None, Hlg),
        (from::H264, *b"avc1", record(b"dvvC", 9, 1, 2), "avc1.42c00c", Some("dva1.09.01/db2g"), Sdr),
        (
            from::AV1_PQ,
            *b"av01",
            record(b"dvvC", 10, 9, 1),
            "av01.0.00M.10.0.110.09.16.09.0",
            Some("dav1.10.09/db1p"),
            Pq,
        ),
        (from::AV1_PQ, *b"dav1", record(b"dvvC", 10, 9, 0), "dav1.10.09", None, Pq),
    ];
    for (fixture, kind, atom, codec, supplemental, range) in cases {
        let entry = with_box(fixture, kind, atom);
        let got = describe("f.mp4", &entry, 0, &bytes(fixture.sample)).unwrap();
        assert_eq!(got.codec, *codec);
        let Details::Video(video) = got.details else { panic!("{codec}") };
        assert_eq!((video.supplemental_codec.as_deref(), video.range), (*supplemental, *range), "{codec}");
        assert!(got.sample_entry.ends_with(atom), "{codec}: the box is kept");
    }
    let cut = with_box(&from::HEVC, b"hvc1", &[0, 0, 0, 11, b'd', b'v', b'c', b'C', 1, 0, 0x10]);
    let error = describe("f.mp4", &cut, 0, &[]).unwrap_err().to_string();
    let want = format!("f.mp4: stsd/hvc1/dvcC at byte {}: 1 bytes left; expected 2 more", cut.len() - 1);
    assert_eq!(error, want);
}

#[test]
fn quicktime_sound_of_version_2_and_iso_entries_of_version_1() {
    let esds = {
        let entry = bytes(from::AAC.entry);
        entry[36..36 + usize::from(entry[39])].to_vec()
    };
    let mut fields = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 16, 0xFF, 0xFE, 0, 0, 0, 1, 0, 0];
    fields.extend_from_slice(&72_u32.to_be_bytes());
    fields.extend_from_slice(&48_000_f64.to_bits().to_be_bytes());
    fields.extend_from_slice(&1_u32.to_be_bytes());
    fields.extend_from_slice(&[0x7F, 0, 0, 0]);
    fields.extend_from_slice(&[0; 16]);
    let mut iso = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0];
    iso.extend_from_slice(&[0xBB, 0x80, 0, 0]);
    let want = described(&from::AAC).unwrap();
    // An .mp3 entry of version 1 without a box.
    let mut bare = [&[0, 0, 0, 52], &b".mp3"[..], &iso].concat();
    bare.extend_from_slice(&[0, 0, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(describe("f.mp4", &bare, 0, &bytes(from::MP3_MOV.sample)).unwrap().codec, "mp4a.6B");
    for (name, fields) in [("QuickTime version 2", fields), ("ISO version 1", iso)] {
        let mut entry = [&[0; 4], &b"mp4a"[..], &fields, &esds].concat();
        let size = entry.len() as u32;
        entry[..4].copy_from_slice(&size.to_be_bytes());
        let got = describe("f.mp4", &entry, 0, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((&got.codec, &got.details), (&want.codec, &want.details), "{name}");
    }
}

#[test]
fn broadcast_hlg_is_hlg() {
    // Coded as BT.2020, which colr says here, and HLG named in a SEI.
    let range = |entry: &[u8], sample: &[u8]| match describe("f.mp4", entry, 0, sample).unwrap().details {
        Details::Video(video) => video.range,
        _ => unreachable!("HEVC is video"),
    };
    let colr = [&[0, 0, 0, 19], &b"colrnclx"[..], &[0, 9, 0, 14, 0, 9, 0]].concat();
    let entry = with_box(&from::HEVC, b"hvc1", &colr);
    assert_eq!(range(&entry, &[]), VideoRange::Sdr);
    let sei: &[u8] = &[39 << 1, 1, 147, 1, 18, 0x80];
    assert_eq!(range(&entry, &sample(&[sei, &[19 << 1, 1]])), VideoRange::Hlg);
}

#[test]
fn captions_are_before_the_first_slice() {
    let found = |fixture: &Fixture, units: &[&[u8]]| {
        let mut found = captions::Found::default();
        described(fixture).unwrap().read_captions(&sample(units), &mut found);
        captions::write(&found.captions())
    };
    // A message of another type, and one that says so little of CC1 that it needs an emulation prevention byte.
    let messages = [&[5, 1, 7, 4, 14][..], b"\xB5\0\x31GA94\x03\x41\xFF\xFC\x94\x20\xFF\x80"].concat();
    let (avc, hevc) = ([&[6][..], &messages].concat(), [&[39 << 1, 1][..], &messages].concat());
    for (name, fixture, units, want) in [
        ("H.264", &from::H264, vec![&[9, 0xF0][..], &avc, &[0x65, 0x88]], "CC1=und"),
        ("behind a slice", &from::H264, vec![&[0x65, 0x88], &avc], ""),
        ("of HEVC", &from::H264, vec![&hevc, &[0x65, 0x88]], ""),
        ("HEVC", &from::HEVC, vec![&[35 << 1, 1, 0x50], &hevc, &[19 << 1, 1]], "CC1=und"),
        ("an empty unit", &from::HEVC, vec![&[], &hevc], ""),
    ] {
        assert_eq!(found(fixture, &units), want, "{name}");
    }
}

/// NAL units behind four bytes of length each.
fn sample(units: &[&[u8]]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), *unit].concat()).collect()
}

#[test]
fn random_access_of_h264() {
    const OPEN: Option<Start> = Some(Start::Open);
    const CLOSED: Option<Start> = Some(Start::Closed);
    let description = described(&from::H264).unwrap();
    let (aud, sps, pps): (&[u8], &[u8], &[u8]) = (&[9, 0x10], &[0x67, 1], &[0x68, 1]);
    // first_mb_in_slice 0, then slice_type 7 (I), 5 (P), 2 (I).
    let (i, p, i_mixed): (&[u8], &[u8], &[u8]) = (&[0x61, 0x88, 0x80], &[0x41, 0x98], &[0x61, 0xB0]);
    let idr: &[u8] = &[0x65, 0x88];
    // recovery_frame_cnt 0, exact_match; the same behind another message; recovery_frame_cnt 1.
    let recovery: &[u8] = &[6, 6, 1, 0xC4, 0x80];
    let later: &[u8] = &[6, 1, 2, 0, 3, 6, 1, 0xC4, 0x80];
    let gradual: &[u8] = &[6, 6, 1, 0x50, 0x80];
    let other: &[u8] = &[6, 5, 3, 1, 2, 3, 0x80];
    type Row<'a> = (&'a str, &'a [&'a [u8]], bool, Option<Start>);
    let cases: &[Row] = &[
        ("IDR", &[aud, sps, pps, idr], false, CLOSED),
        ("P", &[aud, p], false, None),
        ("P flagged", &[aud, p], true, None),
        ("I", &[aud, i], false, None),
        ("I flagged", &[aud, i], true, OPEN),
        ("recovery point", &[aud, recovery, i], false, OPEN),
        ("recovery point, slices may differ", &[recovery, i_mixed], false, OPEN),
        ("recovery point in a P picture", &[recovery, p], true, None),
        ("recovery point behind another message", &[aud, other, later, i], false, OPEN),
        ("gradual refresh", &[gradual, i], false, None),
        ("parameter sets alone", &[sps, pps], true, None),
        ("nothing", &[], true, None),
    ];
    for (name, units, flagged, want) in cases {
        assert_eq!(description.random_access(&sample(units), *flagged), *want, "{name}");
    }
    let whole = sample(&[aud, recovery, i]);
    for length in 0..whole.len() {
        // The slice's type is in its second byte.
        let want = (length >= whole.len() - 1).then_some(Start::Open);
        assert_eq!(description.random_access(&whole[..length], false), want, "the first {length} bytes");
    }
}

#[test]
fn random_access_of_hevc() {
    let description = described(&from::HEVC).unwrap();
    let unit = |kind: u8| [kind << 1, 1, 0xAA];
    let cases = [
        (19, Some(Start::Closed)),
        (20, Some(Start::Closed)),
        (18, Some(Start::Closed)),
        (21, Some(Start::Open)),
        (16, Some(Start::Open)),
        (17, Some(Start::Open)),
        (1, None),
        (9, None),
    ];
    for (kind, want) in cases {
        let got = description.random_access(&sample(&[&unit(35), &unit(32), &unit(39), &unit(kind), &unit(19)]), true);
        assert_eq!(got, want, "{kind}");
    }
}

#[test]
fn random_access_of_av1_and_vp9() {
    let av1 = described(&from::AV1).unwrap();
    let delimiter: &[u8] = &[0x12, 0];
    let sequence = &bytes(from::AV1.sample)[..13];
    let frame = |header: u8| [0x32, 2, header, 0];
    let cases: &[(&str, Vec<u8>, Option<Start>)] = &[
        ("libaom", bytes(from::AV1.sample), Some(Start::Closed)),
        ("svt", bytes(from::AV1_SVT.sample), Some(Start::Closed)),
        ("key frame", [delimiter, sequence, &frame(0b0001_0000)].concat(), Some(Start::Closed)),
        ("forward key frame", [delimiter, sequence, &frame(0)].concat(), Some(Start::Open)),
        ("inter", [delimiter, &frame(0b0011_0000)].concat(), None),
        ("shown again", [delimiter, &frame(0b1000_0000)].concat(), None),
        ("nothing", vec![], None),
    ];
    for (name, sample, want) in cases {
        assert_eq!(av1.random_access(sample, true), *want, "{name}");
    }
    let vp9 = described(&from::VP9).unwrap();
    assert_eq!(vp9.random_access(&bytes(from::VP9.sample), false), Some(Start::Closed));
    assert_eq!(vp9.random_access(&[0b1000_0110], true), None, "inter");
    assert_eq!(vp9.random_access(&[0b1000_1000], true), None, "shown again");
    assert_eq!(vp9.random_access(&[], true), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_entries_never_panic(
        which in 0_usize..22,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        sample in prop::collection::vec(any::<u8>(), 0..64),
        own_sample: bool,
    ) {
        let (_, fixture) = &all()[which];
        let mut entry = bytes(fixture.entry);
        for (index, value) in edits {
            // The kind stays, so that the codec's own parser is reached.
            let at = index.index(entry.len());
            if at >= 8 {
                entry[at] = value;
            }
        }
        if let Some(cut) = cut {
            entry.truncate(cut.index(entry.len()));
            let size = entry.len() as u32;
            if let Some(field) = entry.first_chunk_mut() {
                *field = size.to_be_bytes();
            }
        }
        let sample = if own_sample { bytes(fixture.sample) } else { sample };
        match describe("f.mp4", &entry, u64::from(u32::MAX), &sample) {
            Ok(description) => {
                description.random_access(&sample, true);
                prop_assert_eq!(description.sample_entry.len(), u32::from_be_bytes(*description.sample_entry.first_chunk().unwrap()) as usize);
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn random_bytes_never_panic(
        kind in prop::sample::select(vec![
            *b"avc1", *b"avc3", *b"hvc1", *b"dvh1", *b"av01", *b"vp09", *b"mp4a", *b"ac-3", *b"ec-3", *b"Opus", *b"fLaC",
            *b".mp3", *b"encv", *b"enca",
        ]),
        configuration in prop::sample::select(vec![
            *b"avcC", *b"hvcC", *b"av1C", *b"vpcC", *b"esds", *b"dac3", *b"dec3", *b"dOps", *b"dfLa", *b"wave", *b"dvcC", *b"sinf",
        ]),
        head in prop::collection::vec(any::<u8>(), 0..90),
        body in prop::collection::vec(any::<u8>(), 0..300),
        sample in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut entry = vec![0; 4];
        entry.extend_from_slice(&kind);
        entry.extend_from_slice(&head);
        entry.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
        entry.extend_from_slice(&configuration);
        entry.extend_from_slice(&body);
        let size = entry.len() as u32;
        entry[..4].copy_from_slice(&size.to_be_bytes());
        let _ = describe("f.mp4", &entry, u64::from(u32::MAX), &sample);
        let _ = describe("f.mp4", &body, 0, &sample);
    }

    #[test]
    fn random_samples_never_panic(sample in prop::collection::vec(any::<u8>(), 0..300), size in 0_u8..5, flagged: bool) {
        let mut description = described(&from::H264).unwrap();
        for framing in [
            Framing::Nal { length_size: size, codec: NalCodec::Avc },
            Framing::Nal { length_size: size, codec: NalCodec::Hevc },
            Framing::Av1,
            Framing::Vp9,
        ] {
            description.framing = framing;
            description.random_access(&sample, flagged);
        }
    }
}
