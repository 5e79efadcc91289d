//! Whether there is room on the disk for the segments that are made and kept.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::unistd::{AccessFlags, Uid, access};

use super::{Report, Rounded};
use crate::config::Library;

const TOPIC: &str = "derived cache";
/// Of a disk: less than this is as good as full.
const SPARE_SHARE: u64 = 50;

pub(super) fn look(library: &Library, report: &mut Report) {
    let (path, wanted) = (&library.derived_path, library.derived_cache);
    if wanted == 0 {
        return report.note(
            TOPIC,
            "library.derived_cache is 0: MPEG-TS segments are made anew each time".to_owned(),
            "",
        );
    }
    // As long as it is not there, its file system is that in which it will be made.
    let Some(place) = path.ancestors().find(|place| place.is_dir()) else { return };
    if path.exists() && !path.is_dir() {
        let advice = "segments that have to be made are not kept; set it to a directory";
        return report.note(TOPIC, format!("library.derived_path: {} is not a directory", path.display()), advice);
    }
    if access(place, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let advice = "segments that have to be made are not kept; chown it, or set it to another directory";
        let text = format!(
            "library.derived_path: {}: this user (uid {}) may not write in {}",
            path.display(),
            Uid::current(),
            place.display()
        );
        return report.note(TOPIC, text, advice);
    }
    let found = match statfs(place) {
        Ok(found) => found,
        Err(error) => return report.note(TOPIC, format!("{}: {error}", place.display()), ""),
    };
    let block = u64::try_from(found.block_size()).unwrap_or(0);
    let (free, size) = (found.blocks_available().saturating_mul(block), found.blocks().saturating_mul(block));
    // What a server that runs has there already counts for both.
    let room = free.saturating_add(kept(path).unwrap_or(0));
    match place_for(wanted, room, size) {
        Fits::Well => report.ok(TOPIC, format!("{}: room for {}", path.display(), Rounded(wanted))),
        fits => {
            let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
            let shared = device(place).is_some() && device(place) == device(&library.path);
            let holds = match fits {
                Fits::NotAtAll => format!("there is room for {}", Rounded(room)),
                _ => format!("it leaves {} of {}", Rounded(room.saturating_sub(wanted)), Rounded(size)),
            };
            let text = format!("library.derived_cache is {}, and {holds} in {}", Rounded(wanted), place.display());
            let advice = match shared {
                true => {
                    "once it has filled the disk, imports fail; lower it, or set library.derived_path to another disk"
                }
                false => "once it has filled the disk, whatever else is there fails to write; lower it",
            };
            report.note(TOPIC, text, advice);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Well,
    /// And leaves a disk that is as good as full.
    Barely,
    NotAtAll,
}

fn place_for(wanted: u64, room: u64, size: u64) -> Fits {
    match room.checked_sub(wanted) {
        None => Fits::NotAtAll,
        Some(left) if left < size / SPARE_SHARE => Fits::Barely,
        Some(_) => Fits::Well,
    }
}

/// Bytes of the files in it.
fn kept(path: &Path) -> io::Result<u64> {
    let sizes = fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.blocks().saturating_mul(512)));
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_fits() {
        for (wanted, room, size, want) in [
            (10, 1_000, 1_000, Fits::Well),
            (980, 1_000, 1_000, Fits::Well),
            (981, 1_000, 1_000, Fits::Barely),
            (1_000, 1_000, 1_000, Fits::Barely),
            (1_001, 1_000, 1_000, Fits::NotAtAll),
            (100, 50, 1_000_000, Fits::NotAtAll),
        ] {
            assert_eq!(place_for(wanted, room, size), want, "{wanted} of {room}");
        }
    }

    #[test]
    fn a_cache_that_would_fill_the_disk_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let look = |path: &Path, bytes: u64| {
            let mut library = Config::default().library;
            (library.path, library.derived_path) = (directory.path().to_owned(), path.to_owned());
            library.derived_cache = bytes;
            let mut report = Report::default();
            super::look(&library, &mut report);
            report.findings.pop().unwrap()
        };
        let within = directory.path().join("not/there/yet");
        assert_eq!(look(&within, 1).level, Level::Ok);
        let found = look(&within, 1 << 50);
        assert_eq!(found.level, Level::Note);
        assert!(found.text.starts_with("library.derived_cache is 1024.0 TiB, and there is room for"), "{}", found.text);
        assert!(found.advice.contains("imports fail"), "{}", found.advice);
        assert!(look(&within, 0).text.contains("is 0"));
        assert!(look(&file, 1).text.contains("is not a directory"));
    }
}
