//! ffmpeg, which decodes pictures and encodes sheets: fed through one pipe and read from another, so that it opens no file,
//! and ends when the import does, however that ends.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use super::Error;
use crate::media::jpeg::{Image, Splitter};
use crate::media::thumbnails::Grid;
use crate::media::track::VideoRange;

/// One that was found on PATH, and can do what is needed.
pub struct Ffmpeg {
    /// Whether it can show HDR as it is meant on a display that has none.
    pub maps_tones: bool,
}

const PROGRAM: &str = "ffmpeg";
const FILTERS: [&str; 6] = ["fps", "scale", "setsar", "tile", "tpad", "trim"];
/// `zscale` takes a build with zimg.
const TONE_FILTERS: [&str; 2] = ["zscale", "tonemap"];

/// How often is looked whether somebody wants the import to stop.
const TURN: Duration = Duration::from_millis(100);
/// Turns in which ffmpeg neither takes nor gives a byte before it is given up: five minutes, in which it decodes the largest
/// pictures between two key frames.
const STALLED_TURNS: u32 = 3_000;
const READ_BYTES: usize = 64 * 1024;
/// As much of what it says is kept: the end.
const WORDS_BYTES_MAX: usize = 16 * 1024;
const REASON_CHARS_MAX: usize = 300;

impl Ffmpeg {
    pub fn find() -> Result<Ffmpeg, Error> {
        let mut command = Command::new(PROGRAM);
        let output = command.args(["-hide_banner", "-filters"]).stdin(Stdio::null()).output().map_err(Error::start)?;
        if !output.status.success() {
            return Err(failed(output.status, &output.stderr));
        }
        let list = String::from_utf8_lossy(&output.stdout);
        let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        match FILTERS.into_iter().find(|filter| !names.contains(filter)) {
            Some(filter) => Err(Error::Filter { filter }),
            None => Ok(Ffmpeg { maps_tones: TONE_FILTERS.iter().all(|filter| names.contains(filter)) }),
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
        let mut command = Command::new(PROGRAM);
        command.args(arguments(grid, range, self.maps_tones)).env("AV_LOG_FORCE_NOCOLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the import, which ends it then.
        command.process_group(0);
        let mut child = Running(command.spawn().map_err(Error::start)?);
        let pipes = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
            return Err(Error::start(io::Error::other("no pipes")).into());
        };
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
                    Err(RecvTimeoutError::Timeout) if still >= STALLED_TURNS => return Err(Error::Stalled.into()),
                    Err(RecvTimeoutError::Timeout) => {}
                }
                while let Some(image) = splitter.image().map_err(Error::Output)? {
                    take(image)?;
                }
            }
            let status = child.0.wait().map_err(Error::start)?;
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

/// Killed with the value, if it still runs, and with it what it started: ffmpeg may be a script that runs the real one.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody else waits for it, so the number is its own until it has been waited for.
        if let Ok(None) = self.0.try_wait() {
            let _ = i32::try_from(self.0.id()).map(|id| killpg(Pid::from_raw(id), Signal::SIGKILL));
            let _ = self.0.wait();
        }
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

    #[test]
    fn the_reason_is_the_last_line() {
        let words = b"first\n[mov @ 0x1] moov atom not found\n\npipe:0: Invalid data\x1b found\n \n";
        let error = failed(ExitStatus::from_raw(1 << 8), words).to_string();
        assert_eq!(error, "thumbnails: ffmpeg failed (exit status 1): pipe:0: Invalid data found");
        let error = failed(ExitStatus::from_raw(9), b"").to_string();
        assert_eq!(error, "thumbnails: ffmpeg failed (signal 9)");
    }
}
