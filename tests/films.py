"""The films that tests/oracle compares: every codec, frame rate, layout and container, each made by ffmpeg when it is needed."""

import dataclasses
import typing

import mp4
from support import SAMPLE_FILES, additional_media, ffmpeg

SECONDS = 6


def picture(rate="25", size="320x180", seconds=SECONDS):

    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


def sound(sample_rate=48000, channels=2, seconds=SECONDS, base=200):
    """A sweep: no two stretches are alike, so that content gives the position away."""
    one = f"0.4*sin(2*PI*t*({base}+60*t))"
    return ["-f", "lavfi", "-i", f"aevalsrc={'|'.join([one] + [f'0.5*{one}'] * (channels - 1))}:s={sample_rate}:d={seconds}"
            + {6: ":c=5.1", 2: ":c=stereo", 1: ":c=mono"}[channels]]


def x264(gop=50, bframes=3, more="", preset="veryfast"):
    return ["-c:v", "libx264", "-preset", preset, "-bf", str(bframes), "-g", str(gop), "-keyint_min", str(gop),
            "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-x264-params", f"threads=1:{more}" if more else "threads=1"]


def x265(gop=50, more=""):
    return ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-pix_fmt", "yuv420p", "-x265-params",
            f"log-level=none:keyint={gop}:min-keyint={gop}:scenecut=0:bframes=3:b-adapt=0:open-gop=0:pools=1:frame-threads=1" + (f":{more}" if more else "")]


AAC = ["-c:a", "aac", "-b:a", "96k"]
X264 = x264()
VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-b:v", "300k", "-c:a", "libopus"]


def encoded(*arguments, name="source.mp4", then=None):
    """A maker of one file; `then` rewrites its bytes."""
    def make(directory):
        path = directory / name
        ffmpeg(*arguments, path)
        if then:
            path.write_bytes(then(path.read_bytes()))
        return [path]
    return make


def ladder(directory):
    """Three aligned renditions and two languages interleaved in one file."""
    path = directory / "ladder.mp4"
    ffmpeg(*picture(size="640x360"), *sound(), *sound(base=500), "-filter_complex",
           "[0]split=3[a][b][c];[b]scale=480:270[b];[c]scale=320:180[c]",
           "-map", "[a]", "-map", "[b]", "-map", "[c]", "-map", "1", "-map", "2", *X264, *AAC,
           "-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=jpn", path)
    return [path]


def renditions(directory):
    """A ladder of separate files."""
    files = []
    for size in ("640x360", "320x180"):
        files.append(directory / f"{size}.mp4")
        ffmpeg(*picture(size=size), *X264, files[-1])
    files.append(directory / "audio.mp4")
    ffmpeg(*sound(), *AAC, files[-1])
    return files


def cut_by_copy(start, *more, video=X264):
    """A stretch cut out without encoding: pictures before the cut are kept for decoding, behind an edit list."""
    def make(directory):
        whole, path = directory / "whole.mp4", directory / "cut.mp4"
        ffmpeg(*picture(seconds=10), *sound(seconds=10), *video, *AAC, whole)
        ffmpeg("-ss", start, "-i", whole, "-t", "6", "-c", "copy", *more, path)
        return [path]
    return make


def late_audio(directory):
    path = directory / "late.mp4"
    ffmpeg(*picture(), "-itsoffset", "0.5", *sound(seconds=SECONDS - 0.5), *X264, *AAC, path)
    return [path]


def pair(first, second):
    """Two renditions in files of their own, each encoded by its own arguments."""
    def make(directory):
        files = [directory / "first.mp4", directory / "second.mp4"]
        for file, arguments in zip(files, (first, second)):
            ffmpeg(*arguments, file)
        return files
    return make


def two_renditions(directory, name):
    """With two languages of sound, in one file."""
    path = directory / name
    ffmpeg(*picture(size="320x180", seconds=4), *sound(seconds=4), *sound(base=500, seconds=4),
           "-filter_complex", "[0]split=2[a][b];[b]scale=160:90[b]", "-map", "[a]", "-map", "[b]", "-map", "1", "-map", "2", *X264, *AAC,
           "-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=jpn", path)
    return path


