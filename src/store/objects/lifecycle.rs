//! When objects end: rules by path, and what is due.

use std::collections::BTreeMap;
use std::time::Duration;

/// Objects of a container whose path matches end so long after they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub pattern: Pattern,
    pub after: Duration,
}

/// Of paths within a container: a prefix, or with asterisks that stand for any characters, slashes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands between the asterisks; one piece is a prefix.
    pieces: Vec<Box<str>>,
}

/// Of a pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = super::path::PATH_BYTES_MAX;

impl Pattern {
    pub fn new(text: &str) -> Option<Pattern> {
        let sound = text.len() <= PATTERN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        sound.then(|| Pattern { pieces: text.split('*').map(Into::into).collect() })
    }

    pub fn matches(&self, path: &str) -> bool {
        let [first, between @ .., last] = &self.pieces[..] else {
            return self.pieces.first().is_some_and(|prefix| path.starts_with(&**prefix));
        };
        let Some(mut rest) = path.strip_prefix(&**first) else { return false };
        // The earliest place of each piece leaves the most for the next.
        for piece in between {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.len() >= last.len() && rest.ends_with(&**last)
    }
}

/// How long what has this path lasts, by the first rule to end it.
pub fn lasts(rules: &[Rule], path: &str) -> Option<Duration> {
    rules.iter().filter(|rule| rule.pattern.matches(path)).map(|rule| rule.after).min()
}

/// Ids of objects by the second in which they end.
#[derive(Debug, Default)]
pub struct Due(BTreeMap<u64, Vec<u64>>);

impl Due {
    /// `expires` is in milliseconds since 1970; what never ends is not kept.
    pub fn insert(&mut self, id: u64, expires: u64) {
        if expires == super::object::NEVER {
            return;
        }
        self.0.entry(expires / 1_000).or_default().push(id);
    }

    /// Takes up to `max` ids that are due in milliseconds `now`. Some may not be quite: whoever takes them looks again.
    pub fn take(&mut self, now: u64, max: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        while let Some(mut first) = self.0.first_entry() {
            if *first.key() >= now / 1_000 || taken.len() >= max {
                break;
            }
            let ids = first.get_mut();
            let from = ids.len().saturating_sub(max - taken.len());
            taken.extend(ids.drain(from..));
            if ids.is_empty() {
                first.remove();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, path, want) in [
            ("", "a/b.ts", true),
            ("a/", "a/b.ts", true),
            ("a/b", "a/b.ts", true),
            ("b", "a/b.ts", false),
            ("*.ts", "a/b.ts", true),
            ("*.ts", "a/b.ts2", false),
            ("a/*.ts", "a/c/b.ts", true),
            ("a/*.ts", "b/c.ts", false),
            ("a/*/b*.m4s", "a/x/y/b7.m4s", true),
            ("a/*/b*.m4s", "a/b7.m4s", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "aab", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path), want, "{pattern} {path}");
        }
        assert!(Pattern::new("a b").is_none() && Pattern::new(&"a".repeat(901)).is_none());
    }

    #[test]
    fn the_shortest_rule_counts() {
        let rule =
            |pattern, seconds| Rule { pattern: Pattern::new(pattern).unwrap(), after: Duration::from_secs(seconds) };
        let rules = [rule("a/", 60), rule("*.ts", 10), rule("a/keep", 100)];
        for (path, want) in [("a/x", Some(60)), ("a/x.ts", Some(10)), ("a/keep", Some(60)), ("b", None)] {
            assert_eq!(lasts(&rules, path), want.map(Duration::from_secs), "{path}");
        }
    }

    #[test]
    fn what_is_due_is_taken_in_portions() {
        let mut due = Due::default();
        for id in 0..10 {
            due.insert(id, 5_000 + id * 100);
            due.insert(100 + id, 7_999);
        }
        assert!(due.take(5_999, 100).is_empty());
        let mut taken: Vec<u64> = (0..4).flat_map(|_| due.take(6_000, 3)).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..10).collect::<Vec<u64>>());
        assert!(due.take(7_999, 100).is_empty());
        assert_eq!(due.take(8_000, 100).len(), 10);
        assert!(due.take(u64::MAX, 100).is_empty());
    }

    proptest! {
        #[test]
        fn an_asterisk_for_some_of_a_path_matches_it(path in "[ab/.]{0,12}", from in 0_usize..13, to in 0_usize..13) {
            let (from, to) = (from.min(to).min(path.len()), from.max(to).min(path.len()));
            let pattern = Pattern::new(&[&path[..from], "*", &path[to..]].concat()).unwrap();
            prop_assert!(pattern.matches(&path));
        }

        #[test]
        fn anything_may_come(pattern in "\\PC{0,20}", path in "\\PC{0,20}") {
            let _ = Pattern::new(&pattern).is_some_and(|pattern| pattern.matches(&path));
        }
    }
}
