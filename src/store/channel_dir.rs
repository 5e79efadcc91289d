//! The directory of a channel: what lies where, and the only code that knows.
//!
//! ```text
//! {live}/{channel}/state.json                      written by rename; the directory is locked by the server that runs it
//! {live}/{channel}/{track}/{first}.cmfv|cmfa|cmft  a track file: ftyp moov (moof mdat)*, from segment number `first` on
//! {live}/{channel}/{track}/{first}.idx             its journal
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use crate::base::limits::CHANNEL_STATE_BYTES_MAX;
use crate::media::Kind;
use crate::sys::crash;

/// A channel's directory.
#[derive(Clone, Debug)]
pub struct ChannelDir {
    path: PathBuf,
}

/// Held by the server that runs the channel; let go of however it ends.
#[derive(Debug)]
pub struct Held {
    _directory: Flock<File>,
}

/// Where a track file and its journal are, or are to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackFiles {
    pub track: String,
    /// Number of the first segment.
    pub first: u64,
    pub kind: Kind,
    pub media: PathBuf,
    pub journal: PathBuf,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error(
        "{0:?} is no name of a channel or track: letters, digits, '_' and '-' are allowed, 1 to {NAME_BYTES_MAX} of them"
    )]
    Name(String),
    #[error("{path}: another server runs this channel")]
    Locked { path: PathBuf },
    #[error("{path}: a state of {found} bytes, {CHANNEL_STATE_BYTES_MAX} at most")]
    State { path: PathBuf, found: u64 },
    #[error("{path}: cannot {action}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// One path element, in URLs as well.
const NAME_BYTES_MAX: usize = 64;
const STATE: &str = "state.json";
const NEW_STATE: &str = "state.json.new";

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Error::Name(name.to_owned())),
    }
}

