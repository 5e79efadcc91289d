//! Time expressions (TTML2 §12.3.1).

/// What times of a document count in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// A second.
    frames: f64,
    ticks: f64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { frames: 30.0, ticks: 1.0 }
    }
}

/// A hundred thousand hours.
const MILLIS_MAX: f64 = 3.6e11;

impl Clock {
    /// From the attributes of the document; an error is what was found.
    pub fn read(said: impl Fn(&str) -> Option<String>) -> Result<Clock, String> {
        if let Some(base) = said("timeBase").filter(|base| !["media", "smpte"].contains(&base.as_str())) {
            return Err(format!("timeBase {base}"));
        }
        let number = |name: &str| -> Result<Option<f64>, String> {
            let Some(text) = said(name) else { return Ok(None) };
            match text.trim().parse::<u32>() {
                Ok(number) if number > 0 => Ok(Some(f64::from(number))),
                _ => Err(format!("{name} {text}")),
            }
        };
        let frame_rate = number("frameRate")?;
        let mut frames = frame_rate.unwrap_or(30.0);
        if let Some(text) = said("frameRateMultiplier") {
            let parts: Vec<f64> =
                text.split([' ', ':']).filter_map(|part| part.parse::<u32>().ok()).map(f64::from).collect();
            match parts[..] {
                [numerator, denominator] if numerator > 0.0 && denominator > 0.0 => frames *= numerator / denominator,
                _ => return Err(format!("frameRateMultiplier {text}")),
            }
        }
        let sub = number("subFrameRate")?.unwrap_or(1.0);
        let ticks = number("tickRate")?.unwrap_or(if frame_rate.is_some() { frames * sub } else { 1.0 });
        Ok(Clock { frames, ticks })
    }

    pub fn millis(&self, text: &str) -> Option<u64> {
        let millis = if text.contains(':') { self.clock(text)? } else { self.offset(text)? } * 1_000.0;
        (millis <= MILLIS_MAX).then_some(millis.round() as u64)
    }

    /// `hh:mm:ss`, with a fraction or frames.
    fn clock(&self, text: &str) -> Option<f64> {
        let mut parts = text.split(':');
        let hours = number(parts.next()?)?;
        let minutes = number(parts.next()?)?;
        let seconds = decimal(parts.next()?)?;
        let frames = parts.next().map_or(Some(0.0), decimal)?;
        let is_sound = parts.next().is_none() && minutes < 60.0 && seconds < 61.0;
        is_sound.then_some((hours * 60.0 + minutes) * 60.0 + seconds + frames / self.frames)
    }

    /// `1.5s`.
    fn offset(&self, text: &str) -> Option<f64> {
        let at = text.find(|character: char| character.is_ascii_alphabetic())?;
        let (count, metric) = text.split_at(at);
        let unit = match metric {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "f" => 1.0 / self.frames,
            "t" => 1.0 / self.ticks,
            _ => return None,
        };
        Some(decimal(count)? * unit)
    }
}

fn number(text: &str) -> Option<f64> {
    ((1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    number(whole)?;
    number(fraction.get(..15).unwrap_or(fraction))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let clock = Clock::read(|name| (name == "frameRate").then(|| "25".to_owned())).unwrap();
        for (text, want) in [
            ("00:00:01", Some(1_000)),
            ("01:02:03.5", Some(3_723_500)),
            ("100:00:00", Some(360_000_000)),
            ("00:00:00:05", Some(200)),
            ("2h", Some(7_200_000)),
            ("1.25s", Some(1_250)),
            ("50f", Some(2_000)),
            ("25t", Some(1_000)),
            ("10ms", Some(10)),
            ("", None),
            ("1", None),
            ("-1s", None),
            ("1e9s", None),
            ("infs", None),
            ("1.s", None),
            ("00:61:00", None),
            ("00:00", None),
            ("0:0:0:0:0", None),
            ("999999999999999h", None),
        ] {
            assert_eq!(clock.millis(text), want, "{text}");
        }
    }
}
