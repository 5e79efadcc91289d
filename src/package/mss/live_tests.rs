//! What must hold for the manifest and the fragments of any channel.

use std::time::Duration;

use proptest::prelude::*;

use super::live::{LiveFound, LiveFragment, live_find, live_level, live_manifest, newest_init};
use super::live_fragment::live_fragment;
use crate::base::{Extent, Piece, Timescale};
use crate::media::broadcast::{Bitrate, BroadcastTrack};
use crate::media::codec::make;
use crate::media::isobmff::{Matrix, write};
use crate::media::{Kind, Sample, Track, fixture};
use crate::package::fixture::{Channel, FIRST, WINDOW};
use crate::package::live_url::Stretch;

const AVC: [u8; 23] = [
    1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 8, 0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x05, 0x06, 0x64, 1, 0, 4, 0x68, 0xCE, 0x38,
    0x80,
];
const PART: Option<Duration> = Some(Duration::from_millis(520));
/// Of pictures: three frames.
const EDIT: i64 = 1_536;

fn header(track: &Track) -> Vec<u8> {
    let is_video = track.kind() == Kind::Video;
    write::header(&write::Header {
        timescale: track.timescale,
        sample_entry: &if is_video { make::avc_entry(&AVC, 320, 180) } else { make::aac_entry(&[0x11, 0x90], 2) },
        kind: track.kind(),
        language: "en",
        name: None,
        media_start: if is_video { EDIT as u64 } else { 0 },
        width: 320,
        height: 180,
        matrix: Matrix::default(),
        default_duration: 0,
        fragment_duration_hint: None,
    })
}

fn manifest(channel: &Channel, stretch: Stretch) -> Option<String> {
    let headers: Vec<(String, Vec<u8>)> =
        channel.tracks.iter().map(|owned| (owned.track.id.clone(), header(&owned.track))).collect();
    let of = |live: &BroadcastTrack<'_>| headers.iter().find(|(id, _)| *id == live.track.id).map(|(_, it)| &it[..]);
    live_manifest(&channel.broadcast(), stretch, &of)
}

/// Name, bit rates and fragments (start and end) of a stream.
type Listed = (String, Vec<u64>, Vec<(u64, u64)>);

fn streams(text: &str) -> Vec<Listed> {
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let number = |line: &str, name: &str| value(line, name).map(|text| text.parse::<u64>().unwrap());
    let mut found: Vec<Listed> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("<StreamIndex") {
            found.push((value(line, "Name").unwrap(), Vec::new(), Vec::new()));
        } else if line.starts_with("<QualityLevel ") {
            found.last_mut().unwrap().1.push(number(line, "Bitrate").unwrap());
        } else if line.starts_with("<c ") {
            let fragments = &mut found.last_mut().unwrap().2;
            let mut at = number(line, "t").unwrap_or_else(|| fragments.last().unwrap().1);
            for _ in 0..number(line, "r").unwrap_or(1) {
                let end = at + number(line, "d").unwrap();
                fragments.push((at, end));
                at = end;
            }
        }
    }
    found
}

fn find(channel: &Channel, bitrate: u64, stream: &str, at: u64) -> LiveFound {
    let broadcast = channel.broadcast();
    let Some(live) = live_level(&broadcast, bitrate, stream) else { return LiveFound::Missing };
    let edit = if live.track.kind() == Kind::Video { EDIT } else { 0 };
    live_find(&broadcast, live, at, &|_| Some(edit))
}

/// Whatever comes and goes: what is listed is there and names what is listed next, what was listed once is the same later, and
/// the newest is waited for.
#[test]
fn a_channel_that_grows() {
    let mut before: Vec<Listed> = Vec::new();
    for segments in 1..30 {
        let mut channel = Channel::news(segments, 2, PART);
        // Sound is left out for a while, pictures of one rendition are.
        channel.remove(2, FIRST + 9);
        channel.remove(1, FIRST + 12);
        channel.first = FIRST + segments.saturating_sub(20);
        let text = manifest(&channel, Stretch::default());
        let Some(text) = text.filter(|_| segments > 1) else {
            assert_eq!(segments, 1);
            continue;
        };
        assert!(text.contains(&format!("DVRWindowLength=\"{}\"", WINDOW * 20_000_000)), "{text}");
        let listed = streams(&text);
        assert_eq!(
            listed.iter().map(|(name, rates, _)| (name.as_str(), rates.len())).collect::<Vec<_>>(),
            [("video", 2), ("audio_en", 1)]
        );
        for (at, (name, rates, fragments)) in listed.iter().enumerate() {
            for &rate in rates {
                for (&(start, end), next) in fragments.iter().zip(fragments[1..].iter().map(Some).chain([None])) {
                    assert!(start % 100 == 0 && end > start, "{start} {end}");
                    let LiveFound::Fragment(found) = find(&channel, rate, name, start) else {
                        panic!("{segments} {name} {rate} {start}")
                    };
                    assert_eq!(found.times, (start, end));
                    let following = found.following.expect("one is left out");
                    // A rendition may have what another lacks.
                    assert!(next.is_none_or(|next| following == *next || following.1 <= next.0), "{segments} {name}");
                    assert!(matches!(find(&channel, rate, name, start + 100), LiveFound::Missing));
                    let last = find(&channel, rate, name, following.0);
                    assert!(next.is_some() || !matches!(last, LiveFound::Missing), "{segments} {name} {rate}");
                }
            }
            if let Some((_, _, old)) = before.get(at) {
                let kept: Vec<_> = old.iter().filter(|border| border.0 >= fragments[0].0).collect();
                assert!(kept.iter().all(|border| fragments.contains(border)), "{segments} {name}");
            }
        }
        before = listed;
    }
}

