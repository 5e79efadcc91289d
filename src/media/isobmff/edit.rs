//! Edit lists (ISO/IEC 14496-12 §8.6.6), reduced to what import can honour: a late start, priming, a trimmed end.

use crate::base::units::{Ticks, Timescale, rescale_nearest};

use super::boxes::Boxed;
use super::error::Error;

/// Which stretch of a track is presented, and when. Times are in track ticks unless a name says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Composition time that is presented after `start_delay_nanos`; samples before it are priming, or trimmed.
    pub media_start: i64,
    /// Empty time before it: not in track ticks, which may be as coarse as a picture.
    pub start_delay_nanos: i64,
    /// Presented length, `None` to the end of the track (to within a tick of the movie's timescale, in which edit lists
    /// count).
    pub presented: Option<i64>,
}

const RATE_ONE: u32 = 0x0001_0000;

impl Edit {
    /// `duration` is that of the media, if known, and `reorder` how much later than decoded it is presented: an edit that
    /// reaches the end limits nothing.
    pub(super) fn read(
        elst: &Boxed<'_>,
        movie: Timescale,
        track: Timescale,
        duration: Option<i64>,
        reorder: i64,
    ) -> Result<Edit, Error> {
        let (version, _, mut body) = elst.full()?;
        let count = elst.read(body.u32())?;
        let row_size = if version == 1 { 20 } else { 12 };
        let mut rows = body.clone();
        elst.read(rows.table(u64::from(count), row_size))?;
        let mut empty = 0_u64;
        // Start and length of the media edits so far, the length in movie ticks.
        let mut media: Option<(i64, u64)> = None;
        let mut gap = false;
        for number in 1..=count {
            let at = body.position();
            let (length, start) = if version == 1 {
                (elst.read(body.u64())?, elst.read(body.i64())?)
            } else {
                (u64::from(elst.read(body.u32())?), i64::from(elst.read(body.i32())?))
            };
            let rate = elst.read(body.u32())?;
            let refuse = |found: &dyn std::fmt::Display, expected: &str| {
                Err(Error::unexpected(elst.path, at, format_args!("edit {number} of {count} {found}"), expected))
            };
            if start < -1 {
                return refuse(&format_args!("from media time {start}"), "one from 0, or -1 for an empty edit");
            }
            if start == -1 {
                match media {
                    // An empty edit after everything changes nothing.
                    Some(_) => gap = true,
                    None => empty = empty.saturating_add(length),
                }
                continue;
            }
            if rate != RATE_ONE {
                let rate = f64::from(rate as i32) / 65_536.0;
                return refuse(
                    &format_args!("at rate {rate}"),
                    "rate 1; edits that change the speed need a transcoder",
                );
            }
            media = match media {
                None => Some((start, length)),
                Some(_) if length == 0 => media,
                Some((first, so_far)) => {
                    let expected = scale(so_far, movie, track).and_then(|so_far| first.checked_add(so_far));
                    // Both lengths were rounded to movie ticks.
                    let slack = tick(movie, track);
                    if gap || expected.is_none_or(|expected| expected.abs_diff(start) > slack) {
                        let expected = "one edit, or edits that continue each other; cuts need a transcoder";
                        return refuse(&format_args!("from media time {start}, which is a cut"), expected);
                    }
                    Some((first, so_far.saturating_add(length)))
                }
            };
        }
        let too_long = |length: u64, expected: &str| {
            Error::unexpected(elst.path, elst.at, format_args!("{length} movie ticks"), expected)
        };
        let start_delay_nanos =
            scale(empty, movie, Timescale::NANOS).ok_or_else(|| too_long(empty, "a time below 2^63 nanoseconds"))?;
        let Some((media_start, length)) = media else {
            // Nothing but empty edits, which some writers use for a track without content: as if there were none.
            return Ok(Edit::default());
        };
        // A length of 0 means all of it, fragments to come included (§8.6.6.1).
        let presented = match length {
            0 => None,
            length => {
                let presented =
                    scale(length, movie, track).ok_or_else(|| too_long(length, "a time below 2^63 track ticks"))?;
                // It was rounded to movie ticks.
                let longest = (i128::from(length) + 1) * i128::from(track.per_second());
                // Writers that do not take the reorder delay off the start do not mean to take it off the end.
                let reorder = i128::from(reorder.clamp(0, media_start));
                let reaches = duration.is_some_and(|duration| {
                    let rest = i128::from(duration) + reorder - i128::from(media_start);
                    longest >= rest * i128::from(movie.per_second())
                });
                (!reaches).then_some(presented)
            }
        };
        Ok(Edit { media_start, start_delay_nanos, presented })
    }

