"""MPEG-TS playlists, checked as a whole: what ISO/IEC 13818-1 and RFC 8216bis ask of segments that follow each other."""

import re

from support import check, check_equal

PACKET = 188
WRAP = 1 << 33
# 90 kHz.
PCR_PERIOD_MAX = 9_000
OFFSET = 900_000
VIDEO_TYPES = {0x1B: "h264", 0x24: "hevc"}
AUDIO_TYPES = {0x0F: "aac", 0x81: "ac3", 0x87: "ec3", 0x03: "mp3", 0x04: "mp3"}
DOLBY_TYPES = (0x81, 0x87)


class Stream:
    def __init__(self, stream_type):
        self.stream_type, self.units = stream_type, []


class Segment:
    """One segment, taken apart: packets, tables, clock, PES packets."""

    def __init__(self, uri, data):
        check(data and len(data) % PACKET == 0, f"{uri}: {len(data)} bytes are not whole packets")
        self.uri, self.counters, self.clocks, self.streams, self.tables = uri, [], [], {}, []
        open_units, tables = {}, []
        for at in range(0, len(data), PACKET):
            packet = data[at:at + PACKET]
            check(packet[0] == 0x47 and not packet[1] & 0x80, f"{uri}: no packet at byte {at}")
            pid, start, control = (packet[1] & 0x1F) << 8 | packet[2], packet[1] & 0x40, packet[3]
            payload, flags = packet[4:], 0
            if control & 0x20:
                length = packet[4]
                check(length <= 183 if not control & 0x10 else length <= 182, f"{uri}: adaptation field of {length} bytes")
                field, payload = packet[5:5 + length], packet[5 + length:]
                flags = field[0] if field else 0
                check(not flags & 0x80, f"{uri}: a discontinuity is signalled")
                if flags & 0x10:
                    self.clocks.append((pid, int.from_bytes(field[1:6], "big") >> 7))
            if control & 0x10:
                self.counters.append((pid, control & 15))
                if pid in (0, 0x1000):
                    tables.append((at // PACKET, pid))
                    self.table(pid, payload)
                elif start:
                    open_units[pid] = [bytearray(payload), bool(flags & 0x40), self.clocks[-1][1] if self.clocks else None]
                    self.streams[pid].units.append(open_units[pid])
                else:
                    check(pid in open_units, f"{uri}: PID {pid} begins inside a PES packet")
                    open_units[pid][0] += payload
        check_equal(tables, [(0, 0), (1, 0x1000)], f"{uri}: places of PAT and PMT")
        for stream in self.streams.values():
            stream.units = [Unit(uri, *unit) for unit in stream.units]

    def table(self, pid, payload):
        section = payload[1 + payload[0]:]
        length = (section[1] & 15) << 8 | section[2]
        section = section[:3 + length]
        check_equal(crc(section), 0, f"{self.uri}: CRC of the table in PID {pid}")
        self.tables.append(section)
        if pid == 0:
            check_equal(section[8:12], bytes([0, 1, 0xF0, 0]), f"{self.uri}: the PAT's program")
            return
        self.clock_pid = (section[8] & 0x1F) << 8 | section[9]
        rest = section[12 + ((section[10] & 15) << 8 | section[11]):-4]
        while rest:
            self.streams[(rest[1] & 0x1F) << 8 | rest[2]] = Stream(rest[0])
            rest = rest[5 + ((rest[3] & 15) << 8 | rest[4]):]


class Unit:
    """A PES packet."""

    def __init__(self, uri, data, random_access, clock):
        check(data[:3] == b"\0\0\1", f"{uri}: a PES packet that begins {bytes(data[:4]).hex()}")
        self.length, self.random_access, self.clock = int.from_bytes(data[4:6], "big"), random_access, clock
        self.stream_id, self.is_aligned = data[3], bool(data[6] & 4)
        check_equal(data[6] >> 6, 2, f"{uri}: the two bits before a PES packet's flags")
        check(data[7] & 0x80, f"{uri}: a PES packet without a time stamp")
        self.presentation = stamp(data[9:14])
        self.decode = stamp(data[14:19]) if data[7] & 0x40 else self.presentation
        self.payload = bytes(data[9 + data[8]:])
        check(self.length in (0, len(data) - 6), f"{uri}: a PES packet of {len(data) - 6} bytes says {self.length}")


def stamp(data):
    check(data[0] & data[2] & data[4] & 1, f"a time stamp without its marker bits: {bytes(data[:5]).hex()}")
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | data[2] >> 1 << 15 | data[3] << 7 | data[4] >> 1


def stamp_of(seconds, origin=OFFSET):
    """Of a presentation time."""
    return (origin + round(seconds * 90_000)) % WRAP


def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
    return value


def later(first, second):
    """How much later a time stamp is than another, the shorter way round."""
    return (second - first + WRAP // 2) % WRAP - WRAP // 2


def nal_types(payload, codec):
    starts = [found.end() for found in re.finditer(b"\x00\x00\x01", payload)]
    return [payload[at] & 31 if codec == "h264" else payload[at] >> 1 & 63 for at in starts if at < len(payload)]


def check_transport(segments, what, independent=True, holes=False, begin=0.0, origin=OFFSET, early=180, apart=0):
    """`segments`: (uri, seconds, bytes) of a whole playlist without gaps, from presentation time `begin` on. `holes`: the source
    has stretches without sound or pictures; `origin`: the time stamp of presentation time 0; `early`: by how many ticks a track may
    begin before its segment; `apart`: by how many sound may begin before its pictures. Returns how many pictures and PES packets of sound there are."""
    counters, clock, last, pictures, sounds, tables = {}, None, {}, 0, 0, None
    hearing, borders = Continuous(holes), []
    for uri, seconds, data in segments:
        segment = Segment(uri, data)
        check(tables in (None, segment.tables), f"{uri}: other tables than in the segment before")
        tables = segment.tables
        for pid, counter in segment.counters:
            check(pid not in counters or (counters[pid] + 1) % 16 == counter,
                  f"{uri}: PID {pid} counts {counters.get(pid)}, then {counter}")
            counters[pid] = counter
        check(segment.clocks, f"{uri}: no clock reference")
        for pid, value in segment.clocks:
            check_equal(pid, segment.clock_pid, f"{uri}: PID of the clock")
            step = 0 if clock is None else later(clock, value)
            check(clock is None or 0 < step <= PCR_PERIOD_MAX, f"{uri}: the clock goes from {clock} to {value}")
            clock = value
        starts, until = {}, {}
        delays = [later(unit.decode, unit.presentation) for stream in segment.streams.values() for unit in stream.units]
        for pid, stream in segment.streams.items():
            codec = VIDEO_TYPES.get(stream.stream_type)
            for number, unit in enumerate(stream.units):
                check(later(unit.decode, unit.presentation) >= 0, f"{uri}: presented before it is decoded")
                check(unit.clock is not None and later(unit.clock, unit.decode) > 0, f"{uri}: PID {pid}: at {unit.clock} comes after its decode time, {unit.decode}")
                # Sound that is presented with reordered pictures at a segment's end waits for them, and at the end of all it may
                # outlast them by a second.
                check(later(unit.clock, unit.decode) < 135_000 + apart + max(delays), f"{uri}: comes {later(unit.clock, unit.decode)} ticks early")
                if pid in last:
                    step = later(last[pid], unit.decode)
                    check(0 < step < 90_000 * 60, f"{uri}: PID {pid} goes from {last[pid]} to {unit.decode}")
                last[pid] = unit.decode
                if codec:
                    check_access_unit(uri, unit, codec)
                    check(number or unit.random_access or not independent, f"{uri}: begins with a picture that is no key")
                    pictures += 1
                else:
                    check_equal(unit.stream_id, 0xBD if stream.stream_type in DOLBY_TYPES else 0xC0, f"{uri}: stream_id of sound")
                    check(unit.is_aligned and unit.random_access, f"{uri}: a PES packet of sound that does not begin with a frame")
                    until["audio"] = hearing.take(uri, unit.presentation, frames_of(uri, unit.payload, AUDIO_TYPES[stream.stream_type]))
                    sounds += 1
            if stream.units:
                starts[codec or "audio"] = stream.units[0].presentation
                check(not codec or stream.units[0].random_access or not independent, f"{uri}: no random access at its start")
        # Segments begin where the playlist has them, pictures and sound within a frame of each other, with priming at the start.
        for kind, first in starts.items():
            late = later(stamp_of(begin, origin), first)
            check((-14_000 if begin == 0 else -early) - apart <= late, f"{uri}: {kind} begins {-late} ticks before the segment")
        pair = sorted(starts.values())
        near = [abs(later(stamp_of(begin, origin), first)) < 90_000 for first in pair]
        if len(pair) == 2 and begin > 0 and all(near) and not apart:
            check(later(pair[0], pair[1]) <= hearing.frame, f"{uri}: pictures and sound begin {later(pair[0], pair[1])} ticks apart")
        begin += seconds
        both = len(pair) == 2 and all(near) and not apart
        borders.append((uri, next(iter(starts.values())) if both else None, until.get("audio")))
    # Where both go on, sound ends within a frame of where the next pictures are.
    for (uri, start, end), (_, border, _) in zip(borders, borders[1:]):
        if start is not None and border is not None and not holes:
            off = later(border, end)
            check(abs(off) <= hearing.frame, f"{uri}: sound ends {off} ticks after the next pictures begin")
    return pictures, sounds


def check_access_unit(uri, unit, codec):
    types = nal_types(unit.payload, codec)
    delimiter, sets, keys = (9, {7, 8}, {5}) if codec == "h264" else (35, {32, 33, 34}, set(range(16, 22)))
    check_equal(unit.stream_id, 0xE0, f"{uri}: stream_id of pictures")
    check(unit.is_aligned and types and types[0] == delimiter, f"{uri}: an access unit begins with NAL unit {types[:1]}")
    check(types.count(delimiter) == 1, f"{uri}: {types.count(delimiter)} delimiters in an access unit")
    if unit.random_access:
        check(sets <= set(types), f"{uri}: a key picture without parameter sets: {types}")
        # ITU-T H.264 §7.4.1.2.3, H.265 §7.4.2.4.4: before the first slice.
        slices = range(1, 6) if codec == "h264" else range(32)
        before = next((at for at, kind in enumerate(types) if kind in slices), len(types))
        check(sets <= set(types[:before]), f"{uri}: parameter sets behind a slice: {types}")
    check(not keys & set(types) or unit.random_access, f"{uri}: a key picture is not marked")


def check_packed(segments, what, extension, holes=False, begin=0.0):
    """The same of packed audio: a time stamp in front, and frames that go on. Returns how many frames there are."""
    hearing, count = Continuous(holes), 0
    for uri, seconds, data in segments:
        check(uri.endswith(f".{extension}"), f"{uri}: expected .{extension}")
        check(data[:3] == b"ID3" and data[5] == 0 and max(data[6:10]) < 128, f"{uri}: begins with {data[:10].hex()}")
        size = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
        owner, _, value = data[20:size].partition(b"\0")
        check_equal((data[10:14], owner, len(value)), (b"PRIV", b"com.apple.streaming.transportStreamTimestamp", 8), f"{uri}: frame of the tag")
        first = int.from_bytes(value, "big")
        check(first < WRAP, f"{uri}: a time stamp of {first}")
        frames = frames_of(uri, data[size:], extension)
        hearing.take(uri, first, frames)
        count += len(frames)
        late = later(stamp_of(begin), first)
        check(-14_000 if begin == 0 else -180 <= late, f"{uri}: begins {-late} ticks before the segment")
        check(late <= hearing.frame or holes, f"{uri}: begins {late} ticks late")
        begin += seconds
    return count


def check_key_frames(entries, segments, what, all_of_them=True):
    """Each entry of an I-frame playlist is one access unit of the segments, by itself. `segments`: those of the track;
    `all_of_them`: none of theirs is left out. Returns the presentation times, in 90 kHz from 0."""
    pictures = {}
    for uri, _, data in segments:
        [stream] = Segment(uri, data).streams.values()
        pictures |= {unit.presentation: (unit.decode, unit.payload) for unit in stream.units if unit.random_access}
    times = []
    for uri, seconds, data in entries:
        segment = Segment(uri, data)
        [stream] = segment.streams.values()
        check_equal(len(stream.units), 1, f"{uri}: access units")
        [unit] = stream.units
        check(unit.random_access, f"{uri}: is not marked as key")
        check_access_unit(uri, unit, VIDEO_TYPES[stream.stream_type])
        check_equal(len(segment.clocks), 1, f"{uri}: clock references")
        check(0 < later(segment.clocks[0][1], unit.decode) <= 90_000, f"{uri}: the clock is {segment.clocks[0][1]}, decoded at {unit.decode}")
        check_equal((unit.decode, unit.payload), pictures.get(unit.presentation, (None, b"")), f"{uri}: the same picture in the segments")
        times.append(times[-1] + later(last, unit.presentation) if times else (unit.presentation - OFFSET) % WRAP)
        last = unit.presentation
    check_equal(times, sorted(set(times)), f"{what}: times of key frames")
    check(len(times) == len(pictures) or not all_of_them, f"{what}: {len(times)} key frames, {len(pictures)} in the segments")
    return times


# Sound, frame by frame.

class Continuous:
    """Frames that follow each other, whatever they come in."""

    def __init__(self, holes):
        self.holes, self.start, self.ticks, self.frame = holes, None, 0.0, 0

    def take(self, uri, presentation, frames):
        """Frames of which the first is presented then; returns when the last ends."""
        check(frames, f"{uri}: no frames")
        if self.start is not None:
            off = later(self.now(), presentation)
            # Times of tracks are rounded to 90 kHz one by one.
            if self.holes and off > 2:
                self.start = None
            else:
                check(abs(off) <= 2, f"{uri}: sound goes on {off} ticks after the frame before ended")
        if self.start is None:
            self.start, self.ticks = presentation, 0.0
        self.ticks += sum(samples * 90_000 / rate for samples, rate in frames)
        # The longest, and rounding.
        self.frame = max([self.frame] + [round(samples * 90_000 / rate) + 2 for samples, rate in frames])
        return self.now()

    def now(self):
        return (self.start + round(self.ticks)) % WRAP


def frames_of(uri, data, kind):
    """(samples, rate) of each frame; there is nothing else."""
    at, frames = 0, []
    while at < len(data):
        size, samples, rate = FRAMES[kind](data[at:at + 8], f"{uri}: byte {at} of sound")
        check(0 < size <= len(data) - at, f"{uri}: a frame of {size} bytes at byte {at} of {len(data)}")
        frames.append((samples, rate))
        at += size
    return frames


def adts_frame(head, where):
    """ISO/IEC 14496-3 §1.A.2."""
    check(len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0, f"{where}: no ADTS header: {head.hex()}")
    check_equal(head[6] & 3, 0, f"{where}: blocks in a frame, less one")
    rate = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)[head[2] >> 2 & 15]
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5, 1024, rate


def dolby_frame(head, where):
    """ETSI TS 102 366 §4.4.1, annex E §E.1.3."""
    check(len(head) >= 6 and head[:2] == b"\x0b\x77", f"{where}: no syncword: {head.hex()}")
    rates = (48000, 44100, 32000)
    if head[5] >> 3 <= 10:
        rate, code = rates[head[4] >> 6], head[4] & 63
        bits = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)[code >> 1] * 1000
        words = bits * 1536 // rate // 16 + (code & 1 if rate == 44100 else 0)
        return words * 2, 1536, rate
    rate = rates[head[4] >> 6]
    is_dependent = head[2] >> 6 == 1
    return ((head[2] & 7) << 8 | head[3]) * 2 + 2, 0 if is_dependent else 256 * (1, 2, 3, 6)[head[4] >> 4 & 3], rate


def mpeg_frame(head, where):
    """ISO/IEC 11172-3 §2.4.1.3 and 13818-3 §2.4.2.3, layer III."""
    check(len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2, f"{where}: no header of layer III: {head.hex()}")
    version = head[1] >> 3 & 3
    rate = (44100, 48000, 32000)[head[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}[version]
    table = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320) if version == 3 else (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    samples = 1152 if version == 3 else 576
    return samples // 8 * table[(head[2] >> 4) - 1] * 1000 // rate + (head[2] >> 1 & 1), samples, rate


FRAMES = {"aac": adts_frame, "ac3": dolby_frame, "ec3": dolby_frame, "mp3": mpeg_frame}
