"""What the test programs share: the binary under test, a running server, ffmpeg, a raw HTTP client and a table runner.

Environment: HEADWATER_BIN names the binary (default: the release build), HEADWATER_TEST_MEDIA a directory of additional
inputs (default: ../shared/media beside the checkout; used when it is there).
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import fnmatch
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "tests" / "media"
SAMPLE_FILES = [SAMPLES / name for name in (
    "video-360p.mp4", "video-270p.mp4", "video-180p.mp4", "audio-en.mp4", "audio-de.mp4",
    "subtitles.en.vtt", "subtitles.de.vtt")]
BINARY = pathlib.Path(os.environ.get("HEADWATER_BIN", ROOT / "target" / "release" / "headwater"))
TIMEOUT_S = 120
# A wait ends when what is waited for is there: a busy machine may take as long as it likes.
PATIENCE_S = 60


def additional_media():
    """Files of the additional input directory, none when there is no such directory."""
    directory = pathlib.Path(os.environ.get("HEADWATER_TEST_MEDIA", ROOT.parent / "shared" / "media"))
    return sorted(directory.glob("*.mp4")) if directory.is_dir() else []


class Failed(AssertionError):
    """A check that did not hold. Its text is the whole report."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def check_equal(found, expected, what):
    check(found == expected, f"{what}: found {found!r}, expected {expected!r}")


# Programs.

def run(*command, timeout=TIMEOUT_S, text=True, ok=True, **options):
    """Runs a program to its end; its output is captured. `ok`: anything but exit 0 is a failure."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=text, timeout=timeout,
                          stdin=subprocess.DEVNULL, **options)
    if ok and done.returncode != 0:
        stderr = done.stderr if text else done.stderr.decode(errors="replace")
        raise Failed(f"{' '.join(str(word) for word in command)}: exit {done.returncode}: {stderr.strip()[-1500:]}")
    return done


def headwater(*arguments, **options):
    return run(BINARY, *arguments, **options)


def import_asset(library, name, files, *options, **settings):
    return headwater("import", "--library", library, "--asset", name, *options, *files, **settings)


def begin_case(server, library, name, directory):
    """Makes the directory of a case that imports an asset of that name; what an attempt before this one left goes first."""
    if directory.exists():
        shutil.rmtree(directory)
        headwater("remove", "--library", library, "--asset", name, ok=False)
        wait_until(lambda: server.fetch(f"/vod/{name}/index.m3u8").status == 404, PATIENCE_S, "the asset is gone")
    directory.mkdir()


def multiply_asset(library, name, count):
    """`count` more assets with an asset's content, as hard links: what is measured is the server's work, not the disk's.
    Their names."""
    first = pathlib.Path(library) / name
    current = os.readlink(first / "current")
    version = pathlib.Path(current).name
    files = os.listdir(first / version)
    names = [f"{name}-{number:05}" for number in range(1, count + 1)]
    for other in (first.with_name(other) for other in names):
        os.makedirs(other / version)
        for file in files:
            os.link(first / version / file, other / version / file)
        os.symlink(current, other / "current")
    return names


def ffmpeg(*arguments, **options):
    return run("ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments, **options)


def ffprobe(source, *arguments):
    """One dictionary per line of ffprobe's compact output."""
    done = run("ffprobe", "-loglevel", "error", *arguments, "-of", "compact", source)
    rows = []
    for line in done.stdout.splitlines():
        fields = [field.split("=", 1) for field in line.split("|") if "=" in field]
        if fields:
            rows.append({key: value for key, value in fields})
    return rows


@contextlib.contextmanager
def scratch(prefix="headwater-test-"):
    directory = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


# The server.

_taken_ports = set()


def free_port():
    """A port nothing listens on now; never the same one twice in a process. It is none of those that the kernel gives to clients
    (ip_local_port_range): no connection of another test takes it before it is listened to."""
    while True:
        # Not of the generator that tests seed.
        port = random.SystemRandom().randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _taken_ports:
                _taken_ports.add(port)
                return port


