//! Chunks of a track file (ISO/IEC 23000-19 §7.3.2.3): one `moof` and its `mdat`, as [`super::write`] makes them, perhaps
//! behind boxes that belong to them. What recovery finds its way by, and what an index over live files is made from.

use crate::base::Ticks;
use crate::media::Sample;

use super::boxes::{Boxed, Boxes, FourCc, Path};
use super::error::{Error, Problem};
use super::moof::{Base, Header, MOOF, Run, TRAF, Traf, decode_time};
use super::samples::FLAG_NON_SYNC;

/// A whole chunk. Its samples fill its `mdat`, in one run.
#[derive(Clone, Debug)]
pub struct Chunk<'a> {
    /// Of the first byte, in the file.
    pub offset: u64,
    /// All boxes together, in bytes.
    pub size: u64,
    /// Of the first media byte, from `offset`.
    pub media_offset: u32,
    /// `sequence_number` of `mfhd`; 0 if there is none.
    pub sequence: u32,
    /// `baseMediaDecodeTime`.
    pub time: Ticks,
    /// Of all samples, in track ticks.
    pub duration: u64,
    /// At least 1, and at most as many as there are media bytes.
    pub sample_count: u32,
    /// Whether decoding can start at the first sample: it is a sync sample, or depends on no other though those that follow it
    /// may depend on others before it (an open group of pictures).
    pub is_independent: bool,
    /// The bytes of the first sample: what a decoder needs to begin.
    pub first_sample: &'a [u8],
    header: Header,
    run: Run<'a>,
}

/// Where the header of a track file ends: its `ftyp` and `moov`, in bytes.
pub fn header_len(file: &[u8]) -> Result<u64, Error> {
    for found in Boxes::top_level(file, 0) {
        let found = found?;
        match &found.name.0 {
            b"moov" => return Ok(found.at + found.whole.len() as u64),
            b"ftyp" => {}
            _ => return Err(Error::unexpected(found.path, found.at, "another box", "ftyp and moov")),
        }
    }
    Err(Error::new(Path::default(), None, Problem::Missing { name: "moov" }))
}

