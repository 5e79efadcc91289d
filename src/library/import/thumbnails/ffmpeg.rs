//! ffmpeg, which decodes pictures and encodes sheets: fed through one pipe and read from another, so that it opens no file,
//! and ends when the import does, however that ends.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::Error;
use crate::media::jpeg::{Image, Splitter};
use crate::media::thumbnails::Grid;
use crate::media::track::VideoRange;

/// One that was found on PATH, and can do what is needed.
pub struct Ffmpeg {
    /// Whether it can show HDR as it is meant on a display that has none.
    pub maps_tones: bool,
    program: PathBuf,
    patience: Patience,
}

/// In turns.
#[derive(Clone, Copy)]
struct Patience {
    /// For what it can do.
    answer: u32,
    /// In which it neither takes nor gives a byte.
    still: u32,
    /// After it closed its output.
    end: u32,
}

const PROGRAM: &str = "ffmpeg";
const FILTERS: [&str; 6] = ["fps", "scale", "setsar", "tile", "tpad", "trim"];
/// `zscale` takes a build with zimg.
const TONE_FILTERS: [&str; 2] = ["zscale", "tonemap"];

/// How often is looked whether somebody wants the import to stop.
const TURN: Duration = Duration::from_millis(TURN_MILLIS as u64);
const TURN_MILLIS: u16 = 100;
/// It ends soon after its output does, and is looked at more often then.
const STEPS_OF_A_TURN: u32 = 20;
/// Half a minute to say what it can do; five minutes in which it decodes the largest pictures between two key frames; and ten
/// seconds to end.
const PATIENCE: Patience = Patience { answer: 300, still: 3_000, end: 100 };
/// A list of filters is a tenth of this.
const LIST_BYTES_MAX: u64 = 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// As much of what it says is kept: the end.
const WORDS_BYTES_MAX: usize = 16 * 1024;
const REASON_CHARS_MAX: usize = 300;

impl Ffmpeg {
    /// `turn` as in [`Ffmpeg::run`].
    pub fn find<E: From<Error>>(turn: &mut dyn FnMut() -> Result<(), E>) -> Result<Ffmpeg, E> {
        Ffmpeg::at(PROGRAM.into(), PATIENCE, turn)
    }

