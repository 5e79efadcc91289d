"""A client of Smooth Streaming: fetches what a manifest lists, and makes of each quality level a file that ffmpeg reads. ffmpeg
itself knows no Smooth Streaming."""

import struct
import xml.etree.ElementTree

from support import check, check_equal

TIMESCALE = 10_000_000
TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
TFRF = bytes.fromhex("d4807ef2ca3946958e5426cb9e46a79f")


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full(kind, *parts, version=0, flags=0):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def boxes(data):
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        check(8 <= size <= len(data) - at, f"box {kind} of {size} bytes, {len(data) - at} left")
        yield kind, data[at + 8:at + size]
        at += size


def units(private):
    """NAL units of Annex B."""
    return [unit for unit in private.split(b"\0\0\0\1") if unit]


def descriptor(tag, *parts):
    body = b"".join(parts)
    return bytes([tag, 0x80, 0x80, 0x80, len(body)]) + body


def visual(kind, level, configuration):
    return box(kind, bytes(6), b"\0\1", bytes(16), struct.pack(">HH", int(level["MaxWidth"]), int(level["MaxHeight"])),
               bytes.fromhex("0048000000480000000000000001"), bytes(32), b"\0\x18\xff\xff", configuration)


def sound(kind, level, configuration):
    return box(kind, bytes(6), b"\0\1", bytes(8), struct.pack(">HH", int(level["Channels"]), 16), bytes(4),
               struct.pack(">HH", int(level["SamplingRate"]), 0), configuration)


def h264(level, private):
    sps = [unit for unit in units(private) if unit[0] & 31 == 7]
    pps = [unit for unit in units(private) if unit[0] & 31 == 8]
    length = int(level.get("NALUnitLengthField", 4)) - 1
    sized = lambda sets: b"".join(struct.pack(">H", len(one)) + one for one in sets)
    return visual(b"avc1", level, box(b"avcC", b"\1", sps[0][1:4], bytes([0xFC | length, 0xE0 | len(sps)]), sized(sps), bytes([len(pps)]), sized(pps)))


def hevc(kind):
    def entry(level, private):
        found = units(private)
        length = int(level.get("NALUnitLengthField", 4)) - 1
        arrays = b"".join(bytes([0x80 | unit[0] >> 1 & 63, 0, 1]) + struct.pack(">H", len(unit)) + unit for unit in found)
        sps = next(unit for unit in found if unit[0] >> 1 & 63 == 33).replace(b"\0\0\3", b"\0\0")
        return visual(kind, level, box(b"hvcC", b"\1", sps[3:15], bytes.fromhex("f000fcfdf8f80000"), bytes([0x0C | length, len(found)]), arrays))
    return entry


def aac(level, private):
    check_equal(level["AudioTag"], "255", "AudioTag")
    config = descriptor(4, b"\x40\x15", bytes(11), descriptor(5, private))
    return sound(b"mp4a", level, full(b"esds", descriptor(3, bytes(3), config, descriptor(6, b"\2"))))


def dolby(kind, specific):
    # WAVEFORMATEXTENSIBLE: samples of a frame, speakers, the format's GUID; then the codec's own box.
    return lambda level, private: sound(kind, level, box(specific, private[22:]))


ENTRIES = {"H264": h264, "HVC1": hevc(b"hvc1"), "HEV1": hevc(b"hev1"), "AACL": aac, "AACH": aac,
           "AC-3": dolby(b"ac-3", b"dac3"), "EC-3": dolby(b"ec-3", b"dec3")}


def header(kind, level, language):
    video = kind == "video"
    entry = ENTRIES[level["FourCC"]](level, bytes.fromhex(level["CodecPrivateData"]))
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    letters = {"de": "deu", "en": "eng", "fr": "fra", "ja": "jpn"}.get(language, "und")
    packed = sum((ord(letter) - 0x60) << shift for letter, shift in zip(letters, (10, 5, 0)))
    size = struct.pack(">II", int(level.get("MaxWidth", 0)) << 16, int(level.get("MaxHeight", 0)) << 16)
    stbl = box(b"stbl", full(b"stsd", struct.pack(">I", 1), entry), *(full(name, bytes(4)) for name in (b"stts", b"stsc", b"stco")),
               full(b"stsz", bytes(8)))
    minf = box(b"minf", full(b"vmhd", bytes(8), flags=1) if video else full(b"smhd", bytes(4)),
               box(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"url ", flags=1))), stbl)
    mdia = box(b"mdia", full(b"mdhd", bytes(8), struct.pack(">IIHH", TIMESCALE, 0, packed, 0)),
               full(b"hdlr", bytes(4), b"vide" if video else b"soun", bytes(13)), minf)
    trak = box(b"trak", full(b"tkhd", bytes(8), struct.pack(">I", 1), bytes(28), matrix, size, flags=7), mdia)
    mvhd = full(b"mvhd", bytes(8), struct.pack(">IIIH", TIMESCALE, 0, 0x10000, 0x100), bytes(10), matrix, bytes(24), struct.pack(">I", 2))
    mvex = box(b"mvex", full(b"trex", struct.pack(">IIIII", 1, 1, 0, 0, 0)))
    return box(b"ftyp", b"iso6\0\0\0\0iso6") + box(b"moov", mvhd, trak, mvex)


