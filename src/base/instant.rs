//! Instants as people and programs write them.

use std::time::Duration;

/// RFC 3339, or seconds since 1970; since 1970.
pub fn read(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    rfc3339(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
}

/// Nanoseconds since 1970.
fn rfc3339(text: &str) -> Option<i128> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
    };
    let mark = |at: usize, allowed: &[u8]| text.as_bytes().get(at).filter(|byte| allowed.contains(byte));
    for (at, allowed) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, allowed)?;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        nanos = format!("{:0<9.9}", fraction.get(..len).filter(|digits| !digits.is_empty())?).parse::<i64>().ok()?;
        rest = &fraction[len..];
    }
    let offset = match (rest, rest.as_bytes()) {
        ("Z" | "z", _) => 0,
        (_, [sign @ (b'+' | b'-'), _, _, b':', _, _]) => {
            let at = text.len() - 5;
            let seconds = number(at..at + 2)? * 3_600 + number(at + 3..at + 5)? * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    // Days before the year and before the month, March being the first.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (text, want) in [
            ("0", Some(0.0)),
            ("1777659300.5", Some(1_777_659_300.5)),
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2000-02-29T12:00:00.25Z", Some(951_825_600.25)),
            ("2026-05-01T20:15:00+02:00", Some(1_777_659_300.0)),
            ("2026-05-01 12:45:00-05:30", Some(1_777_659_300.0)),
            ("2026-12-31T23:59:60Z", Some(1_798_761_600.0)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-05-01T20:15:00", None),
            ("2026-05-01", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-05-01T20:15:00+0200", None),
            ("1969-12-31T23:59:59Z", None),
            ("-1", None),
            ("NaN", None),
            ("yesterday", None),
            ("2026-05-01T2é:15:00Z", None),
        ] {
            assert_eq!(read(text).map(|time| time.as_secs_f64()), want, "{text}");
        }
    }
}
