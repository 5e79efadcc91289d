"""A client of Smooth Streaming: fetches what a manifest lists, and makes of each quality level a file that ffmpeg reads. ffmpeg
itself knows no Smooth Streaming."""

import struct
import xml.etree.ElementTree

from support import check, check_equal

TIMESCALE = 10_000_000
TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")


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


def with_decode_time(fragment, start, duration, what):
    """As players do: tfdt from the time of the fragment, where readers of ISO files look for it."""
    (moof_kind, moof), (mdat_kind, mdat) = boxes(fragment)
    check_equal((moof_kind, mdat_kind), (b"moof", b"mdat"), f"{what}: boxes")
    inner = dict(boxes(moof))
    parts = dict(boxes(inner[b"traf"]))
    tfxd = parts[b"uuid"]
    check_equal(tfxd[:16], TFXD, f"{what}: uuid")
    check_equal(struct.unpack_from(">IQQ", tfxd, 16), (1 << 24, start, duration), f"{what}: tfxd")
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


def download(server, asset, directory):
    """([file], seconds by which the timeline is later than the presentation's) of everything the manifest lists."""
    base = f"/vod/{asset}/index.ism/"
    manifest = xml.etree.ElementTree.fromstring(server.text(base + "Manifest"))
    check_equal((manifest.get("MajorVersion"), manifest.get("TimeScale")), ("2", str(TIMESCALE)), "manifest")
    files, names = [], set()
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
        for level in levels:
            path = directory / f"{stream.get('Name')}-{level.get('Bitrate')}.mp4"
            with open(path, "wb") as file:
                file.write(header(stream.get("Type"), level.attrib, stream.get("Language")))
                for start, duration in fragments:
                    url = base + stream.get("Url").replace("{bitrate}", level.get("Bitrate")).replace("{start time}", str(start))
                    answer = server.fetch(url)
                    check_equal(answer.status, 200, url)
                    file.write(with_decode_time(answer.body, start, duration, url))
            files.append(path)
    return files, int(manifest.get("Duration")) / TIMESCALE
