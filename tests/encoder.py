"""An encoder that does as it is told: media that ffmpeg made once, sent over RTMP or CMAF ingest with whatever timestamps,
pauses and losses a test wants."""

import base64
import socket
import struct
import time

from support import Client, check, ffmpeg, request_head

AUDIO, VIDEO, DATA, COMMAND = 8, 9, 18, 20
HANDSHAKE_BYTES = 1536


def clip(directory, size="320x180", fps=25, seconds=16):
    """FLV tags of test pictures with a key frame each second, and a tone."""
    path = directory / f"{size}-{fps}.flv"
    ffmpeg(*pictures(size, fps, seconds), path)
    return flv_tags(path.read_bytes())


def pictures(size="320x180", fps=25, seconds=16, sound="sine=frequency=440:beep_factor=4:sample_rate=48000"):
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}", "-f", "lavfi", "-i", sound, "-t", seconds,
            "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", fps,
            "-keyint_min", fps, "-sc_threshold", "0", "-b:v", "300k", "-c:a", "aac", "-b:a", "64k"]


def amf(*values):
    """Values in AMF 0, one after the other."""
    out = b""
    for value in values:
        if value is None:
            out += b"\5"
        elif isinstance(value, bool):
            out += b"\1" + bytes([value])
        elif isinstance(value, (int, float)):
            out += b"\0" + struct.pack(">d", value)
        elif isinstance(value, str):
            out += b"\2" + struct.pack(">H", len(value)) + value.encode()
        else:
            out += b"\3" + b"".join(struct.pack(">H", len(name)) + name.encode() + amf(inner)
                                    for name, inner in value.items()) + b"\0\0\t"
    return out


def flv_tags(data):
    """(kind, milliseconds, body) of an FLV file."""
    at, tags = 13, []
    while at + 11 <= len(data):
        kind, size = data[at], int.from_bytes(data[at + 1:at + 4], "big")
        milliseconds = int.from_bytes(data[at + 4:at + 7], "big") | data[at + 7] << 24
        tags.append((kind, milliseconds, data[at + 11:at + 11 + size]))
        at += 11 + size + 4
    return tags


def is_header(kind, body):
    """Whether a tag holds a codec's configuration (AVC and AAC)."""
    return kind in (AUDIO, VIDEO) and len(body) > 1 and body[1] == 0 and (body[0] & 15 == 7 or body[0] >> 4 == 10)


def is_key(kind, body):
    return kind == VIDEO and body[0] >> 4 == 1 and body[1] == 1


class Rtmp:
    """A publisher on a connection of its own."""

    def __init__(self, port, name, app="live", chunk=65536):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.chunk, self.name = 128, name
        self.socket.sendall(b"\3" + bytes(HANDSHAKE_BYTES))
        self._exactly(1 + 2 * HANDSHAKE_BYTES)
        self.socket.sendall(bytes(HANDSHAKE_BYTES))
        self.message(2, 1, 0, 0, struct.pack(">I", chunk))
        self.chunk = chunk
        self.command(0, "connect", 1, {"app": app, "type": "nonprivate", "tcUrl": f"rtmp://127.0.0.1:{port}/{app}"})
        self.command(0, "releaseStream", 2, None, name)
        self.command(0, "FCPublish", 3, None, name)
        self.command(0, "createStream", 4, None)
        self.command(1, "publish", 5, None, name, "live")
        self.answered = self._until(b"NetStream.Publish.", 10)

    def __enter__(self):
        check(b"NetStream.Publish.Start" in self.answered, f"{self.name}: {self.answered[-200:]!r}")
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            check(piece, f"the server closed after {len(data)} of {count} bytes")
            data += piece
        return data

    def _until(self, wanted, seconds):
        data, deadline = b"", time.monotonic() + seconds
        while wanted not in data and time.monotonic() < deadline:
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        return data

    def message(self, chunk_stream, kind, stream, timestamp, body):
        """In chunks of format 0 and 3 (§5.3), the extended timestamp in each where there is one."""
        extended = struct.pack(">I", timestamp) if timestamp >= 0xFFFFFF else b""
        out = bytes([chunk_stream]) + min(timestamp, 0xFFFFFF).to_bytes(3, "big") + len(body).to_bytes(3, "big")
        out += bytes([kind]) + struct.pack("<I", stream) + extended
        for at in range(0, max(len(body), 1), self.chunk):
            if at:
                out += bytes([0xC0 | chunk_stream]) + extended
            out += body[at:at + self.chunk]
        self.socket.sendall(out)

    def command(self, stream, *values):
        self.message(3, COMMAND, stream, 0, amf(*values))

    def tag(self, kind, milliseconds, body):
        self.message({AUDIO: 4, VIDEO: 6}.get(kind, 5), kind, 1, int(milliseconds) & 0xFFFFFFFF, body)

    def headers(self, clip):
        for kind, _, body in clip:
            if is_header(kind, body):
                self.tag(kind, 0, body)

    def play(self, clip, start, end, clock=lambda kind, ms: ms, speed=4.0):
        """Tags of a stretch of the clip, in seconds, faster than they last. `clock` gives each its timestamp; None leaves it
        out."""
        begun = time.monotonic()
        for kind, milliseconds, body in clip:
            if not start * 1000 <= milliseconds < end * 1000 or is_header(kind, body) or kind == DATA:
                continue
            ahead = (milliseconds / 1000 - start) / speed - (time.monotonic() - begun)
            if ahead > 0:
                time.sleep(ahead)
            stamp = clock(kind, milliseconds)
            if stamp is not None:
                self.tag(kind, stamp, body)

    def unpublish(self):
        self.command(0, "FCUnpublish", 6, None, self.name)
        self.command(0, "deleteStream", 7, None, 1)
        self._until(b"NetStream.Unpublish", 5)


