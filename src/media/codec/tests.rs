//! What real files and hostile ones are described as.

use proptest::prelude::*;

use super::fixtures::{self as from, Fixture};
use super::*;
use crate::media::track::{Audio, Video, VideoRange};

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

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
        };
        assert_eq!(got.details, Details::Video(want), "{name}");
    }
}

#[test]
fn audio() {
    type Row = (&'static str, Fixture, &'static str, u32, u16, u8, Option<u32>);
    let cases: &[Row] = &[
        ("aac", from::AAC, "mp4a.40.2", 48_000, 1, 1, Some(1024)),
        ("aac mov", from::AAC_MOV, "mp4a.40.2", 48_000, 2, 2, Some(1024)),
        ("aac 5.1", from::AAC51, "mp4a.40.2", 48_000, 6, 6, Some(1024)),
        ("aac 7.1", from::AAC71, "mp4a.40.2", 48_000, 8, 7, Some(1024)),
        ("mp3", from::MP3, "mp4a.6b", 48_000, 2, 2, Some(1152)),
        ("mp3 lsf", from::MP3_22, "mp4a.69", 22_050, 2, 2, Some(576)),
        ("mp3 mov", from::MP3_MOV, "mp4a.6b", 48_000, 2, 2, Some(1152)),
    ];
    for (name, fixture, codec, sample_rate, channels, configuration, frame_length) in cases {
        let got = described(fixture).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(got.codec, *codec, "{name}");
        let want = Audio {
            sample_rate: *sample_rate,
            channels: *channels,
            channel_configuration: *configuration,
            dolby_channels: None,
            joint_objects: None,
        };
        assert_eq!(got.details, Details::Audio(want), "{name}");
        assert_eq!(got.framing, Framing::Audio { frame_length: *frame_length }, "{name}");
    }
}
