//! What a track's publisher has sent, so that what it sends again is known.
//!
//! Whoever sends segments sends one again that was not answered, and after a lost connection the last ones (DASH-IF Live
//! Media Ingest §5.2): as fast as it can, and then it goes on. An encoder that was started anew, with the same film and the
//! same settings, sends the same as well: from its first sample on, and in the time that it lasts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::limits::LIVE_JUMP;
use crate::base::{Ticks, Timescale};
use crate::media::feed::Sample;

/// The newest samples of a track.
#[derive(Debug, Default)]
pub struct Received {
    /// By their time on the publisher's clock, with a hash of what they held.
    samples: VecDeque<(Ticks, u64)>,
    /// Whether something has been forgotten since the publisher's first sample.
    is_cut: bool,
    /// The time of its first sample, and when that came for the second time, if nothing new has come since.
    begun_again: Option<(Ticks, Duration)>,
}

/// Samples of `LIVE_JUMP`, at a thousand a second.
const SAMPLES_MAX: usize = 10_000;
/// Of a sample, to know it by together with its time and length.
const SAMPLE_BYTES: usize = 1_024;
/// What is sent again for so long, and no faster than twice the time that it lasts, is sent by an encoder that was started anew.
const ANEW: Duration = Duration::from_millis(300);

impl Received {
    /// Whether a sample came before, of that time and with that content, and is sent again.
    pub fn is_sent_again(&mut self, sample: &Sample, timescale: Timescale, now: Duration) -> bool {
        let time = sample.decode_time;
        let start = &sample.data[..sample.data.len().min(SAMPLE_BYTES)];
        let hash = blake3::hash(start);
        let hash =
            hash.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first)) ^ sample.data.len() as u64;
        let is_known =
            self.samples.back().is_some_and(|(newest, _)| time <= *newest) && self.samples.contains(&(time, hash));
        if is_known && !self.is_begun_anew(time, hash, timescale, now) {
            return true;
        }
        self.begun_again = None;
        if is_known {
            self.samples.clear();
        }
        self.samples.push_back((time, hash));
        let is_old = |&(first, _): &(Ticks, u64)| {
            let since = Ticks(time.0.saturating_sub(first.0));
            since.0 < 0 || timescale.duration(since) > LIVE_JUMP
        };
        while self.samples.len() > SAMPLES_MAX || self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
            self.is_cut = true;
        }
        // A clock that was set anew: nothing is left of the one before.
        self.is_cut &= self.samples.len() > 1;
        false
    }

    /// Of a sample that is known.
    fn is_begun_anew(&mut self, time: Ticks, hash: u64, timescale: Timescale, now: Duration) -> bool {
        if !self.is_cut && self.samples.front() == Some(&(time, hash)) {
            self.begun_again = Some((time, now));
        }
        self.begun_again.is_some_and(|(first, at)| {
            let (took, lasts) = (now.saturating_sub(at), timescale.duration(Ticks((time.0 - first.0).max(0))));
            took >= ANEW && took * 2 >= lasts
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn sample(millis: i64, content: i64) -> Sample {
        let data = Bytes::from(content.to_be_bytes().to_vec());
        Sample { decode_time: Ticks(millis), composition_offset: 0, duration: Some(40), is_sync: true, data }
    }

    #[test]
    fn what_is_sent_again_is_told_from_what_begins_anew() {
        // Stretches of an encoder's time that come one after the other, each in so many milliseconds, and a second between
        // two; how many of the last one's samples are taken for new.
        for (name, stretches, want) in [
            ("goes on", &[(0, 8_000, 8_000), (8_000, 12_000, 4_000)][..], 100),
            ("the last two segments, at once", &[(0, 8_000, 8_000), (4_000, 12_000, 40)], 100),
            ("the last two segments, slowly", &[(0, 8_000, 8_000), (4_000, 8_000, 4_000)], 0),
            ("all, at once", &[(0, 8_000, 8_000), (0, 12_000, 40)], 100),
            ("the first segment, at once", &[(0, 2_000, 100), (0, 2_000, 100)], 0),
            ("started anew", &[(0, 8_000, 8_000), (0, 8_000, 8_000)], 192),
            ("started anew, and again", &[(0, 8_000, 8_000), (0, 4_000, 4_000), (0, 8_000, 8_000)], 200),
            ("started anew after long", &[(0, 30_000, 30_000), (0, 8_000, 8_000)], 200),
            ("goes on, and again from where it went on", &[(0, 30_000, 30_000), (25_000, 30_000, 5_000)], 0),
            ("set back, and started anew", &[(60_000, 90_000, 30_000), (0, 8_000, 8_000), (0, 8_000, 8_000)], 192),
        ] {
            let (mut received, mut now, mut taken) = (Received::default(), 0.0, 0);
            for &(from, to, lasts) in stretches {
                taken = 0;
                let frames = (to - from) / 40;
                for frame in 0..frames {
                    now += f64::from(lasts) / f64::from(frames);
                    let time = i64::from(from + frame * 40);
                    let at = Duration::from_micros((now * 1_000.0) as u64);
                    taken += i32::from(!received.is_sent_again(&sample(time, time), Timescale::MILLIS, at));
                }
                now += 1_000.0;
            }
            assert_eq!(taken, want, "{name}");
        }
        // The same time with other content is not the same.
        let mut received = Received::default();
        assert!(!received.is_sent_again(&sample(0, 1), Timescale::MILLIS, Duration::ZERO));
        assert!(!received.is_sent_again(&sample(0, 2), Timescale::MILLIS, Duration::ZERO));
        assert!(received.is_sent_again(&sample(0, 2), Timescale::MILLIS, Duration::ZERO));
    }
}
