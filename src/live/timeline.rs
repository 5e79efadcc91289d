//! A publisher's clock, and what its times are on the channel's timeline.
//!
//! Media time is counted since 1970. A publisher's clock is brought there by an anchor, which is added to it; and the times
//! of a track lie on a lattice of whole frames where its frames are equally long, so that a clock of milliseconds does not
//! show in what is published.

use std::time::Duration;

use crate::base::limits::{LIVE_JUMP, LIVE_WALL_CLOCK};
use crate::base::units::rescale_nearest;
use crate::base::{Ticks, Timescale};

/// Nanoseconds, as all clocks are compared.
pub type Nanos = i128;

pub fn to_nanos(ticks: Ticks, timescale: Timescale) -> Nanos {
    Nanos::from(ticks.0) * 1_000_000_000 / Nanos::from(timescale.per_second())
}

/// What is added to a publisher's times, in units of 10 ms: a whole number of ticks in every usual timescale, that of
/// 44.1 kHz audio included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor(pub i64);

const ANCHOR_NANOS: Nanos = 10_000_000;

/// The anchor of a channel, as a track finds it whose clock begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    None,
    /// What was published before went by it.
    Old(Anchor),
    /// Other tracks go by it at the moment, or this one did until now.
    InUse(Anchor),
    /// This track's publisher has just come, and another track of the same clock goes by it already.
    Beside(Anchor),
}

/// A reconnecting publisher may repeat as much of what it sent before without being taken for one that started over.
const REPEATED: Nanos = 1_000_000_000;

impl Anchor {
    pub const WALL_CLOCK: Anchor = Anchor(0);

    pub fn of(time: Duration) -> Anchor {
        Anchor(i64::try_from(time.as_millis() / 10).unwrap_or(i64::MAX))
    }

    fn nanos(self) -> Nanos {
        Nanos::from(self.0) * ANCHOR_NANOS
    }

    /// A publisher's time, brought there.
    pub fn on(self, time: Nanos) -> Nanos {
        time + self.nanos()
    }

    /// A publisher's time as media time.
    pub fn media_time(self, time: Ticks, from: Timescale, to: Timescale) -> Ticks {
        let anchor = Nanos::from(self.0) * Nanos::from(to.per_second());
        let anchor = (anchor + anchor.signum() * 50) / 100;
        let time = rescale_nearest(time, from, to).map_or(Nanos::MAX / 4, |time| Nanos::from(time.0));
        Ticks(i64::try_from(time + anchor).unwrap_or(i64::MAX / 4))
    }

    /// The anchor for a track whose clock begins, or begins anew, at `time`.
    ///
    /// `configured` is the operator's. `track_end` is where the track's published media ends,
    /// `channel_end` the latest such end of all tracks.
    pub fn choose(
        time: Nanos,
        now: Duration,
        known: Known,
        configured: Option<Anchor>,
        track_end: Option<Nanos>,
        channel_end: Option<Nanos>,
    ) -> Anchor {
        let now = now.as_nanos() as Nanos;
        let jump = LIVE_JUMP.as_nanos() as Nanos;
        let follows =
            |anchor: Anchor, repeated: Nanos| track_end.is_none_or(|end| time + anchor.nanos() >= end - repeated);
        // To the time of day, or to what is published: a clock that is far from the one has brought the channel to the other.
        let is_near = |anchor: Anchor, by: Nanos| {
            let media_time = time + anchor.nanos();
            [Some(now), channel_end].into_iter().flatten().any(|near| (media_time - near).abs() <= by)
        };
        let makes_sense = |anchor: Anchor, by: Nanos| is_near(anchor, by) && follows(anchor, REPEATED);
        // Tracks of one clock stay side by side, however far that clock is from the time of day; and text that is said a little later
        // than the picture came back goes with it, though it lies further behind what was published before.
        if let Known::InUse(anchor) | Known::Beside(anchor) = known
            && makes_sense(anchor, jump + jump / 2)
        {
            return anchor;
        }
        // Sound that fell silent before the clock was set back goes on where it is; were the picture to begin anew, the two would
        // be that far apart for good. It waits instead until it is where it was.
        if let Known::Beside(anchor) = known
            && is_near(anchor, jump)
            && follows(anchor, jump + jump / 2)
        {
            return anchor;
        }
        let is_wall_clock = (time - now).abs() <= LIVE_WALL_CLOCK.as_nanos() as Nanos;
        let old = match known {
            Known::Old(anchor) => Some(anchor).filter(|anchor| makes_sense(*anchor, jump)),
            _ => None,
        };
        // A picture that was away for long may go on far behind where the sound beside it has come to, which cannot go back.
        let is_back = old.is_some() && !is_near(Anchor::WALL_CLOCK, jump);
        if is_wall_clock && !is_back && follows(Anchor::WALL_CLOCK, REPEATED) {
            return Anchor::WALL_CLOCK;
        }
        if let Some(anchor) = old {
            return anchor;
        }
        // More of what was sent before may be sent again; and where one track of a clock is within that, so are the others.
        let again = match known {
            Known::InUse(Anchor::WALL_CLOCK) | Known::Beside(Anchor::WALL_CLOCK) => jump + jump / 2,
            _ => jump,
        };
        if is_wall_clock && follows(Anchor::WALL_CLOCK, again) {
            return Anchor::WALL_CLOCK;
        }
        // Of use for as long as the publisher's clock was not set back.
        if let Some(anchor) = configured
            && follows(anchor, REPEATED)
            && time + anchor.nanos() <= now + LIVE_WALL_CLOCK.as_nanos() as Nanos
        {
            return anchor;
        }
        let begin = now.max(channel_end.unwrap_or(Nanos::MIN));
        Anchor(i64::try_from(-(time - begin).div_euclid(ANCHOR_NANOS)).unwrap_or(0))
    }
}

