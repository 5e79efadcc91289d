//! What ffmpeg and others put, and what comes of it.

use proptest::prelude::*;

use super::*;
use crate::ingest::cmaf::tests::{header, line, media};

fn lines(publisher: &mut Publisher) -> Vec<String> {
    let events = std::iter::from_fn(|| publisher.poll());
    events.filter(|(_, event)| !matches!(event, Event::Chunk { .. })).map(line).collect()
}

fn put(publisher: &mut Publisher, name: &str, body: &[u8]) -> Result<(), Error> {
    let mut request = publisher.begin(name)?;
    publisher.handle(&mut request, Bytes::copy_from_slice(body))?;
    publisher.finish(request)
}

fn mpd(kind: &str, initialization: &str, media: &str) -> Vec<u8> {
    format!(
        r#"<?xml version="1.0"?><MPD type="{kind}"><Period><AdaptationSet id="1" lang="ger">
        <Role schemeIdUri="urn:mpeg:dash:role:2011" value="alternate"/>
        <SegmentTemplate initialization="{initialization}" media="{media}"><SegmentTimeline><S t="0" d="1"/></SegmentTimeline></SegmentTemplate>
        <Representation id="0" bandwidth="300000"/><Representation id="a&amp;b" bandwidth="5"></Representation>
        </AdaptationSet></Period></MPD>"#
    )
    .into_bytes()
}

const INIT: &str = "init-stream$RepresentationID$.m4s";
const MEDIA: &str = "chunk-stream$RepresentationID$-$Number%05d$.m4s";

#[test]
fn names_are_the_same_with_and_without_the_manifest() {
    let files: [(&str, Vec<u8>); 4] = [
        ("live.mpd", mpd("dynamic", INIT, MEDIA)),
        ("init-stream0.m4s", header()),
        ("chunk-stream0-00001.m4s", media(0)),
        ("chunk-stream0-00002.m4s", media(300)),
    ];
    let samples = ["stream0 @0", "stream0 @100", "stream0 @200", "stream0 @300", "stream0 @400", "stream0 @500"];
    // The place of the manifest among the others.
    for place in 0..=files.len() {
        let mut publisher = Publisher::default();
        let mut order = files[1..].to_vec();
        if place < files.len() {
            order.insert(place, files[0].clone());
        }
        for (name, body) in order {
            put(&mut publisher, name, &body).unwrap();
        }
        let got = lines(&mut publisher);
        let (tracks, rest): (Vec<&String>, Vec<&String>) = got.iter().partition(|line| line.contains(": Video"));
        assert_eq!(rest, samples, "{place}");
        let want = if place == files.len() { "stream0: Video und None" } else { "stream0: Video de None" };
        assert_eq!(tracks.last().unwrap(), &want, "{place}");
    }
}

#[test]
fn the_last_manifest_ends_the_feed_after_the_last_segment() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "init-stream0.m4s", &header()).unwrap();
    let mut last = publisher.begin("chunk-stream0-00001.m4s").unwrap();
    put(&mut publisher, "live.mpd", &mpd("dynamic", INIT, MEDIA)).unwrap();
    put(&mut publisher, "live.mpd", &mpd("static", INIT, MEDIA)).unwrap();
    publisher.handle(&mut last, media(0).into()).unwrap();
    assert_eq!(lines(&mut publisher).last().unwrap(), "stream0 @200");
    publisher.finish(last).unwrap();
    assert_eq!(lines(&mut publisher), ["stream0: end"]);
}

#[test]
fn templates_of_no_usual_form_need_the_manifest() {
    let mut publisher = Publisher::default();
    put(&mut publisher, "x/begin0.mp4", &header()).unwrap();
    assert!(put(&mut publisher, "x/go0on17.m4s", &media(0)).is_err());
    put(
        &mut publisher,
        "x/live.mpd",
        &mpd("dynamic", "begin$RepresentationID$.mp4", "go$RepresentationID$on$Time$.m4s"),
    )
    .unwrap();
    put(&mut publisher, "x/go0on17.m4s", &media(0)).unwrap();
    assert_eq!(lines(&mut publisher).last().unwrap(), "x-begin0 @200");
}

#[test]
fn manifests_are_read_as_far_as_they_matter() {
    let manifest = Manifest::read("d", &mpd("dynamic", INIT, "$$$RepresentationID$_$Bandwidth$_$Time$.m4s")).unwrap();
    assert!(!manifest.is_static);
    let [first, second] = &manifest.representations[..] else { panic!("{manifest:?}") };
    assert_eq!(first.initialization.as_deref(), Some("d/init-stream0.m4s"));
    assert_eq!(second.initialization.as_deref(), Some("d/init-streama&b.m4s"));
    for (name, want) in [("d/$0_300000_5.m4s", true), ("d/$0_300000_.m4s", false), ("d/$0_5_5.m4s", false), ("", false)]
    {
        assert_eq!(first.media.as_ref().unwrap().matches(name), want, "{name}");
    }
    for (text, want) in [
        ("", "found nothing in place of an MPD element, expected one"),
        ("<html/>", "found html in place of an MPD element, expected one"),
        ("<MPD", "the MPD is not XML"),
        ("\u{feff}", "found nothing"),
    ] {
        assert!(Manifest::read("", text.as_bytes()).unwrap_err().to_string().starts_with(want), "{text}");
    }
    let many = format!("<MPD>{}</MPD>", "<Representation/>".repeat(65));
    assert!(matches!(Manifest::read("", many.as_bytes()), Err(manifest::Error::TooMany)));
    assert!(Manifest::read("", "<MPD>".repeat(1_000).as_bytes()).is_err());
    let mut publisher = Publisher::default();
    assert!(matches!(put(&mut publisher, "a.mpd", &vec![b' '; (1 << 20) + 1]), Err(Error::ManifestTooLarge)));
}

proptest! {
    #[test]
    fn hostile_manifests_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = mpd("dynamic", INIT, MEDIA);
        for (at, value) in changes {
            let at = at.index(text.len());
            text[at] = value;
        }
        text.truncate(cut.index(text.len() + 1));
        let _ = Manifest::read("", &text);
    }
}
