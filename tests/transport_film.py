"""MPEG-TS of a film, with its source: playlists of which each is whole, key frames by themselves, clips, and a clock that wraps."""

import re

import transport
from decoded import LEAD_IN_S, TIME_TOLERANCE_S, compare_audio, compare_video, decode, streams
from films import sound, x264
from support import PATIENCE_S, begin_case, check, check_equal, ffmpeg, hls_urls, import_asset, wait_until

TRANSPORT_CODECS = ("h264", "hevc", "aac", "ac3", "eac3", "mp3")


def has_transport(film):
    return any(stream.codec in TRANSPORT_CODECS for stream in film.tracks)


def transport_streams(film):
    """Playlists of which each is whole, of all that MPEG-TS carries and of nothing else."""
    case, server = film.case, film.server
    carried = [(stream, data) for stream, data in film.as_coded if stream.codec in TRANSPORT_CODECS]
    multivariant = film.text("ts/index.m3u8")
    found, fastest = set(), {}
    for path, kind in hls_urls(server, film.name, "ts/").items():
        if kind == "text":
            continue
        runs = transport_runs(server, path)
        if kind == "audio":
            for run in runs:
                transport.check_packed(run, path, run[0][0].rsplit(".", 1)[1], case.holes)
        else:
            for run in runs:
                transport.check_transport(run, path, case.independent, case.holes)
            # BANDWIDTH is that of stretches from half the target duration on.
            target = int(re.search(r"#EXT-X-TARGETDURATION:(\d+)", server.text(path)).group(1))
            long = [len(data) * 8 / seconds for run in runs for _, seconds, data in run if seconds >= target / 2]
            fastest[path] = max(long, default=0)
        source = server.url(path)
        if case.hidden or case.name.startswith("cut-"):
            # Where sound begins before the first picture, ffmpeg 5.1 numbers its first frames wrong, but only in playlists.
            source = film.directory / f"{path.rsplit('/', 1)[1]}.ts"
            source.write_bytes(b"".join(data for run in runs for _, _, data in run))
        presented = streams(source, zero_s=10)
        for other, have in zip(presented, decode(presented)):
            matching = [(stream, data) for stream, data in carried if transport_key(case, stream) == other.key()]
            if len(matching) > 1:
                language = re.search(rf'LANGUAGE="([^"]*)"[^\n]*{re.escape(path.rsplit("/", 1)[1])}', multivariant)
                matching = [(stream, data) for stream, data in matching if stream.language == language.group(1)]
            what = f"ts/{path.rsplit('/', 1)[1]}: {other}"
            check_equal(len(matching), 1, f"{what}: counterparts in the source")
            (stream, data), = matching
            found.add((stream.source, stream.index))
            if stream.kind == "video":
                compare_video(data, have, film.epoch, case, what)
            elif transport_key(case, stream) != stream.key():
                check(abs(len(have[1]) * 2 - len(data[1])) < 8 * 2048, f"{what}: {len(have[1])} bytes of PCM")
            else:
                # What comes before a cut is not in the stream, and a decoder begins with other packets than the source's.
                exact = case.exact and not case.name.startswith("cut-")
                compare_audio(data, have, film.epoch, stream.shape, exact, what)
    check_equal(found, {(stream.source, stream.index) for stream, _ in carried}, "tracks in MPEG-TS")
    for attributes, uri in re.findall(r"#EXT-X-STREAM-INF:([^\n]*)\n([^#\n]+)", multivariant):
        rate, path = int(re.search(r"\bBANDWIDTH=(\d+)", attributes).group(1)), f"/vod/{case.name}/ts/{uri}"
        if path in fastest:
            check(fastest[path] <= rate, f"{path}: a segment of {fastest[path]:.0f} b/s, BANDWIDTH={rate}")
    check_pairs(server, case)
    check_clip(server, case)


def check_pairs(server, case):
    """Any pictures with any sound, as filters bring them together."""
    playlists = hls_urls(server, case.name, "ts/")
    for video in (path for path, kind in playlists.items() if kind == "video"):
        for sound in (path.rsplit("/", 1)[1] for path, kind in playlists.items() if kind == "audio"):
            path = video.replace(".m3u8", f"-{sound}")
            for run in transport_runs(server, path):
                transport.check_transport(run, path, case.independent, case.holes)


