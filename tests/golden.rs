//! Manifests as they are sent, for one asset of every shape. After a change that is meant,
//! `INSTA_UPDATE=always cargo test --test golden` rewrites `tests/golden/`; read the difference before committing it.

use std::time::Duration;

use headwater::base::Ticks;
use headwater::media::Kind;
use headwater::media::broadcast::Mark;
use headwater::media::captions::{Caption, CaptionChannel};
use headwater::media::feed::Message;
use headwater::media::fixture::{Fixture, audio, row, video};
use headwater::media::fragment::{Fragment, Start};
use headwater::media::track::{Details, Role, Track, VideoRange};
use headwater::package::fixture::{Channel, FIRST};
use headwater::package::hls::{Live, Whole, rules};
use headwater::package::live_url::Stretch;
use headwater::package::{Addressing, Links, dash, hls, mss, thumbnail_map, ts};

/// Renders everything there is of the presentation, and compares it; `parsers.rs` has it read by others.
fn check(name: &str, fixture: &Fixture) {
    let presentation = fixture.presentation();
    let links = Links::default();
    let single = Links { addressing: Addressing::SingleFile, ..Links::default() };
    let mut manifests = vec![
        ("index.m3u8".to_owned(), hls::multivariant(&presentation, &links)),
        ("index.mpd".to_owned(), dash::mpd(&presentation, &links)),
    ];
    for view in &presentation.tracks {
        manifests.push((format!("{}.m3u8", view.track.id), hls::media(&presentation, view)));
    }
    for view in presentation.tracks.iter().filter(|view| view.track.kind() == Kind::Video) {
        manifests.push((format!("{}.iframes.m3u8", view.track.id), hls::media_key_frames(view)));
    }
    if let Some(text) = mss::manifest(&presentation, &presentation) {
        manifests.push(("index.ism/Manifest".to_owned(), text));
    }
    manifests.push(("single/index.m3u8".to_owned(), hls::multivariant(&presentation, &single)));
    manifests.push(("single/index.mpd".to_owned(), dash::mpd(&presentation, &single)));
    for view in &presentation.tracks {
        manifests.push((format!("{}.single.m3u8", view.track.id), hls::media_single(&presentation, view, *view)));
    }
    compare(name, &manifests);
}

/// The playlists with MPEG-TS segments; `names` as the media playlists are called.
fn check_transport(name: &str, fixture: &Fixture, names: &[&str]) {
    let presentation = fixture.presentation();
    let multivariant = ts::multivariant(&presentation, &Links::default()).expect("it has something that is carried");
    let mut manifests = vec![("ts/index.m3u8".to_owned(), multivariant)];
    for name in names {
        let rendition = ts::url::Rendition::parse(name).expect("a name");
        manifests.push((format!("ts/{name}.m3u8"), ts::media(&presentation, rendition).expect("a playlist")));
    }
    for view in presentation.of_kind(Kind::Video) {
        let key_frames = ts::media_key_frames(&view).expect("it is carried");
        manifests.push((format!("ts/{}.iframes.m3u8", view.track.id), key_frames));
    }
    compare(name, &manifests);
}

/// The same of two segments from its middle, and without its smallest rendition.
fn check_clip(name: &str, fixture: &Fixture, start: u64, end: u64) {
    let whole = fixture.presentation();
    let mut clip = whole.stretch(start, end).expect("it has something there");
    let smallest = clip.tracks.iter().rposition(|view| view.track.kind() == Kind::Video).expect("it has pictures");
    clip.tracks.remove(smallest);
    let links = Links { query: "?start=4&end=12".to_owned(), ..Links::default() };
    let single = Links { addressing: Addressing::SingleFile, ..links.clone() };
    let video = clip.tracks[0];
    let file = *whole.track(&video.track.id).as_ref().expect("it is of the whole");
    let key = video.track.id.as_str();
    let transport = ts::url::Rendition::parse(key).expect("a name");
    let manifests = vec![
        ("index.m3u8".to_owned(), hls::multivariant(&clip, &links)),
        ("index.mpd".to_owned(), dash::mpd(&clip, &links)),
        ("index.ism/Manifest".to_owned(), mss::manifest(&whole, &clip).expect("it can be expressed")),
        ("single/index.m3u8".to_owned(), hls::multivariant(&clip, &single)),
        ("single/index.mpd".to_owned(), dash::stretch_mpd(&clip, &whole, &single)),
        ("ts/index.m3u8".to_owned(), ts::multivariant(&clip, &links).expect("it is carried")),
        (format!("{key}.m3u8"), hls::media(&clip, &video)),
        (format!("{key}.iframes.m3u8"), hls::media_key_frames(&video)),
        (format!("{key}.single.m3u8"), hls::media_single(&clip, &video, file)),
        (format!("ts/{key}.m3u8"), ts::media(&clip, transport).expect("it is carried")),
        (format!("ts/{key}.iframes.m3u8"), ts::media_key_frames(&video).expect("it is carried")),
    ];
    compare(name, &manifests);
}

