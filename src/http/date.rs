//! HTTP dates (RFC 9110 §5.6.7): written in the one form that is still current, read in all three. No clock here.

use crate::base::calendar::{civil, days_from_civil, days_in_month};

/// Of a date as [`format`] writes it, in bytes.
pub const LEN: usize = 29;

const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59Z, the last second that four digits of a year can say.
const UNIX_MAX: u64 = 253_402_300_799;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAYS_LONG: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Sun, 06 Nov 1994 08:49:37 GMT` from seconds since 1970; what lies after the year 9999 is its last second.
pub fn format(unix: u64) -> [u8; LEN] {
    let unix = unix.min(UNIX_MAX);
    let (days, seconds) = (unix / SECONDS_PER_DAY, unix % SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // 1970-01-01 was a Thursday.
    text[..3].copy_from_slice(DAYS[((days + 3) % 7) as usize].as_bytes());
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[month as usize - 1].as_bytes());
    two_digits(&mut text[12..14], year / 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], seconds / 3_600);
    two_digits(&mut text[20..22], seconds / 60 % 60);
    two_digits(&mut text[23..25], seconds % 60);
    text
}

/// Seconds since 1970. `None` for anything that is not exactly one of the three forms, or lies before 1970.
pub fn parse(text: &str) -> Option<u64> {
    imf_fixdate(text).or_else(|| rfc850(text)).or_else(|| asctime(text))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &str) -> Option<u64> {
    let (day_name, rest) = text.split_once(", ")?;
    let rest = rest.as_bytes();
    if rest.len() != 24 || rest[2] != b' ' || rest[6] != b' ' || rest[11] != b' ' {
        return None;
    }
    let year = number(&rest[7..9])? * 100 + number(&rest[9..11])?;
    moment(DAYS.contains(&day_name), year, month(&rest[3..6])?, number(&rest[..2])?, &rest[12..])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str) -> Option<u64> {
    let (day_name, rest) = text.split_once(", ")?;
    let rest = rest.as_bytes();
    if rest.len() != 22 || rest[2] != b'-' || rest[6] != b'-' || rest[9] != b' ' {
        return None;
    }
    // Two digits mean the nearest such year that is not far in the future. Nothing served here is older than 1970, so the
    // form stays readable without a clock until 2069.
    let year = match number(&rest[7..9])? {
        year @ 70.. => 1900 + year,
        year => 2000 + year,
    };
    moment(DAYS_LONG.contains(&day_name), year, month(&rest[3..6])?, number(&rest[..2])?, &rest[10..])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<u64> {
    let text = text.as_bytes();
    if text.len() != 24 || text[3] != b' ' || text[7] != b' ' || text[10] != b' ' || text[19] != b' ' {
        return None;
    }
    let day = match text[8] {
        b' ' => number(&[b'0', text[9]])?,
        _ => number(&text[8..10])?,
    };
    let year = number(&text[20..22])? * 100 + number(&text[22..24])?;
    let known_day = DAYS.iter().any(|name| name.as_bytes() == &text[..3]);
    let mut time = *b"00:00:00 GMT";
    time[..8].copy_from_slice(&text[11..19]);
    moment(known_day, year, month(&text[4..7])?, day, &time)
}

/// `time` is `08:49:37 GMT`.
fn moment(known_day_name: bool, year: u64, month: u64, day: u64, time: &[u8]) -> Option<u64> {
    if !known_day_name || time.len() != 12 || time[2] != b':' || time[5] != b':' || &time[8..] != b" GMT" {
        return None;
    }
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..8])?);
    // A leap second is written :60 and counted as the second after (POSIX time has no room for it).
    if year < 1970 || day == 0 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second)
}

fn two_digits(into: &mut [u8], number: u64) {
    into[0] = b'0' + (number / 10) as u8;
    into[1] = b'0' + (number % 10) as u8;
}

fn number(two: &[u8]) -> Option<u64> {
    match two {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u64::from(tens - b'0') * 10 + u64::from(ones - b'0')),
        _ => None,
    }
}

fn month(name: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|month| month.as_bytes() == name).map(|at| at as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Wed Nov 16 08:49:37 1994", Some(784_975_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200)),
            ("Tuesday, 01-Jan-69 00:00:00 GMT", Some(3_124_224_000)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(UNIX_MAX)),
            ("Wed, 29 Feb 2023 00:00:00 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT ", None),
            ("784111777", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(format(u64::MAX), format(UNIX_MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix in 0..=UNIX_MAX) {
            prop_assert_eq!(parse(std::str::from_utf8(&format(unix)).unwrap()), Some(unix));
        }

        #[test]
        fn anything_may_come(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_dates_may_come(at in 0_usize..29, byte in 0_u8..128) {
            for form in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
                let mut text = form.as_bytes().to_vec();
                if let Some(place) = text.get_mut(at) {
                    *place = byte;
                }
                let _ = parse(std::str::from_utf8(&text).unwrap());
            }
        }
    }
}
