//! What of an asset a request wants to see: the parameters of its query.

use thiserror::Error;

use crate::http::uri;
use crate::media::{Kind, Presentation};
use crate::package::{BadFilter, Filter, url};

/// Equal selections are written alike, whatever order and spelling their queries have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub clip: Clip,
    pub filter: Filter,
    /// Ids, each once, in order; `None`: whatever is usual.
    pub tracks: Option<Vec<String>>,
}

/// A stretch of the presentation, in microseconds of presentation time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clip {
    pub start: Option<u64>,
    pub end: Option<u64>,
}

/// Which parameters count for a resource. What counts for none of them is ignored: players and CDNs add their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Media playlists: what they are about is in their path.
    Clip,
    ClipAndFilter,
    /// A file of chosen tracks.
    All,
}

/// Why a query is refused; the display is the body of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadQuery {
    #[error("{name} is given more than once")]
    Repeated { name: &'static str },
    #[error("{name} is a number of seconds such as 12 or 12.5, not {found:?}")]
    Seconds { name: &'static str, found: String },
    #[error("end is not after start")]
    Order,
    #[error("{FILTER}: {0}")]
    Filter(#[from] BadFilter),
    #[error("{name} cannot be decoded: {found:?}")]
    Escapes { name: &'static str, found: String },
    #[error("tracks is a list of identifiers such as v1,a2, not {found:?}")]
    Tracks { found: String },
}

const FILTER: &str = "aws.manifestfilter";

impl Selection {
    pub fn parse(query: Option<&str>, takes: Takes) -> Result<Selection, BadQuery> {
        let Some(query) = query else { return Ok(Selection::default()) };
        let seconds = |name| match parameter(query, name)? {
            None => Ok(None),
            Some(text) => match uri::decode(text).ok().and_then(|text| micros(&text)) {
                Some(micros) => Ok(Some(micros)),
                None => Err(BadQuery::Seconds { name, found: excerpt(text) }),
            },
        };
        let clip = Clip { start: seconds("start")?, end: seconds("end")? };
        if clip.end.is_some_and(|end| end <= clip.start.unwrap_or(0)) {
            return Err(BadQuery::Order);
        }
        let mut selection = Selection { clip, ..Selection::default() };
        if takes != Takes::Clip
            && let Some(text) = parameter(query, FILTER)?
        {
            let wrong = || BadQuery::Escapes { name: FILTER, found: excerpt(text) };
            selection.filter = Filter::parse(&uri::decode(text).map_err(|_| wrong())?)?;
        }
        if takes == Takes::All
            && let Some(text) = parameter(query, "tracks")?
        {
            let wrong = || BadQuery::Tracks { found: excerpt(text) };
            let text = uri::decode(text).map_err(|_| wrong())?;
            let mut tracks: Vec<String> = text.split(',').map(str::to_owned).collect();
            if !tracks.iter().all(|track| url::is_name(track)) {
                return Err(wrong());
            }
            tracks.sort_unstable();
            tracks.dedup();
            selection.tracks = Some(tracks);
        }
        Ok(selection)
    }

    /// Empty for all of the asset, and then nothing is allocated. Made of characters that an ETag may have.
    pub fn canonical(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.clip.canonical());
        if !self.filter.is_empty() {
            parts.push(format!("{FILTER}={}", self.filter));
        }
        if let Some(tracks) = &self.tracks {
            parts.push(format!("tracks={}", tracks.join(",")));
        }
        parts.join("&")
    }

    /// The same by the borders of the clip.
    pub fn on_borders(self, whole: &Presentation<'_>) -> Selection {
        Selection { clip: self.clip.on_borders(whole), ..self }
    }

    /// The same by the tracks of it that are left, as many filters and lists of tracks leave the same. `usual`: those where
    /// none are listed.
    pub fn by_tracks(self, whole: &Presentation<'_>, usual: fn(&Presentation<'_>) -> Vec<String>) -> Option<Selection> {
        let left = self.of(whole)?;
        let mut tracks = if self.tracks.is_some() {
            left.tracks.iter().map(|view| view.track.id.clone()).collect()
        } else {
            usual(&left)
        };
        tracks.sort_unstable();
        Some(Selection { clip: self.clip, filter: Filter::default(), tracks: Some(tracks) })
    }

    /// `None` if nothing is left. Filters leave nothing if neither video nor audio is left.
    pub fn of<'a>(&self, whole: &Presentation<'a>) -> Option<Presentation<'a>> {
        let mut presentation = self.clip.of(whole)?;
        if !self.filter.is_empty() {
            let keeps = crate::package::kept(whole, &self.filter);
            presentation.tracks.retain(|view| keeps.contains(&view.track.id.as_str()));
            if presentation.of_kind(Kind::Video).next().is_none() {
                presentation.thumbnails = None;
            }
        }
        if let Some(tracks) = &self.tracks {
            if tracks.iter().any(|track| presentation.track(track).is_none()) {
                return None;
            }
            presentation.tracks.retain(|view| tracks.contains(&view.track.id));
        }
        presentation.tracks.iter().any(|view| !view.fragments.is_empty()).then_some(presentation)
    }
}