def hls(*options):
    """A directory that ffmpeg wrote, each track by itself. HLS hides no priming, and neither does the source."""
    def make(directory):
        source, out = two_renditions(directory, "source.ts"), directory / "hls"
        out.mkdir()
        ffmpeg("-i", source, "-map", "0", "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod", *options,
               "-master_pl_name", "master.m3u8", "-var_stream_map",
               "v:0,agroup:a v:1,agroup:a a:0,agroup:a,language:fra,name:fr a:1,agroup:a,language:jpn,name:ja",
               out / "%v.m3u8")
        return [out], [source]
    return make


def dash(*options):
    def make(directory):
        source, out = two_renditions(directory, "source.mp4"), directory / "dash"
        out.mkdir()
        ffmpeg("-i", source, "-map", "0", "-c", "copy", "-f", "dash", "-seg_duration", "2", *options, out / "a.mpd")
        return [out], [source]
    return make


# Key frames and frames of sound begin together every 16 pictures, or 30 frames: what is cut there has no seam.
SEAMLESS = (*picture(size="320x180", seconds=6.4), *sound(seconds=6.4), *x264(16), *AAC)


def hls_with_discontinuity(directory):
    """The second half has a clock of its own."""
    source, out = directory / "source.ts", directory / "hls"
    out.mkdir()
    ffmpeg(*SEAMLESS, source)
    ffmpeg("-i", source, "-map", "0", "-c", "copy", "-f", "segment", "-segment_times", "3.2", "-reset_timestamps", "1", directory / "half%d.ts")
    for half in (0, 1):
        ffmpeg("-i", directory / f"half{half}.ts", "-c", "copy", "-f", "hls", "-hls_time", "1.28", "-hls_playlist_type", "vod", "-hls_flags",
               "append_list", "-master_pl_name", "master.m3u8", "-var_stream_map", "v:0,agroup:a a:0,agroup:a", out / "%v.m3u8")
    return [out], [source]


def dash_of_two_periods(directory):
    """The second has other names, and media that begins before it and counts from elsewhere; the first has more than is shown."""
    source, out = directory / "source.mp4", directory / "dash"
    ffmpeg(*SEAMLESS, source)
    periods = ""
    for name, offset, shown, segments in (("one", 0, 'duration="PT3.2S"', range(1, 4)), ("two", 100, 'start="PT3.2S"', range(3, 7))):
        (out / name).mkdir(parents=True)
        ffmpeg("-i", source, "-c", "copy", "-output_ts_offset", offset, "-f", "dash", "-seg_duration", "1.28", "-format_options",
               "avoid_negative_ts=disabled:movie_timescale=48000", "-media_seg_name", "$RepresentationID$-$Number$.m4s", "-init_seg_name", "$RepresentationID$.mp4",
               out / name / "a.mpd")
        periods += f"<Period {shown}><BaseURL>{name}/</BaseURL>"
        for kind, mime in enumerate(("video", "audio")):
            there = [f"{kind}-{number}.m4s" for number in segments if (out / name / f"{kind}-{number}.m4s").exists()]
            periods += (f'<AdaptationSet mimeType="{mime}/mp4"><Representation id="{name}{kind}" bandwidth="1"><SegmentList timescale="10" '
                        f'presentationTimeOffset="{1032 if offset else 0}"><Initialization sourceURL="{kind}.mp4"/>'
                        + "".join(f'<SegmentURL media="{name}"/>' for name in there) + "</SegmentList></Representation></AdaptationSet>")
        periods += "</Period>"
    (out / "a.mpd").write_text(f'<MPD type="static" mediaPresentationDuration="PT6.4S">{periods}</MPD>')
    return [out], [source]


def dash_of_webm(directory):
    """Copying moves times by what Opus hides: what counts is what is in the segments."""
    source, out = directory / "source.webm", directory / "dash"
    out.mkdir()
    ffmpeg(*picture(seconds=4), *sound(seconds=4), *VP9, source)
    ffmpeg("-i", source, "-c", "copy", "-f", "dash", "-dash_segment_type", "webm", "-seg_duration", "2", out / "a.mpd")
    files = [directory / f"{stream}.webm" for stream in (0, 1)]
    for stream, file in enumerate(files):
        parts = [out / f"init-stream{stream}.webm", *sorted(out.glob(f"chunk-stream{stream}-*.webm"))]
        file.write_bytes(b"".join(part.read_bytes() for part in parts))
    return [out], files


