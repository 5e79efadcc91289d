"""What ffmpeg decodes of a source and of what is served, and the comparison of both."""

import array
import dataclasses
import re

from support import check, check_equal, ffmpeg, ffprobe, scratch

# Decoded pictures and samples must be the source's; their times may differ by what rounding to another timescale costs.
TIME_TOLERANCE_S = 0.0011
# Pictures that decoding needs and the source hides are shown within this.
LEAD_IN_S = 0.005
# Of key frames that come closer together than this, one is enough for trick play.
CLOSE_S = 0.25


# Tracks, as ffmpeg sees them.

# MP4 has three letters (ISO 639-2/T), manifests the shortest there are (RFC 5646).
LANGUAGES = {"eng": "en", "deu": "de", "fra": "fr", "jpn": "ja"}

@dataclasses.dataclass
class Stream:
    source: str
    index: int
    kind: str
    codec: str
    profile: str
    shape: tuple  # (width, height) or (sample rate, channels)
    language: str
    # Time stamp of presentation time 0.
    zero_s: float = 0
    # Key frames by themselves.
    is_trick: bool = False

    def key(self):
        return self.kind, self.codec, self.shape

    def __str__(self):
        return f"{self.kind} {self.codec} {self.shape[0]}/{self.shape[1]} of {self.source.rsplit('/', 1)[-1]}"


def streams(source, zero_s=0):
    """The tracks of a presentation, but for key frames by themselves."""
    return [stream for stream in every_stream(source, zero_s) if not stream.is_trick]


def every_stream(source, zero_s=0):
    # Enough for every stream of a manifest with many.
    rows = ffprobe(source, "-analyzeduration", "30M", "-probesize", "50M", "-show_entries",
                   "stream=index,codec_type,codec_name,profile,width,height,sample_rate,channels:stream_tags=language,id")
    found = {}
    for row in rows:
        kind = row.get("codec_type")
        if kind not in ("video", "audio"):
            continue
        shape = ("width", "height") if kind == "video" else ("sample_rate", "channels")
        # Key frames for trick play are a set of their own in an MPD, and ffmpeg knows nothing of that. (ffprobe lists streams
        # twice, at first without tags.)
        found[row["index"]] = Stream(str(source), int(row["index"]), kind, row["codec_name"], row.get("profile", ""),
                                     tuple(int(row[key]) for key in shape), LANGUAGES.get(row.get("tag:language"), row.get("tag:language", "und")),
                                     zero_s, row.get("tag:id", "").endswith("-key"))
    return list(found.values())


def decode(wanted, start=0, turned=True):
    """Of each stream, what it presents: [(seconds, digest)] of every decoded picture, or (seconds of the first sample, PCM bytes)
    of everything from `start` on, that is, without priming. In one process, whatever the number of streams and sources.
    `turned`: as pictures are shown, not as they are coded."""
    # ffmpeg 5.1 ends an MPD's streams one packet early when it reads several of them.
    if len(wanted) > 1 and any(stream.source.endswith(".mpd") for stream in wanted):
        return [found for stream in wanted for found in decode([stream], start, turned)]
    sources = sorted({stream.source for stream in wanted})
    with scratch() as directory:
        inputs, filters, outputs = [], [], []
        for source in sources:
            inputs += ["-copyts", *(() if turned else ("-noautorotate",)), "-i", source]
        for number, stream in enumerate(wanted):
            place, times = f"{sources.index(stream.source)}:{stream.index}", directory / f"{number}"
            if stream.kind == "video":
                outputs += ["-map", place, "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framemd5", times]
            else:
                filters.append(f"[{place}]atrim=start={stream.zero_s + start},asplit[pcm{number}][times{number}]")
                outputs += ["-map", f"[pcm{number}]", "-f", "s16le", directory / f"{number}.pcm",
                            "-map", f"[times{number}]", "-f", "framemd5", times]
        ffmpeg(*inputs, *(["-filter_complex", ";".join(filters)] if filters else []), *outputs)
        found = []
        for number, stream in enumerate(wanted):
            text = (directory / f"{number}").read_text()
            numerator, denominator = map(int, re.search(r"#tb 0: (\d+)/(\d+)", text).groups())
            rows = [line.split(",") for line in text.splitlines() if not line.startswith("#")]
            rows = [(int(row[2]) * numerator / denominator - stream.zero_s, row[5].strip()) for row in rows]
            found.append(rows if stream.kind == "video" else (rows[0][0], (directory / f"{number}.pcm").read_bytes()))
        return found


def key_times(source):
    """{stream: seconds of its key frames}, of the packets of a file."""
    times = {}
    for row in ffprobe(source, "-select_streams", "v", "-show_entries", "packet=stream_index,pts_time,flags"):
        if row.get("flags", "").startswith("K") and "D" not in row["flags"]:
            times.setdefault(int(row["stream_index"]), []).append(float(row["pts_time"]))
    return times


# Comparison.