    fn at<E: From<Error>>(
        program: PathBuf,
        patience: Patience,
        turn: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<Ffmpeg, E> {
        let mut command = Command::new(&program);
        command.args(["-hide_banner", "-filters"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let stopped = AtomicBool::new(false);
        let mut child = Running::start(command, &stopped)?;
        let (Some(stdout), Some(stderr)) = (child.process.stdout.take(), child.process.stderr.take()) else {
            return Err(Error::start(io::Error::other("no pipes")).into());
        };
        let (status, list, words) = thread::scope(|scope| {
            let mut child = child;
            let listening = scope.spawn(|| words(&mut Pipe { end: stderr, stopped: &stopped }));
            let reading = scope.spawn(|| {
                let mut list = Vec::new();
                let read = Pipe { end: stdout, stopped: &stopped }.take(LIST_BYTES_MAX).read_to_end(&mut list);
                read.map(|_| list).unwrap_or_default()
            });
            let status = child.end(patience.answer, || Error::Silent, turn)?;
            let ended = |panic| std::panic::resume_unwind(panic);
            Ok::<_, E>((status, reading.join().unwrap_or_else(ended), listening.join().unwrap_or_default()))
        })?;
        if !status.success() {
            return Err(failed(status, &words).into());
        }
        let list = String::from_utf8_lossy(&list);
        let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        match FILTERS.into_iter().find(|filter| !names.contains(filter)) {
            Some(filter) => Err(Error::Filter { filter }.into()),
            None => {
                let maps_tones = TONE_FILTERS.iter().all(|filter| names.contains(filter));
                Ok(Ffmpeg { maps_tones, program, patience })
            }
        }
    }

    /// `feed` writes a fragmented MP4, in a thread of its own; `take` is given the sheets as they come. `turn` is called now
    /// and then, and says how much was written by then; what it refuses ends it all.
    pub fn run<E: From<Error>>(
        &self,
        grid: &Grid,
        range: VideoRange,
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
        take: &mut dyn FnMut(Image) -> Result<(), E>,
        turn: &mut dyn FnMut() -> Result<u64, E>,
    ) -> Result<(), E> {
        let mut command = Command::new(&self.program);
        command.args(arguments(grid, range, self.maps_tones)).env("AV_LOG_FORCE_NOCOLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the import, which ends it then.
        command.process_group(0);
        let stopped = AtomicBool::new(false);
        let mut child = Running::start(command, &stopped)?;
        let pipes = (child.process.stdin.take(), child.process.stdout.take(), child.process.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Error::start(io::Error::other("no pipes")).into());
        };
        // Only this end: a pipe has a description for each.
        let nonblocking = fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from);
        nonblocking.map_err(Error::Start)?;
        let mut stdin = Pipe { end: stdin, stopped: &stopped };
        let (mut stdout, mut stderr) =
            (Pipe { end: stdout, stopped: &stopped }, Pipe { end: stderr, stopped: &stopped });
        thread::scope(|scope| {
            // Here, so that an early end kills it before the threads are waited for.
            let mut child = child;
            let feeding = scope.spawn(move || {
                // That ffmpeg takes no more is an error of the write, and no reason to end the process.
                let mut broken_pipe = SigSet::empty();
                broken_pipe.add(Signal::SIGPIPE);
                broken_pipe.thread_block().map_err(io::Error::from)?;
                feed(&mut stdin)
            });
            let listening = scope.spawn(move || words(&mut stderr));
            let (send, pieces) = sync_channel::<Vec<u8>>(1);
            scope.spawn(move || {
                let mut buffer = vec![0; READ_BYTES];
                while let Ok(len @ 1..) = stdout.read(&mut buffer) {
                    if send.send(buffer[..len].to_vec()).is_err() {
                        break;
                    }
                }
            });
            let mut splitter = Splitter::default();
            let (mut written, mut still) = (0, 0);
            loop {
                let piece = pieces.recv_timeout(TURN);
                let now = turn()?;
                still = if now == written && piece.is_err() { still + 1 } else { 0 };
                written = now;
                match piece {
                    Ok(piece) => splitter.push(&piece),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) if still >= self.patience.still => return Err(Error::Stalled.into()),
                    Err(RecvTimeoutError::Timeout) => {}
                }
                while let Some(image) = splitter.image().map_err(Error::Output)? {
                    take(image)?;
                }
            }
            let status = child.end(self.patience.end, || Error::Lingers, &mut || turn().map(drop))?;
            let words = listening.join().unwrap_or_default();
            let fed = feeding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match fed {
                // It says itself why it took no more.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Read(error).into()),
                _ if !status.success() => Err(failed(status, &words).into()),
                _ if splitter.is_inside() => Err(Error::Unfinished.into()),
                _ => Ok(()),
            }
        })
    }
}

/// Killed with the value, and with it what it started: ffmpeg may be a script that runs the real one. What outlives even that
/// holds nobody up, as no pipe is waited for any more.
struct Running<'s> {
    process: Child,
    /// Tells the threads at the pipes that nothing more comes.
    stopped: &'s AtomicBool,
}

impl Running<'_> {
    fn start(mut command: Command, stopped: &AtomicBool) -> Result<Running<'_>, Error> {
        Ok(Running { process: command.spawn().map_err(Error::start)?, stopped })
    }

    /// Waits until it ends, for so many turns. What it started then ends with it.
    fn end<E: From<Error>>(
        &mut self,
        turns: u32,
        late: fn() -> Error,
        turn: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<ExitStatus, E> {
        let mut steps = 0;
        while self.is_running() {
            if steps % STEPS_OF_A_TURN == 0 {
                turn()?;
            }
            if steps / STEPS_OF_A_TURN >= turns {
                return Err(late().into());
            }
            steps += 1;
            thread::sleep(TURN / STEPS_OF_A_TURN);
        }
        Ok(self.kill().map_err(Error::Start)?)
    }

    /// Leaves it to be waited for: until then its number, and that of its group, is nobody else's.
    fn is_running(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.id()), flags) == Ok(WaitStatus::StillAlive)
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap_or(i32::MAX))
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        if !self.stopped.swap(true, Ordering::Relaxed) {
            // It has not been waited for: below, and nowhere else.
            let _ = killpg(self.id(), Signal::SIGKILL);
        }
        self.process.wait()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// An end of a pipe, that is waited at until somebody says that there is nothing to wait for; what is there is still read.
