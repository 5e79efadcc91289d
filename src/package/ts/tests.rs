use proptest::prelude::*;

use super::url::Rendition;
use super::*;
use crate::base::{Piece, Ticks, Timescale};
use crate::media::Sample;
use crate::media::codec::make;
use crate::media::feed::Event;
use crate::media::fixture::{Fixture, audio, row, video};
use crate::media::mpegts::{Demuxer, PackedAudio, mux};
use crate::package::Links;
use crate::package::key_frame::key_frames;

type Media = Vec<Vec<(Sample, Vec<u8>)>>;

fn sample(duration: u32, offset: i32, is_key: bool) -> Sample {
    let flags = if is_key { 0 } else { 0x1_0000 };
    Sample { size: 0.into(), duration: duration.into(), composition_offset: offset.into(), flags: flags.into() }
}

/// Groups of 25 pictures a second, in the order I P B B; offsets as the index has them.
fn pictures(groups: &[bool], size: usize) -> Media {
    let picture = |at: usize| {
        let data = [&[0, 0, 0, size as u8 + 2, if at == 0 { 0x65 } else { 0x41 }, 0x80 | at as u8][..], &vec![9; size]]
            .concat();
        let offset = if at == 0 { 0 } else { [2_048, -512, -1_536][(at - 1) % 3] };
        (sample(512, offset, at == 0), data)
    };
    groups.iter().map(|&is_there| if is_there { (0..25).map(picture).collect() } else { vec![] }).collect()
}

/// Frames of about a second for each group.
fn sounds(groups: &[bool], size: usize) -> Media {
    let frames =
        |group: usize| (0..47).map(|at| (sample(1_024, 0, true), vec![(group * 47 + at) as u8; size])).collect();
    groups.iter().enumerate().map(|(group, &is_there)| if is_there { frames(group) } else { vec![] }).collect()
}

const AVC: [u8; 23] = [
    1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0, 8, 0x67, 0x42, 0xC0, 0x1E, 0xDA, 0x05, 0x06, 0x64, 1, 0, 4, 0x68, 0xCE, 0x38,
    0x80,
];

fn film(video_groups: &[bool], audio_groups: &[bool], sizes: (usize, usize)) -> Fixture {
    let mut picture = video("v1", "avc1.42c01e", 320, 180);
    picture.timescale = Timescale::new(12_800).unwrap();
    let mut sound = audio("a1", "mp4a.40.2", "de", 2);
    sound.presentation_offset = Ticks(-1_024);
    let groups = video_groups.len().max(audio_groups.len()) as u32;
    Fixture::default()
        .with_media(picture, &make::avc_entry(&AVC, 320, 180), 1_536, &pictures(video_groups, sizes.0))
        .with_media(sound, &make::aac_entry(&[0x11, 0x90], 2), 1_024, &sounds(audio_groups, sizes.1))
        .with_cuts((0..groups).step_by(2).collect())
}

/// Every segment that the playlist names, made.
fn made(fixture: &Fixture, name: &str) -> Vec<Vec<u8>> {
    let presentation = fixture.presentation();
    let playlist = match name.strip_suffix(".iframes") {
        Some(track) => media_key_frames(&presentation.track(track).unwrap()).unwrap(),
        None => media(&presentation, Rendition::parse(name).unwrap()).unwrap(),
    };
    let mut is_gap = false;
    let mut all = Vec::new();
    for line in playlist.lines() {
        if line.starts_with('#') {
            is_gap |= line == "#EXT-X-GAP";
            continue;
        }
        if std::mem::take(&mut is_gap) {
            continue;
        }
        let version = presentation.version;
        let link = format!("{version}/{line}");
        let resource = url::parse(&link).unwrap_or_else(|| panic!("{line} is no name"));
        let plan = plan(&presentation, resource).unwrap_or_else(|| panic!("{line}: nothing has that name"));
        assert!(!plan.sources().is_empty(), "{line}");
        let (mut out, mut making) = (Vec::new(), plan.making().unwrap());
        while making.advance(&mut out) {}
        all.push(out);
    }
    all
}

fn payloads(events: Vec<Event>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
    for event in events {
        if let Event::Sample { track, sample } = event {
            if track == 0 { &mut pictures } else { &mut sounds }.push(sample.data.to_vec());
        }
    }
    (pictures, sounds)
}

fn stored(media: &Media) -> Vec<Vec<u8>> {
    media.iter().flatten().map(|(_, data)| data.clone()).collect()
}