/// What says of a presentation that it has thumbnails, and of a clip.
fn check_thumbnails(name: &str, fixture: &Fixture, start: u64, end: u64) {
    let whole = fixture.presentation();
    let clip = whole.stretch(start, end).expect("it has something there");
    let links = Links::default();
    let single = Links { addressing: Addressing::SingleFile, ..Links::default() };
    let map = |presentation| thumbnail_map(presentation).expect("it has thumbnails");
    compare(
        name,
        &[
            ("index.m3u8".to_owned(), hls::multivariant(&whole, &links)),
            ("i1.m3u8".to_owned(), hls::media_thumbnails(&whole).expect("it has thumbnails")),
            ("index.mpd".to_owned(), dash::mpd(&whole, &links)),
            ("single/index.m3u8".to_owned(), hls::multivariant(&whole, &single)),
            ("single/index.mpd".to_owned(), dash::mpd(&whole, &single)),
            ("ts/index.m3u8".to_owned(), ts::multivariant(&whole, &links).expect("it is carried")),
            ("thumbnails.vtt".to_owned(), map(&whole)),
            ("thumbnails.vtt of a clip".to_owned(), map(&clip)),
        ],
    );
}

/// The same of a channel, or of a stretch of it.
fn check_live(name: &str, channel: &Channel, stretch: Stretch) {
    let broadcast = channel.broadcast();
    let mut manifests = vec![("index.m3u8".to_owned(), hls::live_multivariant(&broadcast, stretch))];
    manifests.push(("index.mpd".to_owned(), dash::live_mpd(&broadcast, stretch)));
    for (skip, query) in [(false, ""), (true, "?_HLS_skip=YES")] {
        for live in broadcast.tracks.iter().filter(|_| !skip || hls::can_skip(&broadcast)) {
            let text = hls::live_media(&broadcast, live, &Live { stretch, is_whole: true, skip, cues: true });
            rules::check(&text).unwrap_or_else(|wrong| panic!("{name} {}: {wrong}", live.track.id));
            manifests.push((format!("{}.m3u8{query}", live.track.id), text));
        }
    }
    let whole = Whole { stretch, is_whole: true, cues: true };
    for live in broadcast.of_kind(Kind::Video) {
        let id = &live.track.id;
        let stored = hls::live_media_key_frames(&broadcast, live, &whole);
        let made = ts::live_media_key_frames(&broadcast, live, &whole).expect("it is carried");
        for (file, text) in [(format!("{id}.iframes.m3u8"), stored), (format!("ts/{id}.iframes.m3u8"), made)] {
            rules::check(&text).unwrap_or_else(|wrong| panic!("{name} {file}: {wrong}"));
            manifests.push((file, text));
        }
    }
    manifests.extend(ts::live_multivariant(&broadcast, stretch).map(|text| ("ts/index.m3u8".to_owned(), text)));
    for (name, track, sound) in [("v1.a1", "v1", Some("a1")), ("a1", "a1", None), ("t1", "t1", None)] {
        let rendition = ts::url::Rendition { name, track, sound };
        let Some(tracks) = ts::LiveTracks::of(&broadcast, rendition) else { continue };
        let text = ts::live_media(&broadcast, rendition, tracks, &whole);
        rules::check(&text).unwrap_or_else(|wrong| panic!("ts/{name}: {wrong}"));
        manifests.push((format!("ts/{name}.m3u8"), text));
    }
    compare(name, &manifests);
}

fn compare(name: &str, manifests: &[(String, String)]) {
    let all = manifests.iter().map(|(file, text)| format!("==> {file}\n{text}")).collect::<Vec<_>>().join("\n");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, all));
}