impl Clip {
    pub fn is_whole(self) -> bool {
        self == Clip::default()
    }

    fn canonical(self) -> Option<String> {
        let part = |name, value: Option<u64>| value.map(|micros| format!("{name}={}", decimal(micros)));
        let parts: Vec<String> = [part("start", self.start), part("end", self.end)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("&"))
    }

    /// What links carry: a query with its question mark, or nothing.
    pub fn query(self) -> String {
        self.canonical().map(|text| format!("?{text}")).unwrap_or_default()
    }

    pub fn of<'a>(self, whole: &Presentation<'a>) -> Option<Presentation<'a>> {
        if self.is_whole() {
            return Some(whole.clone());
        }
        whole.stretch(self.start.unwrap_or(0), self.end.unwrap_or(u64::MAX))
    }

    /// The same stretch by its borders: what is cut alike is linked alike.
    pub fn on_borders(self, whole: &Presentation<'_>) -> Clip {
        if self.is_whole() {
            return self;
        }
        let (start, end) = whole.borders(self.start.unwrap_or(0), self.end.unwrap_or(u64::MAX));
        Clip { start: (start > 0).then_some(start), end }
    }
}

/// Of two values one would be ignored, and caches keep the answers apart.
fn parameter<'q>(query: &'q str, name: &'static str) -> Result<Option<&'q str>, BadQuery> {
    if uri::is_repeated(query, name) { Err(BadQuery::Repeated { name }) } else { Ok(uri::parameter(query, name)) }
}

/// Digits, at most nine, and after a point up to six more, which is as exact as manifests are.
fn micros(text: &str) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if !(1..=9).contains(&whole.len()) || !(1..=6).contains(&decimals.len()) || !digits(whole) || !digits(decimals) {
        return None;
    }
    Some(whole.parse::<u64>().ok()? * 1_000_000 + format!("{decimals:0<6}").parse::<u64>().ok()?)
}

fn decimal(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{fraction:06}").trim_end_matches('0').to_owned()
}