impl<'a> Chunk<'a> {
    /// The chunk that begins at byte `at`. Reads its `moof`, and none of its media.
    ///
    /// # Errors
    /// Anything but a whole chunk: bytes that are missing, boxes that do not belong there, samples that do not fill the
    /// `mdat` exactly. Work is bounded by the bytes of the `moof`, or the media bytes where it has no rows.
    pub fn read(file: &'a [u8], at: u64) -> Result<Chunk<'a>, Error> {
        let mut boxes = Boxes::top_level(file, at);
        let missing = |name| Error::new(Path::default(), at, Problem::Missing { name });
        let moof = loop {
            let found = boxes.next().ok_or_else(|| missing("moof"))??;
            match found.name {
                MOOF => break found,
                name if BEFORE.contains(&name) => {}
                _ => return Err(Error::unexpected(found.path, found.at, "another box", "moof")),
            }
        };
        let mdat = boxes.next().ok_or_else(|| missing("mdat"))??;
        if mdat.name != MDAT {
            return Err(Error::unexpected(mdat.path, mdat.at, "another box", "mdat"));
        }
        let traf = only_traf(&moof)?;
        let path = moof.path.enter(TRAF, 1);
        let header = Header::read(&traf, path, &[])?;
        let unlike = |found: &str, expected: &str| Error::unexpected(path, traf.at, found, expected);
        if header.base != Base::Moof {
            return Err(unlike("a base of its own", "default-base-is-moof"));
        }
        let mut fragment = Traf::new(&traf, path, header, moof.at);
        let run = fragment.next_run()?.ok_or_else(|| unlike("no trun", "one"))?;
        if fragment.next_run()?.is_some() {
            return Err(unlike("a second trun", "one"));
        }
        let tfdt = traf.children().find_map(|child| child.ok().filter(|child| child.name == TFDT));
        let time = decode_time(&tfdt.ok_or_else(|| Error::new(path, traf.at, Problem::Missing { name: "tfdt" }))?)?;
        let mut media = mdat.body();
        let media_at = run.data_offset.map(|offset| run.begin(moof.at, offset)).transpose()?;
        if media_at.is_some_and(|begin| begin != media.position()) {
            return Err(unlike("samples elsewhere", "samples at the start of mdat"));
        }
        // A run without rows costs its writer nothing: samples have at least a byte each.
        let bytes = media.remaining() as u64;
        if run.left == 0 || u64::from(run.left) > bytes || run.size(&header) != bytes {
            let found = format_args!("{} samples of {} bytes", run.left, run.size(&header));
            return Err(Error::unexpected(run.path, run.at, found, format_args!("samples that fill {bytes} bytes")));
        }
        let end = mdat.at + mdat.whole.len() as u64;
        let media_offset =
            u32::try_from(media.position() - at).map_err(|_| unlike("too large a moof", "less than 4 GiB"))?;
        let mfhd = moof.children().find_map(|child| child.ok().filter(|child| child.name == MFHD));
        let sequence = mfhd.map_or(Ok(0), |mfhd| mfhd.full().and_then(|(_, _, mut body)| mfhd.read(body.u32())))?;
        let mut chunk = Chunk {
            offset: at,
            size: end - at,
            media_offset,
            sequence,
            time: Ticks(time),
            duration: 0,
            sample_count: run.left,
            is_independent: false,
            first_sample: &[],
            header,
            run,
        };
        let (mut duration, mut first) = (0_u64, None);
        for sample in chunk.samples() {
            duration += u64::from(sample.duration.get());
            first.get_or_insert(sample);
        }
        chunk.duration = duration;
        chunk.is_independent = first.is_some_and(|first| {
            let flags = first.flags.get();
            flags & FLAG_NON_SYNC == 0 || flags & DEPENDS_ON == DEPENDS_ON_NONE
        });
        // What is read twice may have been changed in between, where the file is somebody else's to write.
        let size = first.map_or(0, |first| first.size.get() as usize);
        chunk.first_sample = media.rest().get(..size).ok_or_else(|| {
            unlike(&format!("a first sample of {size} bytes"), &format!("at most the {bytes} of mdat"))
        })?;
        if i64::try_from(duration).ok().and_then(|duration| time.checked_add(duration)).is_none() {
            return Err(unlike("a decode time that leaves no room for its samples", "a sum below 2^63"));
        }
        Ok(chunk)
    }

    /// In decode order.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<'a> {
        let (mut run, defaults) = (self.run, self.header.defaults);
        (0..run.left).map_while(move |_| {
            let row = run.row(&defaults)?;
            Some(Sample {
                size: row.size.into(),
                duration: row.duration.into(),
                composition_offset: row.composition_offset.into(),
                flags: row.flags.into(),
            })
        })
    }

    /// Behind its last byte, in the file.
    pub fn end(&self) -> u64 {
        self.offset + self.size
    }

    pub fn decode_end(&self) -> Ticks {
        Ticks(self.time.0 + self.duration as i64)
    }
}

fn only_traf<'a>(moof: &Boxed<'a>) -> Result<Boxed<'a>, Error> {
    let mut only = None;
    for child in moof.children() {
        let child = child?;
        if child.name == TRAF && only.replace(child).is_some() {
            return Err(Error::unexpected(moof.path, moof.at, "a second traf", "one track"));
        }
    }
    only.ok_or_else(|| Error::new(moof.path, moof.at, Problem::Missing { name: "traf" }))
}

/// `sample_depends_on` of `sample_flags` (ISO/IEC 14496-12 §8.8.3.1).
const DEPENDS_ON: u32 = 0x0300_0000;
const DEPENDS_ON_NONE: u32 = 0x0200_0000;

