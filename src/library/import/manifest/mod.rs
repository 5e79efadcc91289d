//! Directories and manifests, as the inputs that they name: HLS playlists, MPDs, SMIL and server manifests (`.ism`).
//!
//! What they name lies beside them: nothing outside of the manifest's directory is read, and nothing is fetched.

mod dash;
mod hls;
mod periods;
mod smil;
mod xml;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error as ThisError;

use super::input::{Input, Labels};
use super::{Event, Report};

/// One thing that a manifest names.
#[derive(Clone, Debug, PartialEq)]
pub enum Named {
    /// A file that is an input of its own.
    File(Input),
    /// Pieces that make one rendition.
    Media(Rendition),
    /// Pieces of WebVTT.
    Text(Rendition),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rendition {
    /// For messages.
    pub name: String,
    pub labels: Labels,
    pub pieces: Vec<Piece>,
    /// Time of the media at which its presentation begins, as the manifest has it, in nanoseconds.
    pub start: i64,
    /// Ascending.
    pub joins: Vec<Join>,
}

/// Where segments on another clock follow: behind an `EXT-X-DISCONTINUITY`, in another Period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Index of the first of them.
    pub piece: usize,
    /// `None` until it was measured: they go on where the ones before them end.
    pub shift: Option<Shift>,
}

/// How times on another clock continue those of the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// What is added to them, in nanoseconds.
    pub by: i64,
    /// When they begin, on the first clock, where the manifest says so: the media before ends there.
    pub from: Option<i64>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub part: Part,
    /// What has to be read before it, if it has not been yet.
    pub header: Option<Arc<Part>>,
}

/// A file, or bytes of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub path: PathBuf,
    pub range: Option<Range<u64>>,
}

/// Why a manifest names nothing that can be imported. One line.
#[derive(Debug, ThisError)]
pub enum Error {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: found {found}, expected {expected}")]
    Unexpected { path: PathBuf, found: String, expected: String },
}

/// A longer manifest is none.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;
/// Segments of a rendition: a day of them a tenth of a second long.
const PIECES_MAX: usize = 1 << 20;
/// Bytes that tell what a file is.
const HEAD_BYTES: usize = 1_024;

/// What stands in the manifest that an input is, or a directory that it is has one of. `None` if it is neither.
pub fn expand(input: &Input, report: Report<'_>) -> Result<Option<Vec<Named>>, Error> {
    let path = &input.path;
    let manifest = match path.is_dir() {
        true => Manifest::of_directory(path, report)?,
        false => match Manifest::of_file(path)? {
            Some(manifest) => manifest,
            None => return Ok(None),
        },
    };
    let mut named = match manifest.format {
        Format::Hls => hls::read(&manifest, report)?,
        Format::Mpd => dash::read(&manifest, report)?,
        Format::Smil => smil::read(&manifest, report)?,
    };
    if named.is_empty() {
        return Err(manifest.unexpected("nothing that can be imported", "renditions"));
    }
    for named in &mut named {
        match named {
            Named::File(file) => {
                file.labels = input.labels.clone().or(&file.labels);
                file.audio.splice(0..0, input.audio.iter().cloned());
            }
            Named::Media(rendition) | Named::Text(rendition) => {
                rendition.labels = input.labels.clone().or(&rendition.labels);
            }
        }
    }
    Ok(Some(named))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Hls,
    Mpd,
    Smil,
}

/// A manifest that was read.
struct Manifest {
    path: PathBuf,
    format: Format,
    text: String,
}

impl Manifest {
    /// `None` if the file is none, by its first bytes.
    fn of_file(path: &Path) -> Result<Option<Manifest>, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        // Opening a pipe waits for whoever writes to it.
        if !path.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        Read::take(&mut file, HEAD_BYTES as u64).read_to_end(&mut bytes).map_err(failed)?;
        let head = String::from_utf8_lossy(&bytes);
        let head = head.trim_start_matches('\u{feff}').trim_start();
        if !head.starts_with("#EXTM3U") && !head.starts_with('<') {
            return Ok(None);
        }
        file.take(MANIFEST_BYTES_MAX - HEAD_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let unexpected = |found: String, expected: &str| Error::Unexpected {
            path: path.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(unexpected(format!("more than {MANIFEST_BYTES_MAX} bytes"), "a manifest, which is shorter"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            unexpected(format!("bytes that are not UTF-8 at byte {}", error.utf8_error().valid_up_to()), "UTF-8")
        })?;
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let format = match text.trim_start().starts_with("#EXTM3U") {
            true => Format::Hls,
            false => match xml::root(&text).as_deref() {
                Some("MPD") => Format::Mpd,
                Some("smil") => Format::Smil,
                root => {
                    let found =
                        root.map_or("XML without an element".to_owned(), |root| format!("an XML document of {root:?}"));
                    return Err(unexpected(found, "an MPD, a SMIL file or a server manifest (smil)"));
                }
            },
        };
        Ok(Some(Manifest { path: path.to_owned(), format, text }))
    }

    /// The one that a directory is served by: its multivariant playlist, else its MPD, SMIL file or server manifest, else its
    /// only media playlist.
    fn of_directory(path: &Path, report: Report<'_>) -> Result<Manifest, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let mut manifests = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let extension = file.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
            if matches!(extension.as_str(), "m3u8" | "m3u" | "mpd" | "smil" | "ism") {
                manifests.extend(Manifest::of_file(&file)?);
            }
        }
        manifests.sort_by(|a, b| a.path.cmp(&b.path));
        let rank = |manifest: &Manifest| match manifest.format {
            Format::Hls if manifest.text.contains("#EXT-X-STREAM-INF") => 0,
            Format::Mpd => 1,
            Format::Smil => 2,
            Format::Hls => 3,
        };
        let best = manifests.iter().map(rank).min();
        manifests.retain(|manifest| Some(rank(manifest)) == best);
        let names = || manifests.iter().map(|manifest| manifest.path.display().to_string()).collect::<Vec<_>>();
        let found = match manifests.len() {
            1 => {
                let manifest = manifests.remove(0);
                report(Event::Note(&format!("{}: reading {}", path.display(), manifest.path.display())));
                return Ok(manifest);
            }
            0 => "no playlist, MPD or SMIL file".to_owned(),
            _ => format!("{} that may be meant: {}", manifests.len(), names().join(", ")),
        };
        let expected =
            "a directory with one multivariant playlist, MPD, SMIL file or server manifest; name the file".to_owned();
        Err(Error::Unexpected { path: path.to_owned(), found, expected })
    }

