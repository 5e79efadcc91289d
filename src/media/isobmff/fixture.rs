//! Files for tests: trees of boxes that a test changes by path before they become bytes.

/// A box to be.
#[derive(Clone)]
pub(crate) struct Node {
    pub name: [u8; 4],
    pub body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    Leaf(Vec<u8>),
    Tree(Vec<Node>),
}

pub(crate) fn leaf(name: &[u8; 4], body: impl Into<Vec<u8>>) -> Node {
    Node { name: *name, body: Body::Leaf(body.into()) }
}

pub(crate) fn tree(name: &[u8; 4], children: impl Into<Vec<Node>>) -> Node {
    Node { name: *name, body: Body::Tree(children.into()) }
}

/// Big-endian 32-bit numbers: what most full boxes are made of, version and flags being the first.
pub(crate) fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A full box of 32-bit numbers.
pub(crate) fn full(name: &[u8; 4], numbers: &[u32]) -> Node {
    leaf(name, words(numbers))
}

pub(crate) fn bytes(nodes: &[Node]) -> Vec<u8> {
    let mut all = Vec::new();
    for node in nodes {
        let body = match &node.body {
            Body::Leaf(body) => body.clone(),
            Body::Tree(children) => bytes(children),
        };
        all.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
        all.extend_from_slice(&node.name);
        all.extend_from_slice(&body);
    }
    all
}

/// The children of the box at `path`, such as `moov/trak[2]/mdia`; of the file for an empty path.
pub(crate) fn children<'a>(nodes: &'a mut Vec<Node>, path: &str) -> &'a mut Vec<Node> {
    path.split('/').filter(|step| !step.is_empty()).fold(nodes, |nodes, step| match &mut find(nodes, step).body {
        Body::Tree(children) => children,
        Body::Leaf(_) => panic!("{step} has no children"),
    })
}

fn find<'a>(nodes: &'a mut [Node], step: &str) -> &'a mut Node {
    let (name, number) = match step.split_once('[') {
        Some((name, number)) => (name, number.trim_end_matches(']').parse().unwrap()),
        None => (step, 1),
    };
    nodes.iter_mut().filter(|node| node.name == name.as_bytes()).nth(number - 1).unwrap_or_else(|| panic!("{step}"))
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Puts `node` in the place of the box at `path`.
pub(crate) fn replace(nodes: &mut Vec<Node>, path: &str, node: Node) {
    let (parent, step) = split(path);
    *find(children(nodes, parent), step) = node;
}

pub(crate) fn remove(nodes: &mut Vec<Node>, path: &str) {
    let (parent, step) = split(path);
    let parent = children(nodes, parent);
    let found: *const Node = find(parent, step);
    parent.retain(|node| !std::ptr::eq(node, found));
}

/// Appends to the box at `path`.
pub(crate) fn add(nodes: &mut Vec<Node>, path: &str, node: Node) {
    children(nodes, path).push(node);
}

/// A sample entry of `fields` zero bytes after the data reference index, which is 1.
pub(crate) fn sample_entry(name: &[u8; 4], fields: usize, boxes: &[Node]) -> Node {
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1];
    body.resize(8 + fields, 0);
    body.extend(bytes(boxes));
    leaf(name, body)
}

pub(crate) fn stsd(entries: &[Node]) -> Node {
    let mut body = words(&[0, entries.len() as u32]);
    body.extend(bytes(entries));
    leaf(b"stsd", body)
}

pub(crate) fn avc1() -> Node {
    sample_entry(b"avc1", 70, &[leaf(b"avcC", *b"\x01\x42\xc0\x1e\xff\xe0\x00")])
}

pub(crate) fn mp4a() -> Node {
    sample_entry(b"mp4a", 20, &[leaf(b"esds", [0; 8])])
}

pub(crate) fn hdlr(kind: &[u8; 4], name: &[u8]) -> Node {
    leaf(b"hdlr", [&[0; 8], &kind[..], &[0; 12], name].concat())
}

