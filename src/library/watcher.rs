//! Keeping the catalog up to date: what imports and removals by other processes change is seen within a second.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tracing::warn;

use super::Library;
use super::folder::{REPLACED, Replaced, check_name};

/// Watches a library directory, and reads the whole of it now and then: a library on a file system without notification,
/// or changed by hand, is followed as well, only later.
///
/// Two watches are enough for any number of assets: new and removed ones appear in the root, and every replacement leaves
/// a record in the directory of replaced versions after it switched `current`.
pub struct Watcher {
    library: Arc<Library>,
    notify: Option<Notify>,
    /// Calls of `next` in which nothing happened.
    quiet: u32,
}

struct Notify {
    inotify: Inotify,
    root: WatchDescriptor,
    replaced: Option<WatchDescriptor>,
}

/// The longest wait between two readings of the whole directory, in turns of a second.
const QUIET_TURNS_MAX: u32 = 60;
/// Assets for which one more second is waited, so that the reading (about 1.5 µs an asset) stays below 0.1% of a CPU.
const ASSETS_PER_TURN: usize = 1_000;
const TURN: Duration = Duration::from_secs(1);

impl Watcher {
    /// Never fails: without notification it reads the directory every few seconds.
    pub fn new(library: Arc<Library>) -> Watcher {
        let notify = match Notify::new(&library) {
            Ok(notify) => Some(notify),
            Err(errno) => {
                warn!("no notification of changes to {} ({errno}), reading it instead", library.root().display());
                None
            }
        };
        // What changed between the first reading and now.
        library.rescan_logged();
        Watcher { library, notify, quiet: 0 }
    }

    /// Takes in changes until `stop` is set; returns within a second of that.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.next(TURN);
        }
    }

    /// Waits up to `timeout` for a change, and takes in all there are.
    pub fn next(&mut self, timeout: Duration) {
        let change = match &mut self.notify {
            Some(notify) => notify.wait(&self.library, timeout),
            None => {
                std::thread::sleep(timeout);
                Change::Nothing
            }
        };
        match change {
            Change::Assets(names) => {
                self.quiet = 0;
                if let Err(error) = self.library.update(names.iter().map(String::as_str)) {
                    warn!("library cannot be read: {error}");
                }
            }
            Change::Anything => {
                self.quiet = 0;
                self.library.rescan_logged();
            }
            Change::Lost => {
                // The directory itself was moved or deleted: watch what is there under its name now.
                self.notify = Notify::new(&self.library).ok();
                self.library.rescan_logged();
            }
            Change::Nothing => {
                self.quiet += 1;
                let turns = self.library.catalog().len() / ASSETS_PER_TURN;
                if self.quiet > u32::try_from(turns).unwrap_or(QUIET_TURNS_MAX).min(QUIET_TURNS_MAX) {
                    self.quiet = 0;
                    if self.notify.is_none() {
                        self.notify = Notify::new(&self.library).ok();
                    }
                    self.library.rescan_logged();
                }
            }
        }
    }
}

enum Change {
    Nothing,
    Assets(BTreeSet<String>),
    /// The kernel dropped events, or nobody can say.
    Anything,
    Lost,
}

impl Notify {
    fn new(library: &Library) -> nix::Result<Notify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let root = inotify.add_watch(library.root(), flags)?;
        let mut notify = Notify { inotify, root, replaced: None };
        notify.watch_replaced(library);
        Ok(notify)
    }

    /// The directory of records exists from the first replacement on.
    fn watch_replaced(&mut self, library: &Library) {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        self.replaced = self.inotify.add_watch(&library.root().join(REPLACED), flags).ok();
    }

    fn wait(&mut self, library: &Library, timeout: Duration) -> Change {
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Change::Nothing,
            Ok(_) => {}
            Err(_) => return Change::Lost,
        }
        let mut names = BTreeSet::new();
        let mut anything = false;
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                if event.wd == self.root && event.mask.intersects(ROOT_GONE) {
                    return Change::Lost;
                }
                anything |= self.take(&event, library, &mut names);
            }
        }
        match anything {
            true => Change::Anything,
            false if names.is_empty() => Change::Nothing,
            false => Change::Assets(names),
        }
    }

    /// Adds the asset that an event is about. Returns whether everything has to be read again.
    fn take(&mut self, event: &InotifyEvent, library: &Library, names: &mut BTreeSet<String>) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        let Some(name) = event.name.as_ref().and_then(|name| name.to_str()) else { return false };
        if event.wd == self.root && name == REPLACED {
            self.watch_replaced(library);
            return true;
        }
        if event.wd == self.root && check_name(name).is_ok() {
            names.insert(name.to_owned());
        } else if Some(event.wd) == self.replaced {
            names.extend(Replaced::parse(name).map(|record| record.asset));
        }
        false
    }
}

const ROOT_GONE: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_IGNORED);
