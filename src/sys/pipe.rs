//! What happens when the reader of our output leaves.
#![allow(unsafe_code)]

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

/// From now on the process ends quietly when it writes into a pipe that nobody reads any more (`headwater list | head`), as
/// programs for the command line do. Rust ignores SIGPIPE from the start, which is right for a server.
pub fn end_with_the_reader() -> io::Result<()> {
    // SAFETY: the default disposition installs no handler, so there is nothing that would have to be safe to call in one.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}
