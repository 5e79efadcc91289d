"""Just enough ISO BMFF to change test files in ways ffmpeg cannot: a tree of boxes, read and written back."""

import struct

CONTAINERS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"udta", b"mvex", b"moof", b"traf"}


class Box:
    def __init__(self, kind, payload=b"", children=None):
        self.kind, self.payload, self.children = kind, payload, children

    def __bytes__(self):
        body = self.payload if self.children is None else b"".join(map(bytes, self.children))
        return struct.pack(">I4s", 8 + len(body), self.kind) + body

    def all(self, *path):
        """Boxes at a path below this one."""
        if not path:
            return [self]
        return [found for child in self.children or () if child.kind == path[0] for found in child.all(*path[1:])]

    def one(self, *path):
        return self.all(*path)[0]


def parse(data):
    """The boxes of a whole file (32-bit sizes and the 64-bit form)."""
    boxes, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif size == 0:
            size = len(data) - at
        body = data[at + head:at + size]
        boxes.append(Box(kind, b"", parse(body)) if kind in CONTAINERS else Box(kind, body))
        at += size
    return boxes


def serialise(boxes):
    return b"".join(map(bytes, boxes))


def find(data, *path):
    """Offset and size of the first box at a path in a file's bytes."""
    start, end = 0, len(data)
    for depth, kind in enumerate(path):
        at = start
        while True:
            if at + 8 > end:
                raise KeyError(kind)
            size, found = struct.unpack_from(">I4s", data, at)
            if found == kind:
                break
            at += size
        if depth + 1 == len(path):
            return at, size
        start, end = at + 8, at + size


def moov(boxes):
    return next(box for box in boxes if box.kind == b"moov")


def with_64_bit_offsets(data):
    """The same file with `co64` tables and a 64-bit `mdat` size. Its moov must be last and a `free` before `mdat`."""
    boxes = parse(data)
    kinds = [box.kind for box in boxes]
    assert kinds == [b"ftyp", b"free", b"mdat", b"moov"], kinds
    for table in moov(boxes).all(b"trak", b"mdia", b"minf", b"stbl"):
        for index, box in enumerate(table.children):
            if box.kind == b"stco":
                count = struct.unpack_from(">I", box.payload, 4)[0]
                offsets = struct.unpack_from(f">{count}I", box.payload, 8)
                table.children[index] = Box(b"co64", box.payload[:8] + struct.pack(f">{count}Q", *offsets))
    ftyp, _free, mdat, moov_box = boxes
    # The large size takes the place of the `free` box, so that no offset moves.
    head = struct.pack(">I4sQ", 1, b"mdat", 16 + len(mdat.payload))
    return bytes(ftyp) + head + mdat.payload + bytes(moov_box)


def with_sbr_signalled(data):
    """AAC LC at 24 kHz signalled as HE-AAC (ISO/IEC 14496-3 §1.6.5.1, explicit hierarchical): audio object type 5 with
    48 kHz output. A decoder finds no SBR payload and upsamples, which is what signalling is tested for."""
    stereo_lc = bytes.fromhex("131056e500")
    explicit_sbr = bytes.fromhex("2b11880000")
    assert data.count(stereo_lc) == 1
    return data.replace(stereo_lc, explicit_sbr)


def without_fragment(number):
    """The same fragmented file as if one of its fragments, from 0, had never arrived."""
    def rewrite(data):
        kept, fragment = [], -1
        for box in parse(data):
            fragment += box.kind == b"moof"
            if box.kind not in (b"sidx", b"mfra") and not (fragment == number and box.kind in (b"moof", b"mdat")):
                kept.append(box)
        return serialise(kept)
    return rewrite


def with_later_fragments(number, seconds):
    """The same fragmented file, its fragments from `number` on so much later. Timescales are read from `mdhd`."""
    def rewrite(data):
        boxes = parse(data)
        ticks = {}
        for trak in moov(boxes).all(b"trak"):
            track, = struct.unpack_from(">I", trak.one(b"tkhd").payload, 12)
            ticks[track] = seconds * struct.unpack_from(">I", trak.one(b"mdia", b"mdhd").payload, 12)[0]
        for traf in [traf for moof in [box for box in boxes if box.kind == b"moof"][number:] for traf in moof.all(b"traf")]:
            track, = struct.unpack_from(">I", traf.one(b"tfhd").payload, 4)
            time = traf.one(b"tfdt")
            form = ">Q" if time.payload[0] else ">I"
            time.payload = time.payload[:4] + struct.pack(form, struct.unpack_from(form, time.payload, 4)[0] + ticks[track])
        return serialise(boxes)
    return rewrite