def own_boxes(traf):
    """The body of each uuid box by its UUID."""
    return {body[:16]: body[16:] for kind, body in boxes(traf) if kind == b"uuid"}


def following(fragment):
    """Start and duration of the fragments that one of a channel names."""
    (_, moof), *_ = boxes(fragment)
    told = own_boxes(dict(boxes(moof))[b"traf"]).get(TFRF)
    if told is None:
        return []
    flags, count = struct.unpack_from(">IB", told)
    check_equal((flags, len(told)), (1 << 24, 5 + 16 * count), "tfrf")
    return [struct.unpack_from(">QQ", told, 5 + 16 * at) for at in range(count)]


def with_decode_time(fragment, start, duration, what):
    """As players do: tfdt from the time of the fragment, where readers of ISO files look for it."""
    (moof_kind, moof), (mdat_kind, mdat) = boxes(fragment)
    check_equal((moof_kind, mdat_kind), (b"moof", b"mdat"), f"{what}: boxes")
    inner = dict(boxes(moof))
    parts = dict(boxes(inner[b"traf"]))
    told = own_boxes(inner[b"traf"])
    check(list(told) in ([TFXD], [TFXD, TFRF]), f"{what}: uuid {list(told)}")
    check_equal(struct.unpack(">IQQ", told[TFXD]), (1 << 24, start, duration), f"{what}: tfxd")
    trun = bytearray(parts[b"trun"])
    flags, count, offset = struct.unpack_from(">III", trun)
    check_equal(offset, len(moof) + 16, f"{what}: data_offset")
    width = 4 * bin(flags & 0xF00).count("1")
    lasting = sum(struct.unpack_from(">I", trun, 12 + row * width)[0] for row in range(count))
    check_equal(lasting, duration, f"{what}: samples last")
    tfdt = full(b"tfdt", struct.pack(">Q", start), version=1)
    traf = lambda: box(b"traf", box(b"tfhd", parts[b"tfhd"]), tfdt, box(b"trun", bytes(trun)))
    struct.pack_into(">I", trun, 8, len(box(b"moof", box(b"mfhd", inner[b"mfhd"]), traf())) + 8)
    return box(b"moof", box(b"mfhd", inner[b"mfhd"]), traf()) + box(b"mdat", mdat)


def webvtt_fragment(fragment, start, duration, what):
    """(start, end, words) of what each sample of a fragment of WebVTT shows (ISO/IEC 14496-30 §6.6), in track ticks."""
    (_, moof), (_, mdat) = boxes(fragment)
    parts = dict(boxes(dict(boxes(moof))[b"traf"]))
    check_equal(struct.unpack_from(">IQ", parts[b"tfdt"]), (1 << 24, start), f"{what}: tfdt")
    tfhd, trun = struct.unpack_from(">I", parts[b"tfhd"])[0], parts[b"trun"]
    flags, count, offset = struct.unpack_from(">III", trun)
    check_equal(offset, len(moof) + 16, f"{what}: data_offset")
    shared = iter(struct.unpack(f">{(len(parts[b'tfhd']) - 8) // 4}I", parts[b"tfhd"][8:]))
    defaults = {name: next(shared) for name, bit in (("duration", 0x08), ("size", 0x10), ("flags", 0x20)) if tfhd & bit}
    columns = [name for name, bit in (("duration", 0x100), ("size", 0x200), ("flags", 0x400)) if flags & bit]
    rows = struct.iter_unpack(f">{max(len(columns), 1)}I", trun[12:]) if columns else [()] * count
    at, position, lines = start, 0, []
    for row in rows:
        sample = {**defaults, **dict(zip(columns, row))}
        cues = list(boxes(mdat[position:position + sample["size"]]))
        check(cues, f"{what}: a sample without a box")
        for kind, body in cues:
            check(kind == b"vttc" or (kind == b"vtte" and len(cues) == 1 and not body), f"{what}: box {kind}")
            if kind == b"vttc":
                lines.append((at, at + sample["duration"], dict(boxes(body))[b"payl"].decode().strip()))
        at, position = at + sample["duration"], position + sample["size"]
    check_equal((at, position), (start + duration, len(mdat)), f"{what}: what samples last and are long")
    return lines


