//! Reading a mapping beyond the end of its file raises SIGBUS. Somebody who truncates a file must not take the server
//! down, so the fault is answered with a page of zeros and the mapping is marked: whoever reads asks for the mark
//! afterwards. Nothing unwinds out of the signal handler.
//!
//! The handler may interrupt anything, so it only reads a static table of atomics and calls mmap.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Mappings watched at once: every open track file and index (`limits::OPEN_TRACKS_MAX`, `OPEN_ASSETS_DEFAULT`) and some
/// room. The table takes memory only as far as it has been used.
const MAPPINGS_MAX: usize = 16 * 1024;

/// One watched mapping; free while `len` is zero.
struct Slot {
    start: AtomicUsize,
    len: AtomicUsize,
    damaged: AtomicBool,
}

static SLOTS: [Slot; MAPPINGS_MAX] =
    [const { Slot { start: AtomicUsize::new(0), len: AtomicUsize::new(0), damaged: AtomicBool::new(false) } };
        MAPPINGS_MAX];

/// Slots below this have been used at least once: the handler looks no further.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Slots that were given back. Never touched by the handler.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Keeps the handler informed of one mapping, until it is dropped (which must be before the mapping goes).
pub(super) struct Guard {
    slot: usize,
}

impl Guard {
    pub(super) fn new(map: &[u8]) -> io::Result<Guard> {
        static INSTALLED: OnceLock<Result<(), nix::errno::Errno>> = OnceLock::new();
        (*INSTALLED.get_or_init(install))?;
        let mut free = FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = match free.pop() {
            Some(slot) => slot,
            // Only grown under the lock of `FREE`.
            None if USED.load(Ordering::Relaxed) < MAPPINGS_MAX => USED.fetch_add(1, Ordering::Release),
            None => {
                let text = format!("{MAPPINGS_MAX} files are mapped already, which is the most there can be");
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, text));
            }
        };
        let entry = &SLOTS[slot];
        entry.damaged.store(false, Ordering::Relaxed);
        entry.start.store(map.as_ptr() as usize, Ordering::Relaxed);
        // Release: a handler that sees the length sees this mapping's start.
        entry.len.store(map.len(), Ordering::Release);
        Ok(Guard { slot })
    }

    pub(super) fn is_damaged(&self) -> bool {
        SLOTS[self.slot].damaged.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        SLOTS[self.slot].len.store(0, Ordering::Release);
        FREE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self.slot);
    }
}

fn install() -> Result<(), nix::errno::Errno> {
    page_size();
    let action = SigAction::new(SigHandler::SigAction(on_bus_error), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: `on_bus_error` is async-signal-safe: it touches atomics and makes system calls, and takes no lock, allocates
    // nothing and never unwinds. SIGBUS has no other user in this process.
    unsafe { sigaction(Signal::SIGBUS, &action) }.map(drop)
}

/// Read once before the handler can run, so that the handler only loads it.
fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    if SIZE.load(Ordering::Relaxed) == 0 {
        // SAFETY: sysconf has no preconditions; a negative answer cannot happen for the page size.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        SIZE.store(usize::try_from(size).unwrap_or(4096), Ordering::Relaxed);
    }
    SIZE.load(Ordering::Relaxed)
}

extern "C" fn on_bus_error(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler, and for SIGBUS `si_addr` is set.
    let address = unsafe { (*info).si_addr() } as usize;
    let used = USED.load(Ordering::Acquire).min(MAPPINGS_MAX);
    for slot in &SLOTS[..used] {
        let len = slot.len.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Relaxed);
        if len == 0 || address < start || address - start >= len {
            continue;
        }
        let page = page_size();
        // SAFETY: the page lies in a live mapping of a `MappedFile` (its guard is dropped before the mapping, and the thread
        // that faulted is reading through a borrow of it), which is only ever read; replacing one of its pages by zeros
        // changes no other mapping, and munmap of the whole range later removes it too.
        let zeros = unsafe {
            libc::mmap(
                (address & !(page - 1)) as *mut libc::c_void,
                page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if zeros != libc::MAP_FAILED {
            slot.damaged.store(true, Ordering::Release);
            return;
        }
        break;
    }
    // Not ours, or no memory for a page: the default action, when the instruction is tried again.
    // SAFETY: signal is async-signal-safe, and SIG_DFL is a valid disposition.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}
