//! MPDs (ISO/IEC 23009-1) of content that is there as a whole: Periods, whose Representations are segments or files.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::periods::{self, Joined, Offered, Period, Traits};
use super::xml::Element;
use super::{Error, Input, Labels, Manifest, Named, PIECES_MAX, Part, Piece, Rendition, Report, directory_of};
use crate::media::isobmff::language;
use crate::media::track::Role;

/// More are no presentation.
const REPRESENTATIONS_MAX: usize = 256;
/// Of a segment's name, in bytes, and of what the names of all segments take.
const NAME_BYTES_MAX: usize = 4_096;
const NAMES_BYTES_MAX: usize = 512 * 1024 * 1024;

pub fn read(manifest: &Manifest, report: Report<'_>) -> Result<Vec<Named>, Error> {
    let mpd = Element::parse(&manifest.text).map_err(|found| manifest.unexpected(found, "an MPD"))?;
    if mpd.attribute("type").is_some_and(|kind| kind != "static") {
        return Err(manifest.unexpected("a live presentation (type dynamic)", "one of type static"));
    }
    let spent = Cell::new(0);
    let mut periods = periods::of(&mpd, manifest)?.into_iter();
    let Some(first) = periods.next() else { return Ok(Vec::new()) };
    let found = of_period(manifest, &mpd, &first, &spent)?;
    if periods.len() == 0 {
        return Ok(found.into_iter().map(|found| found.named).collect());
    }
    let mut joined = Joined::of(manifest, &first, found)?;
    for period in periods {
        joined.add(manifest, &period, of_period(manifest, &mpd, &period, &spent)?, report)?;
    }
    Ok(joined.finish())
}

/// What a Period has, but for pictures of trick modes.
fn of_period(
    manifest: &Manifest,
    mpd: &Element,
    period: &Period<'_>,
    spent: &Cell<usize>,
) -> Result<Vec<Offered>, Error> {
    let mut offered = Vec::new();
    let mut count = 0;
    for set in period.element.all("AdaptationSet") {
        let is_trick = ["EssentialProperty", "SupplementalProperty"]
            .iter()
            .flat_map(|name| set.all(name))
            .any(|it| it.attribute("schemeIdUri").is_some_and(|scheme| scheme.contains("trickmode")));
        if is_trick {
            continue;
        }
        for representation in set.all("Representation") {
            count += 1;
            if count > REPRESENTATIONS_MAX {
                return Err(manifest.unexpected(format!("more than {REPRESENTATIONS_MAX} Representations"), "fewer"));
            }
            let levels = [mpd, period.element, set, representation];
            let found = Found { manifest, levels, duration: period.duration, spent };
            if let Some(named) = found.named()? {
                offered.push(Offered { traits: found.traits(), named });
            }
        }
    }
    Ok(offered)
}

/// A Representation and what it is in, from the MPD down.
struct Found<'a> {
    manifest: &'a Manifest,
    levels: [&'a Element; 4],
    /// Of the Period, in seconds.
    duration: Option<f64>,
    /// What segments of all Representations took so far, in bytes.
    spent: &'a Cell<usize>,
}