def dash_of_webm_files(directory):
    """Each Representation is a file."""
    source, out = directory / "source.webm", directory / "dash"
    out.mkdir()
    ffmpeg(*picture(seconds=4), *sound(seconds=4), *VP9, source)
    for kind in "va":
        ffmpeg("-i", source, "-map", f"0:{kind}", "-c", "copy", out / f"{kind}.webm")
    sets = "".join(f'<AdaptationSet mimeType="{mime}/webm"><Representation id="{kind}" bandwidth="1"><BaseURL>{kind}.webm</BaseURL>'
                   f'<SegmentBase indexRange="0-1"/></Representation></AdaptationSet>' for kind, mime in (("v", "video"), ("a", "audio")))
    (out / "a.mpd").write_text(f'<MPD type="static" mediaPresentationDuration="PT4S"><Period>{sets}</Period></MPD>')
    return [out], [out / f"{kind}.webm" for kind in "va"]


def smil(directory):
    """Renditions in files of their own, with the languages that those do not say."""
    source = two_renditions(directory, "source.mp4")
    for name, track in (("high", "v:0"), ("low", "v:1"), ("one", "a:0"), ("two", "a:1")):
        ffmpeg("-i", source, "-map", f"0:{track}", "-c", "copy", "-metadata:s", "language=und", directory / f"{name}.mp4")
    manifest = directory / "film.smil"
    manifest.write_text('''<smil title=""><body><switch>
<video src="mp4:high.mp4" height="180"/><video src="mp4:low.mp4" height="90"/>
<audio src="mp4:one.mp4" system-language="fra"/><audio src="mp4:two.mp4" system-language="jpn"/>
</switch></body></smil>''')
    return [manifest], [source]


def server_manifest(directory):
    """As Smooth Streaming's tools write it, with the files that belong to it."""
    source = two_renditions(directory, "source.mp4")
    files = [directory / name for name in ("high.ismv", "low.ismv", "two.isma")]
    for file, tracks in zip(files, (("v:0", "a:0"), ("v:1",), ("a:1",))):
        ffmpeg("-i", source, *(word for track in tracks for word in ("-map", f"0:{track}")), "-c", "copy", "-f", "ismv", file)
    manifest = directory / "film.ism"
    manifest.write_text('''<?xml version="1.0" encoding="utf-8"?>
<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head><meta name="clientManifestRelativePath" content="film.ismc"/></head><body><switch>
<video src="high.ismv" systemBitrate="300000"><param name="trackID" value="1" valuetype="data"/></video>
<video src="low.ismv" systemBitrate="100000"><param name="trackID" value="1" valuetype="data"/></video>
<audio src="high.ismv" systemBitrate="96000" systemLanguage="fra"><param name="trackID" value="2" valuetype="data"/></audio>
<audio src="two.isma" systemBitrate="96000" systemLanguage="jpn"><param name="trackID" value="1" valuetype="data"/></audio>
</switch></body></smil>''')
    return [manifest], [source]


def wrapping(directory):
    """A transport stream whose clock starts over in the middle, in packets of 192 bytes; ffmpeg reads it as it was before."""
    plain, path = directory / "plain.ts", directory / "wrapping.m2ts"
    ffmpeg(*picture(seconds=4), *sound(channels=6, seconds=4), *X264, "-c:a", "ac3", plain)
    ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", "95441.2", "-mpegts_m2ts_mode", "1", path)
    return [path], [plain]


def turned(directory):
    """As a phone held upright writes it: coded lying, shown standing."""
    lying, path = directory / "lying.mp4", directory / "turned.mp4"
    ffmpeg(*picture(seconds=4), *X264, lying)
    ffmpeg("-i", lying, "-c", "copy", "-metadata:s:v", "rotate=90", path)
    return [path]


def late_and_short_audio(directory):
    path = directory / "audio.mp4"
    ffmpeg(*picture(), "-itsoffset", "0.3", *sound(seconds=3), *X264, *AAC, path)
    return [path]