proptest! {
    /// Whatever is missing of either track, each playlist carries all there is.
    #[test]
    fn everything_is_in_the_segments(
        video_groups in proptest::collection::vec(prop::bool::weighted(0.8), 1..7),
        audio_groups in proptest::collection::vec(prop::bool::weighted(0.8), 1..7),
        sizes in (3..200_usize, 1..600_usize),
    ) {
        prop_assume!(video_groups.contains(&true) && audio_groups.contains(&true));
        let fixture = film(&video_groups, &audio_groups, sizes);
        let (mut demuxer, mut events) = (Demuxer::default(), Vec::new());
        for segment in made(&fixture, "v1-a1") {
            demuxer.push(&segment, &mut events).unwrap();
        }
        demuxer.flush(&mut events).unwrap();
        prop_assert_eq!(demuxer.losses(), 0);
        let (found, heard) = payloads(events);
        // A segment of which the first group is missing begins with what is there.
        prop_assert_eq!(found, stored(&pictures(&video_groups, sizes.0)));
        prop_assert_eq!(heard, stored(&sounds(&audio_groups, sizes.1)));

        let (mut packed, mut events) = (PackedAudio::default(), Vec::new());
        for segment in made(&fixture, "a1") {
            packed.push(&segment, &mut events).unwrap();
            packed.flush(&mut events);
        }
        let (heard, _) = payloads(events);
        prop_assert_eq!(heard, stored(&sounds(&audio_groups, sizes.1)));

        // Each by itself, and one after the other.
        let view = fixture.presentation().tracks[0];
        let (mut together, mut found) = (Demuxer::default(), Vec::new());
        let mut events = Vec::new();
        for (segment, frame) in made(&fixture, "v1.iframes").iter().zip(key_frames(view)) {
            let (mut alone, mut own) = (Demuxer::default(), Vec::new());
            alone.push(segment, &mut own).unwrap();
            alone.flush(&mut own).unwrap();
            together.push(segment, &mut events).unwrap();
            let time = own.iter().find_map(|event| match event {
                Event::Sample { sample, .. } => Some(sample.decode_time.0 + i64::from(sample.composition_offset)),
                _ => None,
            });
            prop_assert_eq!(time, Some(frame.time.0 * 90_000 / 12_800 + mux::OFFSET));
            found.extend(payloads(own).0);
            prop_assert!(segment.len() as u64 <= size::key_frame(frame.fragment.key_frame_size.get(), 24));
        }
        together.flush(&mut events).unwrap();
        let groups = pictures(&video_groups, sizes.0);
        let want: Vec<Vec<u8>> = groups.iter().filter_map(|group| Some(group.first()?.1.clone())).collect();
        prop_assert_eq!(&found, &want);
        prop_assert_eq!((together.losses(), payloads(events).0), (0, want));
    }

    /// Rows that no index has.
    #[test]
    fn nothing_panics_on_any_index(
        rows in proptest::collection::vec(any::<(u32, u64, u64, u32, u32)>(), 1..6),
        counts in proptest::collection::vec((0..9_u32, 0..9_u32), 6),
        samples in proptest::collection::vec((0..4_000_u32, any::<u32>(), any::<i32>(), any::<u32>()), 0..20),
        offset in any::<i64>(),
        time in 0..=i64::MAX,
        cuts in proptest::collection::vec(any::<u32>(), 0..4),
    ) {
        let mut fixture = film(&[true, true, true], &[true, true, true], (20, 20));
        for owned in &mut fixture.tracks {
            owned.track.presentation_offset = Ticks(offset);
            owned.samples = samples
                .iter()
                .map(|&(size, duration, offset, flags)| Sample {
                    size: size.into(),
                    duration: duration.into(),
                    composition_offset: offset.into(),
                    flags: flags.into(),
                })
                .collect();
            owned.fragments = rows
                .iter()
                .zip(&counts)
                .map(|(&(slot, time, at, size, media), &(first, count))| crate::media::Fragment {
                    offset: (at % 4_000).into(),
                    media_offset: (media % 4_000).into(),
                    first_sample: first.into(),
                    sample_count: count.into(),
                    ..row(slot % 8, time >> 4, time >> 5, size)
                })
                .collect();
        }
        fixture = fixture.with_cuts([vec![0], cuts].concat());
        fixture.duration = Some(std::time::Duration::from_secs(1));
        let presentation = fixture.presentation();
        let _ = multivariant(&presentation, &Links::default());
        let times: Vec<Ticks> = presentation.tracks[0].segments().take(8).map(|segment| segment.time).collect();
        let _ = media_key_frames(&presentation.tracks[0]);
        for (name, extension) in [("v1", "ts"), ("v1-a1", "ts"), ("a1", "aac"), ("v1", "iframe.ts")] {
            let rendition = Rendition::parse(name).unwrap();
            let _ = media(&presentation, rendition);
            for &time in times.iter().chain(&[Ticks(time)]) {
                let link = format!("{}/{name}/{}.{extension}", presentation.version, time.0.max(0));
                let resource = url::parse(&link).unwrap();
                if let Some(Ok(mut making)) = plan(&presentation, resource).map(|plan| plan.making()) {
                    let mut out = Vec::new();
                    while making.advance(&mut out) {
                        out.clear();
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_carried() {
    for (track, want) in [
        (video("v1", "avc1.640028", 1, 1), Some(Carriage::Video)),
        (video("v1", "hev1.1.6.L60.90", 1, 1), Some(Carriage::Video)),
        (video("v1", "dvh1.05.06", 1, 1), None),
        (video("v1", "av01.0.00M.08", 1, 1), None),
        (video("v1", "vp09.00.10.08", 1, 1), None),
        (audio("a1", "mp4a.40.2", "en", 2), Some(Carriage::Audio(Packing::Aac))),
        (audio("a1", "mp4a.40.29", "en", 2), Some(Carriage::Audio(Packing::Aac))),
        (audio("a1", "mp4a.67", "en", 2), Some(Carriage::Audio(Packing::Aac))),
        (audio("a1", "mp4a.40.39", "en", 2), None),
        (audio("a1", "mp4a.6B", "en", 2), Some(Carriage::Audio(Packing::Mp3))),
        (audio("a1", "ac-3", "en", 6), Some(Carriage::Audio(Packing::Ac3))),
        (audio("a1", "ec-3", "en", 6), Some(Carriage::Audio(Packing::Eac3))),
        (audio("a1", "opus", "en", 2), None),
        (audio("a1", "fLaC", "en", 2), None),
    ] {
        assert_eq!(carriage(&track), want, "{}", track.codec);
    }
}

#[test]
fn what_is_not_carried_is_left_out() {
    let groups = [row(0, 0, 360_000, 9_000), row(1, 360_000, 360_000, 9_000)];
    let fixture = |video_codec: &str, audio_codec: &str| {
        let mut picture = video("v1", video_codec, 640, 360);
        picture.timescale = Timescale::MPEG;
        let mut sound = audio("a1", audio_codec, "en", 2);
        sound.timescale = Timescale::MPEG;
        Fixture::default().with_track(picture, groups.to_vec()).with_track(sound, groups.to_vec())
    };
    let playlist = |video: &str, audio: &str| multivariant(&fixture(video, audio).presentation(), &Links::default());
    let both = playlist("avc1.640028", "mp4a.40.2").unwrap();
    assert!(both.contains("/v1-a1.m3u8") && both.contains("CODECS=\"avc1.640028,mp4a.40.2\""), "{both}");
    let mute = playlist("avc1.640028", "opus").unwrap();
    assert!(mute.contains("/v1.m3u8") && mute.contains("CODECS=\"avc1.640028\""), "{mute}");
    let dark = playlist("av01.0.00M.08", "mp4a.40.2").unwrap();
    assert!(dark.contains("/a1.m3u8") && dark.contains("CODECS=\"mp4a.40.2\""), "{dark}");
    assert_eq!(playlist("vp09.00.10.08", "opus"), None);
    let reason = refusal(&fixture("vp09.00.10.08", "opus").presentation());
    assert!(reason.ends_with("found v1 in vp09.00.10.08, a1 in opus"), "{reason}");
    let other = fixture("avc1.640028", "opus");
    assert_eq!(media_key_frames(&fixture("av01.0.00M.08", "mp4a.40.2").presentation().tracks[0]), None);
    for name in ["a1", "v1-a1", "v1-v1", "v1-a9", "v9"] {
        assert_eq!(media(&other.presentation(), Rendition::parse(name).unwrap()), None, "{name}");
    }
}

/// AC-3, E-AC-3 and MP3 need no making.
#[test]
fn packed_audio_is_a_tag_and_extents() {
    for (codec, packing) in [("ac-3", Packing::Ac3), ("ec-3", Packing::Eac3), ("mp4a.6B", Packing::Mp3)] {
        let track = audio("a1", codec, "en", 2);
        let rows = vec![row(0, 0, 48_000, 1_000), row(1, 48_000, 48_000, 2_000), row(2, 96_000, 48_000, 500)];
        let fixture = Fixture::default().with_track(track, rows).with_cuts(vec![0, 2]);
        let presentation = fixture.presentation();
        let view = presentation.tracks[0];
        let payload = packed(&view, packing, Ticks(0)).unwrap();
        let [Piece::Inline(tag), Piece::Extent(first), Piece::Extent(second)] = payload.pieces() else {
            panic!("{payload:?}")
        };
        assert!(tag.starts_with(b"ID3") && tag.ends_with(&900_000_u64.to_be_bytes()));
        assert_eq!((first.offset, first.len, second.offset, second.len), (800, 900, 1_900, 1_800));
        assert!(packed(&view, Packing::Aac, Ticks(0)).is_none() && packed(&view, packing, Ticks(48_000)).is_none());
        let last = packed(&view, packing, Ticks(96_000)).unwrap();
        assert_eq!(last.len(), 73 + 450);
    }
}

#[test]
fn bit_rates_are_those_of_the_segments() {
    for size in [3, 50, 180] {
        let fixture = film(&[true; 20], &[true; 20], (size, 2 * size));
        for (name, is_listed) in [("v1-a1", true), ("a1", false)] {
            let bytes: usize = made(&fixture, name).iter().map(Vec::len).sum();
            let playlist = multivariant(&fixture.presentation(), &Links::default()).unwrap();
            let average = playlist.split("AVERAGE-BANDWIDTH=").nth(1).unwrap().split(',').next().unwrap();
            let average: f64 = average.parse().unwrap();
            let real = bytes as f64 * 8.0 / 20.0;
            assert!(!is_listed || (0.96..1.25).contains(&(average / real)), "{name} {size}: {average}, really {real}");
        }
    }
}