#[test]
fn what_the_newest_waits_for() {
    let mut channel = Channel::news(10, 2, PART);
    let at = |slot: u64| (FIRST + slot) * 20_000_000 - 1_200_000;
    let rate = 4_000_000;
    let number = |found| match found {
        LiveFound::Fragment(found) => Some(found.number - FIRST),
        _ => None,
    };
    assert_eq!(number(find(&channel, rate, "video", at(8))), Some(8));
    for slot in [9, 10] {
        assert_eq!(find(&channel, rate, "video", at(slot)), LiveFound::After(FIRST + 10), "{slot}");
    }
    for (rate, stream, time) in [
        (rate, "video", at(11)),
        (rate, "video", 0),
        (rate, "video", u64::MAX),
        (rate, "audio", at(8)),
        (1, "video", at(8)),
    ] {
        assert_eq!(find(&channel, rate, stream, time), LiveFound::Missing, "{rate} {stream} {time}");
    }
    channel.end();
    let LiveFound::Fragment(last) = find(&channel, rate, "video", at(9)) else { panic!("it is the last") };
    assert_eq!(last.following, None);
    let text = manifest(&channel, Stretch::default()).unwrap();
    assert!(!text.contains("IsLive") && text.contains(" Duration=\"201"), "{text}");
    assert_eq!(streams(&text)[0].2.len(), 10);
}

/// The newest format, as soon as there is something to list of it.
#[test]
fn a_format_that_changes() {
    for (segments, fragments, init) in [(18, 16, "v1-00"), (19, 1, "v1-01"), (21, 3, "v1-01"), (29, 11, "v1-01")] {
        let mut channel = Channel::news(segments, 2, PART);
        channel.change(FIRST + 17);
        let broadcast = channel.broadcast();
        assert_eq!(newest_init(&broadcast, &broadcast.tracks[0]), Some(init), "{segments}");
        let listed = streams(&manifest(&channel, Stretch::default()).unwrap());
        assert_eq!(listed[0].2.len(), fragments, "{segments}");
        // What came before is there still, for those who play it.
        let (start, end) = listed[0].2[0];
        let earlier = find(&channel, 4_000_000, "video", start - (end - start));
        assert_eq!(matches!(earlier, LiveFound::Fragment(_)), segments > 18, "{segments}");
    }
}

/// No manifest without sound or pictures that a channel has; what has fallen silent does not count.
#[test]
fn what_there_is_no_manifest_without() {
    let unsettled = Bitrate { peak: 1, average: 1, is_settled: false };
    let mut channel = Channel::news(10, 2, PART);
    channel.tracks[2].rate = unsettled;
    assert_eq!(manifest(&channel, Stretch::default()), None);
    for number in FIRST + 5..=FIRST + 10 {
        channel.remove(2, number);
    }
    let listed = streams(&manifest(&channel, Stretch::default()).unwrap());
    assert_eq!(listed.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["video"]);
    // A second track of sound is no reason to wait.
    let mut channel = Channel::news(10, 2, PART);
    channel.add(fixture::audio("a2", "mp4a.40.2", "fr", 2), 1_024, 10, 2);
    channel.tracks[3].rate = unsettled;
    assert_eq!(streams(&manifest(&channel, Stretch::default()).unwrap()).len(), 2);
    channel.tracks[3].rate.is_settled = true;
    assert_eq!(streams(&manifest(&channel, Stretch::default()).unwrap())[2].0, "audio_fr");
    // One that stands still holds up none of the others.
    let mut channel = Channel::news(10, 2, PART);
    for number in FIRST + 4..=FIRST + 10 {
        channel.remove(1, number);
    }
    let (_, rates, fragments) = streams(&manifest(&channel, Stretch::default()).unwrap()).swap_remove(0);
    assert_eq!((rates.len(), fragments.len()), (1, 9));
    let end = Some(Duration::from_millis((FIRST + 30) * 2_000 + 500));
    let text = manifest(&channel, Stretch { start: None, end }).unwrap();
    assert!(text.contains(&format!("(video={{start time}})?end={}.5\"", (FIRST + 30) * 2)), "{text}");
}

/// Two chunks of two samples, and a hole between them.
fn chunks(scale: Timescale) -> Vec<u8> {
    let mut media = Vec::new();
    let frame = i64::from(scale.per_second()) / 25;
    for begin in [0, 3] {
        let rows: Vec<Sample> = (0..2)
            .map(|at| Sample {
                size: 5.into(),
                duration: (frame as u32).into(),
                composition_offset: (frame as i32 * (3 - at)).into(),
                ..Sample::default()
            })
            .collect();
        write::fragment_header(
            1,
            (FIRST as i64 * 2 * i64::from(scale.per_second()) + begin * frame) as u64,
            &rows,
            &mut media,
        )
        .unwrap();
        media.extend([7; 10]);
    }
    media
}

