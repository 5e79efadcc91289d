//! What import does for every track and every sample: descriptions, random access points, fragment headers.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use headwater::media::isobmff::write::fragment_header;
use headwater::media::{Sample, codec};

#[allow(dead_code)]
#[path = "../src/media/codec/fixtures.rs"]
mod fixtures;

use fixtures::bytes;

fn describe(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("describe");
    for (name, fixture) in [
        ("h264", fixtures::H264_1080),
        ("hevc", fixtures::HEVC_PQ),
        ("av1", fixtures::AV1_PQ),
        ("vp9", fixtures::VP9_P2),
        ("aac", fixtures::AAC),
        ("ec-3", fixtures::EAC3),
    ] {
        let (entry, sample) = (bytes(fixture.entry), bytes(fixture.sample));
        group.bench_function(name, |bencher| {
            bencher.iter(|| codec::describe("film.mp4", black_box(&entry), 0, black_box(&sample)));
        });
    }
    group.finish();
}

/// A sample as encoders write it: delimiter, SEI of 700 bytes, slices of 8 KB.
fn nal_sample(leading: &[&[u8]], slice: &[u8]) -> Vec<u8> {
    let mut body = slice.to_vec();
    body.resize(8_192, 0x5A);
    let units = leading.iter().copied().chain([&body[..]; 4]);
    units.flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), unit].concat()).collect()
}

fn random_access(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("random_access");
    let mut sei = vec![6, 5, 255, 255, 190];
    sei.resize(5 + 700, 0x11);
    sei.push(0x80);
    let (delimiter, p, idr): (&[u8], &[u8], &[u8]) = (&[9, 0x10], &[0x41, 0x98], &[0x65, 0x88]);
    let describe = |fixture: fixtures::Fixture| {
        codec::describe("film.mp4", &bytes(fixture.entry), 0, &bytes(fixture.sample)).unwrap()
    };
    let (avc, hevc, av1) = (describe(fixtures::H264), describe(fixtures::HEVC), describe(fixtures::AV1));
    let trail: &[u8] = &[2, 1];
    for (name, description, sample) in [
        ("h264 key frame", &avc, nal_sample(&[delimiter, &[0x67; 30], &[0x68; 5], &sei], idr)),
        ("h264 inter", &avc, nal_sample(&[delimiter], p)),
        ("hevc inter", &hevc, nal_sample(&[&[70, 1, 0x50]], trail)),
        ("av1 key frame", &av1, bytes(fixtures::AV1.sample)),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| description.random_access(black_box(&sample), false)));
    }
    group.finish();
}

fn fragment(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fragment_header");
    let video = |index: u32| Sample {
        size: (if index == 0 { 90_000 } else { 4_000 + index * 37 % 3_000 }).into(),
        duration: 512.into(),
        composition_offset: ([512, 1536, 0, -512][index as usize % 4]).into(),
        flags: (if index == 0 { 0x0200_0000 } else { 0x0101_0000 }).into(),
    };
    let audio = |index: u32| Sample {
        size: (330 + index * 13 % 40).into(),
        duration: 1024.into(),
        composition_offset: 0.into(),
        flags: 0x0200_0000.into(),
    };
    for (name, samples) in [
        ("video of 2 s at 50 Hz", (0..100).map(video).collect::<Vec<_>>()),
        ("audio of 2 s", (0..94).map(audio).collect()),
    ] {
        group.throughput(Throughput::Elements(samples.len() as u64));
        let mut out = Vec::new();
        group.bench_with_input(BenchmarkId::from_parameter(name), &samples, |bencher, samples| {
            bencher.iter(|| {
                out.clear();
                fragment_header(1, 1 << 40, black_box(samples), &mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, describe, random_access, fragment);
criterion_main!(benches);
