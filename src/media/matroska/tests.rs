use proptest::prelude::*;

use super::*;

fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let id: Vec<u8> = id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    let size = (body.len() as u32 | 0x1000_0000).to_be_bytes();
    [&id[..], &size, body].concat()
}

fn track(number: u8, kind: u8, codec: &str, more: &[u8]) -> Vec<u8> {
    let fields = [element(0xD7, &[number]), element(0x83, &[kind]), element(0x86, codec.as_bytes()), more.to_vec()];
    element(0xAE, &fields.concat())
}

fn document(tracks: &[Vec<u8>], clusters: &[u8]) -> Vec<u8> {
    let head = element(EBML, &element(0x4282, b"webm"));
    let body = [element(0xEC, &[0; 9]), element(INFO, &[]), element(TRACKS, &tracks.concat()), clusters.to_vec()];
    [head, element(SEGMENT, &body.concat())].concat()
}

fn opus_head() -> Vec<u8> {
    element(0x63A2, b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0")
}

fn cluster(time: u16, blocks: &[Vec<u8>]) -> Vec<u8> {
    element(CLUSTER, &[element(CLUSTER_TIME, &time.to_be_bytes()), blocks.concat()].concat())
}

fn events(bytes: &[u8]) -> Result<(Vec<Event>, Vec<String>), Error> {
    let mut demuxer = Demuxer::open("f", bytes)?;
    let mut events = Vec::new();
    while demuxer.step(&mut events)? {}
    Ok((events, demuxer.notes()))
}

fn times(bytes: &[u8]) -> Vec<i64> {
    let samples = events(bytes).unwrap().0;
    let time = |event: &Event| match event {
        Event::Sample { sample, .. } => Some(sample.decode_time.0),
        _ => None,
    };
    samples.iter().filter_map(time).collect()
}

/// 20 ms each, three laced in a block.
fn opus_file() -> Vec<u8> {
    let laced = [&[0x81, 0, 0, 0x84, 2], &[0xFC; 6][..]].concat();
    let blocks = [element(SIMPLE_BLOCK, &laced)];
    let last = [element(0xA1, &[0x81, 0, 61, 0, 0xFC, 0xFC]), element(0x75A2, &10_000_000_i32.to_be_bytes())];
    let clusters = [cluster(0, &blocks), cluster(0, &[element(BLOCK_GROUP, &last.concat())])].concat();
    let delay = element(0x56AA, &6_500_000_u32.to_be_bytes());
    document(&[track(1, 2, "A_OPUS", &[opus_head(), delay].concat())], &clusters)
}

#[test]
fn laced_opus_follows_itself_and_hides_what_it_should() {
    let bytes = opus_file();
    assert_eq!(times(&bytes), [-312, 648, 1_608, 2_568]);
    let mut demuxer = Demuxer::open("f", &bytes).unwrap();
    while demuxer.step(&mut Vec::new()).unwrap() {}
    assert_eq!(demuxer.presented().collect::<Vec<_>>(), [(0, 0, Some(2_568 + 960 - 480))]);
}

#[test]
fn subtitles_are_cues() {
    let block = |text: &str| element(0xA1, &[&[0x81, 0, 10, 0], text.as_bytes()].concat());
    let group = |text: &str| element(BLOCK_GROUP, &[block(text), element(0x9B, &[100])].concat());
    let texts = [group("<i>Ja</i> & <font color=\"red\">nein</font>\r\n\r\n{\\an8}a < b")];
    let bytes = document(&[track(1, 0x11, "S_TEXT/UTF8", &element(0x55AA, &[1]))], &cluster(1, &texts));
    let mut demuxer = Demuxer::open("f", &bytes).unwrap();
    while demuxer.step(&mut Vec::new()).unwrap() {}
    let texts = demuxer.texts();
    let cue = &texts[0].cues[0];
    assert_eq!(cue.settings, "line:0");
    assert_eq!((texts[0].role, texts[0].language.as_str()), (Role::Forced, "en"));
    assert_eq!((cue.start, cue.end, cue.text.as_str()), (11_000_000, 111_000_000, "<i>Ja</i> &amp; nein\na &lt; b"));
}

#[test]
fn the_two_ways_of_webvtt() {
    for (codec, frame, addition, want) in [
        ("S_TEXT/WEBVTT", "a\n\nb --> c", "line:0\nid\n", ("line:0", "a\nb → c")),
        ("D_WEBVTT/SUBTITLES", "id\nline:0\na\nb", "", ("line:0", "a\nb")),
        ("D_WEBVTT/SUBTITLES", "\n\na", "", ("", "a")),
    ] {
        let cue = cue(codec, frame.as_bytes(), addition.as_bytes(), 0, None).unwrap();
        assert_eq!((cue.settings.as_str(), cue.text.as_str()), want, "{codec}");
    }
}

#[test]
fn refusals_name_file_place_found_and_expected() {
    let vp8 = document(&[track(1, 1, "V_VP8", &[])], &[]);
    let wide = document(&[track(1, 2, "A_OPUS", &element(0x56AA, &[0; 9]))], &[]);
    let mut other = opus_file();
    let at = other.windows(4).position(|window| window == b"webm").unwrap();
    other[at..at + 4].copy_from_slice(b"ebml");
    for (bytes, want) in [
        (&vp8[..], "f: byte 61: found VP8 (V_VP8), expected H.264, HEVC, AV1 or VP9"),
        (&wide, ": found a value of 9 bytes, expected an unsigned integer of 8 bytes at most"),
        (&other, "f: byte 14: found a document of type \"ebml\", expected matroska or webm"),
        (&document(&[], &[])[..30], "found no Tracks"),
        (&SIGNATURE, "expected an EBML header and a Segment"),
    ] {
        let error = events(bytes).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_file_that_is_cut_gives_what_is_whole() {
    let bytes = opus_file();
    let (all, notes) = events(&bytes[..bytes.len() - 3]).unwrap();
    assert_eq!((all.len(), notes.len()), (4, 2), "{notes:?}");
}

proptest! {
    #[test]
    fn nothing_from_outside_panics(at in 0_usize..400, with: u8, cut in 0_usize..400, random: Vec<u8>) {
        let mut bytes = opus_file();
        let end = bytes.len();
        bytes[at % end] = with;
        let _ = events(&bytes);
        let _ = events(&bytes[..cut.min(end)]);
        let _ = events(&[&SIGNATURE[..], &random].concat());
        let _ = events(&document(&[track(1, 2, "A_OPUS", &opus_head())], &random));
    }
}
