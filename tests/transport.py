"""MPEG-TS playlists, checked as a whole: what ISO/IEC 13818-1 and RFC 8216bis ask of segments that follow each other."""

import re

from support import check, check_equal

PACKET = 188
WRAP = 1 << 33
# 90 kHz.
PCR_PERIOD_MAX = 9_000
OFFSET = 900_000
VIDEO_TYPES = {0x1B: "h264", 0x24: "hevc"}


class Stream:
    def __init__(self, stream_type):
        self.stream_type, self.units = stream_type, []


class Segment:
    """One segment, taken apart: packets, tables, clock, PES packets."""

    def __init__(self, uri, data):
        check(data and len(data) % PACKET == 0, f"{uri}: {len(data)} bytes are not whole packets")
        self.uri, self.counters, self.clocks, self.streams = uri, [], [], {}
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
        check(data[7] & 0x80, f"{uri}: a PES packet without a time stamp")
        self.presentation = stamp(data[9:14])
        self.decode = stamp(data[14:19]) if data[7] & 0x40 else self.presentation
        self.payload = bytes(data[9 + data[8]:])
        check(self.length in (0, len(data) - 6), f"{uri}: a PES packet of {len(data) - 6} bytes says {self.length}")


def stamp(data):
    return (data[0] >> 1 & 7) << 30 | data[1] << 22 | data[2] >> 1 << 15 | data[3] << 7 | data[4] >> 1


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


def check_transport(segments, what, independent=True, origin=OFFSET, early=180):
    """`segments`: (uri, seconds, bytes) of a whole playlist without gaps; `origin`: where its time stamps begin;
    `early`: by how many ticks a track may begin before its segment. Returns how many pictures and PES packets of sound there
    are."""
    counters, clock, last, pictures, sounds, begin = {}, None, {}, 0, 0, 0.0
    for uri, seconds, data in segments:
        segment = Segment(uri, data)
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
        starts = {}
        delays = [later(unit.decode, unit.presentation) for stream in segment.streams.values() for unit in stream.units]
        for pid, stream in segment.streams.items():
            codec = VIDEO_TYPES.get(stream.stream_type)
            for number, unit in enumerate(stream.units):
                check(later(unit.decode, unit.presentation) >= 0, f"{uri}: presented before it is decoded")
                check(unit.clock is not None and later(unit.clock, unit.decode) > 0, f"{uri}: comes after its decode time")
                # Sound that is presented with reordered pictures at a segment's end waits for them, and at the end of all it may
                # outlast them by a second.
                check(later(unit.clock, unit.decode) < 135_000 + max(delays), f"{uri}: comes {later(unit.clock, unit.decode)} ticks early")
                if pid in last:
                    step = later(last[pid], unit.decode)
                    check(0 < step < 90_000 * 60, f"{uri}: PID {pid} goes from {last[pid]} to {unit.decode}")
                last[pid] = unit.decode
                if codec:
                    types = nal_types(unit.payload, codec)
                    delimiter, sets, keys = (9, {7, 8}, {5}) if codec == "h264" else (35, {32, 33, 34}, set(range(16, 22)))
                    check(types and types[0] == delimiter, f"{uri}: an access unit begins with NAL unit {types[:1]}")
                    check(types.count(delimiter) == 1, f"{uri}: {types.count(delimiter)} delimiters in an access unit")
                    if unit.random_access:
                        check(sets <= set(types), f"{uri}: a key picture without parameter sets: {types}")
                    check(not keys & set(types) or unit.random_access, f"{uri}: a key picture is not marked")
                    check(number or unit.random_access or not independent, f"{uri}: begins with a picture that is no key")
                    pictures += 1
                else:
                    sounds += 1
            if stream.units:
                starts[codec or "audio"] = stream.units[0].presentation
        # Segments begin where the playlist has them, pictures and sound within a frame of each other: of 2048 samples at
        # 44.1 kHz at most, and priming at the start.
        for kind, first in starts.items():
            late = later(origin + round(begin * 90_000), first)
            check((-14_000 if begin == 0 else -early) <= late, f"{uri}: {kind} begins {-late} ticks before the segment")
        pair = sorted(starts.values())
        if len(pair) == 2 and begin > 0 and all(abs(later(origin + round(begin * 90_000), first)) < 90_000 for first in pair):
            check(later(pair[0], pair[1]) <= 4_400, f"{uri}: pictures and sound begin {later(pair[0], pair[1])} ticks apart")
        begin += seconds
    return pictures, sounds
