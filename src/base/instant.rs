//! Instants as people and programs write them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::calendar::{days_from_civil, days_in_month};

/// Seconds since 1970 (`1700000000.5`), or a date and time with its zone (ISO 8601, RFC 3339): `2026-11-23T22:13:44Z`,
/// `2026-11-23T22:13+01:00`. As the time since 1970; what was before is refused.
pub fn read(text: &str) -> Option<Duration> {
    match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => iso(date, time),
        None => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            Some(Duration::new(digits(whole, 1..=11)?, nanos(fraction)?))
        }
    }
}

fn iso(date: &str, time: &str) -> Option<Duration> {
    let mut fields = date.split('-');
    let (year, month, day) =
        (digits(fields.next()?, 4..=4)?, digits(fields.next()?, 2..=2)?, digits(fields.next()?, 2..=2)?);
    let (time, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':');
    let (hour, minute) = (digits(clock.next()?, 2..=2)?, digits(clock.next()?, 2..=2)?);
    let second = clock.next().map_or(Some(0), |second| digits(second, 2..=2))?;
    let valid = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month) && year >= 1970;
    if fields.next().is_some() || clock.next().is_some() || !valid || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let (hours, minutes) = (digits(hours, 2..=2)?, digits(minutes, 2..=2)?);
            (hours <= 23 && minutes <= 59).then_some((hours * 60 + minutes) * 60)?
        }
    };
    // East of Greenwich it is later.
    let seconds = if zone.starts_with('-') { seconds + offset } else { seconds.checked_sub(offset)? };
    Some(Duration::new(seconds, nanos(fraction)?))
}

fn digits(text: &str, len: RangeInclusive<usize>) -> Option<u64> {
    let all = len.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// A decimal fraction of a second, without the point.
fn nanos(fraction: &str) -> Option<u32> {
    digits(fraction, 1..=9)?;
    format!("{fraction:0<9}").parse().ok()
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
            ("2026-05-01T20:15+02:00", Some(1_777_659_300.0)),
            ("2026-05-01T20:15:00", None),
            ("2026-05-01T20:15:00+24:00", None),
            ("2026-05-01T20:15:00Zulu", None),
            ("1e9", None),
            ("inf", None),
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