/// Whether the times that a publisher gives a track go on from each other. Judged on its own clock.
#[derive(Debug, Default)]
pub struct Continuity {
    last: Option<Nanos>,
    /// The newest of a few samples that do not go on from `last`, but from each other.
    suspect: Option<(Nanos, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Goes,
    /// Not where it was expected: to be kept until the next samples tell whether it was a slip.
    Suspect,
    /// The times of the suspects before were slips; this one goes on from what was before them.
    Slipped,
    /// What lies between the one before and the newest suspect is missing: this one goes on from it.
    Leapt,
    /// The clock was set anew: the suspects are the first samples of it.
    Jumped,
}

/// Samples that are missing for longer are believed to be once two have come.
const LEAP: Nanos = 2_000_000_000;

/// So many samples in a row that go on from each other are a clock that was set anew.
pub const JUMP_SAMPLES: u32 = 3;

impl Continuity {
    /// `pause` is how long nothing need have come, as of text nothing does while nobody speaks.
    pub fn judge(&mut self, time: Nanos, pause: Option<Duration>) -> Verdict {
        let jump = (LIVE_JUMP + pause.unwrap_or_default()).as_nanos() as Nanos;
        let leap = if pause.is_some() { jump } else { LEAP };
        let goes_on = |from: Nanos| time > from && time - from <= jump;
        let Some(last) = self.last else {
            self.last = Some(time);
            return Verdict::Goes;
        };
        // One sample that is seconds ahead may be a slip as well: were it taken for where the track is, those that follow would
        // seem to lie behind, and the track would be taken for one whose clock was set back, ahead of all others for good.
        let has_leapt = |(suspect, _): (Nanos, u32)| (leap + 1..=jump).contains(&(suspect - last)) && goes_on(suspect);
        if self.suspect.is_some_and(has_leapt) {
            (self.last, self.suspect) = (Some(time), None);
            return Verdict::Leapt;
        }
        if goes_on(last) && time - last > leap {
            self.suspect = Some((time, 1));
            return Verdict::Suspect;
        }
        if goes_on(last) {
            self.last = Some(time);
            return if self.suspect.take().is_some() { Verdict::Slipped } else { Verdict::Goes };
        }
        let count = match self.suspect {
            Some((suspect, count)) if goes_on(suspect) => count + 1,
            Some(_) | None => 1,
        };
        if count >= JUMP_SAMPLES {
            (self.last, self.suspect) = (Some(time), None);
            return Verdict::Jumped;
        }
        self.suspect = Some((time, count));
        Verdict::Suspect
    }
}

/// The times of a track's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Of what is published.
    pub timescale: Timescale,
    /// Length of every frame in ticks of it, if they are equally long.
    pub frame: Option<i64>,
}

impl Pace {
    /// Where a sample goes whose time is `time`, behind one that was published at `last`. `None`: it comes too late.
    pub fn place(&self, time: Ticks, last: Option<Ticks>) -> Option<Ticks> {
        let Some(last) = last else { return Some(time) };
        let Some(frame) = self.frame else { return (time > last).then_some(time) };
        let off = time.0.saturating_sub(last.0 + frame);
        match off {
            _ if off.abs() < frame => Some(Ticks(last.0 + frame)),
            _ if off < 0 => None,
            _ => {
                let frames = (time.0 - last.0 + frame / 2) / frame;
                Some(Ticks(last.0 + frames * frame))
            }
        }
    }

