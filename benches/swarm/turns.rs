//! Parts of a server in turns with the same at loops: within half a second the same viewers, or as many, get a part from the
//! server, its bytes from a loop that only sends, and its answers from a loop that is asked. How fast the machine is changes
//! from one second to the next, and most of it is in all three.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

use super::audience::{Audience, Channel, Exchange, Figures, Kind};
use super::bare::Sends;
use super::latency::{Both, Latencies};
use super::replay::Replay;
use super::{SMALL_BITS, stream};

/// What the parts of some turns took.
#[derive(Default)]
pub struct Turns {
    pub server: Run,
    pub sends: Latencies,
    pub replay: Run,
    /// Of each turn: the 99th percentile of the server's viewers over that of the sends, and over that of the loop that is asked.
    pub over_sends: Vec<f64>,
    pub over_replay: Vec<f64>,
}

/// Parts that were asked for.
#[derive(Default)]
pub struct Run {
    pub playlists: Latencies,
    pub parts: Latencies,
    pub playlist_bytes: u64,
    pub part_bytes: u64,
    /// CPU time of who answers, and of all who ask, in seconds.
    server: f64,
    viewers: f64,
}

/// After each: what is to be done behind a part is done, and nothing is sent any more.
const QUIET: Duration = Duration::from_millis(50);

impl Turns {
    /// Of an audience that has settled, as many viewers as it has, and so many parts.
    pub fn take(
        audience: &mut Audience<'_>,
        server_seconds: impl Fn() -> Result<f64>,
        exchanges: Vec<Exchange>,
        (viewers, parts): (usize, usize),
    ) -> Result<Turns> {
        let first = audience.take_part(|| {})?;
        let mut sends = Sends::start(viewers, (first.playlist_bytes + first.part_bytes) as usize)?;
        let replay = Replay::start(exchanges)?;
        let (streams, log) = ([stream("video", 1, SMALL_BITS)], replay.log.clone());
        let channel = Channel { name: "watched", streams: &streams, log: &log };
        let mut others = Audience::new(replay.address, vec![channel])?;
        others.admit(Kind::Hls, viewers)?;
        others.rest()?;
        let mut turns = Turns::default();
        for turn in 0..=parts {
            let mut one = Turns::default();
            one.server.take(audience, &server_seconds, || {})?;
            one.sends.extend(sends.round()?);
            std::thread::sleep(QUIET);
            one.replay.take(&mut others, || replay.cpu_seconds(), || replay.release())?;
            let [p99, of_sends, of_replay] =
                [&mut one.server.parts, &mut one.sends, &mut one.replay.parts].map(|all| all.percentile(99.0));
            one.over_sends.push(p99 / of_sends);
            one.over_replay.push(p99 / of_replay);
            // The first of a loop is unlike the others.
            if turn > 0 {
                turns.add(one);
            }
        }
        sends.stop()?;
        // While the viewers are there: it knows none that are gone.
        replay.stop()?;
        Ok(turns)
    }

    pub fn add(&mut self, other: Turns) {
        self.server.add(other.server);
        self.sends.extend(other.sends);
        self.replay.add(other.replay);
        self.over_sends.extend(other.over_sends);
        self.over_replay.extend(other.over_replay);
    }
}

impl Run {
    fn take(
        &mut self,
        audience: &mut Audience<'_>,
        server_seconds: impl Fn() -> Result<f64>,
        release: impl FnOnce(),
    ) -> Result<()> {
        let before = (server_seconds()?, own_seconds()?);
        let Figures { playlists, parts, playlist_bytes, part_bytes, .. } = audience.take_part(release)?;
        std::thread::sleep(QUIET);
        let (server, viewers) = (server_seconds()? - before.0, own_seconds()? - before.1);
        self.add(Run { playlists, parts, playlist_bytes, part_bytes, server, viewers });
        Ok(())
    }

    fn add(&mut self, other: Run) {
        self.playlists.extend(other.playlists);
        self.parts.extend(other.parts);
        (self.playlist_bytes, self.part_bytes) = (other.playlist_bytes, other.part_bytes);
        self.server += other.server;
        self.viewers += other.viewers;
    }

    /// For each part and viewer.
    pub fn server_micros(&self) -> f64 {
        self.server * 1e6 / self.parts.len() as f64
    }

    fn viewer_micros(&self) -> f64 {
        self.viewers * 1e6 / self.parts.len() as f64
    }
}

/// CPU time of this thread.
fn own_seconds() -> Result<f64> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?).as_secs_f64())
}

impl fmt::Display for Turns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; sends alone {}; a loop that is asked: {}", self.server, Both(&self.sends), self.replay)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, viewers) = (self.server_micros(), self.viewer_micros());
        let (playlists, parts) = (Both(&self.playlists), Both(&self.parts));
        write!(out, "playlist {playlists}, part {parts}, CPU {server:.1} µs and {viewers:.1} µs of the viewers")
    }
}
