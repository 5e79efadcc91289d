//! Conversations with encoders: what they send under which names, and what comes of it.

use bytes::Bytes;

use super::*;
use crate::base::limits::{PUBLISHER_RENDITIONS_MAX, WAITING_BYTES_MAX};
use crate::media::isobmff::fixture::{Node, bytes, fragment, fragmented, remove};

/// `v1: track`, `v1 @0`; one line for each event.
pub(in crate::ingest) fn line((name, event): (Arc<str>, Event)) -> String {
    match event {
        Event::Track { format, .. } => format!("{name}: {:?} {} {:?}", format.kind, format.language, format.bit_rate),
        Event::Sample { sample, .. } => format!("{name} @{}", sample.decode_time.0),
        Event::Chunk { .. } => unreachable!("they are left out"),
        Event::Marker(_) => format!("{name}: marker"),
        Event::End => format!("{name}: end"),
    }
}

fn lines(publisher: &mut Publisher) -> Vec<String> {
    let events = std::iter::from_fn(|| publisher.poll());
    events.filter(|(_, event)| !matches!(event, Event::Chunk { .. })).map(line).collect()
}

/// Video of three samples; [`fragmented`] has audio too.
pub(in crate::ingest) fn header() -> Vec<u8> {
    let mut file = fragmented();
    remove(&mut file, "moov/trak[2]");
    bytes(&file[..2])
}

pub(in crate::ingest) fn media(time: u32) -> Vec<u8> {
    let mut file: Vec<Node> = fragment(time, 0).into();
    remove(&mut file, "moof/traf[2]");
    // The offset of the media is that of a longer moof; without it, it is where it must be.
    let mut stream = bytes(&file);
    let at = stream.windows(4).position(|window| window == b"trun").unwrap() + 12;
    let moof = u32::from_be_bytes(stream[..4].try_into().unwrap());
    stream[at..at + 4].copy_from_slice(&(moof + 8).to_be_bytes());
    stream
}

fn put(publisher: &mut Publisher, name: &str, body: &[u8]) -> Result<(), Error> {
    let request = publisher.begin(name)?;
    publisher.handle(&request, Bytes::copy_from_slice(body))?;
    publisher.finish(&request)
}

#[test]
fn one_long_request_or_many_short_ones() {
    let want =
        ["video: Video und None", "video @0", "video @100", "video @200", "video @300", "video @400", "video @500"];
    let mut long = Publisher::default();
    put(&mut long, "Streams(video.cmfv)", &[header(), media(0), media(300)].concat()).unwrap();
    assert_eq!(lines(&mut long), want);
    let mut short = Publisher::default();
    for body in [header(), media(0), media(300)] {
        put(&mut short, "video.cmfv", &body).unwrap();
    }
    assert_eq!(lines(&mut short), want);
}

#[test]
fn tracks_of_one_request_are_taken_apart() {
    for (name, video, audio) in [("ch.mp4", "ch-v1", "ch-a1"), ("", "v1", "a1")] {
        let mut publisher = Publisher::default();
        put(&mut publisher, name, &bytes(&fragmented()[..5])).unwrap();
        let got = lines(&mut publisher);
        let want = [format!("{video}: Video und None"), format!("{audio}: Audio de None"), format!("{video} @0")];
        assert_eq!(got[..3], want);
        assert_eq!(got[5], format!("{audio} @0"));
    }
    let mut publisher = Publisher::default();
    put(&mut publisher, "", &[header(), media(0)].concat()).unwrap();
    assert_eq!(lines(&mut publisher)[0], "v1: Video und None");
}

#[test]
fn media_before_its_header_is_an_error_of_its_own() {
    let mut publisher = Publisher::default();
    let error = put(&mut publisher, "v", &media(0)).unwrap_err();
    assert!(matches!(&error, Error::Stream(crate::media::isobmff::stream::Error::NoHeader { .. })), "{error}");
    assert_eq!(lines(&mut publisher), [""; 0]);
    // The request is over; the next is taken as if there had been none.
    put(&mut publisher, "v", &[header(), media(0)].concat()).unwrap();
    assert_eq!(lines(&mut publisher).len(), 4);
}