class Server:
    """`headwater serve` with a configuration of its own, on free ports of 127.0.0.1."""

    def __init__(self, directory, shelf, workers="1", segment="4s", grace="24h", prefix=(), server="", library="", extra=""):
        """`prefix`: a program that runs the server in its place (taskset, prlimit); `server`, `library`: more lines for
        these tables; `extra`: more tables."""
        self.library = pathlib.Path(shelf)
        self.directory = pathlib.Path(directory)
        self.port, self.admin_port = free_port(), free_port()
        self.config = self.directory / f"headwater-{self.port}.toml"
        self.log = self.directory / f"headwater-{self.port}.log"
        workers = workers if str(workers).isdigit() else f'"{workers}"'
        state = self.directory / f"state-{self.port}"
        state.mkdir()
        self.config.write_text(
            f'[server]\nworkers = {workers}\nstate = "{state}"\n{server}\n'
            f'[[listen]]\naddress = "127.0.0.1:{self.port}"\n'
            f'[admin]\naddress = "127.0.0.1:{self.admin_port}"\n'
            f'[library]\npath = "{self.library}"\nsegment = "{segment}"\ngrace = "{grace}"\n{library}\n'
            f"{extra}\n")
        self.prefix, self.process, self.ready_s = list(prefix), None, None

    def __enter__(self):
        started = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, str(BINARY), "serve", "--config", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = started + PATIENCE_S
        while True:
            if self.process.poll() is not None:
                raise Failed(f"serve ended with exit {self.process.returncode}: {self.log_text()[-1500:]}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.__exit__()
                raise Failed(f"serve was not ready after {PATIENCE_S} s: {self.log_text()[-1500:]}")
            time.sleep(0.005)
        self.ready_s = time.monotonic() - started
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=PATIENCE_S / 2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def fetch(self, path, headers=(), method="GET"):
        """One request on a connection of its own."""
        with Client(self.port) as client:
            return client.request(path, headers, method)

    def text(self, path):
        answer = self.fetch(path)
        check_equal(answer.status, 200, f"GET {path}")
        return answer.body.decode()

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def memory_bytes(self):
        """Anonymous resident memory: mapped files are the page cache's."""
        return memory_bytes(self.process.pid)


def memory_bytes(pid, field="RssAnon"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M).group(1)) * 1024


def wait_until(condition, timeout_s, what, every_s=0.02):
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        check(time.monotonic() < deadline, f"{what}: not within {timeout_s} s")
        time.sleep(every_s)


# HTTP on a raw socket, so that tests see exactly what is on the wire.

