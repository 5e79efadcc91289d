//! `onMetaData`: what an encoder says of its streams beforehand (annex E.5; Enhanced RTMP v2, "Metadata Frame").

use super::amf::Value;

/// What is used of it. Later messages replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    value: Option<Value>,
}

/// Of one track.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrackInfo {
    /// In pixels; 0 if unknown.
    pub size: (u16, u16),
    /// In bits a second.
    pub bit_rate: Option<u32>,
}

impl Metadata {
    pub fn new(value: Value) -> Metadata {
        Metadata { value: Some(value) }
    }

    pub fn video(&self, track: u8) -> TrackInfo {
        self.track("videoTrackIdInfoMap", "videodatarate", track)
    }

    pub fn audio(&self, track: u8) -> TrackInfo {
        self.track("audioTrackIdInfoMap", "audiodatarate", track)
    }

    /// Tracks beyond the first have a map of their own. What is said of all counts for the first only: renditions differ in
    /// size and rate.
    fn track(&self, map: &str, rate: &str, track: u8) -> TrackInfo {
        let Some(all) = &self.value else { return TrackInfo::default() };
        let own = match track {
            0 => Some(all),
            track => all.property(map).and_then(|map| map.property(&track.to_string())),
        };
        let number = |name: &str| own?.property(name)?.number().filter(|number| *number > 0.0);
        // Casts of floats saturate.
        let pixels = |name: &str| number(name).unwrap_or_default() as u16;
        // Kilobits (some encoders leave them at 0), which to ffmpeg are of 1024.
        let is_ffmpeg =
            all.property("encoder").and_then(Value::text).is_some_and(|encoder| encoder.starts_with("Lavf"));
        let kilo = if is_ffmpeg { 1024.0 } else { 1000.0 };
        TrackInfo {
            size: (pixels("width"), pixels("height")),
            bit_rate: number(rate).map(|rate| (rate * kilo).round() as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_have_what_is_said_of_them() {
        let number = Value::Number;
        let first = [("width", number(1920.0)), ("height", number(1080.0)), ("videodatarate", number(5000.5))];
        let second = Value::object([("width", number(640.0)), ("videodatarate", number(0.0))]);
        let mut properties = first.map(|(name, value)| (name.to_owned(), value)).to_vec();
        properties.push(("videoTrackIdInfoMap".into(), Value::object([("1", second)])));
        let metadata = Metadata::new(Value::Object(properties));
        for (track, want) in [
            (0, TrackInfo { size: (1920, 1080), bit_rate: Some(5_000_500) }),
            (1, TrackInfo { size: (640, 0), bit_rate: None }),
            (2, TrackInfo::default()),
        ] {
            assert_eq!(metadata.video(track), want, "{track}");
        }
        assert_eq!(metadata.audio(0).bit_rate, None);
        let ffmpeg = [("encoder", Value::string("Lavf59.27.100")), ("audiodatarate", number(93.75))];
        assert_eq!(Metadata::new(Value::object(ffmpeg)).audio(0).bit_rate, Some(96_000));
        assert_eq!(Metadata::default().video(0), TrackInfo::default());
    }
}
