//! JPEG files one after the other, as an encoder writes them to a pipe: where each ends, and how large its picture is
//! (ITU-T T.81 annex B). Nothing is decoded.

use thiserror::Error;

/// Cuts a stream of JPEG files into files.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    /// Up to where the first file was understood.
    at: usize,
    within: Within,
    size: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Start,
    Segments,
    /// Behind a start of scan: coded data up to a marker that is not RST.
    Scan,
}

/// One whole file.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    pub bytes: Vec<u8>,
    /// In pixels.
    pub width: u32,
    pub height: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("{found:02x?} where a JPEG file should begin with ff d8")]
    Start { found: [u8; 2] },
    #[error("byte {at}: {found:#04x} where a JPEG marker should be")]
    Marker { at: usize, found: u8 },
    #[error("byte {at}: a JPEG segment of {found} bytes; at least {expected}")]
    Segment { at: usize, found: usize, expected: usize },
    #[error("byte {at}: a JPEG file without a frame header")]
    NoFrame { at: usize },
    #[error("a JPEG file of more than {BYTES_MAX} bytes")]
    TooLarge,
}

/// Of one file: a sheet of a million pixels has less than a tenth of it.
pub const BYTES_MAX: usize = 16 << 20;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

impl Splitter {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether there is the beginning of a file, but not its end.
    pub fn is_inside(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next file, if all of it is there. After an error there is nothing more to be had.
    pub fn image(&mut self) -> Result<Option<Image>, Error> {
        loop {
            let Some(step) = self.step()? else {
                return if self.bytes.len() > BYTES_MAX { Err(Error::TooLarge) } else { Ok(None) };
            };
            if let Step::End(end) = step {
                let (width, height) = self.size.take().ok_or(Error::NoFrame { at: end })?;
                let rest = self.bytes.split_off(end);
                let bytes = std::mem::replace(&mut self.bytes, rest);
                (self.at, self.within) = (0, Within::Start);
                return Ok(Some(Image { bytes, width, height }));
            }
        }
    }

    /// `None`: more bytes are needed.
    fn step(&mut self) -> Result<Option<Step>, Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let [first, second, ..] = *rest else { return Ok(None) };
        match self.within {
            Within::Start if (first, second) == (0xFF, SOI) => {
                (self.at, self.within) = (self.at + 2, Within::Segments);
                Ok(Some(Step::On))
            }
            Within::Start => Err(Error::Start { found: [first, second] }),
            Within::Scan => {
                // §B.1.1.5: a byte ff of coded data is followed by 0, a restart marker is part of the scan.
                let is_data = |pair: &[u8]| pair[0] != 0xFF || matches!(pair[1], 0 | 0xD0..=0xD7 | 0xFF);
                match rest.windows(2).position(|pair| !is_data(pair)) {
                    Some(found) => {
                        (self.at, self.within) = (self.at + found, Within::Segments);
                        Ok(Some(Step::On))
                    }
                    None => {
                        self.at += rest.len() - 1;
                        Ok(None)
                    }
                }
            }
            Within::Segments if first != 0xFF => Err(Error::Marker { at: self.at, found: first }),
            // §B.1.1.2: any number of ff may stand before a marker.
            Within::Segments if second == 0xFF => {
                self.at += 1;
                Ok(Some(Step::On))
            }
            Within::Segments if second == EOI => Ok(Some(Step::End(self.at + 2))),
            Within::Segments if matches!(second, 0 | 0x01 | SOI | 0xD0..=0xD7) => {
                Err(Error::Marker { at: self.at + 1, found: second })
            }
            Within::Segments => {
                let Some(length) = rest.get(2..4) else { return Ok(None) };
                let found = usize::from(u16::from_be_bytes([length[0], length[1]]));
                // §B.2.2: precision, height, width.
                let is_frame = matches!(second, 0xC0..=0xCF) && !matches!(second, 0xC4 | 0xC8 | 0xCC);
                let expected = if is_frame { 7 } else { 2 };
                if found < expected {
                    return Err(Error::Segment { at: self.at, found, expected });
                }
                let Some(segment) = rest.get(4..2 + found) else { return Ok(None) };
                if is_frame {
                    let number = |at: usize| u32::from(u16::from_be_bytes([segment[at], segment[at + 1]]));
                    self.size = Some((number(3), number(1)));
                }
                (self.at, self.within) =
                    (self.at + 2 + found, if second == SOS { Within::Scan } else { Within::Segments });
                Ok(Some(Step::On))
            }
        }
    }
}

enum Step {
    On,
    /// Behind the last byte of the file.
    End(usize),
}

/// A file that has all the markers and no picture, for tests.
#[cfg(test)]
pub fn made_up(width: u16, height: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xFF, SOI, 0xFF, 0xC0, 0, 8, 8];
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&width.to_be_bytes());
    bytes.extend_from_slice(&[0, 0xFF, 0xFF, SOS, 0, 2]);
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(&[0xFF, EOI]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_jpeg_is_refused() {
        for (bytes, want) in [
            (&b"\xff\xd9"[..], "[ff, d9] where a JPEG file should begin with ff d8"),
            (b"\xff\xd8\x00\x00", "byte 2: 0x00 where a JPEG marker should be"),
            (b"\xff\xd8\xff\xd0", "byte 3: 0xd0 where a JPEG marker should be"),
            (b"\xff\xd8\xff\xe0\0\x01", "byte 2: a JPEG segment of 1 bytes; at least 2"),
            (b"\xff\xd8\xff\xc0\0\x06\0\0\0\0", "byte 2: a JPEG segment of 6 bytes; at least 7"),
            (b"\xff\xd8\xff\xd9", "byte 4: a JPEG file without a frame header"),
        ] {
            let mut splitter = Splitter::default();
            splitter.push(bytes);
            assert_eq!(splitter.image().unwrap_err().to_string(), want, "{bytes:02x?}");
        }
        let mut splitter = Splitter::default();
        splitter.push(&[0xFF, SOI, 0xFF, SOS, 0, 2]);
        splitter.push(&vec![7; BYTES_MAX]);
        assert_eq!(splitter.image(), Err(Error::TooLarge));
    }

    proptest! {
        #[test]
        fn files_come_out_as_they_went_in(
            images in prop::collection::vec((1_u16..2_000, 1_u16..2_000, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
            cut in 1_usize..50,
        ) {
            let images: Vec<Image> = images
                .into_iter()
                .map(|(width, height, data)| {
                    let data: Vec<u8> = data.into_iter().flat_map(|byte| if byte == 0xFF { vec![byte, 0] } else { vec![byte] }).collect();
                    Image { bytes: made_up(width, height, &data), width: width.into(), height: height.into() }
                })
                .collect();
            let stream: Vec<u8> = images.iter().flat_map(|image| image.bytes.clone()).collect();
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                splitter.push(piece);
                while let Some(image) = splitter.image().unwrap() {
                    found.push(image);
                }
            }
            prop_assert_eq!(found, images);
            prop_assert!(!splitter.is_inside());
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(prop_oneof![Just(0xFF_u8), Just(SOI), Just(SOS), Just(0), any::<u8>()], 0..200)) {
            let mut splitter = Splitter::default();
            splitter.push(&[0xFF, SOI]);
            splitter.push(&bytes);
            while let Ok(Some(_)) = splitter.image() {}
        }
    }
}