@dataclasses.dataclass
class Answer:
    version: str
    status: int
    reason: str
    fields: list  # (lower-case name, value), as sent
    body: bytes
    head: bytes

    def field(self, name):
        """The value of a field that is there once; None when it is not there."""
        values = [value for key, value in self.fields if key == name.lower()]
        check(len(values) <= 1, f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None


class Client:
    """A connection. Reads are bounded in time; answers are parsed strictly."""

    def __init__(self, port, timeout_s=PATIENCE_S / 2, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _receive(self):
        data = self.socket.recv(1 << 18)
        self.pending += data
        return bool(data)

    def closed(self):
        """Whether the server closes: true at the end of the stream or on a reset, false after the timeout."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def read(self, method="GET"):
        """The next answer. None when the connection ends before its first byte."""
        while b"\r\n\r\n" not in self.pending:
            if not self._receive():
                check(self.pending == b"", f"the connection ended inside an answer's head: {self.pending[:200]!r}")
                return None
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status_line = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) (.*)", lines[0])
        check(status_line, f"status line {lines[0]!r}")
        fields = []
        for line in lines[1:]:
            field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
            check(field, f"field line {line!r}")
            fields.append((field.group(1).lower(), field.group(2)))
        answer = Answer(status_line.group(1), int(status_line.group(2)), status_line.group(3), fields, b"", head)
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        length = answer.field("content-length")
        if length is None:
            if answer.field("transfer-encoding") is not None:
                check_equal(answer.field("transfer-encoding"), "chunked", "transfer-encoding")
                answer.body = b"".join(self._chunks())
                return answer
            while self._receive():
                pass
            answer.body, self.pending = self.pending, b""
            return answer
        while len(self.pending) < int(length):
            check(self._receive(), f"the body ended after {len(self.pending)} of {length} bytes")
        answer.body, self.pending = self.pending[:int(length)], self.pending[int(length):]
        return answer

    def _chunks(self):
        """The chunks of a body as they come (RFC 9112 §7.1); no extensions, no trailers."""
        def take(wanted):
            while len(self.pending) < wanted:
                check(self._receive(), "the connection ended inside a chunked body")
            taken, self.pending = self.pending[:wanted], self.pending[wanted:]
            return taken
        while True:
            while b"\r\n" not in self.pending:
                check(self._receive(), "the connection ended inside a chunked body")
            line, self.pending = self.pending.split(b"\r\n", 1)
            check(re.fullmatch(rb"[0-9a-fA-F]+", line), f"chunk size {line!r}")
            chunk = take(int(line, 16))
            check_equal(take(2), b"\r\n", "the end of a chunk")
            if not chunk:
                return
            yield chunk

    def request(self, path, headers=(), method="GET"):
        self.send(request_head(path, headers, method))
        return self.read(method)


def request_head(path, headers=(), method="GET", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: test"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# Manifests, as far as tests need them.

def hls_urls(server, asset, below=""):
    """Media playlists of an asset: absolute path → kind ('video', 'audio', 'text'). `below`: "ts/" for transport streams."""
    base = f"/vod/{asset}/{below}"
    found = {}
    text = server.text(base + "index.m3u8")
    for kind, uri in re.findall(r'#EXT-X-MEDIA:TYPE=(\w+).*?URI="([^"]+)"', text):
        found[base + uri] = {"AUDIO": "audio", "SUBTITLES": "text"}[kind]
    variants = re.findall(r"#EXT-X-STREAM-INF:([^\n]*)\n([^#\n]+)", text)
    for attributes, uri in variants:
        found.setdefault(base + uri, "video" if "RESOLUTION" in attributes else "audio")
    return found


def hls_segments(server, playlist):
    """(initialisation path, [(segment path, seconds)]) of a media playlist."""
    text = server.text(playlist)
    base = playlist.rsplit("/", 1)[0] + "/"
    start = re.search(r'#EXT-X-MAP:URI="([^"]+)"', text)
    segments = [(base + uri, float(seconds)) for seconds, uri in re.findall(r"#EXTINF:([\d.]+),[^\n]*\n([^#\n]+)", text)]
    return (base + start.group(1) if start else None), segments


# The runner.

# More failures than these are no accident of the machine.
SECOND_ATTEMPTS_MAX = 8


def main(cases, description, jobs=1, alone=(), once=(), end=None):
    """Runs `cases`, a list of (name, function), and ends the program: 0 when all passed. Names on the command line
    choose (with * and ?). Those named in `alone` measure, and run after the others, one by one. `end` is called when all have run.

    A machine of two cores that encoders, clients and the server share may stand still for longer than an encoder's clock or a
    client's patience allows, and then a case fails in which nothing is wrong. So what failed is run once more when all others have
    ended, with nothing beside it: it has passed if it passes then, and is named at the end as one that needed two attempts. What
    fails twice has failed, and so have all of them when they are more than a few. Cases named in `once` look for what is lost at
    instants of chance: what such a one has found counts, whether or not it finds it again."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", help="run only these (* and ? match)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--jobs", type=int, default=jobs, help="how many at a time (default %(default)s)")
    arguments = parser.parse_args()
    chosen = [case for case in cases
              if not arguments.names or any(fnmatch.fnmatch(case[0], name) for name in arguments.names)]
    if arguments.list:
        print("\n".join(name for name, _ in chosen))
        sys.exit(0)
    if not chosen:
        sys.exit("no such case")
    if not BINARY.exists():
        sys.exit(f"{BINARY} is not there: cargo build --release")
    program = pathlib.Path(sys.argv[0]).name

    def passes(case, attempt=""):
        name, function = case
        started = time.monotonic()
        try:
            note = function()
            failure = None
        except Failed as error:
            failure, note = str(error), None
        except Exception:
            failure, note = traceback.format_exc().strip(), None
        seconds = time.monotonic() - started
        print(f"{'FAIL' if failure is not None else 'ok  '} {program} {name} ({seconds:.1f} s{attempt})"
              + (f": {note}" if note else "") + ("\n     " + failure.replace("\n", "\n     ") if failure else ""), flush=True)
        return failure is None

    together = [case for case in chosen if case[0] not in alone]
    by_themselves = [case for case in chosen if case[0] in alone]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        failed = [case for case, good in zip(together, pool.map(passes, together)) if not good]
    failed += [case for case in by_themselves if not passes(case)]
    twice = []
    if len(failed) <= SECOND_ATTEMPTS_MAX:
        twice = [case for case in failed if case[0] not in once and passes(case, ", second attempt")]
    if end:
        end()
    for name, _ in twice:
        print(f"passed at the second attempt: {program} {name}")
    failures = len(failed) - len(twice)
    print(f"{program}: {len(chosen) - failures} passed, {failures} failed", flush=True)
    sys.exit(1 if failures else 0)