    fn unexpected(&self, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::Unexpected { path: self.path.clone(), found: found.into(), expected: expected.into() }
    }

    /// The file that a reference means, from the directory (below the manifest's, or empty) that it counts from.
    fn resolve(&self, directory: &str, reference: &str) -> Result<PathBuf, Error> {
        let below = self.path_below(directory, reference)?;
        let top = self.path.parent().filter(|top| !top.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = top.join(below);
        // A link may lead elsewhere. What is not there is told when it is opened.
        if let (Ok(top), Ok(real)) = (top.canonicalize(), path.canonicalize())
            && !real.starts_with(&top)
        {
            let found = format!("{}, a link to {}", path.display(), real.display());
            return Err(self.unexpected(found, "a file in the directory of the manifest"));
        }
        Ok(path)
    }

    /// The same, below the manifest's directory.
    fn path_below(&self, directory: &str, reference: &str) -> Result<String, Error> {
        let shown = || reference.chars().take(80).collect::<String>();
        let expected = "a file in the directory of the manifest; what lies elsewhere is not fetched";
        if reference.contains("://") || reference.starts_with(['/', '\\']) || reference.contains('\0') {
            return Err(self.unexpected(format!("{:?}", shown()), expected));
        }
        let plain = reference.split(['?', '#']).next().unwrap_or_default();
        let plain = percent_decode_str(plain).decode_utf8_lossy();
        let mut steps: Vec<&str> = Vec::new();
        for step in directory.split('/').chain(plain.split('/')) {
            match step {
                "" | "." => {}
                ".." => {
                    if steps.pop().is_none() {
                        return Err(self.unexpected(format!("{:?}", shown()), expected));
                    }
                }
                step => steps.push(step),
            }
        }
        Ok(steps.join("/"))
    }

    fn too_many(&self) -> Error {
        self.unexpected(format!("more than {PIECES_MAX} segments"), "fewer")
    }
}

/// Where names in a file count from.
fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stay_below_the_manifest() {
        let manifest = Manifest { path: "/x/a/index.mpd".into(), format: Format::Mpd, text: String::new() };
        for (directory, reference, want) in [
            ("", "v/1.m4s", Some("/x/a/v/1.m4s")),
            ("v", "1.m4s?token=a/b", Some("/x/a/v/1.m4s")),
            ("v/720", "../../a%20b.mp4", Some("/x/a/a b.mp4")),
            ("v", "../../etc/passwd", None),
            ("", "%2e%2e/passwd", None),
            ("", "/etc/passwd", None),
            ("", "https://example.com/1.ts", None),
        ] {
            let found = manifest.resolve(directory, reference);
            assert_eq!(found.as_deref().ok(), want.map(Path::new), "{reference}");
        }
    }

    #[test]
    fn links_do_not_lead_elsewhere() {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(other.path().join("film.mp4"), "x").unwrap();
        std::fs::write(directory.path().join("own.mp4"), "x").unwrap();
        for (name, target) in [("there", other.path().to_owned()), ("here", directory.path().to_owned())] {
            std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        }
        let manifest = Manifest { path: directory.path().join("index.mpd"), format: Format::Mpd, text: String::new() };
        assert!(manifest.resolve("", "here/own.mp4").is_ok());
        let error = manifest.resolve("", "there/film.mp4").unwrap_err().to_string();
        assert!(error.contains("a link to"), "{error}");
    }

    #[test]
    fn directories_have_one_that_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let choose = || {
            let found = Manifest::of_directory(directory.path(), &mut |_| {}).map_err(|error| error.to_string());
            found.map(|manifest| manifest.path.file_name().unwrap().to_str().unwrap().to_owned())
        };
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        assert!(choose().unwrap_err().contains("no playlist, MPD or SMIL file"));
        write("v.m3u8", "#EXTM3U\n#EXTINF:4,\n1.ts\n");
        assert_eq!(choose().unwrap(), "v.m3u8");
        write("a.m3u8", "#EXTM3U\n#EXTINF:4,\n1.ts\n");
        assert!(choose().unwrap_err().contains("2 that may be meant"));
        write("x.mpd", "<?xml version=\"1.0\"?>\n<MPD/>");
        assert_eq!(choose().unwrap(), "x.mpd");
        write("main.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n");
        assert_eq!(choose().unwrap(), "main.m3u8");
        write("y.mpd", "<html/>");
        assert!(choose().unwrap_err().contains("an XML document of \"html\""));
    }
}
