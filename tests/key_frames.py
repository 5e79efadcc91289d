"""Key frames by themselves: what an I-frame playlist of a channel lists, beside the playlist of the same track."""

import re

import transport
from support import check, check_equal, run

# What of a segment's lines an I-frame playlist says as well.
SHARED = ("#EXTINF", "#EXT-X-DISCONTINUITY", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-MAP")


def entries(text):
    """Number to (lines before it, URI, name of the initialisation segment that holds there)."""
    number = int(re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text).group(1))
    found, lines, header = {}, [], None
    for line in text.splitlines():
        if line.startswith("#EXT-X-MAP"):
            header = re.search(r'URI="([^"]+)"', line).group(1)
        if line.startswith((*SHARED, "#EXT-X-GAP")) and not line.startswith("#EXT-X-DISCONTINUITY-SEQUENCE"):
            lines.append(line)
        elif line and not line.startswith("#"):
            found[number] = (lines, line, header)
            number, lines = number + 1, []
    return found


def decoded(path):
    """Presentation time in the track's ticks to the checksum of the picture."""
    done = run("ffmpeg", "-v", "error", "-nostdin", "-copyts", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough",
               "-enc_time_base", "-1", "-f", "framemd5", "-")
    check_equal(done.stderr.strip(), "", f"what ffmpeg complains of in {path}")
    rows = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    pictures = {int(row[2]): row[5].strip() for row in rows}
    check_equal(len(pictures), len(rows), f"{path}: pictures at one time")
    return pictures


def check_listed(origin, track, directory, channel="news", query=""):
    """Every entry is the picture that its segment begins with, and nothing else; what has none is a gap. Their numbers."""
    base = f"/live/{channel}/"
    text, beside = (origin.text(f"{base}{track}{kind}.m3u8{query}") for kind in (".iframes", ""))
    check("#EXT-X-I-FRAMES-ONLY\n" in text, text)
    check(not re.search("EXT-X-PART|SERVER-CONTROL|PRELOAD|SKIP|RENDITION-REPORT", text), text)
    check_equal(re.findall("#EXT-X-TARGETDURATION:.*", text), re.findall("#EXT-X-TARGETDURATION:.*", beside), "target")
    ours, theirs = entries(text), entries(beside)
    common = sorted(ours.keys() & theirs.keys())
    check(common and len(common) + 2 >= len(ours), f"{list(ours)} beside {list(theirs)}")
    by_header = {}
    for number in common:
        (lines, uri, header), (said, segment, other) = ours[number], theirs[number]
        is_gap, is_missing = "#EXT-X-GAP" in lines, "#EXT-X-GAP" in said
        # What comes first says in which format it is, and when, whatever it says later.
        if number > common[0]:
            shared = [[line for line in both if line.startswith(SHARED)] for both in (lines, said)]
            check(is_gap or shared[0] == shared[1], f"{number}: {shared}")
        if is_missing:
            check(is_gap, f"{number} is a gap")
        if is_gap:
            continue
        check_equal(header, other, f"initialisation segment of {number}")
        answers = [origin.fetch(base + name) for name in (uri, segment)]
        check_equal([answer.status for answer in answers], [200, 200], uri)
        check("immutable" in answers[0].field("Cache-Control"), answers[0].field("Cache-Control"))
        check(len(answers[0].body) < len(answers[1].body), f"{uri} is as long as the segment")
        by_header.setdefault(header, []).append((number, *(answer.body for answer in answers)))
    pictures = 0
    for header, rows in by_header.items():
        begin = origin.fetch(base + header).body
        paths = [directory / f"{kind}.mp4" for kind in ("keys", "segments")]
        for at, path in enumerate(paths):
            path.write_bytes(b"".join([begin, *(row[1 + at] for row in rows)]))
        keys, all_of_them = (decoded(path) for path in paths)
        check_equal(len(keys), len(rows), f"{header}: pictures of {[row[0] for row in rows]}")
        differ = {time for time, picture in keys.items() if all_of_them.get(time) != picture}
        check(not differ, f"{header}: other pictures than in the segments at {differ} of {sorted(keys)}")
        # One by one.
        for number, body, _ in rows[-2:]:
            paths[0].write_bytes(begin + body)
            check_equal(len(decoded(paths[0])), 1, f"pictures of {number}")
        pictures += len(rows)
    return [number for number in common if "#EXT-X-GAP" not in ours[number][0]]


def check_transport(origin, track, channel="news"):
    """The same of transport streams, against the segments of the pictures alone."""
    base = f"/live/{channel}/ts/"
    text, beside = (origin.text(f"{base}{track}{kind}.m3u8") for kind in (".iframes", ""))
    check("#EXT-X-I-FRAMES-ONLY\n" in text and "#EXT-X-MAP" not in text, text)
    ours, theirs = entries(text), entries(beside)
    numbers = [number for number in sorted(ours.keys() & theirs.keys()) if "#EXT-X-GAP" not in ours[number][0]]
    fetched = []
    for listed in (ours, theirs):
        answers = [(listed[number][1], origin.fetch(base + listed[number][1])) for number in numbers]
        for uri, answer in answers:
            check_equal((answer.status, answer.field("Content-Type")), (200, "video/mp2t"), uri)
        fetched.append([(uri, None, answer.body) for uri, answer in answers])
    transport.check_key_frames(*fetched, f"ts/{track}", all_of_them=False)
    return numbers
