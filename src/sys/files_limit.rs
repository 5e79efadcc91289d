//! How many files the process may have open: connections, tracks, indexes.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft and hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesLimit {
    pub soft: u64,
    pub hard: u64,
}

/// What holds now.
pub fn current() -> io::Result<FilesLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(FilesLimit { soft, hard })
}

/// Raises the soft limit to the hard one, which needs no privilege; what holds then.
pub fn raise() -> io::Result<FilesLimit> {
    let limit = current()?;
    if limit.soft < limit.hard {
        setrlimit(Resource::RLIMIT_NOFILE, limit.hard, limit.hard)?;
    }
    current()
}

#[cfg(test)]
mod tests {
    #[test]
    fn raising_reaches_the_hard_limit() {
        let limit = super::raise().unwrap();
        assert_eq!(limit.soft, limit.hard);
    }
}