def transport_key_frames(film):
    """Every entry of an I-frame playlist is the key frame of the segments, and decodes by itself to the picture of that time."""
    case, server = film.case, film.server
    carried = [(stream, data) for stream, data in film.as_coded if stream.codec in TRANSPORT_CODECS]
    multivariant = film.text("ts/index.m3u8")
    listed = re.findall(r'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=(\d+),.*RESOLUTION=(\d+)x(\d+),.*URI="([^"]*)"', multivariant)
    videos = {path for path, kind in hls_urls(server, case.name, "ts/").items() if kind == "video"}
    alone = {re.sub(r"-a\d+\.m3u8$", ".m3u8", path) for path in videos}
    for path in alone:
        runs = transport_runs(server, path)
        for run in runs:
            transport.check_transport(run, path, case.independent, case.holes)
        entries = transport_runs(server, path.replace(".m3u8", ".iframes.m3u8"))[0]
        rates = [int(rate) for rate, _, _, uri in listed if f"/vod/{case.name}/ts/{uri}" == path.replace(".m3u8", ".iframes.m3u8")]
        check_equal(len(rates), 1 if len(entries) > 1 else 0, f"{path}: lines of key frames")
        fastest = max(len(data) * 8 / seconds for _, seconds, data in entries)
        check(not rates or fastest <= rates[0], f"{path}: a key frame of {fastest:.0f} b/s, BANDWIDTH={rates}")
        whole = sum(seconds for _, seconds, _ in transport_lists(server, path))
        check(abs(sum(seconds for _, seconds, _ in entries) - whole) < 0.1 or case.holes, f"{path}: key frames and segments do not last as long")
        # Of pictures that are all key, one in a while; and the last picture of all begins no segment.
        times = transport.check_key_frames(entries, [segment for run in runs for segment in run], path, case.name not in ("key-frames-only", "rendition-a-picture-longer"))
        # As many as tell a mistake: each takes a process.
        for at in sorted({0, 1, len(entries) // 2, len(entries) - 1} & set(range(len(entries)))):
            frame = film.directory / "frame.ts"
            frame.write_bytes(entries[at][2])
            [stream] = streams(frame, zero_s=10)
            [have] = decode([stream])
            check_equal(len(have), 1, f"{entries[at][0]}: pictures")
            check(abs(have[0][0] - times[at] / 90_000) < TIME_TOLERANCE_S, f"{entries[at][0]}: shown at {have[0][0]} s")
            same = [(want_s, digest) for other, data in carried if other.kind == "video" and other.key() == stream.key()
                    for want_s, digest in data if abs(want_s + case.early_s - film.epoch - have[0][0]) < TIME_TOLERANCE_S]
            check((case.hidden and have[0][0] < LEAD_IN_S) or have[0][1] in {digest for _, digest in same},
                  f"{entries[at][0]}: not the source's picture of {have[0][0]} s")


def transport_lists(server, path, query=""):
    """[(uri, seconds, is a gap)] of a media playlist."""
    found = re.findall(r"#EXTINF:([\d.]+),[^\n]*\n((?:#[^\n]*\n)*)([^#\n]+)", server.text(path + query))
    return [(uri, float(seconds), "#EXT-X-GAP" in tags) for seconds, tags, uri in found]


def check_clip(server, case):
    """A clip is a run of the whole: the same segments for as long, over every playlist alike."""
    query = "?start=2.5&end=4.5"
    answer = server.fetch(f"/vod/{case.name}/ts/index.m3u8{query}")
    if answer.status != 200:
        check_equal(server.fetch(f"/vod/{case.name}/index.m3u8{query}").status, answer.status, "a clip of CMAF segments")
        return
    text = answer.body.decode()
    links = re.findall(r'URI="([^"]*)"', text) + re.findall(r"^[^#\n]+$", text, re.M)
    for link in links:
        # Without a query where the clip is all there is.
        path, mark, found = link.partition("?")
        path = f"/vod/{case.name}/ts/{path}"
        part, whole = transport_lists(server, path, mark + found), transport_lists(server, path)
        uris = [row[0] for row in whole]
        at = uris.index(part[0][0])
        check_equal([row[0] for row in part], uris[at:at + len(part)], f"{path}: segments of the clip")
        # The first begins with the clip, where pictures do; sound up to a frame later.
        for number, (one, other) in enumerate(list(zip(part, whole[at:]))[:-1]):
            check(abs(one[1] - other[1]) < (0.05 if number == 0 else 0.00001) and one[2] == other[2], f"{path}: {one} is {other} of the whole")


LONG_S, LOOP_S, WORDS_S = 97_000, 1_000, 95_432


def transport_clock_wraps(server, library, directory):
    """27 hours: time stamps and clock of 33 bits begin anew near the end, and nothing else does."""
    begin_case(server, library, "wrapping-film", directory)
    loop, film, words = (directory / name for name in ("loop.mp4", "film.mp4", "words.vtt"))
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=32x32:rate=1:duration={LOOP_S}", *sound(8000, 1, LOOP_S), "-t", LOOP_S,
           *x264(4, 2, preset="ultrafast"), "-c:a", "aac", "-b:a", "8k", loop)
    (directory / "list").write_text(f"file {loop}\n" * (LONG_S // LOOP_S))
    ffmpeg("-f", "concat", "-safe", "0", "-i", directory / "list", "-c", "copy", film)
    clock = lambda seconds: f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.000"
    words.write_text(f"WEBVTT\n\n{clock(WORDS_S)} --> {clock(WORDS_S + 6)}\nhere\n")
    import_asset(library, "wrapping-film", [film, words])
    wait_until(lambda: server.fetch("/vod/wrapping-film/index.m3u8").status == 200, PATIENCE_S, "the new asset")
    wrap_s = (transport.WRAP - transport.OFFSET) / 90_000
    window = lambda rows: [row for row in rows if wrap_s - 30 < row[1] < wrap_s + 30]
    fetched = lambda rows: [(uri, seconds, server.fetch(uri).body) for uri, _, seconds in rows]
    [muxed] = [path for path, kind in hls_urls(server, "wrapping-film", "ts/").items() if kind == "video"]
    base = muxed.rsplit("/", 1)[0]
    near = window(begins_of(server, muxed))
    segments = fetched(near)
    pictures, sounds = transport.check_transport(segments, muxed, begin=near[0][1])
    first, last = (transport.Segment(uri, data) for uri, _, data in (segments[0], segments[-1]))
    check(first.clocks[0][1] > last.clocks[-1][1], "the clock did not begin anew")
    near = window(begins_of(server, f"{base}/v1.m3u8"))
    alone = fetched(near)
    check_equal(transport.check_transport(alone, "v1", begin=near[0][1]), (pictures, 0), "pictures by themselves")
    key_frames = window(begins_of(server, f"{base}/v1.iframes.m3u8"))
    transport.check_key_frames(fetched(key_frames), alone, "v1", False)
    near = window(begins_of(server, f"{base}/a1.m3u8"))
    frames = transport.check_packed(fetched(near), "a1", "aac", begin=near[0][1])
    near = window(begins_of(server, f"{base}/t1.m3u8"))
    texts = fetched(near)
    check(all(b"X-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n" in data for _, _, data in texts), "text has no time stamp")
    shown = [begin for (_, begin, _), (_, _, data) in zip(near, texts) if b"here" in data]
    check(len(shown) >= 2 and shown[0] <= WORDS_S < shown[1] and shown[-1] < WORDS_S + 6, f"words are in the segments from {shown} s on")
    return f"{pictures} pictures, {sounds} PES packets and {frames} frames of sound"


def begins_of(server, path):
    """[(uri, begin, seconds)] of a media playlist."""
    found, at = [], 0.0
    for uri, seconds, _ in transport_lists(server, path):
        found.append((path.rsplit("/", 1)[0] + "/" + uri, at, seconds))
        at += seconds
    return found


def transport_key(case, stream):
    """ADTS does not signal SBR, it is found in the sound; the source here signals it and has none."""
    kind, codec, (first, second) = stream.key()
    return kind, codec, (first // 2, second) if kind == "audio" and r"mp4a\.40\.5" in case.codecs else (first, second)


def transport_runs(server, path):
    """[(uri, seconds, bytes)] of a media playlist, a list for each stretch without gaps."""
    runs = [[]]
    for uri, seconds, is_gap in transport_lists(server, path):
        if is_gap:
            runs.append([])
            continue
        uri = path.rsplit("/", 1)[0] + "/" + uri
        answer = server.fetch(uri)
        check_equal(answer.status, 200, f"GET {uri}")
        runs[-1].append((uri, seconds, answer.body))
    return [run for run in runs if run]