impl Found<'_> {
    fn spend(&self, path: &Path) -> Result<(), Error> {
        self.spent.set(self.spent.get() + size_of::<Piece>() + path.as_os_str().len());
        if self.spent.get() > NAMES_BYTES_MAX { Err(self.manifest.too_many()) } else { Ok(()) }
    }

    fn named(&self) -> Result<Option<Named>, Error> {
        let representation = self.levels[3];
        let id = representation.attribute("id").unwrap_or_default();
        let name = format!("{} Representation {id}", self.manifest.path.display());
        if self.levels.iter().any(|level| level.child("ContentProtection").is_some()) {
            return Err(self.manifest.unexpected(format!("Representation {id:?} encrypted"), "media in the clear"));
        }
        let mime = self.inherited("mimeType").unwrap_or_default();
        if mime.starts_with("image/") {
            return Ok(None);
        }
        let is_text = mime == "text/vtt";
        let labels = self.labels();
        let (pieces, start) = if self.levels.iter().any(|level| level.child("SegmentTemplate").is_some()) {
            self.of_template(id)?
        } else if self.levels.iter().any(|level| level.child("SegmentList").is_some()) {
            self.of_list()?
        } else {
            let path = self.manifest.resolve(&self.base()?, self.own_base().unwrap_or_default())?;
            if !is_text {
                return Ok(Some(Named::File(Input { path, labels, audio: Vec::new() })));
            }
            (vec![Piece { part: Part { path, range: None }, header: None }], 0)
        };
        let rendition = Rendition { name, labels, pieces, start, joins: Vec::new() };
        Ok(Some(if is_text { Named::Text(rendition) } else { Named::Media(rendition) }))
    }

    fn inherited(&self, name: &str) -> Option<&str> {
        self.levels.iter().rev().find_map(|level| level.attribute(name))
    }

    fn traits(&self) -> Traits {
        let number = |name: &str| self.inherited(name).and_then(|number| number.trim().parse().ok()).unwrap_or(0);
        let kind = self.inherited("mimeType").or(self.levels[2].attribute("contentType")).unwrap_or_default();
        Traits {
            id: self.levels[3].attribute("id").unwrap_or_default().to_owned(),
            kind: kind.split('/').next().unwrap_or_default().to_owned(),
            height: number("height"),
            bandwidth: number("bandwidth"),
            start: self.start("SegmentBase"),
        }
    }

    fn labels(&self) -> Labels {
        let set = self.levels[2];
        let role = |level: &Element| {
            let dash = |role: &&Element| role.attribute("schemeIdUri") == Some("urn:mpeg:dash:role:2011");
            level.all("Role").filter(dash).find_map(|role| Role::of_dash(role.attribute("value")?))
        };
        let name = set.child("Label").map(|label| label.text.clone());
        Labels {
            language: self.inherited("lang").and_then(language::from_elng).filter(|tag| tag != "und"),
            name: name.filter(|name| !name.is_empty() && name.len() <= 200 && !name.contains(char::is_control)),
            role: role(set).or_else(|| role(self.levels[3])),
        }
    }

    fn own_base(&self) -> Option<&str> {
        self.levels[3].child("BaseURL").map(|base| base.text.as_str())
    }

    /// The directory that names in the Representation count from (§5.6.4), but for its own BaseURL.
    fn base(&self) -> Result<String, Error> {
        let mut base = String::new();
        for level in &self.levels[..3] {
            if let Some(next) = level.child("BaseURL") {
                base = self.manifest.path_below(&base, &format!("{}x", next.text))?;
                base = directory_of(&base).to_owned();
            }
        }
        Ok(base)
    }

    /// The same, with it.
    fn directory(&self) -> Result<String, Error> {
        let base = self.base()?;
        match self.own_base() {
            None => Ok(base),
            Some(own) => Ok(directory_of(&self.manifest.path_below(&base, &format!("{own}x"))?).to_owned()),
        }
    }

    /// An attribute of the innermost of these elements that has it (§5.3.9.1).
    fn of_segments(&self, kind: &str, name: &str) -> Option<&str> {
        self.levels.iter().rev().filter_map(|level| level.child(kind)).find_map(|it| it.attribute(name))
    }

    fn number(&self, kind: &str, name: &str, otherwise: u64) -> u64 {
        self.of_segments(kind, name).and_then(|number| number.trim().parse().ok()).unwrap_or(otherwise)
    }

    /// presentationTimeOffset, in nanoseconds.
    fn start(&self, kind: &str) -> i64 {
        let (offset, scale) =
            (self.number(kind, "presentationTimeOffset", 0), self.number(kind, "timescale", 1).max(1));
        i64::try_from(u128::from(offset) * 1_000_000_000 / u128::from(scale)).unwrap_or(i64::MAX)
    }

    fn of_template(&self, id: &str) -> Result<(Vec<Piece>, i64), Error> {
        const KIND: &str = "SegmentTemplate";
        let manifest = self.manifest;
        let directory = self.directory()?;
        let bandwidth = self.levels[3].attribute("bandwidth").unwrap_or_default();
        let name = |template: &str, number: u64, time: u64| {
            let text = fill(template, id, bandwidth, number, time).ok_or_else(|| {
                let shown: String = template.chars().take(80).collect();
                manifest.unexpected(format!("the template {shown:?}"), "one of ISO/IEC 23009-1")
            })?;
            manifest.resolve(&directory, &text)
        };
        let media = self.of_segments(KIND, "media");
        let media = media.ok_or_else(|| manifest.unexpected("a SegmentTemplate without media", "one with it"))?;
        let header = match self.of_segments(KIND, "initialization") {
            Some(template) => Some(Arc::new(Part { path: name(template, 0, 0)?, range: None })),
            None => None,
        };
        let first = self.number(KIND, "startNumber", 1);
        let scale = self.number(KIND, "timescale", 1).max(1);
        let mut pieces = Vec::new();
        let mut add = |number: u64, time: u64| {
            if pieces.len() == PIECES_MAX {
                return Err(manifest.too_many());
            }
            let path = name(media, first.saturating_add(number), time)?;
            self.spend(&path)?;
            pieces.push(Piece { part: Part { path, range: None }, header: header.clone() });
            Ok(())
        };
        let templates = self.levels.iter().rev().filter_map(|level| level.child(KIND));
        let end = self.duration.map(|duration| (duration * scale as f64).ceil() as u64);
        if let Some(timeline) = templates.filter_map(|template| template.child("SegmentTimeline")).next() {
            let offset = self.number(KIND, "presentationTimeOffset", 0);
            let (mut time, mut number) = (0_u64, 0);
            let rows: Vec<&Element> = timeline.all("S").collect();
            for (at, row) in rows.iter().enumerate() {
                let length = row.number("d").filter(|&length| length > 0);
                let length = length.ok_or_else(|| manifest.unexpected("a segment without a duration (S@d)", "one"))?;
                time = row.number("t").unwrap_or(time);
                let count = match row.attribute("r").and_then(|count| count.trim().parse::<i64>().ok()).unwrap_or(0) {
                    count @ 0.. => count as u64 + 1,
                    // Up to the next row, or to the end (§5.3.9.6).
                    _ => {
                        let next = rows.get(at + 1).and_then(|next| next.number("t"));
                        let end = next.or(end.map(|end| end.saturating_add(offset)));
                        end.unwrap_or(time).saturating_sub(time).div_ceil(length).max(1)
                    }
                };
                for _ in 0..count {
                    add(number, time)?;
                    number += 1;
                    time = time.saturating_add(length);
                }
            }
        } else {
            let length = self.number(KIND, "duration", 0);
            let count = end.filter(|_| length > 0).map(|end| end.div_ceil(length)).ok_or_else(|| {
                manifest.unexpected("segments without durations, or without an end", "a SegmentTimeline, or both")
            })?;
            for number in 0..count {
                add(number, number.saturating_mul(length))?;
            }
        }
        Ok((pieces, self.start(KIND)))
    }

    fn of_list(&self) -> Result<(Vec<Piece>, i64), Error> {
        const KIND: &str = "SegmentList";
        let directory = self.directory()?;
        let base = self.own_base().unwrap_or_default();
        let part = |name: Option<&str>, range: Option<&str>| {
            // Without a name of its own it is in the Representation's file.
            let path = match name {
                Some(name) => self.manifest.resolve(&directory, name)?,
                None => self.manifest.resolve(&self.base()?, base)?,
            };
            let bytes = |range: &str| {
                let (start, last) = range.split_once('-')?;
                Some(start.parse::<u64>().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
            };
            let range = match range {
                None => None,
                Some(range) => {
                    let wrong = || self.manifest.unexpected(format!("the byte range {range:?}"), "first-last");
                    Some(bytes(range).ok_or_else(wrong)?)
                }
            };
            Ok::<_, Error>(Part { path, range })
        };
        let lists = || self.levels.iter().rev().filter_map(|level| level.child(KIND));
        let header = match lists().find_map(|list| list.child("Initialization")) {
            Some(found) => Some(Arc::new(part(found.attribute("sourceURL"), found.attribute("range"))?)),
            None => None,
        };
        let mut pieces = Vec::new();
        let list = lists().find(|list| list.child("SegmentURL").is_some());
        for found in list.into_iter().flat_map(|list| list.all("SegmentURL")) {
            if pieces.len() == PIECES_MAX {
                return Err(self.manifest.too_many());
            }
            let part = part(found.attribute("media"), found.attribute("mediaRange"))?;
            self.spend(&part.path)?;
            pieces.push(Piece { part, header: header.clone() });
        }
        Ok((pieces, self.start(KIND)))
    }
}

