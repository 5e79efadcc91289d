//! Where a process may be made to end: each place at which what is on disk has just changed has a name, and a debug build
//! whose environment has `HEADWATER_KILL_AT=2:row written` kills itself as `kill -9` would when it comes by there for the
//! second time; with `HEADWATER_KILL_ONCE=/some/file`, for the second time since that file exists. A release build has nothing
//! of it.

/// Something on disk has just changed.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    struct Fuse {
        name: String,
        /// Passages that are left.
        left: AtomicU32,
        /// None counts before there is a file of this name.
        once: Option<PathBuf>,
    }

    static FUSE: OnceLock<Option<Fuse>> = OnceLock::new();

    pub fn pass(name: &str) {
        let armed = FUSE.get_or_init(|| Fuse::read(&std::env::var("HEADWATER_KILL_AT").ok()?));
        if armed.as_ref().is_some_and(|fuse| fuse.name == name && fuse.burns_down()) {
            let _ = raise(Signal::SIGKILL);
        }
    }

    impl Fuse {
        fn read(text: &str) -> Option<Fuse> {
            let (passage, name) = text.split_once(':')?;
            let once = std::env::var_os("HEADWATER_KILL_ONCE").map(PathBuf::from);
            Some(Fuse { name: name.to_owned(), left: AtomicU32::new(passage.parse().ok()?), once })
        }

        fn burns_down(&self) -> bool {
            self.once.as_ref().is_none_or(|once| once.exists()) && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }
}
