//! Movie fragments (ISO/IEC 14496-12 §8.8), walked from the file for each track anew: nothing is kept per fragment.

use std::sync::Arc;

use super::boxes::{Boxed, Boxes, Path};
use super::error::{Error, Problem};
use super::groups::{Descriptions, Grouping, Groups};
use super::moof::{Base, Defaults, Header, MOOF, Moof, Row, Run, TFHD, TRAF, Traf, absolute_time, decode_time};
use super::samples::{FLAG_NON_SYNC, SourceSample};

/// What a track needs to find its fragments.
#[derive(Clone, Debug)]
pub(super) struct FragmentSource<'a> {
    pub file: &'a [u8],
    /// Of the first `moof`.
    pub start: u64,
    pub track_id: u32,
    /// Of all tracks: where a track's data begins may depend on the sizes of another's.
    pub defaults: Arc<[Defaults]>,
    /// The sample description every sample must have, `None` if all are the same.
    pub description: Option<u32>,
    pub groups: [Option<Descriptions<'a>>; 3],
}

/// The samples of one track in all fragments.
#[derive(Clone, Debug)]
pub(super) struct Fragments<'a> {
    source: FragmentSource<'a>,
    file: Boxes<'a>,
    moof_number: u32,
    moof: Option<Moof<'a>>,
    traf: Option<Traf<'a>>,
    run: Run<'a>,
    /// Where the next sample lies, in the file.
    position: u64,
    /// Of the next sample.
    decode_time: i64,
    number: u64,
    /// Bytes that samples may still claim. Samples of a track do not overlap, so together they are no larger than the
    /// file; this is what bounds the work where runs state sample counts without rows.
    budget: u64,
}

