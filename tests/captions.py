"""Captions in the pictures: writes CEA-608 and CEA-708 into the H.264 samples of an MP4 file (ANSI/SCTE 128-1 §8.1), as
broadcast encoders do. ffmpeg passes them on, but makes none. Usage: captions.py IN OUT"""

import pathlib
import sys

import remux

# What is said in CC1, and when, in seconds. CC3 and service 1 have a line each.
LINES = [(1, "FIRST LINE"), (5, "SECOND LINE"), (9, "THIRD LINE"), (13, "FOURTH LINE")]
SPANISH = (2, "HOLA")
SERVICE = (3, "NEWS")

ROLL_UP_2, CARRIAGE_RETURN, ROW_15 = (0x14, 0x25), (0x14, 0x2D), (0x14, 0x70)


def odd_parity(byte):
    return byte | (0x80 if bin(byte).count("1") % 2 == 0 else 0)


def pairs(text, field):
    """Two bytes for each picture. Commands are sent twice (CTA-608-E §8.3); those of the second field have numbers of their own."""
    first = 0x14 if field == 0 else 0x15
    commands = [(first, second) for _, second in (ROLL_UP_2, CARRIAGE_RETURN)] + [ROW_15]
    padded = text.encode() + b"\0" * (len(text) % 2)
    return [pair for command in commands for pair in (command, command)] + list(zip(padded[::2], padded[1::2]))


def service_packet(text, number=1):
    """A packet of CEA-708 (§5): a visible window of one row, the words, and their end."""
    data = bytes([0x98, 0x20, 0x0A, 0x00, 0x00, 0x1F, 0x11]) + text.encode() + b"\x03"
    block = bytes([number << 5 | len(data)]) + data + b"\0"
    code = (len(block) + 2) // 2
    packet = (bytes([code & 63]) + block).ljust(code * 2, b"\0")
    return [(3 if at == 0 else 2, packet[at], packet[at + 1]) for at in range(0, len(packet), 2)]


def message(triples):
    """An SEI unit of user_data_registered_itu_t_t35."""
    data = b"".join(bytes([0xFC | kind, first, second]) for kind, first, second in triples)
    payload = b"\xb5\0\x31GA94\x03" + bytes([0x40 | len(triples), 0xFF]) + data + b"\xff"
    assert len(payload) < 255
    unit = bytearray(b"\x06")
    zeros = 0
    for byte in bytes([4, len(payload)]) + payload + b"\x80":
        if zeros >= 2 and byte <= 3:
            unit.append(3)
            zeros = 0
        unit.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(unit)


def with_unit(sample, unit):
    """Before everything but an access unit delimiter. Lengths are of four bytes."""
    size = int.from_bytes(sample[:4], "big")
    at = 4 + size if sample[4] & 31 == 9 else 0
    return sample[:at] + len(unit).to_bytes(4, "big") + unit + sample[at:]


def with_captions(data):
    tracks = remux.read(data)
    for track in (track for track in tracks if track.handler == b"vide"):
        time, shown = 0, []
        for at, sample in enumerate(track.samples):
            shown.append(((time + sample.offset) / track.timescale, at))
            time += sample.duration
        queues = [[(seconds, pairs(text, 0)) for seconds, text in LINES], [(SPANISH[0], pairs(SPANISH[1], 1))]]
        waiting, service = [[], []], [SERVICE]
        # In the order in which they are shown.
        for seconds, at in sorted(shown):
            triples = []
            for field in (0, 1):
                if queues[field] and seconds >= queues[field][0][0]:
                    waiting[field] += queues[field].pop(0)[1]
                first, second = waiting[field].pop(0) if waiting[field] else (0, 0)
                triples.append((field, odd_parity(first), odd_parity(second)))
            if service and seconds >= service[0][0]:
                triples += service_packet(service.pop()[1])
            sample = track.samples[at]
            sample.data = with_unit(bytes(sample.data), message(triples))
    return remux.progressive(tracks)


if __name__ == "__main__":
    source, out = map(pathlib.Path, sys.argv[1:])
    out.write_bytes(with_captions(source.read_bytes()))
