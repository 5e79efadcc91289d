"""A track of WebVTT in fragments (ISO/IEC 14496-30), made, sent to a channel and read again; and WebVTT segments, read.

As a program: text_track.py URL sends a cue a second by CMAF ingest, each from 200 ms after a full second of the time of day
to the next, which say the second."""

import base64
import re
import socket
import sys
import time
import urllib.parse


def box(kind, *content):
    body = b"".join(content)
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def number(value, size=4):
    return value.to_bytes(size, "big")


def header():
    """CMAF header of a track of WebVTT in milliseconds (ISO/IEC 14496-30 section 7)."""
    entry = box(b"wvtt", bytes(6), number(1, 2), box(b"vttC", b"WEBVTT"))
    empty = lambda kind: box(kind, bytes(8))
    table = box(b"stbl", box(b"stsd", bytes(4), number(1), entry), empty(b"stts"), empty(b"stsc"), box(b"stsz", bytes(12)),
                empty(b"stco"))
    matrix = b"".join(number(value) for value in [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000])
    media = box(b"mdia", box(b"mdhd", bytes(12), number(1000), bytes(4), number(0x15C7, 2), bytes(2)),
                box(b"hdlr", bytes(8), b"text", bytes(12), b"text\0"),
                box(b"minf", box(b"nmhd", bytes(4)),
                    box(b"dinf", box(b"dref", bytes(4), number(1), box(b"url ", number(1)))), table))
    track = box(b"trak", box(b"tkhd", number(7), bytes(8), number(1), bytes(24), matrix, bytes(8)), media)
    head = box(b"mvhd", bytes(12), number(1000), bytes(4), number(0x10000), number(0x100, 2), bytes(10), matrix, bytes(24),
               number(2))
    return (box(b"ftyp", b"cmfc", bytes(4), b"iso6cmfc")
            + box(b"moov", head, track, box(b"mvex", box(b"trex", bytes(4), number(1), number(1), bytes(12)))))


def chunk(sequence, start, samples):
    """`samples` are (milliseconds, words or None), one after the other."""
    data = [box(b"vttc", box(b"payl", words.encode())) if words else box(b"vtte") for _, words in samples]
    rows = b"".join(number(length) + number(len(bytes_)) for (length, _), bytes_ in zip(samples, data))
    def moof(offset):
        run = box(b"trun", number(0x301), number(len(samples)), number(offset), rows)
        return box(b"moof", box(b"mfhd", bytes(4), number(sequence)),
                   box(b"traf", box(b"tfhd", number(0x20000), number(1)), box(b"tfdt", number(1 << 24), number(start, 8)), run))
    return moof(len(moof(0)) + 8) + box(b"mdat", *data)


class Shown(list):
    """Stretches and what is shown during them, as (start, end, words) in milliseconds; neighbours that say the same are one."""

    def add(self, start, end, words):
        if self and self[-1][1:] == (start, words):
            start = self.pop()[0]
        self.append((start, end, words))


def shown(body):
    """What fragments of text show, words or None."""
    found, at = Shown(), 0
    while at < len(body):
        size = int.from_bytes(body[at:at + 4], "big")
        if body[at + 4:at + 8] == b"moof":
            moof, data = body[at:at + size], body[at + size + 8:]
            tfdt = moof.index(b"tfdt")
            time_, run = int.from_bytes(moof[tfdt + 8:tfdt + 16], "big"), moof.index(b"trun")
            flags, count = int.from_bytes(moof[run + 5:run + 8], "big"), int.from_bytes(moof[run + 8:run + 12], "big")
            shared = {}
            tfhd = moof.index(b"tfhd")
            tfhd_flags, field = int.from_bytes(moof[tfhd + 5:tfhd + 8], "big"), tfhd + 12
            for bit, name in [(0x8, "duration"), (0x10, "size"), (0x20, "flags")]:
                if tfhd_flags & bit:
                    shared[name], field = int.from_bytes(moof[field:field + 4], "big"), field + 4
            field = run + 12 + 4 + (4 if flags & 4 else 0)
            for _ in range(count):
                row = dict(shared)
                for bit, name in [(0x100, "duration"), (0x200, "size"), (0x400, "flags"), (0x800, "offset")]:
                    if flags & bit:
                        row[name], field = int.from_bytes(moof[field:field + 4], "big"), field + 4
                sample, data = data[:row["size"]], data[row["size"]:]
                words = sample[16:].decode() if sample[4:8] == b"vttc" else None
                found.add(time_, time_ + row["duration"], words)
                time_ += row["duration"]
        at += size
    return found


def shown_webvtt(segments, near):
    """What WebVTT segments show, by their X-TIMESTAMP-MAP (RFC 8216bis section 3.1.4.1). Their clock has 33 bits: `near` is a
    time that is not far from theirs."""
    found = Shown()
    for text in segments:
        head, *blocks = text.decode().strip("\n").split("\n\n")
        mapped = re.fullmatch(r"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:([\d:.]+)", head)
        clock, turn = int(mapped[1]) / 90 - milliseconds(mapped[2]), 2 ** 33 / 90
        clock += round((near - clock) / turn) * turn
        for block in blocks:
            start, end, words = re.fullmatch(r"([\d:.]+) --> ([\d:.]+)\n(.*)", block, re.S).groups()
            found.add(*(round(clock + milliseconds(time_)) for time_ in (start, end)), words)
    return found


def milliseconds(timestamp):
    hours, minutes, seconds = timestamp.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)


def connect(url):
    """A connection that a track is sent on: a function that takes its next bytes; none end it."""
    url = urllib.parse.urlsplit(url)
    connection = socket.create_connection((url.hostname, url.port), timeout=5)
    key = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    connection.sendall(f"POST {url.path} HTTP/1.1\r\nHost: origin\r\nAuthorization: Basic {key}\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n".encode())
    return lambda data: connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))


if __name__ == "__main__":
    feed = connect(sys.argv[1])
    feed(header())
    second = int(time.time())
    while True:
        # What is said in a second is known when it begins.
        feed(chunk(second % 2 ** 32, second * 1000, [(200, None), (800, f"said at {second}")]))
        second += 1
        time.sleep(max(0, second - time.time()))