    /// The empty time before it, to the nearest tick.
    pub fn start_delay(&self, track: Timescale) -> i64 {
        rescale_nearest(Ticks(self.start_delay_nanos), Timescale::NANOS, track).map_or(i64::MAX, |ticks| ticks.0)
    }

    /// Apple's note on the priming and padding of AAC, for files without an edit list: hexadecimal words, of which the
    /// second is the priming, the third the padding, the fourth the number of samples between.
    pub(super) fn from_smpb(text: &str, duration: Option<i64>) -> Option<Edit> {
        let mut words = text.split_ascii_whitespace().skip(1).map(|word| i64::from_str_radix(word, 16).ok());
        let (priming, padding, presented) = (words.next()??, words.next()??, words.next()??);
        let total = priming.checked_add(presented)?.checked_add(padding)?;
        // It counts samples of the decoder's output; if that is not what the track counts in, it does not add up.
        let fits = priming >= 0 && padding >= 0 && presented > 0 && duration.is_none_or(|duration| total <= duration);
        fits.then_some(Edit {
            media_start: priming,
            start_delay_nanos: 0,
            presented: (padding > 0).then_some(presented),
        })
    }
}

fn scale(length: u64, movie: Timescale, track: Timescale) -> Option<i64> {
    rescale_nearest(Ticks(i64::try_from(length).ok()?), movie, track).map(|ticks| ticks.0)
}

/// A movie tick in track ticks, rounded up.
fn tick(movie: Timescale, track: Timescale) -> u64 {
    u64::from(track.per_second()).div_ceil(u64::from(movie.per_second()))
}

#[cfg(test)]
mod tests {
    use super::super::boxes::Boxes;
    use super::super::fixture::{Node, bytes, full};
    use super::*;

    fn scale_of(ticks: u32) -> Timescale {
        Timescale::new(ticks).unwrap()
    }

    fn read(node: Node, duration: Option<i64>, reorder: i64) -> String {
        let bytes = bytes(&[node]);
        let elst = Boxes::top_level(&bytes, 0).next().unwrap().unwrap();
        match Edit::read(&elst, scale_of(1_000), scale_of(48_000), duration, reorder) {
            Ok(Edit { media_start, start_delay_nanos, presented }) => {
                format!("{media_start} {start_delay_nanos} {presented:?}")
            }
            Err(error) => error.in_file("f").to_string(),
        }
    }