fn trak(id: u32, kind: &[u8; 4], timescale: u32, language: &str, entry: Node, tables: Vec<Node>) -> Node {
    let language = language.bytes().fold(0, |packed, letter| packed << 5 | u32::from(letter - 0x60));
    let mut url = words(&[0, 1]);
    url.extend(bytes(&[full(b"url ", &[1])]));
    let mut stbl = vec![stsd(&[entry])];
    stbl.extend(tables);
    tree(
        b"trak",
        [
            full(b"tkhd", &[1, 0, 0, id, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            tree(
                b"mdia",
                [
                    full(b"mdhd", &[0, 0, 0, timescale, 0, language << 16]),
                    hdlr(kind, b"\0"),
                    tree(b"minf", [tree(b"dinf", [leaf(b"dref", url)]), tree(b"stbl", stbl)]),
                ],
            ),
        ],
    )
}

fn movie(traks: impl IntoIterator<Item = Node>) -> Node {
    let mut boxes = vec![full(b"mvhd", &[0, 0, 0, 1_000, 0, 0x1_0000, 0, 0, 0])];
    boxes.extend(traks);
    tree(b"moov", boxes)
}

fn ftyp() -> Node {
    leaf(b"ftyp", *b"iso6\0\0\0\0")
}

/// Where the media of [`progressive`] begins.
pub(crate) const MEDIA: u32 = 24;

/// Two tracks, `moov` last. Video (id 1, 1000 ticks a second): samples of 10 to 50 bytes in chunks of 3 and 2. Audio (id 2,
/// 48 kHz, German): 8 samples of 4 bytes in chunks of 4, between those of the video.
pub(crate) fn progressive() -> Vec<Node> {
    let video = vec![
        full(b"stts", &[0, 2, 4, 100, 1, 50]),
        full(b"ctts", &[0, 3, 1, 200, 2, 300, 2, 0]),
        full(b"stss", &[0, 2, 1, 4]),
        full(b"stsc", &[0, 2, 1, 3, 1, 2, 2, 1]),
        full(b"stsz", &[0, 0, 5, 10, 20, 30, 40, 50]),
        full(b"stco", &[0, 2, MEDIA, MEDIA + 76]),
    ];
    let audio = vec![
        full(b"stts", &[0, 1, 8, 1_024]),
        full(b"stsc", &[0, 1, 1, 4, 1]),
        full(b"stsz", &[0, 4, 8]),
        full(b"stco", &[0, 2, MEDIA + 60, MEDIA + 166]),
    ];
    let traks = [trak(1, b"vide", 1_000, "und", avc1(), video), trak(2, b"soun", 48_000, "deu", mp4a(), audio)];
    vec![ftyp(), leaf(b"mdat", [0x55; 182]), movie(traks)]
}

/// The tracks of [`progressive`] without samples in `moov`, and two fragments. `moof` boxes are of [`fragment`].
pub(crate) fn fragmented() -> Vec<Node> {
    let empty =
        || vec![full(b"stts", &[0, 0]), full(b"stsc", &[0, 0]), full(b"stsz", &[0, 0, 0]), full(b"stco", &[0, 0])];
    let traks = [trak(1, b"vide", 1_000, "und", avc1(), empty()), trak(2, b"soun", 48_000, "deu", mp4a(), empty())];
    let mut moov = movie(traks);
    if let Body::Tree(boxes) = &mut moov.body {
        boxes.push(tree(
            b"mvex",
            [full(b"trex", &[0, 1, 1, 100, 0, 0x0101_0000]), full(b"trex", &[0, 2, 1, 1_024, 4, 0x0200_0000])],
        ));
    }
    let mut file = vec![ftyp(), moov];
    for number in 0..2_u32 {
        file.push(leaf(b"styp", *b"msdh\0\0\0\0"));
        file.extend(fragment(number * 300, number * 4_096));
    }
    file
}

/// 3 video samples of 10, 20 and 30 bytes, of which the first is a sync sample, then 4 of audio.
pub(crate) fn fragment(video_time: u32, audio_time: u32) -> [Node; 2] {
    let moof = |video_at: u32, audio_at: u32| {
        let video = tree(
            b"traf",
            [
                full(b"tfhd", &[0x2_0000, 1]),
                full(b"tfdt", &[0, video_time]),
                full(b"trun", &[0x0100_0a05, 3, video_at, 0x0200_0000, 10, 200, 20, 100, 30, -100_i32 as u32]),
            ],
        );
        let audio = tree(
            b"traf",
            [full(b"tfhd", &[0x2_0000, 2]), full(b"tfdt", &[0, audio_time]), full(b"trun", &[0x1, 4, audio_at])],
        );
        tree(b"moof", [full(b"mfhd", &[0, 1]), video, audio])
    };
    let start = bytes(&[moof(0, 0)]).len() as u32 + 8;
    [moof(start, start + 60), leaf(b"mdat", [0x55; 76])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_found_by_path() {
        let mut file = progressive();
        remove(&mut file, "moov/trak[2]/mdia/minf/stbl/stsc");
        replace(&mut file, "moov/trak[2]/mdia/minf/stbl/stco", full(b"co64", &[0]));
        let names: Vec<_> = children(&mut file, "moov/trak[2]/mdia/minf/stbl").iter().map(|node| node.name).collect();
        assert_eq!(names, [*b"stsd", *b"stts", *b"stsz", *b"co64"]);
        assert_eq!(bytes(&[full(b"free", &[1])]), *b"\0\0\0\x0cfree\0\0\0\x01");
    }
}