def text_fragment(fragment, start, duration, what):
    """The words of the document that a fragment holds, each with its times in the manifest's timeline, in seconds."""
    (_, moof), (_, mdat) = boxes(fragment)
    parts = dict(boxes(dict(boxes(moof))[b"traf"]))
    told = own_boxes(dict(boxes(moof))[b"traf"])[TFXD]
    check_equal(struct.unpack(">IQQ", told), (1 << 24, start, duration), f"{what}: tfxd")
    flags, count, offset, lasting, size = struct.unpack_from(">IIIII", parts[b"trun"])
    check_equal((count, offset, lasting, size), (1, len(moof) + 16, duration, len(mdat)), f"{what}: trun")
    ttml = "{http://www.w3.org/ns/ttml}"
    seconds = lambda clock: sum(float(part) * 60 ** place for place, part in enumerate(reversed(clock.split(":"))))
    for line in xml.etree.ElementTree.fromstring(mdat).iter(f"{ttml}p"):
        for element in line.iter(f"{ttml}br"):
            element.text = "\n"
        words = "".join(line.itertext())
        yield start / TIMESCALE + seconds(line.get("begin")), start / TIMESCALE + seconds(line.get("end")), words.strip()


def read_text(server, base, stream, level, fragments):
    """[(start, end, words)], what goes on in the next fragment joined."""
    check_equal((level.get("FourCC"), level.get("CodecPrivateData")), ("TTML", ""), stream.get("Name"))
    lines = []
    for start, duration in fragments:
        url = base + link(stream, level, start)
        answer = server.fetch(url)
        check_equal((answer.status, answer.field("content-type")), (200, "application/mp4"), url)
        for begin, end, words in text_fragment(answer.body, start, duration, url):
            goes_on = next((at for at, line in enumerate(lines) if line[2] == words and abs(line[1] - begin) < 0.0005), None)
            if goes_on is None:
                lines.append((begin, end, words))
            else:
                lines[goes_on] = (lines[goes_on][0], end, words)
    return lines


def listing(text):
    """The manifest, and of each stream its element, its quality levels and its fragments: [(start, duration)]."""
    manifest = xml.etree.ElementTree.fromstring(text)
    check_equal((manifest.get("MajorVersion"), manifest.get("TimeScale")), ("2", str(TIMESCALE)), "manifest")
    streams, names = [], set()
    for stream in manifest.findall("StreamIndex"):
        check(stream.get("Name") not in names, f"two streams {stream.get('Name')}")
        names.add(stream.get("Name"))
        fragments, at = [], None
        for row in stream.findall("c"):
            at = int(row.get("t", at if at is not None else 0))
            for _ in range(int(row.get("r", 1))):
                fragments.append((at, int(row.get("d"))))
                at += int(row.get("d"))
        check_equal(len(fragments), int(stream.get("Chunks")), f"{stream.get('Name')}: fragments")
        levels = stream.findall("QualityLevel")
        check_equal(len({level.get("Bitrate") for level in levels}), len(levels), f"{stream.get('Name')}: bit rates")
        streams.append((stream, levels, fragments))
    return manifest, streams


def link(stream, level, start):
    return stream.get("Url").replace("{bitrate}", level.get("Bitrate")).replace("{start time}", str(start))


def download(server, asset, directory):
    """([file], seconds by which the timeline is later than the presentation's, [(language, [(start, end, words)])]) of
    everything the manifest lists."""
    base = f"/vod/{asset}/index.ism/"
    manifest, streams = listing(server.text(base + "Manifest"))
    files, texts = [], []
    for stream, levels, fragments in streams:
        if stream.get("Type") == "text":
            for level in levels:
                texts.append((stream.get("Language"), read_text(server, base, stream, level, fragments)))
            continue
        for level in levels:
            path = directory / f"{stream.get('Name')}-{level.get('Bitrate')}.mp4"
            with open(path, "wb") as file:
                file.write(header(stream.get("Type"), level.attrib, stream.get("Language")))
                for start, duration in fragments:
                    url = base + link(stream, level, start)
                    answer = server.fetch(url)
                    check_equal(answer.status, 200, url)
                    file.write(with_decode_time(answer.body, start, duration, url))
            files.append(path)
    return files, int(manifest.get("Duration")) / TIMESCALE, texts