/// §5.3.9.4.4. `None` if it is no template.
fn fill(template: &str, id: &str, bandwidth: &str, number: u64, time: u64) -> Option<String> {
    let mut out = String::new();
    for (index, part) in template.split('$').enumerate() {
        if [out.len(), part.len(), id.len(), bandwidth.len()].into_iter().any(|len| len > NAME_BYTES_MAX) {
            return None;
        }
        if index % 2 == 0 {
            out.push_str(part);
            continue;
        }
        let (name, format) = part.split_once('%').unwrap_or((part, ""));
        let width = format.trim_end_matches('d').trim_start_matches('0');
        let width = if width.is_empty() { 1 } else { width.parse::<usize>().ok().filter(|&width| width <= 20)? };
        match name {
            "" => out.push('$'),
            "RepresentationID" => out.push_str(id),
            "Bandwidth" => out.push_str(bandwidth),
            "Number" => out.push_str(&format!("{number:0width$}")),
            "Time" => out.push_str(&format!("{time:0width$}")),
            _ => return None,
        }
    }
    Some(out)
}

/// xs:duration, as far as MPDs use it: `PT1H2M3.5S`, with days.
pub fn seconds(text: &str) -> Option<f64> {
    let (days, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
    let mut total = match days {
        "" => 0.0,
        days => days.strip_suffix('D')?.parse::<f64>().ok()? * 86_400.0,
    };
    let mut rest = time;
    for (unit, length) in [('H', 3_600.0), ('M', 60.0), ('S', 1.0)] {
        if let Some((number, behind)) = rest.split_once(unit) {
            total += number.parse::<f64>().ok()? * length;
            rest = behind;
        }
    }
    (rest.is_empty() && (0.0..1e9).contains(&total)).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn named(text: &str) -> Result<Vec<Named>, String> {
        let manifest = Manifest { path: "/x/a.mpd".into(), format: Format::Mpd, text: text.to_owned() };
        read(&manifest, &mut |_| {}).map_err(|error| error.to_string())
    }

    fn paths(named: &Named) -> Vec<String> {
        let Named::Media(rendition) = named else { panic!("{named:?}") };
        let part = |part: &Part| format!("{} {:?}", part.path.display(), part.range);
        let header = rendition.pieces[0].header.iter().map(|header| part(header));
        header.chain(rendition.pieces.iter().map(|piece| part(&piece.part))).collect()
    }

    #[test]
    fn segments() {
        let text = r#"<MPD mediaPresentationDuration="PT9.5S"><BaseURL>d/</BaseURL><Period>
          <AdaptationSet lang="deu" mimeType="audio/mp4"><Label>Deutsch &amp; so</Label>
            <Role schemeIdUri="urn:mpeg:dash:role:2011" value="commentary"/>
            <SegmentTemplate timescale="10" initialization="i-$RepresentationID$.mp4" media="$Time$.m4s" presentationTimeOffset="20">
              <SegmentTimeline><S t="20" d="40" r="1"/><S d="15"/></SegmentTimeline></SegmentTemplate>
            <Representation id="a1" bandwidth="1"/></AdaptationSet>
          <AdaptationSet mimeType="video/mp4"><SegmentTemplate duration="4" media="v/$Number%03d$.m4s" startNumber="0"/>
            <Representation id="v1"/></AdaptationSet>
          <AdaptationSet mimeType="video/mp4"><Representation id="v2"><BaseURL>v2.mp4</BaseURL><SegmentList>
            <Initialization range="0-99"/><SegmentURL mediaRange="100-199"/></SegmentList></Representation>
            <Representation id="v3"><BaseURL>v3.mp4</BaseURL><SegmentBase indexRange="0-9"/></Representation></AdaptationSet>
          </Period></MPD>"#;
        let found = named(text).unwrap();
        let Named::Media(first) = &found[0] else { panic!() };
        let want =
            Labels { language: Some("de".into()), name: Some("Deutsch & so".into()), role: Some(Role::Commentary) };
        assert_eq!((&first.labels, first.start), (&want, 2_000_000_000));
        assert_eq!(paths(&found[0]), ["i-a1.mp4", "20.m4s", "60.m4s", "100.m4s"].map(|it| format!("/x/d/{it} None")));
        assert_eq!(paths(&found[1]), ["000", "001", "002"].map(|it| format!("/x/d/v/{it}.m4s None")));
        assert_eq!(paths(&found[2]), ["/x/d/v2.mp4 Some(0..100)", "/x/d/v2.mp4 Some(100..200)"]);
        let Named::File(file) = &found[3] else { panic!() };
        assert_eq!(file.path.to_str(), Some("/x/d/v3.mp4"));
    }

    #[test]
    fn refusals() {
        let one = |inner: &str| format!("<MPD><Period><AdaptationSet>{inner}</AdaptationSet></Period></MPD>");
        for (text, want) in [
            ("<MPD type=\"dynamic\"/>".to_owned(), "a live presentation"),
            ("<MPD/>".to_owned(), "found no Period, expected at least one"),
            (one("<ContentProtection/><Representation id=\"v\"/>"), "Representation \"v\" encrypted"),
            (one("<SegmentTemplate media=\"$X$\" duration=\"1\"/><Representation/>"), "without an end"),
            (
                one(
                    "<SegmentTemplate media=\"$X$\"><SegmentTimeline><S d=\"1\"/></SegmentTimeline></SegmentTemplate><Representation/>",
                ),
                "the template \"$X$\"",
            ),
            (
                one(
                    "<SegmentTemplate media=\"a\"><SegmentTimeline><S d=\"1\" r=\"999999999999\"/></SegmentTimeline></SegmentTemplate><Representation/>",
                ),
                "more than 1048576 segments",
            ),
            (one("<Representation><BaseURL>http://a/b.mp4</BaseURL></Representation>"), "not fetched"),
        ] {
            let error = named(&text).unwrap_err();
            assert!(error.starts_with("/x/a.mpd: found ") && error.contains(want), "{error}");
        }
    }

    #[test]
    fn durations() {
        for (text, want) in [
            ("PT1H2M3.5S", Some(3_723.5)),
            ("P1DT1S", Some(86_401.0)),
            ("PT6.0S", Some(6.0)),
            ("P1Y", None),
            ("1S", None),
            ("PT-1S", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
