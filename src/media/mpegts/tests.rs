use proptest::prelude::*;

use super::fixture::{AUDIO, METADATA, SPLICES, VIDEO, Writer, adts, timestamp_tag};
use super::*;
use crate::base::Ticks;
use crate::media::feed::{Message, Sample};
use crate::media::track::{Kind, Role};

const STREAMS: [(u8, u16, &[u8]); 4] =
    [(0x1B, VIDEO, &[]), (0x0F, AUDIO, b"\x0A\x04ger\x00"), (0x86, SPLICES, b"\x05\x04CUEI"), (0x15, METADATA, &[])];
/// splice_insert at 0x7369C02E for 0x52CCF5 ticks (ANSI/SCTE 35 §14), without its CRC.
const SPLICE: [u8; 46] = [
    0xFC, 0x30, 0x2F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xF0, 0x14, 0x05, 0x48, 0, 0, 0x8F, 0x7F, 0xEF, 0xFE, 0x73, 0x69,
    0xC0, 0x2E, 0xFE, 0, 0x52, 0xCC, 0xF5, 0, 0, 0, 0, 0, 0x0A, 0, 0x08, 0x43, 0x55, 0x45, 0x49, 0, 0, 0x01, 0x35,
];

/// Track, decode time, composition offset, sync, data.
type Row = (u32, i64, i32, bool, Vec<u8>);

/// A stream of pictures with B-frames, audio whose frames lie across PES packets, a splice and a tag.
fn stream(start: u64) -> (Vec<u8>, Vec<Row>) {
    let mut writer = Writer::default();
    let mut samples = Vec::new();
    writer.tables(&STREAMS);
    let wrap = |time: u64| time & 0x1_FFFF_FFFF;
    for (at, shown) in [(0, 1), (1, 4), (2, 2), (3, 3), (4, 5)] {
        let (decode, presentation) = (start + at * 3600, start + shown * 3600);
        let data = writer.picture(wrap(presentation), wrap(decode), at == 0, 500 + 100 * at as usize);
        samples.push((0, decode as i64, ((shown - at) * 3600) as i32, at == 0, data));
    }
    let frames: Vec<Vec<u8>> = (0..6).map(|at| vec![at as u8 | 0x20; 100 + at]).collect();
    let bytes: Vec<u8> = frames.iter().flat_map(|data| adts(data)).collect();
    // Two PES packets: the border is in the middle of the third frame, so the second is of the fourth.
    let (first, second) = bytes.split_at(260);
    writer.pes(AUDIO, wrap(start), wrap(start), false, first);
    writer.pes(AUDIO, wrap(start + 3 * 1920), wrap(start + 3 * 1920), false, second);
    let origin = (start as i64 * 48_000 + 45_000) / 90_000;
    samples.extend((0..).zip(frames).map(|(at, data)| (1, origin + at * 1024, 0, true, data)));
    writer.section(SPLICES, &SPLICE);
    writer.pes(METADATA, wrap(start), wrap(start), false, b"ID3\x04\0\0\0\0\0\0");
    (writer.bytes, samples)
}

fn demux(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Event>, Error> {
    let (mut demuxer, mut events, mut rest) = (Demuxer::default(), Vec::new(), bytes);
    for &piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
        demuxer.push(now, &mut events)?;
        rest = later;
    }
    demuxer.flush(&mut events)?;
    Ok(events)
}

fn samples(events: &[Event]) -> Vec<(u32, i64, i32, bool, Vec<u8>)> {
    let sample = |event: &Event| match event {
        Event::Sample { track, sample } => {
            let Sample { decode_time: Ticks(time), composition_offset, is_sync, data, .. } = sample;
            Some((*track, *time, *composition_offset, *is_sync, data.to_vec()))
        }
        _ => None,
    };
    let mut samples: Vec<_> = events.iter().filter_map(sample).collect();
    samples.sort_by_key(|sample| sample.0);
    samples
}

#[test]
fn a_program_becomes_a_feed() {
    // The second start is a second before the clock starts over… and the samples go on behind it.
    for start in [900_000, (1 << 33) - 9_000] {
        let (bytes, want) = stream(start);
        let events = demux(&bytes, &[1000]).unwrap();
        assert_eq!(samples(&events), want);
        let tracks = events.iter().filter_map(|event| match event {
            Event::Track { track, format } => {
                let codec = codec::describe("made", &format.sample_entry, 0, &[]).unwrap().codec;
                Some((*track, format.kind, format.timescale.per_second(), format.language.clone(), format.role, codec))
            }
            _ => None,
        });
        let want = [
            (0, Kind::Video, 90_000, "und".to_owned(), Role::Main, "avc1.42c01e".to_owned()),
            (1, Kind::Audio, 48_000, "de".to_owned(), Role::Main, "mp4a.40.2".to_owned()),
        ];
        assert_eq!(tracks.collect::<Vec<_>>(), want);
    }
    let events = demux(&stream(0x7369_0000).0, &[188]).unwrap();
    let markers: Vec<_> =
        events.iter().filter_map(|event| if let Event::Marker(it) = event { Some(it) } else { None }).collect();
    let [splice, tag] = markers[..] else { panic!("{markers:?}") };
    assert_eq!(splice.time.unwrap().0, Ticks(0x7369_C02E));
    assert_eq!(splice.duration.unwrap().0, Ticks(0x52_CCF5));
    assert!(matches!(&splice.message, Message::Scte35(section) if section.starts_with(&SPLICE)));
    assert_eq!(tag.time.unwrap().0, Ticks(0x7369_0000));
    assert!(
        matches!(&tag.message, Message::Event { scheme, data, .. } if scheme.ends_with("/ID3") && data.len() == 10)
    );
}