impl<'a> Fragments<'a> {
    pub fn new(source: FragmentSource<'a>) -> Fragments<'a> {
        Fragments {
            file: Boxes::top_level(source.file, source.start),
            budget: source.file.len() as u64,
            source,
            moof_number: 0,
            moof: None,
            traf: None,
            run: Run::default(),
            position: 0,
            decode_time: 0,
            number: 0,
        }
    }

    /// Where samples of `moov` ended, for fragments that do not say when they begin.
    pub fn continue_at(&mut self, decode_time: i64) {
        self.decode_time = decode_time;
    }

    #[inline]
    pub fn next(&mut self) -> Result<Option<SourceSample>, Error> {
        while self.run.left == 0 {
            if !self.next_run()? {
                return Ok(None);
            }
        }
        let Some(traf) = &mut self.traf else { return Ok(None) };
        let run = &mut self.run;
        // The rows were counted when the run was entered.
        let Some(row) = run.row(&traf.header.defaults) else { return Ok(None) };
        let Row { duration, size, mut flags, composition_offset } = row;
        if let Some((&dependencies, rest)) = traf.dependencies.split_first() {
            traf.dependencies = rest;
            flags = flags & !0x0ff0_0000 | u32::from(dependencies) << 20;
        }
        let recovery = traf.groups.as_mut().and_then(Groups::next);
        let (offset, decode_time) = (self.position, self.decode_time);
        let file_len = self.source.file.len() as u64;
        let cost = u64::from(size).max(1);
        let end = offset.checked_add(u64::from(size)).filter(|&end| end <= file_len && cost <= self.budget);
        let time = decode_time.checked_add(i64::from(duration));
        let (Some(end), Some(time)) = (end, time) else { return Err(self.refused(size, duration)) };
        self.budget -= cost;
        self.position = end;
        run.left -= 1;
        self.decode_time = time;
        self.number += 1;
        Ok(Some(SourceSample {
            offset,
            size,
            decode_time,
            duration,
            composition_offset,
            sync: flags & FLAG_NON_SYNC == 0,
            flags,
            recovery,
        }))
    }

    #[cold]
    fn refused(&self, size: u32, duration: u32) -> Error {
        let (Run { path, at, .. }, offset) = (self.run, self.position);
        let len = self.source.file.len() as u64;
        if offset.checked_add(u64::from(size)).is_none_or(|end| end > len) {
            let size = u64::from(size);
            return Error::new(
                path,
                at,
                Problem::SampleOutside { number: self.number, offset: offset.into(), size, len },
            );
        }
        if self.decode_time.checked_add(i64::from(duration)).is_none() {
            let found = format_args!("a decode time of {} and a duration of {duration}", self.decode_time);
            return Error::unexpected(path, at, found, "a sum below 2^63");
        }
        let found = format_args!("more than {len} bytes of samples");
        Error::unexpected(path, at, found, "no more than the file has")
    }

    /// Enters the next `trun` of the track, if there is one.
    fn next_run(&mut self) -> Result<bool, Error> {
        loop {
            let Some(traf) = &mut self.traf else {
                if !self.next_traf()? {
                    return Ok(false);
                }
                continue;
            };
            match traf.next_run()? {
                Some(run) if run.left > 0 => {
                    if let Some(offset) = run.data_offset {
                        self.position = run.begin(traf.base, offset)?;
                    }
                    self.run = run;
                    return Ok(true);
                }
                Some(_) => {}
                None => self.traf = None,
            }
        }
    }

    /// Enters the track's next `traf`, in this `moof` or a later one.
    fn next_traf(&mut self) -> Result<bool, Error> {
        loop {
            let Some(moof) = &mut self.moof else {
                let Some(next) = self.file.next().transpose()? else { return Ok(false) };
                if next.name == MOOF {
                    self.moof_number = self.moof_number.saturating_add(1);
                    self.moof = Some(Moof::enter(&next, self.moof_number)?);
                    self.position = next.at;
                }
                continue;
            };
            let Some(child) = moof.children.next().transpose()? else {
                self.moof = None;
                continue;
            };
            if child.name != TRAF {
                continue;
            }
            moof.traf_number = moof.traf_number.saturating_add(1);
            let path = moof.path.enter(TRAF, moof.traf_number);
            let header = Header::read(&child, path, &self.source.defaults)?;
            let base = match header.base {
                Base::Offset(offset) => offset,
                Base::Moof => moof.at,
                Base::Chained => self.position,
            };
            let own = header.defaults.track_id == self.source.track_id;
            if own {
                self.position = base;
                self.enter_traf(&child, path, header, base)?;
                return Ok(true);
            }
            if moof.chained {
                self.position = base;
                self.skip_traf(Traf::new(&child, path, header, base))?;
            }
        }
    }

    fn enter_traf(&mut self, child: &Boxed<'a>, path: Path, header: Header, base: u64) -> Result<(), Error> {
        let found = header.defaults.description;
        if let Some(expected) = self.source.description.filter(|&expected| expected != found) {
            return Err(Error::unexpected(
                path.enter(TFHD, 0),
                child.at,
                format_args!("sample description {found} of stsd"),
                format_args!("{expected}, that of the other samples"),
            ));
        }
        let mut traf = Traf::new(child, path, header, base);
        let (mut groupings, mut descriptions) = ([None; 3], [None; 3]);
        let (mut time, mut smooth_time) = (None, None);
        for part in Boxes::inside(child.body(), path) {
            let part = part?;
            match &part.name.0 {
                b"tfdt" => time = Some(decode_time(&part)?),
                b"uuid" => smooth_time = smooth_time.or(absolute_time(&part)?),
                b"sdtp" => traf.dependencies = part.full()?.2.rest(),
                b"sbgp" => Grouping::read(&part)?.keep(&mut groupings),
                b"sgpd" => Descriptions::read(&part)?.keep(&mut descriptions),
                _ => {}
            }
        }
        self.decode_time = time.or(smooth_time).unwrap_or(self.decode_time);
        let groups = Groups::of(&groupings, &self.source.groups, &descriptions);
        traf.groups = (!groups.is_empty()).then_some(groups);
        if header.duration_is_empty {
            // §8.8.7.1: there are no samples for the default duration.
            self.decode_time = self.decode_time.saturating_add(i64::from(header.defaults.duration));
        }
        self.traf = Some(traf);
        Ok(())
    }

    /// Follows the data of another track's `traf` to its end.
    fn skip_traf(&mut self, mut traf: Traf<'a>) -> Result<(), Error> {
        while let Some(run) = traf.next_run()? {
            if run.left == 0 {
                continue;
            }
            if let Some(offset) = run.data_offset {
                self.position = run.begin(traf.base, offset)?;
            }
            self.position = self.position.saturating_add(run.size(&traf.header));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{
        Node, add, bytes, children, fragment, fragmented, full, leaf, progressive, replace, tree, words,
    };
    use super::super::samples::tests::text;
    use super::super::{Movie, fixture};

    /// Samples with offsets counted from the first byte of the `mdat` they are in (`0:` for the first one), which begins
    /// with the video's 60 bytes in every fixture.
    fn of(file: &[Node], number: usize) -> Vec<String> {
        let bytes = bytes(file);
        let movie = match Movie::parse("f", &bytes) {
            Ok(movie) => movie,
            Err(error) => return vec![error.to_string()],
        };
        assert!(movie.is_fragmented());
        let starts: Vec<usize> =
            bytes.windows(4).enumerate().filter(|(_, window)| window == b"mdat").map(|(at, _)| at + 4).collect();
        let relative = |line: &str| {
            let (offset, rest) = line.split_once('+')?;
            let offset: usize = offset.parse().ok()?;
            let mdat = starts.iter().rposition(|&start| start <= offset)?;
            Some(format!("{mdat}:{}+{rest}", offset - starts[mdat]))
        };
        text(&movie.tracks()[number]).into_iter().map(|line| relative(&line).unwrap_or(line)).collect()
    }

    const VIDEO: [&str; 6] = [
        "0:0+10 @0/100 +200 2000000",
        "0:10+20 @100/100 +100 1010000",
        "0:30+30 @200/100 -100 1010000",
        "1:0+10 @300/100 +200 2000000",
        "1:10+20 @400/100 +100 1010000",
        "1:30+30 @500/100 -100 1010000",
    ];

    fn audio() -> Vec<String> {
        let sample = |number| format!("{}:{}+4 @{}/1024 +0 2000000", number / 4, 60 + number % 4 * 4, number * 1_024);
        (0..8).map(sample).collect()
    }

    /// The offset of the first `moof`, and of the media behind it.
    fn places(file: &[Node]) -> (u32, u32) {
        let bytes = bytes(file);
        let at = |name: &[u8; 4]| bytes.windows(4).position(|window| window == name).unwrap() as u32;
        (at(b"moof") - 4, at(b"mdat") + 4)
    }

    #[test]
    fn fragments_give_samples() {
        let file = fragmented();
        assert_eq!(of(&file, 0), VIDEO);
        assert_eq!(of(&file, 1), audio());
    }

    /// Each way to write the first fragment gives the same samples. Lengths of boxes differ, so offsets into the media are
    /// made of a first try.
    #[test]
    fn fragments_are_written_in_many_ways() {
        // The boxes of the video's and the audio's traf, given the offsets of moof and media.
        type Write = fn(u32, u32) -> [Vec<Node>; 2];
        let cases: &[(&str, Write)] = &[
            ("offsets from the file", |_, media| {
                [
                    vec![
                        leaf(b"tfhd", words(&[1, 1, 0, media - 5])),
                        full(b"tfdt", &[0x0100_0000, 0, 0]),
                        full(b"trun", &[0x0100_0a05, 3, 5, 0x0200_0000, 10, 200, 20, 100, 30, -100_i32 as u32]),
                    ],
                    vec![leaf(b"tfhd", words(&[1, 2, 0, media + 60])), full(b"tfdt", &[0, 0]), full(b"trun", &[0, 4])],
                ]
            }),
            ("everything in the run, and default-base-is-moof", |moof, media| {
                [
                    vec![
                        full(b"tfhd", &[0x2_0000, 1]),
                        full(b"tfdt", &[0, 0]),
                        full(
                            b"trun",
                            &[
                                0xf01,
                                3,
                                media - moof,
                                100,
                                10,
                                0x0200_0000,
                                200,
                                100,
                                20,
                                0x0101_0000,
                                100,
                                100,
                                30,
                                0x0101_0000,
                                -100_i32 as u32,
                            ],
                        ),
                    ],
                    vec![
                        full(b"tfhd", &[0x2_0038, 2, 1_024, 4, 0x0200_0000]),
                        full(b"tfdt", &[0, 0]),
                        full(b"trun", &[0x1, 4, media - moof + 60]),
                    ],
                ]
            }),
            ("everything in tfhd, runs of one sample", |moof, media| {
                let run =
                    |first: u32, size: u32, offset: i32| full(b"trun", &[0x0100_0a04, 1, first, size, offset as u32]);
                [
                    vec![
                        full(b"tfhd", &[0x2_002a, 1, 1, 100, 0x0101_0000]),
                        full(b"tfdt", &[0, 0]),
                        full(b"trun", &[0x0000_0a01, 0, media - moof]),
                        full(b"trun", &[0x0100_0a05, 1, media - moof, 0x0200_0000, 10, 200]),
                        run(0x0101_0000, 20, 100),
                        run(0x0101_0000, 30, -100),
                    ],
                    vec![
                        full(b"tfhd", &[0x2_0000, 2]),
                        full(b"trun", &[0x1, 1, media - moof + 60]),
                        full(b"trun", &[0x1, 2, media - moof + 64]),
                        full(b"trun", &[0, 1]),
                    ],
                ]
            }),
            ("each traf where the one before ends", |moof, media| {
                [
                    vec![
                        full(b"tfhd", &[0, 1]),
                        full(
                            b"trun",
                            &[0x0100_0a05, 3, media - moof, 0x0200_0000, 10, 200, 20, 100, 30, -100_i32 as u32],
                        ),
                    ],
                    vec![full(b"tfhd", &[0, 2]), full(b"trun", &[0, 4])],
                ]
            }),
            ("sdtp", |moof, media| {
                [
                    vec![
                        full(b"tfhd", &[0x2_0000, 1]),
                        leaf(b"sdtp", [0, 0, 0, 0, 0x20, 0x10, 0x10]),
                        full(
                            b"trun",
                            &[
                                0xe01,
                                3,
                                media - moof,
                                10,
                                0,
                                200,
                                20,
                                0x1_0000,
                                100,
                                30,
                                0xffff_0000 & 0x1_0000,
                                -100_i32 as u32,
                            ],
                        ),
                    ],
                    vec![full(b"tfhd", &[0x2_0000, 2]), full(b"trun", &[0x1, 4, media - moof + 60])],
                ]
            }),
        ];
        for (name, write) in cases {
            let written = |moof, media| {
                let [video, audio] = write(moof, media);
                let mut file = fragmented();
                let at = file.iter().position(|node| node.name == *b"moof").unwrap();
                file[at] = tree(b"moof", [full(b"mfhd", &[0, 1]), tree(b"traf", video), tree(b"traf", audio)]);
                file
            };
            let (moof, media) = places(&written(1_000, 2_000));
            let file = written(moof, media);
            assert_eq!(of(&file, 0), VIDEO, "{name}");
            assert_eq!(of(&file, 1), audio(), "{name}");
        }
    }

    #[test]
    fn other_boxes_between_are_passed_over() {
        let mut file = fragmented();
        for (at, name) in [(2, b"sidx"), (4, b"emsg"), (7, b"prft"), (8, b"uuid"), (12, b"mfra")] {
            file.insert(at, leaf(name, [0; 16]));
        }
        // The movie header again, as in a recording of a stream that repeats it.
        let moov = file[1].clone();
        file.push(moov);
        assert_eq!(of(&file, 0), VIDEO);
        assert_eq!(of(&file, 1), audio());
    }

    #[test]
    fn fragments_without_times_continue_the_movie() {
        // Samples in moov, then a fragment of another.
        let mut file = progressive();
        add(&mut file, "moov", tree(b"mvex", [full(b"trex", &[0, 1, 1, 100, 0, 0x0101_0000])]));
        file.extend(fragment(0, 0));
        replace(&mut file, "moof/traf[1]/tfdt", full(b"free", &[0, 0]));
        let got = of(&file, 0);
        assert_eq!(got[4..6], ["0:116+50 @400/50 +0 1010000", "1:0+10 @450/100 +200 2000000"], "{got:?}");
        // Without a trex sizes and durations are 0, like every default of the standard.
        assert_eq!(of(&file, 1)[7..9], ["0:178+4 @7168/1024 +0 2000000", "1:60+0 @0/0 +0 0"]);
    }

    #[test]
    fn fragments_of_smooth_streaming_say_when_they_begin() {
        let id = *b"\x6d\x1d\x9b\x05\x42\xd5\x44\xe6\x80\xe2\x14\x1d\xaf\xf7\x57\xb2";
        let tfxd = |numbers: &[u32]| leaf(b"uuid", [id.to_vec(), words(numbers)].concat());
        for (numbers, want) in [
            (&[0x0100_0000, 0, 700, 0, 300][..], "@700/100"),
            (&[0, 700, 300], "@700/100"),
            (&[0x0100_0000, u32::MAX, u32::MAX - 49, 0, 300], "@-50/100"),
            (&[0x0100_0000, 0x8000_0000, 0, 0, 300], "expected one from -10000000"),
            (&[0x0100_0000, 0], "uuid"),
        ] {
            let mut file = fragmented();
            add(&mut file, "moof[1]/traf[1]", tfxd(numbers));
            let with_both = of(&file, 0).remove(0);
            replace(&mut file, "moof[1]/traf[1]/tfdt", full(b"free", &[0, 0]));
            let found = of(&file, 0).remove(0);
            assert!(found.contains(want), "{found}");
            // Beside tfdt its time counts for nothing.
            assert!(with_both.contains(if want.starts_with('@') { "@0/100" } else { want }), "{with_both}");
        }
    }

    #[test]
    fn an_empty_fragment_takes_time() {
        let mut file = fragmented();
        let moof = children(&mut file, "moof[1]");
        moof.insert(1, tree(b"traf", [full(b"tfhd", &[0x3_0008, 1, 7])]));
        let media = places(&file).1 - places(&file).0;
        for (traf, at) in [(2, media), (3, media + 60)] {
            let runs = children(&mut file, &format!("moof[1]/traf[{traf}]"));
            let fixture::Body::Leaf(run) = &mut runs[2].body else { panic!() };
            run[8..12].copy_from_slice(&at.to_be_bytes());
        }
        replace(&mut file, "moof[1]/traf[2]/tfdt", full(b"free", &[0, 0]));
        assert_eq!(of(&file, 0)[0], "0:0+10 @7/100 +200 2000000");
        assert_eq!(of(&file, 1), audio());
    }

    #[test]
    fn groups_of_a_fragment_are_its_own_or_the_movies() {
        let mut file = fragmented();
        let stbl = "moov/trak[1]/mdia/minf/stbl";
        let descriptions = |distance| {
            leaf(b"sgpd", [words(&[0x0100_0000]), b"roll".to_vec(), words(&[2, 1]), vec![0, distance]].concat())
        };
        add(&mut file, stbl, descriptions(5));
        // Group boxes come behind the run here, so that its data offset stays; order is free.
        for traf in ["moof[1]/traf[1]", "moof[2]/traf[1]"] {
            add(&mut file, traf, descriptions(6));
            add(
                &mut file,
                traf,
                leaf(b"sbgp", [words(&[0]), b"roll".to_vec(), words(&[3, 1, 1, 1, 0x1_0001, 1, 0x1_0002])].concat()),
            );
        }
        let bytes = bytes(&file);
        let movie = Movie::parse("f", &bytes).unwrap();
        let recovery: Vec<_> = movie.tracks()[0].samples().map(|sample| sample.unwrap().recovery).collect();
        assert_eq!(recovery, [Some(5), Some(6), None, Some(5), Some(6), None]);
    }

    #[test]
    fn damage_is_named() {
        let run = |numbers: &[u32]| full(b"trun", numbers);
        let cases: &[(&str, Node, usize, &str)] = &[
            (
                "traf[1]/trun",
                run(&[0x100, 0xffff_ffff, 1]),
                0,
                "moof[1]/traf[1]/trun[1] at byte BODY+8: found 4 bytes left in the box, expected 17179869180",
            ),
            (
                "traf[1]/trun",
                run(&[0x201, 2, 0x7fff_ffff, 1, 1]),
                0,
                "moof[1]/traf[1]/trun[1] at byte BOX: sample 0 (from 0): found 1 bytes at byte MOOF+2147483647, expected them inside the file's LEN bytes",
            ),
            (
                "traf[1]/trun",
                run(&[0x201, 2, 0x8000_0000, 1, 1]),
                0,
                "moof[1]/traf[1]/trun[1] at byte BOX: found data offset -2147483648 from byte MOOF, expected a place in the file",
            ),
            ("traf[1]/tfhd", full(b"tfhd", &[0x2_0002, 1, 2]), 0, ""),
            (
                "traf[1]/tfdt",
                full(b"tfdt", &[0x0100_0000, 0x8000_0000, 0]),
                0,
                "moof[1]/traf/tfdt at byte BODY+4: found decode time 9223372036854775808, expected one below 2^63",
            ),
            (
                "traf[1]/tfdt",
                full(b"tfdt", &[0x0100_0000, 0x7fff_ffff, 0xffff_ffff]),
                0,
                "moof[1]/traf[1]/trun[1] at byte NEXT: found a decode time of 9223372036854775807 and a duration of 100, expected a sum below 2^63",
            ),
            ("traf[1]/tfhd", leaf(b"free", []), 0, "moof[1]/traf[1] at byte TRAF: found no tfhd box, expected one"),
        ];
        for (path, node, good, want) in cases {
            let mut file = fragmented();
            replace(&mut file, &format!("moof[1]/{path}"), node.clone());
            let got = of(&file, 0);
            let bytes = bytes(&file);
            let (moof, _) = places(&file);
            let find = |name: &[u8]| {
                bytes.windows(4).skip(moof as usize).position(|window| window == name).map(|at| at + moof as usize - 4)
            };
            let at = find(&node.name).unwrap();
            let want = want
                .replace("BODY+4", &(at + 12).to_string())
                .replace("BODY+8", &(at + 16).to_string())
                .replace("MOOF+2147483647", &(u64::from(moof) + 0x7fff_ffff).to_string())
                .replace("MOOF", &moof.to_string())
                .replace("BOX", &at.to_string())
                .replace("NEXT", &find(b"trun").unwrap().to_string())
                .replace("TRAF", &find(b"traf").unwrap().to_string())
                .replace("LEN", &bytes.len().to_string())
                .replace("traf/tfdt", "traf[1]/tfdt");
            if want.is_empty() {
                // Descriptions that are all the same may have any number.
                assert!(got.last().unwrap().contains("+30 "), "{got:?}");
                continue;
            }
            assert_eq!((got.len() - 1, got.last()), (*good, Some(&format!("f: {want}"))), "{path}");
        }
    }

    /// 20 bytes of run may state four billion samples of a default size; the file's length bounds them all together.
    #[test]
    fn counts_without_rows_are_bounded() {
        for size in [0, 1, 30] {
            let mut file = fragmented();
            let runs: Vec<Node> = (0..50).map(|_| full(b"trun", &[1, u32::MAX, 0])).collect();
            let mut boxes = vec![full(b"tfhd", &[0x2_0010, 1, size])];
            boxes.extend(runs);
            replace(&mut file, "moof[1]/traf[1]", tree(b"traf", boxes));
            let bytes = bytes(&file);
            let movie = Movie::parse("f", &bytes).unwrap();
            let samples: Vec<_> = movie.tracks()[0].samples().collect();
            assert!(samples.len() <= bytes.len() + 1);
            assert!(samples.last().unwrap().is_err());
        }
    }
}