def subtitled(directory):
    """Subtitles of every kind: in files, and as tracks of MP4."""
    def words(language, first):
        path = directory / f"words.{language}.srt"
        path.write_text("".join(f"{number + 1}\n00:00:0{number},{first:03} --> 00:00:0{number + 1},250\n"
                                f"<i>{language}</i> {number} & more\nof it\n\n" for number in range(5)))
        return path
    english, german, french = words("en", 100), words("de", 200), words("fr", 300)
    path, ttml = directory / "film.mp4", german.with_suffix(".ttml")
    ffmpeg("-i", german, ttml)
    ffmpeg(*picture(), "-itsoffset", "0.5", "-i", french, *X264, "-map", "0", "-map", "1", "-c:s", "mov_text", "-metadata:s:s", "language=fra", path)
    return [path, english, ttml]


# How films come.
KINDS = ("MP4", "MOV", "fragmented MP4", "MPEG-TS", "Matroska", "WebM", "HLS of MPEG-TS", "HLS of fMP4", "DASH of fMP4", "DASH of WebM", "SMIL", "ism")


@dataclasses.dataclass
class Case:
    name: str
    make: typing.Callable
    # Regular expressions; each must match one whole entry of some CODECS attribute, and none may be left over.
    codecs: tuple
    text: int = 0
    # Open GOPs: segments are not independent and must not be called so.
    independent: bool = True
    # Pictures missing before the end: how much longer the last one is then shown.
    gap_s: float = 0.1
    # An edit that begins inside a group of pictures: those before it are there, for next to no time.
    hidden: bool = False
    # An edit that begins inside a picture: ffmpeg presents the next one at once, and so all of them earlier by this.
    early_s: float = 0
    # Sound decoded from another packet on: what a decoder makes up (noise substitution) is not the same.
    exact: bool = True
    # Stretches without pictures or sound.
    holes: bool = False
    options: tuple = ()
    # Of [`KINDS`]: how what is imported comes.
    kind: str = "MP4"


AVC_MAIN = r"avc1\.4[Dd]40[0-9A-Fa-f]{2}"
AVC_HIGH = r"avc1\.6400[0-9A-Fa-f]{2}"
LC = r"mp4a\.40\.2"

