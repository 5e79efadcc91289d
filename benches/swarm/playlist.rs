//! Media playlists, read and held against the rules that players rely on: of one text, and from each to the next.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Of what is in a media playlist, what the swarm uses.
#[derive(Clone, Debug, Default)]
pub struct Playlist {
    pub media_sequence: u64,
    pub target: u64,
    pub part_target: Option<f64>,
    pub map: String,
    /// Complete ones, the first of number `media_sequence`.
    pub segments: Vec<Segment>,
    /// In order of time, of complete segments and of the open one.
    pub parts: Vec<(Position, Part)>,
    pub hint: Option<String>,
    /// URI, LAST-MSN and LAST-PART of the other renditions.
    pub reports: Vec<(String, u64, u64)>,
}

/// Segment number, and part in it.
pub type Position = (u64, u64);

#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub uri: String,
    pub duration: f64,
    pub is_gap: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub uri: String,
    pub duration: f64,
    pub is_independent: bool,
}

impl Playlist {
    pub fn parse(text: &str) -> Result<Playlist> {
        let mut lines = text.lines();
        ensure!(lines.next() == Some("#EXTM3U"), "no playlist");
        let mut playlist = Playlist::default();
        let (mut duration, mut is_gap, mut part) = (None, false, 0);
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let number = || playlist.media_sequence + playlist.segments.len() as u64;
            match tag {
                "#EXT-X-TARGETDURATION" => playlist.target = value.parse()?,
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = value.parse()?,
                "#EXT-X-PART-INF" => playlist.part_target = Some(attribute(value, "PART-TARGET")?.parse()?),
                "#EXT-X-MAP" => playlist.map = attribute(value, "URI")?.to_owned(),
                "#EXT-X-GAP" => is_gap = true,
                "#EXTINF" => duration = Some(value.trim_end_matches(',').parse()?),
                "#EXT-X-PART" => {
                    let uri = attribute(value, "URI")?.to_owned();
                    let is_independent = attribute(value, "INDEPENDENT").is_ok_and(|value| value == "YES");
                    let duration = attribute(value, "DURATION")?.parse()?;
                    playlist.parts.push(((number(), part), Part { uri, duration, is_independent }));
                    part += 1;
                }
                "#EXT-X-PRELOAD-HINT" if attribute(value, "TYPE")? == "PART" => {
                    playlist.hint = Some(attribute(value, "URI")?.to_owned());
                }
                "#EXT-X-RENDITION-REPORT" => {
                    let [msn, part] =
                        ["LAST-MSN", "LAST-PART"].map(|name| attribute(value, name)?.parse().context(name));
                    playlist.reports.push((attribute(value, "URI")?.to_owned(), msn?, part?));
                }
                _ if !line.starts_with('#') && !line.is_empty() => {
                    let duration = duration.take().with_context(|| format!("{line} without EXTINF"))?;
                    playlist.segments.push(Segment { uri: line.to_owned(), duration, is_gap });
                    (is_gap, part) = (false, 0);
                }
                _ => {}
            }
        }
        playlist.check()?;
        Ok(playlist)
    }

    /// What to ask for next: the part behind the last. A number behind the last of its segment stands for the first of the
    /// next segment (RFC 8216bis §6.2.5.2).
    pub fn next(&self) -> Position {
        let open = self.media_sequence + self.segments.len() as u64;
        match self.parts.last() {
            Some(((number, part), _)) if *number == open => (open, part + 1),
            _ => (open, 0),
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.target > 0, "§4.4.3.1: no EXT-X-TARGETDURATION");
        for Segment { uri, duration, .. } in &self.segments {
            // §4.4.3.1: rounded to the nearest whole number.
            ensure!(
                duration.round() <= self.target as f64,
                "§4.4.3.1: {uri} lasts {duration} s, target {}",
                self.target
            );
        }
        let limit = self.part_target.context("§4.4.3.7: no EXT-X-PART-INF")?;
        for (at, ((number, _), Part { uri, duration, .. })) in self.parts.iter().enumerate() {
            ensure!(*duration <= limit, "§4.4.4.9: {uri} lasts {duration} s, PART-TARGET {limit}");
            let is_last = self.parts.get(at + 1).is_none_or(|((next, _), _)| next != number);
            ensure!(is_last || *duration >= 0.85 * limit, "§4.4.4.9: {uri} lasts only {duration} s of {limit}");
        }
        ensure!(self.hint.is_some(), "§4.4.5.3: no EXT-X-PRELOAD-HINT");
        ensure!(!self.map.is_empty(), "§4.4.4.5: no EXT-X-MAP");
        for (index, segment) in self.segments.iter().enumerate() {
            let number = self.media_sequence + index as u64;
            let parts = self.parts.iter().filter(|((of, _), _)| *of == number).map(|(_, part)| part.duration);
            let (count, sum) = parts.fold((0, 0.0), |(count, sum), duration| (count + 1, sum + duration));
            let agrees = count == 0 || (sum - segment.duration).abs() < 0.001;
            ensure!(agrees, "{}: {count} parts last {sum} s, the segment {} s", segment.uri, segment.duration);
        }
        Ok(())
    }
}