    /// As [`Pace::learn`] for an encoder whose first few frames do not lie where those that follow would have them, as is
    /// usual of what takes a while to start: they are put there.
    pub fn learn_settled(times: &mut [Ticks], timescale: Timescale) -> Pace {
        let strays = 0..=STRAYS_MAX.min(times.len().saturating_sub(1 + LEARN_STEPS_MIN));
        for strays in strays {
            let pace = Pace::learn(&times[strays..], timescale);
            let Some(frame) = pace.frame else { continue };
            let frame = frame as f64 * f64::from(timescale.per_second()) / f64::from(pace.timescale.per_second());
            let (behind, first) = times.split_at_mut(strays);
            let (Some(&first), mut frames) = (first.first(), 0.0) else { continue };
            let mut next = first;
            for time in behind.iter_mut().rev() {
                frames += ((next.0 - time.0) as f64 / frame).round().max(1.0);
                next = std::mem::replace(time, Ticks(first.0 - (frames * frame).round() as i64));
            }
            return pace;
        }
        Pace::learn(times, timescale)
    }

    /// Learns the frame rate from decode times in `timescale`, in order: the usual rates are tried. At equal distances in
    /// a timescale that is finer than milliseconds the distance is exact already.
    pub fn learn(times: &[Ticks], timescale: Timescale) -> Pace {
        let plain =
            Pace { timescale: if timescale.per_second() < 10_000 { Timescale::MPEG } else { timescale }, frame: None };
        let steps: Vec<i64> = times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        if steps.len() < LEARN_STEPS_MIN {
            return plain;
        }
        let exact = timescale.per_second() >= 10_000;
        if exact && steps.iter().all(|&step| step == steps[0] && step > 0) {
            return Pace { timescale, frame: Some(steps[0]) };
        }
        let fitting = RATES.iter().filter_map(|&rate| Some((fit(times, timescale, rate)?, rate)));
        match fitting.min_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((_, (frames, period))) => {
                let timescale = if period == 1_001 { Timescale::new(frames) } else { Some(Timescale::MPEG) };
                let timescale = timescale.unwrap_or(Timescale::MPEG);
                let frame = u64::from(timescale.per_second()) * u64::from(period) / u64::from(frames);
                Pace { timescale, frame: Some(frame as i64) }
            }
            None => plain,
        }
    }
}

/// Whether a track's pictures still come at the rate that was learnt: cameras take fewer in the dark, and more again at
/// dawn. Once they do not, they lie where their times say, for dropping one would spoil those that refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lattice {
    /// The time of the newest picture, and how many in a row did not lie whole frames behind the one before.
    Holds {
        newest: Option<Ticks>,
        misfits: u32,
    },
    Fell,
}

/// So many in a row are another rate.
const MISFITS: u32 = 3;

impl Default for Lattice {
    fn default() -> Lattice {
        Lattice::Holds { newest: None, misfits: 0 }
    }
}

impl Lattice {
    /// What is left of the pace.
    pub fn pace(&self, pace: Pace) -> Pace {
        match self {
            Lattice::Holds { .. } => pace,
            Lattice::Fell => Pace { frame: None, ..pace },
        }
    }

    /// As [`Pace::place`], for pictures.
    pub fn place(&mut self, pace: Pace, time: Ticks, last: Option<Ticks>) -> Option<Ticks> {
        let is_uneven = self.is_uneven(pace, time);
        let squeezed = || {
            // The one before may have been put later than its time says.
            let frame = pace.frame.unwrap_or(i64::from(pace.timescale.per_second()) / 20);
            last.filter(|last| is_uneven && last.0 - time.0 < frame).map(|last| Ticks(last.0 + 1))
        };
        self.pace(pace).place(time, last).or_else(squeezed)
    }