CASES = [
    # Video codecs.
    Case("h264-baseline", encoded(*picture(), *x264(bframes=0, more="cabac=0:8x8dct=0:weightp=0"), "-profile:v", "baseline"), (r"avc1\.42[Cc]0[0-9A-Fa-f]{2}",)),
    Case("h264-main-b-frames", encoded(*picture(), *sound(), *X264, "-profile:v", "main", *AAC), (AVC_MAIN, LC)),
    Case("h264-b-pyramid", encoded(*picture(), *sound(), *x264(more="b-pyramid=normal:bframes=5:b-adapt=0"), *AAC), (AVC_HIGH, LC)),
    Case("h264-high10", encoded(*picture(), *X264, "-pix_fmt", "yuv420p10le"), (r"avc1\.6[Ee]00[0-9A-Fa-f]{2}",)),
    Case("h264-open-gop", encoded(*picture(), *sound(), *x264(more="open-gop=1:b-adapt=0"), *AAC), (AVC_HIGH, LC), independent=False),
    Case("hevc", encoded(*picture(), *sound(), *x265(), *AAC), (r"hvc1\.1\.6\.L60\.90", LC)),
    Case("hevc-cra", encoded(*picture(), *sound(), *x265(more="open-gop=1"), *AAC), (r"hvc1\.1\.6\.L60\.90", LC), independent=False),
    Case("hevc-hev1", encoded(*picture(), *x265(), "-tag:v", "hev1"), (r"h(ev|vc)1\.1\.6\.L60\.90",)),
    Case("hevc-hdr10", encoded(*picture(), *x265(more="colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1"), "-pix_fmt", "yuv420p10le"), (r"hvc1\.2\.4\.L60\.90",)),
    Case("av1", encoded(*picture(), *sound(), "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-g", "50", "-b:v", "300k", "-c:a", "libopus", "-b:a", "96k"), (r"av01\.0\.00M\.08(\..*)?", "(?i:opus)")),
    Case("av1-10-bit", encoded(*picture(), "-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-pix_fmt", "yuv420p10le"), (r"av01\.0\.00M\.10(\..*)?",)),
    Case("vp9", encoded(*picture(), *sound(), "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-b:v", "300k", "-c:a", "libopus"), (r"vp09\.00\.\d\d\.08(\..*)?", "(?i:opus)")),
    Case("vp9-10-bit", encoded(*picture(), "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-pix_fmt", "yuv420p10le"), (r"vp09\.02\.\d\d\.10(\..*)?",)),
    # Audio codecs.
    Case("aac-44100", encoded(*picture(), *sound(44100), *X264, *AAC), (AVC_HIGH, LC)),
    Case("aac-5.1", encoded(*picture(), *sound(channels=6), *X264, *AAC), (AVC_HIGH, LC)),
    Case("aac-mono", encoded(*sound(channels=1), *AAC, name="source.m4a"), (LC,)),
    Case("he-aac", encoded(*picture(), *sound(24000), *X264, *AAC, then=mp4.with_sbr_signalled), (AVC_HIGH, r"mp4a\.40\.5")),
    Case("ac-3", encoded(*picture(), *sound(channels=6), *X264, "-c:a", "ac3"), (AVC_HIGH, "ac-3")),
    Case("e-ac-3", encoded(*picture(), *sound(channels=6), *X264, "-c:a", "eac3"), (AVC_HIGH, "ec-3")),
    Case("opus", encoded(*picture(), *sound(), *X264, "-c:a", "libopus"), (AVC_HIGH, "(?i:opus)")),
    Case("opus-5.1", encoded(*sound(channels=6), "-c:a", "libopus", "-mapping_family", "1"), ("(?i:opus)",)),
    Case("flac", encoded(*picture(), *sound(44100), *X264, "-c:a", "flac", "-strict", "-2"), (AVC_HIGH, "fLaC")),
    Case("flac-24-bit", encoded(*sound(), "-c:a", "flac", "-sample_fmt", "s32", "-strict", "-2"), ("fLaC",)),
    Case("mp3", encoded(*picture(), *sound(44100), *X264, "-c:a", "libmp3lame"), (AVC_HIGH, r"(?i:mp4a\.(6B|40\.34))")),
    # Frame rates.
    Case("23.976", encoded(*picture("24000/1001"), *sound(), *x264(48), *AAC), (AVC_HIGH, LC)),
    Case("29.97", encoded(*picture("30000/1001"), *sound(44100), *x264(60), *AAC), (AVC_HIGH, LC)),
    Case("59.94", encoded(*picture("60000/1001"), *sound(), *x264(120), *AAC), (AVC_HIGH, LC)),
    Case("variable-rate", encoded(*picture("50"), *sound(), "-vf", "select='not(eq(mod(n,7),3))*gt(mod(n,31),6)'", "-fps_mode", "vfr", *x264(1000), "-force_key_frames", "expr:gte(t,n_forced*2)", *AAC), (AVC_HIGH, LC)),
    # Containers and layouts.
    Case("moov-first", encoded(*picture(), *sound(), *X264, *AAC, "-movflags", "+faststart"), (AVC_HIGH, LC)),
    Case("quicktime", encoded(*picture(), *sound(), *X264, *AAC, name="source.mov"), (AVC_HIGH, LC), kind="MOV"),
    Case("64-bit", encoded(*picture(), *sound(), *X264, *AAC, then=mp4.with_64_bit_offsets), (AVC_HIGH, LC)),
    Case("fragmented", encoded(*picture(), *sound(), *X264, *AAC, "-movflags", "+frag_keyframe+empty_moov+default_base_moof"), (AVC_HIGH, LC), holes=True, kind="fragmented MP4"),
    Case("fragmented-edit-list", encoded(*picture(), *sound(), *X264, *AAC, "-movflags", "+frag_keyframe+empty_moov+delay_moov"), (AVC_HIGH, LC), kind="fragmented MP4"),
    Case("fragmented-across-key-frames", encoded(*picture(), *sound(), *X264, *AAC, "-movflags", "+empty_moov", "-frag_duration", "700000"), (AVC_HIGH, LC), holes=True, kind="fragmented MP4"),
    Case("cmaf", encoded(*picture(), *X264, "-movflags", "+cmaf+frag_keyframe", name="video.mp4"), (AVC_HIGH,), kind="fragmented MP4"),
    Case("negative-offsets", encoded(*picture(), *sound(), *X264, *AAC, "-movflags", "+negative_cts_offsets"), (AVC_HIGH, LC)),
    Case("one-chunk-a-track", encoded(*picture(), *sound(), *X264, *AAC, "-max_interleave_delta", "0", "-chunk_duration", "100000000"), (AVC_HIGH, LC)),
    # Timelines.
    Case("cut-at-key-frame", cut_by_copy("2"), (AVC_HIGH, LC), gap_s=0.15),
    Case("cut-between-key-frames", cut_by_copy("1.32"), (AVC_HIGH, LC), gap_s=0.15, hidden=True, exact=False),
    Case("cut-inside-a-picture", cut_by_copy("1.3"), (AVC_HIGH, LC), gap_s=0.15, hidden=True, early_s=0.02, exact=False),
    Case("cut-coarse-timescale", cut_by_copy("3.32", "-video_track_timescale", "25"), (AVC_HIGH, LC), gap_s=0.15, hidden=True, exact=False),
    Case("cut-hevc", cut_by_copy("3.32", "-tag:v", "hvc1", video=x265()), (r"hvc1\.1\.6\.L60\.90", LC), gap_s=0.15, hidden=True, exact=False),
    Case("late-audio", late_audio, (AVC_HIGH, LC)),
    Case("short-audio", encoded(*picture(), *sound(seconds=3.3), *X264, *AAC), (AVC_HIGH, LC)),
    Case("short-video", encoded(*picture(seconds=3), *sound(), *X264, *AAC), (AVC_HIGH, LC)),
    Case("audio-only", encoded(*sound(), *AAC, name="source.m4a"), (LC,)),
    Case("video-only", encoded(*picture(), *X264), (AVC_HIGH,)),
    Case("late-and-short-audio", late_and_short_audio, (AVC_HIGH, LC)),
    Case("late-video", encoded("-itsoffset", "3.3", *picture(), *sound(seconds=10), *X264, *AAC), (AVC_HIGH, LC)),
    Case("no-edit-lists", encoded(*picture(), *sound(), *X264, *AAC, then=lambda data: data.replace(b"edts", b"free")), (AVC_HIGH, LC)),
    Case("single-picture", encoded(*picture(seconds=0.04), *X264), (AVC_HIGH,)),
    Case("long-stills", encoded(*picture(seconds=30), *sound(seconds=30), "-vf", "select='lt(t,3)+gt(t,13)*lt(t,16)+gt(t,26)'", "-fps_mode", "vfr", *X264, *AAC), (AVC_HIGH, LC)),
    Case("key-frames-only", encoded(*picture(), *sound(), *x264(1, 0), *AAC), (r"avc1\.6410[0-9A-Fa-f]{2}", LC)),
    Case("many-ticks", encoded(*picture("30000/1001"), *sound(44100), *x264(60), *AAC, "-video_track_timescale", "10000000"), (AVC_HIGH, LC)),
    Case("lost-fragment", encoded(*picture(seconds=8), *sound(seconds=8), *X264, *AAC, "-movflags", "+frag_keyframe+empty_moov+default_base_moof", then=mp4.without_fragment(1)), (AVC_HIGH, LC), holes=True, kind="fragmented MP4"),
    Case("time-jumps", encoded(*picture(seconds=8), *sound(seconds=8), *X264, *AAC, "-movflags", "+frag_keyframe+empty_moov+default_base_moof", then=mp4.with_later_fragments(2, 30)), (AVC_HIGH, LC), holes=True, kind="fragmented MP4"),
    # Pictures that are not shown as they are coded.
    Case("turned", turned, (AVC_HIGH,)),
    Case("anamorphic", encoded(*picture(size="360x288", seconds=4), "-vf", "setsar=16/15", *X264), (AVC_HIGH,)),
    # Other containers.
    Case("transport-stream", encoded(*picture("30000/1001", seconds=3), *sound(44100, seconds=3), *x264(60), *AAC, name="source.ts"), (AVC_HIGH, LC), kind="MPEG-TS"),
    Case("transport-stream-wraps", wrapping, (AVC_HIGH, "ac-3"), kind="MPEG-TS"),
    Case("transport-stream-hevc", encoded(*picture("24000/1001", seconds=3), *sound(44100, seconds=3), *x265(48), "-c:a", "libmp3lame", name="source.ts"), (r"hvc1\.1\.6\.L60\.90", r"(?i:mp4a\.(6B|40\.34))"), kind="MPEG-TS"),
    Case("matroska", encoded(*picture("30000/1001", seconds=3), *sound(44100, seconds=3), *x264(60), *AAC, name="source.mkv"), (AVC_HIGH, LC), kind="Matroska"),
    Case("matroska-hevc", encoded(*picture("24000/1001", seconds=3), *sound(channels=6, seconds=3), *x265(48), "-c:a", "ac3", "-metadata:s:a", "language=fra", name="source.mkv"), (r"hvc1\.1\.6\.L60\.90", "ac-3"), kind="Matroska"),
    Case("matroska-unknown-sizes", encoded(*picture(seconds=3), *sound(44100, seconds=3), *X264, "-c:a", "libmp3lame", "-live", "1", name="source.mkv"), (AVC_HIGH, r"(?i:mp4a\.(6B|40\.34))"), kind="Matroska"),
    Case("webm-vp9", encoded(*picture(seconds=3), *sound(seconds=3), "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-b:v", "300k", "-c:a", "libopus", name="source.webm"), (r"vp09\.00\.\d\d\.08(\..*)?", "(?i:opus)"), kind="WebM"),
    Case("webm-av1", encoded(*picture(seconds=3), *sound(seconds=3), "-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-c:a", "libopus", name="source.webm"), (r"av01\.0\.00M\.08(\..*)?", "(?i:opus)"), kind="WebM"),
    Case("hls-of-transport-streams", hls(), (AVC_HIGH, LC), kind="HLS of MPEG-TS"),
    Case("hls-of-ranges-of-files", hls("-bsf:a", "aac_adtstoasc", "-hls_segment_type", "fmp4", "-hls_flags", "single_file"), (AVC_HIGH, LC), kind="HLS of fMP4"),
    Case("hls-of-fragments", hls("-bsf:a", "aac_adtstoasc", "-hls_segment_type", "fmp4"), (AVC_HIGH, LC), kind="HLS of fMP4"),
    Case("dash-segments", dash(), (AVC_HIGH, LC), kind="DASH of fMP4"),
    Case("dash-ranges-of-files", dash("-single_file", "1"), (AVC_HIGH, LC), kind="DASH of fMP4"),
    Case("hls-with-discontinuity", hls_with_discontinuity, (AVC_HIGH, LC), kind="HLS of MPEG-TS"),
    Case("dash-of-two-periods", dash_of_two_periods, (AVC_HIGH, LC), kind="DASH of fMP4"),
    Case("dash-segments-of-webm", dash_of_webm, (r"vp09\.00\.\d\d\.08(\..*)?", "(?i:opus)"), kind="DASH of WebM"),
    Case("dash-files-of-webm", dash_of_webm_files, (r"vp09\.00\.\d\d\.08(\..*)?", "(?i:opus)"), kind="DASH of WebM"),
    Case("smil", smil, (AVC_HIGH, LC), kind="SMIL"),
    Case("server-manifest", server_manifest, (AVC_HIGH, LC), kind="ism"),
    # Presentations of several tracks.
    Case("renditions-with-other-edit-lists", pair((*picture(size="640x360"), *X264), (*picture(), *x264(bframes=0))), (AVC_HIGH,)),
    Case("rendition-of-half-the-rate", pair((*picture("50", size="640x360"), *x264(100)), (*picture(), *X264)), (AVC_HIGH,)),
    Case("rendition-a-picture-longer", pair((*picture(size="640x360", seconds=6.04), *X264), (*picture(), *X264)), (AVC_HIGH,)),
    Case("ladder-in-one-file", ladder, (AVC_HIGH, LC)),
    Case("ladder-in-files", renditions, (AVC_HIGH, LC)),
    Case("sample", lambda _: SAMPLE_FILES, (AVC_MAIN, LC), text=2),
    Case("subtitles-of-every-kind", subtitled, (AVC_HIGH,), text=3),
] + [Case(path.stem, lambda _, path=path: [path], (AVC_MAIN, LC)) for path in additional_media()]