/// What was published of one rendition so far.
#[derive(Default)]
pub struct Published {
    segments: BTreeMap<u64, Segment>,
    parts: BTreeMap<Position, Part>,
    newest: Option<Playlist>,
}

impl Published {
    /// Takes the next text, which is at least as new as the one before. What it says that an earlier one did not agree
    /// with is an error.
    pub fn take(&mut self, playlist: &Playlist) -> Result<()> {
        if let Some(before) = &self.newest {
            let (was, is) = (before.media_sequence, playlist.media_sequence);
            ensure!(is >= was, "§6.2.2: EXT-X-MEDIA-SEQUENCE fell from {was} to {is}");
            ensure!(playlist.target == before.target, "§6.2.1: EXT-X-TARGETDURATION changed");
            ensure!(playlist.part_target == before.part_target, "PART-TARGET changed");
            ensure!(playlist.next() >= before.next(), "the playlist ends before {:?}, where it was", before.next());
            let next = before.next();
            // Of a segment that is long over no parts are listed.
            let first_new = playlist.parts.iter().find(|(position, _)| *position >= next);
            let first_new = first_new.filter(|_| playlist.parts[0].0.0 <= next.0);
            if let (Some((position, part)), Some(hint)) = (first_new, &before.hint) {
                ensure!(part.uri == *hint, "§4.4.5.3: hinted was {hint}, then came {} at {position:?}", part.uri);
            }
        }
        for (index, segment) in playlist.segments.iter().enumerate() {
            let number = playlist.media_sequence + index as u64;
            let known = self.segments.entry(number).or_insert_with(|| segment.clone());
            ensure!(known == segment, "§6.2.1: segment {number} was {known:?}, is {segment:?}");
        }
        for (position, part) in &playlist.parts {
            let known = self.parts.entry(*position).or_insert_with(|| part.clone());
            ensure!(known == part, "§6.2.1: part {position:?} was {known:?}, is {part:?}");
        }
        self.segments = self.segments.split_off(&playlist.media_sequence);
        self.parts = self.parts.split_off(&(playlist.media_sequence, 0));
        self.newest = Some(playlist.clone());
        Ok(())
    }

    pub fn duration(&self, position: Position) -> Option<f64> {
        self.parts.get(&position).map(|part| part.duration)
    }

    pub fn newest(&self) -> Option<&Playlist> {
        self.newest.as_ref()
    }
}

fn attribute<'a>(list: &'a str, name: &str) -> Result<&'a str> {
    let mut rest = list;
    while let Some((found, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').context("a closing quote")?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if found == name {
            return Ok(value);
        }
        rest = after.trim_start_matches(',');
    }
    anyhow::bail!("no {name} in {list}")
}
