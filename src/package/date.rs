//! Dates and times of ISO 8601, as manifests and `time` write them.

use crate::base::calendar::civil;

/// `2026-11-23T22:13:44.500Z` from microseconds since 1970, to the nearest millisecond.
pub fn iso(micros: u64) -> String {
    let millis = micros.saturating_add(500) / 1_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (micros, want) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (784_111_777_000_499, "1994-11-06T08:49:37.000Z"),
            (784_111_777_999_500, "1994-11-06T08:49:38.000Z"),
            (1_709_251_199_042_000, "2024-02-29T23:59:59.042Z"),
        ] {
            assert_eq!(iso(micros), want);
        }
    }
}
