//! Periods of an MPD that follow one another (ISO/IEC 23009-1 §5.3.2): each Representation of the first goes on in the others
//! as the one most like it.

use super::xml::Element;
use super::{Error, Event, Join, Manifest, Named, PIECES_MAX, Part, Piece, Rendition, Report, Shift};

/// More are no presentation: advertisements every two minutes of a day.
const PERIODS_MAX: usize = 1_024;

/// When a Period is presented, in seconds.
pub struct Period<'a> {
    pub element: &'a Element,
    pub start: f64,
    /// `None`: to the end of the last, which nothing states.
    pub duration: Option<f64>,
}

/// What a Period has, and what tells it from the rest of it.
pub struct Offered {
    pub named: Named,
    pub traits: Traits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    pub id: String,
    /// `video`, `audio`, `text`.
    pub kind: String,
    pub height: u64,
    pub bandwidth: u64,
    /// presentationTimeOffset of a file (SegmentBase), in nanoseconds.
    pub start: i64,
}

/// The Periods of an MPD, in order. One without a start begins where the one before it ends.
pub fn of<'a>(mpd: &'a Element, manifest: &Manifest) -> Result<Vec<Period<'a>>, Error> {
    let elements: Vec<&Element> = mpd.all("Period").collect();
    if elements.is_empty() || elements.len() > PERIODS_MAX {
        let found = if elements.is_empty() { "no Period".to_owned() } else { format!("{} Periods", elements.len()) };
        let expected = if elements.is_empty() { "at least one".to_owned() } else { format!("at most {PERIODS_MAX}") };
        return Err(manifest.unexpected(found, expected));
    }
    let whole = mpd.attribute("mediaPresentationDuration").and_then(super::dash::seconds);
    let mut periods: Vec<Period<'_>> = Vec::with_capacity(elements.len());
    for (number, element) in elements.iter().copied().enumerate() {
        if element.attribute("href").is_some() {
            return Err(
                manifest.unexpected(format!("Period {number} (from 0) elsewhere (xlink:href)"), "all in the MPD")
            );
        }
        let stated = |name: &str| element.attribute(name).and_then(super::dash::seconds);
        let before = periods.last().map(|before| (before.start, before.duration));
        let follows = match before {
            None => Some(0.0),
            Some((start, duration)) => duration.map(|duration| start + duration),
        };
        let start = stated("start").or(follows).ok_or_else(|| {
            let found = format!("Period {number} (from 0) without a start, behind one without a duration");
            manifest.unexpected(found, "one of the two")
        })?;
        if let Some(last) = periods.last_mut() {
            if start < last.start {
                let found = format!("Period {number} (from 0) at {start} s, behind one at {} s", last.start);
                return Err(manifest.unexpected(found, "Periods in the order of their starts"));
            }
            // A Period ends where the next one begins, whatever it states itself.
            last.duration = Some(start - last.start);
        }
        periods.push(Period { element, start, duration: stated("duration") });
    }
    if let Some(last) = periods.last_mut() {
        last.duration = last.duration.or(whole.map(|whole| whole - last.start).filter(|rest| *rest > 0.0));
    }
    Ok(periods)
}

/// Renditions that go through several Periods.
pub struct Joined {
    /// Of the first Period, in nanoseconds.
    start: i64,
    renditions: Vec<(Traits, Named)>,
}

impl Joined {
    pub fn of(manifest: &Manifest, period: &Period<'_>, offered: Vec<Offered>) -> Result<Joined, Error> {
        let mut renditions = Vec::with_capacity(offered.len());
        for Offered { named, traits } in offered {
            let named = in_pieces(manifest, named, traits.start)?;
            renditions.push((traits, named));
        }
        Ok(Joined { start: nanos(period.start), renditions })
    }

    /// The Period that comes next.
    pub fn add(
        &mut self,
        manifest: &Manifest,
        period: &Period<'_>,
        offered: Vec<Offered>,
        report: Report<'_>,
    ) -> Result<(), Error> {
        let name = || format!("the Period at {} s", period.start);
        if offered.is_empty() {
            report(Event::Note(&format!("{}: {} has no media, and is a hole", manifest.path.display(), name())));
            return Ok(());
        }
        let mut offered: Vec<Option<Offered>> = offered.into_iter().map(Some).collect();
        for (traits, named) in &mut self.renditions {
            let like = offered.iter().enumerate().filter_map(|(at, other)| Some((at, other.as_ref()?)));
            let like = like.filter(|(_, other)| {
                other.traits.kind == traits.kind
                    && labels(&other.named).language == labels(named).language
                    && labels(&other.named).role == labels(named).role
            });
            let best = like.min_by_key(|(_, other)| {
                let other = &other.traits;
                let by_rate = other.bandwidth.abs_diff(traits.bandwidth);
                (other.height.abs_diff(traits.height), other.id != traits.id, by_rate)
            });
            let next = best.map(|(at, _)| at).and_then(|at| offered[at].take()).ok_or_else(|| {
                let found = format!("{} without a Representation that goes on with {:?}", name(), traits.id);
                manifest.unexpected(found, "one of its kind, language and role")
            })?;
            let (Named::Media(rendition) | Named::Text(rendition)) = named else { continue };
            let (Named::Media(mut next) | Named::Text(mut next)) = in_pieces(manifest, next.named, next.traits.start)?
            else {
                continue;
            };
            if rendition.pieces.len() + next.pieces.len() > PIECES_MAX {
                return Err(manifest.too_many());
            }
            // On the clock of the first Period's media.
            let from = (nanos(period.start) - self.start).saturating_add(rendition.start);
            let shift = Shift { by: from.saturating_sub(next.start), from: Some(from) };
            rendition.joins.push(Join { piece: rendition.pieces.len(), shift: Some(shift) });
            rendition.pieces.append(&mut next.pieces);
        }
        for left in offered.into_iter().flatten() {
            let text = format!(
                "{}: Representation {:?} of {} is left out: none of the first Period goes on as it",
                manifest.path.display(),
                left.traits.id,
                name()
            );
            report(Event::Note(&text));
        }
        Ok(())
    }