class Pushed:
    """Requests of an encoder that sends over HTTP."""

    def __init__(self, port, channel, key, user="encoder"):
        self.port, self.base = port, f"/ingest/{channel}/"
        self.fields = [("Authorization", "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode())]

    def request(self, name, body=b"", method="PUT", fields=None, withheld=False):
        """The answer to a request, or to its head if the body is `withheld`."""
        with Client(self.port) as client:
            fields = self.fields if fields is None else fields
            head = request_head(self.base + name, [*fields, ("Content-Length", str(len(body)))], method)
            client.send(head if withheld else head + body)
            return client.read()

    def put(self, name, body):
        return self.request(name, body).status

    def broken(self, name, body):
        """A chunked request that breaks off."""
        with Client(self.port) as client:
            client.send(request_head(self.base + name, [*self.fields, ("Transfer-Encoding", "chunked")], "POST"))
            client.send(b"%x\r\n%b\r\n" % (len(body), body))
            time.sleep(0.1)


class Cmaf:
    """CMAF ingest of one track in one long request, which breaks off where the block ends."""

    def __init__(self, port, channel, key, header, user="encoder", name="video.cmfv"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        credentials = base64.b64encode(f"{user}:{key}".encode()).decode()
        self.socket.sendall(request_head(f"/ingest/{channel}/{name}", [
            ("Authorization", f"Basic {credentials}"), ("Transfer-Encoding", "chunked")], "POST"))
        self.send(header)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def play(self, chunked, start, end, shift=lambda second: 0, speed=4.0, short=False):
        """Chunks of a stretch, in seconds, faster than they last. `shift` says by how many seconds each is moved; None leaves
        it out. With `short`, times are 32 bits, and start over."""
        begun = time.monotonic()
        for chunk in chunked.chunks:
            ticks = decode_time(chunk)
            second = ticks / chunked.timescale
            if not start - 1e-6 <= second < end - 1e-6:
                continue
            ahead = (second - start) / speed - (time.monotonic() - begun)
            if ahead > 0:
                time.sleep(ahead)
            moved = shift(second)
            if moved is not None:
                self.send(retimed(chunk, ticks + round(moved * chunked.timescale), short))


class Chunked:
    """A CMAF track that ffmpeg makes, in chunks of 200 ms with a key frame each second."""

    def __init__(self, path, size="320x180", seconds=16):
        ffmpeg(*pictures(size, seconds=seconds), "-an", "-f", "mp4", "-movflags", "cmaf+empty_moov+default_base_moof",
               "-frag_duration", "200000", path)
        self.header, self.chunks = fragments(path)
        at = self.header.index(b"mdhd")
        self.timescale = int.from_bytes(self.header[at + 16:at + 20], "big")


def decode_time(chunk):
    """Of `tfdt`, as ffmpeg writes it: 64 bits."""
    at = chunk.index(b"tfdt")
    return int.from_bytes(chunk[at + 8:at + 16], "big")


def retimed(chunk, ticks, short=False):
    """A chunk of one track with another decode time; in 32 bits if it is to be `short`, and everything behind it 4 bytes before."""
    at = chunk.index(b"tfdt")
    if not short:
        return chunk[:at + 8] + (ticks % 2 ** 64).to_bytes(8, "big") + chunk[at + 16:]
    out = bytearray(chunk[:at + 4] + bytes(4) + (ticks % 2 ** 32).to_bytes(4, "big") + chunk[at + 16:])
    for name in (b"tfdt", b"traf", b"moof"):
        place = out.index(name)
        out[place - 4:place] = (int.from_bytes(out[place - 4:place], "big") - 4).to_bytes(4, "big")
    place = out.index(b"trun") + 12
    out[place:place + 4] = (int.from_bytes(out[place:place + 4], "big") - 4).to_bytes(4, "big")
    return bytes(out)


def fragments(path):
    """(header, fragments) of a fragmented MP4 file: what CMAF ingest sends."""
    data, at, header, found, fragment = path.read_bytes(), 0, b"", [], b""
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        box, at = data[at:at + size], at + size
        if kind in (b"ftyp", b"moov"):
            header += box
        elif kind != b"mfra":
            fragment += box
            if kind == b"mdat":
                found.append(fragment)
                fragment = b""
    return header, found


# Markers.

def crc32_mpeg(data):
    """Of MPEG-2 sections (ISO/IEC 13818-1 annex A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4, "big")


def splice_insert(event, seconds, duration=None, ticks=90_000):
    """A splice_info_section (ANSI/SCTE 35 §9): out of the network at a time on the stream's clock, or back without `duration`."""
    stamp = lambda marker, value: (marker << 32 | int(value * ticks) & (2 ** 33 - 1)).to_bytes(5, "big")
    out = (b"\x4f", b"") if duration is None else (b"\xef", stamp(0xFE, duration))
    command = event.to_bytes(4, "big") + b"\x7f" + out[0] + stamp(0xFE, seconds) + out[1] + b"\0\1\0\0"
    body = b"\0\0\0\0\0\0\0\xff\xf0" + bytes([len(command), 5]) + command + b"\0\0"
    section = b"\xfc\x30" + bytes([len(body) + 4]) + body
    return section + crc32_mpeg(section)


def emsg(version, scheme, data, event, begin, duration, ticks=1000):
    """An event message (ISO/IEC 23009-1 §5.10.3.3): `begin` counts from the fragment (0) or is on the stream's clock (1)."""
    names = scheme.encode() + b"\0" + b"1\0"
    if version == 0:
        body = names + struct.pack(">IIII", ticks, int(begin * ticks), int(duration * ticks), event)
    else:
        body = struct.pack(">IQII", ticks, int(begin * ticks), int(duration * ticks), event) + names
    body = struct.pack(">I", version << 24) + body + data
    return struct.pack(">I4s", 8 + len(body), b"emsg") + body


def with_splices(segment, section, pid=0x1F0):
    """An MPEG-TS segment of ffmpeg with a stream of splices in its program, and one section of it in front."""
    packets = [segment[at:at + 188] for at in range(0, len(segment), 188)]
    packet = lambda pid, payload: (b"\x47" + struct.pack(">H", 0x4000 | pid) + b"\x10\0" + payload).ljust(188, b"\xff")
    out = []
    for found in packets:
        if found[1] & 0x1F == 0x10 and found[2] == 0:  # the program map, where ffmpeg puts it
            at = 5 + found[4]
            length = (found[at + 1] & 15) << 8 | found[at + 2]
            streams = found[at + 3:at + 3 + length - 4] + b"\x86" + struct.pack(">HH", 0xE000 | pid, 0xF000)
            table = b"\2" + struct.pack(">H", 0xB000 | len(streams) + 4) + streams
            found = found[:4] + b"\0" + table + crc32_mpeg(table)
            out += [found.ljust(188, b"\xff"), packet(pid, section)]
        else:
            out.append(found)
    return b"".join(out)