struct Pipe<'s, T> {
    end: T,
    stopped: &'s AtomicBool,
}

impl<T: AsFd> Pipe<'_, T> {
    /// `false`: it was stopped.
    fn wait(&self, what: PollFlags) -> io::Result<bool> {
        loop {
            let stopped = self.stopped.load(Ordering::Relaxed);
            let timeout = if stopped { PollTimeout::ZERO } else { TURN_MILLIS.into() };
            match poll(&mut [PollFd::new(self.end.as_fd(), what)], timeout) {
                Ok(0) if stopped => return Ok(false),
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<T: AsFd + Read> Read for Pipe<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.wait(PollFlags::POLLIN)? { self.end.read(buffer) } else { Ok(0) }
    }
}

impl<T: AsFd + Write> Write for Pipe<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if !self.wait(PollFlags::POLLOUT)? {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match self.end.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.flush()
    }
}

/// The end of what it says.
fn words(stderr: &mut dyn Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 4_096]);
    while let Ok(len @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..len]);
        if kept.len() > 2 * WORDS_BYTES_MAX {
            kept.drain(..kept.len() - WORDS_BYTES_MAX);
        }
    }
    kept
}

fn failed(status: ExitStatus, words: &[u8]) -> Error {
    let words = String::from_utf8_lossy(words);
    let last = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let reason = last.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect();
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or(0)),
    };
    Error::Failed { ended, reason }
}

