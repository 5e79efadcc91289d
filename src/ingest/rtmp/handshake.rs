//! The handshake (§5.2), in its plain form.
//!
//! Clients of Adobe's later players begin with a digest in C1 and check one in S1, but only where the server's version field
//! says that it has one: with zeros there (§5.2.3) they go on with the plain form, as librtmp (OBS), ffmpeg and GStreamer
//! do. Only playback in Flash Player insisted.

use bytes::{Buf, BytesMut};

use super::Error;

const VERSION: u8 = 3;
const SIZE: usize = 1536;

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handshake {
    #[default]
    AwaitC0C1,
    AwaitC2,
    Done,
}

impl Handshake {
    /// Takes what it can of `input` and appends its answers to `output`.
    pub fn advance(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<(), Error> {
        if *self == Handshake::AwaitC0C1 {
            match input.first() {
                Some(&VERSION) | None => {}
                // Encrypted forms, TLS, HTTP: nothing that goes on like this.
                Some(&found) => return Err(Error::Version { found }),
            }
            if input.len() < 1 + SIZE {
                return Ok(());
            }
            output.push(VERSION);
            output.extend_from_slice(&[0; 8]); // time, and the zeros that say: no digest
            // Random by specification, for measuring round trips; anything that does not compress will do.
            let noise = (0..(SIZE - 8) as u32).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8);
            output.extend(noise);
            // S2 is C1, whose time2 the client ignores.
            output.extend_from_slice(&input[1..1 + SIZE]);
            input.advance(1 + SIZE);
            *self = Handshake::AwaitC2;
        }
        // What C2 echoes is not checked: some clients send their own C1 again.
        if *self == Handshake::AwaitC2 && input.len() >= SIZE {
            input.advance(SIZE);
            *self = Handshake::Done;
        }
        Ok(())
    }
}
