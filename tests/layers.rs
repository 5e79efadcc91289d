//! The rules of the architecture that a compiler does not check: who may import whom, where `unsafe` may stand, and who may
//! look at a clock. The table is the one in the documentation of the crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rows from the bottom; modules import only from rows below their own.
const ROWS: [&[&str]; 10] = [
    &["base"],
    &["sys"], // Row 0 with `base`, which it may import, as nobody else may a sibling.
    &["http", "media"],
    &["package", "ingest"],
    &["store"],
    &["library", "live", "cache"],
    &["service"],
    &["delivery", "intake"],
    &["config"],
    &["cli"],
];

/// Modules whose job it is to know what time it is.
const CLOCK_OWNERS: [&str; 3] = ["delivery", "intake", "cli"];
const CLOCKS: [&str; 4] = ["SystemTime::now", "Instant::now", "UNIX_EPOCH.elapsed", "clock_gettime"];

#[test]
fn the_source_keeps_to_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 40, "only {} files below {}", files.len(), root.display());
    let mut breaches = Vec::new();
    let mut modules = BTreeSet::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).unwrap();
        modules.extend(module(&name).map(str::to_owned));
        breaches.extend(check(&name, &source));
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
    assert!(modules.len() >= 10, "modules found: {modules:?}");
}

#[test]
fn breaches_are_noticed() {
    for (name, source, want) in [
        ("http/range.rs", "use crate::base::Extent;", ""),
        ("http/range.rs", "use crate::media::Track;", "http imports media"),
        ("base/units.rs", "use crate::sys::file;", "base imports sys"),
        ("sys/file.rs", "use crate::base::Stored;", ""),
        ("package/hls/mod.rs", "fn f(store: &crate::store::Index) {}", "package imports store"),
        ("delivery/mod.rs", "use crate::{base::limits, intake::Plane};", "delivery imports intake"),
        ("delivery/mod.rs", "use crate::{\n    base::{limits, counters},\n    config,\n};", "delivery imports config"),
        ("config/mod.rs", "use crate::delivery::Options;", ""),
        ("cli/serve.rs", "use crate::{config, delivery, intake};", ""),
        ("media/new.rs", "use crate::novelty::X;", "novelty is in no row"),
        ("novelty/mod.rs", "", "novelty is in no row"),
        ("novelty.rs", "", "novelty is in no row"),
        ("lib.rs", "pub mod cli;", ""),
        ("http/mod.rs", "//! See [`crate::service`].\n/* crate::cli */ const TEXT: &str = \"crate::cli\";", ""),
        ("http/mod.rs", "const TEXT: &str = r#\"\"crate::cli\"#; use crate::cli;", "http imports cli"),
        ("http/mod.rs", "const QUOTE: char = '\"'; use crate::cli;", "http imports cli"),
        ("http/mod.rs", "fn f<'a>(x: &'a str) { unsafe { g(x) } }", "unsafe outside sys"),
        ("http/mod.rs", "#![deny(unsafe_code)] // unsafe", ""),
        ("sys/file.rs", "unsafe { g() }", ""),
        ("service/mod.rs", "let now = SystemTime::now();", "SystemTime::now outside"),
        ("service/mod.rs", "let now = Instant :: now ( ) ;", "Instant::now outside"),
        ("service/mod.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }", ""),
        ("service/tests.rs", "fn f() { Instant::now(); }", ""),
        ("delivery/clock.rs", "let now = Instant::now();", ""),
    ] {
        let breaches = check(name, source);
        match want {
            "" => assert!(breaches.is_empty(), "{name}: {source}: {breaches:?}"),
            want => assert!(breaches.len() == 1 && breaches[0].contains(want), "{name}: {source}: {breaches:?}"),
        }
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// What is wrong with the file `name` (relative to `src`), a line each.
fn check(name: &str, source: &str) -> Vec<String> {
    let Some(module) = module(name) else { return Vec::new() };
    let Some(own) = row(module) else { return vec![format!("{name}: {module} is in no row of the table")] };
    let code = code(source);
    let mut breaches = Vec::new();
    for import in imports(&code) {
        match row(&import) {
            None => breaches.push(format!("{name}: {import} is in no row of the table")),
            Some(_) if import == module => {}
            Some(row) if row < own => {}
            Some(_) => breaches.push(format!("{name}: {module} imports {import}, which is not below it")),
        }
    }
    if module != "sys" && words(&code).any(|word| word == "unsafe") {
        breaches.push(format!("{name}: unsafe outside sys"));
    }
    if !CLOCK_OWNERS.contains(&module) && !name.ends_with("/tests.rs") {
        let dense: String = without_tests(&code).split_whitespace().collect();
        for clock in CLOCKS.into_iter().filter(|clock| dense.contains(clock)) {
            breaches.push(format!("{name}: {clock} outside {}", CLOCK_OWNERS.join(", ")));
        }
    }
    breaches
}

/// The top-level module that a file belongs to; none for the crate's own two files.
fn module(name: &str) -> Option<&str> {
    let module = name.split('/').next().unwrap_or(name);
    let module = module.strip_suffix(".rs").unwrap_or(module);
    (module != "lib" && module != "main").then_some(module)
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

/// Top-level modules behind `crate::`, in use declarations and elsewhere.
fn imports(code: &str) -> BTreeSet<String> {
    let dense: String = code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ::", "::").replace(":: ", "::");
    let mut found = BTreeSet::new();
    for (at, _) in dense.match_indices("crate::") {
        // `mycrate::` is something else, and so is `$crate::`, which no rule is about.
        if dense[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let rest = &dense[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.extend(words(rest).next().map(str::to_owned)),
            Some(group) => found.extend(heads(group)),
        }
    }
    found
}

/// The first word of each member of a group that was just opened.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (1, 0, Vec::new());
    for (at, character) in group.char_indices() {
        let is_end = match character {
            '{' => {
                depth += 1;
                false
            }
            '}' => {
                depth -= 1;
                depth == 0
            }
            ',' => depth == 1,
            _ => false,
        };
        if is_end {
            heads.extend(words(&group[start..at]).next().map(str::to_owned));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// Without the module of tests at the end of the file.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]").map_or(code, |at| &code[..at])
}

/// The source with comments and the contents of strings left out.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        let skipped = match character {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'r' if !code.ends_with(|before: char| before.is_alphanumeric() || before == '_') => raw_string(rest),
            '"' => string(rest),
            // A quote is a character ('x', '\n') or the start of a lifetime.
            '\'' => character_literal(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn block_comment(rest: &str) -> usize {
    rest.find("*/").map_or(rest.len(), |at| at + 2)
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`; 0 if it is none.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let start = 1 + hashes;
    if !rest[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start + 1..].find(&end).map_or(rest.len(), |at| start + 1 + at + end.len())
}

fn character_literal(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        // Escapes are at most '\u{10ffff}'.
        Some((_, '\\')) => {
            rest.get(3..).and_then(|rest| rest.find('\'')).filter(|&at| at < 10).map_or(0, |at| 3 + at + 1)
        }
        Some(_) => characters.next().filter(|&(_, character)| character == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}