fn rows(count: u64, duration: u64, size: u32) -> Vec<Fragment> {
    (0..count).map(|at| row(at as u32, at * duration, duration, size)).collect()
}

fn hevc(id: &str, height: u32) -> Track {
    let mut track = video(id, "hvc1.2.4.L153.B0", height * 16 / 9, height);
    if let Details::Video(video) = &mut track.details {
        video.range = VideoRange::Pq;
        video.bit_depth = 10;
        video.colour = (9, 16, 9);
        video.supplemental_codec = Some("dvh1.08.07/db1p".to_owned());
    }
    track
}

fn joc(id: &str, language: &str) -> Track {
    let mut track = audio(id, "ec-3", language, 6);
    if let Details::Audio(audio) = &mut track.details {
        audio.dolby_channels = Some(0xF801);
        audio.joint_objects = Some(16);
    }
    track
}

#[test]
fn film() {
    check("film", &Fixture::film(20));
    check_transport("film_transport", &Fixture::film(20), &["v1", "v2-a2", "a1", "t1"]);
    check_clip("film_clip", &Fixture::film(20), 5_000_000, 11_000_000);
}

#[test]
fn thumbnails() {
    let film = Fixture::default()
        .with_track(video("v1", "avc1.64001f", 1280, 720), rows(11, 120_000, 1_000_000))
        .with_cuts((0..11).collect());
    check_thumbnails("thumbnails", &film.with_thumbnails(Duration::from_millis(2_400)), 5_000_000, 11_000_000);
}

/// Two video codecs, HDR, two audio codecs of which one lacks a language, and every role.
#[test]
fn premium() {
    let with_role = |mut track: Track, role: Role| {
        track.role = role;
        track
    };
    let named = Track { name: Some("Kommentar \"Regie\" & <Kamera>".to_owned()), ..audio("a4", "mp4a.40.2", "de", 2) };
    let mut fixture = Fixture::default()
        .with_track(hevc("v1", 2160), rows(5, 120_000, 8_000_000))
        .with_track(hevc("v2", 1080), rows(5, 120_000, 3_000_000))
        .with_track(video("v3", "avc1.640028", 1920, 1080), rows(5, 120_000, 2_500_000))
        .with_track(video("v4", "avc1.64001e", 854, 480), rows(5, 120_000, 600_000))
        .with_track(joc("a1", "en"), rows(5, 192_000, 384_000))
        .with_track(audio("a2", "mp4a.40.2", "en", 2), rows(5, 192_000, 64_000))
        .with_track(audio("a3", "mp4a.40.2", "de", 2), rows(5, 192_000, 64_000))
        .with_track(with_role(named, Role::Commentary), rows(5, 192_000, 32_000))
        .with_track(with_role(audio("a5", "mp4a.40.2", "en", 2), Role::Description), rows(5, 192_000, 32_000))
        .with_text("t1", "en", &[(0, 1_000, "One")])
        .with_text("t2", "en", &[(0, 1_000, "[door]")])
        .with_text("t3", "en", &[(0, 1_000, "Exit")]);
    fixture.tracks[10].track.role = Role::Caption;
    fixture.tracks[11].track.role = Role::Forced;
    check("premium", &fixture.with_cuts(vec![0, 1, 2, 3, 4]));
}

/// Audio that begins in the middle of the third segment, misses the fifth and ends early.
#[test]
fn late_audio() {
    let late = vec![
        row(2, 9 * 48_000, 3 * 48_000, 24_000),
        row(3, 12 * 48_000, 4 * 48_000, 32_000),
        row(5, 20 * 48_000, 4 * 48_000, 32_000),
    ];
    let fixture = Fixture::default()
        .with_track(video("v1", "avc1.64001f", 1280, 720), rows(8, 120_000, 1_000_000))
        .with_track(audio("a1", "mp4a.40.2", "en", 2), late);
    check("late_audio", &fixture.with_cuts((0..8).collect()));
}