fn found(scale: Timescale) -> LiveFragment {
    let start = FIRST * 20_000_000 - 1_200_000;
    LiveFragment {
        number: FIRST,
        times: (start, start + 2_400_000),
        following: Some((start + 2_400_000, start + 5_000_000)),
        scale,
        edit: i64::from(scale.per_second()) * 3 / 25,
    }
}

fn fragment(media: Vec<u8>, track: &Track) -> Option<Vec<u8>> {
    let len = media.len() as u64;
    let stored = Extent { file: fixture::memory(media.clone()), offset: 0, len };
    let payload = live_fragment(track, &found(track.timescale), Some(&stored))?;
    let bytes = payload.pieces().iter().map(|piece| match piece {
        Piece::Inline(bytes) => bytes.to_vec(),
        Piece::Extent(extent) => media[extent.offset as usize..extent.end() as usize].to_vec(),
    });
    Some(bytes.collect::<Vec<_>>().concat())
}

#[test]
fn fragments_are_made_of_chunks() {
    let mut track = fixture::video("v1", "avc1.42c01e", 320, 180);
    track.timescale = Timescale::new(12_800).unwrap();
    let bytes = fragment(chunks(track.timescale), &track).unwrap();
    assert!(bytes.ends_with(&[&[0, 0, 0, 28][..], b"mdat", &[7; 20]].concat()));
    let trun = bytes.windows(4).position(|window| window == b"trun").unwrap() + 4;
    let rows: Vec<u32> =
        bytes[trun + 12..][..64].chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
    let column = |at: usize| rows.iter().skip(at).step_by(4).copied().collect::<Vec<_>>();
    // The hole is the second sample's, and what is missing at the end the last one's.
    assert_eq!(column(0), [400_000, 800_000, 400_000, 800_000]);
    assert_eq!(column(1), [5; 4]);
    assert_eq!(column(3), [1_200_000, 800_000, 1_200_000, 800_000]);
    let next = found(track.timescale).following.unwrap();
    let told = [&next.0.to_be_bytes()[..], &(next.1 - next.0).to_be_bytes()].concat();
    assert!(bytes.windows(17).any(|window| window[0] == 1 && window[1..] == told), "tfrf");
    let whole = chunks(track.timescale);
    for cut in 1..whole.len() {
        assert_eq!(fragment(whole[..cut].to_vec(), &track).is_some(), cut == whole.len() / 2, "{cut}");
    }
}

#[test]
fn text_is_a_document_whatever_is_said() {
    let mut track = fixture::audio("t1", "wvtt", "en", 2);
    (track.details, track.timescale) = (crate::media::track::Details::Text, Timescale::MILLIS);
    let cue = b"\0\0\0\x15vttc\0\0\0\x0dpayl hear";
    let sample = Sample { size: (cue.len() as u32).into(), duration: 700.into(), ..Sample::default() };
    let mut media = Vec::new();
    write::fragment_header(1, FIRST * 2_000, &[sample], &mut media).unwrap();
    media.extend_from_slice(cue);
    let text = String::from_utf8_lossy(&fragment(media, &track).unwrap()).into_owned();
    assert!(text.contains("begin=\"00:00:00.000\" end=\"00:00:00.700\"") && text.contains("hear"), "{text}");
    let payload = live_fragment(&track, &found(Timescale::MILLIS), None).unwrap();
    let [Piece::Inline(bytes)] = payload.pieces() else { panic!("{payload:?}") };
    let text = String::from_utf8_lossy(bytes);
    assert!(text.contains("</tt>") && !text.contains("<p "), "{text}");
    // Of pictures there is no such thing.
    assert!(live_fragment(&fixture::video("v1", "avc1.42c01e", 1, 1), &found(Timescale::MILLIS), None).is_none());
}

proptest! {
    #[test]
    fn damage_does_no_harm(changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..6), is_text in any::<bool>()) {
        let mut track = fixture::video("v1", "avc1.42c01e", 320, 180);
        track.timescale = Timescale::new(12_800).unwrap();
        let mut media = chunks(track.timescale);
        let len = media.len();
        changes.iter().for_each(|&(at, value)| media[at % len] = value);
        if is_text {
            track.details = crate::media::track::Details::Text;
        }
        let _ = fragment(media, &track);
    }

    #[test]
    fn any_time_is_found_or_not(at: u64, near in 0_u64..400_000_000, rate in 0_u64..2) {
        let channel = Channel::news(12, 2, PART);
        for at in [at, FIRST * 20_000_000 + near] {
            for (rate, stream) in [(4_000_000 + rate, "video"), (128_000, "audio_en")] {
                if let LiveFound::Fragment(found) = find(&channel, rate, stream, at) {
                    prop_assert_eq!(found.times.0, at);
                }
            }
        }
    }
}
