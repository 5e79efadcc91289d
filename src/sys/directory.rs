//! How a file system places what is in a directory.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Says that what lies in the directories below this one belongs together only by directory: ext4 then spreads them over the
/// disk (FS_TOPDIR_FL, "top of directory hierarchy") instead of filling the block group of their parent first. There, whoever
/// creates and deletes many files walks over those that were deleted within the last minute, which ext4 does not use again.
///
/// # Errors
/// `ENOTTY`, `EOPNOTSUPP`: the file system knows no such thing, and needs none.
pub fn spread(directory: BorrowedFd<'_>) -> io::Result<()> {
    let mut flags: libc::c_int = 0;
    // SAFETY: FS_IOC_GETFLAGS writes an int, whatever its number says of a long, and `flags` is one.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), libc::FS_IOC_GETFLAGS, &mut flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    flags |= TOP_OF_HIERARCHY;
    // SAFETY: FS_IOC_SETFLAGS reads an int.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), libc::FS_IOC_SETFLAGS, &flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// FS_TOPDIR_FL of linux/fs.h.
const TOP_OF_HIERARCHY: libc::c_int = 0x0002_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn what_has_no_such_flag_says_so() {
        let pipe = File::open("/proc/self/stat").unwrap();
        assert!(spread(pipe.as_fd()).is_err());
        let directory = tempfile::tempdir().unwrap();
        match spread(File::open(directory.path()).unwrap().as_fd()) {
            Ok(()) => {}
            Err(error) => assert!(
                matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EPERM | libc::EINVAL)),
                "{error}"
            ),
        }
    }
}
