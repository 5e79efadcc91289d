//! Reading one table of the file: typed, bounded, and noting every mistake instead of stopping at the first.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{self, Bytes, Written};

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1; 0 when it is not about one line (a key that is missing).
    pub line: usize,
    /// `server.workers`; empty when the text is not TOML at all.
    pub key: String,
    /// What was found, and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// What a reading of the whole file gathers: mistakes, and (for the tests and for suggestions) the keys it knows.
pub struct Notes<'t> {
    text: &'t str,
    pub problems: RefCell<Vec<Problem>>,
    pub known: RefCell<Vec<String>>,
}

impl<'t> Notes<'t> {
    pub fn new(text: &'t str) -> Notes<'t> {
        Notes { text, problems: RefCell::default(), known: RefCell::default() }
    }

    pub fn problem(&self, span: Option<Range<usize>>, key: &str, what: String) {
        let line = span.map_or(0, |span| 1 + self.text[..span.start.min(self.text.len())].matches('\n').count());
        self.problems.borrow_mut().push(Problem { line, key: key.to_owned(), what });
    }
}

/// A table being read. Every key is asked for by name exactly once; what nobody asked for is unknown.
pub struct Section<'n, 'd> {
    notes: &'n Notes<'n>,
    table: Option<&'d DeTable<'d>>,
    path: String,
    span: Option<Range<usize>>,
    /// Whether this is the first table of its kind, so that known keys are noted once.
    first: bool,
    asked: Vec<&'static str>,
}

impl<'n, 'd> Section<'n, 'd> {
    pub fn root(notes: &'n Notes<'n>, table: &'d DeTable<'d>) -> Section<'n, 'd> {
        Section { notes, table: Some(table), path: String::new(), span: None, first: true, asked: Vec::new() }
    }

    /// `[key]`; reads as empty when it is not there.
    pub fn section(&mut self, key: &'static str) -> Section<'n, 'd> {
        let value = self.find(key);
        let table = match value.map(Spanned::get_ref) {
            None => None,
            Some(DeValue::Table(table)) => Some(table),
            Some(other) => {
                self.wrong(key, other, &format!("a section [{}]", self.key(key)));
                None
            }
        };
        let span = value.map(Spanned::span);
        Section { notes: self.notes, table, path: self.key(key), span, first: true, asked: Vec::new() }
    }

    /// `[[key]]`, as often as it is there. When it is not, `when_none` is read as empty so that its keys are known.
    pub fn sections<T>(&mut self, key: &'static str, mut read: impl FnMut(Section<'n, 'd>) -> T) -> Vec<T> {
        let notes = self.notes;
        let section = |table, span, path, first| Section { notes, table, path, span, first, asked: Vec::new() };
        let path = self.key(key);
        match self.find(key).map(Spanned::get_ref) {
            None => {
                read(section(None, None, path, true));
                Vec::new()
            }
            Some(DeValue::Array(rows)) => {
                let mut all = Vec::new();
                for (number, row) in rows.iter().enumerate() {
                    match row.get_ref() {
                        DeValue::Table(table) => {
                            let path = if rows.len() > 1 { format!("{path}[{number}]") } else { path.clone() };
                            all.push(read(section(Some(table), Some(row.span()), path, number == 0)));
                        }
                        other => self.wrong(key, other, &format!("sections [[{path}]]")),
                    }
                }
                all
            }
            Some(other) => {
                self.wrong(key, other, &format!("sections [[{path}]]"));
                Vec::new()
            }
        }
    }

    /// Whether the section stands in the file.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key stands in it, rightly or wrongly.
    pub fn has(&self, key: &str) -> bool {
        self.span(key).is_some()
    }

    pub fn duration(&mut self, key: &'static str, default: Duration, allowed: RangeInclusive<Duration>) -> Duration {
        let expected =
            format!("a duration from {} to {} such as \"4s\"", Written(*allowed.start()), Written(*allowed.end()));
        self.value(key, &expected, |value| match value {
            DeValue::String(text) => value::duration(text).filter(|duration| allowed.contains(duration)),
            _ => None,
        })
        .unwrap_or(default)
    }

    /// Bytes.
    pub fn size(&mut self, key: &'static str, default: u64, allowed: RangeInclusive<u64>) -> u64 {
        let expected =
            format!("a size from {} to {} such as \"64 MiB\"", Bytes(*allowed.start()), Bytes(*allowed.end()));
        self.value(key, &expected, |value| match value {
            DeValue::String(text) => value::size(text).filter(|size| allowed.contains(size)),
            DeValue::Integer(_) => integer(value).filter(|size| allowed.contains(size)),
            _ => None,
        })
        .unwrap_or(default)
    }

    pub fn count(&mut self, key: &'static str, default: usize, allowed: RangeInclusive<usize>) -> usize {
        let expected = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        self.value(key, &expected, |value| {
            integer(value).and_then(|count| usize::try_from(count).ok()).filter(|count| allowed.contains(count))
        })
        .unwrap_or(default)
    }

    /// An absolute path.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.value(key, "an absolute path", |value| match value {
            DeValue::String(text) if text.starts_with('/') && !text.contains('\0') => Some(PathBuf::from(&**text)),
            _ => None,
        })
    }

    /// A string that `parse` understands.
    pub fn text<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        mut parse: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        self.value(key, expected, |value| match value {
            DeValue::String(text) => parse(text),
            _ => None,
        })
    }

    /// Any value that `parse` understands; a mistake is noted, and reads as if the key were not there.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&DeValue<'d>) -> Option<T>,
    ) -> Option<T> {
        let value = self.find(key)?;
        let parsed = parse(value.get_ref());
        if parsed.is_none() {
            self.wrong(key, value.get_ref(), expected);
        }
        parsed
    }

    /// A mistake that is about `key`, or about a relation in which it stands.
    pub fn problem(&self, key: &str, what: String) {
        self.notes.problem(self.span(key).or(self.span.clone()), &self.key(key), what);
    }

    /// Everything that was not asked for is unknown.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref();
            if !self.asked.iter().any(|asked| asked == name) {
                let what = match nearest(name, &self.asked) {
                    Some(near) => format!("unknown key; did you mean {:?}?", self.key(near)),
                    None => format!("unknown key; known here: {}", self.asked.join(", ")),
                };
                self.notes.problem(Some(key.span()), &self.key(name), what);
            }
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        debug_assert!(!self.asked.contains(&key), "{key} is read twice");
        self.asked.push(key);
        if self.first {
            self.notes.known.borrow_mut().push(self.key(key));
        }
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn span(&self, key: &str) -> Option<Range<usize>> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(name, _)| name.span())
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, found: &DeValue<'_>, expected: &str) {
        self.problem(key, format!("found {}, expected {expected}", shown(found)));
    }
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let cut: String = text.chars().take(60).collect();
            if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
        }
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(when) => when.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// The known key that `name` was probably meant to be: at most a third of it differs.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, near) = known.iter().map(|known| (edit_distance(name, known), *known)).min()?;
    (distance <= name.len().max(near.len()).div_ceil(3)).then_some(near)
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(from != to)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, want) in
            [("", "", 0), ("path", "path", 0), ("pahth", "path", 1), ("wrokers", "workers", 1), ("", "abc", 3)]
        {
            assert_eq!(edit_distance(a, b), want, "{a} {b}");
        }
        assert_eq!(nearest("conections_max", &["workers", "connections_max"]), Some("connections_max"));
        assert_eq!(nearest("colour", &["workers", "connections_max"]), None);
    }
}
