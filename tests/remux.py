"""A muxer that writes the samples of one MP4 file in the other ways ISO BMFF, QuickTime and their writers know: what ffmpeg
never writes, and what other programs do."""

import dataclasses
import struct

import mp4

U32, U64 = struct.Struct(">I"), struct.Struct(">Q")


def box(kind, *parts):
    body = b"".join(map(bytes, parts))
    return struct.pack(">I4s", 8 + len(body), kind) + body


def large_box(kind, *parts):
    """With a 64-bit size."""
    body = b"".join(map(bytes, parts))
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


def full(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def words(*numbers):
    return b"".join(U32.pack(number & 0xFFFFFFFF) for number in numbers)


@dataclasses.dataclass
class Sample:
    data: bytes
    duration: int
    offset: int  # composition time less decode time
    sync: bool


@dataclasses.dataclass
class Track:
    id: int
    handler: bytes
    timescale: int
    tkhd: bytes
    mdhd: bytes
    hdlr: bytes
    header: bytes  # vmhd or smhd
    entries: list  # of stsd
    edits: list    # (length in movie ticks, media time)
    samples: list

    @property
    def duration(self):
        return sum(sample.duration for sample in self.samples)


def runs(values):
    """[(count, value)]"""
    found = []
    for value in values:
        if found and found[-1][1] == value:
            found[-1][0] += 1
        else:
            found.append([1, value])
    return found


def read(data):
    """The tracks of a progressive file with one sample description a track."""
    boxes = mp4.parse(data)
    tracks = []
    for trak in mp4.moov(boxes).all(b"trak"):
        mdia = trak.one(b"mdia")
        stbl = mdia.one(b"minf", b"stbl")

        def rows(kind, form, skip=8):
            found = stbl.all(kind)
            return list(struct.iter_unpack(form, found[0].payload[skip:])) if found else None
        constant, count = struct.unpack_from(">II", stbl.one(b"stsz").payload, 4)
        sizes = [constant] * count if constant else [size for size, in rows(b"stsz", ">I", 12)]
        durations = [value for number, value in rows(b"stts", ">II") for _ in range(number)]
        offsets = [value for number, value in rows(b"ctts", ">Ii") or [(count, 0)] for _ in range(number)]
        sync = rows(b"stss", ">I")
        sync = {number for number, in sync} if sync is not None else set(range(1, count + 1))
        chunks = [offset for offset, in rows(b"stco", ">I")]
        per_chunk, starts = rows(b"stsc", ">III"), []
        for index, at in enumerate(chunks, 1):
            number = next(samples for first, samples, _ in reversed(per_chunk) if first <= index)
            for _ in range(number):
                starts.append(at)
                at += sizes[len(starts) - 1]
        elst = trak.all(b"edts", b"elst")
        edits = [row[:2] for row in struct.iter_unpack(">IiI", elst[0].payload[8:])] if elst else []
        tracks.append(Track(
            id=U32.unpack_from(trak.one(b"tkhd").payload, 12)[0], handler=mdia.one(b"hdlr").payload[8:12],
            timescale=U32.unpack_from(mdia.one(b"mdhd").payload, 12)[0], tkhd=trak.one(b"tkhd").payload,
            mdhd=mdia.one(b"mdhd").payload, hdlr=mdia.one(b"hdlr").payload,
            header=bytes(mdia.one(b"minf").children[0]), entries=[stbl.one(b"stsd").payload[8:]], edits=edits,
            samples=[Sample(data[start:start + size], duration, offset, number in sync)
                     for number, (start, size, duration, offset) in enumerate(zip(starts, sizes, durations, offsets), 1)]))
    return tracks


@dataclasses.dataclass(frozen=True)
class Style:
    """How a progressive file is written. The defaults are the plainest."""
    ftyp: bytes = box(b"ftyp", b"isom", words(512), b"isomiso2avc1mp41")
    movie_timescale: int = 1000
    co64: bool = False
    stz2: int = 0
    moov_first: bool = False
    large_mdat: bool = False
    before_mdat: bytes = b""
    after_mdat: bytes = b""
    mdats: int = 1
    chunk: int = 5               # samples a chunk
    ctts_version: int = 0
    edits_version: int = 0
    edits: object = None         # {handler: [(length, media time[, rate])]}
    no_stss: bool = False
    table: object = None         # bytes(track) of more boxes in stbl
    trak: object = None          # bytes(track) of more boxes in trak
    user: bytes = b""            # in moov
    extra_tracks: object = None  # bytes of further trak boxes
    description: object = None   # function(chunk number) of the sample description index
    runs: object = None          # how stts and ctts are gathered


def elst(edits, version=0):
    rows = []
    for length, start, *rate in edits:
        rows.append(struct.pack(">Qq" if version else ">Ii", length, start) + U32.pack(*(rate or [0x10000])))
    return box(b"edts", full(b"elst", version, 0, words(len(edits)), *rows))


def progressive(tracks, style=Style()):
    """The whole file."""
    gather = style.runs or runs
    # Chunks of all tracks, interleaved.
    chunks = []
    for track in tracks:
        time = 0
        for number, start in enumerate(range(0, len(track.samples), style.chunk)):
            part = track.samples[start:start + style.chunk]
            chunks.append((time / track.timescale, track.id, number, b"".join(sample.data for sample in part)))
            time += sum(sample.duration for sample in part)
    chunks.sort(key=lambda chunk: chunk[:3])
    per_mdat = -(-len(chunks) // style.mdats)

    def media(start):
        """Boxes of media from a place in the file, and where each chunk lies."""
        places, parts = {}, []
        for first in range(0, len(chunks), per_mdat):
            group = chunks[first:first + per_mdat]
            start += len(style.before_mdat)
            make = large_box if style.large_mdat else box
            head = 16 if style.large_mdat else 8
            at = start + head
            for _, track, number, data in group:
                places[track, number] = at
                at += len(data)
            made = make(b"mdat", *(data for *_, data in group))
            parts += [style.before_mdat, made]
            start += len(made)
        return places, b"".join(parts)

    def movie(places):
        traks = []
        for track in tracks:
            count = -(-len(track.samples) // style.chunk)
            sizes = [len(sample.data) for sample in track.samples]
            if style.stz2 and max(sizes) < 1 << style.stz2:
                form = {8: "B", 16: "H"}[style.stz2]
                stsz = full(b"stz2", 0, 0, words(style.stz2, len(sizes)), struct.pack(f">{len(sizes)}{form}", *sizes))
            else:
                stsz = full(b"stsz", 0, 0, words(0, len(sizes), *sizes))
            last = len(track.samples) - (count - 1) * style.chunk
            describe = style.description or (lambda number: 1)
            per_chunk = [(style.chunk if number < count - 1 else last, describe(number)) for number in range(count)]
            stsc = [(number + 1, *row) for number, row in enumerate(per_chunk)
                    if number == 0 or row != per_chunk[number - 1]]
            offsets = [places.get((track.id, number), 0) for number in range(count)]
            stco = full(b"co64", 0, 0, words(count), *map(U64.pack, offsets)) if style.co64 else \
                full(b"stco", 0, 0, words(count, *offsets))
            stts = gather(sample.duration for sample in track.samples)
            tables = [full(b"stsd", 0, 0, words(len(track.entries)), *track.entries),
                      full(b"stts", 0, 0, words(len(stts)), *(words(*row) for row in stts))]
            if any(sample.offset for sample in track.samples):
                ctts = gather(sample.offset for sample in track.samples)
                tables.append(full(b"ctts", style.ctts_version, 0, words(len(ctts)), *(words(*row) for row in ctts)))
            if not all(sample.sync for sample in track.samples) and not style.no_stss:
                sync = [number for number, sample in enumerate(track.samples, 1) if sample.sync]
                tables.append(full(b"stss", 0, 0, words(len(sync), *sync)))
            tables += [full(b"stsc", 0, 0, words(len(stsc)), *(words(*row) for row in stsc)), stsz, stco]
            if style.table:
                tables.append(style.table(track))
            dinf = box(b"dinf", full(b"dref", 0, 0, words(1), full(b"url ", 0, 1)))
            minf = box(b"minf", track.header, dinf, box(b"stbl", *tables))
            edits = (style.edits or {}).get(track.handler, track.edits)
            parts = [box(b"tkhd", track.tkhd)] + ([elst(edits, style.edits_version)] if edits else [])
            parts.append(box(b"mdia", box(b"mdhd", track.mdhd), box(b"hdlr", track.hdlr), minf))
            if style.trak:
                parts.append(style.trak(track))
            traks.append(box(b"trak", *parts))
        length = max(track.duration * style.movie_timescale // track.timescale for track in tracks)
        mvhd = full(b"mvhd", 0, 0, words(0, 0, style.movie_timescale, length, 0x10000, 0x1000000, 0, 0),
                    words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000), bytes(24), words(len(tracks) + 1))
        return box(b"moov", mvhd, *traks, style.extra_tracks or b"", style.user)

    start = len(style.ftyp)
    if style.moov_first:
        start += len(movie({}))
    places, boxes = media(start)
    moov = movie(places)
    return style.ftyp + (moov + boxes if style.moov_first else boxes + moov) + style.after_mdat


@dataclasses.dataclass(frozen=True)
class Fragments:
    """How a fragmented file is written."""
    ftyp: bytes = box(b"ftyp", b"iso6", words(512), b"iso6mp41")
    movie_timescale: int = 1000
    seconds: float = 1.0
    base: str = "moof"          # moof, offset, chained
    tfdt: object = 1            # version, or None
    run: int = 0                # samples a trun; 0 for all
    trafs_a_track: int = 1
    moof_a_track: bool = False
    form: str = "full"          # full rows, defaults where they can be, first-sample-flags
    trex: bool = False          # defaults in trex where all samples agree
    before: object = None       # bytes before every moof
    between: bytes = b""        # between moof and mdat
    after: bytes = b""
    mehd: bytes = b""
    mvex: bool = True
    edits: bool = True
    empty: bool = False         # empty fragments between the others
    start: object = None        # tfdt of the first, by handler


SYNC, OTHER = 0x02000000, 0x01010000


def fragmented(tracks, style=Fragments()):
    head = [style.ftyp]
    traks, trexes = [], []
    for track in tracks:
        dinf = box(b"dinf", full(b"dref", 0, 0, words(1), full(b"url ", 0, 1)))
        stbl = box(b"stbl", full(b"stsd", 0, 0, words(len(track.entries)), *track.entries), full(b"stts", 0, 0, words(0)),
                   full(b"stsc", 0, 0, words(0)), full(b"stsz", 0, 0, words(0, 0)), full(b"stco", 0, 0, words(0)))
        edits = elst([(0, track.edits[0][1])]) if style.edits and track.edits else b""
        mdhd = track.mdhd[:16] + words(0) + track.mdhd[20:]
        traks.append(box(b"trak", box(b"tkhd", track.tkhd), edits, box(
            b"mdia", box(b"mdhd", mdhd), box(b"hdlr", track.hdlr), box(b"minf", track.header, dinf, stbl))))
        trexes.append(full(b"trex", 0, 0, words(track.id, 1, track.samples[0].duration if style.trex else 0, 0,
                                                (SYNC if track.handler == b"soun" else OTHER) if style.trex else 0)))
    mvhd = full(b"mvhd", 0, 0, words(0, 0, style.movie_timescale, 0, 0x10000, 0x1000000, 0, 0),
                words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000), bytes(24), words(len(tracks) + 1))
    mvex = box(b"mvex", style.mehd, *trexes) if style.mvex else b""
    head.append(box(b"moov", mvhd, *traks, mvex))
    out = b"".join(head)
    position = {track.id: 0 for track in tracks}
    time = {track.id: (style.start or {}).get(track.handler, 0) for track in tracks}
    sequence, end = 0, 0.0
    longest = max(track.duration / track.timescale for track in tracks)
    while end < longest:
        end += style.seconds
        parts = []
        for track in tracks:
            chosen, first = [], position[track.id]
            start = time[track.id]
            origin = (style.start or {}).get(track.handler, 0)
            while position[track.id] < len(track.samples) and (time[track.id] - origin) / track.timescale < end - 1e-9:
                sample = track.samples[position[track.id]]
                chosen.append(sample)
                position[track.id] += 1
                time[track.id] += sample.duration
            if not chosen:
                continue
            size = -(-len(chosen) // style.trafs_a_track)
            at = start
            for index in range(0, len(chosen), size):
                parts.append((track, at, chosen[index:index + size]))
                at += sum(sample.duration for sample in chosen[index:index + size])
        groups = [[part] for part in parts] if style.moof_a_track else [parts]
        for group in groups:
            if style.before:
                out += style.before(sequence)
            if style.empty:
                sequence += 1
                track, at, _ = group[0]
                out += box(b"moof", full(b"mfhd", 0, 0, words(sequence)),
                           box(b"traf", full(b"tfhd", 0, 0x20000, words(track.id)), full(b"tfdt", 1, 0, U64.pack(at))))
                out += box(b"mdat")
            sequence += 1
            out += fragment(len(out), sequence, group, style)
    return out + style.after


def fragment(at, sequence, group, style):
    def make(moof_size):
        trafs, data = [], 0
        media = moof_size + len(style.between) + 8
        for number, (track, time, samples) in enumerate(group):
            flags, fields = 0, b""
            if style.base == "moof":
                flags |= 0x20000
            elif style.base == "offset":
                flags |= 1
                fields += U64.pack(at + media + data)
            defaults = style.form != "full"
            durations = {sample.duration for sample in samples}
            sync = {sample.sync for sample in samples[1:]} or {samples[0].sync}
            in_trex = style.trex and durations == {track.samples[0].duration}
            if defaults and len(durations) == 1 and not in_trex:
                flags |= 8
                fields += words(samples[0].duration)
            flags_in_trex = style.trex and sync == {track.handler == b"soun"}
            if defaults and len(sync) == 1 and not flags_in_trex:
                flags |= 0x20
                fields += words(SYNC if True in sync else OTHER)
            parts = [full(b"tfhd", 0, flags, words(track.id), fields)]
            if style.tfdt is not None:
                parts.append(full(b"tfdt", style.tfdt, 0, (U64 if style.tfdt else U32).pack(time)))
            size = style.run or len(samples)
            for first in range(0, len(samples), size):
                part = samples[first:first + size]
                present = 0x200
                if any(sample.offset for sample in track.samples):
                    present |= 0x800
                if not (defaults and len(durations) == 1):
                    present |= 0x100
                extra = b""
                if defaults and len(sync) == 1:
                    if part[0].sync != (True in sync):
                        present |= 4
                        extra = words(SYNC if part[0].sync else OTHER)
                else:
                    present |= 0x400
                offset = b""
                if style.base == "moof" or style.base == "chained" and number == 0 and first == 0:
                    present |= 1
                    offset = words(media + data)
                elif style.base == "offset" and first == 0:
                    present |= 1
                    offset = words(0)
                rows = b""
                for sample in part:
                    if present & 0x100:
                        rows += words(sample.duration)
                    rows += words(len(sample.data))
                    if present & 0x400:
                        rows += words(SYNC if sample.sync else OTHER)
                    if present & 0x800:
                        rows += words(sample.offset)
                    data += len(sample.data)
                parts.append(full(b"trun", 0, present, words(len(part)), offset, extra, rows))
            trafs.append(box(b"traf", *parts))
        return box(b"moof", full(b"mfhd", 0, 0, words(sequence)), *trafs)
    moof = make(len(make(0)))
    return moof + style.between + box(b"mdat", *(sample.data for *_, samples in group for sample in samples))