    fn is_uneven(&mut self, pace: Pace, time: Ticks) -> bool {
        let (Lattice::Holds { newest, misfits }, Some(frame)) = (&mut *self, pace.frame) else { return true };
        if let Some(newest) = newest.replace(time) {
            let step = time.0.saturating_sub(newest.0);
            let frames = (step.saturating_add(frame / 2).div_euclid(frame)).max(1);
            // What a clock of milliseconds is off, at both ends.
            let tolerance = (frame / 8).max(i64::from(pace.timescale.per_second()) * 3 / 2_000);
            let fits = step.abs_diff(frames * frame) <= tolerance.unsigned_abs();
            *misfits = if fits { 0 } else { *misfits + 1 };
        }
        let is_uneven = *misfits > 0;
        if *misfits == MISFITS {
            *self = Lattice::Fell;
        }
        is_uneven
    }
}

/// Fewer frames say nothing about their rate.
pub const LEARN_STEPS_MIN: usize = 8;

/// Frames at the start that need not lie where the rate of the others would have them.
const STRAYS_MAX: usize = 4;

/// Frames in how many seconds.
const RATES: [(u32, u32); 21] = [
    (1, 1),
    (2, 1),
    (3, 1),
    (4, 1),
    (5, 1),
    (10, 1),
    (12, 1),
    (25, 2),
    (15, 1),
    (20, 1),
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
    (100, 1),
    (120, 1),
];

