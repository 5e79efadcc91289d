//! Prometheus text exposition, format 0.0.4: what `/metrics` answers.

use std::fmt::Write;

use crate::base::counters::LATENCY_BOUNDS_MICROS;

/// What the answer is to be sent as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A growing exposition. Samples of one name are written together, below their description, as the format wants it.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

/// Label names and values of one sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// A number that only grows; `name` ends in `_total`.
    pub fn counter<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, u64)>) {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.describe(name, help, "counter");
        for (labels, value) in samples {
            self.sample(name, "", labels, None, value as f64);
        }
    }

    pub fn gauge<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        self.describe(name, help, "gauge");
        for (labels, value) in samples {
            self.sample(name, "", labels, None, value);
        }
    }

    /// A counter of fractions, such as CPU seconds.
    pub fn seconds(&mut self, name: &str, help: &str, value: f64) {
        self.describe(name, help, "counter");
        self.sample(name, "", &[], None, value);
    }

    /// Latencies in seconds; the bounds are [`LATENCY_BOUNDS_MICROS`], the counts of a histogram are not cumulated and
    /// there is one more of them.
    pub fn latencies<'a>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (Labels<'a>, &'a [u64], u64)>,
    ) {
        self.describe(name, help, "histogram");
        for (labels, counts, sum_micros) in histograms {
            let mut cumulated = 0;
            for (number, count) in counts.iter().enumerate() {
                cumulated += count;
                let bound =
                    LATENCY_BOUNDS_MICROS.get(number).map_or("+Inf".to_owned(), |&micros| decimal(seconds(micros)));
                self.sample(name, "_bucket", labels, Some(("le", &bound)), cumulated as f64);
            }
            self.sample(name, "_sum", labels, None, seconds(sum_micros));
            self.sample(name, "_count", labels, None, cumulated as f64);
        }
    }

    /// Adds what another has gathered.
    pub fn append(&mut self, other: Exposition) {
        self.text.push_str(&other.text);
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn describe(&mut self, name: &str, help: &str, kind: &str) {
        debug_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, extra: Option<(&str, &str)>, value: f64) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        for (number, (label, text)) in labels.iter().chain(&extra).enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() || extra.is_some() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", decimal(value));
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// Whole numbers without an exponent or a fraction, so that counters stay exact to the reader's eye.
fn decimal(value: f64) -> String {
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_below_their_description() {
        let mut exposition = Exposition::default();
        exposition.counter(
            "requests_total",
            "Answers sent.",
            [(&[("kind", "mpd"), ("status", "2xx")][..], 3), (&[("kind", "a\"b\\c\nd")][..], u64::from(u32::MAX))],
        );
        exposition.gauge("assets", "In the library.", [(&[][..], 20_000.0)]);
        assert_eq!(
            exposition.into_text(),
            "# HELP requests_total Answers sent.\n\
             # TYPE requests_total counter\n\
             requests_total{kind=\"mpd\",status=\"2xx\"} 3\n\
             requests_total{kind=\"a\\\"b\\\\c\\nd\"} 4294967295\n\
             # HELP assets In the library.\n\
             # TYPE assets gauge\n\
             assets 20000\n"
        );
    }

    #[test]
    fn buckets_are_cumulated_and_in_seconds() {
        let mut counts = [0; LATENCY_BOUNDS_MICROS.len() + 1];
        (counts[0], counts[1], counts[16]) = (5, 2, 1);
        let mut exposition = Exposition::default();
        exposition.latencies("latency_seconds", "Time.", [(&[("kind", "init")][..], &counts[..], 1_500_000)]);
        let text = exposition.into_text();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 17 + 2);
        assert_eq!(lines[0], "latency_seconds_bucket{kind=\"init\",le=\"0.00005\"} 5");
        assert_eq!(lines[1], "latency_seconds_bucket{kind=\"init\",le=\"0.0001\"} 7");
        assert_eq!(lines[15], "latency_seconds_bucket{kind=\"init\",le=\"30\"} 7");
        assert_eq!(lines[16], "latency_seconds_bucket{kind=\"init\",le=\"+Inf\"} 8");
        assert_eq!(lines[17], "latency_seconds_sum{kind=\"init\"} 1.5");
        assert_eq!(lines[18], "latency_seconds_count{kind=\"init\"} 8");
    }
}