def counterpart(stream, candidates):
    """The one stream of the presentation that was made from a source stream."""
    found = [other for other in candidates if other.key() == stream.key()]
    if len(found) > 1:
        found = [other for other in found if other.language == stream.language]
    check(len(found) == 1, f"{stream}: {len(found)} counterparts among {[str(other) for other in candidates]}")
    return found[0]


def compare_video(want, have, epoch, case, what):
    check(have[0][0] > -TIME_TOLERANCE_S, f"{what}: a frame at {have[0][0]:.4f} s")
    check(case.hidden or len(have) == len(want), f"{what}: {len(have)} decoded frames, expected {len(want)}")
    check(len(have) > len(want) or not case.hidden, f"{what}: {len(have)} decoded frames, of which {len(want)} visible")
    # The hidden ones and the first that is not lie within milliseconds, all others where they are in the source.
    first = len(have) - len(want)
    for have_s, _ in have[:first]:
        check(have_s < LEAD_IN_S, f"{what}: a hidden frame at {have_s:.4f} s")
    for number, ((want_s, want_digest), (have_s, have_digest)) in enumerate(zip(want, have[first:])):
        want_s += case.early_s - epoch
        tolerance = LEAD_IN_S if case.hidden and number == 0 else TIME_TOLERANCE_S
        check(want_digest == have_digest, f"{what}: frame {number} differs from the source's")
        check(abs(want_s - have_s) < tolerance, f"{what}: frame {number} at {have_s:.4f} s, in the source at {want_s:.4f} s")


def unlike(want_pcm, have_pcm, channels, shift):
    """How much two stretches differ, as a share of the first; 1 and more for unrelated ones."""
    want, have = array.array("h", want_pcm)[::channels], array.array("h", have_pcm)[::channels]
    places = range(24_000, min(len(want), len(have)) - 24_000, 7)
    return sum(abs(want[at] - have[at + shift]) for at in places) / sum(abs(want[at]) for at in places)


def compare_audio(want, have, epoch, shape, exact, what):
    rate, channels = shape
    width = 2 * channels
    (want_s, want_pcm), (have_s, have_pcm) = want, have
    if not exact:
        shift = round((want_s - epoch - have_s) * rate)
        differences = {lag: unlike(want_pcm, have_pcm, channels, shift + lag) for lag in (-96, -48, 0, 48, 96)}
        check(differences[0] < 0.1 and min(differences, key=differences.get) == 0, f"{what}: differences by samples late: {differences}")
        return
    probe = len(want_pcm) * 2 // 5 // width * width
    at = have_pcm.find(want_pcm[probe:probe + 1024 * width])
    check(at >= 0 and at % width == 0, f"{what}: the source's samples are not there")
    shift = (at - probe) // width
    # Where content lies in time, in one and the other.
    late_s = have_s + shift / rate - (want_s - epoch)
    check(abs(late_s) < TIME_TOLERANCE_S, f"{what}: content is {late_s * 1000:+.2f} ms off the source's time")
    start = max(0, shift) * width
    overlap = min(len(have_pcm) - start, len(want_pcm) - (start - shift * width))
    check(have_pcm[start:start + overlap] == want_pcm[start - shift * width:][:overlap], f"{what}: samples differ from the source's")
    # The last frame of a lossy codec may be longer than what the source presents of it.
    extra = (len(have_pcm) - len(want_pcm)) // width
    # Time stamps of transport streams and of Smooth Streaming are rounded, and so is where presentation begins.
    rounding = 1 if what.startswith(("ts/", "Smooth Streaming")) else 0
    check(abs(shift) <= rounding and -rounding <= extra < 2048 + rounding, f"{what}: {len(have_pcm) // width} samples, {len(want_pcm) // width} in the source, "
          f"the first {shift} later")


def compare_key_frames(want, keys, have, epoch, case, what):
    """Key frames by themselves are the source's key frames at their times: all of them, or where they come close together, one
    so often; behind the last picture there is nothing to skip to."""
    # One before an edit that begins behind it is what decoding begins with.
    have = [(seconds, digest) for seconds, digest in have if not (case.hidden and seconds < LEAD_IN_S)]
    near = lambda first, second: abs(first - second) < TIME_TOLERANCE_S
    expected = [(seconds + case.early_s - epoch, digest) for seconds, digest in want if any(near(seconds, key) for key in keys)]
    for have_s, have_digest in have:
        digests = [digest for want_s, digest in expected if near(want_s, have_s)]
        check(digests, f"{what}: one at {have_s:.4f} s, in the source at {[round(want_s, 4) for want_s, _ in expected[:20]]}")
        check(have_digest in digests, f"{what}: that at {have_s:.4f} s differs from the source's")
    last_s = want[-1][0] + case.early_s - epoch
    for want_s, _ in expected:
        check(near(want_s, last_s) or any(-TIME_TOLERANCE_S < want_s - have_s < CLOSE_S for have_s, _ in have), f"{what}: that at {want_s:.4f} s is missing")
