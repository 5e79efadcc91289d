//! Event messages: `emsg` between fragments (ISO/IEC 23009-1 §5.10.3.3), `emib` in the samples of an event track
//! (ISO/IEC 23001-18).

use bytes::Bytes;

use crate::base::cursor::{Cursor, Short};
use crate::base::units::{Ticks, Timescale, rescale_nearest};
use crate::media::feed::{Marker, Message as Content};

use super::super::boxes::{Boxed, Boxes, FourCc, Path};
use super::super::error;
use super::At;

#[derive(Debug)]
pub struct Message {
    timescale: Timescale,
    pub due: Due,
    duration: Option<Ticks>,
    content: Content,
}

/// In ticks of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    At(Ticks),
    /// The earliest presentation time of the segment that follows.
    After(u32),
}

/// SCTE 214-3 §8.3.3.3: `splice_info_section` as it is.
const SCTE_35: &str = "urn:scte:scte35:2013:bin";
/// Its end is not known yet.
const DURATION_UNKNOWN: u32 = u32::MAX;

impl Message {
    pub fn read(emsg: &Boxed<'_>) -> Result<Message, error::Error> {
        let (version, _, mut body) = emsg.full()?;
        let refuse = |at, found: &dyn std::fmt::Display, expected: &str| {
            Err(error::Error::unexpected(emsg.path, at, found, expected))
        };
        let at = emsg.at;
        let (mut scheme, mut value) = ("", "");
        if version == 0 {
            (scheme, value) = (emsg.read(text(&mut body))?, emsg.read(text(&mut body))?);
        }
        let Some(timescale) = Timescale::new(emsg.read(body.u32())?) else {
            return refuse(at, &"a timescale of 0", "at least 1 tick a second");
        };
        let due = match version {
            0 => Due::After(emsg.read(body.u32())?),
            1 => match i64::try_from(emsg.read(body.u64())?) {
                Ok(time) => Due::At(Ticks(time)),
                Err(_) => return refuse(at, &"a time of 2^63 or more", "one below"),
            },
            _ => return refuse(at, &format_args!("version {version}"), "0 or 1"),
        };
        let (duration, id) = (emsg.read(body.u32())?, emsg.read(body.u32())?);
        if version == 1 {
            (scheme, value) = (emsg.read(text(&mut body))?, emsg.read(text(&mut body))?);
        }
        let content = content(scheme, value, id, body.rest());
        Ok(Message { timescale, due, duration: known(duration), content })
    }

    /// `begin` is the earliest presentation time of the segment, if there is one.
    pub fn marker(self, begin: Option<At>) -> Marker {
        let time = match self.due {
            Due::At(time) => Some(time),
            Due::After(delta) => begin
                .and_then(|(begin, scale)| rescale_nearest(begin, scale, self.timescale))
                .map(|begin| Ticks(begin.0.saturating_add(delta.into()))),
        };
        let scaled = |ticks| (ticks, self.timescale);
        Marker { time: time.map(scaled), duration: self.duration.map(scaled), message: self.content }
    }
}

fn known(duration: u32) -> Option<Ticks> {
    (duration != DURATION_UNKNOWN).then_some(Ticks(duration.into()))
}

pub fn content(scheme: &str, value: &str, id: u32, data: &[u8]) -> Content {
    let data = Bytes::copy_from_slice(data);
    match scheme {
        SCTE_35 => Content::Scte35(data),
        _ => Content::Event { scheme: scheme.to_owned(), value: value.to_owned(), id, data },
    }
}

/// Those of one sample that is presented at `due`. What is damaged is left out: no media depends on it.
pub fn instances(sample: &[u8], due: Ticks, timescale: Timescale) -> Vec<Marker> {
    let boxes = Boxes::inside(Cursor::new(sample, 0), Path::default()).map_while(Result::ok);
    let instance = |emib: Boxed<'_>| -> Option<Marker> {
        let (_, _, mut body) = emib.full().ok()?;
        body.skip(4).ok()?; // reserved
        let delta = body.u64().ok()? as i64;
        let (duration, id) = (body.u32().ok()?, body.u32().ok()?);
        let (scheme, value) = (text(&mut body).ok()?, text(&mut body).ok()?);
        let time = Ticks(due.0.checked_add(delta)?);
        Some(Marker {
            time: Some((time, timescale)),
            duration: known(duration).map(|duration| (duration, timescale)),
            message: content(scheme, value, id, body.rest()),
        })
    };
    boxes.filter(|child| child.name == FourCc(*b"emib")).filter_map(instance).collect()
}

/// Up to its NUL; what is not UTF-8 is no scheme that anyone knows, and reads as empty.
fn text<'a>(body: &mut Cursor<'a>) -> Result<&'a str, Short> {
    let len = memchr::memchr(0, body.clone().rest());
    let len =
        len.ok_or(Short { at: body.position(), wanted: body.remaining() as u64 + 1, left: body.remaining() as u64 })?;
    let text = body.take(len)?;
    body.skip(1)?;
    Ok(std::str::from_utf8(text).unwrap_or_default())
}