    #[test]
    fn edit_lists_are_reduced_or_refused() {
        const EMPTY: u32 = u32::MAX;
        const ONE: u32 = 0x1_0000;
        let length = Some(480_000);
        for (name, numbers, duration, want) in [
            ("none", &[0, 0][..], length, "0 0 None"),
            ("all of it", &[0, 1, 10_000, 0, ONE], length, "0 0 None"),
            ("priming", &[0, 1, 9_979, 1_024, ONE], length, "1024 0 None"),
            ("priming and padding", &[0, 1, 9_900, 1_024, ONE], length, "1024 0 Some(475200)"),
            ("within a tick of the end", &[0, 1, 9_999, 0, ONE], length, "0 0 None"),
            ("late", &[0, 3, 500, EMPTY, ONE, 250, EMPTY, ONE, 10_000, 0, ONE], length, "0 750000000 None"),
            ("no length", &[0, 1, 0, 2_048, ONE], None, "2048 0 None"),
            ("length not known", &[0, 1, 4_000, 2_048, ONE], None, "2048 0 Some(192000)"),
            (
                "64 bits",
                &[0x0100_0000, 2, 0, 500, !0, !0, ONE, 0, 5_000, 0, 1_024, ONE],
                length,
                "1024 500000000 Some(240000)",
            ),
            ("only empty", &[0, 1, 500, EMPTY, ONE], length, "0 0 None"),
            ("empty behind", &[0, 2, 5_000, 0, ONE, 500, EMPTY, ONE], length, "0 0 Some(240000)"),
            ("in pieces", &[0, 3, 2_000, 480, ONE, 3_000, 96_480, ONE, 1, 240_500, ONE], length, "480 0 Some(240048)"),
            (
                "a cut",
                &[0, 2, 2_000, 0, ONE, 3_000, 96_049, ONE],
                length,
                "f: elst at byte 28: found edit 2 of 2 from media time 96049, which is a cut, expected one edit, or edits that continue each other; cuts need a transcoder",
            ),
            (
                "a gap",
                &[0, 3, 2_000, 0, ONE, 5, EMPTY, ONE, 3_000, 96_000, ONE],
                length,
                "f: elst at byte 40: found edit 3 of 3 from media time 96000, which is a cut, expected one edit, or edits that continue each other; cuts need a transcoder",
            ),
            (
                "half speed",
                &[0, 1, 2_000, 0, 0x8000],
                length,
                "f: elst at byte 16: found edit 1 of 1 at rate 0.5, expected rate 1; edits that change the speed need a transcoder",
            ),
            (
                "still",
                &[0, 1, 2_000, 0, 0],
                length,
                "f: elst at byte 16: found edit 1 of 1 at rate 0, expected rate 1; edits that change the speed need a transcoder",
            ),
            (
                "before the start",
                &[0, 1, 2_000, -5_i32 as u32, ONE],
                length,
                "f: elst at byte 16: found edit 1 of 1 from media time -5, expected one from 0, or -1 for an empty edit",
            ),
            (
                "count beyond the box",
                &[0, u32::MAX, 2_000, 0, ONE],
                length,
                "f: elst at byte 16: found 12 bytes left in the box, expected 51539607540",
            ),
            (
                "too long",
                &[0x0100_0000, 1, !0, !0, 0, 0, ONE],
                length,
                "f: elst at byte 0: found 18446744073709551615 movie ticks, expected a time below 2^63 track ticks",
            ),
        ] {
            assert_eq!(read(full(b"elst", numbers), duration, 0), want, "{name}");
        }
    }

    #[test]
    fn what_is_reordered_ends_later_than_it_is_decoded() {
        const ONE: u32 = 0x1_0000;
        for (name, length, start, reorder, want) in [
            ("all of it", 10_000, 4_000, 4_000, "4000 0 None"),
            ("a picture less", 9_960, 4_000, 4_000, "4000 0 Some(478080)"),
            ("all of it, negative offsets", 10_000, 0, -4_000, "0 0 None"),
            ("the delay is left in", 10_000, 0, 4_000, "0 0 None"),
            ("the delay is left in, a picture less", 9_960, 0, 4_000, "0 0 Some(478080)"),
        ] {
            assert_eq!(read(full(b"elst", &[0, 1, length, start, ONE]), Some(480_000), reorder), want, "{name}");
        }
    }

    #[test]
    fn apples_note_gives_priming_and_padding() {
        let note = " 00000000 00000840 000001C0 0000000000003C00 00000000";
        for (text, duration, want) in [
            (note, Some(0x840 + 0x1c0 + 0x3c00), Some((2_112, Some(15_360)))),
            (note, None, Some((2_112, Some(15_360)))),
            (note, Some(1_000), None),
            (" 00000000 00000840 00000000 0000000000003C00", None, Some((2_112, None))),
            (" 00000000 00000840 00000000", None, None),
            (" 0 7fffffffffffffff 1 7fffffffffffffff", None, None),
            (" 0 -1 0 1", None, None),
            ("", None, None),
        ] {
            let edit = Edit::from_smpb(text, duration);
            assert_eq!(edit.map(|edit| (edit.media_start, edit.presented)), want, "{text}");
        }
    }
}