const MDAT: FourCc = FourCc(*b"mdat");
const MFHD: FourCc = FourCc(*b"mfhd");
const TFDT: FourCc = FourCc(*b"tfdt");
/// What may stand before the `moof` of a chunk.
const BEFORE: [FourCc; 3] = [FourCc(*b"styp"), FourCc(*b"prft"), FourCc(*b"emsg")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::isobmff::write::fragment_header;
    use proptest::prelude::*;

    fn sample(size: u32, duration: u32, flags: u32) -> Sample {
        Sample { size: size.into(), duration: duration.into(), composition_offset: (-7).into(), flags: flags.into() }
    }

    fn chunk(time: u64, samples: &[Sample]) -> Vec<u8> {
        let mut out = Vec::new();
        fragment_header(1, time, samples, &mut out).unwrap();
        let bytes: u32 = samples.iter().map(|sample| sample.size.get()).sum();
        out.extend(std::iter::repeat_n(0x5a, bytes as usize));
        out
    }

    #[test]
    fn a_written_chunk_is_read_and_half_of_one_is_not() {
        let samples = [sample(100, 512, 0x0200_0000), sample(20, 512, 0x0101_0000), sample(30, 500, 0x0101_0000)];
        let mut file = b"\0\0\0\x0cfree\0\0\0\0".to_vec();
        let at = file.len() as u64;
        file.extend_from_slice(b"\0\0\0\x0cprft\0\0\0\0");
        file.extend(chunk(90_000, &samples));
        let end = file.len();
        file.extend(chunk(91_524, &samples[1..]));
        let read = Chunk::read(&file, at).unwrap();
        assert_eq!((read.offset, read.end(), read.time, read.duration), (at, end as u64, Ticks(90_000), 1_524));
        assert_eq!((read.sample_count, read.is_independent, read.decode_end()), (3, true, Ticks(91_524)));
        assert_eq!(read.samples().collect::<Vec<_>>(), samples);
        assert_eq!(read.size - u64::from(read.media_offset), 150);
        assert_eq!(read.first_sample, [0x5a; 100]);
        let next = Chunk::read(&file, end as u64).unwrap();
        assert!(!next.is_independent && next.end() == file.len() as u64);
        assert!(Chunk::read(&file, 0).is_err(), "free is no part of a chunk");
        for len in 0..end {
            assert!(Chunk::read(&file[..len], at).is_err(), "{len}");
        }
    }

    #[test]
    fn chunks_that_nobody_here_writes_are_refused() {
        let good = chunk(0, &[sample(10, 1, 0), sample(11, 1, 0)]);
        let find = |name: &[u8]| good.windows(4).position(|window| window == name).unwrap();
        for (what, at, byte) in [
            ("zeroed", 4, 0),
            ("another base", find(b"tfhd") + 5, 0),
            ("another data offset", find(b"trun") + 15, 0),
            ("more samples than bytes", find(b"trun") + 8, 0xff),
            ("a longer sample", find(b"trun") + 19, 12),
            ("mdat", find(b"mdat"), b'x'),
        ] {
            let mut bad = good.clone();
            assert_ne!(bad[at], byte, "{what}");
            bad[at] = byte;
            assert!(Chunk::read(&bad, 0).is_err(), "{what}");
        }
    }

    #[test]
    fn the_header_ends_behind_moov() {
        let header = b"\0\0\0\x0cftypiso6\0\0\0\x0amoov\0\0";
        assert_eq!(header_len(header).unwrap(), 22);
        for len in 0..22 {
            assert!(header_len(&header[..len]).is_err(), "{len}");
        }
        assert!(header_len(&chunk(0, &[sample(1, 1, 0)])).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_u64..400) {
            let _ = (Chunk::read(&bytes, at), header_len(&bytes));
        }

        #[test]
        fn damaged_chunks_do_no_harm(changes in prop::collection::vec((0_usize..200, any::<u8>()), 1..6)) {
            let mut bytes = chunk(5, &[sample(10, 1, 0), sample(11, 1, 0), sample(11, 1, 0)]);
            for (at, value) in changes {
                let len = bytes.len();
                bytes[at % len] = value;
            }
            if let Ok(chunk) = Chunk::read(&bytes, 0) {
                let media: u64 = chunk.samples().map(|sample| u64::from(sample.size.get())).sum();
                prop_assert!(chunk.end() <= bytes.len() as u64 && chunk.samples().count() == chunk.sample_count as usize);
                prop_assert_eq!(media + u64::from(chunk.media_offset), chunk.size);
                let first = chunk.samples().next().map(|sample| sample.size.get() as usize);
                prop_assert_eq!(Some(chunk.first_sample.len()), first);
            }
        }
    }
}