fn arguments(grid: &Grid, range: VideoRange, maps_tones: bool) -> Vec<String> {
    let sheets = grid.sheets().to_string();
    let filters = filters(grid, range, maps_tones);
    [
        // Times as they are in the track: the first picture need not be shown at 0. Pictures that differ in size from others
        // are scaled like them, and do not begin the count anew.
        &["-hide_banner", "-nostdin", "-loglevel", "error", "-copyts", "-reinit_filter", "0"][..],
        &["-protocol_whitelist", "pipe", "-f", "mov", "-i", "pipe:0", "-map", "0:v:0", "-vf", &filters],
        &["-frames:v", &sheets, "-c:v", "mjpeg", "-q:v", "4", "-flags", "bitexact", "-f", "image2pipe", "pipe:1"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

/// One picture for each thumbnail: the last that is shown in its time, or the one before again. Then its size and colours,
/// those of JFIF: all of the range, and the matrix of ITU-R BT.601. The last picture is there until the last sheet is full.
fn filters(grid: &Grid, range: VideoRange, maps_tones: bool) -> String {
    let Grid { width, height, columns, rows, count, .. } = grid;
    let millis = grid.interval.as_millis();
    let transfer = match range {
        VideoRange::Sdr => None,
        VideoRange::Hlg => Some("arib-std-b67"),
        VideoRange::Pq => Some("smpte2084"),
    };
    let colours = match transfer.filter(|_| maps_tones) {
        None => format!("scale={width}:{height}:out_color_matrix=bt601:out_range=full"),
        // What the bit stream says of its colours may be less than what the track says.
        Some(transfer) => format!(
            "scale={width}:{height},\
             setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc,\
             zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=bt709,\
             tonemap=tonemap=hable:desat=0,zscale=transfer=bt709:matrix=470bg:range=full"
        ),
    };
    format!(
        "fps=fps=1000/{millis}:start_time=0:round=down:eof_action=pass,{colours},format=yuvj420p,setsar=1,\
         tpad=stop=-1:stop_mode=clone,trim=end_frame={count},tile={columns}x{rows}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hdr_is_mapped_and_only_where_that_is_possible() {
        let grid =
            Grid { width: 320, height: 180, columns: 3, rows: 6, interval: Duration::from_millis(2_500), count: 20 };
        let sdr = "fps=fps=1000/2500:start_time=0:round=down:eof_action=pass,\
                   scale=320:180:out_color_matrix=bt601:out_range=full,format=yuvj420p,setsar=1,\
                   tpad=stop=-1:stop_mode=clone,trim=end_frame=20,tile=3x6";
        assert_eq!(filters(&grid, VideoRange::Sdr, true), sdr);
        assert_eq!(filters(&grid, VideoRange::Pq, false), sdr);
        for (range, transfer) in [(VideoRange::Pq, "smpte2084"), (VideoRange::Hlg, "arib-std-b67")] {
            let filters = filters(&grid, range, true);
            assert!(filters.contains(&format!("color_trc={transfer}")) && filters.contains("tonemap"), "{filters}");
        }
        assert!(arguments(&grid, VideoRange::Sdr, true).windows(2).any(|pair| pair == ["-frames:v", "2"]));
    }

    /// Whether a process runs still.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with(['Z', 'X']))
    }

    /// Scripts in the place of ffmpeg that do not end, or leave somebody behind who holds the pipes: nothing waits for them,
    /// and those of its group are killed.
    #[test]
    fn nothing_holds_an_import_up() {
        let directory = tempfile::tempdir().unwrap();
        let (program, pid) = (directory.path().join("ffmpeg"), directory.path().join("pid"));
        let grid = Grid { width: 32, height: 18, columns: 1, rows: 1, interval: Duration::from_secs(1), count: 1 };
        let patience = Patience { answer: 10, still: 10, end: 10 };
        let has_all = "for filter in fps scale setsar tile tpad trim; do echo \" T.. $filter V->V x\"; done";
        for (script, is_found, is_killed, want) in [
            ("sleep 60 & echo $! > PID; wait", false, true, "did not say within half a minute"),
            ("sleep 60 & echo $! > PID; exec >&- 2>&-; wait", false, true, "did not say within half a minute"),
            ("sleep 60 & echo $! > PID; exec yes", false, true, "signal 13"),
            ("setsid sleep 60 & echo $! > PID; exit 3", false, false, "exit status 3"),
            ("sleep 60 >&- & echo $! > PID; exec >&-; wait", true, true, "closed its output and did not end"),
            ("sleep 60 >&- & echo $! > PID; exec >&- <&-; wait", true, true, "closed its output and did not end"),
            ("sleep 60 & echo $! > PID; wait", true, true, "did nothing"),
            ("sleep 60 & echo $! > PID", true, true, "did nothing"),
            ("setsid sleep 60 & echo $! > PID", true, false, "did nothing"),
            ("setsid sleep 60 >&- & echo $! > PID; exit 4", true, false, "exit status 4"),
        ] {
            let script = script.replace("PID", pid.to_str().unwrap());
            let script = match is_found {
                false => script,
                true => format!("case $2 in -filters) {has_all}; exit;; esac; {script}"),
            };
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mut permissions = program.metadata().unwrap().permissions();
            std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
            std::fs::set_permissions(&program, permissions).unwrap();
            let find = || Ffmpeg::at::<Error>(program.clone(), patience, &mut || Ok(()));
            // A test beside this one that just forks has it open to write for a moment.
            let is_busy = |found: &Result<Ffmpeg, Error>| matches!(found, Err(Error::Start(error)) if error.kind() == io::ErrorKind::ExecutableFileBusy);
            let found = (0..100).map(|_| find()).find(|found| !is_busy(found)).unwrap();
            assert_eq!(found.is_ok(), is_found, "{script}");
            let ran = found.and_then(|ffmpeg| {
                let feed = |pipe: &mut dyn Write| pipe.write_all(&vec![0; 1 << 20]);
                ffmpeg.run::<Error>(&grid, VideoRange::Sdr, feed, &mut |_| Ok(()), &mut || Ok(0))
            });
            let error = ran.unwrap_err().to_string();
            assert!(error.contains(want), "{script}: {error}");
            let left = std::fs::read_to_string(&pid).unwrap();
            // Being killed takes a moment.
            for _ in 0..500 {
                if is_killed && runs(&left) {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            // Who leaves the group late is killed with it.
            assert!(!(is_killed && runs(&left)), "{script}");
            let _ = nix::sys::signal::kill(Pid::from_raw(left.trim().parse().unwrap()), Signal::SIGKILL);
        }
    }

    #[test]
    fn the_reason_is_the_last_line() {
        let words = b"first\n[mov @ 0x1] moov atom not found\n\npipe:0: Invalid data\x1b found\n \n";
        let error = failed(ExitStatus::from_raw(1 << 8), words).to_string();
        assert_eq!(error, "thumbnails: ffmpeg failed (exit status 1): pipe:0: Invalid data found");
        let error = failed(ExitStatus::from_raw(9), b"").to_string();
        assert_eq!(error, "thumbnails: ffmpeg failed (signal 9)");
    }
}