#[test]
fn packets_of_all_sizes_are_found_behind_garbage() {
    let (bytes, want) = stream(90_000);
    for (before, behind) in [(0, 0), (4, 0), (0, 16)] {
        let mut wrapped = vec![0x12; 333];
        for packet in bytes.chunks(188) {
            wrapped.extend(std::iter::repeat_n(0, before));
            wrapped.extend_from_slice(packet);
            wrapped.extend(std::iter::repeat_n(0, behind));
        }
        assert_eq!(samples(&demux(&wrapped, &[777]).unwrap()), want, "{before} {behind}");
    }
    let error = demux(&vec![0; limits::TS_GARBAGE_BYTES_MAX + 1000], &[4096]).unwrap_err();
    assert!(matches!(error, Error::NoPackets { .. }), "{error}");
}

#[test]
fn what_is_not_supported_is_named() {
    let mut writer = Writer::default();
    writer.tables(&[(0x11, AUDIO, &[]), (0x02, VIDEO, &[])]);
    let error = demux(&writer.bytes, &[188]).unwrap_err().to_string();
    assert!(error.contains("AAC in LATM") && error.contains("MPEG-2 video"), "{error}");
    // Beside something that is, it is left out.
    let mut writer = Writer::default();
    writer.tables(&[(0x11, AUDIO, &[]), (0x1B, VIDEO, &[])]);
    let mut demuxer = Demuxer::default();
    demuxer.push(&writer.bytes, &mut Vec::new()).unwrap();
    demuxer.flush(&mut Vec::new()).unwrap();
    assert!(demuxer.notices()[0].to_string().starts_with("PID 257: AAC in LATM"));
}

#[test]
fn tracks_go_on_when_the_map_changes() {
    let mut writer = Writer::default();
    writer.tables(&[(0x0F, AUDIO, b"\x0A\x04ger\x00")]);
    writer.pes(AUDIO, 0, 0, false, &adts(&[1; 50]));
    writer.tables(&[(0x0F, AUDIO + 7, &[])]);
    writer.pes(AUDIO + 7, 90_000, 90_000, false, &adts(&[2; 50]));
    let want = vec![(0, 0, 0, true, vec![1; 50]), (0, 48_000, 0, true, vec![2; 50])];
    assert_eq!(samples(&demux(&writer.bytes, &[188]).unwrap()), want);
}

#[test]
fn packed_audio_has_the_time_of_its_tag() {
    let segment = |stamp| [timestamp_tag(stamp), adts(&[1; 80]), adts(&[2; 80])].concat();
    for piece in [1, 10, 1000] {
        let (mut demuxer, mut events) = (PackedAudio::default(), Vec::new());
        for stamp in [(1 << 33) - 3840, 0] {
            segment(stamp).chunks(piece).for_each(|piece| demuxer.push(piece, &mut events).unwrap());
            demuxer.flush(&mut events);
        }
        let times: Vec<i64> = samples(&events).into_iter().map(|(_, time, ..)| time).collect();
        let start = ((1_i64 << 33) - 3840) * 48_000 / 90_000;
        assert_eq!(times, [0, 1, 2, 3].map(|frame| start + frame * 1024));
    }
    let error = PackedAudio::default().push(&adts(&[0; 10]), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("expected an ID3 tag with PRIV com.apple"), "{error}");
}

#[test]
fn what_is_damaged_is_dropped_and_the_rest_goes_on() {
    let (bytes, want) = stream(90_000);
    let packets: Vec<&[u8]> = bytes.chunks(188).collect();
    // Behind the tables and the only key picture, without which nothing can be decoded.
    for missing in 6..packets.len() {
        let rest = [&packets[..missing], &packets[missing + 1..]].concat().concat();
        let found = samples(&demux(&rest, &[188]).unwrap());
        assert!(found.len() + 4 >= want.len(), "without packet {missing}: {} samples", found.len());
        // Nothing comes after the last picture that would show that its end is missing.
        let is_last = |sample: &(u32, i64, i32, bool, Vec<u8>)| (sample.0, sample.1) == (0, want[4].1);
        let is_whole =
            |sample: &(u32, i64, i32, bool, Vec<u8>)| is_last(sample) || want.iter().any(|it| it.4 == sample.4);
        assert!(found.iter().all(is_whole), "without packet {missing}");
    }
}

proptest! {
    #[test]
    fn however_they_are_cut_the_events_are_the_same(pieces in proptest::collection::vec(1..600_usize, 1..20)) {
        let (bytes, _) = stream(90_000);
        prop_assert_eq!(demux(&bytes, &pieces).unwrap(), demux(&bytes, &[bytes.len()]).unwrap());
    }

    #[test]
    fn nothing_from_outside_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..20),
        end in any::<proptest::sample::Index>(),
    ) {
        let _ = demux(&bytes, &[97]);
        let mut packets = bytes.clone();
        packets.chunks_mut(188).for_each(|packet| packet[0] = 0x47);
        let _ = demux(&packets, &[500]);
        let _ = PackedAudio::default().push(&[&timestamp_tag(0), &bytes[..]].concat(), &mut Vec::new());
        let (mut damaged, _) = stream(90_000);
        for (at, byte) in flips {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        damaged.truncate(end.index(damaged.len()));
        let _ = demux(&damaged, &[1000]);
    }
}