impl ChannelDir {
    /// Names the directory; nothing is made or read.
    pub fn new(live: &Path, channel: &str) -> Result<ChannelDir, Error> {
        check_name(channel)?;
        Ok(ChannelDir { path: live.join(channel) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory if it is missing, and takes it for this process.
    pub fn hold(&self) -> Result<Held, Error> {
        fs::create_dir_all(&self.path).map_err(failed("create", &self.path))?;
        crash::point("channel directory made");
        let directory = File::open(&self.path).map_err(failed("open", &self.path))?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(directory) => Ok(Held { _directory: directory }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(Error::Locked { path: self.path.clone() }),
            Err((_, errno)) => Err(failed("lock", &self.path)(errno.into())),
        }
    }

    /// Channels that have a directory, in order.
    pub fn channels(live: &Path) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in list(live)? {
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Where the files of a track are that begin with segment `first`.
    pub fn files(&self, track: &str, first: u64, kind: Kind) -> Result<TrackFiles, Error> {
        check_name(track)?;
        let directory = self.path.join(track);
        Ok(TrackFiles {
            track: track.to_owned(),
            first,
            kind,
            media: directory.join(format!("{first}.{}", suffix(kind))),
            journal: directory.join(format!("{first}.idx")),
        })
    }

    /// All track files there are, by track and first segment. What has another name is somebody else's.
    pub fn all_files(&self) -> Result<Vec<TrackFiles>, Error> {
        let mut found = Vec::new();
        for track in list(&self.path)?.into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let Ok(name) = track.file_name().into_string() else { continue };
            if check_name(&name).is_err() {
                continue;
            }
            for entry in list(&track.path())? {
                let file = entry.file_name();
                let Some((first, suffix)) = file.to_str().and_then(|file| file.split_once('.')) else { continue };
                let Some(kind) = kind_of(suffix) else { continue };
                // One spelling: what is found is what `files` would name.
                if let Ok(number) = first.parse::<u64>()
                    && number.to_string() == first
                {
                    found.push(self.files(&name, number, kind)?);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Makes the directory of a track if it is missing, durably.
    pub fn create_track(&self, track: &str) -> Result<(), Error> {
        check_name(track)?;
        let path = self.path.join(track);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed("create", &path)(error)),
            Ok(()) => {
                crash::point("track directory made");
                sync(&self.path)
            }
        }
    }

    /// Makes the files of a track that were created or deleted survive a power loss as that.
    pub fn sync_track(&self, track: &str) -> Result<(), Error> {
        check_name(track)?;
        sync(&self.path.join(track))?;
        crash::point("track directory synced");
        Ok(())
    }

    /// Takes a track file and its journal away; who has them open reads on. The journal goes first: media without one is
    /// found again, a journal without media tells of nothing.
    pub fn delete(&self, files: &TrackFiles) -> Result<(), Error> {
        for (path, deleted) in [(&files.journal, "journal deleted"), (&files.media, "track file deleted")] {
            match fs::remove_file(path) {
                Ok(()) => crash::point(deleted),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("delete", path)(error)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// What [`ChannelDir::save_state`] saved last; `None` if it never did.
    pub fn state(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(STATE);
        let len = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed("read", &path))?.len(),
        };
        if len > CHANNEL_STATE_BYTES_MAX {
            return Err(Error::State { path, found: len });
        }
        fs::read(&path).map(Some).map_err(failed("read", &path))
    }

    /// Durably and in one step: after a crash it is the old state or the new one.
    pub fn save_state(&self, state: &[u8]) -> Result<(), Error> {
        let (path, new) = (self.path.join(STATE), self.path.join(NEW_STATE));
        let mut file = File::create(&new).map_err(failed("create", &new))?;
        crash::point("state created");
        file.write_all(state).and_then(|()| file.sync_all()).map_err(failed("write", &new))?;
        crash::point("state written");
        fs::rename(&new, &path).map_err(failed("rename to", &path))?;
        crash::point("state renamed");
        sync(&self.path)
    }
}

fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "cmfv",
        Kind::Audio => "cmfa",
        Kind::Text => "cmft",
    }
}

fn kind_of(found: &str) -> Option<Kind> {
    [Kind::Video, Kind::Audio, Kind::Text].into_iter().find(|&kind| suffix(kind) == found)
}

fn list(path: &Path) -> Result<Vec<fs::DirEntry>, Error> {
    fs::read_dir(path).and_then(|entries| entries.collect()).map_err(failed("list", path))
}

fn sync(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_where_they_were_put() {
        let live = tempfile::tempdir().unwrap();
        let channel = ChannelDir::new(live.path(), "news").unwrap();
        let held = channel.hold().unwrap();
        assert!(matches!(channel.hold(), Err(Error::Locked { .. })));
        let mut put = Vec::new();
        for (track, first, kind) in
            [("v1", 1_000, Kind::Video), ("v1", 900, Kind::Video), ("a1", 900, Kind::Audio), ("t1", 7, Kind::Text)]
        {
            channel.create_track(track).unwrap();
            let files = channel.files(track, first, kind).unwrap();
            fs::write(&files.media, b"media").unwrap();
            fs::write(&files.journal, b"rows").unwrap();
            put.push(files);
        }
        for stray in ["v1/x.cmfv", "v1/007.cmfv", "v1/5.mp4", "v1/5.idx", "stray"] {
            fs::write(channel.path().join(stray), b"").unwrap();
        }
        put.sort();
        assert_eq!(channel.all_files().unwrap(), put);
        assert_eq!(put.iter().map(|files| files.first).collect::<Vec<_>>(), [900, 7, 900, 1_000]);
        channel.delete(&put[2]).unwrap();
        channel.delete(&put[2]).unwrap();
        channel.sync_track("v1").unwrap();
        assert_eq!(channel.all_files().unwrap().len(), 3);
        assert_eq!(ChannelDir::channels(live.path()).unwrap(), ["news"]);
        drop(held);
        channel.hold().unwrap();
        for name in ["", "..", "a/b", "ä", &"x".repeat(65)] {
            assert!(matches!(ChannelDir::new(live.path(), name), Err(Error::Name(_))), "{name}");
            assert!(matches!(channel.files(name, 0, Kind::Video), Err(Error::Name(_))), "{name}");
        }
    }

    #[test]
    fn states_change_in_one_step() {
        let live = tempfile::tempdir().unwrap();
        let channel = ChannelDir::new(live.path(), "news").unwrap();
        assert_eq!(channel.state().unwrap(), None);
        let _held = channel.hold().unwrap();
        assert_eq!(channel.state().unwrap(), None);
        // A write that was cut off by a crash is nobody's state.
        fs::write(channel.path().join(NEW_STATE), b"{\"half").unwrap();
        assert_eq!(channel.state().unwrap(), None);
        for state in [&b"{\"anchor\":12345}"[..], b"{}"] {
            channel.save_state(state).unwrap();
            assert_eq!(channel.state().unwrap().as_deref(), Some(state));
        }
        File::create(channel.path().join(STATE)).unwrap().set_len(CHANNEL_STATE_BYTES_MAX + 1).unwrap();
        assert!(matches!(channel.state(), Err(Error::State { .. })));
    }
}