/// As much of a value as belongs into an answer.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::fixture::Fixture;
    use proptest::prelude::*;

    #[test]
    fn equal_selections_are_written_alike() {
        for (query, want) in [
            ("", ""),
            ("x=1&_=2", ""),
            ("start=0012.500&end=20", "start=12.5&end=20"),
            ("end=20.0&start=12.5", "start=12.5&end=20"),
            ("tracks=v1,a2,v1", "tracks=a2,v1"),
            ("tracks=a2%2Cv1", "tracks=a2,v1"),
            ("%74racks=v1%2c%61%32", "tracks=a2,v1"),
            ("st%61rt=%31%32%2E5&%65nd=20", "start=12.5&end=20"),
            ("aws%2Emanifestfilter=VIDEO_Height:%20720-720", "aws.manifestfilter=video_height:720-720"),
            ("aws.manifestfilter=video_height:720", "aws.manifestfilter=video_height:720-720"),
            ("aws.manifestfilter=video_height:1-5,5-9,10,12", "aws.manifestfilter=video_height:1-10,12-12"),
            (
                "aws.manifestfilter=video_framerate:23.976-24,24.001-25",
                "aws.manifestfilter=video_framerate:23.976-25.000",
            ),
            ("aws.manifestfilter=audio_language:EN,%20de,en", "aws.manifestfilter=audio_language:de,en"),
            (
                "aws.manifestfilter=subtitle_language:en;audio_language:en",
                "aws.manifestfilter=audio_language:en;subtitle_language:en",
            ),
            (
                "aws.manifestfilter=video_height%3A240-720%3Baudio_language:en,de&start=1",
                "start=1&aws.manifestfilter=video_height:240-720;audio_language:de,en",
            ),
        ] {
            assert_eq!(Selection::parse(Some(query), Takes::All).unwrap().canonical(), want, "{query}");
        }
        let query = Some("start=1&tracks=!&aws.manifestfilter=!");
        assert_eq!(Selection::parse(query, Takes::Clip).unwrap().canonical(), "start=1");
    }

    #[test]
    fn nonsense_names_the_parameter() {
        for (query, want) in [
            ("start=", "start is a number of seconds such as 12 or 12.5, not \"\""),
            ("start=-1", "start is a number of seconds such as 12 or 12.5, not \"-1\""),
            ("end=1e3", "end is a number of seconds such as 12 or 12.5, not \"1e3\""),
            ("end=1.", "end is a number of seconds such as 12 or 12.5, not \"1.\""),
            ("end=1234567890", "end is a number of seconds such as 12 or 12.5, not \"1234567890\""),
            ("start=2&end=2", "end is not after start"),
            ("end=0", "end is not after start"),
            ("start=2&s%74art=2", "start is given more than once"),
            ("start=%zz", "start is a number of seconds such as 12 or 12.5, not \"%zz\""),
            ("start=2&start=2", "start is given more than once"),
            ("aws.manifestfilter=x", "aws.manifestfilter: \"x\" is not a name, a colon and values"),
            ("aws.manifestfilter=%zz", "aws.manifestfilter cannot be decoded: \"%zz\""),
            ("tracks=", "tracks is a list of identifiers such as v1,a2, not \"\""),
            ("tracks=v1,,a1", "tracks is a list of identifiers such as v1,a2, not \"v1,,a1\""),
        ] {
            assert_eq!(Selection::parse(Some(query), Takes::All).unwrap_err().to_string(), want, "{query}");
        }
    }

    #[test]
    fn clips_are_cut_on_borders() {
        // Segments of 4.004 s.
        let fixture = Fixture::film(20);
        let whole = fixture.presentation();
        for (query, want, segments) in [
            ("start=0&end=100", "", 5),
            ("start=4.004", "?start=4.004", 4),
            ("start=4.003", "", 5),
            ("start=5&end=5.1", "?start=4.004&end=8.008", 1),
            ("end=8.008", "?end=8.008", 2),
            ("end=8.009", "?end=12.012", 3),
            ("start=16.1", "?start=16.016", 1),
        ] {
            let clip = Selection::parse(Some(query), Takes::Clip).unwrap().clip;
            let borders = clip.on_borders(&whole);
            assert_eq!(borders.query(), want, "{query}");
            for clip in [clip, borders] {
                let stretch = clip.of(&whole).unwrap();
                for view in stretch.tracks.iter().filter(|view| !view.fragments.is_empty()) {
                    assert_eq!(view.segments().count(), segments, "{query} {}", view.track.id);
                    assert_eq!(view.segments().next().unwrap().number, 0);
                }
                assert_eq!(stretch.cuts.len(), segments);
            }
        }
        let beyond = Selection::parse(Some("start=21"), Takes::Clip).unwrap();
        assert!(beyond.of(&whole).is_none());
    }

    proptest! {
        #[test]
        fn anything_may_come(query in "((start|end|tracks|aws.manifestfilter)=)?\\PC{0,40}(&end=[0-9.]{0,12})?") {
            if let Ok(selection) = Selection::parse(Some(&query), Takes::All) {
                // What is written means the same.
                let text = selection.canonical();
                prop_assert_eq!(Selection::parse(Some(&text), Takes::All), Ok(selection));
            }
        }

        #[test]
        fn borders_stay_where_they_are(start in 0_u64..25_000_000, length in 1_u64..25_000_000) {
            let fixture = Fixture::film(20);
            let whole = fixture.presentation();
            let borders = Clip { start: Some(start), end: Some(start + length) }.on_borders(&whole);
            prop_assert_eq!(borders.on_borders(&whole), borders);
        }
    }
}