/// How well the times lie at whole frames of a rate: the mean square of what they are off, in ticks. `None`: one is off by
/// more than a tick or a millisecond (through which a fine clock may have come, as that of RTMP copied into MP4), or every
/// other frame would be missing.
fn fit(times: &[Ticks], timescale: Timescale, (frames, period): (u32, u32)) -> Option<f64> {
    let frame = f64::from(timescale.per_second()) * f64::from(period) / f64::from(frames);
    let first = times.first()?.0;
    let (mut at, mut steps_of_one) = (0_i64, 0);
    let mut off = Vec::with_capacity(times.len());
    for time in times {
        let time = (time.0 - first) as f64;
        let number = (time / frame).round() as i64;
        if number < at || (number == at && !off.is_empty()) {
            return None;
        }
        steps_of_one += usize::from(number == at + 1);
        at = number;
        off.push(time - number as f64 * frame);
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let near = (f64::from(timescale.per_second()) / 1_000.0).max(1.0);
    let is_near = off.iter().all(|off| (off - mean).abs() <= near);
    let variance = off.iter().map(|off| (off - mean).powi(2)).sum::<f64>() / off.len() as f64;
    (is_near && steps_of_one * 4 >= (times.len() - 1) * 3).then_some(variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Nanos = 1_000_000_000;

    #[test]
    fn anchors_are_kept_as_long_as_time_goes_on() {
        let now = Duration::from_secs(1_800_000_000);
        let unix = now.as_nanos() as Nanos;
        let known = Known::Old(Anchor(179_999_999_000));
        for (name, time, known, configured, track_end, channel_end, want) in [
            ("wall clock", unix - 3 * S, Known::None, None, None, None, Anchor(0)),
            ("wall clock an hour off", unix + 3600 * S, Known::None, None, None, None, Anchor(0)),
            ("from zero", 0, Known::None, None, None, None, Anchor(180_000_000_000)),
            ("going on", 12 * S, known, None, Some(unix), Some(unix), Anchor(179_999_999_000)),
            ("repeating a little", 9 * S + S / 2, known, None, Some(unix), Some(unix), Anchor(179_999_999_000)),
            ("jumping back", 5 * S, known, None, Some(unix), Some(unix), Anchor(179_999_999_500)),
            (
                "at zero, published ahead of time",
                0,
                known,
                None,
                Some(unix + S),
                Some(unix + 2 * S),
                Anchor(180_000_000_200),
            ),
            ("as configured", 7 * S, Known::None, Some(Anchor(170_000_000_000)), None, None, Anchor(170_000_000_000)),
            (
                "clock set back by a minute",
                unix - 60 * S,
                Known::Old(Anchor(0)),
                None,
                Some(unix),
                Some(unix),
                Anchor(6_000),
            ),
            (
                "beside others, 20 s behind the time of day",
                unix - 20 * S,
                Known::InUse(Anchor(2_000)),
                None,
                Some(unix - 15 * S),
                Some(unix),
                Anchor(2_000),
            ),
            (
                "alone after that, as after a restart",
                unix - 20 * S,
                Known::Old(Anchor(2_000)),
                None,
                Some(unix - 15 * S),
                Some(unix),
                Anchor(2_000),
            ),
            (
                "beside others that are ahead of the time of day",
                unix,
                Known::InUse(Anchor(1_100)),
                None,
                Some(unix - 5 * S),
                Some(unix + 12 * S),
                Anchor(1_100),
            ),
            (
                "a picture that was away while the sound beside it went on",
                unix - 28 * S,
                Known::Old(Anchor(2_800)),
                None,
                Some(unix - 27 * S),
                Some(unix - 6 * S),
                Anchor(2_800),
            ),
            (
                "text that is said a little later than the picture beside it came back",
                unix + 2 * S,
                Known::Beside(Anchor(1_700)),
                None,
                Some(unix + 8 * S),
                Some(unix + 8 * S + S / 2),
                Anchor(1_700),
            ),
            ("the same clock again, 9 s back", unix - 9 * S, Known::Old(Anchor(0)), None, Some(unix), None, Anchor(0)),
            (
                "set back by 9 s, beside another track that went on",
                3 * S,
                Known::Beside(Anchor(179_999_999_000)),
                None,
                Some(unix + 2 * S),
                Some(unix + 2 * S),
                Anchor(179_999_999_000),
            ),
            (
                "set back by 14 s, too much for that",
                -2 * S,
                Known::Beside(Anchor(179_999_999_000)),
                None,
                Some(unix + 2 * S),
                Some(unix + 2 * S),
                Anchor(180_000_000_400),
            ),
            (
                "another track of it, a little further back",
                unix - 10 * S - 1,
                Known::InUse(Anchor(0)),
                None,
                Some(unix),
                None,
                Anchor(0),
            ),
        ] {
            assert_eq!(Anchor::choose(time, now, known, configured, track_end, channel_end), want, "{name}");
        }
    }

    #[test]
    fn a_slip_is_not_a_jump() {
        use Verdict::*;
        let none = None;
        let pause = Some(Duration::from_secs(13));
        for (name, times, pause, want) in [
            ("steady", &[0, 1, 2, 3][..], none, &[Goes, Goes, Goes, Goes][..]),
            ("a slip back", &[5, 6, 2, 7], none, &[Goes, Goes, Suspect, Slipped]),
            ("a spike", &[5, 6, 60, 7], none, &[Goes, Goes, Suspect, Slipped]),
            ("a spike of seconds", &[5, 6, 12, 7, 8], none, &[Goes, Goes, Suspect, Slipped, Goes]),
            ("seconds are missing", &[5, 6, 12, 13, 14], none, &[Goes, Goes, Suspect, Leapt, Goes]),
            ("one in a while", &[0, 4, 8, 12], none, &[Goes, Suspect, Leapt, Suspect]),
            ("set to zero", &[50, 51, 0, 1, 2, 3], none, &[Goes, Goes, Suspect, Suspect, Jumped, Goes]),
            ("set ahead", &[5, 6, 60, 61, 62], none, &[Goes, Goes, Suspect, Suspect, Jumped]),
            ("noise", &[5, 3, 3, 3, 6], none, &[Goes, Suspect, Suspect, Suspect, Slipped]),
            ("a cue after a pause", &[5, 6, 28, 30], pause, &[Goes, Goes, Goes, Goes]),
            ("a clock set ahead in a pause", &[5, 6, 30, 31], pause, &[Goes, Goes, Suspect, Suspect]),
        ] {
            let mut continuity = Continuity::default();
            let got: Vec<_> = times.iter().map(|&time| continuity.judge(Nanos::from(time) * S, pause)).collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn rates_are_learnt_through_milliseconds() {
        for (rate, want) in [
            ((25, 1), Pace { timescale: Timescale::MPEG, frame: Some(3_600) }),
            ((30, 1), Pace { timescale: Timescale::MPEG, frame: Some(3_000) }),
            ((30_000, 1_001), Pace { timescale: Timescale::new(30_000).unwrap(), frame: Some(1_001) }),
            ((24_000, 1_001), Pace { timescale: Timescale::new(24_000).unwrap(), frame: Some(1_001) }),
            ((60_000, 1_001), Pace { timescale: Timescale::new(60_000).unwrap(), frame: Some(1_001) }),
            ((50, 1), Pace { timescale: Timescale::MPEG, frame: Some(1_800) }),
        ] {
            let (frames, period): (i64, i64) = rate;
            for start in [0, 17, 1_234_567] {
                let times: Vec<_> =
                    (0..2 * frames / period).map(|at| Ticks(start + at * 1_000 * period / frames)).collect();
                assert_eq!(Pace::learn(&times, Timescale::MILLIS), want, "{rate:?} from {start}");
                // One that is missing changes nothing.
                let mut times = times;
                times.remove(7);
                assert_eq!(Pace::learn(&times, Timescale::MILLIS), want, "{rate:?} from {start}");
            }
        }
        // Milliseconds that were written in a finer clock.
        let times: Vec<_> = (0..60_i64).map(|at| Ticks((at * 1_001 / 30 + at % 2) * 16)).collect();
        let want = Pace { timescale: Timescale::new(30_000).unwrap(), frame: Some(1_001) };
        assert_eq!(Pace::learn(&times, Timescale::new(16_000).unwrap()), want);
        let uneven: Vec<_> = (0..60_i64).map(|at| Ticks(at * 33 + at * at % 17)).collect();
        assert_eq!(Pace::learn(&uneven, Timescale::MILLIS), Pace { timescale: Timescale::MPEG, frame: None });
    }

    #[test]
    fn the_first_frames_may_be_strays() {
        let steady = |from: i64| (0..40).map(move |at| from + at * 40);
        let frame = Some(3_600);
        for (name, times, frame, want) in [
            ("none", [].to_vec(), frame, [].to_vec()),
            ("a late one", [993].to_vec(), frame, [960].to_vec()),
            ("one far away", [90].to_vec(), frame, [80].to_vec()),
            ("some at once", [955, 957, 960, 963].to_vec(), frame, [840, 880, 920, 960].to_vec()),
            ("a hole", [705, 960].to_vec(), frame, [720, 960].to_vec()),
            ("more than a few", [800, 807, 815, 826, 843].to_vec(), None, [800, 807, 815, 826, 843].to_vec()),
        ] {
            let mut times: Vec<_> = times.into_iter().chain(steady(1_000)).map(Ticks).collect();
            let pace = Pace::learn_settled(&mut times, Timescale::MILLIS);
            assert_eq!(pace, Pace { timescale: Timescale::MPEG, frame }, "{name}");
            let strays: Vec<_> = times.iter().map(|time| time.0).take_while(|time| *time < 1_000).collect();
            assert_eq!(strays, want, "{name}");
        }
    }

    #[test]
    fn pictures_leave_their_lattice_when_they_come_at_another_rate() {
        let pace = Pace { timescale: Timescale::MPEG, frame: Some(3_600) };
        for (name, times, want) in [
            ("as learnt", &[0, 3_600, 7_290, 10_800][..], &[0, 3_600, 7_200, 10_800][..]),
            ("one missing", &[0, 3_600, 10_800, 14_400], &[0, 3_600, 10_800, 14_400]),
            ("one early", &[0, 3_600, 5_000, 10_800, 14_400], &[0, 3_600, 7_200, 10_800, 14_400]),
            ("twice as many", &[0, 1_800, 3_600, 5_400, 7_200], &[0, 3_600, 3_601, 5_400, 7_200]),
            ("four times", &[0, 900, 1_800, 2_700, 3_600, 4_500], &[0, 3_600, 3_601, 3_602, 3_603, 4_500]),
            ("half", &[0, 7_200, 14_400, 21_600], &[0, 7_200, 14_400, 21_600]),
            ("30 a second", &[0, 3_000, 6_000, 9_000, 12_000, 15_000], &[0, 3_600, 7_200, 9_000, 12_000, 15_000]),
        ] {
            let (mut lattice, mut last) = (Lattice::default(), None);
            for (&time, &want) in times.iter().zip(want) {
                last = lattice.place(pace, Ticks(time), last);
                assert_eq!(last, Some(Ticks(want)), "{name} at {time}");
            }
        }
        // What was there before a connection was lost, again: too late, at the right rate.
        let mut lattice = Lattice::default();
        for time in [0, 3_600, 7_200] {
            assert_eq!(lattice.place(pace, Ticks(time), Some(Ticks(50_000))), None, "{time}");
        }
        assert_ne!(lattice, Lattice::Fell);
    }

    #[test]
    fn frames_stay_on_their_lattice() {
        let pace = Pace { timescale: Timescale::MPEG, frame: Some(3_000) };
        for (time, last, want) in [
            (17, None, Some(17)),
            (3_000, Some(0), Some(3_000)),
            (3_089, Some(0), Some(3_000)),
            (10, Some(0), Some(3_000)),
            (5_999, Some(0), Some(3_000)),
            (6_000, Some(0), Some(6_000)),
            (8_900, Some(0), Some(9_000)),
            (0, Some(0), None),
            (-9_000, Some(0), None),
        ] {
            assert_eq!(pace.place(Ticks(time), last.map(Ticks)), want.map(Ticks), "{time} behind {last:?}");
        }
    }
}