#[test]
fn audio_only() {
    let priming = |mut track: Track| {
        track.presentation_offset = Ticks(-1_024);
        track
    };
    // 4 s are 187.5 frames of 1024 samples.
    let frames = [189, 187, 188, 187, 100];
    let mut time = 0;
    let table: Vec<Fragment> = frames
        .iter()
        .enumerate()
        .map(|(slot, frames)| {
            let fragment = row(slot as u32, time, frames * 1_024, *frames as u32 * 340);
            time += frames * 1_024;
            fragment
        })
        .collect();
    let fixture = Fixture::default()
        .with_track(priming(audio("a1", "mp4a.40.2", "en", 2)), table.clone())
        .with_track(priming(audio("a2", "mp4a.40.5", "en", 2)), table.clone())
        .with_track(priming(audio("a3", "mp4a.40.2", "sv", 2)), table);
    check("audio_only", &fixture.with_cuts((0..5).collect()));
}

/// One rendition, open GOPs, anamorphic, a rate of frames that is not whole.
#[test]
fn video_only() {
    let mut table = rows(6, 48_048, 400_000);
    for fragment in &mut table[1..] {
        fragment.start = (Start::Open as u32).into();
    }
    let mut track = video("v1", "hev1.1.6.L93.B0", 720, 576);
    track.timescale = headwater::base::Timescale::new(24_000).unwrap();
    if let Details::Video(video) = &mut track.details {
        video.frame_rate = (24_000, 1_001);
        video.pixel_aspect = (64, 45);
        video.range = VideoRange::Hlg;
        video.colour = (9, 14, 9);
    }
    check("video_only", &Fixture::default().with_track(track, table).with_cuts(vec![0, 2, 4]));
}

fn low_latency(segments: u64, parts: usize) -> Channel {
    Channel::news(segments, parts, Some(Duration::from_millis(500)))
}

#[test]
fn live_low_latency() {
    check_live("live_low_latency", &low_latency(10, 2), Stretch::default());
}

/// A splice out and in, an event of another scheme, a gap in the audio, and another format from the eleventh segment on.
#[test]
fn live_with_everything() {
    let mut channel = low_latency(12, 1);
    channel.remove(2, FIRST + 8);
    channel.change(FIRST + 10);
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let out =
        hex("fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a");
    let back =
        hex("fc302f000000000000fffff014054800008f7f6ffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a");
    let start = Duration::from_secs(FIRST * 2);
    let mark = |id: &str, after: u64, duration: Option<u64>, message| Mark {
        id: id.to_owned(),
        time: start + Duration::from_secs(after),
        duration: duration.map(Duration::from_secs),
        message,
    };
    let event = Message::Event {
        scheme: "urn:example:programme".to_owned(),
        value: "1 < 2".to_owned(),
        id: 7,
        data: b"news".to_vec().into(),
    };
    channel.marks = vec![
        mark("scte35-1207959695-1", 14, Some(4), Message::Scte35(out.into())),
        mark("scte35-1207959695-2", 18, None, Message::Scte35(back.into())),
        mark("programme-7", 20, None, event),
    ];
    let caption = |channel, language: &str| Caption { channel, language: language.to_owned() };
    channel.captions = vec![
        caption(CaptionChannel::Cc(1), "en"),
        caption(CaptionChannel::Cc(3), "en"),
        caption(CaptionChannel::Service(1), "de"),
    ];
    let text = Track { codec: "wvtt".to_owned(), details: Details::Text, ..audio("t1", "", "en", 0) };
    channel.add(text, 500, 12, 1);
    check_live("live_with_everything", &channel, Stretch::default());
}

#[test]
fn live_plain() {
    let mut channel = Channel::news(6, 0, None);
    channel.remove(1, FIRST + 3);
    channel.begin_dependent(0, FIRST + 4);
    check_live("live_plain", &channel, Stretch::default());
}

#[test]
fn live_long_window() {
    let mut channel = low_latency(30, 3);
    channel.first = FIRST + 12;
    check_live("live_long_window", &channel, Stretch::default());
}

#[test]
fn live_ended() {
    let mut channel = low_latency(6, 3);
    channel.end();
    check_live("live_ended", &channel, Stretch::default());
}

#[test]
fn live_catch_up() {
    let mut channel = low_latency(6, 0);
    channel.first += 2;
    channel.change(FIRST + 4);
    channel.end();
    let at = |slot: u64| Some(Duration::from_secs((FIRST + slot) * 2));
    check_live("live_catch_up", &channel, Stretch { start: at(2), end: at(6) });
}
