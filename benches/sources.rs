//! How fast sources are read: samples of a progressive and of a fragmented movie, cues of a subtitle file.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use headwater::media::isobmff::Movie;
use headwater::media::webvtt;

/// Three hours at 50 frames a second.
const SAMPLES: u32 = 540_000;
const SIZE: u32 = 4;
/// Samples in a chunk or a fragment.
const RUN: u32 = 100;

criterion_group!(benches, samples, cues);
criterion_main!(benches);

fn samples(c: &mut Criterion) {
    let mut group = c.benchmark_group("samples");
    group.throughput(Throughput::Elements(SAMPLES.into())).sample_size(20);
    for (name, file) in [("progressive", progressive()), ("fragmented", fragmented())] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let movie = Movie::parse(name, &file).expect("a movie");
                let samples = movie.tracks()[0].samples().inspect(|sample| {
                    black_box(sample.as_ref().expect("a sample"));
                });
                assert_eq!(samples.count(), SAMPLES as usize);
            });
        });
    }
    group.finish();
}

fn cues(c: &mut Criterion) {
    let mut text = String::from("WEBVTT\n\n");
    for number in 0..900 {
        let (minutes, seconds) = (number / 15, number % 15 * 4);
        writeln!(
            text,
            "{minutes:02}:{seconds:02}.000 --> {minutes:02}:{:02}.500\nSome words\nin two lines\n",
            seconds + 2
        )
        .expect("a string takes all");
    }
    let mut group = c.benchmark_group("cues");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("normalise", |bencher| {
        bencher.iter(|| black_box(webvtt::normalise("cues.vtt", text.as_bytes()).expect("subtitles")));
    });
    group.finish();
}

/// `mdat`, then `moov`: sizes and chunk offsets as tables, a key frame every 100, composition offsets in runs of one.
fn progressive() -> Vec<u8> {
    let chunks = SAMPLES / RUN;
    let mut sizes = vec![0, 0, SAMPLES];
    sizes.extend((0..SAMPLES).map(|_| SIZE));
    let mut offsets = vec![0, chunks];
    offsets.extend((0..chunks).map(|chunk| 24 + chunk * RUN * SIZE));
    let mut sync = vec![0, chunks];
    sync.extend((0..chunks).map(|chunk| chunk * RUN + 1));
    let mut composition = vec![0, SAMPLES];
    composition.extend((0..SAMPLES).flat_map(|sample| [1, sample % 3]));
    let tables = [
        full(b"stts", &[0, 1, SAMPLES, 1]),
        full(b"ctts", &composition),
        full(b"stss", &sync),
        full(b"stsc", &[0, 1, 1, RUN, 1]),
        full(b"stsz", &sizes),
        full(b"stco", &offsets),
    ];
    let media = boxed(b"mdat", &[&vec![0; (SAMPLES * SIZE) as usize]]);
    [boxed(b"ftyp", &[b"isom\0\0\0\0"]), media, movie(&tables.concat(), &[])].concat()
}

/// One fragment for every 100 samples, with sizes, flags and composition offsets in rows.
fn fragmented() -> Vec<u8> {
    let trex = boxed(b"mvex", &[&full(b"trex", &[0, 1, 1, 1, 0, 0])]);
    let empty = [full(b"stts", &[0, 0]), full(b"stsc", &[0, 0]), full(b"stsz", &[0, 0, 0]), full(b"stco", &[0, 0])];
    let mut file = [boxed(b"ftyp", &[b"iso6\0\0\0\0"]), movie(&empty.concat(), &trex)].concat();
    for fragment in 0..SAMPLES / RUN {
        let moof = |data_offset| {
            let mut run = vec![0x0100_0e01, RUN, data_offset];
            run.extend(
                (0..RUN).flat_map(|sample| [SIZE, if sample == 0 { 0x0200_0000 } else { 0x0101_0000 }, sample % 3]),
            );
            let traf = [full(b"tfhd", &[0x2_0000, 1]), full(b"tfdt", &[0, fragment * RUN]), full(b"trun", &run)];
            boxed(b"moof", &[&full(b"mfhd", &[0, fragment]), &boxed(b"traf", &[&traf.concat()])])
        };
        file.extend(moof(moof(0).len() as u32 + 8));
        file.extend(boxed(b"mdat", &[&vec![0; (RUN * SIZE) as usize]]));
    }
    file
}

fn movie(tables: &[u8], extends: &[u8]) -> Vec<u8> {
    let entry = boxed(b"avc1", &[&[0; 6], &[0, 1], &[0; 70]]);
    let stsd = boxed(b"stsd", &[&words(&[0, 1]), &entry]);
    let minf = boxed(b"minf", &[&boxed(b"stbl", &[&stsd, tables])]);
    let hdlr = boxed(b"hdlr", &[&[0; 8], b"vide", &[0; 13]]);
    let mdia = boxed(b"mdia", &[&full(b"mdhd", &[0, 0, 0, 50, 0, 0]), &hdlr, &minf]);
    let trak = boxed(b"trak", &[&full(b"tkhd", &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), &mdia]);
    boxed(b"moov", &[&full(b"mvhd", &[0, 0, 0, 1_000, 0]), &trak, extends])
}

fn full(name: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    boxed(name, &[&words(numbers)])
}

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
