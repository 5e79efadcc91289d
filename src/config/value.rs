//! Durations, sizes and CPU lists as people write them.

use std::fmt;
use std::time::Duration;

/// CPUs are numbered up to the kernel's own limit (CONFIG_NR_CPUS is at most 8192).
pub const CPU_MAX: usize = 8_191;

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: [(&str, u64); 11] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
];

/// `4s`, `500ms`, `1h30m`, `1.5s`, `2 m`: numbers with units, largest unit first. A bare number is refused, for nobody can
/// tell what it counts.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let (mut millis, mut largest) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let &(_, unit) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        if unit >= largest {
            return None;
        }
        millis = millis.checked_add(scale(number, unit)?)?;
        (largest, rest) = (unit, after.trim_start());
    }
    (largest != u64::MAX).then_some(Duration::from_millis(millis))
}

/// `1024`, `64 MiB`, `1.5GB`: bytes.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let &(_, unit) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    scale(number, unit)
}

/// `2-7,10`: ascending, without repetitions.
pub fn cpus(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for run in text.split(',') {
        let (first, last) = run.trim().split_once('-').unwrap_or((run.trim(), run.trim()));
        let (first, last) = (digits(first)? as usize, digits(last)? as usize);
        if first > last || last > CPU_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    let count = cpus.len();
    cpus.dedup();
    (cpus.len() == count).then_some(cpus)
}

/// The number in front, and what follows it without the space between.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(len);
    (!number.is_empty()).then_some((number, rest.trim_start()))
}

/// Exact: a fraction has to come out at a whole number of the smallest unit.
fn scale(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut scaled = digits(whole)?.checked_mul(unit)?;
    if let Some(fraction) = fraction {
        let places = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = digits(fraction)?.checked_mul(unit)?;
        if part % places != 0 {
            return None;
        }
        scaled = scaled.checked_add(part / places)?;
    }
    Some(scaled)
}

fn digits(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Writes a duration as `duration` reads it.
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis() as u64;
        if millis == 0 {
            return f.write_str("0s");
        }
        for (name, unit) in DURATION_UNITS.iter().rev() {
            if millis >= *unit {
                write!(f, "{}{name}", millis / unit)?;
                millis %= unit;
            }
        }
        Ok(())
    }
}

/// Writes a size as `size` reads it, in the largest binary unit that is exact.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
        {
            Some((name, shift)) => write!(f, "{} {name}", self.0 >> shift),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("4s", Some(4_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("24h", Some(86_400_000)),
            ("7d", Some(604_800_000)),
            (" 2 m ", Some(120_000)),
            ("0s", Some(0)),
            ("", None),
            ("4", None),
            ("s", None),
            ("30m1h", None),
            ("1s1s", None),
            ("-4s", None),
            ("4sec", None),
            ("0.0001s", None),
            (".s", None),
            ("1..5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("100_000", Some(100_000)),
            ("64 MiB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("1.5 GB", Some(1_500_000_000)),
            ("0.5KiB", Some(512)),
            ("1.7 B", None),
            ("64 mib", None),
            ("MiB", None),
            ("-1", None),
            ("16777216 TiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn cpu_lists() {
        for (text, want) in [
            ("0", Some(vec![0])),
            ("2-4,10", Some(vec![2, 3, 4, 10])),
            ("10, 2-3", Some(vec![2, 3, 10])),
            ("4-2", None),
            ("1,1", None),
            ("1-3,2", None),
            ("", None),
            ("a", None),
            ("0-99999999999", None),
        ] {
            assert_eq!(cpus(text), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(millis in 0..u64::MAX / 2) {
            let written = Duration::from_millis(millis);
            prop_assert_eq!(duration(&Written(written).to_string()), Some(written));
            prop_assert_eq!(size(&Bytes(millis).to_string()), Some(millis));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = (duration(&text), size(&text), cpus(&text));
        }
    }
}