#[test]
fn a_connection_that_was_lost_goes_on_with_the_next() {
    let mut publisher = Publisher::default();
    let first = publisher.begin("v").unwrap();
    let body = [header(), media(0), media(300)].concat();
    publisher.handle(&first, Bytes::copy_from_slice(&body[..body.len() - 40])).unwrap();
    publisher.abandon(&first);
    assert_eq!(lines(&mut publisher).last().unwrap(), "v @400");
    let second = publisher.begin("v").unwrap();
    publisher.handle(&second, [header(), media(300)].concat().into()).unwrap();
    assert_eq!(lines(&mut publisher), ["v @300", "v @400", "v @500"]);
    assert!(matches!(publisher.handle(&first, Bytes::new()), Err(Error::Superseded { .. })));
}

#[test]
fn requests_that_overlap_are_read_as_they_began() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "v", &header()).unwrap();
    lines(&mut publisher);
    let (first, second, third) =
        (publisher.begin("v").unwrap(), publisher.begin("v").unwrap(), publisher.begin("v").unwrap());
    publisher.handle(&second, media(300).into()).unwrap();
    publisher.finish(&second).unwrap();
    publisher.handle(&third, media(600).into()).unwrap();
    assert_eq!(lines(&mut publisher), [""; 0]);
    publisher.handle(&first, media(0).into()).unwrap();
    assert_eq!(lines(&mut publisher), ["v @0", "v @100", "v @200"]);
    publisher.finish(&first).unwrap();
    assert_eq!(lines(&mut publisher), ["v @300", "v @400", "v @500", "v @600", "v @700", "v @800"]);
    publisher.finish(&third).unwrap();
    assert_eq!(lines(&mut publisher), [""; 0]);
}

#[test]
fn nobody_waits_for_a_dead_connection() {
    // The encoder comes back with its header.
    let mut publisher = Publisher::default();
    let dead = publisher.begin("v").unwrap();
    publisher.handle(&dead, [header(), media(0)].concat().into()).unwrap();
    let next = publisher.begin("v").unwrap();
    publisher.handle(&next, [header(), media(300)].concat().into()).unwrap();
    assert_eq!(lines(&mut publisher).len(), 7);
    assert!(matches!(publisher.handle(&dead, media(0).into()), Err(Error::Superseded { .. })));
    publisher.handle(&next, media(600).into()).unwrap();
    assert_eq!(lines(&mut publisher).len(), 3);
    // Or with more media than may wait.
    let next = publisher.begin("v").unwrap();
    let free = [&(WAITING_BYTES_MAX as u32 + 1).to_be_bytes()[..], b"free", &vec![0; WAITING_BYTES_MAX - 7]].concat();
    publisher.handle(&next, free.into()).unwrap();
    publisher.handle(&next, media(900).into()).unwrap();
    assert_eq!(lines(&mut publisher).len(), 3);
    // Or with more requests.
    let mut publisher = Publisher::default();
    put(&mut publisher, "v", &header()).unwrap();
    let requests: Vec<Request> = (0..20).map(|_| publisher.begin("v").unwrap()).collect();
    publisher.handle(requests.last().unwrap(), media(0).into()).unwrap();
    assert!(matches!(publisher.handle(&requests[0], media(0).into()), Err(Error::Superseded { .. })));
}

#[test]
fn there_are_not_more_renditions_than_tracks_in_an_asset() {
    let mut publisher = Publisher::default();
    for number in 0..PUBLISHER_RENDITIONS_MAX {
        put(&mut publisher, &format!("v{number}"), &[]).unwrap();
    }
    assert!(matches!(publisher.begin("more"), Err(Error::TooMany)));
    assert!(publisher.begin("v0").is_ok());
}