    pub fn finish(self) -> Vec<Named> {
        self.renditions.into_iter().map(|(_, named)| named).collect()
    }
}

fn labels(named: &Named) -> &super::Labels {
    match named {
        Named::File(input) => &input.labels,
        Named::Media(rendition) | Named::Text(rendition) => &rendition.labels,
    }
}

/// A file as the one segment that it is.
fn in_pieces(manifest: &Manifest, named: Named, start: i64) -> Result<Named, Error> {
    let Named::File(input) = named else { return Ok(named) };
    if input.subtitles().is_some() {
        let found = format!("{} in one of several Periods", input.path.display());
        return Err(manifest.unexpected(found, "subtitles as WebVTT, or in MP4"));
    }
    let name = input.path.display().to_string();
    let piece = Piece { part: Part { path: input.path, range: None }, header: None };
    Ok(Named::Media(Rendition { name, labels: input.labels, pieces: vec![piece], start, joins: Vec::new() }))
}

fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn read(periods: &str) -> Result<(Vec<Named>, Vec<String>), String> {
        let text = format!("<MPD mediaPresentationDuration=\"PT30S\">{periods}</MPD>");
        let manifest = Manifest { path: "/x/a.mpd".into(), format: Format::Mpd, text };
        let mut notes = Vec::new();
        let found = super::super::dash::read(&manifest, &mut |event| {
            if let Event::Note(note) = event {
                notes.push(note.to_owned());
            }
        });
        Ok((found.map_err(|error| error.to_string())?, notes))
    }

    fn period(attributes: &str, sets: &[(&str, &str)]) -> String {
        let set = |(kind, inner): &(&str, &str)| {
            format!(
                "<AdaptationSet mimeType=\"{kind}/mp4\"><SegmentTemplate media=\"$RepresentationID$/$Number$.m4s\" \
                     initialization=\"$RepresentationID$.mp4\" timescale=\"10\" duration=\"50\"/>{inner}</AdaptationSet>"
            )
        };
        format!("<Period {attributes}>{}</Period>", sets.iter().map(set).collect::<String>())
    }

    #[test]
    fn periods_go_on_in_what_is_most_alike() {
        let first = period(
            "duration=\"PT10S\"",
            &[
                ("video", "<Representation id=\"v1\" height=\"720\"/><Representation id=\"v2\" height=\"360\"/>"),
                ("audio", "<Representation id=\"a\"/>"),
            ],
        );
        let other = period(
            "",
            &[
                ("audio", "<Representation id=\"x\"/>"),
                (
                    "video",
                    "<Representation id=\"p\" height=\"352\"/><Representation id=\"q\" height=\"1080\"/><Representation id=\"r\" height=\"700\"/>",
                ),
            ],
        );
        let (named, notes) = read(&format!("{first}{other}")).unwrap();
        let pieces = |named: &Named| {
            let Named::Media(rendition) = named else { panic!("{named:?}") };
            let names =
                rendition.pieces.iter().map(|piece| piece.part.path.strip_prefix("/x").unwrap().display().to_string());
            (names.collect::<Vec<_>>().join(" "), rendition.joins.clone())
        };
        let ten = Some(Shift { by: 10_000_000_000, from: Some(10_000_000_000) });
        for (named, want) in named.iter().zip(["v1 r", "v2 p", "a x"]) {
            let (one, other) = want.split_once(' ').unwrap();
            let want = format!("{one}/1.m4s {one}/2.m4s {other}/1.m4s {other}/2.m4s {other}/3.m4s {other}/4.m4s");
            assert_eq!(pieces(named), (want, vec![Join { piece: 2, shift: ten }]));
        }
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("Representation \"q\" of the Period at 10 s is left out"), "{notes:?}");
    }

    #[test]
    fn refusals() {
        let video = [("video", "<Representation id=\"v\"/>")];
        let audio = [("audio", "<Representation id=\"a\"/>")];
        for (periods, want) in [
            (String::new(), "found no Period, expected at least one"),
            ("<Period duration=\"PT1S\"/>".repeat(1_025), "1025 Periods, expected at most 1024"),
            (format!("{}{}", period("", &video), period("", &video)), "Period 1 (from 0) without a start"),
            (
                format!("{}{}", period("start=\"PT5S\"", &video), period("start=\"PT1S\"", &video)),
                "at 1 s, behind one at 5 s",
            ),
            (
                format!("{}<Period xlink:href=\"http://ads/\"/>", period("duration=\"PT1S\"", &video)),
                "elsewhere (xlink:href)",
            ),
            (
                format!("{}{}", period("duration=\"PT10S\"", &video), period("", &audio)),
                "the Period at 10 s without a Representation that goes on with \"v\"",
            ),
        ] {
            let error = read(&periods).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }
}
